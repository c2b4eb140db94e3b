//! What the ended trials of a search show: the front, which parameters matter, the data of pictures.
//!
//! The trials are read from the store, and what follows is computed on a thread of its own: at most
//! [`INSIGHT_THREADS`] at a time, the others wait in order. Fronts and importances are remembered
//! until further trials have ended.

mod figure;
mod front;
mod importance;
mod observed;
mod trials;

pub(super) use figure::{Axes, Figure};
pub(super) use front::FrontFound;
pub(super) use importance::Measure;

/// The names of the pictures, for the description.
pub(crate) const FIGURES: [&str; 6] = Figure::NAMES;
/// The names of the measures of importance, for the description.
pub(crate) const MEASURES: [&str; 2] = Measure::NAMES;

use crate::answer::{FigureAnswer, ImportanceAnswer, ObjectiveAnswer, TrialsRead};
use crate::limits::{
    INSIGHT_THREADS, MAX_FIGURE_VALUES, MAX_FRONT_TRIALS, MAX_FRONTS_KEPT, MAX_IMPORTANCES_KEPT,
    MAX_INSIGHT_TRIALS,
};
use crate::problem::Problem;
use moka::sync::Cache;
use observed::Points;
use serde_json::{Value, json};
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use trialmill_common::fault::Fault;
use trialmill_common::spec::{MAX_TRIALS, Target, TaskSpec};
use trialmill_common::state::TaskId;
use trialmill_search::importance::ImportanceFault;
use trialmill_store::Store;
use trialmill_store::rows::TaskRow;
use trials::Trials;

/// One search of a task, and how many trials of the task had ended: what an insight follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    task: TaskId,
    window: Option<u16>,
    ended: u32,
}

/// A search of a task: the task itself, or a window of a walk-forward.
pub(super) struct Search<'a> {
    pub(super) task: &'a TaskRow,
    pub(super) spec: Arc<TaskSpec>,
    pub(super) window: Option<u16>,
}

impl<'a> Search<'a> {
    /// The one whose parameters are to be used: of a walk-forward the last window.
    pub(super) fn deployed(task: &'a TaskRow, spec: TaskSpec) -> Self {
        let window = spec.windows().last().map(|window| window.index);
        Self {
            task,
            spec: Arc::new(spec),
            window,
        }
    }

    fn numbers(&self) -> Range<u32> {
        let windows = self.spec.windows().iter();
        let mut of_this = windows.filter(|window| Some(window.index) == self.window);
        of_this
            .next()
            .map_or(0..MAX_TRIALS, |window| window.trials.clone())
    }

    /// The front of one objective is the best trial, which the task knows: its number alone, or none.
    fn best_alone(&self) -> Option<Range<u32>> {
        let knows = self.spec.objectives.len() == 1 && self.window.is_none();
        let best = self.task.ledger.best.as_ref();
        knows.then(|| best.map_or(0..0, |best| best.number..best.number + 1))
    }

    fn key(&self) -> Key {
        Key {
            task: self.task.id,
            window: self.window,
            ended: self.task.ledger.ended(),
        }
    }

    async fn trials(&self, store: &dyn Store, most: u32) -> Result<Trials, Problem> {
        let (id, numbers) = (self.task.id, self.numbers());
        Ok(Trials::read(store, id, &self.spec, numbers, most).await?)
    }
}

/// The threads, and what was computed before.
#[derive(Clone)]
pub(crate) struct Insights {
    threads: Arc<Semaphore>,
    fronts: Cache<Key, Arc<FrontFound>>,
    importances: Cache<(Key, Measure, Option<usize>), Arc<ImportanceAnswer>>,
}

impl Insights {
    pub(crate) fn new() -> Self {
        Self {
            threads: Arc::new(Semaphore::new(INSIGHT_THREADS)),
            fronts: Cache::new(MAX_FRONTS_KEPT),
            importances: Cache::new(MAX_IMPORTANCES_KEPT),
        }
    }

    /// Held while trials are read and computed with: it bounds memory and threads alike.
    async fn permit(&self) -> OwnedSemaphorePermit {
        let permit = Arc::clone(&self.threads).acquire_owned().await;
        permit.expect("the semaphore is never closed")
    }

