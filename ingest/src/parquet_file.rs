//! Parquet, column by column in batches, without Arrow.

mod structure;

use crate::collect::{Collector, Row};
use crate::dialect::Layout;
use crate::{Import, ImportError, ReadOptions, date, symbol_of};
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;
use std::fs::File;
use std::path::Path;

/// Rows decoded at a time: enough to make a call cheap, little enough to stay in the cache.
const BATCH_ROWS: usize = 8_192;

const SECONDS_PER_DAY: i64 = 86_400;

/// Reads a file. The parquet crate asserts where a damaged file should give an error; the places
/// known are checked first, and a panic at any other becomes an error here as well.
pub fn read(path: &Path, file: File, options: &ReadOptions) -> Result<Import, ImportError> {
    std::panic::catch_unwind(|| read_checked(path, file, options)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        let source = ParquetError::General(format!("the file is damaged: {text}"));
        Err(ImportError::Parquet {
            path: path.to_owned(),
            source,
        })
    })
}

fn read_checked(path: &Path, file: File, options: &ReadOptions) -> Result<Import, ImportError> {
    let failed = |source| ImportError::Parquet {
        path: path.to_owned(),
        source,
    };
    let file_bytes = file
        .metadata()
        .map_err(|source| ImportError::Read {
            path: path.to_owned(),
            source,
        })?
        .len();
    structure::check_footer(&file, file_bytes).map_err(failed)?;
    let pages = file.try_clone().map_err(|source| ImportError::Read {
        path: path.to_owned(),
        source,
    })?;
    let reader = SerializedFileReader::new(file).map_err(failed)?;
    let metadata = reader.metadata();
    for column in metadata
        .row_groups()
        .iter()
        .flat_map(RowGroupMetaData::columns)
    {
        check_extent(column, file_bytes).map_err(failed)?;
    }
    let schema = metadata.file_metadata().schema_descr_ptr();
    let names: Vec<String> = schema.columns().iter().map(|c| c.path().string()).collect();
    let layout = Layout::find(path, &names)?;
    let own_symbol = ByteArray::from(symbol_of(path, options).as_bytes());
    let mut collector = Collector::new(path, options, &layout);
    let positions = layout
        .symbol
        .into_iter()
        .chain(layout.adjust_flag)
        .chain(layout.positions);
    let unpacked: u64 = metadata
        .row_groups()
        .iter()
        .flat_map(|group| {
            positions
                .clone()
                .map(|p| group.column(p).uncompressed_size())
        })
        .fold(0, |sum, bytes| {
            sum.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX))
        });
    if unpacked > options.max_unpacked_bytes {
        return Err(collector.too_large("bytes after unpacking", options.max_unpacked_bytes));
    }

    let refused = |column: usize, position: usize, wanted| ImportError::ColumnType {
        path: path.to_owned(),
        column: layout.dialect.columns[column],
        found: type_name(&schema.column(position)),
        wanted,
    };
    if let Some(at) = layout.symbol
        && !is_flat(&schema.column(at), &[Type::BYTE_ARRAY])
    {
        return Err(refused(0, at, "text"));
    }
    if let Some(at) = layout.adjust_flag
        && !is_flat(
            &schema.column(at),
            &[Type::BYTE_ARRAY, Type::INT32, Type::INT64],
        )
    {
        return Err(ImportError::ColumnType {
            path: path.to_owned(),
            column: "adjustflag",
            found: type_name(&schema.column(at)),
            wanted: "text or a whole number",
        });
    }
    let at = layout.positions[0];
    let time_form =
        TimeForm::of(&schema.column(at)).ok_or_else(|| refused(1, at, "a date, time or text"))?;
    let mut number_forms = [NumberForm::Plain; 5];
    for (i, form) in number_forms.iter_mut().enumerate() {
        let at = layout.positions[i + 1];
        *form = NumberForm::of(&schema.column(at)).ok_or_else(|| refused(i + 2, at, "a number"))?;
    }

    for group in metadata.row_groups() {
        for position in positions.clone() {
            let (start, length) = group.column(position).byte_range();
            structure::check_pages(&pages, start, length).map_err(failed)?;
        }
    }

    let mut first_row = 1u64;
    for group in 0..metadata.num_row_groups() {
        let group = reader.get_row_group(group).map_err(failed)?;
        let mut symbols = layout
            .symbol
            .map(|at| column(&*group, at))
            .transpose()
            .map_err(failed)?;
        let mut flags = layout
            .adjust_flag
            .map(|at| column(&*group, at))
            .transpose()
            .map_err(failed)?;
        let mut times = column(&*group, layout.positions[0]).map_err(failed)?;
        let mut numbers = Vec::with_capacity(5);
        for &at in &layout.positions[1..] {
            numbers.push(column(&*group, at).map_err(failed)?);
        }
        loop {
            let time = times.times(time_form).map_err(failed)?;
            let symbol = symbols
                .as_mut()
                .map(Column::texts)
                .transpose()
                .map_err(failed)?;
            let flag = flags
                .as_mut()
                .map(Column::flags)
                .transpose()
                .map_err(failed)?;
            let mut bars = Vec::with_capacity(5);
            for (column, form) in numbers.iter_mut().zip(number_forms) {
                bars.push(column.numbers(form).map_err(failed)?);
            }
            let lengths = symbol
                .iter()
                .map(Vec::len)
                .chain(flag.iter().map(Vec::len))
                .chain(bars.iter().map(Vec::len));
            if lengths.into_iter().any(|length| length != time.len()) {
                return Err(failed(ParquetError::General(
                    "the columns of a row group have different lengths".to_owned(),
                )));
            }
            if time.is_empty() {
                break;
            }
            for i in 0..time.len() {
                collector.count_row()?;
                let row = first_row + i as u64;
                let mut sound = true;
                let symbol = symbol
                    .as_ref()
                    .map_or(Some(&own_symbol), |all| all[i].as_ref());
                let symbol = symbol.map_or(&b""[..], ByteArray::data).trim_ascii();
                if symbol.is_empty() {
                    collector.bad_cell(row, 0, b"");
                    sound = false;
                }
                let time = match &time[i] {
                    Time::Read(time) => *time,
                    Time::Missing => {
                        collector.bad_cell(row, 1, b"");
                        sound = false;
                        0
                    }
                    Time::Bad(text) => {
                        collector.bad_cell(row, 1, text);
                        sound = false;
                        0
                    }
                };
                let mut bar = [0.0; 5];
                for (number, value) in bar.iter_mut().enumerate() {
                    match bars[number][i] {
                        Some(read) => *value = read,
                        None => {
                            collector.bad_cell(row, number + 2, b"");
                            sound = false;
                        }
                    }
                }
                if sound {
                    collector.add(&Row {
                        number: row,
                        symbol,
                        time,
                        bar,
                        adjust_flag: flag.as_ref().and_then(|all| all[i]),
                    })?;
                }
            }
            first_row += time.len() as u64;
        }
    }
    collector.finish()
}

