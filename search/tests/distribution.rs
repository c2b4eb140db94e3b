//! Whether draws are spread as documented. Seeds are fixed, so a failure is a change of code and
//! never chance; the thresholds are the 99.9 % quantiles of the chi-square distribution.

use trialmill_search::{Choice, Domain, History, Method, ParamValue, Space, Stream, Study};

const DRAWS: u32 = 20_000;

/// Sum of (seen - expected)^2 / expected.
fn chi_square(seen: &[u32], expected: &[f64]) -> f64 {
    assert_eq!(seen.len(), expected.len());
    seen.iter()
        .zip(expected)
        .map(|(seen, mean)| (f64::from(*seen) - mean).powi(2) / mean)
        .sum()
}

/// Counts `DRAWS` random trials of a one-parameter space by bin.
fn counts(domain: Domain, bins: usize, bin: impl Fn(ParamValue) -> usize) -> Vec<u32> {
    let space = Space::new([("x".to_owned(), domain)]).unwrap();
    let study = Study::new(space, Method::Random, 2026).unwrap();
    let mut seen = vec![0; bins];
    for number in 0..DRAWS {
        seen[bin(study.ask(&History::EMPTY, number).unwrap().values()[0])] += 1;
    }
    seen
}

fn even(bins: usize) -> Vec<f64> {
    vec![f64::from(DRAWS) / bins as f64; bins]
}

fn float(value: ParamValue) -> f64 {
    let ParamValue::Float(value) = value else {
        panic!("{value:?} is not a float")
    };
    value
}

fn int(value: ParamValue) -> i64 {
    let ParamValue::Int(value) = value else {
        panic!("{value:?} is not an int")
    };
    value
}

/// Index of the tenth of `[0, 1]` that holds `part`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "part is in [0, 1]"
)]
fn tenth(part: f64) -> usize {
    ((part * 10.0) as usize).min(9)
}

#[test]
fn a_float_is_uniform_between_its_bounds() {
    let domain = Domain::Float {
        low: -3.0,
        high: 7.0,
        step: None,
        log: false,
    };
    let seen = counts(domain, 10, |value| tenth((float(value) + 3.0) / 10.0));
    let distance = chi_square(&seen, &even(10));
    assert!(distance < 27.88, "chi-square {distance} over {seen:?}");
}

#[test]
fn a_log_float_is_uniform_in_its_logarithm() {
    let domain = Domain::Float {
        low: 1e-6,
        high: 1e4,
        step: None,
        log: true,
    };
    let seen = counts(domain, 10, |value| {
        tenth((float(value).log10() + 6.0) / 10.0)
    });
    let distance = chi_square(&seen, &even(10));
    assert!(distance < 27.88, "chi-square {distance} over {seen:?}");
}

#[test]
fn a_stepped_float_is_uniform_over_its_lattice_ends_included() {
    let domain = Domain::Float {
        low: 0.1,
        high: 1.5,
        step: Some(0.1),
        log: false,
    };
    let seen = counts(domain, 15, |value| {
        (0..15)
            .find(|k| (*k as f64 * 0.1 + 0.1 - float(value)).abs() < 1e-9)
            .unwrap()
    });
    let distance = chi_square(&seen, &even(15));
    assert!(distance < 36.12, "chi-square {distance} over {seen:?}");
}

#[test]
fn a_stepped_int_is_uniform_over_its_lattice_ends_included() {
    let domain = Domain::Int {
        low: -4,
        high: 16,
        step: 2,
        log: false,
    };
    let seen = counts(domain, 11, |value| {
        usize::try_from((int(value) + 4) / 2).unwrap()
    });
    let distance = chi_square(&seen, &even(11));
    assert!(distance < 29.59, "chi-square {distance} over {seen:?}");
}

#[test]
fn a_log_int_has_the_margins_of_a_half() {
    let domain = Domain::Int {
        low: 1,
        high: 12,
        step: 1,
        log: true,
    };
    let seen = counts(domain, 12, |value| usize::try_from(int(value) - 1).unwrap());
    let whole = (12.5_f64 / 0.5).ln();
    let expected: Vec<f64> = (1..=12)
        .map(|n| f64::from(DRAWS) * ((f64::from(n) + 0.5) / (f64::from(n) - 0.5)).ln() / whole)
        .collect();
    let distance = chi_square(&seen, &expected);
    assert!(
        distance < 31.26,
        "chi-square {distance} over {seen:?}, expected {expected:?}"
    );
}

#[test]
fn a_choice_is_as_likely_as_another() {
    let choices = (0..7).map(Choice::Int).collect();
    let seen = counts(Domain::Categorical { choices }, 7, |value| {
        let ParamValue::Category(index) = value else {
            panic!("{value:?} is not a category")
        };
        index as usize
    });
    let distance = chi_square(&seen, &even(7));
    assert!(distance < 22.46, "chi-square {distance} over {seen:?}");
}

#[test]
fn parameters_of_one_trial_are_independent() {
    let domain = Domain::Float {
        low: 0.0,
        high: 1.0,
        step: None,
        log: false,
    };
    let space = Space::new(["x", "y"].map(|name| (name.to_owned(), domain.clone()))).unwrap();
    let study = Study::new(space, Method::Random, 5).unwrap();
    let mut seen = vec![0; 100];
    for number in 0..DRAWS {
        let point = study.ask(&History::EMPTY, number).unwrap();
        let [x, y] = [0, 1].map(|at| tenth(float(point.values()[at])));
        seen[10 * x + y] += 1;
    }
    let distance = chi_square(&seen, &even(100));
    assert!(distance < 148.23, "chi-square {distance}");
}

#[test]
fn the_first_visits_of_a_grid_cover_the_whole_space() {
    let domain = Domain::Int {
        low: 0,
        high: 99,
        step: 1,
        log: false,
    };
    let space = Space::new(["x", "y"].map(|name| (name.to_owned(), domain.clone()))).unwrap();
    let study = Study::new(space, Method::Grid, 11).unwrap();
    let mut seen = vec![0; 100];
    for number in 0..2_000 {
        let point = study.ask(&History::EMPTY, number).unwrap();
        let [x, y] = [0, 1].map(|at| usize::try_from(int(point.values()[at]) / 10).unwrap());
        seen[10 * x + y] += 1;
    }
    let distance = chi_square(&seen, &vec![20.0; 100]);
    assert!(distance < 148.23, "chi-square {distance} over {seen:?}");
}

#[test]
fn an_integer_below_n_is_unbiased_where_shortcuts_are_not() {
    // With n = 3 * 2^62 a plain modulus gives the first third of the results twice as often, and a
    // product without rejection the multiples of three.
    let n = 3 << 62;
    let mut stream = Stream::for_parameter(1, 2, "x");
    let (mut thirds, mut remainders) = ([0; 3], [0; 3]);
    for _ in 0..DRAWS {
        let value = stream.below(n);
        assert!(value < n, "{value}");
        thirds[usize::try_from(value >> 62).unwrap()] += 1;
        remainders[usize::try_from(value % 3).unwrap()] += 1;
    }
    for seen in [thirds, remainders] {
        let distance = chi_square(&seen, &even(3));
        assert!(distance < 13.82, "chi-square {distance} over {seen:?}");
    }
}
