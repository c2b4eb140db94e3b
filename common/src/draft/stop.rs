//! When a search ends itself: `stop`.

use super::aims::Aims;
use super::findings::Findings;
use super::node::Node;
use super::request::Request;
use crate::protocol::{Aim, StopRules};
use crate::spec::MAX_TRIALS;
use serde_json::Value;

/// Reads `stop` of a search with these objectives.
pub(super) fn read(request: &Request<'_>, aims: &Aims, findings: &mut Findings) -> StopRules {
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
    let target = stop.field("target");
    if aims.count < 2 {
        return StopRules {
            target: target.number(findings),
            patience,
            aims: Vec::new(),
        };
    }
    let targets = each(&target, aims.count, findings);
    let has_rule = patience.is_some() || targets.is_some();
    let targets = targets.unwrap_or_else(|| vec![None; aims.count]);
    let objectives = aims.targets.iter().flatten().filter(|_| has_rule);
    let aims = objectives.zip(targets).map(|(objective, target)| Aim {
        direction: objective.direction,
        target,
    });
    StopRules {
        target: None,
        patience,
        aims: aims.collect(),
    }
}

/// The targets of several objectives, one each; null for one without. Nothing where none is given.
fn each(node: &Node<'_>, objectives: usize, findings: &mut Findings) -> Option<Vec<Option<f64>>> {
    node.value?;
    if node.value.is_some_and(Value::is_number) {
        let detail = format!(
            "target is one number, and there are {objectives} objectives; give a list with one entry for \
             each, null for those without a target"
        );
        findings.fault(node.fault("wrong_type", detail));
        return None;
    }
    let entries = node.list(findings)?;
    if entries.len() != objectives {
        let detail = format!(
            "target has {} entries, and there are {objectives} objectives; give one for each, null for \
             those without a target",
            entries.len()
        );
        findings.fault(node.fault("wrong_length", detail).limit(objectives));
    }
    let is_null = |entry: &Node<'_>| entry.value.is_some_and(Value::is_null);
    if entries.iter().all(is_null) && !entries.is_empty() {
        let detail = "no objective has a target; give one of them a number, or leave target out";
        findings.fault(node.fault("empty", detail));
    }
    let targets = entries.iter().map(|entry| match is_null(entry) {
        true => None,
        false => entry.number(findings),
    });
    Some(targets.collect())
}
