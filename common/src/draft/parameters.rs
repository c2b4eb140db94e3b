//! `param_space`: from the request's parameters to a search space, fixed values and a first point.

use super::Subject;
use super::findings::{Findings, advice, shown};
use super::node::{Node, Object};
use crate::fault::Fault;
use crate::objective::TestFunction;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use trialmill_backtest::strategy::{self, ParamFault, ParamInfo, ParamKind, Params, Strategy};
use trialmill_search::{
    Choice, Domain, History, MAX_CHOICES, MAX_INT, MAX_PARAMETERS, Method, Point, Space,
    SpaceFault, Study,
};

/// The fields of a parameter.
pub(super) const PARAMETER_FIELDS: [&str; 9] = [
    "type", "low", "high", "step", "log", "choices", "default", "enabled", "when",
];

/// The types of a parameter.
pub(super) const PARAMETER_TYPES: [&str; 3] = ["int", "float", "categorical"];

/// The most corners of a space that are tried in search of a feasible point.
const MAX_CORNERS: usize = 4_096;

/// How many parameters a warning names.
const NAMED: usize = 5;

/// The random points that are tried after the corners.
const RANDOM_PROBES: u32 = 1_000;

/// What `param_space` means.
#[derive(Debug)]
pub(super) struct Parameters {
    pub(super) space: Space,
    pub(super) fixed: BTreeMap<String, Choice>,
    /// The defaults, when every searched parameter has one.
    pub(super) default_point: Option<Point>,
}

/// One parameter as read: its domain is checked, its default is in it.
struct Read {
    domain: Domain,
    default: Option<Choice>,
    enabled: bool,
}

/// Reads `param_space`. `None` exactly when it is missing or something is wrong with it.
pub(super) fn read(
    node: &Node<'_>,
    subject: Option<Subject>,
    method: Option<Method>,
    findings: &mut Findings,
) -> Option<Parameters> {
    let object = node.open_object(findings)?;
    let before = findings.count();
    let count = object.fields.len();
    if count > MAX_PARAMETERS {
        let detail = format!(
            "the space has {count} parameters and may have {MAX_PARAMETERS}; fix or drop the \
             unimportant ones"
        );
        let fault = Fault::new(object.pointer, "too_many_parameters", detail);
        findings.fault(fault.limit(MAX_PARAMETERS));
        return None;
    }
    let mut parameters = BTreeMap::new();
    for name in object.fields.keys() {
        let node = Node {
            value: object.fields.get(name),
            ..object.field(name)
        };
        let known = known_to(subject, name, &node, findings);
        let Some(parameter) = read_parameter(name, &node, findings) else {
            continue;
        };
        if known {
            suit(subject, name, &node, &parameter, findings);
        }
        parameters.insert(name.clone(), parameter);
    }
    if parameters.values().all(|parameter| !parameter.enabled) && findings.count() == before {
        let detail = if count == 0 {
            "the space has no parameters; add at least one"
        } else {
            "every parameter is disabled; enable at least one"
        };
        findings.fault(node.fault("empty_space", detail));
    }
    if findings.count() > before {
        return None;
    }
    let (given, without): (Vec<_>, Vec<_>) = parameters
        .iter()
        .filter(|(_, parameter)| parameter.enabled)
        .partition(|(_, parameter)| parameter.default.is_some());
    let without: Vec<String> = without.into_iter().map(|(name, _)| name.clone()).collect();
    let any_default = !given.is_empty();
    let found = join(parameters);
    match found {
        Ok(found) => {
            if any_default {
                warn_of_defaults(node, &without, method, findings);
            }
            if let Some(method) = method {
                for fault in method.faults(&found.space) {
                    findings.fault(from_space(&object, &fault));
                }
            }
            if let Some(Subject::Strategy(strategy)) = subject {
                feasible(node, strategy, &found, findings);
            }
            (findings.count() == before).then_some(found)
        }
        Err(faults) => {
            faults
                .iter()
                .for_each(|fault| findings.fault(from_space(&object, fault)));
            None
        }
    }
}

