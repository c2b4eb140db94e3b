//! The JSON Schema of an optimization request, built from the constants that the check uses.

use super::book::{BACKTEST_FIELDS, BENCHMARKS, FILLS, MAX_PARTNERS, OUTER_FIELDS, POSITIONS};
use super::exchange::MARKETS;
use super::parameters::{PARAMETER_FIELDS, PARAMETER_TYPES};
use super::request::{CONFIG, NESTED, NESTED_FIELDS};
use super::search::{self, SAMPLE, method_names};
use super::{
    DEFAULT_TRIAL_TIMEOUT, DEFAULT_TRIALS, MAX_CONSTRAINTS, MAX_INITIAL_PARAMS, MAX_LABEL_CHARS,
    MAX_LABEL_NAME_CHARS, MAX_LABELS, MAX_OBJECTIVES, MAX_PARALLELISM, MAX_STOCK_CODES,
    MAX_TASK_NAME_CHARS, MAX_TIMEOUT, MAX_TRIAL_TIMEOUT, MAX_WARM_ORIGINS, pruner, run,
};
use crate::objective::{CLIENT, TestFunction};
use crate::spec::{Aggregate, BacktestSettings, CUSTOM, MAX_SEED, MAX_TRIALS, MAX_WEIGHT, Scope};
use crate::state::{Priority, TaskKind};
use crate::validation::{SEGMENTS, Validation, WindowKind};
use serde_json::{Map, Value, json};
use trialmill_backtest::bars::MAX_SYMBOL_BYTES;
use trialmill_backtest::config::{BacktestConfig, ConfigFault};
use trialmill_backtest::metrics::METRICS;
use trialmill_backtest::strategy;
use trialmill_search::pruner::{MAX_PRUNER_OPTION, PrunerKind};
use trialmill_search::{
    MAX_CHOICES, MAX_CONSTRAINTS as MAX_SPACE_CONSTRAINTS, MAX_EXPRESSION_CHARS, MAX_NAME_CHARS,
    MAX_PARAMETERS,
};

/// What a parameter, and a metric of a client's own, may be called.
const NAME_PATTERN: &str = "^[A-Za-z_][A-Za-z0-9_]*$";

/// The JSON Schema (draft 2020-12) of the body of `POST /optimization/tasks`.
///
/// Structure, names, bounds and defaults; what binds fields together (the parameters of a strategy,
/// a direction against its metric, the size of a grid) only the check itself knows.
#[must_use]
pub fn request_schema() -> Value {
    let mut properties = properties(&search::FIELDS, property);
    let kind = kind_schema(TaskKind::HyperparameterOptimization);
    properties.insert("task_type".to_owned(), kind);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "OptimizationRequest",
        "description": "A search for the parameters of a strategy. Null in an optional field means \
                        that it is not given.",
        "type": "object",
        "required": search::required_of_all(),
        "properties": properties,
        "additionalProperties": false,
        "examples": [example()],
    })
}

/// The JSON Schema (draft 2020-12) of the body of `POST /tasks`: for a search the fields of
/// [`request_schema`] with `task_type`, or the older forms that keep some of them in
/// `optimization_config` and all but the name in `config`; for a backtest its own fields, which may
/// stand in `config` too.
///
/// The check also takes what lies between the forms, each field in either place; the schema leaves
/// that out.
#[must_use]
pub fn task_request_schema() -> Value {
    let (inside, outside): (Vec<&str>, Vec<&str>) = search::FIELDS
        .iter()
        .partition(|field| NESTED_FIELDS.contains(field));
    let search = TaskKind::HyperparameterOptimization;
    let nested = || {
        let required = required(&inside, &search::required_of_all());
        (NESTED, object(&required, properties(&inside, property)))
    };
    let of_search = search::required_of_all();
    let flat = form(search, &search::FIELDS, &of_search, property, None);
    let of_run = &run::FIELDS[..run::REQUIRED];
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "TaskRequest",
        "description": "A task: a search for the parameters of a strategy, or one backtest. Null \
                        in an optional field means that it is not given.",
        "anyOf": [
            flat,
            form(search, &outside, &of_search, property, Some(nested())),
            wrapped(search, &outside, &of_search, property, Some(nested())),
            form(TaskKind::Backtest, &run::FIELDS, of_run, run_property, None),
            wrapped(TaskKind::Backtest, &run::FIELDS, of_run, run_property, None),
        ],
        "examples": [with_kind(example(), search), with_kind(run_example(), TaskKind::Backtest)],
    })
}

