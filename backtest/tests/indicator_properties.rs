//! What every indicator obeys on any prices.

use proptest::prelude::*;
use trialmill_backtest::indicator::{
    Seed, average_true_range, bollinger_bands, commodity_channel_index, ema, kdj, macd,
    on_balance_volume, raw_stochastic, relative_strength_index, rolling_deviation, rolling_max,
    rolling_min, rsi_of_simple_means, sma, stochastic_fast, stochastic_slow, true_range,
    volume_above_average, window_sum, z_score,
};

#[derive(Clone, Debug)]
struct Bars {
    high: Vec<f64>,
    low: Vec<f64>,
    close: Vec<f64>,
    volume: Vec<f64>,
}

impl Bars {
    fn rows(&self, rows: std::ops::Range<usize>) -> Self {
        Self {
            high: self.high[rows.clone()].to_vec(),
            low: self.low[rows.clone()].to_vec(),
            close: self.close[rows.clone()].to_vec(),
            volume: self.volume[rows].to_vec(),
        }
    }

    fn times(&self, prices: f64, volume: f64) -> Self {
        let times = |values: &[f64], factor: f64| values.iter().map(|v| v * factor).collect();
        Self {
            high: times(&self.high, prices),
            low: times(&self.low, prices),
            close: times(&self.close, prices),
            volume: times(&self.volume, volume),
        }
    }
}

/// Prices in cents that rise, fall and often stand; whole volumes, often none.
fn bars() -> impl Strategy<Value = Bars> {
    let row = (-3i32..=3, 0i32..=2, 0i32..=2, 0u32..=3);
    prop::collection::vec(row, 0..150).prop_map(|rows| {
        let mut price = 900;
        let mut bars = Bars {
            high: vec![],
            low: vec![],
            close: vec![],
            volume: vec![],
        };
        for (step, up, down, volume) in rows {
            price = (price + step * 7).max(30);
            bars.close.push(f64::from(price) / 100.0);
            bars.high.push(f64::from(price + up * 3) / 100.0);
            bars.low.push(f64::from(price - down * 3) / 100.0);
            bars.volume.push(f64::from(volume * 100));
        }
        bars
    })
}

/// What an indicator's values are measured in.
#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Price,
    Volume,
    Ratio,
}

struct Indicator {
    name: &'static str,
    unit: Unit,
    /// How many rows a value depends on, its own included; `None` for recursive ones.
    window: Option<usize>,
    values: fn(&Bars, usize) -> Vec<f64>,
}

fn indicators(window: usize) -> Vec<Indicator> {
    let windowed = |name, unit, window, values| Indicator {
        name,
        unit,
        window: Some(window),
        values,
    };
    let recursive = |name, unit, values| Indicator {
        name,
        unit,
        window: None,
        values,
    };
    let n = window;
    vec![
        windowed("sma", Unit::Price, n, |b, n| sma(&b.close, n)),
        windowed("window_sum", Unit::Price, n, |b, n| window_sum(&b.close, n)),
        windowed("rolling_max", Unit::Price, n, |b, n| {
            rolling_max(&b.high, n)
        }),
        windowed("rolling_min", Unit::Price, n, |b, n| rolling_min(&b.low, n)),
        windowed("rolling_deviation", Unit::Price, n, |b, n| {
            rolling_deviation(&b.close, n, 1)
        }),
        windowed("z_score", Unit::Ratio, n, |b, n| z_score(&b.close, n, 0)),
        windowed("upper band", Unit::Price, n, |b, n| {
            bollinger_bands(&b.close, n, 2.0, 1).upper
        }),
        windowed("raw_stochastic", Unit::Ratio, n, |b, n| {
            raw_stochastic(&b.high, &b.low, &b.close, n)
        }),
        windowed("stochastic_fast", Unit::Ratio, n + 2, |b, n| {
            stochastic_fast(&b.high, &b.low, &b.close, n, 3).d
        }),
        windowed("stochastic_slow", Unit::Ratio, n + 5, |b, n| {
            stochastic_slow(&b.high, &b.low, &b.close, n, 3, 4).d
        }),
        windowed("cci", Unit::Ratio, n, |b, n| {
            commodity_channel_index(&b.high, &b.low, &b.close, n)
        }),
        windowed("rsi_of_simple_means", Unit::Ratio, n + 1, |b, n| {
            rsi_of_simple_means(&b.close, n)
        }),
        windowed("volume_above_average", Unit::Ratio, n, |b, n| {
            volume_above_average(&b.close, &b.volume, n)
        }),
        windowed("true_range", Unit::Price, 2, |b, _| {
            true_range(&b.high, &b.low, &b.close)
        }),
        recursive("ema, mean", Unit::Price, |b, n| {
            ema(&b.close, n, Seed::Mean)
        }),
        recursive("ema, first value", Unit::Price, |b, n| {
            ema(&b.close, n, Seed::FirstValue)
        }),
        recursive("macd, mean", Unit::Price, |b, n| {
            macd(&b.close, n, n + 5, 3, Seed::Mean).histogram
        }),
        recursive("macd, first value", Unit::Price, |b, n| {
            macd(&b.close, n, n + 5, 3, Seed::FirstValue).signal
        }),
        recursive("rsi", Unit::Ratio, |b, n| {
            relative_strength_index(&b.close, n)
        }),
        recursive("atr", Unit::Price, |b, n| {
            average_true_range(&b.high, &b.low, &b.close, n)
        }),
        recursive("kdj", Unit::Ratio, |b, n| {
            kdj(&b.high, &b.low, &b.close, n, 3, 2).j
        }),
        recursive("obv", Unit::Volume, |b, _| {
            on_balance_volume(&b.close, &b.volume)
        }),
    ]
}

