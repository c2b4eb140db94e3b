//! A steady stream of small tasks: whenever one has ended, its customer submits another.

use crate::chance::Chance;
use crate::client::Client;
use crate::customer::{Act, Customers, OpenTasks};
use crate::findings::Findings;
use crate::work::Work;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// Of a hundred tasks so many are cancelled, and so many paused and resumed.
const CANCELLED_PERCENT: u64 = 12;
const PAUSED_PERCENT: u64 = 15;

/// The customers. Dropping it sends them away.
pub struct Stream {
    customers: Customers,
    serving: JoinSet<()>,
    closed: Arc<AtomicBool>,
}

impl Stream {
    /// `count` customers, who begin at once. Each has a seed of its own: who is served faster does
    /// not change what another one asks for.
    pub fn begin(client: Client, findings: Findings, seed: u64, count: usize) -> Self {
        let mut customers = Customers::new(client, findings);
        customers.crash_limit_may_be_reached = true;
        let closed = Arc::new(AtomicBool::new(false));
        let mut serving = JoinSet::new();
        for number in 0..count {
            let mut chance = Chance::new(seed, &format!("customer {number}"));
            let (customers, closed) = (customers.clone(), Arc::clone(&closed));
            serving.spawn(async move {
                while !closed.load(Ordering::Relaxed) {
                    let work = Work::draw(&mut chance);
                    let act = act(&mut chance);
                    let own = Chance::new(chance.bits(), "task");
                    customers.serve(work, act, own).await;
                }
            });
        }
        Self {
            customers,
            serving,
            closed,
        }
    }

    /// No further task is submitted.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Whether every customer has left, which each does after its last task.
    pub fn has_ended(&mut self) -> bool {
        while self.serving.try_join_next().is_some() {}
        self.serving.is_empty()
    }

    /// The tasks that have not ended.
    pub fn open(&self) -> &OpenTasks {
        self.customers.open()
    }
}

fn act(chance: &mut Chance) -> Act {
    let draw = chance.below(100);
    let after = chance.below(25);
    if draw < CANCELLED_PERCENT {
        Act::Cancel(after)
    } else if draw < CANCELLED_PERCENT + PAUSED_PERCENT {
        let time = Duration::from_millis(300 + chance.below(3_000));
        Act::Pause(after, time)
    } else {
        Act::Watch
    }
}
