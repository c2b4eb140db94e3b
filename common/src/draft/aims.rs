//! What is optimized and what a result must keep: `objective_config`, `result_constraints`.

use super::Subject;
use super::findings::{Findings, advice, shown};
use super::node::{Node, printable};
use crate::fault::Fault;
use crate::objective::FUNCTION_METRIC;
use crate::spec::{MetricNames, ResultConstraint, Target};
use crate::state::Direction;
use trialmill_backtest::metrics::{self, METRICS};
use trialmill_search::{ExpressionFault, MAX_EXPRESSION_CHARS};

/// The most entries of `result_constraints`.
pub const MAX_CONSTRAINTS: usize = 32;

/// The fields of `objective_config`.
pub(super) const OBJECTIVE_FIELDS: [&str; 3] =
    ["objective_metric", "direction", "objective_weights"];

const DIRECTIONS: [&str; 2] = ["maximize", "minimize"];

/// A metric that can be asked for, with its natural direction if it has one.
struct Known {
    name: &'static str,
    natural: Option<Direction>,
}

/// Whether a name is looked up among the metrics of test functions. With the subject itself in
/// doubt, the name is only wrong if no subject has it.
fn of_functions(subject: Option<Subject>, name: &str) -> bool {
    match subject {
        Some(Subject::Function(_)) => true,
        Some(Subject::Strategy(_)) => false,
        None => name == FUNCTION_METRIC,
    }
}

/// The metric of that name, of test functions or of backtests, or the fault, whose place the caller
/// knows.
fn metric(of_functions: bool, name: &str) -> Result<Known, Box<Fault>> {
    if of_functions && name == FUNCTION_METRIC {
        return Ok(Known {
            name: FUNCTION_METRIC,
            natural: None,
        });
    }
    if !of_functions && let Some(info) = metrics::find(name) {
        let natural = match info.direction {
            metrics::Direction::Maximize => Direction::Maximize,
            metrics::Direction::Minimize => Direction::Minimize,
        };
        return Ok(Known {
            name: info.name,
            natural: Some(natural),
        });
    }
    let names = match of_functions {
        true => vec![FUNCTION_METRIC],
        false => METRICS.iter().map(|info| info.name).collect(),
    };
    let fault = match metrics::find_refused(name) {
        Some(refused) if !of_functions => {
            let code = if name == "custom" {
                "not_built_yet"
            } else {
                "refused_metric"
            };
            Fault::new(
                "",
                code,
                format!("{name} cannot be asked for: {}", refused.hint),
            )
        }
        _ => {
            let aliases: Vec<_> = METRICS.iter().filter_map(|info| info.alias).collect();
            let also: &[_] = if of_functions { &[] } else { &aliases };
            let advice = advice(name, &names, also);
            let detail = format!("{} is not a metric; {advice}", shown(name));
            Fault::new("", "unknown_name", detail)
        }
    };
    Err(Box::new(fault.allowed(names)))
}

/// The metric of that name, which stands at `node`, or its fault.
fn named(
    node: &Node<'_>,
    name: &str,
    of_functions: bool,
    findings: &mut Findings,
) -> Option<Known> {
    metric(of_functions, name)
        .map_err(|mut fault| {
            fault.pointer.clone_from(&node.pointer);
            findings.fault(fault.value(&name.into()));
        })
        .ok()
}

