//! `warm_start_from`: what a request names, and what is made of the trials that are found.

use super::{
    Search, accept, assert_told, at_client, faults, on_bars, point, search, warned, with, with_two,
};
use chrono::NaiveDate;
use serde_json::{Value, json};
use trialmill_common::draft::{MAX_WARM_ORIGINS, WarmOrigin, WarmTrials};
use trialmill_common::fault::Fault;
use trialmill_common::spec::{MAX_PRIOR_TRIALS, TaskSpec};
use trialmill_common::state::TaskId;
use trialmill_search::{Choice, FinishedTrial, History, Method, Point, TrialEnd};

/// The id of the earlier task with that number.
fn id(number: usize) -> String {
    format!("0195f1f0-8c2b-4d51-9d55-{number:012}")
}

fn warm(body: Value, ids: &[String]) -> Value {
    with(body, "/warm_start_from", json!(ids))
}

#[test]
fn a_request_names_earlier_tasks_in_order_and_leaves_them_to_be_looked_up() {
    let most: Vec<String> = (0..MAX_WARM_ORIGINS).map(id).collect();
    let accepted = accept(&warm(at_client(), &most));
    let named: Vec<(String, String)> = accepted
        .warm_start
        .iter()
        .map(|origin| (origin.pointer.clone(), origin.task.to_string()))
        .collect();
    let expected = (0..)
        .zip(most)
        .map(|(at, id): (usize, _)| (format!("/warm_start_from/{at}"), id));
    assert_eq!(named, expected.collect::<Vec<_>>());
    assert!(accepted.spec.prior.is_empty());
    for none in [json!(null), json!([])] {
        assert_eq!(
            accept(&with(at_client(), "/warm_start_from", none)).warm_start,
            []
        );
    }
    let on_bars = accept(&warm(on_bars(), &[id(1)]));
    assert_eq!(on_bars.warm_start.len(), 1);
}

#[test]
fn each_fault_of_the_names_has_its_place() {
    let cases: Vec<(Value, &[(&str, &str)])> = vec![
        (json!(id(1)), &[("/warm_start_from", "wrong_type")]),
        (json!({}), &[("/warm_start_from", "wrong_type")]),
        (json!(["a task"]), &[("/warm_start_from/0", "malformed")]),
        (json!([""]), &[("/warm_start_from/0", "malformed")]),
        (json!([null]), &[("/warm_start_from/0", "wrong_type")]),
        (json!([7]), &[("/warm_start_from/0", "wrong_type")]),
        (
            json!([id(1), id(2), id(1)]),
            &[("/warm_start_from/2", "duplicate")],
        ),
        (
            json!([id(1), id(1).to_uppercase()]),
            &[("/warm_start_from/1", "duplicate")],
        ),
        (
            json!((0..=MAX_WARM_ORIGINS).map(id).collect::<Vec<_>>()),
            &[("/warm_start_from", "too_many")],
        ),
        (
            json!([null, id(1), "x", id(1), 5]),
            &[
                ("/warm_start_from/0", "wrong_type"),
                ("/warm_start_from/2", "malformed"),
                ("/warm_start_from/3", "duplicate"),
                ("/warm_start_from/4", "wrong_type"),
            ],
        ),
    ];
    for (value, expected) in cases {
        let found = faults(&with(at_client(), "/warm_start_from", value.clone()));
        assert_told(&found, expected, &value);
    }
    let many: Vec<String> = (0..=MAX_WARM_ORIGINS).map(id).collect();
    let found = faults(&warm(at_client(), &many));
    assert_eq!(found[0].limit, Some(json!(MAX_WARM_ORIGINS)));
}

