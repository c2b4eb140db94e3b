//! Validation from the request to the plan of windows: by hand, and by laws.

mod by_hand;
mod laws;
mod requests;

use chrono::{Datelike, NaiveDate, Weekday};
use serde_json::Value;
use trialmill_common::draft::check_validation;
use trialmill_common::spec::Target;
use trialmill_common::state::Direction;
use trialmill_common::validation::Validation;

fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap()
}

/// Monday to Friday: an exchange without holidays.
fn weekdays(from: NaiveDate, to: NaiveDate) -> Vec<NaiveDate> {
    from.iter_days()
        .take_while(|day| *day <= to)
        .filter(|day| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun))
        .collect()
}

fn sharpe() -> Target {
    Target::new("sharpe_ratio", Direction::Maximize)
}

/// The validation that a request asks for.
fn read(asked: &Value) -> Validation {
    check_validation(asked, Some(&sharpe()), false).expect("it has no fault")
}
