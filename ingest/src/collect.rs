//! Gathers the rows of a file by symbol, judges them and turns them into series.

use crate::continuity;
use crate::dialect::Layout;
use crate::report::{Code, Findings, Subject, shortened};
use crate::{Import, ImportError, MAX_SYMBOLS, ReadOptions};
use std::collections::HashMap;
use std::path::Path;
use trialmill_backtest::bars::{BarFault, BarSeries, Columns, Frequency, LocalTime};

/// Bars judged in one piece: few enough that a sound piece is quickly copied.
const JUDGED_ROWS: usize = 4_096;

/// The rows of one symbol so far.
struct Rows {
    symbol: String,
    columns: Columns,
    /// For each row, its row in the file.
    file_rows: Vec<u64>,
    /// Rows that the file says are adjusted, and that it says are not.
    adjusted: u64,
    unadjusted: u64,
}

/// What is known of a symbol as the file writes it.
#[derive(Clone, Copy)]
enum Known {
    Series(usize),
    Refused(Code),
}

/// One row of a file, its cells read.
pub struct Row<'a> {
    pub number: u64,
    /// As the file writes it.
    pub symbol: &'a [u8],
    pub time: i64,
    /// Open, high, low, close, and volume in units of the source.
    pub bar: [f64; 5],
    /// baostock's `adjustflag`.
    pub adjust_flag: Option<u8>,
}

/// Rows by symbol, and what was found.
pub struct Collector<'a> {
    path: &'a Path,
    options: &'a ReadOptions,
    layout: &'a Layout,
    rows: u64,
    known: HashMap<Vec<u8>, Known>,
    by_name: HashMap<String, usize>,
    series: Vec<Rows>,
    /// The symbol of the latest row: files hold long runs of one symbol.
    latest: Option<(Vec<u8>, Known)>,
    findings: Findings,
}

impl<'a> Collector<'a> {
    pub fn new(path: &'a Path, options: &'a ReadOptions, layout: &'a Layout) -> Self {
        let mut findings = Findings::default();
        if layout.dialect.shares_per_unit > 1.0 {
            findings.add(
                Subject::new(Code::VolumeInLots).column(layout.dialect.columns[6]),
                None,
                "lots of 100 shares",
            );
        }
        if let Some(column) = &layout.adjusted_column {
            let subject = Subject::new(Code::AdjustedColumnNotUsed).column(column);
            findings.add(subject, None, "");
        }
        if layout.is_adjusted_by_yahoo() {
            findings.add(
                Subject::new(Code::AdjustedPrices),
                None,
                "there is no Adj Close beside Close, so that Close is adjusted itself",
            );
        }
        Self {
            path,
            options,
            layout,
            rows: 0,
            known: HashMap::new(),
            by_name: HashMap::new(),
            series: Vec::new(),
            latest: None,
            findings,
        }
    }

    /// Counts a row of the file, sound or not.
    pub fn count_row(&mut self) -> Result<(), ImportError> {
        self.rows += 1;
        if self.rows > self.options.max_rows {
            Err(self.too_large("rows", self.options.max_rows))
        } else {
            Ok(())
        }
    }

    pub fn too_large(&self, what: &'static str, limit: u64) -> ImportError {
        ImportError::TooLarge {
            path: self.path.to_owned(),
            what,
            limit,
        }
    }

    /// A row of which a column (by its place among the seven) cannot be read.
    pub fn bad_cell(&mut self, row: u64, column: usize, text: &[u8]) {
        let text = shortened(String::from_utf8_lossy(text).trim());
        let (code, limit) = match column {
            _ if text.is_empty() => (Code::MissingValue, "it must not be empty"),
            1 => (Code::UnreadableDate, "not a date such as 2020-01-31"),
            _ => (Code::UnreadableNumber, "not a number"),
        };
        let column = self.layout.dialect.columns[column];
        let value = match code {
            Code::MissingValue => String::new(),
            _ => format!("{text:?}"),
        };
        let subject = Subject::new(code).column(column).limit(limit);
        self.findings.add(subject, Some(row), &value);
    }

    /// A row with more or fewer fields than the header.
    pub fn bad_field_count(&mut self, row: u64, found: usize, wanted: usize) {
        let limit = format!("the header has {wanted}");
        let subject = Subject::new(Code::FieldCount).limit(&limit);
        self.findings
            .add(subject, Some(row), &format!("{found} field(s)"));
    }