#[test]
fn a_search_that_would_not_look_at_them_takes_no_earlier_trials() {
    for method in Method::ALL {
        let mut body = warm(at_client(), &[id(1)]);
        body["param_space"]["x"] = json!({"type": "float", "low": -5, "high": 5, "step": 0.01});
        body["optimization_method"] = json!({"name": method.name()});
        if method == Method::Grid {
            body["optimization_method"]["sample"] = json!(true);
        }
        if method.reads_history() {
            assert_eq!(accept(&body).warm_start.len(), 1, "{method}");
        } else {
            let found = faults(&body);
            assert_told(
                &found,
                &[("/warm_start_from", "sampler_reads_no_history")],
                &method,
            );
            assert!(
                found[0].detail.contains(method.name()),
                "{}",
                found[0].detail
            );
        }
    }
    let mut walks = warm(on_bars(), &[id(1)]);
    walks["validation"] = json!({"method": "walk_forward", "train": "2y", "test": "1y"});
    let found = faults(&walks);
    assert_told(
        &found,
        &[("/warm_start_from", "not_with_walk_forward")],
        &"walks",
    );
    walks["optimization_method"] = json!("random");
    assert_told(
        &faults(&walks),
        &[
            ("/warm_start_from", "not_with_walk_forward"),
            ("/warm_start_from", "sampler_reads_no_history"),
        ],
        &"both",
    );
    // Without a name there is nothing that could not be used.
    walks["warm_start_from"] = json!([]);
    assert_eq!(accept(&walks).warm_start, []);
}

/// What was found of the task that stands at this place of the request.
fn found(at: usize, spec: &TaskSpec, trials: Vec<(Point, TrialEnd)>) -> WarmTrials {
    WarmTrials {
        origin: WarmOrigin {
            pointer: format!("/warm_start_from/{at}"),
            task: TaskId(id(at).parse().unwrap()),
            seen_until: None,
        },
        spec: spec.clone(),
        trials,
    }
}

fn begun(search: Search, earlier: Vec<WarmTrials>) -> Search {
    let accepted = search.accepted.begun_with(earlier);
    super::search(accepted.unwrap_or_else(|faults| panic!("{faults:#?}")))
}

fn refused(search: Search, earlier: Vec<WarmTrials>) -> Vec<Fault> {
    search
        .accepted
        .begun_with(earlier)
        .expect_err("it cannot begin with them")
}

fn cost(cost: f64) -> TrialEnd {
    TrialEnd::completed(vec![cost])
}

/// Trials of a space with one parameter, by its value.
fn at_x(spec: &TaskSpec, all: &[(f64, TrialEnd)]) -> Vec<(Point, TrialEnd)> {
    let trials = all.iter();
    trials
        .map(|(x, end)| (point(spec, &[("x", Choice::Float(*x))]), end.clone()))
        .collect()
}

/// The parameters of the trials that a task begins with, and their ends.
fn prior(spec: &TaskSpec) -> Vec<(Value, TrialEnd)> {
    let numbers: Vec<u32> = spec.prior.iter().map(|trial| trial.number).collect();
    assert!(
        numbers.iter().copied().eq(0..spec.prior_count()),
        "{numbers:?}"
    );
    let told = |trial: &FinishedTrial| (json!(spec.named(&trial.point)), trial.end.clone());
    spec.prior.iter().map(told).collect()
}

#[test]
fn a_task_begins_with_the_trials_of_the_tasks_in_their_order_whatever_their_end() {
    let wide = with(at_client(), "/param_space/x/high", json!(9));
    let (first, second) = (accept(&at_client()).spec, accept(&wide).spec);
    let ends = [
        cost(0.5),
        TrialEnd::Pruned(None),
        TrialEnd::Failed,
        TrialEnd::Infeasible { violation: 2.0 },
    ];
    let trials: Vec<(f64, TrialEnd)> = [4.0, 3.0, 2.0, 1.0].into_iter().zip(ends).collect();
    let earlier = vec![
        found(0, &first, at_x(&first, &trials)),
        found(
            1,
            &second,
            at_x(&second, &[(-5.0, cost(7.0)), (5.0, cost(8.0))]),
        ),
    ];
    let mut body = warm(at_client(), &[id(0), id(1)]);
    body["optimization_method"] = json!("auto");
    let before = accept(&body);
    let plan = before.resolved["sampler_plan"].clone();
    let task = begun(before, earlier);
    let mut expected: Vec<(Value, TrialEnd)> = trials
        .into_iter()
        .map(|(x, end)| (json!({"x": x}), end))
        .collect();
    expected.extend([
        (json!({"x": -5.0}), cost(7.0)),
        (json!({"x": 5.0}), cost(8.0)),
    ]);
    assert_eq!(prior(&task.spec), expected);
    assert_eq!(task.resolved["prior_trials"], 6);
    assert_eq!(task.resolved["sampler_plan"], plan);
    assert_eq!(warned(&task), []);
    assert_eq!(
        TaskSpec::from_json(&task.spec.to_json()).unwrap(),
        task.spec
    );
}

