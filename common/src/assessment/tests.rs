use super::*;
use serde_json::{Value, json};

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn sharpe(value: f64) -> Baseline {
    Baseline {
        sharpe_ratio: Figure::Value(value),
    }
}

/// The example of the API's manual.
fn example() -> Assessment {
    let params = BTreeMap::from([
        ("lookback_period".to_owned(), Choice::Int(75)),
        ("entry_threshold".to_owned(), Choice::Float(1.8)),
    ]);
    Assessment {
        verdict: Verdict {
            code: VerdictCode::Weak,
            text: "Profitable out of sample, but chance is not excluded.".to_owned(),
        },
        best: Some(Best {
            trial_number: 1734,
            window: Some(8),
            params: params.clone(),
            values: BTreeMap::from([
                ("sharpe_ratio".to_owned(), 0.92),
                ("max_drawdown".to_owned(), 0.118),
            ]),
            in_sample: InSample {
                from: day("2018-01-01"),
                to: day("2020-12-31"),
                sharpe_ratio: Figure::Value(0.92),
                n_trades: Figure::Value(31.0),
            },
        }),
        baselines: Computed::Found(Baselines {
            period: [day("2013-01-01"), day("2020-12-31")],
            equal_weight_hold: sharpe(0.35),
            default_params: sharpe(0.29),
        }),
        out_of_sample: Computed::Found(OutOfSample {
            from: day("2013-01-01"),
            to: day("2020-12-31"),
            sharpe_ratio: Figure::Value(0.41),
            sharpe_ci95: Computed::Found([-0.28, 1.09]),
            in_sample_mean_sharpe: Figure::Value(1.12),
        }),
        windows: vec![WindowResult {
            index: 0,
            train: [day("2010-01-01"), day("2012-12-31")],
            test: Some([day("2013-01-01"), day("2013-12-31")]),
            trial_number: Some(143),
            params,
            in_sample: Computed::Found(sharpe(1.3)),
            test_result: Computed::Found(TestResult {
                sharpe_ratio: Figure::Value(0.52),
                n_trades: Figure::Value(6.0),
            }),
        }],
        holdout: Computed::Found(Holdout {
            from: day("2021-01-01"),
            to: day("2021-09-30"),
            sharpe_ratio: Figure::Value(0.22),
            earlier_looks: 0,
        }),
        trust: Trust {
            deflated_sharpe: Computed::Found(DeflatedSharpe {
                value: 0.58,
                n_trials: 1798,
                prior_trials: 240,
                effective_n: Some(37),
                says: says_deflated(0.58),
            }),
            pbo: Computed::Found(Overfitting {
                value: 0.37,
                blocks: 16,
                trials_used: 196,
                sample: None,
                caution: Some("adaptive_search".to_owned()),
                says: says_overfit(0.37),
            }),
            luck: Computed::Found(Luck {
                p_value: 0.11,
                permutations: 200,
                says: says_luck(0.11, 21, 200),
            }),
            neighbourhood: Computed::missing("the best value is not above 0"),
        },
        execution: Computed::Found(Execution {
            orders: 62,
            filled: 60,
            ..Execution::default()
        }),
    }
}

fn has(document: &Value, pointer: &str, wanted: &Value) {
    assert_eq!(document.pointer(pointer), Some(wanted), "{pointer}");
}

#[test]
fn the_document_has_the_names_of_the_manual_and_reads_back() {
    let document = serde_json::to_value(example()).unwrap();
    has(&document, "/verdict/code", &json!("weak"));
    has(&document, "/best/in_sample/from", &json!("2018-01-01"));
    has(&document, "/best/params/entry_threshold", &json!(1.8));
    has(&document, "/baselines/period/1", &json!("2020-12-31"));
    let hold = "/baselines/equal_weight_hold/sharpe_ratio";
    has(&document, hold, &json!(0.35));
    has(
        &document,
        "/out_of_sample/sharpe_ci95",
        &json!([-0.28, 1.09]),
    );
    has(&document, "/windows/0/test_result/n_trades", &json!(6.0));
    has(
        &document,
        "/windows/0/in_sample",
        &json!({"sharpe_ratio": 1.3}),
    );
    has(&document, "/holdout/earlier_looks", &json!(0));
    let says = "58 % sure that the Sharpe is above what luck gives over this many attempts.";
    has(&document, "/trust/deflated_sharpe/says", &json!(says));
    let says = "11 % of shuffled markets gave a search this good.";
    has(&document, "/trust/luck/says", &json!(says));
    let none = json!({"value": null, "reason": "the best value is not above 0"});
    has(&document, "/trust/neighbourhood", &none);
    has(&document, "/execution/blocked/limit_up", &json!(0));
    let back: Assessment = serde_json::from_value(document).unwrap();
    assert_eq!(back, example());
}

#[test]
fn what_is_missing_is_told_from_what_is_there() {
    let mut one = example();
    one.best = None;
    one.out_of_sample = Computed::missing("one search over the whole period");
    one.holdout = Computed::missing("no stretch was held out");
    one.baselines = Computed::missing("a test function has no days");
    one.execution = Computed::missing("plain has no rules");
    one.windows.clear();
    let text = serde_json::to_string(&one).unwrap();
    assert_eq!(serde_json::from_str::<Assessment>(&text).unwrap(), one);
    assert!(text.contains(r#""best":null"#), "{text}");
}
