//! `backtest --reference` as a program, on the files of expected values where they are.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The folder of shared files, or a printed message and `None`.
#[expect(clippy::print_stderr, reason = "a test that skips has to say so")]
fn shared() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    if folder.join("reference").is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: ../shared/reference is not there");
    None
}

fn check(file: &Path, data: &Path) -> Output {
    // From the folder of the data, so that a relative path is tried too.
    Command::new(env!("CARGO_BIN_EXE_trialmill"))
        .current_dir(data)
        .args(["backtest", "--json", "--reference"])
        .arg(file)
        .arg("--data")
        .arg(".")
        .output()
        .unwrap()
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

#[test]
fn every_case_of_the_three_forms_agrees() {
    let Some(shared) = shared() else { return };
    for (file, form, cases) in [
        ("backtest_cases.json", "backtests", 24),
        ("indicator_cases.json", "indicators", 6),
        ("cointegration_cases.json", "pairs", 5),
    ] {
        let output = check(&shared.join("reference").join(file), &shared.join("data"));
        let told = document(&output);
        assert!(output.status.success(), "{told:#}");
        assert_eq!(
            (&told["form"], &told["agree"]),
            (&form.into(), &cases.into())
        );
        let least = told["verdicts"].as_array().unwrap().iter();
        let least = least.map(|one| one["compared"].as_u64().unwrap()).min();
        assert!(least >= Some(10), "{file}: {least:?}");
    }
}

#[test]
fn a_figure_that_is_off_or_unknown_is_named_and_ends_with_1() {
    let Some(shared) = shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let spoilt = folder.path().join("spoilt.json");
    let tampered = [
        ("backtest_cases.json", "/cases/3/expected/sharpe", "sharpe"),
        (
            "indicator_cases.json",
            "/cases/1/values/cci_20/sum_of_valid",
            "cci_20.sum_of_valid",
        ),
        (
            "cointegration_cases.json",
            "/cases/0/expected/half_life",
            "half_life",
        ),
    ];
    for (file, place, figure) in tampered {
        let text = std::fs::read_to_string(shared.join("reference").join(file)).unwrap();
        let mut cases: Value = serde_json::from_str(&text).unwrap();
        let value = cases.pointer_mut(place).unwrap();
        *value = (value.as_f64().unwrap() * (1.0 + 3e-6)).into();
        let group = if file.starts_with("indicator") {
            "values"
        } else {
            "expected"
        };
        cases["cases"][0][group]["golden_ratio_9"] = 1.618.into();
        std::fs::write(&spoilt, cases.to_string()).unwrap();
        let output = check(&spoilt, &shared.join("data"));
        assert_eq!(output.status.code(), Some(1));
        let told = document(&output);
        let off: Vec<&str> = told["verdicts"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|one| one["disagreements"].as_array().unwrap())
            .map(|one| one["figure"].as_str().unwrap())
            .collect();
        let mut wanted = [figure, "golden_ratio_9"];
        let mut found = off.clone();
        wanted.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, wanted, "{file}");
    }
}

#[test]
fn bars_by_the_hour_are_checked_like_daily_ones() {
    let Some(shared) = shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hours.json");
    let case = serde_json::json!({
        "id": "hours", "data": "intraday/EURUSD.1hour.bid.csv.gz",
        "first": "2010-01-01", "last": "2010-12-31",
        "strategy": {"kind": "rsi", "period": 14, "oversold": 45, "overbought": 55},
        "fill": "close", "fee_rate": 0.0, "slippage_rate": 0.0, "initial_cash": 1e9,
        "expected": {"equity_ratio_at": {"0": 1.0}, "position_open_at_end": "unknown"},
    });
    std::fs::write(&file, serde_json::json!({"cases": [case]}).to_string()).unwrap();
    let told = document(&check(&file, &shared.join("data")));
    let verdict = &told["verdicts"][0];
    assert_eq!(verdict["compared"], 2, "{told:#}");
    assert_eq!(
        verdict["disagreements"][0]["figure"],
        "position_open_at_end"
    );
}

#[test]
fn a_file_that_is_none_of_the_forms_is_refused_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.json");
    for (text, said) in [
        (r#"{"cases": [{"strategy": {}}]}"#, "neither backtests"),
        (r#"{"cases": []}"#, "it has no cases"),
        ("{", "EOF"),
    ] {
        std::fs::write(&file, text).unwrap();
        let output = check(&file, folder.path());
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            told.contains("cannot be checked") && told.contains(said),
            "{told}"
        );
    }
}
