//! Trialmill under fault: a cluster of real processes that can be killed, stopped, cut off and
//! misled, and an oracle that sees it from outside only.
//!
//! [`cluster::Cluster`] is also what the tests of the command line run on. [`crash`] kills the
//! product at its fail points ([`points`]), one at a time; [`mixed`] plays every fault there is at
//! random under a stream of tasks. Both judge by [`customer`] (what a client was told), by [`work`]
//! (what an undisturbed run gives), by `trialmill verify` and by [`rest`] (what must hold at rest).

pub mod assessed;
pub mod chance;
pub mod client;
pub mod cluster;
pub mod crash;
pub mod customer;
pub mod events;
pub mod findings;
pub mod mixed;
pub mod observer;
pub mod points;
pub mod process;
pub mod proxy;
pub mod rest;
pub mod servers;
pub mod work;
