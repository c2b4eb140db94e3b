//! The grammar of conditions: what it means, what it refuses, and that nothing makes it panic.

use proptest::prelude::*;
use trialmill_search::{
    Choice, Expression, ExpressionFault, MAX_EXPRESSION_CHARS, MAX_EXPRESSION_DEPTH,
    MAX_EXPRESSION_NODES, NameValues, Names, Outcome, Value,
};

/// `a`, `b`, `c` are numbers, `mode` is a text, `flag` is true or false, `mixed` anything.
fn names() -> Names {
    let text = |text: &str| Choice::Text(text.to_owned());
    let modes = vec![text("trend"), text("mean"), text("it's")];
    let mixed = vec![Choice::Null, Choice::Bool(true), Choice::Int(3), text("x")];
    Names::new(
        "parameter",
        [
            ("a".to_owned(), NameValues::Number),
            ("b".to_owned(), NameValues::Number),
            ("c".to_owned(), NameValues::Number),
            ("mode".to_owned(), NameValues::Choices(modes)),
            (
                "flag".to_owned(),
                NameValues::Choices(vec![Choice::Bool(true), Choice::Bool(false)]),
            ),
            ("mixed".to_owned(), NameValues::Choices(mixed)),
        ],
    )
}

fn parsed(text: &str) -> Expression {
    Expression::parse(text, &names()).unwrap_or_else(|faults| panic!("{text}: {faults:?}"))
}

fn refused(text: &str) -> Vec<ExpressionFault> {
    Expression::parse(text, &names()).expect_err(text)
}

/// a = 1, b = 2, c undefined, mode = trend, flag = true, mixed = null.
fn environment(name: &str) -> Value<'static> {
    match name {
        "a" => Value::Number(1.0),
        "b" => Value::Number(2.0),
        "mode" => Value::Text("trend"),
        "flag" => Value::Bool(true),
        "mixed" => Value::Null,
        _ => Value::Undefined,
    }
}

#[test]
fn each_condition_comes_to_what_the_rules_of_arithmetic_and_logic_say() {
    use Outcome::{Broken, Holds, Undefined};
    let cases = [
        ("a < b", Holds, 0.0),
        ("a > b", Broken, 1.0),
        ("a >= b - 0.5", Broken, 0.5),
        ("a < a", Broken, f64::MIN_POSITIVE),
        ("a <= a", Holds, 0.0),
        ("a == b", Broken, 1.0),
        ("a == b + 8", Broken, 9.0),
        ("a != 1", Broken, 1.0),
        ("1 + 2 * 3 == 7", Holds, 0.0),
        ("(1 + 2) * 3 == 9", Holds, 0.0),
        ("8 / 4 / 2 == 1", Holds, 0.0),
        ("8 - 4 - 2 == 2", Holds, 0.0),
        ("8 - (4 - 2) == 6", Holds, 0.0),
        ("-2 * -2 == 4", Holds, 0.0),
        ("- - a == 1", Holds, 0.0),
        ("abs(a - b) == 1", Holds, 0.0),
        ("min(a, b, -4) == -4 and max(a, b) == 2", Holds, 0.0),
        ("mode == 'trend'", Holds, 0.0),
        ("mode != \"trend\"", Broken, 1.0),
        ("mode in ['mean', 'trend']", Holds, 0.0),
        ("mode not in ['mean', 'trend']", Broken, 1.0),
        ("a in [4, 8, 16]", Broken, 3.0),
        ("a in [1.0]", Holds, 0.0),
        ("not a in [-1]", Holds, 0.0),
        ("flag", Holds, 0.0),
        ("not flag", Broken, 1.0),
        ("flag == true and flag", Holds, 0.0),
        ("(a < b) == flag", Holds, 0.0),
        ("mixed == null", Holds, 0.0),
        ("mixed == 'x'", Broken, 1.0),
        ("mixed", Undefined, f64::INFINITY),
        ("mixed > 1", Undefined, f64::INFINITY),
        ("a > 2 or b > 4", Broken, 1.0),
        ("a > 2 and b > 4", Broken, 3.0),
        ("not (a < b and a < 3)", Broken, 1.0),
        ("not (a > b or a > 3)", Holds, 0.0),
        ("true or false and false", Holds, 0.0),
        ("not false and false", Broken, 1.0),
        ("c > 1", Undefined, f64::INFINITY),
        ("not c > 1", Undefined, f64::INFINITY),
        ("c > 1 or flag", Holds, 0.0),
        ("c > 1 and not flag", Broken, f64::INFINITY),
        ("c == c", Undefined, f64::INFINITY),
        ("a / 0 > 1", Undefined, f64::INFINITY),
        ("0 / 0 == 0 / 0", Undefined, f64::INFINITY),
        ("1e300 * 1e300 > 1", Undefined, f64::INFINITY),
        ("c in [1]", Undefined, f64::INFINITY),
        ("max(a, c) > 0", Undefined, f64::INFINITY),
    ];
    for (text, outcome, violation) in cases {
        let expression = parsed(text);
        assert_eq!(expression.outcome(&environment), outcome, "{text}");
        assert_eq!(expression.violation(&environment), violation, "{text}");
        assert_eq!(
            expression.holds(&environment),
            outcome == Outcome::Holds,
            "{text}"
        );
    }
}

