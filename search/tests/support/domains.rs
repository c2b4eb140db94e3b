//! Domains as most tests want them.

use trialmill_search::{Choice, Domain};

pub fn float(low: f64, high: f64) -> Domain {
    Domain::Float {
        low,
        high,
        step: None,
        log: false,
    }
}

pub fn int(low: i64, high: i64) -> Domain {
    Domain::Int {
        low,
        high,
        step: 1,
        log: false,
    }
}

pub fn texts(names: &[&str]) -> Domain {
    let choices = names.iter().map(|name| Choice::Text((*name).to_owned()));
    Domain::Categorical {
        choices: choices.collect(),
    }
}
