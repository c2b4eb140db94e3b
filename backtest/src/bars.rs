//! Bar series: checked once, immutable afterwards, with a stable byte layout.
//!
//! Knows prices, volumes and exchange-local time. Knows no file format, calendar or time zone.

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use thiserror::Error;

/// The lowest price a bar may have. Window sums keep 2^-70 of absolute resolution
/// ([`crate::indicator::WindowSums`]); down to this price that is better than 1e-12 relative.
pub const MIN_PRICE: f64 = 1e-9;

/// The highest price a bar may have: [`crate::indicator::MAX_WINDOW`] of them still sum exactly.
pub const MAX_PRICE: f64 = 1e12;

/// The highest volume a bar may have, in shares or contracts.
pub const MAX_VOLUME: f64 = 1e18;

/// The longest symbol, in bytes.
pub const MAX_SYMBOL_BYTES: usize = 64;

/// How many faults are described in full; the rest is counted.
pub const MAX_LISTED_FAULTS: usize = 100;

/// 1800-01-01 and 2200-01-01: outside lies a wrong unit (milliseconds, say), not a bar.
const TIME_RANGE: Range<i64> = -5_364_662_400..7_258_118_400;

pub(crate) const SECONDS_PER_DAY: i64 = 86_400;

const MAGIC: [u8; 6] = *b"TMBARS";
const VERSION: u8 = 1;
/// Magic (6), version (1), frequency (1), symbol bytes (8), rows (8).
const HEADER_BYTES: usize = 24;
/// Six columns of eight bytes.
const ROW_BYTES: usize = 48;

/// The spacing of bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Frequency {
    /// One bar a trading day; its time is midnight of that day. The only one that tasks accept so
    /// far.
    #[serde(rename = "1d")]
    Daily,
    /// One bar an hour.
    #[serde(rename = "1h")]
    Hour,
    /// One bar a minute.
    #[serde(rename = "1m")]
    Minute,
}

impl Frequency {
    /// The short name used in requests: `1d`, `1h`, `1m`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Daily => "1d",
            Self::Hour => "1h",
            Self::Minute => "1m",
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Daily => 0,
            Self::Hour => 1,
            Self::Minute => 2,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Daily),
            1 => Some(Self::Hour),
            2 => Some(Self::Minute),
            _ => None,
        }
    }
}

/// The six columns of a series before they are checked; all have one length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    /// Seconds since 1970-01-01T00:00 in exchange-local time.
    pub time: Vec<i64>,
    /// First price of each bar.
    pub open: Vec<f64>,
    /// Highest price of each bar.
    pub high: Vec<f64>,
    /// Lowest price of each bar.
    pub low: Vec<f64>,
    /// Last price of each bar.
    pub close: Vec<f64>,
    /// Traded amount of each bar, in shares or contracts; 0 where nothing is known.
    pub volume: Vec<f64>,
}

/// The bars of one symbol, checked and immutable.
///
/// Times ascend strictly, prices lie within [`MIN_PRICE`] and [`MAX_PRICE`], `high` and `low`
/// contain `open` and `close`, volumes are not negative.
///
/// ```
/// use trialmill_backtest::bars::{BarSeries, Columns, Frequency};
///
/// let columns = Columns {
///     time: vec![0, 86_400],
///     open: vec![10.0, 10.5],
///     high: vec![10.6, 10.9],
///     low: vec![9.9, 10.4],
///     close: vec![10.5, 10.8],
///     volume: vec![1_000.0, 0.0],
/// };
/// let series = BarSeries::new("SYN00.SZ", Frequency::Daily, columns).expect("the bars are sound");
/// assert!(series.is_suspended(1)); // no volume on that day, though the series has volume
/// let again = BarSeries::from_bytes(&series.to_bytes()).expect("what was written can be read");
/// assert_eq!(series, again);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BarSeries {
    symbol: String,
    frequency: Frequency,
    columns: Columns,
    has_volume: bool,
}

