//! Trials that clients run, and points that users want tried.

use crate::announced::params;
use crate::database::Database;
use crate::given::{Given, flush, point, task};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use trialmill_common::protocol::board::{UnitEnd, Written};
use trialmill_common::protocol::{Control, NotAllowed};
use trialmill_common::reports::{pack, unpack};
use trialmill_common::spec::MAX_TRIALS;
use trialmill_common::state::{StopReason, TaskId, TaskState, WorkerId};
use trialmill_common::trial::{EndedTrial, RunningTrial};
use trialmill_common::worker::CLIENT_POOL;
use trialmill_search::pruner::Reports;
use trialmill_store::UnitFlush;
use trialmill_store::rows::{Claim, Enqueued, NewReport, NewTask, Reported};
use uuid::Uuid;

const HOUR: Duration = Duration::from_secs(3600);

fn by_client(n_trials: u32, parallelism: Option<u32>) -> NewTask {
    NewTask {
        by_client: true,
        pool: CLIENT_POOL.to_owned(),
        ..task(n_trials, parallelism)
    }
}

/// A client that was given a trial.
struct Client {
    holder: WorkerId,
    claim: Claim,
}

impl Given {
    async fn ask(&self, id: TaskId, lease: Duration) -> Option<Client> {
        let holder = WorkerId(Uuid::new_v4());
        let claim = self.store.claim_next(id, holder, lease).await.unwrap()?;
        Some(Client { holder, claim })
    }

    /// The same, and announces it.
    async fn asked(&self, id: TaskId, lease: Duration) -> Client {
        let client = self.ask(id, lease).await.expect("one is free");
        let claim = &client.claim;
        let trial = RunningTrial {
            number: claim.first,
            unit: claim.lease.unit.unit,
            point: point(claim.first),
            crashes: claim.announced.first().map_or(0, |one| one.crashes),
        };
        let told = self.store.start_trial(claim.lease, &trial).await.unwrap();
        assert_eq!(told, Some(Control::Run));
        client
    }

    async fn tell(&self, client: &Client) -> Written {
        let claim = &client.claim;
        let recorded = self.record(flush(claim, 1, UnitEnd::Split)).await;
        recorded.written[0]
    }

    async fn report(&self, client: &Client, report: Option<NewReport>) -> Reported {
        let Client { holder, claim } = client;
        self.store
            .report(claim.lease, *holder, HOUR, report)
            .await
            .unwrap()
    }
}

pub async fn a_client_is_given_one_trial_at_a_time_and_no_two_the_same(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(by_client(5, Some(2))).await;
    let first = given.asked(id, HOUR).await;
    let second = given.asked(id, HOUR).await;
    let numbers = [&first, &second].map(|client| (client.claim.first, client.claim.count));
    assert_eq!(numbers, [(0, 1), (1, 1)]);
    assert_eq!(given.task(id).await.ledger.state, TaskState::Running);
    assert!(given.ask(id, HOUR).await.is_none(), "as many as may run");
    assert_eq!(given.tell(&second).await, Written::Recorded);
    let third = given.asked(id, HOUR).await;
    assert_eq!(third.claim.first, 2);
    assert_eq!(given.tell(&second).await, Written::Recorded, "told twice");
    for client in [&first, &third] {
        assert_eq!(given.tell(client).await, Written::Recorded);
    }
    while let Some(client) = given.ask(id, HOUR).await {
        assert_eq!(given.tell(&client).await, Written::Recorded);
    }
    let row = given.task(id).await;
    assert_eq!(row.ledger.state, TaskState::Completed);
    assert_eq!(row.ledger.ended(), 5);
    given.verify().await;
}

