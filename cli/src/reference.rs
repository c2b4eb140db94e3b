//! `backtest --reference`: this build's figures against a file of expected ones, case by case.
//!
//! Three forms of files are known, told apart by their cases: backtests (`strategy` and `fill`),
//! indicators (`values`) and cointegrated pairs (`y` and `x`). A figure that a file expects and this
//! build does not know is a disagreement, not a gap in silence.

mod backtests;
mod indicators;
mod pairs;

use crate::args::Backtest;
use crate::failure::Failure;
use crate::output;
use chrono::NaiveDate;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use trialmill_backtest::bars::{BarSeries, midnight};
use trialmill_ingest::read_file;

/// Largest file of expected values, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Checks every case of the file and prints a line for each.
///
/// # Errors
/// [`Failure::Said`] with 1 when a figure disagrees; else why the file cannot be checked.
pub fn run(options: &Backtest) -> Result<(), Failure> {
    let file = read(&options.reference)?;
    let cases = file["cases"].as_array().filter(|cases| !cases.is_empty());
    let cases = cases.ok_or_else(|| unusable(&options.reference, "it has no cases"))?;
    let form = Form::of(cases).ok_or_else(|| {
        let reason = "its cases are neither backtests (strategy, fill), indicators (values) nor \
                      pairs (y, x)";
        unusable(&options.reference, reason)
    })?;
    let mut data = Data::new(&options.data);
    let mut verdicts = Vec::with_capacity(cases.len());
    for (number, case) in cases.iter().enumerate() {
        verdicts.push(verdict(form, number, case, &mut data));
    }
    tell(form, &verdicts, options.json)
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Backtests,
    Indicators,
    Pairs,
}

impl Form {
    /// The form of all cases; `None` if one is of none, or they differ.
    fn of(cases: &[Value]) -> Option<Self> {
        let of_one = |case: &Value| match case {
            _ if case["strategy"].is_object() && case["fill"].is_string() => Some(Self::Backtests),
            _ if case["values"].is_object() => Some(Self::Indicators),
            _ if case["y"].is_string() && case["x"].is_string() => Some(Self::Pairs),
            _ => None,
        };
        let first = of_one(cases.first()?)?;
        cases
            .iter()
            .all(|case| of_one(case) == Some(first))
            .then_some(first)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Backtests => "backtests",
            Self::Indicators => "indicators",
            Self::Pairs => "pairs",
        }
    }
}

/// A figure that is not what the file expects.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Disagreement {
    figure: String,
    expected: Value,
    found: Value,
    /// Largest accepted relative gap; 0 for counts.
    tolerance: f64,
}

/// What became of a case.
#[derive(Debug, Serialize)]
struct Verdict {
    id: String,
    /// Figures compared.
    compared: usize,
    disagreements: Vec<Disagreement>,
    /// Why it could not be run at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Verdict {
    fn agrees(&self) -> bool {
        self.error.is_none() && self.disagreements.is_empty() && self.compared > 0
    }
}

fn verdict(form: Form, number: usize, case: &Value, data: &mut Data) -> Verdict {
    let id = case["id"]
        .as_str()
        .map_or_else(|| format!("case {number}"), str::to_owned);
    let mut figures = Comparison::default();
    let error = match form {
        Form::Backtests => backtests::compare(case, data, &mut figures),
        Form::Indicators => indicators::compare(case, data, &mut figures),
        Form::Pairs => pairs::compare(case, data, &mut figures),
    }
    .err();
    Verdict {
        id,
        compared: figures.compared,
        disagreements: figures.disagreements,
        error,
    }
}

fn tell(form: Form, verdicts: &[Verdict], as_json: bool) -> Result<(), Failure> {
    let agree = verdicts.iter().filter(|verdict| verdict.agrees()).count();
    let compared: usize = verdicts.iter().map(|verdict| verdict.compared).sum();
    if as_json {
        output::document(&json!({
            "form": form.name(), "cases": verdicts.len(), "agree": agree, "compared": compared,
            "verdicts": verdicts,
        }))?;
    } else {
        for verdict in verdicts {
            for line in lines(verdict) {
                output::say(line)?;
            }
        }
    }
    output::note(format!(
        "{agree} of {} {} agree, {compared} figures compared",
        verdicts.len(),
        form.name()
    ));
    if agree == verdicts.len() {
        Ok(())
    } else {
        Err(Failure::Said(1))
    }
}

fn lines(verdict: &Verdict) -> Vec<String> {
    let Verdict {
        id,
        compared,
        disagreements,
        error,
    } = verdict;
    if let Some(error) = error {
        return vec![format!("{id}  cannot be run: {error}")];
    }
    if verdict.agrees() {
        return vec![format!("{id}  agrees in {compared} figures")];
    }
    if disagreements.is_empty() {
        return vec![format!("{id}  expects nothing: there is no figure in it")];
    }
    let line = |one: &Disagreement| {
        let (figure, expected, found) = (&one.figure, &one.expected, &one.found);
        format!(
            "{id}  {figure}: found {found}, expected {expected} (tolerance {:e})",
            one.tolerance
        )
    };
    disagreements.iter().map(line).collect()
}

/// Collects what agrees and what does not.
#[derive(Debug, Default)]
struct Comparison {
    compared: usize,
    disagreements: Vec<Disagreement>,
}

