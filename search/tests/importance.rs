//! What importances keep on any space and any trials, and how near fANOVA comes to known variances.

mod support;

use std::collections::BTreeMap;
use std::f64::consts::PI;

use proptest::prelude::*;
use support::domains::int;
use support::spaces;
use trialmill_search::importance::{
    Decomposed, FanovaOptions, Importance, ImportanceFault, Observed, PedAnovaOptions, contour,
    fanova, fanova_pairs, parallel_coordinates, ped_anova, ranks, slices,
};
use trialmill_search::{
    Choice, Domain, FinishedTrial, History, Method, ParamValue, Point, Space, SpaceBuilder, Stream,
    Study, TrialEnd,
};

fn float(low: f64, high: f64, log: bool) -> Domain {
    Domain::Float {
        low,
        high,
        step: None,
        log,
    }
}

fn choices(count: i64) -> Domain {
    Domain::Categorical {
        choices: (0..count).map(Choice::Int).collect(),
    }
}

fn space<const N: usize>(domains: [Domain; N]) -> Space {
    let named = domains.into_iter().enumerate();
    Space::new(named.map(|(i, domain)| (format!("x{i:02}"), domain))).unwrap()
}

/// Random points of a space; fewer where there are not as many.
fn points(space: &Space, count: u32, seed: u64) -> Vec<Point> {
    let study = Study::new(space.clone(), Method::Random, seed).unwrap();
    let asked = (0..count).filter_map(|number| study.ask(&History::EMPTY, number));
    asked.collect()
}

fn number(value: ParamValue) -> f64 {
    match value {
        ParamValue::Float(value) => value,
        ParamValue::Int(value) => value as f64,
        ParamValue::Category(index) => f64::from(index),
        ParamValue::Absent => 0.0,
    }
}

fn observed(points: &[Point], value: impl Fn(&[f64]) -> f64) -> Vec<Observed<'_>> {
    let one = |(at, point): (u32, &'_ Point)| {
        let numbers: Vec<f64> = point.values().iter().map(|v| number(*v)).collect();
        (at, value(&numbers))
    };
    let values: Vec<(u32, f64)> = (0..).zip(points).map(one).collect();
    let both = values.into_iter().zip(points);
    both.map(|((number, value), point)| Observed {
        number,
        point,
        value,
    })
    .collect()
}

fn values(found: &[Importance]) -> BTreeMap<&str, f64> {
    let named = found.iter().map(|one| (one.name.as_str(), one.value));
    named.collect()
}

fn assert_near(found: &[Importance], expected: &[f64], within: f64) {
    for (i, expected) in expected.iter().enumerate() {
        let got = values(found)[format!("x{i:02}").as_str()];
        assert!(
            (got - expected).abs() <= within,
            "x{i:02}: {got} is further than {within} from {expected}"
        );
    }
}

const FEW_TREES: FanovaOptions = FanovaOptions {
    trees: 4,
    seed: 7,
    decomposed: Decomposed::Forest,
};

const EACH_TREE: FanovaOptions = FanovaOptions {
    decomposed: Decomposed::EachTree,
    ..FEW_TREES
};

