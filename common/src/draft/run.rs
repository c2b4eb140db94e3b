//! One backtest of given parameters: the body of `POST /tasks` of the kind `backtest`.

use super::findings::{Findings, shown};
use super::node::{Node, Object};
use super::parameters::{argument, scalar, unknown_parameter};
use super::request::Request;
use super::{
    Accepted, DEFAULT_TRIAL_TIMEOUT, MAX_TASK_NAME_CHARS, MAX_TRIAL_TIMEOUT, Subject, Surroundings,
    book, market, pairing, read_labels, read_priority, read_time, scope, subject,
    warn_of_no_worker,
};
use crate::fault::Fault;
use crate::spec::{Aggregate, RunSpec, Spec};
use serde_json::json;
use std::collections::BTreeMap;
use trialmill_backtest::strategy::{ParamFault, ParamKind, Params, Strategy};
use trialmill_search::Choice;

/// The fields of a backtest request, the required ones first.
pub(super) const FIELDS: [&str; 20] = [
    "task_name",
    "strategy_name",
    "stock_codes",
    "start_date",
    "end_date",
    "strategy_config",
    "backtest_config",
    "scope",
    "aggregate",
    "timeout",
    "priority",
    "not_before",
    "labels",
    // Names of older clients.
    "strategy_type",
    "strategy_params",
    "initial_cash",
    "commission_rate",
    "slippage_rate",
    "enable_performance_profiling",
    "user_id",
];
/// How many of [`FIELDS`] are required.
pub(super) const REQUIRED: usize = 5;
/// Fields of older clients that change nothing.
pub(super) const IGNORED: [&str; 2] = ["enable_performance_profiling", "user_id"];

/// Checks a backtest.
pub(super) fn check(
    request: &Request<'_>,
    around: &Surroundings<'_>,
    mut findings: Findings,
) -> Result<Accepted, Vec<Fault>> {
    let found = &mut findings;
    let task_name = request.required("task_name", found);
    let task_name = task_name.text(MAX_TASK_NAME_CHARS, found);
    let strategy_name = request.aliased("strategy_name", "strategy_type", found);
    let strategy_name = request.require(strategy_name, "strategy_name", found);
    let (subject, strategy_name) = subject(&strategy_name, around, false, found).unzip();
    let strategy = match subject {
        Some(Subject::Strategy(strategy)) => Some(strategy),
        Some(Subject::Function(_) | Subject::Client) | None => None,
    };
    let codes = request.required("stock_codes", found);
    let codes = market::codes(&codes, subject, found);
    let start = request.required("start_date", found);
    let end = request.required("end_date", found);
    let period = market::period(&start, &end, subject, found);
    let series = market::pin(&codes, subject, period, around.market, found);
    let stocks: Vec<(String, String)> = codes
        .into_iter()
        .map(|(node, code)| (code, node.pointer))
        .collect();
    let stock_codes: Vec<String> = stocks.iter().map(|(code, _)| code.clone()).collect();
    let params = request.aliased("strategy_config", "strategy_params", found);
    let params = read_params(&params, strategy, found);
    let settings = request.field("backtest_config", found);
    let outer = book::OUTER_FIELDS.map(|name| (name, request.field(name, found)));
    let book = book::read(&settings, &outer, subject, &stocks, around.market, found);
    let scope = scope::read(request, subject, found);
    let timeout = request.field("timeout", found);
    let timeout = timeout.seconds(MAX_TRIAL_TIMEOUT, found);
    let priority = read_priority(&request.field("priority", found), found);
    let not_before = read_time(&request.field("not_before", found), found);
    let labels = read_labels(&request.field("labels", found), found);
    for name in IGNORED {
        let node = request.field(name, found);
        if node.value.is_some() {
            let detail = format!("{name} has no meaning here and is ignored; leave it out");
            found.warn("ignored", &node.pointer, detail);
        }
    }
    let (
        Some(task_name),
        Some(strategy),
        Some(strategy_name),
        Some((start_date, end_date)),
        Some(params),
        0,
    ) = (
        task_name,
        strategy,
        strategy_name,
        period,
        params,
        found.count(),
    )
    else {
        return Err(findings.close().err().unwrap_or_default());
    };
    warn_of_no_worker(around, found);
    let resolved = json!({
        "market": book.settings.market.name(),
        "scope": scope.name(),
        "aggregate": scope.aggregate().map(Aggregate::name),
        "reproducible": true,
        "params": with_defaults(strategy, &params),
    });
    let pairing = pairing(strategy, stocks, (start_date, end_date), &book, &settings);
    let spec = RunSpec {
        task_name: task_name.to_owned(),
        strategy_name,
        stock_codes,
        start_date,
        end_date,
        params,
        backtest: book.settings,
        pairs: BTreeMap::new(),
        scope,
        segments: Vec::new(),
        time_limit: timeout.unwrap_or(DEFAULT_TRIAL_TIMEOUT),
        replay_of: None,
    };
    let warnings = findings.close()?;
    Ok(Accepted {
        spec: Spec::Run(Box::new(spec)),
        planned: 1,
        priority,
        not_before,
        labels,
        resolved,
        warnings,
        series,
        records: BTreeMap::new(),
        pairing,
        unplanned: None,
        warm_start: Vec::new(),
    })
}

