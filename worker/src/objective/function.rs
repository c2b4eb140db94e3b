//! The test functions: objectives that read no market data.

use super::backtest::Figures;
use super::trouble::{Trouble, invalid};
use crate::stop::StopSource;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use trialmill_common::objective::TestFunction;
use trialmill_search::Choice;

/// The parameter that says how long to wait.
const SECONDS: &str = "seconds";

/// The numeric value of a parameter.
fn number(choice: &Choice) -> Option<f64> {
    match choice {
        #[expect(
            clippy::cast_precision_loss,
            reason = "the search's integers stay below 2^53"
        )]
        Choice::Int(value) => Some(*value as f64),
        Choice::Float(value) => Some(*value),
        Choice::Null | Choice::Bool(_) | Choice::Text(_) => None,
    }
}

/// Sum of the squares of the numeric parameters but `except`, in the order of their names.
fn sphere(parameters: &BTreeMap<String, Choice>, except: &str) -> f64 {
    let searched = parameters
        .iter()
        .filter(|(name, _)| name.as_str() != except);
    searched
        .filter_map(|(_, choice)| number(choice))
        .map(|x| x * x)
        .sum()
}

/// Evaluates a function: its metrics with their values.
pub(super) fn call(
    function: TestFunction,
    parameters: &BTreeMap<String, Choice>,
    stop: &StopSource<'_>,
) -> Result<Figures, Trouble> {
    let values = match function {
        TestFunction::Schaffer => {
            if parameters.contains_key(SECONDS) {
                wait_asked(parameters, stop)?;
            }
            schaffer(parameters).to_vec()
        }
        _ => vec![value(function, parameters, stop)?],
    };
    let names = function.metrics().iter().copied();
    Ok(names.zip(values.into_iter().map(Ok)).collect())
}

/// The sum of the squares of the numeric parameters but [`SECONDS`], and of the squares of their distances
/// to 2.
fn schaffer(parameters: &BTreeMap<String, Choice>) -> [f64; 2] {
    let searched = || parameters.iter().filter(|(name, _)| *name != SECONDS);
    let numbers = || searched().filter_map(|(_, choice)| number(choice));
    [
        numbers().map(|x| x * x).sum(),
        numbers().map(|x| (x - 2.0) * (x - 2.0)).sum(),
    ]
}

/// The value of a function that has one.
fn value(
    function: TestFunction,
    parameters: &BTreeMap<String, Choice>,
    stop: &StopSource<'_>,
) -> Result<f64, Trouble> {
    #[cfg(feature = "misbehave")]
    const TRIGGER: &str = "trigger";
    #[cfg(feature = "misbehave")]
    {
        let of = |name: &str| parameters.get(name).and_then(number);
        let triggered = of("x").is_some_and(|x| x >= of(TRIGGER).unwrap_or(0.0));
        let well_behaved = matches!(
            function,
            TestFunction::Sphere | TestFunction::Sleep | TestFunction::Schaffer
        );
        if !well_behaved && !triggered {
            return Ok(sphere(parameters, TRIGGER));
        }
    }
    match function {
        // Of one that has several, the first.
        TestFunction::Schaffer => Ok(schaffer(parameters)[0]),
        TestFunction::Sphere => Ok(sphere(parameters, "")),
        TestFunction::Sleep => {
            wait_asked(parameters, stop)?;
            Ok(sphere(parameters, SECONDS))
        }
        #[cfg(feature = "misbehave")]
        TestFunction::Panic => panic!("a panic on purpose at {parameters:?}"),
        #[cfg(feature = "misbehave")]
        TestFunction::Endless => {
            wait_for(Duration::MAX, stop)?;
            Ok(0.0)
        }
        #[cfg(feature = "misbehave")]
        TestFunction::Stuck => loop {
            std::thread::park_timeout(Duration::from_secs(1));
        },
        #[cfg(feature = "misbehave")]
        TestFunction::Nan => Ok(f64::NAN),
        #[cfg(feature = "misbehave")]
        TestFunction::Abort => std::process::abort(),
        #[cfg(feature = "misbehave")]
        TestFunction::Memory => {
            let mut taken: Vec<Vec<u8>> = Vec::new();
            loop {
                taken.push(std::hint::black_box(vec![1; 16 << 20]));
            }
        }
    }
}

/// Waits for [`SECONDS`], or a tenth of one.
fn wait_asked(parameters: &BTreeMap<String, Choice>, stop: &StopSource<'_>) -> Result<(), Trouble> {
    let seconds = parameters.get(SECONDS).and_then(number).unwrap_or(0.1);
    let wait = Duration::try_from_secs_f64(seconds).map_err(|error| {
        invalid(format!(
            "{SECONDS} is {seconds}, which is no time to wait: {error}"
        ))
    })?;
    wait_for(wait, stop)
}

/// Waits, asking every few milliseconds whether to stop.
fn wait_for(wait: Duration, stop: &StopSource<'_>) -> Result<(), Trouble> {
    const QUESTION: Duration = Duration::from_millis(5);
    let begin = Instant::now();
    loop {
        if stop.asked_now() {
            return Err(Trouble::Stopped);
        }
        let left = wait.saturating_sub(begin.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::park_timeout(left.min(QUESTION));
    }
}
