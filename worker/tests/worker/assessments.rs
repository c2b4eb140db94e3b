//! The assess unit: a real worker says what a search is worth, whoever held it before.

use crate::support::{Mill, function, int, new_task, options};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::synthetic::{Kind, series};
use trialmill_common::assessment::Assessment;
use trialmill_common::protocol::ASSESS_STEPS;
use trialmill_common::protocol::board::{UnitEnd, Written};
use trialmill_common::spec::{Target, TaskSpec, Validated};
use trialmill_common::state::{Direction, StopReason, TaskId, TaskState, UnitKind, WorkerId};
use trialmill_common::trial::EndedTrial;
use trialmill_common::validation::{Period, Validation, plan};
use trialmill_search::Method;
use trialmill_store::rows::{Claim, NewTask, Submitted, UnitRef};
use trialmill_store::{Store, UnitFlush};
use trialmill_worker::assess::{Assessing, Case, LuckBounds, Market, search_alone};
use trialmill_worker::bars::PinnedData;
use uuid::Uuid;

/// A random walk of five years, whose first is for indicators.
fn bars() -> BarSeries {
    let (first, last) = ("2017-01-01".parse().unwrap(), "2021-12-31".parse().unwrap());
    series(Kind::RandomWalk, 3, 0, first, last).unwrap()
}

fn search(n_trials: u32) -> TaskSpec {
    let mut spec = function(
        "moving_average",
        n_trials,
        vec![int("short_window", 2, 10), int("long_window", 12, 60)],
    );
    spec.objectives = vec![Target::new("sharpe_ratio", Direction::Maximize)];
    spec.stock_codes = vec![bars().symbol().to_owned()];
    (spec.start_date, spec.end_date) =
        ("2018-01-01".parse().unwrap(), "2021-12-31".parse().unwrap());
    spec
}

