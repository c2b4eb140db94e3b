//! Why a validation has no plan on the days at hand.

use super::SEGMENTS;
use super::plan::MAX_WINDOWS;
use super::span::Span;
use crate::fault::Fault;
use chrono::NaiveDate;
use serde_json::{Value, json};
use std::fmt;

/// A stretch of a plan, by its part in it; windows and segments by their index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What a window trains on.
    Train(u16),
    /// What judges the pick of a window.
    Test(u16),
    /// All test windows together.
    Tests,
    /// A segment of a cross-validation.
    Segment(u16),
    /// What is held out, after the windows of a walk-forward.
    Holdout,
    /// What is held out, without windows.
    Length,
    /// What is left to search before it.
    Searched,
}

impl Part {
    /// The field of the request that says how long it is.
    fn field(self) -> &'static str {
        match self {
            Self::Train(_) => "train",
            Self::Test(_) | Self::Tests => "test",
            Self::Segment(_) => "segments",
            Self::Holdout => "holdout",
            Self::Length | Self::Searched => "length",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Train(index) => write!(f, "the training window {index}"),
            Self::Test(index) => write!(f, "the test window {index}"),
            Self::Tests => f.write_str("all test windows together"),
            Self::Segment(index) => write!(f, "the segment {index}"),
            Self::Holdout | Self::Length => f.write_str("the held-out stretch"),
            Self::Searched => f.write_str("what is left to search before the held-out stretch"),
        }
    }
}

/// One reason why a validation does not fit the period, the days or the number of trials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanFault {
    /// There is no trading day in the period.
    NoDays {
        /// First day of the period.
        start: NaiveDate,
        /// Last day of the period.
        end: NaiveDate,
    },
    /// The trading days are not ascending, or one comes twice.
    DaysOutOfOrder {
        /// The first that is not after the one before it.
        day: NaiveDate,
    },
    /// A trading day is not in the period.
    DayOutside {
        /// The day.
        day: NaiveDate,
        /// First day of the period.
        start: NaiveDate,
        /// Last day of the period.
        end: NaiveDate,
    },
    /// The period is shorter than what the validation needs once.
    TooShort {
        /// The parts that are needed: field and length.
        parts: Vec<(&'static str, Span)>,
        /// Whole months in the period.
        months: u32,
        /// Whole units of the parts in the period, where all have the same.
        has: Option<u32>,
        /// First and last day that count.
        period: (NaiveDate, NaiveDate),
        /// Trading days in the period.
        rows: usize,
        /// The latest start that would do, where the parts are months or weeks.
        start: Option<NaiveDate>,
    },
    /// A stretch has too few trading days.
    TooFewRows {
        /// Which stretch.
        part: Part,
        /// Its first and last day on the calendar.
        days: (NaiveDate, NaiveDate),
        /// Trading days that it has.
        rows: usize,
        /// Trading days that it needs.
        least: usize,
        /// Trading days that the embargo took away.
        embargo: usize,
    },
    /// There are more windows than [`MAX_WINDOWS`].
    TooManyWindows {
        /// How many.
        windows: usize,
    },
    /// Some window would get too few trials.
    TooFewTrials {
        /// Trials of the task.
        n_trials: u32,
        /// Windows that share them.
        windows: u16,
        /// Trials that each needs.
        least: u32,
    },
    /// The number of segments is not within [`SEGMENTS`].
    BadSegments {
        /// How many.
        segments: u8,
    },
    /// `step` is shorter than `test`, or not counted in its unit: test windows would overlap.
    Overlap {
        /// The step.
        step: Span,
        /// The test window.
        test: Span,
    },
}

impl std::error::Error for PlanFault {}

