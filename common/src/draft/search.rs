//! A search for parameters: the body of `POST /optimization/tasks`.

use super::findings::{Findings, advice, shown};
use super::node::{Node, Object};
use super::request::Request;
use super::{
    Accepted, DEFAULT_TRIAL, DEFAULT_TRIAL_TIMEOUT, DEFAULT_TRIALS, MAX_PARALLELISM,
    MAX_TASK_NAME_CHARS, MAX_TIMEOUT, MAX_TRIAL_TIMEOUT, Subject, Surroundings, Unplanned, aims,
    book, market, pairing, parameters, points, pruner, read_labels, read_priority, read_time,
    scope, stop, subject, validation, warm, warn_of_no_worker,
};
use crate::fault::Fault;
use crate::objective::CLIENT;
use crate::protocol::StopRules;
use crate::spec::{Aggregate, MAX_SEED, MAX_TRIALS, Scope, Spec, Target, TaskSpec};
use crate::validation::Validation;
use chrono::{DateTime, NaiveDate};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use trialmill_search::Method;
use trialmill_search::auto::Plan;

/// The fields of an optimization request, the required ones first.
pub(super) const FIELDS: [&str; 26] = [
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
pub(super) const REQUIRED: usize = 7;
/// The name of TPE where there are several objectives, as other tools have it.
const MOTPE: &str = "motpe";
/// The option of a grid that may leave points out.
pub(super) const SAMPLE: &str = "sample";
/// The fields that say what a trial trades: a search whose trials clients run may go without.
const OF_BACKTESTS: [&str; 3] = ["stock_codes", "start_date", "end_date"];

/// Checks a search.
pub(super) fn check(
    request: &Request<'_>,
    around: &Surroundings<'_>,
    mut findings: Findings,
) -> Result<Accepted, Vec<Fault>> {
    let found = &mut findings;
    let named = request.field("strategy_name", &mut Findings::default());
    let is_client = named.value.and_then(Value::as_str) == Some(CLIENT);
    let mut node = |name: &'static str| {
        let required = !is_client || !OF_BACKTESTS.contains(&name);
        if required && FIELDS[..REQUIRED].contains(&name) {
            request.required(name, found)
        } else {
            request.field(name, found)
        }
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
    let [
        constraints,
        result_constraints,
        initial_params,
        backtest_config,
    ] = [
        "constraints",
        "result_constraints",
        "initial_params",
        "backtest_config",
    ]
    .map(&mut node);
    let [priority, not_before, labels] = ["priority", "not_before", "labels"].map(&mut node);

    let task_name = task_name.text(MAX_TASK_NAME_CHARS, found);
    let (subject, strategy_name) = subject(&strategy_name, around, true, found).unzip();
    let codes = market::codes(&code_list, subject, found);
    let has_no_dates = is_client && start.value.is_none() && end.value.is_none();
    let period = if has_no_dates {
        Some(no_period())
    } else if is_client {
        // One date alone is half a period.
        let (start, end) = (start.required(found), end.required(found));
        market::period(&start, &end, subject, found)
    } else {
        market::period(&start, &end, subject, found)
    };
    let trades = subject.is_none_or(Subject::trades);
    let series = if !trades {
        if !codes.is_empty() {
            let detail = format!(
                "{} reads no market data; its stock_codes are ignored",
                match subject {
                    Some(Subject::Client) => "an objective at the client",
                    _ => "a test function",
                }
            );
            found.warn("stock_codes_ignored", &code_list.pointer, detail);
        }
        BTreeMap::new()
    } else {
        market::pin(&codes, subject, period, around.market, found)
    };
    let stocks: Vec<(String, String)> = if !trades {
        Vec::new()
    } else {
        codes
            .into_iter()
            .map(|(node, code)| (code, node.pointer))
            .collect()
    };
    let stock_codes: Vec<String> = stocks.iter().map(|(code, _)| code.clone()).collect();
    let sampler = read_method(&method, found);
    let method = sampler.as_ref().map(|sampler| sampler.method);
    let unsigned = |whole: i64| u32::try_from(whole).expect("its range was checked");
    let asked = n_trials.value.is_some();
    let n_trials = n_trials
        .whole(1, MAX_TRIALS.into(), found)
        .map(unsigned)
        .or((!asked).then_some(DEFAULT_TRIALS));
    let parameters = parameters::read(&param_space, &constraints, subject, method, found);
    let first_points = points::read(
        &initial_params,
        parameters.as_ref(),
        subject,
        n_trials,
        found,
    );
    let aims = aims::objectives(&objective_config, subject, found);
    let timeout = timeout.seconds(MAX_TIMEOUT, found);
    let trial_timeout = trial_timeout.seconds(MAX_TRIAL_TIMEOUT, found);
    let seed = seed.whole(0, MAX_SEED.cast_signed(), found);
    let parallelism = parallelism.whole(1, MAX_PARALLELISM.into(), found);
    let result_constraints = aims::result_constraints(&result_constraints, subject, found);
    let scope = scope::read(request, subject, found);
    let stop = stop::read(request, &aims, found);
    if let Some(sampler) = &sampler {
        sampler.fit(aims.count, found);
    }
    let first = aims.targets.as_ref().and_then(|targets| targets.first());
    let before = found.count();
    let mut unplanned = read_validation(request, first, !trades, found);
    if let (Some(unplanned), Some(sampler)) = (&mut unplanned, &sampler) {
        let whole = sampler.method == Method::Grid && !sampler.samples;
        unplanned.whole_grid = whole.then(|| sampler.node.pointer.clone());
    }
    let is_clear = found.count() == before;
    if let Some(unplanned) = &unplanned {
        fit(request, unplanned, &stop, scope, found);
    }
    let targets = aims.targets.as_deref();
    let validation = unplanned.as_ref().map(|unplanned| &unplanned.method);
    let pruner_node = request.field("pruner", found);
    // A validation with a fault may be meant to have segments that a trial could report.
    let prunes = subject.filter(|subject| is_clear || !subject.trades());
    let pruner = pruner::read(&pruner_node, prunes, targets, validation, found);
    let origins = request.field("warm_start_from", found);
    let warm_start = warm::read(&origins, found);
    if let (false, Some(method)) = (warm_start.is_empty(), method) {
        let walks = matches!(validation, Some(Validation::WalkForward(_)));
        warm::fit(&origins, method, walks, found);
    }
    let priority = read_priority(&priority, found);
    let not_before = read_time(&not_before, found);
    let labels = read_labels(&labels, found);
    let book = book::read(
        &backtest_config,
        &[],
        subject,
        &stocks,
        around.market,
        found,
    );

    let (
        Some(task_name),
        Some(strategy_name),
        Some((start_date, end_date)),
        Some(method),
        Some(parameters),
        Some(objectives),
        Some(n_trials),
        0,
    ) = (
        task_name,
        strategy_name,
        period,
        method,
        parameters,
        aims.targets,
        n_trials,
        found.count(),
    )
    else {
        return Err(findings.close().err().unwrap_or_default());
    };
    let pairing = match subject {
        Some(Subject::Strategy(strategy)) => pairing(
            strategy,
            stocks,
            (start_date, end_date),
            &book,
            &backtest_config,
        ),
        Some(Subject::Function(_) | Subject::Client) | None => None,
    };
    let default_trial = parameters.default_point.is_some().then_some(0);
    let mut spec = TaskSpec {
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
        n_trials,
        parallelism: parallelism.map(unsigned),
        timeout,
        trial_timeout: trial_timeout.unwrap_or(DEFAULT_TRIAL_TIMEOUT),
        objectives,
        result_constraints,
        backtest: book.settings,
        pairs: BTreeMap::new(),
        stop,
        copies: false,
        validation: None,
        scope,
        pruner,
        prior: Vec::new(),
    };
    let size = spec.size_limit();
    let planned = spec.planned(size);
    if let Some(sampler) = &sampler {
        let trials = match unplanned.as_ref().map(|unplanned| &unplanned.method) {
            // How many each window gets is known when the windows are.
            Some(Validation::WalkForward(_)) => None,
            _ => Some(n_trials),
        };
        sampler.covers(size, trials, found);
    }
    // Whether the points fit into the trials of each window is seen when there are windows.
    let is_one_search = unplanned
        .as_ref()
        .is_none_or(|unplanned| !matches!(unplanned.method, Validation::WalkForward(_)));
    let size = size.filter(|_| is_one_search);
    if is_one_search && planned < spec.n_trials {
        let detail = format!(
            "the space has {planned} points, fewer than the {} trials asked for; each is visited \
             once",
            spec.n_trials
        );
        found.warn("space_smaller_than_n_trials", "/n_trials", detail);
    }
    if spec.reads_history() && size.is_some_and(|size| size <= n_trials.into()) {
        // A model that several workers ask at once may give a point twice and leave another out;
        // the order of a grid depends on the number alone.
        let method = std::mem::replace(&mut spec.method, Method::Grid);
        let detail = format!(
            "{method} has nothing to choose: all {planned} points of the space fit into the {n_trials} \
             trials asked for. Each is visited once, in the shuffled order of the sampler grid"
        );
        found.warn("small_space_is_grid", "/optimization_method", detail);
    }
    if !is_client {
        warn_of_no_worker(around, found);
    }
    let resolved = json!({
        "sampler": spec.method.name(),
        "sampler_plan": sampler_plan(&spec),
        "reproducible": spec.is_reproducible(),
        "market": spec.backtest.market.name(),
        "scope": spec.scope.name(),
        "aggregate": spec.scope.aggregate().map(Aggregate::name),
        "trials_planned": planned,
        DEFAULT_TRIAL: default_trial,
    });
    let warnings = findings.close()?;
    Ok(Accepted {
        spec: Spec::Search(Box::new(spec)),
        planned,
        priority,
        not_before,
        labels,
        resolved,
        warnings,
        series,
        records: BTreeMap::new(),
        pairing,
        unplanned,
        warm_start,
    })
}

/// The fields that every search requires.
pub(super) fn required_of_all() -> Vec<&'static str> {
    let required = FIELDS[..REQUIRED].iter().copied();
    required
        .filter(|name| !OF_BACKTESTS.contains(name))
        .collect()
}

