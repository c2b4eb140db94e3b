//! Twelve problems with one objective, all minimized: the usual test functions with their optimum
//! moved away from centre, corners and diagonal, and three that look like tuning a strategy. Two
//! with several objectives, and five whose best place is on the edge of what is feasible.

use std::f64::consts::{E, PI};

use trialmill_search::{Choice, Domain, Point, Space};

/// The constant that places the optima, 1 / golden ratio.
pub const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// Names of the problems with several objectives.
pub const SEVERAL: [&str; 2] = ["zdt1", "dtlz2"];

/// Names of the problems with infeasible points.
pub const LIMITED: [&str; 5] = [
    "bowl_half",
    "bowl_tenth",
    "bowl_hundredth",
    "gramacy2",
    "mixed_limited",
];

/// Names of the problems with one objective.
pub const NAMES: [&str; 12] = [
    "sphere5",
    "rosenbrock5",
    "rastrigin5",
    "ackley10",
    "levy8",
    "griewank10",
    "styblinski5",
    "branin2",
    "hartmann6",
    "mixed",
    "plateau",
    "noisy",
];

/// What an evaluation gives: the values that a sampler is told, one per objective, and those that it
/// is judged by. They differ only where there is noise.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What the sampler sees.
    pub reported: Vec<f64>,
    /// What is really there.
    pub truth: Vec<f64>,
    /// By how much it is infeasible; 0 where it is not.
    pub violation: f64,
}

impl Outcome {
    /// What is recorded of a trial: reported and true value, or the objectives; no values of an infeasible one.
    pub fn recorded(&self) -> Vec<Option<f64>> {
        match self.reported[..] {
            _ if self.violation > 0.0 => vec![None; 2],
            [reported] => vec![Some(reported), Some(self.truth[0])],
            _ => self.reported.iter().copied().map(Some).collect(),
        }
    }

    /// The same where constraints are kept that are at most 0.
    fn limited(self, constraints: &[f64]) -> Self {
        let violation = constraints.iter().map(|c| c.max(0.0)).sum();
        Self { violation, ..self }
    }
}

impl From<f64> for Outcome {
    fn from(value: f64) -> Self {
        Self::from(vec![value])
    }
}

impl From<Vec<f64>> for Outcome {
    fn from(values: Vec<f64>) -> Self {
        Self {
            reported: values.clone(),
            truth: values,
            violation: 0.0,
        }
    }
}

/// A space and a function on it.
pub struct Problem {
    /// What is searched.
    pub space: Space,
    evaluate: Box<dyn Fn(&Named<'_>) -> Outcome>,
}

impl Problem {
    /// The problem of that name with its optimum placed by `golden`; `None` for an unknown name.
    pub fn named(name: &str, golden: f64) -> Option<Self> {
        Some(match name {
            "sphere5" => shifted(5, 5.0, 0.0, golden, sphere),
            "rosenbrock5" => shifted(5, 5.0, 1.0, golden, rosenbrock),
            "rastrigin5" => shifted(5, 5.12, 0.0, golden, rastrigin),
            "ackley10" => shifted(10, 32.768, 0.0, golden, ackley),
            "levy8" => shifted(8, 10.0, 1.0, golden, levy),
            "griewank10" => shifted(10, 600.0, 0.0, golden, griewank),
            "styblinski5" => Self::of(boxes(&[(-5.0, 5.0); 5]), |x| styblinski(x).into()),
            "branin2" => {
                let space = boxes(&[(-5.0, 10.0), (0.0, 15.0)]);
                Self::of(space, |x| branin(x.x(0), x.x(1)).into())
            }
            "hartmann6" => Self::of(boxes(&[(0.0, 1.0); 6]), |x| hartmann(x).into()),
            "mixed" => Self::of(mixed_space(), |x| mixed(x).into()),
            "plateau" => Self::of(plateau_space(), |x| plateau(x).into()),
            "noisy" => Self::of(noisy_space(), noisy),
            // Of five even numbers the sum is below these with probability 1/2, 1/10 and 1/100.
            "bowl_half" => bowl(2.5),
            "bowl_tenth" => bowl(1.66),
            "bowl_hundredth" => bowl(1.037),
            "gramacy2" => Self::of(boxes(&[(0.0, 1.0); 2]), gramacy),
            "mixed_limited" => Self::of(mixed_space(), |x| {
                // The best place without it has 0.12.
                let risk = x.number("stop") * x.number("size");
                Outcome::from(mixed(x)).limited(&[(risk / 0.02).ln()])
            }),
            "zdt1" => unit_cube(10, golden, zdt1),
            "dtlz2" => unit_cube(7, golden, dtlz2),
            _ => return None,
        })
    }

    /// Evaluates a point of the space.
    pub fn evaluate(&self, point: &Point) -> Outcome {
        (self.evaluate)(&Named(self.space.named(point).collect()))
    }

