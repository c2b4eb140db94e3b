//! `pruner`: which trials are stopped early, by what they report.

use super::Subject;
use super::findings::{Findings, advice, shown};
use super::node::{Node, Object};
use crate::spec::Target;
use crate::state::Direction;
use crate::validation::Validation;
use serde_json::Value;
use trialmill_search::pruner::{
    Asha, Hyperband, MAX_PRUNER_OPTION, Median, Patient, Percentile, PrunerConfig, PrunerKind,
    Threshold, Wilcoxon,
};

/// Another name of `asha`.
pub(super) const SUCCESSIVE_HALVING: &str = "successive_halving";

/// The options of each pruner, after its name.
pub(super) fn options(kind: PrunerKind) -> &'static [&'static str] {
    match kind {
        PrunerKind::None => &[],
        PrunerKind::Median => &[
            "n_startup_trials",
            "n_warmup_steps",
            "interval_steps",
            "n_min_trials",
        ],
        PrunerKind::Percentile => &[
            "percentile",
            "n_startup_trials",
            "n_warmup_steps",
            "interval_steps",
            "n_min_trials",
        ],
        PrunerKind::Asha => &[
            "min_resource",
            "reduction_factor",
            "min_early_stopping_rate",
            "bootstrap_count",
        ],
        PrunerKind::Hyperband => &[
            "min_resource",
            "max_resource",
            "reduction_factor",
            "bootstrap_count",
        ],
        PrunerKind::Patient => &["wrapped", "patience", "min_delta"],
        PrunerKind::Threshold => &["lower", "upper", "n_warmup_steps", "interval_steps"],
        PrunerKind::Wilcoxon => &["p_threshold", "n_startup_steps"],
    }
}

/// The names that a request may use.
pub(super) fn names() -> Vec<&'static str> {
    let names = PrunerKind::ALL.into_iter().map(PrunerKind::name);
    names.chain([SUCCESSIVE_HALVING]).collect()
}

/// What a pruner says of an option that it wants and has not.
const WANTING: [&str; 2] = ["bounds_missing", "needs_resource"];

/// Reads `pruner`: a name, or an object with a name and options. A pruner with a fault is none.
pub(super) fn read(
    node: &Node<'_>,
    subject: Option<Subject>,
    objectives: Option<&[Target]>,
    validation: Option<&Validation>,
    findings: &mut Findings,
) -> PrunerConfig {
    let before = findings.count();
    let Some(config) = config(node, objectives.map(<[_]>::len), findings) else {
        return PrunerConfig::None;
    };
    let is_read = findings.count() == before;
    for fault in config.faults() {
        // An option that was not read may have been the one.
        if !is_read && WANTING.contains(&fault.code) {
            continue;
        }
        let within = format!("/{}", fault.field.replace('.', "/"));
        let place = Node {
            value: node.value.and_then(|value| value.pointer(&within)),
            pointer: format!("{}{within}", node.pointer),
        };
        findings.fault(place.fault(fault.code, fault.detail).limit(fault.limit));
    }
    if config != PrunerConfig::None
        && let Some(subject) = subject
        && let Some(why) = reports_nothing(subject, validation)
    {
        let detail = format!("{why}; use {}", PrunerKind::None);
        findings.fault(
            node.fault("nothing_to_prune", detail)
                .allowed([PrunerKind::None.name()]),
        );
    }
    match objectives {
        _ if findings.count() > before => PrunerConfig::None,
        Some([only]) => in_costs(config, only.direction),
        Some(_) | None => config,
    }
}

/// The same pruner with bounds for costs: a request gives those of a threshold for the values of its objective.
fn in_costs(config: PrunerConfig, direction: Direction) -> PrunerConfig {
    match config {
        PrunerConfig::Threshold(of_values) => {
            let cost = |bound: Option<f64>| bound.map(|bound| direction.cost(bound));
            let (lower, upper) = match direction {
                Direction::Minimize => (of_values.lower, of_values.upper),
                Direction::Maximize => (of_values.upper, of_values.lower),
            };
            PrunerConfig::Threshold(Threshold {
                lower: cost(lower),
                upper: cost(upper),
                ..of_values
            })
        }
        PrunerConfig::Patient(Patient {
            wrapped: Some(wrapped),
            patience,
            min_delta,
        }) => PrunerConfig::Patient(Patient {
            wrapped: Some(Box::new(in_costs(*wrapped, direction))),
            patience,
            min_delta,
        }),
        other => other,
    }
}

/// Why a trial of this subject has nothing to report on the way, if so.
fn reports_nothing(subject: Subject, validation: Option<&Validation>) -> Option<String> {
    match (subject, validation) {
        (Subject::Client, _) | (Subject::Strategy(_), Some(Validation::CrossValidation { .. })) => {
            None
        }
        (Subject::Strategy(strategy), _) => Some(format!(
            "a trial of {} is one backtest, which is over before it could be compared; with the validation \
             cross_validation each segment is reported",
            strategy.info().key
        )),
        (Subject::Function(function), _) => Some(format!(
            "{function} is a test function and reports nothing on the way"
        )),
    }
}