fn with_kind(mut example: Value, kind: TaskKind) -> Value {
    example["task_type"] = json!(kind.name());
    example
}

/// Those of the fields that are required, in their order.
fn required(fields: &[&str], of_all: &[&str]) -> Vec<String> {
    let some = fields.iter().filter(|field| of_all.contains(field));
    some.map(|field| (*field).to_owned()).collect()
}

fn properties(fields: &[&str], schema: fn(&str) -> Value) -> Map<String, Value> {
    let described = fields.iter().map(|name| ((*name).to_owned(), schema(name)));
    described.collect()
}

fn object(required: &[String], properties: Map<String, Value>) -> Value {
    json!({
        "type": "object", "required": required, "properties": Value::Object(properties),
        "additionalProperties": false,
    })
}

/// A form with its fields beside `task_type`.
fn form(
    kind: TaskKind,
    fields: &[&str],
    of_all: &[&str],
    schema: fn(&str) -> Value,
    more: Option<(&str, Value)>,
) -> Value {
    let (mut required, mut properties) = (required(fields, of_all), properties(fields, schema));
    for (name, schema) in more.into_iter().chain([("task_type", kind_schema(kind))]) {
        required.push(name.to_owned());
        properties.insert(name.to_owned(), schema);
    }
    object(&required, properties)
}

/// A form with all but its kind and name in `config`.
fn wrapped(
    kind: TaskKind,
    fields: &[&str],
    of_all: &[&str],
    schema: fn(&str) -> Value,
    more: Option<(&str, Value)>,
) -> Value {
    let fields: Vec<&str> = fields
        .iter()
        .filter(|name| **name != "task_name")
        .copied()
        .collect();
    let (mut required, mut properties) = (required(&fields, of_all), properties(&fields, schema));
    if let Some((name, schema)) = more {
        required.push(name.to_owned());
        properties.insert(name.to_owned(), schema);
    }
    let outer = json!({
        "task_type": kind_schema(kind),
        "task_name": property("task_name"),
        CONFIG: object(&required, properties),
    });
    json!({
        "type": "object", "required": ["task_type", "task_name", CONFIG], "properties": outer,
        "additionalProperties": false,
    })
}

fn kind_schema(kind: TaskKind) -> Value {
    json!({"type": "string", "enum": [kind.name()], "description": "the kind of the task"})
}

/// A backtest that is accepted once the bars of its symbol are there.
fn run_example() -> Value {
    json!({
        "task_name": "moving averages of 600000.SH",
        "strategy_name": "moving_average",
        "stock_codes": ["600000.SH"],
        "start_date": "2013-01-01",
        "end_date": "2022-12-31",
        "strategy_config": {"short_window": 10, "long_window": 60},
    })
}

