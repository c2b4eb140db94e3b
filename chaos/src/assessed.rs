//! Searches on bars, whose results are assessed: what an undisturbed assessment gives, computed by the
//! product's pure middle alone.

use crate::cluster::Cluster;
use crate::findings::Findings;
use crate::observer::Observer;
use anyhow::{Context, ensure};
use chrono::{DateTime, NaiveDate};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::oneshot;
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::synthetic::{Kind, series, symbol};
use trialmill_common::assessment::Assessment;
use trialmill_common::spec::TaskSpec;
use trialmill_worker::assess::{Assessing, Case, LuckBounds, Market, search_alone};
use trialmill_worker::bars::PinnedData;

/// How many symbols there are.
pub const SYMBOLS: u64 = 6;
/// The days of the tasks.
pub const DAYS: [&str; 2] = ["2019-01-01", "2021-12-31"];
/// The days of the bars: indicators read those before the first one.
const BARS: [&str; 2] = ["2018-01-01", "2021-12-31"];
/// Seed of the prices.
const SEED: u64 = 5;
/// What the luck test may take: enough for the small searches here on a busy machine.
pub const LUCK_SECONDS: &str = "60";

/// A task that has an assessment, as the database has it.
pub struct Stored {
    /// Its id.
    pub id: String,
    /// What was asked for.
    pub spec: Value,
    /// The document of its run.
    pub document: Value,
}

/// The bars of a symbol: a random walk.
fn bars(index: usize) -> anyhow::Result<BarSeries> {
    let [first, last] = BARS.map(str::parse::<NaiveDate>);
    Ok(series(Kind::RandomWalk, SEED, index, first?, last?)?)
}

/// The name of symbol `index`.
#[must_use]
pub fn name(index: u64) -> String {
    symbol(usize::try_from(index).unwrap_or(0))
}

/// Bars as a file that `trialmill data import` takes.
///
/// # Panics
/// If a row has no day of the calendar.
#[must_use]
pub fn csv(all: &[BarSeries]) -> String {
    let mut text = "symbol,date,open,high,low,close,volume\n".to_owned();
    for bars in all {
        let name = bars.symbol();
        for row in 0..bars.rows() {
            let time = DateTime::from_timestamp(bars.time()[row], 0).expect("bars have days");
            let day = time.date_naive();
            let columns = [
                bars.open(),
                bars.high(),
                bars.low(),
                bars.close(),
                bars.volume(),
            ];
            let [open, high, low, close, volume] = columns.map(|column| column[row]);
            text += &format!("{name},{day},{open},{high},{low},{close},{volume}\n");
        }
    }
    text
}

/// Imports the bars of all symbols, as an operator does.
///
/// # Errors
/// When they are refused.
pub async fn import(cluster: &Cluster) -> anyhow::Result<()> {
    let all = (0..SYMBOLS).map(|index| bars(usize::try_from(index)?));
    let all: Vec<BarSeries> = all.collect::<anyhow::Result<_>>()?;
    let file = cluster.servers().dir().join("bars.csv");
    std::fs::write(&file, csv(&all))?;
    let output = cluster
        .run_cli(&["data", "import", &file.to_string_lossy()])
        .await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "trialmill data import: {said}");
    Ok(())
}

/// Holds every assessment that was not looked at before against an undisturbed one. `seen` keeps their
/// tasks. With many kills, one may be given up after three lost workers: `may_be_given_up`. How many there
/// were.
///
/// # Errors
/// When the database does not answer, or a task cannot be read.
pub async fn check(
    observer: &Observer,
    seen: &mut BTreeSet<String>,
    may_be_given_up: bool,
    findings: &Findings,
) -> anyhow::Result<u32> {
    let mut looked_at = 0;
    for stored in observer.assessments().await? {
        if !seen.insert(stored.id.clone()) {
            continue;
        }
        looked_at += 1;
        let failed = stored.document["failed"].as_str().unwrap_or("");
        if may_be_given_up && failed.contains("workers were lost") {
            findings.count("assessments given up after lost workers", 1);
            continue;
        }
        let id = stored.id.clone();
        let (told, looked) = oneshot::channel();
        // It computes for seconds, and other runs are being supervised. The receiver waits below.
        std::thread::spawn(move || drop(told.send(fault(&stored))));
        if let Some(fault) = looked.await?.with_context(|| format!("task {id}"))? {
            findings.violation(format!("task {id}: {fault}"));
        } else {
            findings.count("assessments as an undisturbed one", 1);
        }
    }
    Ok(looked_at)
}

/// What is wrong with an assessment, if anything.
fn fault(stored: &Stored) -> anyhow::Result<Option<String>> {
    let found = &stored.document["assessment"];
    if found.is_null() {
        return Ok(Some(format!("it is not assessed: {}", stored.document)));
    }
    let found: Assessment = serde_json::from_value(found.clone())?;
    let expected = undisturbed(&TaskSpec::from_json(&stored.spec)?, &found)?;
    if found == expected {
        return Ok(None);
    }
    let [found, expected] = [&found, &expected].map(serde_json::to_value);
    let (found, expected) = (found?, expected?);
    Ok(Some(format!(
        "its assessment is {found}, undisturbed it is {expected}"
    )))
}

/// What an undisturbed run gives. From what was `found` come only the facts that are not the task's own:
/// how often others had tried and looked before, and for how many shuffled markets there was time.
fn undisturbed(spec: &TaskSpec, found: &Assessment) -> anyhow::Result<Assessment> {
    let wanted = |code: &String| (0..SYMBOLS).find(|index| name(*index) == *code);
    let indices: Option<Vec<u64>> = spec.stock_codes.iter().map(wanted).collect();
    let indices = indices.context("it is not on symbols of ours")?;
    let series: anyhow::Result<Vec<_>> = indices
        .into_iter()
        .map(|index| Ok(Arc::new(bars(usize::try_from(index)?)?)))
        .collect();
    let series = series?;
    let config = spec.backtest.config()?;
    let make = |series: &[Arc<BarSeries>], first, last| {
        let data = PinnedData {
            series: series.to_vec(),
            records: vec![],
        };
        data.backtest(None, &config, (first, last))
    };
    let trials = search_alone(spec, &series, &make).map_err(anyhow::Error::msg)?;
    let trust = &found.trust;
    let most = LuckBounds::default().permutations;
    let permutations = trust.luck.found().map_or(most, |luck| luck.permutations);
    let case = Case {
        spec,
        trials: &trials,
        default_params: None,
        prior_trials: trust
            .deflated_sharpe
            .found()
            .map_or(0, |it| it.prior_trials),
        earlier_looks: found.holdout.found().map_or(0, |held| held.earlier_looks),
        market: Some(Market {
            series,
            backtest: &make,
        }),
        bounds: LuckBounds {
            permutations,
            seconds: f64::INFINITY,
            easy_seconds: f64::INFINITY,
        },
    };
    let mut assessing = Assessing::new(&case, None);
    loop {
        if let Some(document) = assessing.step(1, &|| false)? {
            return Ok(document);
        }
    }
}
