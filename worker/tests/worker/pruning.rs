//! Trials that are stopped early, held against an observer who runs every one to its end; and searches that
//! begin with trials of others.

use crate::panels::{averages, segmented, walks};
use crate::runs::pin;
use crate::support::{Mill, float, function, int, options};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trialmill_backtest::bars::BarSeries;
use trialmill_common::reports::unpack;
use trialmill_common::spec::TaskSpec;
use trialmill_common::state::{TaskState, TrialEnd as Ended};
use trialmill_common::trial::Outcome;
use trialmill_search::pruner::{
    Asha, Median, Pruner, PrunerConfig, Reports, Rival, Wilcoxon, step_order,
};
use trialmill_search::{
    FinishedTrial, History, LastReport, Method, ParamValue, Point, Study, TrialEnd,
};
use trialmill_store::Store;
use trialmill_store::rows::TrialRow;
use trialmill_worker::bars::PinnedData;
use trialmill_worker::objective::{Breakdown, Objective, Shown, Subject};
use trialmill_worker::{SignalCell, StopSource};

const SEGMENTS: u8 = 6;

fn search(bars: &[BarSeries], n_trials: u32, method: Method, pruner: PrunerConfig) -> TaskSpec {
    let spec = TaskSpec {
        method,
        pruner,
        parallelism: Some(1),
        ..averages(bars, n_trials)
    };
    segmented(spec, bars, SEGMENTS)
}

/// Every trial run to its end: the Sharpe ratio over the segments so far, in the order of the steps, and that of
/// the whole.
fn observed(objective: &Objective, spec: &TaskSpec, point: &Point) -> (Vec<f64>, Option<f64>) {
    let signal = SignalCell::default();
    let stop = StopSource::new(&signal, Instant::now() + Duration::from_secs(3600));
    let (outcome, shown) = objective
        .evaluate_in_full(&spec.named(point), &stop, "an observer")
        .unwrap();
    let Outcome::Completed(evaluation) = outcome else {
        panic!("{outcome:?}")
    };
    let Some(Shown::Several(Breakdown::Segments(segments))) = shown else {
        panic!("{shown:?}")
    };
    let of_segment = |index: u32| {
        let figure = serde_json::to_value(&segments[index as usize].metrics["sharpe_ratio"]);
        figure.unwrap().as_f64()
    };
    let order = step_order(spec.seed, SEGMENTS.into());
    let so_far = (1..=order.len()).map(|count| {
        let mut seen: Vec<u32> = order[..count].to_vec();
        seen.sort_unstable();
        let values: Option<Vec<f64>> = seen.into_iter().map(of_segment).collect();
        let values = values.unwrap_or_else(|| vec![f64::NAN]);
        values.iter().sum::<f64>() / values.len() as f64
    });
    (so_far.collect(), evaluation.values.first().copied())
}