/// The fields of a backtest.
fn run_property(name: &str) -> Value {
    let params = json!({
        "type": ["object", "null"], "default": {},
        "additionalProperties": {"type": ["number", "string", "boolean", "null"]},
        "description": "the strategy's parameters by name; what is left out takes its default",
    });
    match name {
        "strategy_config" => params,
        "strategy_params" => {
            json!({"type": ["object", "null"], "description": "older name of strategy_config"})
        }
        // Required under one of its two names, which the schema cannot tell from the other.
        "strategy_name" => {
            json!({"type": "string", "enum": strategies(), "description": "a strategy"})
        }
        "strategy_type" => json!({"type": "null", "description": "older name of strategy_name"}),
        "timeout" => json!({
            "type": ["number", "null"], "exclusiveMinimum": 0, "maximum": MAX_TRIAL_TIMEOUT,
            "default": DEFAULT_TRIAL_TIMEOUT, "description": "seconds after which it fails",
        }),
        name if OUTER_FIELDS.contains(&name) => {
            let mut schema = backtest()["properties"][name].clone();
            schema["description"] = json!(format!("as backtest_config.{name}"));
            schema
        }
        name if run::IGNORED.contains(&name) => json!({"description": "of older clients; ignored"}),
        name => property(name),
    }
}

/// A request that is accepted once the bars of its symbol are there.
fn example() -> Value {
    json!({
        "task_name": "moving averages of 600000.SH",
        "strategy_name": "moving_average",
        "stock_codes": ["600000.SH"],
        "start_date": "2013-01-01",
        "end_date": "2022-12-31",
        "param_space": {
            "short_window": {"type": "int", "low": 2, "high": 50, "default": 5},
            "long_window": {"type": "int", "low": 5, "high": 200, "step": 5, "default": 20},
        },
        "objective_config": {"objective_metric": "sharpe_ratio"},
        "n_trials": 1000,
        "optimization_method": "random",
        "seed": 42,
        "result_constraints": ["n_trades >= 10"],
    })
}