    fn of(
        parameters: Vec<(String, Domain)>,
        evaluate: impl Fn(&Named<'_>) -> Outcome + 'static,
    ) -> Self {
        Self {
            space: Space::new(parameters).expect("the problems' spaces are valid"),
            evaluate: Box::new(evaluate),
        }
    }
}

/// The values of a point by name.
struct Named<'a>(Vec<(&'a str, Choice)>);

impl Named<'_> {
    fn get(&self, name: &str) -> &Choice {
        let found = self.0.iter().find(|(known, _)| *known == name);
        &found.expect("a problem reads its own parameters").1
    }

    fn number(&self, name: &str) -> f64 {
        match self.get(name) {
            Choice::Float(value) => *value,
            Choice::Int(value) => *value as f64,
            other => panic!("{name} is {other}, not a number"),
        }
    }

    fn text(&self, name: &str) -> &str {
        match self.get(name) {
            Choice::Text(text) => text,
            other => panic!("{name} is {other}, not a text"),
        }
    }

    fn x(&self, i: usize) -> f64 {
        self.number(&format!("x{i}"))
    }
}

fn boxes(bounds: &[(f64, f64)]) -> Vec<(String, Domain)> {
    let named = bounds.iter().enumerate();
    named
        .map(|(i, (low, high))| (format!("x{i}"), float(*low, *high, false, None)))
        .collect()
}

fn float(low: f64, high: f64, log: bool, step: Option<f64>) -> Domain {
    Domain::Float {
        low,
        high,
        step,
        log,
    }
}

fn int(low: i64, high: i64, step: i64, log: bool) -> Domain {
    Domain::Int {
        low,
        high,
        step,
        log,
    }
}

fn texts(choices: &[&str]) -> Domain {
    let choices = choices
        .iter()
        .map(|choice| Choice::Text((*choice).to_owned()));
    Domain::Categorical {
        choices: choices.collect(),
    }
}

fn named<const N: usize>(parameters: [(&str, Domain); N]) -> Vec<(String, Domain)> {
    parameters
        .map(|(name, domain)| (name.to_owned(), domain))
        .to_vec()
}

/// `dimensions` floats in [-reach, reach]; the function's own optimum is where all its arguments are
/// `optimum`, and that is moved to a place of its own on each axis.
fn shifted(
    dimensions: usize,
    reach: f64,
    optimum: f64,
    golden: f64,
    function: fn(&[f64]) -> f64,
) -> Problem {
    let parts = (1..=dimensions).map(|i| part(i, golden));
    let places: Vec<f64> = parts.map(|part| -reach + part * (2.0 * reach)).collect();
    Problem::of(boxes(&vec![(-reach, reach); dimensions]), move |x| {
        let moved = places.iter().enumerate();
        let z: Vec<f64> = moved.map(|(i, place)| x.x(i) - place + optimum).collect();
        function(&z).into()
    })
}

/// Where the optimum of axis `i` lies, as a part of its range.
fn part(i: usize, golden: f64) -> f64 {
    let turns = i as f64 * golden;
    0.2 + 0.6 * (turns - turns.floor())
}

/// `dimensions` floats in [0, 1] and a function of them and of the places of their optima.
fn unit_cube(dimensions: usize, golden: f64, function: fn(&[f64], &[f64]) -> Vec<f64>) -> Problem {
    let places: Vec<f64> = (1..=dimensions).map(|i| part(i, golden)).collect();
    Problem::of(boxes(&vec![(0.0, 1.0); dimensions]), move |named| {
        let x: Vec<f64> = (0..dimensions).map(|i| named.x(i)).collect();
        function(&x, &places).into()
    })
}

/// Two objectives; the front is y = 1 - sqrt(x), where every axis but the first is at its place (that of
/// the usual ZDT1 is a corner, which rewards a sampler that clips).
fn zdt1(x: &[f64], places: &[f64]) -> Vec<f64> {
    let others = x.iter().zip(places).skip(1);
    let far = others.map(|(x, place)| (x - place).abs() / place.max(1.0 - place));
    let g = 1.0 + far.sum::<f64>();
    vec![x[0], g * (1.0 - (x[0] / g).sqrt())]
}

/// Three objectives; the front is an eighth of the unit sphere.
fn dtlz2(x: &[f64], places: &[f64]) -> Vec<f64> {
    let others = x.iter().zip(places).skip(2);
    let radius = 1.0 + others.map(|(x, place)| (x - place).powi(2)).sum::<f64>();
    let (a, b) = (x[0] * PI / 2.0, x[1] * PI / 2.0);
    vec![
        radius * a.cos() * b.cos(),
        radius * a.cos() * b.sin(),
        radius * a.sin(),
    ]
}

