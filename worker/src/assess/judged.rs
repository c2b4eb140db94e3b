//! What the picks gave on days that had no say in them, and what stands beside it.

use super::evaluate::{Evaluator, Ran, metric};
use super::pick::{Pick, Picks, is_walk_forward};
use super::{Case, Market, Stopped, method};
use std::collections::BTreeMap;
use trialmill_backtest::engine::{Backtest, Report};
use trialmill_backtest::market::{Blocked, Execution};
use trialmill_backtest::metrics::{self, sharpe_per_row};
use trialmill_backtest::trust::bootstrap::sharpe_interval;
use trialmill_common::assessment::{
    Baseline, Baselines, Computed, Holdout, OutOfSample, SHARPE, TRADES, TestResult, WindowResult,
    figure,
};
use trialmill_common::spec::TaskSpec;
use trialmill_common::validation::{Stretch, Validation, Window};
use trialmill_search::Choice;

/// Resamples of the bootstrap: its ends at 2.5 % then rest on 50 of them each.
const DRAWS: usize = 2_000;
/// The level of the interval, as its name says.
const LEVEL: f64 = 0.95;
const NO_PICK: &str = "no trial qualified; the window was spent in cash";

/// The parts of the document that rest on runs after the search.
pub(super) struct Judgement {
    pub(super) baselines: Computed<Baselines>,
    pub(super) out_of_sample: Computed<OutOfSample>,
    pub(super) windows: Vec<WindowResult>,
    pub(super) holdout: Computed<Holdout>,
    pub(super) execution: Computed<Execution>,
    /// The Sharpe ratio of the joined test windows, per row.
    pub(super) joined: Result<f64, String>,
}

impl Judgement {
    /// Of a task that has no bars to run on.
    pub(super) fn missing(picks: &Picks<'_>, case: &Case<'_>, reason: &str) -> Self {
        let windows = if is_walk_forward(case.spec) {
            let each = picks.windows.iter().zip(&picks.picked);
            let result = |(window, pick): (&Window, &Option<Pick<'_>>)| {
                window_result(case.spec, window, *pick, Computed::missing(reason))
            };
            each.map(result).collect()
        } else {
            Vec::new()
        };
        Self {
            baselines: Computed::missing(reason),
            out_of_sample: Computed::missing(reason),
            windows,
            holdout: Computed::missing(reason),
            execution: Computed::missing(reason),
            joined: Err(reason.to_owned()),
        }
    }

    /// Runs every pick once on the days that judge it, and the baselines on the same days.
    pub(super) fn of(
        case: &Case<'_>,
        market: &Market<'_>,
        evaluator: &Evaluator<'_>,
        picks: &Picks<'_>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self, Stopped> {
        let spec = case.spec;
        let mut work = Work {
            case,
            market,
            evaluator,
            stop,
            orders: None,
            beside: Beside::default(),
        };
        let mut windows = Vec::new();
        let mut joined = Joined::default();
        let mut in_sample = Vec::new();
        for (window, pick) in picks.windows.iter().zip(&picks.picked) {
            let test_result = match &window.test {
                None => Computed::missing("it has no test window: its pick is the one to be used"),
                Some(test) => {
                    let is_sharpe = pick.and_then(|pick| metric(pick.evaluation, SHARPE).ok());
                    in_sample.extend(is_sharpe);
                    let ran = work.judge(test, *pick)?;
                    joined.add(window, test, &ran);
                    tested(ran.as_ref())
                }
            };
            if is_walk_forward(spec) {
                windows.push(window_result(spec, window, *pick, test_result));
            }
        }
        let plan = spec.validation.as_ref().map(|validated| &validated.plan);
        let held = plan.and_then(|plan| plan.holdout.as_ref());
        let has_tests = plan.is_some_and(|plan| plan.tests().next().is_some());
        let holdout = match held {
            None => Computed::missing("no stretch was held out"),
            Some(held) => {
                // What the joined windows are compared with is not a matter of these days.
                let beside = has_tests.then(|| std::mem::take(&mut work.beside));
                let ran = work.judge(held, picks.best_pick())?;
                work.beside = beside.unwrap_or_else(|| std::mem::take(&mut work.beside));
                match ran {
                    Ok(None) => Computed::missing("no trial qualified"),
                    Ok(Some(ran)) => Computed::Found(Holdout {
                        from: held.from,
                        to: held.to,
                        sharpe_ratio: figure(metric(&ran.evaluation, SHARPE)),
                        earlier_looks: case.earlier_looks,
                    }),
                    Err(reason) => Computed::missing(reason),
                }
            }
        };
        if !has_tests && held.is_none() {
            // Nothing judges it: what can be said is said of the days of the search.
            let _ = work.judge(&picks.deployed().train, picks.best_pick())?;
        }
        let judged_by = match (plan.and_then(|plan| plan.out_of_sample()), held) {
            (Some((from, to)), _) => [from, to],
            (None, Some(held)) => [held.from, held.to],
            (None, None) => {
                let train = &picks.deployed().train;
                [train.from, train.to]
            }
        };
        let per_row = joined.sharpe(spec);
        Ok(Self {
            baselines: work.beside.told(spec, judged_by).into(),
            out_of_sample: match plan.and_then(|plan| plan.out_of_sample()) {
                Some((from, to)) => out_of_sample(spec, (from, to), &joined, &in_sample).into(),
                None => Computed::missing(without_tests(method(spec))),
            },
            windows,
            holdout,
            execution: match work.orders {
                Some(orders) => Computed::Found(orders),
                None if spec.backtest.market.has_rules() => Computed::missing("nothing was run"),
                None => Computed::missing("the market plain has no rules: every order is done"),
            },
            joined: per_row,
        })
    }
}

