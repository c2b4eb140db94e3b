//! The tasks of the clients, and what an undisturbed run of each gives, computed by `search` alone; for
//! those on bars [`crate::assessed`] knows it.

use crate::assessed;
use crate::chance::Chance;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use trialmill_search::{Choice, Domain, FinishedTrial, History, Method, Space, Study, TrialEnd};

/// A task: on the test function `sleep`, whose value is the sum of the squares of its parameters, or a
/// strategy on bars.
#[derive(Debug, Clone)]
pub struct Work {
    /// For people: what kind of task it is.
    pub name: &'static str,
    /// How its parameters are chosen.
    pub method: Method,
    /// One unit at a time, and repeatable with every method.
    pub sequential: bool,
    /// Trials.
    pub n_trials: u32,
    /// How long a trial of the test function takes; above 1 s it is announced before it starts.
    pub seconds: f64,
    /// Seed of the search.
    pub seed: u64,
    /// Unpaused seconds after which the task ends, with the trials it has then.
    pub timeout: Option<f64>,
    /// Whether a front is searched, of a test function with two values.
    pub front: bool,
    /// Moving averages on bars, whose result is assessed; none for the test function.
    pub bars: Option<Bars>,
}

/// The bars of a task, and how it is validated.
#[derive(Debug, Clone)]
pub struct Bars {
    /// Which symbol.
    pub symbol: String,
    /// As a walk-forward; else days are only held out.
    pub walks_forward: bool,
}

/// Trials of a search on bars: the fewest that a window may have.
const TRIALS_ON_BARS: u32 = 20;

/// Parameters by name, and the values in the order of [`Work::metrics`].
pub type Expected = (BTreeMap<String, f64>, Vec<f64>);

/// Each side of the grid's square.
const GRID_SIDE: i64 = 9;

impl Work {
    /// Many fast trials.
    #[must_use]
    pub fn fast(n_trials: u32, seed: u64) -> Self {
        Self {
            name: "random",
            method: Method::Random,
            sequential: false,
            n_trials,
            seconds: 0.02,
            seed,
            timeout: None,
            front: false,
            bars: None,
        }
    }

    /// A search on bars, some of which are held out.
    pub fn assessed(chance: &mut Chance) -> Self {
        Self {
            name: "assessed",
            bars: Some(Bars {
                symbol: assessed::name(chance.below(assessed::SYMBOLS)),
                walks_forward: false,
            }),
            ..Self::fast(TRIALS_ON_BARS, chance.below(1 << 32))
        }
    }

    /// A search in each window of a walk-forward, and a holdout after them.
    pub fn walk_forward(chance: &mut Chance) -> Self {
        let mut work = Self {
            name: "walk-forward",
            n_trials: 2 * TRIALS_ON_BARS,
            ..Self::assessed(chance)
        };
        if let Some(bars) = &mut work.bars {
            bars.walks_forward = true;
        }
        work
    }

