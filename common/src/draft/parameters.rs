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
    Choice, Domain, History, MAX_CHOICES, MAX_CONSTRAINTS, MAX_INT, MAX_PARAMETERS, Method,
    PROBE_POINTS, ParamValue, Point, PointFault, Space, SpaceBuilder, SpaceFault, Study,
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

/// The points of a Sobol sequence that are tried after the corners.
const SPREAD_POINTS: u32 = 1_000;

/// The code of a point's fault for want of a value.
const MISSING: &str = "missing_parameter";

/// What `param_space` means.
#[derive(Debug)]
pub(super) struct Parameters {
    pub(super) space: Space,
    pub(super) fixed: BTreeMap<String, Choice>,
    /// The defaults of searched parameters.
    defaults: BTreeMap<String, Choice>,
    /// The defaults, when every parameter that is present at them has one.
    pub(super) default_point: Option<Point>,
}

impl Parameters {
    /// The point of these values; a parameter that is left out takes its default.
    ///
    /// # Errors
    /// Every value that does not fit, is missing or is not to be there.
    pub(super) fn point(&self, named: BTreeMap<String, Choice>) -> Result<Point, Vec<PointFault>> {
        settle(&self.space, named, &self.defaults)
    }

    /// The values of a point by name, fixed ones included.
    pub(super) fn named(&self, point: &Point) -> BTreeMap<String, Choice> {
        let searched = self.space.named(point);
        let searched = searched.map(|(name, value)| (name.to_owned(), value));
        self.fixed.clone().into_iter().chain(searched).collect()
    }
}

/// One parameter as read: its domain is checked, its default is in it.
struct Read {
    domain: Domain,
    default: Option<Choice>,
}

/// One entry of `param_space`.
struct Entry {
    enabled: bool,
    when: Option<String>,
    /// Nothing beside its faults.
    read: Option<Read>,
}

/// The point of named values. Defaults fill what is missing; since a condition may read a value
/// that a default gives, what is missing shows one layer of conditions at a time.
fn settle(
    space: &Space,
    mut named: BTreeMap<String, Choice>,
    defaults: &BTreeMap<String, Choice>,
) -> Result<Point, Vec<PointFault>> {
    loop {
        let faults = match space.point_from_named(&named) {
            Ok(point) => return Ok(point),
            Err(faults) => faults,
        };
        let missing = faults.iter().filter(|fault| fault.code == MISSING);
        let filled: Vec<_> = missing
            .filter_map(|fault| defaults.get_key_value(&fault.param))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if filled.is_empty() {
            return Err(faults);
        }
        named.extend(filled);
    }
}

/// Reads `param_space` and the `constraints` between its parameters. `None` exactly when it is
/// missing or something is wrong with it.
pub(super) fn read(
    node: &Node<'_>,
    constraints: &Node<'_>,
    subject: Option<Subject>,
    method: Option<Method>,
    findings: &mut Findings,
) -> Option<Parameters> {
    let before = findings.count();
    let constraints = read_constraints(constraints, findings);
    let object = node.open_object(findings)?;
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
    let mut entries = BTreeMap::new();
    let own = findings.count();
    for name in object.fields.keys() {
        let node = Node {
            value: object.fields.get(name),
            ..object.field(name)
        };
        let known = known_to(subject, name, &node, findings);
        let entry = read_parameter(name, &node, findings);
        if let (true, Some(read)) = (known, &entry.read) {
            suit(subject, name, &node, read, entry.enabled, findings);
        }
        entries.insert(name.clone(), entry);
    }
    if entries.values().all(|entry| !entry.enabled) && findings.count() == own {
        let detail = if count == 0 {
            "the space has no parameters; add at least one"
        } else {
            "every parameter is disabled; enable at least one"
        };
        findings.fault(node.fault("empty_space", detail));
        return None;
    }
    let sound = findings.count() == before;
    let (fixed, defaults) = constants(&entries);
    let space = match join(&entries, &fixed, &constraints) {
        Ok(space) => space,
        Err(faults) => {
            for fault in &faults {
                // Beside faults of its own, a parameter stands in the space as an empty one, and
                // only what is wrong with the expressions is news.
                if sound || EXPRESSIONS.contains(&fault.field) {
                    findings.fault(from_space(&object, &constraints, fault));
                }
            }
            return None;
        }
    };
    if findings.count() > before {
        return None;
    }
    let mut found = Parameters {
        space,
        fixed,
        defaults,
        default_point: None,
    };
    if let Some(method) = method {
        for fault in method.faults(&found.space) {
            findings.fault(from_space(&object, &constraints, &fault));
        }
    }
    let strategy = match subject {
        Some(Subject::Strategy(strategy)) => Some(strategy),
        Some(Subject::Function(_) | Subject::Client) | None => None,
    };
    if feasible(node, &constraints, strategy, &found, findings) {
        found.default_point = read_default_point(node, &found.space, &found.defaults, findings);
    }
    (findings.count() == before).then_some(found)
}

