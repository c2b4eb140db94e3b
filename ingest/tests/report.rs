//! What an import says of its files: every fault by its rows, and nothing of any file when one is
//! refused.

use proptest::prelude::*;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;
use trialmill_backtest::bars::BarSeries;
use trialmill_ingest::{Code, Finding, ImportReport, ReadOptions, Severity, read_files};

const HEADER: &str = "date,open,high,low,close,volume\n";

/// Reads files of these names and texts as one import.
fn import(files: &[(&str, String)]) -> (ImportReport, Vec<BarSeries>) {
    let folder: TempDir = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = files
        .iter()
        .map(|(name, text)| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        })
        .collect();
    let (report, read) = read_files(&paths, &ReadOptions::default());
    (report, read.series)
}

fn bars(rows: &[(&str, f64)]) -> String {
    let mut text = HEADER.to_owned();
    for (date, price) in rows {
        writeln!(text, "{date},{price},{price},{price},{price},100").unwrap();
    }
    text
}

#[track_caller]
fn only(findings: &[Finding]) -> &Finding {
    assert_eq!(findings.len(), 1, "{findings:#?}");
    &findings[0]
}

#[test]
fn unsorted_rows_are_sorted_and_told_but_not_with_duplicates_among_them() {
    let unsorted = bars(&[
        ("2023-01-04", 2.0),
        ("2023-01-03", 2.1),
        ("2023-01-05", 2.2),
    ]);
    let (report, series) = import(&[("A.csv", unsorted.clone())]);
    let found = only(&report.files[0].findings);
    // Two rows of three would be newest first; the third one is not.
    assert_eq!(
        (found.code, found.rows.as_slice()),
        (Code::Unsorted, &[3][..])
    );
    assert_eq!(found.severity, Severity::Warning);
    assert_eq!(series[0].close(), [2.1, 2.0, 2.2]);

    let (report, series) = import(&[("A.csv", format!("{unsorted}2023-01-03,2,2,2,2,1\n"))]);
    assert!(series.is_empty() && !report.is_sound());
    let found = &report.files[0].findings[0];
    assert_eq!(
        (found.code, found.rows.as_slice()),
        (Code::DuplicateDate, &[5][..])
    );
    assert_eq!(
        found.to_string(),
        "error duplicate_date: A: row 5: 2023-01-03 is also in row 3; keep one row for each symbol \
         and time"
    );
}

#[test]
fn holes_are_told_by_the_row_after_them_and_the_new_year_is_none() {
    let (report, series) = import(&[(
        "600000.SH.csv",
        bars(&[
            ("2020-01-23", 10.0),
            ("2020-02-03", 10.0),
            ("2020-02-18", 10.0),
            ("2020-03-05", 10.0),
        ]),
    )]);
    assert_eq!(series.len(), 1);
    let found = only(&report.files[0].findings);
    assert_eq!((found.code, found.rows.as_slice()), (Code::Hole, &[5][..]));
    assert_eq!(
        found.value.as_deref(),
        Some("2020-02-18 to 2020-03-05, 16 days")
    );
}

#[test]
fn dates_that_most_other_series_have_are_missed_within_the_span_of_a_series() {
    let all = [
        ("2023-01-03", 5.0),
        ("2023-01-04", 5.0),
        ("2023-01-05", 5.0),
        ("2023-01-06", 5.0),
    ];
    let mut files: Vec<(&str, String)> = ["A.SH.csv", "B.SZ.csv", "C.SH.csv"]
        .map(|name| (name, bars(&all)))
        .to_vec();
    files.push(("D.SZ.csv", bars(&[all[0], all[2], all[3]])));
    // Listed later: it misses nothing before its first day.
    files.push(("E.SH.csv", bars(&all[2..])));
    // Another market, with other holidays.
    files.push(("F.L.csv", bars(&[all[0], all[3]])));
    let (report, series) = import(&files);
    assert_eq!(series.len(), 6);
    for (file, (name, _)) in report.files.iter().zip(&files) {
        if *name == "D.SZ.csv" {
            let found = only(&file.findings);
            assert_eq!(
                (found.code, found.rows.as_slice()),
                (Code::MissingDates, &[3][..])
            );
            assert_eq!(found.value.as_deref(), Some("2023-01-04"));
        } else {
            assert_eq!(file.findings, [], "{name}");
        }
    }
}

