//! Cointegration against plain recomputation, and what degenerate input gives.

use trialmill_backtest::cointegration::{
    CointegrationError, Lags, MAX_PAIR_WINDOW, NoFit, Ols, PairError, PairSums, adf, ar1_lambda,
    engle_granger, half_life, largest_lag, ols, rolling_z_scores,
};
use trialmill_backtest::synthetic::Random;

/// Two price series that share a walk; the spread returns by `back` of its distance a row.
fn pair(seed: usize, rows: usize, noise: f64, back: f64) -> (Vec<f64>, Vec<f64>) {
    let mut random = Random::new(seed as u64);
    let slope = 0.3 + 1.5 * random.uniform();
    let (mut walk, mut gap) = (4.0 * random.normal(), 0.0);
    let (mut y, mut x) = (Vec::new(), Vec::new());
    for _ in 0..rows {
        walk += 0.02 * random.normal();
        gap = (1.0 - back) * gap + noise * random.normal();
        x.push(libm::exp(walk));
        y.push(libm::exp(1.0 + slope * walk + gap));
    }
    (y, x)
}

fn logs(prices: &[f64]) -> Vec<f64> {
    prices.iter().map(|&p| libm::log(p)).collect()
}

#[track_caller]
fn near(got: f64, wanted: f64, tolerance: f64, what: &str) {
    assert!(
        (got - wanted).abs() <= tolerance * wanted.abs().max(tolerance),
        "{what}: {got:e} instead of {wanted:e}"
    );
}

#[test]
fn every_window_agrees_with_its_own_regression() {
    for seed in 0..12 {
        let noise = [0.02, 0.005, 0.001][seed % 3];
        let (y, x) = pair(seed, 700, noise, 0.05);
        let sums = PairSums::new(&y, &x).unwrap();
        let (log_y, log_x) = (logs(&y), logs(&x));
        for (window, step) in [(5, 13), (30, 11), (60, 7), (120, 9), (500, 29)] {
            for t in (window - 1..y.len()).step_by(step) {
                let rows = t + 1 - window..t + 1;
                let line = ols(&log_y[rows.clone()], &log_x[rows]).unwrap();
                let fit = sums.fit(t, window).unwrap();
                let what = format!("seed {seed} window {window} row {t}");
                near(fit.hedge_ratio, line.hedge_ratio, 1e-9, &what);
                near(fit.alpha, line.alpha, 1e-9, &what);
                let std = line.residual_std(1).unwrap();
                near(fit.residual_std, std, 1e-9, &what);
                let last = line.residuals[window - 1];
                assert!((fit.residual - last).abs() <= 1e-9 * std, "{what}");
                assert!((fit.z_score - last / std).abs() <= 1e-9, "{what}");
                let lambda = sums.lambda(t, window).unwrap();
                let wanted = ar1_lambda(&line.residuals).unwrap();
                assert!((lambda - wanted).abs() <= 1e-9, "{what}: {lambda} {wanted}");
                assert_eq!(sums.half_life(t, window), half_life(lambda).ok(), "{what}");
            }
        }
    }
}

#[test]
fn rows_outside_a_window_do_not_change_a_bit_of_its_fit() {
    let (y, x) = pair(3, 400, 0.01, 0.1);
    let all = PairSums::new(&y, &x).unwrap();
    for start in [1, 7, 130] {
        let part = PairSums::new(&y[start..390], &x[start..390]).unwrap();
        for window in [5, 30, 120] {
            for t in window - 1..part.rows() {
                assert_eq!(part.fit(t, window), all.fit(start + t, window));
                assert_eq!(part.lambda(t, window), all.lambda(start + t, window));
            }
        }
    }
    let (mut wild_y, mut wild_x) = (y, x);
    for row in 0..50 {
        wild_y[row] = 1e12;
        wild_x[row] = if row % 2 == 0 { 1e-9 } else { 1e12 };
    }
    let wild = PairSums::new(&wild_y, &wild_x).unwrap();
    for t in 79..400 {
        assert_eq!(wild.fit(t, 30), all.fit(t, 30), "row {t}");
        assert_eq!(wild.lambda(t, 30), all.lambda(t, 30), "row {t}");
    }
}

