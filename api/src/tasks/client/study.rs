//! What this process knows of searches whose trials clients run: enough to draw a point and to ask a pruner.

use crate::limits::{MAX_STUDIES_KILOBYTES, STUDY_IDLE, STUDY_THREADS};
use crate::problem::Problem;
use crate::tasks::insight::on_thread;
use moka::sync::Cache;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};
use trialmill_common::spec::{MAX_TRIALS, TaskSpec};
use trialmill_common::state::TaskId;
use trialmill_common::{costs, reports};
use trialmill_search::pruner::{Pruner, PrunerConfig, Reports, Rival};
use trialmill_search::{
    FinishedTrial, History, HistoryNeed, Method, Point, RunningTrial, Study, TrialEnd,
};
use trialmill_store::Store;
use trialmill_store::rows::{HistoryPage, HistoryRow, RunningRow};

/// The studies, and the threads that draw from them.
#[derive(Clone)]
pub(crate) struct ClientStudies {
    threads: Arc<Semaphore>,
    kept: Cache<TaskId, Arc<ClientStudy>>,
}

/// One search.
pub(super) struct ClientStudy {
    task: TaskId,
    spec: Arc<TaskSpec>,
    study: Study,
    known: Arc<Mutex<Known>>,
    /// Held from the draw of a point to its announcement, where a sampler looks at what is running.
    turns: Arc<Mutex<()>>,
    /// Bytes of what is known, about, in thousands.
    kilobytes: AtomicU32,
}

/// The right to draw a point and to announce it.
pub(super) type Turn = OwnedMutexGuard<()>;

/// What asking a sampler gave.
pub(super) enum Drawn {
    Point(Point),
    /// It has no point, for this reason; any point stands for it.
    None(Point, String),
}

/// What is known of its trials, counted as the study counts them.
#[derive(Default)]
struct Known {
    /// By number.
    finished: Vec<FinishedTrial>,
    /// What those reported that did, as costs.
    reports: BTreeMap<u32, Reports>,
    /// Announced trials that have not ended, with what they reported.
    running: Vec<(RunningTrial, Option<Reports>)>,
    /// The last event whose trials are known.
    seq: i64,
}

impl ClientStudies {
    pub(crate) fn new() -> Self {
        Self {
            threads: Arc::new(Semaphore::new(STUDY_THREADS)),
            kept: Cache::builder()
                .max_capacity(MAX_STUDIES_KILOBYTES)
                .weigher(|_, study: &Arc<ClientStudy>| study.kilobytes.load(Ordering::Relaxed))
                .time_to_idle(STUDY_IDLE)
                .build(),
        }
    }

    /// The study of a task, empty where it was not kept.
    pub(super) fn of(
        &self,
        task: TaskId,
        spec: &Arc<TaskSpec>,
    ) -> Result<Arc<ClientStudy>, Problem> {
        if let Some(kept) = self.kept.get(&task) {
            return Ok(kept);
        }
        let study = spec.study(0).map_err(|error| {
            tracing::error!(task.id = %task, %error, "a stored task is unreadable");
            Problem::internal()
        })?;
        let known = Known {
            finished: spec.prior.clone(),
            ..Known::default()
        };
        let new = Arc::new(ClientStudy {
            task,
            spec: Arc::clone(spec),
            study,
            kilobytes: AtomicU32::new(known.kilobytes()),
            known: Arc::new(Mutex::new(known)),
            turns: Arc::default(),
        });
        Ok(self.kept.get_with(task, || new))
    }

    /// The point of trial `number`, drawn from all that is recorded. A sampler that panics has none.
    pub(super) async fn draw(
        &self,
        store: &dyn Store,
        study: &Arc<ClientStudy>,
        number: u32,
    ) -> Result<Drawn, Problem> {
        let known = match study.study.history_need() {
            HistoryNeed::None => Arc::clone(&study.known).lock_owned().await,
            HistoryNeed::Bounded(_) | HistoryNeed::All => self.read_on(store, study).await?,
        };
        let (task, study) = (study.task, Arc::clone(study));
        let draw = move || {
            let asked = catch_unwind(AssertUnwindSafe(|| study.draw(&known, number)));
            let why = match asked {
                Ok(Some(point)) => return Some(Drawn::Point(point)),
                Ok(None) => "the sampler has none left",
                Err(_) => "the sampler panicked",
            };
            Some(Drawn::None(study.any_point(number)?, why.to_owned()))
        };
        let drawn = self.on_thread(draw).await?;
        drawn.ok_or_else(|| {
            tracing::error!(task.id = %task, trial.number = number, "there is no point of its space");
            Problem::internal()
        })
    }

    /// Reads on, and tells the cache how large a study has become.
    async fn read_on(
        &self,
        store: &dyn Store,
        study: &Arc<ClientStudy>,
    ) -> Result<OwnedMutexGuard<Known>, Problem> {
        let known = study.read_on(store).await?;
        let (now, before) = (known.kilobytes(), study.kilobytes.load(Ordering::Relaxed));
        if now > before + before / 8 + 64 {
            study.kilobytes.store(now, Ordering::Relaxed);
            self.kept.insert(study.task, Arc::clone(study));
        }
        Ok(known)
    }

    /// Whether a pruner would stop trial `number` with its `own` reports.
    pub(super) async fn prunes(
        &self,
        store: &dyn Store,
        study: &Arc<ClientStudy>,
        pruner: Pruner,
        own: Reports,
        number: u32,
    ) -> Result<bool, Problem> {
        let known = self.read_on(store, study).await?;
        let study = Arc::clone(study);
        self.on_thread(move || study.prunes(&known, &pruner, &own, number))
            .await
    }

