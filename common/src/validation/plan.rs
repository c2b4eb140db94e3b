//! Which days every search trains on, which judge it, and which trials are its own.

use super::fault::{Part, PlanFault, sum};
use super::period::{Edge, Period};
use super::span::{Embargo, Span};
use super::trials::{MIN_WINDOW_TRIALS, split};
use super::{SEGMENTS, Validation, WalkForward, WindowKind};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use std::mem::discriminant;
use std::ops::Range;

/// Fewest trading days of a stretch that stands for itself: a training window, a held-out stretch, a
/// segment, the tested days together. About a month, as for any backtest
/// ([`MIN_PERIOD_DAYS`](crate::draft::MIN_PERIOD_DAYS)).
pub const MIN_ROWS_ALONE: usize = 20;
/// Fewest trading days of one test window: the least with a return after the first fill. Test
/// windows are judged together.
pub const MIN_TEST_ROWS: usize = 2;
/// Most windows of a walk-forward. Each is a search of its own and an entry of the result; a hundred
/// years by months have fewer than 1,200.
pub const MAX_WINDOWS: u16 = 1_200;

/// A stretch of days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// Its first day on the calendar, traded or not: what a result shows.
    pub from: NaiveDate,
    /// Its last day on the calendar, including days that an embargo dropped at its end.
    pub to: NaiveDate,
    /// Its first trading day.
    pub first: NaiveDate,
    /// Its last trading day, before an embargo.
    pub last: NaiveDate,
    /// Its rows among the trading days of the period.
    pub rows: Range<usize>,
}

/// One search: the days it sees, the trials it has, and the days that judge what it picks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Its place among the windows, from 0.
    pub index: u16,
    /// The days that its trials see.
    pub train: Stretch,
    /// Rows that are dropped between `train` and what is judged; may be empty.
    pub embargo: Range<usize>,
    /// The days that judge its pick; none for the last window, whose pick is deployed (and judged
    /// by the held-out stretch, if there is one).
    pub test: Option<Stretch>,
    /// The numbers of its trials.
    pub trials: Range<u32>,
}

/// One segment of a cross-validation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its place, from 0.
    pub index: u16,
    /// The days that are scored.
    pub test: Stretch,
    /// What a model may train on for it: all rows before and after it but for those of the embargo
    /// next to it. A rule without a model trains on nothing.
    pub train: Vec<Range<usize>>,
}

/// The searches of a task and the days of each. [`plan`] makes it; it does not change afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The searches in the order of time and of their trial numbers, at least one. The last gives
    /// the parameters to deploy. A walk-forward has several; any other method has one.
    pub windows: Vec<Window>,
    /// The segments that every trial of a cross-validation is scored over; empty for other methods.
    pub segments: Vec<Segment>,
    /// The stretch that no window touches.
    pub holdout: Option<Stretch>,
    /// Days after the last test window that have no room for another one (a step further), so that
    /// none tests them; the last window trains on them.
    pub untested: Option<Stretch>,
}

impl Plan {
    /// Trials of the task: those of all windows.
    #[must_use]
    pub fn n_trials(&self) -> u32 {
        self.windows.last().map_or(0, |window| window.trials.end)
    }

    /// Gives the only window of a plan so many trials: a search that is extended sees the days that it
    /// saw.
    ///
    /// # Panics
    /// If the plan has several windows: more trials would be other windows' trials.
    pub fn widen(&mut self, n_trials: u32) {
        let [window] = self.windows.as_mut_slice() else {
            panic!("a plan of several windows cannot be widened");
        };
        window.trials = 0..n_trials;
    }

    /// The window that a trial belongs to; none for a number beyond the last.
    #[must_use]
    pub fn window_of(&self, number: u32) -> Option<&Window> {
        let index = self
            .windows
            .partition_point(|window| window.trials.end <= number);
        self.windows.get(index)
    }

    /// The test windows in order, each with the window whose pick it judges. They do not overlap:
    /// joined, they are what is out of sample.
    pub fn tests(&self) -> impl Iterator<Item = (&Window, &Stretch)> {
        let tested = |window| Some((window, Window::test(window)?));
        self.windows.iter().filter_map(tested)
    }

    /// The first and last calendar day of the joined test windows.
    #[must_use]
    pub fn out_of_sample(&self) -> Option<(NaiveDate, NaiveDate)> {
        let (_, first) = self.tests().next()?;
        let (_, last) = self.tests().last()?;
        Some((first.from, last.to))
    }

    /// The window that gives the parameters to deploy.
    ///
    /// # Panics
    /// Never for a plan that [`plan`] made: it has a window.
    #[must_use]
    pub fn deployed(&self) -> &Window {
        self.windows.last().expect("a plan has a window")
    }
}

impl Window {
    fn test(&self) -> Option<&Stretch> {
        self.test.as_ref()
    }
}

