//! What it means that a fault is over, and how long that took.

use super::scene::{APIS, LOOK, SLOTS, Scene};
use crate::observer::Lease;
use std::time::Instant;

/// Consumers are back, such as the product promises after the broker is.
pub const CONSUMERS: &str = "every slot consumes";
/// Trials are recorded.
pub const PROGRESS: &str = "trials are recorded";
/// Units of a worker that is gone run elsewhere.
pub const ELSEWHERE: &str = "its units run elsewhere";
/// An API answers that it accepts tasks.
pub const READY: &str = "it accepts tasks";

impl Scene {
    /// Waits for a condition, supervising; seconds, or a violation when it takes too long.
    async fn recovered(
        &mut self,
        fault: &str,
        what: &str,
        mut condition: impl AsyncFnMut(&mut Self) -> bool,
    ) -> anyhow::Result<f64> {
        let began = Instant::now();
        while !condition(self).await {
            if began.elapsed() > self.patience() {
                let seconds = began.elapsed().as_secs();
                let depth = self.observer.depth().await;
                let relays = self.observer.relays().await;
                self.findings.violation(format!(
                    "{fault}: not after {seconds} s: {what} ({depth:?}, relays {relays:?})"
                ));
                break;
            }
            self.supervise()?;
            tokio::time::sleep(LOOK).await;
        }
        let seconds = began.elapsed().as_secs_f64();
        self.findings.took(&format!("{fault}: {what}"), seconds);
        Ok(seconds)
    }

    /// Until every slot of every worker is a consumer.
    pub async fn consumers_are_back(&mut self, fault: &str) -> anyhow::Result<f64> {
        self.recovered(fault, CONSUMERS, async |scene| {
            let slots = SLOTS * scene.cluster.workers.len() as u64;
            let depth = scene.observer.depth().await;
            depth.is_ok_and(|depth| depth.consumers == slots)
        })
        .await
    }

    /// Until more trials are recorded than now.
    pub async fn work_goes_on(&mut self, fault: &str) -> anyhow::Result<f64> {
        let mut before = self.observer.recorded().await.ok();
        self.recovered(fault, PROGRESS, async |scene| {
            let now = scene.observer.recorded().await.ok();
            if before.is_none() {
                before = now;
            }
            now > before
        })
        .await
    }

    /// Until none of these units waits for its holder, who is gone.
    pub async fn run_elsewhere(&mut self, fault: &str, leases: &[Lease]) -> anyhow::Result<f64> {
        if leases.is_empty() {
            return Ok(0.0);
        }
        self.recovered(fault, ELSEWHERE, async |scene| {
            matches!(scene.observer.still_lost(leases).await, Ok(0))
        })
        .await
    }

    /// Until an API takes tasks.
    pub async fn is_ready(&mut self, fault: &str, api: usize) -> anyhow::Result<f64> {
        debug_assert!(api < APIS, "an API");
        self.recovered(fault, READY, async |scene| {
            let url = scene.cluster.apis[api].url.clone();
            let answer = scene.cluster.try_get(&url, "/readyz").await;
            answer.is_some_and(|(status, _)| status == 200)
        })
        .await
    }
}
