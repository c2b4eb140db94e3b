//! What holds for every import, whatever its format.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use trialmill_backtest::market::Record;
use trialmill_ingest::{
    Import, ImportError, MAX_FINDINGS, MAX_LISTED_ROWS, ReadOptions, Severity, read_file_with,
};

/// The most bytes of a refusal's sentence.
const MAX_REASON_BYTES: usize = 16 << 10;

/// Rows and unpacked bytes are bounded lower than in production, so that the bounds are met.
pub fn options() -> ReadOptions {
    ReadOptions {
        symbol: None,
        max_rows: 100_000,
        max_unpacked_bytes: 16 << 20,
        max_file_bytes: 1 << 20,
    }
}

/// A folder of this process, best in memory (TMPDIR); the caller of the fuzzer removes it.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("trialmill-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the folder for temporary files can be written");
    folder
});

/// Reads bytes as a file of this name.
pub fn read(name: &str, bytes: &[u8]) -> Result<Import, ImportError> {
    let path = FOLDER.join(name);
    std::fs::write(&path, bytes).expect("the file can be written");
    read_file_with(&path, &options())
}

/// Checks an import, or its refusal.
pub fn assert_import(read: &Result<Import, ImportError>) {
    match read {
        Ok(import) => {
            assert!(import.rows <= options().max_rows);
            // A file holds bars, or is a table beside them.
            assert!(import.series.is_empty() != import.records.is_empty());
            for change in &import.records {
                let record = Record::changed(None, change.clone())
                    .unwrap_or_else(|fault| panic!("what was accepted is a record: {fault}"));
                assert_eq!(Record::from_bytes(&record.to_bytes()), Ok(record));
            }
            let symbols: Vec<&str> = import.series.iter().map(|one| one.symbol()).collect();
            assert!(symbols.is_sorted_by(|a, b| a < b), "{symbols:?}");
            assert!(import.findings.len() <= MAX_FINDINGS);
            for finding in &import.findings {
                assert!(finding.rows.len() <= MAX_LISTED_ROWS);
                assert!(finding.code.severity() != Severity::Error, "{finding:?}");
            }
            if !import.series.is_empty() {
                assert_rewritten(import);
            }
        }
        Err(error) => {
            let reason = error.to_string();
            assert!((1..=MAX_REASON_BYTES).contains(&reason.len()), "{reason}");
            if let ImportError::Faults {
                findings, errors, ..
            } = error
            {
                assert!(*errors >= 1 && !findings.is_empty() && findings.len() <= MAX_FINDINGS);
                assert!(findings[0].code.severity() == Severity::Error);
            }
        }
    }
}

/// The series, written in our own form, are read as the same series.
fn assert_rewritten(import: &Import) {
    // A first cell without a name would be the first level of a header with two.
    let mut text = "symbol,date,open,high,low,close,volume\n".to_owned();
    for series in &import.series {
        // A quoted symbol may hold anything but the end of a line.
        if series.symbol().contains(['\n', '\r']) {
            return;
        }
        let symbol = series.symbol().replace('"', "\"\"");
        for row in 0..series.rows() {
            let time = trialmill_backtest::bars::LocalTime(series.time()[row]);
            writeln!(
                text,
                "\"{symbol}\",{time},{:?},{:?},{:?},{:?},{:?}",
                series.open()[row],
                series.high()[row],
                series.low()[row],
                series.close()[row],
                series.volume()[row],
            )
            .expect("a text takes more text");
        }
    }
    // The bounds are those of the file that was read, which may have been packed.
    let roomy = ReadOptions {
        max_unpacked_bytes: u64::MAX,
        max_file_bytes: u64::MAX,
        ..options()
    };
    let path: &Path = &FOLDER.join("rewritten.csv");
    std::fs::write(path, &text).expect("the file can be written");
    let again = read_file_with(path, &roomy)
        .unwrap_or_else(|error| panic!("what we write we read: {error}\n{text}"));
    assert_eq!(import.series, again.series);
}
