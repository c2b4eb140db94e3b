//! The partners of a strategy with two legs: the bars are read from the store, the tests run on a
//! thread of their own, and what follows is decided in [`trialmill_common::draft`].

use crate::limits::{
    MAX_PARTNER_CHOICES_KEPT, MAX_SERIES_LOOKED_AT, PARTNER_LISTS, PARTNER_THREADS, PARTNER_TIME,
    SERIES_PER_READ,
};
use crate::problem::{Class, Problem};
use chrono::NaiveDate;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use trialmill_backtest::bars::{BarBytesError, BarSeries, midnight};
use trialmill_backtest::idle::TradedDays;
use trialmill_backtest::market::Record;
use trialmill_backtest::moves::impossible_moves;
use trialmill_backtest::partner::{self, Formation};
use trialmill_common::draft::{
    Accepted, Coverage, Ground, Pairing, PartnerAnswer, SURVIVORSHIP_STOCKS,
};
use trialmill_store::Store;
use trialmill_store::rows::{RecordInfo, SeriesInfo};

/// A stock, the candidates and the start: all that a choice follows from.
type Key = [u8; 32];

/// The threads for the tests, and the choices made before: a repeated submission asks for the same,
/// and one that was given up goes on where it stopped. They are those of this process.
#[derive(Clone)]
pub(crate) struct Partners {
    /// One for each request whose candidates are in memory.
    lists: Arc<Semaphore>,
    /// One for each stock that is being tested; in turn, so that a short request does not wait for
    /// the end of a long one.
    threads: Arc<Semaphore>,
    made: Arc<Mutex<Made>>,
}

/// The latest choices, the oldest of them first in the order.
#[derive(Default)]
struct Made {
    answers: HashMap<Key, PartnerAnswer>,
    order: VecDeque<Key>,
}

