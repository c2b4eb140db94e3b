//! What must be arranged so that each fail point of the product is reached.

use trialmill_common::failpoints::{FailPoint, Process};

/// Which process is started with the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The API. It is the one that relays and reaps then, where both kinds of process do.
    Api,
    /// One of the workers.
    Worker,
}

/// What is arranged so that the point is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrange {
    /// Tasks run, fast and slow ones.
    Work,
    /// The queue is deleted behind the relay's back before anything is published.
    Unroutable,
    /// The worker is asked to end while it holds slow trials, with no time to finish them.
    Drain,
    /// Running tasks are cancelled.
    Cancel,
    /// Running tasks are paused and resumed.
    Pause,
    /// A task runs out of its time.
    Timeout,
    /// Every worker is killed while it holds units.
    Reap,
    /// Units run longer than the time after which their message is acknowledged.
    AckEarly,
    /// The results of searches on bars are assessed.
    Assess,
}

/// A fail point with its arrangement.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// The point.
    pub point: FailPoint,
    /// Its name.
    pub name: &'static str,
    /// Who dies at it.
    pub who: Who,
    /// How it is reached.
    pub arrange: Arrange,
    /// It is passed at least and at most so many times before it acts; drawn from the seed. What
    /// comes once per task or per run is hit at once.
    pub passes: (u64, u64),
}

/// How a point is reached, and how often it is passed first.
///
/// A new point does not compile before it has its row here.
fn arranged(point: FailPoint) -> (Arrange, (u64, u64)) {
    use Arrange::{AckEarly, Assess, Cancel, Drain, Pause, Reap, Timeout, Unroutable, Work};
    use FailPoint as P;
    match point {
        P::SubmitChecked | P::SubmitCommitting | P::SubmitCommitted => (Work, (0, 1)),
        P::RelayTaking | P::RelayTaken | P::RelayPublished | P::RelayConfirmed | P::RelayMarked => {
            (Work, (0, 5))
        }
        P::RelayUnroutable => (Unroutable, (0, 0)),
        // The first time is the start, when the queue is new.
        P::QueueEmptied | P::QueueRefilled => (Unroutable, (1, 1)),
        P::SlotDelivered
        | P::ClaimCommitting
        | P::ClaimCommitted
        | P::TrialBegun
        | P::TrialComputed
        | P::RecordBegun
        | P::RecordCommitting
        | P::RecordCommitted
        | P::UnitDone
        | P::UnitClosing
        | P::UnitSettled
        | P::SlotAcknowledged => (Work, (0, 5)),
        P::TrialAnnouncing | P::TrialAnnounced => (Work, (0, 1)),
        P::TaskEnding | P::TaskEnded => (Work, (0, 0)),
        P::AssessRead | P::AssessDone => (Assess, (0, 0)),
        P::AssessStepped => (Assess, (0, 20)),
        P::AssessCommitting | P::AssessCommitted => (Assess, (0, 1)),
        P::RenewBegun | P::RenewAnswered => (Work, (0, 2)),
        P::AcknowledgedEarly => (AckEarly, (0, 0)),
        P::DrainBegun | P::HandingBack | P::HandedBack => (Drain, (0, 0)),
        P::StopCommitting | P::StopCommitted | P::StopObeyed => (Cancel, (0, 0)),
        P::PauseCommitting | P::ResumeCommitting => (Pause, (0, 0)),
        P::ReapCommitting | P::ReapCommitted => (Reap, (0, 0)),
        P::TimeoutCommitting => (Timeout, (0, 0)),
    }
}

impl Point {
    fn of(point: FailPoint) -> Self {
        let (arrange, passes) = arranged(point);
        let who = match point.process() {
            Process::Api | Process::Either => Who::Api,
            Process::Worker => Who::Worker,
        };
        Self {
            point,
            name: point.name(),
            who,
            arrange,
            passes,
        }
    }
}

/// The points with these names; all of them when none is given.
///
/// # Errors
/// A name that is none, with the names there are.
pub fn named(names: &[String]) -> anyhow::Result<Vec<Point>> {
    let all = FailPoint::ALL.iter().map(|point| Point::of(*point));
    if names.is_empty() {
        return Ok(all.collect());
    }
    let find = |name: &String| {
        let known = || {
            FailPoint::ALL
                .iter()
                .map(|p| p.name())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let found = all.clone().find(|point| point.name == name);
        found.ok_or_else(|| anyhow::anyhow!("there is no point {name}; there are {}", known()))
    };
    names.iter().map(find).collect()
}
