//! The luck test: the whole search once more on bars whose days were shuffled.

use super::evaluate::Evaluator;
use super::judged::{Joined, Judgement};
use super::pick::{Pick, Picks, is_walk_forward, pick, signed};
use super::search::{search, trials_of, windows};
use super::{Case, Market, StopAsked, Stopped};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use trialmill_backtest::synthetic::Random;
use trialmill_backtest::trust::luck::Shuffler;
use trialmill_common::spec::TaskSpec;
use trialmill_common::validation::Window;
use trialmill_search::Method;
use trialmill_search::auto::MODELLED;
use trialmill_search::pruner::PrunerConfig;

/// Most shuffled markets: their p is then known to 0.015 at 0.05, and is 0.005 at least.
pub const MOST_PERMUTATIONS: u32 = 200;
/// Fewest shuffled markets: of 39 a p of 0.05 allows one that is as good as the real one; of fewer,
/// none.
pub const MIN_PERMUTATIONS: u32 = 39;
/// Most seconds of one processor that the fewest shuffled markets may take, by the durations of the
/// search's own trials. Beyond ten minutes there is no luck test.
pub const MOST_LUCK_SECONDS: f64 = 600.0;
/// Seconds that further ones may take in all: a better known p is worth a minute.
pub const EASY_LUCK_SECONDS: f64 = 60.0;
/// When so many shuffled markets were as good, the fewest being done, it is known that luck gives as
/// much, and no more are searched. Their p is valid all the same: Besag, Clifford (1991),
/// "Sequential Monte Carlo p-values", Biometrika 78(2).
const ENOUGH_AS_GOOD: u32 = 20;
/// What a Gaussian process takes for a point, in seconds, roughly: so much for each pair of trials that it looks
/// at (10 ms at 100 trials, 40 at 200).
const DELIBERATE_SECONDS_PER_PAIR: f64 = 1e-6;
/// The most trials that the sampler `gp` looks at.
const GP_LOOKS_AT: f64 = 200.0;
/// What asking an adaptive sampler for a point costs in seconds, roughly (docs/benchmarks/search.md):
/// it is no part of a trial's duration.
const ASK_SECONDS: f64 = 4e-5;
/// And besides for each trial before it and each parameter: of samplers that look at all of them, and of TPE, which
/// makes its density of at most [`TPE_LOOKS_AT`].
const ASK_SECONDS_PER_TRIAL: f64 = 1.5e-7;
const TPE_SECONDS_PER_TRIAL: f64 = 4e-8;
/// The most trials that TPE lays kernels around.
const TPE_LOOKS_AT: f64 = 2_000.0;
/// Fewest blocks of days that are shuffled: of fewer, the other orders are few and alike.
const MIN_BLOCKS: usize = 20;

/// How much the luck test may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Most shuffled markets; 0 for no luck test.
    pub permutations: u32,
    /// Most seconds of one processor for the fewest of them.
    pub seconds: f64,
    /// Seconds for all of them, should there be more.
    pub easy_seconds: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            permutations: MOST_PERMUTATIONS,
            seconds: MOST_LUCK_SECONDS,
            easy_seconds: EASY_LUCK_SECONDS,
        }
    }
}

/// A luck test as it is done, whoever goes on with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Shuffled markets.
    pub(super) permutations: u32,
    /// How good the real search was: more is better.
    pub(super) real: f64,
}

impl Plan {
    /// Whether it is over when of `searched` markets `as_good` were at least as good.
    pub(super) fn is_over(&self, searched: u32, as_good: u32) -> bool {
        let known = searched >= MIN_PERMUTATIONS && as_good >= ENOUGH_AS_GOOD;
        known || searched >= self.permutations
    }
}

/// How the luck test of a task is done, or why not.
pub(super) fn plan(
    case: &Case<'_>,
    picks: &Picks<'_>,
    judgement: &Judgement,
) -> Result<Plan, String> {
    let permutations = affordable(case)?;
    let joined = judgement.joined.clone();
    let real = how_good(case.spec, picks.best_pick(), joined)?;
    let market = case.market.as_ref().ok_or("there are no bars")?;
    let shuffler = shuffler(market, &picks.windows);
    let (days, block) = (shuffler.movable(), shuffler.block());
    if days / block < MIN_BLOCKS {
        return Err(format!(
            "{days} days can be shuffled in blocks of {block}; needs {MIN_BLOCKS} blocks"
        ));
    }
    Ok(Plan { permutations, real })
}

/// Whether the strategy reads what companies reported: of the prices of the days of the reports.
fn reads_fundamentals(spec: &TaskSpec) -> bool {
    let strategy = trialmill_backtest::strategy::find(&spec.strategy_name);
    strategy.is_some_and(|strategy| strategy.info().reads_fundamentals)
}

/// How many shuffled markets the time allows, where shuffled markets mean something.
pub(super) fn affordable(case: &Case<'_>) -> Result<u32, String> {
    if reads_fundamentals(case.spec) {
        return Err(
            "the strategy reads fundamentals, which would be of other prices on shuffled days"
                .to_owned(),
        );
    }
    if !case.spec.prior.is_empty() {
        return Err(
            "the search began with trials of earlier tasks, and on shuffled days there are none"
                .to_owned(),
        );
    }
    if case.spec.pruner != PrunerConfig::None {
        return Err(
            "trials were stopped early by what others had reported, which is not repeated on shuffled days"
                .to_owned(),
        );
    }
    let bounds = case.bounds;
    if bounds.permutations == 0 {
        return Err("no shuffled markets were asked for".to_owned());
    }
    let one = seconds_of_search(case);
    let least = MIN_PERMUTATIONS.min(bounds.permutations);
    let needed = one * f64::from(least);
    if needed > bounds.seconds {
        return Err(format!(
            "{least} shuffled markets would take {needed:.0} s by the time that the trials took; \
             they may take {:.0} s",
            bounds.seconds
        ));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not below 0, and saturating where a search took no time"
    )]
    let easy = (bounds.easy_seconds / one) as u32;
    Ok(easy.clamp(least, bounds.permutations))
}

