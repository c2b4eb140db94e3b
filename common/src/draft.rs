//! From a request to a checked task: every fault at once, each with its place.
//!
//! A request is a JSON document ([`parse_body`]). The check knows nothing of databases or time:
//! what the store holds and what workers announced comes in as [`Surroundings`], what a seed is
//! drawn from too. What comes out is a [`Spec`] that nobody needs to check again, with the decisions
//! that were made for the user, or a list of [`Fault`]s. One decision takes the bars and is left to
//! the caller: the partners of a strategy with two legs ([`Pairing`]).
//!
//! Rules for the whole document: an unknown field is a fault, with the field that was probably
//! meant; null means "not given"; a whole number may be written as `5.0`.
//!
//! ```
//! use serde_json::json;
//! use std::collections::BTreeSet;
//! use trialmill_common::draft::{MarketView, Surroundings, check_optimization};
//!
//! let (market, announced) = (MarketView::default(), BTreeSet::new());
//! let around =
//!     Surroundings { market: &market, announced: &announced, live_slots: 2, drawn_seed: 7 };
//! let mut request = json!({
//!     "task_name": "a first search", "strategy_name": "sphere", "stock_codes": [],
//!     "start_date": "2023-01-01", "end_date": "2023-12-31",
//!     "param_space": {"x": {"type": "float", "low": -5, "high": 5}},
//!     "objective_config": {"objective_metric": "value"},
//!     "optimization_method": "random",
//! });
//! let accepted = check_optimization(&request, &around).expect("nothing is wrong with it");
//! let search = accepted.spec.as_search().expect("it is a search");
//! assert_eq!((accepted.planned, search.seed), (50, 7));
//!
//! request["n_trails"] = json!(100);
//! let faults = check_optimization(&request, &around).unwrap_err();
//! assert_eq!(faults[0].detail, "n_trails is not a field; did you mean n_trials?");
//! ```

mod aims;
mod body;
mod book;
mod changes;
mod client;
mod exchange;
mod findings;
mod ground;
mod market;
mod node;
mod parameters;
mod partner;
mod points;
mod pruner;
mod request;
mod run;
mod schema;
mod scope;
mod search;
mod stop;
mod validation;
mod warm;
mod windows;

pub use aims::{MAX_CONSTRAINTS, MAX_OBJECTIVES};
pub use body::parse_body;
pub use changes::{Changes, changes_schema, check_changes, has_several_objectives, with_field};
pub use client::{
    ClientLease, MAX_TOLD_CHARS, MAX_TOLD_METRICS, NoLease, Told, ToldEnd, ToldReport,
    check_enqueued, check_report, check_told,
};
pub use findings::{MAX_FAULTS, close_to, shown};
pub use ground::{Ground, SURVIVORSHIP_STOCKS};
pub use market::{
    Coverage, GRACE_DAYS, MAX_PERIOD_DAYS, MAX_STOCK_CODES, MIN_PERIOD_DAYS, MarketView, YEARS,
    strategy_key, symbols,
};
pub use partner::{BEST_TESTS, MAX_CANDIDATES, MAX_PAIRS, Pairing, PartnerAnswer};
pub use points::MAX_INITIAL_PARAMS;
pub use schema::{request_schema, task_request_schema};
pub use search::sampler_plan;
pub use validation::check_validation;
pub use warm::{MAX_WARM_ORIGINS, WarmOrigin, WarmTrials};
pub use windows::Unplanned;

use crate::fault::{Fault, Warning};
use crate::objective::{CLIENT, TestFunction};
use crate::spec::Spec;
use crate::state::{Priority, TaskKind};
use book::Book;
use chrono::{DateTime, Datelike, NaiveDate, Utc};
use findings::{Findings, advice};
use node::{Node, printable};
use request::Request;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use trialmill_backtest::config::Market;
use trialmill_backtest::strategy::{self, Strategy};

/// Trials of a request that does not say.
pub const DEFAULT_TRIALS: u32 = 50;
/// Seconds after which a trial fails, if the request does not say.
pub const DEFAULT_TRIAL_TIMEOUT: f64 = 300.0;
/// Longest `trial_timeout`, in seconds: a day.
pub const MAX_TRIAL_TIMEOUT: f64 = 86_400.0;
/// Longest `timeout`, in seconds: 30 days.
pub const MAX_TIMEOUT: f64 = 30.0 * 86_400.0;
/// Largest `parallelism`: more slots than one database's commits can feed.
pub const MAX_PARALLELISM: u32 = 256;
/// Longest `task_name`, in characters.
pub const MAX_TASK_NAME_CHARS: usize = 200;
/// Most labels.
pub const MAX_LABELS: usize = 32;
/// Longest name of a label, in characters.
pub const MAX_LABEL_NAME_CHARS: usize = 64;
/// Longest value of a label, in characters.
pub const MAX_LABEL_CHARS: usize = 256;