#[test]
fn the_longest_window_of_the_most_extreme_prices_still_sums_exactly() {
    let mut random = Random::new(9);
    let mut extreme = || -> Vec<f64> {
        (0..MAX_PAIR_WINDOW)
            .map(|_| libm::exp(if random.uniform() < 0.5 { -27.9 } else { 27.9 }))
            .collect()
    };
    let (y, x) = (extreme(), extreme());
    let fit = PairSums::new(&y, &x)
        .unwrap()
        .fit(MAX_PAIR_WINDOW - 1, MAX_PAIR_WINDOW)
        .unwrap();
    let line = ols(&logs(&y), &logs(&x)).unwrap();
    near(fit.hedge_ratio, line.hedge_ratio, 1e-9, "hedge ratio");
    near(fit.residual_std, line.residual_std(1).unwrap(), 1e-9, "std");
    // Alternating in opposite steps: the largest covariances of changes there are.
    let swing = |even: f64| -> Vec<f64> {
        (0..MAX_PAIR_WINDOW)
            .map(|row| {
                libm::exp(if row % 2 == 0 { even } else { -even } + 1e-3 * row as f64 % 0.07)
            })
            .collect()
    };
    let (y, x) = (swing(27.8), swing(-27.0));
    let sums = PairSums::new(&y, &x).unwrap();
    let line = ols(&logs(&y), &logs(&x)).unwrap();
    let lambda = sums.lambda(MAX_PAIR_WINDOW - 1, MAX_PAIR_WINDOW).unwrap();
    near(lambda, ar1_lambda(&line.residuals).unwrap(), 1e-6, "lambda");
}

#[test]
fn windows_without_a_line_or_a_spread_say_so() {
    let flat = [5.0; 8];
    let (y, _) = pair(1, 8, 0.01, 0.1);
    let sums = PairSums::new(&y, &flat).unwrap();
    assert_eq!(sums.fit(7, 6), Err(NoFit::ConstantX));
    assert_eq!(sums.lambda(7, 6), Err(NoFit::ConstantX));
    assert_eq!(sums.half_life(7, 6), None);
    let sums = PairSums::new(&flat, &y).unwrap();
    assert_eq!(sums.fit(7, 6), Err(NoFit::NoSpread));
    let double: Vec<f64> = y.iter().map(|p| 2.0 * p).collect();
    let sums = PairSums::new(&double, &y).unwrap();
    assert_eq!(sums.fit(7, 8), Err(NoFit::NoSpread));
    assert_eq!(sums.lambda(7, 8), Err(NoFit::NoSpread));
    // Only the last row leaves the line: there is a spread, but none that could return.
    let mut late = y.clone();
    late[7] *= 1.1;
    let sums = PairSums::new(&late, &y).unwrap();
    assert!(sums.fit(7, 8).is_ok());
}

#[test]
fn prices_that_cannot_be_a_pair_are_named() {
    assert_eq!(
        PairSums::new(&[1.0, 2.0], &[1.0]).unwrap_err(),
        PairError::Lengths { y: 2, x: 1 }
    );
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e13] {
        let error = PairSums::new(&[1.0, 2.0], &[1.0, bad]).unwrap_err();
        assert!(
            matches!(
                error,
                PairError::Price {
                    series: "x",
                    row: 1,
                    ..
                }
            ),
            "{bad}: {error}"
        );
    }
}

/// Solves least squares by elimination with pivoting on the normal equations: slow and plain.
fn plain_regression(columns: &[Vec<f64>], target: &[f64]) -> (Vec<f64>, f64) {
    let width = columns.len();
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut matrix: Vec<Vec<f64>> = columns
        .iter()
        .map(|a| {
            let row = columns.iter().map(|b| product(a, b));
            row.chain([product(a, target)]).collect()
        })
        .collect();
    for i in 0..width {
        let pivot = (i..width)
            .max_by(|&a, &b| matrix[a][i].abs().total_cmp(&matrix[b][i].abs()))
            .unwrap();
        matrix.swap(i, pivot);
        let row = matrix[i].clone();
        for other in matrix.iter_mut().skip(i + 1) {
            let factor = other[i] / row[i];
            for (value, above) in other.iter_mut().zip(&row).skip(i) {
                *value -= factor * above;
            }
        }
    }
    let mut solution = vec![0.0; width];
    for i in (0..width).rev() {
        let known: f64 = (i + 1..width).map(|j| matrix[i][j] * solution[j]).sum();
        solution[i] = (matrix[i][width] - known) / matrix[i][i];
    }
    let errors = (0..target.len())
        .map(|row| {
            let fitted: f64 = (0..width).map(|j| solution[j] * columns[j][row]).sum();
            (target[row] - fitted).powi(2)
        })
        .sum();
    (solution, errors)
}

