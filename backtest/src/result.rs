//! The result of a single backtest, as it is stored and shown.

use crate::dataset::Dataset;
use crate::engine::{OpenPosition, Report, Side, Trade};
use crate::market::Execution;
use crate::metrics::{compare, evaluate_all};
use crate::sum::sum_of_two;
use chrono::{DateTime, Datelike, NaiveDate};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A number, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Figure {
    /// Its value, finite.
    Value(f64),
    /// No value.
    Undefined {
        /// Always null.
        value: Option<f64>,
        /// Why.
        reason: String,
    },
}

impl Figure {
    fn undefined(reason: &str) -> Self {
        Self::Undefined {
            value: None,
            reason: reason.to_owned(),
        }
    }
}

/// A closed position in one symbol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClosedTrade {
    /// The symbol.
    pub symbol: String,
    /// Stock code and partner, `y/x`, if it was a leg of a pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<String>,
    /// Long or short.
    pub side: Side,
    /// Day of the opening.
    pub entry_date: NaiveDate,
    /// Day of the closing.
    pub exit_date: NaiveDate,
    /// Shares.
    pub shares: f64,
    /// Price of the opening before costs.
    pub entry_price: f64,
    /// Price of the closing before costs.
    pub exit_price: f64,
    /// Cash paid for the purchase, costs included.
    pub paid: f64,
    /// Cash received for the sale, costs taken off.
    pub received: f64,
    /// `received - paid`.
    pub profit: f64,
}

/// A position open at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldPosition {
    /// The symbol.
    pub symbol: String,
    /// Stock code and partner, `y/x`, if it is a leg of a pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<String>,
    /// Long or short.
    pub side: Side,
    /// Day of the opening.
    pub entry_date: NaiveDate,
    /// Shares.
    pub shares: f64,
    /// Price of the opening before costs.
    pub entry_price: f64,
    /// Value at the last close, below 0 if short.
    pub value: f64,
    /// What it has brought so far, the costs of closing it not counted.
    pub profit: f64,
}

/// The return of one calendar month.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MonthlyReturn {
    /// Year.
    pub year: i32,
    /// Month, 1 to 12.
    pub month: u32,
    /// Equity at its last close by that of the month before (for the first: the initial cash), less
    /// 1. All months compound to the total return.
    #[serde(rename = "return")]
    pub change: f64,
}

/// What one symbol contributed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SymbolResult {
    /// The symbol.
    pub symbol: String,
    /// Its closed positions.
    pub trades: usize,
    /// Profit of the closed ones and of those still open, in cash.
    pub profit: f64,
    /// Mean over the rows of the value of its positions, short ones with their magnitude, as a
    /// share of the book's equity. All symbols add up to the metric `exposure`.
    pub exposure: f64,
}

/// A stock code and its partner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairNames {
    /// The stock code, `y` of the regression.
    pub stock_code: String,
    /// Its partner, `x`.
    pub partner: String,
}

/// What a pair strategy was, seen against holding its legs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairResult {
    /// The pairs.
    pub pairs: Vec<PairNames>,
    /// The form in words: a rotation between the legs, or market-neutral.
    pub form: String,
    /// As the metric `exposure`.
    pub exposure: f64,
    /// Slope of the book's returns on those of the equal-weight hold of both legs: how much of
    /// their common movement the book carries.
    pub beta: Figure,
    /// Total return of the equal-weight hold of both legs (of every pair).
    pub hold_return: Figure,
    /// Total return of the book less that.
    pub excess_return: Figure,
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Entry signals inside the period, those ignored while held included.
    pub entry_signals: usize,
    /// Exit signals inside the period, those ignored while out included.
    pub exit_signals: usize,
    /// Positions opened.
    pub entries: usize,
    /// Positions closed.
    pub exits: usize,
    /// Entries not done because no cash was left.
    pub entries_without_cash: usize,
    /// Entries of a pair not done because its half-life was too long or did not exist.
    pub refused_by_half_life: usize,
    /// Entries of a pair, its half-life being short enough, not done because its hedge ratio was not
    /// above 0: legs that move against each other leave no dear one to exchange for a cheap one.
    #[serde(default)]
    pub refused_by_hedge_ratio: usize,
}

/// A book that short positions used up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lost {
    /// The day at whose close everything was closed.
    pub date: NaiveDate,
    /// Cash that was missing then.
    pub shortfall: f64,
}