    /// The metrics that it optimizes.
    #[must_use]
    pub fn metrics(&self) -> &'static [&'static str] {
        match self.bars {
            None if self.front => &["f1", "f2"],
            None => &["value"],
            Some(_) => &["sharpe_ratio"],
        }
    }

    /// The one that decides which trial leads.
    #[must_use]
    pub fn metric(&self) -> &'static str {
        self.metrics()[0]
    }

    /// Whether the first value of its metric is better than the second. The test function is minimized.
    #[must_use]
    pub fn is_better(&self, one: f64, other: f64) -> bool {
        match self.bars {
            None => one < other,
            Some(_) => one > other,
        }
    }

    /// The number of its best trial among those that are listed: of a walk-forward, of the last of its two
    /// windows.
    #[must_use]
    pub fn best(&self, trials: &[Value]) -> Option<u64> {
        let walks_forward = self.bars.as_ref().is_some_and(|bars| bars.walks_forward);
        let first = if walks_forward { self.n_trials / 2 } else { 0 };
        let mut best: Option<(f64, u64)> = None;
        for trial in trials {
            let is_candidate = trial["state"] == "completed"
                && trial["infeasible"].is_null()
                && trial["number"].as_u64() >= Some(first.into());
            let value = trial["values"][self.metric()].as_f64();
            if let (true, Some(value), Some(number)) =
                (is_candidate, value, trial["number"].as_u64())
                && best.is_none_or(|(least, _)| self.is_better(value, least))
            {
                best = Some((value, number));
            }
        }
        best.map(|(_, number)| number)
    }

    /// Few trials that are announced before they start.
    #[must_use]
    pub fn slow(n_trials: u32, seed: u64) -> Self {
        Self {
            name: "slow",
            seconds: 1.1,
            ..Self::fast(n_trials, seed)
        }
    }

    /// The same with one unit at a time.
    #[must_use]
    pub fn in_order(self) -> Self {
        Self {
            sequential: true,
            ..self
        }
    }

    /// The same over a function with two values, searched for its front.
    #[must_use]
    pub fn of_front(self) -> Self {
        Self {
            front: true,
            ..self
        }
    }

    /// A task of some kind.
    pub fn draw(chance: &mut Chance) -> Self {
        let seed = chance.below(1 << 32);
        let n_trials = u32::try_from(30 + chance.below(60)).unwrap_or(30);
        let seconds = chance.between(0.01, 0.08);
        let fast = Self {
            seconds,
            ..Self::fast(n_trials, seed)
        };
        let method = |name, method| Self {
            name,
            method,
            ..fast.clone()
        };
        match chance.weighted(&[4, 2, 1, 2, 2, 1, 2, 1, 1, 1, 1, 1, 1, 1]) {
            0 => fast,
            1 => method("grid", Method::Grid),
            2 => method("sobol", Method::Sobol),
            3 => method("tpe", Method::Tpe),
            4 => method("tpe in order", Method::Tpe).in_order(),
            5 => Self {
                name: "random in order",
                ..fast.in_order()
            },
            6 => Self::slow(u32::try_from(2 + chance.below(6)).unwrap_or(2), seed),
            7 => Self::assessed(chance),
            8 => Self::walk_forward(chance),
            9 => method("gp in order", Method::Gp).in_order(),
            10 => method("cmaes in order", Method::CmaEs).in_order(),
            11 => method("nsga2", Method::Nsga2),
            12 => method("front in order", Method::Nsga2)
                .of_front()
                .in_order(),
            _ => method("front", Method::Tpe).of_front(),
        }
    }

    fn domains(&self) -> Vec<(String, Domain)> {
        let named = |name: &&str| (*name).to_owned();
        match self.method {
            Method::Grid => ["x0", "x1"]
                .iter()
                .map(|name| {
                    let (low, high) = (0, GRID_SIDE);
                    let (step, log) = (1, false);
                    (
                        named(name),
                        Domain::Int {
                            low,
                            high,
                            step,
                            log,
                        },
                    )
                })
                .collect(),
            _ => ["x0", "x1", "x2"]
                .iter()
                .map(|name| {
                    let (low, high) = (-5.0, 5.0);
                    let (step, log) = (None, false);
                    (
                        named(name),
                        Domain::Float {
                            low,
                            high,
                            step,
                            log,
                        },
                    )
                })
                .collect(),
        }
    }

    /// The body of the request.
    #[must_use]
    pub fn request(&self) -> Value {
        if let Some(bars) = &self.bars {
            return self.request_on(bars);
        }
        let mut space: Map<String, Value> = self
            .domains()
            .into_iter()
            .map(|(name, domain)| {
                let parameter = match domain {
                    Domain::Int { low, high, .. } => {
                        json!({"type": "int", "low": low, "high": high})
                    }
                    _ => json!({"type": "float", "low": -5.0, "high": 5.0}),
                };
                (name, parameter)
            })
            .collect();
        let pause = json!({"type": "float", "low": 0.0, "high": 60.0, "default": self.seconds,
            "enabled": false});
        space.insert("seconds".to_owned(), pause);
        let mut body = json!({
            "task_name": self.name, "stock_codes": [],
            "strategy_name": if self.front { "schaffer" } else { "sleep" },
            "start_date": "2023-01-01", "end_date": "2023-12-31", "param_space": space,
            "objective_config": {"objective_metric": self.metrics()},
            "optimization_method": self.method.name(),
            "n_trials": self.n_trials, "seed": self.seed,
        });
        if self.method == Method::Grid {
            // Some have fewer trials than the square has points.
            body["optimization_method"] = json!({"name": "grid", "sample": true});
        }
        if self.sequential {
            body["parallelism"] = json!(1);
        }
        if let Some(seconds) = self.timeout {
            body["timeout"] = json!(seconds);
        }
        body
    }

    fn request_on(&self, bars: &Bars) -> Value {
        let [first, last] = assessed::DAYS;
        // Two windows in the days that there are: one that is tested, and the last.
        let validation = match bars.walks_forward {
            true => json!({"method": "walk_forward", "window": "rolling", "train": "12mo",
                "test": "12mo", "holdout": "6mo"}),
            false => json!({"method": "holdout", "length": "6mo"}),
        };
        json!({
            "task_name": self.name, "strategy_name": "moving_average",
            "stock_codes": [bars.symbol], "start_date": first, "end_date": last,
            "param_space": {
                "short_window": {"type": "int", "low": 2, "high": 10},
                "long_window": {"type": "int", "low": 12, "high": 60},
            },
            "objective_config": {"objective_metric": self.metric()},
            "result_constraints": [], "backtest_config": {"market": "plain"},
            "optimization_method": self.method.name(), "validation": validation,
            "n_trials": self.n_trials, "seed": self.seed,
        })
    }

    /// What an undisturbed run gives, trial by trial; nothing where that depends on who is faster, or on
    /// bars.
    ///
    /// # Panics
    /// When `search` refuses a space of ours: a fault of this file.
    #[must_use]
    pub fn undisturbed(&self) -> Option<Vec<Expected>> {
        if self.method.reads_history() && !self.sequential || self.bars.is_some() {
            return None;
        }
        let space = Space::new(self.domains()).expect("the bounds above are in order");
        let study = Study::new(space, self.method, self.seed).expect("every method takes it");
        let mut finished: Vec<FinishedTrial> = Vec::new();
        let mut expected = Vec::new();
        for number in 0..self.n_trials {
            let history = History {
                finished: &finished,
                running: &[],
            };
            let point = study
                .ask(&history, number)
                .expect("the space is large enough");
            let named: BTreeMap<String, f64> = study
                .space()
                .named(&point)
                .map(|(name, choice)| (name.to_owned(), number_of(&choice)))
                .collect();
            let squares = |from: f64| named.values().map(|x| (x - from) * (x - from)).sum();
            let values: Vec<f64> = match self.front {
                true => vec![squares(0.0), squares(2.0)],
                false => vec![squares(0.0)],
            };
            expected.push((named, values.clone()));
            let end = TrialEnd::completed(values);
            finished.push(FinishedTrial { number, point, end });
        }
        Some(expected)
    }

    /// What is wrong with all trials of the completed task, as the API lists them. Empty is good.
    #[must_use]
    pub fn faults(&self, trials: &[Value]) -> Vec<String> {
        let mut faults = Vec::new();
        let wanted = usize::try_from(self.n_trials).unwrap_or(usize::MAX);
        let cut_short = self.timeout.is_some();
        if trials.len() != wanted && !(cut_short && trials.len() < wanted) {
            faults.push(format!(
                "{} trials are listed, {wanted} were asked for",
                trials.len()
            ));
        }
        let undisturbed = self.undisturbed();
        for (place, trial) in trials.iter().enumerate() {
            let number = trial["number"]
                .as_u64()
                .and_then(|n| usize::try_from(n).ok());
            // A task that ran out of time may lack any number.
            let place = if cut_short {
                number.unwrap_or(place)
            } else {
                place
            };
            if number != Some(place) {
                faults.push(format!(
                    "place {place} of the trials has number {}",
                    trial["number"]
                ));
                break;
            }
            if trial["state"] != "completed" {
                // A search in order goes on from other trials than expected; a failed one is
                // judged by who knows whether it may be.
                if self.sequential && self.method.reads_history() {
                    break;
                }
                continue;
            }
            let Some((params, values)) = undisturbed.as_ref().and_then(|all| all.get(place)) else {
                continue;
            };
            for (name, x) in params {
                if trial["params"][name].as_f64() != Some(*x) {
                    let found = &trial["params"][name];
                    faults.push(format!(
                        "trial {place} has {name} {found}, undisturbed it is {x}"
                    ));
                }
            }
            for (metric, value) in self.metrics().iter().zip(values) {
                let found = &trial["values"][metric];
                if found.as_f64() != Some(*value) {
                    faults.push(format!(
                        "trial {place} has {metric} {found}, undisturbed it is {value}"
                    ));
                }
            }
        }
        faults
    }
}

