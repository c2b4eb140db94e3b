//! Whether the figures of trust mean what they say: searches of invented prices, with nothing to find
//! (`--prices random_walk`) or with trends built in (`--prices trending`), each assessed as a task
//! is. Of searches with nothing to find, at most 5 % may have a deflated Sharpe ratio above 0.95, and
//! about 5 % a luck p of 0.05 or less.
//!
//! `cargo run --release -p trialmill-worker --example calibration -- --searches 400`

#![expect(clippy::print_stdout, reason = "figures are for the person who asked")]

use chrono::NaiveDate;
use clap::{Parser, ValueEnum};
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::engine::{Backtest, Dataset};
use trialmill_backtest::synthetic::{Kind, business_days, series, symbol};
use trialmill_backtest::trust::luck::p_value;
use trialmill_common::assessment::{ALPHA, Assessment, value_of};
use trialmill_common::protocol::StopRules;
use trialmill_common::spec::{
    BacktestSettings, MetricNames, ResultConstraint, Scope, Target, TaskSpec, Validated,
};
use trialmill_common::state::Direction;
use trialmill_common::validation::{Period, Validation, plan};
use trialmill_search::{Choice, Domain, Method, SpaceBuilder};
use trialmill_worker::assess::{Assessing, Case, LuckBounds, Market, search_alone};

/// What the prices do.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Prices {
    /// Independent returns of mean 0: nothing to find.
    RandomWalk,
    /// Trends that switch at random: an edge for whoever follows them.
    Trending,
}

/// Whether the figures of trust mean what they say.
#[derive(Parser, Debug)]
struct Arguments {
    /// What the prices do.
    #[arg(long, value_enum, default_value = "random_walk")]
    prices: Prices,
    /// Searches, each of prices of its own.
    #[arg(long, default_value_t = 400)]
    searches: u64,
    /// Trials of each.
    #[arg(long, default_value_t = 1_000)]
    trials: u32,
    /// Shuffled markets of each luck test; 0 for none.
    #[arg(long, default_value_t = 39)]
    permutations: u32,
    /// Search every shuffled market, even when p can no more be 0.05: for the verdicts.
    #[arg(long)]
    whole: bool,
    /// The sampler.
    #[arg(long, default_value = "tpe")]
    method: Method,
    /// A validation as a request writes it, such as
    /// {"method": "walk_forward", "window": "rolling", ...}; else none.
    #[arg(long)]
    validation: Option<String>,
    /// Years that are traded, up to 2021.
    #[arg(long, default_value_t = 10)]
    years: u16,
    /// The seed of the first search; the others follow it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Symbols, traded as one book.
    #[arg(long, default_value_t = 4)]
    symbols: usize,
    /// Range of the short window.
    #[arg(long, num_args = 2, default_values_t = [2, 50])]
    short: Vec<i64>,
    /// Range of the long window.
    #[arg(long, num_args = 2, default_values_t = [5, 200])]
    long: Vec<i64>,
    /// Threads; the cores of this machine if absent.
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let cores = std::thread::available_parallelism()?.get();
    let threads = arguments.threads.unwrap_or(cores);
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let found: Mutex<Vec<(u64, Result<Found, String>)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let run = next.fetch_add(1, Ordering::Relaxed);
                    if run >= arguments.searches {
                        break;
                    }
                    let one = one(&arguments, arguments.seed + run).map_err(|e| e.to_string());
                    if let Ok(mut found) = found.lock() {
                        found.push((run, one));
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().map_err(|_| "a thread panicked")?;
    found.sort_by_key(|(run, _)| *run);
    let all: Result<Vec<Found>, String> = found.into_iter().map(|(_, one)| one).collect();
    tell(&arguments, threads, &all?, began.elapsed().as_secs_f64());
    Ok(())
}

/// One search and what it is worth.
struct Found {
    /// Without the luck test, where that was left early.
    document: Assessment,
    /// The p of the luck test: the least that it can be, where that was left early.
    p_value: Option<f64>,
    search_seconds: f64,
    assess_seconds: f64,
}

fn one(arguments: &Arguments, seed: u64) -> Result<Found, Box<dyn Error>> {
    let year = 2021 - i32::from(arguments.years) + 1;
    let day = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).ok_or("no such day");
    let (start, end) = (day(year, 1, 1)?, day(2021, 12, 31)?);
    let kind = match arguments.prices {
        Prices::RandomWalk => Kind::RandomWalk,
        Prices::Trending => Kind::Trending,
    };
    let first = day(year - 1, 1, 1)?;
    let bars = (0..arguments.symbols)
        .map(|index| series(kind, seed, index, first, end).map(Arc::new))
        .collect::<Result<Vec<_>, _>>()?;
    let spec = spec(arguments, seed, (start, end))?;
    let config = spec.backtest.config()?;
    let make = |bars: &[Arc<BarSeries>], first, last| {
        let data = Dataset::new(bars.to_vec(), first, last).map_err(|e| e.to_string())?;
        Backtest::new(data, config.clone()).map_err(|e| e.to_string())
    };
    let began = Instant::now();
    let trials = search_alone(&spec, &bars, &make)?;
    let search_seconds = began.elapsed().as_secs_f64();
    let case = Case {
        spec: &spec,
        trials: &trials,
        default_params: None,
        prior_trials: 0,
        earlier_looks: 0,
        market: Some(Market {
            series: bars,
            backtest: &make,
        }),
        bounds: LuckBounds {
            permutations: arguments.permutations,
            ..LuckBounds::default()
        },
    };
    let began = Instant::now();
    let mut assessing = Assessing::new(&case, None);
    let (document, p_value) = loop {
        if let Some(document) = assessing.step(1, &|| false)? {
            let p_value = document.trust.luck.found().map(|luck| luck.p_value);
            break (document, p_value);
        }
        let (as_good, _) = assessing.luck_so_far();
        let least = p_value(as_good, arguments.permutations);
        if let (false, Some(document)) = (arguments.whole, assessing.without_luck())
            && least > ALPHA
        {
            break (document.clone(), Some(least));
        }
    };
    Ok(Found {
        document,
        p_value,
        search_seconds,
        assess_seconds: began.elapsed().as_secs_f64(),
    })
}

