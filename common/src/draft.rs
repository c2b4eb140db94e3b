//! From a request to a checked task: every fault at once, each with its place.
//!
//! A request is a JSON document ([`parse_body`]). The check knows nothing of databases or time:
//! what the store holds and what workers announced comes in as [`Surroundings`], what a seed is
//! drawn from too. What comes out is a [`TaskSpec`] that nobody needs to check again, with the
//! decisions that were made for the user, or a list of [`Fault`]s.
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
//! assert_eq!((accepted.planned, accepted.spec.seed), (50, 7));
//!
//! request["n_trails"] = json!(100);
//! let faults = check_optimization(&request, &around).unwrap_err();
//! assert_eq!(faults[0].detail, "n_trails is not a field; did you mean n_trials?");
//! ```

mod aims;
mod body;
mod book;
mod findings;
mod market;
mod node;
mod parameters;
mod schema;

pub use aims::{MAX_CONSTRAINTS, MAX_EXPRESSION_CHARS};
pub use body::parse_body;
pub use findings::MAX_FAULTS;
pub use market::{
    Coverage, MAX_PERIOD_DAYS, MAX_STOCK_CODES, MIN_PERIOD_DAYS, MarketView, YEARS, stock_codes,
};
pub use schema::{request_schema, task_request_schema};

use crate::fault::{Fault, Warning};
use crate::objective::TestFunction;
use crate::spec::{MAX_SEED, MAX_TRIALS, TaskSpec};
use crate::state::{Priority, TaskKind};
use chrono::{DateTime, Datelike, Utc};
use findings::{Findings, advice, shown};
use node::{Node, Object, printable};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use trialmill_backtest::strategy::{self, Strategy};
use trialmill_search::Method;

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

/// The fields of an optimization request, the required ones first.
const FIELDS: [&str; 26] = [
    "task_name",
    "strategy_name",
    "stock_codes",
    "start_date",
    "end_date",
    "param_space",
    "objective_config",
    "n_trials",
    "optimization_method",
    "timeout",
    "trial_timeout",
    "seed",
    "parallelism",
    "scope",
    "aggregate",
    "constraints",
    "result_constraints",
    "pruner",
    "validation",
    "stop",
    "initial_params",
    "warm_start_from",
    "priority",
    "not_before",
    "labels",
    "backtest_config",
];
/// How many of [`FIELDS`] are required.
const REQUIRED: usize = 7;
/// Where older clients put some of the fields.
const NESTED: &str = "optimization_config";
/// The fields that may stand in `optimization_config`.
const NESTED_FIELDS: [&str; 6] = [
    "strategy_name",
    "param_space",
    "objective_config",
    "n_trials",
    "optimization_method",
    "timeout",
];
/// Samplers that requests may name one day.
const LATER_METHODS: [&str; 6] = ["tpe", "nsga2", "motpe", "sobol", "gp", "cmaes"];
const LATER_PRUNERS: [&str; 5] = [
    "median",
    "percentile",
    "hyperband",
    "successive_halving",
    "asha",
];
const LATER_VALIDATIONS: [&str; 3] = ["holdout", "cross_validation", "walk_forward"];

/// What the check must know of the world.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// What the store holds of [`stock_codes`].
    pub market: &'a MarketView,
    /// Strategies that any worker ever announced.
    pub announced: &'a BTreeSet<String>,
    /// Slots of the workers that are alive.
    pub live_slots: u32,
    /// The seed of a request without one; cut to [`MAX_SEED`].
    pub drawn_seed: u64,
}

/// A request without fault, and what was decided for the user.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// The checked task.
    pub spec: TaskSpec,
    /// Trials that will be handed out: fewer than asked for when a grid is smaller.
    pub planned: u32,
    /// Kind of work.
    pub kind: TaskKind,
    /// Order between tasks.
    pub priority: Priority,
    /// Not before this time.
    pub not_before: Option<DateTime<Utc>>,
    /// The user's own labels.
    pub labels: BTreeMap<String, String>,
    /// `resolved` of the answer: `sampler`, `reproducible`, `market`, `trials_planned`; the caller
    /// adds `data_snapshot`.
    pub resolved: Value,
    /// What the user should know.
    pub warnings: Vec<Warning>,
    /// Hash of each symbol's series: the snapshot that the task pins. Empty for test functions.
    pub series: BTreeMap<String, [u8; 32]>,
}