#[test]
fn an_infinite_value_compares_and_a_nan_is_undefined() {
    let least = parsed("a >= 2");
    assert!(least.holds(&|_| Value::Number(f64::INFINITY)));
    assert_eq!(
        least.violation(&|_| Value::Number(f64::NEG_INFINITY)),
        f64::INFINITY
    );
    assert_eq!(
        least.outcome(&|_| Value::Number(f64::NAN)),
        Outcome::Undefined
    );
    let equal = parsed("a < b");
    assert!(equal.violation(&|_| Value::Number(f64::INFINITY)) > 0.0);
}

#[test]
fn the_canonical_text_has_even_spacing_and_no_needless_parentheses() {
    let cases = [
        ("a<b", "a < b"),
        ("((a))<(b+(c*2))", "a < b + c * 2"),
        ("a-(b-c)>=.5", "a - (b - c) >= 0.5"),
        ("(a-b)-c>1e3", "a - b - c > 1000"),
        ("-(a+b)<1", "-(a + b) < 1"),
        ("a/(b*c)<1", "a / (b * c) < 1"),
        ("not(not flag)", "not not flag"),
        ("not mode in['mean']", "mode not in ['mean']"),
        ("(flag and a<b) and a<c", "flag and a < b and a < c"),
        ("flag and (a<b or a<c)", "flag and (a < b or a < c)"),
        ("(flag and a<b) or a<c", "flag and a < b or a < c"),
        ("not (a<b and flag)", "not (a < b and flag)"),
        ("mode==\"it's\"", "mode == 'it\\'s'"),
        ("(a<b)==flag", "(a < b) == flag"),
        ("min( a ,b )<max(c,-1)", "min(a, b) < max(c, -1)"),
        ("a in[-0,1e20]", "a in [0, 1e20]"),
    ];
    for (text, canonical) in cases {
        let expression = parsed(text);
        assert_eq!(expression.to_string(), canonical);
        assert_eq!(parsed(canonical), expression, "{canonical}");
    }
}

#[test]
fn each_fault_has_its_code_and_the_character_where_it_begins() {
    let cases: &[(&str, &[(&str, usize)])] = &[
        ("", &[("empty_expression", 0)]),
        ("  ", &[("empty_expression", 2)]),
        ("a <", &[("unexpected_token", 3)]),
        ("a < b b", &[("unexpected_token", 6)]),
        ("(a < b", &[("unexpected_token", 6)]),
        ("a < b)", &[("unexpected_token", 5)]),
        ("a in []", &[("unexpected_token", 6)]),
        ("a in [b]", &[("unexpected_token", 6)]),
        ("a in 3", &[("unexpected_token", 5)]),
        ("abs(a, b) < 1", &[("unexpected_token", 5)]),
        ("min() < 1", &[("unexpected_token", 4)]),
        ("a < not flag", &[("unexpected_token", 4)]),
        ("1 < a < 3", &[("chained_comparison", 6)]),
        ("a == b in [1]", &[("chained_comparison", 7)]),
        ("a = 1", &[("unexpected_character", 2)]),
        ("flag && a < b", &[("unexpected_character", 5)]),
        (
            "a < b; drop",
            &[("unexpected_character", 5), ("unknown_name", 7)],
        ),
        ("a < 'mean", &[("unclosed_text", 4)]),
        (
            "a < 1.2.3 or b < 3x",
            &[("bad_number", 4), ("bad_number", 17)],
        ),
        ("a < 1e999", &[("bad_number", 4)]),
        ("x < y", &[("unknown_name", 0), ("unknown_name", 4)]),
        (
            "x < < y",
            &[
                ("unknown_name", 0),
                ("unexpected_token", 4),
                ("unknown_name", 6),
            ],
        ),
        (
            "exp(a) < 1",
            &[("unknown_name", 0), ("unexpected_token", 3)],
        ),
        ("mode < 3", &[("type_mismatch", 0)]),
        ("mode == 3", &[("type_mismatch", 8)]),
        ("mode == 'tredn'", &[("unknown_choice", 8)]),
        (
            "mode in ['mean', 'tredn', 4]",
            &[("unknown_choice", 17), ("type_mismatch", 26)],
        ),
        ("a + flag > 1", &[("type_mismatch", 4)]),
        ("-mode == 1", &[("type_mismatch", 1)]),
        ("max(a, mode) > 1", &[("type_mismatch", 7)]),
        ("(a < b) < 3", &[("type_mismatch", 0)]),
        ("a == null", &[("type_mismatch", 5)]),
        ("a + b", &[("not_a_condition", 0)]),
        ("not a", &[("not_a_condition", 4)]),
        (
            "flag and a or mode",
            &[("not_a_condition", 9), ("not_a_condition", 14)],
        ),
        ("策略 < a", &[("unexpected_character", 0)]),
        ("a < b ，", &[("unexpected_character", 6)]),
    ];
    for (text, expected) in cases {
        let found = refused(text);
        let found: Vec<_> = found.iter().map(|f| (f.code, f.position)).collect();
        assert_eq!(found, *expected, "{text}");
    }
}