fn any_value() -> impl Strategy<Value = f64> {
    let wild = vec![
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        f64::MIN,
        1e308,
        -1e308,
        0.0,
        -0.0,
        1e-320,
        5e-324,
        1.0,
    ];
    prop_oneof![prop::sample::select(wild), -1.0..1.0f64]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_values_on_any_space_give_shares_that_sum_to_one_or_a_fault(
        space in prop_oneof![spaces::space(), spaces::conditional_space(false)],
        costs in prop::collection::vec(any_value(), 0..60),
        seed in 0u64..(1 << 53),
    ) {
        let points = points(&space, 60, seed);
        let observed: Vec<Observed<'_>> = (0..)
            .zip(points.iter().zip(&costs))
            .map(|(number, (point, value))| Observed { number, point, value: *value })
            .collect();
        let answers = [
            ped_anova(&space, &observed, &PedAnovaOptions::default()),
            fanova(&space, &observed, &FEW_TREES),
            fanova(&space, &observed, &EACH_TREE),
        ];
        let finite = observed.iter().filter(|trial| trial.value.is_finite()).count();
        for (at, answer) in answers.iter().enumerate() {
            match answer {
                Ok(found) => {
                    prop_assert!(finite >= 20);
                    let sum: f64 = found.iter().map(|one| one.share).sum();
                    prop_assert!((sum - 1.0).abs() < 1e-9, "shares sum to {}", sum);
                    for one in found {
                        prop_assert!(one.value >= 0.0 && one.value.is_finite(), "{:?}", one);
                        prop_assert!((0.0..=1.0 + 1e-9).contains(&one.share), "{:?}", one);
                    }
                    let sum: f64 = found.iter().map(|one| one.value).sum();
                    prop_assert!(at == 0 || sum < 1.0 + 1e-6, "more than the variance: {}", sum);
                }
                Err(ImportanceFault::TooFewTrials { got, needed: 20 }) => {
                    prop_assert_eq!(*got, finite);
                    prop_assert!(finite < 20);
                }
                Err(ImportanceFault::SameValue { .. } | ImportanceFault::NoParameter) => {}
                Err(fault) => prop_assert!(false, "{}", fault),
            }
        }
        prop_assert_eq!(ranks(&observed).points.len(), finite);
        prop_assert_eq!(parallel_coordinates(&space, &observed).lines.len(), finite);
        prop_assert_eq!(slices(&space, &observed).len(), space.parameters().len());
    }

    #[test]
    fn the_order_in_which_trials_are_listed_does_not_matter(
        space in spaces::space(),
        seed in 0u64..(1 << 53),
    ) {
        let points = points(&space, 50, seed);
        let mut observed: Vec<Observed<'_>> = (0..)
            .zip(&points)
            .map(|(number, point)| {
                let value = Stream::for_study(u64::from(number), "costs").unit_f64();
                Observed { number, point, value }
            })
            .collect();
        let names: Vec<&str> = space.parameters().iter().map(|p| p.name()).collect();
        let answers = |observed: &[Observed<'_>]| (
            ped_anova(&space, observed, &PedAnovaOptions::default()),
            fanova(&space, observed, &FEW_TREES),
            fanova_pairs(&space, observed, &EACH_TREE, &names),
            parallel_coordinates(&space, observed),
            ranks(observed),
        );
        let before = answers(&observed);
        prop_assert_eq!(&before, &answers(&observed));
        observed.reverse();
        observed.rotate_left(7.min(points.len()));
        prop_assert_eq!(&before, &answers(&observed));
    }
}

#[test]
fn only_completed_trials_count_and_too_few_are_told_in_a_sentence() {
    let space = space([float(0.0, 1.0, false)]);
    let points = points(&space, 60, 1);
    let finished: Vec<FinishedTrial> = (0..)
        .zip(&points)
        .map(|(number, point)| FinishedTrial {
            number,
            point: point.clone(),
            end: match number {
                0..12 => TrialEnd::completed(vec![0.0, f64::from(number)]),
                12..14 => TrialEnd::completed(vec![0.0, f64::INFINITY]),
                14..20 => TrialEnd::completed(vec![0.0]),
                20..30 => TrialEnd::Pruned(None),
                30..40 => TrialEnd::Failed,
                _ => TrialEnd::Infeasible { violation: 1.0 },
            },
        })
        .collect();
    let history = History {
        finished: &finished,
        running: &[],
    };
    let observed = Observed::of(&history, 1);
    assert_eq!(observed.len(), 14);
    let fault = ped_anova(&space, &observed, &PedAnovaOptions::default()).unwrap_err();
    assert_eq!(fault.to_string(), "12 completed trials; needs 20");
    assert_eq!(fanova(&space, &observed, &FEW_TREES).unwrap_err(), fault);
    assert_eq!(Observed::of(&History::EMPTY, 0), []);
}

