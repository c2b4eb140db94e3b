//! Sums of numbers that are known by their logarithms.

use std::f64::consts::LN_2;

/// ln(exp(t_1) + exp(t_2) + ...), gathered in parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct LnSum {
    largest: f64,
    /// Sum of exp(t - largest).
    sum: f64,
    /// A term that is there, added or not yet.
    known: f64,
}

impl LnSum {
    /// Terms this far below the largest are nothing: 2,001 of them, as many as there are kernels, are
    /// less than half a unit in the last place of the sum.
    const NEGLIGIBLE: f64 = -64.0 * LN_2;

    /// No term yet, of which a `known` one will be added some time.
    pub(super) fn expecting(known: f64) -> Self {
        Self {
            largest: f64::NEG_INFINITY,
            sum: 0.0,
            known,
        }
    }

    /// What a term must exceed to change the sum.
    pub(super) fn least(&self) -> f64 {
        self.largest.max(self.known) + Self::NEGLIGIBLE
    }

    pub(super) fn add(&mut self, terms: &[f64]) {
        let largest =
            terms.iter().fold(
                self.largest,
                |largest, term| if *term > largest { *term } else { largest },
            );
        if largest > self.largest {
            self.sum *= libm::exp(self.largest - largest);
            self.largest = largest;
        }
        for term in terms {
            let below = term - largest;
            if below > Self::NEGLIGIBLE {
                self.sum += libm::exp(below);
            }
        }
    }

    pub(super) fn value(&self) -> f64 {
        self.largest + libm::log(self.sum)
    }
}