#[test]
fn trials_outside_of_the_space_are_left_out_with_a_warning() {
    let wide = with(at_client(), "/param_space/x/high", json!(9));
    let wide = accept(&wide).spec;
    let trials = at_x(
        &wide,
        &[
            (6.0, cost(1.0)),
            (2.0, cost(2.0)),
            (5.5, cost(3.0)),
            (5.0, cost(4.0)),
        ],
    );
    let body = with(at_client(), "/constraints", json!(["x != 2"]));
    let task = begun(accept(&warm(body, &[id(0)])), vec![found(0, &wide, trials)]);
    assert_eq!(prior(&task.spec), [(json!({"x": 5.0}), cost(4.0))]);
    assert_eq!(task.resolved["prior_trials"], 1);
    assert_eq!(
        warned(&task),
        [("earlier_trials_left_out", "/warm_start_from")]
    );
    assert!(
        task.warnings[0]
            .detail
            .starts_with("3 trials of earlier tasks are left out")
    );
}

#[test]
fn of_more_trials_than_a_task_begins_with_the_best_and_the_latest_are_taken() {
    let spec = accept(&at_client()).spec;
    let many = |count: u32, from: f64| {
        let costs = (0..count).map(|i| from + f64::from(i));
        at_x(&spec, &costs.map(|c| (1.0, cost(c))).collect::<Vec<_>>())
    };
    let most = u32::try_from(MAX_PRIOR_TRIALS).unwrap();
    let one = begun(
        accept(&warm(at_client(), &[id(0)])),
        vec![found(0, &spec, many(most, 0.0))],
    );
    assert_eq!(
        (one.spec.prior.len(), warned(&one).len()),
        (MAX_PRIOR_TRIALS, 0)
    );

    let earlier = vec![
        found(0, &spec, many(600, 0.0)),
        found(1, &spec, many(700, 10_000.0)),
    ];
    let task = begun(accept(&warm(at_client(), &[id(0), id(1)])), earlier);
    let ends: Vec<TrialEnd> = prior(&task.spec).into_iter().map(|(_, end)| end).collect();
    assert_eq!(ends.len(), MAX_PRIOR_TRIALS);
    // The best of all is the first, which is older than the latest thousand: it takes the place of the oldest.
    assert_eq!((&ends[0], &ends[1]), (&cost(0.0), &cost(301.0)));
    assert_eq!(&ends[299], &cost(599.0));
    assert_eq!((&ends[300], &ends[999]), (&cost(10_000.0), &cost(10_699.0)));
    assert_eq!(
        warned(&task),
        [("earlier_trials_left_out", "/warm_start_from")]
    );
    assert!(
        task.warnings[0].detail.starts_with("300 trials"),
        "{}",
        task.warnings[0].detail
    );
}