/// One fault of a series. `row` counts from 0.
#[derive(Clone, Debug, PartialEq, Error)]
#[expect(missing_docs, reason = "the fields say in the message what they are")]
pub enum BarFault {
    /// The symbol is empty, too long or not printable ASCII.
    #[error("symbol {symbol:?} is not 1 to {MAX_SYMBOL_BYTES} printable ASCII characters")]
    Symbol { symbol: String },
    /// There are no bars.
    #[error("there are no bars; a series needs at least one")]
    Empty,
    /// A column is shorter or longer than `time`.
    #[error("column {column} has {length} rows where time has {expected}")]
    Length {
        column: &'static str,
        length: usize,
        expected: usize,
    },
    /// The time is not after that of the row before.
    #[error("row {row}: {time} does not come after {previous}; times must ascend")]
    NotAscending {
        row: usize,
        time: LocalTime,
        previous: LocalTime,
    },
    /// The time equals that of the row before.
    #[error("row {row}: {time} is there twice")]
    Duplicate { row: usize, time: LocalTime },
    /// The time is not between 1800 and 2200.
    #[error(
        "row {row}: time {seconds} s lies outside 1800-01-01 to 2200-01-01; is its unit seconds?"
    )]
    TimeOutOfRange { row: usize, seconds: i64 },
    /// A daily bar is not stamped with midnight.
    #[error("row {row}: {time} is not midnight; a daily bar carries its date only")]
    NotMidnight { row: usize, time: LocalTime },
    /// NaN or infinite.
    #[error("row {row}: {column} is {value}, which is not a finite number")]
    NotFinite {
        row: usize,
        column: &'static str,
        value: f64,
    },
    /// Zero or below.
    #[error("row {row}: {column} is {value}; a price must be above 0")]
    NotPositive {
        row: usize,
        column: &'static str,
        value: f64,
    },
    /// Above 0 but outside the supported range.
    #[error("row {row}: {column} is {value}; prices must lie in {MIN_PRICE:e} to {MAX_PRICE:e}")]
    PriceOutOfRange {
        row: usize,
        column: &'static str,
        value: f64,
    },
    /// The high is below the open or the close.
    #[error("row {row}: high {high} is below the larger of open and close, {bound}")]
    HighTooLow { row: usize, high: f64, bound: f64 },
    /// The low is above the open or the close.
    #[error("row {row}: low {low} is above the smaller of open and close, {bound}")]
    LowTooHigh { row: usize, low: f64, bound: f64 },
    /// Volume below 0.
    #[error("row {row}: volume is {value}; it must be 0 or more")]
    NegativeVolume { row: usize, value: f64 },
    /// Volume beyond [`MAX_VOLUME`].
    #[error("row {row}: volume is {value}; at most {MAX_VOLUME:e} is supported")]
    VolumeTooLarge { row: usize, value: f64 },
}

impl BarFault {
    /// The row of the fault, counted from 0; `None` for a fault of the whole series.
    #[must_use]
    pub const fn row(&self) -> Option<usize> {
        match self {
            Self::Symbol { .. } | Self::Empty | Self::Length { .. } => None,
            Self::NotAscending { row, .. }
            | Self::Duplicate { row, .. }
            | Self::TimeOutOfRange { row, .. }
            | Self::NotMidnight { row, .. }
            | Self::NotFinite { row, .. }
            | Self::NotPositive { row, .. }
            | Self::PriceOutOfRange { row, .. }
            | Self::HighTooLow { row, .. }
            | Self::LowTooHigh { row, .. }
            | Self::NegativeVolume { row, .. }
            | Self::VolumeTooLarge { row, .. } => Some(*row),
        }
    }

    /// The same fault on another row: readers of files name the row of the file.
    #[must_use]
    pub fn at_row(mut self, new: usize) -> Self {
        match &mut self {
            Self::Symbol { .. } | Self::Empty | Self::Length { .. } => {}
            Self::NotAscending { row, .. }
            | Self::Duplicate { row, .. }
            | Self::TimeOutOfRange { row, .. }
            | Self::NotMidnight { row, .. }
            | Self::NotFinite { row, .. }
            | Self::NotPositive { row, .. }
            | Self::PriceOutOfRange { row, .. }
            | Self::HighTooLow { row, .. }
            | Self::LowTooHigh { row, .. }
            | Self::NegativeVolume { row, .. }
            | Self::VolumeTooLarge { row, .. } => *row = new,
        }
        self
    }
}

/// Why a series was refused: the first [`MAX_LISTED_FAULTS`] faults and how many there are.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{symbol:?} has {total} fault(s), first: {}", .faults[0])]
pub struct BarFaults {
    /// The symbol as it was given.
    pub symbol: String,
    /// In row order, at most [`MAX_LISTED_FAULTS`]; never empty.
    pub faults: Vec<BarFault>,
    /// How many faults there are, those not listed included.
    pub total: usize,
}

