use crate::import::{assert_import, read};

/// A Parquet file of market data: read or refused for a reason, within the bounds of memory.
/// Gives whether it was read.
pub fn parquet(data: &[u8]) -> bool {
    let read = read("600519.SH.parquet", data);
    assert_import(&read);
    read.is_ok()
}

/// The fuzzer ends the process at every panic, also at one that is caught; the reader of Parquet
/// catches those of its library on purpose. Those that are not caught still end the process.
pub fn silence_panics_that_are_caught() {
    std::panic::set_hook(Box::new(|_| {}));
}