pub async fn a_trial_of_which_nothing_is_heard_goes_to_the_next_with_its_parameters(
    database: Arc<Database>,
) {
    let given = Given::new(database).await;
    let id = given.submit(by_client(1, None)).await;
    for crashes in 0..3 {
        let silent = given.asked(id, Duration::ZERO).await;
        let known: Vec<_> = silent
            .claim
            .announced
            .iter()
            .map(|one| one.crashes)
            .collect();
        let expected = if crashes == 0 { vec![] } else { vec![crashes] };
        assert_eq!(known, expected);
        if crashes == 1 {
            // Found by the reaper, and not by the next who asks.
            assert_eq!(given.over.reap().await.unwrap().expired.len(), 1);
            assert_eq!(given.tell(&silent).await, Written::Fenced);
        }
    }
    let next = given.ask(id, HOUR).await.expect("it is free again");
    let announced = &next.claim.announced;
    assert_eq!((announced.len(), announced[0].crashes), (1, 3));
    assert_eq!(announced[0].params, params(0));
    // It is not the fault of the unit: nobody gives the task up.
    assert_eq!(given.over.reap().await.unwrap().given_up, vec![]);
    assert_eq!(given.tell(&next).await, Written::Recorded);
    assert_eq!(given.task(id).await.ledger.state, TaskState::Completed);
    given.verify().await;
}

fn reports(values: &[f64]) -> Reports {
    let mut reports = Reports::new(1);
    for (step, value) in (0..).zip(values) {
        reports.push(step, &[*value]).unwrap();
    }
    reports
}

pub async fn a_client_that_reports_holds_its_trial_and_what_it_reported_stays_with_it(
    database: Arc<Database>,
) {
    let given = Given::new(database).await;
    let id = given.submit(by_client(2, Some(1))).await;
    let client = given.asked(id, Duration::ZERO).await;
    let [one, both] = [reports(&[0.5]), reports(&[0.5, f64::NAN])].map(|all| pack(&all));
    let first = NewReport {
        number: 0,
        before: 0,
        added: one.clone(),
    };
    // Expired, and nobody took it: it may still be prolonged.
    let kept = Reported::Kept(Control::Run);
    assert_eq!(given.report(&client, Some(first.clone())).await, kept);
    assert_eq!(given.store.reap().await.unwrap().expired, vec![]);
    assert!(given.ask(id, HOUR).await.is_none());
    assert_eq!(
        given.report(&client, Some(first)).await,
        Reported::Overtaken
    );
    let second = NewReport {
        number: 0,
        before: one.len(),
        added: both[one.len()..].to_vec(),
    };
    assert_eq!(given.report(&client, Some(second)).await, kept);
    assert_eq!(
        given.report(&client, None).await,
        kept,
        "a mere sign of life"
    );
    let running = given.store.running_trials(id, 0..MAX_TRIALS).await.unwrap();
    assert_eq!(running[0].reports.as_ref(), Some(&both));
    assert_eq!(running[0].worker, Some(client.holder));
    let history = given.store.history(id, 0, 0..9).await.unwrap();
    assert_eq!(history.running[0].reports.as_ref(), Some(&both));
    // Lost, and charged; it comes back, too late for the lease, in time to take the charge away.
    given.expire(client.claim.lease).await;
    let next = given.ask(id, Duration::ZERO).await.unwrap();
    assert_eq!(next.claim.announced[0].crashes, 1);
    assert_eq!(given.report(&client, None).await, Reported::Lost);
    let last = given.asked(id, HOUR).await;
    assert_eq!(last.claim.announced[0].crashes, 0);
    // It runs anew: what the other one reported is not its own.
    let running = given.store.running_trials(id, 0..MAX_TRIALS).await.unwrap();
    assert_eq!(running[0].reports, None);
    let trial = EndedTrial {
        reports: unpack(&both, 1),
        ..crate::given::trial(0, trialmill_common::protocol::Tally::Pruned)
    };
    let flush = UnitFlush {
        trials: vec![trial],
        ..flush(&last.claim, 0, UnitEnd::Split)
    };
    assert_eq!(given.record(flush).await.written, vec![Written::Recorded]);
    assert_eq!(given.trials(id).await[0].reports.as_ref(), Some(&both));
    let outcomes = given.store.outcomes(id, 0..9, 9).await.unwrap();
    assert_eq!(outcomes[0].reports.as_ref(), Some(&both));
    let history = given.store.history(id, 0, 0..9).await.unwrap();
    assert_eq!(history.trials[0].reports.as_ref(), Some(&both));
    given.store.pause(id).await.unwrap();
    assert!(given.ask(id, HOUR).await.is_none(), "it is paused");
    given.verify().await;
}