/// Why bytes are not a series.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum BarBytesError {
    /// Shorter than a header.
    #[error("bar bytes: {length} bytes are shorter than the header of {HEADER_BYTES}")]
    Short {
        /// Bytes given.
        length: usize,
    },
    /// Other first bytes.
    #[error("bar bytes: they do not start with TMBARS; this is not a stored series")]
    Magic,
    /// A version that this build does not read.
    #[error("bar bytes: version {version}; this build reads version {VERSION}")]
    Version {
        /// The version found.
        version: u8,
    },
    /// A frequency code that this build does not know.
    #[error("bar bytes: frequency code {code} is not one of 0, 1, 2")]
    Frequency {
        /// The code found.
        code: u8,
    },
    /// The length does not follow from the header.
    #[error(
        "bar bytes: {length} bytes do not match the header ({symbol_bytes} symbol bytes, {rows} rows)"
    )]
    Length {
        /// Bytes given.
        length: usize,
        /// Symbol length of the header.
        symbol_bytes: u64,
        /// Rows of the header.
        rows: u64,
    },
    /// The symbol is not UTF-8.
    #[error("bar bytes: the symbol is not UTF-8")]
    Symbol,
    /// The bars break the rules of a series.
    #[error("bar bytes: {0}")]
    Bars(#[from] BarFaults),
}

/// Exchange-local seconds, shown as a date or date and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalTime(
    /// Seconds since 1970-01-01T00:00, exchange-local.
    pub i64,
);

impl std::fmt::Display for LocalTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match DateTime::from_timestamp(self.0, 0) {
            Some(t) if self.0 % SECONDS_PER_DAY == 0 => write!(f, "{}", t.format("%Y-%m-%d")),
            Some(t) => write!(f, "{}", t.format("%Y-%m-%d %H:%M:%S")),
            None => write!(f, "{} s", self.0),
        }
    }
}

/// Seconds from 1970-01-01T00:00 to midnight of `date`, both exchange-local.
#[must_use]
pub fn midnight(date: NaiveDate) -> i64 {
    date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp()
}

/// Seconds from 1970-01-01T00:00 to `time`, both exchange-local; fractions of seconds are dropped.
#[must_use]
pub fn local_seconds(time: NaiveDateTime) -> i64 {
    time.and_utc().timestamp()
}

/// Counts every fault, keeps the first ones.
struct FaultList {
    faults: Vec<BarFault>,
    total: usize,
}

/// What [`is_symbol`] asks of a text.
pub(crate) const SYMBOL_RULE: &str = "write 1 to 64 visible ASCII characters without blanks";