    /// The front of a search.
    pub(super) async fn front(
        &self,
        store: &dyn Store,
        search: &Search<'_>,
    ) -> Result<Arc<FrontFound>, Problem> {
        let key = search.key();
        if let Some(found) = self.fronts.get(&key) {
            return Ok(found);
        }
        let permit = self.permit().await;
        // Whoever came first may have asked for the same.
        if let Some(found) = self.fronts.get(&key) {
            return Ok(found);
        }
        let trials = match search.best_alone() {
            Some(numbers) => Trials::read(store, search.task.id, &search.spec, numbers, 1).await?,
            None => search.trials(store, MAX_FRONT_TRIALS).await?,
        };
        let spec = Arc::clone(&search.spec);
        let found = on_thread(permit, move || front::front(&spec, trials)).await??;
        let found = Arc::new(found);
        self.fronts.insert(key, Arc::clone(&found));
        Ok(found)
    }

    /// Which parameters matter, for the objective at this place or for all.
    pub(super) async fn importance(
        &self,
        store: &dyn Store,
        search: &Search<'_>,
        measure: Measure,
        objective: Option<usize>,
    ) -> Result<Arc<ImportanceAnswer>, Problem> {
        let key = (search.key(), measure, objective);
        if let Some(found) = self.importances.get(&key) {
            return Ok(found);
        }
        let permit = self.permit().await;
        if let Some(found) = self.importances.get(&key) {
            return Ok(found);
        }
        let trials = search.trials(store, MAX_INSIGHT_TRIALS).await?;
        let told = trials.told();
        let spec = Arc::clone(&search.spec);
        let compute = move || {
            let points = Points::of(&spec, trials)?;
            let places: Vec<usize> = match objective {
                Some(place) => vec![place],
                None => (0..spec.objectives.len()).collect(),
            };
            Ok(importance::importance(&spec, &points, &places, measure))
        };
        let targets = on_thread::<Result<_, Problem>>(permit, compute).await??;
        let found = Arc::new(ImportanceAnswer {
            task_id: search.task.id.0,
            window: search.window,
            method: measure.name().to_owned(),
            targets,
            trials: told,
        });
        self.importances.insert(key, Arc::clone(&found));
        Ok(found)
    }

    /// The data of a picture of the objective at this place; of several objectives without one, the history is
    /// that of their hypervolume.
    pub(super) async fn figure(
        &self,
        store: &dyn Store,
        search: &Search<'_>,
        figure: Figure,
        objective: Option<usize>,
        axes: Axes,
    ) -> Result<FigureAnswer, Problem> {
        let told = |objective: Option<&Target>, data: Value, trials: TrialsRead| FigureAnswer {
            task_id: search.task.id.0,
            window: search.window,
            name: figure.name().to_owned(),
            objective: objective.map(objective_answer),
            data,
            trials,
        };
        if figure == Figure::History && objective.is_none() && search.spec.objectives.len() > 1 {
            let front = self.front(store, search).await?;
            let volume = &front.hypervolume;
            let data = json!({
                "points": volume.history,
                "reference_point": volume.reference_point,
                "reason": volume.reason,
            });
            return Ok(told(None, data, front.trials));
        }
        let permit = self.permit().await;
        let parameters = search.spec.space.parameters().len().max(1);
        let fit = u32::try_from(MAX_FIGURE_VALUES / parameters).unwrap_or(MAX_INSIGHT_TRIALS);
        let trials = search.trials(store, fit.min(MAX_INSIGHT_TRIALS)).await?;
        let read = trials.told();
        let place = objective.unwrap_or(0);
        let spec = Arc::clone(&search.spec);
        let compute = move || {
            let points = Points::of(&spec, trials)?;
            let data = figure::data(figure, &spec, &points, place, &axes);
            data.map_err(|fault: ImportanceFault| {
                // Its names were checked before.
                Problem::invalid(vec![Fault::new("?x", "unknown_name", fault.to_string())])
            })
        };
        let data = on_thread::<Result<_, Problem>>(permit, compute).await??;
        Ok(told(Some(&search.spec.objectives[place]), data, read))
    }
}

/// An objective, in an answer.
pub(super) fn objective_answer(target: &Target) -> ObjectiveAnswer {
    ObjectiveAnswer {
        metric: target.metric.clone(),
        direction: target.direction.name().to_owned(),
    }
}

/// Computes on a thread that may block, holding the permit to the end, also when the client has gone
/// meanwhile.
pub(super) async fn on_thread<T: Send + 'static>(
    permit: OwnedSemaphorePermit,
    compute: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let work = move || {
        let _permit = permit;
        compute()
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "the bounded pool is the worker's; here the permits bound the threads"
    )]
    let done = tokio::task::spawn_blocking(work);
    done.await.map_err(|error| {
        tracing::error!(error = %error, "a computation panicked");
        Problem::internal()
    })
}