#[test]
fn what_cannot_be_answered_is_a_fault_with_a_reason() {
    let both = space([float(0.0, 1.0, false), int(3, 3)]);
    let points = points(&both, 40, 1);
    let same = observed(&points, |_| 2.5);
    let differ = observed(&points, |x| x[0]);
    let fault = fanova(&both, &same, &FEW_TREES).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "all 40 completed trials have the value 2.5; no parameter makes a difference"
    );
    let ped = |observed: &[Observed<'_>], target_quantile, region_quantile| {
        let options = PedAnovaOptions {
            target_quantile,
            region_quantile,
            evaluate_on_local: true,
        };
        ped_anova(&both, observed, &options).map(|found| found.len())
    };
    assert_eq!(ped(&same, 0.1, 1.0), Err(fault));
    assert_eq!(ped(&differ, 0.1, 1.0), Ok(2));
    for (target, region) in [
        (0.0, 1.0),
        (0.5, 0.5),
        (0.1, 1.1),
        (f64::NAN, 1.0),
        (0.1, f64::NAN),
    ] {
        let fault = ped(&differ, target, region).unwrap_err();
        assert!(fault.to_string().contains("0 < target < region <= 1"));
    }
    for trees in [0, 1_001] {
        let options = FanovaOptions { trees, ..FEW_TREES };
        let fault = fanova(&both, &differ, &options).unwrap_err();
        assert_eq!(fault, ImportanceFault::Trees { trees });
    }
    // One point only, and values that differ by noise.
    let one = vec![points[0].clone(); 30];
    let noise: Vec<Observed<'_>> = (0..)
        .zip(&one)
        .map(|(number, point)| Observed {
            number,
            point,
            value: f64::from(number),
        })
        .collect();
    let fault = fanova(&both, &noise, &FEW_TREES).unwrap_err();
    assert_eq!(fault, ImportanceFault::NoParameter);
    let fixed = space([int(3, 3)]);
    let points = vec![Point::new(vec![ParamValue::Int(3)]); 30];
    let noise: Vec<Observed<'_>> = (0..)
        .zip(&points)
        .map(|(number, point)| Observed {
            number,
            point,
            value: f64::from(number),
        })
        .collect();
    let fault = ped_anova(&fixed, &noise, &PedAnovaOptions::default()).unwrap_err();
    assert_eq!(fault, ImportanceFault::NoParameter);
}

#[test]
fn a_parameter_with_one_value_has_no_importance() {
    let space = space([float(0.0, 1.0, false), int(3, 3), choices(1)]);
    let points = points(&space, 60, 1);
    let observed = observed(&points, |x| x[0]);
    for found in [
        ped_anova(&space, &observed, &PedAnovaOptions::default()).unwrap(),
        fanova(&space, &observed, &FEW_TREES).unwrap(),
    ] {
        let shares: Vec<(&str, f64)> = found.iter().map(|f| (f.name.as_str(), f.share)).collect();
        assert_eq!(shares, [("x00", 1.0), ("x01", 0.0), ("x02", 0.0)]);
    }
}

#[test]
fn conditional_parameters_are_measured_by_ped_anova_and_left_out_by_fanova() {
    let space = SpaceBuilder::default()
        .parameter("mode", choices(2))
        .parameter("size", float(0.0, 1.0, false))
        .conditional("depth", float(0.0, 1.0, false), "mode == 1")
        .build()
        .unwrap();
    let points = points(&space, 300, 3);
    // In the order of the names: depth, mode, size.
    let observed = observed(&points, |x| 1.0 - x[0] * x[1] + 0.01 * x[2]);
    let found = ped_anova(&space, &observed, &PedAnovaOptions::default()).unwrap();
    assert_eq!(found[0].name, "depth");
    assert_eq!(found.len(), 3);
    let found = fanova(&space, &observed, &FEW_TREES).unwrap();
    let names: Vec<&str> = found.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["mode", "size"]);
}

#[test]
fn fanova_finds_the_variances_of_a_sum() {
    let space = space::<4>(std::array::from_fn(|_| float(0.0, 1.0, false)));
    let points = points(&space, 2_000, 1);
    let observed = observed(&points, |x| {
        4.0 * x[0] + 2.0 * x[1] * x[1] + (6.0 * x[2]).sin() + 0.1 * x[3]
    });
    let mean_sine = (1.0 - 6.0_f64.cos()) / 6.0;
    let sine = 0.5 - 12.0_f64.sin() / 24.0 - mean_sine * mean_sine;
    let parts = [16.0 / 12.0, 16.0 / 45.0, sine, 0.01 / 12.0];
    let whole: f64 = parts.iter().sum();
    let found = fanova(&space, &observed, &FanovaOptions::default()).unwrap();
    assert_near(&found, &parts.map(|part| part / whole), 0.03);
    let names = ["x00", "x01", "x02", "x03"];
    let pairs = fanova_pairs(&space, &observed, &FEW_TREES, &names).unwrap();
    assert_eq!(pairs.len(), 6);
    assert!(
        pairs[0].value < 0.02,
        "a sum has no interaction: {:?}",
        pairs[0]
    );
}