/// What a trial of the task evaluates.
#[derive(Clone, Copy)]
enum Subject {
    Strategy(&'static dyn Strategy),
    Function(TestFunction),
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
    top.only(&FIELDS, &mut findings);
    let request = Request {
        top,
        nested: None,
        unreadable: false,
    };
    check(&request, around, findings)
}

/// Checks the body of `POST /tasks`: the same with `task_type`, and with the older form that keeps
/// some fields in `optimization_config`.
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
        // A kind in doubt is read as the one that is built, so that the other faults are told too.
        Some(TaskKind::HyperparameterOptimization) | None => {}
        Some(kind @ (TaskKind::Backtest | TaskKind::Training | TaskKind::Prediction)) => {
            let built = TaskKind::HyperparameterOptimization.name();
            let detail = format!("tasks of the kind {kind} are not available yet; use {built}");
            return Err(vec![
                kind_node.fault("kind_not_built", detail).allowed([built]),
            ]);
        }
    }
    let known = [&FIELDS[..], &["task_type", NESTED]].concat();
    top.only(&known, &mut findings);
    let nested = top.field(NESTED).value.map(|value| {
        Node {
            pointer: format!("/{NESTED}"),
            value: Some(value),
        }
        .object(&NESTED_FIELDS, &mut findings)
    });
    let request = Request {
        top,
        unreadable: matches!(nested, Some(None)),
        nested: nested.flatten(),
    };
    check(&request, around, findings)
}

/// The fields of a request, wherever its form puts them.
struct Request<'a> {
    top: Object<'a>,
    nested: Option<Object<'a>>,
    /// `optimization_config` is no object: its fields are unknown rather than missing.
    unreadable: bool,
}

impl<'a> Request<'a> {
    /// A field; given in both places, it is a fault, as nobody can know which one was meant.
    fn field(&self, name: &str, findings: &mut Findings) -> Node<'a> {
        let top = self.top.field(name);
        let Some(nested) = self
            .nested
            .as_ref()
            .filter(|_| NESTED_FIELDS.contains(&name))
        else {
            return top;
        };
        let nested = nested.field(name);
        match (top.value, nested.value) {
            (Some(_), Some(_)) => {
                let detail = format!("{name} is given here and in {NESTED}; keep one");
                findings.fault(top.fault("given_twice", detail));
                nested
            }
            (Some(_), None) => top,
            (None, _) => nested,
        }
    }
}