pub async fn a_cancel_ends_a_task_whose_clients_are_silent(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(by_client(9, Some(3))).await;
    let client = given.asked(id, HOUR).await;
    let other = given.asked(id, HOUR).await;
    assert_eq!(given.tell(&other).await, Written::Recorded);
    given.store.stop(id, StopReason::Cancelled).await.unwrap();
    let row = given.task(id).await;
    assert_eq!(
        (row.ledger.state, row.ledger.ended()),
        (TaskState::Cancelled, 1)
    );
    assert_eq!(given.tell(&client).await, Written::Fenced);
    assert_eq!(given.report(&client, None).await, Reported::Lost);
    given.verify().await;
    // A rule of its own lets what runs end.
    let id = given.submit(by_client(9, Some(3))).await;
    let client = given.asked(id, HOUR).await;
    given.store.stop(id, StopReason::Timeout).await.unwrap();
    assert_eq!(
        given.report(&client, None).await,
        Reported::Kept(Control::Stop)
    );
    assert_eq!(given.tell(&client).await, Written::Recorded);
    let row = given.task(id).await;
    assert_eq!(
        (row.ledger.state, row.ledger.ended()),
        (TaskState::Completed, 1)
    );
    given.verify().await;
}

pub async fn what_clients_hold_is_published_to_nobody(database: Arc<Database>) {
    let given = Given::new(database).await;
    given.submit(by_client(9, None)).await;
    let other = given.submit(task(1, Some(1))).await;
    let due = given.store.take_due("default").await.unwrap();
    let tasks: BTreeSet<TaskId> = due.iter().map(|due| due.unit.task).collect();
    assert_eq!(tasks, BTreeSet::from([other]));
    given.verify().await;
}

pub async fn an_enqueued_point_goes_to_the_first_trial_that_nobody_was_given(
    database: Arc<Database>,
) {
    let given = Given::new(database).await;
    // Units of 2 trials; two are open.
    let id = given.submit(task(8, Some(2))).await;
    let first = given.claim(id, 0).await;
    assert_eq!((first.first, first.count), (0, 2));
    for (like, number) in [(70, 2), (71, 3)] {
        let enqueued = given.store.enqueue(id, 0, &params(like)).await.unwrap();
        assert_eq!(enqueued, Enqueued::For(number));
    }
    // Not one of the first, which has its point already.
    let other = given.submit(task(8, Some(2))).await;
    let before = given.task(other).await.resolved;
    let enqueued = given.store.enqueue(other, 3, &params(70)).await.unwrap();
    assert_eq!(enqueued, Enqueued::For(3));
    // Its request alone does not say any more what it tries; the rest was decided once.
    let after = given.task(other).await.resolved;
    assert_eq!(before["reproducible"], true);
    assert_eq!(after["reproducible"], false);
    assert_eq!(after["sampler"], before["sampler"]);
    given
        .store
        .stop(other, StopReason::Cancelled)
        .await
        .unwrap();
    // Then what is in no unit yet.
    assert_eq!(
        given.store.enqueue(id, 0, &params(72)).await.unwrap(),
        Enqueued::For(4)
    );
    let second = given.claim(id, 1).await;
    let announced: Vec<_> = second
        .announced
        .iter()
        .map(|one| (one.number, one.params.clone(), one.crashes))
        .collect();
    assert_eq!(announced.len(), second.count as usize);
    assert_eq!(announced[0], (2, params(70), 0));
    assert_eq!(
        given.store.running_trials(id, 0..MAX_TRIALS).await.unwrap(),
        vec![]
    );
    // Claimed by now: the rest of the numbers of that unit is given out.
    let next = second.first + second.count;
    given
        .record(flush(&second, second.count, UnitEnd::Close))
        .await;
    given.record(flush(&first, 2, UnitEnd::Close)).await;
    given.verify().await;
    let mut number = next;
    let mut unit = 2;
    while number < 8 {
        let claim = given.claim(id, unit).await;
        assert_eq!(claim.first, number);
        if claim.first <= 4 && claim.first + claim.count > 4 {
            assert!(claim.announced.iter().any(|one| one.params == params(72)));
        }
        given
            .record(flush(&claim, claim.count, UnitEnd::Close))
            .await;
        number += claim.count;
        unit += 1;
    }
    let refused = given.store.enqueue(id, 0, &params(1)).await.unwrap();
    let expected = NotAllowed {
        state: TaskState::Completed,
        wanted: "given a trial to run",
    };
    assert_eq!(refused, Enqueued::NotAllowed(expected));
    let nobody = TaskId(Uuid::now_v7());
    assert_eq!(
        given.store.enqueue(nobody, 0, &params(1)).await.unwrap(),
        Enqueued::NotFound
    );
    given.verify().await;
}

