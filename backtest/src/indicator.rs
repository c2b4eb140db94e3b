//! Indicators: what a rule computes from prices and volumes.
//!
//! One value a row, NaN while there is none (the window is not full, or nothing moved and a ratio
//! has no denominator); comparisons with NaN are false, so that an undefined value never signals.
//! The value of row `t` depends on rows at or before `t` only. There are two kinds:
//!
//! - Windowed (means, deviations, extremes, stochastic, commodity channel index, volume against its
//!   average): a function of the rows of the window and of nothing else, to the last bit, wherever
//!   the slice begins. A window without movement gives a deviation of exactly 0.
//! - Recursive (exponential and Wilder averages, RSI, MACD, ATR, KDJ): seeded at the beginning of
//!   the slice and, in theory, dependent on it for ever. [`settling_rows`] tells after how many rows
//!   the seed weighs less than [`SEED_WEIGHT`]. Rules read that many rows before their period
//!   (`warm_up_rows`) and never more, so that their values depend on a fixed number of rows and not
//!   on how much history happens to be stored.
//!
//! All but [`on_balance_volume`] and [`average_true_range`] are used by strategies; those two are
//! here because their values are what users compare.

mod atr;
mod average;
mod cci;
mod deviation;
mod extreme;
mod kdj;
mod macd;
mod rsi;
mod stochastic;
mod volume;
mod window_sums;

pub use atr::{average_true_range, true_range};
pub use average::{SEED_WEIGHT, Seed, ema, settling_rows, sma, window_sum};
pub use cci::commodity_channel_index;
pub use deviation::{BollingerBands, bollinger_bands, rolling_deviation, z_score};
pub use extreme::{rolling_max, rolling_min};
pub use kdj::{Kdj, kdj};
pub use macd::{Macd, macd};
pub use rsi::{relative_strength_index, rsi_of_simple_means};
pub use stochastic::{Stochastic, raw_stochastic, stochastic_fast, stochastic_slow};
pub use volume::{on_balance_volume, volume_above_average};
pub use window_sums::{MAX_VALUE, MAX_WINDOW, WindowSums};

#[cfg(test)]
mod tests {
    use crate::synthetic::Random;

    /// High, low and close of a random walk.
    pub(super) fn bars(rows: usize, seed: u64) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let mut random = Random::new(seed);
        let mut close = 20.0;
        let (mut highs, mut lows, mut closes) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rows {
            let open = close;
            close *= 1.0 + 0.02 * random.normal();
            highs.push(f64::max(open, close) * (1.0 + 0.01 * random.uniform()));
            lows.push(f64::min(open, close) * (1.0 - 0.01 * random.uniform()));
            closes.push(close);
        }
        (highs, lows, closes)
    }
}
