//! The loops that every API and worker process runs beside its own work.
//!
//! The **relay** moves due units from the database to the broker. One process of all is active,
//! by the store's leadership; the others stand by. It takes units (which puts off their next due
//! time), publishes them, and on the broker's confirmation puts it off further: a crash anywhere
//! means a duplicate message, which is harmless, and never a lost unit.
//!
//! **Tidying** removes what is no longer kept, a few thousand rows at a time; one process at a time
//! does, and none waits for another.
//!
//! The **reaper** queues units whose lease has expired and ends tasks whose time ran out. Every
//! process runs it: its operations are conditional, so several do no harm.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use trialmill_broker::{Broker, BrokerState, PublishError};
use trialmill_common::failpoints::{FailPoint, reach};
use trialmill_common::message::{UnitMessage, UnitNote};
use trialmill_store::{Keep, Leadership, Store, StoreError};

/// How often the relay looks again while as many units are in flight as may be: the longest of
/// these where units are long, and a shorter time the more often there is something to publish again,
/// so that slots which take a unit in milliseconds do not wait for the next one.
const SATURATED_POLL: RangeInclusive<Duration> =
    Duration::from_millis(5)..=Duration::from_millis(25);

/// Two rounds without anything to publish are at least this far apart: a busy API commits a thousand
/// times per second, and each commit would be a round.
const LEAST_ROUND: Duration = Duration::from_millis(5);

/// A leader without a broker gives up its place after this time, since another may have one.
const WITHOUT_BROKER: Duration = Duration::from_secs(5);

/// Time between two rounds of tidying while there is more to remove: the others have the database
/// most of the time.
const BETWEEN_ROUNDS: Duration = Duration::from_millis(100);

/// How the loops tick.
#[derive(Debug, Clone)]
pub struct Pace {
    /// A standby asks for leadership, and an idle relay for due units, at least this often.
    pub poll: Duration,
    /// The reaper looks this often: a sixth of a lease.
    pub reap: Duration,
    /// What is no longer kept is looked for this often. A minute.
    pub tidy: Duration,
    /// How long what ended is kept.
    pub keep: Keep,
    /// When nothing was published for this long, the relay looks whether the queue has lost what it
    /// should hold: purged by hand, or deleted while every slot is busy.
    pub quiet: Duration,
}

impl Pace {
    /// The pace that goes with a lease.
    #[must_use]
    pub fn for_lease(lease: Duration) -> Self {
        Self {
            poll: Duration::from_millis(500),
            reap: lease / 6,
            tidy: Duration::from_secs(60),
            keep: Keep::default(),
            quiet: Duration::from_secs(20),
        }
    }
}

/// Runs relay and reaper for the given pool until `shutdown`.
pub async fn run(
    store: Arc<dyn Store>,
    broker: Arc<dyn Broker>,
    pool: String,
    pace: Pace,
    shutdown: CancellationToken,
) {
    let all = async {
        tokio::join!(
            relay(&*store, &*broker, &pool, &pace),
            watch_emptied(&*store, &*broker, &pool, &pace),
            reap(&*store, &pace),
            tidy(&*store, &pace)
        );
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = all => {}
    }
}

/// Stands by until it leads, relays until it does not, for ever. Who has no broker does not ask to
/// lead: another process may have one.
async fn relay(store: &dyn Store, broker: &dyn Broker, pool: &str, pace: &Pace) {
    let mut trouble = Trouble::default();
    let mut state = broker.state();
    loop {
        // A broker that is dropped never connects again, and the process with it.
        let connected = |state: &BrokerState| matches!(state, BrokerState::Connected);
        if state.wait_for(connected).await.is_err() {
            return;
        }
        match store.lead(pool).await {
            Ok(Some(leadership)) => {
                tracing::info!(pool, "this process relays");
                let ended = relay_while_leading(store, broker, pool, pace, &*leadership).await;
                drop(leadership);
                trouble.note("relay", ended);
                // Let another one have it.
                sleep(pace.poll * 2).await;
            }
            Ok(None) => trouble.over(),
            Err(e) => trouble.note("relay", Err(e)),
        }
        sleep(pace.poll).await;
    }
}

