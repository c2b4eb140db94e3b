//! What adaptive samplers know of their task: the recorded trials, kept in memory, and on top of
//! them what this process has not recorded yet.
//!
//! A [`TaskHistory`] holds the finished trials of a task, unpacked once, and reads on from the
//! store by the number of the last event it has seen. Two overlays lie on it: results of this
//! process's units that are not recorded yet count as finished, and its started trials as running.
//! An overlay belongs to a lease and is thrown away with it: what a superseded holder thought to
//! know is not known. Trials that other processes announced count as running too.
//!
//! How much may be unseen (DESIGN section 4): when `n` trials of a task are recorded, at most
//! `max(8, n / 20)` are started somewhere and not recorded, over all workers and at every time. The
//! store keeps no more units open than [`most_adaptive_units`] of `n`, and each holds at most
//! [`unseen_share`] of `n` ([`TaskHistory::share`]): a unit with that many unrecorded trials waits
//! for their flush before it starts another. Both depend on the recorded trials alone, never on who
//! is live, and neither falls as `n` grows; a unit that knows of fewer recorded trials than there
//! are holds less. Before each start a unit reads what the others have recorded (one round trip when
//! that is nothing). So a point is drawn blind to the unrecorded trials of the other units, and to
//! nothing else. (A holder that was superseded without noticing may run trials beside its successor;
//! these are no trials of the task, and nobody sees them.)
//!
//! With `parallelism: 1` no other trial runs, so nothing can be unseen: the unit reads once, when it
//! is claimed, flushes at leisure, and its own overlay holds everything since. The model then sees
//! for trial `n` exactly the trials 0 to `n - 1`, finished, whoever ran them and whatever died in
//! between: recorded values and those in the overlay are the same bits. A newer lease of the task
//! throws the overlays of the older ones away, whatever their units; and where not all of the `n`
//! are known, no point is drawn ([`Asked::Missing`]).

use crate::cpu::Lane;
use crate::run;
use crate::task::KEPT_IDLE;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;
use trialmill_common::costs;
use trialmill_common::protocol::unseen_share;
use trialmill_common::reports;
use trialmill_common::spec::TaskSpec;
use trialmill_common::state::TaskId;
use trialmill_common::trial::EndedTrial;
use trialmill_search::pruner::{Pruner, Reports, Rival};
use trialmill_search::{
    FinishedTrial, History, HistoryNeed, Point, RunningTrial, Study, TrialEnd as Known, UnpackError,
};
use trialmill_store::rows::{HeldLease, HistoryRow, RunningRow, UnitRef};
use trialmill_store::{Store, StoreError};

/// Why history could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A row was written by another build, or damaged: the search cannot go on without it.
    #[error("trial {number} of the history cannot be read: {why}")]
    Unreadable { number: u32, why: UnpackError },
    /// A fault of ours.
    #[error("reading the history panicked")]
    Panicked,
}

impl HistoryError {
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_transient())
    }
}

/// Most histories that are kept.
const MOST_HISTORIES: usize = 1024;

/// The histories of this process's tasks, one for each window of a walk-forward: those that nobody used for [`KEPT_IDLE`] are thrown away,
/// and the least recently used beyond a bound of bytes and beyond [`MOST_HISTORIES`]. What held units
/// use is kept beyond all three.
#[derive(Debug)]
pub(crate) struct Histories {
    bound: u64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By task and the first number of the search, each with its last use.
    searches: BTreeMap<(TaskId, u32), (Instant, Arc<TaskHistory>)>,
}

impl Histories {
    pub(crate) fn new(bound: u64) -> Self {
        Self {
            bound,
            kept: Mutex::default(),
        }
    }