fn spec(
    arguments: &Arguments,
    seed: u64,
    (start, end): (NaiveDate, NaiveDate),
) -> Result<TaskSpec, Box<dyn Error>> {
    let int = |low, high| Domain::Int {
        low,
        high,
        step: 1,
        log: false,
    };
    let space = SpaceBuilder::default()
        .parameter("short_window", int(arguments.short[0], arguments.short[1]))
        .parameter("long_window", int(arguments.long[0], arguments.long[1]))
        .constraint("short_window < long_window")
        .build()
        .map_err(|faults| faults[0].to_string())?;
    let validation = match &arguments.validation {
        None => None,
        Some(text) => {
            let method: Validation = serde_json::from_str(text)?;
            let days = business_days(start, end);
            let period = Period::new(start, end, &days)?;
            let plan = plan(&method, &period, arguments.trials, None)
                .map_err(|faults| faults[0].to_string())?;
            Some(Validated { method, plan })
        }
    };
    let limit = ResultConstraint::parse("n_trades >= 1", MetricNames::Backtest)
        .map_err(|faults| faults[0].to_string())?;
    Ok(TaskSpec {
        task_name: "calibration".to_owned(),
        strategy_name: "moving_average".to_owned(),
        stock_codes: (0..arguments.symbols).map(symbol).collect(),
        start_date: start,
        end_date: end,
        space,
        fixed: BTreeMap::from([("signal_threshold".to_owned(), Choice::Float(0.005))]),
        first_points: vec![],
        method: arguments.method,
        seed,
        n_trials: arguments.trials,
        parallelism: Some(1),
        timeout: None,
        trial_timeout: 300.0,
        objectives: vec![Target::new("sharpe_ratio", Direction::Maximize)],
        result_constraints: vec![limit],
        backtest: BacktestSettings::default(),
        pairs: BTreeMap::new(),
        stop: StopRules::default(),
        scope: Scope::default(),
        pruner: trialmill_search::pruner::PrunerConfig::None,
        prior: Vec::new(),
        copies: false,
        validation,
    })
}

