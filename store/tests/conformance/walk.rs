//! Random walks: after every step the store must be where the model is.

use crate::database::Database;
use crate::given::{self, Given, SLOTS, trial};
use std::sync::Arc;
use trialmill_common::protocol::board::{Board, Flush, LeaseToken, UnitEnd};
use trialmill_common::protocol::{Aim, Ledger, NotAllowed, StopRules, Tally};
use trialmill_common::state::{
    Direction, OriginHow, StopReason, TaskId, TaskState, TrialEnd, UnitKind, UnitState, WorkerId,
};
use trialmill_common::trial::{EndedTrial, RunningTrial};
use trialmill_search::pareto::Front;
use trialmill_store::UnitFlush;
use trialmill_store::rows::{ControlOutcome, HeldLease, LeaseOutcome, Origin, TrialRow, UnitRef};
use uuid::Uuid;

const WALKS: u64 = 40;
const STEPS: u32 = 120;

/// SplitMix64: the same steps for the same seed.
struct Steps(u64);

impl Steps {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        u32::try_from((z ^ (z >> 31)) % u64::from(bound)).expect("below a u32")
    }

    /// A feasible trial with two values.
    fn values(&mut self) -> Tally {
        let mut value = || f64::from(self.below(9)) - 4.0;
        Tally::Values(vec![value(), value()])
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        let count = u32::try_from(of.len()).expect("short");
        (count > 0).then(|| of[self.below(count) as usize].clone())
    }
}

struct Walk {
    given: Given,
    id: TaskId,
    board: Board,
    /// Every lease that was ever granted, superseded ones too.
    leases: Vec<LeaseToken>,
    /// Two: what one of them alone cannot run, the other may.
    workers: [WorkerId; 2],
    /// Whether units are often given back as ones that cannot be run.
    unlucky: bool,
    last: Vec<Flush>,
    steps: Steps,
    said: String,
}

pub async fn every_random_walk_ends_where_the_model_ends(database: Arc<Database>) {
    let given = Arc::new(Given::new(database).await);
    let mut given_up = 0;
    let other = WorkerId(Uuid::now_v7());
    for seed in 0..WALKS {
        // A worker that was not heard of for a minute is no longer asked: on a busy machine all walks
        // together take longer.
        for (worker, slots) in [(given.worker, SLOTS), (other, 0)] {
            let card = given::card(worker, slots, "default");
            given.store.announce(&card).await.unwrap();
        }
        let again = Given {
            database: given.database.clone(),
            store: given.store.clone(),
            over: given.over.clone(),
            worker: given.worker,
        };
        given_up += u32::from(Walk::new(again, other, seed).await.run(seed).await);
    }
    assert!(
        given_up > 0 && u64::from(given_up) < WALKS / 2,
        "{given_up} walks were given up"
    );
    given.verify().await;
}

impl Walk {
    async fn new(given: Given, other: WorkerId, seed: u64) -> Self {
        let mut steps = Steps(seed);
        let n_trials = 1 + steps.below(60);
        let planned = n_trials - u32::from(steps.below(4) == 0).min(n_trials - 1);
        let unlucky = seed.is_multiple_of(4);
        let parallelism = match unlucky {
            true => Some(1),
            false => [None, Some(1), Some(2), Some(5)][steps.below(4) as usize],
        };
        let mut task = given::task(n_trials, parallelism);
        task.planned = planned;
        task.direction = [Direction::Minimize, Direction::Maximize][steps.below(2) as usize];
        task.adaptive = steps.below(2) == 0;
        // An unlucky task has neither: it would end before it is given up.
        if !unlucky && steps.below(3) == 0 {
            task.rules = StopRules {
                target: [None, Some(0.0), Some(-4.0)][steps.below(3) as usize],
                patience: [None, Some(2), Some(12)][steps.below(3) as usize],
                aims: Vec::new(),
            };
            if steps.below(2) == 0 {
                let mut aim = |direction| Aim {
                    direction,
                    target: [None, Some(0.0), Some(3.0)][steps.below(3) as usize],
                };
                task.rules.aims = vec![aim(task.direction), aim(Direction::Maximize)];
                task.rules.target = None;
            }
        }
        task.assessed = steps.below(2) == 0;
        let third = planned / 3;
        if third > 0 && task.rules.is_empty() && steps.below(3) == 0 {
            task.windows = vec![0..third, third..2 * third, 2 * third..planned];
        }
        let board = if !unlucky && task.windows.is_empty() && steps.below(2) == 0 {
            let how = [OriginHow::Retry, OriginHow::Extend][steps.below(2) as usize];
            let origin = ended(&given, planned, &mut steps).await;
            let rows = given.trials(origin).await;
            let kept = rows.iter().filter(|row| how.copies_end(row.end));
            let kept: Vec<(u32, Tally)> = kept.map(|row| (row.number, tally(row))).collect();
            task.origin = Some(Origin { task: origin, how });
            Board::derive(task.plan(), &kept, SLOTS)
        } else {
            Board::submit(Ledger::submitted(task.plan(), SLOTS), SLOTS)
        };
        let id = given.submit(task).await;
        let (leases, last) = (Vec::new(), Vec::new());
        let workers = [given.worker, other];
        Self {
            workers,
            unlucky,
            given,
            id,
            board,
            leases,
            last,
            steps,
            said: String::new(),
        }
    }