fn property(name: &str) -> Value {
    let date = "a date, or an ISO date-time whose date counts; inclusive, local to the exchange. Required unless \
                strategy_name is client";
    match name {
        "task_name" => json!({
            "type": "string", "minLength": 1, "maxLength": MAX_TASK_NAME_CHARS,
            "description": "your name for the task; no control characters",
        }),
        "strategy_name" => json!({
            "type": "string", "enum": subjects(),
            "description": "a strategy, a test function that reads no market data, or client: its trials are \
                            run by clients, who ask for each and tell what it came to",
        }),
        "stock_codes" => json!({
            "type": "array", "maxItems": MAX_STOCK_CODES, "uniqueItems": true,
            "items": {"type": "string", "minLength": 1, "maxLength": MAX_SYMBOL_BYTES},
            "description": "symbols, each with bars in the store; empty for what reads no market data. Required unless \
                            strategy_name is client",
        }),
        "start_date" | "end_date" => json!({"type": "string", "description": date}),
        "param_space" => json!({
            "type": "object", "minProperties": 1, "maxProperties": MAX_PARAMETERS,
            "propertyNames": {
                "pattern": NAME_PATTERN, "maxLength": MAX_NAME_CHARS,
            },
            "additionalProperties": parameter(),
            "description": "the parameters by name",
        }),
        "objective_config" => objective(),
        "n_trials" => json!({
            "type": ["integer", "null"], "minimum": 1, "maximum": MAX_TRIALS,
            "default": DEFAULT_TRIALS, "description": "trials",
        }),
        "optimization_method" => json!({
            "description": "the sampler; auto chooses for each trial; gp and cmaes take one objective, motpe (tpe \
                            under another name) several",
            "default": "auto",
            "anyOf": [
                {"type": ["string", "null"], "enum": with_null(&method_names())},
                {
                    "type": "object", "required": ["name"], "additionalProperties": false,
                    "properties": {
                        "name": {"type": "string", "enum": method_names()},
                        SAMPLE: {"type": ["boolean", "null"], "default": false,
                            "description": "only of grid: whether it may visit some of its points only, where it has more than n_trials"},
                    },
                },
            ],
        }),
        "timeout" => json!({
            "type": ["number", "null"], "exclusiveMinimum": 0, "maximum": MAX_TIMEOUT,
            "default": null, "description": "seconds after which the task ends, counted while its trials run: not while it is paused or its result is assessed",
        }),
        "trial_timeout" => json!({
            "type": ["number", "null"], "exclusiveMinimum": 0, "maximum": MAX_TRIAL_TIMEOUT,
            "default": DEFAULT_TRIAL_TIMEOUT, "description": "seconds after which a trial fails; of a client: without a word of it, after which the trial is given to the next who asks",
        }),
        "seed" => json!({
            "type": ["integer", "null"], "minimum": 0, "maximum": MAX_SEED,
            "description": "seed of every draw; chosen and recorded when absent",
        }),
        "parallelism" => json!({
            "type": ["integer", "null"], "minimum": 1, "maximum": MAX_PARALLELISM, "default": null,
            "description": "most units at a time; null is as many as workers allow",
        }),
        "scope" => json!({
            "type": ["string", "null"], "enum": with_null(&Scope::NAMES),
            "default": Scope::default().name(),
            "description": "portfolio: one book over all symbols; per_symbol: one for each, with all \
                            of the initial cash, whose metrics are aggregated. Not for test functions",
        }),
        "aggregate" => json!({
            "type": ["string", "null"], "enum": with_null(&Aggregate::ALL.map(Aggregate::name)),
            "description": "for the scope per_symbol, where it is mean if absent",
        }),
        "constraints" => json!({
            "type": ["array", "null"], "maxItems": MAX_SPACE_CONSTRAINTS,
            "items": {"type": "string", "maxLength": MAX_EXPRESSION_CHARS},
            "default": [],
            "description": "conditions over parameters that every trial keeps, such as fast < slow",
        }),
        "initial_params" => json!({
            "type": ["array", "null"], "maxItems": MAX_INITIAL_PARAMS, "default": [],
            "items": {
                "type": "object",
                "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
            },
            "description": "points that the first trials take, after the defaults; a parameter \
                            that is left out takes its default",
        }),
        "warm_start_from" => json!({
            "type": ["array", "null"], "maxItems": MAX_WARM_ORIGINS, "uniqueItems": true,
            "items": {"type": "string", "format": "uuid"}, "default": [],
            "description": "earlier tasks with the same objectives whose trials the sampler knows from the \
                            start, as far as they are points of this space; the latest 1,000 of them",
        }),
        "result_constraints" => json!({
            "type": ["array", "null"], "maxItems": MAX_CONSTRAINTS,
            "items": {"type": "string", "maxLength": MAX_EXPRESSION_CHARS},
            "default": ["n_trades >= 1"],
            "description": "conditions over metrics, such as n_trades >= 10; a trial that breaks \
                            one is infeasible. The default of a test function is []",
        }),
        "pruner" => pruner_schema(),
        "validation" => validation(),
        "stop" => json!({
            "type": ["object", "null"], "additionalProperties": false,
            "properties": {
                "target": {"type": ["number", "array", "null"], "items": {"type": ["number", "null"]},
                    "maxItems": MAX_OBJECTIVES,
                    "description": "ends with the first trial that is at least as good; with several \
                                    objectives a list with a number for each, or null for those that have \
                                    none, and one trial has to reach all of them"},
                "patience": {"type": ["integer", "null"], "minimum": 1, "maximum": MAX_TRIALS,
                    "description": "ends when so many trials in a row, however they ended, were no \
                                    better than the best one; with several objectives, when none of \
                                    them joined the Pareto front"},
            },
            "default": {"target": null, "patience": null},
            "description": "when the search ends before all trials have; stop_reason says why. With \
                            more than one trial at a time, which trials are recorded by then depends \
                            on timing",
        }),
        "priority" => {
            let names: Vec<_> = Priority::ALL
                .iter()
                .map(|priority| priority.name())
                .collect();
            json!({
                "type": ["string", "null"], "enum": with_null(&names),
                "default": Priority::Normal.name(), "description": "order between tasks",
            })
        }
        "not_before" => json!({
            "type": ["string", "null"], "format": "date-time", "default": null,
            "description": "a time with its zone; no trial starts before it",
        }),
        "labels" => json!({
            "type": ["object", "null"], "maxProperties": MAX_LABELS, "default": {},
            "propertyNames": {"minLength": 1, "maxLength": MAX_LABEL_NAME_CHARS},
            "additionalProperties": {"type": "string", "minLength": 1, "maxLength": MAX_LABEL_CHARS},
            "description": "your own labels",
        }),
        "backtest_config" => backtest(),
        other => unreachable!("the field {other} has no schema"),
    }
}

