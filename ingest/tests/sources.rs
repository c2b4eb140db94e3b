//! The files of akshare, tushare, baostock and yfinance, as their programs write them.

use std::fs;
use tempfile::TempDir;
use trialmill_backtest::bars::{BarSeries, Frequency, midnight};
use trialmill_ingest::{Code, Import, ImportError, ReadOptions, read_file_with};

const AKSHARE: &str = "日期,股票代码,开盘,收盘,最高,最低,成交量,成交额,振幅,涨跌幅,涨跌额,换手率\n\
    2023-01-03,000001,13.20,13.77,13.85,13.05,2194128,2971546989.0,6.09,4.87,0.64,1.13\n\
    2023-01-04,000001,13.71,14.32,14.42,13.63,2189683,3110729449.0,5.74,3.99,0.55,1.13\n";

fn read_as(name: &str, bytes: &[u8], symbol: Option<&str>) -> Result<Import, ImportError> {
    let folder: TempDir = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let options = ReadOptions {
        symbol: symbol.map(str::to_owned),
        ..ReadOptions::default()
    };
    read_file_with(&path, &options)
}

fn read(name: &str, text: &str) -> Import {
    read_as(name, text.as_bytes(), None).unwrap()
}

fn day(text: &str) -> i64 {
    midnight(text.parse().unwrap())
}

fn codes(import: &Import) -> Vec<Code> {
    import.findings.iter().map(|finding| finding.code).collect()
}

/// Symbol and first bar.
fn first(series: &BarSeries) -> (&str, i64, [f64; 5]) {
    let bar = [
        series.open()[0],
        series.high()[0],
        series.low()[0],
        series.close()[0],
        series.volume()[0],
    ];
    (series.symbol(), series.first_time(), bar)
}

#[test]
fn akshare_with_chinese_names_gives_shares_and_an_exchange() {
    let expected = (
        "000001.SZ",
        day("2023-01-03"),
        [13.20, 13.85, 13.05, 13.77, 219_412_800.0],
    );
    let marked = format!("\u{feff}{AKSHARE}");
    let gbk = encoding_rs::GBK.encode(AKSHARE).0.into_owned();
    assert!(std::str::from_utf8(&gbk).is_err());
    for bytes in [AKSHARE.as_bytes(), marked.as_bytes(), &gbk] {
        let import = read_as("any.csv", bytes, None).unwrap();
        assert_eq!((import.dialect, import.rows), ("akshare", 2));
        assert_eq!(first(&import.series[0]), expected);
        assert_eq!(codes(&import), [Code::VolumeInLots]);
        assert_eq!(
            import.ignored_columns,
            ["成交额", "振幅", "涨跌幅", "涨跌额", "换手率"]
        );
    }
}

#[test]
fn akshare_without_a_code_takes_the_file_name_and_says_what_it_derived() {
    let text = "日期,开盘,收盘,最高,最低,成交量\n2023-01-03,13.2,13.77,13.85,13.05,2194128\n";
    let import = read("000001.csv", text);
    assert_eq!(import.series[0].symbol(), "000001.SZ");
    assert_eq!(codes(&import), [Code::ExchangeDerived, Code::VolumeInLots]);
    let index = read_as("000001.csv", text.as_bytes(), Some("000001.SH")).unwrap();
    assert_eq!(index.series[0].symbol(), "000001.SH");
    assert_eq!(codes(&index), [Code::VolumeInLots]);
    let refused = read_as("平安银行.csv", text.as_bytes(), None).unwrap_err();
    assert_eq!(refused.code(), Code::ExchangeUnknown, "{refused}");
    assert!(refused.to_string().contains("--symbol"), "{refused}");
}

#[test]
fn akshare_from_sina_and_by_the_minute_is_read() {
    let text = "date,open,high,low,close,volume,amount,outstanding_share,turnover\n\
                2023-01-03,7.27,7.30,7.20,7.23,30000000,1,2,3\n";
    let sina = read("sh600000.csv", text);
    assert_eq!(
        first(&sina.series[0]),
        (
            "600000.SH",
            day("2023-01-03"),
            [7.27, 7.30, 7.20, 7.23, 30_000_000.0]
        )
    );
    let text = "时间,开盘,收盘,最高,最低,成交量,成交额,最新价\n\
                2023-01-03 09:31:00,7.27,7.28,7.29,7.26,120,1,7.28\n";
    let minute = read("600000.SH.csv", text);
    assert_eq!(minute.series[0].frequency(), Frequency::Minute);
    assert_eq!(minute.series[0].volume(), [12_000.0]);
}