/// Whether a text can be a symbol.
pub(crate) fn is_symbol(text: &str) -> bool {
    (1..=MAX_SYMBOL_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Whether bars may be of a day.
pub(crate) fn is_day_of_bars(day: NaiveDate) -> bool {
    TIME_RANGE.contains(&midnight(day))
}

impl FaultList {
    fn add(&mut self, fault: BarFault) {
        self.total += 1;
        if self.faults.len() < MAX_LISTED_FAULTS {
            self.faults.push(fault);
        }
    }
}

impl BarSeries {
    /// Checks the columns and makes them a series.
    ///
    /// A volume of -0.0 becomes 0.0, so that equal series have equal bytes.
    ///
    /// # Errors
    /// Every fault found, in row order: the first [`MAX_LISTED_FAULTS`] and the total number.
    pub fn new(
        symbol: impl Into<String>,
        frequency: Frequency,
        mut columns: Columns,
    ) -> Result<Self, BarFaults> {
        let symbol = symbol.into();
        let mut list = FaultList {
            faults: Vec::new(),
            total: 0,
        };
        if !is_symbol(&symbol) {
            list.add(BarFault::Symbol {
                symbol: symbol.clone(),
            });
        }
        let rows = columns.time.len();
        let mut even = true;
        for (column, values) in columns
            .prices()
            .into_iter()
            .chain([("volume", &columns.volume)])
        {
            if values.len() != rows {
                even = false;
                list.add(BarFault::Length {
                    column,
                    length: values.len(),
                    expected: rows,
                });
            }
        }
        if rows == 0 {
            list.add(BarFault::Empty);
        }
        if even {
            for row in 0..rows {
                if !row_is_sound(&columns, row, frequency) {
                    describe_row(&columns, row, frequency, &mut list);
                }
            }
        }
        if list.total > 0 {
            return Err(BarFaults {
                symbol,
                faults: list.faults,
                total: list.total,
            });
        }
        for volume in &mut columns.volume {
            // -0.0 + 0.0 is +0.0; every other number stays.
            *volume += 0.0;
        }
        let has_volume = columns.volume.iter().any(|&v| v > 0.0);
        Ok(Self {
            symbol,
            frequency,
            columns,
            has_volume,
        })
    }

    /// The symbol, such as `600519.SH`.
    #[must_use]
    pub fn symbol(&self) -> &str {
        &self.symbol
    }

    /// The spacing of the bars.
    #[must_use]
    pub const fn frequency(&self) -> Frequency {
        self.frequency
    }

    /// The number of bars, at least 1.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.columns.time.len()
    }

    /// Seconds since 1970-01-01T00:00 in exchange-local time, ascending.
    #[must_use]
    pub fn time(&self) -> &[i64] {
        &self.columns.time
    }

    /// Opening prices.
    #[must_use]
    pub fn open(&self) -> &[f64] {
        &self.columns.open
    }

    /// Highest prices.
    #[must_use]
    pub fn high(&self) -> &[f64] {
        &self.columns.high
    }

    /// Lowest prices.
    #[must_use]
    pub fn low(&self) -> &[f64] {
        &self.columns.low
    }

    /// Closing prices.
    #[must_use]
    pub fn close(&self) -> &[f64] {
        &self.columns.close
    }

    /// Volumes.
    #[must_use]
    pub fn volume(&self) -> &[f64] {
        &self.columns.volume
    }

    /// The time of the first bar.
    #[must_use]
    pub fn first_time(&self) -> i64 {
        self.columns.time[0]
    }

    /// The time of the last bar.
    #[must_use]
    pub fn last_time(&self) -> i64 {
        self.columns.time[self.rows() - 1]
    }

    /// Whether any bar has volume. An index may have none at all, and is then never suspended.
    #[must_use]
    pub const fn has_volume(&self) -> bool {
        self.has_volume
    }

    /// Whether the row is a suspended day: volume 0 in a series that has volume elsewhere.
    ///
    /// # Panics
    /// If `row` is not below [`Self::rows`].
    #[must_use]
    pub fn is_suspended(&self, row: usize) -> bool {
        self.has_volume && self.columns.volume[row] == 0.0
    }

    /// The days from `first` to `last`, both included, on which it trades: suspended ones are none.
    pub fn trading_days(
        &self,
        first: NaiveDate,
        last: NaiveDate,
    ) -> impl Iterator<Item = NaiveDate> {
        let rows = self.rows_between(midnight(first), midnight(last) + SECONDS_PER_DAY - 1);
        let trades = rows.filter(|&row| !self.is_suspended(row));
        trades.map(|row| {
            DateTime::from_timestamp(self.columns.time[row], 0)
                .expect("the days of a series are within the calendar")
                .date_naive()
        })
    }

    /// How many rows are suspended days.
    #[must_use]
    pub fn suspended_rows(&self) -> usize {
        if self.has_volume {
            self.columns.volume.iter().filter(|&&v| v == 0.0).count()
        } else {
            0
        }
    }

    /// The rows whose time is in `first..=last`, both in exchange-local seconds.
    #[must_use]
    pub fn rows_between(&self, first: i64, last: i64) -> Range<usize> {
        let start = self.columns.time.partition_point(|&t| t < first);
        let end = self.columns.time.partition_point(|&t| t <= last);
        start..end.max(start)
    }

    /// The part of the series within `rows`; `None` if that is empty or not inside.
    #[must_use]
    pub fn slice(&self, rows: Range<usize>) -> Option<Self> {
        if rows.is_empty() || rows.end > self.rows() {
            return None;
        }
        let c = &self.columns;
        let columns = Columns {
            time: c.time[rows.clone()].to_vec(),
            open: c.open[rows.clone()].to_vec(),
            high: c.high[rows.clone()].to_vec(),
            low: c.low[rows.clone()].to_vec(),
            close: c.close[rows.clone()].to_vec(),
            volume: c.volume[rows].to_vec(),
        };
        let has_volume = columns.volume.iter().any(|&v| v > 0.0);
        Some(Self {
            symbol: self.symbol.clone(),
            frequency: self.frequency,
            columns,
            has_volume,
        })
    }

    /// The series without its suspended days, or `None` if it has none (nothing to copy then).
    #[must_use]
    pub fn without_suspended_rows(&self) -> Option<Self> {
        if self.suspended_rows() == 0 {
            return None;
        }
        let kept: Vec<usize> = (0..self.rows())
            .filter(|&row| !self.is_suspended(row))
            .collect();
        let pick = |values: &[f64]| kept.iter().map(|&row| values[row]).collect();
        Some(Self {
            symbol: self.symbol.clone(),
            frequency: self.frequency,
            columns: Columns {
                time: kept.iter().map(|&row| self.columns.time[row]).collect(),
                open: pick(self.open()),
                high: pick(self.high()),
                low: pick(self.low()),
                close: pick(self.close()),
                volume: pick(self.volume()),
            },
            has_volume: true,
        })
    }

    /// Bytes that the series takes in memory, within a few dozen.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.rows() * ROW_BYTES + self.symbol.len() + std::mem::size_of::<Self>()
    }

    /// The stable byte form: the same series gives the same bytes on every machine, so that a hash
    /// of them names a snapshot.
    ///
    /// Little-endian. `TMBARS`, version `u8`, frequency `u8`, symbol length `u64`, rows `u64`,
    /// the symbol, then the columns time (`i64`), open, high, low, close, volume (`f64`), 48 bytes
    /// a row together.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let c = &self.columns;
        let mut bytes =
            Vec::with_capacity(HEADER_BYTES + self.symbol.len() + self.rows() * ROW_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.push(VERSION);
        bytes.push(self.frequency.code());
        bytes.extend_from_slice(&(self.symbol.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&(self.rows() as u64).to_le_bytes());
        bytes.extend_from_slice(self.symbol.as_bytes());
        for time in &c.time {
            bytes.extend_from_slice(&time.to_le_bytes());
        }
        for column in [&c.open, &c.high, &c.low, &c.close, &c.volume] {
            for value in column {
                bytes.extend_from_slice(&value.to_le_bytes());
            }
        }
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote and checks it like [`Self::new`].
    ///
    /// # Errors
    /// Whatever is not exactly that form; never a panic, and nothing is allocated beyond the size
    /// of `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BarBytesError> {
        let length = bytes.len();
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(BarBytesError::Short { length });
        };
        if header[..6] != MAGIC {
            return Err(BarBytesError::Magic);
        }
        if header[6] != VERSION {
            return Err(BarBytesError::Version { version: header[6] });
        }
        let frequency =
            Frequency::from_code(header[7]).ok_or(BarBytesError::Frequency { code: header[7] })?;
        let number = |at: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&header[at..at + 8]);
            u64::from_le_bytes(eight)
        };
        let (symbol_bytes, rows) = (number(8), number(16));
        let mismatch = BarBytesError::Length {
            length,
            symbol_bytes,
            rows,
        };
        let sizes_fit = rows
            .checked_mul(ROW_BYTES as u64)
            .and_then(|n| n.checked_add(symbol_bytes))
            .is_some_and(|n| n == rest.len() as u64);
        let Some((symbol, body)) = usize::try_from(symbol_bytes)
            .ok()
            .filter(|_| sizes_fit)
            .and_then(|n| rest.split_at_checked(n))
        else {
            return Err(mismatch);
        };
        let symbol = std::str::from_utf8(symbol).map_err(|_| BarBytesError::Symbol)?;
        let column_bytes = body.len() / 6;
        let mut parts = [&body[..0]; 6];
        for (i, part) in parts.iter_mut().enumerate() {
            *part = &body[i * column_bytes..(i + 1) * column_bytes];
        }
        let columns = Columns {
            time: eights(parts[0]).map(i64::from_le_bytes).collect(),
            open: floats(parts[1]),
            high: floats(parts[2]),
            low: floats(parts[3]),
            close: floats(parts[4]),
            volume: floats(parts[5]),
        };
        Ok(Self::new(symbol, frequency, columns)?)
    }
}