    /// The history of the search that a trial belongs to, empty if it was not kept.
    pub(crate) fn of(&self, task: TaskId, spec: &Arc<TaskSpec>, number: u32) -> Arc<TaskHistory> {
        let numbers = spec.search_of(number);
        self.lock()
            .of(task, spec, numbers, self.bound, Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn of(
        &mut self,
        task: TaskId,
        spec: &Arc<TaskSpec>,
        numbers: Range<u32>,
        bound: u64,
        now: Instant,
    ) -> Arc<TaskHistory> {
        let search = (task, numbers.start);
        let new = || {
            let history = TaskHistory::new(task, Arc::clone(spec), numbers);
            (now, Arc::new(history))
        };
        let (used, history) = self.searches.entry(search).or_insert_with(new);
        *used = now;
        let history = Arc::clone(history);
        self.trim(bound, now);
        history
    }

    fn trim(&mut self, bound: u64, now: Instant) {
        self.searches.retain(|_, (used, history)| {
            Arc::strong_count(history) > 1 || now.saturating_duration_since(*used) < KEPT_IDLE
        });
        let mut bytes: u64 = self.searches.values().map(|(_, h)| h.bytes()).sum();
        while bytes > bound || self.searches.len() > MOST_HISTORIES {
            let unused = self
                .searches
                .iter()
                .filter(|(_, (_, history))| Arc::strong_count(history) == 1);
            let Some((&search, _)) = unused.min_by_key(|(_, (used, _))| *used) else {
                return;
            };
            let dropped = self.searches.remove(&search);
            bytes -= dropped.map_or(0, |(_, history)| history.bytes());
        }
    }
}

/// What asking for the point of a trial gave.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Asked {
    Point(Point),
    /// The sampler has no point left.
    NoneLeft,
    /// A sequential search must know every earlier trial, and some are not known here; or the lease
    /// is superseded.
    Missing,
}

/// What is known of one search: of a task, or of one window of it. Its trials are counted from the
/// first of the search in here, as a study counts them.
#[derive(Debug)]
pub(crate) struct TaskHistory {
    task: TaskId,
    spec: Arc<TaskSpec>,
    /// The numbers of its trials within the task.
    numbers: Range<u32>,
    /// Bytes of the history of a task without trials, about.
    base_bytes: u64,
    /// Bytes of the finished trials, about: known without a lock on them.
    trial_bytes: Arc<AtomicU64>,
    view: RwLock<View>,
    /// One reader of the store at a time.
    reading: tokio::sync::Mutex<()>,
    /// One who asks at a time, where that takes long.
    asking: Mutex<()>,
}

#[derive(Debug, Default)]
struct View {
    /// By number. Shared with those who draw a point from it, which takes longer than a copy: they
    /// hold no lock, and what changes it meanwhile changes a copy.
    finished: Arc<Vec<FinishedTrial>>,
    /// Bytes of `finished`, about. Changed under the lock of the view only.
    bytes: Arc<AtomicU64>,
    /// What those of `finished` reported that reported anything, as costs.
    reports: BTreeMap<u32, Reports>,
    /// The last event whose trials are in `finished`.
    seq: i64,
    /// The leases of this process: unit and token.
    leases: BTreeMap<u32, i64>,
    /// Those of `finished` that a unit of this process has not recorded yet.
    unrecorded: BTreeMap<u32, HeldLease>,
    /// Trials that units of this process have started.
    started: BTreeMap<u32, (HeldLease, Point)>,
    /// Announced trials with their units, as last read.
    announced: Vec<(u32, RunningTrial)>,
}

impl TaskHistory {
    fn new(task: TaskId, spec: Arc<TaskSpec>, numbers: Range<u32>) -> Self {
        let prior = &spec.prior;
        let view = View {
            bytes: Arc::new(AtomicU64::new(prior.iter().map(weight).sum())),
            finished: Arc::new(prior.clone()),
            ..View::default()
        };
        Self {
            task,
            numbers,
            // Its parsed form takes a few times the bytes of its text.
            base_bytes: (size_of::<Self>() + 4 * run::length(&spec.to_json())) as u64,
            trial_bytes: Arc::clone(&view.bytes),
            spec,
            view: RwLock::new(view),
            reading: tokio::sync::Mutex::default(),
            asking: Mutex::default(),
        }
    }

    /// How many trials of the search come before this one of the task, those that it began with included.
    fn place(&self, number: u32) -> u32 {
        self.spec.prior_count() + number - self.numbers.start
    }

    fn bytes(&self) -> u64 {
        self.base_bytes + self.trial_bytes.load(Ordering::Relaxed)
    }

    /// Whether trials run one after the other: see the head of this file.
    pub(crate) fn is_sequential(&self) -> bool {
        self.spec.parallelism == Some(1)
    }

    /// How many trials a unit may have started and not recorded, the next one included.
    pub(crate) fn share(&self) -> u32 {
        if self.is_sequential() {
            return u32::MAX;
        }
        let view = self.view();
        let recorded = view.finished.len() - view.unrecorded.len() - self.spec.prior.len();
        let recorded = u32::try_from(recorded).unwrap_or(u32::MAX);
        unseen_share(self.spec.parallelism, recorded)
    }

    // ---- the store's side --------------------------------------------------------------------

