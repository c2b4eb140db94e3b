//! What every pruner keeps, whatever is reported to it.

use proptest::prelude::*;
use trialmill_search::pruner::{
    Asha, Hyperband, MAX_PRUNER_OPTION, Median, Patient, Percentile, Pruner, PrunerConfig,
    PrunerFault, PrunerKind, Reports, Rival, RivalNeed, Threshold, Wilcoxon, step_order,
};
use trialmill_search::{Stream, TrialEnd};

/// A trial of a test: its reports, and how it ended.
#[derive(Debug, Clone)]
struct Trial {
    reports: Reports,
    end: Option<TrialEnd>,
}

fn reports(costs: impl IntoIterator<Item = (u32, f64)>) -> Reports {
    let mut reports = Reports::new(1);
    for (step, cost) in costs {
        reports.push(step, &[cost]).unwrap();
    }
    reports
}

/// Reports at steps 0, 1, 2, ...
fn each_step(costs: &[f64]) -> Reports {
    reports((0..).zip(costs.iter().copied()))
}

fn completed(costs: &[f64]) -> Trial {
    Trial {
        reports: each_step(costs),
        end: Some(TrialEnd::completed(vec![costs[costs.len() - 1]])),
    }
}

fn rivals(trials: &[Trial]) -> Vec<Rival<'_>> {
    let numbered = (0..).zip(trials);
    let rivals = numbered.map(|(number, trial)| Rival {
        number,
        reports: &trial.reports,
        end: trial.end.as_ref(),
    });
    rivals.collect()
}

fn pruner(config: PrunerConfig) -> Pruner {
    Pruner::new(config).unwrap()
}

/// One of each kind and more, all quick to speak.
fn pruners() -> Vec<Pruner> {
    let median = Median {
        n_startup_trials: 0,
        ..Median::default()
    };
    let percentile = Percentile {
        n_startup_trials: 1,
        interval_steps: 2,
        ..Percentile::new(30.0)
    };
    let asha = Asha {
        min_resource: Some(1),
        reduction_factor: 2,
        ..Asha::default()
    };
    let hyperband = Hyperband {
        max_resource: Some(16),
        ..Hyperband::default()
    };
    let patient = |wrapped: Option<PrunerConfig>| Patient {
        wrapped: wrapped.map(Box::new),
        patience: 1,
        min_delta: 0.0,
    };
    let threshold = Threshold {
        lower: Some(-0.5),
        upper: Some(0.5),
        ..Threshold::default()
    };
    let wilcoxon = Wilcoxon {
        p_threshold: 0.6,
        n_startup_steps: 0,
    };
    let configs = [
        PrunerConfig::None,
        PrunerConfig::Median(median),
        PrunerConfig::Percentile(percentile),
        PrunerConfig::Asha(asha),
        PrunerConfig::Asha(Asha::default()),
        PrunerConfig::Hyperband(hyperband),
        PrunerConfig::Hyperband(Hyperband::default()),
        PrunerConfig::Patient(patient(None)),
        PrunerConfig::Patient(patient(Some(PrunerConfig::Asha(asha)))),
        PrunerConfig::Threshold(threshold),
        PrunerConfig::Wilcoxon(wilcoxon),
    ];
    configs.map(pruner).into()
}

fn any_cost() -> impl Strategy<Value = f64> {
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
        5e-324,
        1.0,
    ];
    prop_oneof![1 => prop::sample::select(wild), 3 => -1.0..1.0f64]
}

fn any_reports(objectives: usize) -> impl Strategy<Value = Reports> {
    let gap = prop_oneof![20 => 1..4_u32, 1 => 1..=u32::MAX / 30];
    let costs = prop::collection::vec(any_cost(), objectives);
    prop::collection::vec((gap, costs), 0..25).prop_map(move |all| {
        let mut reports = Reports::new(objectives);
        let mut step = 0;
        for (gap, costs) in all {
            reports.push(step, &costs).unwrap();
            step += gap;
        }
        reports
    })
}

fn any_end() -> impl Strategy<Value = Option<TrialEnd>> {
    prop_oneof![
        Just(None),
        prop::collection::vec(any_cost(), 0..3).prop_map(|costs| Some(TrialEnd::completed(costs))),
        Just(Some(TrialEnd::Infeasible { violation: 1.0 })),
        Just(Some(TrialEnd::Pruned(None))),
        Just(Some(TrialEnd::Failed)),
    ]
}