/// Says so when defaults were given and no first trial is made of them.
fn warn_of_defaults(
    node: &Node<'_>,
    without: &[String],
    method: Option<Method>,
    findings: &mut Findings,
) {
    match method {
        Some(Method::Grid) => {
            let detail = "a grid visits its points in its own shuffled order, so the defaults are \
                          not tried first";
            findings.warn("default_not_first", &node.pointer, detail);
        }
        Some(Method::Random) if !without.is_empty() => {
            let names: Vec<String> = without.iter().take(NAMED).map(|name| shown(name)).collect();
            let more = match without.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let detail = format!(
                "no first trial is made of the defaults, because these parameters have none: \
                 {}{more}",
                names.join(", ")
            );
            findings.warn("default_incomplete", &node.pointer, detail);
        }
        Some(Method::Random) | None => {}
    }
}

/// The whole of the parameters; the single ones are checked, but the space has its own say.
fn join(parameters: BTreeMap<String, Read>) -> Result<Parameters, Vec<SpaceFault>> {
    let mut searched = Vec::new();
    let (mut fixed, mut defaults) = (BTreeMap::new(), BTreeMap::new());
    for (name, parameter) in parameters {
        match (parameter.enabled, parameter.default) {
            (true, default) => {
                defaults.extend(default.map(|default| (name.clone(), default)));
                searched.push((name, parameter.domain));
            }
            (false, default) => {
                fixed.extend(default.map(|default| (name, default)));
            }
        }
    }
    let space = Space::new(searched)?;
    let default_point = space.point_from_named(&defaults).ok();
    Ok(Parameters {
        space,
        fixed,
        default_point,
    })
}

fn read_parameter(name: &str, node: &Node<'_>, findings: &mut Findings) -> Option<Read> {
    let before = findings.count();
    let object = node.object(&PARAMETER_FIELDS, findings)?;
    let kind = object
        .field("type")
        .required(findings)
        .one_of(&PARAMETER_TYPES, &[], findings);
    let enabled = object.field("enabled").flag(findings).unwrap_or(true);
    let when = object.field("when");
    if when.value.is_some() {
        when.not_built("a condition on a parameter", "null", findings);
    }
    let default = read_default(&object, kind, findings);
    let node = object.field("default");
    if !enabled && default.is_none() && node.value.is_none() {
        let detail = format!(
            "{} is disabled, so it needs a default to stay at; give one",
            shown(name)
        );
        findings.fault(node.fault("required", detail));
    }
    let domain = match kind? {
        "int" => read_int(&object, enabled, default.as_ref(), findings),
        "float" => read_float(&object, enabled, default.as_ref(), findings),
        _ => read_categorical(&object, enabled, default.as_ref(), findings),
    };
    if findings.count() > before {
        return None;
    }
    let space = match Space::new([(name.to_owned(), domain?)]) {
        Ok(space) => space,
        Err(faults) => {
            for fault in &faults {
                findings.fault(of_parameter(&object, fault));
            }
            return None;
        }
    };
    let default = match default {
        None => None,
        Some(default) => {
            let named = BTreeMap::from([(name.to_owned(), default)]);
            match space.point_from_named(&named) {
                // The space's own spelling: 60 for the 60.0 of an int, on the lattice to the bit.
                Ok(point) => space.named(&point).map(|(_, value)| value).next(),
                Err(faults) => {
                    for fault in faults {
                        let node = object.field("default");
                        let found = node.fault(fault.code, fault.detail);
                        findings.fault(found.limit(fault.limit));
                    }
                    return None;
                }
            }
        }
    };
    let domain = space.parameters()[0].domain().clone();
    Some(Read {
        domain,
        default,
        enabled,
    })
}

/// The default as a scalar. Null is a default only where null is one of the choices.
fn read_default(
    object: &Object<'_>,
    kind: Option<&str>,
    findings: &mut Findings,
) -> Option<Choice> {
    let node = object.field("default");
    let Some(value) = node.value else {
        let choices = object.fields.get("choices").and_then(Value::as_array);
        let null_is_a_choice = choices.is_some_and(|choices| choices.contains(&Value::Null));
        let written = object.fields.contains_key("default");
        return (kind == Some("categorical") && written && null_is_a_choice)
            .then_some(Choice::Null);
    };
    scalar(&node, value, findings)
}

fn scalar(node: &Node<'_>, value: &Value, findings: &mut Findings) -> Option<Choice> {
    match Choice::deserialize(value) {
        Ok(choice) => Some(choice),
        Err(_) if value.is_number() => {
            let limit = format!("-{MAX_INT} to {MAX_INT}");
            let detail = format!("{} is {value}; it must be {limit}", node.name());
            findings.fault(node.fault("out_of_range", detail).limit(limit));
            None
        }
        Err(_) => {
            let detail = format!(
                "{} must be a number, a string, true, false or null",
                node.name()
            );
            findings.fault(node.fault("wrong_type", detail));
            None
        }
    }
}