    /// Adds a row.
    pub fn add(&mut self, row: &Row<'_>) -> Result<(), ImportError> {
        let known = match &self.latest {
            Some((written, known)) if written == row.symbol => *known,
            _ => {
                let known = self.known_of(row)?;
                self.latest = Some((row.symbol.to_owned(), known));
                known
            }
        };
        let number = match known {
            Known::Series(number) => number,
            Known::Refused(code) => {
                let written = String::from_utf8_lossy(row.symbol);
                let asked = self.options.symbol.as_deref().unwrap_or_default();
                let limit = match code {
                    Code::MixedSymbols => format!("{asked} was asked for"),
                    _ => "no exchange follows from it".to_owned(),
                };
                let subject = Subject::new(code).symbol(&written).limit(&limit);
                self.findings.add(subject, Some(row.number), "");
                return Ok(());
            }
        };
        let rows = &mut self.series[number];
        match row.adjust_flag {
            None => {}
            Some(3) => rows.unadjusted += 1,
            Some(flag) => {
                rows.adjusted += 1;
                let subject = Subject::new(Code::AdjustedPrices).symbol(&rows.symbol);
                let value = format!("adjustflag {flag}");
                self.findings.add(subject, Some(row.number), &value);
            }
        }
        let columns = &mut rows.columns;
        columns.time.push(row.time);
        columns.open.push(row.bar[0]);
        columns.high.push(row.bar[1]);
        columns.low.push(row.bar[2]);
        columns.close.push(row.bar[3]);
        let shares_per_unit = self.layout.dialect.shares_per_unit;
        columns.volume.push(if shares_per_unit > 1.0 {
            // Shares are whole; 525152.77 lots times 100 is not, in binary.
            (row.bar[4] * shares_per_unit).round()
        } else {
            row.bar[4]
        });
        rows.file_rows.push(row.number);
        Ok(())
    }

    fn known_of(&mut self, row: &Row<'_>) -> Result<Known, ImportError> {
        if let Some(known) = self.known.get(row.symbol) {
            return Ok(*known);
        }
        if self.known.len() == MAX_SYMBOLS {
            return Err(self.too_large("symbols", MAX_SYMBOLS as u64));
        }
        let known = match self.name_of(row) {
            Err(code) => Known::Refused(code),
            Ok(name) => Known::Series(match self.by_name.get(&name) {
                Some(number) => *number,
                None => {
                    self.by_name.insert(name.clone(), self.series.len());
                    self.series.push(Rows {
                        symbol: name,
                        columns: Columns::default(),
                        file_rows: Vec::new(),
                        adjusted: 0,
                        unadjusted: 0,
                    });
                    self.series.len() - 1
                }
            }),
        };
        self.known.insert(row.symbol.to_owned(), known);
        Ok(known)
    }

    /// Our name of a symbol that the file writes for the first time.
    fn name_of(&mut self, row: &Row<'_>) -> Result<String, Code> {
        let written = String::from_utf8_lossy(row.symbol);
        let form = self.layout.dialect.symbols;
        if let Some(asked) = &self.options.symbol {
            // A code without its exchange is the one asked for if the digits agree.
            let same = written == asked.as_str()
                || asked
                    .split_once('.')
                    .is_some_and(|(code, _)| written == code)
                || form
                    .read(&written)
                    .is_ok_and(|symbol| symbol.name == *asked);
            return if same {
                Ok(asked.clone())
            } else {
                Err(Code::MixedSymbols)
            };
        }
        let symbol = form.read(&written)?;
        if symbol.derived && self.layout.symbol.is_none() {
            // The name of the file may as well mean an index or a fund.
            let subject = Subject::new(Code::ExchangeDerived).symbol(&symbol.name);
            let value = format!("{written:?} in the file name");
            self.findings.add(subject, None, &value);
        }
        Ok(symbol.name)
    }

