//! CSV, line by line: memory is bounded by the longest line allowed, whatever a file unpacks to.

use crate::collect::{Collector, Row};
use crate::dialect::{Layout, Wide};
use crate::table::{Reader, Table};
use crate::{Import, ImportError, MAX_LINE_BYTES, ReadOptions, date, symbol_of};
use encoding_rs::GBK;
use std::io::{BufRead, Read};
use std::path::Path;

/// What the first line, or lines, say of the rest.
enum Header {
    Bars(Bars),
    /// A table beside bars.
    Table(Table),
}

/// Where the bars of a file are.
struct Bars {
    /// Fields of every row.
    fields: usize,
    /// Symbols and where their bars are: one, or several side by side.
    tables: Vec<(String, Layout)>,
    /// Each row has the bars of several tickers, some of which may be empty.
    side_by_side: bool,
}

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
    let header = match read_header(path, &mut lines, &mut fields, options)? {
        Header::Bars(bars) => bars,
        Header::Table(table) => return read_table(&table, lines, fields, options),
    };
    let mut collector = Collector::new(path, options, &header.tables[0].1);
    while let Some(row) = lines.next()? {
        if lines.line.is_empty() {
            continue;
        }
        collector.count_row()?;
        fields.split(&lines.line);
        if fields.len() != header.fields {
            collector.bad_field_count(row, fields.len(), header.fields);
            continue;
        }
        for (symbol, layout) in &header.tables {
            // A ticker that did not trade on that day has empty cells.
            let mut cells = layout.positions[1..].iter().map(|at| fields.get(*at));
            if header.side_by_side && cells.all(|cell| cell.trim_ascii().is_empty()) {
                continue;
            }
            read_row(&mut collector, row, &fields, symbol, layout)?;
        }
    }
    collector.finish()
}

/// Reads the rows of a table; the first line is in `fields`.
fn read_table<R: BufRead>(
    table: &Table,
    mut lines: Lines<'_, R>,
    mut fields: Fields,
    options: &ReadOptions,
) -> Result<Import, ImportError> {
    let path = lines.path;
    let mut reader = Reader::new(path, options, table, symbol_of(path, options));
    if table.begins_with_a_row {
        reader.add(lines.number, &fields)?;
    }
    while let Some(row) = lines.next()? {
        if lines.line.is_empty() {
            continue;
        }
        fields.split(&lines.line);
        reader.add(row, &fields)?;
    }
    reader.finish()
}

fn read_header<R: BufRead>(
    path: &Path,
    lines: &mut Lines<'_, R>,
    fields: &mut Fields,
    options: &ReadOptions,
) -> Result<Header, ImportError> {
    if lines.next()?.is_none() {
        return Err(ImportError::Empty {
            path: path.to_owned(),
        });
    }
    if let Some(found) = not_text(&lines.line) {
        return Err(ImportError::Encoding {
            path: path.to_owned(),
            found,
        });
    }
    let start = lines.line.strip_prefix(b"\xef\xbb\xbf");
    let names = fields.names(start.unwrap_or(&lines.line));
    if let Some(wide) = Wide::begins(&names) {
        let mut more = || -> Result<Vec<String>, ImportError> {
            lines.next()?;
            Ok(fields.names(&lines.line))
        };
        let (second, third) = (more()?, more()?);
        return Ok(Header::Bars(Bars {
            fields: names.len(),
            tables: wide.finish(path, &second, &third)?,
            side_by_side: true,
        }));
    }
    if let Some(table) = Table::find(path, &names)? {
        return Ok(Header::Table(table));
    }
    let layout = Layout::find(path, &names)?;
    Ok(Header::Bars(Bars {
        fields: names.len(),
        tables: vec![(symbol_of(path, options), layout)],
        side_by_side: false,
    }))
}

/// What a file is that is taken for CSV by mistake often enough to be told.
fn not_text(line: &[u8]) -> Option<&'static str> {
    match line {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("text in UTF-16"),
        [b'P', b'K', 3, 4, ..] => Some("a workbook or an archive"),
        _ if line.contains(&0) => Some("no text"),
        _ => None,
    }
}

fn read_row(
    collector: &mut Collector<'_>,
    number: u64,
    fields: &Fields,
    symbol: &str,
    layout: &Layout,
) -> Result<(), ImportError> {
    let symbol = layout
        .symbol
        .map_or(symbol.as_bytes(), |at| fields.get(at).trim_ascii());
    let mut sound = true;
    if symbol.is_empty() {
        collector.bad_cell(number, 0, symbol);
        sound = false;
    }
    let text = fields.get(layout.positions[0]);
    let time = date::parse(text).unwrap_or_else(|| {
        collector.bad_cell(number, 1, text);
        sound = false;
        0
    });
    let suspended = layout
        .trade_status
        .is_some_and(|at| fields.get(at).trim_ascii() == b"0");
    let mut bar = [0.0; 5];
    for (i, value) in bar.iter_mut().enumerate() {
        let text = fields.get(layout.positions[i + 1]).trim_ascii();
        match std::str::from_utf8(text).ok().map(str::parse) {
            Some(Ok(number)) => *value = number,
            // No volume on a day without trading is none.
            _ if i == 4 && suspended && text.is_empty() => {}
            _ => {
                collector.bad_cell(number, i + 2, text);
                sound = false;
            }
        }
    }
    if !sound {
        return Ok(());
    }
    let adjust_flag = layout
        .adjust_flag
        .and_then(|at| match fields.get(at).trim_ascii() {
            [flag @ b'1'..=b'3'] => Some(flag - b'0'),
            _ => None,
        });
    collector.add(&Row {
        number,
        symbol,
        time,
        bar,
        adjust_flag,
    })
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
pub(crate) struct Fields {
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

    /// The fields of a line of names. Chinese programs write them in GBK where they do not write
    /// UTF-8; a byte of a GBK character is never a comma or a quote, so that only names need it.
    fn names(&mut self, line: &[u8]) -> Vec<String> {
        self.split(line);
        (0..self.len())
            .map(|i| {
                let name = self.get(i);
                match std::str::from_utf8(name) {
                    Ok(name) => name.to_owned(),
                    Err(_) => GBK.decode_without_bom_handling(name).0.into_owned(),
                }
            })
            .collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, index: usize) -> &[u8] {
        let start = match index {
            0 => 0,
            _ => self.ends[index - 1] + self.separated,
        };
        &self.text[start..self.ends[index]]
    }
}
