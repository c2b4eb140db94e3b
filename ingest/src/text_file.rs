//! CSV, line by line: memory is bounded by the longest line allowed, whatever a file unpacks to.

use crate::collect::Collector;
use crate::{COLUMNS, FileFault, Import, ImportError, Layout, MAX_LINE_BYTES, ReadOptions};
use crate::{date, symbol_of};
use std::io::{BufRead, Read};
use std::path::Path;

pub fn read(
    path: &Path,
    input: impl BufRead,
    options: &ReadOptions,
) -> Result<Import, ImportError> {
    let mut lines = Lines {
        path,
        input,
        line: Vec::new(),
        number: 0,
        bytes: 0,
        options,
    };
    let mut fields = Fields::default();
    if lines.next()?.is_none() {
        return Err(ImportError::Empty {
            path: path.to_owned(),
        });
    }
    fields.split(
        lines
            .line
            .strip_prefix(b"\xef\xbb\xbf")
            .unwrap_or(&lines.line),
    );
    let names: Vec<String> = (0..fields.len())
        .map(|i| String::from_utf8_lossy(fields.get(i)).into_owned())
        .collect();
    let layout = Layout::find(path, &names)?;
    let own_symbol = symbol_of(path, options);
    if let (Some(_), Some(symbol)) = (layout.symbol, &options.symbol) {
        let symbol = symbol.clone();
        return Err(ImportError::SymbolGiven {
            path: path.to_owned(),
            symbol,
        });
    }

    let mut collector = Collector::new(path, options.max_rows);
    while let Some(row) = lines.next()? {
        if lines.line.is_empty() {
            continue;
        }
        collector.count_row()?;
        fields.split(&lines.line);
        if fields.len() != names.len() {
            let (found, wanted) = (fields.len(), names.len());
            collector.fault(FileFault::Fields { row, found, wanted });
            continue;
        }
        let symbol = layout
            .symbol
            .map_or(own_symbol.as_bytes(), |at| fields.get(at).trim_ascii());
        let mut sound = true;
        if symbol.is_empty() {
            collector.bad_cell(row, "symbol", symbol, "a symbol");
            sound = false;
        }
        let date_text = fields.get(layout.positions[0]);
        let time = date::parse(date_text).unwrap_or_else(|| {
            collector.bad_cell(row, "date", date_text, "a date such as 2020-01-31");
            sound = false;
            0
        });
        let mut bar = [0.0; 5];
        for (i, value) in bar.iter_mut().enumerate() {
            let text = fields.get(layout.positions[i + 1]);
            match std::str::from_utf8(text)
                .ok()
                .and_then(|text| text.trim().parse().ok())
            {
                Some(number) => *value = number,
                None => {
                    collector.bad_cell(row, COLUMNS[i + 2], text, "a number");
                    sound = false;
                }
            }
        }
        if sound {
            collector.add(row, symbol, time, bar)?;
        }
    }
    collector.finish(layout.ignored)
}

/// The lines of a file without their ends, within the bounds.
struct Lines<'a, R> {
    path: &'a Path,
    input: R,
    line: Vec<u8>,
    number: u64,
    bytes: u64,
    options: &'a ReadOptions,
}

impl<R: BufRead> Lines<'_, R> {
    /// Reads the next line into `line` and gives its number, counted from 1.
    fn next(&mut self) -> Result<Option<u64>, ImportError> {
        self.line.clear();
        let limit = MAX_LINE_BYTES as u64;
        let length = (&mut self.input)
            .take(limit + 1)
            .read_until(b'\n', &mut self.line)
            .map_err(|source| ImportError::Read {
                path: self.path.to_owned(),
                source,
            })?;
        if length == 0 {
            return Ok(None);
        }
        let too_large = |what, limit| {
            Err(ImportError::TooLarge {
                path: self.path.to_owned(),
                what,
                limit,
            })
        };
        if length > MAX_LINE_BYTES {
            return too_large("bytes in a line", limit);
        }
        self.bytes += length as u64;
        if self.bytes > self.options.max_unpacked_bytes {
            return too_large("bytes after unpacking", self.options.max_unpacked_bytes);
        }
        self.number += 1;
        while let Some(b'\n' | b'\r') = self.line.last() {
            self.line.pop();
        }
        Ok(Some(self.number))
    }
}

/// The fields of one line.
#[derive(Default)]
struct Fields {
    text: Vec<u8>,
    /// Ends of the fields within `text`; with `separated`, one comma lies between two fields.
    ends: Vec<usize>,
    separated: usize,
}

impl Fields {
    fn split(&mut self, line: &[u8]) {
        self.text.clear();
        self.ends.clear();
        if line.contains(&b'"') {
            self.split_quoted(line);
            return;
        }
        self.separated = 1;
        self.text.extend_from_slice(line);
        let commas = line
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b',')
            .map(|(at, _)| at);
        self.ends.extend(commas);
        self.ends.push(line.len());
    }

    /// Quotes are rare in market data, so they may be slow.
    fn split_quoted(&mut self, line: &[u8]) {
        self.separated = 0;
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(line);
        let mut record = csv::ByteRecord::new();
        if reader.read_byte_record(&mut record).is_ok() {
            for field in &record {
                self.text.extend_from_slice(field);
                self.ends.push(self.text.len());
            }
        }
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = match index {
            0 => 0,
            _ => self.ends[index - 1] + self.separated,
        };
        &self.text[start..self.ends[index]]
    }
}