/// Why there is nothing out of sample.
fn without_tests(method: &Validation) -> &'static str {
    match method {
        Validation::None => "in-sample only: one search over the whole period",
        Validation::Holdout { .. } => "one search and no test windows; see holdout",
        Validation::CrossValidation { .. } => "the search sees every segment of a cross-validation",
        Validation::WalkForward(_) => "there is no test window",
    }
}

/// What the runs of an assessment have in common.
struct Work<'a> {
    case: &'a Case<'a>,
    market: &'a Market<'a>,
    evaluator: &'a Evaluator<'a>,
    stop: &'a dyn Fn() -> bool,
    /// The orders of the picks' runs.
    orders: Option<Execution>,
    beside: Beside,
}

/// A run of a pick; none where there is no pick.
type Run = Result<Option<Ran>, String>;

impl Work<'_> {
    /// Runs a pick on a stretch, from a flat start, and the baselines beside it.
    fn judge(&mut self, stretch: &Stretch, pick: Option<Pick<'_>>) -> Result<Run, Stopped> {
        let (first, last) = (stretch.first, stretch.last);
        let backtest = match (self.market.backtest)(&self.market.series, first, last) {
            Ok(backtest) => backtest,
            Err(reason) => {
                self.beside.fault.get_or_insert(reason.clone());
                return Ok(Err(reason));
            }
        };
        let spec = self.case.spec;
        let default = match &self.case.default_params {
            Some(params) => params,
            None => &spec.fixed,
        };
        self.beside
            .add(self.evaluator, &backtest, default, self.stop)?;
        let Some(pick) = pick else {
            return Ok(Ok(None));
        };
        let params = spec.named(&pick.trial.point);
        Ok(match self.evaluator.run(&backtest, &params, self.stop)? {
            Ok(ran) => {
                if let Some(orders) = &ran.report.execution {
                    add(self.orders.get_or_insert_default(), orders);
                }
                Ok(Some(ran))
            }
            Err(none) => Err(none.reason().to_owned()),
        })
    }
}

fn window_result(
    spec: &TaskSpec,
    window: &Window,
    pick: Option<Pick<'_>>,
    test_result: Computed<TestResult>,
) -> WindowResult {
    let params = pick.map(|pick| spec.named(&pick.trial.point));
    WindowResult {
        index: window.index,
        train: [window.train.from, window.train.to],
        test: window.test.as_ref().map(|test| [test.from, test.to]),
        trial_number: pick.map(|pick| pick.trial.number),
        params: params.unwrap_or_default(),
        in_sample: match pick {
            Some(pick) => Computed::Found(Baseline {
                sharpe_ratio: figure(metric(pick.evaluation, SHARPE)),
            }),
            None => Computed::missing("no trial qualified"),
        },
        test_result,
    }
}

fn tested(run: Result<&Option<Ran>, &String>) -> Computed<TestResult> {
    match run {
        Ok(Some(ran)) => Computed::Found(TestResult {
            sharpe_ratio: figure(metric(&ran.evaluation, SHARPE)),
            n_trades: figure(metric(&ran.evaluation, TRADES)),
        }),
        Ok(None) => Computed::missing(NO_PICK),
        Err(reason) => Computed::missing(reason.as_str()),
    }
}

/// Test windows, one after the other.
#[derive(Default)]
pub(super) struct Joined {
    /// The return of each row: of the first row of a window too, on which its book was flat.
    rows: Vec<f64>,
    fault: Option<String>,
}