/// The searches of a validation over the days of a task.
///
/// `n_trials` is the number that the task asks for in all; `points` is how many different points
/// its sampler can give within one search
/// ([`size_limit`](crate::spec::TaskSpec::size_limit)), none where there is no end to them. No
/// window gets more trials than that, so [`Plan::n_trials`] may be fewer.
///
/// # Errors
/// Every fault that can be told at once: a period too short for one window is told alone, as there
/// is nothing more to look at; else stretches with too few trading days (the first of each kind)
/// and too few trials.
pub fn plan(
    validation: &Validation,
    period: &Period<'_>,
    n_trials: u32,
    points: Option<u64>,
) -> Result<Plan, Vec<PlanFault>> {
    let mut laid = Laid::new(period);
    match validation {
        Validation::None => laid.window((period.first(), period.last()), Embargo::default(), None),
        Validation::Holdout {
            length, embargo, ..
        } => {
            let until = laid.hold_out(*length, Part::Length);
            laid.window((period.first(), until), *embargo, None);
            laid.need_all();
        }
        Validation::CrossValidation {
            segments, embargo, ..
        } => {
            if !SEGMENTS.contains(segments) {
                return Err(vec![PlanFault::BadSegments {
                    segments: *segments,
                }]);
            }
            laid.window((period.first(), period.last()), Embargo::default(), None);
            laid.segments(*segments, *embargo);
        }
        Validation::WalkForward(walk) => laid.walk(walk)?,
    }
    laid.close(validation, n_trials, points)
}

/// A plan while it is laid out.
struct Laid<'p> {
    period: &'p Period<'p>,
    windows: Vec<Window>,
    segments: Vec<Segment>,
    holdout: Option<Stretch>,
    untested: Option<Stretch>,
    faults: Vec<PlanFault>,
}

impl<'p> Laid<'p> {
    fn new(period: &'p Period<'p>) -> Self {
        Self {
            period,
            windows: Vec::new(),
            segments: Vec::new(),
            holdout: None,
            untested: None,
            faults: Vec::new(),
        }
    }

    /// The stretch between two edges, without `embargo` rows at its end.
    fn stretch(&self, from: Edge, to: Edge, embargo: usize) -> Stretch {
        let end = to.row.saturating_sub(embargo).max(from.row);
        let to = to.date.pred_opt().unwrap_or(to.date);
        let (first, last) = if from.row < end {
            (self.period.day(from.row), self.period.day(end - 1))
        } else {
            (from.date, from.date)
        };
        Stretch {
            from: from.date,
            to,
            first,
            last,
            rows: from.row..end,
        }
    }

    /// Notes that a stretch has too few rows.
    fn need(&mut self, part: Part, stretch: &Stretch, least: usize, embargo: usize) {
        let days = (stretch.from, stretch.to);
        self.need_rows(part, days, stretch.rows.len(), least, embargo);
    }

    /// Notes that some days have too few rows; of windows and of segments only the first.
    fn need_rows(
        &mut self,
        part: Part,
        days: (NaiveDate, NaiveDate),
        rows: usize,
        least: usize,
        embargo: usize,
    ) {
        let same = |known: &Part| discriminant(known) == discriminant(&part);
        let told = self
            .faults
            .iter()
            .any(|fault| matches!(fault, PlanFault::TooFewRows { part, .. } if same(part)));
        if rows < least && !told {
            self.faults.push(PlanFault::TooFewRows {
                part,
                days,
                rows,
                least,
                embargo,
            });
        }
    }

    /// Cuts off the held-out stretch: where what may be searched ends.
    fn hold_out(&mut self, length: Span, part: Part) -> Edge {
        let last = self.period.last();
        let from = self.period.before(last, length);
        let held = self.stretch(from, last, 0);
        self.need(part, &held, MIN_ROWS_ALONE, 0);
        self.holdout = Some(held);
        from
    }

