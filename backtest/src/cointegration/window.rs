//! The line and the speed of return of a pair over a moving window, in constant time per row.

use std::ops::Range;
use thiserror::Error;

/// The longest window of a pair, in rows.
pub const MAX_PAIR_WINDOW: usize = 4_096;

/// The shortest window of a pair, in rows.
pub const MIN_PAIR_WINDOW: usize = 5;

/// Fixed-point scale of log prices: 2^45 exactly, a resolution of 2.8e-14.
const SCALE: f64 = 35_184_372_088_832.0;

/// Log prices beyond this cannot be summed; those of accepted bars lie within -20.8 and 27.7.
const MAX_LOG: f64 = 28.0;

/// Residuals that deviate by less, in log price, are those of perfectly collinear prices: 32 steps
/// of the resolution.
const NO_SPREAD: f64 = 1e-12;

/// Why prices cannot be summed as a pair.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PairError {
    /// The series differ in length.
    #[error("y has {y} prices and x has {x}; join them by date first")]
    Lengths {
        /// Prices of y.
        y: usize,
        /// Prices of x.
        x: usize,
    },
    /// A price has no logarithm within the range.
    #[error(
        "price {price} in row {row} of {series} is not within exp(-{MAX_LOG}) and exp({MAX_LOG})"
    )]
    Price {
        /// `y` or `x`.
        series: &'static str,
        /// The row, counted from 0.
        row: usize,
        /// The price.
        price: f64,
    },
}

/// Why a window has no line or no speed of return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoFit {
    /// All prices of x in the window are the same.
    #[error("x does not move within the window, so no hedge ratio is defined")]
    ConstantX,
    /// Nothing is left of y beside the line.
    #[error("y follows x exactly within the window, so there is no spread")]
    NoSpread,
}

/// The line `ln y = alpha + hedge_ratio ln x + residual` fitted on a window, seen from its last row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WindowFit {
    /// The slope.
    pub hedge_ratio: f64,
    /// The constant.
    pub alpha: f64,
    /// The residual of the last row.
    pub residual: f64,
    /// The standard deviation of the window's residuals with one degree of freedom taken, as the
    /// z-score is defined: `sqrt(sum of squares / (window - 1))`. Above 0.
    pub residual_std: f64,
    /// `residual / residual_std`: the mean of a window's own residuals is 0.
    pub z_score: f64,
}

/// Sums over the log prices of two joined series, from which the line of any window, and the speed
/// at which its residuals return, come in constant time.
///
/// Log prices are rounded to whole multiples of 2^-45 (2.8e-14, far below a tick) and everything
/// about a window up to its sums of squares about the means is exact integer arithmetic: no drift,
/// no cancellation, and the result for a row depends, bit for bit, on the prices of its window and
/// on nothing before or after. Sums of squared residuals are formed from these in twice the
/// precision of `f64`.
///
/// ```
/// use trialmill_backtest::cointegration::PairSums;
///
/// let y = [10.0, 10.4, 10.1, 10.6, 10.3, 10.9, 11.0];
/// let x = [5.0, 5.1, 5.1, 5.2, 5.2, 5.3, 5.5];
/// let pair = PairSums::new(&y, &x)?;
/// let fit = pair.fit(6, 6)?; // row 6, on rows 1 to 6
/// assert!(fit.hedge_ratio > 0.0 && fit.z_score < 0.0); // y is cheap against x on the last row
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct PairSums {
    y: Vec<i64>,
    x: Vec<i64>,
    /// Of all rows below `t`, as all that follow; modulo 2^64 and 2^128, so that the difference of
    /// two is exact when the window's own sum fits, and [`MAX_PAIR_WINDOW`] sees to that.
    sums: Vec<Sums>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    y: i64,
    x: i64,
    yy: i128,
    xy: i128,
    xx: i128,
    /// Products of a row with the row before it.
    lag_yy: i128,
    /// y with the x before plus x with the y before.
    lag_xy: i128,
    lag_xx: i128,
}

/// `rows` squared times the variances and the covariance (of divisor `rows`) of a window, exact.
#[derive(Clone, Copy, Debug)]
struct Moments {
    yy: i128,
    xy: i128,
    xx: i128,
}