    /// Reads everything that is recorded by now. Unpacks on `lane`.
    pub(crate) async fn read_on(
        self: &Arc<Self>,
        store: &dyn Store,
        lane: &Lane,
    ) -> Result<(), HistoryError> {
        let _one_at_a_time = self.reading.lock().await;
        loop {
            let after = self.view().seq;
            let page = store
                .history(self.task, after, self.numbers.clone())
                .await?;
            let (seq, complete) = (page.seq, page.complete);
            let (trials, running) = (page.trials, page.running);
            let this = Arc::clone(self);
            let unpack = move || {
                let reports = this.reported(&trials);
                let trials = this.unpacked(trials)?;
                Ok::<_, HistoryError>((trials, reports, this.running(running)))
            };
            let unpacked = lane.run(unpack).await;
            let unpacked = unpacked.map_err(|_| HistoryError::Panicked)?;
            let (trials, reports, announced) = unpacked?;
            let mut view = self.view_mut();
            view.recorded(trials);
            view.report(reports);
            (view.seq, view.announced) = (seq, announced);
            if complete {
                return Ok(());
            }
        }
    }

    fn unpacked(&self, rows: Vec<HistoryRow>) -> Result<Vec<FinishedTrial>, HistoryError> {
        let unpack = |row: HistoryRow| {
            let number = row.number;
            let point = self.spec.space.unpack(&row.params);
            let point = point.map_err(|why| HistoryError::Unreadable { number, why })?;
            let number = self.place(number);
            let (infeasible, violation) = (row.infeasible, row.violation);
            let end = costs::of_record(
                &self.spec,
                row.end,
                infeasible,
                &row.values,
                violation,
                row.reports.as_deref(),
            );
            Ok(FinishedTrial { number, point, end })
        };
        rows.into_iter().map(unpack).collect()
    }

    /// What some trials reported. Bytes that are no reports say nothing to a pruner.
    fn reported(&self, rows: &[HistoryRow]) -> Vec<(u32, Reports)> {
        let objectives = self.spec.objectives.len();
        let unpack = |row: &HistoryRow| {
            let values = reports::unpack(row.reports.as_ref()?, objectives)?;
            let costs = costs::of_reports(&self.spec, &values);
            Some((self.place(row.number), costs))
        };
        rows.iter().filter_map(unpack).collect()
    }

    /// Announced trials whose points cannot be read say nothing to the sampler.
    fn running(&self, rows: Vec<RunningRow>) -> Vec<(u32, RunningTrial)> {
        let unpack = |row: RunningRow| {
            let point = self.spec.space.unpack(&row.params).ok()?;
            let number = self.place(row.number);
            Some((row.unit, RunningTrial { number, point }))
        };
        rows.into_iter().filter_map(unpack).collect()
    }

    // ---- the units' side ---------------------------------------------------------------------

    /// A unit was claimed: what an earlier lease of it left here is thrown away. In a sequential
    /// search that is every other lease, since the rest of a unit that was split has a number of
    /// its own; and a lease that was superseded before it got here is none.
    pub(crate) fn claimed(&self, lease: HeldLease) {
        let of_unit = |(&number, &token): (&u32, &i64)| {
            let unit = UnitRef {
                unit: number,
                ..lease.unit
            };
            HeldLease { unit, token }
        };
        let mut view = self.view_mut();
        let mut earlier: Vec<HeldLease> = view.leases.iter().map(of_unit).collect();
        if self.is_sequential() {
            let age = |lease: &HeldLease| (lease.unit.unit, lease.token);
            if earlier.iter().any(|other| age(other) > age(&lease)) {
                return;
            }
        } else {
            earlier.retain(|other| other.unit == lease.unit);
        }
        for other in earlier {
            view.forget(other);
        }
        view.leases.insert(lease.unit.unit, lease.token);
    }

