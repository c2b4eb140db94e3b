//! What the units of a task share in this process: its study, its objective, its bars, its pace.

use crate::bars::PinnedData;
use crate::cpu::Lane;
use crate::history::{Asked, TaskHistory};
use crate::job::{Evaluated, Job, Watched};
use crate::objective::{Interrupted, Objective, Subject, panic_text};
use crate::prune::{self, Pruning};
use crate::stop::StopSource;
use moka::future::Cache;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::market::Record;
use trialmill_common::state::TaskId;
use trialmill_search::pruner::Reports;
use trialmill_search::{History, HistoryNeed, Method, Point, Study};
use trialmill_store::rows::{Claim, HeldLease};
use trialmill_store::{Store, StoreError};

/// What units of a task share is kept so long for the next of them, and goes at the first claim after
/// that: a worker that takes one task after the other does not fill with what they leave.
pub(crate) const KEPT_IDLE: Duration = Duration::from_secs(120);

/// Series read from the store at a time: bounds the bytes of one answer.
const SERIES_PER_READ: usize = 64;

/// Records read from the store at a time; each has at most a megabyte, and commonly a few kB, so that
/// they are read on the runtime's threads.
const RECORDS_PER_READ: usize = 64;

/// Records kept in this process, some 10 kB each for a share with a long history of dividends.
const MAX_RECORDS_KEPT: u64 = 1_000;

/// A task made ready to run, or one window of it.
pub(crate) struct PreparedTask {
    pub(crate) job: Job,
    pub(crate) stored_spec: serde_json::Value,
    pub(crate) objective: Objective,
    /// What the task has pinned: kept for isolated children, which get a copy.
    pub(crate) data: PinnedData,
    /// The window of its trials, of a search that has several.
    pub(crate) window: Option<u16>,
    /// The number of the first trial of the study.
    base: u32,
    /// Draws the points of a search; a run has one trial, which is given.
    study: Option<Study>,
    /// What stops its trials early, if anything does.
    pruning: Option<Pruning>,
    pub(crate) pace: Pace,
}

impl PreparedTask {
    /// The point of a trial, drawn from what `history` shows to the holder of a lease if the sampler
    /// looks at any.
    pub(crate) fn point(&self, history: Option<(&TaskHistory, HeldLease)>, number: u32) -> Asked {
        match (&self.study, history) {
            (Some(study), Some((history, lease))) => history.ask(study, lease, number),
            (Some(study), None) => {
                let point = study.ask(&History::EMPTY, number - self.base);
                point.map_or(Asked::NoneLeft, Asked::Point)
            }
            (None, _) => Asked::Point(Point::new(Vec::new())),
        }
    }

    /// Whether its trials depend on those that have ended.
    pub(crate) fn looks_back(&self) -> bool {
        let study = self.study.as_ref();
        let adapts = study.is_some_and(|study| study.history_need() != HistoryNeed::None);
        adapts || self.pruning.is_some()
    }

    /// A point of the space, for a trial that fails before it has one.
    pub(crate) fn any_point(&self, number: u32) -> Option<Point> {
        let draw = || {
            let Job::Search(spec) = &self.job else {
                return Some(Point::new(Vec::new()));
            };
            let study = Study::new(spec.space.clone(), Method::Random, spec.seed).ok()?;
            study.ask(&History::EMPTY, number)
        };
        catch_unwind(AssertUnwindSafe(draw)).ok().flatten()
    }

    /// The time limit of one trial.
    pub(crate) fn trial_timeout(&self) -> Duration {
        self.objective.subject().time_limit()
    }

    /// Evaluates a trial, and stops it early where what `history` knows of others says so.
    pub(crate) fn evaluate(
        &self,
        number: u32,
        point: &Point,
        stop: &StopSource<'_>,
        worker: &str,
        history: Option<&TaskHistory>,
    ) -> Result<Evaluated, Interrupted> {
        let mut prunes = |reports: &Reports| self.prunes(number, reports, history);
        let watched = self.pruning.as_ref().map(|pruning| Watched {
            order: &pruning.order,
            prunes: &mut prunes,
        });
        self.job
            .evaluate(&self.objective, point, stop, worker, watched)
    }

    /// A trial that an isolated child has run to its end, cut where it should have been stopped.
    pub(crate) fn cut(
        &self,
        number: u32,
        evaluated: Evaluated,
        history: Option<&TaskHistory>,
    ) -> Evaluated {
        let Evaluated {
            outcome,
            reports: Some(reports),
            document,
        } = evaluated
        else {
            return evaluated;
        };
        let prunes = |reports: &Reports| self.prunes(number, reports, history);
        let steps = self
            .pruning
            .as_ref()
            .map_or(0, |pruning| pruning.order.len());
        let (outcome, reports) = prune::cut(outcome, &reports, steps, prunes);
        Evaluated {
            outcome,
            reports: Some(reports),
            document,
        }
    }

