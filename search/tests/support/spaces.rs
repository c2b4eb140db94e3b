//! Random valid spaces for property tests, shared by the test files.

use proptest::prelude::*;
use trialmill_search::{Choice, Domain, Space};

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
