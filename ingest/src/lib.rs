//! Reads market data files (CSV, gzipped CSV, Parquet) into checked bar series.
//!
//! A file has the columns `date, open, high, low, close, volume` and, unless it holds one series
//! only, `symbol`; or those of akshare, tushare, baostock or yfinance, which are recognised by their
//! names. Names are read without regard to case, other columns are ignored and named in the result.
//! Volumes become shares and symbols `600000.SH`, whatever the source writes. Either every row is
//! sound and all series are given, or nothing is given but the list of what is wrong, with the rows
//! of the file: [`read_files`] does this for all files of an import together.
//!
//! Tables beside bars (CSV only) are told by their columns as well: corporate actions
//! (`symbol, ex_date, cash_per_share, bonus_per_share`), statuses (`symbol, listed, delisted, st_from,
//! st_to`) and adjustment factors (`date, price_factor, split_factor, reference_price`, also without
//! names), from which actions follow.
//!
//! Limits: `date` may be a date, a date and time, or a timestamp and is always read as
//! exchange-local wall time, so that an offset (`+08:00`, `Z`) is dropped and a Parquet timestamp
//! is taken as stored. CSV is separated by commas, in UTF-8 or with its names in GBK; a quoted field
//! may not hold a line break. Parquet columns are flat; decimals are read when stored as 32 or 64
//! bits, numbers written as text are not. Whether akshare and tushare were asked for adjusted prices
//! cannot be seen in their files.

mod batch;
mod collect;
mod continuity;
mod date;
mod dialect;
mod parquet_file;
mod report;
mod symbol;
mod table;
mod text_file;

pub use batch::{Imported, read_files};
pub use continuity::{GENERAL_GAP, MAX_DAYS_BETWEEN_BARS};
pub use report::{
    Code, FileReport, Finding, ImportReport, MAX_FINDINGS, MAX_LISTED_ROWS, Severity,
};
pub use table::MAX_TABLE_ROWS;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use thiserror::Error;
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::market::RecordChange;

/// The most rows read from one file: their series take 2.4 GB of memory, and half as much again
/// while they are read.
pub const MAX_ROWS: u64 = 50_000_000;

/// The most bytes a file may unpack to: [`MAX_ROWS`] lines of CSV at 170 bytes each fit; a
/// compression bomb ends here, if not at its first line or page.
pub const MAX_UNPACKED_BYTES: u64 = 8 << 30;

/// The most different symbols in one file.
pub const MAX_SYMBOLS: usize = 100_000;

/// The longest line of a CSV file, in bytes.
pub const MAX_LINE_BYTES: usize = 64 << 10;

/// The most bytes of a file as it is stored: what it may unpack to, as CSV need not be packed.
pub const MAX_FILE_BYTES: u64 = MAX_UNPACKED_BYTES;

/// The most columns of a file.
pub const MAX_COLUMNS: usize = 4_096;

/// What a file gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// One series for each symbol, by symbol; none if the file is a table beside bars.
    pub series: Vec<BarSeries>,
    /// What a table says of each symbol, by symbol; nothing if the file holds bars.
    pub records: Vec<RecordChange>,
    /// Rows read, over all series.
    pub rows: u64,
    /// Whose column names the file has: `trialmill` or a source; of a table, which it is.
    pub dialect: &'static str,
    /// Columns of the file that are not part of a bar.
    pub ignored_columns: Vec<String>,
    /// Warnings, then notes; a file with errors gives no import.
    pub findings: Vec<Finding>,
    /// Findings beyond [`MAX_FINDINGS`].
    pub unlisted: u64,
    /// Of each series, the rows of the file.
    pub(crate) file_rows: Vec<collect::FileRows>,
}

/// How to read a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// The symbol of a file without a column for it, and the only one that a file with one may
    /// hold; `None` takes it from the file name, and any from the column.
    pub symbol: Option<String>,
    /// At most this many rows; [`MAX_ROWS`].
    pub max_rows: u64,
    /// At most this many bytes after unpacking; [`MAX_UNPACKED_BYTES`].
    pub max_unpacked_bytes: u64,
    /// At most this many bytes as stored; [`MAX_FILE_BYTES`].
    pub max_file_bytes: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            symbol: None,
            max_rows: MAX_ROWS,
            max_unpacked_bytes: MAX_UNPACKED_BYTES,
            max_file_bytes: MAX_FILE_BYTES,
        }
    }
}

