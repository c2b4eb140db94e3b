//! What the demo prints: figures of this run only.

use super::Plan;
use super::checks::Checks;
use super::search::Found;
use crate::database::SQLITE_FILE;
use crate::example;
use crate::figures::{count, figure, named, percent};
use crate::judged;
use crate::output;
use crate::progress::full_bar;
use serde_json::{Value, json};
use std::path::Path;
use trialmill_backtest::result::{Figure, PairResult};

/// How far to trust a search without validation.
const TRUST: &str = "in-sample only: not validated; it is the best of several tries on these very \
                     prices, into which the pair was built";

/// An act after the first.
pub struct Act {
    /// Its name in the document.
    name: &'static str,
    title: &'static str,
    /// What was built into its prices.
    built_in: &'static str,
    /// Whether its prices walk at random.
    pub is_random_walk: bool,
}

/// The acts after the first, in order.
pub const LATER: [Act; 2] = [
    Act {
        name: "walk_forward",
        title: "The same rule, ten years, 1,800 trials, walk-forward",
        built_in: "An edge was built into these prices.",
        is_random_walk: false,
    },
    Act {
        name: "random_walk",
        title: "The same search on a random walk",
        built_in: "There is nothing in these prices.",
        is_random_walk: true,
    },
];

/// The document of `--json`: act 1 at top level, with the fields of a task's status; the later ones
/// under `checks`.
pub fn document(found: &Found, checks: &Checks, recorded: u32, later: &[(&Act, Found)]) -> Value {
    let mut document = found.status.clone();
    let (params, metrics) = &checks.default_params;
    document["best_metrics"] = found.best.metrics.clone().unwrap_or_default();
    document["trials_per_second"] = json!(rate(found));
    document["elapsed_seconds"] = json!(found.elapsed.as_secs_f64());
    document["partner"] = found.task.resolved["partner"].clone();
    document["checks"] = json!({
        "verify": {"violations": 0, "trials_recorded_once": recorded},
        "replay": {"trial_number": found.best.number, "identical_bits": true},
        "default_params": {"params": params, "metrics": metrics},
        "hold": {"metrics": checks.hold},
        "pair": checks.pair,
    });
    for (act, found) in later {
        let mut of_act = found.status.clone();
        of_act["trials_per_second"] = json!(rate(found));
        of_act["elapsed_seconds"] = json!(found.elapsed.as_secs_f64());
        of_act["result"] = found.result.clone();
        document["checks"][act.name] = of_act;
    }
    document
}

fn rate(found: &Found) -> f64 {
    f64::from(found.task.ledger.ended()) / found.elapsed.as_secs_f64()
}

/// The lines of the first act.
pub fn lines(plan: &Plan, found: &Found, checks: &Checks) -> Vec<String> {
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
    vec![
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
            "[1/{}] {}   {} · {} · 2023 · {sampler}, seed {}",
            plan.acts,
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
        format!("                {}", not_deflated(&found.result)),
        String::new(),
    ]
}

/// The deflated Sharpe ratio, or why it was not computed.
fn not_deflated(result: &Value) -> String {
    let deflated = &result["trust"]["deflated_sharpe"];
    match deflated["value"].as_f64() {
        Some(value) => format!("deflated sharpe {value:.2}"),
        None => format!(
            "deflated sharpe not computed: {}",
            deflated["reason"].as_str().unwrap_or("no reason is known")
        ),
    }
}

/// The first line of a later act, before it is played.
pub fn heading(plan: &Plan, act: &Act) -> Vec<String> {
    let place = LATER.iter().position(|other| other.name == act.name);
    let number = place.map_or(0, |place| place + 2);
    vec![format!("[{number}/{}] {}", plan.acts, act.title)]
}

/// What a later act gave: whatever that is.
pub fn judged(act: &Act, found: &Found) -> Vec<String> {
    let result = &found.result;
    let bar = if output::is_terminal() {
        full_bar() + " "
    } else {
        String::new()
    };
    let head = format!(
        "      {bar}{}/{}   {:.0} trials/s",
        count(u64::from(found.task.ledger.ended())),
        count(u64::from(found.task.ledger.planned)),
        rate(found)
    );
    let judged = judged::lines(result).into_iter();
    let judged = judged.map(|line| format!("      {line}"));
    let verdict = [
        format!(
            "      verdict  {} ({})",
            result["verdict"]["text"].as_str().unwrap_or_default(),
            act.built_in
        ),
        String::new(),
    ];
    std::iter::once(head).chain(judged).chain(verdict).collect()
}

/// What was checked, and where to go from here.
pub fn end(recorded: u32, kept: Option<&Path>) -> Vec<String> {
    let checked = format!(
        "Checked  {} trials recorded once each (verify silent) · best of [1] run again: identical bits",
        count(u64::from(recorded))
    );
    std::iter::once(checked).chain(next_steps(kept)).collect()
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
