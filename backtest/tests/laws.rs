//! What must hold for every strategy and every run, whatever the prices.

use chrono::NaiveDate;
use std::cell::Cell;
use std::sync::Arc;
use trialmill_backtest::bars::{BarSeries, Columns, Frequency};
use trialmill_backtest::engine::{
    BacktestConfig, Dataset, DatasetError, Fill, Position, Report, RunError, Side, hold, reference,
    run,
};
use trialmill_backtest::metrics::Metric;
use trialmill_backtest::result::{BacktestResult, Figure};
use trialmill_backtest::strategy::{Params, Strategy, all, find};
use trialmill_backtest::synthetic::{GroupKind, Kind, group, reports, series};

const FILLS: [Fill; 3] = [Fill::NextOpen, Fill::NextClose, Fill::Close];

fn day(y: i32, m: u32, d: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(y, m, d).unwrap()
}

/// The same series with holes: suspended days, late listings, missing days.
fn with_holes(whole: Vec<BarSeries>) -> Vec<Arc<BarSeries>> {
    let punch = |(index, whole): (usize, BarSeries)| {
        let start = 120 * (index % 4);
        let kept: Vec<usize> = (start..whole.rows())
            .filter(|row| (row + 7 * index) % 41 != 0)
            .collect();
        let pick = |values: &[f64]| kept.iter().map(|&row| values[row]).collect::<Vec<_>>();
        let mut volume = pick(whole.volume());
        for (row, volume) in volume.iter_mut().enumerate() {
            if (row + index) % 97 < 3 {
                *volume = 0.0;
            }
        }
        let columns = Columns {
            time: kept.iter().map(|&row| whole.time()[row]).collect(),
            open: pick(whole.open()),
            high: pick(whole.high()),
            low: pick(whole.low()),
            close: pick(whole.close()),
            volume,
        };
        Arc::new(BarSeries::new(whole.symbol(), Frequency::Daily, columns).unwrap())
    };
    whole.into_iter().enumerate().map(punch).collect()
}

/// Made-up series with holes.
fn market(symbols: usize) -> Vec<Arc<BarSeries>> {
    let whole = (0..symbols)
        .map(|index| series(Kind::Trending, 5, index, day(2015, 1, 1), day(2020, 12, 31)).unwrap());
    with_holes(whole.collect())
}

/// Made-up series with holes of which two stay together.
fn pair_market() -> Vec<Arc<BarSeries>> {
    let (first, last) = (day(2013, 1, 1), day(2020, 12, 31));
    with_holes(group(GroupKind::Cointegrated, 5, 3, first, last).unwrap())
}

/// Two pairs that share a leg.
fn pairs() -> Vec<(String, String)> {
    let pair = |y: &str, x: &str| (y.to_owned(), x.to_owned());
    vec![pair("SYN01.SZ", "000001.SZ"), pair("000001.SZ", "SYN02.SZ")]
}

fn paired(series: Vec<Arc<BarSeries>>) -> Dataset {
    Dataset::with_pairs(series, &pairs(), day(2016, 1, 1), day(2020, 12, 31)).unwrap()
}

/// The strategies, each with bars that suit it, long only and, where there is such a form, with
/// short sales.
fn every_strategy() -> Vec<(&'static dyn Strategy, Vec<Arc<BarSeries>>, bool)> {
    let mut cases = Vec::new();
    for strategy in all() {
        if strategy.info().legs == 2 {
            cases.push((*strategy, pair_market(), false));
            cases.push((*strategy, pair_market(), true));
        } else {
            cases.push((*strategy, market(6), false));
        }
    }
    cases
}

fn prepared(strategy: &dyn Strategy, series: Vec<Arc<BarSeries>>) -> Dataset {
    let (first, last) = (day(2014, 1, 31), day(2020, 12, 31));
    let symbols = series.iter().map(|one| one.symbol().to_owned());
    let reports: Vec<_> = (0..)
        .zip(symbols)
        .flat_map(|(seed, symbol)| reports(&symbol, seed, first, last))
        .collect();
    let data = match strategy.info().legs {
        2 => paired(series),
        _ => dataset(series),
    };
    data.with_fundamentals(&reports, &[])
}