fn any_trials() -> impl Strategy<Value = Vec<Trial>> {
    let reports = prop_oneof![9 => any_reports(1), 1 => any_reports(2)];
    let trial = (reports, any_end()).prop_map(|(reports, end)| Trial { reports, end });
    prop::collection::vec(trial, 0..15)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_reports_have_one_answer_whatever_the_order_of_the_rivals(
        own in any_reports(1),
        trials in any_trials(),
        seed in 0u64..(1 << 53),
        number in 0u32..20,
    ) {
        let listed = rivals(&trials);
        let mut shuffled = listed.clone();
        let mut stream = Stream::for_study(seed, "order");
        shuffled.sort_by_key(|_| stream.next_u64());
        for pruner in pruners() {
            let answer = pruner.should_prune(&own, &listed, seed, number);
            prop_assert_eq!(pruner.should_prune(&own, &shuffled, seed, number), answer);

            // What is not needed is not read.
            let mut needed = listed.clone();
            needed.retain(|rival| match pruner.config().need() {
                RivalNeed::None => false,
                RivalNeed::Completed => {
                    let end = rival.end;
                    matches!(end, Some(TrialEnd::Completed(_) | TrialEnd::Infeasible { .. }))
                }
                RivalNeed::All => true,
            });
            prop_assert_eq!(pruner.should_prune(&own, &needed, seed, number), answer);

            // The trial itself is no rival of its own.
            needed.retain(|rival| rival.number != number);
            prop_assert_eq!(pruner.should_prune(&own, &needed, seed, number), answer);
            prop_assert!(!(answer && own.is_empty()));
        }
    }

    #[test]
    fn the_best_trial_so_far_at_a_step_is_never_pruned(
        costs in prop::collection::vec(-1.0..1.0f64, 1..12),
        others in prop::collection::vec(prop::collection::vec(any_cost(), 12), 0..10),
        percentile in 0.0..=100.0f64,
    ) {
        let step = costs.len() - 1;
        let best = costs.iter().copied().fold(f64::INFINITY, f64::min);
        let trials: Vec<Trial> = others
            .iter()
            .filter(|costs| costs[step].is_nan() || costs[step] >= best)
            .map(|costs| completed(costs))
            .collect();
        let median = Median { n_startup_trials: 0, ..Median::default() };
        let percentile = Percentile { n_startup_trials: 0, ..Percentile::new(percentile) };
        for config in [PrunerConfig::Median(median), PrunerConfig::Percentile(percentile)] {
            let own = each_step(&costs);
            prop_assert!(!pruner(config).should_prune(&own, &rivals(&trials), 1, 99));
        }
    }

    #[test]
    fn patience_never_ends_while_a_trial_improves(
        mut costs in prop::collection::vec(-1.0..1.0f64, 1..30),
        patience in 0u32..5,
        last in 0usize..5,
    ) {
        // The best cost is one of the last `patience + 1`.
        let last = last.min(patience as usize).min(costs.len() - 1);
        let at = costs.len() - 1 - last;
        costs[at] = -2.0;
        let patient = Patient { wrapped: None, patience, min_delta: 0.0 };
        let own = each_step(&costs);
        prop_assert!(!pruner(PrunerConfig::Patient(patient)).should_prune(&own, &[], 1, 0));
    }

    #[test]
    fn several_objectives_prune_only_what_each_one_would(
        costs in prop::collection::vec((any_cost(), any_cost()), 0..12),
        trials in any_trials(),
    ) {
        let both = with_two(costs.iter().copied());
        let first = each_step(&costs.iter().map(|(first, _)| *first).collect::<Vec<f64>>());
        let second = each_step(&costs.iter().map(|(_, second)| *second).collect::<Vec<f64>>());
        // Rivals with the same costs for both objectives: each one alone is the study of one.
        let doubled: Vec<Trial> = trials.iter().map(doubled).collect();
        let (one, two) = (rivals(&trials), rivals(&doubled));
        for pruner in pruners() {
            let each = pruner.should_prune(&first, &one, 7, 99) && pruner.should_prune(&second, &one, 7, 99);
            prop_assert_eq!(pruner.should_prune(&both, &two, 7, 99), each);
        }
    }
}

fn with_two(costs: impl Iterator<Item = (f64, f64)>) -> Reports {
    let mut reports = Reports::new(2);
    for (step, (first, second)) in (0..).zip(costs) {
        reports.push(step, &[first, second]).unwrap();
    }
    reports
}

/// The trial with its first objective twice.
fn doubled(trial: &Trial) -> Trial {
    let mut reports = Reports::new(2);
    let costs = trial.reports.costs(0).unwrap();
    for (step, cost) in trial.reports.steps().iter().zip(costs) {
        reports.push(*step, &[*cost, *cost]).unwrap();
    }
    let end = match &trial.end {
        Some(TrialEnd::Completed(costs)) => {
            let first = costs.iter().take(1);
            Some(TrialEnd::Completed(
                first.clone().chain(first).copied().collect(),
            ))
        }
        other => other.clone(),
    };
    Trial { reports, end }
}