#[test]
fn other_objectives_and_tasks_without_a_trial_that_fits_are_refused_at_once() {
    let spec = accept(&at_client()).spec;
    let maximized = with(
        at_client(),
        "/objective_config/direction",
        json!("maximize"),
    );
    let maximized = accept(&maximized).spec;
    let two = accept(&with_two()).spec;
    let far = with(
        at_client(),
        "/param_space/x",
        json!({"type": "float", "low": 6, "high": 9}),
    );
    let far = accept(&far).spec;
    let other = json!({"y": {"type": "float", "low": -5, "high": 5}});
    let other = accept(&with(at_client(), "/param_space", other)).spec;
    let good = at_x(&spec, &[(1.0, cost(1.0))]);
    let earlier = vec![
        found(0, &maximized, good.clone()),
        found(
            1,
            &two,
            at_x(&two, &[(1.0, TrialEnd::completed(vec![1.0, 2.0]))]),
        ),
        found(2, &spec, good),
        found(3, &spec, Vec::new()),
        found(4, &far, at_x(&far, &[(6.0, cost(1.0)), (7.0, cost(1.0))])),
        found(
            5,
            &other,
            vec![(point(&other, &[("y", Choice::Float(1.0))]), cost(1.0))],
        ),
    ];
    let ids: Vec<String> = (0..6).map(id).collect();
    let found = refused(accept(&warm(at_client(), &ids)), earlier);
    assert_told(
        &found,
        &[
            ("/warm_start_from/0", "other_objectives"),
            ("/warm_start_from/1", "other_objectives"),
            ("/warm_start_from/3", "no_trial_fits"),
            ("/warm_start_from/4", "no_trial_fits"),
            ("/warm_start_from/5", "no_trial_fits"),
        ],
        &"six tasks",
    );
    assert!(
        found
            .iter()
            .all(|fault| ids.iter().any(|id| fault.value == *id))
    );
    let of = |at: usize| &found[at].detail;
    assert!(of(1).contains(
        "the objectives loss (minimize), speed (maximize), and this one loss (minimize)"
    ));
    assert!(of(2).contains("has no ended trial"), "{}", of(2));
    assert!(of(3).starts_with("none of the 2 trials"), "{}", of(3));
}

#[test]
fn objectives_in_another_order_are_other_objectives() {
    let turned =
        json!({"objective_metric": ["speed", "loss"], "direction": ["maximize", "minimize"]});
    let turned = accept(&with(at_client(), "/objective_config", turned)).spec;
    let trials = at_x(&turned, &[(1.0, TrialEnd::completed(vec![-2.0, 1.0]))]);
    let found = refused(
        accept(&warm(with_two(), &[id(0)])),
        vec![found(0, &turned, trials)],
    );
    assert_told(
        &found,
        &[("/warm_start_from/0", "other_objectives")],
        &"turned",
    );
}

/// A space with a parameter beside `x`.
fn and_depth(depth: Value) -> Value {
    with(at_client(), "/param_space/depth", depth)
}