/// Bounds are required, unless the parameter is disabled and its default says it all.
fn bounds<'a>(
    object: &Object<'a>,
    enabled: bool,
    findings: &mut Findings,
) -> Option<(Node<'a>, Node<'a>)> {
    let (low, high) = (object.field("low"), object.field("high"));
    if !enabled && low.value.is_none() && high.value.is_none() {
        return None;
    }
    Some((low.required(findings), high.required(findings)))
}

fn foreign(object: &Object<'_>, fields: &[&str], kind: &str, findings: &mut Findings) {
    for field in fields {
        let node = object.field(field);
        // Old clients write `log: false` to every parameter.
        if node.value.is_some_and(|value| *value != Value::Bool(false)) {
            let detail = format!("a parameter of type {kind} has no {field}; leave it out");
            findings.fault(node.fault("not_for_this_type", detail));
        }
    }
}

fn read_int(
    object: &Object<'_>,
    enabled: bool,
    default: Option<&Choice>,
    findings: &mut Findings,
) -> Option<Domain> {
    foreign(object, &["choices"], "int", findings);
    let step = object
        .field("step")
        .whole(i64::MIN, i64::MAX, findings)
        .unwrap_or(1);
    let log = object.field("log").flag(findings).unwrap_or(false);
    let Some((low, high)) = bounds(object, enabled, findings) else {
        let default = serde_json::to_value(default?).expect("a scalar is JSON");
        let node = Node {
            value: Some(&default),
            ..object.field("default")
        };
        let only = node.whole(-MAX_INT, MAX_INT, findings)?;
        return Some(Domain::Int {
            low: only,
            high: only,
            step,
            log: false,
        });
    };
    let low = low.whole(-MAX_INT, MAX_INT, findings);
    let high = high.whole(-MAX_INT, MAX_INT, findings);
    Some(Domain::Int {
        low: low?,
        high: high?,
        step,
        log,
    })
}

fn read_float(
    object: &Object<'_>,
    enabled: bool,
    default: Option<&Choice>,
    findings: &mut Findings,
) -> Option<Domain> {
    foreign(object, &["choices"], "float", findings);
    let step = object.field("step").number(findings);
    let log = object.field("log").flag(findings).unwrap_or(false);
    let Some((low, high)) = bounds(object, enabled, findings) else {
        let default = serde_json::to_value(default?).expect("a scalar is JSON");
        let node = Node {
            value: Some(&default),
            ..object.field("default")
        };
        let only = node.number(findings)?;
        return Some(Domain::Float {
            low: only,
            high: only,
            step,
            log: false,
        });
    };
    let (low, high) = (low.number(findings), high.number(findings));
    Some(Domain::Float {
        low: low?,
        high: high?,
        step,
        log,
    })
}

fn read_categorical(
    object: &Object<'_>,
    enabled: bool,
    default: Option<&Choice>,
    findings: &mut Findings,
) -> Option<Domain> {
    foreign(
        object,
        &["low", "high", "step", "log"],
        "categorical",
        findings,
    );
    let node = object.field("choices");
    if !enabled && node.value.is_none() {
        return Some(Domain::Categorical {
            choices: vec![default?.clone()],
        });
    }
    let items = node.required(findings).list(findings)?;
    if items.len() > MAX_CHOICES {
        let detail = format!(
            "choices has {} values; it may have {MAX_CHOICES}; use int or float for numbers",
            items.len()
        );
        let fault = object.field("choices").fault("too_many_choices", detail);
        findings.fault(fault.limit(MAX_CHOICES));
        return None;
    }
    let choices = items.iter().map(|item| scalar(item, item.value?, findings));
    // Collected first, so that every choice is looked at and not only those before the first fault.
    let choices: Vec<Option<Choice>> = choices.collect();
    Some(Domain::Categorical {
        choices: choices.into_iter().collect::<Option<_>>()?,
    })
}

/// A fault of the space as a whole, or of one of its parameters.
fn from_space(space: &Object<'_>, fault: &SpaceFault) -> Fault {
    let parameter = space.field(&fault.param);
    match parameter.value.and_then(Value::as_object) {
        Some(fields) => of_parameter(
            &Object {
                pointer: parameter.pointer,
                fields,
            },
            fault,
        ),
        None => Fault::new(space.pointer.as_str(), fault.code, fault.detail.as_str())
            .value(&fault.value.as_str().into())
            .limit(fault.limit.as_str()),
    }
}