impl Joined {
    /// Adds what a window's pick gave: cash, if there was none.
    pub(super) fn add(&mut self, window: &Window, test: &Stretch, run: &Run) {
        match run {
            Ok(Some(ran)) => self.rows.extend(daily(&ran.report)),
            Ok(None) => self.rows.extend(test.rows.clone().map(|_| 0.0)),
            Err(reason) => {
                let fault = format!("window {}: {reason}", window.index);
                self.fault.get_or_insert(fault);
            }
        }
    }

    /// The returns from row to row: as everywhere, the first row has none.
    fn returns(&self) -> Result<&[f64], String> {
        match &self.fault {
            Some(fault) => Err(fault.clone()),
            None => Ok(self.rows.get(1..).unwrap_or(&[])),
        }
    }

    /// Their Sharpe ratio, per row.
    pub(super) fn sharpe(&self, spec: &TaskSpec) -> Result<f64, String> {
        Ok(sharpe_per_row(self.returns()?, riskless(spec))?)
    }
}

fn out_of_sample(
    spec: &TaskSpec,
    (from, to): (chrono::NaiveDate, chrono::NaiveDate),
    joined: &Joined,
    in_sample: &[f64],
) -> Result<OutOfSample, String> {
    let returns = joined.returns()?;
    let annual = spec.backtest.periods_per_year.sqrt();
    let interval = sharpe_interval(returns, riskless(spec), LEVEL, DRAWS, spec.seed);
    let mean = match in_sample.len() {
        0 => Err("no window has a pick with a Sharpe ratio"),
        count => Ok(in_sample.iter().sum::<f64>() / count as f64),
    };
    Ok(OutOfSample {
        from,
        to,
        sharpe_ratio: figure(joined.sharpe(spec).map(|ratio| ratio * annual)),
        sharpe_ci95: interval.map(|i| [i.low * annual, i.high * annual]).into(),
        in_sample_mean_sharpe: figure(mean),
    })
}

/// What stands beside the picks, stretch by stretch.
#[derive(Default)]
struct Beside {
    hold: Vec<f64>,
    default: Vec<f64>,
    /// Why the default parameters have no run.
    no_default: Option<String>,
    fault: Option<String>,
}

impl Beside {
    fn add(
        &mut self,
        evaluator: &Evaluator<'_>,
        backtest: &Backtest,
        default: &BTreeMap<String, Choice>,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), Stopped> {
        let hold = backtest.benchmark();
        let cash = backtest.config().initial_cash;
        self.hold.push(hold.equity[0] / cash - 1.0);
        self.hold.extend(&hold.returns);
        match evaluator.run(backtest, default, stop)? {
            Ok(ran) => self.default.extend(daily(&ran.report)),
            Err(none) => {
                self.no_default.get_or_insert(none.reason().to_owned());
            }
        }
        Ok(())
    }

    fn told(self, spec: &TaskSpec, period: [chrono::NaiveDate; 2]) -> Result<Baselines, String> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let annual = spec.backtest.periods_per_year.sqrt();
        let line = |rows: &[f64]| {
            let ratio = sharpe_per_row(rows.get(1..).unwrap_or(&[]), riskless(spec));
            figure(ratio.map(|ratio| ratio * annual))
        };
        Ok(Baselines {
            period,
            equal_weight_hold: Baseline {
                sharpe_ratio: line(&self.hold),
            },
            default_params: Baseline {
                sharpe_ratio: match self.no_default {
                    Some(reason) => figure(Err(reason)),
                    None => line(&self.default),
                },
            },
        })
    }
}

/// The return of every row of a run that began with cash, its first row included.
fn daily(report: &Report) -> Vec<f64> {
    let first = report.equity[0] / report.initial_cash - 1.0;
    std::iter::once(first)
        .chain(metrics::returns(report))
        .collect()
}

fn riskless(spec: &TaskSpec) -> f64 {
    spec.backtest.risk_free_rate / spec.backtest.periods_per_year
}

fn add(sum: &mut Execution, more: &Execution) {
    let Execution {
        orders,
        filled,
        expired,
        cancelled,
        waiting,
        limit_unknown,
        blocked,
    } = more;
    let Blocked {
        limit_up,
        limit_down,
        suspended,
        cash_below_lot,
        volume_cap,
        other_leg,
    } = blocked;
    sum.orders += orders;
    sum.filled += filled;
    sum.expired += expired;
    sum.cancelled += cancelled;
    sum.waiting += waiting;
    sum.limit_unknown += limit_unknown;
    sum.blocked.limit_up += limit_up;
    sum.blocked.limit_down += limit_down;
    sum.blocked.suspended += suspended;
    sum.blocked.cash_below_lot += cash_below_lot;
    sum.blocked.volume_cap += volume_cap;
    sum.blocked.other_leg += other_leg;
}
