//! What clients say of trials that they run, and of points that they want tried.

use super::findings::{Findings, close_to, shown};
use super::node::{Node, Object, printable};
use super::parameters::scalar;
use crate::fault::Fault;
use crate::spec::{TaskSpec, canonical};
use crate::state::{TrialEnd, WorkerId};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use trialmill_search::{MAX_NAME_CHARS, Point};

/// Most metrics that a client may tell of one trial.
pub const MAX_TOLD_METRICS: usize = 100;
/// Longest reason of a failure that a client tells, in characters.
pub const MAX_TOLD_CHARS: usize = 10_000;

/// The right of a client to report on a trial and to tell its end: what it was given with the trial, and
/// brings back.
///
/// ```
/// use trialmill_common::draft::ClientLease;
///
/// let lease: ClientLease = "7.0.0195f1f0-8c2b-4d51-9d55-1f0f6a1c2b3d".parse().expect("it is one");
/// assert_eq!((lease.token, lease.recorded), (7, 0));
/// assert_eq!(lease.to_string(), "7.0.0195f1f0-8c2b-4d51-9d55-1f0f6a1c2b3d");
/// assert!("7".parse::<ClientLease>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientLease {
    /// The fencing token of its unit.
    pub token: i64,
    /// Trials of the unit that were recorded before this one.
    pub recorded: u32,
    /// What the client is called in the store.
    pub holder: WorkerId,
}

impl fmt::Display for ClientLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.token, self.recorded, self.holder)
    }
}

/// A text that is no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a lease is what came with the trial, as it came")]
pub struct NoLease;

impl FromStr for ClientLease {
    type Err = NoLease;

    fn from_str(text: &str) -> Result<Self, NoLease> {
        let mut parts = text.splitn(3, '.');
        let mut part = || parts.next().ok_or(NoLease);
        Ok(Self {
            token: part()?.parse().map_err(|_| NoLease)?,
            recorded: part()?.parse().map_err(|_| NoLease)?,
            holder: WorkerId(part()?.parse().map_err(|_| NoLease)?),
        })
    }
}

/// The end of a trial, as its client tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The right to tell it.
    pub lease: ClientLease,
    /// The end.
    pub end: ToldEnd,
}

/// How a trial ended at its client.
#[derive(Debug, Clone, PartialEq)]
pub enum ToldEnd {
    /// With these metrics, by their canonical names; null is a reason why there is none.
    Completed(Vec<(String, Result<f64, String>)>),
    /// Stopped early. Its values, one for each objective, if the client told them; else those of its last
    /// report count.
    Pruned(Option<Vec<f64>>),
    /// It failed, for this reason.
    Failed(String),
}

/// A report of a running trial, or a word that it lives.
#[derive(Debug, Clone, PartialEq)]
pub struct ToldReport {
    /// The right to report.
    pub lease: ClientLease,
    /// The step and one value for each objective; nothing for a mere sign of life.
    pub report: Option<(u32, Vec<f64>)>,
}

/// Checks the body that tells the end of a trial.
///
/// `values` is a number where there is one objective, a list in their order, or an object by metric, which may
/// hold other metrics too.
///
/// ```
/// use serde_json::json;
/// use trialmill_common::draft::{ToldEnd, check_told};
/// # use trialmill_common::draft::{MarketView, Surroundings, check_optimization};
/// # let request = json!({"task_name": "a net", "strategy_name": "client",
/// #     "param_space": {"x": {"type": "float", "low": -5, "high": 5}},
/// #     "objective_config": {"objective_metric": "loss", "direction": "minimize"}});
/// # let around = Surroundings { market: &MarketView::default(), announced: &Default::default(),
/// #     live_slots: 2, drawn_seed: 7 };
/// # let accepted = check_optimization(&request, &around).unwrap();
/// # let spec = accepted.spec.as_search().unwrap();
/// let lease = "7.0.0195f1f0-8c2b-4d51-9d55-1f0f6a1c2b3d";
/// let told = check_told(&json!({"lease": lease, "values": {"loss": 0.25, "epochs": 12}}), spec).unwrap();
/// let metrics = vec![("epochs".to_owned(), Ok(12.0)), ("loss".to_owned(), Ok(0.25))];
/// assert_eq!(told.end, ToldEnd::Completed(metrics));
/// let faults = check_told(&json!({"lease": lease, "values": {"lost": 0.25}}), spec).unwrap_err();
/// assert_eq!(faults[0].pointer, "/values/loss");
/// ```
///
/// # Errors
/// Every fault of the body.
pub fn check_told(body: &Value, spec: &TaskSpec) -> Result<Told, Vec<Fault>> {
    let mut findings = Findings::default();
    let told = Node::root(body)
        .object(&["lease", "state", "values", "error"], &mut findings)
        .and_then(|object| {
            let lease = lease(&object, &mut findings);
            let end = end(&object, spec, &mut findings);
            Some(Told {
                lease: lease?,
                end: end?,
            })
        });
    finished(findings, told)
}

