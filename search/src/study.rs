//! A study: the search for one task, ready to be asked.

use crate::fault::{PointFault, SpaceFault};
use crate::history::History;
use crate::point::{ParamValue, Point};
use crate::sampler::{HistoryNeed, Method, Sampler};
use crate::sobol::Sobol;
use crate::space::Space;

/// A space, a method and a seed, prepared once per task and asked once per trial.
///
/// Shared freely between threads; asking changes nothing.
///
/// ```
/// use trialmill_search::{Domain, History, Method, Space, Study};
///
/// let space = Space::new([
///     ("fast".to_owned(), Domain::Int { low: 1, high: 3, step: 1, log: false }),
///     ("slow".to_owned(), Domain::Int { low: 10, high: 20, step: 10, log: false }),
/// ])?;
/// let study = Study::new(space, Method::Grid, 42)?;
/// assert_eq!(study.size_limit(), Some(6));
/// assert!(study.ask(&History::EMPTY, 5).is_some());
/// assert!(study.ask(&History::EMPTY, 6).is_none(), "the space is exhausted");
/// # Ok::<(), Vec<trialmill_search::SpaceFault>>(())
/// ```
#[derive(Debug)]
pub struct Study {
    space: Space,
    method: Method,
    seed: u64,
    initial: Vec<Point>,
    prior: u32,
    sampler: Box<dyn Sampler>,
}

impl Study {
    /// Prepares the search. A grid lists its points here: 8 bytes per point, at most 8 MB.
    ///
    /// # Errors
    /// Everything that keeps `method` from searching `space` ([`Method::faults`]).
    pub fn new(space: Space, method: Method, seed: u64) -> Result<Self, Vec<SpaceFault>> {
        let sampler = method.sampler(&space, seed)?;
        Ok(Self {
            space,
            method,
            seed,
            initial: Vec::new(),
            prior: 0,
            sampler,
        })
    }

