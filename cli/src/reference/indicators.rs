//! Cases of indicators: the name says which one and with which periods, such as `sma_20`.

use super::{Comparison, Data, object, text};
use serde_json::Value;
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::indicator::{
    Seed, average_true_range, bollinger_bands, commodity_channel_index, ema, macd,
    on_balance_volume, relative_strength_index, rsi_of_simple_means, sma, stochastic_fast,
    stochastic_slow,
};

/// Relative tolerance.
const TOLERANCE: f64 = 1e-9;

/// Computes every indicator that the case names and compares its values.
pub(super) fn compare(
    case: &Value,
    data: &mut Data,
    figures: &mut Comparison,
) -> Result<(), String> {
    let file = data.file(text(case, "data")?);
    let bars = data.rows(&file, &case["first"], &case["last"])?;
    if !case["rows_used"].is_null() {
        figures.exact("rows_used", bars.rows(), &case["rows_used"]);
    }
    // `_check` is how far the file's author found two formulas apart: nothing to compare.
    let expected = object(case, "values")?.iter();
    for (name, expected) in expected.filter(|(name, _)| name.as_str() != "_check") {
        match computed(name, &bars) {
            Some(values) => column(name, &values, expected, figures),
            None => figures.unknown(name, expected),
        }
    }
    Ok(())
}

/// The column of an indicator; `None` for a name that this build does not compute.
fn computed(name: &str, bars: &BarSeries) -> Option<Vec<f64>> {
    let (high, low, close) = (bars.high(), bars.low(), bars.close());
    // `bbands_20_2_upper_ddof0`: the words, and the whole numbers between them in order.
    let (mut words, mut numbers) = (Vec::new(), Vec::new());
    for part in name.split('_') {
        match part.parse::<usize>() {
            Ok(number) => numbers.push(number),
            Err(_) => words.push(part),
        }
    }
    if numbers.iter().any(|n| !(1..=10_000).contains(n)) {
        return None;
    }
    let seed = |words: &[&str]| match words {
        ["talib", ..] => Some(Seed::Mean),
        ["seed", "first", "value"] => Some(Seed::FirstValue),
        _ => None,
    };
    Some(match (words.as_slice(), numbers.as_slice()) {
        (["sma"], &[window]) => sma(close, window),
        (["ema", seeding @ ..], &[period]) => ema(close, period, seed(seeding)?),
        (["rsi", "wilder"], &[period]) => relative_strength_index(close, period),
        (["rsi", "simple", "mean"], &[period]) => rsi_of_simple_means(close, period),
        (["macd", part, seeding @ ..], &[fast, slow, signal]) => {
            let all = macd(close, fast, slow, signal, seed(seeding)?);
            match *part {
                "line" => all.line,
                "signal" => all.signal,
                "hist" => all.histogram,
                _ => return None,
            }
        }
        (["bbands", side, freedom], &[window, width]) => {
            let freedom = freedom.strip_prefix("ddof")?.parse::<usize>().ok()?;
            if freedom >= window {
                return None;
            }
            let width = u8::try_from(width).ok()?;
            let bands = bollinger_bands(close, window, f64::from(width), freedom);
            match *side {
                "upper" => bands.upper,
                "lower" => bands.lower,
                _ => return None,
            }
        }
        (["stoch", "fast", "k"], &[period]) => stochastic_fast(high, low, close, period, 1).k,
        (["stoch", "fast", "d"], &[period, mean]) => {
            stochastic_fast(high, low, close, period, mean).d
        }
        (["stoch", "slow", "k"], &[period, mean]) => {
            stochastic_slow(high, low, close, period, mean, 1).k
        }
        (["stoch", "slow", "d"], &[period, mean, second]) => {
            stochastic_slow(high, low, close, period, mean, second).d
        }
        (["cci"], &[period]) => commodity_channel_index(high, low, close, period),
        (["atr", "wilder"], &[period]) => average_true_range(high, low, close, period),
        (["obv"], &[]) => on_balance_volume(close, bars.volume()),
        _ => return None,
    })
}

/// Compares a column. TA-Lib holds a line back until the slowest line of its indicator begins, so
/// ours may begin earlier: the values from the file's first row on are compared and summed.
fn column(name: &str, values: &[f64], expected: &Value, figures: &mut Comparison) {
    let defined = |value: &f64| (!value.is_nan()).then_some(*value);
    let first = expected["first_valid_index"].as_u64();
    let first = first.and_then(|row| usize::try_from(row).ok()).unwrap_or(0);
    for (field, expected) in expected.as_object().into_iter().flatten() {
        let figure = format!("{name}.{field}");
        match field.as_str() {
            "first_valid_index" => {
                let begins = values.iter().position(|value| !value.is_nan());
                let found = begins.map(|begins| begins.max(first));
                figures.exact(&figure, found, expected);
            }
            "at" => {
                for (row, expected) in expected.as_object().into_iter().flatten() {
                    let found = row.parse::<usize>().ok().and_then(|row| values.get(row));
                    let found = found.and_then(defined);
                    figures.number(&format!("{figure} {row}"), found, expected, TOLERANCE);
                }
            }
            "sum_of_valid" => {
                let sum = values.iter().skip(first).filter_map(defined).sum();
                figures.number(&figure, Some(sum), expected, TOLERANCE);
            }
            _ => figures.unknown(&figure, expected),
        }
    }
}
