//! Watching a task over its events, through broken connections, until it ends.

use crate::client::{CallError, Client};
use crate::failure::Failure;
use crate::figures::{has_several, named};
use crate::output;
use crate::progress::{Progress, Standing, sentence};
use crate::sse::Events;
use crate::task::{self, path};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep};
use uuid::Uuid;

/// How often rate and time left are asked for.
const REFRESH: Duration = Duration::from_secs(1);
/// Waits between two attempts to connect: doubled from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// Attempts in a row before the watcher gives up, about two minutes; the task goes on.
const ATTEMPTS: u32 = 30;
/// The exit code of a program ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Watches a task to its end and prints its result; the exit code tells how it ended.
///
/// # Errors
/// [`Failure::Said`] with 1 for a failed task, 2 for a cancelled one; else why it cannot be watched.
pub async fn watch(client: &Client, id: Uuid, json: bool) -> Result<(), Failure> {
    let progress = Progress::new();
    let ended = tokio::select! {
        ended = to_the_end(client, id, &progress) => ended,
        _ = tokio::signal::ctrl_c() => {
            progress.clear();
            output::note(format!(
                "the task goes on; watch it again with `trialmill watch {id}`, end it with \
                 `trialmill cancel {id}`"
            ));
            return Err(Failure::Said(INTERRUPTED));
        }
    };
    progress.clear();
    ended?;
    let task = client.get(&path(id, "")).await?;
    if json {
        output::document(&task)?;
    } else {
        task::print(&task)?;
    }
    match task["status"].as_str() {
        Some("completed") => Ok(()),
        Some("cancelled") => Err(Failure::Said(2)),
        _ => Err(Failure::Said(1)),
    }
}

/// Waits until a task has ended, drawing its progress.
///
/// # Errors
/// Why it cannot be watched.
pub async fn to_its_end(client: &Client, id: Uuid) -> Result<(), Failure> {
    let progress = Progress::new();
    let ended = to_the_end(client, id, &progress).await;
    progress.clear();
    ended
}

async fn to_the_end(client: &Client, id: Uuid, progress: &Progress) -> Result<(), Failure> {
    let mut watcher = Watcher {
        client,
        id,
        last_seen: None,
        progress,
        standing: Standing::default(),
    };
    // A task that does not exist is no reason to try again.
    watcher.refresh().await?;
    if !progress.is_drawn() {
        output::note(format!("watching: {}", sentence(&watcher.standing)));
    }
    let (mut wait, mut failures, mut told) = (BACKOFF.0, 0, false);
    loop {
        let trouble = match watcher.follow().await {
            Ok(Followed::Ended) => return Ok(()),
            Ok(Followed::Broken { events }) => {
                if events > 0 {
                    // It served us, so the next trouble is a new one.
                    (wait, failures, told) = (BACKOFF.0, 0, false);
                }
                "its events end again and again".to_owned()
            }
            Err(error) if error.may_pass() => {
                if !told {
                    progress.say(&format!("{error}; trying again"));
                    told = true;
                }
                error.to_string()
            }
            Err(error) => return Err(error.into()),
        };
        failures += 1;
        if failures > ATTEMPTS {
            return Err(Failure::reason(format!(
                "task {id} goes on unwatched: {trouble}"
            )));
        }
        sleep(wait).await;
        wait = (wait * 2).min(BACKOFF.1);
    }
}

/// How a connection was left.
enum Followed {
    /// The task has ended.
    Ended,
    /// The stream ended or broke after this many events.
    Broken { events: u64 },
}

struct Watcher<'a> {
    client: &'a Client,
    id: Uuid,
    last_seen: Option<String>,
    progress: &'a Progress,
    standing: Standing,
}