#[test]
fn thousands_of_reports_and_trials_are_answered() {
    let mut stream = Stream::for_study(5, "reports");
    let costs =
        |stream: &mut Stream| -> Vec<f64> { (0..3_000).map(|_| stream.unit_f64()).collect() };
    let trials: Vec<Trial> = (0..40).map(|_| completed(&costs(&mut stream))).collect();
    let own = each_step(&costs(&mut stream));
    for pruner in pruners() {
        let answer = pruner.should_prune(&own, &rivals(&trials), 3, 40);
        assert_eq!(pruner.should_prune(&own, &rivals(&trials), 3, 40), answer);
    }
    let worse: Vec<f64> = costs(&mut stream).iter().map(|cost| cost + 0.1).collect();
    let wilcoxon = pruner(PrunerConfig::Wilcoxon(Wilcoxon::default()));
    assert!(wilcoxon.should_prune(&each_step(&worse), &rivals(&trials), 3, 40));
}

#[test]
fn a_trial_without_objectives_or_reports_goes_on() {
    let mut none = Reports::new(0);
    none.push(1, &[]).unwrap();
    for pruner in pruners() {
        assert!(!pruner.should_prune(&none, &[], 1, 0));
        assert!(!pruner.should_prune(&Reports::new(1), &[], 1, 0));
    }
}

#[test]
fn a_report_that_reaches_several_rungs_counts_in_the_lowest_when_it_ended_its_trial() {
    let asha = Asha {
        min_resource: Some(1),
        reduction_factor: 2,
        ..Asha::default()
    };
    let pruner = pruner(PrunerConfig::Asha(asha));
    // Rungs at steps 1, 2 and 4. The rival reported once, at step 4.
    let prunes = |end: Option<TrialEnd>, cost| {
        let trial = Trial {
            reports: reports([(4, 0.5)]),
            end,
        };
        pruner.should_prune(&reports([(1, 0.1), (2, cost)]), &rivals(&[trial]), 1, 1)
    };
    for end in [None, Some(TrialEnd::Failed)] {
        assert!(prunes(end.clone(), 0.6));
        assert!(!prunes(end, 0.5));
    }
    assert!(!prunes(Some(TrialEnd::Pruned(None)), 0.6));
}

#[test]
fn the_resource_that_is_not_given_is_that_of_the_longest_completed_trial() {
    let pruner = pruner(PrunerConfig::Asha(Asha::default()));
    let completed = |last| Trial {
        reports: reports([(last, 0.5)]),
        end: Some(TrialEnd::completed(vec![0.5])),
    };
    let running = Trial {
        reports: reports([(90_000, 0.5)]),
        end: None,
    };
    let prunes = |trials: &[Trial], step| {
        pruner.should_prune(&reports([(step, 0.6)]), &rivals(trials), 1, 99)
    };
    assert!(!prunes(std::slice::from_ref(&running), 1_000));
    let trials = [completed(799), completed(300), running];
    // 799 / 100 = 7: the first rung is at step 7.
    assert!(!prunes(&trials, 6));
    assert!(prunes(&trials, 7));
    assert!(!prunes(&[completed(99)], 0));
    assert!(prunes(&[completed(99)], 1));
}

#[test]
fn equal_costs_do_not_wear_patience_out() {
    let patient = |min_delta| Patient {
        wrapped: None,
        patience: 0,
        min_delta,
    };
    let prunes = |min_delta, costs: &[f64]| {
        pruner(PrunerConfig::Patient(patient(min_delta))).should_prune(&each_step(costs), &[], 1, 0)
    };
    assert!(!prunes(0.0, &[0.5, 0.5]));
    assert!(prunes(0.0, &[0.5, 0.75]));
    assert!(!prunes(0.25, &[0.5, 0.75]));
}

#[test]
fn the_trial_to_beat_is_the_first_feasible_one_with_the_least_cost() {
    let wilcoxon = pruner(PrunerConfig::Wilcoxon(Wilcoxon::default()));
    let steady = |cost: f64| {
        each_step(
            &(0..6)
                .map(|step| cost + f64::from(step))
                .collect::<Vec<_>>(),
        )
    };
    let trial = |reported, end| Trial {
        reports: steady(reported),
        end: Some(end),
    };
    let ended = |cost| TrialEnd::completed(vec![cost]);
    let prunes = |trials: &[Trial]| wilcoxon.should_prune(&steady(0.0), &rivals(trials), 1, 99);

    let (better, worse) = (trial(-1.0, ended(0.0)), trial(1.0, ended(-0.0)));
    assert!(prunes(&[better.clone(), worse.clone()]));
    assert!(!prunes(&[worse.clone(), better]));
    // What ends infeasible, fails or has no cost is not to be beaten.
    for end in [
        TrialEnd::Infeasible { violation: 1.0 },
        TrialEnd::Failed,
        TrialEnd::Pruned(None),
        ended(f64::NAN),
        TrialEnd::completed(Vec::new()),
    ] {
        assert!(!prunes(&[trial(-1.0, end), worse.clone()]));
    }
    assert!(prunes(&[trial(-1.0, ended(f64::NEG_INFINITY)), worse]));
}

