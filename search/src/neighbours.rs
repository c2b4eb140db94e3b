//! The points next to a point: what a small change of one parameter gives.

use crate::domain::Domain;
use crate::point::{ParamValue, Point};
use crate::space::Space;

/// How far a step goes where no step is given: this part of the range.
const PART: f64 = 1.0 / 20.0;

impl Space {
    /// The allowed points that differ from `point` by one step of one parameter, in the order of the
    /// parameters, down before up.
    ///
    /// | domain | one step |
    /// |---|---|
    /// | int, or float with a step | one position of the lattice |
    /// | float | a twentieth of the range |
    /// | float, log | a twentieth of the logarithm's range |
    /// | int, log | the same, rounded, and at least one position |
    /// | categorical | every other choice |
    ///
    /// A step that leaves the range leads nowhere. Where a changed value gives other parameters a
    /// value (conditions), those take the middle of their range. Points that break a constraint are
    /// left out.
    ///
    /// ```
    /// use trialmill_search::{Domain, ParamValue, Point, SpaceBuilder};
    ///
    /// let int = |low, high| Domain::Int { low, high, step: 5, log: false };
    /// let space = SpaceBuilder::default()
    ///     .parameter("fast", int(5, 20))
    ///     .parameter("slow", int(10, 60))
    ///     .constraint("fast < slow")
    ///     .build()
    ///     .expect("the bounds are in order");
    /// let best = Point::new(vec![ParamValue::Int(5), ParamValue::Int(10)]);
    /// // 5 is the lowest, and 10 is not below 10.
    /// let around = space.neighbours(&best);
    /// assert_eq!(around, [Point::new(vec![ParamValue::Int(5), ParamValue::Int(15)])]);
    /// ```
    ///
    /// # Panics
    /// If the point is not one of this space.
    #[must_use]
    pub fn neighbours(&self, point: &Point) -> Vec<Point> {
        let domains = self.parameters().iter().map(|p| p.domain());
        let present = point.values();
        assert_eq!(present.len(), domains.len(), "one value per parameter");
        let awake: Vec<ParamValue> = present
            .iter()
            .zip(domains.clone())
            .map(|(value, domain)| match value {
                ParamValue::Absent => domain.at_unit(0.5),
                value => *value,
            })
            .collect();
        let mut found = Vec::new();
        for (position, domain) in domains.enumerate() {
            for value in steps(domain, present[position]) {
                let mut values = awake.clone();
                values[position] = value;
                let near = self.without_inactive(values);
                if self.allows(&near) {
                    found.push(near);
                }
            }
        }
        found
    }
}

/// The values one step away.
fn steps(domain: &Domain, value: ParamValue) -> Vec<ParamValue> {
    match (domain, value) {
        (
            &Domain::Int {
                low,
                high,
                step,
                log: true,
            },
            ParamValue::Int(value),
        ) => {
            let factor = part_of_log(low as f64, high as f64);
            let down = rounded(value as f64 / factor).min(value - step);
            let up = rounded(value as f64 * factor).max(value + step);
            let inside = [down, up].into_iter();
            let inside = inside.filter(|value| (low..=high).contains(value));
            // A logarithmic int has step 1: every whole number is on the lattice.
            inside.map(ParamValue::Int).collect()
        }
        (
            &Domain::Float {
                low,
                high,
                step: None,
                log,
            },
            ParamValue::Float(value),
        ) => {
            let steps = if log {
                let factor = part_of_log(low, high);
                [value / factor, value * factor]
            } else {
                let part = (high - low) * PART;
                [value - part, value + part]
            };
            let inside = steps.into_iter();
            let inside = inside.filter(|near| (low..=high).contains(near) && *near != value);
            // -0.0 is no value of a domain.
            inside.map(|near| ParamValue::Float(near + 0.0)).collect()
        }
        (Domain::Categorical { choices }, ParamValue::Category(chosen)) => (0u32..)
            .take(choices.len())
            .filter(|choice| *choice != chosen)
            .map(ParamValue::Category)
            .collect(),
        (_, ParamValue::Absent) => Vec::new(),
        (domain, value) => {
            let (Some(place), Some(size)) = (domain.position_of(value), domain.size()) else {
                return Vec::new();
            };
            let near = [place.checked_sub(1), place.checked_add(1)];
            let near = near.into_iter().flatten().filter(|place| *place < size);
            near.map(|place| domain.value_at(place)).collect()
        }
    }
}