/// The fields of a space that hold expressions.
const EXPRESSIONS: [&str; 2] = ["when", "constraints"];

/// The `constraints` of a request: their place, and the texts with their own.
struct Constraints<'a> {
    node: Node<'a>,
    texts: Vec<(Node<'a>, &'a str)>,
}

fn read_constraints<'a>(node: &Node<'a>, findings: &mut Findings) -> Constraints<'a> {
    let mut texts = Vec::new();
    let items = match node.value {
        None => Vec::new(),
        Some(_) => node.list(findings).unwrap_or_default(),
    };
    if items.len() > MAX_CONSTRAINTS {
        let detail = format!(
            "constraints has {} entries; it may have {MAX_CONSTRAINTS}",
            items.len()
        );
        findings.fault(node.fault("too_many", detail).limit(MAX_CONSTRAINTS));
    } else {
        for item in items {
            if item.value.is_some_and(Value::is_null) {
                let detail = format!("{} is null; it must be a string", item.name());
                findings.fault(item.fault("wrong_type", detail));
            } else if let Some(text) = item.string(findings) {
                texts.push((item, text));
            }
        }
    }
    Constraints {
        node: node.clone(),
        texts,
    }
}

/// The values of disabled parameters, and the defaults of the searched ones.
fn constants(
    entries: &BTreeMap<String, Entry>,
) -> (BTreeMap<String, Choice>, BTreeMap<String, Choice>) {
    let (mut fixed, mut defaults) = (BTreeMap::new(), BTreeMap::new());
    for (name, entry) in entries {
        let default = entry.read.as_ref().and_then(|read| read.default.clone());
        let place = if entry.enabled {
            &mut defaults
        } else {
            &mut fixed
        };
        place.extend(default.map(|default| (name.clone(), default)));
    }
    (fixed, defaults)
}

/// The whole of the parameters; the single ones are checked, but the space has its own say. A
/// parameter with faults of its own stands for its name.
fn join(
    entries: &BTreeMap<String, Entry>,
    fixed: &BTreeMap<String, Choice>,
    constraints: &Constraints<'_>,
) -> Result<Space, Vec<SpaceFault>> {
    let mut space = SpaceBuilder::default();
    for (name, entry) in entries {
        if fixed.contains_key(name) {
            continue;
        }
        let domain = match &entry.read {
            Some(read) => read.domain.clone(),
            None => Domain::Categorical {
                choices: Vec::new(),
            },
        };
        space = match &entry.when {
            Some(when) => space.conditional(name, domain, when),
            None => space.parameter(name, domain),
        };
    }
    for (name, value) in fixed {
        space = space.constant(name, value.clone());
    }
    for (_, text) in &constraints.texts {
        space = space.constraint(*text);
    }
    space.build()
}

/// The point of the defaults, where they make one; says so where they do not, and where no first
/// trial is made of them.
fn read_default_point(
    node: &Node<'_>,
    space: &Space,
    defaults: &BTreeMap<String, Choice>,
    findings: &mut Findings,
) -> Option<Point> {
    if defaults.is_empty() {
        return None;
    }
    let point = match settle(space, BTreeMap::new(), defaults) {
        Ok(point) => point,
        Err(faults) => {
            let without = faults.iter().filter(|fault| fault.code == MISSING);
            let without: Vec<String> = without.map(|fault| fault.param.clone()).collect();
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
            return None;
        }
    };
    if let Some(broken) = space.broken_constraint(&point) {
        let detail = format!(
            "the defaults ({}) break the constraint {broken}; change a default or the constraint",
            listed(space, &point)
        );
        findings.fault(Fault::new(
            node.pointer.as_str(),
            "constraint_broken",
            detail,
        ));
        return None;
    }
    Some(point)
}

