//! Tables beside bars: corporate actions, statuses, adjustment factors.

mod shared;

use chrono::NaiveDate;
use flate2::{Compression, write::GzEncoder};
use shared::shared;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use tempfile::TempDir;
use trialmill_backtest::bars::BarSeries;
use trialmill_backtest::market::{
    CorporateAction, Fundamentals, MAX_ACTIONS, RecordChange, Status, Treatment,
};
use trialmill_backtest::moves::impossible_moves;
use trialmill_ingest::{Code, ImportReport, Imported, ReadOptions, read_file, read_files};

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn files(files: &[(&str, Vec<u8>)], options: &ReadOptions) -> (ImportReport, Imported) {
    let folder = TempDir::new().unwrap();
    let paths: Vec<PathBuf> = files
        .iter()
        .map(|(name, bytes)| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        })
        .collect();
    read_files(&paths, options)
}

fn one(name: &str, text: &str) -> (ImportReport, Imported) {
    files(&[(name, text.into())], &ReadOptions::default())
}

/// The errors of the only file, as `code symbol-or-column rows value`.
fn errors((report, read): (ImportReport, Imported)) -> Vec<String> {
    assert!(read.series.is_empty() && read.records.is_empty());
    assert!(!report.is_sound());
    let findings = report.files[0].findings.iter();
    findings
        .map(|finding| {
            let on = finding.column.as_ref().or(finding.symbol.as_ref());
            let on = on.map_or("", String::as_str);
            let value = finding.value.as_deref().unwrap_or_default();
            format!("{} {on} {:?} {value}", finding.code.name(), finding.rows)
        })
        .collect()
}

fn action(symbol: &str, ex_date: &str, cash: f64, bonus: f64) -> CorporateAction {
    CorporateAction {
        symbol: symbol.to_owned(),
        ex_date: day(ex_date),
        cash_per_share: cash,
        bonus_per_share: bonus,
    }
}

const ACTIONS: &str = "symbol,ex_date,cash_per_share,bonus_per_share\n";
const STATUSES: &str = "symbol,listed,delisted,st_from,st_to\n";

