//! Searches of what users search: every point of the parameter spaces of real strategies on real
//! bars, computed once, and samplers that look for the best one.
//!
//! ```text
//! surfaces build DIR [--data ../shared/data]
//! surfaces run DIR --sampler NAME [--mode seq|par8] [--seeds 0..20] [--trials 100]
//! surfaces prune DIR --sampler NAME --pruner NAME [--seeds 0..20] [--budget 100]
//! ```
//!
//! `build` writes a file for each of twelve surfaces: its axes, the Sharpe ratio of every point from 2010 to 2016 (null
//! where nothing was traded), and from 2017 to 2021. `run` prints a line of JSON for each search: the points in
//! the order told, by their place in the file. `prune` has trials report their Sharpe ratio over eight segments of the searched
//! years, in the shuffled order of the seed, until a search has cost as much as so many whole backtests; it prints what was found, once for
//! trials that are one backtest (after their segments) and once for trials that are the mean of the segments. `benchmarks/surfaces` has Optuna's side and compares them
//! (docs/benchmarks/search.md).

#![expect(clippy::print_stdout, reason = "an example's output is what it prints")]

mod prune;
mod run;
mod surface;

use std::error::Error;
use std::ops::Range;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let usage = "surfaces build|run|prune DIR, see the head of this example";
    let verb = words.next().ok_or(usage)?;
    let folder = PathBuf::from(words.next().ok_or(usage)?);
    let rest: Vec<String> = words.collect();
    match verb.as_str() {
        "build" => surface::build(&folder, &rest),
        "prune" => prune::prune(&folder, &rest),
        "run" => run::run(&folder, &rest),
        _ => Err(usage.into()),
    }
}

/// The seeds that are asked for.
fn seeds(words: &[String]) -> Result<Range<u64>, Box<dyn Error>> {
    let seeds = option(words, "--seeds", "0..20")?;
    let (from, to) = seeds.split_once("..").ok_or("--seeds is FROM..TO")?;
    Ok(from.parse()?..to.parse()?)
}

/// The value of an option, or what it is without.
fn option(words: &[String], name: &str, default: &str) -> Result<String, Box<dyn Error>> {
    if let Some(odd) = words
        .chunks(2)
        .find(|pair| pair.len() != 2 || !pair[0].starts_with("--"))
    {
        return Err(format!("{odd:?} is not an option with its value").into());
    }
    let found = words.chunks(2).find(|pair| pair[0] == name);
    Ok(found.map_or(default, |pair| pair[1].as_str()).to_owned())
}
