//! What the demo prints: figures of this run only.

use super::Plan;
use super::checks::Checks;
use super::search::Found;
use crate::database::SQLITE_FILE;
use crate::example;
use crate::figures::{count, figure, named, percent};
use crate::output;
use crate::progress::full_bar;
use serde_json::{Value, json};
use std::path::Path;
use trialmill_backtest::result::{Figure, PairResult};

/// How far to trust a search without validation.
const TRUST: &str = "in-sample only: not validated; it is the best of several tries on these very \
                     prices, into which the pair was built";

/// The document of `--json`: act 1 at top level, with the fields of a task's status.
pub fn document(found: &Found, checks: &Checks) -> Value {
    let mut document = found.status.clone();
    let (params, metrics) = &checks.default_params;
    document["best_metrics"] = found.best.metrics.clone().unwrap_or_default();
    document["trials_per_second"] = json!(rate(found));
    document["elapsed_seconds"] = json!(found.elapsed.as_secs_f64());
    document["partner"] = found.task.resolved["partner"].clone();
    document["checks"] = json!({
        "verify": {"violations": 0, "trials_recorded_once": checks.recorded},
        "replay": {"trial_number": found.best.number, "identical_bits": true},
        "default_params": {"params": params, "metrics": metrics},
        "hold": {"metrics": checks.hold},
        "pair": checks.pair,
    });
    document
}

fn rate(found: &Found) -> f64 {
    f64::from(found.task.ledger.ended()) / found.elapsed.as_secs_f64()
}

/// The lines for people.
pub fn lines(plan: &Plan, found: &Found, checks: &Checks, kept: Option<&Path>) -> Vec<String> {
    let (first, last) = (example::first_day(), example::last_day());
    let partner = &found.task.resolved["partner"];
    let sampler = found.task.resolved["sampler"].as_str().unwrap_or("auto");
    let ended = count(u64::from(found.task.ledger.ended()));
    let seconds = found.elapsed.as_secs_f64();
    let bar = if output::is_terminal() {
        full_bar() + " "
    } else {
        String::new()
    };
    let metrics = found.best.metrics.clone().unwrap_or_default();
    let (_, default_metrics) = &checks.default_params;
    let mut lines = vec![
        format!(
            "Trialmill {}   embedded: SQLite + in-process queue, {} slots, no network",
            env!("CARGO_PKG_VERSION"),
            plan.slots
        ),
        format!(
            "Data   {} synthetic daily series, seed {}, {first}..{last}.  Invented prices: no \
             market.",
            example::SERIES,
            plan.price_seed
        ),
        String::new(),
        format!(
            "[1/1] {}   {} · {} · 2023 · auto ({sampler}), seed {}",
            found.task.name,
            found.task.strategy,
            found.task.stock_codes.join(", "),
            found.task.seed
        ),
        format!("      partner   {}", chosen(partner)),
        format!(
            "      {bar}{ended}/{}   {seconds:.2} s",
            count(u64::from(found.task.ledger.planned))
        ),
        format!(
            "      best #{}  {}   (default {}, hold {})",
            found.best.number,
            headline(&metrics),
            number(default_metrics, "sharpe_ratio", figure_2),
            number(&checks.hold, "sharpe_ratio", figure_2)
        ),
        format!("                {}", named(&found.status["best_params"])),
        format!("      default   {}", headline(default_metrics)),
        format!("      hold      {}   (both legs)", headline(&checks.hold)),
        format!("      pair      {}", beside_holding(&checks.pair)),
        format!("      trust     {TRUST}"),
        String::new(),
        format!(
            "Checked  {} trials recorded once each (verify silent) · best run again: identical bits",
            count(u64::from(checks.recorded))
        ),
    ];
    lines.extend(next_steps(kept));
    lines
}

/// The partner, and how it was found.
fn chosen(partner: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let year = |value: &Value| text(value).chars().take(4).collect::<String>();
    format!(
        "{}   chosen on {}-{} from {} candidates, p = {} after correction",
        text(&partner["partner"]),
        year(&partner["formation"]["from"]),
        year(&partner["formation"]["to"]),
        partner["candidates"],
        partner["p_value_corrected"]
            .as_f64()
            .map_or_else(String::new, figure)
    )
}

/// What the trades were, seen against holding both legs.
fn beside_holding(pair: &PairResult) -> String {
    let shown = |of: &Figure, show: fn(f64) -> String| match of {
        Figure::Value(value) => show(*value),
        Figure::Undefined { reason, .. } => format!("none ({reason})"),
    };
    format!(
        "{}: beta {}   exposure {}   excess over holding both {}",
        pair.form.split(':').next().unwrap_or_default(),
        shown(&pair.beta, figure_2),
        percent(pair.exposure),
        shown(&pair.excess_return, percent)
    )
}

/// Commands that go on from here.
fn next_steps(kept: Option<&Path>) -> Vec<String> {
    let Some(kept) = kept else {
        return vec![
            "Next     trialmill data generate                      the same kind of bars, kept"
                .to_owned(),
            "         trialmill data import FILE                   your bars".to_owned(),
            "         trialmill up                                 the service, embedded, on \
             http://127.0.0.1:8080"
                .to_owned(),
            "         trialmill init > task.json                   an example request".to_owned(),
            "         trialmill submit task.json --watch           run it".to_owned(),
        ];
    };
    let folder = kept.parent().unwrap_or(kept).display();
    vec![
        format!("Kept     {folder}/{SQLITE_FILE}"),
        format!("Next     trialmill up --data-dir {folder}     the service on this database"),
        "         trialmill list                       the search that just ran".to_owned(),
        "         trialmill init > task.json           an example request".to_owned(),
        "         trialmill submit task.json --watch   run it".to_owned(),
    ]
}

/// The figures that people ask for first.
fn headline(metrics: &Value) -> String {
    let trades = number(metrics, "n_trades", figure);
    let noun = if trades == "1" { "trade" } else { "trades" };
    format!(
        "sharpe {}   return {}   max drawdown {}   {trades} {noun}",
        number(metrics, "sharpe_ratio", figure_2),
        number(metrics, "total_return", percent),
        number(metrics, "max_drawdown", percent)
    )
}

fn figure_2(value: f64) -> String {
    format!("{value:.2}")
}

/// A metric, or why it has no value.
fn number(metrics: &Value, name: &str, show: fn(f64) -> String) -> String {
    match metrics[name].as_f64() {
        Some(value) => show(value),
        None => format!(
            "none ({})",
            metrics[name]["reason"].as_str().unwrap_or("not computed")
        ),
    }
}