/// Checks the body that reports how a trial goes: a step with its values, or neither, which says only that the
/// trial lives.
///
/// # Errors
/// Every fault of the body.
pub fn check_report(body: &Value, spec: &TaskSpec) -> Result<ToldReport, Vec<Fault>> {
    let mut findings = Findings::default();
    let found = &mut findings;
    let told = Node::root(body)
        .object(&["lease", "step", "values"], found)
        .and_then(|object| {
            let lease = lease(&object, found);
            let (step, values) = (object.field("step"), object.field("values"));
            let report = match (step.value, values.value) {
                (None, None) => None,
                _ => {
                    let step = step.required(found).whole(0, u32::MAX.into(), found);
                    let values = objectives_alone(&values.required(found), spec, found);
                    Some((u32::try_from(step?).ok()?, values?))
                }
            };
            Some(ToldReport {
                lease: lease?,
                report,
            })
        });
    finished(findings, told)
}

/// Checks the body that names a point to be tried: `params` with a value for each searched parameter.
///
/// # Errors
/// Every fault of the body.
pub fn check_enqueued(body: &Value, spec: &TaskSpec) -> Result<Point, Vec<Fault>> {
    let mut findings = Findings::default();
    let found = &mut findings;
    let point = Node::root(body)
        .object(&["params"], found)
        .and_then(|object| {
            let params = object.field("params").required(found).open_object(found)?;
            point(&params, spec, found)
        });
    finished(findings, point)
}

fn finished<T>(findings: Findings, found: Option<T>) -> Result<T, Vec<Fault>> {
    // A thing that is missing has a fault.
    findings.close()?;
    found.ok_or_else(Vec::new)
}

fn lease(object: &Object<'_>, findings: &mut Findings) -> Option<ClientLease> {
    let node = object.field("lease").required(findings);
    let lease = node.string(findings)?.parse();
    lease
        .map_err(|error: NoLease| findings.fault(node.fault("malformed", error.to_string())))
        .ok()
}

fn end(object: &Object<'_>, spec: &TaskSpec, findings: &mut Findings) -> Option<ToldEnd> {
    let names: Vec<_> = TrialEnd::ALL.iter().map(|end| end.name()).collect();
    let state = object.field("state");
    let state = match state.value {
        None => TrialEnd::Completed,
        Some(_) => state.one_of(&names, &[], findings)?.parse().ok()?,
    };
    let (values, error) = (object.field("values"), object.field("error"));
    if state != TrialEnd::Failed && error.value.is_some() {
        let detail =
            format!("a trial that is {state} has no error; leave it out, or tell state failed");
        findings.fault(error.fault("not_for_this_state", detail));
    }
    match state {
        TrialEnd::Completed => {
            metrics(&values.required(findings), spec, findings).map(ToldEnd::Completed)
        }
        TrialEnd::Pruned => match values.value {
            None => Some(ToldEnd::Pruned(None)),
            Some(_) => objectives_alone(&values, spec, findings)
                .map(|values| ToldEnd::Pruned(Some(values))),
        },
        TrialEnd::Failed => {
            if values.value.is_some() {
                let detail = "a trial that failed has no values; leave them out";
                findings.fault(values.fault("not_for_this_state", detail));
            }
            let error = error.required(findings);
            let text = error.string(findings)?;
            // A traceback has lines and columns; nothing else that cannot be shown.
            let flat = text.replace(['\n', '\r', '\t'], " ");
            printable(&error, &flat, MAX_TOLD_CHARS, findings)
                .then(|| ToldEnd::Failed(text.to_owned()))
        }
    }
}