fn of_parameter(parameter: &Object<'_>, fault: &SpaceFault) -> Fault {
    let whole = |pointer: String| Node {
        pointer,
        value: None,
    };
    let mut node = match fault.field {
        "" => whole(parameter.pointer.clone()),
        field => parameter.field(field),
    };
    if let Some(index) = fault.index {
        let item = node.value.and_then(|value| value.get(index));
        node = Node {
            pointer: format!("{}/{index}", node.pointer),
            value: item,
        };
    }
    let mut found = node
        .fault(fault.code, fault.detail.as_str())
        .limit(fault.limit.as_str());
    if node.value.is_none() && !fault.value.is_empty() {
        found = found.value(&fault.value.as_str().into());
    }
    found
}

/// Whether the subject has a parameter of that name. A test function takes any.
fn known_to(
    subject: Option<Subject>,
    name: &str,
    node: &Node<'_>,
    findings: &mut Findings,
) -> bool {
    let Some(Subject::Strategy(strategy)) = subject else {
        return true;
    };
    let info = strategy.info();
    let names: Vec<&str> = info.parameters.iter().map(|p| p.name).collect();
    if names.contains(&name) {
        return true;
    }
    let advice = advice(name, &names, &[]);
    let detail = format!(
        "{} is not a parameter of {}; {advice}",
        shown(name),
        info.key
    );
    findings.fault(node.fault("unknown_parameter", detail).allowed(names));
    false
}

/// Whether the subject can take the values of the parameter.
fn suit(
    subject: Option<Subject>,
    name: &str,
    node: &Node<'_>,
    parameter: &Read,
    findings: &mut Findings,
) {
    let Some(object) = node.value.and_then(Value::as_object) else {
        return;
    };
    let object = Object {
        pointer: node.pointer.clone(),
        fields: object,
    };
    match subject {
        Some(Subject::Strategy(strategy)) => {
            let info = strategy
                .info()
                .parameters
                .iter()
                .find(|info| info.name == name);
            if let Some(info) = info {
                suit_strategy(strategy, info, &object, parameter, findings);
            }
        }
        Some(Subject::Function(TestFunction::Sleep)) if name == "seconds" => {
            for (node, value) in ends(&object, parameter) {
                let seconds = match value {
                    Choice::Int(int) => Some(int as f64),
                    Choice::Float(float) => Some(float),
                    Choice::Null | Choice::Bool(_) | Choice::Text(_) => None,
                };
                if !seconds.is_some_and(|seconds| seconds >= 0.0) {
                    let detail = format!("seconds is {value}; it must be a number from 0 on");
                    findings.fault(node.fault("out_of_range", detail).limit("0 or more"));
                }
            }
        }
        Some(Subject::Function(_)) | None => {}
    }
}

/// The values that decide whether a parameter suits: the ends of a range, every choice, or the
/// constant of a disabled parameter; each with its place in the request.
fn ends<'a>(object: &Object<'a>, parameter: &Read) -> Vec<(Node<'a>, Choice)> {
    if let (false, Some(default)) = (parameter.enabled, &parameter.default) {
        return vec![(object.field("default"), default.clone())];
    }
    let (low, high) = (object.field("low"), object.field("high"));
    match &parameter.domain {
        Domain::Int {
            low: from,
            high: to,
            ..
        } => {
            vec![(low, Choice::Int(*from)), (high, Choice::Int(*to))]
        }
        Domain::Float {
            low: from,
            high: to,
            ..
        } => {
            vec![(low, Choice::Float(*from)), (high, Choice::Float(*to))]
        }
        Domain::Categorical { choices } => {
            let node = object.field("choices");
            let items = node
                .value
                .and_then(Value::as_array)
                .map(|list| node.items(list));
            items
                .unwrap_or_default()
                .into_iter()
                .zip(choices.iter().cloned())
                .collect()
        }
    }
}

