//! The HTTP API: a thin layer over the store.
//!
//! A request is checked against the domain ([`trialmill_common::draft`]) and what the store holds,
//! becomes one operation of the store, and its outcome becomes JSON. Nothing is decided here about
//! trials or units, nothing is kept between requests, and nothing is published: a stored unit is
//! found by the relay, so a task is accepted whether the broker is up or not.
//!
//! Every failure is a problem document (RFC 9457), made in one place. The
//! description of the routes is at `/openapi.json` and, for people and without network, at `/docs`.

mod access;
pub mod answer;
mod audit;
mod body;
mod catalogue;
pub mod config;
mod dead;
mod docs;
mod extract;
mod finish;
pub mod health;
mod key;
mod keys;
pub mod limits;
mod market_data;
mod operations;
mod problem;
mod renewal;
mod router;
mod serve;
mod state;
mod tasks;

pub use access::{AccessSettings, NoAccess, RateLimit, may_listen};
pub use key::{ApiKey, BadKey, KEY_PREFIX, NewSecret, NoRandomness};
pub use problem::{Class, Problem, ProblemAnswer};
pub use renewal::renew_on_hangup;
pub use router::{openapi, router};
pub use serve::{serve, serve_with};
pub use state::AppState;
