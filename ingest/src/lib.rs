//! Reads market data files (CSV, gzipped CSV, Parquet) into checked bar series.
//!
//! A file has the columns `date, open, high, low, close, volume` and, unless it holds one series
//! only, `symbol`; names are read without regard to case, other columns are ignored and named in
//! the result. Either every row is sound and all series are given, or nothing is given but the list
//! of what is wrong, with the rows of the file.
//!
//! Limits: `date` may be a date, a date and time, or a timestamp and is always read as
//! exchange-local wall time, so that an offset (`+08:00`, `Z`) is dropped and a Parquet timestamp
//! is taken as stored. CSV is separated by commas; a quoted field may not hold a line break. Parquet
//! columns are flat; decimals are read when stored as 32 or 64 bits.

mod collect;
mod date;
mod parquet_file;
mod text_file;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use thiserror::Error;
use trialmill_backtest::bars::{BarFault, BarSeries};

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

/// How many faults are described in full; the rest is counted.
pub const MAX_LISTED_FAULTS: usize = 100;

/// What a file gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// One series for each symbol, by symbol.
    pub series: Vec<BarSeries>,
    /// Rows read, over all series.
    pub rows: u64,
    /// Columns of the file that are not part of a bar.
    pub ignored_columns: Vec<String>,
}

/// How to read a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// The symbol of a file without a `symbol` column; `None` takes it from the file name.
    pub symbol: Option<String>,
    /// At most this many rows; [`MAX_ROWS`].
    pub max_rows: u64,
    /// At most this many bytes after unpacking; [`MAX_UNPACKED_BYTES`].
    pub max_unpacked_bytes: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            symbol: None,
            max_rows: MAX_ROWS,
            max_unpacked_bytes: MAX_UNPACKED_BYTES,
        }
    }
}

/// A fault of a file. Rows are lines of a CSV file (its header is line 1), or rows of a Parquet
/// file counted from 1.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum FileFault {
    /// The bars of a symbol break a rule.
    #[error("{symbol}: {fault}")]
    Bar {
        /// The symbol.
        symbol: String,
        /// The fault; its row is that of the file.
        fault: BarFault,
    },
    /// A cell cannot be read.
    #[error("row {row}: {column} is {text:?}, which is not {wanted}")]
    Cell {
        /// Row of the file.
        row: u64,
        /// The column.
        column: &'static str,
        /// The cell, shortened to 40 characters.
        text: String,
        /// What was expected.
        wanted: &'static str,
    },
    /// A cell is empty or null.
    #[error("row {row}: {column} is missing")]
    Missing {
        /// Row of the file.
        row: u64,
        /// The column.
        column: &'static str,
    },
    /// A line has another number of fields than the header.
    #[error("row {row}: {found} field(s) where the header has {wanted}")]
    Fields {
        /// Row of the file.
        row: u64,
        /// Fields found.
        found: usize,
        /// Fields of the header.
        wanted: usize,
    },
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
        "{}: column(s) {} are missing; found {}; a file needs date, open, high, low, close, volume",
        .path.display(), .missing.join(", "), .found.join(", ")
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
    /// A symbol was given for a file that names its own.
    #[error("{}: the file has a symbol column; leave the symbol {symbol} out", .path.display())]
    SymbolGiven {
        /// The file.
        path: PathBuf,
        /// The symbol given.
        symbol: String,
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
        /// `rows`, `bytes after unpacking`, `bytes in a line`, `symbols`.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
    /// Rows are wrong; nothing is imported.
    #[error(
        "{}: {total} fault(s), nothing was imported; first: {}", .path.display(), .faults[0]
    )]
    Faults {
        /// The file.
        path: PathBuf,
        /// At most [`MAX_LISTED_FAULTS`]: unreadable cells first, then bars by symbol and row.
        faults: Vec<FileFault>,
        /// How many there are.
        total: usize,
    },
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
    let mut file = BufReader::with_capacity(1 << 18, File::open(path).map_err(failed)?);
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

/// The columns of a bar, in the order in which their positions are kept.
const COLUMNS: [&str; 7] = ["symbol", "date", "open", "high", "low", "close", "volume"];

/// Where the columns of a bar are in a file.
struct Layout {
    symbol: Option<usize>,
    /// Positions of date, open, high, low, close, volume.
    positions: [usize; 6],
    ignored: Vec<String>,
}

impl Layout {
    fn find(path: &Path, names: &[String]) -> Result<Self, ImportError> {
        let mut positions = [None; 7];
        let mut ignored = Vec::new();
        for (position, name) in names.iter().enumerate() {
            let lower = name.trim().to_ascii_lowercase();
            match COLUMNS.iter().position(|column| *column == lower) {
                None => ignored.push(name.clone()),
                Some(column) if positions[column].is_none() => positions[column] = Some(position),
                Some(column) => {
                    return Err(ImportError::DuplicateColumn {
                        path: path.to_owned(),
                        column: COLUMNS[column],
                    });
                }
            }
        }
        let [symbol, rest @ ..] = positions;
        let missing: Vec<_> = COLUMNS[1..]
            .iter()
            .zip(&rest)
            .filter(|(_, position)| position.is_none())
            .map(|(column, _)| *column)
            .collect();
        if !missing.is_empty() {
            let found = names.to_vec();
            return Err(ImportError::Columns {
                path: path.to_owned(),
                missing,
                found,
            });
        }
        let positions = rest.map(|position| position.expect("no column is missing"));
        Ok(Self {
            symbol,
            positions,
            ignored,
        })
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
