//! Moving average convergence divergence (Appel 1979).

use super::{Seed, ema};

/// The three columns of [`macd`], one value a row, NaN while undefined.
#[derive(Clone, Debug, PartialEq)]
pub struct Macd {
    /// Fast less slow exponential average, in units of price.
    pub line: Vec<f64>,
    /// Exponential average of the line.
    pub signal: Vec<f64>,
    /// Line less signal.
    pub histogram: Vec<f64>,
}

/// `line = EMA(x, fast) - EMA(x, slow)`, `signal = EMA(line, signal)`, `histogram = line - signal`.
///
/// With [`Seed::Mean`] as in TA-Lib: the slow average is seeded with the mean of the first `slow`
/// values, the fast one with the mean of the last `fast` of these, so that both begin at row
/// `slow - 1`; the signal is seeded with the mean of the first `signal` values of the line. (TA-Lib
/// also leaves out the line before the signal begins, at row `slow + signal - 2`; here it is
/// given.) With [`Seed::FirstValue`] everything begins at row 0, with a line of 0.
///
/// # Panics
/// If a period is 0, or `fast` is above `slow` with [`Seed::Mean`].
#[must_use]
pub fn macd(values: &[f64], fast: usize, slow: usize, signal: usize, seed: Seed) -> Macd {
    let rows = values.len();
    let (begin, skipped) = match seed {
        Seed::Mean => {
            assert!(fast <= slow, "fast {fast} must not be above slow {slow}");
            (slow - 1, slow - fast)
        }
        Seed::FirstValue => (0, 0),
    };
    let mut line = ema(values, slow, seed);
    let fast = ema(&values[skipped.min(rows)..], fast, seed);
    for (line, fast) in line[skipped.min(rows)..].iter_mut().zip(fast) {
        *line = fast - *line;
    }
    let mut of_line = vec![f64::NAN; begin.min(rows)];
    of_line.extend(ema(&line[begin.min(rows)..], signal, seed));
    let histogram = line.iter().zip(&of_line).map(|(l, s)| l - s).collect();
    Macd {
        line,
        signal: of_line,
        histogram,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::indicator::{ema, settling_rows};
    use crate::synthetic::Random;

    #[test]
    fn it_is_the_difference_of_two_averages_and_the_average_of_that() {
        let mut random = Random::new(5);
        let x: Vec<f64> = (0..300).map(|_| 20.0 + random.normal()).collect();
        for (fast, slow, signal) in [(12, 26, 9), (5, 10, 3), (7, 7, 2)] {
            let got = macd(&x, fast, slow, signal, Seed::FirstValue);
            let (f, s) = (
                ema(&x, fast, Seed::FirstValue),
                ema(&x, slow, Seed::FirstValue),
            );
            let line: Vec<f64> = f.iter().zip(&s).map(|(f, s)| f - s).collect();
            assert_eq!(got.line, line);
            assert_eq!(got.signal, ema(&line, signal, Seed::FirstValue));

            let begun = macd(&x, fast, slow, signal, Seed::Mean);
            assert!(begun.line[..slow - 1].iter().all(|v| v.is_nan()));
            let mean =
                |from: usize, to: usize| x[from..to].iter().sum::<f64>() / (to - from) as f64;
            let first = mean(slow - fast, slow) - mean(0, slow);
            assert!((begun.line[slow - 1] - first).abs() < 1e-12);
            let first_signal =
                begun.line[slow - 1..slow + signal - 1].iter().sum::<f64>() / signal as f64;
            assert!(begun.signal[..slow + signal - 2].iter().all(|v| v.is_nan()));
            assert!((begun.signal[slow + signal - 2] - first_signal).abs() < 1e-12);
        }
    }

    #[test]
    fn both_seeds_agree_once_they_are_forgotten() {
        let mut random = Random::new(6);
        let x: Vec<f64> = (0..900).map(|_| 20.0 + random.normal()).collect();
        let (mean, first) = (
            macd(&x, 12, 26, 9, Seed::Mean),
            macd(&x, 12, 26, 9, Seed::FirstValue),
        );
        let settled = 26 + settling_rows(2.0 / 27.0) + 9 + settling_rows(2.0 / 10.0);
        for t in settled..x.len() {
            assert!(
                (mean.histogram[t] - first.histogram[t]).abs() < 1e-8,
                "row {t}"
            );
        }
    }

    #[test]
    fn too_few_rows_give_no_value() {
        let x = [1.0; 25];
        assert!(
            macd(&x, 12, 26, 9, Seed::Mean)
                .line
                .iter()
                .all(|v| v.is_nan())
        );
        assert!(macd(&[], 12, 26, 9, Seed::Mean).histogram.is_empty());
        assert_eq!(macd(&x[..1], 12, 26, 9, Seed::FirstValue).line, [0.0]);
    }
}
