//! A search for parameters: the body of `POST /optimization/tasks`.

use super::findings::{Findings, advice, shown};
use super::node::{Node, Object};
use super::request::Request;
use super::{
    Accepted, DEFAULT_TRIAL, DEFAULT_TRIAL_TIMEOUT, DEFAULT_TRIALS, MAX_PARALLELISM,
    MAX_TASK_NAME_CHARS, MAX_TIMEOUT, MAX_TRIAL_TIMEOUT, Subject, Surroundings, Unplanned, aims,
    book, market, pairing, parameters, points, read_labels, read_priority, read_time, scope,
    subject, validation, warn_of_no_worker,
};
use crate::fault::Fault;
use crate::protocol::StopRules;
use crate::spec::{Aggregate, MAX_SEED, MAX_TRIALS, Scope, Spec, Target, TaskSpec};
use crate::validation::Validation;
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
const LATER_PRUNERS: [&str; 5] = [
    "median",
    "percentile",
    "hyperband",
    "successive_halving",
    "asha",
];

/// Checks a search.
pub(super) fn check(
    request: &Request<'_>,
    around: &Surroundings<'_>,
    mut findings: Findings,
) -> Result<Accepted, Vec<Fault>> {
    let found = &mut findings;
    let mut node = |name: &'static str| {
        if FIELDS[..REQUIRED].contains(&name) {
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
    let period = market::period(&start, &end, subject, found);
    let is_function = matches!(subject, Some(Subject::Function(_)));
    let series = if is_function {
        if !codes.is_empty() {
            let detail = "a test function reads no market data; its stock_codes are ignored";
            found.warn("stock_codes_ignored", &code_list.pointer, detail);
        }
        BTreeMap::new()
    } else {
        market::pin(&codes, subject, period, around.market, found)
    };
    let stocks: Vec<(String, String)> = if is_function {
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
    unbuilt(request, found);
    let stop = read_stop(request, found);
    if let Some(sampler) = &sampler {
        sampler.fit(aims.count, found);
    }
    if aims.count > 1 {
        no_rules(request, &stop, found);
    }
    let first = aims.targets.as_ref().and_then(|targets| targets.first());
    let unplanned = read_validation(request, first, is_function, found);
    if let Some(unplanned) = &unplanned {
        fit(request, unplanned, &stop, scope, found);
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
        Some(Subject::Function(_)) | None => None,
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
    };
    let size = spec.size_limit();
    let planned = spec.planned(size);
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
    warn_of_no_worker(around, found);
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
    })
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
    /// Its name in the request.
    name: &'a str,
    /// Where that stands.
    node: Node<'a>,
}

impl Sampler<'_> {
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
    let name_node = match node.value {
        Some(Value::Object(fields)) => {
            let object = Object {
                pointer: node.pointer.clone(),
                fields,
            };
            let name = object.field("name").required(findings);
            object.only(&["name"], findings);
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
        name,
        node: name_node,
    })
}

/// Fields of the contract that take one value only, until their work is done.
fn unbuilt(request: &Request<'_>, findings: &mut Findings) {
    let origins = request.field("warm_start_from", findings);
    if origins.value.is_some() && origins.list(findings).is_some_and(|list| !list.is_empty()) {
        origins.not_built("a start from earlier tasks", "[]", findings);
    }
    request
        .field("pruner", findings)
        .one_of(&["none"], &LATER_PRUNERS, findings);
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
    (method != Validation::None).then_some(Unplanned { method, pointer })
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

/// Faults for rules of a search with several objectives: there is no best value that they could watch.
fn no_rules(request: &Request<'_>, stop: &StopRules, findings: &mut Findings) {
    let rules = [
        ("target", stop.target.is_some()),
        ("patience", stop.patience.is_some()),
    ];
    let node = request.field("stop", findings);
    let Some(fields) = node.value.and_then(Value::as_object) else {
        return;
    };
    let object = Object {
        pointer: node.pointer.clone(),
        fields,
    };
    for (name, _) in rules.into_iter().filter(|(_, is_given)| *is_given) {
        let detail = format!(
            "{name} watches the best value of one objective, and with several there is a front and no best \
             value; leave it out, and bound the search by n_trials or timeout"
        );
        findings.fault(object.field(name).fault("one_objective_only", detail));
    }
}

/// Reads `stop`: when the search ends itself.
fn read_stop(request: &Request<'_>, findings: &mut Findings) -> StopRules {
    let node = request.field("stop", findings);
    let Some(stop) = node
        .value
        .and_then(|_| node.object(&["target", "patience"], findings))
    else {
        return StopRules::default();
    };
    let patience = stop
        .field("patience")
        .whole(1, MAX_TRIALS.into(), findings)
        .map(|whole| u32::try_from(whole).expect("its range was checked"));
    StopRules {
        target: stop.field("target").number(findings),
        patience,
    }
}
