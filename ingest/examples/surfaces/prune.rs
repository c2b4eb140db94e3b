//! Searches of the surfaces that stop trials early, at the same cost as searches that do not.

use crate::run::{domain, place};
use crate::surface::{SEGMENTS, Surface};
use crate::{option, seeds};
use std::error::Error;
use std::path::Path;
use trialmill_search::pruner::{
    Asha, Hyperband, Median, Pruner, PrunerConfig, Reports, Rival, Wilcoxon, step_order,
};
use trialmill_search::{FinishedTrial, History, LastReport, Method, Space, Study, TrialEnd};

/// What a trial is.
#[derive(Clone, Copy, PartialEq)]
enum Trial {
    /// One backtest of the searched years; its segments are backtests of their own, before it.
    Whole,
    /// The mean over the segments.
    Mean,
}

/// Searches every surface of `folder` with a pruner, or with none.
pub(crate) fn prune(folder: &Path, words: &[String]) -> Result<(), Box<dyn Error>> {
    let method: Method = option(words, "--sampler", "tpe")?.parse()?;
    let name = option(words, "--pruner", "asha")?;
    let config = match name.as_str() {
        "none" => PrunerConfig::None,
        "asha" => PrunerConfig::Asha(Asha::default()),
        "hyperband" => PrunerConfig::Hyperband(Hyperband::default()),
        "median" => PrunerConfig::Median(Median::default()),
        "wilcoxon" => PrunerConfig::Wilcoxon(Wilcoxon::default()),
        _ => {
            return Err(format!(
                "{name} is not one of these; use none, asha, hyperband, median or wilcoxon"
            )
            .into());
        }
    };
    let pruner = Pruner::new(config).map_err(|faults| faults[0].to_string())?;
    let seeds = seeds(words)?;
    let budget: f64 = option(words, "--budget", "100")?.parse()?;
    for surface in Surface::all(folder)? {
        let axes = surface.axes.iter();
        let space = Space::new(axes.map(|axis| (axis.name.clone(), domain(axis))));
        let space = space.map_err(|faults| faults[0].to_string())?;
        for trial in [Trial::Whole, Trial::Mean] {
            for seed in seeds.clone() {
                let study = Study::new(space.clone(), method, seed);
                let study = study.map_err(|faults| faults[0].to_string())?;
                let found = search(&surface, &study, &pruner, trial, budget)?;
                let line = serde_json::json!({
                    "surface": surface.name,
                    "seed": seed,
                    "sampler": method.name(),
                    "pruner": name,
                    "trial": if trial == Trial::Whole { "whole" } else { "mean" },
                    "budget": budget,
                    "spent": found.spent,
                    "trials": found.trials,
                    "completed": found.completed,
                    "better": found.better,
                    "later": found.later,
                });
                println!("{line}");
            }
        }
    }
    Ok(())
}

struct Found {
    /// In whole backtests: what the last trial cost beyond the budget, too.
    spent: f64,
    trials: u32,
    completed: u32,
    /// How many of a thousand points with a value are better than the best one found.
    better: Option<f64>,
    later: Option<f64>,
}

/// The Sharpe ratios of the segments so far, as a cost.
fn mean(surface: &Surface, order: &[u32], place: usize) -> Option<f64> {
    let of = |part: &u32| surface.segments[*part as usize][place];
    let sum = order.iter().map(of).sum::<Option<f64>>()?;
    Some(-sum / order.len() as f64)
}

/// A search until it has cost as much as `budget` backtests of the searched years.
fn search(
    surface: &Surface,
    study: &Study,
    pruner: &Pruner,
    trial: Trial,
    budget: f64,
) -> Result<Found, Box<dyn Error>> {
    let order = step_order(study.seed(), SEGMENTS);
    let prunes = *pruner.config() != PrunerConfig::None;
    let value = |place: usize| match trial {
        Trial::Whole => surface.values[place].map(|sharpe| -sharpe),
        Trial::Mean => mean(surface, &order, place),
    };
    let (mut finished, mut reports) = (Vec::<FinishedTrial>::new(), Vec::<Reports>::new());
    let (mut spent, mut number, mut best) = (0.0, 0, None::<(f64, usize)>);
    while spent < budget {
        let history = History {
            finished: &finished,
            running: &[],
        };
        let Some(point) = study.ask(&history, number) else {
            break;
        };
        let at = place(surface, study.space(), &point)?;
        let mut own = Reports::new(1);
        let mut end = None;
        let reported = match trial {
            _ if !prunes => 0,
            // The last one would tell nothing before the whole is run.
            Trial::Whole => SEGMENTS - 1,
            Trial::Mean => SEGMENTS,
        };
        for step in 0..reported {
            spent += 1.0 / f64::from(SEGMENTS);
            let cost = mean(surface, &order[..=step as usize], at).unwrap_or(f64::NAN);
            own.push(step, &[cost])
                .map_err(|fault| format!("{fault:?}"))?;
            let rivals: Vec<Rival<'_>> = finished
                .iter()
                .zip(&reports)
                .map(|(rival, reports)| Rival {
                    number: rival.number,
                    reports,
                    end: Some(&rival.end),
                })
                .collect();
            let is_last = step + 1 == SEGMENTS;
            if !is_last && pruner.should_prune(&own, &rivals, study.seed(), number) {
                end = Some(TrialEnd::Pruned(Some(LastReport { step, cost })));
                break;
            }
        }
        let end = end.unwrap_or_else(|| {
            let is_done = reported == SEGMENTS;
            spent += if is_done { 0.0 } else { 1.0 };
            match value(at) {
                Some(cost) => {
                    if best.is_none_or(|(least, _)| cost < least) {
                        best = Some((cost, at));
                    }
                    TrialEnd::completed(vec![cost])
                }
                None => TrialEnd::Infeasible {
                    violation: f64::INFINITY,
                },
            }
        });
        finished.push(FinishedTrial { number, point, end });
        reports.push(own);
        number += 1;
    }
    let ended = |trial: &&FinishedTrial| !matches!(trial.end, TrialEnd::Pruned(_));
    let all: Vec<f64> = (0..surface.values.len()).filter_map(value).collect();
    Ok(Found {
        spent,
        trials: number,
        completed: u32::try_from(finished.iter().filter(ended).count())?,
        better: best.map(|(least, _)| {
            let better = all.iter().filter(|cost| **cost < least).count();
            1_000.0 * better as f64 / all.len() as f64
        }),
        later: best.and_then(|(_, at)| surface.later[at]),
    })
}
