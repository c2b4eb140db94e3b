//! How a child is made of its parents.

use super::selection::{Individual, tournament};
use crate::axis::Axis;
use crate::point::{ParamValue, Point};
use crate::random::Random;
use crate::space::{Parameter, Space};
use crate::stream::Stream;

/// How likely a child is made of both parents.
const CROSSOVER: f64 = 0.9;

/// How likely it then has a parameter from the second one.
const EXCHANGE: f64 = 0.5;

/// How near to its old value a number changes: the distribution index of polynomial mutation. With 20
/// half of the changes are within a thirtieth of the range (Deb et al. 2002 have the same).
const NEARNESS: f64 = 20.0;

/// A child of two of the parents. In the first attempt each parameter changes with probability 1 / d, and
/// with each attempt after that one more of them does on average.
pub(super) fn child(
    space: &Space,
    parents: &[Individual<'_>],
    stream: &mut Stream,
    attempt: usize,
) -> Point {
    let first = tournament(parents, stream);
    let second = tournament(parents, stream);
    let both = stream.unit_f64() < CROSSOVER;
    let parameters = space.parameters();
    let change = (1.0 + attempt as f64) / parameters.len() as f64;
    let pairs = first.values().iter().zip(second.values());
    let values = parameters
        .iter()
        .zip(pairs)
        .map(|(parameter, (own, other))| {
            let exchanged = stream.unit_f64() < EXCHANGE;
            let changes = stream.unit_f64() < change;
            let value = match (*own, *other) {
                (ParamValue::Absent, only) | (only, ParamValue::Absent) => only,
                (_, other) if both && exchanged => other,
                (own, _) => own,
            };
            if changes || value.is_absent() {
                mutated(parameter, value, stream)
            } else {
                value
            }
        });
    space.without_inactive(values.collect())
}

/// Another value: of a number one nearby, of a choice any; any, too, where there is none yet, or where
/// the next value of a lattice is too far to be reached.
fn mutated(parameter: &Parameter, value: ParamValue, stream: &mut Stream) -> ParamValue {
    let (unit, redrawn) = (stream.unit_f64(), Random::draw(parameter.domain(), stream));
    let near = Axis::of(parameter.domain()).and_then(|axis| {
        let moved = polynomial(axis.unit(value)?, unit);
        axis.at_unit(moved).filter(|near| *near != value)
    });
    near.unwrap_or(redrawn)
}

/// Polynomial mutation of a place on `[0, 1]` (Deb and Goyal, "A combined genetic adaptive search
/// (GeneAS) for engineering design", 1996, pp. 30-45; bounded form of the authors' program): with `unit`
/// uniform in `[0, 1)`, down for the lower half and up for the upper one, never over an end.
fn polynomial(place: f64, unit: f64) -> f64 {
    let down = unit < 0.5;
    let (tail, room) = if down {
        (2.0 * unit, place)
    } else {
        (2.0 - 2.0 * unit, 1.0 - place)
    };
    let least = libm::pow(1.0 - room, NEARNESS + 1.0);
    let step = 1.0 - libm::pow(tail + (1.0 - tail) * least, 1.0 / (NEARNESS + 1.0));
    if down { place - step } else { place + step }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Domain;

    #[test]
    fn mutation_stays_in_range_reaches_both_ends_and_is_mostly_near() {
        for place in [0.0, 0.01, 0.3, 0.5, 1.0] {
            let moved: Vec<f64> = (0..1_000)
                .map(|k| polynomial(place, f64::from(k) / 1_000.0))
                .collect();
            assert!(
                moved
                    .iter()
                    .all(|moved| (-1e-12..=1.0 + 1e-12).contains(moved)),
                "{place}"
            );
            let rises = |pair: &[f64]| pair[1] > pair[0] - 1e-12;
            assert!(moved.windows(2).all(rises), "{place}");
            assert!(moved[0] < 1e-12, "{place}: {}", moved[0]);
            assert!(
                (moved[500] - place).abs() < 1e-12,
                "{place}: {}",
                moved[500]
            );
            assert!(
                (polynomial(place, 1.0 - 1e-16) - 1.0).abs() < 0.2,
                "{place}"
            );
            let near = moved.iter().filter(|moved| (*moved - place).abs() < 0.05);
            assert!(near.count() > 600, "{place}");
        }
    }

    #[test]
    fn a_mutated_value_is_another_one_of_the_domain() {
        let domains = [
            Domain::Float {
                low: -1e308,
                high: 7e307,
                step: None,
                log: false,
            },
            Domain::Float {
                low: 1e-300,
                high: 1e300,
                step: None,
                log: true,
            },
            Domain::Float {
                low: 0.1,
                high: 1.5,
                step: Some(0.1),
                log: false,
            },
            Domain::Int {
                low: 1,
                high: 1 << 40,
                step: 1,
                log: true,
            },
            Domain::Int {
                low: -5,
                high: 5,
                step: 5,
                log: false,
            },
            Domain::Categorical {
                choices: (0..5).map(crate::Choice::Int).collect(),
            },
        ];
        let mut stream = Stream::for_study(3, "mutation");
        for domain in domains {
            let space = Space::new([("x".to_owned(), domain)]).unwrap();
            let parameter = &space.parameters()[0];
            let mut changed = 0;
            for _ in 0..200 {
                let value = Random::draw(parameter.domain(), &mut stream);
                let other = mutated(parameter, value, &mut stream);
                assert_eq!(
                    space.check_point(&Point::new(vec![other])),
                    Ok(()),
                    "{other}"
                );
                changed += u32::from(other != value);
            }
            assert!(changed > 100, "{changed} of 200 in {parameter:?}");
        }
    }
}
