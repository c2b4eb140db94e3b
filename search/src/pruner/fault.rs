//! What is wrong with a pruner's options, in parts that a caller can turn into an API error.

use std::fmt::Display;
use std::ops::RangeInclusive;

use thiserror::Error;

/// The largest number of trials or steps in a pruner's options: a study has no more trials, and a
/// pruner that waits for more would never speak.
pub const MAX_PRUNER_OPTION: u32 = 1_000_000;

/// One thing wrong with a pruner's options. [`Pruner::new`](super::Pruner::new) returns all of them at
/// once.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{detail}")]
pub struct PrunerFault {
    /// The option, such as `n_warmup_steps`; `wrapped.n_warmup_steps` where a pruner is wrapped.
    pub field: String,
    /// A stable word in `snake_case` that programs can match: `out_of_range`, `not_finite`, `bounds_missing`,
    /// `bounds_crossed`, `below_minimum`, `needs_resource`, `nested_patient`.
    pub code: &'static str,
    /// The value at fault.
    pub value: String,
    /// What would have been allowed.
    pub limit: String,
    /// One lowercase sentence that names the option, the value, the limit and what to do.
    pub detail: String,
}

/// The faults found so far, and where in a nest of pruners they are looked for.
#[derive(Debug, Default)]
pub(super) struct Faults {
    within: &'static str,
    found: Vec<PrunerFault>,
}

impl Faults {
    pub(super) fn found(self) -> Vec<PrunerFault> {
        self.found
    }

    /// What `check` finds in the pruner that is wrapped.
    pub(super) fn in_wrapped(&mut self, check: impl FnOnce(&mut Self)) {
        self.within = "wrapped.";
        check(self);
        self.within = "";
    }

    pub(super) fn number(&mut self, field: &str, value: u32, allowed: RangeInclusive<u32>) {
        if !allowed.contains(&value) {
            let limit = format!("{} to {}", allowed.start(), allowed.end());
            self.add("out_of_range", field, value, limit);
        }
    }

    pub(super) fn finite(&mut self, field: &str, value: f64) {
        if !value.is_finite() {
            self.add("not_finite", field, value, "a finite number");
        }
    }

    pub(super) fn float(&mut self, field: &str, value: f64, allowed: RangeInclusive<f64>) {
        // Not a number is in no range.
        if !allowed.contains(&value) {
            let limit = format!("{} to {}", allowed.start(), allowed.end());
            self.add("out_of_range", field, format!("{value:?}"), limit);
        }
    }

    pub(super) fn add(
        &mut self,
        code: &'static str,
        field: &str,
        value: impl Display,
        limit: impl Display,
    ) {
        let field = format!("{}{field}", self.within);
        self.found.push(PrunerFault {
            detail: format!("{field} is {value}; use {limit}"),
            field,
            code,
            value: value.to_string(),
            limit: limit.to_string(),
        });
    }
}