    /// All series, by symbol, if every row of the file was sound.
    pub fn finish(mut self) -> Result<Import, ImportError> {
        // Rows without any cell are possible where tickers stand side by side.
        if self.series.is_empty() && !self.findings.has_errors() {
            return Err(ImportError::Empty {
                path: self.path.to_owned(),
            });
        }
        let mut collected = std::mem::take(&mut self.series);
        collected.sort_by(|a, b| a.symbol.cmp(&b.symbol));
        let mut series = Vec::with_capacity(collected.len());
        let mut file_rows = Vec::with_capacity(collected.len());
        for rows in collected {
            if let Some((one, rows)) = judge(rows, &mut self.findings) {
                series.push(one);
                file_rows.push(rows);
            }
        }
        let sound = !self.findings.has_errors();
        let (findings, errors, unlisted) = self.findings.finish();
        if !sound {
            return Err(ImportError::Faults {
                path: self.path.to_owned(),
                dialect: self.layout.dialect.name,
                findings,
                errors,
                unlisted,
            });
        }
        Ok(Import {
            series,
            records: Vec::new(),
            rows: self.rows,
            dialect: self.layout.dialect.name,
            ignored_columns: self.layout.ignored.clone(),
            findings,
            unlisted,
            file_rows,
        })
    }
}

/// The rows of the file that the bars of a series come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FileRows {
    /// One after the other from this one, as in most files.
    From(u64),
    Each(Vec<u64>),
}

impl FileRows {
    fn of(rows: Vec<u64>) -> Self {
        let first = rows.first().copied().unwrap_or_default();
        if rows.iter().zip(first..).all(|(row, wanted)| *row == wanted) {
            Self::From(first)
        } else {
            Self::Each(rows)
        }
    }

    pub fn of_bar(&self, bar: usize) -> u64 {
        match self {
            Self::From(first) => first + bar as u64,
            Self::Each(rows) => rows[bar],
        }
    }
}

/// The series of a symbol, unless something is wrong with it, which is added to the findings.
fn judge(mut rows: Rows, findings: &mut Findings) -> Option<(BarSeries, FileRows)> {
    sort(&mut rows, findings);
    let mut sound = !duplicates(&rows, findings);
    if rows.adjusted > 0 && rows.unadjusted > 0 {
        sound = false;
        let value = format!(
            "{} adjusted and {} unadjusted rows",
            rows.adjusted, rows.unadjusted
        );
        let subject = Subject::new(Code::MixedAdjustment).symbol(&rows.symbol);
        findings.add(subject, None, &value);
    }
    let frequency = frequency_of(&rows.columns.time);
    let count = rows.columns.time.len();
    for start in (0..count).step_by(JUDGED_ROWS) {
        let end = count.min(start + JUDGED_ROWS);
        sound &= rows_are_sound(&rows, start..end, frequency, findings);
    }
    if !sound {
        return None;
    }
    match BarSeries::new(rows.symbol, frequency, rows.columns) {
        Ok(series) => {
            let file_rows = FileRows::of(rows.file_rows);
            continuity::look(&series, &file_rows, findings);
            Some((series, file_rows))
        }
        // The bars are sound, so it is the symbol.
        Err(refused) => {
            for fault in &refused.faults {
                let subject = Subject::new(Code::BadSymbol).symbol(&refused.symbol);
                let value = fault.to_string();
                for row in &rows.file_rows {
                    findings.add(subject, Some(*row), &value);
                }
            }
            None
        }
    }
}

/// Brings the rows into the order of time and says so; rows of one time stay in that of the file.
fn sort(rows: &mut Rows, findings: &mut Findings) {
    let time = &rows.columns.time;
    if time.is_sorted() {
        return;
    }
    let newest_first = time.is_sorted_by(|a, b| a > b);
    let mut order: Vec<usize> = (0..time.len()).collect();
    order.sort_by_key(|row| time[*row]);
    if newest_first {
        findings.add(Subject::new(Code::NewestFirst), None, "");
    } else {
        let subject = Subject::new(Code::Unsorted).symbol(&rows.symbol);
        for (at, pair) in time.windows(2).enumerate() {
            if pair[1] < pair[0] {
                let value = format!("{} after {}", LocalTime(pair[1]), LocalTime(pair[0]));
                findings.add(subject, Some(rows.file_rows[at + 1]), &value);
            }
        }
    }
    fn arranged<T: Copy>(values: &mut Vec<T>, order: &[usize]) {
        *values = order.iter().map(|row| values[*row]).collect();
    }
    let columns = &mut rows.columns;
    arranged(&mut columns.time, &order);
    for values in [
        &mut columns.open,
        &mut columns.high,
        &mut columns.low,
        &mut columns.close,
        &mut columns.volume,
    ] {
        arranged(values, &order);
    }
    arranged(&mut rows.file_rows, &order);
}

