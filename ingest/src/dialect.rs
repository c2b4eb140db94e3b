//! The column names of the sources that are read, one table; and where they are in a file.

use crate::symbol::SymbolForm;
use crate::{ImportError, MAX_COLUMNS};
use std::path::Path;

/// What a source calls its columns and what it means by them.
#[derive(Debug, PartialEq)]
pub struct Dialect {
    pub name: &'static str,
    /// A file with all of these is of this source.
    marks: &'static [&'static str],
    /// Symbol, date, open, high, low, close, volume.
    pub columns: [&'static str; 7],
    /// Shares in a unit of volume: the mainland sources count lots of 100.
    pub shares_per_unit: f64,
    pub symbols: SymbolForm,
}

const ENGLISH: [&str; 7] = ["symbol", "date", "open", "high", "low", "close", "volume"];

const fn mainland(
    name: &'static str,
    marks: &'static [&'static str],
    columns: [&'static str; 7],
    shares_per_unit: f64,
) -> Dialect {
    Dialect {
        name,
        marks,
        columns,
        shares_per_unit,
        symbols: SymbolForm::Mainland,
    }
}

const fn yahoo(marks: &'static [&'static str], date: &'static str) -> Dialect {
    Dialect {
        name: "yfinance",
        marks,
        columns: ["ticker", date, "open", "high", "low", "close", "volume"],
        shares_per_unit: 1.0,
        symbols: SymbolForm::Yahoo,
    }
}

/// The sources, the most particular first; names are compared without regard to ASCII case.
///
/// - akshare `stock_zh_a_hist` and `stock_zh_a_hist_min_em` (East Money): volume in lots of 100;
///   `stock_zh_a_daily` (Sina), told by `outstanding_share`: volume in shares.
/// - tushare `daily`: `vol` in lots of 100, newest first, dates such as 20230103.
/// - baostock `query_history_k_data_plus`: volume in shares, `sh.600000`; minutes carry the end of
///   the bar in `time`, written 20230103093500000.
/// - yfinance `download` and `Ticker.history`: volume in shares. The form with two header rows is
///   read by [`Wide`].
static DIALECTS: [Dialect; 10] = [
    mainland(
        "akshare",
        &["日期", "开盘", "收盘"],
        ["股票代码", "日期", "开盘", "最高", "最低", "收盘", "成交量"],
        100.0,
    ),
    mainland(
        "akshare",
        &["时间", "开盘", "收盘"],
        ["股票代码", "时间", "开盘", "最高", "最低", "收盘", "成交量"],
        100.0,
    ),
    mainland("akshare", &["date", "outstanding_share"], ENGLISH, 1.0),
    mainland(
        "tushare",
        &["ts_code", "trade_date"],
        [
            "ts_code",
            "trade_date",
            "open",
            "high",
            "low",
            "close",
            "vol",
        ],
        100.0,
    ),
    mainland(
        "baostock",
        &["date", "time", "code"],
        ["code", "time", "open", "high", "low", "close", "volume"],
        1.0,
    ),
    mainland(
        "baostock",
        &["date", "code"],
        ["code", "date", "open", "high", "low", "close", "volume"],
        1.0,
    ),
    yahoo(&["date", "adj close"], "date"),
    yahoo(&["datetime", "adj close"], "datetime"),
    yahoo(&["date", "dividends", "stock splits"], "date"),
    yahoo(&["datetime", "dividends", "stock splits"], "datetime"),
];

static WIDE: Dialect = yahoo(&[], "date");

static OWN: Dialect = Dialect {
    name: "trialmill",
    marks: &[],
    columns: ENGLISH,
    shares_per_unit: 1.0,
    symbols: SymbolForm::AsWritten,
};

fn is(name: &str, wanted: &str) -> bool {
    name.trim().eq_ignore_ascii_case(wanted)
}

fn has(names: &[String], wanted: &str) -> bool {
    names.iter().any(|name| is(name, wanted))
}

fn recognise(names: &[String]) -> &'static Dialect {
    DIALECTS
        .iter()
        .find(|dialect| dialect.marks.iter().all(|mark| has(names, mark)))
        .unwrap_or(&OWN)
}

/// Where the columns of a bar are in a file.
pub struct Layout {
    pub dialect: &'static Dialect,
    pub symbol: Option<usize>,
    /// Positions of date, open, high, low, close, volume.
    pub positions: [usize; 6],
    /// baostock's `adjustflag`: 1 and 2 are adjusted prices, 3 is none.
    pub adjust_flag: Option<usize>,
    /// baostock's `tradestatus`: 0 is a suspended day.
    pub trade_status: Option<usize>,
    /// A column of adjusted prices beside the raw ones.
    pub adjusted_column: Option<String>,
    pub ignored: Vec<String>,
}