fn ishigami(u: &[f64]) -> f64 {
    let [x, y, z] = [0, 1, 2].map(|i| PI * (2.0 * u[i] - 1.0));
    x.sin() + 7.0 * y.sin().powi(2) + 0.1 * z.powi(4) * x.sin()
}

/// The variances of Ishigami and Homma, 1990, with a = 7 and b = 0.1.
#[test]
fn fanova_finds_the_variances_of_ishigami() {
    let space = space::<3>(std::array::from_fn(|_| float(0.0, 1.0, false)));
    let seeds = 5;
    let (mut sums, mut interaction) = (BTreeMap::new(), 0.0);
    for seed in 0..seeds {
        let points = points(&space, 2_000, seed);
        let observed = observed(&points, ishigami);
        let options = FanovaOptions {
            trees: 32,
            seed,
            ..FanovaOptions::default()
        };
        let found = fanova(&space, &observed, &options).unwrap();
        // The points are drawn, too: a single draw may be off by a little more.
        assert_near(&found, &[0.3139, 0.4424, 0.0], 0.05);
        for (name, value) in values(&found) {
            *sums.entry(name.to_owned()).or_insert(0.0) += value / seeds as f64;
        }
        let pairs = fanova_pairs(&space, &observed, &options, &["x02", "x00"]).unwrap();
        assert_eq!(
            (pairs[0].first.as_str(), pairs[0].second.as_str()),
            ("x00", "x02")
        );
        interaction += pairs[0].value / seeds as f64;
    }
    for (name, expected) in [("x00", 0.3139), ("x01", 0.4424), ("x02", 0.0)] {
        let got = sums[name];
        assert!((got - expected).abs() < 0.03, "{name}: {got}");
    }
    assert!((interaction - 0.2437).abs() < 0.03, "{interaction}");
}

#[test]
fn fanova_spreads_every_domain_as_it_is_drawn_from() {
    let log_int = Domain::Int {
        low: 1,
        high: 100_000,
        step: 1,
        log: true,
    };
    let space = space([
        float(1e-5, 1.0, true),
        float(-3e307, 7e307, false),
        log_int,
        int(0, 6),
        choices(3),
    ]);
    let points = points(&space, 3_000, 2);
    // Each of the first three is about uniform in 0 to 1; the lattice has its seven values alike, and the
    // choices, in no order, 0, 2 and 1.
    let observed = observed(&points, |x| {
        let numbers = 1.0 + x[0].ln() / 1e5_f64.ln() + x[1] / 1e308 + x[2].ln() / 1e5_f64.ln();
        numbers + x[3] / 6.0 + if x[4] == 2.0 { 0.5 } else { x[4] }
    });
    let lattice = (49.0 - 1.0) / 12.0 / 36.0;
    let parts = [1.0 / 12.0, 1.0 / 12.0, 1.0 / 12.0, lattice, 1.0 / 6.0];
    let whole: f64 = parts.iter().sum();
    let found = fanova(&space, &observed, &FanovaOptions::default()).unwrap();
    assert_near(&found, &parts.map(|part| part / whole), 0.03);
}

#[test]
fn the_unit_of_the_values_does_not_matter() {
    let space = space([float(0.0, 1.0, false), int(0, 30), choices(4)]);
    let points = points(&space, 100, 4);
    let value = |x: &[f64]| x[0] + x[1] / 30.0 + 0.3 * x[2];
    let answers = |scale: f64| {
        let observed = observed(&points, |x| scale * (value(x) - 1.5));
        (
            ped_anova(&space, &observed, &PedAnovaOptions::default()).unwrap(),
            fanova(&space, &observed, &FEW_TREES).unwrap(),
        )
    };
    let (ped, forest) = answers(1.0);
    for scale in [2.0_f64.powi(1000), 2.0_f64.powi(-1000)] {
        assert_eq!(answers(scale), (ped.clone(), forest.clone()));
    }
}

#[test]
fn other_seeds_grow_other_forests_that_agree() {
    let space = space::<3>(std::array::from_fn(|_| float(0.0, 1.0, false)));
    let points = points(&space, 300, 1);
    let observed = observed(&points, ishigami);
    let with = |seed| {
        let options = FanovaOptions {
            seed,
            ..FanovaOptions::default()
        };
        fanova(&space, &observed, &options).unwrap()
    };
    let (one, other) = (with(1), with(2));
    assert_ne!(one, other);
    assert_eq!(one, with(1));
    let expected: Vec<f64> = values(&one).into_values().collect();
    assert_near(&other, &expected, 0.05);
}