#[test]
fn an_unknown_name_is_told_the_nearest_known_one() {
    let names = Names::new(
        "parameter",
        ["entry_threshold", "exit_threshold"].map(|name| (name.to_owned(), NameValues::Number)),
    );
    let faults = Expression::parse("exit_treshold < entry_threshold", &names).unwrap_err();
    assert_eq!(
        faults,
        [ExpressionFault {
            code: "unknown_name",
            position: 0,
            value: "exit_treshold".to_owned(),
            allowed: vec!["entry_threshold".to_owned(), "exit_threshold".to_owned()],
            detail: "exit_treshold is not a parameter; did you mean exit_threshold?".to_owned(),
        }]
    );
    assert_eq!(
        refused("mode == trend")[0].detail,
        "trend is not a parameter; write 'trend' for the text"
    );
}

#[test]
fn each_bound_is_met_exactly() {
    let padded = |length: usize| format!("a < b{}", " ".repeat(length - 5));
    parsed(&padded(MAX_EXPRESSION_CHARS));
    let faults = refused(&padded(MAX_EXPRESSION_CHARS + 1));
    assert_eq!(
        (faults[0].code, faults[0].position),
        ("too_long", MAX_EXPRESSION_CHARS)
    );

    let nested = |depth: usize| format!("{}flag{}", "(".repeat(depth), ")".repeat(depth));
    parsed(&nested(MAX_EXPRESSION_DEPTH));
    assert_eq!(
        refused(&nested(MAX_EXPRESSION_DEPTH + 1))[0].code,
        "too_deep"
    );
    for deep in ["(", "-", "not ", "abs("] {
        let text: String = deep.repeat(MAX_EXPRESSION_CHARS / deep.len());
        assert_eq!(refused(&text)[0].code, "too_deep", "{deep}");
    }

    // n names and n - 1 operators.
    let sum = |n: usize| vec!["a"; n].join("+") + "<1";
    parsed(&sum(MAX_EXPRESSION_NODES / 2 - 1));
    assert_eq!(refused(&sum(MAX_EXPRESSION_NODES / 2))[0].code, "too_large");
}

#[test]
fn a_name_may_be_called_like_a_function() {
    let names = Names::new("metric", [("max".to_owned(), NameValues::Number)]);
    let expression = Expression::parse("max(max, 1) >= max", &names).unwrap();
    assert!(expression.holds(&|_| Value::Number(7.0)));
    assert_eq!(expression.names().collect::<Vec<_>>(), ["max"]);
}

