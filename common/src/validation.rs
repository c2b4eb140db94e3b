//! Validation: which days a search may see, which days judge it, and who is picked in between.
//!
//! A request's `validation` is read by [`check_validation`](crate::draft::check_validation); what
//! comes out is a [`Validation`]. Held against the trading days of the task ([`Period`]) it becomes
//! a [`Plan`]: the searches with their trials, the days each trains on, is tested on, and the days
//! that none may touch. When the trials of a search have ended, [`select`] picks the one whose
//! parameters are tested. All of it is pure; docs/validation.md has the rules and a picture.
//!
//! ```
//! use chrono::{Datelike, NaiveDate, Weekday};
//! use trialmill_common::validation::{Period, Span, Validation, WalkForward, WindowKind, plan};
//!
//! let day = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).expect("a date");
//! let (start, end) = (day(2010, 1, 1), day(2021, 9, 30));
//! let weekday = |day: &NaiveDate| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
//! let days: Vec<NaiveDate> = start.iter_days().take_while(|d| *d <= end).filter(weekday).collect();
//!
//! let validation = Validation::WalkForward(WalkForward {
//!     window: WindowKind::Rolling,
//!     train: Span::Months(36),
//!     test: Span::Months(12),
//!     step: Span::Months(12),
//!     embargo: "5d".parse()?,
//!     holdout: Some(Span::Months(9)),
//!     selection: "sharpe_ratio".parse()?,
//! });
//! let period = Period::new(start, end, &days)?;
//! let plan = plan(&validation, &period, 1800, None).expect("eleven years are enough");
//!
//! assert_eq!(plan.windows.len(), 9);
//! let (first, last) = (&plan.windows[0], &plan.windows[8]);
//! let test = first.test.as_ref().expect("only the last window has none");
//! assert_eq!((first.train.from, first.train.to), (day(2010, 1, 1), day(2012, 12, 31)));
//! assert_eq!((test.from, test.to), (day(2013, 1, 1), day(2013, 12, 31)));
//! assert_eq!(test.rows.start - first.train.rows.end, 5);
//! assert_eq!((last.train.from, last.trials.clone(), &last.test), (day(2018, 1, 1), 1600..1800, &None));
//! assert_eq!(plan.window_of(1734).map(|window| window.index), Some(8));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod fault;
mod period;
mod plan;
mod selection;
mod span;
mod trials;

pub use fault::{Part, PlanFault};
pub use period::Period;
pub use plan::{MAX_WINDOWS, MIN_ROWS_ALONE, MIN_TEST_ROWS, Plan, Segment, Stretch, Window, plan};
pub use selection::{Candidate, Criterion, Selection, UnknownMetric, select};
pub use span::{
    Embargo, MAX_EMBARGO_DAYS, MAX_SPAN_DAYS, MAX_SPAN_MONTHS, MAX_SPAN_WEEKS, Span, SpanFault,
};
pub use trials::MIN_WINDOW_TRIALS;

use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// How many segments a cross-validation may have. One is no comparison, and more than 20 cut ten
/// years into pieces below half a year, of which a Sharpe ratio says nothing.
pub const SEGMENTS: std::ops::RangeInclusive<u8> = 2..=20;

/// What judges a search besides the days it was run on.
///
/// The JSON form is that of a request, with every default written out:
///
/// ```
/// use trialmill_common::validation::Validation;
///
/// let holdout: Validation = serde_json::from_str(r#"{"method": "holdout", "length": "2y"}"#)?;
/// let form = serde_json::to_string(&holdout)?;
/// assert_eq!(form, r#"{"method":"holdout","length":"24mo","embargo":"0d"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Validation {
    /// Nothing: results are in-sample only.
    #[default]
    None,
    /// A last stretch of the period that no trial sees, evaluated once for the best trial.
    Holdout {
        /// Its length, counted back from the end of the period.
        length: Span,
        /// Days dropped before it.
        #[serde(default)]
        embargo: Embargo,
        /// Which trial is evaluated; without it the best one by the (first) objective.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        selection: Option<Selection>,
    },
    /// Every trial is scored over segments of the whole period. The search sees each of them, so
    /// nothing of it is out of sample.
    CrossValidation {
        /// How many segments, within [`SEGMENTS`].
        #[serde(deserialize_with = "segments")]
        segments: u8,
        /// Days dropped on both sides of a segment from what a model trains on for it.
        #[serde(default)]
        embargo: Embargo,
        /// Which trial is used; without it the best one by the (first) objective.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        selection: Option<Selection>,
    },
    /// One search per training window, each judged on the days that follow.
    WalkForward(WalkForward),
}

/// The windows of a walk-forward.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WalkForward {
    /// Whether the training windows move or grow.
    pub window: WindowKind,
    /// Length of the first training window, and of all when they move.
    pub train: Span,
    /// Length of each test window.
    pub test: Span,
    /// From the beginning of one test window to that of the next; at least `test`, in the same unit.
    pub step: Span,
    /// Days dropped from the end of a training window, before what is judged begins.
    #[serde(default)]
    pub embargo: Embargo,
    /// A last stretch that no window touches, counted back from the end of the period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdout: Option<Span>,
    /// Which trial of a window is tested.
    pub selection: Selection,
}

/// How training windows follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowKind {
    /// Each has the same length and begins one step after the one before.
    Rolling,
    /// Each begins on the first day of the period and is one step longer.
    Anchored,
}

impl WindowKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Rolling, Self::Anchored];

    /// The name used in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rolling => "rolling",
            Self::Anchored => "anchored",
        }
    }
}

impl Validation {
    /// The names of the methods, as `method` takes them.
    pub const METHODS: [&'static str; 4] = ["none", "holdout", "cross_validation", "walk_forward"];

    /// The rule by which it picks a trial, if it has one.
    #[must_use]
    pub fn selection(&self) -> Option<&Selection> {
        match self {
            Self::None => None,
            Self::Holdout { selection, .. } | Self::CrossValidation { selection, .. } => {
                selection.as_ref()
            }
            Self::WalkForward(walk) => Some(&walk.selection),
        }
    }

    /// The name of its method.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Holdout { .. } => "holdout",
            Self::CrossValidation { .. } => "cross_validation",
            Self::WalkForward(_) => "walk_forward",
        }
    }
}

/// In few words, for lists and logs: `walk_forward, rolling 36mo/12mo, embargo 5d, holdout 9mo`.
impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.method())?;
        let embargo = match self {
            Self::None => return Ok(()),
            Self::Holdout {
                length, embargo, ..
            } => {
                write!(f, " {length}")?;
                embargo
            }
            Self::CrossValidation {
                segments, embargo, ..
            } => {
                write!(f, ", {segments} segments")?;
                embargo
            }
            Self::WalkForward(walk) => {
                write!(f, ", {} {}/{}", walk.window.name(), walk.train, walk.test)?;
                if walk.step != walk.test {
                    write!(f, " every {}", walk.step)?;
                }
                &walk.embargo
            }
        };
        if *embargo != Embargo::default() {
            write!(f, ", embargo {embargo}")?;
        }
        match self {
            Self::WalkForward(WalkForward {
                holdout: Some(holdout),
                ..
            }) => write!(f, ", holdout {holdout}"),
            _ => Ok(()),
        }
    }
}

/// A stored number of segments, within its bounds.
fn segments<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let segments = u8::deserialize(deserializer)?;
    if SEGMENTS.contains(&segments) {
        return Ok(segments);
    }
    let (least, most) = (SEGMENTS.start(), SEGMENTS.end());
    let detail = format!("{segments} segments; there may be {least} to {most}");
    Err(serde::de::Error::custom(detail))
}
