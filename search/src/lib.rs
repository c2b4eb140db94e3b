//! Parameter spaces, samplers and pruners: pure functions, no I/O, no knowledge of trading.
//!
//! A [`Space`] says which parameters exist, what values they may take, when they have one at all
//! (conditions) and how they must go together (constraints). A [`Study`] joins a space,
//! a [`Method`] and a seed, and answers one question: which [`Point`] does trial `number` evaluate?
//! The answer is a pure function of (space, method, seed, history, number): it is the same on every
//! worker, after every crash, and on every platform, bit for bit. This crate has no clock, no
//! global randomness and no runtime; it does not know what a task is or what is being optimized.
//!
//! What makes it repeatable:
//! - parameters are ordered by name, whatever order a request lists them in;
//! - each parameter draws from its own stream, keyed by (seed, trial number, name), so adding a
//!   parameter does not disturb the others ([`Stream`]);
//! - stepped values come from one formula, `low + k * step` ([`Domain`]), so equal points have equal
//!   bits and equal packed bytes;
//! - logarithm and exponential come from the `libm` crate, never from the platform.
//!
//! # Example
//!
//! ```
//! use trialmill_search::{Choice, Domain, History, Method, Space, Study};
//!
//! let space = Space::new([
//!     ("lookback".to_owned(), Domain::Int { low: 30, high: 120, step: 5, log: false }),
//!     ("entry".to_owned(), Domain::Float { low: 1.0, high: 3.0, step: Some(0.1), log: false }),
//!     ("exit_rule".to_owned(), Domain::Categorical {
//!         choices: vec![Choice::Text("mean".to_owned()), Choice::Null],
//!     }),
//! ])
//! .expect("the bounds above are in order");
//! let study = Study::new(space, Method::Random, 42).expect("random search takes every space");
//!
//! // Random search looks at no history, so any worker can ask for any trial, in any order.
//! let point = study.ask(&History::EMPTY, 7).expect("random search never runs out");
//! assert_eq!(study.ask(&History::EMPTY, 7), Some(point.clone()));
//!
//! // The name/value view is what a request, a result or an objective sees.
//! let names: Vec<&str> = study.space().named(&point).map(|(name, _)| name).collect();
//! assert_eq!(names, ["entry", "exit_rule", "lookback"]);
//!
//! // Eight bytes per parameter go to the database, and the same point comes back.
//! let packed = study.space().pack(&point);
//! assert_eq!(packed.len(), 3 * 8);
//! assert_eq!(study.space().unpack(&packed).expect("packed by this space"), point);
//! ```

pub mod auto;
mod axis;
mod builder;
mod choice;
mod cmaes;
mod domain;
mod expression;
mod fault;
mod feasible;
mod gp;
mod grid;
mod history;
pub mod importance;
mod lattice;
mod neighbours;
mod normal;
mod nsga2;
#[cfg(test)]
mod optuna;
pub mod pareto;
mod point;
pub mod pruner;
mod quantile;
mod random;
mod sampler;
mod sobol;
mod space;
mod standing;
mod stream;
mod study;
mod tpe;
mod unseen;

pub use auto::Auto;
pub use builder::{MAX_CONSTRAINTS, MAX_SPACE_NODES, SpaceBuilder};
pub use choice::Choice;
pub use cmaes::CmaEs;
pub use domain::{Domain, MAX_CHOICE_CHARS, MAX_CHOICES, MAX_INT, MIN_RELATIVE_STEP};
pub use expression::{
    Expression, ExpressionFault, MAX_EXPRESSION_CHARS, MAX_EXPRESSION_DEPTH, MAX_EXPRESSION_NODES,
    NameValues, Names, Outcome, Value,
};
pub use fault::{PointFault, SpaceFault};
pub use feasible::{MAX_DRAWS, PROBE_POINTS};
pub use gp::Gp;
pub use grid::Grid;
pub use history::{Costs, FinishedTrial, History, LastReport, RunningTrial, TrialEnd};
pub use lattice::{MAX_GRID_POINTS, MAX_LISTING_WORK};
pub use nsga2::Nsga2;
pub use point::{ParamValue, Point, UnpackError};
pub use random::Random;
pub use sampler::{HistoryNeed, Method, Sampler, UnknownMethod};
pub use sobol::Sobol;
pub use space::{MAX_NAME_CHARS, MAX_PARAMETERS, Parameter, Space};
pub use stream::Stream;
pub use study::Study;
pub use tpe::Tpe;
pub use unseen::Unseen;