/// The parameters that a backtest uses: those given, and the strategy's defaults for the others.
fn with_defaults(
    strategy: &dyn Strategy,
    params: &BTreeMap<String, Choice>,
) -> BTreeMap<String, Choice> {
    let defaults = strategy.info().parameters.iter().map(|info| {
        let value = match info.kind {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the default of a whole-number parameter is a small whole number"
            )]
            ParamKind::Int => Choice::Int(info.default as i64),
            ParamKind::Float => Choice::Float(info.default),
        };
        (info.name.to_owned(), value)
    });
    let mut all: BTreeMap<String, Choice> = defaults.collect();
    all.extend(params.clone());
    all
}

/// Reads parameters by name; what is left out takes the strategy's default.
fn read_params(
    node: &Node<'_>,
    strategy: Option<&'static dyn Strategy>,
    findings: &mut Findings,
) -> Option<BTreeMap<String, Choice>> {
    if node.value.is_none() {
        return Some(BTreeMap::new());
    }
    let object = node.open_object(findings)?;
    let before = findings.count();
    let mut params = BTreeMap::new();
    for (name, value) in object.fields {
        // Null is "not given", as everywhere in a request.
        if !value.is_null()
            && let Some(choice) = scalar(&object.field(name), value, findings)
        {
            params.insert(name.clone(), choice);
        }
    }
    if let Some(strategy) = strategy {
        suit(strategy, &object, &params, findings);
    }
    (findings.count() == before).then_some(params)
}

/// Faults for what the strategy refuses.
fn suit(
    strategy: &dyn Strategy,
    object: &Object<'_>,
    params: &BTreeMap<String, Choice>,
    findings: &mut Findings,
) {
    let mut arguments = Vec::new();
    for (name, value) in params {
        match argument(value) {
            Some(argument) => arguments.push((name.as_str(), argument)),
            None => {
                let detail = format!("{} is {value}; it must be a number", shown(name));
                findings.fault(object.field(name).fault("wrong_type", detail));
            }
        }
    }
    let params = Params::from_iter(arguments);
    for fault in strategy.rule(&params).err().unwrap_or_default() {
        let place = |name: &str| object.field(name);
        findings.fault(match &fault {
            ParamFault::Unknown { name, .. } => unknown_parameter(&place(name), strategy, name),
            ParamFault::Retired { name, .. } => unknown_parameter(&place(name), strategy, name),
            ParamFault::WrongKind { name, .. } => {
                place(name).fault("wrong_type", fault.to_string())
            }
            ParamFault::OutOfRange { name, min, max, .. } => place(name)
                .fault("out_of_range", fault.to_string())
                .limit(format!("{min} to {max}")),
            ParamFault::Unsuitable { reason } => Fault::new(
                object.pointer.as_str(),
                "unsuitable_parameters",
                reason.as_str(),
            ),
        });
    }
}