/// Reads the name of a metric of backtests: its canonical name.
pub(super) fn backtest_metric(node: &Node<'_>, findings: &mut Findings) -> Option<&'static str> {
    let name = node.string(findings)?;
    named(node, name, false, findings).map(|known| known.name)
}

/// Reads `objective_config`.
pub(super) fn objective(
    node: &Node<'_>,
    subject: Option<Subject>,
    findings: &mut Findings,
) -> Option<Target> {
    let object = node.object(&OBJECTIVE_FIELDS, findings)?;
    let weights = object.field("objective_weights");
    if weights.value.is_some() {
        weights.not_built("a weighted sum of metrics", "one metric", findings);
    }
    let metric_node = object.field("objective_metric").required(findings);
    let known = single(
        &metric_node,
        findings,
        "several objectives",
        |node, findings| {
            let name = node.string(findings)?;
            named(node, name, of_functions(subject, name), findings)
        },
    );
    let direction_node = object.field("direction");
    let given = direction_node.value.is_some();
    let direction = single(
        &direction_node,
        findings,
        "several directions",
        |node, findings| {
            node.one_of(&DIRECTIONS, &[], findings)?
                .parse::<Direction>()
                .ok()
        },
    );
    let known = known?;
    let direction = match (direction, known.natural) {
        (Some(direction), Some(natural)) if direction != natural => {
            let detail = format!(
                "{} is better the other way: {natural} it, or leave the direction out",
                known.name
            );
            let fault = direction_node.fault("contradicting_direction", detail);
            findings.fault(fault.allowed([natural.name()]));
            return None;
        }
        (Some(direction), _) => direction,
        (None, _) if given => return None,
        (None, Some(natural)) => natural,
        // The built-in functions have their minimum at the origin.
        (None, None) => Direction::Minimize,
    };
    Some(Target {
        metric: known.name.to_owned(),
        direction,
    })
}

/// The one value of a field that takes a value or a list. Of a list of several each is read, for
/// its faults, and the list is refused.
fn single<'a, T>(
    node: &Node<'a>,
    findings: &mut Findings,
    what: &str,
    mut read: impl FnMut(&Node<'a>, &mut Findings) -> Option<T>,
) -> Option<T> {
    if !node.value?.is_array() {
        return read(node, findings);
    }
    let items = node.list(findings)?;
    match items.len() {
        0 => {
            let detail = format!("{} is an empty list; name one", node.name());
            findings.fault(node.fault("empty", detail));
        }
        1 => return read(&items[0], findings),
        count if count > METRICS.len() => {
            let detail = format!("{} has {count} entries; use one", node.name());
            findings.fault(node.fault("too_many", detail).limit(METRICS.len()));
        }
        _ => {
            for item in &items {
                read(item, findings);
            }
            node.not_built(what, "one", findings);
        }
    }
    None
}

/// Reads `result_constraints`; absent, a strategy must have traded.
pub(super) fn result_constraints(
    node: &Node<'_>,
    subject: Option<Subject>,
    findings: &mut Findings,
) -> Vec<ResultConstraint> {
    let known = match subject {
        Some(Subject::Strategy(_)) => MetricNames::Backtest,
        Some(Subject::Function(_)) => MetricNames::Function,
        None => MetricNames::Any,
    };
    if node.value.is_none() {
        let traded = (known == MetricNames::Backtest).then(|| {
            ResultConstraint::parse("n_trades >= 1", known).expect("n_trades is a metric")
        });
        return traded.into_iter().collect();
    }
    constraints(node, known, findings)
}

/// Reads a list of constraints over metrics.
pub(super) fn constraints(
    node: &Node<'_>,
    known: MetricNames,
    findings: &mut Findings,
) -> Vec<ResultConstraint> {
    let items = node.list(findings).unwrap_or_default();
    if items.len() > MAX_CONSTRAINTS {
        let detail = format!(
            "{} has {} entries; it may have {MAX_CONSTRAINTS}",
            node.name(),
            items.len()
        );
        findings.fault(node.fault("too_many", detail).limit(MAX_CONSTRAINTS));
        return Vec::new();
    }
    let mut constraints = Vec::new();
    for item in &items {
        let Some(text) = item.string(findings) else {
            continue;
        };
        if !printable(item, text, MAX_EXPRESSION_CHARS, findings) {
            continue;
        }
        match ResultConstraint::parse(text, known) {
            Ok(constraint) => constraints.push(constraint),
            Err(faults) => {
                for fault in faults {
                    findings.fault(in_expression(item, fault));
                }
            }
        }
    }
    constraints
}

/// A fault inside the expression that stands at `node`.
fn in_expression(node: &Node<'_>, fault: ExpressionFault) -> Fault {
    let detail = match metrics::find_refused(&fault.value) {
        Some(refused) if fault.code == "unknown_name" => {
            format!("{} cannot be asked for: {}", refused.name, refused.hint)
        }
        _ => fault.detail,
    };
    let mut found = node.fault(fault.code, detail);
    found.position = Some(fault.position);
    if !fault.allowed.is_empty() {
        found = found.allowed(fault.allowed);
    }
    found
}
