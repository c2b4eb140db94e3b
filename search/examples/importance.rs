//! What the importance of parameters costs, in milliseconds, and how near fANOVA comes to known variances.
//!
//! ```text
//! importance
//! ```
//!
//! Random trials of a sum with noise and one interaction, on floats; and of the Ishigami function, with the
//! spread over twenty seeds of the trials.

#![expect(clippy::print_stdout, reason = "an example's output is what it prints")]

use std::error::Error;
use std::f64::consts::PI;
use std::time::Instant;

use trialmill_search::importance::{
    Decomposed, FanovaOptions, Observed, PedAnovaOptions, fanova, fanova_pairs, ped_anova,
};
use trialmill_search::{Choice, Domain, History, Method, ParamValue, Point, Space, Stream, Study};

fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "trials params choices  ped_anova     fanova  45 pairs   (ms)   fanova of x00 x01 x02"
    );
    for (trials, parameters, choices) in [
        (100, 5, 0),
        (1_000, 20, 0),
        (10_000, 20, 0),
        (100_000, 20, 0),
        (10_000, 100, 0),
        (10_000, 20, 10),
        (10_000, 20, 1_000),
    ] {
        cost(trials, parameters, choices)?;
    }
    println!("\nishigami, first order: x0 0.3139, x1 0.4424, x2 0; x0 with x2 0.2437");
    for decomposed in [Decomposed::Forest, Decomposed::EachTree] {
        for trials in [200, 500, 2_000, 10_000] {
            ishigami(trials, decomposed)?;
        }
    }
    Ok(())
}

/// A point and its values as numbers from 0 to 1.
type Drawn = (Point, Vec<f64>);

fn random(
    space: &Space,
    trials: u32,
    seed: u64,
    choices: i64,
) -> Result<Vec<Drawn>, Box<dyn Error>> {
    let study =
        Study::new(space.clone(), Method::Random, seed).map_err(|faults| faults[0].clone())?;
    let points = (0..trials).filter_map(|number| study.ask(&History::EMPTY, number));
    let units = |point: &Point| {
        let values = point.values().iter().map(|value| match value {
            ParamValue::Float(value) => *value,
            ParamValue::Category(index) => f64::from(*index) / choices as f64,
            _ => 0.0,
        });
        values.collect()
    };
    Ok(points.map(|point| (point.clone(), units(&point))).collect())
}

/// Floats, or categorical parameters of so many choices where there are any.
fn of(parameters: usize, choices: i64) -> Result<Space, Box<dyn Error>> {
    let domain = if choices == 0 {
        Domain::Float {
            low: 0.0,
            high: 1.0,
            step: None,
            log: false,
        }
    } else {
        Domain::Categorical {
            choices: (0..choices).map(Choice::Int).collect(),
        }
    };
    let parameters = (0..parameters).map(|i| (format!("x{i:02}"), domain.clone()));
    Space::new(parameters).map_err(|faults| faults[0].clone().into())
}

fn observed(trials: &[Drawn], value: impl Fn(u32, &[f64]) -> f64) -> Vec<Observed<'_>> {
    (0..)
        .zip(trials)
        .map(|(number, (point, units))| Observed {
            number,
            point,
            value: value(number, units),
        })
        .collect()
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed().as_secs_f64() * 1e3)
}

fn cost(trials: u32, parameters: usize, choices: i64) -> Result<(), Box<dyn Error>> {
    let space = of(parameters, choices)?;
    let drawn = random(&space, trials, 1, choices)?;
    let observed = observed(&drawn, |number, x| {
        let noise = Stream::for_study(u64::from(number), "noise").unit_f64();
        4.0 * x[0] + 2.0 * x[1] + 3.0 * (x[2] - 0.5) * (x[3] - 0.5) + noise
    });
    let (_, ped) = timed(|| ped_anova(&space, &observed, &PedAnovaOptions::default()));
    let (found, forest) = timed(|| fanova(&space, &observed, &FanovaOptions::default()));
    let names: Vec<&str> = space
        .parameters()
        .iter()
        .map(|p| p.name())
        .take(10)
        .collect();
    let (_, pairs) = timed(|| fanova_pairs(&space, &observed, &FanovaOptions::default(), &names));
    let found = found?;
    let value = |name| {
        found
            .iter()
            .find(|one| one.name == name)
            .map_or(0.0, |one| one.value)
    };
    println!(
        "{trials:6} {parameters:6} {choices:7} {ped:10.1} {forest:10.0} {:9.0}          {:.3} {:.3} {:.3}",
        pairs - forest,
        value("x00"),
        value("x01"),
        value("x02"),
    );
    Ok(())
}

fn ishigami(trials: u32, decomposed: Decomposed) -> Result<(), Box<dyn Error>> {
    let space = of(3, 0)?;
    let mut rows: [Vec<f64>; 4] = Default::default();
    for seed in 0..20 {
        let drawn = random(&space, trials, seed, 0)?;
        let observed = observed(&drawn, |_, u| {
            let [x, y, z] = [0, 1, 2].map(|i| PI * (2.0 * u[i] - 1.0));
            let sin = libm::sin(y);
            libm::sin(x) * (1.0 + 0.1 * z * z * z * z) + 7.0 * sin * sin
        });
        let options = FanovaOptions {
            seed,
            decomposed,
            ..FanovaOptions::default()
        };
        for one in fanova(&space, &observed, &options)? {
            let row = ["x00", "x01", "x02"]
                .iter()
                .position(|name| *name == one.name);
            rows[row.unwrap_or(0)].push(one.value);
        }
        let pairs = fanova_pairs(&space, &observed, &options, &["x00", "x02"])?;
        rows[3].push(pairs[0].value);
    }
    let spread = rows.map(|mut row| {
        row.sort_by(f64::total_cmp);
        format!("{:.3} [{:.3}, {:.3}]", row[10], row[0], row[19])
    });
    println!(
        "{decomposed:?}, {trials:6} trials: median [least, greatest] {}",
        spread.join("  ")
    );
    Ok(())
}
