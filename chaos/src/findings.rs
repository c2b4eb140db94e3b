//! What a run found: violations first, and facts beside them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shared by everybody who watches.
#[derive(Debug, Clone, Default)]
pub struct Findings(Arc<Mutex<Found>>);

#[derive(Debug, Default)]
struct Found {
    violations: Vec<String>,
    counts: BTreeMap<&'static str, u64>,
    /// Of things that take time: seconds each.
    times: BTreeMap<String, Vec<f64>>,
}

impl Findings {
    fn lock(&self) -> MutexGuard<'_, Found> {
        // Lists and maps are whole at every time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something that must not be. Said at once, since the run may go on for an hour.
    pub fn violation(&self, what: impl Into<String>) {
        let what = what.into();
        say(&format!("VIOLATION {what}"));
        self.lock().violations.push(what);
    }

    /// Counts a fact.
    pub fn count(&self, what: &'static str, how_often: u64) {
        *self.lock().counts.entry(what).or_default() += how_often;
    }

    /// How long something took, in seconds.
    pub fn took(&self, what: &str, seconds: f64) {
        self.lock()
            .times
            .entry(what.to_owned())
            .or_default()
            .push(seconds);
    }

    /// All violations so far.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    /// All counts so far.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.lock().counts.clone()
    }

    /// All times so far.
    #[must_use]
    pub fn times(&self) -> BTreeMap<String, Vec<f64>> {
        self.lock().times.clone()
    }
}

/// A line for the person who started the program.
#[expect(clippy::print_stdout, reason = "the report of a program to its user")]
pub fn say(line: &str) {
    println!("{line}");
}

/// The value below which `part` (0 to 1) of the times lie: the nearest one that was measured.
#[must_use]
pub fn percentile(times: &[f64], part: f64) -> Option<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a list of far fewer than 2^53 entries"
    )]
    let place = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(place.clamp(1, sorted.len().max(1)) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let times: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&times, 0.5), Some(50.0));
        assert_eq!(percentile(&times, 0.99), Some(99.0));
        assert_eq!(percentile(&times, 1.0), Some(100.0));
        assert_eq!(percentile(&[7.0], 0.5), Some(7.0));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