/// The columns of the test's regression: the level, then the lagged changes.
fn columns(values: &[f64], lags: usize) -> (Vec<Vec<f64>>, Vec<f64>) {
    let changes: Vec<f64> = values.windows(2).map(|w| w[1] - w[0]).collect();
    let rows = lags..changes.len();
    let mut columns = vec![rows.clone().map(|t| values[t]).collect::<Vec<_>>()];
    for back in 1..=lags {
        columns.push(rows.clone().map(|t| changes[t - back]).collect());
    }
    (columns, changes[lags..].to_vec())
}

#[test]
fn the_test_agrees_with_a_plain_regression_for_every_lag() {
    for seed in 0..6 {
        let (y, x) = pair(seed, 60 + 90 * seed, 0.01, 0.07);
        let residuals = ols(&logs(&y), &logs(&x)).unwrap().residuals;
        for lags in 0..=largest_lag(residuals.len()) {
            let (columns, target) = columns(&residuals, lags);
            let (_, errors) = plain_regression(&columns, &target);
            // The t-value by what leaving the level out costs: t^2 = (loss) / (errors / freedom).
            let (slopes, _) = plain_regression(&columns, &target);
            let (_, without) = plain_regression(&columns[1..], &target);
            let freedom = (target.len() - columns.len()) as f64;
            let t = ((without - errors) / (errors / freedom)).sqrt() * slopes[0].signum();
            let got = adf(&residuals, Lags::Fixed(lags)).unwrap();
            assert_eq!((got.lags, got.rows), (lags, target.len()));
            near(got.statistic, t, 1e-8, &format!("seed {seed} lags {lags}"));
        }
    }
}

#[test]
fn akaike_chooses_the_lag_that_separate_regressions_choose() {
    for seed in 0..20 {
        let mut random = Random::new(100 + seed);
        let mut values = vec![0.0; 300];
        for t in 4..values.len() {
            let memory =
                0.4 * (values[t - 2] - values[t - 3]) - 0.3 * (values[t - 3] - values[t - 4]);
            values[t] = 0.95 * values[t - 1] + memory + random.normal();
        }
        let values = &values[4..];
        let largest = largest_lag(values.len());
        let (columns, target) = columns(values, largest);
        let rows = target.len() as f64;
        let criterion = |lag: usize| {
            let (_, errors) = plain_regression(&columns[..=lag], &target);
            rows * (errors / rows).ln() + 2.0 * (lag + 1) as f64
        };
        let wanted = (0..=largest)
            .min_by(|&a, &b| criterion(a).total_cmp(&criterion(b)))
            .unwrap();
        let got = adf(values, Lags::Aic).unwrap();
        assert_eq!(got.lags, wanted, "seed {seed}");
        assert_eq!(got, adf(values, Lags::Fixed(wanted)).unwrap());
    }
}

#[test]
fn the_largest_lag_is_that_of_schwert() {
    for (rows, wanted) in [
        (30, 9),
        (100, 12),
        (101, 13),
        (750, 20),
        (1_600, 24),
        (1_601, 25),
    ] {
        assert_eq!(largest_lag(rows), wanted, "{rows} rows");
    }
    assert_eq!(largest_lag(0), 0);
}

#[test]
fn the_test_does_not_depend_on_the_unit() {
    let (y, x) = pair(5, 400, 0.01, 0.05);
    let residuals = ols(&logs(&y), &logs(&x)).unwrap().residuals;
    let plain = adf(&residuals, Lags::Aic).unwrap();
    for scale in [1e-60, 1e-6, 1e60] {
        let scaled: Vec<f64> = residuals.iter().map(|r| r * scale).collect();
        let got = adf(&scaled, Lags::Aic).unwrap();
        assert_eq!(got.lags, plain.lags);
        near(got.statistic, plain.statistic, 1e-10, "statistic");
    }
}