/// The steps and values of a row.
fn reported(row: &TrialRow) -> (Vec<u32>, Vec<f64>) {
    let reports = unpack(row.reports.as_ref().expect("it reported"), 1).unwrap();
    (reports.steps().to_vec(), reports.costs(0).unwrap().to_vec())
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The recorded trials are those that the rule stops, when it is asked after each segment with every earlier
/// trial known, and their points those that the sampler draws from them. Returns how many were stopped.
fn assert_pruned(spec: &TaskSpec, bars: &[BarSeries], trials: &[TrialRow]) -> usize {
    let data = PinnedData {
        series: bars.iter().cloned().map(Arc::new).collect(),
        ..PinnedData::default()
    };
    let objective = Objective::prepare(Subject::of_trial(spec, 0), &data);
    let pruner = Pruner::new(spec.pruner.clone()).unwrap();
    let study = Study::new(spec.space.clone(), spec.method, spec.seed).unwrap();
    let mut finished: Vec<FinishedTrial> = Vec::new();
    let mut known: Vec<Reports> = Vec::new();
    for row in trials {
        let history = History {
            finished: &finished,
            running: &[],
        };
        let point = study.ask(&history, row.number).unwrap();
        assert_eq!(row.params, spec.space.pack(&point), "trial {}", row.number);
        let (values, whole) = observed(&objective, spec, &point);
        let mut own = Reports::new(1);
        let mut stopped = false;
        for (step, value) in (0..).zip(&values) {
            // What is maximized is a cost with the other sign.
            own.push(step, &[-value]).unwrap();
            let rivals: Vec<Rival<'_>> = finished
                .iter()
                .zip(&known)
                .map(|(trial, reports)| Rival {
                    number: trial.number,
                    reports,
                    end: Some(&trial.end),
                })
                .collect();
            let is_last = own.len() == values.len();
            if !is_last && pruner.should_prune(&own, &rivals, spec.seed, row.number) {
                stopped = true;
                break;
            }
        }
        let (steps, told) = reported(row);
        let expected: Vec<u32> = (0..u32::try_from(own.len()).unwrap()).collect();
        assert_eq!(steps, expected, "trial {}", row.number);
        assert_eq!(
            bits(&told),
            bits(&values[..own.len()]),
            "trial {}",
            row.number
        );
        let end = match (stopped, whole, &row.infeasible) {
            (true, ..) => TrialEnd::Pruned(Some(LastReport {
                step: own.last_step().unwrap(),
                cost: *own.costs(0).unwrap().last().unwrap(),
            })),
            (false, Some(whole), None) => TrialEnd::completed(vec![-whole]),
            (false, _, _) => TrialEnd::Infeasible {
                violation: row.violation.unwrap_or(f64::INFINITY),
            },
        };
        match &end {
            TrialEnd::Pruned(_) => {
                assert_eq!(row.end, Ended::Pruned);
                let last = told.last().copied().filter(|value| value.is_finite());
                assert_eq!(row.values, last.into_iter().collect::<Vec<_>>());
                assert_eq!(row.stats, None);
            }
            TrialEnd::Completed(costs) => {
                assert_eq!(row.end, Ended::Completed);
                assert_eq!(bits(&row.values), bits(&[-costs[0]]));
            }
            _ => assert_eq!(row.end, Ended::Completed),
        }
        finished.push(FinishedTrial {
            number: row.number,
            point,
            end,
        });
        known.push(own);
    }
    trials.iter().filter(|row| row.end == Ended::Pruned).count()
}

/// What must be the same wherever a trial ran: number, point, end, values and reports.
type Content = (u32, Vec<u8>, Ended, Vec<u64>, Option<Vec<u8>>);

fn content(rows: &[TrialRow]) -> Vec<Content> {
    rows.iter()
        .map(|row| {
            (
                row.number,
                row.params.clone(),
                row.end,
                bits(&row.values),
                row.reports.clone(),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pruned_search_is_the_one_of_an_observer_who_knows_every_earlier_trial() {
    let bars = walks(1);
    let median = PrunerConfig::Median(Median {
        n_startup_trials: 3,
        ..Median::default()
    });
    let asha = PrunerConfig::Asha(Asha {
        min_resource: Some(1),
        reduction_factor: 2,
        ..Asha::default()
    });
    let cases = [
        (Method::Random, median),
        (Method::Tpe, asha),
        (Method::Tpe, PrunerConfig::Wilcoxon(Wilcoxon::default())),
    ];
    for (method, pruner) in cases {
        let spec = search(&bars, 60, method, pruner);
        let mut first = None;
        for isolated in [false, true] {
            let mut mill = Mill::new();
            let snapshot = pin(&mill, &bars).await;
            let id = mill.submit(&spec, snapshot).await;
            if isolated {
                // Its trials run to their ends in a child, and are cut where they should have been stopped.
                mill.isolate(id).await;
            }
            mill.relay(Arc::clone(&mill.broker) as _);
            let worker = mill.worker(options(2)).await;
            let row = mill.until_ended(id).await;
            worker.drain().await;
            assert_eq!(row.ledger.state, TaskState::Completed);
            mill.assert_sound(id).await;
            let trials = mill.trials(id).await;
            let stopped = assert_pruned(&spec, &bars, &trials);
            assert_eq!(row.ledger.pruned as usize, stopped);
            assert!((1..trials.len()).contains(&stopped), "{method}: {stopped}");
            let before = first.get_or_insert_with(|| content(&trials));
            assert_eq!(*before, content(&trials));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_workers_stop_trials_by_what_all_of_them_have_recorded() {
    let bars = walks(1);
    let pruner = PrunerConfig::Median(Median {
        n_startup_trials: 3,
        ..Median::default()
    });
    let spec = TaskSpec {
        parallelism: None,
        ..search(&bars, 150, Method::Random, pruner)
    };
    let mill = Mill::relaying();
    let snapshot = pin(&mill, &bars).await;
    let first = mill.worker(options(2)).await;
    let second = mill.worker(options(2)).await;
    let id = mill.submit(&spec, snapshot).await;
    let row = mill.until_ended(id).await;
    first.drain().await;
    second.drain().await;
    assert_eq!((row.ledger.ended(), row.ledger.failed), (150, 0));
    mill.assert_sound(id).await;
    let trials = mill.trials(id).await;
    let pruned = trials.iter().filter(|row| row.end == Ended::Pruned);
    let lengths: Vec<usize> = pruned.map(|row| reported(row).0.len()).collect();
    assert!(lengths.len() > 15, "{lengths:?}");
    assert!(lengths.iter().all(|length| *length < SEGMENTS.into()));
    let completed = trials.iter().filter(|row| row.end == Ended::Completed);
    for row in completed {
        assert_eq!(reported(row).0.len(), usize::from(SEGMENTS));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_begins_with_trials_of_others_draws_from_them_and_from_its_own() {
    let space = vec![float("x", -5.0, 5.0), int("z", -4, 9)];
    let prior = (0..30)
        .map(|number| {
            let x = f64::from(number) / 3.0 - 5.0;
            let z = i64::from(number % 14) - 4;
            let cost = x * x + (z * z) as f64;
            FinishedTrial {
                number,
                point: Point::new(vec![ParamValue::Float(x), ParamValue::Int(z)]),
                end: TrialEnd::completed(vec![cost]),
            }
        })
        .collect::<Vec<_>>();
    for method in [
        Method::Tpe,
        Method::Gp,
        Method::CmaEs,
        Method::Nsga2,
        Method::Auto,
    ] {
        let spec = TaskSpec {
            method,
            parallelism: Some(1),
            prior: prior.clone(),
            ..function("sphere", 24, space.clone())
        };
        let mill = Mill::relaying();
        let worker = mill.worker(options(1)).await;
        let id = mill.submit(&spec, BTreeMap::new()).await;
        let row = mill.until_ended(id).await;
        worker.drain().await;
        assert_eq!(row.ledger.completed, 24);
        mill.assert_sound(id).await;
        let study = Study::new(spec.space.clone(), method, spec.seed)
            .unwrap()
            .with_prior(30);
        let mut finished = prior.clone();
        for trial in mill.trials(id).await {
            let number = 30 + trial.number;
            let history = History {
                finished: &finished,
                running: &[],
            };
            let point = study.ask(&history, number).unwrap();
            assert_eq!(trial.params, spec.space.pack(&point), "{method} {number}");
            let end = TrialEnd::completed(trial.values.clone());
            finished.push(FinishedTrial { number, point, end });
        }
        // Nor does a parallel search wait for trials that are nobody's.
        let parallel = TaskSpec {
            parallelism: None,
            ..spec
        };
        let worker = mill.worker(options(2)).await;
        let id = mill.submit(&parallel, BTreeMap::new()).await;
        assert_eq!(mill.until_ended(id).await.ledger.completed, 24);
        worker.drain().await;
        assert_eq!(mill.store.verify().await.unwrap(), vec![]);
    }
}
