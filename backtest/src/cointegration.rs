//! Cointegration of two price series: the hedge ratio, the Engle-Granger test, the half-life.
//!
//! Two series of log prices that each wander without end are cointegrated when one combination of
//! them, `y - alpha - hedge_ratio * x`, does not: it returns to its mean, and a distance from the
//! mean is something to trade. Engle and Granger (1987, "Co-integration and error correction",
//! Econometrica 55) estimate the combination by least squares and test its residuals for a unit
//! root: [`engle_granger`].
//!
//! The functions here look at all rows they are given. Those for a window that moves over a pair
//! are in [`PairSums`].
//!
//! ```
//! use trialmill_backtest::cointegration::{Lags, ar1_lambda, engle_granger, half_life};
//! use trialmill_backtest::synthetic::Random;
//!
//! let mut random = Random::new(1);
//! let (mut walk, mut gap) = (3.0, 0.0);
//! let (mut y, mut x) = (Vec::new(), Vec::new());
//! for _ in 0..750 {
//!     walk += 0.01 * random.normal();
//!     gap = 0.9 * gap + 0.01 * random.normal(); // half of it is gone after 6.6 rows
//!     x.push(walk);
//!     y.push(0.5 + 0.8 * walk + gap);
//! }
//! let test = engle_granger(&y, &x, Lags::Aic)?;
//! assert!((test.fit.hedge_ratio - 0.8).abs() < 0.1);
//! assert!(test.p_value < 0.001);
//! let rows = half_life(ar1_lambda(&test.fit.residuals)?)?;
//! assert!((4.0..10.0).contains(&rows));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod adf;
mod mackinnon;
mod window;

pub use adf::{Adf, Lags, MIN_ROWS, adf, largest_lag};
pub use mackinnon::{critical_values, p_value};
pub use window::{MAX_PAIR_WINDOW, MIN_PAIR_WINDOW, NoFit, PairError, PairSums, WindowFit};

use thiserror::Error;

/// A coefficient of determination from which two series count as perfectly collinear: what is left
/// as residuals is rounding, and a test of it would be one of the rounding. The bound
/// `1 - 100 sqrt(2^-52)` is that of statsmodels' `coint`, so that the same pairs are tested.
const COLLINEAR_R_SQUARED: f64 = 1.0 - 100.0 / 67_108_864.0;

/// Why a regression or a test has no result.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum CointegrationError {
    /// The series differ in length.
    #[error("y has {y} rows and x has {x}; join them by date first")]
    Lengths {
        /// Rows of y.
        y: usize,
        /// Rows of x.
        x: usize,
    },
    /// Not enough rows.
    #[error("{rows} row(s); at least {needed} are needed")]
    TooFewRows {
        /// Rows given.
        rows: usize,
        /// Rows needed.
        needed: usize,
    },
    /// A value is NaN or infinite.
    #[error("row {row} of {series} is {value}, which is not a finite number")]
    NotFinite {
        /// Which series: `y`, `x` or `residuals`.
        series: &'static str,
        /// The row, counted from 0.
        row: usize,
        /// Its value.
        value: f64,
    },
    /// A series has one value only.
    #[error("{series} never changes; a constant series cannot be regressed or tested")]
    Constant {
        /// Which series: `y`, `x` or `residuals`.
        series: &'static str,
    },
    /// One series is a linear function of the other.
    #[error("y and x are perfectly collinear: no spread is left to test")]
    Collinear,
    /// More lags than the rows allow.
    #[error("{lags} lags; {rows} rows allow at most {limit}")]
    TooManyLags {
        /// Lags asked for.
        lags: usize,
        /// Rows given.
        rows: usize,
        /// The most they allow.
        limit: usize,
    },
    /// The lagged changes determine one another or the change exactly, so that no error is left
    /// to judge by, or the numbers are beyond what can be squared.
    #[error("the residuals follow an exact rule or leave the range of numbers; no test is defined")]
    Degenerate,
}

/// The natural logarithms of prices, which is what all functions here are given.
#[must_use]
pub fn log_prices(prices: &[f64]) -> Vec<f64> {
    prices.iter().map(|&price| libm::log(price)).collect()
}