    /// Whether the task was given up.
    async fn run(mut self, seed: u64) -> bool {
        self.said = format!("seed {seed}, at its start");
        self.compare().await;
        for number in 0..STEPS {
            self.said = format!("seed {seed}, step {number}: ");
            match self.steps.below(21) {
                20 => self.announce().await,
                0..=5 => self.claim().await,
                6..=10 => self.flush().await,
                11 => self.repeat().await,
                12 => self.renew().await,
                13 | 14 => self.expire().await,
                15 => self.reap().await,
                16 => self.pause().await,
                17 | 18 => self.resume().await,
                _ => self.stop().await,
            }
            self.compare().await;
        }
        self.board.ledger.gave_up
    }

    fn held(&self, lease: LeaseToken) -> HeldLease {
        HeldLease {
            unit: UnitRef {
                task: self.id,
                unit: lease.unit,
            },
            token: lease.token,
        }
    }

    async fn claim(&mut self) {
        let unit = self.steps.below(self.board.ledger.next_unit + 1);
        self.said += &format!("claim {unit}");
        let worker = self.steps.below(2) as usize;
        let model = self.board.claim(unit, u8::try_from(worker).expect("two"));
        let of_task = UnitRef {
            task: self.id,
            unit,
        };
        let claimed = self.given.store.claim(of_task, self.workers[worker]);
        let store = claimed.await.unwrap();
        if let Some(claimed) = &model {
            self.leases.push(claimed.lease);
        }
        let model = model.map(|c| (self.held(c.lease), c.first, c.count, c.recorded, c.crashes));
        let store = store.map(|c| (c.lease, c.first, c.count, c.recorded, c.crashes));
        assert_eq!(store, model, "{}", self.said);
    }

    /// A holder announces its next trial.
    async fn announce(&mut self) {
        let Some(lease) = self.steps.pick(&self.leases) else {
            return;
        };
        self.said += &format!("announce {lease:?}");
        let unit = &self.board.units[&lease.unit];
        if unit.recorded == unit.count || unit.kind == UnitKind::Assess {
            return;
        }
        let number = unit.first + unit.recorded;
        let trial = RunningTrial {
            number,
            unit: lease.unit,
            point: given::point(number),
            crashes: 0,
        };
        let store = self.given.store.start_trial(self.held(lease), &trial).await;
        let model = self.board.announce(lease);
        assert_eq!(store.unwrap(), model, "{}", self.said);
    }

    /// One or two leases, mostly current ones, write something that a worker could write.
    async fn flush(&mut self) {
        let mut flushes: Vec<Flush> = Vec::new();
        for _ in 0..=self.steps.below(2) {
            let current: Vec<LeaseToken> = self
                .leases
                .iter()
                .copied()
                .filter(|l| self.is_current(*l))
                .collect();
            let from = if self.steps.below(6) == 0 {
                &self.leases
            } else {
                &current
            };
            let Some(lease) = self.steps.pick(from) else {
                continue;
            };
            if flushes.iter().all(|flush| flush.lease.unit != lease.unit) {
                flushes.push(self.draw_flush(lease));
            }
        }
        self.last.clone_from(&flushes);
        self.record(&flushes).await;
    }

    fn is_current(&self, lease: LeaseToken) -> bool {
        let unit = &self.board.units[&lease.unit];
        unit.state == UnitState::Leased && unit.token == lease.token
    }