/// The pruner that stands at a node, with the default of every option that is at fault; nothing where its name
/// is. Bounds of a threshold are those of values. `objectives` is how many there are, if that is known.
fn config(
    node: &Node<'_>,
    objectives: Option<usize>,
    findings: &mut Findings,
) -> Option<PrunerConfig> {
    let (name_node, object) = match node.value {
        None => return Some(PrunerConfig::None),
        Some(Value::String(_)) => (node.clone(), None),
        Some(Value::Object(fields)) => {
            let object = Object {
                pointer: node.pointer.clone(),
                fields,
            };
            (object.field("name").required(findings), Some(object))
        }
        Some(_) => {
            let detail = format!("{} must be a name or an object with a name", node.name());
            findings.fault(node.fault("wrong_type", detail));
            return None;
        }
    };
    let name = name_node.string(findings)?;
    let Ok(kind) = name.parse::<PrunerKind>() else {
        let names = names();
        let advice = advice(name, &names, &[]);
        let detail = format!("{:?} is not a pruner; {advice}", shown(name));
        findings.fault(name_node.fault("unknown_value", detail).allowed(names));
        return None;
    };
    let empty = serde_json::Map::new();
    let object = match object {
        Some(object) => {
            object.only(&[&["name"], options(kind)].concat(), findings);
            object
        }
        None => Object {
            pointer: node.pointer.clone(),
            fields: &empty,
        },
    };
    if kind == PrunerKind::Threshold
        && let Some(several) = objectives.filter(|count| *count > 1)
    {
        let detail = format!(
            "threshold bounds the values of one objective, and there are {several}; use another pruner"
        );
        findings.fault(name_node.fault("one_objective_only", detail));
    }
    Some(of_kind(kind, &Options(&object), objectives, findings))
}

/// The options of a pruner, by name.
struct Options<'a, 'b>(&'b Object<'a>);

impl Options<'_, '_> {
    /// A whole number; the default where there is none. Its bounds are the pruner's own.
    fn whole(&self, name: &str, default: u32, findings: &mut Findings) -> u32 {
        self.maybe_whole(name, findings).unwrap_or(default)
    }

    fn maybe_whole(&self, name: &str, findings: &mut Findings) -> Option<u32> {
        let whole = self
            .0
            .field(name)
            .whole(0, MAX_PRUNER_OPTION.into(), findings)?;
        u32::try_from(whole).ok()
    }

    fn number(&self, name: &str, default: f64, findings: &mut Findings) -> f64 {
        self.0.field(name).number(findings).unwrap_or(default)
    }
}

/// What a percentile pruner takes too.
fn median(options: &Options<'_, '_>, findings: &mut Findings) -> Median {
    let default = Median::default();
    Median {
        n_startup_trials: options.whole("n_startup_trials", default.n_startup_trials, findings),
        n_warmup_steps: options.whole("n_warmup_steps", default.n_warmup_steps, findings),
        interval_steps: options.whole("interval_steps", default.interval_steps, findings),
        n_min_trials: options.whole("n_min_trials", default.n_min_trials, findings),
    }
}

fn of_kind(
    kind: PrunerKind,
    options: &Options<'_, '_>,
    objectives: Option<usize>,
    findings: &mut Findings,
) -> PrunerConfig {
    match kind {
        PrunerKind::None => PrunerConfig::None,
        PrunerKind::Median => PrunerConfig::Median(median(options, findings)),
        PrunerKind::Percentile => {
            let percentile = options.0.field("percentile").required(findings);
            let percentile = percentile.number(findings).unwrap_or_default();
            let Median {
                n_startup_trials,
                n_warmup_steps,
                interval_steps,
                n_min_trials,
            } = median(options, findings);
            PrunerConfig::Percentile(Percentile {
                percentile,
                n_startup_trials,
                n_warmup_steps,
                interval_steps,
                n_min_trials,
            })
        }
        PrunerKind::Asha => {
            let default = Asha::default();
            PrunerConfig::Asha(Asha {
                min_resource: options.maybe_whole("min_resource", findings),
                reduction_factor: options.whole(
                    "reduction_factor",
                    default.reduction_factor,
                    findings,
                ),
                min_early_stopping_rate: options.whole(
                    "min_early_stopping_rate",
                    default.min_early_stopping_rate,
                    findings,
                ),
                bootstrap_count: options.whole("bootstrap_count", 0, findings),
            })
        }
        PrunerKind::Hyperband => {
            let default = Hyperband::default();
            PrunerConfig::Hyperband(Hyperband {
                min_resource: options.whole("min_resource", default.min_resource, findings),
                max_resource: options.maybe_whole("max_resource", findings),
                reduction_factor: options.whole(
                    "reduction_factor",
                    default.reduction_factor,
                    findings,
                ),
                bootstrap_count: options.whole("bootstrap_count", 0, findings),
            })
        }
        PrunerKind::Patient => {
            let wrapped = options.0.field("wrapped");
            let inner = config(&wrapped, objectives, findings);
            options.0.field("patience").required(findings);
            PrunerConfig::Patient(Patient {
                wrapped: inner
                    .filter(|inner| *inner != PrunerConfig::None)
                    .map(Box::new),
                patience: options.whole("patience", 0, findings),
                min_delta: options.number("min_delta", 0.0, findings),
            })
        }
        PrunerKind::Threshold => {
            let default = Threshold::default();
            PrunerConfig::Threshold(Threshold {
                lower: options.0.field("lower").number(findings),
                upper: options.0.field("upper").number(findings),
                n_warmup_steps: options.whole("n_warmup_steps", default.n_warmup_steps, findings),
                interval_steps: options.whole("interval_steps", default.interval_steps, findings),
            })
        }
        PrunerKind::Wilcoxon => {
            let default = Wilcoxon::default();
            PrunerConfig::Wilcoxon(Wilcoxon {
                p_threshold: options.number("p_threshold", default.p_threshold, findings),
                n_startup_steps: options.whole(
                    "n_startup_steps",
                    default.n_startup_steps,
                    findings,
                ),
            })
        }
    }
}