    pub(in crate::tasks) async fn on_thread<T: Send + 'static>(
        &self,
        compute: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = Arc::clone(&self.threads).acquire_owned().await;
        on_thread(permit.expect("the semaphore is never closed"), compute).await
    }
}

impl Known {
    fn kilobytes(&self) -> u32 {
        let of_trial = |trial: &FinishedTrial| {
            let costs = match &trial.end {
                TrialEnd::Completed(costs) => 8 * costs.len(),
                _ => 0,
            };
            size_of::<FinishedTrial>() + 16 + 16 * trial.point.values().len() + costs
        };
        let of_reports = |reports: &Reports| 64 + reports.len() * (4 + 8 * reports.objectives());
        // Trials of a task are alike: the last one stands for all.
        let trials = self.finished.last().map_or(0, of_trial) * self.finished.len();
        let reports = self.reports.values().next_back().map_or(0, of_reports) * self.reports.len();
        u32::try_from((trials + reports) / 1_000 + 1).unwrap_or(u32::MAX)
    }
}

impl ClientStudy {
    /// The turn to draw a point, of a sampler that looks at what is running.
    pub(super) async fn turn(&self) -> Option<Turn> {
        match self.study.history_need() {
            HistoryNeed::None => None,
            HistoryNeed::Bounded(_) | HistoryNeed::All => {
                Some(Arc::clone(&self.turns).lock_owned().await)
            }
        }
    }

    /// A point of the space, for a trial that fails before it has one.
    fn any_point(&self, number: u32) -> Option<Point> {
        let random = Study::new(self.spec.space.clone(), Method::Random, self.spec.seed).ok()?;
        random.ask(&History::EMPTY, number)
    }

    /// How the study counts a trial of the task.
    fn place(&self, number: u32) -> u32 {
        self.spec.prior_count() + number
    }

    /// Reads everything that is recorded by now.
    async fn read_on(&self, store: &dyn Store) -> Result<OwnedMutexGuard<Known>, Problem> {
        let mut known = Arc::clone(&self.known).lock_owned().await;
        loop {
            let page = store.history(self.task, known.seq, 0..MAX_TRIALS).await?;
            let complete = page.complete;
            self.take(&mut known, &page)?;
            if complete {
                return Ok(known);
            }
        }
    }

    fn take(&self, known: &mut Known, page: &HistoryPage) -> Result<(), Problem> {
        let sorted = known.finished.len();
        for row in &page.trials {
            let trial = self.finished(row)?;
            if self.spec.pruner != PrunerConfig::None
                && let Some(reports) = self.reports(row.reports.as_deref())
            {
                known.reports.insert(trial.number, reports);
            }
            known.finished.push(trial);
        }
        if known.finished[sorted..]
            .first()
            .is_some_and(|first| sorted > 0 && known.finished[sorted - 1].number > first.number)
        {
            known.finished.sort_by_key(|trial| trial.number);
        }
        known.seq = page.seq;
        let ended = |number: u32| {
            let place = |trial: &FinishedTrial| trial.number;
            known.finished.binary_search_by_key(&number, place).is_ok()
        };
        let running = page.running.iter().filter_map(|row| self.running(row));
        known.running = running.filter(|(trial, _)| !ended(trial.number)).collect();
        Ok(())
    }

    fn finished(&self, row: &HistoryRow) -> Result<FinishedTrial, Problem> {
        let point = self.spec.space.unpack(&row.params).map_err(|error| {
            let number = row.number;
            tracing::error!(task.id = %self.task, trial.number = number, %error, "unreadable");
            Problem::internal()
        })?;
        let (end, infeasible) = (row.end, row.infeasible);
        Ok(FinishedTrial {
            number: self.place(row.number),
            point,
            end: costs::of_record(
                &self.spec,
                end,
                infeasible,
                &row.values,
                row.violation,
                row.reports.as_deref(),
            ),
        })
    }

    /// An announced trial whose point cannot be read says nothing to the sampler.
    fn running(&self, row: &RunningRow) -> Option<(RunningTrial, Option<Reports>)> {
        let point = self.spec.space.unpack(&row.params).ok()?;
        let number = self.place(row.number);
        let reports = self.reports(row.reports.as_deref());
        Some((RunningTrial { number, point }, reports))
    }

    fn reports(&self, bytes: Option<&[u8]>) -> Option<Reports> {
        let values = reports::unpack(bytes?, self.spec.objectives.len())?;
        Some(costs::of_reports(&self.spec, &values))
    }

    fn draw(&self, known: &Known, number: u32) -> Option<Point> {
        let number = self.place(number);
        let finished = match self.study.history_need() {
            HistoryNeed::None => &[],
            HistoryNeed::Bounded(most) => {
                &known.finished[known.finished.len().saturating_sub(most)..]
            }
            HistoryNeed::All => known.finished.as_slice(),
        };
        let others = known.running.iter().map(|(trial, _)| trial);
        let running: Vec<_> = others.filter(|one| one.number != number).cloned().collect();
        let history = History {
            finished,
            running: &running,
        };
        self.study.ask(&history, number)
    }

    fn prunes(&self, known: &Known, pruner: &Pruner, own: &Reports, number: u32) -> bool {
        let place = |number: u32| {
            let at = known
                .finished
                .binary_search_by_key(&number, |trial| trial.number);
            at.ok().map(|at| &known.finished[at].end)
        };
        let ended = known.reports.iter().map(|(&number, reports)| Rival {
            number,
            reports,
            end: place(number),
        });
        let running = known.running.iter().filter_map(|(trial, reports)| {
            Some(Rival {
                number: trial.number,
                reports: reports.as_ref()?,
                end: None,
            })
        });
        let rivals: Vec<Rival<'_>> = ended.chain(running).collect();
        pruner.should_prune(own, &rivals, self.study.seed(), self.place(number))
    }
}