/// A column chunk lies inside the file.
fn check_extent(column: &ColumnChunkMetaData, file_bytes: u64) -> Result<(), ParquetError> {
    let start = column
        .dictionary_page_offset()
        .unwrap_or_else(|| column.data_page_offset());
    let end = start.checked_add(column.compressed_size());
    let inside = start >= 0
        && column.compressed_size() >= 0
        && column.num_values() >= 0
        && end
            .and_then(|end| u64::try_from(end).ok())
            .is_some_and(|end| end <= file_bytes);
    if inside {
        return Ok(());
    }
    let name = column.column_path().string();
    Err(ParquetError::General(format!(
        "the file is damaged: column {name} lies outside of it"
    )))
}

/// A leaf without repetition, of one of the physical types.
fn is_flat(column: &ColumnDescriptor, types: &[Type]) -> bool {
    column.max_rep_level() == 0 && types.contains(&column.physical_type())
}

fn type_name(column: &ColumnDescriptor) -> String {
    match column.logical_type_ref() {
        Some(logical) => format!("{} ({logical:?})", column.physical_type()),
        None => column.physical_type().to_string(),
    }
}

/// How a number is stored.
#[derive(Clone, Copy)]
enum NumberForm {
    Plain,
    Unsigned,
    /// An integer to be divided by this power of ten.
    Decimal(f64),
}