/// The result of one backtest. Curves have one entry for each of `dates`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BacktestResult {
    /// Every metric of the catalogue by its name.
    pub metrics: BTreeMap<String, Figure>,
    /// Whether fills used prices that nobody knew in time; then no figure here is attainable.
    pub looks_ahead: bool,
    /// Cash at the start.
    pub initial_cash: f64,
    /// Equity at the last close.
    pub final_equity: f64,
    /// Trading days.
    pub dates: Vec<NaiveDate>,
    /// Equity at the close.
    pub equity: Vec<f64>,
    /// Share lost since the highest equity so far, the initial cash included; 0 to 1.
    pub drawdown: Vec<f64>,
    /// Equity of holding; empty if it was not computed.
    pub benchmark: Vec<f64>,
    /// Returns of the months that have a trading day.
    pub monthly_returns: Vec<MonthlyReturn>,
    /// Closed positions in the order of their closing.
    pub trades: Vec<ClosedTrade>,
    /// Positions open at the end.
    pub open_positions: Vec<HeldPosition>,
    /// One entry for each symbol.
    pub symbols: Vec<SymbolResult>,
    /// For pair strategies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<PairResult>,
    /// How often what happened.
    pub counts: Counts,
    /// What became of the orders, under the rules of a market.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<Execution>,
    /// If short positions used up the book.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Lost>,
}

impl BacktestResult {
    /// Puts a report into words and dates.
    ///
    /// # Panics
    /// If the report is not one of this data.
    #[must_use]
    pub fn new(report: &Report, data: &Dataset) -> Self {
        assert_eq!(report.time, *data.calendar(), "a report of other data");
        let dates: Vec<NaiveDate> = report.time.iter().map(|&time| date(time)).collect();
        let metrics = evaluate_all(report)
            .into_iter()
            .map(|(metric, value)| {
                let figure = value.map_or_else(|u| Figure::undefined(u.reason), Figure::Value);
                (metric.name().to_owned(), figure)
            })
            .collect();
        let benchmark = report.benchmark.as_ref();
        Self {
            metrics,
            looks_ahead: report.looks_ahead,
            initial_cash: report.initial_cash,
            final_equity: report.equity[report.equity.len() - 1],
            equity: report.equity.clone(),
            drawdown: drawdown(report),
            benchmark: benchmark.map(|b| b.equity.clone()).unwrap_or_default(),
            monthly_returns: monthly_returns(report, &dates),
            trades: report
                .trades
                .iter()
                .map(|t| closed(report, t, &dates))
                .collect(),
            open_positions: report
                .open_positions
                .iter()
                .map(|open| held(report, open, &dates))
                .collect(),
            symbols: symbols(report, data),
            pair: pair(report),
            counts: Counts {
                entry_signals: report.entry_signals,
                exit_signals: report.exit_signals,
                entries: report.entries,
                exits: report.exits,
                entries_without_cash: report.entries_without_cash,
                refused_by_half_life: report.entries_not_admitted,
                refused_by_hedge_ratio: report.entries_not_hedged,
            },
            execution: report.execution,
            lost: report.ruin.map(|ruin| Lost {
                date: dates[ruin.row as usize],
                shortfall: ruin.shortfall,
            }),
            dates,
        }
    }
}

fn date(local_seconds: i64) -> NaiveDate {
    DateTime::from_timestamp(local_seconds, 0)
        .expect("the days of a series are within the calendar")
        .date_naive()
}

fn drawdown(report: &Report) -> Vec<f64> {
    let mut peak = report.initial_cash;
    let below = report.equity.iter().map(|&equity| {
        peak = peak.max(equity);
        1.0 - equity / peak
    });
    below.collect()
}

fn monthly_returns(report: &Report, dates: &[NaiveDate]) -> Vec<MonthlyReturn> {
    let mut before = report.initial_cash;
    let mut row = 0;
    dates
        .chunk_by(|a, b| (a.year(), a.month()) == (b.year(), b.month()))
        .map(|days| {
            row += days.len();
            let after = report.equity[row - 1];
            let change = if before > 0.0 {
                after / before - 1.0
            } else {
                0.0
            };
            before = after;
            MonthlyReturn {
                year: days[0].year(),
                month: days[0].month(),
                change,
            }
        })
        .collect()
}

