//! The fail points of the product, and what must be arranged so that each is reached.
//!
//! A point is a name that the product evaluates at one step; `FAILPOINTS=name=2*off->return` lets
//! it pass twice and ends the process with SIGABRT at the third time.

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
    /// Every worker is killed while it holds units.
    Reap,
    /// Units run longer than the time after which their message is acknowledged.
    AckEarly,
}

/// A fail point.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// Its name.
    pub name: &'static str,
    /// Who dies at it.
    pub who: Who,
    /// How it is reached.
    pub arrange: Arrange,
    /// At most so many hits pass before it acts; drawn from the seed. What comes once per task or
    /// per run is hit at once.
    pub most_passed: u64,
}

const fn point(name: &'static str, who: Who, arrange: Arrange, most_passed: u64) -> Point {
    Point {
        name,
        who,
        arrange,
        most_passed,
    }
}

/// Every point.
pub const POINTS: &[Point] = &[
    point("submit.begun", Who::Api, Arrange::Work, 1),
    point("submit.committing", Who::Api, Arrange::Work, 1),
    point("submit.committed", Who::Api, Arrange::Work, 1),
    point("submit.answered", Who::Api, Arrange::Work, 1),
    point("relay.taken", Who::Api, Arrange::Work, 5),
    point("relay.published", Who::Api, Arrange::Work, 5),
    point("relay.confirmed", Who::Api, Arrange::Work, 5),
    point("relay.marked", Who::Api, Arrange::Work, 5),
    point("relay.returned", Who::Api, Arrange::Unroutable, 0),
    point("slot.delivered", Who::Worker, Arrange::Work, 5),
    point("claim.committing", Who::Worker, Arrange::Work, 5),
    point("claim.claimed", Who::Worker, Arrange::Work, 5),
    point("trial.announced", Who::Worker, Arrange::Work, 2),
    point("trial.running", Who::Worker, Arrange::Work, 5),
    point("trial.computed", Who::Worker, Arrange::Work, 5),
    point("record.committing", Who::Worker, Arrange::Work, 5),
    point("record.recorded", Who::Worker, Arrange::Work, 5),
    point("record.closing", Who::Worker, Arrange::Work, 5),
    point("unit.closed", Who::Worker, Arrange::Work, 5),
    point("slot.acked", Who::Worker, Arrange::Work, 5),
    point("record.ending", Who::Worker, Arrange::Work, 0),
    point("record.ended", Who::Worker, Arrange::Work, 0),
    point("renew.renewing", Who::Worker, Arrange::Work, 2),
    point("drain.handing_back", Who::Worker, Arrange::Drain, 0),
    point("cancel.stopping", Who::Worker, Arrange::Cancel, 0),
    point("ack_early.handed", Who::Worker, Arrange::AckEarly, 0),
    point("reap.requeued", Who::Api, Arrange::Reap, 0),
    point("reap.committed", Who::Api, Arrange::Reap, 0),
];

/// The points with these names; all of them when none is given.
///
/// # Errors
/// A name that is none, with the names there are.
pub fn named(names: &[String]) -> anyhow::Result<Vec<&'static Point>> {
    if names.is_empty() {
        return Ok(POINTS.iter().collect());
    }
    let find = |name: &String| {
        let all = || POINTS.iter().map(|p| p.name).collect::<Vec<_>>().join(", ");
        let found = POINTS.iter().find(|point| point.name == name);
        found.ok_or_else(|| anyhow::anyhow!("there is no point {name}; there are {}", all()))
    };
    names.iter().map(find).collect()
}
