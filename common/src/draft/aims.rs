//! What is optimized and what a result must keep: `objective_config`, `result_constraints`.

use super::Subject;
use super::client::{is_name, malformed_metric};
use super::findings::{Findings, advice, shown};
use super::node::{Node, printable};
use crate::fault::Fault;
use crate::objective::TestFunction;
use crate::spec::{CUSTOM, MAX_WEIGHT, MetricNames, ResultConstraint, Target, Weight};
use crate::state::Direction;
use std::borrow::Cow;
use trialmill_backtest::metrics::{self, METRICS};
use trialmill_search::{ExpressionFault, MAX_EXPRESSION_CHARS};

/// The most entries of `result_constraints`.
pub const MAX_CONSTRAINTS: usize = 32;

/// The most objectives of a search. Of more, hardly a trial is worse than another in all of them, and every
/// trial is on the front.
pub const MAX_OBJECTIVES: usize = 8;

/// The fields of `objective_config`.
pub(super) const OBJECTIVE_FIELDS: [&str; 3] =
    ["objective_metric", "direction", "objective_weights"];

const DIRECTIONS: [&str; 2] = ["maximize", "minimize"];

/// Why the weighted sum is none of the metrics that are known where it stands.
const NO_SUM_HERE: &str = "it is the weighted sum of objective_weights, and an objective alone; use the metrics that it weighs";

/// A metric that can be asked for, with its natural direction if it has one.
struct Known {
    name: Cow<'static, str>,
    /// Its natural direction; of a metric that only a client knows, none.
    natural: Option<Direction>,
    /// The direction of a request that names none.
    default: Option<Direction>,
}

impl Known {
    /// A metric of backtests.
    fn of_backtests(info: &metrics::MetricInfo) -> Self {
        let natural = match info.direction {
            metrics::Direction::Maximize => Direction::Maximize,
            metrics::Direction::Minimize => Direction::Minimize,
        };
        Self {
            name: info.name.into(),
            natural: Some(natural),
            default: Some(natural),
        }
    }
}

/// The metric of that name that a client will tell: any name, and those of backtests with their meaning.
fn of_client(node: &Node<'_>, name: &str, findings: &mut Findings) -> Option<Known> {
    if let Some(info) = metrics::find(name) {
        return Some(Known::of_backtests(info));
    }
    if !is_name(name) {
        findings.fault(malformed_metric(node, name));
        return None;
    }
    Some(Known {
        name: name.to_owned().into(),
        natural: None,
        default: None,
    })
}

/// What a request optimizes.
pub(super) struct Aims {
    /// How many objectives it names, those at fault included.
    pub(super) count: usize,
    /// The objectives, where none has a fault.
    pub(super) targets: Option<Vec<Target>>,
}

/// The metrics of test functions among which a name is looked up; nothing for those of backtests. With the
/// subject itself in doubt, the name is only wrong if no subject has it.
fn of_functions(subject: Option<Subject>, name: &str) -> Option<Vec<&'static str>> {
    match subject {
        Some(Subject::Function(function)) => Some(function.metrics().to_vec()),
        Some(Subject::Strategy(_) | Subject::Client) => None,
        None => {
            let all: Vec<_> = TestFunction::all_metrics().collect();
            Some(all).filter(|all| all.contains(&name))
        }
    }
}

