//! Searches of the surfaces.

use crate::surface::{Axis, Kind, Surface};
use crate::{option, seeds};
use std::collections::VecDeque;
use std::error::Error;
use std::path::Path;
use trialmill_search::{
    Choice, Domain, FinishedTrial, History, Method, Point, RunningTrial, Space, Study, TrialEnd,
};

/// Searches every surface of `folder`.
pub(crate) fn run(folder: &Path, words: &[String]) -> Result<(), Box<dyn Error>> {
    let method: Method = option(words, "--sampler", "tpe")?.parse()?;
    let mode = option(words, "--mode", "seq")?;
    let in_flight = match mode.as_str() {
        "seq" => 1,
        "par8" => 8,
        _ => return Err(format!("{mode} is not a mode; use seq or par8").into()),
    };
    let seeds = seeds(words)?;
    let trials: u32 = option(words, "--trials", "100")?.parse()?;
    for surface in Surface::all(folder)? {
        let space = Space::new(
            surface
                .axes
                .iter()
                .map(|axis| (axis.name.clone(), domain(axis))),
        );
        let space = space.map_err(|faults| faults[0].to_string())?;
        for seed in seeds.clone() {
            let study = Study::new(space.clone(), method, seed);
            let study = study.map_err(|faults| faults[0].to_string())?;
            let told = search(&surface, &study, in_flight, trials)?;
            let line = serde_json::json!({
                "impl": "trialmill",
                "sampler": method.name(),
                "mode": mode,
                "surface": surface.name,
                "seed": seed,
                "trials": told,
            });
            println!("{line}");
        }
    }
    Ok(())
}

pub(crate) fn domain(axis: &Axis) -> Domain {
    let high = axis.low + (axis.count - 1) as f64 * axis.step;
    #[expect(clippy::cast_possible_truncation, reason = "whole numbers below 1,000")]
    let whole = |value: f64| value.round() as i64;
    match axis.kind {
        Kind::Int => Domain::Int {
            low: whole(axis.low),
            high: whole(high),
            step: whole(axis.step),
            log: false,
        },
        Kind::Float => Domain::Float {
            low: axis.low,
            high,
            step: Some(axis.step),
            log: false,
        },
        Kind::Share => Domain::Categorical {
            choices: (0i64..).take(axis.count).map(Choice::Int).collect(),
        },
    }
}

/// The places of the points in the order told, `in_flight` of them at a time.
fn search(
    surface: &Surface,
    study: &Study,
    in_flight: usize,
    trials: u32,
) -> Result<Vec<usize>, Box<dyn Error>> {
    let (mut finished, mut told) = (Vec::new(), Vec::new());
    let mut running: VecDeque<RunningTrial> = VecDeque::new();
    let tell = |trial: RunningTrial, finished: &mut Vec<FinishedTrial>, told: &mut Vec<usize>| {
        let place = place(surface, study.space(), &trial.point)?;
        let end = match surface.values[place] {
            Some(sharpe) => TrialEnd::completed(vec![-sharpe]),
            None => TrialEnd::Infeasible {
                violation: f64::INFINITY,
            },
        };
        let RunningTrial { number, point } = trial;
        finished.push(FinishedTrial { number, point, end });
        told.push(place);
        Ok::<(), Box<dyn Error>>(())
    };
    for number in 0..trials {
        if running.len() == in_flight
            && let Some(trial) = running.pop_front()
        {
            tell(trial, &mut finished, &mut told)?;
        }
        let history = History {
            finished: &finished,
            running: running.make_contiguous(),
        };
        let Some(point) = study.ask(&history, number) else {
            break;
        };
        running.push_back(RunningTrial { number, point });
    }
    for trial in running {
        tell(trial, &mut finished, &mut told)?;
    }
    Ok(told)
}

/// Where the value of a point stands.
pub(crate) fn place(
    surface: &Surface,
    space: &Space,
    point: &Point,
) -> Result<usize, Box<dyn Error>> {
    let mut at = 0;
    for axis in &surface.axes {
        let named = space.named(point).find(|(name, _)| *name == axis.name);
        let value = match named.ok_or("a parameter is absent")?.1 {
            Choice::Int(value) => value as f64,
            Choice::Float(value) => value,
            other => return Err(format!("{other:?} is on no axis").into()),
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place on the axis"
        )]
        let step = ((value - axis.low) / axis.step).round() as usize;
        at = at * axis.count + step;
    }
    Ok(at)
}
