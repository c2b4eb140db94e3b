//! From a number in [0, 1) to a value of a domain: how an even spread of numbers becomes the
//! distribution that random and Sobol search share.

use crate::domain::Domain;
use crate::point::ParamValue;

impl Domain {
    /// The value at the part `unit` of the distribution that [`Random`](crate::Random) describes.
    /// On a lattice and among choices each value has an equal part.
    ///
    /// Only meaningful for a domain that belongs to a [`Space`](crate::Space), and for
    /// `0 <= unit < 1`; what lies outside is taken for the nearer end.
    pub(crate) fn at_unit(&self, unit: f64) -> ParamValue {
        match *self {
            Self::Int {
                low,
                high,
                log: true,
                ..
            } => ParamValue::Int(log_int(low, high, unit)),
            Self::Float { low, high, log, .. } if !self.is_by_position() => {
                ParamValue::Float(float(low, high, log, unit))
            }
            Self::Int { .. } | Self::Float { .. } | Self::Categorical { .. } => {
                let size = self.size().expect("what has positions has a size");
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "saturates, and is held below the size"
                )]
                let position = (unit * size as f64) as u64;
                self.value_at(position.min(size - 1))
            }
        }
    }

    /// Whether every value is equally likely: all but a float without step and a logarithmic int.
    pub(crate) fn is_by_position(&self) -> bool {
        self.size().is_some() && !matches!(self, Self::Int { log: true, .. })
    }
}

fn float(low: f64, high: f64, log: bool, unit: f64) -> f64 {
    let value = if log {
        libm::exp(between(libm::log(low), libm::log(high), unit))
    } else {
        between(low, high, unit)
    };
    // Rounding may step over a bound by some units in the last place.
    value.clamp(low, high)
}

fn between(low: f64, high: f64, unit: f64) -> f64 {
    low + unit * (high - low)
}

/// The margins of 0.5 give the two end values the full interval that rounding sends to them.
fn log_int(low: i64, high: i64, unit: f64) -> i64 {
    let (below, above) = (low as f64 - 0.5, high as f64 + 0.5);
    let value = libm::rint(libm::exp(between(libm::log(below), libm::log(above), unit)));
    #[expect(
        clippy::cast_possible_truncation,
        reason = "an integer of at most about 2^53"
    )]
    let value = value as i64;
    value.clamp(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_never_carries_a_draw_over_a_bound() {
        const LAST_UNIT: f64 = 1.0 - f64::EPSILON / 2.0;
        let mut escapes = 0;
        for n in 1..1_000 {
            let (low, high) = (f64::from(n) * 1e-3, f64::from(n) * 0.7);
            escapes += u32::from(libm::exp(libm::log(low)) < low);
            for log in [false, true] {
                let (first, last) = (float(low, high, log, 0.0), float(low, high, log, LAST_UNIT));
                assert!(
                    low <= first && first <= high,
                    "{first} of {low} to {high}, log {log}"
                );
                assert!(
                    low <= last && last <= high,
                    "{last} of {low} to {high}, log {log}"
                );
            }
        }
        assert!(
            escapes > 0,
            "no bound of this test would be crossed without the clamp"
        );
    }
}
