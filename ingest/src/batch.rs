//! Several files as one import: all are read and judged before anything is done with any of them.

use crate::report::{Code, FileReport, Findings, ImportReport, Subject};
use crate::{Import, ImportError, ReadOptions, continuity, read_file_with};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use trialmill_backtest::bars::{BarSeries, LocalTime, midnight};
use trialmill_backtest::market::RecordChange;

/// What the files of an import hold together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Imported {
    /// The series, in the order of the files, by symbol within a file.
    pub series: Vec<BarSeries>,
    /// What the tables say, by symbol.
    pub records: Vec<RecordChange>,
}

/// Reads and judges all files of an import.
///
/// There is nothing when any file has an error, so that nothing can be half imported. The bound on rows holds for all files
/// together.
///
/// ```
/// use trialmill_ingest::{Code, ReadOptions, read_files};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("600000.SH.csv");
/// std::fs::write(&path, "date,open,high,low,close,volume\n2023-01-03,7.2,7.1,7.0,7.1,100\n")?;
/// let (report, read) = read_files(&[path], &ReadOptions::default());
/// assert!(!report.is_sound() && read.series.is_empty());
/// let finding = &report.files[0].findings[0];
/// assert_eq!((finding.code, finding.rows.as_slice()), (Code::HighTooLow, &[2][..]));
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn read_files(paths: &[PathBuf], options: &ReadOptions) -> (ImportReport, Imported) {
    let mut imports: Vec<Option<Import>> = Vec::with_capacity(paths.len());
    let mut report = ImportReport::default();
    let mut owners: HashMap<(String, What), usize> = HashMap::new();
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
            for (symbol, what) in held(import) {
                match owners.get(&(symbol.to_owned(), what)) {
                    None => {
                        owners.insert((symbol.to_owned(), what), number);
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
        return (report, Imported::default());
    }
    let mut series = Vec::new();
    let mut changes: BTreeMap<String, RecordChange> = BTreeMap::new();
    for import in imports.into_iter().flatten() {
        series.extend(import.series);
        for change in import.records {
            let of_symbol = changes.entry(change.symbol.clone()).or_default();
            of_symbol.symbol = change.symbol;
            of_symbol.actions = change.actions.or(of_symbol.actions.take());
            of_symbol.status = change.status.or(of_symbol.status.take());
            let reports = of_symbol.fundamentals.take();
            of_symbol.fundamentals = change.fundamentals.or(reports);
        }
    }
    let records = changes.into_values().collect();
    (report, Imported { series, records })
}

/// What a file says of a symbol; two files of an import may not say the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    Bars,
    Actions,
    Status,
    Fundamentals,
}

fn held(import: &Import) -> impl Iterator<Item = (&str, What)> {
    let bars = import.series.iter().map(|one| (one.symbol(), What::Bars));
    let tables = import.records.iter().map(|change| {
        let what = match (&change.status, &change.fundamentals) {
            (Some(_), _) => What::Status,
            (None, Some(_)) => What::Fundamentals,
            (None, None) => What::Actions,
        };
        (change.symbol.as_str(), what)
    });
    bars.chain(tables)
}

fn of_import(source: String, import: &Import) -> FileReport {
    let day = |time: i64| {
        let day = time.div_euclid(86_400) * 86_400;
        LocalTime(day).to_string()
    };
    let days = || {
        let actions = import.records.iter().flat_map(|change| &change.actions);
        let ex_dates = actions.flatten().map(|action| action.ex_date);
        let reports = import
            .records
            .iter()
            .flat_map(|change| &change.fundamentals);
        let announced = reports.flatten().map(|report| report.announced);
        ex_dates.chain(announced).map(midnight)
    };
    let firsts = import.series.iter().map(BarSeries::first_time);
    let lasts = import.series.iter().map(BarSeries::last_time);
    let first = firsts.chain(days()).min();
    let last = lasts.chain(days()).max();
    FileReport {
        source,
        dialect: Some(import.dialect),
        symbols: import.series.len() + import.records.len(),
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