#[test]
fn a_hundred_parameters_and_a_thousand_choices_are_taken() {
    let domains = (0..100).map(|i| {
        let domain = match i % 4 {
            0 => float(-1e308, 7e307, false),
            1 => int(-(1 << 53), 1 << 53),
            2 => Domain::Int {
                low: (1 << 53) - 200,
                high: 1 << 53,
                step: 1,
                log: true,
            },
            _ => choices(1_000),
        };
        (format!("x{i:02}"), domain)
    });
    let space = Space::new(domains).unwrap();
    let points = points(&space, 200, 6);
    let observed = observed(&points, |x| x[0] / 1e308 + 0.1 * x[3] / 1e3);
    let ped = ped_anova(&space, &observed, &PedAnovaOptions::default()).unwrap();
    let forest = fanova(&space, &observed, &FEW_TREES).unwrap();
    assert_eq!((ped.len(), forest.len()), (100, 100));
    assert_eq!(forest[0].name, "x00");
    let names: Vec<String> = (0..11).map(|i| format!("x{i:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let pairs = |names: &[&str]| fanova_pairs(&space, &observed, &FEW_TREES, names);
    assert_eq!(
        pairs(&names).unwrap_err().to_string(),
        "pairs of 11 parameters are asked for, and at most 10 are told at once; name fewer"
    );
    assert_eq!(
        pairs(&["x00", "x03"]).unwrap_err().to_string(),
        "parameter x03 has 1000 choices, too many for pairs (64); leave it out"
    );
    assert_eq!(
        pairs(&["x00", "x1"]).unwrap_err().to_string(),
        "x1 is not a parameter; use x01"
    );
    assert_eq!(pairs(&["x00", "x01", "x02", "x00"]).unwrap().len(), 3);
    assert_eq!(pairs(&[]).unwrap(), []);
}

#[test]
fn pictures_hold_every_finished_trial_that_has_the_parameter() {
    let space = SpaceBuilder::default()
        .parameter("mode", choices(2))
        .conditional("depth", int(1, 9), "mode == 1")
        .build()
        .unwrap();
    // In the order of the names: depth, mode.
    let points = [
        Point::new(vec![ParamValue::Int(4), ParamValue::Category(1)]),
        Point::new(vec![ParamValue::Absent, ParamValue::Category(0)]),
        Point::new(vec![ParamValue::Int(9), ParamValue::Category(1)]),
        Point::new(vec![ParamValue::Int(1), ParamValue::Category(1)]),
    ];
    let trial = |number, at: usize, value| Observed {
        number,
        point: &points[at],
        value,
    };
    let observed = [
        trial(9, 2, 1.5),
        trial(1, 0, 1.5),
        trial(4, 1, -3.0),
        trial(5, 3, f64::NAN),
    ];
    let json = |value: serde_json::Value| value;
    let slices = serde_json::to_value(slices(&space, &observed)).unwrap();
    assert_eq!(
        slices[0],
        json(serde_json::json!({"name": "depth", "points": [
            {"number": 1, "value": 4, "objective": 1.5},
            {"number": 9, "value": 9, "objective": 1.5},
        ]}))
    );
    assert_eq!(slices[1]["points"].as_array().unwrap().len(), 3);
    let both = contour(&space, &observed, "mode", "depth").unwrap();
    assert_eq!((both.points.len(), both.points[1].number), (2, 9));
    assert_eq!(both.points[1].x, Choice::Int(1));
    let fault = contour(&space, &observed, "mode", "dept").unwrap_err();
    assert_eq!(fault.to_string(), "dept is not a parameter; use depth");
    let all = parallel_coordinates(&space, &observed);
    assert_eq!(all.axes, ["depth", "mode"]);
    assert_eq!(all.lines[1].values, [None, Some(Choice::Int(0))]);
    let ranks: Vec<(u32, f64)> = ranks(&observed)
        .points
        .iter()
        .map(|point| (point.number, point.rank))
        .collect();
    assert_eq!(ranks, [(1, 0.75), (4, 0.0), (9, 0.75)]);
}