/// A line fitted by ordinary least squares with a constant: `y = alpha + hedge_ratio x + residual`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ols {
    /// The constant.
    pub alpha: f64,
    /// The slope: units of log x that move with one unit of log y.
    pub hedge_ratio: f64,
    /// 1 - residual sum of squares / sum of squares of y about its mean; 0 to 1.
    pub r_squared: f64,
    /// What the line leaves of each row of y.
    pub residuals: Vec<f64>,
}

impl Ols {
    /// The standard deviation of the residuals, `sqrt(sum of squares / (rows - ddof))`. Their mean
    /// is 0 by construction; `ddof` 2 gives the standard error of the regression, 1 the sample's
    /// deviation. `None` if `ddof` is not below the number of rows.
    #[must_use]
    pub fn residual_std(&self, ddof: usize) -> Option<f64> {
        let freedom = self.residuals.len().checked_sub(ddof).filter(|&d| d > 0)?;
        Some((self.residuals.iter().map(|r| r * r).sum::<f64>() / freedom as f64).sqrt())
    }
}

/// Fits `y = alpha + hedge_ratio x` by least squares, in two passes: the means first, then the
/// sums of squares about them, so that no digits cancel.
///
/// # Errors
/// [`CointegrationError`] if the lengths differ, fewer than 3 rows are given, a value is not
/// finite, a series is constant, or a sum leaves the range of numbers.
pub fn ols(y: &[f64], x: &[f64]) -> Result<Ols, CointegrationError> {
    if y.len() != x.len() {
        return Err(CointegrationError::Lengths {
            y: y.len(),
            x: x.len(),
        });
    }
    enough_rows(y.len(), 3)?;
    movement(y, "y")?;
    movement(x, "x")?;
    let (y_mean, x_mean) = (mean(y), mean(x));
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for (&y, &x) in y.iter().zip(x) {
        let (dy, dx) = (y - y_mean, x - x_mean);
        xx += dx * dx;
        xy += dx * dy;
        yy += dy * dy;
    }
    let hedge_ratio = xy / xx;
    let residuals: Vec<f64> = y
        .iter()
        .zip(x)
        .map(|(&y, &x)| (y - y_mean) - hedge_ratio * (x - x_mean))
        .collect();
    let left: f64 = residuals.iter().map(|r| r * r).sum();
    let (alpha, r_squared) = (y_mean - hedge_ratio * x_mean, 1.0 - left / yy);
    if alpha.is_finite() && r_squared.is_finite() {
        Ok(Ols {
            alpha,
            hedge_ratio,
            r_squared,
            residuals,
        })
    } else {
        Err(CointegrationError::Degenerate)
    }
}

/// The Engle-Granger test of y on x.
#[derive(Clone, Debug, PartialEq)]
pub struct EngleGranger {
    /// The line whose residuals were tested.
    pub fit: Ols,
    /// The augmented Dickey-Fuller statistic; the more negative, the less like a random walk.
    pub statistic: f64,
    /// Lagged changes in the test's regression.
    pub lags: usize,
    /// Rows in the test's regression.
    pub rows: usize,
    /// The probability of a statistic at most this one if there is no cointegration; see
    /// [`p_value`].
    pub p_value: f64,
    /// Statistics at which that probability is 1 %, 5 % and 10 %; see [`critical_values`].
    pub critical_values: [f64; 3],
}

/// Tests whether y and x are cointegrated: the line with a constant, then the unit-root test of its
/// residuals without one. The same figures as statsmodels' `coint(y, x, trend="c")`.
///
/// y on x and x on y are two tests with two results; whoever makes several has to correct for it.
///
/// # Errors
/// As [`ols`] and [`adf()`], and [`CointegrationError::Collinear`] where the line leaves nothing.
pub fn engle_granger(y: &[f64], x: &[f64], lags: Lags) -> Result<EngleGranger, CointegrationError> {
    if y.len() == x.len() {
        enough_rows(y.len(), MIN_ROWS)?;
    }
    let fit = ols(y, x)?;
    if fit.r_squared >= COLLINEAR_R_SQUARED {
        return Err(CointegrationError::Collinear);
    }
    let test = adf(&fit.residuals, lags)?;
    Ok(EngleGranger {
        statistic: test.statistic,
        lags: test.lags,
        rows: test.rows,
        p_value: p_value(test.statistic),
        // One less than the rows: a change needs two. Stata's egranger and statsmodels do so too.
        critical_values: critical_values(y.len() - 1),
        fit,
    })
}