#[test]
fn tushare_is_turned_round_and_its_lots_become_whole_shares() {
    let import = read(
        "daily.csv",
        ",ts_code,trade_date,open,high,low,close,pre_close,change,pct_chg,vol,amount\n\
         0,000001.SZ,20180718,8.75,8.85,8.69,8.70,8.72,-0.02,-0.23,525152.77,460697.377\n\
         1,000001.SZ,20180717,8.74,8.75,8.66,8.72,8.73,-0.01,-0.11,375356.33,326396.994\n\
         2,000001.SZ,20180716,8.85,8.90,8.69,8.73,8.88,-0.15,-1.69,689845.58,603427.713\n",
    );
    assert_eq!(import.dialect, "tushare");
    let series = &import.series[0];
    assert_eq!(
        first(series),
        (
            "000001.SZ",
            day("2018-07-16"),
            [8.85, 8.90, 8.69, 8.73, 68_984_558.0]
        )
    );
    assert_eq!(series.volume()[2], 52_515_277.0);
    assert_eq!(codes(&import), [Code::NewestFirst, Code::VolumeInLots]);
    assert_eq!(
        import.ignored_columns,
        ["pre_close", "change", "pct_chg", "amount"]
    );
}

const BAOSTOCK: &str = "date,code,open,high,low,close,preclose,volume,amount,adjustflag,turn,\
                        tradestatus,pctChg,isST\n";

#[test]
fn baostock_keeps_suspended_days_and_tells_adjusted_rows() {
    let rows = "2017-07-03,sh.600000,12.63,12.63,12.51,12.61,12.65,12345678,1.0,3,0.1,1,-0.3,0\n\
                2017-07-04,sh.600000,12.61,12.61,12.61,12.61,12.61,,,3,,0,0.0,0\n";
    let import = read("x.csv", &format!("{BAOSTOCK}{rows}"));
    let series = &import.series[0];
    assert_eq!(
        first(series),
        (
            "600000.SH",
            day("2017-07-03"),
            [12.63, 12.63, 12.51, 12.61, 12_345_678.0]
        )
    );
    assert!(series.is_suspended(1));
    assert_eq!(codes(&import), [Code::SuspendedDays]);
    assert_eq!(import.findings[0].rows, [3]);

    let adjusted = read(
        "x.csv",
        &format!("{BAOSTOCK}{}", rows.replace(",3,", ",2,")),
    );
    assert_eq!(
        codes(&adjusted),
        [Code::AdjustedPrices, Code::SuspendedDays]
    );
    assert_eq!(adjusted.findings[0].rows, [2, 3]);

    let mixed = format!("{BAOSTOCK}{}", rows.replacen(",3,", ",1,", 1));
    let refused = read_as("x.csv", mixed.as_bytes(), None).unwrap_err();
    assert_eq!(refused.code(), Code::MixedAdjustment, "{refused}");
}

#[test]
fn baostock_minutes_carry_their_time() {
    let import = read(
        "x.csv",
        "date,time,code,open,high,low,close,volume,amount,adjustflag\n\
         2017-07-03,20170703093500000,sz.000001,9.40,9.42,9.38,9.41,100,1,3\n\
         2017-07-03,20170703094000000,sz.000001,9.41,9.42,9.38,9.40,200,1,3\n",
    );
    let series = &import.series[0];
    assert_eq!(
        (series.symbol(), series.frequency()),
        ("000001.SZ", Frequency::Minute)
    );
    let start = day("2017-07-03");
    assert_eq!(series.time(), [start + 34_500, start + 34_800]);
}

