//! The API as a client sees it, over a real connection.

mod access;
mod clients;
mod dead;
mod derived;
mod description;
mod events;
mod evidence;
mod failures;
mod faulty_store;
mod https;
mod key;
mod pairs;
mod reading;
mod runs;
mod schema;
mod service;
mod several;
mod submission;
