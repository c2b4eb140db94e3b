//! Small files, sound and unsound, in every form that is read.

use flate2::{Compression, write::GzEncoder};
use parquet::basic::Compression as Packing;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use trialmill_backtest::bars::Frequency;
use trialmill_ingest::{
    Finding, Import, ImportError, MAX_COLUMNS, MAX_LINE_BYTES, ReadOptions, Severity, read_file,
    read_file_with,
};

const HEADER: &str = "symbol,date,open,high,low,close,volume\n";

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn read(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<Import, ImportError> {
        read_file(&self.file(name, bytes))
    }
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The findings that refuse a file, as `code symbol column rows value`, and the number of errors.
fn faults(result: Result<Import, ImportError>) -> (Vec<String>, u64) {
    match result {
        Err(ImportError::Faults {
            findings, errors, ..
        }) => (told(&findings, Severity::Error), errors),
        other => panic!("no list of faults but {other:?}"),
    }
}

/// Findings of one severity in short.
fn told(findings: &[Finding], severity: Severity) -> Vec<String> {
    let of_severity = findings.iter().filter(|f| f.severity == severity);
    of_severity
        .map(|finding| {
            let mut text = finding.code.name().to_owned();
            for part in [&finding.symbol, &finding.column].into_iter().flatten() {
                text = format!("{text} {part}");
            }
            text = format!("{text} {:?}", finding.rows);
            match &finding.value {
                Some(value) => format!("{text} {value}"),
                None => text,
            }
        })
        .collect()
}

#[test]
fn series_come_by_symbol_whatever_the_order_of_the_file() {
    let text = format!(
        "{HEADER}B,2020-01-02,1,2,0.5,1.5,10\nA,2020-01-02,1,2,0.5,1.5,10\n\
         B,2020-01-03,1,2,0.5,1.5,10\n"
    );
    let folder = Folder::new();
    for (name, bytes) in [
        ("x.csv", text.clone().into_bytes()),
        ("x.gz", gzipped(text.as_bytes())),
    ] {
        let import = folder.read(name, bytes).unwrap();
        let symbols: Vec<_> = import
            .series
            .iter()
            .map(|s| (s.symbol(), s.rows()))
            .collect();
        assert_eq!(symbols, [("A", 1), ("B", 2)]);
        assert_eq!(import.rows, 3);
    }
}

#[test]
fn names_in_capitals_a_mark_at_the_start_quotes_and_windows_lines_are_read() {
    let text = "\u{feff}Date,OPEN,High,low,Close,Volume,Name\r\n\
                20200102,1,2,0.5,1.5,10,\"Bank, big\"\r\n\r\n2020/01/03,1,2,0.5,1.5,1e3,x";
    let import = Folder::new().read("600519.SH.csv", text).unwrap();
    assert_eq!(import.ignored_columns, ["Name"]);
    assert_eq!(
        (import.series[0].symbol(), import.series[0].rows()),
        ("600519.SH", 2)
    );
    assert_eq!(import.series[0].volume()[1], 1_000.0);
}

#[test]
fn the_symbol_is_the_one_given_or_that_of_the_file_name_or_of_the_column() {
    let bare = "date,open,high,low,close,volume\n2020-01-02,1,2,0.5,1.5,10\n";
    let folder = Folder::new();
    let packed = folder
        .read("000001.SZ.CSV.gz", gzipped(bare.as_bytes()))
        .unwrap();
    assert_eq!(packed.series[0].symbol(), "000001.SZ");
    let given = ReadOptions {
        symbol: Some("ACME".to_owned()),
        ..ReadOptions::default()
    };
    let path = folder.file("a.csv", bare);
    assert_eq!(
        read_file_with(&path, &given).unwrap().series[0].symbol(),
        "ACME"
    );
    let path = folder.file(
        "b.csv",
        format!("{HEADER}ACME,2020-01-02,1,2,0.5,1.5,10\nA,2020-01-02,1,2,0.5,1.5,10\n"),
    );
    let (texts, errors) = faults(read_file_with(&path, &given));
    assert_eq!((texts, errors), (vec!["mixed_symbols A [3]".to_owned()], 1));
}

#[test]
fn every_fault_is_told_with_its_line_and_nothing_is_imported() {
    let text = format!(
        "{HEADER}A,2020-01-02,1,2,0.5,1.5,10\nA,2020-31-01,1,2,0.5,1.5,10\n\
         A,2020-01-03,one,,0.5,1.5,10\nA,2020-01-03,1,2\nB,2020-01-03,1,2,0.5,1.5,-1\n\
         A,2020-01-02,1,2,0.5,1.5,10\n,2020-01-03,1,2,0.5,1.5,10\nB,2020-01-06,1,2,0.5,nan,5\n"
    );
    let (texts, total) = faults(Folder::new().read("x.csv", text));
    assert_eq!(
        texts,
        [
            "field_count [5] 4 field(s)",
            "missing_value high [4]",
            "missing_value symbol [8]",
            "unreadable_date date [3] \"2020-31-01\"",
            "unreadable_number open [4] \"one\"",
            "duplicate_date A [7] 2020-01-02 is also in row 2",
            "price_not_finite B close [9] NaN",
            "negative_volume B volume [6] -1",
        ]
    );
    assert_eq!(total, 8);
}

#[test]
fn thousands_of_faults_are_counted_and_twenty_rows_of_each_kind_are_listed() {
    let mut text = HEADER.to_owned();
    for row in 0..3_000 {
        text.push_str(if row % 2 == 0 {
            "A,x,1,1,1,1,1\n"
        } else {
            "A,2020-01-02,0,1,1,1,1\n"
        });
    }
    let Err(ImportError::Faults {
        findings, errors, ..
    }) = Folder::new().read("x.csv", text)
    else {
        panic!("the file has faults");
    };
    // 1,500 dates; 1,499 repeated days; 1,500 opens of 0, of which a low of 1 is no bound.
    let counts: Vec<_> = findings
        .iter()
        .map(|f| (f.code.name(), f.count, f.rows.len(), f.rows[0]))
        .collect();
    assert_eq!(
        counts,
        [
            ("unreadable_date", 1_500, 20, 2),
            ("duplicate_date", 1_499, 20, 5),
            ("price_not_positive", 1_500, 20, 3),
        ]
    );
    assert_eq!(errors, 4_499);
}

#[test]
fn missing_and_repeated_columns_are_named() {
    let folder = Folder::new();
    let missing = folder
        .read("x.csv", "date,open,close\n")
        .unwrap_err()
        .to_string();
    assert!(
        missing.contains("column(s) high, low, volume are missing"),
        "{missing}"
    );
    let twice = folder
        .read("x.csv", "date,Date,open,high,low,close,volume\n")
        .unwrap_err();
    assert!(
        twice.to_string().ends_with("column date is there twice"),
        "{twice}"
    );
    assert!(matches!(
        folder.read("x.csv", ""),
        Err(ImportError::Empty { .. })
    ));
    assert!(matches!(
        folder.read("x.csv", HEADER),
        Err(ImportError::Empty { .. })
    ));
    let gone = read_file(&folder.0.path().join("gone.csv")).unwrap_err();
    assert!(matches!(gone, ImportError::Read { .. }));
}

#[test]
fn rows_bytes_and_lines_have_bounds() {
    let folder = Folder::new();
    let mut text = HEADER.to_owned();
    for day in 1..=9 {
        text.push_str(&format!("A,2020-01-{day:02},1,2,0.5,1.5,10\n"));
    }
    let path = folder.file("x.csv", &text);
    let bounded = |max_rows, max_unpacked_bytes| {
        read_file_with(
            &path,
            &ReadOptions {
                max_rows,
                max_unpacked_bytes,
                ..ReadOptions::default()
            },
        )
    };
    assert_eq!(bounded(9, text.len() as u64).unwrap().rows, 9);
    let what = |result: Result<Import, ImportError>| match result {
        Err(ImportError::TooLarge { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(what(bounded(8, 1 << 20)), "rows");
    assert_eq!(
        what(bounded(9, text.len() as u64 - 1)),
        "bytes after unpacking"
    );
    let stored = ReadOptions {
        max_file_bytes: text.len() as u64 - 1,
        ..ReadOptions::default()
    };
    assert_eq!(what(read_file_with(&path, &stored)), "bytes");
    let columns = format!("{}date\n", "x,".repeat(MAX_COLUMNS));
    assert_eq!(what(folder.read("c.csv", columns)), "columns");
    let long = format!("{HEADER}{}", "0".repeat(MAX_LINE_BYTES + 1));
    assert_eq!(what(folder.read("y.csv", long)), "bytes in a line");
    // 64 MB of zeros in 64 kB: ends at the first line, without unpacking the rest.
    let bomb = gzipped(&vec![b'0'; 64 << 20]);
    assert!(bomb.len() < 100_000);
    assert_eq!(what(folder.read("z.csv.gz", bomb)), "bytes in a line");
}

#[test]
fn a_cut_gzip_file_is_an_error() {
    let text = format!("{HEADER}A,2020-01-02,1,2,0.5,1.5,10\n");
    let packed = gzipped(text.as_bytes());
    let cut = Folder::new().read("x.csv.gz", &packed[..packed.len() - 9]);
    assert!(matches!(cut, Err(ImportError::Read { .. })), "{cut:?}");
}

/// Three rows: text dates or timestamps, a null where `null` says so, mixed number types.
fn parquet_bytes(timestamps: bool, null: bool, packing: Packing) -> Vec<u8> {
    let date = if timestamps {
        "INT64 date (TIMESTAMP(MILLIS,false))"
    } else {
        "BYTE_ARRAY date (UTF8)"
    };
    let schema = format!(
        "message bars {{ OPTIONAL BYTE_ARRAY Symbol (UTF8); REQUIRED {date}; REQUIRED FLOAT open; \
         REQUIRED INT32 high (DECIMAL(9,2)); REQUIRED DOUBLE low; OPTIONAL DOUBLE close; \
         REQUIRED INT64 volume; REQUIRED DOUBLE amount; }}"
    );
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().set_compression(packing).build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let texts = |all: [&str; 3]| all.map(ByteArray::from);
    macro_rules! column {
        ($kind:ty, $values:expr, $levels:expr) => {{
            let mut column = group.next_column().unwrap().unwrap();
            column
                .typed::<$kind>()
                .write_batch(&$values, $levels, None)
                .unwrap();
            column.close().unwrap();
        }};
    }
    column!(ByteArrayType, texts(["A", "A", "B"]), Some(&[1, 1, 1]));
    if timestamps {
        column!(
            Int64Type,
            [1_577_957_400_000, 1_577_957_460_999, 1_577_957_400_000],
            None
        );
    } else {
        column!(
            ByteArrayType,
            texts(["2020-01-02", "2020-01-03", "20200102"]),
            None
        );
    }
    column!(FloatType, [1.0, 1.5, 1.25], None);
    column!(Int32Type, [225, 250, 275], None);
    column!(DoubleType, [0.5, 0.25, 0.75], None);
    if null {
        column!(DoubleType, [1.0, 1.25], Some(&[1, 0, 1]));
    } else {
        column!(DoubleType, [1.0, 1.1, 1.25], Some(&[1, 1, 1]));
    }
    column!(Int64Type, [10, 0, 30], None);
    column!(DoubleType, [0.0, 0.0, 0.0], None);
    group.close().unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn parquet_of_mixed_types_is_widened() {
    let folder = Folder::new();
    for packing in [
        Packing::UNCOMPRESSED,
        Packing::SNAPPY,
        Packing::GZIP(Default::default()),
        Packing::ZSTD(Default::default()),
    ] {
        let import = folder
            .read("x.parquet", parquet_bytes(false, false, packing))
            .unwrap();
        assert_eq!(import.ignored_columns, ["amount"]);
        let a = &import.series[0];
        assert_eq!((a.symbol(), a.frequency()), ("A", Frequency::Daily));
        assert_eq!((a.open(), a.high()), (&[1.0, 1.5][..], &[2.25, 2.5][..]));
        assert_eq!((a.close(), a.volume()), (&[1.0, 1.1][..], &[10.0, 0.0][..]));
        assert_eq!(import.series[1].symbol(), "B");
    }
    let minutes = folder
        .read("x.pq", parquet_bytes(true, false, Packing::SNAPPY))
        .unwrap();
    assert_eq!(minutes.series[0].time(), [1_577_957_400, 1_577_957_460]);
    assert_eq!(minutes.series[0].frequency(), Frequency::Minute);
}

#[test]
fn a_null_in_parquet_is_a_fault_with_its_row() {
    let bytes = parquet_bytes(false, true, Packing::SNAPPY);
    let (texts, total) = faults(Folder::new().read("x.parquet", bytes));
    assert_eq!(
        (texts, total),
        (vec!["missing_value close [2]".to_owned()], 1)
    );
}

#[test]
fn damaged_parquet_is_an_error_and_never_a_panic() {
    let folder = Folder::new();
    let bytes = parquet_bytes(false, false, Packing::SNAPPY);
    for end in (4..bytes.len()).step_by(7) {
        assert!(
            folder.read("x.parquet", &bytes[..end]).is_err(),
            "cut at {end}"
        );
    }
    let mut refused = 0;
    for at in 4..bytes.len() {
        for flip in [0x01, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            // A change of a value or of unused metadata may pass; a panic would end the test.
            refused += usize::from(folder.read("x.parquet", &changed).is_err());
        }
    }
    assert!(refused > bytes.len() / 4, "{refused} of {}", bytes.len());
}

#[test]
fn parquet_that_announces_two_thousand_million_elements_without_a_byte_is_refused_at_once() {
    // An empty schema; then field 17 of the footer and others: lists of 2^31 - 1 booleans.
    let list = [0xf9, 0xf1, 0xff, 0xff, 0xff, 0xff, 0x07];
    let footer = [&[0x29, 0x0c][..], &list.repeat(1_000), &[0]].concat();
    let length = u32::try_from(footer.len()).unwrap().to_le_bytes();
    let bytes = [&b"PAR1"[..], &footer, &length, b"PAR1"].concat();
    let error = Folder::new()
        .read("endless.parquet", bytes)
        .unwrap_err()
        .to_string();
    assert!(error.contains("list of booleans"), "{error}");
}

#[test]
fn parquet_columns_of_the_wrong_type_are_named() {
    let schema = "message bars { REQUIRED BOOLEAN date; REQUIRED DOUBLE open; \
                  REQUIRED DOUBLE high; REQUIRED DOUBLE low; REQUIRED DOUBLE close; \
                  REQUIRED BYTE_ARRAY volume (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let writer =
        SerializedFileWriter::new(Vec::new(), schema, Arc::new(WriterProperties::default()));
    let bytes = writer.unwrap().into_inner().unwrap();
    let refused = Folder::new()
        .read("x.parquet", bytes)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("column date has type BOOLEAN"),
        "{refused}"
    );
}

#[test]
fn parquet_of_a_source_is_recognised_with_its_units_symbols_and_flags() {
    let schema = "message bars { REQUIRED BYTE_ARRAY code (UTF8); REQUIRED BYTE_ARRAY date (UTF8); \
                  REQUIRED DOUBLE open; REQUIRED DOUBLE high; REQUIRED DOUBLE low; \
                  REQUIRED DOUBLE close; REQUIRED DOUBLE volume; \
                  REQUIRED BYTE_ARRAY adjustflag (UTF8); }";
    let bytes = |flags: [&str; 2]| {
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let properties = Arc::new(WriterProperties::default());
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let texts = |group: &mut parquet::file::writer::SerializedRowGroupWriter<'_, _>,
                     values: [&str; 2]| {
            let mut column = group.next_column().unwrap().unwrap();
            let typed = column.typed::<ByteArrayType>();
            typed
                .write_batch(&values.map(ByteArray::from), None, None)
                .unwrap();
            column.close().unwrap();
        };
        texts(&mut group, ["sh.600000", "sh.600000"]);
        texts(&mut group, ["2023-01-03", "2023-01-04"]);
        for values in [
            [7.2, 7.3],
            [7.4, 7.4],
            [7.1, 7.2],
            [7.3, 7.3],
            [500.0, 600.0],
        ] {
            let mut column = group.next_column().unwrap().unwrap();
            let typed = column.typed::<DoubleType>();
            typed.write_batch(&values, None, None).unwrap();
            column.close().unwrap();
        }
        texts(&mut group, flags);
        group.close().unwrap();
        writer.into_inner().unwrap()
    };
    let folder = Folder::new();
    let import = folder.read("x.parquet", bytes(["2", "2"])).unwrap();
    assert_eq!(
        (import.dialect, import.series[0].symbol()),
        ("baostock", "600000.SH")
    );
    assert_eq!(import.series[0].volume(), [500.0, 600.0]);
    assert_eq!(
        told(&import.findings, Severity::Warning),
        ["adjusted_prices 600000.SH [1, 2] adjustflag 2"]
    );
    let (texts, _) = faults(folder.read("y.parquet", bytes(["3", "2"])));
    assert_eq!(
        texts,
        ["mixed_adjustment 600000.SH [] 1 adjusted and 1 unadjusted rows"]
    );
}
