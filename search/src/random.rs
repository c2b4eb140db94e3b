//! Random search: each parameter drawn independently, as Optuna's `RandomSampler` draws it.

use crate::domain::Domain;
use crate::history::History;
use crate::point::{ParamValue, Point};
use crate::sampler::{HistoryNeed, Sampler};
use crate::space::Space;
use crate::stream::Stream;

/// Independent draws. The distributions are those of Optuna's `RandomSampler`:
///
/// | domain | distribution |
/// |---|---|
/// | float | uniform between low and high |
/// | float, log | the logarithm is uniform between ln low and ln high |
/// | float or int with step | uniform over the lattice |
/// | int, log | the logarithm is uniform between ln(low - 0.5) and ln(high + 0.5), rounded |
/// | categorical | uniform over the choices |
///
/// Each parameter takes one word of its stream (rarely more where an integer is drawn).
#[derive(Debug, Clone, Copy)]
pub struct Random;

impl Random {
    /// One draw from a domain that [`Space::new`] has checked.
    pub(crate) fn draw(domain: &Domain, stream: &mut Stream) -> ParamValue {
        if let Domain::Int {
            low,
            high,
            log: true,
            ..
        } = *domain
        {
            return ParamValue::Int(log_int(low, high, stream.unit_f64()));
        }
        if let Some(size) = domain.size() {
            return domain.value_at(stream.below(size));
        }
        let Domain::Float { low, high, log, .. } = *domain else {
            unreachable!("only a float domain has no size");
        };
        ParamValue::Float(float(low, high, log, stream.unit_f64()))
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

impl Sampler for Random {
    fn history_need(&self) -> HistoryNeed {
        HistoryNeed::None
    }

    fn size_limit(&self) -> Option<u64> {
        None
    }

    fn ask(&self, space: &Space, _: &History<'_>, seed: u64, number: u32) -> Option<Point> {
        let draw = |parameter: &crate::Parameter| {
            let mut stream = Stream::for_parameter(seed, number, parameter.name());
            Self::draw(parameter.domain(), &mut stream)
        };
        Some(Point::new(space.parameters().iter().map(draw).collect()))
    }
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