    fn draw_flush(&mut self, lease: LeaseToken) -> Flush {
        let (count, recorded, assesses) = {
            let unit = &self.board.units[&lease.unit];
            (unit.count, unit.recorded, unit.kind == UnitKind::Assess)
        };
        let stale = self.steps.below(8) == 0;
        let recorded_before = if stale {
            self.steps.below(recorded + 1)
        } else {
            recorded
        };
        let left = count - recorded_before;
        let nothing = self.unlucky && self.steps.below(8) > 0;
        let most = if nothing || assesses { 0 } else { left.min(4) };
        let trials: Vec<Tally> = (0..self.steps.below(most + 1))
            .map(|_| match self.steps.below(6) {
                0 => Tally::Failed,
                1 => Tally::Pruned,
                2 => Tally::Infeasible,
                _ => self.steps.values(),
            })
            .collect();
        let steps = match assesses && !nothing {
            true => self.steps.below(3) * left / 2,
            false => 0,
        };
        let done = trials.len() + steps as usize == left as usize;
        let stopping = self.board.ledger.stop_requested.is_some();
        let end = match self.steps.below(8) {
            6 => UnitEnd::OtherBuild,
            7 => UnitEnd::Unable,
            _ if self.unlucky && trials.is_empty() && steps == 0 => UnitEnd::Unable,
            _ if done => UnitEnd::Close,
            0 if stopping => UnitEnd::Close,
            0 | 1 if !assesses => UnitEnd::Split,
            2 => UnitEnd::HandBack,
            3 => UnitEnd::Isolate,
            _ => UnitEnd::Keep,
        };
        Flush {
            lease,
            recorded_before,
            trials,
            steps,
            end,
        }
    }

    async fn repeat(&mut self) {
        let flushes = self.last.clone();
        self.record(&flushes).await;
    }

    async fn record(&mut self, flushes: &[Flush]) {
        self.said += &format!("record {flushes:?}");
        let written: Vec<UnitFlush> = flushes
            .iter()
            .map(|flush| {
                let first = self.board.units[&flush.lease.unit].first + flush.recorded_before;
                let numbers = (first..).zip(&flush.trials);
                UnitFlush {
                    lease: self.held(flush.lease),
                    recorded_before: flush.recorded_before,
                    trials: numbers
                        .map(|(number, tally)| EndedTrial {
                            window: self.window_of(number),
                            ..trial(number, tally.clone())
                        })
                        .collect(),
                    steps: flush.steps,
                    end: flush.end,
                    result: None,
                    why: Some("it has no bars".to_owned()),
                }
            })
            .collect();
        let model = self.board.record(flushes);
        let store = self.given.store.record(self.id, &written).await;
        let store = store.unwrap_or_else(|e| panic!("{}: {e}", self.said));
        assert_eq!(store.written, model, "{}", self.said);
        assert_eq!(store.control, self.board.ledger.control(), "{}", self.said);
    }

    fn window_of(&self, number: u32) -> Option<u16> {
        let mut windows = self.board.ledger.windows.iter();
        let index = windows.position(|window| number < window.end())?;
        u16::try_from(index).ok()
    }

    async fn renew(&mut self) {
        let Some(lease) = self.steps.pick(&self.leases) else {
            return;
        };
        self.said += &format!("renew {lease:?}");
        let store = self
            .given
            .store
            .renew(self.given.worker, &[self.held(lease)])
            .await
            .unwrap();
        let model = self
            .board
            .renew(lease)
            .map_or(LeaseOutcome::Lost, LeaseOutcome::Held);
        assert_eq!(store, vec![model], "{}", self.said);
    }

    async fn expire(&mut self) {
        let current: Vec<LeaseToken> = self
            .leases
            .iter()
            .copied()
            .filter(|l| self.is_current(*l))
            .collect();
        let Some(lease) = self.steps.pick(&current) else {
            return;
        };
        self.said += &format!("expire {lease:?}");
        self.given.expire(self.held(lease)).await;
        self.board.expire(lease.unit);
    }

    async fn reap(&mut self) {
        self.said += "reap";
        // The other handle: after a restart of its server a reaper waits for one lease.
        let reaped = self.given.over.reap().await.unwrap();
        let ours = reaped
            .expired
            .iter()
            .filter(|unit| unit.task == self.id)
            .count();
        let gave_up = self.board.ledger.gave_up;
        assert_eq!(ours, self.board.reap(), "{}", self.said);
        assert_eq!(
            reaped.given_up.contains(&self.id),
            self.board.ledger.gave_up && !gave_up,
            "{}",
            self.said
        );
        assert_eq!(
            (reaped.timed_out, reaped.repaired),
            (vec![], vec![]),
            "{}",
            self.said
        );
    }

    fn agree(&self, store: &ControlOutcome, model: &Result<(), NotAllowed>) {
        let allowed = matches!(store, ControlOutcome::Done(_));
        assert_eq!(
            allowed,
            model.is_ok(),
            "{}: {store:?}, {model:?}",
            self.said
        );
    }

    async fn pause(&mut self) {
        self.said += "pause";
        let model = self.board.pause();
        self.agree(&self.given.store.pause(self.id).await.unwrap(), &model);
    }

    async fn resume(&mut self) {
        self.said += "resume";
        let model = self.board.resume();
        self.agree(&self.given.store.resume(self.id).await.unwrap(), &model);
    }

    async fn stop(&mut self) {
        if self.steps.below(5) > 0 {
            return;
        }
        let reason = [StopReason::Cancelled, StopReason::Timeout][self.steps.below(2) as usize];
        self.said += &format!("stop {reason}");
        let model = self.board.stop(reason);
        self.agree(
            &self.given.store.stop(self.id, reason).await.unwrap(),
            &model,
        );
    }