/// The period of a search that has none: one day, long before all bars.
fn no_period() -> (NaiveDate, NaiveDate) {
    let day = DateTime::UNIX_EPOCH.date_naive();
    (day, day)
}

/// What `auto` will do in the searches of a task, and why: of several the one with the fewest trials. Null for
/// a sampler that was named.
#[must_use]
pub fn sampler_plan(spec: &TaskSpec) -> Value {
    let windows = spec.windows().iter().map(|window| window.trials.len());
    let fewest = windows.min().and_then(|count| u32::try_from(count).ok());
    let n_trials = fewest.unwrap_or(spec.n_trials);
    match spec.method {
        Method::Auto => Plan::of(&spec.space, spec.objectives.len(), n_trials)
            .to_string()
            .into(),
        _ => Value::Null,
    }
}

/// The method names that a request may use.
pub(super) fn method_names() -> Vec<&'static str> {
    let names = Method::ALL.into_iter().map(Method::name);
    names.chain([MOTPE]).collect()
}

/// A sampler as it is asked for.
struct Sampler<'a> {
    method: Method,
    /// Whether a grid may visit a part of its points only.
    samples: bool,
    /// Its name in the request.
    name: &'a str,
    /// Where that stands.
    node: Node<'a>,
}

impl Sampler<'_> {
    /// A fault for a grid that has more points than there are trials and was not told to leave some out: who
    /// names a grid expects all of it.
    fn covers(&self, size: Option<u64>, trials: Option<u32>, findings: &mut Findings) {
        let is_whole = self.method == Method::Grid && !self.samples;
        let (Some(size), Some(trials), true) = (size, trials, is_whole) else {
            return;
        };
        if size > trials.into() {
            let detail = format!(
                "the grid has {size} points, and n_trials is {trials}; raise n_trials to {size}, search fewer \
                 points (a larger step), or let it visit {trials} of them, in a shuffled order, with \
                 {{\"name\": \"{}\", \"{SAMPLE}\": true}}",
                Method::Grid
            );
            findings.fault(
                self.node
                    .fault("grid_larger_than_n_trials", detail)
                    .limit(trials),
            );
        }
    }

    /// Faults for a sampler that does not search for so many objectives.
    fn fit(&self, objectives: usize, findings: &mut Findings) {
        if objectives > 1 && !self.method.takes_several_objectives() {
            let names: Vec<_> = method_names()
                .into_iter()
                .filter(|name| name.parse().map_or(true, Method::takes_several_objectives))
                .collect();
            let detail = format!(
                "the sampler {} looks for the best of one objective, and there are {objectives}; use {}",
                self.name,
                names.join(", ")
            );
            let fault = self.node.fault("one_objective_only", detail);
            findings.fault(fault.allowed(names));
        } else if objectives == 1 && self.name == MOTPE {
            let names: Vec<_> = method_names()
                .into_iter()
                .filter(|name| *name != MOTPE)
                .collect();
            let detail = format!(
                "{MOTPE} is TPE for several objectives, and there is one; use {}, or name several metrics",
                Method::Tpe
            );
            let fault = self.node.fault("several_objectives_only", detail);
            findings.fault(fault.allowed(names));
        }
    }
}