impl PairSums {
    /// Sums up the prices (not their logarithms) of two series joined by date.
    ///
    /// # Errors
    /// [`PairError`] if the lengths differ or a price is not a positive number within
    /// exp(-28) and exp(28).
    pub fn new(y: &[f64], x: &[f64]) -> Result<Self, PairError> {
        if y.len() != x.len() {
            return Err(PairError::Lengths {
                y: y.len(),
                x: x.len(),
            });
        }
        let (y, x) = (log_steps(y, "y")?, log_steps(x, "x")?);
        let mut sums = Vec::with_capacity(y.len() + 1);
        let mut sum = Sums::default();
        sums.push(sum);
        let mut before: Option<(i128, i128)> = None;
        for (&y, &x) in y.iter().zip(&x) {
            sum.y = sum.y.wrapping_add(y);
            sum.x = sum.x.wrapping_add(x);
            let (y, x) = (i128::from(y), i128::from(x));
            sum.yy = sum.yy.wrapping_add(y * y);
            sum.xy = sum.xy.wrapping_add(y * x);
            sum.xx = sum.xx.wrapping_add(x * x);
            if let Some((y_before, x_before)) = before {
                sum.lag_yy = sum.lag_yy.wrapping_add(y * y_before);
                sum.lag_xy = sum.lag_xy.wrapping_add(y * x_before + x * y_before);
                sum.lag_xx = sum.lag_xx.wrapping_add(x * x_before);
            }
            before = Some((y, x));
            sums.push(sum);
        }
        Ok(Self { y, x, sums })
    }

    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.y.len()
    }

    /// Bytes taken in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.rows() * (2 * size_of::<i64>() + size_of::<Sums>())
    }

    /// The line fitted on the `window` rows that end with row `t`, and the z-score of row `t`.
    ///
    /// # Errors
    /// [`NoFit`] if the window has no line or no spread.
    ///
    /// # Panics
    /// If the window is not within [`MIN_PAIR_WINDOW`] and [`MAX_PAIR_WINDOW`], begins before row 0
    /// or ends after the last.
    pub fn fit(&self, t: usize, window: usize) -> Result<WindowFit, NoFit> {
        let rows = window_rows(t, window);
        let moments = self.moments(rows.clone());
        let hedge_ratio = moments.hedge_ratio()?;
        let (y_sum, x_sum) = self.totals(rows);
        let count = window as f64;
        let square = moments.of_spread(hedge_ratio) / (count * count * SCALE * SCALE);
        let residual_std = spread(square, hedge_ratio)? * (count / (count - 1.0)).sqrt();
        // The distances from the means are exact integers, `window` times too large.
        let many = i128::try_from(window).expect("a window is at most 4096 rows");
        let y_distance = (many * i128::from(self.y[t]) - i128::from(y_sum)) as f64;
        let x_distance = (many * i128::from(self.x[t]) - i128::from(x_sum)) as f64;
        let residual = (y_distance - hedge_ratio * x_distance) / (count * SCALE);
        Ok(WindowFit {
            hedge_ratio,
            alpha: (y_sum as f64 - hedge_ratio * x_sum as f64) / (count * SCALE),
            residual,
            residual_std,
            z_score: residual / residual_std,
        })
    }

    /// How fast the residuals of the line fitted on the `window` rows ending with row `t` return:
    /// [`ar1_lambda`](super::ar1_lambda) of them. [`half_life`](super::half_life) turns it into
    /// rows.
    ///
    /// # Errors
    /// [`NoFit`] if the window has no line or no spread.
    ///
    /// # Panics
    /// As [`Self::fit`].
    pub fn lambda(&self, t: usize, window: usize) -> Result<f64, NoFit> {
        let rows = window_rows(t, window);
        let hedge_ratio = self.moments(rows.clone()).hedge_ratio()?;
        let earlier = self.moments(rows.start..t);
        let square = earlier.of_spread(hedge_ratio);
        let count = (window - 1) as f64;
        spread(square / (count * count * SCALE * SCALE), hedge_ratio)?;
        let product = self.change_moments(rows, earlier).of_spread(hedge_ratio);
        Ok(product / square)
    }

    /// The half-life, in rows, of the residuals of the line fitted on the `window` rows ending with
    /// row `t`; `None` where they do not return to their mean or there is no line.
    ///
    /// # Panics
    /// As [`Self::fit`].
    #[must_use]
    pub fn half_life(&self, t: usize, window: usize) -> Option<f64> {
        super::half_life(self.lambda(t, window).ok()?).ok()
    }

    /// The sums of y and x over `rows`; |log| <= 28 < 2^5, 2^45 steps, 2^12 rows: below 2^62.
    fn totals(&self, rows: Range<usize>) -> (i64, i64) {
        let (to, from) = (&self.sums[rows.end], &self.sums[rows.start]);
        (to.y.wrapping_sub(from.y), to.x.wrapping_sub(from.x))
    }

    /// Products are below 2^100 and their sums over 2^12 rows below 2^112; times the rows 2^124, and
    /// no sum of those formed anywhere reaches 2^127.
    fn moments(&self, rows: Range<usize>) -> Moments {
        let count = i128::try_from(rows.len()).expect("a window is at most 4096 rows");
        let (to, from) = (&self.sums[rows.end], &self.sums[rows.start]);
        let (y, x) = self.totals(rows);
        let (y, x) = (i128::from(y), i128::from(x));
        Moments {
            yy: count * to.yy.wrapping_sub(from.yy) - y * y,
            xy: count * to.xy.wrapping_sub(from.xy) - y * x,
            xx: count * to.xx.wrapping_sub(from.xx) - x * x,
        }
    }

    /// The covariances of each row's change with the row before it, over all rows but the first;
    /// `earlier` are the moments of all rows but the last. A covariance with the row itself less
    /// one of that row with itself.
    fn change_moments(&self, rows: Range<usize>, earlier: Moments) -> ChangeMoments {
        let (first, end) = (rows.start, rows.end);
        let count = i128::try_from(end - first - 1).expect("a window is at most 4096 rows");
        let (y_after, x_after) = self.totals(first + 1..end);
        let (y_before, x_before) = self.totals(first..end - 1);
        let wide = i128::from;
        let (to, from) = (&self.sums[end], &self.sums[first + 1]);
        let lagged = |to: i128, from: i128, means: i128| count * to.wrapping_sub(from) - means;
        let yy = lagged(to.lag_yy, from.lag_yy, wide(y_after) * wide(y_before));
        let xx = lagged(to.lag_xx, from.lag_xx, wide(x_after) * wide(x_before));
        let means = wide(y_after) * wide(x_before) + wide(x_after) * wide(y_before);
        let both = lagged(to.lag_xy, from.lag_xy, means);
        ChangeMoments {
            yy: yy - earlier.yy,
            both: both - 2 * earlier.xy,
            xx: xx - earlier.xx,
        }
    }
}

