//! From figures and reports to what is recorded, and to what samplers and pruners are told.

use super::{accept, at_client, with_two};
use trialmill_common::costs::{of_outcome, of_record, of_reports};
use trialmill_common::judge::judge;
use trialmill_common::reports::{MAX_REPORTS, pack, unpack};
use trialmill_common::spec::{MetricNames, ResultConstraint, Target, TaskSpec};
use trialmill_common::state::{Direction, TrialEnd};
use trialmill_common::trial::{Evaluation, Failure, FailureKind, Outcome};
use trialmill_search::pruner::Reports;
use trialmill_search::{LastReport, TrialEnd as Known};

fn target(metric: &str) -> Target {
    Target::new(metric, Direction::Minimize)
}

fn limit(text: &str) -> ResultConstraint {
    ResultConstraint::parse(text, MetricNames::Client).unwrap()
}

#[test]
fn a_trial_that_keeps_all_is_judged_feasible_with_its_values_in_order() {
    let figures = [
        ("speed", Ok(3.0)),
        ("loss", Ok(0.5)),
        ("note", Err("none".to_owned())),
    ];
    let judged = judge(
        &[target("loss"), target("speed")],
        &[limit("speed >= 3"), limit("loss < speed")],
        figures,
    )
    .unwrap();
    assert_eq!(judged.values, [0.5, 3.0]);
    assert_eq!((judged.infeasible, judged.violation), (None, None));
    let names: Vec<_> = judged
        .metrics
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        names,
        ["speed", "loss", "note"],
        "all that was told is kept, in its order"
    );
}

#[test]
fn a_trial_that_breaks_constraints_says_the_first_and_sums_how_far() {
    let constraints = [
        limit("loss <= 0.25"),
        limit("sharpe >= 2"),
        limit("loss <= 9"),
    ];
    let figures = [("loss", Ok(0.75)), ("sharpe_ratio", Ok(1.25))];
    let judged = judge(&[target("loss")], &constraints, figures).unwrap();
    assert_eq!(judged.values, [0.75]);
    assert_eq!(
        judged.infeasible.as_deref(),
        Some("loss is 0.75, which breaks loss <= 0.25")
    );
    assert_eq!(judged.violation, Some(1.25));
}

#[test]
fn a_trial_without_an_objective_has_no_values_and_says_why() {
    let reason = "its client told null".to_owned();
    let told_null = [("loss", Err(reason)), ("speed", Ok(1.0))];
    let judged = judge(&[target("speed"), target("loss")], &[], told_null).unwrap();
    assert!(judged.values.is_empty());
    assert_eq!(
        judged.infeasible.as_deref(),
        Some("loss is undefined: its client told null")
    );
    assert_eq!(judged.violation, None, "it is infinitely far");

    let silent = judge(&[target("loss")], &[], [("speed", Ok(1.0))]).unwrap();
    let reason = silent.infeasible.unwrap();
    assert_eq!(
        reason,
        "loss is undefined: the objective gives no such metric"
    );
    // With an undefined objective a broken constraint adds nothing.
    let both = judge(
        &[target("loss")],
        &[limit("speed > 2")],
        [("speed", Ok(1.0))],
    )
    .unwrap();
    assert_eq!((both.infeasible, both.violation), (Some(reason), None));
}

#[test]
fn a_constraint_on_a_metric_that_was_not_told_makes_the_trial_infeasible() {
    let figures = [("loss", Ok(0.5))];
    let judged = judge(&[target("loss")], &[limit("megabytes <= 80")], figures).unwrap();
    assert_eq!(
        judged.values,
        [0.5],
        "its objective has a value all the same"
    );
    let reason = judged.infeasible.as_deref().unwrap();
    assert_eq!(
        reason,
        "megabytes is undefined: the objective gives no such metric"
    );
    assert_eq!(judged.violation, None);
}

#[test]
fn the_first_figure_that_is_not_finite_is_the_error() {
    let figures = [
        ("fine", Ok(1.0)),
        ("loss", Ok(f64::NAN)),
        ("speed", Ok(f64::INFINITY)),
    ];
    let error = judge(&[target("speed")], &[], figures).unwrap_err();
    assert_eq!(
        error.to_string(),
        "loss is NaN; a trial needs finite numbers"
    );
}

#[test]
fn the_end_of_a_trial_is_told_in_costs() {
    let spec = accept(&with_two()).spec;
    let values = [0.5, 3.0];
    let record =
        |end, infeasible, violation| of_record(&spec, end, infeasible, &values, violation, None);
    let completed = record(TrialEnd::Completed, false, None);
    assert_eq!(completed, Known::completed(vec![0.5, -3.0]));
    let far = record(TrialEnd::Completed, true, Some(2.5));
    assert_eq!(far, Known::Infeasible { violation: 2.5 });
    let infinite = Known::Infeasible {
        violation: f64::INFINITY,
    };
    assert_eq!(record(TrialEnd::Completed, true, None), infinite);
    assert_eq!(record(TrialEnd::Pruned, false, None), Known::Pruned(None));
    assert_eq!(record(TrialEnd::Failed, false, None), Known::Failed);
}