/// Whether a time is there twice. Of several rows all but the first of the file are listed.
fn duplicates(rows: &Rows, findings: &mut Findings) -> bool {
    let time = &rows.columns.time;
    let mut first = 0;
    let mut found = false;
    for row in 1..time.len() {
        if time[row] != time[first] {
            first = row;
            continue;
        }
        found = true;
        let value = format!(
            "{} is also in row {}",
            LocalTime(time[row]),
            rows.file_rows[first]
        );
        let subject = Subject::new(Code::DuplicateDate).symbol(&rows.symbol);
        findings.add(subject, Some(rows.file_rows[row]), &value);
    }
    found
}

/// Judges a piece of the rows by the rules of a series. A series lists its first hundred faults
/// only, therefore a piece with more is judged in halves.
fn rows_are_sound(
    rows: &Rows,
    piece: std::ops::Range<usize>,
    frequency: Frequency,
    findings: &mut Findings,
) -> bool {
    let columns = &rows.columns;
    let part = |values: &[f64]| values[piece.clone()].to_vec();
    let judged = Columns {
        time: columns.time[piece.clone()].to_vec(),
        open: part(&columns.open),
        high: part(&columns.high),
        low: part(&columns.low),
        close: part(&columns.close),
        volume: part(&columns.volume),
    };
    let Err(refused) = BarSeries::new("X", frequency, judged) else {
        return true;
    };
    if refused.total > refused.faults.len() && piece.len() > 1 {
        let middle = piece.start + piece.len() / 2;
        let early = rows_are_sound(rows, piece.start..middle, frequency, findings);
        let late = rows_are_sound(rows, middle..piece.end, frequency, findings);
        return early & late;
    }
    let mut sound = true;
    for fault in refused.faults {
        if let Some((code, column, value, limit)) = told(&fault) {
            sound = false;
            let row = fault.row().map(|row| rows.file_rows[piece.start + row]);
            let mut subject = Subject::new(code).symbol(&rows.symbol).limit(limit);
            if let Some(column) = column {
                subject = subject.column(column);
            }
            findings.add(subject, row, &value);
        }
    }
    sound
}

/// Code, column, value and rule of a fault; `None` for what is told elsewhere.
fn told(fault: &BarFault) -> Option<(Code, Option<&'static str>, String, &'static str)> {
    Some(match fault {
        BarFault::TimeOutOfRange { seconds, .. } => (
            Code::DateOutOfRange,
            None,
            LocalTime(*seconds).to_string(),
            "1800-01-01 to 2200-01-01",
        ),
        BarFault::NotFinite { column, value, .. } => (
            match *column {
                "volume" => Code::VolumeNotFinite,
                _ => Code::PriceNotFinite,
            },
            Some(*column),
            value.to_string(),
            "a finite number",
        ),
        BarFault::NotPositive { column, value, .. } => (
            Code::PriceNotPositive,
            Some(*column),
            value.to_string(),
            "above 0",
        ),
        BarFault::PriceOutOfRange { column, value, .. } => (
            Code::PriceOutOfRange,
            Some(*column),
            format!("{value:e}"),
            "1e-9 to 1e12",
        ),
        BarFault::HighTooLow { high, bound, .. } => (
            Code::HighTooLow,
            Some("high"),
            format!("{high} below {bound}"),
            "at least open and close",
        ),
        BarFault::LowTooHigh { low, bound, .. } => (
            Code::LowTooHigh,
            Some("low"),
            format!("{low} above {bound}"),
            "at most open and close",
        ),
        BarFault::NegativeVolume { value, .. } => (
            Code::NegativeVolume,
            Some("volume"),
            value.to_string(),
            "0 or more",
        ),
        BarFault::VolumeTooLarge { value, .. } => (
            Code::VolumeTooLarge,
            Some("volume"),
            format!("{value:e}"),
            "at most 1e18",
        ),
        // The rows are sorted, and duplicates are told with both of their rows. Columns are even,
        // pieces are not empty, a daily series is all midnights, and the symbol is judged once.
        BarFault::Duplicate { .. }
        | BarFault::NotAscending { .. }
        | BarFault::NotMidnight { .. }
        | BarFault::Symbol { .. }
        | BarFault::Empty
        | BarFault::Length { .. } => return None,
    })
}

fn frequency_of(time: &[i64]) -> Frequency {
    let all_multiples_of = |seconds| time.iter().all(|time| time % seconds == 0);
    if all_multiples_of(86_400) {
        Frequency::Daily
    } else if all_multiples_of(3_600) {
        Frequency::Hour
    } else {
        Frequency::Minute
    }
}
