//! What is to be said of the files of an import: findings with their rows, and the report of them.

use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// How many rows a finding lists; the rest is counted.
pub const MAX_LISTED_ROWS: usize = 20;

/// How many findings of one file are described; the rest is counted.
pub const MAX_FINDINGS: usize = 1_000;

/// The longest value that a finding repeats, in characters.
const MAX_VALUE_CHARS: usize = 60;

/// What a finding means for the import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The import is refused.
    Error,
    /// The bars are taken; a person should look at them.
    Warning,
    /// Something was converted or left out, as it should be.
    Note,
}

impl Severity {
    /// `error`, `warning`, `note`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// The kinds of findings, errors first. [`Code::advice`] says of each what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "name, severity and advice stand in the table below"
)]
pub enum Code {
    FileUnreadable,
    Encoding,
    TooLarge,
    Columns,
    Empty,
    FieldCount,
    MissingValue,
    UnreadableDate,
    UnreadableNumber,
    DateOutOfRange,
    DuplicateDate,
    PriceNotFinite,
    PriceNotPositive,
    PriceOutOfRange,
    HighTooLow,
    LowTooHigh,
    VolumeNotFinite,
    NegativeVolume,
    VolumeTooLarge,
    BadSymbol,
    ExchangeUnknown,
    MixedSymbols,
    MixedAdjustment,
    SymbolInTwoFiles,
    DuplicateAction,
    NotAnAction,
    DuplicateReport,
    NotAReport,
    ContradictingStatus,
    RecordTooLarge,
    Unsorted,
    Hole,
    MissingDates,
    UnadjustedGap,
    AdjustedPrices,
    ExchangeDerived,
    NewestFirst,
    VolumeInLots,
    AdjustedColumnNotUsed,
    SuspendedDays,
}

impl Code {
    const fn facts(self) -> (&'static str, Severity, &'static str) {
        use Severity::{Error, Note, Warning};
        const CORRECT: &str = "correct the rows or leave them out";
        match self {
            Self::FileUnreadable => ("file_unreadable", Error, "check the path and the file"),
            Self::Encoding => ("encoding", Error, "save the file as CSV in UTF-8"),
            Self::TooLarge => ("too_large", Error, "split the file"),
            Self::Columns => (
                "columns",
                Error,
                "name the columns as one of the known sources does",
            ),
            Self::Empty => ("empty", Error, "leave the file out"),
            Self::FieldCount => ("field_count", Error, CORRECT),
            Self::MissingValue => ("missing_value", Error, CORRECT),
            Self::UnreadableDate => ("unreadable_date", Error, CORRECT),
            Self::UnreadableNumber => ("unreadable_number", Error, CORRECT),
            Self::DateOutOfRange => (
                "date_out_of_range",
                Error,
                "write dates, or timestamps in their right unit",
            ),
            Self::DuplicateDate => (
                "duplicate_date",
                Error,
                "keep one row for each symbol and time",
            ),
            Self::PriceNotFinite => ("price_not_finite", Error, CORRECT),
            Self::PriceNotPositive => (
                "price_not_positive",
                Error,
                "take prices that are not adjusted backwards, or correct the rows",
            ),
            Self::PriceOutOfRange => ("price_out_of_range", Error, CORRECT),
            Self::HighTooLow => ("high_too_low", Error, CORRECT),
            Self::LowTooHigh => ("low_too_high", Error, CORRECT),
            Self::VolumeNotFinite => ("volume_not_finite", Error, CORRECT),
            Self::NegativeVolume => ("negative_volume", Error, CORRECT),
            Self::VolumeTooLarge => ("volume_too_large", Error, CORRECT),
            Self::BadSymbol => (
                "bad_symbol",
                Error,
                "name the symbol by column, by file name or with --symbol",
            ),
            Self::ExchangeUnknown => (
                "exchange_unknown",
                Error,
                "write the code with its leading zeros and its exchange, or give --symbol \
                 CODE.EXCHANGE such as 600000.SH",
            ),
            Self::MixedSymbols => (
                "mixed_symbols",
                Error,
                "leave --symbol out, or keep the rows of that symbol only",
            ),
            Self::MixedAdjustment => (
                "mixed_adjustment",
                Error,
                "take all rows of a symbol with one adjustment, best none (adjustflag 3)",
            ),
            Self::SymbolInTwoFiles => ("symbol_in_two_files", Error, "keep one of the files"),
            Self::DuplicateAction => (
                "duplicate_action",
                Error,
                "keep one row for each action of a symbol",
            ),
            Self::NotAnAction => ("not_an_action", Error, CORRECT),
            Self::DuplicateReport => (
                "duplicate_report",
                Error,
                "keep one row for each day of a symbol",
            ),
            Self::NotAReport => ("not_a_report", Error, CORRECT),
            Self::ContradictingStatus => ("contradicting_status", Error, CORRECT),
            Self::RecordTooLarge => ("record_too_large", Error, "leave the oldest rows out"),
            Self::Unsorted => ("unsorted", Warning, "the rows were sorted by time"),
            Self::Hole => (
                "hole",
                Warning,
                "check that the symbol was suspended for so long",
            ),
            Self::MissingDates => (
                "missing_dates",
                Warning,
                "check that the symbol was suspended while most others traded",
            ),
            Self::UnadjustedGap => (
                "unadjusted_gap",
                Warning,
                "a split or dividend that the prices leave in: a backtest sees it as a gain or loss, \
                 unless a table of actions tells it",
            ),
            Self::AdjustedPrices => (
                "adjusted_prices",
                Warning,
                "take prices as traded (adjustflag=3, auto_adjust=False): adjusted ones change with \
                 every later dividend",
            ),
            Self::ExchangeDerived => (
                "exchange_derived",
                Warning,
                "the exchange was derived from a stock code; for an index or fund give --symbol",
            ),
            Self::NewestFirst => ("newest_first", Note, "the rows were turned round"),
            Self::VolumeInLots => ("volume_in_lots", Note, "volumes were converted to shares"),
            Self::AdjustedColumnNotUsed => (
                "adjusted_column_not_used",
                Note,
                "the unadjusted prices were taken",
            ),
            Self::SuspendedDays => (
                "suspended_days",
                Note,
                "bars without volume are kept and never traded on",
            ),
        }
    }