/// Every process hears of the queues that it declared itself, leading or not: what it finds empty
/// or new has lost its messages, or has none, and the units of its pool are due at once.
async fn watch_emptied(store: &dyn Store, broker: &dyn Broker, pool: &str, pace: &Pace) {
    let mut trouble = Trouble::default();
    let mut emptied = broker.emptied();
    let mut known = 0;
    loop {
        let times = emptied.borrow_and_update().get(pool).copied().unwrap_or(0);
        if times > known {
            reach(FailPoint::QueueEmptied);
            match store.queue_emptied(pool).await {
                Ok(units) => {
                    known = times;
                    reach(FailPoint::QueueRefilled);
                    trouble.over();
                    tracing::info!(pool, units, "the queue is empty or new: its units are due");
                }
                Err(e) => {
                    trouble.note("relay", Err(e));
                    sleep(pace.poll).await;
                    continue;
                }
            }
        }
        if emptied.changed().await.is_err() {
            return;
        }
    }
}

async fn relay_while_leading(
    store: &dyn Store,
    broker: &dyn Broker,
    pool: &str,
    pace: &Pace,
    leadership: &dyn Leadership,
) -> Result<(), StoreError> {
    let mut changed = store.changed();
    let mut state = broker.state();
    let mut connected_at = Instant::now();
    let mut asked_at = Instant::now();
    let mut saturated_poll = *SATURATED_POLL.end();
    let mut published_or_looked = Instant::now();
    loop {
        let round = Instant::now();
        if asked_at.elapsed() >= pace.poll {
            asked_at = Instant::now();
            if !leadership.holds().await {
                return Ok(());
            }
        }
        changed.mark_unchanged();
        if matches!(*state.borrow_and_update(), BrokerState::Connected) {
            connected_at = Instant::now();
            match publish_due(store, broker, pool).await? {
                Published::Some => {
                    // The round after this one finds nothing and doubles it.
                    saturated_poll = (saturated_poll / 4).max(*SATURATED_POLL.start());
                    published_or_looked = Instant::now();
                    continue;
                }
                Published::Unanswered(message) => {
                    replace_if_dead(broker, pool, leadership, &message).await;
                }
                Published::None => {}
            }
            if published_or_looked.elapsed() >= pace.quiet {
                published_or_looked = Instant::now();
                look_for_losses(store, broker, pool).await?;
            }
        } else if connected_at.elapsed() > WITHOUT_BROKER {
            tracing::warn!(pool, "no broker: this process relays no longer");
            return Ok(());
        }
        // Due units that were not taken wait for one of those in flight to be claimed.
        let due = store.next_due(pool).await?.unwrap_or(pace.poll);
        let wait = due.max(saturated_poll).min(pace.poll);
        saturated_poll = (saturated_poll * 2).min(*SATURATED_POLL.end());
        let woken = async {
            tokio::select! {
                _ = changed.changed() => {}
                _ = state.changed() => {}
            }
        };
        // Whichever comes first: the time is a bound on what a lost wake-up costs.
        let _ = timeout(wait, woken).await;
        sleep_until(round + LEAST_ROUND).await;
    }
}

/// Makes the published units due again when their queue has been empty and quiet for long: nobody can
/// be about to claim them. (A queue that is gone is declared again by the look, which is heard of by
/// [`watch_emptied`].)
async fn look_for_losses(
    store: &dyn Store,
    broker: &dyn Broker,
    pool: &str,
) -> Result<(), StoreError> {
    match broker.depth(pool).await {
        Ok(depth) if depth.ready == 0 => {
            let units = store.queue_emptied(pool).await?;
            if units > 0 {
                tracing::warn!(
                    pool,
                    units,
                    "the queue has lost messages: their units are due"
                );
            }
        }
        Ok(_) => {}
        Err(error) => tracing::debug!(pool, %error, "the queue could not be looked at"),
    }
    Ok(())
}

/// Replaces the queue if it is there and dead, after a batch of which no message was confirmed: a broker that was killed while it made a quorum queue
/// comes back with the queue and nobody who leads it, and then no publish is ever confirmed and no
/// consumer starts (docs/adr/0013). The broker answers a look before and after a second publish
/// that it does not answer: it is neither gone nor stalled.
async fn replace_if_dead(
    broker: &dyn Broker,
    pool: &str,
    leadership: &dyn Leadership,
    message: &UnitMessage,
) {
    // The lead is to be asked about every few seconds, and a publish may take ten.
    if broker.depth(pool).await.is_err() || !leadership.holds().await {
        return;
    }
    let again = broker.publish(pool, std::slice::from_ref(message)).await;
    if !all_unanswered(&again) || broker.depth(pool).await.is_err() || !leadership.holds().await {
        return;
    }
    tracing::warn!(
        pool,
        "the queue confirms nothing while the broker answers: it is deleted and declared anew"
    );
    // A broker may close the connection with the channels that wait for the dead queue.
    if let Err(error) = broker.replace_queue(pool).await {
        tracing::warn!(
            pool,
            %error,
            "the new queue was not confirmed; if it still answers nobody, it is replaced again"
        );
    }
}

