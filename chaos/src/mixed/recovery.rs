//! What it means that a fault is over, and how long that took.

use super::scene::{APIS, LOOK, SLOTS, Scene};
use crate::client::TASKS;
use crate::observer::Lease;
use crate::work::Work;
use std::time::{Duration, Instant};

/// Consumers are back, such as the product promises after the broker is.
pub const CONSUMERS: &str = "every slot consumes";
/// Trials are recorded.
pub const PROGRESS: &str = "trials are recorded";
/// A task that is submitted now goes all the way: relay, broker, worker, rows.
pub const THROUGH: &str = "a new task has ended";
/// Units of a worker that is gone run elsewhere.
pub const ELSEWHERE: &str = "its units run elsewhere";
/// An API answers that it accepts tasks.
pub const READY: &str = "it accepts tasks";

/// A consumer whose connection was lost a moment ago may still be listed.
const CONSUMERS_STAY: Duration = Duration::from_millis(500);

impl Scene {
    /// Waits for a condition that stays for a moment, supervising; the seconds since `began` until
    /// it came, or a violation when it takes too long.
    async fn recovered(
        &mut self,
        fault: &str,
        what: &str,
        began: Instant,
        stays: Duration,
        mut condition: impl AsyncFnMut(&mut Self) -> bool,
    ) -> anyhow::Result<f64> {
        let (called, mut came) = (Instant::now(), None);
        let seconds = loop {
            if condition(self).await {
                let came: &mut Instant = came.get_or_insert_with(Instant::now);
                if came.elapsed() >= stays {
                    break (*came - began).as_secs_f64();
                }
            } else {
                came = None;
            }
            if called.elapsed() > self.patience() {
                let seconds = called.elapsed().as_secs();
                let depth = self.observer.depth().await;
                let relays = self.observer.relays().await;
                self.findings.violation(format!(
                    "{fault}: not after {seconds} s: {what} ({depth:?}, relays {relays:?})"
                ));
                break began.elapsed().as_secs_f64();
            }
            self.supervise()?;
            tokio::time::sleep(LOOK).await;
        };
        self.findings.took(&format!("{fault}: {what}"), seconds);
        Ok(seconds)
    }

    /// Until every slot of every worker is a consumer.
    pub async fn consumers_are_back(&mut self, fault: &str, began: Instant) -> anyhow::Result<f64> {
        self.recovered(fault, CONSUMERS, began, CONSUMERS_STAY, async |scene| {
            let slots = SLOTS * scene.cluster.workers.len() as u64;
            // The management's list is up to five seconds old. An API asks the queue itself; its own
            // connection has to be back for that, so this is not too short.
            for api in &scene.cluster.apis {
                let answer = scene.cluster.try_get(&api.url, "/api/v1/queues").await;
                let queue = answer.map(|(_, body)| body["items"][0]["consumers"].as_u64());
                if queue.flatten() == Some(slots) {
                    return true;
                }
            }
            false
        })
        .await
    }

    /// Until more trials are recorded than now.
    pub async fn work_goes_on(&mut self, fault: &str) -> anyhow::Result<f64> {
        let mut before = self.observer.recorded().await.ok();
        self.recovered(
            fault,
            PROGRESS,
            Instant::now(),
            Duration::ZERO,
            async |scene| {
                let now = scene.observer.recorded().await.ok();
                if before.is_none() {
                    before = now;
                }
                now > before
            },
        )
        .await
    }

    /// Until a task that is submitted now has ended.
    pub async fn new_task_ends(&mut self, fault: &str) -> anyhow::Result<f64> {
        let work = Work {
            seconds: 0.0,
            ..Work::fast(1, self.chance.below(1 << 32))
        };
        let key = format!("through-{:016x}", self.chance.bits());
        let client = self.client()?;
        let mut task = tokio::spawn(async move { client.submit(&work.request(), &key).await });
        let mut id = None;
        self.recovered(
            fault,
            THROUGH,
            Instant::now(),
            Duration::ZERO,
            async |scene| {
                if id.is_none() && task.is_finished() {
                    id = (&mut task).await.ok().flatten();
                }
                let Some(id) = &id else { return false };
                for api in &scene.cluster.apis {
                    let path = format!("{TASKS}/{id}/status");
                    if let Some((200, status)) = scene.cluster.try_get(&api.url, &path).await {
                        return status["status"] == "completed";
                    }
                }
                false
            },
        )
        .await
    }

    /// Until none of these units waits for its holder, who is gone.
    pub async fn run_elsewhere(&mut self, fault: &str, leases: &[Lease]) -> anyhow::Result<f64> {
        if leases.is_empty() {
            return Ok(0.0);
        }
        self.recovered(
            fault,
            ELSEWHERE,
            Instant::now(),
            Duration::ZERO,
            async |scene| matches!(scene.observer.still_lost(leases).await, Ok(0)),
        )
        .await
    }

    /// Until an API takes tasks.
    pub async fn is_ready(&mut self, fault: &str, api: usize) -> anyhow::Result<f64> {
        debug_assert!(api < APIS, "an API");
        self.recovered(
            fault,
            READY,
            Instant::now(),
            Duration::ZERO,
            async |scene| {
                let url = scene.cluster.apis[api].url.clone();
                let answer = scene.cluster.try_get(&url, "/readyz").await;
                answer.is_some_and(|(status, _)| status == 200)
            },
        )
        .await
    }
}