fn strategies() -> Vec<&'static str> {
    let strategies = strategy::all().iter();
    strategies.map(|strategy| strategy.info().key).collect()
}

fn subjects() -> Vec<&'static str> {
    strategies()
        .into_iter()
        .chain(TestFunction::ALL.iter().map(|function| function.name()))
        .chain([CLIENT])
        .collect()
}

fn pruner_schema() -> Value {
    let whole = json!({"type": ["integer", "null"], "minimum": 0, "maximum": MAX_PRUNER_OPTION});
    let number = json!({"type": ["number", "null"]});
    let option = |name: &str| match name {
        "wrapped" => json!({"type": ["string", "object", "null"], "description": "a pruner"}),
        "percentile" | "min_delta" | "lower" | "upper" | "p_threshold" => number.clone(),
        _ => whole.clone(),
    };
    let forms = PrunerKind::ALL.into_iter().flat_map(|kind| {
        let other = (kind == PrunerKind::Asha).then_some(pruner::SUCCESSIVE_HALVING);
        std::iter::once(kind.name())
            .chain(other)
            .map(move |name| (kind, name))
    });
    let forms = forms.map(|(kind, name)| {
        let options = pruner::options(kind).iter();
        let mut properties: Map<String, Value> = options
            .map(|name| ((*name).to_owned(), option(name)))
            .collect();
        properties.insert("name".to_owned(), json!({"const": name}));
        object(&["name".to_owned()], properties)
    });
    let named = json!({"type": ["string", "null"], "enum": with_null(&pruner::names())});
    json!({
        "anyOf": std::iter::once(named).chain(forms).collect::<Vec<_>>(),
        "default": PrunerKind::None.name(),
        "description": "what stops trials early, by what they report: the objective at a client, and the \
                        segments of a cross_validation. patient takes patience, percentile takes percentile",
    })
}

/// What judges a search besides the days that it was run on (docs/validation.md).
fn validation() -> Value {
    let length = |description: &str| {
        json!({
            "type": ["string", "null"], "pattern": "^[1-9][0-9]*(mo|y|w|d)$",
            "description": description,
        })
    };
    json!({
        "type": ["object", "null"], "required": ["method"], "additionalProperties": false,
        "properties": {
            "method": {"type": "string", "enum": Validation::METHODS},
            "length": length("holdout: length of the last stretch, which no trial sees"),
            "window": {
                "type": ["string", "null"], "enum": with_null(&WindowKind::ALL.map(WindowKind::name)),
                "default": WindowKind::Rolling.name(),
                "description": "walk_forward: whether training windows move or grow",
            },
            "train": length("walk_forward: length of the (first) training window"),
            "test": length("walk_forward: length of each test window"),
            "step": length("walk_forward: from one test window to the next; that of test"),
            "embargo": {
                "type": ["string", "null"], "pattern": "^[0-9]+d$", "default": "0d",
                "description": "trading days dropped before what is judged",
            },
            "segments": {
                "type": ["integer", "null"], "minimum": SEGMENTS.start(), "maximum": SEGMENTS.end(),
                "description": "cross_validation: how many",
            },
            "holdout": length("walk_forward: a last stretch that no window touches"),
            "selection": {
                "type": ["object", "null"], "additionalProperties": false,
                "properties": {
                    "metric": {"type": ["string", "null"]},
                    "subject_to": {
                        "type": ["array", "null"], "maxItems": MAX_CONSTRAINTS,
                        "items": {"type": "string"}, "default": [],
                    },
                },
                "description": "which trial is used, of each window of a walk_forward: the best by the metric \
                                of those that keep the limits, with several objectives of their front; \
                                without it the best by the (first) objective",
            },
        },
        "default": {"method": "none"}, "description": "what judges the search besides its own days",
    })
}