#[test]
fn yfinance_with_one_header_row_takes_the_raw_close() {
    let import = read(
        "AAPL.csv",
        "Date,Open,High,Low,Close,Adj Close,Volume\n\
         2023-01-03,130.28,130.90,124.17,125.07,123.90,112117500\n",
    );
    assert_eq!(import.dialect, "yfinance");
    assert_eq!(
        first(&import.series[0]),
        (
            "AAPL",
            day("2023-01-03"),
            [130.28, 130.90, 124.17, 125.07, 112_117_500.0]
        )
    );
    assert_eq!(codes(&import), [Code::AdjustedColumnNotUsed]);
    let history = read(
        "600000.SS.csv",
        "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits\n\
         2023-01-03 00:00:00+08:00,7.27,7.30,7.20,7.23,30000000,0.0,0.0\n",
    );
    assert_eq!(history.series[0].symbol(), "600000.SH");
    assert_eq!(codes(&history), [Code::AdjustedPrices]);
}

#[test]
fn yfinance_with_two_header_rows_holds_several_tickers() {
    let one = read(
        "x.csv",
        "Price,Close,High,Low,Open,Volume\nTicker,MSFT,MSFT,MSFT,MSFT,MSFT\nDate,,,,,\n\
         2023-02-17,254.5,256.5,252.5,255.8,30000100\n",
    );
    assert_eq!(
        first(&one.series[0]),
        (
            "MSFT",
            day("2023-02-17"),
            [255.8, 256.5, 252.5, 254.5, 30_000_100.0]
        )
    );
    assert_eq!(codes(&one), [Code::AdjustedPrices]);
    // Tickers above prices, and a day on which one of them did not trade.
    let two = read(
        "x.csv",
        "Ticker,AAPL,AAPL,AAPL,AAPL,AAPL,AAPL,600000.SS,600000.SS,600000.SS,600000.SS,600000.SS,600000.SS\n\
         Price,Open,High,Low,Close,Adj Close,Volume,Open,High,Low,Close,Adj Close,Volume\n\
         Date,,,,,,,,,,,,\n\
         2023-01-02,,,,,,,7.2,7.3,7.1,7.2,7.0,1000\n\
         2023-01-03,130.0,131.0,124.0,125.0,123.0,500,7.2,7.3,7.1,7.2,7.0,1000\n",
    );
    let rows: Vec<_> = two.series.iter().map(|s| (s.symbol(), s.rows())).collect();
    assert_eq!(rows, [("600000.SH", 2), ("AAPL", 1)]);
    assert_eq!(codes(&two), [Code::AdjustedColumnNotUsed]);
    let cut = read_as("x.csv", b"Price,Close\nTicker,MSFT\n2023-02-17,1\n", None);
    assert_eq!(cut.unwrap_err().code(), Code::Columns);
}

#[test]
fn a_code_with_lost_zeros_or_of_no_share_is_refused_by_row() {
    let text = AKSHARE.replacen(",000001,", ",1,", 1);
    let Err(ImportError::Faults { findings, .. }) = read_as("x.csv", text.as_bytes(), None) else {
        panic!("1 is no code");
    };
    assert_eq!(
        (findings[0].code, findings[0].rows.as_slice()),
        (Code::ExchangeUnknown, &[2][..])
    );
    assert!(findings[0].advice.contains("leading zeros"));
    // Asked for, the code of a fund gets its exchange.
    let fund = AKSHARE.replace(",000001,", ",510300,");
    let import = read_as("x.csv", fund.as_bytes(), Some("510300.SH")).unwrap();
    assert_eq!(import.series[0].symbol(), "510300.SH");
    let other = read_as("x.csv", fund.as_bytes(), Some("510500.SH")).unwrap_err();
    assert_eq!(other.code(), Code::MixedSymbols);
}

#[test]
fn what_is_no_text_is_refused_with_a_hint() {
    for bytes in [
        &b"\xff\xfed\0a\0t\0e\0"[..],
        b"PK\x03\x04workbook",
        b"\0\0\0\0",
    ] {
        let refused = read_as("x.csv", bytes, None).unwrap_err();
        assert_eq!(refused.code(), Code::Encoding);
        assert!(refused.to_string().contains("UTF-8"), "{refused}");
    }
}