    /// The name in reports, such as `duplicate_date`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.facts().0
    }

    /// Whether it refuses the import.
    #[must_use]
    pub const fn severity(self) -> Severity {
        self.facts().1
    }

    /// What to do about it, or what was done.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        self.facts().2
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// One kind of finding on one symbol or column of a file, with all its rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What was found.
    pub code: Code,
    /// What it means for the import.
    pub severity: Severity,
    /// The symbol, where it belongs to one.
    pub symbol: Option<String>,
    /// The column, by the name of the file where it could not be read.
    pub column: Option<String>,
    /// The first [`MAX_LISTED_ROWS`] rows. Rows are lines of a CSV file (its header is row 1), or
    /// rows of a Parquet file counted from 1. Of a hole, the row after it.
    pub rows: Vec<u64>,
    /// How often it was found.
    pub count: u64,
    /// What stands in the first row, or the text of a fault of the whole file.
    pub value: Option<String>,
    /// The rule that it breaks.
    pub limit: Option<String>,
    /// What to do about it, or what was done.
    pub advice: &'static str,
}

impl fmt::Display for Finding {
    /// `error high_too_low: 600000.SH: rows 3, 7: 9.5 (limit: ...); correct the rows ...`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.severity.name(), self.code.name())?;
        if let Some(symbol) = &self.symbol {
            write!(f, ": {symbol}")?;
        }
        if let [first, rest @ ..] = self.rows.as_slice() {
            let plural = if rest.is_empty() { "" } else { "s" };
            write!(f, ": row{plural} {first}")?;
            for row in rest {
                write!(f, ", {row}")?;
            }
            let listed = u64::try_from(self.rows.len()).unwrap_or(u64::MAX);
            if self.count > listed {
                write!(f, " and {} more", self.count - listed)?;
            }
        }
        if let Some(column) = &self.column {
            write!(f, ": {column}")?;
        }
        if let Some(value) = &self.value {
            write!(f, ": {value}")?;
        }
        if let Some(limit) = &self.limit {
            write!(f, " ({limit})")?;
        }
        write!(f, "; {}", self.advice)
    }
}

/// What a finding is about; [`Findings`] joins rows of the same subject.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub code: Code,
    pub symbol: Option<&'a str>,
    pub column: Option<&'a str>,
    pub limit: Option<&'a str>,
}

impl<'a> Subject<'a> {
    pub const fn new(code: Code) -> Self {
        Self {
            code,
            symbol: None,
            column: None,
            limit: None,
        }
    }

