//! How a search is validated: `validation` of a request.

use super::aims;
use super::findings::{Findings, advice, shown};
use super::node::{Node, Object};
use crate::fault::Fault;
use crate::spec::{CUSTOM, Target};
use crate::validation::{
    Embargo, SEGMENTS, Selection, Span, SpanFault, Validation, WalkForward, WindowKind,
};
use serde_json::Value;
use std::str::FromStr;

/// The fields of each method, in the order of [`Validation::METHODS`], after `method`.
const FIELDS: [&[&str]; 4] = [
    &[],
    &["length", "embargo", "selection"],
    &["segments", "embargo", "selection"],
    &[
        "window",
        "train",
        "test",
        "step",
        "embargo",
        "holdout",
        "selection",
    ],
];

/// What a window picks by where neither the request nor its objective says.
const DEFAULT_METRIC: &str = "sharpe_ratio";

/// Methods by the names that other tools give them.
const METHOD_NAMES: [(&str, &[&str]); 3] = [
    (
        "holdout",
        &[
            "train_test_split",
            "split",
            "oos",
            "out_of_sample",
            "test",
            "validation_split",
        ],
    ),
    (
        "cross_validation",
        &[
            "cv",
            "kfold",
            "k_fold",
            "k-fold",
            "purged_kfold",
            "cpcv",
            "time_series_split",
        ],
    ),
    (
        "walk_forward",
        &[
            "wf",
            "wfo",
            "wfa",
            "walkforward",
            "walk-forward",
            "rolling",
            "anchored",
            "expanding",
        ],
    ),
];

/// Fields by the names that other tools give them, and the field that does it here.
const FIELD_NAMES: [(&str, &[&str]); 8] = [
    (
        "train",
        &[
            "train_size",
            "train_period",
            "train_window",
            "in_sample",
            "is_period",
            "fit",
            "lookback",
        ],
    ),
    (
        "test",
        &[
            "test_size",
            "test_period",
            "test_window",
            "out_of_sample",
            "oos_period",
            "horizon",
        ],
    ),
    (
        "step",
        &["stride", "step_size", "shift", "roll", "retrain_every"],
    ),
    (
        "embargo",
        &["gap", "purge", "purge_days", "embargo_days", "embargo_size"],
    ),
    ("window", &["mode", "anchored", "expanding", "type", "kind"]),
    (
        "length",
        &[
            "holdout",
            "test",
            "test_size",
            "validation_split",
            "fraction",
            "size",
            "period",
        ],
    ),
    (
        "segments",
        &["n_splits", "n_folds", "folds", "k", "splits", "n_segments"],
    ),
    ("holdout", &["final_test", "holdout_size", "holdout_period"]),
];

/// Checks the `validation` of a request by itself: all that can be told without the days of the
/// task, which [`plan`](crate::validation::plan) looks at. Pointers begin with `/validation`.
///
/// `objective` is what the task optimizes first: a `selection` that names no metric
/// picks by it, and by `sharpe_ratio` where the objective is in doubt. The search of a test function (`of_function`) has no days, so it takes `none` only.
///
/// ```
/// use serde_json::json;
/// use trialmill_common::draft::check_validation;
/// use trialmill_common::spec::Target;
/// use trialmill_common::state::Direction;
///
/// let sharpe = Target::new("sharpe_ratio", Direction::Maximize);
/// let asked = json!({"method": "walk_forward", "train": "3y", "test": "12mo", "embargo": "5d"});
/// let validation = check_validation(&asked, Some(&sharpe), false).expect("it is sound");
/// assert_eq!(validation.to_string(), "walk_forward, rolling 36mo/12mo, embargo 5d");
///
/// let old = json!({"method": "walk_forward", "n_splits": 5, "train": "36m", "test": "12mo"});
/// let faults = check_validation(&old, Some(&sharpe), false).unwrap_err();
/// assert_eq!(
///     faults[0].detail,
///     "n_splits is not a field of walk_forward: as many windows are made as the period has room \
///      for, by train, test and step; cross_validation takes segments"
/// );
/// assert_eq!(faults[1].detail, "train: \"36m\" is not a length; did you mean 36mo?");
/// ```
///
/// # Errors
/// Every fault, as of a whole request.
pub fn check_validation(
    validation: &Value,
    objective: Option<&Target>,
    of_function: bool,
) -> Result<Validation, Vec<Fault>> {
    let mut findings = Findings::default();
    let node = Node {
        pointer: "/validation".to_owned(),
        value: Some(validation).filter(|value| !value.is_null()),
    };
    let read = read(&node, objective, of_function, &mut findings);
    findings.close()?;
    Ok(read.expect("what has no fault is read"))
}

