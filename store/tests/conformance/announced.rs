//! Slow trials, announced before they start: their parameters live through crashes, and only a
//! trial that ran alone is charged.

use crate::database::Database;
use crate::given::{Given, card, flush, point, task};
use std::sync::Arc;
use trialmill_common::protocol::Control;
use trialmill_common::protocol::board::UnitEnd;
use trialmill_common::spec::MAX_TRIALS;
use trialmill_common::state::{StopReason, TaskId, WorkerId};
use trialmill_common::trial::RunningTrial;
use trialmill_store::rows::{AnnouncedTrial, Claim, LeaseOutcome};
use uuid::Uuid;

impl Given {
    /// Announces a trial of a claimed unit, with the parameters of the trial `like`.
    pub async fn announce(&self, claim: &Claim, number: u32, like: u32) -> Option<Control> {
        let unit = claim.lease.unit.unit;
        let trial = RunningTrial {
            number,
            unit,
            point: point(like),
            crashes: 0,
        };
        self.store.start_trial(claim.lease, &trial).await.unwrap()
    }

    pub async fn lose(&self, claim: &Claim) {
        self.expire(claim.lease).await;
        assert_eq!(
            self.over.reap().await.unwrap().expired,
            vec![claim.lease.unit]
        );
    }

    async fn announced(&self, id: TaskId) -> Vec<(u32, u32, u32)> {
        let running = self.store.running_trials(id, 0..MAX_TRIALS).await.unwrap();
        running
            .iter()
            .map(|r| (r.number, r.unit, r.crashes))
            .collect()
    }
}

/// The bytes of the parameters of [`point`].
pub fn params(number: u32) -> Vec<u8> {
    let float = (f64::from(number) / 8.0).to_bits().to_le_bytes();
    [float, (-3_i64).to_le_bytes()].concat()
}

pub async fn an_announced_trial_is_seen_until_it_ends(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(4, Some(1))).await;
    let claim = given.claim(id, 0).await;
    assert_eq!(given.announce(&claim, 0, 0).await, Some(Control::Run));
    let running = given.store.running_trials(id, 0..MAX_TRIALS).await.unwrap();
    assert_eq!(running.len(), 1);
    assert_eq!(
        (running[0].number, running[0].unit, running[0].crashes),
        (0, 0, 0)
    );
    assert_eq!(
        (&running[0].params, running[0].worker),
        (&params(0), Some(given.worker))
    );
    for (numbers, count) in [(0..1, 1), (1..MAX_TRIALS, 0), (0..0, 0), (7..u32::MAX, 0)] {
        let some = given
            .store
            .running_trials(id, numbers.clone())
            .await
            .unwrap();
        assert_eq!(some.len(), count, "{numbers:?}");
    }
    given.record(flush(&claim, 1, UnitEnd::Keep)).await;
    assert_eq!(given.announced(id).await, vec![]);
    given.verify().await;
}

pub async fn a_trial_that_is_claimed_again_reuses_its_parameters(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(4, Some(1))).await;
    let first = given.claim(id, 0).await;
    given.announce(&first, 0, 7).await;
    given.lose(&first).await;
    let second = given.claim(id, 0).await;
    let kept = AnnouncedTrial {
        number: 0,
        params: params(7),
        crashes: 0,
    };
    assert_eq!(second.announced, vec![kept.clone()]);
    // Announcing it again, even with others, changes nothing of that.
    given.announce(&second, 0, 5).await;
    assert_eq!(
        given.announce(&first, 0, 6).await,
        None,
        "a superseded lease announces nothing"
    );
    given.record(flush(&second, 0, UnitEnd::HandBack)).await;
    assert_eq!(given.claim(id, 0).await.announced, vec![kept]);
    given.verify().await;
}

pub async fn a_crash_is_charged_only_to_a_trial_that_ran_alone(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(4, Some(1))).await;
    let first = given.claim(id, 0).await;
    given.announce(&first, 0, 0).await;
    given.lose(&first).await;
    assert_eq!(given.announced(id).await, vec![], "nobody runs it now");
    let second = given.claim(id, 0).await;
    assert_eq!(second.announced[0].crashes, 0, "it had neighbours");
    given.lose(&second).await;
    let third = given.claim(id, 0).await;
    assert_eq!(third.announced[0].crashes, 0, "its holder never came to it");
    given.announce(&third, 0, 0).await;
    assert_eq!(given.announced(id).await, vec![(0, 0, 0)]);
    given.announce(&third, 1, 0).await;
    given.lose(&third).await;
    let fourth = given.claim(id, 0).await;
    let crashes: Vec<_> = fourth
        .announced
        .iter()
        .map(|a| (a.number, a.crashes))
        .collect();
    assert_eq!(
        crashes,
        vec![(0, 0), (1, 1)],
        "the unit was isolated; trial 0 had ended"
    );

    let single = given.submit(task(1, Some(1))).await;
    let only = given.claim(single, 0).await;
    given.announce(&only, 0, 0).await;
    given.lose(&only).await;
    let again = given.claim(single, 0).await;
    assert_eq!(again.announced[0].crashes, 1, "it had no neighbour");
    given.verify().await;
}

