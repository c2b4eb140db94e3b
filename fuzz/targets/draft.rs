//! Fuzz target; what it asserts is documented at `trialmill_fuzz::draft`.
#![no_main]

#[global_allocator]
static MEMORY: trialmill_fuzz::Bounded = trialmill_fuzz::Bounded;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    trialmill_fuzz::draft(data);
});