#[test]
fn moves_that_no_session_allows_are_told_with_their_dates() {
    let moved = |symbol: &str, date: &str, to: f64| {
        let text = bars(&[("2019-12-31", 10.0), ("2020-01-02", 10.0), (date, to)]);
        let (report, series) = import(&[(&format!("{symbol}.csv"), text)]);
        assert_eq!(series.len(), 1, "a gap is a warning");
        report.files[0]
            .findings
            .iter()
            .filter(|f| f.code == Code::UnadjustedGap)
            .map(|f| (f.rows.clone(), f.value.clone().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        moved("600000.SH", "2020-01-03", 8.8),
        [(vec![4], "2020-01-03: -12.0 % from 10 to 8.8".to_owned())]
    );
    assert_eq!(moved("600000.SH", "2020-01-03", 11.05), []);
    assert_eq!(moved("688001.SH", "2020-01-03", 12.0), []);
    assert_eq!(moved("688001.SH", "2020-01-03", 12.2).len(), 1);
    // ChiNext, before and after its reform.
    assert_eq!(moved("300001.SZ", "2020-08-21", 12.0).len(), 1);
    assert_eq!(moved("300001.SZ", "2020-08-24", 12.0), []);
    assert_eq!(moved("430047.BJ", "2020-01-03", 13.0), []);
    assert_eq!(moved("AAPL", "2020-01-03", 7.1), []);
    assert_eq!(moved("AAPL", "2020-01-03", 5.0).len(), 1);
}

#[test]
fn every_bad_price_is_told_by_column_and_row() {
    let text = format!(
        "{HEADER}2023-01-03,0,2,0.5,1,1\n2023-01-04,1,inf,0.5,1,1\n2023-01-05,2,1.5,1,1,1\n\
         2023-01-06,1,2,1.5,1,1\n2023-01-09,1,2,0.5,1,-1\n2500-01-01,1,2,0.5,1,1\n"
    );
    let (report, series) = import(&[("A.csv", text)]);
    assert!(series.is_empty());
    let found: Vec<_> = report.files[0]
        .findings
        .iter()
        .map(|f| (f.code, f.column.as_deref(), f.rows.as_slice()))
        .collect();
    assert_eq!(
        found,
        [
            (Code::DateOutOfRange, None, &[7][..]),
            (Code::PriceNotFinite, Some("high"), &[3]),
            (Code::PriceNotPositive, Some("open"), &[2]),
            (Code::HighTooLow, Some("high"), &[4]),
            (Code::LowTooHigh, Some("low"), &[5]),
            (Code::NegativeVolume, Some("volume"), &[6]),
        ]
    );
    assert_eq!(report.files[0].errors, 6);
}

#[test]
fn one_refused_file_refuses_all_and_each_file_says_why() {
    let good = bars(&[("2023-01-03", 5.0)]);
    let (report, series) = import(&[
        ("A.csv", good.clone()),
        ("B.csv", "date,open\n".to_owned()),
        ("A.txt", good),
        ("C.csv", HEADER.to_owned()),
    ]);
    assert!(series.is_empty());
    let codes: Vec<Vec<Code>> = report
        .files
        .iter()
        .map(|file| file.findings.iter().map(|f| f.code).collect())
        .collect();
    assert_eq!(
        codes,
        [
            vec![],
            vec![Code::Columns],
            vec![Code::SymbolInTwoFiles],
            vec![Code::Empty]
        ]
    );
    let document = serde_json::to_value(&report).unwrap();
    let finding = &document["files"][2]["findings"][0];
    assert_eq!(finding["code"], "symbol_in_two_files");
    assert_eq!(finding["severity"], "error");
    // Tickers side by side of which none ever traded.
    let nothing =
        "Price,Close,High,Low,Open,Volume\nTicker,A,A,A,A,A\nDate,,,,,\n2023-01-03,,,,,\n";
    let (report, series) = import(&[("D.csv", nothing.to_owned())]);
    assert!(series.is_empty());
    assert_eq!(only(&report.files[0].findings).code, Code::Empty);
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone.csv");
    let (report, _) = read_files(&[gone], &ReadOptions::default());
    assert_eq!(report.files[0].findings[0].code, Code::FileUnreadable);
}

#[test]
fn the_bound_on_rows_holds_for_all_files_together() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = ["A.csv", "B.csv"]
        .map(|name| {
            let path = folder.path().join(name);
            fs::write(&path, bars(&[("2023-01-03", 5.0), ("2023-01-04", 5.0)])).unwrap();
            path
        })
        .to_vec();
    let read = |max_rows| {
        let options = ReadOptions {
            max_rows,
            ..ReadOptions::default()
        };
        read_files(&paths, &options)
    };
    assert_eq!(read(4).1.series.len(), 2);
    let (report, read) = read(3);
    assert!(read.series.is_empty());
    assert_eq!(only(&report.files[1].findings).code, Code::TooLarge);
}

/// Pieces of files that are nearly right, so that the readers get beyond the header.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "date,open,high,low,close,volume\n",
        "日期,股票代码,开盘,收盘,最高,最低,成交量\n",
        "ts_code,trade_date,open,high,low,close,vol\n",
        "date,code,open,high,low,close,volume,adjustflag,tradestatus\n",
        "date,time,code,open,high,low,close,volume,adjustflag\n",
        "Price,Close,High,Low,Open,Volume\nTicker,A,A,A,A,A\nDate,,,,,\n",
        "2023-01-03,1,2,0.5,1,100\n",
        "20230103093500000",
        "sh.600000,",
        "000001.SZ,20230103,1,1,1,1,1\n",
        "nan,inf,-1,1e400",
        "\"",
        ",",
        "\n",
        "\r\n",
        "\u{feff}",
    ])
    .prop_map(|text| text.as_bytes().to_vec());
    prop_oneof![
        3 => known,
        1 => prop::collection::vec(any::<u8>(), 0..24),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_bytes_give_a_report_and_never_a_panic(pieces in prop::collection::vec(piece(), 0..12)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("600000.csv");
        fs::write(&path, pieces.concat()).unwrap();
        let (report, read) = read_files(&[path], &ReadOptions::default());
        let series = read.series;
        let file = &report.files[0];
        prop_assert_eq!(report.is_sound(), file.errors == 0);
        prop_assert_eq!(series.is_empty(), !report.is_sound());
        // Whatever is refused says why.
        prop_assert!(report.is_sound() || file.findings[0].severity == Severity::Error);
    }

    #[test]
    fn the_order_of_rows_does_not_change_the_series(
        order in Just((1..=28u32).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut sorted = order.clone();
        sorted.sort_unstable();
        let text = |days: &[u32]| {
            let mut text = HEADER.to_owned();
            for day in days {
                let price = f64::from(100 + day);
                writeln!(text, "2023-02-{day:02},{price},{price},{price},{price},{day}").unwrap();
            }
            text
        };
        let (_, shuffled) = import(&[("A.csv", text(&order))]);
        let (_, straight) = import(&[("A.csv", text(&sorted))]);
        prop_assert_eq!(shuffled, straight);
    }
}
