use std::sync::LazyLock;
use trialmill_search::{
    Choice, Expression, MAX_EXPRESSION_CHARS, NameValues, Names, Outcome, Value,
};

/// The most faults of one expression, and the most characters of a value that is repeated.
const MAX_FAULTS: usize = 16;
const MAX_VALUE_CHARS: usize = 70;
/// The most bytes of what one fault says.
const MAX_DETAIL_BYTES: usize = 2_000;

static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let text = |text: &str| Choice::Text(text.to_owned());
    let numbers = ["a", "b", "max_drawdown"].map(|name| (name.to_owned(), NameValues::Number));
    let others = [
        (
            "mode",
            NameValues::Choices(vec![text("trend"), text("it's"), text("")]),
        ),
        (
            "flag",
            NameValues::Choices(vec![Choice::Bool(true), Choice::Bool(false)]),
        ),
        (
            "mixed",
            NameValues::Choices(vec![
                Choice::Null,
                Choice::Bool(true),
                Choice::Int(3),
                text("x"),
            ]),
        ),
        ("fixed", NameValues::Constant(Choice::Float(0.5))),
        ("doubtful", NameValues::Unknown),
    ];
    let others = others.map(|(name, values)| (name.to_owned(), values));
    Names::new("parameter", numbers.into_iter().chain(others))
});

/// What the names stand for, in turn: sound numbers, numbers at the edges, nothing at all.
const WORLDS: [[f64; 2]; 6] = [
    [1.0, 2.0],
    [-0.0, 5e-324],
    [f64::MAX, f64::MIN],
    [f64::INFINITY, f64::NEG_INFINITY],
    [f64::NAN, 0.1],
    [9_007_199_254_740_993.0, -1e-300],
];

fn environment(world: [f64; 2], round: usize) -> impl Fn(&str) -> Value<'static> {
    move |name| match name {
        "a" => Value::Number(world[0]),
        "b" | "max_drawdown" => Value::Number(world[1]),
        "mode" => Value::Text(["trend", "it's", ""][round % 3]),
        "flag" => Value::Bool(round % 2 == 0),
        "mixed" => [
            Value::Null,
            Value::Bool(true),
            Value::Number(3.0),
            Value::Text("x"),
        ][round % 4],
        "fixed" => Value::Number(0.5),
        _ => Value::Undefined,
    }
}

/// A condition over parameters or metrics.
///
/// An accepted one is written in its canonical text, which reads as the same condition and is its
/// own canonical text; evaluated anywhere it gives an outcome, and a violation that is never NaN or
/// negative and is 0 exactly when it holds. A refused one has 1 to 16 faults, in the order of their
/// places, each within the text. Gives whether it was accepted.
pub fn expression(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    let parsed = match Expression::parse(text, &NAMES) {
        Ok(parsed) => parsed,
        Err(faults) => {
            assert!((1..=MAX_FAULTS).contains(&faults.len()), "{faults:?}");
            let end = text.chars().count();
            assert!(
                faults.is_sorted_by_key(|fault| fault.position),
                "{faults:?}"
            );
            for fault in &faults {
                assert!(fault.position <= end, "{fault:?}");
                assert!(fault.value.chars().count() <= MAX_VALUE_CHARS, "{fault:?}");
                assert!(
                    (1..=MAX_DETAIL_BYTES).contains(&fault.detail.len()),
                    "{fault:?}"
                );
            }
            return false;
        }
    };
    assert!(text.chars().count() <= MAX_EXPRESSION_CHARS);
    let canonical = parsed.to_string();
    let again = Expression::parse_stored(&canonical, &NAMES)
        .unwrap_or_else(|faults| panic!("{canonical:?}: {faults:?}"));
    assert_eq!(parsed, again, "{canonical:?}");
    assert_eq!(canonical, again.to_string());
    for (round, world) in WORLDS.into_iter().enumerate() {
        let environment = environment(world, round);
        let outcome = parsed.outcome(&environment);
        let violation = parsed.violation(&environment);
        assert!(violation >= 0.0, "{violation} of {canonical:?}");
        assert_eq!(
            violation == 0.0,
            outcome == Outcome::Holds,
            "{violation} of {canonical:?}"
        );
        assert_eq!(parsed.holds(&environment), outcome == Outcome::Holds);
    }
    true
}