pub async fn a_loss_that_a_claim_finds_is_charged_like_one_the_reaper_finds(
    database: Arc<Database>,
) {
    let given = Given::new(database).await;
    let id = given.submit(task(1, Some(1))).await;
    let first = given.claim(id, 0).await;
    given.announce(&first, 0, 0).await;
    given.expire(first.lease).await;
    let second = given.claim(id, 0).await;
    assert_eq!(second.crashes, 1);
    assert_eq!(given.announced(id).await, vec![(0, 0, 1)]);
    assert_eq!(second.announced[0].crashes, 1);
}

pub async fn a_worker_that_comes_back_takes_back_what_its_loss_charged(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(1, Some(1))).await;
    let other = WorkerId(Uuid::now_v7());
    given
        .store
        .announce(&card(other, 1, "default"))
        .await
        .unwrap();
    // The worker of the test is taken for lost twice, and the other one once.
    let first = given.claim(id, 0).await;
    given.announce(&first, 0, 0).await;
    given.lose(&first).await;
    let unit = first.lease.unit;
    let second = given.store.claim(unit, other).await.unwrap().unwrap();
    given.announce(&second, 0, 0).await;
    given.expire(second.lease).await;
    let third = given.claim(id, 0).await;
    assert_eq!(third.announced[0].crashes, 2);
    given.announce(&third, 0, 0).await;
    given.lose(&third).await;
    let fourth = given.store.claim(unit, other).await.unwrap().unwrap();
    assert_eq!(fourth.announced[0].crashes, 3);

    // It has no lease left, and lives.
    let none = given.store.renew(given.worker, &[]).await.unwrap();
    assert_eq!(none, vec![]);
    given.announce(&fourth, 0, 0).await;
    assert_eq!(given.announced(id).await, vec![(0, 0, 1)]);
    // The death of a child is no loss of a worker, and stays.
    let charged = given.store.charge_crash(fourth.lease, 0, 2).await.unwrap();
    assert_eq!(charged, Some(2));
    let held = given.store.renew(other, &[fourth.lease]).await.unwrap();
    assert!(matches!(held[..], [LeaseOutcome::Held(_)]), "{held:?}");
    assert_eq!(given.announced(id).await, vec![(0, 0, 1)]);
    given.store.renew(other, &[fourth.lease]).await.unwrap();
    assert_eq!(given.announced(id).await, vec![(0, 0, 1)], "once");
    given.verify().await;
}

pub async fn the_death_of_a_child_is_charged_by_the_holder(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(4, Some(1))).await;
    let first = given.claim(id, 0).await;
    given.announce(&first, 0, 0).await;
    assert_eq!(
        given.store.charge_crash(first.lease, 0, 1).await.unwrap(),
        Some(1)
    );
    assert_eq!(
        given.store.charge_crash(first.lease, 0, 2).await.unwrap(),
        Some(2)
    );
    assert_eq!(
        given.store.charge_crash(first.lease, 0, 2).await.unwrap(),
        Some(2),
        "a repetition charges nothing more"
    );
    assert_eq!(
        given.store.charge_crash(first.lease, 1, 1).await.unwrap(),
        None,
        "not announced"
    );
    given.lose(&first).await;
    assert_eq!(
        given.store.charge_crash(first.lease, 0, 3).await.unwrap(),
        None,
        "superseded"
    );
    assert_eq!(given.claim(id, 0).await.announced[0].crashes, 2);
}

pub async fn an_announced_trial_follows_the_rest_of_its_unit(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(4, Some(1))).await;
    let first = given.claim(id, 0).await;
    given.announce(&first, 0, 7).await;
    given.lose(&first).await;
    // An isolated unit is split before its trial runs again.
    let second = given.claim(id, 0).await;
    given.record(flush(&second, 0, UnitEnd::Split)).await;
    let third = given.claim(id, 1).await;
    assert_eq!((third.first, third.count, third.crashes), (0, 4, 1));
    let kept = AnnouncedTrial {
        number: 0,
        params: params(7),
        crashes: 0,
    };
    assert_eq!(third.announced, vec![kept]);
    given.verify().await;
}

pub async fn what_a_stopped_unit_abandons_is_no_longer_announced(database: Arc<Database>) {
    let given = Given::new(database).await;
    let id = given.submit(task(40, Some(2))).await;
    let claim = given.claim(id, 0).await;
    let other = given.claim(id, 1).await;
    given.announce(&claim, 0, 0).await;
    given.announce(&other, other.first, 0).await;
    given.store.stop(id, StopReason::Timeout).await.unwrap();
    given.record(flush(&claim, 0, UnitEnd::HandBack)).await;
    assert_eq!(given.announced(id).await, vec![(other.first, 1, 0)]);
    given.lose(&other).await;
    assert_eq!(given.announced(id).await, vec![]);
    given.verify().await;
}