#[test]
fn a_trial_is_told_the_same_before_it_is_recorded_as_after() {
    let spec = accept(&with_two()).spec;
    let evaluation = |infeasible: Option<&str>, violation| Evaluation {
        values: vec![0.5, 3.0],
        infeasible: infeasible.map(str::to_owned),
        violation,
        ..Evaluation::default()
    };
    let failure = Failure {
        kind: FailureKind::ToldByClient,
        message: "out of memory".to_owned(),
        causes: Vec::new(),
        hint: String::new(),
        worker: String::new(),
    };
    for (outcome, known) in [
        (
            Outcome::Completed(evaluation(None, None)),
            Known::completed(vec![0.5, -3.0]),
        ),
        (
            Outcome::Completed(evaluation(Some("too large"), Some(2.5))),
            Known::Infeasible { violation: 2.5 },
        ),
        // No violation that could be recorded: as if it were infinite.
        (
            Outcome::Completed(evaluation(Some("no loss"), Some(0.0))),
            Known::Infeasible {
                violation: f64::INFINITY,
            },
        ),
        (Outcome::Pruned(evaluation(None, None)), Known::Pruned(None)),
        (Outcome::Failed(failure), Known::Failed),
    ] {
        assert_eq!(of_outcome(&spec, &outcome, None), known, "{outcome:?}");
    }
}

#[test]
fn a_pruned_trial_is_told_with_its_last_report_where_there_is_one_objective() {
    let reports = |objectives, told: &[(u32, [f64; 2])]| {
        let mut reports = Reports::new(objectives);
        for (step, values) in told {
            reports.push(*step, &values[..objectives]).unwrap();
        }
        reports
    };
    let two = accept(&with_two()).spec;
    let one = TaskSpec {
        objectives: two.objectives[1..].to_vec(),
        ..two.clone()
    };
    let told = [(0, [1.0, 0.5]), (7, [2.5, 0.25])];
    let of = |spec: &TaskSpec, reports: &Reports| {
        let record = of_record(
            spec,
            TrialEnd::Pruned,
            false,
            &[],
            None,
            Some(&pack(reports)),
        );
        let pruned = Outcome::Pruned(Evaluation::default());
        assert_eq!(of_outcome(spec, &pruned, Some(reports)), record);
        record
    };
    let last = LastReport {
        step: 7,
        cost: -2.5,
    };
    assert_eq!(of(&one, &reports(1, &told)), Known::Pruned(Some(last)));
    assert_eq!(of(&one, &Reports::new(1)), Known::Pruned(None));
    assert_eq!(of(&two, &reports(2, &told)), Known::Pruned(None));
    let completed = of_record(
        &one,
        TrialEnd::Completed,
        false,
        &[3.0],
        None,
        Some(&pack(&reports(1, &told))),
    );
    assert_eq!(completed, Known::completed(vec![-3.0]));
}

/// A step and its values.
type Report<'a> = (u32, &'a [f64]);

fn reports(objectives: usize, all: &[Report<'_>]) -> Reports {
    let mut reports = Reports::new(objectives);
    for (step, values) in all {
        reports.push(*step, values).unwrap();
    }
    reports
}

#[test]
fn reports_are_told_in_costs_at_the_same_steps() {
    let spec = accept(&with_two()).spec;
    let values = reports(
        2,
        &[
            (0, &[0.9, 1.0]),
            (7, &[-0.5, 0.0]),
            (u32::MAX, &[0.1, -2.0]),
        ],
    );
    let costs = of_reports(&spec, &values);
    assert_eq!(
        costs,
        reports(
            2,
            &[
                (0, &[0.9, -1.0]),
                (7, &[-0.5, 0.0]),
                (u32::MAX, &[0.1, 2.0])
            ]
        )
    );
    let zero = costs.costs(1).unwrap()[1];
    assert!(zero.is_sign_positive());
    let single = accept(&at_client()).spec;
    assert!(of_reports(&single, &Reports::new(1)).is_empty());
}

#[test]
fn reports_survive_their_stored_form_bit_for_bit() {
    let odd = f64::from_bits(0x7ff8_0000_0000_1234);
    let lists: [(usize, &[Report<'_>]); 4] = [
        (1, &[]),
        (
            1,
            &[
                (0, &[0.1 + 0.2]),
                (1, &[f64::INFINITY]),
                (u32::MAX, &[-0.0]),
            ],
        ),
        (2, &[(5, &[f64::MIN_POSITIVE, f64::NEG_INFINITY])]),
        (3, &[(0, &[1.0, 2.0, 3.0]), (9, &[4.0, 5.0, 6.0])]),
    ];
    for (objectives, list) in lists {
        let all = reports(objectives, list);
        let bytes = pack(&all);
        assert_eq!(bytes.len(), list.len() * (4 + 8 * objectives));
        assert_eq!(unpack(&bytes, objectives), Some(all));
    }
    let bytes = pack(&reports(1, &[(3, &[odd])]));
    let back = unpack(&bytes, 1).unwrap();
    assert_eq!(back.costs(0).unwrap()[0].to_bits(), odd.to_bits());
    assert_eq!(pack(&back), bytes);
}

#[test]
fn bytes_that_are_no_reports_are_told_apart() {
    let bytes = pack(&reports(2, &[(1, &[1.0, 2.0]), (2, &[3.0, 4.0])]));
    for cut in 1..bytes.len() {
        assert_eq!(unpack(&bytes[..cut], 2).is_some(), cut == 20, "{cut}");
    }
    // 40 bytes are no reports of one objective, and 12 none of two.
    assert_eq!(unpack(&bytes, 1), None);
    // Steps that do not ascend.
    let (first, second) = bytes.split_at(20);
    assert_eq!(unpack(&[second, first].concat(), 2), None);
    assert_eq!(unpack(&[first, first].concat(), 2), None);
    let most: Vec<Report<'_>> = (0..)
        .take(MAX_REPORTS)
        .map(|step| (step, &[0.5][..]))
        .collect();
    assert_eq!(
        unpack(&pack(&reports(1, &most)), 1).unwrap().len(),
        MAX_REPORTS
    );
}
