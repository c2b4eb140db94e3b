//! Fuzz target; what it asserts is documented at `trialmill_fuzz::parquet`.
#![no_main]

#[global_allocator]
static MEMORY: trialmill_fuzz::Bounded = trialmill_fuzz::Bounded;

libfuzzer_sys::fuzz_target!(
    init: trialmill_fuzz::silence_panics_that_are_caught(),
    |data: &[u8]| {
        trialmill_fuzz::parquet(data);
    }
);