/// The first values of a point, for a message.
pub(super) fn listed(space: &Space, point: &Point) -> String {
    let mut named: Vec<String> = space
        .named(point)
        .map(|(name, value)| format!("{} {}", shown(name), shown(&value.to_string())))
        .collect();
    let more = match named.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    named.truncate(NAMED);
    format!("{}{more}", named.join(", "))
}

fn read_parameter(name: &str, node: &Node<'_>, findings: &mut Findings) -> Entry {
    let Some(object) = node.object(&PARAMETER_FIELDS, findings) else {
        return Entry {
            enabled: true,
            when: None,
            read: None,
        };
    };
    let enabled = object.field("enabled").flag(findings).unwrap_or(true);
    // A parameter that is not searched always has its value.
    let when = object.field("when").string(findings);
    Entry {
        enabled,
        when: when.map(str::to_owned),
        read: read_domain(name, &object, enabled, findings),
    }
}

fn read_domain(
    name: &str,
    object: &Object<'_>,
    enabled: bool,
    findings: &mut Findings,
) -> Option<Read> {
    let before = findings.count();
    let kind = object
        .field("type")
        .required(findings)
        .one_of(&PARAMETER_TYPES, &[], findings);
    let default = read_default(object, kind, findings);
    let node = object.field("default");
    if !enabled && default.is_none() && node.value.is_none() {
        let detail = format!(
            "{} is disabled, so it needs a default to stay at; give one",
            shown(name)
        );
        findings.fault(node.fault("required", detail));
    }
    let domain = match kind? {
        "int" => read_int(object, enabled, default.as_ref(), findings),
        "float" => read_float(object, enabled, default.as_ref(), findings),
        _ => read_categorical(object, enabled, default.as_ref(), findings),
    };
    if findings.count() > before {
        return None;
    }
    let space = match Space::new([(name.to_owned(), domain?)]) {
        Ok(space) => space,
        Err(faults) => {
            for fault in &faults {
                findings.fault(of_parameter(object, fault));
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
    Some(Read { domain, default })
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

pub(super) fn scalar(node: &Node<'_>, value: &Value, findings: &mut Findings) -> Option<Choice> {
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
fn from_space(space: &Object<'_>, constraints: &Constraints<'_>, fault: &SpaceFault) -> Fault {
    if let ("", "constraints", Some(index)) = (fault.param.as_str(), fault.field, fault.index)
        && let Some((node, _)) = constraints.texts.get(index)
    {
        return in_expression(node, fault);
    }
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

/// A fault of an expression, at the place where it is written.
fn in_expression(node: &Node<'_>, fault: &SpaceFault) -> Fault {
    let mut found = node.fault(fault.code, fault.detail.as_str());
    found.position = fault.position;
    if fault.allowed.is_empty() {
        found.limit(fault.limit.as_str())
    } else {
        found.allowed(fault.allowed.iter().cloned())
    }
}

fn of_parameter(parameter: &Object<'_>, fault: &SpaceFault) -> Fault {
    if fault.field == "when" {
        return in_expression(&parameter.field("when"), fault);
    }
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

/// Whether the subject has a parameter of that name. A test function takes any, and so does a client.
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
    findings.fault(unknown_parameter(node, strategy, name));
    false
}

/// The fault of a name that a strategy does not have, or no longer has.
pub(super) fn unknown_parameter(node: &Node<'_>, strategy: &dyn Strategy, name: &str) -> Fault {
    let info = strategy.info();
    let names: Vec<&str> = info.parameters.iter().map(|p| p.name).collect();
    if let Some((_, reason)) = info.retired.iter().find(|(retired, _)| *retired == name) {
        let detail = format!("{name} is no longer a parameter of {}: {reason}", info.key);
        return node.fault("retired_parameter", detail).allowed(names);
    }
    let advice = advice(name, &names, &[]);
    let detail = format!(
        "{} is not a parameter of {}; {advice}",
        shown(name),
        info.key
    );
    node.fault("unknown_parameter", detail).allowed(names)
}

/// Whether the subject can take the values of the parameter.
fn suit(
    subject: Option<Subject>,
    name: &str,
    node: &Node<'_>,
    parameter: &Read,
    enabled: bool,
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
                suit_strategy(strategy, info, &object, parameter, enabled, findings);
            }
        }
        Some(Subject::Function(TestFunction::Sleep | TestFunction::Schaffer))
            if name == "seconds" =>
        {
            for (node, value) in ends(&object, parameter, enabled) {
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
        Some(Subject::Function(_) | Subject::Client) | None => {}
    }
}

/// The values that decide whether a parameter suits: the ends of a range, every choice, or the
/// constant of a disabled parameter; each with its place in the request.
fn ends<'a>(object: &Object<'a>, parameter: &Read, enabled: bool) -> Vec<(Node<'a>, Choice)> {
    if let (false, Some(default)) = (enabled, &parameter.default) {
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
    enabled: bool,
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
    for (node, value) in ends(object, parameter, enabled) {
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

pub(super) fn argument(choice: &Choice) -> Option<strategy::ParamValue> {
    match choice {
        Choice::Int(int) => Some(strategy::ParamValue::Int(*int)),
        Choice::Float(float) => Some(strategy::ParamValue::Float(*float)),
        Choice::Text(text) => Some(strategy::ParamValue::Text(text.clone())),
        Choice::Null | Choice::Bool(_) => None,
    }
}

/// A fault when no point of the space keeps its constraints, or none of those that do can satisfy
/// the strategy, such as short windows that are all above the long ones.
///
/// The constraints are tried as the samplers will try them ([`Space::feasible_point`]); the
/// strategy on the corners of the space (each number at its ends, each choice) and on points of a
/// Sobol sequence: the sanity rules of strategies are orders between parameters, which the corners
/// decide. What holds only in a region too small for all of these points is taken for impossible.
///
/// Whether there is such a point.
fn feasible(
    node: &Node<'_>,
    constraints: &Constraints<'_>,
    strategy: Option<&'static dyn Strategy>,
    parameters: &Parameters,
    findings: &mut Findings,
) -> bool {
    let space = &parameters.space;
    if !space.constraints().is_empty() && space.feasible_point().is_none() {
        let detail = format!(
            "none of {PROBE_POINTS} points spread over the space keeps all of the constraints; \
             loosen one, or change the bounds"
        );
        let fault = constraints.node.fault("no_feasible_point_found", detail);
        findings.fault(fault.limit(PROBE_POINTS));
        return false;
    }
    let Some(strategy) = strategy else {
        return true;
    };
    let mut reason = String::new();
    for point in corners(space).chain(spread(space)) {
        if !space.allows(&point) {
            continue;
        }
        let values = parameters.named(&point).into_iter();
        let params: Params = values
            .filter_map(|(name, value)| Some((name, argument(&value)?)))
            .collect();
        match strategy.rule(&params) {
            Ok(_) => return true,
            Err(faults) => reason = faults.first().map_or_else(String::new, ToString::to_string),
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
    false
}

/// The points with each number at one of its ends and each choice, as far as they are few enough.
fn corners(space: &Space) -> impl Iterator<Item = Point> + '_ {
    let values: Vec<Vec<ParamValue>> = space
        .parameters()
        .iter()
        .map(|parameter| match parameter.domain() {
            Domain::Int {
                low, high, step, ..
            } => vec![
                ParamValue::Int(*low),
                ParamValue::Int(high - (high - low) % step),
            ],
            Domain::Float { low, high, .. } => {
                vec![ParamValue::Float(*low), ParamValue::Float(*high)]
            }
            Domain::Categorical { choices } => (0..)
                .take(choices.len())
                .map(ParamValue::Category)
                .collect(),
        })
        .collect();
    let count = values
        .iter()
        .fold(1, |n: usize, values| n.saturating_mul(values.len()));
    (0..count.min(MAX_CORNERS)).map(move |corner| {
        let mut rest = corner;
        let point = values.iter().map(|values| {
            let value = values[rest % values.len()];
            rest /= values.len();
            value
        });
        space.without_inactive(point.collect())
    })
}

/// Points spread evenly over the space, whatever its constraints are.
fn spread(space: &Space) -> impl Iterator<Item = Point> + '_ {
    let domains = space.parameters().iter();
    let free = domains.map(|p| (p.name().to_owned(), p.domain().clone()));
    let study = Space::new(free)
        .ok()
        .and_then(|free| Study::new(free, Method::Sobol, 0).ok());
    (0..SPREAD_POINTS).filter_map(move |number| {
        let point = study.as_ref()?.ask(&History::EMPTY, number)?;
        Some(space.without_inactive(point.values().to_vec()))
    })
}