fn cross_validation(spec: &TaskSpec, segments: u8) -> Validated {
    let method = format!(r#"{{"method": "cross_validation", "segments": {segments}}}"#);
    let method: Validation = serde_json::from_str(&method).unwrap();
    let days: Vec<_> = bars()
        .trading_days(spec.start_date, spec.end_date)
        .collect();
    let period = Period::new(spec.start_date, spec.end_date, &days).unwrap();
    let plan = plan(&method, &period, spec.n_trials, None).unwrap();
    Validated { method, plan }
}

async fn submit(mill: &Mill, spec: &TaskSpec) -> TaskId {
    let hashes = mill.store.put_series(&[bars()], "test").await.unwrap();
    let snapshot: BTreeMap<_, _> = spec.stock_codes.iter().cloned().zip(hashes).collect();
    let task = NewTask {
        assessed: true,
        ..new_task(spec, snapshot, "default")
    };
    match mill.store.submit(task, None).await.unwrap() {
        Submitted::Created(row) => row.id,
        other => panic!("a new task is created, not {other:?}"),
    }
}

/// The search by itself, and then `done` with its case.
fn alone<T>(
    spec: &TaskSpec,
    permutations: u32,
    done: impl FnOnce(&[EndedTrial], Assessing<'_>) -> T,
) -> T {
    let config = spec.backtest.config().unwrap();
    let make = |series: &[Arc<BarSeries>], first, last| {
        let data = PinnedData {
            series: series.to_vec(),
            records: vec![],
        };
        data.backtest(None, &config, (first, last))
    };
    let series = vec![Arc::new(bars())];
    let trials = search_alone(spec, &series, &make).unwrap();
    let case = Case {
        spec,
        trials: &trials,
        default_params: None,
        prior_trials: 0,
        earlier_looks: 0,
        market: Some(Market {
            series,
            backtest: &make,
        }),
        bounds: LuckBounds {
            permutations,
            seconds: f64::INFINITY,
            easy_seconds: f64::INFINITY,
        },
    };
    done(&trials, Assessing::new(&case, None))
}

/// What nobody disturbs gives, with as many shuffled markets as `found` had.
fn undisturbed(spec: &TaskSpec, found: &Assessment) -> Assessment {
    let permutations = found.trust.luck.found().expect("it was made").permutations;
    alone(spec, permutations, |_, mut assessing| {
        std::iter::repeat_with(|| assessing.step(1, &|| false).unwrap())
            .find_map(|document| document)
            .expect("it ends")
    })
}

async fn document(mill: &Mill, id: TaskId) -> Value {
    let row = mill.until_ended(id).await;
    assert_eq!(row.ledger.state, TaskState::Completed, "{:?}", row.error);
    assert_eq!(row.ledger.stop_reason, Some(StopReason::NTrials));
    mill.assert_sound(id).await;
    mill.store
        .run_result(id)
        .await
        .unwrap()
        .expect("it is written")
}

fn assessment(document: &Value) -> Assessment {
    serde_json::from_value(document["assessment"].clone()).unwrap()
}

/// A holder that is about to be lost.
struct Lost {
    mill: Mill,
    id: TaskId,
    worker: WorkerId,
}

impl Lost {
    /// Has recorded all trials of a search. Nothing relays yet.
    async fn searched(spec: &TaskSpec) -> Self {
        let mill = Mill::new();
        let id = submit(&mill, spec).await;
        let lost = Self {
            mill,
            id,
            worker: WorkerId(Uuid::new_v4()),
        };
        let trials = alone(spec, 0, |trials, _| trials.to_vec());
        let mut recorded = 0;
        while recorded < trials.len() {
            let claim = lost.claim().await;
            assert_eq!(claim.unit_kind, UnitKind::Trials);
            let next = recorded + claim.count as usize;
            let flush = UnitFlush {
                trials: trials[recorded..next].to_vec(),
                ..flush(&claim, UnitEnd::Close)
            };
            lost.record(flush).await;
            recorded = next;
        }
        lost
    }

    /// The first unit that is free, published or not.
    async fn claim(&self) -> Claim {
        let store = &self.mill.store;
        let units = store.task(self.id).await.unwrap().unwrap().ledger.next_unit;
        for unit in 0..units {
            let unit = UnitRef {
                task: self.id,
                unit,
            };
            if let Some(claim) = store.claim(unit, self.worker).await.unwrap() {
                return claim;
            }
        }
        panic!("none of {units} units is free");
    }

    async fn record(&self, flush: UnitFlush) {
        let recorded = self.mill.store.record(self.id, &[flush]).await.unwrap();
        assert_eq!(recorded.written, [Written::Recorded]);
    }

    /// It is lost; a real worker takes over.
    async fn taken_over(mut self) -> Value {
        self.mill.expire_all(self.id, self.worker).await;
        let broker = Arc::clone(&self.mill.broker);
        self.mill.relay(broker);
        let worker = self.mill.worker(options(2)).await;
        let document = document(&self.mill, self.id).await;
        worker.drain().await;
        document
    }
}

fn flush(claim: &Claim, end: UnitEnd) -> UnitFlush {
    UnitFlush {
        lease: claim.lease,
        recorded_before: claim.recorded,
        trials: vec![],
        steps: 0,
        end,
        result: None,
        why: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_slots_assess_a_search_as_one_thread_alone_does() {
    for (slots, segments, method) in [
        (1, None, Method::Random),
        (3, None, Method::Random),
        (2, Some(3), Method::Random),
        // Their trials follow from the costs that workers and the luck test tell them, in one order.
        (2, None, Method::Tpe),
        (2, None, Method::Gp),
        (2, None, Method::CmaEs),
    ] {
        let mill = Mill::relaying();
        let mut spec = search(30);
        spec.method = method;
        spec.parallelism = Some(1);
        spec.validation = segments.map(|segments| cross_validation(&spec, segments));
        let worker = mill.worker(options(slots)).await;
        let id = submit(&mill, &spec).await;
        let found = assessment(&document(&mill, id).await);
        let luck = found.trust.luck.found().expect("it was made");
        assert!(luck.permutations >= 39, "{luck:?}");
        assert_eq!(found, undisturbed(&spec, &found), "{slots} slots, {method}");
        worker.drain().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_holder_has_recorded_of_an_assessment_is_not_done_again() {
    let spec = search(25);
    let lost = Lost::searched(&spec).await;
    let claim = lost.claim().await;
    assert_eq!(
        (claim.unit_kind, claim.count),
        (UnitKind::Assess, ASSESS_STEPS)
    );
    let kept = alone(&spec, 39, |_, mut assessing| {
        for _ in 0..6 {
            assert_eq!(assessing.step(1, &|| false).unwrap(), None);
        }
        json!(assessing.progress())
    });
    assert_eq!(kept["searched"], 5);
    // Told from anything that the next holder could find by itself.
    let mut marked = kept;
    marked["as_good"] = json!(1_000_000);
    let flush = UnitFlush {
        steps: 15,
        result: Some(json!({"progress": marked})),
        ..flush(&claim, UnitEnd::Keep)
    };
    lost.record(flush).await;
    let found = lost.taken_over().await;
    let luck = &found["assessment"]["trust"]["luck"];
    let p_value = luck["p_value"].as_f64().expect("it was made");
    assert_eq!(luck["permutations"], 39, "{luck}");
    assert!(p_value > 1_000.0, "{luck}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assessment_that_a_lost_holder_has_written_whole_stays_as_it_is() {
    let lost = Lost::searched(&search(25)).await;
    let claim = lost.claim().await;
    let written = json!({"failed": "written by the lost holder"});
    let flush = UnitFlush {
        steps: ASSESS_STEPS,
        result: Some(written.clone()),
        ..flush(&claim, UnitEnd::Keep)
    };
    lost.record(flush).await;
    assert_eq!(lost.taken_over().await, written);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assessment_that_loses_three_workers_is_given_up_and_its_task_completes() {
    let lost = Lost::searched(&search(25)).await;
    for crashes in 0..3 {
        let claim = lost.claim().await;
        assert_eq!(
            (claim.unit_kind, claim.crashes),
            (UnitKind::Assess, crashes)
        );
        lost.mill.expire_all(lost.id, lost.worker).await;
    }
    let found = lost.taken_over().await;
    assert_eq!(found, json!({"failed": "3 workers were lost over it"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_cancelled_in_the_middle_of_its_assessment() {
    let mill = Mill::relaying();
    let worker = mill.worker(options(2)).await;
    // Its luck test has seconds to go when the first step is told of.
    let id = submit(&mill, &search(3_000)).await;
    mill.until(id, |row| {
        row.assessed_percent.is_some_and(|percent| percent > 0)
    })
    .await;
    mill.store.stop(id, StopReason::Cancelled).await.unwrap();
    let row = mill.until_ended(id).await;
    assert_eq!(row.ledger.state, TaskState::Cancelled);
    assert_eq!(row.ledger.completed, 3_000);
    let left = mill
        .store
        .run_result(id)
        .await
        .unwrap()
        .expect("steps are kept");
    assert!(left["assessment"].is_null(), "{left}");
    assert!(left["progress"]["ground"].is_object(), "{left}");
    worker.drain().await;
}