/// The metric of that name, of backtests or, where given, of these of test functions; or the fault, whose
/// place the caller knows.
fn metric(
    of_functions: Option<&[&'static str]>,
    name: &str,
    is_objective: bool,
) -> Result<Known, Box<Fault>> {
    let found = of_functions.and_then(|names| names.iter().find(|known| **known == name));
    if let Some(name) = found {
        return Ok(Known {
            name: (*name).into(),
            natural: None,
            // The built-in functions have their minima in the middle.
            default: Some(Direction::Minimize),
        });
    }
    if of_functions.is_none()
        && let Some(info) = metrics::find(name)
    {
        return Ok(Known::of_backtests(info));
    }
    let sum = is_objective.then_some(CUSTOM);
    let names: Vec<&str> = match of_functions {
        Some(names) => names.to_vec(),
        None => METRICS.iter().map(|info| info.name).chain(sum).collect(),
    };
    let fault = match metrics::find_refused(name) {
        _ if name == CUSTOM && of_functions.is_none() => {
            let detail = format!("{name} cannot be asked for: {NO_SUM_HERE}");
            Fault::new("", "refused_metric", detail)
        }
        Some(refused) if of_functions.is_none() => Fault::new(
            "",
            "refused_metric",
            format!("{name} cannot be asked for: {}", refused.hint),
        ),
        _ => {
            let aliases: Vec<_> = METRICS.iter().filter_map(|info| info.alias).collect();
            let also: &[_] = match of_functions {
                Some(_) => &[],
                None => &aliases,
            };
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
    of_functions: Option<&[&'static str]>,
    is_objective: bool,
    findings: &mut Findings,
) -> Option<Known> {
    metric(of_functions, name, is_objective)
        .map_err(|mut fault| {
            fault.pointer.clone_from(&node.pointer);
            findings.fault(fault.value(&name.into()));
        })
        .ok()
}

/// Reads the name of a metric of backtests: its canonical name.
pub(super) fn backtest_metric(
    node: &Node<'_>,
    findings: &mut Findings,
) -> Option<Cow<'static, str>> {
    let name = node.string(findings)?;
    named(node, name, None, false, findings).map(|known| known.name)
}

/// Reads `objective_config`.
pub(super) fn objectives(
    node: &Node<'_>,
    subject: Option<Subject>,
    findings: &mut Findings,
) -> Aims {
    let none = Aims {
        count: 0,
        targets: None,
    };
    let Some(object) = node.object(&OBJECTIVE_FIELDS, findings) else {
        return none;
    };
    let weights_node = object.field(OBJECTIVE_FIELDS[2]);
    let weights = weights(&weights_node, findings);
    let metric_node = object.field("objective_metric").required(findings);
    let metric_nodes = one_or_several(&metric_node, findings);
    let direction_node = object.field("direction");
    let direction_nodes = match direction_node.value {
        None => Some(Vec::new()),
        Some(_) => one_or_several(&direction_node, findings),
    };
    let directions: Option<Vec<Option<Direction>>> = direction_nodes.as_ref().map(|nodes| {
        let read = |node: &Node<'_>| {
            let name = node.one_of(&DIRECTIONS, &[], findings)?;
            name.parse::<Direction>().ok()
        };
        nodes.iter().map(read).collect()
    });
    let Some(metric_nodes) = metric_nodes else {
        return none;
    };
    let count = metric_nodes.len();
    let known = each_once(&metric_nodes, subject, findings);
    weights_fit(&weights_node, &metric_nodes, subject, findings);
    let (Some(direction_nodes), Some(directions)) = (direction_nodes, directions) else {
        return Aims {
            count,
            targets: None,
        };
    };
    let is_list = direction_node
        .value
        .is_some_and(serde_json::Value::is_array);
    if is_list && directions.len() != count {
        let detail = format!(
            "direction has {} entries and objective_metric has {count}; give one for each metric, or one \
             name for all, or leave the direction out",
            directions.len()
        );
        findings.fault(direction_node.fault("wrong_length", detail).limit(count));
        return Aims {
            count,
            targets: None,
        };
    }
    let of = |place: usize| if is_list { place } else { 0 };
    let targets: Vec<Option<Target>> = known
        .into_iter()
        .enumerate()
        .map(|(place, known)| {
            let given = direction_nodes
                .get(of(place))
                .zip(directions.get(of(place)));
            aimed(known?, &metric_nodes[place], given, findings)
        })
        .collect();
    let targets: Option<Vec<Target>> = targets.into_iter().collect();
    Aims {
        count,
        targets: targets
            .zip(weights)
            .map(|(targets, weights)| weighted(targets, weights, subject)),
    }
}

/// Whether a metric of this name is the weighted sum of others: a client may tell one of its own by that name, and
/// a function has none.
fn is_weighted_sum(name: &str, subject: Option<Subject>) -> bool {
    name == CUSTOM && matches!(subject, Some(Subject::Strategy(_)) | None)
}

/// The objectives, the weighted sum among them with its weights.
fn weighted(targets: Vec<Target>, weights: Vec<Weight>, subject: Option<Subject>) -> Vec<Target> {
    let mut weights = Some(weights);
    let complete = |target: Target| match is_weighted_sum(&target.metric, subject) {
        true => Target::custom(weights.take().unwrap_or_default()),
        false => target,
    };
    targets.into_iter().map(complete).collect()
}

/// Reads `objective_weights`; none where they are absent, nothing where one has a fault.
fn weights(node: &Node<'_>, findings: &mut Findings) -> Option<Vec<Weight>> {
    if node.value.is_none() {
        return Some(Vec::new());
    }
    let object = node.open_object(findings)?;
    let most = METRICS.len();
    if object.fields.is_empty() || object.fields.len() > most {
        let count = object.fields.len();
        let detail =
            format!("objective_weights has {count} entries; give 1 to {most}, a metric each");
        findings.fault(node.fault("wrong_length", detail).limit(most));
        return None;
    }
    let mut weights: Vec<Weight> = Vec::with_capacity(object.fields.len());
    let before = findings.count();
    for name in object.fields.keys() {
        let field = object.field(name);
        let metric = match metrics::find(name) {
            Some(info) => Some(info.metric),
            // Tells what is wrong with the name.
            None => named(&field, name, None, false, findings).and(None),
        };
        if field.value.is_none() {
            let detail = format!(
                "the weight of {} is null; give a number or leave it out",
                shown(name)
            );
            findings.fault(field.fault("required", detail));
        }
        let weight = field.positive(MAX_WEIGHT, "", findings);
        let (Some(metric), Some(weight)) = (metric, weight) else {
            continue;
        };
        if weights.iter().any(|known| known.metric == metric) {
            let detail = "the same metric stands here twice, by an alias; weigh each once";
            findings.fault(field.fault("duplicate", detail));
        }
        weights.push(Weight { metric, weight });
    }
    // The sum is the same bits whatever a request calls its metrics.
    weights.sort_by_key(|weight| weight.metric.name());
    (findings.count() == before).then_some(weights)
}

/// Faults where `custom` and its weights are not there together.
fn weights_fit(
    weights: &Node<'_>,
    metrics: &[Node<'_>],
    subject: Option<Subject>,
    findings: &mut Findings,
) {
    let is_asked = |node: &Node<'_>| {
        let name = node.value.and_then(|value| value.as_str());
        name.is_some_and(|name| is_weighted_sum(name, subject))
    };
    let asked = metrics.iter().any(is_asked);
    if asked && weights.value.is_none() {
        let detail = "custom is a weighted sum of metrics; say of which, such as {\"sharpe_ratio\": 0.7, \"max_drawdown\": 0.3}";
        findings.fault(weights.fault("required", detail));
    }
    if !asked && weights.value.is_some() {
        let detail = match subject {
            Some(Subject::Function(_) | Subject::Client) => {
                "objective_weights weigh the metrics of backtests, and this is none; compute the sum yourself"
            }
            Some(Subject::Strategy(_)) | None => {
                "objective_weights are for the objective_metric custom; ask for it, or leave them out"
            }
        };
        findings.fault(weights.fault("not_without_custom", detail));
    }
}

/// A metric with its direction: the one that is given, which may be at fault and may not contradict, or its
/// own.
fn aimed(
    known: Known,
    metric: &Node<'_>,
    given: Option<(&Node<'_>, &Option<Direction>)>,
    findings: &mut Findings,
) -> Option<Target> {
    let direction = match (given, known.natural) {
        (Some((_, None)), _) => return None,
        (Some((node, Some(direction))), Some(natural)) if *direction != natural => {
            let detail = format!(
                "{} is better the other way: {natural} it, or leave the direction out",
                known.name
            );
            let fault = node.fault("contradicting_direction", detail);
            findings.fault(fault.allowed([natural.name()]));
            return None;
        }
        (Some((_, Some(direction))), _) => *direction,
        (None, _) => match known.default {
            Some(default) => default,
            None => {
                let detail = format!(
                    "{} is a metric of your own, so nobody here knows which way it is better; say minimize or \
                     maximize in direction",
                    known.name
                );
                findings.fault(
                    metric
                        .fault("direction_required", detail)
                        .allowed(DIRECTIONS),
                );
                return None;
            }
        },
    };
    Some(Target::new(known.name.into_owned(), direction))
}

/// The metrics at some nodes, each of which may be named once.
fn each_once(
    nodes: &[Node<'_>],
    subject: Option<Subject>,
    findings: &mut Findings,
) -> Vec<Option<Known>> {
    let mut found: Vec<Option<Known>> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let known = node.string(findings).and_then(|name| {
            if let Some(Subject::Client) = subject {
                return of_client(node, name, findings);
            }
            if is_weighted_sum(name, subject) {
                return Some(Known {
                    name: CUSTOM.into(),
                    natural: Some(Direction::Maximize),
                    default: Some(Direction::Maximize),
                });
            }
            let of_functions = of_functions(subject, name);
            named(node, name, of_functions.as_deref(), true, findings)
        });
        let is_second = known
            .as_ref()
            .is_some_and(|known| found.iter().flatten().any(|one| one.name == known.name));
        if is_second {
            let detail = "the same metric stands here twice, if by an alias; name each once";
            findings.fault(node.fault("duplicate", detail));
        }
        found.push(known.filter(|_| !is_second));
    }
    found
}

/// The nodes of a field that takes a value or a list of up to [`MAX_OBJECTIVES`]; nothing where it has
/// none, or none that are read.
fn one_or_several<'a>(node: &Node<'a>, findings: &mut Findings) -> Option<Vec<Node<'a>>> {
    if !node.value?.is_array() {
        return Some(vec![node.clone()]);
    }
    let items = node.list(findings)?;
    let name = node.name();
    match items.len() {
        0 => {
            let detail = format!("{name} is an empty list; name one");
            findings.fault(node.fault("empty", detail));
            None
        }
        count if count > MAX_OBJECTIVES => {
            let detail = format!("{name} has {count} entries; it may have {MAX_OBJECTIVES}");
            findings.fault(node.fault("too_many", detail).limit(MAX_OBJECTIVES));
            None
        }
        _ => Some(items),
    }
}

/// Reads `result_constraints`; absent, a strategy must have traded.
pub(super) fn result_constraints(
    node: &Node<'_>,
    subject: Option<Subject>,
    findings: &mut Findings,
) -> Vec<ResultConstraint> {
    let known = match subject {
        Some(Subject::Strategy(_)) => MetricNames::Backtest,
        Some(Subject::Function(function)) => MetricNames::Function(function),
        Some(Subject::Client) => MetricNames::Client,
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
        _ if fault.code == "unknown_name" && fault.value == CUSTOM => {
            format!("{CUSTOM} cannot be asked for: {NO_SUM_HERE}")
        }
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
