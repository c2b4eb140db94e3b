//! One kernel on one axis.

use crate::normal;

/// A normal distribution cut to the unit range.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel {
    pub(super) mean: f64,
    pub(super) width: f64,
}

impl Kernel {
    /// What is spread evenly enough to stand for no knowledge.
    pub(super) const PRIOR: Self = Self {
        mean: 0.5,
        width: 1.0,
    };

    /// The probability of the range before it is cut.
    pub(super) fn mass(self) -> f64 {
        normal::around_mean(-self.mean / self.width, (1.0 - self.mean) / self.width)
    }

    /// The logarithm of the probability between two places, before the range is cut.
    pub(super) fn ln_between(self, low: f64, high: f64) -> f64 {
        let (low, high) = (low - self.mean, high - self.mean);
        normal::ln_between(low / self.width, high / self.width)
    }

    /// By how much that is at least below what it would be around the mean.
    pub(super) fn least_loss(self, low: f64, high: f64) -> f64 {
        let z = (low - self.mean).max(self.mean - high).max(0.0) / self.width;
        0.5 * z * z
    }

    /// A draw for a `unit` that is uniform in `[0, 1)`.
    pub(super) fn draw(self, unit: f64) -> f64 {
        let (low, high) = (-self.mean / self.width, (1.0 - self.mean) / self.width);
        let z = normal::inverse_around_mean(low, high, unit);
        (self.mean + self.width * z).clamp(0.0, 1.0)
    }
}