/// What the check must know of the world.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// What the store holds of the symbols that [`symbols`] finds in the body.
    pub market: &'a MarketView,
    /// Strategies that any worker ever announced.
    pub announced: &'a BTreeSet<String>,
    /// Slots of the workers that are alive.
    pub live_slots: u32,
    /// The seed of a request without one; cut to [`MAX_SEED`](crate::spec::MAX_SEED).
    pub drawn_seed: u64,
}

/// A request without fault, and what was decided for the user.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// The checked task.
    pub spec: Spec,
    /// Trials that will be handed out: fewer than asked for when a grid is smaller; 1 for a
    /// backtest.
    pub planned: u32,
    /// Order between tasks.
    pub priority: Priority,
    /// Not before this time.
    pub not_before: Option<DateTime<Utc>>,
    /// The user's own labels.
    pub labels: BTreeMap<String, String>,
    /// `resolved` of the answer: `sampler`, `reproducible`, `market`, `scope`, `aggregate`,
    /// `trials_planned`; the caller adds `data_snapshot`.
    pub resolved: Value,
    /// What the user should know.
    pub warnings: Vec<Warning>,
    /// Hash of each symbol's series: the snapshot that the task pins. Empty for test functions.
    pub series: BTreeMap<String, [u8; 32]>,
    /// Hash of each symbol's record, pinned with the series: the caller adds those that there are, if
    /// the market of the task [asks for them](trialmill_backtest::config::Market::has_rules).
    pub records: BTreeMap<String, [u8; 32]>,
    /// What is left to decide with the bars at hand: [`Accepted::paired`] takes the decision.
    /// Nothing for strategies of one leg.
    pub pairing: Option<Pairing>,
    /// What is left to lay out with the trading days at hand: [`Accepted::planned_over`] does so.
    /// Nothing for tasks without a validation.
    pub unplanned: Option<Unplanned>,
    /// The earlier tasks whose trials its sampler is to know: [`Accepted::begun_with`] takes what was found of
    /// them.
    pub warm_start: Vec<WarmOrigin>,
}

/// The field of `resolved` that has the number of the trial of the default parameters; null when
/// there is none.
pub const DEFAULT_TRIAL: &str = "default_trial";

