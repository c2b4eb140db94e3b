//! Random valid spaces for property tests, shared by the test files.

use proptest::prelude::*;
use trialmill_search::{Choice, Domain, ParamValue, Space, SpaceBuilder};

/// Bounds and steps as people write them: decimals with up to three places.
fn decimal(range: std::ops::Range<i32>) -> impl Strategy<Value = f64> {
    (range, prop::sample::select(vec![1.0, 10.0, 1000.0]))
        .prop_map(|(n, scale)| f64::from(n) / scale)
}

fn float() -> impl Strategy<Value = Domain> {
    let plain = (decimal(-5000..5000), decimal(0..9000)).prop_map(|(low, width)| Domain::Float {
        low,
        high: low + width,
        step: None,
        log: false,
    });
    let wild = (-1e150..1e150f64, -1e150..1e150f64).prop_map(|(a, b)| Domain::Float {
        low: a.min(b),
        high: a.max(b),
        step: None,
        log: false,
    });
    let log = (1e-12..1e3f64, 1.0..1e9f64).prop_map(|(low, ratio)| Domain::Float {
        low,
        high: low * ratio,
        step: None,
        log: true,
    });
    let stepped = (
        decimal(-5000..5000),
        decimal(1..500),
        1u32..400,
        0.0..0.99f64,
    )
        .prop_map(|(low, step, steps, rest)| Domain::Float {
            low,
            high: low + (f64::from(steps) + rest) * step,
            step: Some(step),
            log: false,
        });
    prop_oneof![plain, wild, log, stepped]
}

fn int() -> impl Strategy<Value = Domain> {
    let stepped =
        (-1000i64..1000, 1i64..50, 1i64..100, 0i64..50).prop_map(|(low, step, steps, rest)| {
            Domain::Int {
                low,
                high: low + step * steps + rest % step,
                step,
                log: false,
            }
        });
    let wide = (-(1i64 << 53)..=0, 1i64..=(1 << 53)).prop_map(|(low, high)| Domain::Int {
        low,
        high,
        step: 1,
        log: false,
    });
    let log = (1i64..100, 0i64..(1 << 40)).prop_map(|(low, width)| Domain::Int {
        low,
        high: low + width,
        step: 1,
        log: true,
    });
    prop_oneof![stepped, wide, log]
}

fn categorical() -> impl Strategy<Value = Domain> {
    (1usize..9).prop_map(|count| {
        let offered = [
            Choice::Null,
            Choice::Bool(true),
            Choice::Bool(false),
            Choice::Int(-3),
            Choice::Float(0.1),
            Choice::Float(-1e300),
            Choice::Text("mean".to_owned()),
            Choice::Text(String::new()),
        ];
        Domain::Categorical {
            choices: offered.into_iter().take(count).collect(),
        }
    })
}

/// One valid domain of any kind.
pub fn domain() -> impl Strategy<Value = Domain> {
    prop_oneof![float(), int(), categorical()]
}

/// A valid space of 1 to 8 parameters.
pub fn space() -> impl Strategy<Value = Space> {
    prop::collection::btree_map("[A-Za-z_][A-Za-z0-9_]{0,12}", domain(), 1..9)
        .prop_map(|parameters| Space::new(parameters).unwrap())
}

/// A domain with few values, so that grids and conditions meet often.
fn small_domain() -> impl Strategy<Value = Domain> {
    let int = (-3i64..3, 0i64..4).prop_map(|(low, width)| Domain::Int {
        low,
        high: low + width,
        step: 1,
        log: false,
    });
    let float = (-3i32..3, 1u32..4).prop_map(|(low, steps)| Domain::Float {
        low: f64::from(low) / 10.0,
        high: f64::from(low) / 10.0 + f64::from(steps) * 0.1,
        step: Some(0.1),
        log: false,
    });
    let categorical = (1usize..4).prop_map(|count| Domain::Categorical {
        choices: ["trend", "mean", "hold"]
            .into_iter()
            .take(count)
            .map(|text| Choice::Text(text.to_owned()))
            .collect(),
    });
    prop_oneof![int, float, categorical]
}

/// A condition over a parameter that about half of its values keep.
fn condition_on(name: &str, domain: &Domain, turned: bool) -> String {
    let middle = match domain {
        Domain::Int { low, high, .. } => (low + high) as f64 / 2.0,
        Domain::Float { low, high, .. } => (low + high) / 2.0,
        Domain::Categorical { .. } if turned => return format!("{name} != 'trend'"),
        Domain::Categorical { .. } => return format!("{name} in ['trend']"),
    };
    if turned {
        format!("{name} > {middle}")
    } else {
        format!("{name} <= {middle}")
    }
}

/// A space with conditions (some on conditional parameters) and constraints, built of few-valued
/// parameters when `small`. Its constraints may leave it without a single point.
pub fn conditional_space(small: bool) -> impl Strategy<Value = Space> {
    let domain = if small {
        small_domain().boxed()
    } else {
        prop_oneof![small_domain(), float(), int()].boxed()
    };
    let parameters = prop::collection::vec(
        (
            domain,
            prop::option::of((any::<prop::sample::Index>(), any::<bool>())),
        ),
        1..6,
    );
    let constraints = prop::collection::vec(
        (
            any::<prop::sample::Index>(),
            any::<prop::sample::Index>(),
            any::<bool>(),
        ),
        0..3,
    );
    (parameters, constraints).prop_map(|(parameters, constraints)| {
        // Names run against the order of dependence, so that the order of activity is no accident.
        let name = |at: usize| format!("p{}", 9 - at);
        let mut builder = SpaceBuilder::default();
        for (at, (domain, when)) in parameters.iter().enumerate() {
            builder = match when {
                Some((parent, turned)) if at > 0 => {
                    let parent = parent.index(at);
                    let when = condition_on(&name(parent), &parameters[parent].0, *turned);
                    builder.conditional(name(at), domain.clone(), when)
                }
                _ => builder.parameter(name(at), domain.clone()),
            };
        }
        for (left, right, turned) in constraints {
            let (left, right) = (left.index(parameters.len()), right.index(parameters.len()));
            let (of_left, of_right) = (&parameters[left].0, &parameters[right].0);
            let left = condition_on(&name(left), of_left, turned);
            let right = condition_on(&name(right), of_right, !turned);
            builder = builder.constraint(format!("{left} or {right}"));
        }
        builder.build().unwrap()
    })
}

/// Every point of a space of listable parameters, found the long way: all combinations of values,
/// then what is absent, then what is allowed, then what is new.
pub fn brute_force(space: &Space) -> std::collections::BTreeSet<Vec<u8>> {
    let mut combinations: Vec<Vec<ParamValue>> = vec![vec![]];
    for parameter in space.parameters() {
        let size = parameter.domain().size().unwrap();
        combinations = combinations
            .into_iter()
            .flat_map(|values| {
                (0..size).map(move |k| [&values[..], &[parameter.domain().value_at(k)]].concat())
            })
            .collect();
    }
    let points = combinations
        .into_iter()
        .map(|values| space.without_inactive(values));
    points
        .filter(|point| space.allows(point))
        .map(|point| space.pack(&point))
        .collect()
}