    pub const fn symbol(mut self, symbol: &'a str) -> Self {
        self.symbol = Some(symbol);
        self
    }

    pub const fn column(mut self, column: &'a str) -> Self {
        self.column = Some(column);
        self
    }

    pub const fn limit(mut self, limit: &'a str) -> Self {
        self.limit = Some(limit);
        self
    }
}

type Key = (Code, Option<String>, Option<String>);

/// The findings of one file while they are gathered: errors first, each with its first rows.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    by_subject: BTreeMap<Key, Finding>,
    unlisted: u64,
    errors: u64,
}

impl Findings {
    /// Adds one row, or a fact of the whole file.
    pub fn add(&mut self, subject: Subject<'_>, row: Option<u64>, value: &str) {
        let Subject { code, .. } = subject;
        if code.severity() == Severity::Error {
            self.errors += 1;
        }
        let owned = |text: Option<&str>| text.map(|text| shortened(text.trim()));
        let key = (code, owned(subject.symbol), owned(subject.column));
        let full = self.by_subject.len() >= MAX_FINDINGS;
        if full && !self.by_subject.contains_key(&key) {
            self.unlisted += 1;
            return;
        }
        let value = (!value.is_empty()).then(|| value.to_owned());
        let finding = self
            .by_subject
            .entry(key)
            .or_insert_with_key(|key| Finding {
                code,
                severity: code.severity(),
                symbol: key.1.clone(),
                column: key.2.clone(),
                rows: Vec::new(),
                count: 0,
                value: value.clone(),
                limit: subject.limit.map(str::to_owned),
                advice: code.advice(),
            });
        finding.count += 1;
        let Some(row) = row else { return };
        // Bars are judged in the order of time, the list is in that of the file.
        let place = finding.rows.partition_point(|listed| *listed < row);
        if place < MAX_LISTED_ROWS {
            finding.rows.insert(place, row);
            finding.rows.truncate(MAX_LISTED_ROWS);
        }
        if place == 0 {
            finding.value = value;
            finding.limit = subject.limit.map(str::to_owned);
        }
    }

    /// Whether there is a finding of that kind on a symbol.
    pub fn has(&self, code: Code, symbol: &str) -> bool {
        let symbol = shortened(symbol);
        let of = |(of, on, _): &Key| *of == code && on.as_deref() == Some(symbol.as_str());
        self.by_subject.keys().any(of)
    }

    /// Whether the file is refused.
    pub const fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// The findings, errors first, how many errors there are, and how many findings of any kind
    /// had no place in the list.
    pub fn finish(self) -> (Vec<Finding>, u64, u64) {
        let list = self.by_subject.into_values().collect();
        (list, self.errors, self.unlisted)
    }
}

/// The text, cut so that a report cannot be flooded by a cell.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(MAX_VALUE_CHARS).collect()
}

/// What was found in one file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileReport {
    /// The file.
    pub source: String,
    /// Whose column names it has: `trialmill`, `akshare`, `tushare`, `baostock`, `yfinance`; or which
    /// table beside bars it is: `actions`, `statuses`, `factors`; `None` when it could not be read so
    /// far.
    pub dialect: Option<&'static str>,
    /// Sound series in it, or symbols of a table; 0 when it is refused.
    pub symbols: usize,
    /// Rows in it; 0 when it is refused.
    pub rows: u64,
    /// The first day of any series, or the first ex-date.
    pub first_date: Option<String>,
    /// The last day of any series, or the last ex-date.
    pub last_date: Option<String>,
    /// Columns of the file that are not read.
    pub ignored_columns: Vec<String>,
    /// Errors, then warnings, then notes.
    pub findings: Vec<Finding>,
    /// Errors, counted by row.
    pub errors: u64,
    /// Findings beyond [`MAX_FINDINGS`], which are not described.
    pub unlisted: u64,
}

impl FileReport {
    pub(crate) fn insert(&mut self, found: Findings) {
        let (findings, errors, unlisted) = found.finish();
        self.findings.extend(findings);
        self.findings
            .sort_by(|a, b| (a.code, &a.symbol).cmp(&(b.code, &b.symbol)));
        self.errors += errors;
        self.unlisted += unlisted;
    }
}

/// What was found in all files of an import.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ImportReport {
    /// The files, in the order given.
    pub files: Vec<FileReport>,
}

impl ImportReport {
    /// Whether all files may be imported; one error refuses all of them.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.files.iter().all(|file| file.errors == 0)
    }
}
