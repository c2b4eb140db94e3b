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
use std::path::{Path, PathBuf};
use std::time::Instant;
use trialmill_backtest::bars::BarSeries;
use trialmill_ingest::{Import, ImportError};

/// Runs a command of `data`.
///
/// # Errors
/// When a file has faults (nothing is imported then), or the database does not do it.
pub async fn run(command: Data, settings: &Settings) -> Result<(), Failure> {
    match command {
        Data::Import { files, database } => import(&files, &database, settings).await,
        Data::List(database) => list(&database, settings).await,
        Data::Check { files, json } => {
            let begin = Instant::now();
            let read = read_all(&files)?;
            report(&read, "sound", begin.elapsed().as_secs_f64(), json)
        }
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

async fn import(
    files: &[PathBuf],
    database: &OfDatabase,
    settings: &Settings,
) -> Result<(), Failure> {
    let begin = Instant::now();
    let read = read_all(files)?;
    let place = Place::of(database.data_dir.as_deref(), settings);
    let store = place.open(true).await?;
    for (path, import) in &read {
        let name = path
            .file_name()
            .map_or_else(String::new, |name| name.display().to_string());
        store.put_series(&import.series, &name).await?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    report(
        &read,
        &format!("imported into {}", place.name()),
        seconds,
        database.json,
    )
}

/// Reads every file before anything is stored; tells the faults of all of them.
fn read_all(files: &[PathBuf]) -> Result<Vec<(PathBuf, Import)>, Failure> {
    let mut read = Vec::new();
    let mut faults = false;
    let mut seen: BTreeMap<String, &Path> = BTreeMap::new();
    for path in files {
        match trialmill_ingest::read_file(path) {
            Ok(import) => {
                for series in &import.series {
                    if let Some(other) = seen.insert(series.symbol().to_owned(), path) {
                        faults = true;
                        let (symbol, other) = (series.symbol(), other.display());
                        let path = path.display();
                        output::note(format!("{path}: {symbol} is also in {other}; keep one"));
                    }
                }
                read.push((path.clone(), import));
            }
            Err(error) => {
                faults = true;
                tell(&error);
            }
        }
    }
    if faults {
        output::note("nothing was imported");
        return Err(Failure::Said(1));
    }
    Ok(read)
}

fn tell(error: &ImportError) {
    let ImportError::Faults {
        path,
        faults,
        total,
    } = error
    else {
        return output::note(error);
    };
    for fault in faults {
        output::note(format!("{}: {fault}", path.display()));
    }
    if *total > faults.len() {
        let more = *total - faults.len();
        output::note(format!(
            "{}: and {} more faults",
            path.display(),
            count(more as u64)
        ));
    }
}

fn report(
    read: &[(PathBuf, Import)],
    what: &str,
    seconds: f64,
    as_json: bool,
) -> Result<(), Failure> {
    let summaries: Vec<Value> = read
        .iter()
        .map(|(path, import)| {
            let mut summary = summary(&path.display().to_string(), &import.series);
            summary["ignored_columns"] = json!(import.ignored_columns);
            summary
        })
        .collect();
    if as_json {
        return Ok(output::document(
            &json!({"files": summaries, "seconds": seconds}),
        )?);
    }
    for (summary, (_, import)) in summaries.iter().zip(read) {
        output::say(sentence(summary))?;
        if !import.ignored_columns.is_empty() {
            let columns = import.ignored_columns.join(", ");
            output::note(format!("note: these columns are not used: {columns}"));
        }
    }
    Ok(output::say(format!("{what}, {}", duration(seconds)))?)
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
    let text = |name: &str| summary[name].as_str().unwrap_or("?").to_owned();
    let number = |name: &str| count(summary[name].as_u64().unwrap_or_default());
    format!(
        "{}: {} rows, {} symbols, {}..{}",
        text("source"),
        number("rows"),
        number("symbols"),
        text("first_date"),
        text("last_date")
    )
}

fn day(seconds: i64) -> Option<NaiveDate> {
    DateTime::from_timestamp(seconds, 0).map(|time| time.date_naive())
}

async fn list(database: &OfDatabase, settings: &Settings) -> Result<(), Failure> {
    let place = Place::of(database.data_dir.as_deref(), settings);
    let series = place.open(false).await?.series_info(&[]).await?;
    if database.json {
        let items: Vec<Value> = series
            .iter()
            .map(|one| {
                json!({
                    "symbol": one.symbol,
                    "frequency": one.frequency,
                    "rows": one.rows,
                    "first_date": one.first,
                    "last_date": one.last,
                    "source": one.source,
                    "stored_at": one.stored_at,
                })
            })
            .collect();
        return Ok(output::document(
            &json!({"total": items.len(), "items": items}),
        )?);
    }
    let head = ["SYMBOL", "BARS", "ROWS", "FIRST", "LAST", "SOURCE"]
        .map(str::to_owned)
        .to_vec();
    let row = |one: &trialmill_store::rows::SeriesInfo| {
        vec![
            one.symbol.clone(),
            one.frequency.clone(),
            count(u64::from(one.rows)),
            one.first.to_string(),
            one.last.to_string(),
            one.source.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = std::iter::once(head)
        .chain(series.iter().map(row))
        .collect();
    for line in output::columns(&rows) {
        output::say(line)?;
    }
    let rows: u64 = series.iter().map(|one| u64::from(one.rows)).sum();
    output::note(format!(
        "{} symbols, {} rows",
        count(series.len() as u64),
        count(rows)
    ));
    Ok(())
}