/// Why nothing was read.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The file cannot be opened or read.
    #[error("{}: cannot be read: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not sound Parquet, or uses something that is not read.
    #[error("{}: not a Parquet file that can be read: {source}", .path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Why.
        source: parquet::errors::ParquetError,
    },
    /// Columns are missing.
    #[error(
        "{}: column(s) {} are missing; found {}; a file needs date, open, high, low, close, volume, \
         the columns of akshare, tushare, baostock or yfinance, or those of a table \
         (docs/market-data.md)",
        .path.display(), .missing.join(", "), listed(.found)
    )]
    Columns {
        /// The file.
        path: PathBuf,
        /// What is missing.
        missing: Vec<&'static str>,
        /// What the file has.
        found: Vec<String>,
    },
    /// A column is there twice.
    #[error("{}: column {column} is there twice", .path.display())]
    DuplicateColumn {
        /// The file.
        path: PathBuf,
        /// Its name.
        column: &'static str,
    },
    /// A Parquet column has a type that is not read as what it should be.
    #[error("{}: column {column} has type {found}, which is not {wanted}", .path.display())]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// Its name.
        column: &'static str,
        /// The type of the file.
        found: String,
        /// What was expected.
        wanted: &'static str,
    },
    /// The file is no text in UTF-8 or GBK.
    #[error("{}: it is {found}, not CSV; save it as CSV in UTF-8", .path.display())]
    Encoding {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// There is a header and no row.
    #[error("{}: there are no rows", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A bound was passed.
    #[error("{}: more than {limit} {what}; split the file", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// `rows`, `rows in all files`, `rows in a table`, `bytes`, `bytes after unpacking`, `bytes in a line`,
        /// `columns`, `symbols`.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
    /// Rows are wrong; nothing is imported.
    #[error(
        "{}: {errors} fault(s), nothing was imported; first: {}", .path.display(), .findings[0]
    )]
    Faults {
        /// The file.
        path: PathBuf,
        /// Whose column names it has.
        dialect: &'static str,
        /// At most [`MAX_FINDINGS`]: errors, then warnings, then notes.
        findings: Vec<Finding>,
        /// Errors, counted by row.
        errors: u64,
        /// Findings that have no place in the list.
        unlisted: u64,
    },
}

impl ImportError {
    /// What kind of finding it is; of faults in rows, the first one.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Read { .. } | Self::Parquet { .. } => Code::FileUnreadable,
            Self::Columns { .. } | Self::DuplicateColumn { .. } | Self::ColumnType { .. } => {
                Code::Columns
            }
            Self::Encoding { .. } => Code::Encoding,
            Self::Empty { .. } => Code::Empty,
            Self::TooLarge { .. } => Code::TooLarge,
            Self::Faults { findings, .. } => findings[0].code,
        }
    }

    /// The text without the path, for a report that names it already.
    fn reason(&self) -> String {
        let path = match self {
            Self::Read { path, .. }
            | Self::Parquet { path, .. }
            | Self::Columns { path, .. }
            | Self::DuplicateColumn { path, .. }
            | Self::ColumnType { path, .. }
            | Self::Encoding { path, .. }
            | Self::Empty { path }
            | Self::TooLarge { path, .. }
            | Self::Faults { path, .. } => path,
        };
        let text = self.to_string();
        let start = format!("{}: ", path.display());
        text.strip_prefix(&start)
            .map_or(text.clone(), str::to_owned)
    }
}

/// Names of columns, cut where they would flood a message.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let shown: Vec<String> = names
        .iter()
        .take(SHOWN)
        .map(|name| report::shortened(name))
        .collect();
    let more = names.len().saturating_sub(SHOWN);
    match more {
        0 => shown.join(", "),
        _ => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Reads a file; the symbol of a file without a `symbol` column is the file name without its
/// endings: `600519.SH.csv.gz` holds `600519.SH`.
///
/// The format is told by the first bytes (Parquet, gzip), otherwise it is CSV. A series whose times
/// are all midnight is daily, else one whose times are all full hours is hourly, else it is by the
/// minute.
///
/// # Errors
/// Whatever keeps the file from being read whole.
pub fn read_file(path: &Path) -> Result<Import, ImportError> {
    read_file_with(path, &ReadOptions::default())
}

/// [`read_file`] with a symbol or other bounds.
///
/// # Errors
/// Whatever keeps the file from being read whole.
pub fn read_file_with(path: &Path, options: &ReadOptions) -> Result<Import, ImportError> {
    let failed = |source| ImportError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() > options.max_file_bytes {
        return Err(ImportError::TooLarge {
            path: path.to_owned(),
            what: "bytes",
            limit: options.max_file_bytes,
        });
    }
    let mut file = BufReader::with_capacity(1 << 18, file);
    let start = file.fill_buf().map_err(failed)?;
    if start.starts_with(b"PAR1") {
        drop(file);
        parquet_file::read(path, File::open(path).map_err(failed)?, options)
    } else if start.starts_with(&[0x1f, 0x8b]) {
        let unpacked = BufReader::with_capacity(1 << 18, MultiGzDecoder::new(file));
        text_file::read(path, unpacked, options)
    } else {
        text_file::read(path, file, options)
    }
}

/// The symbol of a file without a `symbol` column.
fn symbol_of(path: &Path, options: &ReadOptions) -> String {
    if let Some(symbol) = &options.symbol {
        return symbol.clone();
    }
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut stem = name.as_str();
    for ending in [".gz", ".csv", ".txt", ".parquet", ".pq"] {
        if let Some(at) = stem.len().checked_sub(ending.len())
            && stem.is_char_boundary(at)
            && stem[at..].eq_ignore_ascii_case(ending)
        {
            stem = &stem[..at];
        }
    }
    stem.to_owned()
}