#[test]
fn every_fault_of_the_options_is_told_at_once() {
    let fields = |config: PrunerConfig| -> Vec<(String, &'static str)> {
        let faults: Vec<PrunerFault> = Pruner::new(config).unwrap_err();
        faults
            .into_iter()
            .map(|fault| (fault.field, fault.code))
            .collect()
    };
    let told = |all: &[(&str, &'static str)]| -> Vec<(String, &'static str)> {
        all.iter()
            .map(|(field, code)| ((*field).to_owned(), *code))
            .collect()
    };
    let too_many = MAX_PRUNER_OPTION + 1;
    let percentile = Percentile {
        percentile: f64::NAN,
        n_startup_trials: too_many,
        n_warmup_steps: too_many,
        interval_steps: 0,
        n_min_trials: 0,
    };
    let of_percentile = [
        ("percentile", "out_of_range"),
        ("n_startup_trials", "out_of_range"),
        ("n_warmup_steps", "out_of_range"),
        ("interval_steps", "out_of_range"),
        ("n_min_trials", "out_of_range"),
    ];
    assert_eq!(
        fields(PrunerConfig::Percentile(percentile)),
        told(&of_percentile)
    );

    let asha = Asha {
        min_resource: None,
        reduction_factor: 1,
        min_early_stopping_rate: 33,
        bootstrap_count: 1,
    };
    let of_asha = [
        ("reduction_factor", "out_of_range"),
        ("min_early_stopping_rate", "out_of_range"),
        ("bootstrap_count", "needs_resource"),
    ];
    assert_eq!(fields(PrunerConfig::Asha(asha)), told(&of_asha));

    let hyperband = Hyperband {
        min_resource: 5,
        max_resource: Some(4),
        reduction_factor: 0,
        bootstrap_count: too_many,
    };
    let of_hyperband = [
        ("max_resource", "below_minimum"),
        ("reduction_factor", "out_of_range"),
        ("bootstrap_count", "out_of_range"),
    ];
    assert_eq!(
        fields(PrunerConfig::Hyperband(hyperband)),
        told(&of_hyperband)
    );

    let crossed = Threshold {
        lower: Some(2.0),
        upper: Some(1.0),
        ..Threshold::default()
    };
    let patient = Patient {
        wrapped: Some(Box::new(PrunerConfig::Threshold(crossed))),
        patience: too_many,
        min_delta: -1.0,
    };
    let of_patient = [
        ("patience", "out_of_range"),
        ("min_delta", "out_of_range"),
        ("wrapped.lower", "bounds_crossed"),
    ];
    assert_eq!(
        fields(PrunerConfig::Patient(patient.clone())),
        told(&of_patient)
    );
    let nested = Patient {
        wrapped: Some(Box::new(PrunerConfig::Patient(patient))),
        patience: 1,
        min_delta: f64::NAN,
    };
    let of_nested = [("min_delta", "out_of_range"), ("wrapped", "nested_patient")];
    assert_eq!(fields(PrunerConfig::Patient(nested)), told(&of_nested));

    let endless = Threshold {
        lower: Some(f64::NEG_INFINITY),
        ..Threshold::default()
    };
    assert_eq!(
        fields(PrunerConfig::Threshold(endless)),
        told(&[("lower", "not_finite")])
    );
    let without = PrunerConfig::Threshold(Threshold::default());
    assert_eq!(fields(without), told(&[("lower", "bounds_missing")]));
    let wilcoxon = Wilcoxon {
        p_threshold: 1.1,
        n_startup_steps: 2,
    };
    assert_eq!(
        fields(PrunerConfig::Wilcoxon(wilcoxon)),
        told(&[("p_threshold", "out_of_range")])
    );
}

#[test]
fn every_kind_has_one_name_and_is_found_by_it() {
    for kind in PrunerKind::ALL {
        assert_eq!(kind.name().parse(), Ok(kind));
    }
    let unknown = "mean".parse::<PrunerKind>().unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "unknown pruner \"mean\"; use none, median, percentile, asha, hyperband, patient, threshold, wilcoxon"
    );
}

#[test]
fn the_order_of_steps_is_a_permutation_that_never_changes() {
    assert_eq!(step_order(42, 8), [6, 2, 0, 5, 3, 1, 4, 7]);
    for steps in [0, 1, 2, 100] {
        let mut order = step_order(7, steps);
        order.sort_unstable();
        assert!(order.into_iter().eq(0..steps));
    }
    assert_ne!(step_order(1, 100), step_order(2, 100));
}