impl Watcher<'_> {
    /// Follows one connection.
    async fn follow(&mut self) -> Result<Followed, CallError> {
        let stream = self
            .client
            .events(&path(self.id, "/events"), self.last_seen.as_deref())
            .await?;
        let Some(response) = stream else {
            return Ok(Followed::Ended);
        };
        let mut events = Events::new(response);
        let mut tick = interval(REFRESH);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut count = 0;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Ok(Some(event)) => {
                        count += 1;
                        self.last_seen = event.id.or(self.last_seen.take());
                        if self.take(&event.name, &event.data) {
                            return Ok(Followed::Ended);
                        }
                    }
                    // A broken stream is taken up again after the last event seen.
                    Ok(None) | Err(_) => return Ok(Followed::Broken { events: count }),
                },
                _ = tick.tick() => match self.refresh().await {
                    Ok(()) => {}
                    Err(error) if error.may_pass() => {}
                    Err(error) => return Err(error),
                },
            }
        }
    }

    /// Takes an event; whether it was the last one.
    fn take(&mut self, name: &str, data: &Value) -> bool {
        match name {
            "trials" => {
                // How many have ended is asked for instead: events of the past are sent again,
                // and their trials are in the status already.
                let number = data["best"]["number"].as_u64();
                self.standing.best = number
                    .zip(data["best"]["value"].as_f64())
                    .or(self.standing.best);
            }
            "paused" => self.standing.remark = Some("paused".to_owned()),
            "resumed" => self.standing.remark = None,
            "stopping" => self.standing.remark = Some("stopping".to_owned()),
            "unit_lost" => self.progress.say("a worker was lost; its trials run again"),
            "ended" => return true,
            _ => {}
        }
        self.progress.show(&self.standing);
        false
    }

    /// Asks where the task stands.
    async fn refresh(&mut self) -> Result<(), CallError> {
        let status = self.client.get(&path(self.id, "/status")).await?;
        self.standing = standing(&status);
        self.progress.show(&self.standing);
        Ok(())
    }
}

/// Where a task stands, by its status.
fn standing(status: &Value) -> Standing {
    let number = |name: &str| status[name].as_u64().unwrap_or_default();
    let ended = number("completed_trials") + number("pruned_trials") + number("failed_trials");
    Standing {
        ended,
        planned: number("n_trials"),
        rate: status["trials_per_second"].as_f64(),
        best: status["best_trial_number"]
            .as_u64()
            .zip(status["best_score"].as_f64()),
        leads: has_several(&status["best_values"]).then(|| named(&status["best_values"])),
        left: status["eta_seconds"].as_f64(),
        remark: remark(status),
    }
}

/// What there is to say beside the bar: a state other than running, or how far the assessment is.
fn remark(status: &Value) -> Option<String> {
    match status["status"].as_str().unwrap_or_default() {
        "running" if status["phase"] == "assessing" => {
            let share = status["progress"].as_f64().unwrap_or_default();
            Some(format!("assessing, {:.0} %", 100.0 * share))
        }
        "running" => None,
        state => Some(state.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_ended_trial_counts_whatever_its_end() {
        let status = json!({"status": "running", "n_trials": 50, "completed_trials": 7,
            "pruned_trials": 1, "failed_trials": 2, "best_score": 0.5, "best_trial_number": 3,
            "trials_per_second": 4.0, "eta_seconds": 10.0});
        let standing = standing(&status);
        assert_eq!((standing.ended, standing.planned), (10, 50));
        assert_eq!((standing.best, standing.left), (Some((3, 0.5)), Some(10.0)));
        assert_eq!(standing.remark, None);
    }

    #[test]
    fn of_several_objectives_the_values_of_the_trial_that_leads_are_told() {
        let mut status = json!({"status": "running", "best_score": null, "best_trial_number": null,
            "best_values": {"max_drawdown": 0.1, "sharpe_ratio": 1.5}});
        let told = standing(&status).leads;
        assert_eq!(told.as_deref(), Some("max_drawdown 0.1  sharpe_ratio 1.5"));
        status["best_values"] = json!({"sharpe_ratio": 1.5});
        assert_eq!(standing(&status).leads, None);
    }

    #[test]
    fn a_task_that_waits_says_so() {
        let standing = standing(&json!({"status": "queued", "n_trials": 50}));
        assert_eq!(standing.remark.as_deref(), Some("queued"));
    }

    #[test]
    fn an_assessment_says_how_far_it_is() {
        let status = json!({"status": "running", "phase": "assessing", "progress": 0.35});
        assert_eq!(standing(&status).remark.as_deref(), Some("assessing, 35 %"));
    }
}
