//! Runs units of trials.
