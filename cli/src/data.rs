//! `data`: bars into the database and what is there.

use crate::args::{Data, OfDatabase};
use crate::config::Settings;
use crate::database::Place;
use crate::example;
use crate::failure::Failure;
use crate::figures::{count, duration};
use crate::output;
use chrono::{DateTime, NaiveDate};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;
use trialmill_backtest::bars::BarSeries;
use trialmill_ingest::{FileReport, ImportReport, Imported, ReadOptions, Severity, read_files};
use trialmill_store::rows::{RecordInfo, SeriesInfo};

/// How many warnings `import` prints of a file; `check` prints all.
const WARNINGS_OF_IMPORT: usize = 10;

/// Runs a command of `data`.
///
/// # Errors
/// When a file has faults (nothing is imported then), or the database does not do it.
pub async fn run(command: Data, settings: &Settings) -> Result<(), Failure> {
    match command {
        Data::Import {
            files,
            symbol,
            database,
        } => import(&files, symbol, &database, settings).await,
        Data::List(database) => list(&database, settings).await,
        Data::Check {
            files,
            symbol,
            json,
        } => check(&files, symbol, json),
        Data::Generate {
            symbols,
            from,
            to,
            seed,
            database,
        } => {
            let begin = Instant::now();
            let series = example::invent(symbols, from, to, seed)?;
            let place = Place::of(database.data_dir.as_deref(), settings);
            let source = example::source(seed);
            place.open(true).await?.put_series(&series, &source).await?;
            let mut summary = summary(&source, &series);
            let seconds = begin.elapsed().as_secs_f64();
            if database.json {
                summary["seconds"] = json!(seconds);
                return Ok(output::document(&summary)?);
            }
            output::say(format!(
                "generated {} in {}, into {}",
                sentence(&summary),
                duration(seconds),
                place.name()
            ))?;
            Ok(output::say("These prices are invented: no market.")?)
        }
    }
}

fn options(symbol: Option<String>) -> ReadOptions {
    ReadOptions {
        symbol,
        ..ReadOptions::default()
    }
}

/// Reads the files and prints all that was found: that is the result here.
fn check(files: &[PathBuf], symbol: Option<String>, as_json: bool) -> Result<(), Failure> {
    let begin = Instant::now();
    let (report, _) = read_files(files, &options(symbol));
    let seconds = begin.elapsed().as_secs_f64();
    if as_json {
        document(&report, None, seconds)?;
    } else {
        for file in &report.files {
            for finding in &file.findings {
                output::say(format!("{}: {finding}", file.source))?;
            }
            if file.unlisted > 0 {
                output::say(unlisted(file))?;
            }
            if file.errors == 0 {
                output::say(of_file(file))?;
            }
        }
        let verdict = if report.is_sound() {
            "sound"
        } else {
            "an import would be refused"
        };
        output::say(format!("{verdict}, {}", duration(seconds)))?;
    }
    refused_if_unsound(&report)
}

/// Stores the bars and tables of all files in one transaction, or of none.
async fn import(
    files: &[PathBuf],
    symbol: Option<String>,
    database: &OfDatabase,
    settings: &Settings,
) -> Result<(), Failure> {
    let begin = Instant::now();
    let (report, read) = read_files(files, &options(symbol));
    if !database.json {
        for file in &report.files {
            note_findings(file);
        }
    }
    let place = Place::of(database.data_dir.as_deref(), settings);
    if report.is_sound() {
        let store = place.open(true).await?;
        let source = source_of(files);
        let Imported { series, records } = &read;
        store.put_market_data(series, records, &source).await?;
    } else {
        output::note("nothing was imported");
    }
    let seconds = begin.elapsed().as_secs_f64();
    if database.json {
        document(&report, Some(report.is_sound()), seconds)?;
    } else if report.is_sound() {
        for file in &report.files {
            output::say(of_file(file))?;
        }
        let place = place.name();
        output::say(format!("imported into {place}, {}", duration(seconds)))?;
    }
    refused_if_unsound(&report)
}

/// The exit code of a refused import; its reasons were printed.
fn refused_if_unsound(report: &ImportReport) -> Result<(), Failure> {
    if report.is_sound() {
        Ok(())
    } else {
        Err(Failure::Said(1))
    }
}

/// What is recorded as the source: all series of an import are stored at once, with one source.
fn source_of(files: &[PathBuf]) -> String {
    let name = files
        .first()
        .and_then(|path| path.file_name())
        .map_or_else(String::new, |name| name.display().to_string());
    match files.len() {
        0 | 1 => name,
        more => format!("{name} and {} more", more - 1),
    }
}

/// Every error and the first warnings of a file; notes are for `check`.
fn note_findings(file: &FileReport) {
    let mut warnings = 0;
    for finding in &file.findings {
        if finding.severity == Severity::Note {
            continue;
        }
        warnings += usize::from(finding.severity == Severity::Warning);
        if warnings <= WARNINGS_OF_IMPORT {
            output::note(format!("{}: {finding}", file.source));
        }
    }
    if warnings > WARNINGS_OF_IMPORT {
        let more = count((warnings - WARNINGS_OF_IMPORT) as u64);
        let source = &file.source;
        output::note(format!(
            "{source}: {more} more warnings; `trialmill data check {source}` prints them"
        ));
    }
    if file.unlisted > 0 {
        output::note(unlisted(file));
    }
    if !file.ignored_columns.is_empty() {
        let columns = file.ignored_columns.join(", ");
        output::note(format!("note: these columns are not used: {columns}"));
    }
}