fn tell(arguments: &Arguments, threads: usize, all: &[Found], seconds: f64) {
    let count = all.len();
    let documents = || all.iter().map(|found| &found.document);
    println!(
        "{count} searches of {:?} prices, {} years, {} trials by {}, {} shuffled markets each; {} \
         threads, {seconds:.0} s ({:.2} s to search, {:.2} s to assess, each)",
        arguments.prices,
        arguments.years,
        arguments.trials,
        arguments.method,
        arguments.permutations,
        threads,
        mean(all.iter().map(|found| found.search_seconds)),
        mean(all.iter().map(|found| found.assess_seconds)),
    );
    let in_sample = documents().filter_map(|d| value_of(&d.best.as_ref()?.in_sample.sharpe_ratio));
    println!("best Sharpe ratio in sample, mean: {:.3}", mean(in_sample));
    let joined = documents().filter_map(|d| value_of(&d.out_of_sample.found()?.sharpe_ratio));
    if joined.clone().next().is_some() {
        println!("Sharpe ratio out of sample, mean: {:.3}", mean(joined));
    }
    let deflated = documents().filter_map(|d| Some(d.trust.deflated_sharpe.found()?.value));
    share("deflated Sharpe above 0.95", deflated, |value| value > 0.95);
    let luck = all.iter().filter_map(|found| found.p_value);
    share("luck p at most 0.05", luck.clone(), |p| p <= ALPHA);
    if arguments.whole {
        for level in [0.1, 0.25, 0.5, 0.75] {
            share(&format!("luck p at most {level}"), luck.clone(), |p| {
                p <= level
            });
        }
    }
    let deflated = documents().filter_map(|d| Some(d.trust.deflated_sharpe.found()?.value));
    println!("deflated Sharpe, mean: {:.3}", mean(deflated));
    let pbo = documents().filter_map(|d| Some(d.trust.pbo.found()?.value));
    println!("PBO, mean: {:.3}", mean(pbo));
    let effective = documents().filter_map(|d| d.trust.deflated_sharpe.found()?.effective_n);
    println!(
        "effective trials, mean: {:.0}",
        mean(effective.map(f64::from))
    );
    let mut verdicts: BTreeMap<&str, u32> = BTreeMap::new();
    for document in documents() {
        *verdicts.entry(document.verdict.code.name()).or_default() += 1;
    }
    let without = if arguments.whole {
        ""
    } else {
        ", without a luck test that was left early"
    };
    println!("verdicts{without}: {verdicts:?}");
}

/// How many of the figures that were computed are so, with the exact interval of 95 %.
fn share(what: &str, figures: impl Iterator<Item = f64>, is_so: impl Fn(f64) -> bool) {
    let figures: Vec<f64> = figures.collect();
    let hits = figures.iter().filter(|figure| is_so(**figure)).count();
    let (low, high) = exact_interval(hits, figures.len());
    println!(
        "{what}: {hits} of {} ({:.1} %, 95 % interval {:.1} to {:.1} %)",
        figures.len(),
        100.0 * hits as f64 / figures.len().max(1) as f64,
        100.0 * low,
        100.0 * high,
    );
}

/// Clopper and Pearson (1934): the shares under which so many or more, and so few or less, have a
/// chance of 2.5 %.
fn exact_interval(hits: usize, of: usize) -> (f64, f64) {
    let at_most = |hits: usize, share: f64| -> f64 {
        // Terms by their ratio, from the logarithm of the first.
        let mut term = of as f64 * (-share).ln_1p();
        let mut sum = term.exp();
        for k in 0..hits {
            term += ((of - k) as f64 / (k + 1) as f64).ln() + share.ln() - (-share).ln_1p();
            sum += term.exp();
        }
        sum
    };
    let solve = |is_below: &dyn Fn(f64) -> bool| {
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if is_below(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    };
    let low = match hits {
        0 => 0.0,
        _ => solve(&|share| 1.0 - at_most(hits - 1, share) < 0.025),
    };
    let high = if hits == of {
        1.0
    } else {
        solve(&|share| at_most(hits, share) > 0.025)
    };
    (low, high)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    values.iter().sum::<f64>() / values.len() as f64
}