#[test]
fn actions_come_by_symbol_and_ex_date_from_plain_and_packed_files() {
    let text = format!(
        "{ACTIONS}600000.SH,2015-06-23,0.757,0\nsz.000001,20160616,0.153,0.2\n\
         600000.SH,2016/06/23,0.515,0.1\n\n600000,2015-06-23,0,0.05\n"
    );
    let wanted = [
        RecordChange {
            symbol: "000001.SZ".to_owned(),
            actions: Some(vec![action("000001.SZ", "2016-06-16", 0.153, 0.2)]),
            ..RecordChange::default()
        },
        RecordChange {
            symbol: "600000.SH".to_owned(),
            actions: Some(vec![
                action("600000.SH", "2015-06-23", 0.0, 0.05),
                action("600000.SH", "2015-06-23", 0.757, 0.0),
                action("600000.SH", "2016-06-23", 0.515, 0.1),
            ]),
            ..RecordChange::default()
        },
    ];
    let (report, read) = one("dividends.csv", &text);
    assert_eq!(read.records, wanted);
    assert!(read.series.is_empty());
    let file = &report.files[0];
    assert_eq!(
        (file.dialect, file.symbols, file.rows),
        (Some("actions"), 2, 4)
    );
    assert_eq!(file.first_date.as_deref(), Some("2015-06-23"));
    assert_eq!(file.last_date.as_deref(), Some("2016-06-23"));
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(text.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let (_, again) = files(&[("dividends.csv.gz", packed)], &ReadOptions::default());
    assert_eq!(again.records, wanted);
}

#[test]
fn every_fault_of_a_table_of_actions_is_told_with_its_row() {
    let text = format!(
        "{ACTIONS}600000.SH,2015-06-31,1,0\n600000.SH,,1,0\n600000.SH,2015-06-23,x,\n\
         600000.SH,2015-06-24,-1,0\n600000.SH,2015-06-25,0,-0.5\n600000.SH,2015-06-26,0,0\n\
         600000.SH,2015-06-29,1,0\n600000.SH,2015-06-29,1.0,0.0\n600000.SH,1515-06-29,1,0\n\
         510300,2015-06-29,1,0\n,2015-06-29,1,0\na b,2015-06-29,1,0\n600000.SH,2015-06-30,1\n\
         600000.SH,2015-06-30,nan,0\n"
    );
    assert_eq!(
        errors(one("dividends.csv", &text)),
        [
            "field_count  [14] 3 field(s)",
            "missing_value bonus_per_share [4] ",
            "missing_value ex_date [3] ",
            "missing_value  [12] ",
            "unreadable_date ex_date [2] \"2015-06-31\"",
            "unreadable_number cash_per_share [4] \"x\"",
            "date_out_of_range ex_date [10] \"1515-06-29\"",
            "bad_symbol a b [13] ",
            "exchange_unknown 510300 [11] ",
            "duplicate_action 600000.SH [9] 2015-06-29: 1 in cash, 0 new shares is also in row 8",
            "not_an_action bonus_per_share [6] 2015-06-25: 0 in cash, -0.5 new shares",
            "not_an_action cash_per_share [5, 15] 2015-06-24: -1 in cash, 0 new shares",
            "not_an_action cash_per_share and bonus_per_share [7] 2015-06-26: 0 in cash, 0 new shares",
        ]
    );
    let mut many = ACTIONS.to_owned();
    for number in 0..=MAX_ACTIONS {
        let date = day("1990-01-01") + chrono::Days::new(u64::try_from(number).unwrap());
        many.push_str(&format!("A,{date},1,0\n"));
    }
    let told = errors(one("dividends.csv", &many));
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("record_too_large A [] A has 5001"),
        "{told:?}"
    );
    let missing = errors(one("dividends.csv", "symbol,ex_date,cash_per_share\n"));
    assert!(
        missing[0].contains("bonus_per_share are missing"),
        "{missing:?}"
    );
    assert_eq!(
        errors(one("dividends.csv", ACTIONS))[0],
        "empty  [] there are no rows"
    );
}

#[test]
fn statuses_have_a_row_for_each_time_under_special_treatment() {
    let text = format!(
        "{STATUSES}000001.SZ,1991-04-03,,,\n600001.SH,1998-01-22,2009-12-29,,\n\
         600002.SH,,,2020-04-30,\n600002.SH,1998-04-08,,2005-01-04,2006-01-04\n"
    );
    let (report, read) = one("statuses.csv", &text);
    assert_eq!(report.files[0].dialect, Some("statuses"));
    assert_eq!(report.files[0].first_date, None);
    let statuses: Vec<&Status> = read
        .records
        .iter()
        .map(|change| change.status.as_ref().unwrap())
        .collect();
    assert_eq!(statuses[0].listed, Some(day("1991-04-03")));
    assert_eq!(statuses[1].delisted, Some(day("2009-12-29")));
    let time = |first, last: Option<&str>| Treatment {
        first: day(first),
        last: last.map(day),
    };
    assert_eq!(
        statuses[2].special_treatment,
        [
            time("2005-01-04", Some("2006-01-04")),
            time("2020-04-30", None)
        ]
    );
    assert_eq!(statuses[2].listed, Some(day("1998-04-08")));
}

