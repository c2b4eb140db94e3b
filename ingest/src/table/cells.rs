//! The cells of a row of a table, read as days and numbers.

use crate::date;
use crate::report::{Code, Findings, Subject, shortened};
use crate::text_file::Fields;
use chrono::{DateTime, Datelike, NaiveDate};

/// The years that bars and records may be of.
const YEARS: std::ops::RangeInclusive<i32> = 1_800..=2_199;

/// A cell that could not be read; it is among the findings.
pub(super) struct Unsound;

/// The cells of one row. Columns are named by their place among those of the table.
pub(super) struct Cells<'a> {
    /// The row of the file.
    pub row: u64,
    pub fields: &'a Fields,
    pub columns: &'a [usize],
    pub names: &'static [&'static str],
    pub symbol: &'a str,
    pub findings: &'a mut Findings,
}

impl Cells<'_> {
    fn text(&self, column: usize) -> &[u8] {
        self.fields.get(self.columns[column]).trim_ascii()
    }

    fn bad(&mut self, column: usize, code: Code, limit: &str) -> Unsound {
        let value = match code {
            Code::MissingValue => String::new(),
            _ => format!(
                "{:?}",
                shortened(&String::from_utf8_lossy(self.text(column)))
            ),
        };
        let subject = Subject::new(code).column(self.names[column]).limit(limit);
        self.findings.add(subject, Some(self.row), &value);
        Unsound
    }

    /// A day, or none where the cell is empty.
    pub fn maybe_day(&mut self, column: usize) -> Result<Option<NaiveDate>, Unsound> {
        let text = self.text(column);
        if text.is_empty() {
            return Ok(None);
        }
        let day = date::parse(text)
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
            .map(|time| time.date_naive());
        match day {
            None => {
                let limit = "not a date such as 2020-01-31";
                Err(self.bad(column, Code::UnreadableDate, limit))
            }
            Some(day) if !YEARS.contains(&day.year()) => {
                Err(self.bad(column, Code::DateOutOfRange, "1800 to 2199"))
            }
            day => Ok(day),
        }
    }

    /// A day that has to be there.
    pub fn day(&mut self, column: usize) -> Result<NaiveDate, Unsound> {
        let day = self.maybe_day(column)?;
        day.ok_or_else(|| self.bad(column, Code::MissingValue, "it must not be empty"))
    }

    /// A number, or none where the cell is empty.
    pub fn maybe_number(&mut self, column: usize) -> Result<Option<f64>, Unsound> {
        let text = self.text(column);
        if text.is_empty() {
            return Ok(None);
        }
        let number = std::str::from_utf8(text).ok().map(str::parse);
        match number {
            Some(Ok(number)) => Ok(Some(number)),
            _ => Err(self.bad(column, Code::UnreadableNumber, "not a number")),
        }
    }

    /// A number that has to be there.
    pub fn number(&mut self, column: usize) -> Result<f64, Unsound> {
        let number = self.maybe_number(column)?;
        number.ok_or_else(|| self.bad(column, Code::MissingValue, "it must not be empty"))
    }

    /// A row that cannot be for what stands in a column, and why.
    pub fn refuse(&mut self, code: Code, column: &str, value: &str, reason: &str) {
        let subject = Subject::new(code).symbol(self.symbol);
        let subject = subject.column(column).limit(reason);
        self.findings.add(subject, Some(self.row), value);
    }
}