impl NumberForm {
    fn of(column: &ColumnDescriptor) -> Option<Self> {
        if is_flat(column, &[Type::DOUBLE, Type::FLOAT]) {
            return Some(Self::Plain);
        }
        if !is_flat(column, &[Type::INT32, Type::INT64]) {
            return None;
        }
        match (column.logical_type_ref(), column.converted_type()) {
            (Some(LogicalType::Decimal(_)), _) | (None, ConvertedType::DECIMAL) => {
                // Powers of ten up to 22 are exact, so that the quotient is rounded once.
                let scale = u8::try_from(column.type_scale())
                    .ok()
                    .filter(|scale| *scale <= 18)?;
                Some(Self::Decimal((0..scale).fold(1.0, |power, _| power * 10.0)))
            }
            (Some(LogicalType::Integer(int)), _) if !int.is_signed => Some(Self::Unsigned),
            (None, ConvertedType::UINT_32 | ConvertedType::UINT_64) => Some(Self::Unsigned),
            (Some(LogicalType::Integer(_)) | None, _) => Some(Self::Plain),
            _ => None,
        }
    }

    fn int32(self, value: i32) -> f64 {
        match self {
            Self::Plain => f64::from(value),
            Self::Unsigned => f64::from(value.cast_unsigned()),
            Self::Decimal(power) => f64::from(value) / power,
        }
    }

    fn int64(self, value: i64) -> f64 {
        match self {
            Self::Plain => value as f64,
            Self::Unsigned => value.cast_unsigned() as f64,
            Self::Decimal(power) => value as f64 / power,
        }
    }
}

/// How a date is stored.
#[derive(Clone, Copy)]
enum TimeForm {
    /// Days since 1970-01-01.
    Days,
    /// Units since 1970-01-01, so many to a second.
    Units(i64),
    /// The number 20200131.
    Compact,
    Text,
    Int96,
}

impl TimeForm {
    fn of(column: &ColumnDescriptor) -> Option<Self> {
        if column.max_rep_level() != 0 {
            return None;
        }
        match (
            column.physical_type(),
            column.logical_type_ref(),
            column.converted_type(),
        ) {
            (Type::INT32, Some(LogicalType::Date), _)
            | (Type::INT32, None, ConvertedType::DATE) => Some(Self::Days),
            (Type::INT64, Some(LogicalType::Timestamp(stamp)), _) => {
                Some(Self::Units(match stamp.unit {
                    TimeUnit::MILLIS => 1_000,
                    TimeUnit::MICROS => 1_000_000,
                    TimeUnit::NANOS => 1_000_000_000,
                }))
            }
            (Type::INT64, None, ConvertedType::TIMESTAMP_MILLIS) => Some(Self::Units(1_000)),
            (Type::INT64, None, ConvertedType::TIMESTAMP_MICROS) => Some(Self::Units(1_000_000)),
            (Type::INT32 | Type::INT64, None | Some(LogicalType::Integer(_)), _) => {
                Some(Self::Compact)
            }
            (Type::BYTE_ARRAY, ..) => Some(Self::Text),
            (Type::INT96, ..) => Some(Self::Int96),
            _ => None,
        }
    }

    fn number(self, value: i64) -> Time {
        match self {
            Self::Days => Time::Read(value.saturating_mul(SECONDS_PER_DAY)),
            Self::Units(per_second) => Time::Read(value.div_euclid(per_second)),
            Self::Compact | Self::Text | Self::Int96 => date::compact(value)
                .map_or_else(|| Time::Bad(value.to_string().into_bytes()), Time::Read),
        }
    }
}

enum Time {
    Read(i64),
    Missing,
    Bad(Vec<u8>),
}

/// A column of a row group, read in batches.
struct Column {
    reader: ColumnReader,
    max_def_level: i16,
}

fn column(group: &dyn RowGroupReader, position: usize) -> Result<Column, ParquetError> {
    let max_def_level = group
        .metadata()
        .column(position)
        .column_descr()
        .max_def_level();
    let reader = group.get_column_reader(position)?;
    Ok(Column {
        reader,
        max_def_level,
    })
}

