//! `initial_params`: the points that the first trials take after the defaults.

use super::Subject;
use super::findings::{Findings, shown};
use super::node::Node;
use super::parameters::{Parameters, argument, listed, scalar};
use crate::fault::Fault;
use serde_json::Value;
use std::collections::BTreeMap;
use trialmill_backtest::strategy::Params;
use trialmill_search::Point;

/// The most entries of `initial_params`: they are stored with the task, and none is searched for.
pub const MAX_INITIAL_PARAMS: usize = 1_000;

/// The points that the first trials take, in order: the defaults, where there are some, then
/// `initial_params`. Without `parameters` (they have faults themselves) only shapes are checked.
pub(super) fn read(
    node: &Node<'_>,
    parameters: Option<&Parameters>,
    subject: Option<Subject>,
    n_trials: Option<u32>,
    findings: &mut Findings,
) -> Vec<Point> {
    let default = parameters.and_then(|parameters| parameters.default_point.clone());
    let mut points: Vec<Point> = default.into_iter().collect();
    let items = match node.value {
        None => return points,
        Some(_) => node.list(findings).unwrap_or_default(),
    };
    if items.is_empty() {
        return points;
    }
    let given = items.len() + points.len();
    if items.len() > MAX_INITIAL_PARAMS {
        let detail = format!(
            "initial_params has {} points; it may have {MAX_INITIAL_PARAMS}",
            items.len()
        );
        findings.fault(node.fault("too_many", detail).limit(MAX_INITIAL_PARAMS));
        return points;
    }
    if let Some(most) = n_trials
        .map(|most| most as usize)
        .filter(|most| given > *most)
    {
        let defaults = if points.is_empty() {
            ""
        } else {
            " with the defaults, which come first"
        };
        let detail = format!("there are {given} first points{defaults}, and only {most} n_trials");
        findings.fault(node.fault("too_many", detail).limit(most));
    }
    let first = points.clone();
    let mut seen: Vec<Option<Point>> = Vec::with_capacity(items.len());
    for item in &items {
        let point = read_point(item, parameters, findings);
        if let Some(point) = &point {
            if let Some(twin) = seen
                .iter()
                .position(|earlier| earlier.as_ref() == Some(point))
            {
                let detail = format!(
                    "{} is the same point as {}[{twin}]; give it once",
                    item.name(),
                    node.name()
                );
                findings.fault(item.fault("duplicate", detail));
            } else if let Some(parameters) = parameters
                && let Some(broken) = parameters.space.broken_constraint(point)
            {
                let detail = format!(
                    "{} ({}) breaks the constraint {broken}; change the point or the constraint",
                    item.name(),
                    listed(&parameters.space, point)
                );
                findings.fault(item.fault("constraint_broken", detail));
            } else if !first.contains(point) {
                if let (Some(Subject::Strategy(strategy)), Some(parameters)) = (subject, parameters)
                {
                    let values = parameters.named(point).into_iter();
                    let params: Params = values
                        .filter_map(|(name, value)| Some((name, argument(&value)?)))
                        .collect();
                    if let Err(faults) = strategy.rule(&params) {
                        let reason = faults.first().map_or_else(String::new, ToString::to_string);
                        let detail = format!(
                            "{} does not suit {}: {reason}",
                            item.name(),
                            strategy.info().key
                        );
                        findings.fault(item.fault("unsuitable_parameters", detail));
                    }
                }
                points.push(point.clone());
            }
        }
        seen.push(point);
    }
    points
}

/// One point: a value for each searched parameter that has no default.
fn read_point(
    item: &Node<'_>,
    parameters: Option<&Parameters>,
    findings: &mut Findings,
) -> Option<Point> {
    let object = item.open_object(findings)?;
    let before = findings.count();
    let mut named = BTreeMap::new();
    for (name, value) in object.fields {
        let node = Node {
            value: Some(value),
            ..object.field(name)
        };
        if let Some(constant) = parameters.and_then(|parameters| parameters.fixed.get(name)) {
            let detail = format!(
                "{} is disabled and stays at {constant}; leave it out",
                shown(name)
            );
            findings.fault(node.fault("disabled_parameter", detail));
        } else if let Some(choice) = scalar(&node, value, findings) {
            named.insert(name.clone(), choice);
        }
    }
    let parameters = parameters?;
    if findings.count() > before {
        return None;
    }
    match parameters.point(named) {
        Ok(point) => Some(point),
        Err(faults) => {
            for fault in faults {
                let node = match fault.param.as_str() {
                    "" => item.clone(),
                    name => object.field(name),
                };
                let mut found = Fault::new(node.pointer.as_str(), fault.code, fault.detail);
                found = match node.value {
                    Some(value) => found.value(value),
                    None => found.value(&Value::Null),
                };
                findings.fault(found.limit(fault.limit));
            }
            None
        }
    }
}