/// Reads `validation`; absent, it is none. Nothing where it has a fault.
pub(super) fn read(
    node: &Node<'_>,
    objective: Option<&Target>,
    of_function: bool,
    findings: &mut Findings,
) -> Option<Validation> {
    let before = findings.count();
    let read = match node.value {
        None => return Some(Validation::None),
        Some(Value::String(name)) => {
            let meant = method_meant(name).unwrap_or("none");
            let detail = format!(
                "{} is a string; it must be an object, such as {{\"method\": \"{meant}\"}}",
                node.name()
            );
            findings.fault(node.fault("wrong_type", detail));
            return None;
        }
        Some(_) => read_method(&node.open_object(findings)?, objective, findings),
    };
    let read = read.filter(|_| findings.count() == before)?;
    if of_function && read != Validation::None {
        let detail = format!(
            "a test function and an objective at a client trade nothing and have no days for {}; use none",
            read.method()
        );
        let fault = Fault::new(
            format!("{}/method", node.pointer),
            "not_for_functions",
            detail,
        );
        findings.fault(fault.value(&read.method().into()).allowed(["none"]));
        return None;
    }
    Some(read)
}

/// The method that a name stands for elsewhere.
fn method_meant(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    let others = METHOD_NAMES
        .iter()
        .find(|(_, others)| others.contains(&name.as_str()))
        .map(|(method, _)| *method);
    others.or_else(|| {
        Validation::METHODS
            .into_iter()
            .find(|method| *method == name)
    })
}

fn read_method(
    object: &Object<'_>,
    objective: Option<&Target>,
    findings: &mut Findings,
) -> Option<Validation> {
    let node = object.field("method").required(findings);
    let known = node.value.and_then(Value::as_str);
    let place = Validation::METHODS
        .iter()
        .position(|method| Some(*method) == known);
    let Some(place) = place else {
        refuse_method(&node, findings);
        return None;
    };
    only(object, place, findings);
    match Validation::METHODS[place] {
        "none" => Some(Validation::None),
        "holdout" => {
            let length = span(&object.field("length").required(findings), findings);
            let embargo = embargo(object, findings);
            let selection = asked_selection(object, objective, findings);
            Some(Validation::Holdout {
                length: length?,
                embargo,
                selection: selection?,
            })
        }
        "cross_validation" => {
            let (least, most) = (*SEGMENTS.start(), *SEGMENTS.end());
            let segments = object.field("segments").required(findings);
            let segments = segments.whole(least.into(), most.into(), findings);
            let embargo = embargo(object, findings);
            let selection = asked_selection(object, objective, findings);
            Some(Validation::CrossValidation {
                segments: u8::try_from(segments?).expect("its range was checked"),
                embargo,
                selection: selection?,
            })
        }
        _ => walk(object, objective, findings).map(Validation::WalkForward),
    }
}

/// The fault of a method that there is not.
fn refuse_method(node: &Node<'_>, findings: &mut Findings) {
    let Some(name) = node.string(findings) else {
        return;
    };
    let advice = match method_meant(name) {
        Some(method) => format!("did you mean {method}?"),
        None => advice(name, &Validation::METHODS, &[]),
    };
    let detail = format!("method {:?} is not known; {advice}", shown(name));
    findings.fault(
        node.fault("unknown_value", detail)
            .allowed(Validation::METHODS),
    );
}

/// Faults for every field that the method does not have, with what does it here.
fn only(object: &Object<'_>, place: usize, findings: &mut Findings) {
    let (method, fields) = (Validation::METHODS[place], FIELDS[place]);
    let known: Vec<&str> = ["method"]
        .into_iter()
        .chain(fields.iter().copied())
        .collect();
    for (name, value) in object.fields {
        if known.contains(&name.as_str()) || findings.only_counts() {
            continue;
        }
        let told = shown(name);
        let detail = if method == "walk_forward" && renamed(name, &["segments"]).is_some() {
            format!(
                "{told} is not a field of walk_forward: as many windows are made as the period has \
                 room for, by train, test and step; cross_validation takes segments"
            )
        } else if let Some(field) = renamed(name, fields) {
            format!("{told} is not a field; did you mean {field}?")
        } else if let Some(other) = FIELDS.iter().position(|of| of.contains(&name.as_str())) {
            let other = Validation::METHODS[other];
            format!("{told} is a field of {other}, not of {method}; leave it out")
        } else if fields.is_empty() {
            format!("{told} is not a field, and the method {method} has no other; leave it out")
        } else {
            format!("{told} is not a field; {}", advice(name, &known, &[]))
        };
        let node = Node {
            value: Some(value),
            ..object.field(name)
        };
        let fault = node.fault("unknown_field", detail);
        findings.fault(fault.allowed(known.iter().copied()));
    }
}

/// Which of `fields` a name of another tool stands for.
fn renamed(name: &str, fields: &[&str]) -> Option<&'static str> {
    let renamed = FIELD_NAMES
        .iter()
        .find(|(field, others)| fields.contains(field) && others.contains(&name));
    renamed.map(|(field, _)| *field)
}