    /// The point of a trial, drawn from what is known now; the same one again for a trial that has
    /// started under this lease. The trial is running from now on.
    pub(crate) fn ask(&self, study: &Study, lease: HeldLease, number: u32) -> Asked {
        let number = self.place(number);
        let known = self.view().finished.len();
        let deliberates = study
            .method()
            .deliberates(known, self.spec.objectives.len());
        // Nothing is kept under it that a panic could leave half-done.
        let _turn = deliberates.then(|| self.asking.lock().unwrap_or_else(PoisonError::into_inner));
        let view = self.view();
        match view.started.get(&number) {
            Some((holder, point)) if *holder == lease => return Asked::Point(point.clone()),
            _ => {}
        }
        let all = Arc::clone(&view.finished);
        let (mut finished, mut running) = (all.as_slice(), Vec::new());
        if self.is_sequential() {
            let before = finished.partition_point(|trial| trial.number < number);
            if before != number as usize || !view.holds(lease) {
                return Asked::Missing;
            }
            finished = &finished[..before];
        } else {
            running = view.running();
        }
        drop(view);
        finished = match study.history_need() {
            HistoryNeed::None => &[],
            HistoryNeed::Bounded(most) => &finished[finished.len().saturating_sub(most)..],
            HistoryNeed::All => finished,
        };
        let running = running.as_slice();
        let Some(point) = study.ask(&History { finished, running }, number) else {
            return Asked::NoneLeft;
        };
        self.begin(lease, number, point.clone());
        Asked::Point(point)
    }

    /// Whether a pruner would stop a trial with these `reports` of values, by what is known now of those that have
    /// ended; of a sequential search, of those before it.
    pub(crate) fn prunes(
        &self,
        pruner: &Pruner,
        seed: u64,
        reports: &Reports,
        number: u32,
    ) -> bool {
        let number = self.place(number);
        let own = costs::of_reports(&self.spec, reports);
        let view = self.view();
        let known = match self.is_sequential() {
            true => view.reports.range(..number),
            false => view.reports.range(..),
        };
        let rivals: Vec<Rival<'_>> = known
            .map(|(&number, reports)| Rival {
                number,
                reports,
                end: view.place(number).ok().map(|at| &view.finished[at].end),
            })
            .collect();
        pruner.should_prune(&own, &rivals, seed, number)
    }

    /// A trial runs with this point.
    pub(crate) fn start(&self, lease: HeldLease, number: u32, point: Point) {
        self.begin(lease, self.place(number), point);
    }

    fn begin(&self, lease: HeldLease, number: u32, point: Point) {
        let mut view = self.view_mut();
        if view.holds(lease) {
            view.started.insert(number, (lease, point));
        }
    }

    /// A trial of a unit has ended and is not recorded yet.
    pub(crate) fn ended(&self, lease: HeldLease, trial: &EndedTrial) {
        let number = self.place(trial.number);
        let finished = FinishedTrial {
            number,
            point: trial.point.clone(),
            end: costs::of_outcome(&self.spec, &trial.outcome, trial.reports.as_ref()),
        };
        let reports = trial.reports.as_ref();
        let reports = reports.map(|values| (number, costs::of_reports(&self.spec, values)));
        let mut view = self.view_mut();
        if view.holds(lease) {
            view.started.remove(&number);
            // Recorded by another holder, which superseded this one: the record stands.
            if view.is_recorded(number) {
                return;
            }
            view.unrecorded.insert(number, lease);
            view.put(finished);
            view.report(reports);
        }
    }

    /// Trials of a unit are recorded.
    pub(crate) fn recorded(&self, trials: &[EndedTrial]) {
        let mut view = self.view_mut();
        for trial in trials {
            view.unrecorded.remove(&self.place(trial.number));
        }
    }

    /// A lease is over, its results are recorded or were never wanted: what it had not recorded and
    /// what it had started is thrown away.
    pub(crate) fn over(&self, lease: HeldLease) {
        self.view_mut().forget(lease);
    }