#[test]
fn statuses_that_contradict_themselves_are_told_with_their_rows() {
    let text = format!(
        "{STATUSES}A,2001-01-02,,,\nA,2001-01-03,,,\nB,,,,\nC,,,,2005-01-04\n\
         D,2001-01-02,2001-01-01,,\nE,,,2005-01-04,2006-01-04\nE,,,2006-01-04,\n\
         F,2001-01-02,,2000-01-04,2000-06-01\nG,,2006-01-01,2005-01-04,2006-01-04\n\
         H,,,2005-01-04,2004-01-04\nI,yesterday,,,\n"
    );
    let told = errors(one("statuses.csv", &text));
    let starts = [
        "unreadable_date listed [12] \"yesterday\"",
        "contradicting_status listed [3] listed 2001-01-03, and 2001-01-02 in row 2",
        "contradicting_status listed [4] all days are empty",
        "contradicting_status st_to [5] st_to 2005-01-04 without st_from",
        "contradicting_status D [6] it was delisted on 2001-01-01, not after",
        "contradicting_status E [8] special treatment begins on 2006-01-04 while",
        "contradicting_status F [9] special treatment began on 2000-01-04, before its",
        "contradicting_status G [10] special treatment lasted to 2006-01-04, when",
        "contradicting_status H [11] special treatment ended on 2004-01-04, before",
    ];
    assert_eq!(told.len(), starts.len(), "{told:#?}");
    for (told, start) in told.iter().zip(starts) {
        assert!(told.starts_with(start), "{told}");
    }
}

#[test]
fn what_changes_between_two_rows_of_factors_is_an_action_after_the_first() {
    // 2 for 1 after 01-03, then 0.50 of 25.00 after 01-06, then 3 for 2 with 1.00 of 30.00.
    let text = "20200102,0.95,0.25,1\n20200103,0.95,0.25,50\n20200106,0.95,0.5,25\n\
                20200109,0.969387755102041,0.666666666666667,30\n20501231,1,1,0\n";
    let (report, read) = one("AAPL.factors.csv", text);
    assert_eq!(report.files[0].dialect, Some("factors"));
    assert_eq!(read.records.len(), 1);
    assert_eq!(read.records[0].symbol, "AAPL");
    let actions = read.records[0].actions.as_deref().unwrap();
    let dates: Vec<_> = actions.iter().map(|a| a.ex_date.to_string()).collect();
    assert_eq!(dates, ["2020-01-04", "2020-01-07", "2020-01-10"]);
    let amounts: Vec<(f64, f64)> = actions
        .iter()
        .map(|a| (a.cash_per_share, a.bonus_per_share))
        .collect();
    let wanted = [(0.0, 1.0), (0.5, 1.0 / 3.0), (0.918_367_346_938_77, 0.5)];
    for (got, wanted) in amounts.iter().zip(wanted) {
        assert!((got.0 - wanted.0).abs() < 1e-12, "{got:?}");
        assert_eq!(got.1, wanted.1);
    }
    // With names, of the symbol that was asked for.
    let named = format!("date,price_factor,split_factor,reference_price\n{text}");
    let options = ReadOptions {
        symbol: Some("X".to_owned()),
        ..ReadOptions::default()
    };
    let (_, other) = files(&[("factors.csv", named.into())], &options);
    assert_eq!(other.records[0].symbol, "X");
    assert_eq!(other.records[0].actions.as_ref().unwrap().len(), 3);
    // A share that gave nothing has a record without actions.
    let (_, none) = one("B.factors.csv", "20200102,1,1,1\n20501231,1,1,0\n");
    assert_eq!(none.records[0].actions, Some(Vec::new()));
}

#[test]
fn factors_that_are_no_actions_are_refused_by_row() {
    let text = "20200102,0.9,1,10\n20200103,0.9,0.05,10\n20200106,0.8,0.05,10\n\
                20200107,0.9,0.05,0\n20200108,1,0.05,10\n20200108,1,0.05,10\n20200109,1,0,10\n";
    let told = errors(one("A.factors.csv", text));
    let wanted = [
        "duplicate_date A [6] 2020-01-08 is also in row 5",
        "not_an_action price_factor [2] 0.9 up to 2020-01-03, 0.8 after",
        "not_an_action reference_price [4] 0 on 2020-01-07",
        "not_an_action split_factor [1, 7] 1 up to 2020-01-02, 0.05 after",
    ];
    assert_eq!(told, wanted);
    let (report, _) = one("A.factors.csv", text);
    let finding = &report.files[0].findings[3];
    let limit = finding.limit.as_deref().unwrap();
    assert!(
        limit.starts_with("a reverse split is not modelled"),
        "{limit}"
    );
}