/// What a trial of the task evaluates.
#[derive(Clone, Copy)]
enum Subject {
    Strategy(&'static dyn Strategy),
    Function(TestFunction),
    /// What a client likes.
    Client,
}

impl Subject {
    /// Whether it trades on bars.
    fn trades(self) -> bool {
        matches!(self, Self::Strategy(_))
    }
}

/// The partners that a strategy with two legs still needs.
fn pairing(
    strategy: &dyn Strategy,
    stocks: Vec<(String, String)>,
    period: (NaiveDate, NaiveDate),
    book: &Book,
    config: &Node<'_>,
) -> Option<Pairing> {
    (strategy.info().legs == 2).then(|| Pairing {
        stocks,
        partners: book.partners.clone(),
        start_date: period.0,
        end_date: period.1,
        require_cointegration: book.require_cointegration,
        only_shares: book.market_is_named && book.settings.market == Market::CnA,
        config_pointer: config.pointer.clone(),
    })
}

/// Checks the body of `POST /optimization/tasks`.
///
/// # Errors
/// Every fault of the request, at most [`MAX_FAULTS`] and one that counts the rest.
pub fn check_optimization(body: &Value, around: &Surroundings<'_>) -> Result<Accepted, Vec<Fault>> {
    let mut findings = Findings::default();
    let Some(top) = Node::root(body).open_object(&mut findings) else {
        return Err(findings.close().err().unwrap_or_default());
    };
    // A client that posts to both routes names the kind in both.
    top.only(
        &[&search::FIELDS[..], &["task_type"]].concat(),
        &mut findings,
    );
    let own = TaskKind::HyperparameterOptimization;
    let kind_node = top.field("task_type");
    let kind = kind_node.value.and_then(Value::as_str);
    match kind.and_then(|name| name.parse::<TaskKind>().ok()) {
        Some(kind) if kind != own => {
            let detail = format!(
                "task_type is {kind}, and this route takes {own} only; send it to POST /tasks"
            );
            findings.fault(kind_node.fault("unknown_field", detail));
        }
        _ if kind_node.value.is_some() => {
            kind_node.one_of(&[own.name()], &[], &mut findings);
        }
        _ => {}
    }
    let request = Request::flat(top, &search::FIELDS);
    search::check(&request, around, findings)
}

/// Checks the body of `POST /tasks`: a search or a backtest, told apart by `task_type`, also in the
/// older forms that keep the fields in `config` and some of a search in `optimization_config`.
///
/// # Errors
/// Every fault of the request, as in [`check_optimization`]; a kind that is not built is refused
/// with one fault, since its fields are not known yet.
pub fn check_task(body: &Value, around: &Surroundings<'_>) -> Result<Accepted, Vec<Fault>> {
    let mut findings = Findings::default();
    let Some(top) = Node::root(body).open_object(&mut findings) else {
        return Err(findings.close().err().unwrap_or_default());
    };
    let names = TaskKind::ALL
        .iter()
        .map(|kind| kind.name())
        .collect::<Vec<_>>();
    let kind_node = top.field("task_type").required(&mut findings);
    let kind = kind_node
        .one_of(&names, &[], &mut findings)
        .and_then(|name| name.parse().ok());
    match kind {
        // A kind in doubt is read as a search, so that the other faults are told too.
        Some(TaskKind::HyperparameterOptimization) | None => {
            let request = Request::of_kind(top, &search::FIELDS, true, &mut findings);
            search::check(&request, around, findings)
        }
        Some(TaskKind::Backtest) => {
            let request = Request::of_kind(top, &run::FIELDS, false, &mut findings);
            run::check(&request, around, findings)
        }
        Some(kind @ (TaskKind::Training | TaskKind::Prediction)) => {
            let built = [TaskKind::HyperparameterOptimization, TaskKind::Backtest];
            let built = built.map(TaskKind::name);
            let detail = format!(
                "tasks of the kind {kind} are not available yet; use {}",
                built.join(" or ")
            );
            Err(vec![
                kind_node.fault("kind_not_built", detail).allowed(built),
            ])
        }
    }
}

/// Reads `strategy_name`; a backtest takes no test function.
fn subject(
    node: &Node<'_>,
    around: &Surroundings<'_>,
    functions: bool,
    findings: &mut Findings,
) -> Option<(Subject, String)> {
    let name = node.string(findings)?;
    if let Some(strategy) = strategy::find(name) {
        return Some((Subject::Strategy(strategy), name.to_owned()));
    }
    if let (true, Some(function)) = (functions, TestFunction::named(name)) {
        return Some((Subject::Function(function), name.to_owned()));
    }
    if functions && name == CLIENT {
        return Some((Subject::Client, name.to_owned()));
    }
    let strategies = strategy::all().iter().map(|strategy| strategy.info().key);
    let names: Vec<_> = strategies
        .chain(
            TestFunction::ALL
                .iter()
                .map(|function| function.name())
                .chain([CLIENT])
                .filter(|_| functions),
        )
        .collect();
    let fault = if name == CLIENT {
        let detail = format!(
            "{CLIENT} is what clients run themselves, trial by trial, and cannot be backtested; search over it \
             with POST /optimization/tasks, or name a strategy"
        );
        node.fault("unknown_strategy", detail)
    } else if TestFunction::named(name).is_some() {
        let detail = format!(
            "{name} is a test function: it trades nothing and cannot be backtested; search over it \
             with POST /optimization/tasks, or name a strategy"
        );
        node.fault("unknown_strategy", detail)
    } else if around.announced.contains(name) {
        let detail = format!(
            "workers run {}, but this build does not have it and cannot check its parameters; \
             submit to a build that has it",
            shown(name)
        );
        node.fault("strategy_not_in_this_build", detail)
    } else {
        let announced: Vec<&str> = around.announced.iter().map(String::as_str).collect();
        let advice = advice(name, &names, &announced);
        let detail = format!(
            "{:?} is not a strategy of this build; {advice}",
            shown(name)
        );
        node.fault("unknown_strategy", detail)
    };
    findings.fault(fault.allowed(names));
    None
}

/// Says so when nothing that lives now could run a task.
fn warn_of_no_worker(around: &Surroundings<'_>, findings: &mut Findings) {
    if around.live_slots == 0 {
        let detail = "no worker is alive; the task waits until one starts (trialmill-worker, or \
                      trialmill up)";
        findings.warn("no_live_worker", "", detail);
    }
}

fn read_priority(node: &Node<'_>, findings: &mut Findings) -> Priority {
    let names = Priority::ALL
        .iter()
        .map(|priority| priority.name())
        .collect::<Vec<_>>();
    let name = node.value.and_then(|_| node.one_of(&names, &[], findings));
    name.and_then(|name| name.parse().ok())
        .unwrap_or(Priority::Normal)
}

fn read_time(node: &Node<'_>, findings: &mut Findings) -> Option<DateTime<Utc>> {
    let text = node.string(findings)?;
    let time = DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|time| time.with_timezone(&Utc));
    if let Some(time) = time.filter(|time| YEARS.contains(&time.year())) {
        return Some(time);
    }
    let detail = format!(
        "{} is {:?}; write a time with its zone, as 2027-01-31T08:00:00Z",
        node.name(),
        shown(text)
    );
    findings.fault(node.fault("malformed_time", detail));
    None
}

fn read_labels(node: &Node<'_>, findings: &mut Findings) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let Some(object) = node.value.and_then(|_| node.open_object(findings)) else {
        return labels;
    };
    let count = object.fields.len();
    if count > MAX_LABELS {
        let detail = format!("there are {count} labels; there may be {MAX_LABELS}");
        findings.fault(node.fault("too_many", detail).limit(MAX_LABELS));
        return labels;
    }
    for (name, value) in object.fields {
        let label = Node {
            value: Some(value),
            ..object.field(name)
        };
        let fit_name = printable(&label, name, MAX_LABEL_NAME_CHARS, findings);
        if let Some(text) = label.text(MAX_LABEL_CHARS, findings)
            && fit_name
        {
            labels.insert(name.clone(), text.to_owned());
        }
    }
    labels
}