#[test]
fn degenerate_input_gives_an_error_that_names_it() {
    use CointegrationError as E;
    let (y, x) = pair(2, 100, 0.01, 0.1);
    let (y, x) = (logs(&y), logs(&x));
    let test = |y: &[f64], x: &[f64]| engle_granger(y, x, Lags::Aic).unwrap_err();
    assert_eq!(test(&y[..99], &x), E::Lengths { y: 99, x: 100 });
    assert_eq!(
        test(&y[..29], &x[..29]),
        E::TooFewRows {
            rows: 29,
            needed: 30
        }
    );
    assert_eq!(
        test(&[], &[]),
        E::TooFewRows {
            rows: 0,
            needed: 30
        }
    );
    assert_eq!(test(&y, &[2.0; 100]), E::Constant { series: "x" });
    assert_eq!(test(&[2.0; 100], &x), E::Constant { series: "y" });
    let line: Vec<f64> = x.iter().map(|x| 3.0 - 2.0 * x).collect();
    assert_eq!(test(&line, &x), E::Collinear);
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut broken = x.clone();
        broken[40] = bad;
        assert!(matches!(
            test(&y, &broken),
            E::NotFinite {
                series: "x",
                row: 40,
                ..
            }
        ));
        assert!(matches!(
            adf(&broken, Lags::Aic),
            Err(E::NotFinite { row: 40, .. })
        ));
        assert!(ar1_lambda(&broken).is_err());
    }
    assert_eq!(
        adf(&y, Lags::Fixed(49)),
        Err(E::TooManyLags {
            lags: 49,
            rows: 100,
            limit: 48
        })
    );
    assert!(adf(&y, Lags::Fixed(48)).is_ok());
    // A wave follows an exact rule of two lags, a line an exact one of none.
    let wave: Vec<f64> = (0..100).map(|t| libm::sin(0.3 * f64::from(t))).collect();
    assert_eq!(adf(&wave, Lags::Aic), Err(E::Degenerate));
    let line: Vec<f64> = (0..100).map(|t| f64::from(t) - 49.5).collect();
    assert_eq!(adf(&line, Lags::Aic), Err(E::Degenerate));
    let mut step = vec![0.0; 100];
    step[99] = 1.0;
    assert!(adf(&step, Lags::Aic).is_err());
    for huge in [1e200, 1e-200] {
        let scaled: Vec<f64> = y.iter().map(|v| v * huge).collect();
        assert_eq!(adf(&scaled, Lags::Aic), Err(E::Degenerate));
        assert_eq!(ols(&scaled, &scaled), Err(E::Degenerate));
        assert_eq!(ar1_lambda(&scaled), Err(E::Degenerate));
    }
    assert_eq!(
        ar1_lambda(&[1.0; 9]),
        Err(E::Constant {
            series: "residuals"
        })
    );
    assert_eq!(
        ar1_lambda(&[1.0, 1.0, 1.0, 2.0]),
        Err(E::Constant {
            series: "residuals"
        })
    );
    for lambda in [0.0, 0.1, -0.0, f64::NAN, -f64::from_bits(1)] {
        assert!(half_life(lambda).is_err(), "{lambda}");
    }
    let short = Ols {
        alpha: 0.0,
        hedge_ratio: 1.0,
        r_squared: 0.5,
        residuals: vec![0.1, -0.1],
    };
    assert_eq!(short.residual_std(2), None);
}

#[test]
fn rolling_z_scores_are_undefined_without_a_window_or_a_spread() {
    let z = rolling_z_scores(&[1.0, 2.0, 3.0, 3.0, 3.0, 3.0], 3, 1);
    assert_eq!((z[0], z[1], z[4], z[5]), (None, None, None, None));
    near(z[2].unwrap(), 1.0, 1e-15, "row 2");
    near(z[3].unwrap(), 1.0 / 3.0f64.sqrt(), 1e-15, "row 3");
}