#[test]
fn tables_and_bars_of_one_import_go_together_or_not_at_all() {
    let bars = b"date,open,high,low,close,volume\n2020-01-02,1,1,1,1,5\n".to_vec();
    let actions = |date: &str| format!("{ACTIONS}A.SH,{date},1,0\n").into_bytes();
    let statuses = format!("{STATUSES}A.SH,2001-01-02,,,\n").into_bytes();
    let all = |date| {
        let files_of = [
            ("A.SH.csv", bars.clone()),
            ("actions.csv", actions(date)),
            ("statuses.csv", statuses.clone()),
        ];
        files(&files_of, &ReadOptions::default())
    };
    let (report, read) = all("2020-01-03");
    assert!(report.is_sound());
    assert_eq!((read.series.len(), read.records.len()), (1, 1));
    let record = &read.records[0];
    assert!(record.actions.is_some() && record.status.is_some());
    let (report, read) = all("2020-01-33");
    assert!(!report.is_sound() && read.series.is_empty() && read.records.is_empty());
    // Two files may not both be the actions of a symbol.
    let twice = [
        ("actions.csv", actions("2020-01-03")),
        (
            "A.SH.factors.csv",
            b"20200102,1,1,1\n20501231,1,1,0\n".to_vec(),
        ),
    ];
    let (report, _) = files(&twice, &ReadOptions::default());
    let finding = &report.files[1].findings[0];
    assert_eq!(finding.code, Code::SymbolInTwoFiles);
}

/// The bars and factors of a symbol of `../shared`.
fn real(symbol: &str) -> Option<(BarSeries, RecordChange)> {
    let bars = shared(&format!("data/us_daily/{symbol}.raw.csv.gz"))?;
    let factors = shared(&format!("data/us_daily/{symbol}.factors.csv"))?;
    let bars = read_file(&bars).unwrap().series.remove(0);
    let change = read_file(&factors).unwrap().records.remove(0);
    assert_eq!((bars.symbol(), change.symbol.as_str()), (symbol, symbol));
    Some((bars, change))
}

#[test]
fn real_splits_and_dividends_explain_the_gaps_of_real_prices() {
    let (Some((apple, factors)), Some((fund, of_fund))) = (real("AAPL"), real("SPY")) else {
        return;
    };
    let (first, last) = (day("1998-01-01"), day("2021-12-31"));
    let actions = factors.actions.unwrap();
    let splits: Vec<(String, f64)> = actions
        .iter()
        .filter(|action| action.bonus_per_share > 0.0)
        .map(|action| (action.ex_date.to_string(), action.bonus_per_share))
        .collect();
    let wanted = [
        ("2000-06-21", 1.0),
        ("2005-02-26", 1.0),
        ("2014-06-07", 6.0),
        ("2020-08-29", 3.0),
    ];
    assert_eq!(splits, wanted.map(|(date, bonus)| (date.to_owned(), bonus)));
    // Besides its splits AAPL fell by more than 30 % on 2000-09-29, which was no split.
    assert_eq!(impossible_moves(&apple, &[], first, last), 5);
    assert_eq!(impossible_moves(&apple, &actions, first, last), 1);
    assert_eq!(
        impossible_moves(&apple, &actions, day("2000-09-29"), day("2000-09-29")),
        1
    );
    // The first dividend since 1995 was 2.65 a share, ex on 2012-08-09.
    let dividend = actions.iter().find(|action| action.cash_per_share > 0.0);
    let dividend = dividend.unwrap();
    assert_eq!(dividend.ex_date, day("2012-08-09"));
    assert!(
        (dividend.cash_per_share - 2.65).abs() < 1e-4,
        "{dividend:?}"
    );
    let of_fund = of_fund.actions.unwrap();
    assert!(of_fund.len() > 80 && of_fund.iter().all(|a| a.bonus_per_share == 0.0));
    assert_eq!(impossible_moves(&fund, &of_fund, first, last), 0);
}