/// Equal to the last bit, all NaN counting as one.
fn same(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn later_rows_change_nothing(bars in bars(), window in 2usize..30, cut in 0usize..150) {
        let cut = cut.min(bars.close.len());
        for indicator in indicators(window) {
            let whole = (indicator.values)(&bars, window);
            prop_assert_eq!(whole.len(), bars.close.len());
            let part = (indicator.values)(&bars.rows(0..cut), window);
            prop_assert!(same(&part, &whole[..cut]), "{}", indicator.name);
        }
    }

    #[test]
    fn rows_before_the_window_change_no_bit(bars in bars(), window in 2usize..30, start in 0usize..150) {
        let rows = bars.close.len();
        let start = start.min(rows);
        for indicator in indicators(window) {
            let Some(reach) = indicator.window else {
                continue;
            };
            let whole = (indicator.values)(&bars, window);
            let part = (indicator.values)(&bars.rows(start..rows), window);
            let full = (reach - 1).min(part.len());
            prop_assert!(same(&part[full..], &whole[start + full..]), "{}", indicator.name);
            prop_assert!(part[..full].iter().all(|v| v.is_nan()), "{}", indicator.name);
        }
    }

    #[test]
    fn values_follow_the_units_of_their_prices_and_volumes(bars in bars(), window in 2usize..30) {
        for (prices, volume) in [(4.0, 0.125), (0.5, 64.0)] {
            let other = bars.times(prices, volume);
            for indicator in indicators(window) {
                let factor = match indicator.unit {
                    Unit::Price => prices,
                    Unit::Volume => volume,
                    Unit::Ratio => 1.0,
                };
                let wanted: Vec<f64> = (indicator.values)(&bars, window)
                    .into_iter()
                    .map(|value| value * factor)
                    .collect();
                let got = (indicator.values)(&other, window);
                prop_assert!(same(&got, &wanted), "{} {prices} {volume}", indicator.name);
            }
        }
    }

    #[test]
    fn bounded_indicators_keep_their_bounds(bars in bars(), window in 2usize..30) {
        for indicator in indicators(window) {
            let bounds = match indicator.name {
                "rsi" | "rsi_of_simple_means" | "raw_stochastic" | "stochastic_fast"
                | "stochastic_slow" => 0.0..=100.0 + 1e-12,
                "volume_above_average" => -1.0..=1.0,
                "rolling_deviation" | "true_range" | "atr" => 0.0..=f64::MAX,
                _ => continue,
            };
            for (row, value) in (indicator.values)(&bars, window).into_iter().enumerate() {
                let sound = value.is_nan() || bounds.contains(&value);
                prop_assert!(sound, "{} is {value} at row {row}", indicator.name);
            }
        }
    }
}
