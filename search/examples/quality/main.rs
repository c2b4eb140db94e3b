//! How good a sampler is, and what a suggestion costs.
//!
//! ```text
//! quality --sampler auto|tpe|gp|cmaes|nsga2|random|sobol --mode seq|par8 --seeds 0..20 [--golden G] [--problems a,b] [--trials 100]
//! quality --sampler tpe --cost [--objectives 3]
//! ```
//!
//! The first form prints one line of JSON per run,
//! `{"impl", "mode", "sampler", "problem", "seed", "trials": [[reported, true], ...]}`, trials in the
//! order told; of a problem with several objectives (`--problems zdt1,dtlz2`) a trial is its costs, and an infeasible one
//! (`--problems bowl_half,bowl_tenth,bowl_hundredth,gramacy2,mixed_limited`) has null for values. `seq` asks, evaluates, tells; `par8` keeps eight trials in flight, first in, first out.
//! `--golden` moves the optima.
//!
//! The second prints the time of one suggestion in milliseconds (shortest and middle of many) after 100, 200,
//! 1,000, 10,000 and 100,000 random trials on 5, 20 and 100 floats, on 5 and 20 integers, and on two of the problems' spaces.

#![expect(clippy::print_stdout, reason = "an example's output is what it prints")]

mod problems;

use std::collections::VecDeque;
use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use problems::{GOLDEN, LIMITED, NAMES, Outcome, Problem, SEVERAL};
use trialmill_search::{
    Choice, Domain, FinishedTrial, History, Method, RunningTrial, Space, Study, TrialEnd,
};

struct Arguments {
    method: Method,
    mode: String,
    seeds: std::ops::Range<u64>,
    golden: f64,
    problems: Vec<String>,
    trials: u32,
    cost: bool,
    objectives: u32,
}