#[test]
fn a_disabled_parameter_lets_in_what_was_run_at_its_value_alone() {
    let searched = json!({"type": "int", "low": 1, "high": 9});
    let float = json!({"type": "float", "low": 1, "high": 9});
    let fixed = |at: Value| json!({"type": "int", "enabled": false, "default": at});
    let fixed_float = json!({"type": "float", "enabled": false, "default": 3});
    let at = |spec: &TaskSpec, depth: Option<Choice>| {
        let mut named = vec![("x", Choice::Float(1.0))];
        named.extend(depth.map(|depth| ("depth", depth)));
        (point(spec, &named), cost(1.0))
    };
    let of = |space: &Value, depths: &[Option<Choice>]| {
        let spec = accept(&and_depth(space.clone())).spec;
        let trials = depths
            .iter()
            .map(|depth| at(&spec, depth.clone()))
            .collect();
        found(0, &spec, trials)
    };
    let ints = [Some(Choice::Int(2)), Some(Choice::Int(3))];
    let task = |space: Value| accept(&warm(and_depth(space), &[id(0)]));
    let told = |of: Search| {
        prior(&of.spec)
            .into_iter()
            .map(|(params, _)| params)
            .collect::<Vec<_>>()
    };

    // Searched before, disabled now, and the other way round.
    let narrowed = begun(task(fixed(json!(3))), vec![of(&searched, &ints)]);
    assert_eq!(
        warned(&narrowed),
        [("earlier_trials_left_out", "/warm_start_from")]
    );
    assert_eq!(told(narrowed), [json!({"x": 1.0, "depth": 3})]);
    let widened = begun(task(searched.clone()), vec![of(&fixed(json!(3)), &[None])]);
    assert_eq!(told(widened), [json!({"x": 1.0, "depth": 3})]);
    // However the same number is written.
    let of_float = of(&float, &[Some(Choice::Float(3.0))]);
    assert_eq!(
        told(begun(task(fixed(json!(3))), vec![of_float])),
        [json!({"x": 1.0, "depth": 3})]
    );
    let kept = begun(task(fixed_float), vec![of(&fixed(json!(3)), &[None])]);
    assert_eq!(told(kept), [json!({"x": 1.0, "depth": 3.0})]);
    // Held elsewhere, never there, or there where it is none.
    let found = refused(task(fixed(json!(4))), vec![of(&fixed(json!(3)), &[None])]);
    assert_told(
        &found,
        &[("/warm_start_from/0", "no_trial_fits")],
        &"held elsewhere",
    );
    let plain = accept(&at_client()).spec;
    let without = || super::warm::found(0, &plain, vec![at(&plain, None)]);
    let found = refused(task(fixed(json!(3))), vec![without()]);
    assert_told(
        &found,
        &[("/warm_start_from/0", "no_trial_fits")],
        &"never there",
    );
    let found = refused(task(searched.clone()), vec![without()]);
    assert_told(
        &found,
        &[("/warm_start_from/0", "no_trial_fits")],
        &"not searched",
    );
    let found = refused(
        accept(&warm(at_client(), &[id(0)])),
        vec![of(&searched, &ints)],
    );
    assert_told(
        &found,
        &[("/warm_start_from/0", "no_trial_fits")],
        &"none here",
    );
}

#[test]
fn a_small_space_that_became_a_grid_begins_with_nothing() {
    let small = |n_trials: u32| {
        let axis = json!({"type": "int", "low": 0, "high": 4});
        let body = with(at_client(), "/param_space/x", axis);
        accept(&warm(with(body, "/n_trials", json!(n_trials)), &[id(0)]))
    };
    let earlier = |spec: &TaskSpec| {
        vec![found(
            0,
            spec,
            vec![(point(spec, &[("x", Choice::Int(3))]), cost(1.0))],
        )]
    };
    let grid = small(5);
    assert_eq!(grid.spec.method, Method::Grid);
    let trials = earlier(&grid.spec);
    let after = begun(grid, trials);
    assert_eq!((after.spec.prior.len(), after.planned), (0, 5));
    assert_eq!(after.resolved["prior_trials"], 0);
    let told: Vec<&str> = warned(&after).into_iter().map(|(code, _)| code).collect();
    assert!(told.contains(&"earlier_trials_not_needed"), "{told:?}");
    // With fewer trials than points it is a search.
    let searched = small(4);
    let trials = earlier(&searched.spec);
    assert_eq!(
        prior(&begun(searched, trials).spec),
        [(json!({"x": 3}), cost(1.0))]
    );
}

#[test]
fn a_task_that_names_none_is_left_as_it_is() {
    let task = accept(&at_client());
    let before = task.accepted.clone();
    let after = search(task.accepted.begun_with(Vec::new()).unwrap());
    assert_eq!(after.accepted, before);
    assert_eq!(after.resolved.get("prior_trials"), None);
}