fn with_null(names: &[&str]) -> Value {
    names
        .iter()
        .map(|name| json!(name))
        .chain([Value::Null])
        .collect()
}

fn parameter() -> Value {
    let number =
        |description: &str| json!({"type": ["number", "null"], "description": description});
    let properties: Map<String, Value> = PARAMETER_FIELDS
        .iter()
        .map(|name| {
            let schema = match *name {
                "type" => json!({"type": "string", "enum": PARAMETER_TYPES}),
                "low" => number("smallest value, for int and float"),
                "high" => number("largest value, for int and float"),
                "step" => json!({
                    "type": ["number", "null"], "exclusiveMinimum": 0,
                    "description": "distance between values; 1 for int, null (none) for float",
                }),
                "log" => json!({
                    "type": ["boolean", "null"], "default": false,
                    "description": "whether the logarithm is spread evenly",
                }),
                "choices" => json!({
                    "type": ["array", "null"], "minItems": 1, "maxItems": MAX_CHOICES,
                    "items": {"type": ["string", "number", "boolean", "null"]},
                    "description": "the values of a categorical parameter",
                }),
                "default" => json!({
                    "type": ["string", "number", "boolean", "null"],
                    "description": "where all searched parameters have one, the first trial takes \
                                    them; a disabled parameter stays at it",
                }),
                "enabled" => json!({
                    "type": ["boolean", "null"], "default": true,
                    "description": "false keeps the parameter at its default",
                }),
                "when" => json!({
                    "type": ["string", "null"], "maxLength": MAX_EXPRESSION_CHARS,
                    "description": "a condition over other parameters; the parameter has a value \
                                    only where it holds",
                }),
                other => unreachable!("the parameter field {other} has no schema"),
            };
            ((*name).to_owned(), schema)
        })
        .collect();
    json!({
        "type": "object", "required": ["type"], "properties": properties,
        "additionalProperties": false,
    })
}

fn objective() -> Value {
    let metric_names: Vec<&str> = METRICS
        .iter()
        .flat_map(|info| [Some(info.name), info.alias])
        .flatten()
        .collect();
    let names: Vec<&str> = (metric_names.iter().copied())
        .chain([CUSTOM])
        .chain(TestFunction::all_metrics())
        .collect();
    let own = json!({"type": "string", "pattern": NAME_PATTERN, "maxLength": MAX_NAME_CHARS});
    let directions = ["maximize", "minimize"];
    json!({
        "type": "object", "required": ["objective_metric"], "additionalProperties": false,
        "properties": {
            "objective_metric": {
                "description": "the metric, or several, each once, of which a front is searched; `value` for \
                                most test functions, `f1` and `f2` for `schaffer`; any name where strategy_name \
                                is client",
                "anyOf": [
                    {"type": "string", "enum": names},
                    own,
                    {"type": "array", "minItems": 1, "maxItems": MAX_OBJECTIVES, "uniqueItems": true,
                        "items": {"anyOf": [{"enum": names}, own]}},
                ],
            },
            "direction": {
                "description": "the metric's own when absent, and never against it; one for all, or a list \
                                with one for each metric. Required for a metric of a client's own",
                "anyOf": [
                    {"type": ["string", "null"], "enum": with_null(&directions)},
                    {"type": "array", "minItems": 1, "maxItems": MAX_OBJECTIVES,
                        "items": {"enum": directions}},
                ],
            },
            "objective_weights": {
                "type": ["object", "null"], "minProperties": 1, "maxProperties": METRICS.len(),
                "propertyNames": {"enum": metric_names},
                "additionalProperties": {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_WEIGHT},
                "description": "only with custom, which is the sum of weight x metric / scale, with a minus where \
                                less of the metric is better; the scales are in the catalogue of metrics",
            },
        },
        "description": "what is optimized",
    })
}

