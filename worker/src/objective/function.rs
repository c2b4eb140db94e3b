//! The test functions: objectives that read no market data.

use super::trouble::{Trouble, invalid};
use crate::stop::StopSource;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use trialmill_common::objective::TestFunction;
use trialmill_search::Choice;

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

/// Evaluates a function.
pub(super) fn call(
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
        let well_behaved = matches!(function, TestFunction::Sphere | TestFunction::Sleep);
        if !well_behaved && !triggered {
            return Ok(sphere(parameters, TRIGGER));
        }
    }
    match function {
        TestFunction::Sphere => Ok(sphere(parameters, "")),
        TestFunction::Sleep => {
            const SECONDS: &str = "seconds";
            let seconds = parameters.get(SECONDS).and_then(number).unwrap_or(0.1);
            let wait = Duration::try_from_secs_f64(seconds).map_err(|error| {
                invalid(format!(
                    "{SECONDS} is {seconds}, which is no time to wait: {error}"
                ))
            })?;
            wait_for(wait, stop)?;
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