impl Arguments {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut read = Self {
            method: Method::Tpe,
            mode: "seq".to_owned(),
            seeds: 0..20,
            golden: GOLDEN,
            problems: NAMES.map(str::to_owned).to_vec(),
            trials: 100,
            cost: false,
            objectives: 1,
        };
        while let Some(name) = words.next() {
            if name == "--cost" {
                read.cost = true;
                continue;
            }
            let value = words
                .next()
                .ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--sampler" => read.method = value.parse()?,
                "--mode" => read.mode = value,
                "--seeds" => {
                    let (from, to) = value.split_once("..").ok_or("--seeds is FROM..TO")?;
                    read.seeds = from.parse()?..to.parse()?;
                }
                "--golden" => read.golden = value.parse()?,
                "--problems" => read.problems = value.split(',').map(str::to_owned).collect(),
                "--objectives" => read.objectives = value.parse()?,
                "--trials" => read.trials = value.parse()?,
                _ => return Err(format!("unknown argument {name}").into()),
            }
        }
        Ok(read)
    }

    fn in_flight(&self) -> Result<usize, String> {
        match self.mode.as_str() {
            "seq" => Ok(1),
            "par8" => Ok(8),
            other => Err(format!("unknown mode {other}; use seq or par8")),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    if arguments.cost {
        return cost(arguments.method, arguments.objectives);
    }
    let width = arguments.in_flight()?;
    for seed in arguments.seeds.clone() {
        for name in &arguments.problems {
            let problem = Problem::named(name, arguments.golden).ok_or_else(|| {
                let known = [&NAMES[..], &SEVERAL[..], &LIMITED[..]].concat().join(",");
                format!("unknown problem {name}; use {known}")
            })?;
            let study = Study::new(problem.space.clone(), arguments.method, seed)
                .map_err(|faults| format!("{name}: {}", faults[0]))?;
            let told = run(&problem, &study, width, arguments.trials);
            let trials: Vec<Vec<Option<f64>>> = told.iter().map(Outcome::recorded).collect();
            let line = serde_json::json!({
                "impl": "trialmill",
                "mode": arguments.mode,
                "sampler": arguments.method.name(),
                "problem": name,
                "seed": seed,
                "trials": trials,
            });
            println!("{line}");
        }
    }
    Ok(())
}

/// The outcomes in the order told, with up to `width` trials in flight.
fn run(problem: &Problem, study: &Study, width: usize, trials: u32) -> Vec<Outcome> {
    let mut told = Vec::new();
    let mut finished: Vec<FinishedTrial> = Vec::new();
    let mut flight: VecDeque<RunningTrial> = VecDeque::new();
    let mut tell = |flight: &mut VecDeque<RunningTrial>, finished: &mut Vec<FinishedTrial>| {
        let Some(RunningTrial { number, point }) = flight.pop_front() else {
            return false;
        };
        let outcome = problem.evaluate(&point);
        let end = if outcome.violation > 0.0 {
            TrialEnd::Infeasible {
                violation: outcome.violation,
            }
        } else {
            TrialEnd::completed(outcome.reported.clone())
        };
        finished.push(FinishedTrial { number, point, end });
        told.push(outcome);
        true
    };
    for number in 0..trials {
        if flight.len() == width {
            tell(&mut flight, &mut finished);
        }
        let history = History {
            finished: &finished,
            running: flight.make_contiguous(),
        };
        let Some(point) = study.ask(&history, number) else {
            break;
        };
        flight.push_back(RunningTrial { number, point });
    }
    while tell(&mut flight, &mut finished) {}
    told
}

/// Prints the time of one suggestion, all parameters together.
fn cost(method: Method, objectives: u32) -> Result<(), Box<dyn Error>> {
    let float = |i: usize| {
        let domain = Domain::Float {
            low: -5.0,
            high: 5.0,
            step: None,
            log: false,
        };
        (format!("x{i:02}"), domain)
    };
    let int = |i: usize| {
        let domain = Domain::Int {
            low: 0,
            high: 199,
            step: 1,
            log: false,
        };
        (format!("x{i:02}"), domain)
    };
    println!("space       history      shortest        middle");
    for (name, dimensions) in [
        ("5 floats", 5),
        ("20 floats", 20),
        ("100 floats", 100),
        ("5 ints", 5),
        ("20 ints", 20),
        ("mixed", 0),
        ("plateau", 0),
    ] {
        let space = match Problem::named(name, GOLDEN) {
            Some(problem) => problem.space,
            None => {
                Space::new((0..dimensions).map(if name.ends_with("ints") { int } else { float }))
                    .map_err(|faults| faults[0].clone())?
            }
        };
        let random = Study::new(space.clone(), Method::Random, 1).map_err(|f| f[0].clone())?;
        let study = Study::new(space, method, 1).map_err(|faults| faults[0].clone())?;
        for count in [100, 200, 1_000, 10_000, 100_000_u32] {
            let trial = |number| {
                let point = random.ask(&History::EMPTY, number)?;
                let values = random.space().named(&point);
                let numbers: Vec<f64> = values
                    .map(|(_, value)| match value {
                        Choice::Float(value) => value,
                        Choice::Int(value) => value as f64,
                        _ => 0.0,
                    })
                    .collect();
                // Each objective has its best place: 0, 1, and so on, for every number.
                let cost = |best: u32| numbers.iter().map(|x| (x - f64::from(best)).powi(2)).sum();
                let end = TrialEnd::Completed((0..objectives).map(cost).collect());
                Some(FinishedTrial { number, point, end })
            };
            let finished: Vec<FinishedTrial> = (0..count).filter_map(trial).collect();
            let history = History {
                finished: &finished,
                running: &[],
            };
            let repeats = (20_000 / count).clamp(20, 400);
            let times = (0..repeats).map(|repeat| {
                let start = Instant::now();
                black_box(study.ask(black_box(&history), count + repeat));
                start.elapsed().as_secs_f64() * 1e3
            });
            let mut times: Vec<f64> = times.collect();
            times.sort_by(f64::total_cmp);
            let (shortest, middle) = (times[0], times[times.len() / 2]);
            println!("{name:10}  {count:7}  {shortest:12.4}  {middle:12.4}");
        }
    }
    Ok(())
}