fn check(
    request: &Request<'_>,
    around: &Surroundings<'_>,
    mut findings: Findings,
) -> Result<Accepted, Vec<Fault>> {
    let found = &mut findings;
    let mut node = |name: &str| {
        let unknown = request.unreadable && NESTED_FIELDS.contains(&name);
        let required = FIELDS[..REQUIRED].contains(&name) && !unknown;
        let node = request.field(name, found);
        if required { node.required(found) } else { node }
    };
    let [
        task_name,
        strategy_name,
        code_list,
        start,
        end,
        param_space,
        objective_config,
    ] = [
        "task_name",
        "strategy_name",
        "stock_codes",
        "start_date",
        "end_date",
        "param_space",
        "objective_config",
    ]
    .map(&mut node);
    let [n_trials, method, timeout, trial_timeout, seed, parallelism] = [
        "n_trials",
        "optimization_method",
        "timeout",
        "trial_timeout",
        "seed",
        "parallelism",
    ]
    .map(&mut node);
    let [result_constraints, backtest_config] =
        ["result_constraints", "backtest_config"].map(&mut node);
    let [priority, not_before, labels] = ["priority", "not_before", "labels"].map(&mut node);

    let task_name = task_name.text(MAX_TASK_NAME_CHARS, found);
    let (subject, strategy_name) = subject(&strategy_name, around, found).unzip();
    let codes = market::codes(&code_list, subject, found);
    let period = market::period(&start, &end, subject, found);
    let is_function = matches!(subject, Some(Subject::Function(_)));
    let series = if is_function {
        if !codes.is_empty() {
            let detail = "a test function reads no market data; its stock_codes are ignored";
            found.warn("stock_codes_ignored", "/stock_codes", detail);
        }
        BTreeMap::new()
    } else {
        market::pin(&codes, period, around.market, found)
    };
    let stock_codes: Vec<String> = if is_function {
        Vec::new()
    } else {
        codes.into_iter().map(|(_, code)| code).collect()
    };
    let method = read_method(&method, found);
    let parameters = parameters::read(&param_space, subject, method, found);
    let objective = aims::objective(&objective_config, subject, found);
    let n_trials = n_trials.whole(1, MAX_TRIALS.into(), found);
    let timeout = timeout.seconds(MAX_TIMEOUT, found);
    let trial_timeout = trial_timeout.seconds(MAX_TRIAL_TIMEOUT, found);
    let seed = seed.whole(0, MAX_SEED.cast_signed(), found);
    let parallelism = parallelism.whole(1, MAX_PARALLELISM.into(), found);
    let result_constraints = aims::result_constraints(&result_constraints, subject, found);
    unbuilt(request, found);
    let priority = read_priority(&priority, found);
    let not_before = read_time(&not_before, found);
    let labels = read_labels(&labels, found);
    let backtest = book::read(&backtest_config, subject, &stock_codes, found);

    let (
        Some(task_name),
        Some(strategy_name),
        Some((start_date, end_date)),
        Some(method),
        Some(parameters),
        Some(objective),
        0,
    ) = (
        task_name,
        strategy_name,
        period,
        method,
        parameters,
        objective,
        found.count(),
    )
    else {
        return Err(findings.close().err().unwrap_or_default());
    };
    let first_points = match method {
        // A grid visits every point once; a first point would be visited twice.
        Method::Grid => Vec::new(),
        Method::Random => parameters.default_point.into_iter().collect(),
    };
    let unsigned = |whole: i64| u32::try_from(whole).expect("its range was checked");
    let spec = TaskSpec {
        task_name: task_name.to_owned(),
        strategy_name,
        stock_codes,
        start_date,
        end_date,
        space: parameters.space,
        fixed: parameters.fixed,
        first_points,
        method,
        seed: seed.map_or(around.drawn_seed & MAX_SEED, i64::cast_unsigned),
        n_trials: n_trials.map_or(DEFAULT_TRIALS, unsigned),
        parallelism: parallelism.map(unsigned),
        timeout,
        trial_timeout: trial_timeout.unwrap_or(DEFAULT_TRIAL_TIMEOUT),
        objectives: vec![objective],
        result_constraints,
        backtest,
        pairs: BTreeMap::new(),
    };
    let planned = spec.planned(size_limit(&spec));
    if planned < spec.n_trials {
        let detail = format!(
            "the grid has {planned} points, fewer than the {} trials asked for; each is visited \
             once",
            spec.n_trials
        );
        found.warn("space_smaller_than_n_trials", "/n_trials", detail);
    }
    if around.live_slots == 0 {
        let detail = "no worker is alive; the task waits until one starts (trialmill-worker, or \
                      trialmill up)";
        found.warn("no_live_worker", "", detail);
    }
    // Random and grid search read no history, so the order in which trials end changes nothing.
    let reproducible = match method {
        Method::Random | Method::Grid => true,
    };
    let resolved = json!({
        "sampler": method.name(),
        "reproducible": reproducible,
        "market": "plain",
        "trials_planned": planned,
    });
    let warnings = findings.close()?;
    Ok(Accepted {
        spec,
        planned,
        kind: TaskKind::HyperparameterOptimization,
        priority,
        not_before,
        labels,
        resolved,
        warnings,
        series,
    })
}

/// The points of a space that its method can exhaust.
fn size_limit(spec: &TaskSpec) -> Option<u64> {
    match spec.method {
        Method::Random => None,
        // The method's faults were excluded: every domain has a size, and the product is at most
        // that of the largest grid.
        Method::Grid => {
            let parameters = spec.space.parameters().iter();
            Some(
                parameters
                    .filter_map(|parameter| parameter.domain().size())
                    .product(),
            )
        }
    }
}

