//! How far luck explains the best trial: the figures that rest on the search itself.

use super::evaluate::Evaluator;
use super::pick::{Pick, Picks, signed};
use super::search::trials_of;
use super::{Case, Market, Stopped, method};
use crate::objective::{Ground, Tried};
use std::collections::BTreeSet;
use trialmill_backtest::trust::independent::effective_trials;
use trialmill_backtest::trust::sharpe::{MIN_SPREAD_TRIALS, deflated, luck_variance, spread};
use trialmill_backtest::trust::{BLOCKS, TrialStats, overfit};
use trialmill_common::assessment::{
    Computed, DeflatedSharpe, Neighbourhood, Overfitting, SHARPE, says_deflated,
    says_neighbourhood, says_overfit,
};
use trialmill_common::spec::TaskSpec;
use trialmill_common::trial::{EndedTrial, Outcome};
use trialmill_search::{History, Random, Sampler, Stream};

/// Fewest days of a deflated Sharpe ratio: a year of days. Skew and kurtosis of fewer are noise.
const MIN_DAYS: usize = 252;
/// Fewest attempts of one: as for PBO and a window.
const MIN_TRIALS: u32 = 20;
/// Most points that are drawn by chance for the variance of the Sharpe ratios: of a hundred, their
/// deviation is known to 7 %.
const MOST_DRAWN: usize = 100;
/// How many draws one that trades may take on average, before it is given up.
const DRAWS_EACH: u32 = 3;
/// Most neighbours that are looked at; of more, evenly spaced ones.
const MOST_NEIGHBOURS: usize = 200;
const NO_PICK: &str = "no trial qualified";

/// The figures.
pub(super) struct Chance {
    pub(super) deflated: Computed<DeflatedSharpe>,
    pub(super) overfit: Computed<Overfitting>,
    pub(super) neighbourhood: Computed<Neighbourhood>,
}

impl Chance {
    pub(super) fn missing(reason: &str) -> Self {
        Self {
            deflated: Computed::missing(reason),
            overfit: Computed::missing(reason),
            neighbourhood: Computed::missing(reason),
        }
    }

    /// Of the window whose pick is to be used.
    pub(super) fn of(
        case: &Case<'_>,
        market: &Market<'_>,
        evaluator: &Evaluator<'_>,
        picks: &Picks<'_>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self, Stopped> {
        let window = picks.deployed();
        let trials = trials_of(case, window);
        let stats = kept(trials);
        let overfit = match picks_by_another_metric(case.spec) {
            Some(reason) => Computed::missing(reason),
            None => overfit(case.spec, &stats),
        };
        let missing = |reason: &str| Self {
            overfit: overfit.clone(),
            ..Self::missing(reason)
        };
        let Some(best) = picks.best_pick() else {
            return Ok(missing(NO_PICK));
        };
        let ground = match evaluator.ground(market.backtest, &market.series, window) {
            Ok(ground) => ground,
            Err(reason) => return Ok(missing(&reason)),
        };
        let params = case.spec.named(&best.trial.point);
        let tried = match evaluator.trial(&ground, &params, stop)? {
            Ok(tried) => tried,
            Err(none) => return Ok(missing(none.reason())),
        };
        let search = Searched {
            spec: case.spec,
            evaluator,
            ground: &ground,
            stop,
        };
        Ok(Self {
            deflated: deflate(&search, case, trials, &stats, &tried)?.into(),
            overfit,
            neighbourhood: search.neighbourhood(best, &tried)?.into(),
        })
    }
}

/// Why the probability of overfitting says nothing of how the pick is made: it ranks trials by their Sharpe
/// ratios, and of several objectives another one decides, which need not go with it.
fn picks_by_another_metric(spec: &TaskSpec) -> Option<String> {
    let [first, _, ..] = spec.objectives.as_slice() else {
        return None;
    };
    let decides = match method(spec).selection() {
        Some(selection) => selection.metric.name(),
        None => first.metric.as_str(),
    };
    (decides != SHARPE).then(|| {
        format!("of several objectives {decides} decides, and PBO is of a choice by {SHARPE}")
    })
}