    /// No code that holds these locks leaves them half-way when it panics.
    fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn view_mut(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View {
    fn holds(&self, lease: HeldLease) -> bool {
        self.leases.get(&lease.unit.unit) == Some(&lease.token)
    }

    fn is_recorded(&self, number: u32) -> bool {
        !self.unrecorded.contains_key(&number) && self.place(number).is_ok()
    }

    /// Where a trial is among the finished ones, or would be.
    fn place(&self, number: u32) -> Result<usize, usize> {
        match self.finished.last() {
            Some(last) if last.number >= number => {
                self.finished.binary_search_by_key(&number, |t| t.number)
            }
            _ => Err(self.finished.len()),
        }
    }

    /// Adds a finished trial, or puts it in the place of the one with its number.
    fn put(&mut self, trial: FinishedTrial) {
        self.bytes.fetch_add(weight(&trial), Ordering::Relaxed);
        let place = self.place(trial.number);
        let finished = Arc::make_mut(&mut self.finished);
        match place {
            Ok(place) => {
                let before = weight(&finished[place]);
                self.bytes.fetch_sub(before, Ordering::Relaxed);
                finished[place] = trial;
            }
            Err(place) => finished.insert(place, trial),
        }
    }

    /// Adds recorded trials: what the store says stands, whoever brought it.
    fn recorded(&mut self, trials: Vec<FinishedTrial>) {
        for trial in &trials {
            self.unrecorded.remove(&trial.number);
        }
        // Each insertion moves what is behind it: many at once are sorted instead.
        if trials.len() < MANY {
            trials.into_iter().for_each(|trial| self.put(trial));
            return;
        }
        let finished = Arc::make_mut(&mut self.finished);
        finished.extend(trials);
        // Stable: of two with one number the later, the recorded one, comes second and stays.
        finished.sort_by_key(|trial| trial.number);
        finished.dedup_by(|later, earlier| {
            let same = later.number == earlier.number;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        let bytes: u64 = finished.iter().map(weight).sum();
        let of_reports: u64 = self.reports.values().map(reports_weight).sum();
        self.bytes.store(bytes + of_reports, Ordering::Relaxed);
    }

    /// Adds what trials reported; what the store says stands.
    fn report(&mut self, reports: impl IntoIterator<Item = (u32, Reports)>) {
        for (number, reports) in reports {
            self.bytes
                .fetch_add(reports_weight(&reports), Ordering::Relaxed);
            if let Some(before) = self.reports.insert(number, reports) {
                self.bytes
                    .fetch_sub(reports_weight(&before), Ordering::Relaxed);
            }
        }
    }

    /// Throws away what belongs to a lease.
    fn forget(&mut self, lease: HeldLease) {
        if self.holds(lease) {
            self.leases.remove(&lease.unit.unit);
        }
        self.started.retain(|_, (holder, _)| *holder != lease);
        let of_lease = self.unrecorded.extract_if(.., |_, holder| *holder == lease);
        let numbers: Vec<u32> = of_lease.map(|(number, _)| number).collect();
        for number in numbers {
            if let Ok(place) = self.place(number) {
                let bytes = weight(&self.finished[place]);
                self.bytes.fetch_sub(bytes, Ordering::Relaxed);
                Arc::make_mut(&mut self.finished).remove(place);
            }
            if let Some(reports) = self.reports.remove(&number) {
                self.bytes
                    .fetch_sub(reports_weight(&reports), Ordering::Relaxed);
            }
        }
    }

    /// Trials that run and have not ended as far as is known, by number: those started here, and
    /// those that others announced. Of our own units the store knows less than we do.
    fn running(&self) -> Vec<RunningTrial> {
        let ours = self
            .started
            .iter()
            .map(|(&number, (_, point))| RunningTrial {
                number,
                point: point.clone(),
            });
        let elsewhere = self
            .announced
            .iter()
            .filter(|(unit, _)| !self.leases.contains_key(unit))
            .map(|(_, trial)| trial.clone());
        let mut running: Vec<_> = ours.chain(elsewhere).collect();
        running.retain(|trial| self.place(trial.number).is_err());
        running.sort_by_key(|trial| trial.number);
        running
    }
}

/// Trials from which on sorting is quicker than inserting one by one.
const MANY: usize = 64;

/// About the bytes that the reports of a trial take.
fn reports_weight(reports: &Reports) -> u64 {
    let each = 4 + 8 * reports.objectives();
    (size_of::<Reports>() + 24 * reports.objectives() + each * reports.len()) as u64
}

/// About the bytes that a finished trial takes.
fn weight(trial: &FinishedTrial) -> u64 {
    let costs = match &trial.end {
        Known::Completed(costs) => 16 + 8 * costs.len(),
        Known::Infeasible { .. } | Known::Pruned(_) | Known::Failed => 0,
    };
    (size_of::<FinishedTrial>() + 16 + 16 * trial.point.values().len() + costs) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::sphere_spec;
    use std::time::Duration;
    use trialmill_common::spec::MAX_TRIALS;
    use trialmill_common::trial::{Evaluation, Outcome};
    use trialmill_search::{Method, ParamValue};

    const TASK: TaskId = TaskId(uuid::Uuid::from_u128(1));

    fn lease(unit: u32, token: i64) -> HeldLease {
        let unit = UnitRef { task: TASK, unit };
        HeldLease { unit, token }
    }

    fn history(parallelism: Option<u32>) -> TaskHistory {
        let spec = TaskSpec {
            parallelism,
            ..sphere_spec()
        };
        TaskHistory::new(TASK, Arc::new(spec), 0..MAX_TRIALS)
    }

    fn point(number: u32) -> Point {
        Point::new(vec![ParamValue::Float(f64::from(number) / 256.0)])
    }

    fn ended(number: u32) -> EndedTrial {
        EndedTrial {
            number,
            point: point(number),
            outcome: Outcome::Completed(Evaluation {
                values: vec![f64::from(number)],
                ..Evaluation::default()
            }),
            reports: None,
            duration_ms: 0.1,
            window: None,
        }
    }

    fn finished(number: u32) -> FinishedTrial {
        FinishedTrial {
            number,
            point: point(number),
            end: Known::completed(vec![f64::from(number)]),
        }
    }

    fn numbers(history: &TaskHistory) -> (Vec<u32>, Vec<u32>) {
        let view = history.view();
        let finished = view.finished.iter().map(|t| t.number).collect();
        let running = view.running().iter().map(|t| t.number).collect();
        let bytes: u64 = view.finished.iter().map(weight).sum();
        assert_eq!(history.bytes(), history.base_bytes + bytes);
        (finished, running)
    }

    #[test]
    fn what_a_lease_had_not_recorded_goes_with_it() {
        let history = history(Some(2));
        let (held, other) = (lease(0, 1), lease(1, 1));
        history.claimed(held);
        history.claimed(other);
        for number in 0..4 {
            history.start(held, number, point(number));
            history.start(other, 10 + number, point(number));
            if number < 3 {
                history.ended(held, &ended(number));
                history.ended(other, &ended(10 + number));
            }
        }
        history.recorded(&[ended(0)]);
        let all = (vec![0, 1, 2, 10, 11, 12], vec![3, 13]);
        assert_eq!(numbers(&history), all);
        history.over(held);
        assert_eq!(numbers(&history), (vec![0, 10, 11, 12], vec![13]));
        // Its thread may still bring something.
        history.ended(held, &ended(3));
        history.start(held, 4, point(4));
        assert_eq!(numbers(&history), (vec![0, 10, 11, 12], vec![13]));
        // What it had recorded after all comes from the store, and stays.
        history.view_mut().recorded(vec![finished(1), finished(10)]);
        history.over(other);
        assert_eq!(numbers(&history), (vec![0, 1, 10], vec![]));
    }

    #[test]
    fn a_new_claim_of_a_unit_forgets_the_lease_before_it() {
        let history = history(Some(1));
        history.claimed(lease(0, 1));
        history.ended(lease(0, 1), &ended(0));
        history.claimed(lease(0, 3));
        assert_eq!(numbers(&history), (vec![], vec![]));
        history.ended(lease(0, 1), &ended(1));
        history.over(lease(0, 1));
        history.ended(lease(0, 3), &ended(0));
        assert_eq!(numbers(&history), (vec![0], vec![]));
    }

    #[test]
    fn recorded_trials_come_in_any_order_and_in_place_of_what_was_there() {
        let history = history(None);
        history.claimed(lease(0, 1));
        history.ended(lease(0, 1), &ended(300));
        let mut other = finished(300);
        other.end = Known::Failed;
        history
            .view_mut()
            .recorded((200..290).map(finished).collect());
        history
            .view_mut()
            .recorded(vec![other.clone(), finished(7)]);
        history
            .view_mut()
            .recorded((0..200).map(finished).collect());
        let expected: Vec<u32> = (0..290).chain([300]).collect();
        assert_eq!(numbers(&history), (expected, vec![]));
        assert_eq!(history.view().finished.last(), Some(&other));
        history.over(lease(0, 1));
        assert_eq!(
            history.view().finished.last(),
            Some(&other),
            "it is recorded"
        );
    }

    #[test]
    fn announced_trials_run_unless_they_ended_or_are_of_our_own_units() {
        let history = history(None);
        history.claimed(lease(0, 2));
        let running = |unit, number| {
            let point = point(number);
            (unit, RunningTrial { number, point })
        };
        history.view_mut().announced = vec![running(0, 5), running(1, 20), running(2, 30)];
        history.view_mut().recorded(vec![finished(20)]);
        history.start(lease(0, 2), 6, point(6));
        assert_eq!(numbers(&history), (vec![20], vec![6, 30]));
    }

    #[test]
    fn a_trial_that_has_started_keeps_its_point_whatever_is_learnt() {
        let history = history(None);
        let held = lease(0, 1);
        history.claimed(held);
        let space = sphere_spec().space;
        let study = Study::new(space, Method::Tpe, 5).unwrap();
        let known: Vec<_> = (0..40).map(finished).collect();
        history.view_mut().recorded(known);
        let ask = |lease| match history.ask(&study, lease, 50) {
            Asked::Point(point) => point,
            other => panic!("a point is drawn, not {other:?}"),
        };
        let first = ask(held);
        history
            .view_mut()
            .recorded((40..50).map(finished).collect());
        assert_eq!(ask(held), first);
        history.over(held);
        history.claimed(lease(0, 2));
        assert_ne!(ask(lease(0, 2)), first, "a new lease asks and knows more");
    }

    #[test]
    fn slots_that_ask_a_sampler_which_deliberates_see_the_points_of_each_other() {
        let space = sphere_spec().space;
        let study = Study::new(space, Method::Gp, 5).unwrap();
        let known: Vec<_> = (0..40).map(finished).collect();
        let asked = |order: &[u32]| {
            let history = history(None);
            history.view_mut().recorded(known.clone());
            for number in order {
                history.claimed(lease(*number, 1));
            }
            history
        };
        let ask = |history: &TaskHistory, number: u32| match history.ask(
            &study,
            lease(number, 1),
            number,
        ) {
            Asked::Point(point) => point,
            other => panic!("a point is drawn, not {other:?}"),
        };
        let one_by_one = |order: [u32; 3]| {
            let history = asked(&order);
            order.map(|number| (number, ask(&history, number))).to_vec()
        };
        let together = asked(&[50, 51, 52]);
        let mut found: Vec<(u32, Point)> = std::thread::scope(|scope| {
            let threads = [50, 51, 52].map(|number| {
                let (together, ask) = (&together, &ask);
                scope.spawn(move || (number, ask(together, number)))
            });
            threads.map(|thread| thread.join().unwrap()).to_vec()
        });
        found.sort_by_key(|(number, _)| *number);
        let orders = [
            [50, 51, 52],
            [50, 52, 51],
            [51, 50, 52],
            [51, 52, 50],
            [52, 50, 51],
            [52, 51, 50],
        ];
        let is_some_order = orders.into_iter().any(|order| {
            let mut expected = one_by_one(order);
            expected.sort_by_key(|(number, _)| *number);
            expected == found
        });
        assert!(
            is_some_order,
            "as if one had asked after the other: {found:?}"
        );
    }

    #[test]
    fn the_share_of_a_unit_grows_with_what_is_recorded_and_not_with_what_is_ended() {
        let history = history(Some(3));
        assert_eq!(history.share(), 8 / 3);
        let held = lease(0, 1);
        history.claimed(held);
        for number in 0..400 {
            history.ended(held, &ended(number));
        }
        assert_eq!(history.share(), 8 / 3, "nothing of it is recorded");
        let recorded: Vec<_> = (0..200).map(ended).collect();
        history.recorded(&recorded);
        assert_eq!(history.share(), 10 / 3);
        history
            .view_mut()
            .recorded((200..400).map(finished).collect());
        assert_eq!(history.share(), 20 / 3);
        assert_eq!(super::tests::history(Some(1)).share(), u32::MAX);
    }

    #[test]
    fn the_next_unit_of_a_sequential_search_sees_nothing_of_a_superseded_one() {
        let history = history(Some(1));
        let study = Study::new(sphere_spec().space, Method::Tpe, 5).unwrap();
        let (zombie, next) = (lease(0, 1), lease(1, 1));
        history.claimed(zombie);
        for number in 0..30 {
            history.ended(zombie, &ended(number));
        }
        assert!(matches!(history.ask(&study, zombie, 30), Asked::Point(_)));
        // Meanwhile another process took unit 0 from trial 0, and split it after trial 19.
        history.claimed(next);
        assert_eq!(numbers(&history), (vec![], vec![]));
        assert_eq!(history.ask(&study, next, 20), Asked::Missing);
        let true_ones = (0..20).map(|number| FinishedTrial {
            end: Known::completed(vec![-f64::from(number)]),
            ..finished(number)
        });
        let true_ones: Vec<_> = true_ones.collect();
        history.view_mut().recorded(true_ones.clone());
        // Its thread goes on, and its slot comes late.
        history.ended(zombie, &ended(30));
        history.ended(zombie, &ended(5));
        history.claimed(zombie);
        assert_eq!(history.ask(&study, zombie, 20), Asked::Missing);
        let known = History {
            finished: &true_ones,
            running: &[],
        };
        let expected = study.ask(&known, 20).map(Asked::Point);
        assert_eq!(Some(history.ask(&study, next, 20)), expected);
        history.over(zombie);
        assert_eq!(numbers(&history), ((0..20).collect(), vec![20]));
    }

    #[test]
    fn the_point_of_a_sequential_search_is_drawn_from_all_earlier_trials_and_no_later_one() {
        let history = history(Some(1));
        let study = Study::new(sphere_spec().space, Method::Tpe, 5).unwrap();
        let held = lease(0, 1);
        history.claimed(held);
        let known: Vec<_> = (0..40).map(finished).collect();
        history.view_mut().recorded(known.clone());
        history.view_mut().announced = vec![(
            7,
            RunningTrial {
                number: 41,
                point: point(41),
            },
        )];
        let finished = &known[..35];
        let only = History {
            finished,
            running: &[],
        };
        let expected = study.ask(&only, 35).map(Asked::Point);
        assert_eq!(Some(history.ask(&study, held, 35)), expected);
        assert_eq!(history.ask(&study, held, 41), Asked::Missing);
    }

    #[test]
    fn what_a_superseded_holder_brings_does_not_take_the_place_of_a_record() {
        let history = history(Some(2));
        let zombie = lease(0, 1);
        history.claimed(zombie);
        let mut other = finished(3);
        other.end = Known::Failed;
        history.view_mut().recorded(vec![other.clone()]);
        history.ended(zombie, &ended(3));
        assert_eq!(history.view().finished.last(), Some(&other));
        history.over(zombie);
        assert_eq!(numbers(&history), (vec![3], vec![]));
    }

    #[test]
    fn the_least_recently_used_histories_go_first_and_held_ones_never() {
        let spec = Arc::new(sphere_spec());
        let base = TaskHistory::new(TASK, Arc::clone(&spec), 0..MAX_TRIALS).bytes();
        let each = base + weight(&finished(0)) * 100;
        // Two of them, and one that has no trials yet.
        let histories = Histories::new(2 * each + base);
        let task = |n| TaskId(uuid::Uuid::from_u128(n));
        let fill = |n| {
            let history = histories.of(task(n), &spec, 0);
            if history.bytes() == base {
                history
                    .view_mut()
                    .recorded((0..100).map(finished).collect());
            }
            history
        };
        let held = fill(1);
        drop(fill(2));
        drop(fill(3));
        drop(fill(2));
        let kept = |n| histories.lock().searches.contains_key(&(task(n), 0));
        drop(fill(4));
        assert_eq!([1, 2, 3, 4].map(kept), [true, true, false, true]);
        drop(held);
        drop(fill(4));
        assert_eq!([1, 2, 4].map(kept), [false, true, true]);
    }

    #[test]
    fn histories_that_nobody_uses_go_after_a_while_and_held_ones_never() {
        let spec = Arc::new(sphere_spec());
        let task = |n| TaskId(uuid::Uuid::from_u128(n));
        let histories = Histories::new(u64::MAX);
        let begin = Instant::now();
        let of = |n, at| {
            let all = 0..MAX_TRIALS;
            histories
                .lock()
                .of(task(n), &spec, all, u64::MAX, begin + at)
        };
        let held = of(1, Duration::ZERO);
        drop(of(2, Duration::ZERO));
        let soon = KEPT_IDLE / 2;
        drop(of(3, soon));
        let kept = |n| histories.lock().searches.contains_key(&(task(n), 0));
        assert_eq!([1, 2, 3].map(kept), [true; 3]);
        drop(of(4, KEPT_IDLE));
        assert_eq!([1, 2, 3].map(kept), [true, false, true]);
        drop(held);
        drop(of(4, KEPT_IDLE + soon));
        assert_eq!([1, 3, 4].map(kept), [false, false, true]);
    }

    #[test]
    fn histories_without_trials_are_bounded_too() {
        let spec = Arc::new(sphere_spec());
        let task = |n: usize| TaskId(uuid::Uuid::from_u128(n as u128));
        let base = TaskHistory::new(TASK, Arc::clone(&spec), 0..MAX_TRIALS).bytes();
        assert!(base > 0);
        for (bound, most) in [(3 * base, 3), (u64::MAX, MOST_HISTORIES)] {
            let histories = Histories::new(bound);
            for n in 0..most + 10 {
                drop(histories.of(task(n), &spec, 0));
            }
            let kept: Vec<TaskId> = histories
                .lock()
                .searches
                .keys()
                .map(|(task, _)| *task)
                .collect();
            assert_eq!(kept, (10..most + 10).map(task).collect::<Vec<_>>());
        }
    }
}