fn name(report: &Report, symbol: u32) -> String {
    report.symbols[symbol as usize].clone()
}

fn pair_name(report: &Report, pair: Option<u32>) -> Option<String> {
    let legs = report.pairs[pair? as usize];
    Some(format!("{}/{}", name(report, legs.y), name(report, legs.x)))
}

fn closed(report: &Report, trade: &Trade, dates: &[NaiveDate]) -> ClosedTrade {
    ClosedTrade {
        symbol: name(report, trade.symbol),
        pair: pair_name(report, trade.pair),
        side: trade.side,
        entry_date: dates[trade.entry_row as usize],
        exit_date: dates[trade.exit_row as usize],
        shares: trade.shares,
        entry_price: trade.entry_price,
        exit_price: trade.exit_price,
        paid: trade.paid,
        received: trade.received,
        profit: trade.profit(),
    }
}

fn held(report: &Report, open: &OpenPosition, dates: &[NaiveDate]) -> HeldPosition {
    HeldPosition {
        symbol: name(report, open.symbol),
        pair: pair_name(report, open.pair),
        side: open.side,
        entry_date: dates[open.entry_row as usize],
        shares: open.shares,
        entry_price: open.entry_price,
        value: open.value,
        profit: open.profit(),
    }
}

fn symbols(report: &Report, data: &Dataset) -> Vec<SymbolResult> {
    let rows = report.equity.len();
    let mut results: Vec<SymbolResult> = (0u32..)
        .take(report.symbols.len())
        .map(|symbol| SymbolResult {
            symbol: name(report, symbol),
            trades: 0,
            profit: 0.0,
            exposure: 0.0,
        })
        .collect();
    let share = |symbol: u32, shares: f64, from: u32, to: usize| {
        let rows_held = from as usize..to;
        let closes = &data.closes(symbol as usize)[rows_held.clone()];
        let part = |close, equity| {
            if equity > 0.0 {
                shares * close / equity
            } else {
                0.0
            }
        };
        sum_of_two(closes, &report.equity[rows_held], part) / rows as f64
    };
    for held in &report.held {
        let exposure = share(
            held.symbol,
            held.shares,
            held.from_row,
            held.to_row as usize,
        );
        results[held.symbol as usize].exposure += exposure;
    }
    let has_rules = report.execution.is_some();
    for trade in &report.trades {
        let result = &mut results[trade.symbol as usize];
        result.trades += 1;
        result.profit += trade.profit();
        if has_rules {
            continue;
        }
        let (from, to) = (trade.entry_row, trade.exit_row as usize);
        result.exposure += share(trade.symbol, trade.shares, from, to);
    }
    for open in &report.open_positions {
        let result = &mut results[open.symbol as usize];
        result.profit += open.profit();
        if has_rules {
            continue;
        }
        result.exposure += share(open.symbol, open.shares, open.entry_row, rows);
    }
    results
}

/// The form of a pair strategy in words, by whether it sells a leg short.
#[must_use]
pub const fn pair_form(allow_short: bool) -> &'static str {
    if allow_short {
        "market-neutral: the cheap leg bought, the other sold short by the hedge ratio"
    } else {
        "leg rotation: one leg bought at a time, nothing sold short; it carries the market's risk"
    }
}

fn pair(report: &Report) -> Option<PairResult> {
    if report.pairs.is_empty() {
        return None;
    }
    let names = |legs: &crate::engine::PairLegs| PairNames {
        stock_code: name(report, legs.y),
        partner: name(report, legs.x),
    };
    let comparison = compare(report);
    let missing = || Figure::undefined("holding both legs was not computed");
    let figure = |value: Option<f64>| value.map_or_else(missing, Figure::Value);
    let form = pair_form(report.legs_per_trip == 2);
    Some(PairResult {
        pairs: report.pairs.iter().map(names).collect(),
        form: form.to_owned(),
        exposure: report.exposure,
        beta: match comparison {
            Some(comparison) => comparison.beta.map_or_else(
                || Figure::undefined("holding both legs has no variance"),
                Figure::Value,
            ),
            None => missing(),
        },
        hold_return: figure(comparison.map(|c| c.hold_return)),
        excess_return: figure(comparison.map(|c| c.excess_return)),
    })
}
