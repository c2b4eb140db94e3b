//! A worker against a real store and a real queue.

use crate::support::doubling::Doubling;
use crate::support::{Mill, PATIENCE, float, function, int, options, with_fixed};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use trialmill_backtest::synthetic::{Kind, series};
use trialmill_broker::Broker;
use trialmill_common::spec::{MAX_TRIALS, MetricNames, ResultConstraint, Target, TaskSpec};
use trialmill_common::state::{Direction, StopReason, TaskState};
use trialmill_relay::Pace;
use trialmill_search::{Choice, Method};
use trialmill_store::Store;
use trialmill_store::rows::ControlOutcome;
use trialmill_worker::WorkerOptions;

fn sphere(n_trials: u32) -> TaskSpec {
    function(
        "sphere",
        n_trials,
        vec![float("x", -5.0, 5.0), float("y", -1.0, 3.0), int("z", 0, 9)],
    )
}

/// The results of an undisturbed run with one slot.
async fn undisturbed(spec: &TaskSpec) -> Vec<(u32, Vec<u8>, Vec<u64>, Option<String>)> {
    let mill = Mill::relaying();
    let worker = mill.worker(options(1)).await;
    let id = mill.submit(spec, BTreeMap::new()).await;
    assert_eq!(
        mill.until_ended(id).await.ledger.state,
        TaskState::Completed
    );
    worker.drain().await;
    mill.results(id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn several_workers_and_slots_give_the_trials_of_one_slot() {
    let grid = function("sphere", 600, vec![int("a", -10, 9), int("b", 1, 30)]);
    for spec in [
        sphere(2000),
        TaskSpec {
            method: Method::Grid,
            ..grid
        },
    ] {
        let alone = undisturbed(&spec).await;
        let mill = Mill::relaying();
        let first = mill.worker(options(3)).await;
        let second = mill.worker(options(2)).await;
        let id = mill.submit(&spec, BTreeMap::new()).await;
        let row = mill.until_ended(id).await;
        assert_eq!(row.ledger.state, TaskState::Completed);
        assert_eq!(row.ledger.completed, spec.n_trials);
        first.drain().await;
        second.drain().await;
        assert_eq!(mill.results(id).await, alone);
        mill.assert_sound(id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_points_are_taken_before_the_sampler_is_asked() {
    let mut spec = sphere(20);
    let named = [
        ("x", Choice::Float(0.5)),
        ("y", Choice::Float(0.0)),
        ("z", Choice::Int(2)),
    ];
    let named = named
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let first = spec.space.point_from_named(&named).unwrap();
    spec.first_points = vec![first.clone()];
    let results = undisturbed(&spec).await;
    assert_eq!(results[0].1, spec.space.pack(&first));
    assert_eq!(results[0].2, [(0.25_f64 + 4.0).to_bits()]);
    assert_eq!(results.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_unit_is_split_after_its_current_trial() {
    let spec = TaskSpec {
        parallelism: Some(1),
        ..sphere(30)
    };
    let mill = Mill::relaying();
    let worker = mill
        .worker(WorkerOptions {
            unit_limit: Duration::ZERO,
            ..options(2)
        })
        .await;
    let id = mill.submit(&spec, BTreeMap::new()).await;
    mill.until_ended(id).await;
    worker.drain().await;
    mill.assert_sound(id).await;
    let trials = mill.trials(id).await;
    let units: Vec<u32> = trials.iter().map(|t| t.unit).collect();
    assert_eq!(
        units,
        (0..30).collect::<Vec<u32>>(),
        "one trial per unit, in order"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_task_is_handed_back_and_goes_on_when_it_is_resumed() {
    let nap = function("sleep", 40, vec![float("x", -5.0, 5.0)]);
    let spec = with_fixed(nap, "seconds", 0.02);
    let mill = Mill::relaying();
    let worker = mill.worker(options(2)).await;
    let id = mill.submit(&spec, BTreeMap::new()).await;
    mill.until(id, |row| row.ledger.ended() > 0).await;
    mill.store.pause(id).await.unwrap();
    let paused = mill.until(id, |row| row.leased_units == 0).await;
    assert_eq!(paused.ledger.state, TaskState::Paused);
    assert!(
        paused.ledger.ended() < 40,
        "all trials ended before the pause"
    );
    assert!(matches!(
        mill.store.resume(id).await.unwrap(),
        ControlOutcome::Done(_)
    ));
    let row = mill.until_ended(id).await;
    assert_eq!(
        (row.ledger.state, row.ledger.completed),
        (TaskState::Completed, 40)
    );
    worker.drain().await;
    mill.assert_sound(id).await;
    assert_eq!(mill.store.unit_summary(id).await.unwrap().crashes, 0);
    let again = undisturbed(&spec).await;
    assert_eq!(mill.results(id).await, again);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_task_interrupts_its_running_trial() {
    let spec = with_fixed(
        function("sleep", 3, vec![float("x", 0.0, 1.0)]),
        "seconds",
        3600.0,
    );
    let mill = Mill::relaying();
    // Told by the renewal, which comes every third of a lease.
    let quick = WorkerOptions {
        lease: Duration::from_millis(300),
        ..options(1)
    };
    let worker = mill.worker(quick).await;
    let id = mill.submit(&spec, BTreeMap::new()).await;
    mill.until_announced().await;
    mill.store.stop(id, StopReason::Cancelled).await.unwrap();
    let row = mill.until_ended(id).await;
    assert_eq!(
        (row.ledger.state, row.ledger.ended()),
        (TaskState::Cancelled, 0)
    );
    worker.drain().await;
    mill.assert_sound(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_lets_the_running_trial_end_and_hands_the_rest_back() {
    let spec = with_fixed(
        function("sleep", 50, vec![float("x", 0.0, 1.0)]),
        "seconds",
        0.3,
    );
    let spec = TaskSpec {
        parallelism: Some(1),
        ..spec
    };
    let mill = Mill::relaying();
    let worker = mill.worker(options(1)).await;
    let id = mill.submit(&spec, BTreeMap::new()).await;
    // An announced trial need not have begun: one that has ended surely had.
    mill.until(id, |row| row.ledger.ended() > 0).await;
    worker.drain().await;
    let row = mill.store.task(id).await.unwrap().unwrap();
    assert_eq!(
        (row.ledger.state, row.leased_units),
        (TaskState::Running, 0)
    );
    assert!(
        (1..50).contains(&row.ledger.completed),
        "{}",
        row.ledger.completed
    );
    assert_eq!(
        mill.store.unit_summary(id).await.unwrap().crashes,
        0,
        "nothing is charged"
    );
    assert!(
        mill.store
            .workers()
            .await
            .unwrap()
            .iter()
            .all(|worker| !worker.live)
    );
    mill.assert_sound(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_without_grace_interrupts_the_trial_which_keeps_its_point() {
    let spec = with_fixed(
        function("sleep", 2, vec![float("x", 0.0, 1.0)]),
        "seconds",
        3600.0,
    );
    let mill = Mill::relaying();
    let worker = mill
        .worker(WorkerOptions {
            drain: Duration::ZERO,
            ..options(1)
        })
        .await;
    let id = mill.submit(&spec, BTreeMap::new()).await;
    mill.until_announced().await;
    tokio::time::timeout(PATIENCE, worker.drain())
        .await
        .expect("the trial is interrupted");
    let row = mill.store.task(id).await.unwrap().unwrap();
    assert_eq!((row.ledger.ended(), row.leased_units), (0, 0));
    assert_eq!(mill.store.unit_summary(id).await.unwrap().crashes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_store_loses_no_result() {
    let nap = function("sleep", 200, vec![float("x", -5.0, 5.0)]);
    let spec = with_fixed(nap, "seconds", 0.005);
    let alone = undisturbed(&spec).await;
    let mill = Mill::relaying();
    let flaky = &mill.line;
    let worker = mill.worker(options(2)).await;
    let id = mill.submit(&spec, BTreeMap::new()).await;
    mill.until(id, |row| row.ledger.ended() > 0).await;
    flaky.cut(true);
    let mut refused = flaky.refused_flushes.subscribe();
    let several = refused.wait_for(|count| *count >= 3);
    tokio::time::timeout(PATIENCE, several)
        .await
        .unwrap()
        .unwrap();
    flaky.cut(false);
    let row = mill.until_ended(id).await;
    assert_eq!(row.ledger.completed, 200);
    worker.drain().await;
    assert_eq!(mill.results(id).await, alone);
    mill.assert_sound(id).await;
    assert_eq!(mill.store.unit_summary(id).await.unwrap().crashes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_whose_answer_was_lost_is_repeated_and_recorded_once() {
    let spec = sphere(500);
    let mill = Mill::relaying();
    let flaky = &mill.line;
    flaky.lose_answers(4);
    let worker = mill.worker(options(2)).await;
    let id = mill.submit(&spec, BTreeMap::new()).await;
    let row = mill.until_ended(id).await;
    assert_eq!(row.ledger.completed, 500);
    worker.drain().await;
    assert!(*flaky.refused_flushes.borrow() > 0, "no answer was lost");
    mill.assert_sound(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_at_its_bound_of_results_waits_for_the_store() {
    let spec = TaskSpec {
        parallelism: Some(1),
        ..sphere(5000)
    };
    let mill = Mill::relaying();
    let small = WorkerOptions {
        unrecorded_bytes: 4096,
        flush: Duration::from_secs(3600),
        ..options(1)
    };
    let worker = mill.worker(small).await;
    let id = mill.submit(&spec, BTreeMap::new()).await;
    let row = mill.until_ended(id).await;
    assert_eq!(row.ledger.completed, 5000);
    worker.drain().await;
    mill.assert_sound(id).await;
    // Accepted, started, ended, and one event for each flush of some 4 KiB.
    assert!(
        row.ledger.seq > 50,
        "the bound asked for no flush: {} events",
        row.ledger.seq
    );
}

/// Without the relay's look it would be published again after a minute, and the test would fail.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_queue_lost_is_published_again_when_all_is_quiet() {
    let mut mill = Mill::new();
    let broker: Arc<dyn Broker> = Arc::clone(&mill.broker) as _;
    let pace = Pace {
        quiet: Duration::from_millis(100),
        ..Pace::for_lease(Duration::from_secs(30))
    };
    mill.relay_at(Arc::clone(&broker), pace);
    let mut thief = broker.consume("default", "thief").await.unwrap();
    let id = mill.submit(&sphere(1), BTreeMap::new()).await;
    thief.next().await;
    thief.ack().await;
    thief.close().await;
    let worker = mill.worker(options(1)).await;
    let ended = tokio::time::timeout(PATIENCE / 2, mill.until_ended(id));
    assert_eq!(ended.await.unwrap().ledger.state, TaskState::Completed);
    worker.drain().await;
    mill.assert_sound(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_twice_gives_every_trial_once() {
    let spec = sphere(800);
    let alone = undisturbed(&spec).await;
    let mut mill = Mill::new();
    mill.relay(Arc::new(Doubling(Arc::clone(&mill.broker))));
    let worker = mill.worker(options(4)).await;
    let id = mill.submit(&spec, BTreeMap::new()).await;
    mill.until_ended(id).await;
    worker.drain().await;
    assert_eq!(mill.results(id).await, alone);
    mill.assert_sound(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superseded_lease_writes_nothing_more() {
    let spec = with_fixed(
        function("sleep", 1, vec![float("x", 0.0, 1.0)]),
        "seconds",
        0.5,
    );
    let mill = Mill::relaying();
    let worker = mill.worker(options(1)).await;
    let id = mill.submit(&spec, BTreeMap::new()).await;
    mill.until_announced().await;
    // Another handle by whose clock every lease has expired long ago takes the unit away.
    let timing = trialmill_store::Timing {
        lease: Duration::ZERO,
        ..Default::default()
    };
    let impatient = mill.store.with_timing(timing);
    let lease = mill.store.running_trials(id, 0..MAX_TRIALS).await.unwrap()[0].unit;
    let leases = [trialmill_store::rows::HeldLease {
        unit: trialmill_store::rows::UnitRef {
            task: id,
            unit: lease,
        },
        token: 1,
    }];
    impatient.renew(worker.card().id, &leases).await.unwrap();
    impatient.reap().await.unwrap();
    let row = mill.until_ended(id).await;
    assert_eq!(row.ledger.completed, 1, "the next holder runs it, once");
    worker.drain().await;
    mill.assert_sound(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backtest_runs_on_its_pinned_bars_with_reasons_for_what_is_infeasible() {
    let mill = Mill::relaying();
    let mut spec = function(
        "moving_average",
        120,
        vec![int("short_window", 2, 50), int("long_window", 5, 80)],
    );
    spec.objectives = vec![Target::new("sharpe_ratio", Direction::Maximize)];
    spec.result_constraints =
        vec![ResultConstraint::parse("n_trades >= 10", MetricNames::Backtest).unwrap()];
    let bars: Vec<_> = (0..3)
        .map(|i| {
            let (first, last) = ("2019-01-01".parse().unwrap(), spec.end_date);
            series(Kind::Trending, 7, i, first, last).unwrap()
        })
        .collect();
    spec.stock_codes = bars.iter().map(|b| b.symbol().to_owned()).collect();
    let hashes = mill.store.put_series(&bars, "test").await.unwrap();
    let snapshot: BTreeMap<_, _> = spec.stock_codes.iter().cloned().zip(hashes).collect();
    let worker = mill.worker(options(2)).await;
    let id = mill.submit(&spec, snapshot.clone()).await;
    let row = mill.until_ended(id).await;
    assert_eq!(
        (row.ledger.state, row.ledger.completed),
        (TaskState::Completed, 120)
    );
    mill.assert_sound(id).await;
    let trials = mill.trials(id).await;
    let because = |text: &str| {
        trials
            .iter()
            .filter(|t| t.infeasible.as_deref().is_some_and(|r| r.contains(text)))
            .count()
    };
    assert!(
        because("window") > 0,
        "short above long is infeasible with its reason"
    );
    assert!(because("breaks n_trades >= 10") > 0);
    let best = row.ledger.best.expect("some trial is feasible");
    let winner = &trials[best.number as usize];
    assert_eq!(winner.values, [best.value]);
    assert!(winner.metrics.as_ref().unwrap()["max_drawdown"].is_number());

    let again = mill.submit(&spec, snapshot).await;
    mill.until_ended(again).await;
    assert_eq!(
        mill.results(again).await,
        mill.results(id).await,
        "bit for bit"
    );

    let absent = mill.submit(&spec, BTreeMap::new()).await;
    let row = mill.until_ended(absent).await;
    assert_eq!(row.ledger.state, TaskState::Failed);
    let failure = mill.trials(absent).await[0].failure.clone().unwrap();
    assert_eq!(failure.kind.name(), "market_data");
    assert!(failure.worker.contains("/slot-0"), "{failure:?}");
    worker.drain().await;
}

/// Waits until the line has refused that many flushes.
async fn until_refused(mill: &Mill, count: u32) {
    let mut refused = mill.line.refused_flushes.subscribe();
    let several = refused.wait_for(|refused| *refused >= count);
    tokio::time::timeout(PATIENCE, several)
        .await
        .expect("flushes are refused")
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_row_is_locked_holds_up_no_other_task() {
    let spec = TaskSpec {
        parallelism: Some(1),
        ..sphere(300)
    };
    let mill = Mill::relaying();
    let locked = mill.submit(&spec, BTreeMap::new()).await;
    *mill.line.locked.lock().unwrap() = Some(locked);
    let worker = mill.worker(options(2)).await;
    until_refused(&mill, 1).await;
    let other = mill.submit(&spec, BTreeMap::new()).await;
    let row = mill.until_ended(other).await;
    assert_eq!(row.ledger.completed, 300);
    let row = mill.store.task(locked).await.unwrap().unwrap();
    assert_eq!(row.ledger.ended(), 0, "its flush is still unknown");
    *mill.line.locked.lock().unwrap() = None;
    let row = mill.until_ended(locked).await;
    assert_eq!(row.ledger.completed, 300);
    worker.drain().await;
    mill.assert_sound(locked).await;
    assert_eq!(mill.results(locked).await, mill.results(other).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn units_that_are_refused_together_are_written_alone() {
    let nap = function("sleep", 100, vec![float("x", -5.0, 5.0)]);
    let spec = with_fixed(nap, "seconds", 0.005);
    let mill = Mill::relaying();
    mill.line.refuse_together.store(true, Ordering::SeqCst);
    let worker = mill.worker(options(4)).await;
    let id = mill.submit(&spec, BTreeMap::new()).await;
    let row = mill.until_ended(id).await;
    assert_eq!(row.ledger.completed, 100);
    worker.drain().await;
    assert!(
        *mill.line.refused_flushes.borrow() > 0,
        "nothing was refused"
    );
    mill.assert_sound(id).await;
    let units = mill.store.unit_summary(id).await.unwrap();
    assert_eq!(units.crashes, 0, "no lease ran out");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_without_an_answer_does_not_keep_leases_from_renewal() {
    let mill = Mill::new();
    let quick = WorkerOptions {
        lease: Duration::from_millis(300),
        ..options(1)
    };
    let worker = mill.worker(quick).await;
    let mut beat = worker.beat();
    mill.line.cut(true);
    let away = beat.wait_for(|beat| !beat.database);
    tokio::time::timeout(PATIENCE, away).await.unwrap().unwrap();
    mill.line.silent_announcements.store(true, Ordering::SeqCst);
    mill.line.cut(false);
    let back = beat.wait_for(|beat| beat.database);
    let turns = tokio::time::timeout(PATIENCE, back)
        .await
        .unwrap()
        .unwrap()
        .turns;
    let on = beat.wait_for(|beat| beat.turns >= turns + 3);
    tokio::time::timeout(Duration::from_secs(10), on)
        .await
        .expect("the renewal goes on")
        .unwrap();
    worker.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn isolated_slots_at_their_bound_leave_the_runtime_free() {
    let spec = TaskSpec {
        parallelism: Some(2),
        ..sphere(24)
    };
    let mut mill = Mill::new();
    let id = mill.submit(&spec, BTreeMap::new()).await;
    mill.isolate(id).await;
    let broker = Arc::clone(&mill.broker);
    mill.relay(broker);
    // Every result fills it, so that each trial waits for the flush of the one before.
    let tiny = WorkerOptions {
        unrecorded_bytes: 1,
        ..options(2)
    };
    let worker = mill.worker(tiny).await;
    let row = mill.until_ended(id).await;
    assert_eq!(row.ledger.completed, 24);
    worker.drain().await;
    mill.assert_sound(id).await;
    assert_eq!(mill.results(id).await, undisturbed(&spec).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_dies_before_it_is_ready_is_no_fault_of_the_trial() {
    let spec = TaskSpec {
        parallelism: Some(1),
        ..sphere(3)
    };
    let mut mill = Mill::new();
    let id = mill.submit(&spec, BTreeMap::new()).await;
    mill.isolate(id).await;
    let broker = Arc::clone(&mill.broker);
    mill.relay(broker);
    let childless = WorkerOptions {
        child_program: Some("false".into()),
        ..options(1)
    };
    let worker = mill.worker(childless).await;
    mill.until_announced().await;
    // After its pause the unit is handed back, and taken again.
    mill.until(id, |row| row.leased_units == 0).await;
    worker.drain().await;
    let row = mill.store.task(id).await.unwrap().unwrap();
    assert_eq!((row.ledger.ended(), row.leased_units), (0, 0));
    let worker = mill.worker(options(1)).await;
    let row = mill.until_ended(id).await;
    assert_eq!(row.ledger.completed, 3);
    worker.drain().await;
    mill.assert_sound(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_does_not_wait_for_a_child_that_never_gets_ready() {
    let spec = TaskSpec {
        parallelism: Some(1),
        ..sphere(3)
    };
    let mut mill = Mill::new();
    let id = mill.submit(&spec, BTreeMap::new()).await;
    mill.isolate(id).await;
    let broker = Arc::clone(&mill.broker);
    mill.relay(broker);
    // It reads until the end of its input and says nothing before.
    let mute = WorkerOptions {
        child_program: Some("wc".into()),
        drain: PATIENCE,
        ..options(1)
    };
    let worker = mill.worker(mute).await;
    mill.until_announced().await;
    tokio::time::timeout(PATIENCE / 4, worker.drain())
        .await
        .expect("the child is killed");
    let row = mill.store.task(id).await.unwrap().unwrap();
    assert_eq!((row.ledger.ended(), row.leased_units), (0, 0));
}