/// What one search takes, trials and asking.
fn seconds_of_search(case: &Case<'_>) -> f64 {
    let trials: f64 = case.trials.iter().map(|trial| trial.duration_ms).sum();
    let parameters = case.spec.space.parameters().len() as f64;
    let asking: f64 = if case.spec.reads_history() {
        windows(case.spec)
            .iter()
            .map(|window| {
                let count = trials_of(case, window).len() as f64;
                let models = parameters * seconds_per_parameter(case.spec.method, count);
                count * ASK_SECONDS + models + seconds_deliberating(case.spec, count)
            })
            .sum()
    } else {
        0.0
    };
    trials / 1_000.0 + asking
}

/// What looking at earlier trials takes in a search, for each parameter.
fn seconds_per_parameter(method: Method, count: f64) -> f64 {
    if method == Method::Tpe {
        let growing = count.min(TPE_LOOKS_AT);
        let looks = growing * growing / 2.0 + (count - growing) * TPE_LOOKS_AT;
        return looks * TPE_SECONDS_PER_TRIAL;
    }
    count * count / 2.0 * ASK_SECONDS_PER_TRIAL
}

/// What a sampler that fits Gaussian processes takes for the points of a search, beside what any takes.
fn seconds_deliberating(spec: &TaskSpec, count: f64) -> f64 {
    let (fitted, looked_at) = match spec.method {
        _ if spec.objectives.len() > 1 => return 0.0,
        Method::Gp => (count, GP_LOOKS_AT),
        Method::Auto => (count.min(MODELLED as f64), MODELLED as f64),
        _ => return 0.0,
    };
    // The sum of the squares up to the most that are looked at, and that square from there on.
    let growing = fitted.min(looked_at);
    let pairs = growing.powi(3) / 3.0 + (fitted - growing) * looked_at.powi(2);
    pairs * DELIBERATE_SECONDS_PER_PAIR
}

/// How good a search was, more being better: a walk-forward by the Sharpe ratio of its joined test
/// windows, any other by the first objective of its best trial.
fn how_good(
    spec: &TaskSpec,
    best: Option<Pick<'_>>,
    joined: Result<f64, String>,
) -> Result<f64, String> {
    if is_walk_forward(spec) {
        return joined;
    }
    let best = best.ok_or("no trial qualified")?;
    let objective = spec.objectives.first().ok_or("there is no objective")?;
    let value = best
        .evaluation
        .values
        .first()
        .ok_or("the best trial has no value")?;
    Ok(signed(objective.direction, *value))
}

/// The days that the search and its tests saw are shuffled; those before stay, and so does what was
/// held out.
fn shuffler(market: &Market<'_>, windows: &[Window]) -> Shuffler {
    let stretches = windows
        .iter()
        .flat_map(|w| std::iter::once(&w.train).chain(&w.test));
    let days: Vec<(NaiveDate, NaiveDate)> = stretches.map(|s| (s.first, s.last)).collect();
    let first = days.iter().map(|(first, _)| *first).min();
    let last = days.iter().map(|(_, last)| *last).max();
    let stretch: Vec<_> = first.zip(last).into_iter().collect();
    Shuffler::new(market.series.clone(), &stretch)
}

/// Searches shuffled market `index`: whether that was at least as good as the real one, or why it
/// cannot be searched.
pub(super) fn search_shuffled(
    case: &Case<'_>,
    plan: &Plan,
    index: u32,
    stop: &StopAsked<'_>,
) -> Result<Result<bool, String>, Stopped> {
    let spec = case.spec;
    let prepared = || {
        let market = case.market.as_ref().ok_or("there are no bars")?;
        let windows = windows(spec);
        let seed = Random::new(spec.seed).bits() ^ Random::new(u64::from(index)).bits();
        let series = shuffler(market, &windows).shuffled(seed);
        let series = series.map_err(|faults| format!("a shuffled market: {faults}"))?;
        Ok((market, windows, series, Evaluator::new(spec)?))
    };
    let (market, windows, series, evaluator) = match prepared() {
        Ok(ready) => ready,
        Err(reason) => return Ok(Err(reason)),
    };
    let mut joined = Joined::default();
    let mut good = Err("no trial qualified".to_owned());
    for window in &windows {
        let count = u32::try_from(trials_of(case, window).len()).unwrap_or(u32::MAX);
        let ground = match evaluator.ground(market.backtest, &series, window) {
            Ok(ground) => ground,
            Err(reason) => return Ok(Err(reason)),
        };
        let numbers = (window.trials.start, count);
        let study = match spec.study(window.trials.start) {
            Ok(study) => study,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let trials = search(&evaluator, spec, &study, &ground, None, numbers, stop)?;
        let picked = pick(spec, &trials);
        if let Some(test) = &window.test {
            let run = match picked {
                None => Ok(None),
                Some(picked) => match (market.backtest)(&series, test.first, test.last) {
                    Err(reason) => return Ok(Err(reason)),
                    Ok(backtest) => {
                        let params = spec.named(&picked.trial.point);
                        let run = evaluator.run(&backtest, &params, stop)?;
                        run.map(Some).map_err(|none| none.reason().to_owned())
                    }
                },
            };
            joined.add(window, test, &run);
        }
        good = how_good(spec, picked, joined.sharpe(spec));
    }
    // A search that found nothing is not as good.
    Ok(Ok(good.is_ok_and(|good| good >= plan.real)))
}
