//! What judges a result, in lines for people: what it gave on days that had no say in it, and how far
//! luck explains it.

use serde_json::Value;

/// The lines of a result, without an indent; none where nothing of it was computed.
pub fn lines(result: &Value) -> Vec<String> {
    let trust = &result["trust"];
    if !trust.is_object() || !trust["value"].is_null() || trust["reason"].is_string() {
        return Vec::new();
    }
    vec![days(result), chance(trust)]
}

/// In-sample, out of sample and held out, as far as there are such days.
fn days(result: &Value) -> String {
    let (joined, holdout) = (&result["out_of_sample"], &result["holdout"]);
    let in_sample = if joined["from"].is_string() {
        &joined["in_sample_mean_sharpe"]
    } else {
        &result["best"]["in_sample"]["sharpe_ratio"]
    };
    let mut parts = vec![format!("in-sample sharpe {}", shown(in_sample))];
    if joined["from"].is_string() {
        let interval = joined["sharpe_ci95"].as_array().map(Vec::as_slice);
        let interval = match interval {
            Some([low, high]) => format!(" [{}, {}]", shown(low), shown(high)),
            _ => String::new(),
        };
        let sharpe = shown(&joined["sharpe_ratio"]);
        parts.push(format!("out of sample {sharpe}{interval}"));
    }
    if holdout["from"].is_string() {
        parts.push(format!("held out {}", shown(&holdout["sharpe_ratio"])));
    }
    parts.join("  ->  ")
}

fn chance(trust: &Value) -> String {
    let neighbours = match trust["neighbourhood"]["median_ratio"].as_f64() {
        Some(ratio) => format!("neighbours keep {:.0} %", 100.0 * ratio),
        None => format!("neighbours {}", shown(&trust["neighbourhood"])),
    };
    let of = |name: &str, field: &str| match trust[name][field].as_f64() {
        Some(value) if field == "p_value" => format!("{value:.3}"),
        Some(value) => format!("{value:.2}"),
        None => shown(&trust[name]),
    };
    format!(
        "deflated sharpe {}   overfit probability {}   luck p {}   {neighbours}",
        of("deflated_sharpe", "value"),
        of("pbo", "value"),
        of("luck", "p_value"),
    )
}

/// A figure with two decimals, or why there is none.
fn shown(figure: &Value) -> String {
    match figure.as_f64() {
        Some(value) => format!("{value:.2}"),
        None => match figure["reason"].as_str() {
            Some(reason) => format!("none ({reason})"),
            None => "none".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_figure_is_shown_or_says_why_it_is_not_there() {
        let none = |reason: &str| json!({"value": null, "reason": reason});
        let result = json!({
            "best": {"in_sample": {"sharpe_ratio": 1.5}},
            "out_of_sample": {"from": "2017-01-01", "sharpe_ratio": 0.411,
                "sharpe_ci95": [-0.284, 1.091], "in_sample_mean_sharpe": 1.12},
            "holdout": {"from": "2021-01-01", "sharpe_ratio": none("nothing was traded")},
            "trust": {"deflated_sharpe": {"value": 0.58}, "pbo": none("10 trials; needs 20"),
                "luck": {"p_value": 0.11}, "neighbourhood": {"median_ratio": 0.81}},
        });
        assert_eq!(
            lines(&result),
            [
                "in-sample sharpe 1.12  ->  out of sample 0.41 [-0.28, 1.09]  ->  held out none \
                 (nothing was traded)",
                "deflated sharpe 0.58   overfit probability none (10 trials; needs 20)   luck p \
                 0.110   neighbours keep 81 %",
            ]
        );
        let mut in_sample = result;
        in_sample["out_of_sample"] = none("no validation");
        in_sample["holdout"] = none("nothing was held out");
        assert_eq!(lines(&in_sample)[0], "in-sample sharpe 1.50");
        in_sample["trust"] = none("a test function has no returns");
        assert_eq!(lines(&in_sample), Vec::<String>::new());
    }
}