    /// Whether a trial with these reports should stop.
    fn prunes(&self, number: u32, reports: &Reports, history: Option<&TaskHistory>) -> bool {
        match (&self.pruning, &self.study, history) {
            (Some(pruning), Some(study), Some(history)) => {
                history.prunes(&pruning.pruner, study.seed(), reports, number)
            }
            _ => false,
        }
    }

    /// Whether a trial is expected to take longer than `slow`.
    pub(crate) fn is_slow(&self, slow: Duration) -> bool {
        match self.pace.mean() {
            Some(mean) => mean > slow,
            None => self.objective.is_slow_by_nature(),
        }
    }
}

/// The mean duration of the trials of a task in this process.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    trials: AtomicU64,
    micros: AtomicU64,
}

impl Pace {
    pub(crate) fn add(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
        self.trials.fetch_add(1, Ordering::Relaxed);
    }

    /// Nothing before the first trial.
    pub(crate) fn mean(&self) -> Option<Duration> {
        let micros = self.micros.load(Ordering::Relaxed);
        micros
            .checked_div(self.trials.load(Ordering::Relaxed))
            .map(Duration::from_micros)
    }
}

/// Why a task cannot be made ready.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum PrepareError {
    #[error("{0}")]
    Store(Arc<StoreError>),
    /// The stored task is of another build, or names what this one has not got.
    #[error("{0}")]
    Unreadable(String),
    /// Only the sampler's part, which the submission has run on the same input; what else panics
    /// becomes the failure of each trial.
    #[error("preparing the task's sampler panicked")]
    Panicked,
}

/// Why a task has no bars: each of its trials fails for it.
#[derive(Debug)]
enum NoBars {
    Absent(String),
    Panicked(String),
}

/// The objective that `prepare` gives; one that fails each trial with the panic's text, if it
/// panics.
fn guarded(subject: Subject, prepare: impl FnOnce(Subject) -> Objective) -> Objective {
    let copy = subject.clone();
    catch_unwind(AssertUnwindSafe(|| prepare(copy))).unwrap_or_else(|payload| {
        let text = panic_text(payload.as_ref());
        tracing::error!(text, "preparing a task panicked; its trials fail");
        Objective::panicked(subject, &text)
    })
}

/// The prepared tasks and the bars of this process, both bounded in bytes; tasks also go when they
/// were not asked for during [`KEPT_IDLE`].
pub(crate) struct TaskCache {
    store: Arc<dyn Store>,
    tasks: Cache<Part, Arc<PreparedTask>>,
    series: Cache<[u8; 32], Arc<BarSeries>>,
    records: Cache<[u8; 32], Arc<Record>>,
}

/// What is prepared by itself: a task, or one window of it.
type Part = (TaskId, Option<u16>);

/// moka weighs in u32: the unit is a KiB.
fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX)
}

impl TaskCache {
    pub(crate) fn new(store: Arc<dyn Store>, bytes: u64) -> Self {
        let half = bytes / 2 / 1024;
        Self {
            store,
            tasks: Cache::builder()
                .max_capacity(half)
                .time_to_idle(KEPT_IDLE)
                .weigher(|_, task: &Arc<PreparedTask>| {
                    let data = task.data.memory_bytes();
                    let study = task.study.as_ref().map_or(0, Study::memory_bytes);
                    kib(data + study + 4096)
                })
                .build(),
            series: Cache::builder()
                .max_capacity(half)
                .weigher(|_, series: &Arc<BarSeries>| kib(series.memory_bytes()))
                .build(),
            records: Cache::builder().max_capacity(MAX_RECORDS_KEPT).build(),
        }
    }

    /// The task of a claim; prepared once, however many slots ask. Computes on `lane`.
    pub(crate) async fn get(
        &self,
        claim: &Claim,
        lane: &Lane,
    ) -> Result<Arc<PreparedTask>, PrepareError> {
        let prepared = self.tasks.try_get_with(
            (claim.lease.unit.task, claim.window),
            self.prepare(claim, lane),
        );
        prepared.await.map_err(|error| PrepareError::clone(&error))
    }

    /// Keeps the task of a unit that has ended for the next unit of it, with the pace of its trials:
    /// it may have been forgotten while a trial ran for longer than [`KEPT_IDLE`].
    pub(crate) async fn keep(&self, task: TaskId, prepared: Arc<PreparedTask>) {
        let part = (task, prepared.window);
        let _ = self.tasks.get_with(part, async { prepared }).await;
    }

