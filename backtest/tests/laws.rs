//! What must hold for every strategy and every run, whatever the prices.

use chrono::NaiveDate;
use std::cell::Cell;
use std::sync::Arc;
use trialmill_backtest::bars::{BarSeries, Columns, Frequency};
use trialmill_backtest::engine::{
    BacktestConfig, Dataset, DatasetError, Fill, Report, RunError, hold, run,
};
use trialmill_backtest::metrics::Metric;
use trialmill_backtest::strategy::{Params, all, find};
use trialmill_backtest::synthetic::{Kind, series};

const FILLS: [Fill; 3] = [Fill::NextOpen, Fill::NextClose, Fill::Close];

fn day(y: i32, m: u32, d: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(y, m, d).unwrap()
}

/// Made-up series with holes: suspended days, late listings, missing days.
fn market(symbols: usize) -> Vec<Arc<BarSeries>> {
    (0..symbols)
        .map(|index| {
            let whole =
                series(Kind::Trending, 5, index, day(2015, 1, 1), day(2020, 12, 31)).unwrap();
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
        })
        .collect()
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
    let market = market(6);
    for strategy in all() {
        for fill in FILLS {
            let config = config(fill);
            let defaults = Params::new();
            let whole = dataset(market.clone());
            let whole = run(&whole, *strategy, &defaults, &config, &|| false).unwrap();
            assert!(whole.entries > 0, "{} never traded", strategy.info().key);
            for end in [day(2016, 9, 1), day(2017, 7, 14), day(2019, 12, 31)] {
                let last = trialmill_backtest::bars::midnight(end);
                let cut = market
                    .iter()
                    .map(|s| Arc::new(s.slice(s.rows_between(i64::MIN, last)).unwrap()))
                    .collect();
                let part = dataset(cut);
                let part = run(&part, *strategy, &defaults, &config, &|| false).unwrap();
                let rows = part.equity.len();
                assert_eq!(part.time[..], whole.time[..rows]);
                assert_eq!(
                    part.equity[..],
                    whole.equity[..rows],
                    "{}",
                    strategy.info().key
                );
                assert_eq!(part.trades[..], whole.trades[..part.trades.len()]);
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
fn cash_and_shares_balance_to_the_last_trade() {
    for fill in FILLS {
        let data = dataset(market(9));
        let report = crossings(&data, &config(fill));
        let closed: f64 = report.trades.iter().map(|trade| trade.profit()).sum();
        let open: f64 = report
            .open_positions
            .iter()
            .map(|open| open.value - open.paid)
            .sum();
        let last = report.equity[report.equity.len() - 1];
        let gap = last - (report.initial_cash + closed + open);
        assert!(gap.abs() < 1e-6, "{fill:?}: {gap}");
        let held: f64 = report.open_positions.iter().map(|open| open.value).sum();
        assert!((last - report.cash - held).abs() < 1e-6);
        assert!(report.cash >= 0.0);
        assert_eq!(report.entries, report.exits + report.open_positions.len());
        assert_eq!(report.exits, report.trades.len());
        for trade in &report.trades {
            let spent = trade.shares * trade.entry_price * 1.0001 * 1.0003;
            let got = trade.shares * trade.exit_price * 0.9999 * 0.9997;
            assert!((trade.paid - spent).abs() < 1e-6 && (trade.received - got).abs() < 1e-6);
            assert!(trade.entry_row < trade.exit_row);
        }
    }
}

#[test]
fn costs_never_add_money() {
    let data = dataset(market(5));
    let mut before = f64::INFINITY;
    for rate in [0.0, 0.0001, 0.001, 0.01] {
        for (commission_rate, slippage_rate) in [(rate, 0.0), (rate, rate)] {
            let config = BacktestConfig {
                commission_rate,
                slippage_rate,
                ..BacktestConfig::default()
            };
            let report = crossings(&data, &config);
            let last = report.equity[report.equity.len() - 1];
            assert!(
                last <= before,
                "{commission_rate} {slippage_rate}: {last} after {before}"
            );
            assert_eq!(report.commission + report.slippage == 0.0, rate == 0.0);
            before = last;
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
fn a_run_stops_at_the_row_at_which_it_is_told_to() {
    let data = dataset(market(2));
    let strategy = find("moving_average").unwrap();
    let asked = Cell::new(0);
    let stop_after = |limit: usize| {
        asked.set(0);
        let stop = || {
            asked.set(asked.get() + 1);
            asked.get() > limit
        };
        run(
            &data,
            strategy,
            &Params::new(),
            &BacktestConfig::default(),
            &stop,
        )
    };
    assert_eq!(stop_after(0), Err(RunError::Stopped));
    assert_eq!(stop_after(100), Err(RunError::Stopped));
    assert_eq!(asked.get(), 101);
    assert!(stop_after(usize::MAX).is_ok());
    assert_eq!(asked.get(), data.rows() + 2, "once a symbol and once a row");
}

#[test]
fn the_same_run_gives_the_same_bits() {
    let config = config(Fill::NextOpen);
    let one = crossings(&dataset(market(6)), &config);
    let two = crossings(&dataset(market(6)), &config);
    let bits = |report: &Report| {
        report
            .equity
            .iter()
            .map(|e| e.to_bits())
            .collect::<Vec<_>>()
    };
    assert_eq!(bits(&one), bits(&two));
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
