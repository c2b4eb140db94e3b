//! The augmented Dickey-Fuller test without a constant, for residuals.

use super::{CointegrationError, enough_rows, movement};

/// The fewest rows a unit-root test is made for. From here on the largest lag leaves more rows than
/// coefficients.
pub const MIN_ROWS: usize = 30;

/// A column counts as a combination of those before it if that leaves less than this share of its
/// sum of squares.
const SINGULAR: f64 = 1e-11;

/// How many lagged changes the test's regression has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lags {
    /// This many.
    Fixed(usize),
    /// As many as Akaike's criterion finds best, from 0 to [`largest_lag`].
    Aic,
}

/// The result of the test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adf {
    /// The t-value of the level; the more negative, the less like a random walk.
    pub statistic: f64,
    /// Lagged changes in the regression.
    pub lags: usize,
    /// Rows in the regression: those of the series less one and less the lags.
    pub rows: usize,
}

/// The largest lag tried: `ceil(12 (rows / 100)^(1/4))` (Schwert 1989, "Tests for unit roots: a
/// Monte Carlo investigation", Journal of Business & Economic Statistics 7), at most
/// `rows / 2 - 1`.
#[must_use]
pub fn largest_lag(rows: usize) -> usize {
    // The root of a root is exact where the fourth root is a whole number.
    let schwert = (12.0 * (rows as f64 / 100.0).sqrt().sqrt()).ceil();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most 12 (2^64 / 100)^(1/4), not below 0"
    )]
    let schwert = schwert as usize;
    schwert.min((rows / 2).saturating_sub(1))
}

/// Tests a series of mean 0, such as residuals, for a unit root: the t-value of `b` in
/// `change[t] = b level[t-1] + c1 change[t-1] + ... + ck change[t-k]`, without a constant (Said and
/// Dickey 1984). The same figures as statsmodels' `adfuller(regression="n")`.
///
/// With [`Lags::Aic`] the regressions of all lags are compared on the rows that the largest lag
/// leaves, by `rows ln(sum of squared errors / rows) + 2 coefficients`, the smaller lag winning a
/// tie; the test is then made on all rows that the lag found leaves. One triangular factor of the
/// normal equations of the largest lag serves the smaller ones: each further column takes the square
/// of its entry from the sum of squared errors. So the cost is O(rows lags^2) in all.
///
/// # Errors
/// [`CointegrationError`] if there are fewer than [`MIN_ROWS`] rows, a value is not finite, the
/// series is constant, a fixed lag is above `rows / 2 - 2` (no error would be left to judge by),
/// or the columns are collinear.
pub fn adf(values: &[f64], lags: Lags) -> Result<Adf, CointegrationError> {
    enough_rows(values.len(), MIN_ROWS)?;
    movement(values, "residuals")?;
    let changes: Vec<f64> = values.windows(2).map(|w| w[1] - w[0]).collect();
    let lags = match lags {
        Lags::Aic => best_lag(values, &changes)?,
        Lags::Fixed(lags) => {
            let (rows, limit) = (values.len(), values.len() / 2 - 2);
            if lags > limit {
                return Err(CointegrationError::TooManyLags { lags, rows, limit });
            }
            lags
        }
    };
    let sample = Sample::new(values, &changes, lags);
    // The level last: its t-value then needs nothing but the last entries of the factor.
    let columns = sample.lagged().chain([sample.level, sample.target]);
    let factor = Factor::new(&columns.collect::<Vec<_>>())?;
    let (coefficients, rows) = (lags + 1, sample.target.len());
    let errors = factor.squared_errors(coefficients);
    if errors <= SINGULAR * factor.squares {
        return Err(CointegrationError::Degenerate);
    }
    let statistic = factor.projections[lags] / (errors / (rows - coefficients) as f64).sqrt();
    Ok(Adf {
        statistic,
        lags,
        rows,
    })
}

fn best_lag(values: &[f64], changes: &[f64]) -> Result<usize, CointegrationError> {
    let largest = largest_lag(values.len());
    let sample = Sample::new(values, changes, largest);
    let columns = std::iter::once(sample.level)
        .chain(sample.lagged())
        .chain([sample.target]);
    let factor = Factor::new(&columns.collect::<Vec<_>>())?;
    let rows = sample.target.len() as f64;
    let mut best = (f64::INFINITY, 0);
    for lag in 0..=largest {
        let errors = factor.squared_errors(lag + 1);
        if errors <= SINGULAR * factor.squares {
            return Err(CointegrationError::Degenerate);
        }
        let criterion = rows * libm::log(errors / rows) + 2.0 * (lag + 1) as f64;
        if criterion < best.0 {
            best = (criterion, lag);
        }
    }
    Ok(best.1)
}

/// The columns of the regression on the rows that `lags` lagged changes leave.
struct Sample<'a> {
    changes: &'a [f64],
    lags: usize,
    level: &'a [f64],
    target: &'a [f64],
}

impl<'a> Sample<'a> {
    fn new(values: &'a [f64], changes: &'a [f64], lags: usize) -> Self {
        Self {
            changes,
            lags,
            level: &values[lags..changes.len()],
            target: &changes[lags..],
        }
    }

    /// The changes one row back, two rows back, ...
    fn lagged(&self) -> impl Iterator<Item = &'a [f64]> {
        let (changes, lags) = (self.changes, self.lags);
        (1..=lags).map(move |back| &changes[lags - back..changes.len() - back])
    }
}

/// What the Cholesky factor of the normal equations says about the last column, the target.
struct Factor {
    /// For each column before the target: the length of the target along what that column adds to
    /// those before it.
    projections: Vec<f64>,
    /// The sum of squares of the target.
    squares: f64,
}

impl Factor {
    /// Factors the products of the columns, the last of which is the target.
    fn new(columns: &[&[f64]]) -> Result<Self, CointegrationError> {
        let width = columns.len();
        // Row by row, lower triangle: row i has i + 1 entries.
        let mut rows: Vec<Vec<f64>> = Vec::with_capacity(width);
        let mut squares = 0.0;
        for (i, column) in columns.iter().enumerate() {
            let mut row = Vec::with_capacity(i + 1);
            for (j, other) in columns[..i].iter().enumerate() {
                let known = dot(&row, &rows[j][..j]);
                row.push((dot(column, other) - known) / rows[j][j]);
            }
            squares = dot(column, column);
            let left = squares - dot(&row, &row);
            if i + 1 < width {
                // Also refuses NaN, which is what numbers too large to square end in.
                if !(left.is_finite() && left > SINGULAR * squares) {
                    return Err(CointegrationError::Degenerate);
                }
                row.push(left.sqrt());
            }
            rows.push(row);
        }
        let projections = rows.pop().expect("there is a target");
        if !squares.is_finite() || projections.iter().any(|p| !p.is_finite()) {
            return Err(CointegrationError::Degenerate);
        }
        Ok(Self {
            projections,
            squares,
        })
    }

    /// The sum of squared errors when the target is regressed on the first `coefficients` columns.
    fn squared_errors(&self, coefficients: usize) -> f64 {
        let explained = &self.projections[..coefficients];
        explained.iter().fold(self.squares, |left, p| left - p * p)
    }
}

/// The sum of products in eight lanes, whose order is fixed: the same bits everywhere, and as fast
/// as the machine's vectors.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_chunks, a_rest) = a.as_chunks::<8>();
    let (b_chunks, b_rest) = b.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>();
    ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5]))
        + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]))
        + rest
}
