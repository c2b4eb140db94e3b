//! What a code does not tell of a share.

use chrono::NaiveDate;

/// When a share was listed and when it was under special treatment: from an imported table.
///
/// Without it a share is never taken to be under special treatment, and the first rows of its
/// series are those of a new share, perhaps: see [`crate::engine`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The listing day.
    pub listed: Option<NaiveDate>,
    /// First and last day of each time under special treatment (ST, *ST).
    pub special_treatment: Vec<(NaiveDate, NaiveDate)>,
}

impl Status {
    /// Whether it was under special treatment on a day.
    #[must_use]
    pub fn is_specially_treated(&self, day: NaiveDate) -> bool {
        let times = &mut self.special_treatment.iter();
        times.any(|&(first, last)| (first..=last).contains(&day))
    }
}