impl Layout {
    /// Finds the columns by the names of the source that the file shows.
    pub fn find(path: &Path, names: &[String]) -> Result<Self, ImportError> {
        if names.len() > MAX_COLUMNS {
            return Err(ImportError::TooLarge {
                path: path.to_owned(),
                what: "columns",
                limit: MAX_COLUMNS as u64,
            });
        }
        Self::of(path, names, recognise(names))
    }

    fn of(path: &Path, names: &[String], dialect: &'static Dialect) -> Result<Self, ImportError> {
        let mut positions = [None; 7];
        let (mut adjust_flag, mut trade_status, mut adjusted_column) = (None, None, None);
        let mut ignored = Vec::new();
        for (position, name) in names.iter().enumerate() {
            match dialect.columns.iter().position(|column| is(name, column)) {
                Some(column) if positions[column].is_none() => positions[column] = Some(position),
                Some(column) => {
                    return Err(ImportError::DuplicateColumn {
                        path: path.to_owned(),
                        column: dialect.columns[column],
                    });
                }
                None if dialect.name == "baostock" && is(name, "adjustflag") => {
                    adjust_flag = Some(position);
                }
                None if dialect.name == "baostock" && is(name, "tradestatus") => {
                    trade_status = Some(position);
                }
                None => {
                    if is(name, "adj close") || is(name, "adj_close") {
                        adjusted_column = Some(name.trim().to_owned());
                    }
                    // Tables written with their index have a first column without a name.
                    if !name.trim().is_empty() {
                        ignored.push(name.clone());
                    }
                }
            }
        }
        let [symbol, rest @ ..] = positions;
        let missing: Vec<_> = dialect.columns[1..]
            .iter()
            .zip(&rest)
            .filter(|(_, position)| position.is_none())
            .map(|(column, _)| *column)
            .collect();
        if !missing.is_empty() {
            return Err(ImportError::Columns {
                path: path.to_owned(),
                missing,
                found: names.to_vec(),
            });
        }
        Ok(Self {
            dialect,
            symbol,
            positions: rest.map(|position| position.expect("no column is missing")),
            adjust_flag,
            trade_status,
            adjusted_column,
            ignored,
        })
    }

    /// yfinance has adjusted all prices when it gives no adjusted ones beside them.
    pub fn is_adjusted_by_yahoo(&self) -> bool {
        self.dialect.name == "yfinance" && self.adjusted_column.is_none()
    }
}

/// The header of yfinance with two levels: prices and tickers in either order, then the name of the
/// index.
///
/// ```text
/// Price,Close,Close,High,...
/// Ticker,AAPL,MSFT,AAPL,...
/// Date,,,,...
/// ```
pub struct Wide {
    first: Vec<String>,
}

impl Wide {
    /// Whether the first line begins such a header: it has no date and no name, or that of a level.
    pub fn begins(names: &[String]) -> Option<Self> {
        let level = names
            .first()
            .is_some_and(|name| ["price", "ticker", ""].iter().any(|level| is(name, level)));
        let dated = ["date", "datetime", "日期", "时间", "trade_date", "time"]
            .iter()
            .any(|date| has(names, date));
        (level && !dated && names.len() > 1).then(|| Self {
            first: names.to_vec(),
        })
    }

    /// The tickers and where their columns are.
    pub fn finish(
        self,
        path: &Path,
        second: &[String],
        third: &[String],
    ) -> Result<Vec<(String, Layout)>, ImportError> {
        let dated = third
            .first()
            .is_some_and(|name| is(name, "date") || is(name, "datetime"));
        if !dated || second.len() != self.first.len() {
            return Err(ImportError::Columns {
                path: path.to_owned(),
                missing: vec!["date"],
                found: self.first,
            });
        }
        // Checked here as well: the columns of every ticker are looked for.
        if self.first.len() > MAX_COLUMNS {
            return Err(ImportError::TooLarge {
                path: path.to_owned(),
                what: "columns",
                limit: MAX_COLUMNS as u64,
            });
        }
        let prices_first = is(&self.first[0], "price") || has(&self.first[1..], "close");
        let (prices, tickers) = if prices_first {
            (self.first.as_slice(), second)
        } else {
            (second, self.first.as_slice())
        };
        let mut order: Vec<&String> = tickers[1..].iter().collect();
        order.sort();
        order.dedup();
        order
            .into_iter()
            .map(|ticker| {
                let mut names = vec![String::new(); prices.len()];
                "date".clone_into(&mut names[0]);
                for (at, name) in names.iter_mut().enumerate().skip(1) {
                    if tickers[at] == *ticker {
                        name.clone_from(&prices[at]);
                    }
                }
                Ok((ticker.trim().to_owned(), Layout::of(path, &names, &WIDE)?))
            })
            .collect()
    }
}