impl PlanFault {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoDays { .. } => "no_trading_days",
            Self::DaysOutOfOrder { .. } => "days_out_of_order",
            Self::DayOutside { .. } => "day_outside",
            Self::TooShort { .. } => "period_too_short",
            Self::TooFewRows { .. } => "too_few_trading_days",
            Self::TooManyWindows { .. } => "too_many_windows",
            Self::TooFewTrials { .. } => "too_few_trials",
            Self::BadSegments { .. } => "out_of_range",
            Self::Overlap { .. } => "overlapping_tests",
        }
    }

    /// The fault as a request's answer tells it. `validation` is the pointer to the validation;
    /// `n_trials` stands beside it.
    ///
    /// ```
    /// use trialmill_common::validation::PlanFault;
    ///
    /// let fault = PlanFault::TooFewTrials { n_trials: 100, windows: 9, least: 20 };
    /// let told = fault.told("/validation");
    /// assert_eq!((told.pointer.as_str(), told.code.as_str()), ("/n_trials", "too_few_trials"));
    /// assert_eq!((told.value, told.limit), (100.into(), Some(180.into())));
    /// ```
    #[must_use]
    pub fn told(&self, validation: &str) -> Fault {
        let beside = |name: &str| {
            let parent = validation.rsplit_once('/').map_or("", |(parent, _)| parent);
            format!("{parent}/{name}")
        };
        let inside = |field: &str| format!("{validation}/{field}");
        let (pointer, value, limit): (String, Value, Option<Value>) = match self {
            Self::NoDays { .. } | Self::DaysOutOfOrder { .. } | Self::DayOutside { .. } => {
                (beside("stock_codes"), Value::Null, None)
            }
            Self::TooShort { start, period, .. } => (
                validation.to_owned(),
                json!([period.0, period.1]),
                start.map(|start| json!(format!("start_date {start} or earlier"))),
            ),
            Self::TooFewRows {
                part, rows, least, ..
            } => (inside(part.field()), json!(rows), Some(json!(least))),
            Self::TooManyWindows { windows } => {
                (inside("step"), json!(windows), Some(json!(MAX_WINDOWS)))
            }
            Self::TooFewTrials {
                n_trials,
                windows,
                least,
            } => (
                beside("n_trials"),
                json!(n_trials),
                Some(json!(needed(*windows, *least))),
            ),
            Self::BadSegments { segments } => {
                let limit = format!("{} to {}", SEGMENTS.start(), SEGMENTS.end());
                (inside("segments"), json!(segments), Some(json!(limit)))
            }
            Self::Overlap { step, test } => {
                let limit = format!("{test} or longer, in {}", test.unit());
                (inside("step"), json!(step), Some(json!(limit)))
            }
        };
        let mut fault = Fault::new(pointer, self.code(), self.to_string()).value(&value);
        fault.limit = limit;
        fault
    }
}

/// Trials that so many windows need together.
fn needed(windows: u16, least: u32) -> u64 {
    u64::from(windows) * u64::from(least)
}

/// The length of parts with the same unit, as one span.
pub(super) fn sum(parts: &[(&'static str, Span)]) -> Option<Span> {
    let (_, first) = parts.first()?;
    let same = parts.iter().all(|(_, span)| span.unit() == first.unit());
    let count = same.then(|| parts.iter().map(|(_, span)| span.count()).sum())?;
    Some(match first {
        Span::Months(_) => Span::Months(count),
        Span::Weeks(_) => Span::Weeks(count),
        Span::Days(_) => Span::Days(count),
    })
}

impl fmt::Display for PlanFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDays { start, end } => write!(
                f,
                "no symbol has a bar from {start} to {end}; change the dates, or bring bars in with \
                 `trialmill data import FILE`"
            ),
            Self::DaysOutOfOrder { day } => {
                write!(f, "the trading day {day} is not after the one before it")
            }
            Self::DayOutside { day, start, end } => {
                write!(f, "the trading day {day} is not within {start} to {end}")
            }
            Self::TooShort {
                parts,
                months,
                has,
                period: (from, to),
                rows,
                start,
            } => {
                let listed: Vec<String> = parts
                    .iter()
                    .map(|(field, span)| format!("{field} {span}"))
                    .collect();
                let listed = listed.join(", ");
                match (sum(parts), has) {
                    (Some(total), Some(has)) => {
                        let unit = total.units();
                        write!(
                            f,
                            "the period needs {} {unit} ({listed}) and has {has}: {from} to {to}; ",
                            total.count()
                        )?;
                        match start {
                            Some(start) => write!(f, "begin on {start} or earlier, or ask")?,
                            None => f.write_str("begin earlier, or ask")?,
                        }
                        write!(f, " for lengths that add up to {has}{}", total.unit())
                    }
                    _ => write!(
                        f,
                        "the period needs {listed} one after the other, and {from} to {to} has \
                         {months} months or {rows} trading days; begin earlier, or ask for less"
                    ),
                }
            }
            Self::TooFewRows {
                part,
                days: (from, to),
                rows,
                least,
                embargo,
            } => {
                write!(f, "{part}")?;
                if from <= to {
                    write!(f, " ({from} to {to})")?;
                }
                write!(f, " has {rows} trading days")?;
                if *embargo > 0 {
                    write!(f, " after the embargo of {embargo}")?;
                }
                let cure = match part {
                    Part::Segment(_) => "ask for fewer segments, or for a longer period",
                    Part::Searched => "hold out less, or begin earlier",
                    Part::Tests => "ask for longer ones, or for a longer period",
                    _ => "make it longer, or choose dates with more bars",
                };
                write!(f, " and needs at least {least}; {cure}")
            }
            Self::TooManyWindows { windows } => write!(
                f,
                "there are {windows} windows and may be {MAX_WINDOWS}; ask for a longer step"
            ),
            Self::TooFewTrials {
                n_trials,
                windows,
                least,
            } => write!(
                f,
                "n_trials is {n_trials}, and each of {windows} windows needs at least {least} \
                 trials; ask for {} or more, or take fewer windows (a longer test or train)",
                needed(*windows, *least)
            ),
            Self::BadSegments { segments } => write!(
                f,
                "segments is {segments}; there may be {} to {}",
                SEGMENTS.start(),
                SEGMENTS.end()
            ),
            Self::Overlap { step, test } => write!(
                f,
                "step is {step} and test is {test}: test windows would overlap; a step is in the \
                 unit of test and not shorter, or left out"
            ),
        }
    }
}