    /// Reads the task, its bars, and makes its objective and its sampler ready.
    async fn prepare(&self, claim: &Claim, lane: &Lane) -> Result<Arc<PreparedTask>, PrepareError> {
        let job = Job::read(claim.kind, &claim.spec)
            .map_err(|error| PrepareError::Unreadable(error.to_string()))?;
        let (window, first) = (claim.window, claim.first);
        let subject = job.subject(first);
        if let Some(missing) = subject.missing_here() {
            return Err(PrepareError::Unreadable(missing));
        }
        let bars = if subject.needs_bars() {
            self.bars(claim, &job.symbols(), lane).await?
        } else {
            Ok(PinnedData::default())
        };
        let stored_spec = claim.spec.clone();
        let computed = lane.run(move || {
            let pruning = job.pruning();
            let pruning = pruning.map_err(|error| PrepareError::Unreadable(error.to_string()))?;
            let study = match &job {
                Job::Search(spec) => {
                    let study = spec.study(first);
                    Some(study.map_err(|error| PrepareError::Unreadable(error.to_string()))?)
                }
                Job::Run(_) => None,
            };
            let (objective, data) = match bars {
                Ok(data) => {
                    let prepare = |subject| Objective::prepare(subject, &data);
                    (guarded(subject, prepare), data)
                }
                Err(NoBars::Absent(reason)) => {
                    let objective = Objective::without_data(subject, reason);
                    (objective, PinnedData::default())
                }
                Err(NoBars::Panicked(text)) => {
                    let objective = Objective::panicked(subject, &text);
                    (objective, PinnedData::default())
                }
            };
            let base = match &job {
                Job::Search(spec) => spec.search_of(first).start,
                Job::Run(_) => 0,
            };
            let pace = Pace::default();
            Ok(Arc::new(PreparedTask {
                job,
                stored_spec,
                objective,
                data,
                window,
                base,
                study,
                pruning,
                pace,
            }))
        });
        computed.await.unwrap_or(Err(PrepareError::Panicked))
    }

    /// The pinned bars and records of the task, or the sentence that says which are not there.
    async fn bars(
        &self,
        claim: &Claim,
        symbols: &[String],
        lane: &Lane,
    ) -> Result<Result<PinnedData, NoBars>, PrepareError> {
        let stored = |error| PrepareError::Store(Arc::new(error));
        let absent_because = |reason: String| Ok(Err(NoBars::Absent(reason)));
        let Some(id) = claim.snapshot else {
            return absent_because("the task pins no market data".to_owned());
        };
        let Some(snapshot) = self.store.snapshot(id).await.map_err(stored)? else {
            return absent_because("the pinned snapshot is not in the database".to_owned());
        };
        let mut found: BTreeMap<[u8; 32], Arc<BarSeries>> = BTreeMap::new();
        let mut absent: Vec<[u8; 32]> = Vec::new();
        for symbol in symbols {
            let Some(hash) = snapshot.series.get(symbol) else {
                return absent_because(format!("the pinned snapshot has no bars of {symbol}"));
            };
            match self.series.get(hash).await {
                Some(series) => drop(found.insert(*hash, series)),
                None => absent.push(*hash),
            }
        }
        for hashes in absent.chunks(SERIES_PER_READ) {
            let read = match self.store.series_bytes(hashes).await {
                Ok(read) => read,
                Err(error) if error.is_transient() => return Err(stored(error)),
                Err(error) => return absent_because(error.to_string()),
            };
            let decoded = lane.run(move || {
                let decode = || {
                    let series = read
                        .iter()
                        .map(|bytes| BarSeries::from_bytes(bytes).map(Arc::new));
                    series.collect::<Result<Vec<_>, _>>()
                };
                catch_unwind(AssertUnwindSafe(decode)).map_err(|p| panic_text(p.as_ref()))
            });
            let decoded = match decoded.await.map_err(|_| PrepareError::Panicked)? {
                Ok(Ok(decoded)) => decoded,
                Ok(Err(error)) => return absent_because(error.to_string()),
                Err(text) => return Ok(Err(NoBars::Panicked(text))),
            };
            for (hash, series) in hashes.iter().zip(decoded) {
                self.series.insert(*hash, Arc::clone(&series)).await;
                found.insert(*hash, series);
            }
        }
        let hashes = symbols.iter().map(|symbol| snapshot.series[symbol]);
        let series: Option<Vec<_>> = hashes.map(|hash| found.get(&hash).cloned()).collect();
        let Some(series) = series else {
            return absent_because("pinned bars are missing in the database".to_owned());
        };
        let hashes = symbols
            .iter()
            .filter_map(|symbol| snapshot.records.get(symbol));
        let hashes: Vec<[u8; 32]> = hashes.copied().collect();
        let records = self.records(&hashes).await?;
        Ok(records.map(|records| PinnedData { series, records }))
    }