fn dataset(series: Vec<Arc<BarSeries>>) -> Dataset {
    Dataset::new(series, day(2016, 1, 1), day(2020, 12, 31)).unwrap()
}

fn config(fill: Fill) -> BacktestConfig {
    BacktestConfig {
        fill,
        ..BacktestConfig::default()
    }
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The pair strategy with thresholds at which it trades often.
fn rotation(data: &Dataset, allow_short: bool, position: Position) -> Report {
    let params = Params::new()
        .with("entry_threshold", 1.2)
        .with("half_life", 60);
    let config = BacktestConfig {
        allow_short,
        position,
        ..BacktestConfig::default()
    };
    let strategy = find("cointegration").unwrap();
    run(data, strategy, &params, &config, &|| false).unwrap()
}

fn crossings(data: &Dataset, config: &BacktestConfig) -> Report {
    let params = Params::new()
        .with("short_window", 4)
        .with("long_window", 15);
    let params = params.with("signal_threshold", 0.0);
    run(
        data,
        find("moving_average").unwrap(),
        &params,
        config,
        &|| false,
    )
    .unwrap()
}

#[test]
fn truncating_the_future_never_changes_the_past() {
    for (strategy, market, allow_short) in every_strategy() {
        let what = format!("{} short {allow_short}", strategy.info().key);
        for fill in FILLS {
            let config = BacktestConfig {
                allow_short,
                ..config(fill)
            };
            let defaults = Params::new();
            let whole = prepared(strategy, market.clone());
            let whole = run(&whole, strategy, &defaults, &config, &|| false).unwrap();
            assert!(whole.trades.len() > 2, "{what} hardly traded");
            for end in [day(2016, 9, 1), day(2017, 7, 14), day(2019, 12, 31)] {
                let last = trialmill_backtest::bars::midnight(end);
                let cut = market
                    .iter()
                    .map(|s| Arc::new(s.slice(s.rows_between(i64::MIN, last)).unwrap()))
                    .collect();
                let part = prepared(strategy, cut);
                let part = run(&part, strategy, &defaults, &config, &|| false).unwrap();
                let rows = part.equity.len();
                assert_eq!(part.time[..], whole.time[..rows], "{what}");
                assert_eq!(bits(&part.equity), bits(&whole.equity[..rows]), "{what}");
                assert_eq!(part.trades[..], whole.trades[..part.trades.len()], "{what}");
            }
        }
    }
}

#[test]
fn an_earlier_beginning_of_the_data_changes_nothing_once_there_is_warm_up_enough() {
    let bars = series(Kind::Trending, 9, 0, day(2014, 1, 1), day(2020, 12, 31)).unwrap();
    let start = bars.rows_between(
        trialmill_backtest::bars::midnight(day(2016, 1, 1)),
        i64::MAX,
    );
    let report = |earlier: usize| {
        let part = bars.slice(start.start - earlier..bars.rows()).unwrap();
        crossings(&dataset(vec![Arc::new(part)]), &config(Fill::NextOpen))
    };
    assert_eq!(report(15), report(400));
    // One row less and the first row of the period cannot see a crossing; far less delays more.
    assert_ne!(report(0).entry_signals + report(0).exit_signals, 0);
}

#[test]
fn a_crossing_on_the_first_row_of_the_period_uses_the_row_before() {
    let close = |t: i64| if t < 30 { 100.0 - t as f64 } else { 200.0 };
    let columns = Columns {
        time: (0..40).map(|t| (18_000 + t) * 86_400).collect(),
        open: (0..40).map(close).collect(),
        high: (0..40).map(close).collect(),
        low: (0..40).map(close).collect(),
        close: (0..40).map(close).collect(),
        volume: vec![1.0; 40],
    };
    let bars = Arc::new(BarSeries::new("A", Frequency::Daily, columns).unwrap());
    let first = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap() + chrono::Days::new(18_030);
    let data = Dataset::new(vec![bars], first, first + chrono::Days::new(20)).unwrap();
    let report = crossings(&data, &config(Fill::NextOpen));
    assert_eq!(data.rows(), 10);
    assert_eq!(report.entries, 1);
    assert_eq!(report.open_positions[0].entry_row, 1);
    assert_eq!(
        crossings(&data, &config(Fill::Close)).open_positions[0].entry_row,
        0
    );
}

#[test]
fn the_order_of_the_symbols_changes_nothing() {
    let straight = market(7);
    let mut mixed = straight.clone();
    mixed.reverse();
    mixed.swap(1, 4);
    for fill in FILLS {
        let config = config(fill);
        let one = crossings(&dataset(straight.clone()), &config);
        assert_eq!(one, crossings(&dataset(mixed.clone()), &config));
        assert!(one.trades.len() > 50);
    }
}

#[test]
fn the_order_of_pairs_and_series_changes_nothing() {
    let mut series = pair_market();
    let straight = paired(series.clone());
    series.reverse();
    let mut pairs = pairs();
    pairs.reverse();
    let mixed = Dataset::with_pairs(series, &pairs, day(2016, 1, 1), day(2020, 12, 31)).unwrap();
    for allow_short in [false, true] {
        let report = |data| rotation(data, allow_short, Position::EqualWeight);
        assert_eq!(report(&straight), report(&mixed));
        assert!(report(&straight).trades.len() > 10);
    }
}

/// Every strategy on its market, in every way of sizing.
fn every_book() -> Vec<(String, Dataset, BacktestConfig, Report)> {
    let positions = [
        Position::EqualWeight,
        Position::AllIn,
        Position::FixedFraction { fraction: 0.3 },
    ];
    let mut books = Vec::new();
    for (strategy, market, allow_short) in every_strategy() {
        for position in positions {
            let config = BacktestConfig {
                allow_short,
                position,
                ..BacktestConfig::default()
            };
            let data = prepared(strategy, market.clone());
            let report = run(&data, strategy, &Params::new(), &config, &|| false).unwrap();
            let what = format!("{} short {allow_short} {position:?}", strategy.info().key);
            books.push((what, data, config, report));
        }
    }
    books
}

#[test]
fn a_ledger_made_of_the_trades_alone_equals_the_book() {
    for (what, data, config, report) in every_book() {
        let rows = report.equity.len();
        // Cash and shares after the fills of each row, from the trades.
        let mut cash = vec![0.0; rows + 1];
        let mut shares = vec![vec![0.0; rows + 1]; data.symbols().len()];
        let mut fill = |row: u32, symbol: u32, moved_cash: f64, moved_shares: f64| {
            cash[row as usize] += moved_cash;
            shares[symbol as usize][row as usize] += moved_shares;
        };
        for t in &report.trades {
            let (bought, sold) = match t.side {
                Side::Long => (t.entry_row, t.exit_row),
                Side::Short => (t.exit_row, t.entry_row),
            };
            assert!(t.entry_row < t.exit_row, "{what}");
            fill(bought, t.symbol, -t.paid, t.shares);
            fill(sold, t.symbol, t.received, -t.shares);
            let (purchase, sale) = match t.side {
                Side::Long => (t.entry_price, t.exit_price),
                Side::Short => (t.exit_price, t.entry_price),
            };
            let spent = t.shares * purchase * 1.0001 * 1.0003;
            let got = t.shares * sale * 0.9999 * 0.9997;
            assert!(
                (t.paid - spent).abs() < 1e-6 && (t.received - got).abs() < 1e-6,
                "{what}"
            );
        }
        for open in &report.open_positions {
            match open.side {
                Side::Long => fill(open.entry_row, open.symbol, -open.cash, open.shares),
                Side::Short => fill(open.entry_row, open.symbol, open.cash, -open.shares),
            }
        }
        let mut held = vec![0.0; shares.len()];
        let mut money = config.initial_cash;
        for row in 0..rows {
            money += cash[row];
            let mut value = money;
            for symbol in 0..held.len() {
                held[symbol] += shares[symbol][row];
                value += held[symbol] * data.closes(symbol)[row];
            }
            let gap = (value - report.equity[row]).abs();
            assert!(gap < 1e-6, "{what}: row {row} {gap}");
            assert!(config.allow_short || money > -1e-6, "{what}: row {row}");
        }
        assert!((money - report.cash).abs() < 1e-6, "{what}");
        assert_eq!(
            report.entries,
            report.exits + report.open_positions.len(),
            "{what}"
        );
        assert_eq!(report.exits, report.trades.len(), "{what}");
        let closed: f64 = report.trades.iter().map(|trade| trade.profit()).sum();
        let open: f64 = report.open_positions.iter().map(|open| open.profit()).sum();
        let gain = report.equity[rows - 1] - config.initial_cash;
        assert!((gain - closed - open).abs() < 1e-6, "{what}");
    }
}

#[test]
fn the_result_tells_the_same_story_as_the_book() {
    for (what, data, config, report) in every_book() {
        let result = BacktestResult::new(&report, &data);
        let Figure::Value(total_return) = result.metrics["total_return"] else {
            panic!("{what}: the total return is always defined");
        };
        let months = result.monthly_returns.iter();
        let compound: f64 = months.map(|month| 1.0 + month.change).product();
        assert!((compound - 1.0 - total_return).abs() < 1e-12, "{what}");
        assert_eq!(result.monthly_returns.len(), 60, "{what}");
        let profit: f64 = result.symbols.iter().map(|symbol| symbol.profit).sum();
        assert!(
            (profit - (result.final_equity - config.initial_cash)).abs() < 1e-6,
            "{what}"
        );
        let exposure: f64 = result.symbols.iter().map(|symbol| symbol.exposure).sum();
        assert!((exposure - report.exposure).abs() < 1e-12, "{what}");
        let trades: usize = result.symbols.iter().map(|symbol| symbol.trades).sum();
        assert_eq!(trades, report.trades.len(), "{what}");
        let deepest = result.drawdown.iter().copied().fold(0.0, f64::max);
        assert_eq!(
            result.metrics["max_drawdown"],
            Figure::Value(deepest + 0.0),
            "{what}"
        );
        assert_eq!(result.benchmark.len(), result.dates.len(), "{what}");
        assert_eq!(result.pair.is_some(), !report.pairs.is_empty(), "{what}");
        let text = serde_json::to_string(&result).unwrap();
        assert_eq!(
            serde_json::from_str::<BacktestResult>(&text).unwrap(),
            result,
            "{what}"
        );
    }
}

#[test]
fn costs_never_add_money() {
    for (strategy, market, allow_short) in every_strategy() {
        let data = prepared(strategy, market);
        let mut before = f64::INFINITY;
        for rate in [0.0, 0.0001, 0.001, 0.01] {
            for (commission_rate, slippage_rate) in [(rate, 0.0), (rate, rate)] {
                let config = BacktestConfig {
                    commission_rate,
                    slippage_rate,
                    allow_short,
                    ..BacktestConfig::default()
                };
                let report = run(&data, strategy, &Params::new(), &config, &|| false).unwrap();
                let last = report.equity[report.equity.len() - 1];
                assert!(
                    last <= before,
                    "{} short {allow_short} at {commission_rate} {slippage_rate}: {last} after \
                     {before}",
                    strategy.info().key
                );
                assert_eq!(report.commission + report.slippage == 0.0, rate == 0.0);
                before = last;
            }
        }
    }
}

#[test]
fn no_symbol_gets_more_than_its_share_and_a_single_one_gets_everything() {
    let data = dataset(market(4));
    let report = crossings(&data, &config(Fill::NextOpen));
    for trade in &report.trades {
        // Equity moves between the last close and the open of the fill, by less than 20 %.
        let near = report.equity[trade.entry_row as usize] / 4.0;
        assert!(trade.paid < near * 1.2, "{trade:?}");
    }
    let alone = crossings(&dataset(market(1)), &config(Fill::NextOpen));
    assert_eq!(alone.trades[0].paid, alone.initial_cash);
    assert_eq!(alone.trades[1].paid, alone.trades[0].received);
}

#[test]
fn a_suspended_day_is_neither_traded_nor_seen() {
    let whole = market(3);
    let without: Vec<_> = whole
        .iter()
        .map(|s| Arc::new(s.without_suspended_rows().unwrap()))
        .collect();
    assert!(whole[0].suspended_rows() > 20);
    let config = config(Fill::NextOpen);
    assert_eq!(
        crossings(&dataset(whole), &config),
        crossings(&dataset(without), &config)
    );
}

#[test]
fn a_holding_without_a_bar_keeps_its_last_value() {
    let flat = |symbol: &str, days: &[i64], price: f64| {
        let n = days.len();
        let columns = Columns {
            time: days.iter().map(|d| (18_000 + d) * 86_400).collect(),
            open: vec![price; n],
            high: vec![price; n],
            low: vec![price; n],
            close: vec![price; n],
            volume: vec![1.0; n],
        };
        Arc::new(BarSeries::new(symbol, Frequency::Daily, columns).unwrap())
    };
    let first = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap() + chrono::Days::new(18_000);
    let series = vec![
        flat("A", &[0, 1, 5], 10.0),
        flat("B", &[0, 1, 2, 3, 4, 5], 20.0),
    ];
    let data = Dataset::new(series, first, first + chrono::Days::new(9)).unwrap();
    let free = BacktestConfig {
        commission_rate: 0.0,
        slippage_rate: 0.0,
        ..BacktestConfig::default()
    };
    let report = hold(&data, &free).unwrap();
    assert_eq!(report.equity, [100_000.0; 6]);
    assert_eq!(report.open_positions.len(), 2);
}

#[test]
fn holding_buys_every_symbol_once_and_follows_the_prices() {
    let bars = series(Kind::RandomWalk, 3, 0, day(2018, 1, 1), day(2018, 12, 31)).unwrap();
    let (open, close) = (bars.open()[1], bars.close()[bars.rows() - 1]);
    let data = Dataset::new(vec![Arc::new(bars)], day(2018, 1, 1), day(2018, 12, 31)).unwrap();
    let report = hold(&data, &config(Fill::NextOpen)).unwrap();
    assert_eq!((report.entries, report.exits), (1, 0));
    let wanted = close / open / 1.0001 / 1.0003 - 1.0;
    assert!((Metric::TotalReturn.value(&report).unwrap() - wanted).abs() < 1e-12);
}

#[test]
fn a_run_stops_when_it_is_told_to() {
    let data = dataset(market(2));
    let strategy = find("moving_average").unwrap();
    let (params, config) = (Params::new(), BacktestConfig::default());
    let asked = Cell::new(0);
    let stop_after = |limit: usize, readable: bool| {
        asked.set(0);
        let stop = || {
            asked.set(asked.get() + 1);
            asked.get() > limit
        };
        if readable {
            reference::run(&data, strategy, &params, &config, &stop)
        } else {
            run(&data, strategy, &params, &config, &stop)
        }
    };
    for readable in [false, true] {
        assert_eq!(stop_after(0, readable), Err(RunError::Stopped));
        assert_eq!(stop_after(10, readable), Err(RunError::Stopped));
        assert_eq!(asked.get(), 11);
    }
    let report = stop_after(usize::MAX, true).unwrap();
    assert_eq!(asked.get(), data.rows() + 2, "once a symbol and once a row");
    stop_after(usize::MAX, false).unwrap();
    assert!(
        asked.get() >= 2 + report.entries.max(report.exits),
        "{}",
        asked.get()
    );
}

#[test]
fn the_same_run_gives_the_same_bits() {
    let config = config(Fill::NextOpen);
    let one = crossings(&dataset(market(6)), &config);
    let two = crossings(&dataset(market(6)), &config);
    assert_eq!(bits(&one.equity), bits(&two.equity));
}

#[test]
fn what_cannot_be_backtested_is_refused_with_its_name() {
    let market = market(1);
    let dates = (day(2016, 1, 1), day(2016, 12, 31));
    let refused = |series, (first, last)| Dataset::new(series, first, last).unwrap_err();
    assert_eq!(refused(vec![], dates), DatasetError::NoSeries);
    let twice = vec![market[0].clone(), market[0].clone()];
    assert_eq!(
        refused(twice, dates).to_string(),
        "symbol SYN00.SZ is there twice; name each symbol once"
    );
    let empty = refused(market.clone(), (day(2030, 1, 1), day(2031, 1, 1)));
    assert!(
        empty
            .to_string()
            .starts_with("0 trading day(s) from 2030-01-01 to 2031-01-01")
    );
    let data = dataset(market);
    let bad = BacktestConfig {
        initial_cash: f64::NAN,
        ..BacktestConfig::default()
    };
    let refused = hold(&data, &bad).unwrap_err().to_string();
    assert!(refused.starts_with("initial_cash is NaN"), "{refused}");
}
