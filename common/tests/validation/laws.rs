//! Laws of a plan over arbitrary calendars and validations.

use crate::day;
use chrono::{Days, NaiveDate, TimeDelta};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::fmt;
use std::ops::Range;
use trialmill_common::draft::check_validation;
use trialmill_common::validation::{
    Embargo, MIN_WINDOW_TRIALS, Period, Plan, PlanFault, Span, Validation, WalkForward, WindowKind,
    plan,
};

/// A period and its trading days: weeks with holes, and now and then months without any.
#[derive(Clone)]
struct Calendar {
    start: NaiveDate,
    end: NaiveDate,
    days: Vec<NaiveDate>,
}

/// Thousands of days say nothing; the places where more than four are missing do.
impl fmt::Debug for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holes = self
            .days
            .windows(2)
            .filter(|pair| pair[1] - pair[0] > TimeDelta::days(4));
        f.debug_struct("Calendar")
            .field("start", &self.start)
            .field("end", &self.end)
            .field("rows", &self.days.len())
            .field("holes", &holes.collect::<Vec<_>>())
            .finish()
    }
}

impl Calendar {
    fn plan(&self, validation: &Validation, n_trials: u32) -> Result<Plan, Vec<PlanFault>> {
        let period = Period::new(self.start, self.end, &self.days).expect("it is in order");
        plan(validation, &period, n_trials, None)
    }

    /// The same without what comes after `end`.
    fn until(&self, end: NaiveDate) -> Self {
        let days = self.days.iter().filter(|day| **day <= end);
        Self {
            end,
            days: days.copied().collect(),
            ..*self
        }
    }
}

fn calendar() -> impl Strategy<Value = Calendar> {
    // Days from one trading day to the next: mostly the next day or after a weekend.
    let gap = prop_oneof![20 => Just(1_u64), 6 => 2_u64..5, 1 => 5_u64..12];
    let hole = proptest::option::weighted(0.2, (0_usize..2_000, 20_u64..400));
    (
        0_u64..4_000,
        0_u64..20,
        proptest::collection::vec(gap, 60..2_000),
        hole,
        0_u64..20,
    )
        .prop_map(|(offset, before, mut gaps, hole, after)| {
            if let Some((place, length)) = hole {
                let count = gaps.len();
                gaps[place % count] += length;
            }
            let start = day(2000, 1, 1) + Days::new(offset);
            let mut next = start + Days::new(before);
            let days = gaps.into_iter().map(|gap| {
                let day = next;
                next = next + Days::new(gap);
                day
            });
            let days: Vec<NaiveDate> = days.collect();
            let end = days[days.len() - 1] + Days::new(after);
            Calendar { start, end, days }
        })
}

fn span(months: Range<u32>) -> impl Strategy<Value = Span> {
    let (weeks, days) = (
        months.start * 4..months.end * 4,
        months.start * 20..months.end * 20,
    );
    prop_oneof![
        months.prop_map(Span::Months),
        weeks.prop_map(Span::Weeks),
        days.prop_map(Span::Days),
    ]
}

fn embargo() -> impl Strategy<Value = Embargo> {
    (0_u16..15).prop_map(|days| format!("{days}d").parse().expect("it is within bounds"))
}

fn longer(span: Span, by: u32) -> Span {
    match span {
        Span::Months(count) => Span::Months(count + by),
        Span::Weeks(count) => Span::Weeks(count + by),
        Span::Days(count) => Span::Days(count + by),
    }
}

fn walk_forward() -> impl Strategy<Value = WalkForward> {
    (
        any::<bool>(),
        span(1..18),
        span(1..8),
        prop_oneof![3 => Just(0_u32), 1 => 1_u32..10],
        embargo(),
        proptest::option::of(span(1..10)),
    )
        .prop_map(
            |(rolling, train, test, more, embargo, holdout)| WalkForward {
                window: if rolling {
                    WindowKind::Rolling
                } else {
                    WindowKind::Anchored
                },
                train,
                test,
                step: longer(test, more),
                embargo,
                holdout,
                selection: "sharpe_ratio".parse().expect("it is a metric"),
            },
        )
}

fn validation() -> impl Strategy<Value = Validation> {
    prop_oneof![
        Just(Validation::None),
        (span(1..24), embargo()).prop_map(|(length, embargo)| Validation::Holdout {
            length,
            embargo,
            selection: None
        }),
        (2_u8..=20, embargo()).prop_map(|(segments, embargo)| Validation::CrossValidation {
            segments,
            embargo,
            selection: None
        }),
        walk_forward().prop_map(Validation::WalkForward),
    ]
}