#[test]
fn in_a_space_of_counted_points_each_is_known_once_and_the_others_are_tried() {
    let accepted = |n_trials: u32| {
        let axis = json!({"type": "int", "low": 0, "high": 9});
        let body = with(at_client(), "/param_space/x", axis);
        accept(&warm(with(body, "/n_trials", json!(n_trials)), &[id(0)]))
    };
    let known = |spec: &TaskSpec, xs: &[i64]| {
        let trials = (0..).zip(xs).map(|(at, x)| {
            let point = point(spec, &[("x", Choice::Int(*x))]);
            (point, cost(f64::from(at)))
        });
        vec![found(0, spec, trials.collect())]
    };
    let search = accepted(8);
    let trials = known(&search.spec, &[3, 4, 3, 4, 5]);
    let task = begun(search, trials);
    // The latest of each.
    let expected = [(3, 2.0), (4, 3.0), (5, 4.0)].map(|(x, c)| (json!({"x": x}), cost(c)));
    assert_eq!(prior(&task.spec), expected);
    assert_eq!((task.planned, task.spec.size_limit()), (7, Some(7)));
    assert_eq!(task.resolved["trials_planned"], 7);
    let mut told = warned(&task);
    told.sort_unstable();
    assert_eq!(
        told,
        [
            ("earlier_trials_left_out", "/warm_start_from"),
            ("space_smaller_than_n_trials", "/n_trials"),
        ]
    );
    // Its sampler has a point for each of them, none twice and none that is known.
    let study = task.spec.study(0).unwrap();
    let mut finished = task.spec.prior.clone();
    for own in 0..7 {
        let number = task.spec.prior_count() + own;
        let history = History {
            finished: &finished,
            running: &[],
        };
        let point = study.ask(&history, number).expect("a point is left");
        assert!(finished.iter().all(|trial| trial.point != point));
        let end = cost(1.0);
        finished.push(FinishedTrial { number, point, end });
    }
    let search = accepted(8);
    let all: Vec<i64> = (0..10).collect();
    let trials = known(&search.spec, &all);
    let faults = refused(search, trials);
    assert_told(&faults, &[("/warm_start_from", "space_exhausted")], &"all");
}

#[test]
fn trials_that_saw_the_days_that_are_to_judge_are_refused() {
    let first: NaiveDate = "2013-01-01".parse().unwrap();
    let days: Vec<NaiveDate> = first.iter_days().take(3_652).collect();
    let held_out = |earlier: &TaskSpec| {
        let body = warm(on_bars(), &[id(0)]);
        let body = with(
            body,
            "/validation",
            json!({"method": "holdout", "length": "12mo"}),
        );
        let search = accept(&body);
        let middle = [
            ("short_window", Choice::Int(10)),
            ("long_window", Choice::Int(60)),
        ];
        let trials = vec![(point(earlier, &middle), cost(-1.0))];
        let found = found(0, earlier, trials);
        search
            .accepted
            .begun_with(vec![found])
            .unwrap()
            .planned_over(&days)
    };
    let whole = accept(&on_bars()).spec;
    let faults = held_out(&whole).expect_err("it saw the last year");
    assert_told(
        &faults,
        &[("/warm_start_from/0", "saw_the_holdout")],
        &"whole",
    );
    // The same held out there, or a period that ends before.
    let body = with(
        on_bars(),
        "/validation",
        json!({"method": "holdout", "length": "12mo"}),
    );
    let same = accept(&body).accepted.planned_over(&days).unwrap();
    assert!(held_out(same.spec.as_search().unwrap()).is_ok());
    let mut shorter = whole;
    shorter.end_date = "2019-12-31".parse().unwrap();
    assert!(held_out(&shorter).is_ok());
}

#[test]
fn trials_that_were_judged_by_other_constraints_are_told_of() {
    let search = accept(&warm(at_client(), &[id(0)]));
    let mut earlier = search.spec.clone();
    earlier.result_constraints = accept(&with(
        at_client(),
        "/result_constraints",
        json!(["megabytes <= 80"]),
    ))
    .spec
    .result_constraints;
    let trials = at_x(&search.spec, &[(1.0, cost(1.0))]);
    let task = begun(search, vec![found(0, &earlier, trials)]);
    assert_eq!(
        warned(&task),
        [("other_result_constraints", "/warm_start_from")]
    );
}
