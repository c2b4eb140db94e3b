//! Several files as one import: all are read and judged before anything is done with any of them.

use crate::report::{Code, FileReport, Findings, ImportReport, Subject};
use crate::{Import, ImportError, ReadOptions, continuity, read_file_with};
use std::collections::HashMap;
use std::path::PathBuf;
use trialmill_backtest::bars::{BarSeries, LocalTime};

/// Reads and judges all files of an import.
///
/// The series come in the order of the files, by symbol within a file; there are none when any file
/// has an error, so that nothing can be half imported. The bound on rows holds for all files
/// together.
///
/// ```
/// use trialmill_ingest::{Code, ReadOptions, read_files};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("600000.SH.csv");
/// std::fs::write(&path, "date,open,high,low,close,volume\n2023-01-03,7.2,7.1,7.0,7.1,100\n")?;
/// let (report, series) = read_files(&[path], &ReadOptions::default());
/// assert!(!report.is_sound() && series.is_empty());
/// let finding = &report.files[0].findings[0];
/// assert_eq!((finding.code, finding.rows.as_slice()), (Code::HighTooLow, &[2][..]));
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn read_files(paths: &[PathBuf], options: &ReadOptions) -> (ImportReport, Vec<BarSeries>) {
    let mut imports: Vec<Option<Import>> = Vec::with_capacity(paths.len());
    let mut report = ImportReport::default();
    let mut owners: HashMap<String, usize> = HashMap::new();
    let mut rows = 0u64;
    for (number, path) in paths.iter().enumerate() {
        let mut more = Findings::default();
        let mut read = read_file_with(path, options);
        if let Ok(import) = &read {
            rows += import.rows;
            if rows > options.max_rows {
                read = Err(ImportError::TooLarge {
                    path: path.clone(),
                    what: "rows in all files",
                    limit: options.max_rows,
                });
            }
        }
        if let Ok(import) = &read {
            for series in &import.series {
                let symbol = series.symbol();
                match owners.get(symbol) {
                    None => {
                        owners.insert(symbol.to_owned(), number);
                    }
                    Some(owner) => {
                        let subject = Subject::new(Code::SymbolInTwoFiles).symbol(symbol);
                        let value = format!("also in {}", paths[*owner].display());
                        more.add(subject, None, &value);
                    }
                }
            }
        }
        let source = path.display().to_string();
        let mut file = match &read {
            Ok(import) => of_import(source, import),
            Err(error) => of_error(source, error),
        };
        file.insert(more);
        report.files.push(file);
        imports.push(read.ok());
    }
    let all: Vec<Option<&Import>> = imports.iter().map(Option::as_ref).collect();
    for (file, found) in report.files.iter_mut().zip(continuity::missing_dates(&all)) {
        file.insert(found);
    }
    if !report.is_sound() {
        return (report, Vec::new());
    }
    let series = imports
        .into_iter()
        .flatten()
        .flat_map(|import| import.series)
        .collect();
    (report, series)
}

fn of_import(source: String, import: &Import) -> FileReport {
    let day = |time: i64| {
        let day = time.div_euclid(86_400) * 86_400;
        LocalTime(day).to_string()
    };
    let first = import.series.iter().map(BarSeries::first_time).min();
    let last = import.series.iter().map(BarSeries::last_time).max();
    FileReport {
        source,
        dialect: Some(import.dialect),
        symbols: import.series.len(),
        rows: import.rows,
        first_date: first.map(day),
        last_date: last.map(day),
        ignored_columns: import.ignored_columns.clone(),
        findings: import.findings.clone(),
        errors: 0,
        unlisted: import.unlisted,
    }
}

fn of_error(source: String, error: &ImportError) -> FileReport {
    let mut file = FileReport {
        source,
        dialect: None,
        symbols: 0,
        rows: 0,
        first_date: None,
        last_date: None,
        ignored_columns: Vec::new(),
        findings: Vec::new(),
        errors: 0,
        unlisted: 0,
    };
    if let ImportError::Faults {
        dialect,
        findings,
        errors,
        unlisted,
        ..
    } = error
    {
        file.dialect = Some(dialect);
        file.findings.clone_from(findings);
        file.errors = *errors;
        file.unlisted = *unlisted;
    } else {
        let mut found = Findings::default();
        found.add(Subject::new(error.code()), None, &error.reason());
        file.insert(found);
    }
    file
}
