use crate::{assert_fault, assert_pointer};
use chrono::NaiveDate;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use trialmill_common::draft::{
    Accepted, Coverage, MAX_FAULTS, MarketView, Surroundings, ToldEnd, check_enqueued,
    check_optimization, check_report, check_task, check_told, parse_body, strategy_key, symbols,
};
use trialmill_common::fault::Fault;
use trialmill_common::judge::judge;
use trialmill_common::spec::{RunSpec, Spec, TaskSpec};
use trialmill_search::History;

/// The most bytes of a refusal: every listed fault at a common size. A request of a few kilobytes
/// may not be answered with megabytes.
const MAX_REFUSAL_BYTES: usize = 4 << 20;

/// Three symbols with daily bars, one with minutes.
static MARKET: LazyLock<MarketView> = LazyLock::new(|| {
    let day = |year, month, day| NaiveDate::from_ymd_opt(year, month, day).expect("a day");
    let coverage = |frequency: &str, n: u8| Coverage {
        frequency: frequency.to_owned(),
        first: day(2015, 1, 5),
        last: day(2024, 12, 31),
        rows: 2_430,
        hash: [n; 32],
    };
    let series = [
        ("600000.SH", coverage("1d", 1)),
        ("600519.SH", coverage("1d", 2)),
        ("000001.SZ", coverage("1d", 3)),
        ("000002.SZ", coverage("1m", 4)),
    ];
    let series = series.map(|(name, coverage)| (name.to_owned(), coverage));
    MarketView {
        series: BTreeMap::from(series),
        reported: BTreeSet::from(["600000.SH".to_owned()]),
    }
});

static ANNOUNCED: LazyLock<BTreeSet<String>> =
    LazyLock::new(|| BTreeSet::from(["sphere".to_owned(), "of_another_build".to_owned()]));

/// The body of a request, checked as `POST /optimization/tasks` and as `POST /tasks`, and as what a client tells,
/// reports or wants tried.
///
/// An accepted one has a stored form that the worker's reader reads as the same task, from which the
/// search can be prepared and its first trial drawn. A refused one has at least one fault, each at a
/// JSON pointer, and an answer of a bounded size. Gives whether one of the two forms was accepted.
pub fn draft(data: &[u8]) -> bool {
    let body = match parse_body(data) {
        Ok(body) => body,
        Err(faults) => {
            assert_eq!(faults.len(), 1);
            assert_eq!(faults[0].code, "invalid_json");
            assert_refusal(&faults);
            return false;
        }
    };
    let _ = (symbols(&body), strategy_key(&body));
    let around = Surroundings {
        market: &MARKET,
        announced: &ANNOUNCED,
        live_slots: 2,
        drawn_seed: 7,
    };
    let mut is_accepted = false;
    for check in [check_optimization, check_task] {
        match check(&body, &around) {
            Ok(accepted) => {
                is_accepted = true;
                assert_accepted(&accepted);
            }
            Err(faults) => assert_refusal(&faults),
        }
    }
    said_by_client(&body);
    is_accepted
}

/// A search with two objectives whose trials clients run.
static AT_CLIENT: LazyLock<TaskSpec> = LazyLock::new(|| {
    let request = json!({
        "task_name": "at a client", "strategy_name": "client",
        "param_space": {
            "x": {"type": "float", "low": -5, "high": 5},
            "n": {"type": "int", "low": 1, "high": 9, "when": "x > 0"},
            "kind": {"type": "categorical", "choices": ["a", 1, 2.5, true, null]},
        },
        "constraints": ["x < 4"],
        "objective_config": {"objective_metric": ["loss", "sharpe"], "direction": ["minimize", "maximize"]},
    });
    let around = Surroundings {
        market: &MARKET,
        announced: &ANNOUNCED,
        live_slots: 0,
        drawn_seed: 7,
    };
    let accepted = check_optimization(&request, &around).expect("nothing is wrong with it");
    let Spec::Search(spec) = accepted.spec else {
        unreachable!("it is a search")
    };
    *spec
});

/// The same body as what a client tells, reports or wants tried.
fn said_by_client(body: &Value) {
    let spec = &*AT_CLIENT;
    match check_told(body, spec) {
        Ok(told) => {
            if let ToldEnd::Completed(metrics) = &told.end {
                let judged = judge(&spec.objectives, &spec.result_constraints, metrics.clone());
                let evaluation = judged.expect("JSON has finite numbers only");
                assert!(evaluation.values.len() == 2 || evaluation.infeasible.is_some());
            }
        }
        Err(faults) => assert_refusal(&faults),
    }
    match check_report(body, spec) {
        Ok(told) => {
            if let Some((_, values)) = told.report {
                assert_eq!(values.len(), 2);
                assert!(values.iter().all(|value| value.is_finite()));
            }
        }
        Err(faults) => assert_refusal(&faults),
    }
    match check_enqueued(body, spec) {
        Ok(point) => assert_eq!(spec.space.check_allowed(&point), Ok(())),
        Err(faults) => assert_refusal(&faults),
    }
}

fn assert_refusal(faults: &[Fault]) {
    assert!((1..=MAX_FAULTS + 1).contains(&faults.len()));
    let mut bytes = 0;
    for fault in faults {
        assert_fault(fault);
        assert_pointer(&fault.pointer);
        bytes += serde_json::to_vec(fault).map_or(0, |bytes| bytes.len());
    }
    assert!(bytes <= MAX_REFUSAL_BYTES, "a refusal of {bytes} bytes");
}

fn assert_accepted(accepted: &Accepted) {
    let text = accepted.spec.to_json().to_string();
    let stored: Value = serde_json::from_str(&text).expect("it was just written");
    for warning in &accepted.warnings {
        assert_pointer(&warning.pointer);
        assert!(!warning.code.is_empty() && !warning.detail.is_empty());
    }
    match &accepted.spec {
        Spec::Search(spec) => {
            let back = TaskSpec::from_json(&stored).expect("the worker reads it");
            assert_eq!(back, **spec);
            assert_eq!(back.to_json().to_string(), text);
            assert!((1..=back.n_trials).contains(&accepted.planned));
            back.pruner().expect("its options are within their bounds");
            let study = back.study(0).expect("the worker prepares it");
            let point = study
                .ask(&History::EMPTY, 0)
                .expect("there is a first trial");
            assert_eq!(back.space.check_allowed(&point), Ok(()));
            let packed = back.space.pack(&point);
            let unpacked = back
                .space
                .unpack(&packed)
                .expect("the worker reads its own points");
            assert_eq!(back.space.pack(&unpacked), packed);
        }
        Spec::Run(spec) => {
            let back = RunSpec::from_json(&stored).expect("the worker reads it");
            assert_eq!(back, **spec);
            assert_eq!(back.to_json().to_string(), text);
            assert_eq!(accepted.planned, 1);
        }
    }
}