/// How fast residuals return: the least-squares slope, with a constant, of the change from row
/// `t - 1` to `t` on the value of row `t - 1`. Below 0 they return.
///
/// # Errors
/// [`CointegrationError`] if fewer than 4 rows are given, a value is not finite or the residuals
/// are constant.
pub fn ar1_lambda(residuals: &[f64]) -> Result<f64, CointegrationError> {
    enough_rows(residuals.len(), 4)?;
    let before = &residuals[..residuals.len() - 1];
    movement(residuals, "residuals")?;
    movement(before, "residuals")?;
    let changes: Vec<f64> = residuals.windows(2).map(|w| w[1] - w[0]).collect();
    let (before_mean, change_mean) = (mean(before), mean(&changes));
    let (mut square, mut product) = (0.0, 0.0);
    for (value, change) in before.iter().zip(&changes) {
        let distance = value - before_mean;
        square += distance * distance;
        product += distance * (change - change_mean);
    }
    let lambda = product / square;
    if lambda.is_finite() {
        Ok(lambda)
    } else {
        Err(CointegrationError::Degenerate)
    }
}

/// The spread does not return to its mean, so there is no time in which half of it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[error("the spread does not return to its mean: its lambda is {lambda}, which is not below 0")]
pub struct NotMeanReverting {
    /// The slope found, 0 or above.
    pub lambda: f64,
}

/// Rows after which half of a distance from the mean is expected to be gone: `-ln 2 / lambda`, of
/// the Ornstein-Uhlenbeck process whose drift is `lambda` times the distance.
///
/// ```
/// use trialmill_backtest::cointegration::half_life;
/// assert!((half_life(-0.05)? - 13.86).abs() < 0.01);
/// assert!(half_life(0.01).is_err());
/// # Ok::<(), trialmill_backtest::cointegration::NotMeanReverting>(())
/// ```
///
/// # Errors
/// [`NotMeanReverting`] if `lambda` is not below 0, or so close to it that the quotient has no
/// finite value.
pub fn half_life(lambda: f64) -> Result<f64, NotMeanReverting> {
    let rows = -std::f64::consts::LN_2 / lambda;
    if lambda < 0.0 && rows.is_finite() {
        Ok(rows)
    } else {
        Err(NotMeanReverting { lambda })
    }
}

/// `(value - mean) / standard deviation` over the `window` values that end with each row; `None`
/// while the window is not full, and where its values are all equal. O(rows x window).
///
/// # Panics
/// If `window` is not above `ddof`.
#[must_use]
pub fn rolling_z_scores(values: &[f64], window: usize, ddof: usize) -> Vec<Option<f64>> {
    assert!(
        window > ddof,
        "window {window} is not above {ddof} degrees of freedom"
    );
    (0..values.len())
        .map(|row| {
            let rows = &values[(row + 1).checked_sub(window)?..=row];
            movement(rows, "residuals").ok()?;
            let mean = mean(rows);
            let square: f64 = rows.iter().map(|v| (v - mean) * (v - mean)).sum();
            let z = (values[row] - mean) / (square / (window - ddof) as f64).sqrt();
            z.is_finite().then_some(z)
        })
        .collect()
}

fn enough_rows(rows: usize, needed: usize) -> Result<(), CointegrationError> {
    if rows < needed {
        return Err(CointegrationError::TooFewRows { rows, needed });
    }
    Ok(())
}

/// Checks that all values are finite and not all the same.
fn movement(values: &[f64], series: &'static str) -> Result<(), CointegrationError> {
    if let Some(row) = values.iter().position(|v| !v.is_finite()) {
        let value = values[row];
        return Err(CointegrationError::NotFinite { series, row, value });
    }
    if values.iter().all(|&v| v == values[0]) {
        return Err(CointegrationError::Constant { series });
    }
    Ok(())
}

/// The mean, corrected once by the mean of what it leaves.
fn mean(values: &[f64]) -> f64 {
    let rows = values.len() as f64;
    let first = values.iter().sum::<f64>() / rows;
    first + values.iter().map(|v| v - first).sum::<f64>() / rows
}