fn unlisted(file: &FileReport) -> String {
    let more = count(file.unlisted);
    format!("{}: and {more} more findings", file.source)
}

fn document(report: &ImportReport, imported: Option<bool>, seconds: f64) -> Result<(), Failure> {
    let mut text = json!({
        "sound": report.is_sound(),
        "files": report.files,
        "seconds": seconds,
    });
    if let Some(imported) = imported {
        text["imported"] = json!(imported);
    }
    Ok(output::document(&text)?)
}

/// What a sound file holds.
fn of_file(file: &FileReport) -> String {
    let columns = match file.dialect {
        Some("trialmill") | None => String::new(),
        Some(table @ ("actions" | "statuses" | "factors" | "fundamentals")) => {
            format!(", a table of {table}")
        }
        Some(dialect) => format!(", columns of {dialect}"),
    };
    format!("{}{columns}", sentence(&json!(file)))
}

/// What a list of series holds.
fn summary(source: &str, series: &[BarSeries]) -> Value {
    let rows: usize = series.iter().map(BarSeries::rows).sum();
    let first = series.iter().map(BarSeries::first_time).min().and_then(day);
    let last = series.iter().map(BarSeries::last_time).max().and_then(day);
    json!({
        "source": source,
        "symbols": series.len(),
        "rows": rows,
        "first_date": first,
        "last_date": last,
    })
}

fn sentence(summary: &Value) -> String {
    let text = |name: &str| summary[name].as_str();
    let number = |name: &str| count(summary[name].as_u64().unwrap_or_default());
    let days = match (text("first_date"), text("last_date")) {
        (Some(first), Some(last)) => format!(", {first}..{last}"),
        _ => String::new(),
    };
    format!(
        "{}: {} rows, {} symbols{days}",
        text("source").unwrap_or("?"),
        number("rows"),
        number("symbols"),
    )
}

fn day(seconds: i64) -> Option<NaiveDate> {
    DateTime::from_timestamp(seconds, 0).map(|time| time.date_naive())
}

async fn list(database: &OfDatabase, settings: &Settings) -> Result<(), Failure> {
    let place = Place::of(database.data_dir.as_deref(), settings);
    let store = place.open(false).await?;
    let series = store.series_info(&[]).await?;
    let records = store.records_info(&[]).await?.into_iter();
    let mut records: BTreeMap<String, RecordInfo> = records
        .map(|record| (record.symbol.clone(), record))
        .collect();
    let listed: Vec<(SeriesInfo, Option<RecordInfo>)> = series
        .into_iter()
        .map(|one| {
            let record = records.remove(&one.symbol);
            (one, record)
        })
        .collect();
    let without_bars: Vec<&String> = records.keys().collect();
    if database.json {
        let items: Vec<Value> = listed
            .iter()
            .map(|(one, record)| {
                json!({
                    "symbol": one.symbol,
                    "frequency": one.frequency,
                    "rows": one.rows,
                    "first_date": one.first,
                    "last_date": one.last,
                    "source": one.source,
                    "stored_at": one.stored_at,
                    "record": record.as_ref().map(of_record),
                })
            })
            .collect();
        return Ok(output::document(&json!({
            "total": items.len(),
            "items": items,
            "records_without_bars": without_bars,
        }))?);
    }
    let head = [
        "SYMBOL", "BARS", "ROWS", "FIRST", "LAST", "RECORD", "SOURCE",
    ];
    let head = head.map(str::to_owned).to_vec();
    let row = |(one, record): &(SeriesInfo, Option<RecordInfo>)| {
        vec![
            one.symbol.clone(),
            one.frequency.clone(),
            count(u64::from(one.rows)),
            one.first.to_string(),
            one.last.to_string(),
            record.as_ref().map_or_else(|| "-".to_owned(), in_short),
            one.source.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = std::iter::once(head)
        .chain(listed.iter().map(row))
        .collect();
    for line in output::columns(&rows) {
        output::say(line)?;
    }
    let rows: u64 = listed.iter().map(|(one, _)| u64::from(one.rows)).sum();
    output::note(format!(
        "{} symbols, {} rows",
        count(listed.len() as u64),
        count(rows)
    ));
    if !without_bars.is_empty() {
        let some = without_bars
            .iter()
            .take(NAMED)
            .map(|symbol| symbol.as_str());
        let some: Vec<&str> = some.collect();
        let more = if without_bars.len() > NAMED {
            ", ..."
        } else {
            ""
        };
        output::note(format!(
            "{} symbols have a record and no bars: {}{more}",
            count(without_bars.len() as u64),
            some.join(", ")
        ));
    }
    Ok(())
}

/// Symbols that a note names.
const NAMED: usize = 10;

fn of_record(record: &RecordInfo) -> Value {
    json!({
        "listed": record.listed,
        "delisted": record.delisted,
        "special_treatments": record.treatments,
        "actions": record.actions,
        "reports": record.reports,
        "source": record.source,
        "stored_at": record.stored_at,
    })
}

/// `12 actions, 40 reports, status`, or what there is of it.
fn in_short(record: &RecordInfo) -> String {
    let mut parts = Vec::new();
    if record.actions > 0 || (!record.has_status() && record.reports == 0) {
        parts.push(format!("{} actions", record.actions));
    }
    if record.reports > 0 {
        parts.push(format!("{} reports", record.reports));
    }
    if let Some(day) = record.delisted {
        parts.push(format!("delisted {day}"));
    } else if record.has_status() {
        parts.push("status".to_owned());
    }
    parts.join(", ")
}
