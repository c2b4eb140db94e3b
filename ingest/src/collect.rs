//! Gathers the rows of a file by symbol and turns them into series.

use crate::{FileFault, Import, ImportError, MAX_LISTED_FAULTS, MAX_SYMBOLS};
use std::collections::HashMap;
use std::path::Path;
use trialmill_backtest::bars::{BarSeries, Columns, Frequency};

/// The rows of one symbol so far.
struct Rows {
    symbol: String,
    columns: Columns,
    /// For each row, its row in the file.
    file_rows: Vec<u64>,
}

/// Rows by symbol, and faults.
pub struct Collector<'a> {
    path: &'a Path,
    max_rows: u64,
    rows: u64,
    by_symbol: HashMap<Vec<u8>, usize>,
    series: Vec<Rows>,
    /// The series of the latest row: files hold long runs of one symbol.
    latest: Option<usize>,
    faults: Vec<FileFault>,
    total_faults: usize,
}

impl<'a> Collector<'a> {
    pub fn new(path: &'a Path, max_rows: u64) -> Self {
        Self {
            path,
            max_rows,
            rows: 0,
            by_symbol: HashMap::new(),
            series: Vec::new(),
            latest: None,
            faults: Vec::new(),
            total_faults: 0,
        }
    }

    /// Counts a row of the file, sound or not.
    pub fn count_row(&mut self) -> Result<(), ImportError> {
        self.rows += 1;
        if self.rows > self.max_rows {
            Err(self.too_large("rows", self.max_rows))
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

    pub fn fault(&mut self, fault: FileFault) {
        self.total_faults += 1;
        if self.faults.len() < MAX_LISTED_FAULTS {
            self.faults.push(fault);
        }
    }

    /// A row of which `column` cannot be read.
    pub fn bad_cell(&mut self, row: u64, column: &'static str, text: &[u8], wanted: &'static str) {
        let text: String = String::from_utf8_lossy(text)
            .trim()
            .chars()
            .take(40)
            .collect();
        self.fault(if text.is_empty() {
            FileFault::Missing { row, column }
        } else {
            FileFault::Cell {
                row,
                column,
                text,
                wanted,
            }
        });
    }

    /// Adds a row; `bar` is open, high, low, close, volume.
    pub fn add(
        &mut self,
        row: u64,
        symbol: &[u8],
        time: i64,
        bar: [f64; 5],
    ) -> Result<(), ImportError> {
        let number = match self.latest {
            Some(number) if self.series[number].symbol.as_bytes() == symbol => number,
            _ => self.number_of(symbol)?,
        };
        self.latest = Some(number);
        let rows = &mut self.series[number];
        let columns = &mut rows.columns;
        columns.time.push(time);
        columns.open.push(bar[0]);
        columns.high.push(bar[1]);
        columns.low.push(bar[2]);
        columns.close.push(bar[3]);
        columns.volume.push(bar[4]);
        rows.file_rows.push(row);
        Ok(())
    }

    fn number_of(&mut self, symbol: &[u8]) -> Result<usize, ImportError> {
        if let Some(&number) = self.by_symbol.get(symbol) {
            return Ok(number);
        }
        let number = self.series.len();
        if number == MAX_SYMBOLS {
            return Err(self.too_large("symbols", MAX_SYMBOLS as u64));
        }
        self.by_symbol.insert(symbol.to_owned(), number);
        self.series.push(Rows {
            symbol: String::from_utf8_lossy(symbol).into_owned(),
            columns: Columns::default(),
            file_rows: Vec::new(),
        });
        Ok(number)
    }

    /// All series, by symbol, if every row of the file was sound.
    pub fn finish(mut self, ignored_columns: Vec<String>) -> Result<Import, ImportError> {
        if self.rows == 0 {
            return Err(ImportError::Empty {
                path: self.path.to_owned(),
            });
        }
        let mut collected = std::mem::take(&mut self.series);
        collected.sort_by(|a, b| a.symbol.cmp(&b.symbol));
        let mut series = Vec::with_capacity(collected.len());
        for Rows {
            symbol,
            columns,
            file_rows,
        } in collected
        {
            let frequency = frequency_of(&columns.time);
            match BarSeries::new(symbol, frequency, columns) {
                Ok(one) => series.push(one),
                Err(refused) => {
                    let listed = refused.faults.len();
                    for fault in refused.faults {
                        let row = fault.row().map(|row| file_rows[row]);
                        let fault = match row.and_then(|row| usize::try_from(row).ok()) {
                            Some(row) => fault.at_row(row),
                            None => fault,
                        };
                        self.fault(FileFault::Bar {
                            symbol: refused.symbol.clone(),
                            fault,
                        });
                    }
                    self.total_faults += refused.total - listed;
                }
            }
        }
        if self.total_faults > 0 {
            return Err(ImportError::Faults {
                path: self.path.to_owned(),
                faults: self.faults,
                total: self.total_faults,
            });
        }
        Ok(Import {
            series,
            rows: self.rows,
            ignored_columns,
        })
    }
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