/// The statistics of the trials that have some.
fn kept(trials: &[EndedTrial]) -> Vec<TrialStats> {
    trials.iter().filter_map(stats_of).collect()
}

fn stats_of(trial: &EndedTrial) -> Option<TrialStats> {
    let Outcome::Completed(evaluation) = &trial.outcome else {
        return None;
    };
    TrialStats::from_bytes(evaluation.stats.as_ref()?).ok()
}

fn overfit(spec: &TaskSpec, stats: &[TrialStats]) -> Computed<Overfitting> {
    let found = overfit::probability(stats).map(|found| Overfitting {
        value: found.probability,
        blocks: u32::try_from(BLOCKS).expect("a small number"),
        trials_used: u32::try_from(found.trials_used).expect("at most a thousand"),
        sample: found.sampled.then(|| "stratified".to_owned()),
        caution: spec.looks_back().then(|| "adaptive_search".to_owned()),
        says: says_overfit(found.probability),
    });
    found.into()
}

/// A window that was searched, and what it takes to try more points of it.
struct Searched<'a> {
    spec: &'a TaskSpec,
    evaluator: &'a Evaluator<'a>,
    ground: &'a Ground,
    stop: &'a dyn Fn() -> bool,
}

fn deflate(
    search: &Searched<'_>,
    case: &Case<'_>,
    trials: &[EndedTrial],
    stats: &[TrialStats],
    best: &Tried,
) -> Result<Result<DeflatedSharpe, String>, Stopped> {
    let counted =
        |trial: &&EndedTrial| matches!(trial.outcome, Outcome::Completed(_) | Outcome::Pruned(_));
    let n_trials = case.trials.iter().filter(counted).count();
    let n_trials = u32::try_from(n_trials).unwrap_or(u32::MAX);
    let days = best.days;
    let mut short = Vec::new();
    if n_trials < MIN_TRIALS {
        short.push(format!("{n_trials} trials; needs {MIN_TRIALS}"));
    }
    if days < MIN_DAYS {
        short.push(format!("{days} days; needs {MIN_DAYS}"));
    }
    if !short.is_empty() {
        return Ok(Err(short.join(", and ")));
    }
    let of_best = best.stats.as_ref();
    let Some((of_best, moments)) = of_best.and_then(|stats| Some((stats, stats.moments?))) else {
        return Ok(Err("the returns of the best trial do not vary".to_owned()));
    };
    let by_chance = search.by_chance(trials, n_trials)?;
    let attempts = f64::from(n_trials) + f64::from(case.prior_trials);
    let returns = of_best.returns;
    let value = spread(&by_chance)
        .and_then(|spread| deflated(&moments, returns, luck_variance(spread, returns), attempts));
    Ok(value
        .map_err(|none| none.to_string())
        .map(|value| DeflatedSharpe {
            value,
            n_trials,
            prior_trials: case.prior_trials,
            effective_n: effective_trials(stats).ok().map(rounded_up),
            says: says_deflated(value),
        }))
}