fn sphere(z: &[f64]) -> f64 {
    z.iter().map(|v| v * v).sum()
}

fn rosenbrock(z: &[f64]) -> f64 {
    let pairs = z.windows(2);
    pairs
        .map(|p| 100.0 * (p[1] - p[0] * p[0]).powi(2) + (1.0 - p[0]).powi(2))
        .sum()
}

fn rastrigin(z: &[f64]) -> f64 {
    let waves = z.iter().map(|v| v * v - 10.0 * (2.0 * PI * v).cos());
    10.0 * z.len() as f64 + waves.sum::<f64>()
}

fn ackley(z: &[f64]) -> f64 {
    let d = z.len() as f64;
    let distance = (z.iter().map(|v| v * v).sum::<f64>() / d).sqrt();
    let waves = z.iter().map(|v| (2.0 * PI * v).cos()).sum::<f64>() / d;
    -20.0 * (-0.2 * distance).exp() - waves.exp() + 20.0 + E
}

fn levy(z: &[f64]) -> f64 {
    let w: Vec<f64> = z.iter().map(|v| 1.0 + (v - 1.0) / 4.0).collect();
    let last = w[w.len() - 1];
    let inner = w[..w.len() - 1].iter();
    let inner = inner.map(|v| (v - 1.0).powi(2) * (1.0 + 10.0 * (PI * v + 1.0).sin().powi(2)));
    (PI * w[0]).sin().powi(2)
        + inner.sum::<f64>()
        + (last - 1.0).powi(2) * (1.0 + (2.0 * PI * last).sin().powi(2))
}

fn griewank(z: &[f64]) -> f64 {
    let numbered = z.iter().enumerate();
    let product: f64 = numbered
        .map(|(i, v)| (v / (i as f64 + 1.0).sqrt()).cos())
        .product();
    1.0 + z.iter().map(|v| v * v).sum::<f64>() / 4_000.0 - product
}

/// Every second axis is mirrored: the optimum must not lie on the diagonal.
fn styblinski(x: &Named<'_>) -> f64 {
    let z = (0..5).map(|i| if i % 2 == 0 { x.x(i) } else { -x.x(i) });
    z.map(|z| 0.5 * (z.powi(4) - 16.0 * z * z + 5.0 * z)).sum()
}

fn branin(x: f64, y: f64) -> f64 {
    let (b, c, t) = (5.1 / (4.0 * PI * PI), 5.0 / PI, 1.0 / (8.0 * PI));
    (y - b * x * x + c * x - 6.0).powi(2) + 10.0 * (1.0 - t) * x.cos() + 10.0
}

