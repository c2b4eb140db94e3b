//! The partners of a strategy with two legs: the bars are read from the store, the tests run on a
//! thread of their own, and what follows is decided in [`trialmill_common::draft`].

use crate::limits::{
    FORMATION_SERIES_PER_READ, MAX_PARTNER_CHOICES_KEPT, PARTNER_THREADS, PARTNER_TIME,
};
use crate::problem::{Class, Problem};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use trialmill_backtest::bars::{BarSeries, Frequency, midnight};
use trialmill_backtest::partner::{self, Formation, PartnerChoice, PartnerError};
use trialmill_common::draft::{Accepted, Coverage, Pairing};
use trialmill_store::Store;
use trialmill_store::rows::SeriesInfo;

/// A stock, the candidates and the start: all that a choice follows from.
type Key = [u8; 32];
/// What was found for a stock.
type Answer = Result<PartnerChoice, PartnerError>;

/// The threads for the tests, and the choices made before: a repeated submission asks for the same.
#[derive(Clone)]
pub(crate) struct Partners {
    threads: Arc<Semaphore>,
    made: Arc<Mutex<Made>>,
}

/// The latest choices, the oldest of them first in the order.
#[derive(Default)]
struct Made {
    answers: HashMap<Key, Answer>,
    order: VecDeque<Key>,
}

impl Made {
    fn keep(&mut self, key: Key, answer: Answer) {
        if self.answers.insert(key, answer).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > MAX_PARTNER_CHOICES_KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
    }
}

/// Tells the thread that nobody waits for it any more.
struct Abandon(Arc<AtomicBool>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Partners {
    pub(crate) fn new() -> Self {
        Self {
            threads: Arc::new(Semaphore::new(PARTNER_THREADS)),
            made: Arc::default(),
        }
    }

    /// The task with its partners; as it is, when it needs none.
    pub(super) async fn resolve(
        &self,
        store: &dyn Store,
        accepted: Accepted,
        coverage: fn(SeriesInfo) -> (String, Coverage),
    ) -> Result<Accepted, Problem> {
        let Some(pairing) = &accepted.pairing else {
            return Ok(accepted);
        };
        let stored = store.series_info(&pairing.partners).await?;
        let daily = stored
            .into_iter()
            .filter(|info| info.frequency == Frequency::Daily.name());
        let stored: BTreeMap<String, Coverage> = daily.map(coverage).collect();
        let candidates = pairing.candidates(&stored).map_err(Problem::invalid)?;
        let keys: Vec<Key> = pairing
            .stocks
            .iter()
            .map(|(symbol, _)| key(pairing, symbol, &accepted.series[symbol], &candidates))
            .collect();
        let mut answers = self.made_before(&keys);
        if answers.len() < keys.len() {
            let until = Instant::now() + PARTNER_TIME;
            let choosing = self.choose(store, pairing, &accepted.series, &candidates);
            answers = timeout_at(until, choosing)
                .await
                .map_err(|_| too_slow())??;
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, answer) in keys.iter().zip(&answers) {
                made.keep(*key, answer.clone());
            }
        }
        accepted
            .paired(&candidates, &answers)
            .map_err(Problem::invalid)
    }

    /// The answers known already, if all of them are.
    fn made_before(&self, keys: &[Key]) -> Vec<Answer> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let known = keys.iter().map(|key| made.answers.get(key).cloned());
        known.collect::<Option<_>>().unwrap_or_default()
    }

    /// Reads the formation period of all symbols and tests each stock with every candidate.
    async fn choose(
        &self,
        store: &dyn Store,
        pairing: &Pairing,
        stocks: &BTreeMap<String, [u8; 32]>,
        candidates: &BTreeMap<String, [u8; 32]>,
    ) -> Result<Vec<Answer>, Problem> {
        // Held while the bars are in memory, so that they are there a few times at most.
        let permit = Arc::clone(&self.threads).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let formation = Formation::before(pairing.start_date);
        let targets: Vec<[u8; 32]> = pairing.stocks.iter().map(|(s, _)| stocks[s]).collect();
        let targets = read(store, &targets, formation).await?;
        let hashes: Vec<[u8; 32]> = candidates.values().copied().collect();
        let candidates = read(store, &hashes, formation).await?;
        let abandoned = Arc::new(AtomicBool::new(false));
        let _abandon = Abandon(Arc::clone(&abandoned));
        let start = pairing.start_date;
        on_a_thread(move || {
            let stop = || abandoned.load(Ordering::Relaxed);
            let answers = targets
                .iter()
                .map(|target| partner::choose(target, &candidates, start, &stop))
                .collect();
            drop(permit);
            answers
        })
        .await
    }
}

/// Computes off the runtime's threads. Those who call hold a permit, so there are few.
async fn on_a_thread<T: Send + 'static>(
    compute: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the bounded pool is the worker's; here the permits bound the threads"
    )]
    let computed = tokio::task::spawn_blocking(compute);
    computed.await.map_err(|error| {
        tracing::error!(error = %error, "choosing a partner panicked");
        Problem::internal()
    })
}

/// The rows of the formation period of series, decoded off the runtime's threads.
async fn read(
    store: &dyn Store,
    hashes: &[[u8; 32]],
    formation: Formation,
) -> Result<Vec<BarSeries>, Problem> {
    let mut series = Vec::with_capacity(hashes.len());
    for chunk in hashes.chunks(FORMATION_SERIES_PER_READ) {
        let bytes = store.series_bytes(chunk).await?;
        let decoded = on_a_thread(move || {
            bytes
                .iter()
                .map(|bytes| BarSeries::from_bytes(bytes).map(|whole| cut(whole, formation)))
                .collect::<Result<Vec<_>, _>>()
        })
        .await?;
        series.extend(decoded.map_err(|error| {
            tracing::error!(error = %error, "stored bars are unreadable");
            Problem::internal()
        })?);
    }
    Ok(series)
}

/// The formation period alone. A series without a row in it stays whole: the choice says what it
/// lacks.
fn cut(series: BarSeries, formation: Formation) -> BarSeries {
    let rows = series.rows_between(midnight(formation.from), midnight(formation.to));
    series.slice(rows).unwrap_or(series)
}

fn key(
    pairing: &Pairing,
    symbol: &str,
    hash: &[u8; 32],
    candidates: &BTreeMap<String, [u8; 32]>,
) -> Key {
    let mut hasher = blake3::Hasher::new();
    hasher.update(pairing.start_date.to_string().as_bytes());
    // The names stand in the answer, and two symbols may have the same bars.
    let target = std::iter::once((symbol, hash));
    let others = candidates.iter().map(|(name, hash)| (name.as_str(), hash));
    for (name, hash) in target.chain(others) {
        hasher.update(b"\0").update(name.as_bytes()).update(b"\0");
        hasher.update(hash);
    }
    *hasher.finalize().as_bytes()
}

fn too_slow() -> Problem {
    let seconds = PARTNER_TIME.as_secs();
    let detail = format!(
        "choosing the partner took longer than {seconds} s and was given up; nothing was stored. \
         Name fewer symbols in backtest_config.partners, or try again later"
    );
    Problem::new(Class::Unavailable, detail)
}