impl Searched<'_> {
    /// The Sharpe ratios, per row, of trials that chance chose: those of a search that reads no
    /// history but the ones that the request gave; else points drawn here.
    fn by_chance(&self, trials: &[EndedTrial], n_trials: u32) -> Result<Vec<f64>, Stopped> {
        // Of a search that prunes, those that got through are no sample.
        if !self.spec.looks_back() {
            let drawn = trials.iter().skip(self.spec.first_points.len());
            let drawn = drawn.filter(|trial| self.is_drawn(trial));
            let ratios: Vec<f64> = drawn
                .filter_map(stats_of)
                .filter_map(|stats| ratio(&stats))
                .collect();
            if ratios.len() >= MIN_SPREAD_TRIALS {
                return Ok(ratios);
            }
        }
        let wanted = (n_trials as usize).clamp(MIN_SPREAD_TRIALS, MOST_DRAWN);
        let space = &self.spec.space;
        let seed = Stream::for_study(self.spec.seed, "assess_spread").next_u64();
        let most = DRAWS_EACH * u32::try_from(wanted).expect("at most MOST_DRAWN");
        let mut seen = BTreeSet::new();
        let mut ratios = Vec::new();
        for number in 0..most {
            if ratios.len() == wanted {
                break;
            }
            let Some(point) = Random.ask(space, &History::EMPTY, seed, number) else {
                break;
            };
            if !seen.insert(space.pack(&point)) {
                continue;
            }
            let params = self.spec.named(&point);
            let tried = self.evaluator.trial(self.ground, &params, self.stop)?;
            let stats = tried.ok().and_then(|tried| tried.stats);
            ratios.extend(stats.as_ref().and_then(ratio));
        }
        Ok(ratios)
    }

    /// Whether the sampler chose the point of a trial, and not a user who enqueued it.
    fn is_drawn(&self, trial: &EndedTrial) -> bool {
        let base = self.spec.search_of(trial.number).start;
        let study = self.spec.study(trial.number);
        let drawn = study.map(|study| study.ask(&History::EMPTY, trial.number - base));
        drawn.is_ok_and(|point| point.as_ref() == Some(&trial.point))
    }

    /// What is left of the first objective one step away from the best point.
    fn neighbourhood(
        &self,
        best: Pick<'_>,
        tried: &Tried,
    ) -> Result<Result<Neighbourhood, String>, Stopped> {
        let Some((objective, value)) = self
            .spec
            .objectives
            .iter()
            .zip(&tried.evaluation.values)
            .next()
        else {
            return Ok(Err("the best point has no value".to_owned()));
        };
        let value = *value;
        if !objective.weights.is_empty() {
            let reason = "a weighted sum has no zero of its own, so no share of it can be kept";
            return Ok(Err(reason.to_owned()));
        }
        if value <= 0.0 {
            let name = &objective.metric;
            return Ok(Err(format!(
                "{name} is {value:.4} at the best point; a share of it is one only above 0"
            )));
        }
        let mut points = self.spec.space.neighbours(&best.trial.point);
        if points.len() > MOST_NEIGHBOURS {
            let last = points.len() - 1;
            let evenly = (0..MOST_NEIGHBOURS).map(|i| i * last / (MOST_NEIGHBOURS - 1));
            points = evenly.map(|place| points[place].clone()).collect();
        }
        let mut ratios = Vec::with_capacity(points.len());
        for point in &points {
            let params = self.spec.named(point);
            let Ok(near) = self.evaluator.trial(self.ground, &params, self.stop)? else {
                // The strategy takes no such parameters: as if a constraint had left them out.
                continue;
            };
            ratios.push(match near.evaluation.values.first() {
                // Without a trade nothing is left, also where the metric of doing nothing is good.
                _ if !near.trades => 0.0,
                Some(near) => {
                    let worse = signed(objective.direction, value - near);
                    1.0 - worse / value
                }
                None => 0.0,
            });
        }
        ratios.sort_by(f64::total_cmp);
        let Some(worst_ratio) = ratios.first().copied() else {
            return Ok(Err("no point lies one step away".to_owned()));
        };
        let middle = ratios.len() / 2;
        let median_ratio = if ratios.len() % 2 == 1 {
            ratios[middle]
        } else {
            f64::midpoint(ratios[middle - 1], ratios[middle])
        };
        Ok(Ok(Neighbourhood {
            points: u32::try_from(ratios.len()).expect("at most MOST_NEIGHBOURS"),
            median_ratio,
            worst_ratio,
            says: says_neighbourhood(median_ratio, worst_ratio),
        }))
    }
}

fn ratio(stats: &TrialStats) -> Option<f64> {
    Some(stats.moments?.sharpe)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 1 and the number of trials"
)]
fn rounded_up(trials: f64) -> u32 {
    trials.ceil() as u32
}