/// A tree with its fully parenthesized text and its own, naive evaluation.
#[derive(Debug, Clone)]
enum Tree {
    Number(f64),
    Name(&'static str),
    Sum(Box<Tree>, char, Box<Tree>),
    Less(Box<Tree>, Box<Tree>),
    Equal(Box<Tree>, Box<Tree>),
    Not(Box<Tree>),
    Join(Box<Tree>, &'static str, Box<Tree>),
}

impl Tree {
    fn text(&self) -> String {
        match self {
            Self::Number(number) if *number < 0.0 => format!("(-{})", -number),
            Self::Number(number) => format!("{number}"),
            Self::Name(name) => (*name).to_owned(),
            Self::Sum(left, operator, right) => {
                format!("({}{operator}{})", left.text(), right.text())
            }
            Self::Less(left, right) => format!("({}<{})", left.text(), right.text()),
            Self::Equal(left, right) => format!("({}=={})", left.text(), right.text()),
            Self::Not(tree) => format!("(not {})", tree.text()),
            Self::Join(left, word, right) => format!("({} {word} {})", left.text(), right.text()),
        }
    }

    fn number(&self, values: &[f64; 3]) -> Option<f64> {
        let value = match self {
            Self::Number(number) => *number,
            Self::Name(name) => {
                let value = values["abc".find(name).unwrap()];
                return (!value.is_nan()).then_some(value);
            }
            Self::Sum(left, operator, right) => {
                let (left, right) = (left.number(values)?, right.number(values)?);
                match operator {
                    '+' => left + right,
                    '-' => left - right,
                    '*' => left * right,
                    _ => left / right,
                }
            }
            _ => panic!("not a number"),
        };
        value.is_finite().then_some(value)
    }

    fn truth(&self, values: &[f64; 3]) -> Option<bool> {
        match self {
            Self::Less(left, right) => Some(left.number(values)? < right.number(values)?),
            Self::Equal(left, right) => Some(left.number(values)? == right.number(values)?),
            Self::Not(tree) => tree.truth(values).map(|truth| !truth),
            Self::Join(left, word, right) => {
                let decisive = *word == "or";
                match (left.truth(values), right.truth(values)) {
                    (Some(truth), _) | (_, Some(truth)) if truth == decisive => Some(decisive),
                    (Some(_), Some(_)) => Some(!decisive),
                    _ => None,
                }
            }
            _ => panic!("not a condition"),
        }
    }
}

fn number_tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        (-8i32..8).prop_map(|n| Tree::Number(f64::from(n) / 2.0)),
        prop::sample::select(vec!["a", "b", "c"]).prop_map(Tree::Name),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        let operator = prop::sample::select(vec!['+', '-', '*', '/']);
        (inner.clone(), operator, inner)
            .prop_map(|(left, operator, right)| Tree::Sum(left.into(), operator, right.into()))
    })
}

fn condition_tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        (number_tree(), number_tree()).prop_map(|(l, r)| Tree::Less(l.into(), r.into())),
        (number_tree(), number_tree()).prop_map(|(l, r)| Tree::Equal(l.into(), r.into())),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        let word = prop::sample::select(vec!["and", "or"]);
        prop_oneof![
            inner.clone().prop_map(|tree| Tree::Not(tree.into())),
            (inner.clone(), word, inner).prop_map(|(left, word, right)| Tree::Join(
                left.into(),
                word,
                right.into()
            )),
        ]
    })
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        (-8i32..8).prop_map(|n| f64::from(n) / 2.0),
        any::<f64>(),
        Just(f64::NAN),
        Just(f64::INFINITY),
    ]
}

/// Pieces that the grammar is made of, and some that it is not.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a", "b", "mode", "flag", "mixed", "nobody", "and", "or", "not", "in", "true", "null",
        "abs", "min", "(", ")", "[", "]", ",", "<", "<=", "==", "!=", "+", "-", "*", "/", "1",
        "0.5", "1e9", "'trend'", "'", "\"", "=", "&", "é", "\\", "\u{0}", "\n",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn evaluation_agrees_with_a_naive_one(
        tree in condition_tree(),
        values in [any_value(), any_value(), any_value()],
    ) {
        let text = tree.text();
        let expression = parsed(&text);
        let environment = |name: &str| Value::Number(values["abc".find(name).unwrap()]);
        let expected = match tree.truth(&values) {
            Some(true) => Outcome::Holds,
            Some(false) => Outcome::Broken,
            None => Outcome::Undefined,
        };
        prop_assert_eq!(expression.outcome(&environment), expected, "{}", text);

        let violation = expression.violation(&environment);
        prop_assert!(violation >= 0.0, "{}: {}", text, violation);
        prop_assert_eq!(violation == 0.0, expected == Outcome::Holds, "{}: {}", text, violation);

        let canonical = expression.to_string();
        prop_assert_eq!(&parsed(&canonical), &expression, "{} became {}", text, canonical);
    }

    #[test]
    fn any_text_is_read_or_refused_within_its_length(text in prop_oneof![".{0,300}", soup()]) {
        match Expression::parse(&text, &names()) {
            Ok(expression) => {
                let violation = expression.violation(&environment);
                prop_assert_eq!(violation == 0.0, expression.holds(&environment));
                prop_assert_eq!(parsed(&expression.to_string()), expression);
            }
            Err(faults) => {
                prop_assert!(!faults.is_empty());
                for fault in faults {
                    prop_assert!(fault.position <= text.chars().count());
                    prop_assert!(!fault.detail.is_empty() && fault.value.chars().count() <= 67);
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..1_200)) {
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(expression) = Expression::parse(&text, &names()) {
            prop_assert_eq!(parsed(&expression.to_string()), expression);
        }
    }
}