fn walk(
    object: &Object<'_>,
    objective: Option<&Target>,
    findings: &mut Findings,
) -> Option<WalkForward> {
    let kind = object.field("window");
    let window = match kind.value {
        None => Some(WindowKind::Rolling),
        Some(_) => window_kind(&kind, findings),
    };
    let train = span(&object.field("train").required(findings), findings);
    let test = span(&object.field("test").required(findings), findings);
    let step_node = object.field("step");
    let step = match step_node.value {
        None => test,
        Some(_) => span(&step_node, findings),
    };
    if let (Some(step), Some(test)) = (step, test) {
        no_overlap(&step_node, step, test, findings);
    }
    let embargo = embargo(object, findings);
    let holdout_node = object.field("holdout");
    let holdout = span(&holdout_node, findings);
    let selection = selection(&object.field("selection"), objective, findings);
    Some(WalkForward {
        window: window?,
        train: train?,
        test: test?,
        step: step?,
        embargo,
        holdout,
        selection: selection?,
    })
}

fn window_kind(node: &Node<'_>, findings: &mut Findings) -> Option<WindowKind> {
    let name = node.string(findings)?;
    let found = WindowKind::ALL.into_iter().find(|kind| kind.name() == name);
    if found.is_none() {
        let names = WindowKind::ALL.map(WindowKind::name);
        let advice = match name.to_lowercase().as_str() {
            "expanding" | "growing" => "did you mean anchored?".to_owned(),
            "sliding" | "moving" => "did you mean rolling?".to_owned(),
            _ => advice(name, &names, &[]),
        };
        let detail = format!("window {:?} is not known; {advice}", shown(name));
        findings.fault(node.fault("unknown_value", detail).allowed(names));
    }
    found
}

/// A step that is shorter than a test window would have days judged twice.
fn no_overlap(node: &Node<'_>, step: Span, test: Span, findings: &mut Findings) {
    let detail = if step.unit() != test.unit() {
        format!(
            "step is {step} and test is {test}; give both in the same unit, or leave step out to \
             have test windows follow each other"
        )
    } else if step.count() < test.count() {
        format!(
            "step is {step}, shorter than test ({test}): days would be tested twice; it must be \
             {test} or longer, or left out to have test windows follow each other"
        )
    } else {
        return;
    };
    let limit = format!("{test} or longer, in {}", test.unit());
    findings.fault(node.fault("overlapping_tests", detail).limit(limit));
}

/// Reads a length, if there is one.
fn span(node: &Node<'_>, findings: &mut Findings) -> Option<Span> {
    length(node, "36mo, 2y, 6w or 250d", findings)
}

/// Reads `embargo`; absent or at fault, it is nothing.
fn embargo(object: &Object<'_>, findings: &mut Findings) -> Embargo {
    length(&object.field("embargo"), "5d", findings).unwrap_or_default()
}

fn length<T: FromStr<Err = SpanFault>>(
    node: &Node<'_>,
    such_as: &str,
    findings: &mut Findings,
) -> Option<T> {
    let text = match node.value? {
        Value::String(text) => text,
        value => {
            let name = node.name();
            let detail = format!(
                "{name} is {}; it must be a string with a number and a unit, such as {such_as}",
                shown(&value.to_string())
            );
            findings.fault(node.fault("wrong_type", detail));
            return None;
        }
    };
    match text.parse() {
        Ok(length) => Some(length),
        Err(fault) => {
            let detail = format!("{}: {fault}", node.name());
            let mut told = node.fault(fault.code, detail);
            told.limit = fault.limit.map(Value::from);
            findings.fault(told);
            None
        }
    }
}

/// Reads `selection` of a method that does without; the outer nothing is a fault.
fn asked_selection(
    object: &Object<'_>,
    objective: Option<&Target>,
    findings: &mut Findings,
) -> Option<Option<Selection>> {
    let node = object.field("selection");
    match node.value {
        None => Some(None),
        Some(_) => selection(&node, objective, findings).map(Some),
    }
}

/// Reads `selection`; what is absent is by the objective.
fn selection(
    node: &Node<'_>,
    objective: Option<&Target>,
    findings: &mut Findings,
) -> Option<Selection> {
    let metric = objective.map_or(DEFAULT_METRIC, |target| target.metric.as_str());
    // Of a test function the metric is another, and it has no windows.
    let by_objective = metric.parse().or_else(|_| DEFAULT_METRIC.parse()).ok();
    if node.value.is_none() {
        return by_objective;
    }
    let object = node.object(&["metric", "subject_to"], findings)?;
    let metric = object.field("metric");
    let chosen: Option<Selection> = match metric.value {
        None => by_objective,
        // An objective that has a fault may be meant to be it.
        Some(name) if name == CUSTOM && objective.is_none_or(|o| o.metric == CUSTOM) => {
            by_objective
        }
        Some(_) => aims::backtest_metric(&metric, findings).and_then(|name| name.parse().ok()),
    };
    let limits = object.field("subject_to");
    let subject_to = aims::constraints(&limits, Selection::NAMES, findings);
    Some(Selection {
        subject_to,
        ..chosen?
    })
}