/// Covariances of changes with the values before them; `both` is y with x plus x with y.
#[derive(Clone, Copy, Debug)]
struct ChangeMoments {
    yy: i128,
    both: i128,
    xx: i128,
}

impl Moments {
    fn hedge_ratio(&self) -> Result<f64, NoFit> {
        if self.xx == 0 {
            return Err(NoFit::ConstantX);
        }
        Ok(self.xy as f64 / self.xx as f64)
    }

    /// The same moment of `y - hedge_ratio x`.
    fn of_spread(&self, hedge_ratio: f64) -> f64 {
        quadratic(self.yy, 2 * self.xy, self.xx, hedge_ratio)
    }
}

impl ChangeMoments {
    fn of_spread(&self, hedge_ratio: f64) -> f64 {
        quadratic(self.yy, self.both, self.xx, hedge_ratio)
    }
}

/// The deviation of the residuals from their mean square, if that is more than rounding.
fn spread(square: f64, hedge_ratio: f64) -> Result<f64, NoFit> {
    if square <= NO_SPREAD * NO_SPREAD * (1.0 + hedge_ratio * hedge_ratio) {
        return Err(NoFit::NoSpread);
    }
    Ok(square.sqrt())
}

fn window_rows(t: usize, window: usize) -> Range<usize> {
    assert!(
        (MIN_PAIR_WINDOW..=MAX_PAIR_WINDOW).contains(&window),
        "window {window} is not in {MIN_PAIR_WINDOW}..={MAX_PAIR_WINDOW}"
    );
    assert!(
        window <= t + 1,
        "a window of {window} rows ending with row {t} begins before row 0"
    );
    t + 1 - window..t + 1
}

fn log_steps(prices: &[f64], series: &'static str) -> Result<Vec<i64>, PairError> {
    let steps = |(row, &price): (usize, &f64)| {
        let log = if price > 0.0 {
            libm::log(price)
        } else {
            f64::NAN
        };
        if log.abs() <= MAX_LOG {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "28 times 2^45 is below 2^50; a fraction of a step is rounded away"
            )]
            Ok((log * SCALE).round_ties_even() as i64)
        } else {
            Err(PairError::Price { series, row, price })
        }
    };
    prices.iter().enumerate().map(steps).collect()
}

/// `a - b ratio + c ratio^2` in twice the precision of `f64`: where y follows x closely the three
/// all but cancel. Rounded once at the end.
fn quadratic(a: i128, b: i128, c: i128, ratio: f64) -> f64 {
    let inner = Double::from(c).times(ratio).plus(Double::from(-b));
    let outer = inner.times(ratio).plus(Double::from(a));
    outer.high + outer.low
}

/// An unevaluated sum of two numbers, the lower below half a unit in the last place of the higher
/// (T. J. Dekker 1971, "A floating-point technique for extending the available precision",
/// Numerische Mathematik 18).
#[derive(Clone, Copy)]
struct Double {
    high: f64,
    low: f64,
}

impl From<i128> for Double {
    fn from(value: i128) -> Self {
        let high = value as f64;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "high is a whole number below 2^127"
        )]
        let low = (value - high as i128) as f64;
        Self { high, low }
    }
}

impl Double {
    fn plus(self, other: Self) -> Self {
        let high = self.high + other.high;
        let shift = high - self.high;
        let error = (self.high - (high - shift)) + (other.high - shift);
        Self::tidy(high, error + (self.low + other.low))
    }

    fn times(self, factor: f64) -> Self {
        let high = self.high * factor;
        let ((a, b), (c, d)) = (halves(self.high), halves(factor));
        let error = ((a * c - high) + a * d + b * c) + b * d;
        Self::tidy(high, error + self.low * factor)
    }

    fn tidy(high: f64, low: f64) -> Self {
        let sum = high + low;
        Self {
            high: sum,
            low: low - (sum - high),
        }
    }
}

/// Splits a number into two of 26 bits each, whose products are exact.
fn halves(value: f64) -> (f64, f64) {
    const SPLITTER: f64 = 134_217_729.0; // 2^27 + 1
    let wide = SPLITTER * value;
    let high = wide - (wide - value);
    (high, value - high)
}