impl Comparison {
    /// Compares a number within a relative tolerance; an undefined one (`None`) with null.
    fn number(&mut self, figure: &str, found: Option<f64>, expected: &Value, tolerance: f64) {
        self.compared += 1;
        let agrees = match (found, expected.as_f64()) {
            (Some(found), Some(expected)) => {
                let size = expected.abs().max(f64::MIN_POSITIVE);
                (found - expected).abs() / size <= tolerance || found == expected
            }
            (None, None) => expected.is_null(),
            _ => false,
        };
        if !agrees {
            self.disagree(figure, json!(found), expected, tolerance);
        }
    }

    /// Compares a count or a flag, which must be the same.
    fn exact(&mut self, figure: &str, found: impl Into<Value>, expected: &Value) {
        self.compared += 1;
        let found = found.into();
        if found != *expected {
            self.disagree(figure, found, expected, 0.0);
        }
    }

    /// An expected figure that this build does not compute.
    fn unknown(&mut self, figure: &str, expected: &Value) {
        self.compared += 1;
        let found = Value::from("not a figure that this build computes");
        self.disagree(figure, found, expected, 0.0);
    }

    fn disagree(&mut self, figure: &str, found: Value, expected: &Value, tolerance: f64) {
        self.disagreements.push(Disagreement {
            figure: figure.to_owned(),
            expected: expected.clone(),
            found,
            tolerance,
        });
    }
}

/// The bars that cases name, read once each.
struct Data {
    folder: PathBuf,
    read: BTreeMap<PathBuf, BarSeries>,
}

impl Data {
    fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            read: BTreeMap::new(),
        }
    }

    /// The file that a case names, from the folder on.
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The rows of a file with `first <= date <= last`, whatever came before cut away, without the
    /// suspended ones.
    fn rows(&mut self, file: &Path, first: &Value, last: &Value) -> Result<BarSeries, String> {
        let (first, last) = (date(first, "first")?, date(last, "last")?);
        if !self.read.contains_key(file) {
            let mut series = read_file(file).map_err(|e| e.to_string())?.series;
            if series.len() != 1 {
                let found = series.len();
                return Err(format!("{} holds {found} series, not one", file.display()));
            }
            self.read.insert(file.to_owned(), series.remove(0));
        }
        let series = &self.read[file];
        let rows = series.rows_between(midnight(first), midnight(last));
        let cut = series
            .slice(rows)
            .ok_or_else(|| format!("{} has no row from {first} to {last}", file.display()))?;
        Ok(cut.without_suspended_rows().unwrap_or(cut))
    }

    /// The file of a symbol: the one in the folder, or the only one below it, that is named
    /// `SYMBOL.csv.gz`, `SYMBOL.csv` or `SYMBOL.parquet`.
    fn file_of(&self, symbol: &str) -> Result<PathBuf, String> {
        let named = |folder: &Path| {
            ["csv.gz", "csv", "parquet"]
                .map(|ending| folder.join(format!("{symbol}.{ending}")))
                .into_iter()
                .find(|path| path.is_file())
        };
        if let Some(found) = named(&self.folder) {
            return Ok(found);
        }
        let below = std::fs::read_dir(&self.folder)
            .map_err(|e| format!("{}: {e}", self.folder.display()))?;
        let mut found: Vec<PathBuf> = below
            .filter_map(Result::ok)
            .filter_map(|entry| named(&entry.path()))
            .collect();
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(format!(
                "no {symbol}.csv.gz, .csv or .parquet in {} or a folder in it",
                self.folder.display()
            )),
            many => Err(format!(
                "{many} folders of {} have a file for {symbol}; give the one meant with --data",
                self.folder.display()
            )),
        }
    }
}

fn date(value: &Value, field: &str) -> Result<NaiveDate, String> {
    let text = value
        .as_str()
        .ok_or_else(|| format!("{field} is missing"))?;
    text.parse()
        .map_err(|_| format!("{field} is {text:?}; write it like 2020-01-31"))
}

fn number(fields: &Value, field: &str) -> Result<f64, String> {
    fields[field]
        .as_f64()
        .ok_or_else(|| format!("{field} is {}; it must be a number", fields[field]))
}

fn text<'a>(fields: &'a Value, field: &str) -> Result<&'a str, String> {
    fields[field]
        .as_str()
        .ok_or_else(|| format!("{field} is {}; it must be a text", fields[field]))
}

fn object<'a>(fields: &'a Value, field: &str) -> Result<&'a Map<String, Value>, String> {
    fields[field]
        .as_object()
        .ok_or_else(|| format!("{field} is {}; it must be an object", fields[field]))
}

fn read(path: &Path) -> Result<Value, Failure> {
    let told = |error: &dyn std::fmt::Display| unusable(path, &error.to_string());
    let size = std::fs::metadata(path).map_err(|e| told(&e))?.len();
    if size > MAX_FILE_BYTES {
        let limit = MAX_FILE_BYTES >> 20;
        return Err(unusable(
            path,
            &format!("it has {size} bytes; {limit} MB are read"),
        ));
    }
    let bytes = std::fs::read(path).map_err(|e| told(&e))?;
    serde_json::from_slice(&bytes).map_err(|e| told(&e))
}

fn unusable(path: &Path, reason: &str) -> Failure {
    Failure::reason(format!("{} cannot be checked: {reason}", path.display()))
}