fn subject(
    node: &Node<'_>,
    around: &Surroundings<'_>,
    findings: &mut Findings,
) -> Option<(Subject, String)> {
    let name = node.string(findings)?;
    if let Some(strategy) = strategy::find(name) {
        return Some((Subject::Strategy(strategy), name.to_owned()));
    }
    if let Some(function) = TestFunction::named(name) {
        return Some((Subject::Function(function), name.to_owned()));
    }
    let strategies = strategy::all().iter().map(|strategy| strategy.info().key);
    let names: Vec<_> = strategies
        .chain(TestFunction::ALL.iter().map(|function| function.name()))
        .collect();
    let fault = if around.announced.contains(name) {
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

/// The method names that a request may use now.
fn method_names() -> Vec<&'static str> {
    std::iter::once("auto")
        .chain(Method::ALL.map(Method::name))
        .collect()
}

/// Reads `optimization_method`: a name, or an object with a name.
fn read_method(node: &Node<'_>, findings: &mut Findings) -> Option<Method> {
    let name_node = match node.value {
        Some(Value::Object(fields)) => {
            let object = Object {
                pointer: node.pointer.clone(),
                fields,
            };
            let name = object.field("name").required(findings);
            let known = fields.get("name").and_then(Value::as_str);
            // The options of a sampler that is not built are not judged.
            if !known.is_some_and(|name| LATER_METHODS.contains(&name)) {
                object.only(&["name"], findings);
            }
            name.value?;
            name
        }
        Some(Value::String(_)) | None => node.clone(),
        Some(_) => {
            let detail = format!("{} must be a name or an object with a name", node.name());
            findings.fault(node.fault("wrong_type", detail));
            return None;
        }
    };
    let name = match name_node.value {
        None => "auto",
        Some(_) => name_node.string(findings)?,
    };
    if let Ok(method) = name.parse() {
        return Some(method);
    }
    let names = method_names();
    if name == "auto" {
        let detail = "auto is random search for now, because no model-based sampler is built yet";
        findings.warn("auto_is_random", &name_node.pointer, detail);
        return Some(Method::Random);
    }
    let fault = if LATER_METHODS.contains(&name) {
        let detail = format!(
            "the sampler {name} is not available yet; use {}",
            names.join(", ")
        );
        name_node.fault("not_built_yet", detail)
    } else {
        let advice = advice(name, &names, &LATER_METHODS);
        let detail = format!("{:?} is not a sampler; {advice}", shown(name));
        name_node.fault("unknown_method", detail)
    };
    findings.fault(fault.allowed(names));
    None
}

/// Fields of the contract that take one value only, until their work is done.
fn unbuilt(request: &Request<'_>, findings: &mut Findings) {
    let top = &request.top;
    top.field("scope")
        .one_of(&["portfolio"], &["per_symbol"], findings);
    let aggregate = top.field("aggregate");
    if aggregate.value.is_some() {
        aggregate.not_built("an aggregate over symbols", "the scope portfolio", findings);
    }
    for (field, what) in [
        ("constraints", "a constraint between parameters"),
        ("initial_params", "a list of first points"),
        ("warm_start_from", "a start from earlier tasks"),
    ] {
        let node = top.field(field);
        if node.value.is_some() && node.list(findings).is_some_and(|list| !list.is_empty()) {
            node.not_built(what, "[]", findings);
        }
    }
    top.field("pruner")
        .one_of(&["none"], &LATER_PRUNERS, findings);
    let validation = top.field("validation");
    if validation.value.is_some()
        && let Some(validation) = validation.open_object(findings)
    {
        let method = validation.field("method").required(findings);
        if method
            .one_of(&["none"], &LATER_VALIDATIONS, findings)
            .is_some()
        {
            validation.only(&["method"], findings);
        }
    }
    let stop = top.field("stop");
    if stop.value.is_some()
        && let Some(stop) = stop.object(&["target", "patience"], findings)
    {
        for (field, what) in [
            ("target", "stopping at a target"),
            ("patience", "stopping without improvement"),
        ] {
            let node = stop.field(field);
            if node.value.is_some() {
                node.not_built(what, "null", findings);
            }
        }
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