    /// The rows are those of the model.
    async fn compare(&self) {
        let said = &self.said;
        assert_eq!(self.board.violations(), Vec::<String>::new(), "{said}");
        let row = self.given.task(self.id).await;
        // Which copied runs lie ahead is read when units are to be opened only, and the front when trials
        // are to be recorded.
        let mut model = self.board.ledger.clone();
        model.copied.ahead.clear();
        model.front = Front::default();
        // So is how the windows stand; `verify` compares these with the rows.
        model.windows.clear();
        assert_eq!(row.ledger, model, "{said}");
        assert_eq!(row.started_at.is_some(), self.board.started, "{said}");
        assert_eq!(
            row.completed_at.is_some(),
            row.ledger.state.is_terminal(),
            "{said}"
        );
        let trials = self.given.trials(self.id).await;
        let stored: Vec<(u32, TrialEnd, Option<f64>)> = trials
            .iter()
            .map(|t| {
                let value = (t.end == TrialEnd::Completed).then(|| t.values.first().copied());
                (t.number, t.end, value.flatten())
            })
            .collect();
        let expected: Vec<(u32, TrialEnd, Option<f64>)> = self
            .board
            .trials
            .iter()
            .map(|(number, tally)| match tally {
                Tally::Values(values) => (*number, TrialEnd::Completed, values.first().copied()),
                Tally::Infeasible => (*number, TrialEnd::Completed, None),
                Tally::Pruned => (*number, TrialEnd::Pruned, None),
                Tally::Failed => (*number, TrialEnd::Failed, None),
            })
            .collect();
        assert_eq!(stored, expected, "{said}");
        let events = self.given.store.events(self.id, 0, 1_000).await.unwrap();
        assert!(
            events.iter().map(|e| e.seq).eq(1..=row.ledger.seq),
            "{said}"
        );
        let events: Vec<_> = events.into_iter().map(|e| e.event).collect();
        assert_eq!(events, self.board.events, "{said}");
        let summary = self.given.store.unit_summary(self.id).await.unwrap();
        let units = || self.board.units.values();
        let count = |n: usize| u32::try_from(n).expect("few");
        let queued = count(units().filter(|u| u.state == UnitState::Queued).count());
        let leased = count(units().filter(|u| u.state == UnitState::Leased).count());
        let expired = count(units().filter(|u| u.expired).count());
        let open = |state| matches!(state, UnitState::Queued | UnitState::Leased);
        let crashes: u32 = units().filter(|u| open(u.state)).map(|u| u.crashes).sum();
        let of_open = units().filter(|u| open(u.state));
        let unable = of_open.map(|u| u.unable.times).max().unwrap_or(0);
        assert_eq!(
            (
                summary.queued,
                summary.leased,
                summary.expired,
                summary.crashes,
                summary.unable
            ),
            (queued, leased, expired, crashes, unable),
            "{said}"
        );
        assert_eq!(row.leased_units, leased, "{said}");
    }
}

/// What a row counts as.
fn tally(row: &TrialRow) -> Tally {
    match row.end {
        TrialEnd::Pruned => Tally::Pruned,
        TrialEnd::Failed => Tally::Failed,
        TrialEnd::Completed if row.infeasible.is_some() => Tally::Infeasible,
        TrialEnd::Completed => Tally::Values(row.values.clone()),
    }
}

/// A cancelled task with recorded trials and holes, all below `planned`.
async fn ended(given: &Given, planned: u32, steps: &mut Steps) -> TaskId {
    let id = given.submit(given::task(planned, Some(4))).await;
    let units = given.task(id).await.ledger.next_unit;
    let mut claims = Vec::new();
    for unit in 0..units {
        claims.push(given.claim(id, unit).await);
    }
    // Cancelled when the first trials are there: what is recorded after it leaves no rest.
    let mut cancelled = false;
    for claim in claims {
        let count = steps.below(claim.count + 1);
        let tallies: Vec<Tally> = (0..count)
            .map(|_| match steps.below(4) {
                0 => Tally::Failed,
                1 => Tally::Infeasible,
                _ => steps.values(),
            })
            .collect();
        if !cancelled {
            given.store.stop(id, StopReason::Cancelled).await.unwrap();
            cancelled = true;
        }
        let trials = (claim.first..).zip(tallies).map(|(n, t)| trial(n, t));
        let flush = UnitFlush {
            trials: trials.collect(),
            ..given::flush(&claim, 0, UnitEnd::Close)
        };
        given.record(flush).await;
    }
    assert_eq!(given.task(id).await.ledger.state, TaskState::Cancelled);
    id
}