/// Reads `optimization_method`: a name, or an object with a name.
fn read_method<'a>(node: &Node<'a>, findings: &mut Findings) -> Option<Sampler<'a>> {
    let mut samples = false;
    let name_node = match node.value {
        Some(Value::Object(fields)) => {
            let object = Object {
                pointer: node.pointer.clone(),
                fields,
            };
            let name = object.field("name").required(findings);
            let is_grid = name.value.and_then(Value::as_str) == Some(Method::Grid.name());
            let known = if is_grid {
                &["name", SAMPLE][..]
            } else {
                &["name"]
            };
            object.only(known, findings);
            if is_grid {
                samples = object.field(SAMPLE).flag(findings).unwrap_or(false);
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
        None => Method::Auto.name(),
        Some(_) => name_node.string(findings)?,
    };
    let method = match (name.parse(), name) {
        (Ok(method), _) => method,
        (Err(_), MOTPE) => Method::Tpe,
        (Err(_), _) => {
            let names = method_names();
            let advice = advice(name, &names, &[]);
            let detail = format!("{:?} is not a sampler; {advice}", shown(name));
            let fault = name_node.fault("unknown_method", detail);
            findings.fault(fault.allowed(names));
            return None;
        }
    };
    Some(Sampler {
        method,
        samples,
        name,
        node: name_node,
    })
}

/// Reads `validation`: what judges the search. Nothing where it is none.
fn read_validation(
    request: &Request<'_>,
    objective: Option<&Target>,
    of_function: bool,
    findings: &mut Findings,
) -> Option<Unplanned> {
    let node = request.field("validation", findings);
    let method = validation::read(&node, objective, of_function, findings)?;
    let pointer = node.pointer;
    (method != Validation::None).then_some(Unplanned {
        method,
        pointer,
        whole_grid: None,
    })
}

/// Faults for what does not go together with a validation.
fn fit(
    request: &Request<'_>,
    validation: &Unplanned,
    stop: &StopRules,
    scope: Scope,
    findings: &mut Findings,
) {
    let walks = matches!(validation.method, Validation::WalkForward(_));
    if walks && !stop.is_empty() {
        let detail = "a walk-forward has no rules of its own to end by: each window is searched to its \
                      end; leave stop out, or use fewer trials";
        let stop = request.field("stop", findings);
        findings.fault(stop.fault("not_with_walk_forward", detail));
    }
    let judges = walks || matches!(validation.method, Validation::Holdout { .. });
    if judges && scope.aggregate().is_some() {
        let node = request.field(scope::SCOPE, findings);
        let what = format!("the scope per_symbol with {}", validation.method.method());
        node.not_built(&what, "the scope portfolio, or cross_validation", findings);
    }
}
