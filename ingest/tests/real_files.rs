//! The same real series from CSV and from Parquet.

mod shared;

use shared::shared;
use std::collections::BTreeMap;
use trialmill_backtest::bars::Frequency;
use trialmill_ingest::read_file;

#[test]
fn the_parquet_file_agrees_with_the_csv_files_of_the_same_symbols() {
    let (Some(parquet), Some(folder)) = (
        shared("data/ashare_daily_all.parquet"),
        shared("data/ashare_daily"),
    ) else {
        return;
    };
    let all = read_file(&parquet).unwrap();
    assert_eq!((all.series.len(), all.rows), (303, 861_340));
    assert!(all.series.is_sorted_by(|a, b| a.symbol() < b.symbol()));
    let by_symbol: BTreeMap<_, _> = all.series.iter().map(|s| (s.symbol(), s)).collect();
    let mut agreed = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let import = read_file(&path).unwrap();
        assert_eq!(import.series.len(), 1, "{}", path.display());
        let one = &import.series[0];
        assert_eq!(by_symbol[one.symbol()], one, "{}", path.display());
        agreed += 1;
    }
    assert_eq!(agreed, 44);
}

#[test]
fn intraday_and_adjusted_files_are_read_with_their_frequency_and_extra_columns() {
    let Some(folder) = shared("data") else { return };
    let minute = read_file(&folder.join("intraday/SPX.1min.csv.gz")).unwrap();
    assert_eq!(minute.series[0].frequency(), Frequency::Minute);
    assert!(!minute.series[0].has_volume());
    let hour = read_file(&folder.join("intraday/EURUSD.1hour.bid.csv.gz")).unwrap();
    assert_eq!(
        (hour.series[0].frequency(), hour.rows),
        (Frequency::Hour, 74_439)
    );
    let adjusted = read_file(&folder.join("us_daily/AAPL.split_adjusted.csv.gz")).unwrap();
    assert_eq!(adjusted.ignored_columns, ["adj_close"]);
}