pub async fn a_point_can_be_enqueued_for_what_a_pause_handed_back(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(4, Some(1))).await;
    let claim = given.claim(id, 0).await;
    assert_eq!(
        given.store.enqueue(id, 0, &params(9)).await.unwrap(),
        Enqueued::NoneLeft
    );
    given.store.pause(id).await.unwrap();
    given.record(flush(&claim, 1, UnitEnd::HandBack)).await;
    for (like, number) in [(50, 1), (51, 2), (52, 3)] {
        assert_eq!(
            given.store.enqueue(id, 0, &params(like)).await.unwrap(),
            Enqueued::For(number)
        );
    }
    assert_eq!(
        given.store.enqueue(id, 0, &params(53)).await.unwrap(),
        Enqueued::NoneLeft
    );
    given.store.resume(id).await.unwrap();
    let claim = given.claim(id, 0).await;
    let numbers: Vec<_> = claim.announced.iter().map(|one| one.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    // One of them is slow and announced; another holder gets it once, as it was announced.
    given.announce(&claim, 1, 50).await;
    given.record(flush(&claim, 0, UnitEnd::HandBack)).await;
    let claim = given.claim(id, 0).await;
    let again: Vec<_> = claim.announced.iter().map(|one| one.number).collect();
    assert_eq!(again, [1, 2, 3]);
    // What a split leaves keeps its points.
    given.record(flush(&claim, 1, UnitEnd::Split)).await;
    let rest = given.claim(id, 1).await;
    let left: Vec<_> = rest
        .announced
        .iter()
        .map(|one| one.params.clone())
        .collect();
    assert_eq!(left, [params(51), params(52)]);
    given.record(flush(&rest, 2, UnitEnd::Close)).await;
    assert_eq!(given.task(id).await.ledger.state, TaskState::Completed);
    given.verify().await;
}

pub async fn what_is_enqueued_races_with_claims_and_none_is_lost(database: Arc<Database>) {
    let given = Arc::new(Given::new(database).await);
    for _ in 0..6 {
        let id = given.submit(task(40, Some(4))).await;
        let enqueue = |from: u32| {
            let given = Arc::clone(&given);
            tokio::spawn(async move {
                let mut got = Vec::new();
                for like in from..from + 6 {
                    match given.store.enqueue(id, 0, &params(like)).await.unwrap() {
                        Enqueued::For(number) => got.push((number, params(like))),
                        other => panic!("{other:?}"),
                    }
                }
                got
            })
        };
        let claim = |unit: u32| {
            let given = Arc::clone(&given);
            tokio::spawn(async move { given.claim(id, unit).await })
        };
        let (a, c0, b, c1) = (enqueue(100), claim(0), enqueue(200), claim(1));
        let mut got: Vec<_> = a.await.unwrap();
        got.extend(b.await.unwrap());
        let claims = [c0.await.unwrap(), c1.await.unwrap()];
        let numbers: BTreeSet<u32> = got.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers.len(), 12, "each has a trial of its own: {got:?}");
        for claim in &claims {
            let range = claim.first..claim.first + claim.count;
            let inside = got.iter().filter(|(number, _)| range.contains(number));
            let mut expected: Vec<_> = inside.cloned().collect();
            expected.sort();
            let announced = claim.announced.iter();
            let found: Vec<_> = announced
                .map(|one| (one.number, one.params.clone()))
                .collect();
            assert_eq!(found, expected, "{range:?}");
        }
        given.store.stop(id, StopReason::Cancelled).await.unwrap();
    }
}

pub async fn the_end_of_a_task_takes_what_was_enqueued_with_it(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(8, Some(2))).await;
    given.store.enqueue(id, 0, &params(1)).await.unwrap();
    given.store.stop(id, StopReason::Cancelled).await.unwrap();
    given.verify().await;
    given.store.delete(id).await.unwrap();
    given.verify().await;
}
