//! Numbers as people read them.

use serde_json::Value;

/// A figure with four decimals at most, or in scientific form when that would hide it.
pub fn figure(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e9).contains(&size) {
        return format!("{value:.3e}");
    }
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

/// A fraction as a percentage with one decimal.
pub fn percent(fraction: f64) -> String {
    format!("{:.1} %", fraction * 100.0)
}

/// A whole number in groups of three digits.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Seconds as `0.42 s`, `12 s`, `3 min 05 s` or `2 h 10 min`.
pub fn duration(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.2} s");
    }
    let (minutes, rest) = ((seconds / 60.0).floor(), (seconds % 60.0).floor());
    if minutes < 1.0 {
        format!("{rest:.0} s")
    } else if minutes < 60.0 {
        format!("{minutes:.0} min {rest:02.0} s")
    } else {
        format!(
            "{:.0} h {:02.0} min",
            (minutes / 60.0).floor(),
            minutes % 60.0
        )
    }
}

/// A value of a result: a number, or why there is none.
pub fn value(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => {
            number.as_f64().map_or_else(String::new, figure)
        }
        Value::String(text) => text.clone(),
        Value::Object(fields) => match fields.get("reason").and_then(Value::as_str) {
            Some(reason) => format!("none ({reason})"),
            None => value.to_string(),
        },
        other => other.to_string(),
    }
}

/// Parameters or values by name: `long_window 55  short_window 17`.
pub fn named(fields: &Value) -> String {
    let Value::Object(fields) = fields else {
        return value(fields);
    };
    let parts: Vec<String> = fields
        .iter()
        .map(|(name, v)| format!("{name} {}", value(v)))
        .collect();
    parts.join("  ")
}

/// Whether values by metric are those of several objectives.
pub fn has_several(values: &Value) -> bool {
    values.as_object().is_some_and(|values| values.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_keep_what_matters_and_drop_what_does_not() {
        let shown = [1.31, 0.0, -0.0, 2.0, 1e-7, 1.23456, -0.5].map(figure);
        assert_eq!(shown, ["1.31", "0", "0", "2", "1.000e-7", "1.2346", "-0.5"]);
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(percent(0.094), "9.4 %");
        let times = [0.421, 12.9, 185.0, 7_800.0].map(duration);
        assert_eq!(times, ["0.42 s", "12 s", "3 min 05 s", "2 h 10 min"]);
    }

    #[test]
    fn a_missing_figure_is_shown_with_its_reason() {
        let metrics = json!({"n": 3, "sharpe_ratio": {"value": null, "reason": "no trades"}});
        assert_eq!(named(&metrics), "n 3  sharpe_ratio none (no trades)");
    }
}