fn eights(bytes: &[u8]) -> impl Iterator<Item = [u8; 8]> + '_ {
    bytes.as_chunks::<8>().0.iter().copied()
}

fn floats(bytes: &[u8]) -> Vec<f64> {
    eights(bytes).map(f64::from_le_bytes).collect()
}

impl Columns {
    fn prices(&self) -> [(&'static str, &Vec<f64>); 4] {
        [
            ("open", &self.open),
            ("high", &self.high),
            ("low", &self.low),
            ("close", &self.close),
        ]
    }
}

/// The quick look that nearly every row passes: false for any fault, NaN included.
fn row_is_sound(c: &Columns, row: usize, frequency: Frequency) -> bool {
    let (open, high, low, close) = (c.open[row], c.high[row], c.low[row], c.close[row]);
    let time = c.time[row];
    low >= MIN_PRICE
        && high <= MAX_PRICE
        && open >= low
        && close >= low
        && open <= high
        && close <= high
        && (0.0..=MAX_VOLUME).contains(&c.volume[row])
        && TIME_RANGE.contains(&time)
        && (row == 0 || time > c.time[row - 1])
        && (frequency != Frequency::Daily || time % SECONDS_PER_DAY == 0)
}

fn describe_row(c: &Columns, row: usize, frequency: Frequency, list: &mut FaultList) {
    let seconds = c.time[row];
    let time = LocalTime(seconds);
    if !TIME_RANGE.contains(&seconds) {
        list.add(BarFault::TimeOutOfRange { row, seconds });
    } else if frequency == Frequency::Daily && seconds % SECONDS_PER_DAY != 0 {
        list.add(BarFault::NotMidnight { row, time });
    }
    if row > 0 {
        let previous = LocalTime(c.time[row - 1]);
        if time == previous {
            list.add(BarFault::Duplicate { row, time });
        } else if time < previous {
            list.add(BarFault::NotAscending {
                row,
                time,
                previous,
            });
        }
    }
    let mut prices_sound = true;
    for (column, values) in c.prices() {
        let value = values[row];
        let fault = if !value.is_finite() {
            BarFault::NotFinite { row, column, value }
        } else if value <= 0.0 {
            BarFault::NotPositive { row, column, value }
        } else if !(MIN_PRICE..=MAX_PRICE).contains(&value) {
            BarFault::PriceOutOfRange { row, column, value }
        } else {
            continue;
        };
        prices_sound = false;
        list.add(fault);
    }
    if prices_sound {
        let (open, close) = (c.open[row], c.close[row]);
        if c.high[row] < open.max(close) {
            list.add(BarFault::HighTooLow {
                row,
                high: c.high[row],
                bound: open.max(close),
            });
        }
        if c.low[row] > open.min(close) {
            list.add(BarFault::LowTooHigh {
                row,
                low: c.low[row],
                bound: open.min(close),
            });
        }
    }
    let volume = c.volume[row];
    if !volume.is_finite() {
        list.add(BarFault::NotFinite {
            row,
            column: "volume",
            value: volume,
        });
    } else if volume < 0.0 {
        list.add(BarFault::NegativeVolume { row, value: volume });
    } else if volume > MAX_VOLUME {
        list.add(BarFault::VolumeTooLarge { row, value: volume });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(rows: i64) -> Columns {
        let n = usize::try_from(rows).unwrap();
        Columns {
            time: (0..rows).map(|d| d * SECONDS_PER_DAY).collect(),
            open: vec![10.0; n],
            high: vec![11.0; n],
            low: vec![9.0; n],
            close: vec![10.5; n],
            volume: vec![100.0; n],
        }
    }

    fn faults_of(columns: Columns) -> Vec<BarFault> {
        BarSeries::new("A", Frequency::Daily, columns)
            .unwrap_err()
            .faults
    }

    #[test]
    fn every_fault_is_named_with_its_row_and_value() {
        let mut c = sound(12);
        c.time[1] = c.time[0];
        c.time[3] = -86_400;
        c.open[5] = f64::NAN;
        c.close[6] = 0.0;
        c.high[7] = 10.2;
        c.low[8] = 10.1;
        c.volume[9] = -1.0;
        c.low[10] = 1e-12;
        c.time[11] += 1;
        let faults = faults_of(c);
        let has = |wanted: &str| {
            assert!(
                faults.iter().any(|f| f.to_string().contains(wanted)),
                "{wanted:?} is missing in {faults:#?}"
            );
        };
        has("row 1: 1970-01-01 is there twice");
        has("row 3: 1969-12-31 does not come after 1970-01-03");
        has("row 5: open is NaN");
        has("row 6: close is 0; a price must be above 0");
        has("row 7: high 10.2 is below the larger of open and close, 10.5");
        has("row 8: low 10.1 is above the smaller of open and close, 10");
        has("row 9: volume is -1");
        has("row 10: low is 0.000000000001; prices must lie in");
        has("row 11: 1970-01-12 00:00:01 is not midnight");
        assert_eq!(faults.len(), 9);
    }

    #[test]
    fn a_thousand_faults_are_counted_and_a_hundred_are_listed() {
        let mut c = sound(1_000);
        c.volume.fill(-2.0);
        let refused = BarSeries::new("A", Frequency::Daily, c).unwrap_err();
        assert_eq!((refused.faults.len(), refused.total), (100, 1_000));
        assert!(refused.to_string().contains("1000 fault(s)"));
    }

    #[test]
    fn uneven_columns_empty_series_and_bad_symbols_are_refused() {
        let mut c = sound(3);
        c.high.pop();
        assert_eq!(
            faults_of(c),
            [BarFault::Length {
                column: "high",
                length: 2,
                expected: 3
            }]
        );
        assert_eq!(faults_of(Columns::default()), [BarFault::Empty]);
        for symbol in ["", "a b", "ж", &"x".repeat(65)] {
            assert!(
                BarSeries::new(symbol, Frequency::Daily, sound(1)).is_err(),
                "{symbol:?}"
            );
        }
    }

    #[test]
    fn bytes_round_trip_bit_for_bit_and_have_a_fixed_layout() {
        let mut c = sound(5);
        c.volume[2] = -0.0;
        let series = BarSeries::new("600519.SH", Frequency::Daily, c).unwrap();
        let bytes = series.to_bytes();
        assert_eq!(bytes.len(), 24 + 9 + 5 * 48);
        assert_eq!(&bytes[..8], b"TMBARS\x01\x00");
        assert_eq!(&bytes[24..33], b"600519.SH");
        assert_eq!(&bytes[33 + 5 * 8..33 + 6 * 8], &10.0f64.to_le_bytes());
        let again = BarSeries::from_bytes(&bytes).unwrap();
        assert_eq!(again, series);
        assert_eq!(again.to_bytes(), bytes);
        assert!(series.volume()[2].is_sign_positive());
    }

    #[test]
    fn malformed_bytes_are_refused_without_a_panic() {
        let bytes = BarSeries::new("AB", Frequency::Hour, sound(3))
            .unwrap()
            .to_bytes();
        for end in 0..bytes.len() {
            assert!(
                BarSeries::from_bytes(&bytes[..end]).is_err(),
                "cut at {end}"
            );
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(matches!(
            BarSeries::from_bytes(&longer),
            Err(BarBytesError::Length { .. })
        ));
        // Every single-byte change is refused or is another sound series; none panics.
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                if let Ok(read) = BarSeries::from_bytes(&changed) {
                    assert_eq!(read.to_bytes(), changed, "byte {at}");
                }
            }
        }
    }

    #[test]
    fn a_day_without_volume_is_suspended_unless_the_series_has_no_volume_at_all() {
        let mut c = sound(4);
        c.volume[1] = 0.0;
        let series = BarSeries::new("A", Frequency::Daily, c).unwrap();
        assert!(series.is_suspended(1) && !series.is_suspended(0));
        let traded = series.without_suspended_rows().unwrap();
        assert_eq!(traded.time(), [0, 2 * SECONDS_PER_DAY, 3 * SECONDS_PER_DAY]);
        let mut index = sound(4);
        index.volume.fill(0.0);
        let index = BarSeries::new("I", Frequency::Daily, index).unwrap();
        assert_eq!(index.suspended_rows(), 0);
        assert!(index.without_suspended_rows().is_none());
    }

    #[test]
    fn rows_between_takes_both_ends() {
        let series = BarSeries::new("A", Frequency::Daily, sound(5)).unwrap();
        assert_eq!(
            series.rows_between(SECONDS_PER_DAY, 3 * SECONDS_PER_DAY),
            1..4
        );
        assert_eq!(series.rows_between(9 * SECONDS_PER_DAY, 3), 5..5);
        assert_eq!(series.slice(1..4).unwrap().rows(), 3);
        assert!(series.slice(4..6).is_none());
    }
}