#[test]
fn a_real_reverse_split_is_refused_with_its_row() {
    let Some(path) = shared("data/us_daily/AIG.factors.csv") else {
        return;
    };
    let told = errors(read_files(&[path], &ReadOptions::default()));
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("not_an_action split_factor [48] 20 up to 2009-06-30, 1 after"),
        "{told:?}"
    );
}

const FUNDAMENTALS: &str = "symbol,announced,earnings_per_share,book_per_share,sales_per_share,\
                            ebitda_per_share,net_debt_per_share\n";

#[test]
fn fundamentals_have_a_row_for_each_report_with_what_it_tells() {
    let text = format!(
        "{FUNDAMENTALS}sh.600000,2015-03-19,2.52,13.9,,,\n600000,20160428,-0.1,,6.5,1.2,-3\n\
         AAPL,2016-01-26,2.4,22,,,\n"
    );
    let (report, read) = one("reports.csv", &text);
    let of = |symbol: &str, announced, figures| Fundamentals::new(symbol, day(announced), figures);
    let wanted = [
        RecordChange {
            symbol: "600000.SH".to_owned(),
            fundamentals: Some(vec![
                of(
                    "600000.SH",
                    "2015-03-19",
                    [Some(2.52), Some(13.9), None, None, None],
                ),
                of(
                    "600000.SH",
                    "2016-04-28",
                    [Some(-0.1), None, Some(6.5), Some(1.2), Some(-3.0)],
                ),
            ]),
            ..RecordChange::default()
        },
        RecordChange {
            symbol: "AAPL".to_owned(),
            fundamentals: Some(vec![of(
                "AAPL",
                "2016-01-26",
                [Some(2.4), Some(22.0), None, None, None],
            )]),
            ..RecordChange::default()
        },
    ];
    assert_eq!(read.records, wanted);
    let file = &report.files[0];
    assert_eq!((file.dialect, file.rows), (Some("fundamentals"), 3));
    assert_eq!(file.first_date.as_deref(), Some("2015-03-19"));
    assert_eq!(file.last_date.as_deref(), Some("2016-04-28"));
    // Each table of an import tells its part; two of one kind may not tell of one symbol.
    let actions = format!("{ACTIONS}600000.SH,2015-06-23,0.757,0\n");
    let both = [
        ("a.csv", actions.into()),
        ("r.csv", text.clone().into_bytes()),
    ];
    let (_, read) = files(&both, &ReadOptions::default());
    assert_eq!(read.records.len(), 2);
    assert!(read.records[0].actions.is_some() && read.records[0].fundamentals.is_some());
    let twice = [("r.csv", text.clone().into_bytes()), ("s.csv", text.into())];
    let (report, read) = files(&twice, &ReadOptions::default());
    assert!(!report.is_sound() && read.records.is_empty());
    assert_eq!(report.files[1].findings[0].code, Code::SymbolInTwoFiles);
}

#[test]
fn every_fault_of_a_table_of_fundamentals_is_told_with_its_row() {
    let text = format!(
        "{FUNDAMENTALS}A,2015-03-19,1,,,,\nA,2015-03-19,2,,,,\nA,2015-03-20,,,,,\nA,,1,,,,\n\
         A,2015-03-21,x,,-1,,\nA,2015-03-22,,,-1,,\nA,2015-03-23,1e13,,,,\nA,2015-03-24,nan,,,,\n"
    );
    assert_eq!(
        errors(one("reports.csv", &text)),
        [
            "missing_value announced [5] ",
            "unreadable_number earnings_per_share [6] \"x\"",
            "duplicate_report announced [3] 2015-03-19 is also in row 2",
            "not_a_report announced [4] announced 2015-03-20",
            "not_a_report earnings_per_share [8, 9] announced 2015-03-23",
            "not_a_report sales_per_share [7] announced 2015-03-22",
        ]
    );
    let missing = files(
        &[(
            "reports.csv",
            b"symbol,announced,earnings_per_share\nA,2015-03-19,1\n".to_vec(),
        )],
        &ReadOptions::default(),
    );
    let told = missing.0.files[0].findings[0].value.clone();
    assert!(told.unwrap().contains("book_per_share"));
}