/// The declared range is advice as far as the strategy lets it be: what it refuses when asked is a
/// fault, since every such trial would fail; what it accepts is a warning.
fn suit_strategy(
    strategy: &dyn Strategy,
    info: &ParamInfo,
    object: &Object<'_>,
    parameter: &Read,
    findings: &mut Findings,
) {
    let (name, min, max) = (info.name, info.min, info.max);
    let whole_only = info.kind == ParamKind::Int;
    if let (true, Domain::Float { low, high, .. }) = (whole_only, &parameter.domain)
        && (low < high || low.fract() != 0.0)
    {
        let detail = format!("{name} is a whole number; use the type int");
        findings.fault(
            object
                .field("type")
                .fault("wrong_type", detail)
                .allowed(["int"]),
        );
        return;
    }
    for (node, value) in ends(object, parameter) {
        let asked = match argument(&value) {
            Some(argument) => strategy.rule(&Params::from_iter([(name, argument)])).err(),
            None => {
                let wanted = if whole_only {
                    "a whole number"
                } else {
                    "a number"
                };
                let detail = format!("{name} is {value}; it must be {wanted}");
                findings.fault(node.fault("wrong_type", detail));
                continue;
            }
        };
        let refused = asked
            .unwrap_or_default()
            .into_iter()
            .find(|f| f.name() == Some(name));
        match refused {
            Some(ParamFault::WrongKind { wanted, .. }) => {
                let detail = format!("{name} is {value}; it must be {wanted}");
                findings.fault(node.fault("wrong_type", detail));
            }
            Some(fault) => {
                let limit = format!("{min} to {max}");
                findings.fault(node.fault("out_of_range", fault.to_string()).limit(limit));
            }
            None => {
                let number = match value {
                    Choice::Int(int) => int as f64,
                    Choice::Float(float) => float,
                    Choice::Null | Choice::Bool(_) | Choice::Text(_) => continue,
                };
                if !(min..=max).contains(&number) {
                    let detail = format!("{name} {value} is outside the usual {min} to {max}");
                    findings.warn("outside_usual_range", &node.pointer, detail);
                }
            }
        }
    }
}

fn argument(choice: &Choice) -> Option<strategy::ParamValue> {
    match choice {
        Choice::Int(int) => Some(strategy::ParamValue::Int(*int)),
        Choice::Float(float) => Some(strategy::ParamValue::Float(*float)),
        Choice::Text(text) => Some(strategy::ParamValue::Text(text.clone())),
        Choice::Null | Choice::Bool(_) => None,
    }
}

/// A fault when no point of the space can satisfy the strategy, such as short windows that are all
/// above the long ones.
///
/// Decided on the corners of the space (each number at its ends, each choice) and on random points.
/// The sanity rules of strategies are orders between parameters, which the corners decide; a rule
/// that held only in a small region inside could be missed.
fn feasible(
    node: &Node<'_>,
    strategy: &dyn Strategy,
    parameters: &Parameters,
    findings: &mut Findings,
) {
    let space = &parameters.space;
    let refusal = |named: Vec<(&str, Choice)>| {
        let fixed = parameters
            .fixed
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()));
        let values = fixed.chain(named);
        let params: Params = values
            .filter_map(|(name, value)| Some((name, argument(&value)?)))
            .collect();
        let faults = strategy.rule(&params).err()?;
        Some(faults.first().map_or_else(String::new, ToString::to_string))
    };
    let corners: Vec<(&str, Vec<Choice>)> = space
        .parameters()
        .iter()
        .map(|parameter| {
            let values = match parameter.domain() {
                Domain::Int {
                    low, high, step, ..
                } => {
                    vec![Choice::Int(*low), Choice::Int(high - (high - low) % step)]
                }
                Domain::Float { low, high, .. } => vec![Choice::Float(*low), Choice::Float(*high)],
                Domain::Categorical { choices } => choices.clone(),
            };
            (parameter.name(), values)
        })
        .collect();
    let count = corners
        .iter()
        .fold(1, |n: usize, (_, values)| n.saturating_mul(values.len()));
    let mut reason = String::new();
    for corner in 0..count.min(MAX_CORNERS) {
        let mut rest = corner;
        let named = corners.iter().map(|(name, values)| {
            let value = values[rest % values.len()].clone();
            rest /= values.len();
            (*name, value)
        });
        match refusal(named.collect()) {
            None => return,
            Some(refused) => reason = refused,
        }
    }
    let Ok(study) = Study::new(space.clone(), Method::Random, 0) else {
        return;
    };
    let random = (0..RANDOM_PROBES).filter_map(|number| study.ask(&History::EMPTY, number));
    for point in random {
        if refusal(space.named(&point).collect()).is_none() {
            return;
        }
    }
    let detail = format!(
        "no point of this space suits {}: {reason}",
        strategy.info().key
    );
    findings.fault(Fault::new(
        node.pointer.as_str(),
        "no_feasible_point",
        detail,
    ));
}