impl Made {
    fn keep(&mut self, key: Key, answer: PartnerAnswer) {
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

/// A stock whose partner is asked for.
struct Question {
    key: Key,
    /// Hash of its series.
    target: [u8; 32],
}

impl Partners {
    pub(crate) fn new() -> Self {
        Self {
            lists: Arc::new(Semaphore::new(PARTNER_LISTS)),
            threads: Arc::new(Semaphore::new(PARTNER_THREADS)),
            made: Arc::default(),
        }
    }

    /// The task with its partners, if it needs some, and with what its prices show: what takes the
    /// bars.
    pub(super) async fn resolve(
        &self,
        store: &dyn Store,
        accepted: Accepted,
        coverage: fn(SeriesInfo) -> (String, Coverage),
    ) -> Result<Accepted, Problem> {
        let mut accepted = if accepted.pairing.is_some() {
            self.pair(store, accepted, coverage).await?
        } else {
            accepted
        };
        if accepted.unplanned.is_some() {
            let days = self.trading_days(store, &accepted).await?;
            accepted = accepted.planned_over(&days).map_err(Problem::invalid)?;
        }
        if accepted.series.is_empty() {
            return Ok(accepted);
        }
        let symbols: Vec<String> = accepted.series.keys().cloned().collect();
        let records = store.records_info(&symbols).await?;
        if accepted.spec.backtest().market.has_rules() {
            let pinned = records.iter().map(|info| (info.symbol.clone(), info.hash));
            accepted.records = pinned.collect();
            let has_reports = records.iter().any(|info| info.reports > 0);
            accepted.spec.backtest_mut().pins_reports = has_reports;
        }
        let ground = self.ground(store, &accepted, &records).await?;
        accepted.warn_of_its_ground(&ground);
        Ok(accepted)
    }

    /// What the store knows of the pinned data.
    async fn ground(
        &self,
        store: &dyn Store,
        accepted: &Accepted,
        records: &[RecordInfo],
    ) -> Result<Ground, Problem> {
        let known = records.iter().filter(|info| info.has_status());
        let mut ground = Ground {
            statuses: known
                .map(|info| (info.symbol.clone(), info.delisted))
                .collect(),
            ..Ground::default()
        };
        let stocks = accepted.spec.stock_codes();
        if stocks.len() >= SURVIVORSHIP_STOCKS {
            let stored = store.series_info(stocks).await?;
            ground.last_bar = stored.iter().map(|info| info.last).max();
        }
        self.look_at_bars(store, accepted, records, &mut ground)
            .await?;
        Ok(ground)
    }

    /// The task with its partners.
    async fn pair(
        &self,
        store: &dyn Store,
        accepted: Accepted,
        coverage: fn(SeriesInfo) -> (String, Coverage),
    ) -> Result<Accepted, Problem> {
        let pairing = accepted.pairing.as_ref();
        let pairing = pairing.expect("the caller saw that it needs partners");
        let stored = store.series_info(&pairing.partners).await?;
        let stored: BTreeMap<String, Coverage> = stored.into_iter().map(coverage).collect();
        let candidates = pairing.candidates(&stored).map_err(Problem::invalid)?;
        let questions: Vec<Question> = pairing
            .stocks
            .iter()
            .map(|(symbol, _)| {
                let target = accepted.series[symbol];
                let key = key(pairing, symbol, &target, &candidates);
                Question { key, target }
            })
            .collect();
        let until = Instant::now() + PARTNER_TIME;
        let choosing = self.answer(store, pairing, &questions, &candidates);
        let answers = match timeout_at(until, choosing).await {
            Ok(answers) => answers?,
            Err(_) => return Err(self.too_slow(&questions)),
        };
        accepted
            .paired(&candidates, &answers)
            .map_err(Problem::invalid)
    }

    /// How often the prices of each pinned series moved further than a session allows, and on how
    /// many days none of them traded. For strategies of one leg and more than
    /// [`MAX_SERIES_LOOKED_AT`] series none is looked at: that would read all bars of a long list
    /// within one request.
    async fn look_at_bars(
        &self,
        store: &dyn Store,
        accepted: &Accepted,
        records: &[RecordInfo],
        ground: &mut Ground,
    ) -> Result<(), Problem> {
        let pinned: Vec<(&String, [u8; 32])> =
            accepted.series.iter().map(|(s, hash)| (s, *hash)).collect();
        if !accepted.is_paired() && pinned.len() > MAX_SERIES_LOOKED_AT {
            return Ok(());
        }
        let (priced, traded) = (accepted.priced_days(), accepted.period());
        let mut days = TradedDays::default();
        for chunk in pinned.chunks(SERIES_PER_READ) {
            let permit = Arc::clone(&self.threads).acquire_owned().await;
            let permit = permit.expect(NEVER_CLOSED);
            let hashes: Vec<[u8; 32]> = chunk.iter().map(|(_, hash)| *hash).collect();
            let bytes = store.series_bytes(&hashes).await?;
            // Only what the task pins is applied: plain uses prices as they are.
            let acted = records.iter().filter(|info| info.actions > 0);
            let acted = acted.filter(|info| accepted.records.contains_key(&info.symbol));
            let acted = acted.filter(|info| chunk.iter().any(|(s, _)| **s == info.symbol));
            let acted: Vec<[u8; 32]> = acted.map(|info| info.hash).collect();
            let of_records = store.record_bytes(&acted).await?;
            let looked = on_a_thread(move || {
                let mut actions = BTreeMap::new();
                for bytes in &of_records {
                    let record = Record::from_bytes(bytes).map_err(|fault| unreadable(&fault))?;
                    actions.insert(record.symbol().to_owned(), record);
                }
                let mut counted = Vec::new();
                for bytes in &bytes {
                    let series = BarSeries::from_bytes(bytes).map_err(|e| unreadable(&e))?;
                    let record = actions.get(series.symbol());
                    let known = record.map_or(&[][..], Record::actions);
                    let count = impossible_moves(&series, known, priced.0, priced.1);
                    days.add(&series, traded.0, traded.1);
                    counted.push((series.symbol().to_owned(), count));
                }
                drop(permit);
                Ok::<_, Problem>((days, counted, actions))
            });
            let (more, counted, actions) = looked.await??;
            days = more;
            ground.impossible_moves.extend(counted);
            ground.with_actions.extend(actions.into_keys());
        }
        ground.idle_days = days.idle();
        Ok(())
    }

    /// The days of a task's period on which any of its symbols trades, ascending.
    async fn trading_days(
        &self,
        store: &dyn Store,
        accepted: &Accepted,
    ) -> Result<Vec<NaiveDate>, Problem> {
        let mut days = BTreeSet::new();
        let hashes: Vec<[u8; 32]> = accepted.series.values().copied().collect();
        let (first, last) = accepted.period();
        for chunk in hashes.chunks(SERIES_PER_READ) {
            let permit = Arc::clone(&self.threads).acquire_owned().await;
            let permit = permit.expect(NEVER_CLOSED);
            let bytes = store.series_bytes(chunk).await?;
            let found = on_a_thread(move || {
                let mut found = BTreeSet::new();
                for bytes in &bytes {
                    found.extend(BarSeries::from_bytes(bytes)?.trading_days(first, last));
                }
                drop(permit);
                Ok(found)
            });
            days.extend(
                found
                    .await?
                    .map_err(|error: BarBytesError| unreadable(&error))?,
            );
        }
        Ok(days.into_iter().collect())
    }

    fn made_before(&self, key: &Key) -> Option<PartnerAnswer> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.answers.get(key).cloned()
    }

    /// The answers in order. Each is kept as soon as it is made.
    async fn answer(
        &self,
        store: &dyn Store,
        pairing: &Pairing,
        questions: &[Question],
        candidates: &BTreeMap<String, Coverage>,
    ) -> Result<Vec<PartnerAnswer>, Problem> {
        let known = questions.iter().map(|asked| self.made_before(&asked.key));
        let mut answers: Vec<Option<PartnerAnswer>> = known.collect();
        if answers.iter().any(Option::is_none) {
            // Held while the bars are in memory, so that they are there a few times at most.
            let _list = self.lists.acquire().await.expect(NEVER_CLOSED);
            let formation = Formation::before(pairing.start_date);
            let hashes: Vec<[u8; 32]> = candidates.values().map(|held| held.hash).collect();
            let candidates = Arc::new(read(store, &hashes, formation).await?);
            for (asked, answer) in questions.iter().zip(&mut answers) {
                if answer.is_none() {
                    *answer = Some(self.choose(store, pairing, asked, &candidates).await?);
                }
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Tests one stock with every candidate.
    async fn choose(
        &self,
        store: &dyn Store,
        pairing: &Pairing,
        asked: &Question,
        candidates: &Arc<Vec<BarSeries>>,
    ) -> Result<PartnerAnswer, Problem> {
        let permit = Arc::clone(&self.threads).acquire_owned().await;
        let permit = permit.expect(NEVER_CLOSED);
        // Two requests may wait for the same stock.
        if let Some(made) = self.made_before(&asked.key) {
            return Ok(made);
        }
        let start = pairing.start_date;
        let target = read(store, &[asked.target], Formation::before(start)).await?;
        let abandoned = Arc::new(AtomicBool::new(false));
        let _abandon = Abandon(Arc::clone(&abandoned));
        let candidates = Arc::clone(candidates);
        let answer = on_a_thread(move || {
            let stop = || abandoned.load(Ordering::Relaxed);
            let answer = partner::choose(&target[0], candidates.iter(), start, &stop);
            drop(permit);
            answer
        })
        .await?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.keep(asked.key, answer.clone());
        Ok(answer)
    }

    /// The answer to a request whose choices took too long.
    fn too_slow(&self, questions: &[Question]) -> Problem {
        let seconds = PARTNER_TIME.as_secs();
        let made = questions
            .iter()
            .filter(|asked| self.made_before(&asked.key).is_some())
            .count();
        let detail = format!(
            "choosing the partners took longer than {seconds} s; {made} of {} stocks have theirs. \
             Nothing was stored, but what was found is kept for a while: send the same request \
             again to go on, or name fewer symbols in backtest_config.partners",
            questions.len()
        );
        Problem::new(Class::Unavailable, detail)
    }
}

/// Why a permit is always given.
const NEVER_CLOSED: &str = "the semaphore is never closed";

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
    for chunk in hashes.chunks(SERIES_PER_READ) {
        let bytes = store.series_bytes(chunk).await?;
        let decoded = on_a_thread(move || {
            bytes
                .iter()
                .map(|bytes| BarSeries::from_bytes(bytes).map(|whole| cut(whole, formation)))
                .collect::<Result<Vec<_>, _>>()
        })
        .await?;
        series.extend(decoded.map_err(|error| unreadable(&error))?);
    }
    Ok(series)
}

fn unreadable(error: &dyn std::error::Error) -> Problem {
    tracing::error!(%error, "stored market data is unreadable");
    Problem::internal()
}

/// The formation period, and what the choice must know of the bars before it. A series without a row
/// in it stays whole: the choice says what it lacks.
fn cut(series: BarSeries, formation: Formation) -> BarSeries {
    let rows = series.rows_between(midnight(formation.from), midnight(formation.to));
    // The first bars of a series do not count, wherever they lie: those before stay to be counted.
    let first = rows.start.saturating_sub(partner::NEW_LISTING_ROWS);
    series.slice(first..rows.end).unwrap_or(series)
}

fn key(
    pairing: &Pairing,
    symbol: &str,
    hash: &[u8; 32],
    candidates: &BTreeMap<String, Coverage>,
) -> Key {
    let mut hasher = blake3::Hasher::new();
    hasher.update(pairing.start_date.to_string().as_bytes());
    // The names stand in the answer, and two symbols may have the same bars.
    let target = std::iter::once((symbol, hash));
    let others = candidates.iter();
    let others = others.map(|(name, held)| (name.as_str(), &held.hash));
    for (name, hash) in target.chain(others) {
        hasher.update(b"\0").update(name.as_bytes()).update(b"\0");
        hasher.update(hash);
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use trialmill_backtest::synthetic::{self, GroupKind};
    use trialmill_store::Timing;
    use trialmill_store::sqlite::SqliteStore;

    #[tokio::test]
    async fn what_was_found_before_a_request_was_given_up_is_kept() {
        let day = |y, m, d| chrono::NaiveDate::from_ymd_opt(y, m, d).unwrap();
        let store = SqliteStore::open_in_memory(Timing::default()).unwrap();
        let (first, last) = (day(2019, 1, 2), day(2023, 12, 29));
        let bars = synthetic::group(GroupKind::Cointegrated, 7, 3, first, last).unwrap();
        let hashes = store.put_series(&bars, "a test").await.unwrap();
        let stored = store.series_info(&[]).await.unwrap().into_iter();
        let candidates: BTreeMap<String, Coverage> =
            stored.map(super::super::submission::coverage).collect();
        let pairing = Pairing {
            stocks: vec![],
            partners: vec![],
            start_date: day(2023, 1, 1),
            end_date: last,
            require_cointegration: false,
            only_shares: false,
            config_pointer: "/backtest_config".to_owned(),
        };
        let question = |number: u8, target| Question {
            key: [number; 32],
            target,
        };
        // The second stock's bars are gone: the answers end there.
        let interrupted = [question(0, hashes[0]), question(1, [9; 32])];
        let partners = Partners::new();
        partners
            .answer(&store, &pairing, &interrupted, &candidates)
            .await
            .unwrap_err();
        let kept = partners.made_before(&[0; 32]).unwrap().unwrap();
        assert_eq!((kept.symbol.as_str(), kept.tests), ("000001.SZ", 4));
        assert!(partners.made_before(&[1; 32]).is_none());
        let detail = partners.too_slow(&interrupted).detail;
        assert!(detail.contains("1 of 2 stocks"), "{detail}");

        // The first answer stands, though its bars are gone too by now.
        let again = [question(0, [9; 32]), question(1, hashes[1])];
        let answers = partners.answer(&store, &pairing, &again, &candidates).await;
        let symbols: Vec<String> = answers
            .unwrap()
            .into_iter()
            .map(|answer| answer.unwrap().symbol)
            .collect();
        assert_eq!(symbols, ["000001.SZ", "SYN01.SZ"]);
    }
}