    /// The same study with points that its first trials evaluate whatever the method: trial `k`
    /// takes `initial[k]`. A point that comes twice counts once, where it comes first.
    ///
    /// A method that reads no history then begins as if its first trial were the next one; a grid
    /// leaves the initial points out of its order. A method that reads history finds them there.
    ///
    /// ```
    /// use trialmill_search::{Domain, History, Method, ParamValue, Point, Space, Study};
    ///
    /// let space = Space::new([
    ///     ("n".to_owned(), Domain::Int { low: 1, high: 3, step: 1, log: false }),
    /// ])
    /// .expect("the bounds are in order");
    /// let study = Study::new(space, Method::Grid, 42).expect("three points");
    /// let study = study.with_initial(vec![Point::new(vec![ParamValue::Int(2)])]).expect("2 is one");
    /// assert_eq!(study.size_limit(), Some(3));
    /// let asked: Vec<_> = (0..3).map(|k| study.ask(&History::EMPTY, k).expect("3 points")).collect();
    /// assert_eq!(asked[0].values(), [ParamValue::Int(2)]);
    /// assert!(asked[1] != asked[0] && asked[2] != asked[0]);
    /// ```
    ///
    /// # Errors
    /// Everything that keeps a point from being one of the space, and `constraint_broken` for each
    /// that breaks a constraint, in the order of the points.
    pub fn with_initial(mut self, initial: Vec<Point>) -> Result<Self, Vec<PointFault>> {
        let mut faults = Vec::new();
        if !std::mem::take(&mut self.initial).is_empty() {
            // What was left out for the points given before comes back.
            self.sampler = self
                .method
                .sampler(&self.space, self.seed)
                .expect("the method took this space before");
        }
        for point in initial {
            match self.space.check_allowed(&point) {
                Err(found) => faults.extend(found),
                Ok(()) if self.initial.contains(&point) => {}
                Ok(()) => self.initial.push(point),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        if !self.initial.is_empty() {
            self.sampler.leave_out(&self.space, &self.initial);
        }
        Ok(self)
    }

    /// The same study, begun with so many trials that another study has evaluated: they have the numbers from 0
    /// on, in every [`History`] that this one is asked with, and its own trials those that follow.
    ///
    /// ```
    /// use trialmill_search::{Domain, FinishedTrial, History, Method, ParamValue, Point, Space, Study, TrialEnd};
    ///
    /// let domain = Domain::Float { low: 0.0, high: 1.0, step: None, log: false };
    /// let space = Space::new([("x".to_owned(), domain)]).expect("the bounds are in order");
    /// let study = Study::new(space, Method::Tpe, 42).expect("TPE takes any space").with_prior(40);
    /// let prior: Vec<FinishedTrial> = (0..40)
    ///     .map(|number| {
    ///         let x = f64::from(number) / 40.0;
    ///         let end = TrialEnd::completed(vec![(x - 0.25).powi(2)]);
    ///         FinishedTrial { number, point: Point::new(vec![ParamValue::Float(x)]), end }
    ///     })
    ///     .collect();
    /// // Its first trial is drawn from what is known, near the minimum, and not at random.
    /// let first = study.ask(&History { finished: &prior, running: &[] }, 40).expect("a point");
    /// let ParamValue::Float(x) = first.values()[0] else { unreachable!() };
    /// assert!((0.05..0.45).contains(&x), "{x}");
    /// ```
    #[must_use]
    pub fn with_prior(self, prior: u32) -> Self {
        Self { prior, ..self }
    }

    /// The point that trial `number` evaluates, [prior](Self::with_prior) trials counted; `None` when the space
    /// is exhausted.
    ///
    /// `history` must hold what [`history_need`](Self::history_need) says; what is beyond it is
    /// ignored.
    #[must_use]
    pub fn ask(&self, history: &History<'_>, number: u32) -> Option<Point> {
        let own = number.checked_sub(self.prior)?;
        if let Some(point) = self.initial.get(usize::try_from(own).ok()?) {
            return Some(point.clone());
        }
        let number = number - self.skipped();
        self.sampler.ask(&self.space, history, self.seed, number)
    }

    /// How many trials came before the first that the sampler knows of.
    fn skipped(&self) -> u32 {
        match self.history_need() {
            HistoryNeed::None => {
                let initial = u32::try_from(self.initial.len());
                self.prior + initial.expect("asked only when a trial number is not below it")
            }
            HistoryNeed::Bounded(_) | HistoryNeed::All => 0,
        }
    }

    /// How much history [`ask`](Self::ask) reads.
    #[must_use]
    pub fn history_need(&self) -> HistoryNeed {
        self.sampler.history_need()
    }

    /// How many trials the space holds, if it can be exhausted (the size of a grid), with the
    /// initial points.
    #[must_use]
    pub fn size_limit(&self) -> Option<u64> {
        let limit = self.sampler.size_limit()?;
        Some(match self.history_need() {
            HistoryNeed::None => limit + self.initial.len() as u64,
            HistoryNeed::Bounded(_) | HistoryNeed::All => limit,
        })
    }

    /// How many bytes of memory it takes, roughly: what it prepared, mostly (8
    /// per point of a grid, or of a space that a method which never repeats a point can list).
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let listed = self.sampler.size_limit().unwrap_or(0);
        let listed = usize::try_from(listed)
            .unwrap_or(usize::MAX)
            .saturating_mul(8);
        let indices = match self.method {
            Method::Sobol if !self.space.constraints().is_empty() => Sobol::MOST_BYTES,
            Method::Random
            | Method::Grid
            | Method::Sobol
            | Method::Tpe
            | Method::Gp
            | Method::CmaEs
            | Method::Nsga2
            | Method::Auto => 0,
        };
        let points = self.initial.len() * self.space.parameters().len() * size_of::<ParamValue>();
        let (listed, space) = (listed.saturating_add(indices), self.space.memory_bytes());
        size_of::<Self>() + points + listed.saturating_add(space)
    }

    /// How many trials of other studies it begins with.
    #[must_use]
    pub fn prior(&self) -> u32 {
        self.prior
    }

    /// The points of the first trials.
    #[must_use]
    pub fn initial(&self) -> &[Point] {
        &self.initial
    }

    /// The space searched.
    #[must_use]
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The method that searches.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// The seed that fixes every draw.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }
}
