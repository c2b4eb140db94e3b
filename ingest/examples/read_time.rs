//! How long a file takes to read:
//! `cargo run --release -p trialmill-ingest --example read_time -- FILE...`

#![expect(
    clippy::print_stdout,
    reason = "the figures are what this program is for"
)]

use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), trialmill_ingest::ImportError> {
    for file in std::env::args().skip(1) {
        let start = Instant::now();
        let import = trialmill_ingest::read_file(Path::new(&file))?;
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{file}: {} series, {} rows, {seconds:.3} s",
            import.series.len(),
            import.rows
        );
    }
    Ok(())
}