/// The values at a node, each with the name of its metric and its place.
fn named_values<'a>(
    node: &Node<'a>,
    spec: &TaskSpec,
    findings: &mut Findings,
) -> Option<Vec<(String, Node<'a>)>> {
    let objectives = &spec.objectives;
    match node.value? {
        Value::Object(fields) => {
            let object = Object {
                pointer: node.pointer.clone(),
                fields,
            };
            if fields.len() > MAX_TOLD_METRICS {
                let detail = format!(
                    "{} has {} metrics; it may have {MAX_TOLD_METRICS}",
                    node.name(),
                    fields.len()
                );
                findings.fault(node.fault("too_many", detail).limit(MAX_TOLD_METRICS));
                return None;
            }
            let mut named: Vec<(String, Node<'a>)> = Vec::new();
            for (name, value) in fields {
                let place = Node {
                    value: Some(value),
                    ..object.field(name)
                };
                let metric = canonical(name).to_owned();
                if !is_name(name) {
                    findings.fault(malformed_metric(&place, name));
                } else if named.iter().any(|(known, _)| *known == metric) {
                    let detail = format!("{metric} is told twice, once by an alias; tell it once");
                    findings.fault(place.fault("duplicate", detail));
                } else {
                    named.push((metric, place));
                }
            }
            for objective in objectives {
                if !named.iter().any(|(name, _)| *name == objective.metric) {
                    let names: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
                    let told = match close_to(&objective.metric, names) {
                        Some(close) => format!("if {close} is it, tell it by its name"),
                        None => "tell it".to_owned(),
                    };
                    let detail = format!(
                        "{} is an objective of the task and is missing; {told}, or tell null where it has no \
                         value",
                        objective.metric
                    );
                    findings.fault(object.field(&objective.metric).fault("required", detail));
                }
            }
            Some(named)
        }
        Value::Array(list) => {
            if list.len() != objectives.len() {
                let detail = format!(
                    "{} has {} values, and the task {} objectives; give one for each, in their order",
                    node.name(),
                    list.len(),
                    objectives.len()
                );
                findings.fault(node.fault("wrong_length", detail).limit(objectives.len()));
                return None;
            }
            let names = objectives.iter().map(|objective| objective.metric.clone());
            Some(names.zip(node.items(list)).collect())
        }
        _ if objectives.len() > 1 => {
            let detail = format!(
                "{} is one value, and the task has {} objectives; give a list in their order, or an object by \
                 metric",
                node.name(),
                objectives.len()
            );
            findings.fault(node.fault("wrong_type", detail));
            None
        }
        _ => {
            let only = objectives.first()?;
            Some(vec![(only.metric.clone(), node.clone())])
        }
    }
}

/// Whether a metric can be called so: as a name in an expression.
pub(super) fn is_name(name: &str) -> bool {
    let begins = name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic());
    let is_word = |c: char| c == '_' || c.is_ascii_alphanumeric();
    begins && name.len() <= MAX_NAME_CHARS && name.chars().all(is_word)
}

/// A metric whose name is none ([`is_name`]).
pub(super) fn malformed_metric(node: &Node<'_>, name: &str) -> Fault {
    let detail = format!(
        "{:?} cannot be a metric: write a letter or _, then letters, digits and _, at most \
         {MAX_NAME_CHARS} in all",
        shown(name)
    );
    node.fault("malformed_name", detail)
}

/// The metrics of a completed trial: numbers, or null where there is none.
fn metrics(
    node: &Node<'_>,
    spec: &TaskSpec,
    findings: &mut Findings,
) -> Option<Vec<(String, Result<f64, String>)>> {
    let before = findings.count();
    let named = named_values(node, spec, findings)?;
    let metrics: Vec<_> = named
        .into_iter()
        .filter_map(|(name, place)| match place.value {
            Some(Value::Null) => Some((name, Err("its client told null".to_owned()))),
            _ => Some((name, Ok(place.number(findings)?))),
        })
        .collect();
    (findings.count() == before).then_some(metrics)
}

/// One value for each objective, in their order.
fn objectives_alone(node: &Node<'_>, spec: &TaskSpec, findings: &mut Findings) -> Option<Vec<f64>> {
    let before = findings.count();
    let mut by_name = BTreeMap::new();
    for (name, place) in named_values(node, spec, findings)? {
        if let Some(Value::Null) = place.value {
            let detail = format!("{name} is null; tell a number, or leave the values out");
            findings.fault(place.fault("wrong_type", detail));
        } else if let Some(value) = place.number(findings) {
            by_name.insert(name, value);
        }
    }
    let values = spec.objectives.iter();
    let values = values.map(|objective| by_name.get(&objective.metric).copied());
    values
        .collect::<Option<Vec<f64>>>()
        .filter(|_| findings.count() == before)
}

/// The point of these values, which must be allowed.
fn point(params: &Object<'_>, spec: &TaskSpec, findings: &mut Findings) -> Option<Point> {
    let before = findings.count();
    let mut named = BTreeMap::new();
    for (name, value) in params.fields {
        let node = Node {
            value: Some(value),
            ..params.field(name)
        };
        let Some(choice) = scalar(&node, value, findings) else {
            continue;
        };
        match spec.fixed.get(name) {
            Some(constant) if !constant.same_value(&choice) => {
                let detail = format!("{name} is disabled and stays at {constant}; leave it out");
                findings.fault(node.fault("disabled_parameter", detail));
            }
            // A client that sends the parameters of a trial back sends this one too.
            Some(_) => {}
            None => {
                named.insert(name.clone(), choice);
            }
        }
    }
    if findings.count() > before {
        return None;
    }
    let found = spec.space.point_from_named(&named);
    let found = found.and_then(|point| spec.space.check_allowed(&point).map(|()| point));
    found
        .map_err(|faults| {
            for fault in faults {
                let place = match fault.param.as_str() {
                    "" => Node {
                        pointer: params.pointer.clone(),
                        value: None,
                    },
                    name => params.field(name),
                };
                findings.fault(place.fault(fault.code, fault.detail).limit(fault.limit));
            }
        })
        .ok()
}