/// Enough trials for any plan of these calendars.
const PLENTY: u32 = 100_000;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn what_judges_comes_after_what_was_seen_by_exactly_the_embargo(
        calendar in calendar(),
        walk in walk_forward(),
    ) {
        let plan = calendar.plan(&Validation::WalkForward(walk.clone()), PLENTY);
        // The run fails when too few of the cases have a plan.
        prop_assume!(plan.is_ok());
        let plan = plan.unwrap();
        let mut tested_until = 0;
        for (index, window) in plan.windows.iter().enumerate() {
            prop_assert_eq!(usize::from(window.index), index);
            let judge = window.test.as_ref().or(plan.holdout.as_ref());
            let dropped = if judge.is_some() { walk.embargo.rows() } else { 0 };
            prop_assert_eq!(window.embargo.len(), dropped);
            prop_assert_eq!(window.train.rows.end, window.embargo.start);
            if let Some(judge) = judge {
                prop_assert_eq!(window.embargo.end, judge.rows.start);
                prop_assert_eq!(window.train.to.succ_opt(), Some(judge.from));
                prop_assert!(window.train.last < judge.first);
            }
            if walk.window == WindowKind::Anchored {
                prop_assert_eq!(window.train.rows.start, 0);
            }
            // Tests are disjoint and ascending; only the last window has none.
            prop_assert_eq!(window.test.is_none(), index + 1 == plan.windows.len());
            if let Some(test) = &window.test {
                prop_assert!(test.rows.start >= tested_until && !test.rows.is_empty());
                if walk.step == walk.test && index > 0 {
                    prop_assert_eq!(test.rows.start, tested_until);
                }
                tested_until = test.rows.end;
            }
        }
        // Where each test follows the one before, nothing is left out but the remainder.
        if let Some(untested) = &plan.untested {
            prop_assert_eq!(untested.rows.start, tested_until);
            let searched = plan.deployed().embargo.end;
            prop_assert_eq!(untested.rows.end, searched);
        } else {
            prop_assert_eq!(tested_until, plan.deployed().embargo.end);
        }
    }

    #[test]
    fn no_window_touches_what_is_held_out(calendar in calendar(), validation in validation()) {
        let plan = calendar.plan(&validation, PLENTY);
        prop_assume!(plan.is_ok());
        let plan = plan.unwrap();
        let rows = calendar.days.len();
        let end = plan.holdout.as_ref().map_or(rows, |holdout| holdout.rows.start);
        if let Some(holdout) = &plan.holdout {
            prop_assert_eq!(holdout.rows.end, rows);
            prop_assert!(plan.segments.is_empty());
        }
        for window in &plan.windows {
            prop_assert!(window.train.rows.end <= end && window.embargo.end <= end);
            prop_assert!(window.test.as_ref().is_none_or(|test| test.rows.end <= end));
        }
    }

    #[test]
    fn the_dates_of_a_stretch_are_those_of_its_rows(
        calendar in calendar(),
        validation in validation(),
    ) {
        let plan = calendar.plan(&validation, PLENTY);
        prop_assume!(plan.is_ok());
        let plan = plan.unwrap();
        let windows = plan.windows.iter().flat_map(|w| [Some((&w.train, w.embargo.len())), w.test.as_ref().map(|t| (t, 0))]);
        let others = plan.segments.iter().map(|s| &s.test).chain(&plan.holdout).chain(&plan.untested);
        for (stretch, dropped) in windows.flatten().chain(others.map(|s| (s, 0))) {
            let rows = stretch.rows.clone();
            prop_assert_eq!(stretch.first, calendar.days[rows.start]);
            prop_assert_eq!(stretch.last, calendar.days[rows.end - 1]);
            // The calendar days are those of the rows with what the embargo dropped, and no other.
            let within = |day: &NaiveDate| (stretch.from..=stretch.to).contains(day);
            let held = calendar.days.iter().filter(|day| within(day)).count();
            prop_assert_eq!(held, rows.len() + dropped);
        }
    }

    #[test]
    fn every_trial_has_one_window_and_the_counts_add_up(
        calendar in calendar(),
        validation in validation(),
        n_trials in 1_u32..2_000,
    ) {
        let plan = match calendar.plan(&validation, n_trials) {
            Ok(plan) => plan,
            Err(faults) => {
                // If it is for want of trials alone, the number that it names is just enough.
                if let [PlanFault::TooFewTrials { windows, least, .. }] = faults[..] {
                    let needed = u32::from(windows) * least;
                    prop_assert!(n_trials < needed && least == MIN_WINDOW_TRIALS);
                    prop_assert!(calendar.plan(&validation, needed).is_ok());
                    prop_assert!(calendar.plan(&validation, needed - 1).is_err());
                }
                return Ok(());
            }
        };
        prop_assert_eq!(plan.n_trials(), n_trials);
        let shares: Vec<u32> = plan.windows.iter().map(|w| w.trials.end - w.trials.start).collect();
        prop_assert_eq!(shares.iter().sum::<u32>(), n_trials);
        let (most, least) = (shares.iter().max().unwrap(), shares.iter().min().unwrap());
        prop_assert!(most - least <= 1 && shares.is_sorted_by(|a, b| a >= b));
        for number in 0..n_trials {
            let owners = plan.windows.iter().filter(|w| w.trials.contains(&number));
            let owners: Vec<u16> = owners.map(|w| w.index).collect();
            prop_assert_eq!(owners, [plan.window_of(number).unwrap().index]);
        }
        prop_assert_eq!(plan.window_of(n_trials), None);
    }

    #[test]
    fn a_shorter_period_changes_no_earlier_window(
        calendar in calendar(),
        walk in walk_forward(),
        keep in 30_usize..2_000,
    ) {
        let walk = WalkForward { holdout: None, ..walk };
        let validation = Validation::WalkForward(walk);
        let keep = keep.min(calendar.days.len()) - 1;
        let shorter = calendar.until(calendar.days[keep]);
        let whole = calendar.plan(&validation, PLENTY);
        let short = shorter.plan(&validation, PLENTY);
        prop_assume!(whole.is_ok() && short.is_ok());
        let (whole, short) = (whole.unwrap(), short.unwrap());
        let tested = short.windows.len() - 1;
        prop_assert!(tested < whole.windows.len());
        for (of_whole, of_short) in whole.windows.iter().zip(&short.windows[..tested]) {
            prop_assert_eq!(&of_whole.train, &of_short.train);
            prop_assert_eq!(&of_whole.embargo, &of_short.embargo);
            prop_assert_eq!(&of_whole.test, &of_short.test);
        }
        // And it leaves out only those that it has no room for.
        for window in &whole.windows[tested..] {
            prop_assert!(window.test.as_ref().is_none_or(|test| test.to > shorter.end));
        }
    }

    #[test]
    fn segments_are_all_days_once_and_models_keep_away_from_them(
        calendar in calendar(),
        segments in 2_u8..=20,
        embargo in embargo(),
    ) {
        let asked = Validation::CrossValidation { segments, embargo, selection: None };
        let Ok(plan) = calendar.plan(&asked, 50) else {
            prop_assert!(calendar.days.len() / usize::from(segments) < 20);
            return Ok(());
        };
        prop_assert_eq!(plan.segments.len(), usize::from(segments));
        let mut next = 0;
        for segment in &plan.segments {
            let test = &segment.test.rows;
            prop_assert_eq!(test.start, next);
            next = test.end;
            for row in 0..calendar.days.len() {
                let near = test.start.saturating_sub(embargo.rows())..test.end + embargo.rows();
                let trained = segment.train.iter().any(|rows| rows.contains(&row));
                prop_assert_eq!(trained, !near.contains(&row));
            }
        }
        prop_assert_eq!(next, calendar.days.len());
    }

    #[test]
    fn the_text_of_a_length_is_read_as_the_same_length(span in span(1..60)) {
        prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
    }

    #[test]
    fn what_is_read_is_written_so_that_it_is_read_again(validation in validation()) {
        let form = serde_json::to_value(&validation).unwrap();
        prop_assert_eq!(&serde_json::from_value::<Validation>(form.clone()).unwrap(), &validation);
        prop_assert_eq!(check_validation(&form, None, false), Ok(validation));
    }

    #[test]
    fn nothing_that_is_asked_for_makes_it_panic(
        method in prop::sample::select(vec!["none", "holdout", "cross_validation", "walk_forward", "x"]),
        fields in prop::collection::btree_map(
            prop::sample::select(vec![
                "length", "segments", "window", "train", "test", "step", "embargo", "holdout",
                "selection", "n_splits", "", "~/",
            ]),
            prop_oneof![
                Just(Value::Null),
                any::<i64>().prop_map(Value::from),
                any::<f64>().prop_map(Value::from),
                "[0-9]{0,12}(mo|y|w|d|m)?".prop_map(Value::from),
                ".{0,12}".prop_map(Value::from),
                Just(json!({"metric": "sharpe", "subject_to": [0]})),
                Just(json!(["a", null])),
            ],
            0..6,
        ),
        calendar in calendar(),
    ) {
        let mut asked = json!({"method": method});
        for (name, value) in fields {
            asked[name] = value;
        }
        match check_validation(&asked, None, false) {
            Ok(validation) => {
                let _plan = calendar.plan(&validation, 1_000);
            }
            Err(faults) => {
                prop_assert!(!faults.is_empty());
                for fault in faults {
                    prop_assert!(fault.pointer.starts_with("/validation"));
                    prop_assert!(!fault.detail.is_empty());
                }
            }
        }
    }
}