impl Column {
    fn texts(&mut self) -> Result<Vec<Option<ByteArray>>, ParquetError> {
        match &mut self.reader {
            ColumnReader::ByteArrayColumnReader(reader) => {
                batch(reader, self.max_def_level, |value| value)
            }
            _ => Err(unexpected()),
        }
    }

    /// Flags of one digit from 1 to 3, as text or number; anything else is none.
    fn flags(&mut self) -> Result<Vec<Option<u8>>, ParquetError> {
        let level = self.max_def_level;
        let flag = |value: i64| u8::try_from(value).ok().filter(|v| (1..=3).contains(v));
        match &mut self.reader {
            ColumnReader::ByteArrayColumnReader(r) => batch(r, level, |value| {
                let text = value?;
                match text.data() {
                    [digit @ b'1'..=b'3'] => Some(digit - b'0'),
                    _ => None,
                }
            }),
            ColumnReader::Int32ColumnReader(r) => batch(r, level, |value| flag(i64::from(value?))),
            ColumnReader::Int64ColumnReader(r) => batch(r, level, |value| flag(value?)),
            _ => Err(unexpected()),
        }
    }

    fn numbers(&mut self, form: NumberForm) -> Result<Vec<Option<f64>>, ParquetError> {
        let level = self.max_def_level;
        match &mut self.reader {
            ColumnReader::DoubleColumnReader(r) => batch(r, level, |value| value),
            ColumnReader::FloatColumnReader(r) => batch(r, level, |value| value.map(f64::from)),
            ColumnReader::Int32ColumnReader(r) => {
                batch(r, level, |value| value.map(|v| form.int32(v)))
            }
            ColumnReader::Int64ColumnReader(r) => {
                batch(r, level, |value| value.map(|v| form.int64(v)))
            }
            _ => Err(unexpected()),
        }
    }

    fn times(&mut self, form: TimeForm) -> Result<Vec<Time>, ParquetError> {
        let level = self.max_def_level;
        let number = |value: Option<i64>| value.map_or(Time::Missing, |v| form.number(v));
        match &mut self.reader {
            ColumnReader::Int32ColumnReader(r) => {
                batch(r, level, |value| number(value.map(i64::from)))
            }
            ColumnReader::Int64ColumnReader(r) => batch(r, level, number),
            ColumnReader::Int96ColumnReader(r) => batch(r, level, |value| {
                value.map_or(Time::Missing, |v| Time::Read(v.to_seconds()))
            }),
            ColumnReader::ByteArrayColumnReader(r) => batch(r, level, |value| {
                let Some(text) = value else {
                    return Time::Missing;
                };
                let text = text.data();
                date::parse(text).map_or_else(|| Time::Bad(text.to_owned()), Time::Read)
            }),
            _ => Err(unexpected()),
        }
    }
}

fn unexpected() -> ParquetError {
    ParquetError::General("a column chunk has another type than the schema".to_owned())
}

/// Reads up to [`BATCH_ROWS`] rows and maps each, `None` for null; none at the end of the group.
fn batch<T: DataType, U>(
    reader: &mut ColumnReaderImpl<T>,
    max_def_level: i16,
    map: impl Fn(Option<T::T>) -> U,
) -> Result<Vec<U>, ParquetError> {
    let mut values = Vec::with_capacity(BATCH_ROWS);
    let mut levels = Vec::new();
    let mut records = 0;
    // A call may end early at a page; the batches of all columns have to end at the same row.
    while records < BATCH_ROWS {
        let wanted = (max_def_level > 0).then_some(&mut levels);
        let (read, ..) = reader.read_records(BATCH_ROWS - records, wanted, None, &mut values)?;
        if read == 0 {
            break;
        }
        records += read;
    }
    if max_def_level == 0 {
        return Ok(values.into_iter().map(|value| map(Some(value))).collect());
    }
    let mut values = values.into_iter();
    levels
        .into_iter()
        .map(|level| {
            if level < max_def_level {
                return Ok(map(None));
            }
            values.next().map(|value| map(Some(value))).ok_or_else(|| {
                ParquetError::General("a page has fewer values than it says".to_owned())
            })
        })
        .collect()
}