/// What a value is multiplied with to go [`PART`] of the logarithm's range.
fn part_of_log(low: f64, high: f64) -> f64 {
    libm::exp((libm::log(high) - libm::log(low)) * PART)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "an integer of at most about 2^53, and saturating"
)]
fn rounded(value: f64) -> i64 {
    libm::rint(value) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::SpaceBuilder;
    use crate::choice::Choice;

    fn float(low: f64, high: f64, step: Option<f64>, log: bool) -> Domain {
        Domain::Float {
            low,
            high,
            step,
            log,
        }
    }

    fn around(domain: Domain, value: ParamValue) -> Vec<ParamValue> {
        let space = Space::new([("x".to_owned(), domain)]).unwrap();
        let near = space.neighbours(&Point::new(vec![value]));
        for point in &near {
            space.check_allowed(point).unwrap();
        }
        near.iter().map(|point| point.values()[0]).collect()
    }

    #[test]
    fn a_lattice_is_stepped_by_one_and_its_ends_have_one_side() {
        let tenth = float(0.1, 1.5, Some(0.1), false);
        let at = |k: f64| ParamValue::Float(0.1 + k * 0.1);
        assert_eq!(around(tenth.clone(), at(2.0)), [at(1.0), at(3.0)]);
        assert_eq!(around(tenth.clone(), at(0.0)), [at(1.0)]);
        assert_eq!(around(tenth, at(14.0)), [at(13.0)]);
        let int = Domain::Int {
            low: 3,
            high: 10,
            step: 3,
            log: false,
        };
        let near = around(int, ParamValue::Int(6));
        assert_eq!(near, [ParamValue::Int(3), ParamValue::Int(9)]);
        let one = float(2.0, 2.0, None, false);
        assert_eq!(around(one, ParamValue::Float(2.0)), []);
    }

    #[test]
    fn where_there_is_no_step_a_twentieth_of_the_range_is_one() {
        let near = around(float(-1.0, 1.0, None, false), ParamValue::Float(0.1));
        assert_eq!(near, [ParamValue::Float(0.0), ParamValue::Float(0.2)]);
        let edge = around(float(0.0, 1.0, None, false), ParamValue::Float(0.98));
        assert_eq!(edge.len(), 1, "{edge:?}");
        // Six decades: a step is a factor of 10^0.3.
        let near = around(float(1e-6, 1.0, None, true), ParamValue::Float(1e-3));
        let [ParamValue::Float(down), ParamValue::Float(up)] = near[..] else {
            panic!("{near:?}");
        };
        let factor = 1.995_262_314_968_879_5;
        assert!((up / 1e-3 - factor).abs() < 1e-12, "{up}");
        assert!((1e-3 / down - factor).abs() < 1e-12, "{down}");
    }

    #[test]
    fn a_logarithmic_int_moves_by_a_part_and_by_one_at_least() {
        let domain = Domain::Int {
            low: 1,
            high: 1_000_000,
            step: 1,
            log: true,
        };
        let of = |value| around(domain.clone(), ParamValue::Int(value));
        assert_eq!(of(1_000), [501, 1_995].map(ParamValue::Int));
        assert_eq!(of(2), [1, 4].map(ParamValue::Int));
        assert_eq!(of(1), [2].map(ParamValue::Int));
        assert_eq!(of(999_999), [501_187, 1_000_000].map(ParamValue::Int)[..1]);
    }

    #[test]
    fn a_parameter_that_gets_a_value_takes_the_middle_and_one_that_loses_it_is_absent() {
        let kinds = ["a", "b", "c"].map(|name| Choice::Text(name.to_owned()));
        let kind = Domain::Categorical {
            choices: kinds.to_vec(),
        };
        let depth = Domain::Int {
            low: 1,
            high: 9,
            step: 1,
            log: false,
        };
        let space = SpaceBuilder::default()
            .parameter("kind", kind)
            .conditional("depth", depth, "kind == 'b'")
            .constraint("kind != 'c'")
            .build()
            .unwrap();
        let point = |depth, kind| Point::new(vec![depth, ParamValue::Category(kind)]);
        let asleep = point(ParamValue::Absent, 0);
        let awake = |depth| point(ParamValue::Int(depth), 1);
        assert_eq!(space.neighbours(&asleep), [awake(5)]);
        assert_eq!(space.neighbours(&awake(9)), [awake(8), asleep]);
    }
}