    fn too_short(&self, parts: Vec<(&'static str, Span)>) -> PlanFault {
        let total = sum(&parts);
        PlanFault::TooShort {
            months: self.period.whole(Span::Months(1)),
            has: total.map(|total| self.period.whole(total)),
            period: self.period.bounds(),
            rows: self.period.last().row,
            start: total.and_then(|total| self.period.start_for(total)),
            parts,
        }
    }

    /// Adds a window; its trials are given to it at the end.
    fn window(&mut self, train: (Edge, Edge), embargo: Embargo, test: Option<(Edge, Edge)>) {
        // More windows than fit the type are refused before the plan is closed.
        let index = u16::try_from(self.windows.len()).unwrap_or(u16::MAX);
        let (from, to) = train;
        let train = self.stretch(from, to, embargo.rows());
        let test = test.map(|(from, to)| self.stretch(from, to, 0));
        self.windows.push(Window {
            index,
            embargo: train.rows.end..to.row,
            train,
            test,
            trials: 0..0,
        });
    }

    fn segments(&mut self, segments: u8, embargo: Embargo) {
        let (rows, count) = (self.period.last().row, usize::from(segments));
        // The remainder goes to the first segments, one row each.
        let border = |index: usize| {
            let row = index * (rows / count) + index.min(rows % count);
            if index == count {
                self.period.last()
            } else {
                self.period.row(row)
            }
        };
        for index in 0..segments {
            let (from, to) = (border(index.into()), border(usize::from(index) + 1));
            let test = self.stretch(from, to, 0);
            let before = 0..from.row.saturating_sub(embargo.rows());
            let after = (to.row + embargo.rows()).min(rows)..rows;
            let train = [before, after].into_iter().filter(|rows| !rows.is_empty());
            self.segments.push(Segment {
                index: index.into(),
                test,
                train: train.collect(),
            });
        }
        for segment in self.segments.clone() {
            self.need(
                Part::Segment(segment.index),
                &segment.test,
                MIN_ROWS_ALONE,
                0,
            );
        }
    }

    fn walk(&mut self, walk: &WalkForward) -> Result<(), Vec<PlanFault>> {
        let WalkForward {
            train, test, step, ..
        } = *walk;
        if step.unit() != test.unit() || step.count() < test.count() {
            return Err(vec![PlanFault::Overlap { step, test }]);
        }
        let period = self.period;
        let until = match walk.holdout {
            Some(length) => self.hold_out(length, Part::Holdout),
            None => period.last(),
        };
        let mut tested = None;
        for steps in 0.. {
            let test_from = period.after(&[(step, steps), (train, 1)], until);
            let test_to = period.after(&[(step, steps), (train, 1), (test, 1)], until);
            let (Some(test_from), Some(test_to)) = (test_from, test_to) else {
                break;
            };
            let from = match walk.window {
                WindowKind::Anchored => Some(period.first()),
                WindowKind::Rolling => period.after(&[(step, steps)], until),
            };
            // What begins a window comes before what ends it, which is there.
            let from = from.unwrap_or_else(|| period.first());
            self.window((from, test_from), walk.embargo, Some((test_from, test_to)));
            tested = Some(test_to);
        }
        let Some(tested) = tested else {
            let parts = [
                ("train", Some(train)),
                ("test", Some(test)),
                ("holdout", walk.holdout),
            ];
            let parts = parts
                .into_iter()
                .filter_map(|(name, span)| Some((name, span?)));
            return Err(vec![self.too_short(parts.collect())]);
        };
        // The last window has what is newest, and nothing to keep away from without a holdout.
        let from = match walk.window {
            WindowKind::Anchored => period.first(),
            WindowKind::Rolling => period.before(until, train),
        };
        let embargo = match walk.holdout {
            Some(_) => walk.embargo,
            None => Embargo::default(),
        };
        self.window((from, until), embargo, None);
        if tested.row < until.row {
            self.untested = Some(self.stretch(tested, until, 0));
        }
        self.need_all();
        Ok(())
    }

    /// Notes windows with too few rows, and test windows that have too few together.
    fn need_all(&mut self) {
        let mut tests: Option<(NaiveDate, NaiveDate)> = None;
        let mut rows = 0;
        for window in self.windows.clone() {
            let train = match self.windows.len() {
                1 => Part::Searched,
                _ => Part::Train(window.index),
            };
            self.need(train, &window.train, MIN_ROWS_ALONE, window.embargo.len());
            if let Some(test) = window.test {
                self.need(Part::Test(window.index), &test, MIN_TEST_ROWS, 0);
                tests = Some((tests.map_or(test.from, |(from, _)| from), test.to));
                rows += test.rows.len();
            }
        }
        if let Some(days) = tests {
            self.need_rows(Part::Tests, days, rows, MIN_ROWS_ALONE, 0);
        }
        if self.windows.len() > usize::from(MAX_WINDOWS) {
            let windows = self.windows.len();
            self.faults.push(PlanFault::TooManyWindows { windows });
        }
    }

    /// Gives the windows their trials.
    fn close(
        mut self,
        validation: &Validation,
        n_trials: u32,
        points: Option<u64>,
    ) -> Result<Plan, Vec<PlanFault>> {
        let least = match validation {
            Validation::WalkForward(_) => MIN_WINDOW_TRIALS,
            Validation::None | Validation::Holdout { .. } | Validation::CrossValidation { .. } => 0,
        };
        // Too many windows have a fault of their own.
        if let Ok(count) = u16::try_from(self.windows.len()) {
            match split(n_trials, count, points, least) {
                Ok(trials) => {
                    for (window, trials) in self.windows.iter_mut().zip(trials) {
                        window.trials = trials;
                    }
                }
                Err(fault) => self.faults.push(fault),
            }
        }
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        Ok(Plan {
            windows: self.windows,
            segments: self.segments,
            holdout: self.holdout,
            untested: self.untested,
        })
    }
}
