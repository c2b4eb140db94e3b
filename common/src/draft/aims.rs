//! What is optimized and what a result must keep: `objective_config`, `result_constraints`.

use super::Subject;
use super::findings::{Findings, advice, shown};
use super::node::{Node, printable};
use crate::fault::Fault;
use crate::objective::FUNCTION_METRIC;
use crate::spec::{Comparison, ResultConstraint, Target};
use crate::state::Direction;
use trialmill_backtest::metrics::{self, METRICS};

/// The most entries of `result_constraints`.
pub const MAX_CONSTRAINTS: usize = 32;
/// The most characters of an expression.
pub const MAX_EXPRESSION_CHARS: usize = 256;

/// The fields of `objective_config`.
pub(super) const OBJECTIVE_FIELDS: [&str; 3] =
    ["objective_metric", "direction", "objective_weights"];

const DIRECTIONS: [&str; 2] = ["maximize", "minimize"];

/// A metric that can be asked for, with its natural direction if it has one.
struct Known {
    name: &'static str,
    natural: Option<Direction>,
}

/// The names of the metrics of a subject.
fn names(subject: Option<Subject>) -> Vec<&'static str> {
    match subject {
        Some(Subject::Function(_)) => vec![FUNCTION_METRIC],
        Some(Subject::Strategy(_)) | None => METRICS.iter().map(|info| info.name).collect(),
    }
}

/// The metric of that name, or the fault, whose place the caller knows.
fn metric(subject: Option<Subject>, name: &str) -> Result<Known, Box<Fault>> {
    // With the subject itself in doubt, the name is only wrong if no subject has it.
    let of_functions = match subject {
        Some(Subject::Function(_)) => true,
        Some(Subject::Strategy(_)) => false,
        None => name == FUNCTION_METRIC,
    };
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
    let names = names(subject);
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
            metric(subject, name)
                .map_err(|mut fault| {
                    fault.pointer.clone_from(&node.pointer);
                    findings.fault(fault.value(&name.into()));
                })
                .ok()
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
    if node.value.is_none() {
        return match subject {
            Some(Subject::Strategy(_)) => vec![ResultConstraint {
                metric: "n_trades".to_owned(),
                op: Comparison::AtLeast,
                bound: 1.0,
            }],
            Some(Subject::Function(_)) | None => Vec::new(),
        };
    }
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
        match comparison(text, subject) {
            Ok(constraint) => constraints.push(constraint),
            Err(mut fault) => {
                fault.pointer.clone_from(&item.pointer);
                findings.fault(fault.value(&text.into()));
            }
        }
    }
    constraints
}

/// Reads `metric op number`.
fn comparison(text: &str, subject: Option<Subject>) -> Result<ResultConstraint, Box<Fault>> {
    let position = |rest: &str| text[..text.len() - rest.len()].chars().count();
    let malformed = |rest: &str, detail: &str| {
        let mut fault = Fault::new("", "malformed_expression", detail);
        fault.position = Some(position(rest));
        Box::new(fault)
    };
    let start = text.trim_start();
    let after_name = start.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
    let name = &start[..start.len() - after_name.len()];
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(malformed(
            start,
            "a metric's name must come first, as in n_trades >= 10",
        ));
    }
    let known = metric(subject, name).map_err(|mut fault| {
        fault.position = Some(position(start));
        fault
    })?;
    let at_op = after_name.trim_start();
    // The longer symbols first: "<" is the beginning of "<=".
    let ops = [
        Comparison::AtLeast,
        Comparison::AtMost,
        Comparison::MoreThan,
        Comparison::LessThan,
    ];
    let Some(op) = ops.into_iter().find(|op| at_op.starts_with(op.symbol())) else {
        return Err(malformed(
            at_op,
            "one of >=, >, <=, < must follow the metric",
        ));
    };
    let at_number = at_op[op.symbol().len()..].trim_start();
    let after_number = at_number.trim_start_matches(|c: char| !c.is_whitespace());
    let number = &at_number[..at_number.len() - after_number.len()];
    let numeric = number.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && number.contains(|c: char| c.is_ascii_digit());
    let Some(bound) = number.parse::<f64>().ok().filter(|_| numeric) else {
        return Err(malformed(at_number, "a number must follow the comparison"));
    };
    if !bound.is_finite() {
        let mut fault = malformed(at_number, "the number is beyond the range of a double");
        fault.code = "out_of_range".to_owned();
        return Err(fault);
    }
    let rest = after_number.trim_start();
    if !rest.is_empty() {
        let detail = "nothing may follow the number; give each comparison its own entry";
        return Err(malformed(rest, detail));
    }
    Ok(ResultConstraint {
        metric: known.name.to_owned(),
        op,
        bound: bound + 0.0,
    })
}
