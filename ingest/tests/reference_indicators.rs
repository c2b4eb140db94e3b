//! Every indicator against the reference file, to one part in 10^9.

mod reference_cases;
mod shared;

use reference_cases::{cut, reference, within_1e_9};
use serde_json::Value;
use trialmill_backtest::indicator::{
    Seed, average_true_range, bollinger_bands, commodity_channel_index, ema, macd,
    on_balance_volume, relative_strength_index, rsi_of_simple_means, sma, stochastic_fast,
    stochastic_slow,
};

/// Columns of the file that the reference leaves undefined until the slower column beside them
/// begins.
const BEGIN_LATE: [&str; 3] = [
    "stoch_fast_k_14",
    "stoch_slow_k_14_3",
    "macd_12_26_9_line_talib",
];

#[test]
fn every_indicator_agrees_with_the_reference_to_1e_9() {
    let Some(file) = reference("indicator_cases.json") else {
        return;
    };
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 6, "the reference has 6 indicator cases");
    for case in cases {
        let id = case["id"].as_str().unwrap();
        let series = cut(case);
        let series = series.without_suspended_rows().unwrap_or(series);
        assert_eq!(
            series.rows() as u64,
            case["rows_used"].as_u64().unwrap(),
            "{id}"
        );
        let (high, low, close) = (series.high(), series.low(), series.close());

        let talib = macd(close, 12, 26, 9, Seed::Mean);
        let first_value = macd(close, 12, 26, 9, Seed::FirstValue);
        let population = bollinger_bands(close, 20, 2.0, 0);
        let sample = bollinger_bands(close, 20, 2.0, 1);
        let fast = stochastic_fast(high, low, close, 14, 3);
        let slow = stochastic_slow(high, low, close, 14, 3, 3);
        let mut compared = 0;
        for (name, expected) in case["values"].as_object().unwrap() {
            let found = match name.as_str() {
                "sma_20" => &sma(close, 20),
                "ema_20_talib_seed_sma" => &ema(close, 20, Seed::Mean),
                "ema_20_seed_first_value" => &ema(close, 20, Seed::FirstValue),
                "rsi_14_wilder" => &relative_strength_index(close, 14),
                "rsi_14_simple_mean" => &rsi_of_simple_means(close, 14),
                "macd_12_26_9_line_talib" => &talib.line,
                "macd_12_26_9_signal_talib" => &talib.signal,
                "macd_12_26_9_hist_talib" => &talib.histogram,
                "macd_12_26_9_line_seed_first_value" => &first_value.line,
                "macd_12_26_9_hist_seed_first_value" => &first_value.histogram,
                "bbands_20_2_upper_ddof0" => &population.upper,
                "bbands_20_2_lower_ddof0" => &population.lower,
                "bbands_20_2_upper_ddof1" => &sample.upper,
                "stoch_fast_k_14" => &fast.k,
                "stoch_fast_d_14_3" => &fast.d,
                "stoch_slow_k_14_3" => &slow.k,
                "stoch_slow_d_14_3_3" => &slow.d,
                "cci_20" => &commodity_channel_index(high, low, close, 20),
                "atr_14_wilder" => &average_true_range(high, low, close, 14),
                "obv" => &on_balance_volume(close, series.volume()),
                // How far the reference's own two sources differ.
                "_check" => continue,
                unknown => panic!("{id}: no indicator for {unknown}"),
            };
            agrees(found, expected, name, id);
            compared += 1;
        }
        assert_eq!(compared, 20, "{id} has 20 columns");
    }
}

fn agrees(found: &[f64], expected: &Value, name: &str, id: &str) {
    let first = usize::try_from(expected["first_valid_index"].as_u64().unwrap()).unwrap();
    let defined = found.iter().position(|value| !value.is_nan()).unwrap();
    if BEGIN_LATE.contains(&name) {
        assert!(defined < first, "{id} {name} begins at {defined}");
    } else {
        assert_eq!(defined, first, "{id} {name}: first row");
    }
    for (row, wanted) in expected["at"].as_object().unwrap() {
        let value = found[row.parse::<usize>().unwrap()];
        within_1e_9(value, wanted, &format!("{id} {name} row {row}"));
    }
    // Every row counts here, a NaN too.
    let sum = found[first..].iter().sum();
    within_1e_9(sum, &expected["sum_of_valid"], &format!("{id} {name} sum"));
}