fn hartmann(x: &Named<'_>) -> f64 {
    const A: [[f64; 6]; 4] = [
        [10.0, 3.0, 17.0, 3.5, 1.7, 8.0],
        [0.05, 10.0, 17.0, 0.1, 8.0, 14.0],
        [3.0, 3.5, 1.7, 10.0, 17.0, 8.0],
        [17.0, 8.0, 0.05, 10.0, 0.1, 14.0],
    ];
    const P: [[f64; 6]; 4] = [
        [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
        [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
        [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
        [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
    ];
    const C: [f64; 4] = [1.0, 1.2, 3.0, 3.2];
    let hills = (0..4).map(|i| {
        let distance: f64 = (0..6).map(|j| A[i][j] * (x.x(j) - P[i][j]).powi(2)).sum();
        C[i] * (-distance).exp()
    });
    -hills.sum::<f64>()
}

/// A bowl around 0.8 on five axes, and what is allowed ends before it: the sum is at most `limit`.
fn bowl(limit: f64) -> Problem {
    Problem::of(boxes(&[(0.0, 1.0); 5]), move |named| {
        let x: Vec<f64> = (0..5).map(|i| named.x(i)).collect();
        let far = x.iter().map(|x| (x - 0.8).powi(2)).sum::<f64>();
        Outcome::from(far).limited(&[x.iter().sum::<f64>() - limit])
    })
}

/// A slope, between a wavy edge and a circle; the best is 0.5998 (Gramacy et al., "Modeling an augmented Lagrangian for
/// blackbox constrained optimization", Technometrics 58, 2016, eq. 2).
fn gramacy(named: &Named<'_>) -> Outcome {
    let (a, b) = (named.x(0), named.x(1));
    let wave = 0.5 * (2.0 * PI * (a * a - 2.0 * b)).sin();
    Outcome::from(a + b).limited(&[1.5 - a - 2.0 * b - wave, a * a + b * b - 1.5])
}

/// A category that moves the optimum, ints with a step, floats on a log scale.
fn mixed_space() -> Vec<(String, Domain)> {
    named([
        ("fast", int(4, 60, 2, false)),
        ("slow", int(20, 300, 10, false)),
        ("stop", float(1e-3, 1e-1, true, None)),
        ("size", float(1e-2, 1e1, true, None)),
        ("thr", float(0.0, 3.0, false, None)),
        ("mode", texts(&["trend", "revert", "breakout", "carry"])),
    ])
}

fn mixed(x: &Named<'_>) -> f64 {
    let (fast, slow, stop, size, thr, floor) = match x.text("mode") {
        "trend" => (20.0, 120.0, 0.02, 1.0, 1.2, 0.15),
        "revert" => (10.0, 60.0, 0.005, 0.2, 2.0, 0.30),
        "breakout" => (46.0, 220.0, 0.04, 3.0, 0.6, 0.0),
        _ => (30.0, 260.0, 0.01, 0.05, 2.5, 0.60),
    };
    let d1 = (x.number("fast") - fast) / 56.0;
    let d2 = (x.number("slow") - slow) / 280.0;
    let d3 = (x.number("stop") / stop).ln() / 100.0_f64.ln();
    let d4 = (x.number("size") / size).ln() / 1_000.0_f64.ln();
    let d5 = (x.number("thr") - thr) / 3.0;
    let bowl = 2.0 * d1 * d1 + 2.0 * d2 * d2 + 3.0 * d3 * d3 + d4 * d4 + d5 * d5;
    floor + bowl + 2.0 * (d1 + d2).powi(2) + 0.05 * (1.0 - (6.0 * PI * d1).cos())
}

/// Ints whose value counts only by the plateau they are on, as with windows of averages.
fn plateau_space() -> Vec<(String, Domain)> {
    named([
        ("fast", int(2, 50, 1, false)),
        ("slow", int(20, 250, 1, false)),
        ("exit", int(1, 30, 1, false)),
        ("filt", int(0, 10, 1, false)),
    ])
}

fn plateau(x: &Named<'_>) -> f64 {
    let (fast, slow) = (x.number("fast"), x.number("slow"));
    let a = ((fast / 5.0).floor() - 3.0).abs();
    let b = ((slow / 20.0).floor() - 7.0).abs();
    let e = ((x.number("exit") / 4.0).floor() - 2.0).abs();
    let filter = if (3.0..=6.0).contains(&x.number("filt")) {
        0.0
    } else {
        1.0
    };
    let crossed = if fast >= slow { 5.0 } else { 0.0 };
    a + 0.5 * b + 0.75 * e + filter + 0.5 * a.min(b) + crossed
}

/// Noise that is a function of the parameters: the same point gives the same value, as a backtest does.
fn noisy_space() -> Vec<(String, Domain)> {
    named([
        ("window", int(5, 200, 1, false)),
        ("lookback", int(10, 1_000, 1, true)),
        ("thr", float(0.5, 4.0, false, None)),
        ("stop", float(0.005, 0.2, true, None)),
        ("vol", float(0.05, 0.5, false, Some(0.05))),
        ("filter", texts(&["off", "on"])),
    ])
}

fn noisy(x: &Named<'_>) -> Outcome {
    let unit = |window: f64, lookback: f64, thr: f64, stop: f64, vol: f64| {
        [
            (window - 5.0) / 195.0,
            (lookback / 10.0).ln() / 100.0_f64.ln(),
            (thr - 0.5) / 3.5,
            (stop / 0.005).ln() / 40.0_f64.ln(),
            (vol - 0.05) / 0.45,
        ]
    };
    let at = |name| x.number(name);
    let u = unit(
        at("window"),
        at("lookback"),
        at("thr"),
        at("stop"),
        at("vol"),
    );
    let best = unit(60.0, 250.0, 1.5, 0.03, 0.15);
    let on = x.text("filter") == "on";
    let d: Vec<f64> = u.iter().zip(best).map(|(u, best)| u - best).collect();
    let bowl = 1.5 * d[0] * d[0] + d[1] * d[1] + 1.5 * d[2] * d[2] + d[3] * d[3];
    let truth = bowl + 0.5 * d[4] * d[4] + (d[0] - d[1]).powi(2) + if on { 0.0 } else { 0.3 };
    let key = u.into_iter().chain([f64::from(u8::from(on))]);
    let hash = key.fold(0, |hash, part| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 1e6"
        )]
        let whole = (part * 1e6 + 0.5).floor() as u64;
        splitmix(hash ^ whole)
    });
    let uniform = |word: u64| ((word >> 11) as f64 + 0.5) * 2.0_f64.powi(-53);
    let (u1, u2) = (uniform(hash), uniform(splitmix(hash)));
    let normal = (-2.0 * u1.ln()).sqrt() * (2.0 * PI * u2).cos();
    Outcome {
        reported: vec![truth + 0.15 * normal],
        truth: vec![truth],
        violation: 0.0,
    }
}

fn splitmix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