fn backtest() -> Value {
    let settings = BacktestSettings::default();
    // A config of NaNs is out of every range, and each of its faults tells the range.
    let nan = f64::NAN;
    let unfit = BacktestConfig {
        initial_cash: nan,
        commission_rate: nan,
        slippage_rate: nan,
        risk_free_rate: nan,
        periods_per_year: nan,
        ..BacktestConfig::default()
    };
    let faults = unfit.check().err().unwrap_or_default();
    let number = |name: &str, default: f64, description: &str| {
        let bounds = faults.iter().find_map(|fault| match fault {
            ConfigFault::OutOfRange {
                field, min, max, ..
            } if *field == name => Some((*min, *max)),
            ConfigFault::OutOfRange { .. } | ConfigFault::NotBuilt { .. } => None,
        });
        let (min, max) = bounds.expect("NaN is out of the range of every number");
        json!({
            "type": ["number", "null"], "minimum": min, "maximum": max, "default": default,
            "description": description,
        })
    };
    let flag = |description: &str| json!({"type": ["boolean", "null"], "default": false, "description": description});
    let properties: Map<String, Value> = BACKTEST_FIELDS
        .iter()
        .map(|name| {
            let schema = match *name {
                "initial_cash" => number(name, settings.initial_cash, "cash at the start"),
                "commission_rate" => number(
                    name,
                    settings.commission_rate,
                    "fraction of the value, per side",
                ),
                "slippage_rate" => number(
                    name,
                    settings.slippage_rate,
                    "fraction of the price, per side",
                ),
                "risk_free_rate" => number(name, settings.risk_free_rate, "fraction per year"),
                "periods_per_year" => number(name, settings.periods_per_year, "rows per year"),
                "market" => json!({
                    "type": ["string", "null"], "enum": with_null(&MARKETS),
                    "description": "the rules of the exchange (docs/market-rules.md); without it \
                                    cn_a where every symbol is an A-share, else plain",
                }),
                "fill" => json!({
                    "type": ["string", "null"], "enum": with_null(&FILLS), "default": settings.fill,
                    "description": "when a signal is filled; close looks ahead",
                }),
                "position" => json!({
                    "type": ["object", "null"], "required": ["mode"], "additionalProperties": false,
                    "properties": {
                        "mode": {"type": "string", "enum": POSITIONS},
                        "fraction": {
                            "type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 1,
                            "description": "of the equity, for fixed_fraction",
                        },
                    },
                    "default": {"mode": "equal_weight"}, "description": "how much is bought",
                }),
                "allow_short" => flag("sell the other leg of a pair short; strategies of two legs"),
                "benchmark" => json!({
                    "type": ["string", "null"], "enum": with_null(&BENCHMARKS),
                    "default": BENCHMARKS[0], "description": "what a result is compared with",
                }),
                "frequency" => json!({
                    "type": ["string", "null"], "enum": ["1d", null], "default": "1d",
                    "description": "spacing of the bars",
                }),
                "partners" => json!({
                    "type": ["array", "null"], "maxItems": MAX_PARTNERS, "default": [],
                    "items": {"type": "string", "minLength": 1, "maxLength": MAX_SYMBOL_BYTES},
                    "description": "stored symbols to choose the other leg from; empty for all. \
                                    Strategies of two legs",
                }),
                "require_cointegration" => flag(
                    "refuse a pair that is not cointegrated before start_date; strategies of two \
                     legs",
                ),
                other => unreachable!("the backtest field {other} has no schema"),
            };
            ((*name).to_owned(), schema)
        })
        .collect();
    json!({
        "type": ["object", "null"], "properties": properties, "additionalProperties": false,
        "default": {}, "description": "how a backtest is done",
    })
}