fn all_unanswered(outcomes: &[Result<(), PublishError>]) -> bool {
    let unanswered = |outcome| matches!(outcome, &Err(PublishError::Timeout { .. }));
    !outcomes.is_empty() && outcomes.iter().all(unanswered)
}

/// What became of the units that were due.
enum Published {
    /// There was none, or none went out.
    None,
    /// At least one went out.
    Some,
    /// The broker said nothing about any of them; the first of them.
    Unanswered(UnitMessage),
}

async fn publish_due(
    store: &dyn Store,
    broker: &dyn Broker,
    pool: &str,
) -> Result<Published, StoreError> {
    let due = store.take_due(pool).await?;
    if due.is_empty() {
        return Ok(Published::None);
    }
    let mut messages: Vec<UnitMessage> = due
        .iter()
        .map(|due| {
            UnitMessage::new(due.unit.task.0, due.unit.unit).with_note(UnitNote {
                task_name: Some(due.task_name.clone()),
                first_trial: Some(due.first_trial),
                trials: Some(due.trials),
            })
        })
        .collect();
    reach(FailPoint::RelayTaken);
    let outcomes = broker.publish(pool, &messages).await;
    reach(FailPoint::RelayConfirmed);
    let unanswered = all_unanswered(&outcomes);
    let mut confirmed = Vec::with_capacity(due.len());
    for (due, outcome) in due.iter().zip(outcomes) {
        match outcome {
            Ok(()) => confirmed.push(due.unit),
            // It is due again after the publish grace, or at once when the queue is declared.
            Err(e) => {
                if matches!(e, PublishError::Unroutable { .. }) {
                    reach(FailPoint::RelayUnroutable);
                }
                let (task, unit) = (due.unit.task, due.unit.unit);
                tracing::warn!(task.id = %task, unit, error = %e, "unit not published");
            }
        }
    }
    store.published(&confirmed).await?;
    reach(FailPoint::RelayMarked);
    Ok(match confirmed.is_empty() {
        false => Published::Some,
        true if unanswered => Published::Unanswered(messages.swap_remove(0)),
        true => Published::None,
    })
}

async fn reap(store: &dyn Store, pace: &Pace) {
    let mut trouble = Trouble::default();
    loop {
        match store.reap().await {
            Ok(reaped) => {
                trouble.over();
                for unit in &reaped.expired {
                    tracing::warn!(task.id = %unit.task, unit = unit.unit, "a lease expired");
                }
            }
            Err(e) => trouble.note("reaper", Err(e)),
        }
        sleep(pace.reap).await;
    }
}

async fn tidy(store: &dyn Store, pace: &Pace) {
    let mut trouble = Trouble::default();
    let mut wait = pace.tidy;
    loop {
        sleep(wait).await;
        wait = pace.tidy;
        match store.tidy(&pace.keep).await {
            Ok(tidied) => {
                trouble.over();
                if !tidied.is_nothing() {
                    tracing::info!(?tidied, "removed what is no longer kept");
                }
                if tidied.more {
                    wait = BETWEEN_ROUNDS;
                }
            }
            Err(e) => trouble.note("tidying", Err(e)),
        }
    }
}

/// Says a lasting trouble once when it comes, every minute while it lasts, and when it is over.
#[derive(Default)]
struct Trouble {
    said: Option<Instant>,
}

impl Trouble {
    fn note(&mut self, who: &str, outcome: Result<(), StoreError>) {
        let Err(e) = outcome else { return self.over() };
        let silent = self
            .said
            .is_some_and(|said| said.elapsed() < Duration::from_secs(60));
        if !silent {
            self.said = Some(Instant::now());
            tracing::warn!(error = %e, "{who}: the store did not answer; trying again");
        }
    }

    fn over(&mut self) {
        if self.said.take().is_some() {
            tracing::info!("the store answers again");
        }
    }
}

#[cfg(test)]
mod tests;