    /// Records by their hashes, in order.
    async fn records(
        &self,
        hashes: &[[u8; 32]],
    ) -> Result<Result<Vec<Arc<Record>>, NoBars>, PrepareError> {
        let mut absent: Vec<[u8; 32]> = Vec::new();
        let mut found: BTreeMap<[u8; 32], Arc<Record>> = BTreeMap::new();
        for hash in hashes {
            match self.records.get(hash).await {
                Some(record) => drop(found.insert(*hash, record)),
                None => absent.push(*hash),
            }
        }
        for hashes in absent.chunks(RECORDS_PER_READ) {
            let read = match self.store.record_bytes(hashes).await {
                Ok(read) => read,
                Err(error) if error.is_transient() => {
                    return Err(PrepareError::Store(Arc::new(error)));
                }
                Err(error) => return Ok(Err(NoBars::Absent(error.to_string()))),
            };
            for (hash, bytes) in hashes.iter().zip(read) {
                let record = match Record::from_bytes(&bytes) {
                    Ok(record) => Arc::new(record),
                    Err(fault) => return Ok(Err(NoBars::Absent(fault.to_string()))),
                };
                self.records.insert(*hash, Arc::clone(&record)).await;
                found.insert(*hash, record);
            }
        }
        Ok(Ok(hashes
            .iter()
            .map(|hash| Arc::clone(&found[hash]))
            .collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::sphere_spec;
    use crate::stop::SignalCell;
    use std::time::Instant;
    use trialmill_common::state::{TaskKind, UnitKind};
    use trialmill_common::trial::{FailureKind, Outcome};
    use trialmill_store::Timing;
    use trialmill_store::rows::{HeldLease, UnitRef};
    use trialmill_store::sqlite::SqliteStore;

    #[tokio::test]
    async fn a_task_that_is_kept_is_not_prepared_again_for_the_next_unit_of_its_window() {
        let store = SqliteStore::open_in_memory(Timing::default()).unwrap();
        let cache = TaskCache::new(Arc::new(store), 1 << 20);
        let spec = sphere_spec();
        let claim = |window| Claim {
            lease: HeldLease {
                unit: UnitRef {
                    task: TaskId(uuid::Uuid::from_u128(1)),
                    unit: 3,
                },
                token: 1,
            },
            first: 0,
            count: 1,
            recorded: 0,
            crashes: 0,
            kind: TaskKind::HyperparameterOptimization,
            unit_kind: UnitKind::Trials,
            window,
            spec: spec.to_json(),
            snapshot: None,
            announced: vec![],
        };
        let lane = Lane::spawn(0).unwrap();
        let first = cache.get(&claim(Some(0)), &lane).await.unwrap();
        cache.tasks.invalidate_all();
        cache
            .keep(claim(Some(0)).lease.unit.task, Arc::clone(&first))
            .await;
        let again = cache.get(&claim(Some(0)), &lane).await.unwrap();
        assert!(Arc::ptr_eq(&first, &again), "with the pace of its trials");
        let other = cache.get(&claim(Some(1)), &lane).await.unwrap();
        assert!(!Arc::ptr_eq(&first, &other), "another window");
        // One that was prepared meanwhile stays.
        cache.tasks.invalidate_all();
        let other = cache.get(&claim(Some(0)), &lane).await.unwrap();
        cache
            .keep(claim(Some(0)).lease.unit.task, Arc::clone(&first))
            .await;
        let again = cache.get(&claim(Some(0)), &lane).await.unwrap();
        assert!(Arc::ptr_eq(&other, &again) && !Arc::ptr_eq(&first, &again));
    }

    #[test]
    fn a_preparation_that_panics_fails_each_trial_with_its_text() {
        let spec = sphere_spec();
        let objective = guarded(Subject::of_trial(&spec, 0), |_| panic!("no bar at {}", 7));
        let study = Study::new(spec.space.clone(), Method::Random, 1).unwrap();
        let signal = SignalCell::default();
        let stop = StopSource::new(&signal, Instant::now() + Duration::from_secs(3600));
        let point = study.ask(&History::EMPTY, 0).unwrap();
        let outcome = objective
            .evaluate(&spec.named(&point), &stop, "here")
            .unwrap();
        let Outcome::Failed(failure) = outcome else {
            panic!("the trial fails, not {outcome:?}");
        };
        assert_eq!(failure.kind, FailureKind::Panic);
        assert_eq!(failure.message, "preparing the task panicked: no bar at 7");
        assert!(!objective.can_be_isolated());
    }
}