/// Our spaces have numbers only.
fn number_of(choice: &Choice) -> f64 {
    match choice {
        Choice::Float(x) => *x,
        #[expect(clippy::cast_precision_loss, reason = "0 to 9")]
        Choice::Int(n) => *n as f64,
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(work: &Work) -> Vec<Value> {
        let expected = work.undisturbed().expect("it is repeatable").into_iter();
        let trial = |(number, (params, values)): (usize, Expected)| {
            let values: BTreeMap<_, _> = work.metrics().iter().zip(values).collect();
            json!({"number": number, "state": "completed", "params": params, "values": values})
        };
        expected.enumerate().map(trial).collect()
    }

    #[test]
    fn a_missing_a_doubled_and_a_changed_trial_are_each_a_fault() {
        let mut chance = Chance::new(1, "work");
        let fronts = [Method::Tpe, Method::Nsga2].map(|method| (method, true));
        for (method, front) in Method::ALL
            .map(|method| (method, false))
            .into_iter()
            .chain(fronts)
        {
            let mut work = Work::fast(40, chance.below(1000));
            work.method = method;
            work.front = front;
            work.sequential = method.reads_history();
            let good = listed(&work);
            assert_eq!(work.faults(&good), Vec::<String>::new(), "{method:?}");
            let mut lost = good.clone();
            lost.remove(7);
            assert!(!work.faults(&lost).is_empty(), "{method:?}");
            let mut doubled = good.clone();
            doubled[8] = doubled[7].clone();
            assert!(!work.faults(&doubled).is_empty(), "{method:?}");
            let mut changed = good.clone();
            changed[9]["values"][work.metric()] = json!(1e-9);
            assert_eq!(work.faults(&changed).len(), 1, "{method:?}");
            let mut drawn_again = good;
            drawn_again[3]["params"]["x1"] = json!(0.123);
            assert_eq!(work.faults(&drawn_again).len(), 1, "{method:?}");
        }
    }
}
