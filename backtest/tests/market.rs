//! Ledgers worked out by hand under the rules of a market, in CNY and fen.

use chrono::NaiveDate;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use trialmill_backtest::bars::{BarSeries, Columns, Frequency, midnight};
use trialmill_backtest::engine::{
    Backtest, BacktestConfig, Dataset, DatasetError, Fill, Held, Market, Report, RunError, hold,
    run,
};
use trialmill_backtest::market::table::{
    Dated, ListingRule, SPECIAL_TREATMENT_LIMITS, STAMP_DUTY, listing_rules, price_limits,
    transfer_fees,
};
use trialmill_backtest::market::{Blocked, Board, CorporateAction, Execution, Status, Treatment};
use trialmill_backtest::result::BacktestResult;
use trialmill_backtest::strategy::{
    BarView, Leg, PairRule, PairSignal, PairView, ParamFault, Params, Rule, Signal, Strategy,
    StrategyInfo, TradingRule,
};

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// Day, open, close, volume; high and low are the outer two of open and close.
type Row = (&'static str, f64, f64, f64);

/// More than any order here is for.
const MUCH: f64 = 1e9;

fn bars(symbol: &str, rows: &[Row]) -> Arc<BarSeries> {
    let column = |of: fn(&Row) -> f64| rows.iter().map(of).collect();
    let columns = Columns {
        time: rows.iter().map(|row| midnight(day(row.0))).collect(),
        open: column(|row| row.1),
        high: column(|row| row.1.max(row.2)),
        low: column(|row| row.1.min(row.2)),
        close: column(|row| row.2),
        volume: column(|row| row.3),
    };
    Arc::new(BarSeries::new(symbol, Frequency::Daily, columns).unwrap())
}

fn data(series: Vec<Arc<BarSeries>>) -> Dataset {
    Dataset::new(series, day("2000-01-01"), day("2030-12-31")).unwrap()
}

/// Signals by day, the same for every symbol or pair.
#[derive(Clone)]
struct Script<S>(BTreeMap<i64, S>);

fn script<S: Clone>(signals: &[(&str, S)]) -> Script<S> {
    let signals = signals.iter().cloned();
    Script(signals.map(|(date, s)| (midnight(day(date)), s)).collect())
}

const fn info(legs: u8) -> StrategyInfo {
    StrategyInfo {
        key: "script",
        name: "Script",
        category: "test",
        description: "does as it is told",
        formula: "none",
        legs,
        reads_fundamentals: false,
        parameters: &[],
        retired: &[],
    }
}

static SINGLE: StrategyInfo = info(1);
static PAIR: StrategyInfo = info(2);

impl<S: Copy + Default> Script<S> {
    fn write(&self, time: &[i64], signals: &mut [S]) {
        for (time, signal) in time.iter().zip(signals) {
            *signal = self.0.get(time).copied().unwrap_or_default();
        }
    }
}

impl Rule for Script<Signal> {
    fn warm_up_rows(&self) -> usize {
        0
    }

    fn signals(&self, bars: &BarView<'_>, signals: &mut [Signal]) {
        self.write(bars.time, signals);
    }
}

impl PairRule for Script<PairSignal> {
    fn warm_up_rows(&self) -> usize {
        0
    }

    fn signals(&self, pair: &PairView<'_>, signals: &mut [PairSignal]) {
        self.write(pair.time, signals);
    }
}

impl Strategy for Script<Signal> {
    fn info(&self) -> &'static StrategyInfo {
        &SINGLE
    }

    fn rule(&self, _: &Params) -> Result<TradingRule, Vec<ParamFault>> {
        Ok(TradingRule::single(self.clone()))
    }
}

impl Strategy for Script<PairSignal> {
    fn info(&self) -> &'static StrategyInfo {
        &PAIR
    }

    fn rule(&self, _: &Params) -> Result<TradingRule, Vec<ParamFault>> {
        Ok(TradingRule::pair(self.clone()))
    }
}

/// That much cash, 0.03 % commission, no slippage.
fn with_cash(initial_cash: f64) -> BacktestConfig {
    BacktestConfig {
        initial_cash,
        slippage_rate: 0.0,
        market: Market::CnA,
        ..BacktestConfig::default()
    }
}

fn play(data: &Dataset, strategy: &dyn Strategy, config: &BacktestConfig) -> Report {
    run(data, strategy, &Params::new(), config, &|| false).unwrap()
}

fn execution(report: &Report) -> Execution {
    report.execution.unwrap()
}

#[track_caller]
fn assert_fen(got: f64, wanted: f64) {
    assert!((got - wanted).abs() < 1e-6, "{got} is not {wanted}");
}

#[track_caller]
fn assert_equity(report: &Report, wanted: &[f64]) {
    assert_eq!(report.equity.len(), wanted.len());
    for (&got, &wanted) in report.equity.iter().zip(wanted) {
        assert_fen(got, wanted);
    }
}

use Signal::{Enter, Exit};

#[test]
fn a_sale_at_limit_down_waits_until_somebody_buys() {
    // 2020: commission 0.03 %, at least 5.00; duty 0.1 % of sales; transfer fee 0.002 %.
    // 06-02 1,000 shares at 10.00 are 10,000.00 and leave nothing for the fees, so 900:
    //       9,000.00 + 5.00 + 0.18 = 9,005.18; 994.82 are left.
    // 06-03 limit-down is 9.00 of 10.00, the open: no buyer.
    // 06-04 limit-down is 8.10 of 9.00, the open: no buyer.
    // 06-05 limit-down is 7.29 of 8.10, the open one fen above: 900 x 7.30 = 6,570.00,
    //       less 5.00, 6.57 and 0.13 = 6,558.30; 7,553.12 in cash.
    let data = data(vec![bars(
        "600000.SH",
        &[
            ("2020-06-01", 10.0, 10.0, MUCH),
            ("2020-06-02", 10.0, 10.0, MUCH),
            ("2020-06-03", 9.0, 9.0, MUCH),
            ("2020-06-04", 8.1, 8.1, MUCH),
            ("2020-06-05", 7.3, 7.3, MUCH),
            ("2020-06-08", 7.5, 7.5, MUCH),
        ],
    )]);
    let told = script(&[("2020-06-01", Enter), ("2020-06-02", Exit)]);
    let report = play(&data, &told, &with_cash(10_000.0));
    assert_equity(
        &report,
        &[10_000.0, 9_994.82, 9_094.82, 8_284.82, 7_553.12, 7_553.12],
    );
    let trade = report.trades[0];
    assert_eq!((trade.entry_row, trade.exit_row), (1, 4));
    assert_fen(trade.paid, 9_005.18);
    assert_fen(trade.received, 6_558.30);
    assert_fen(report.commission, 5.0 + 0.18 + 5.0 + 6.57 + 0.13);
    let blocked = Blocked {
        limit_down: 1,
        ..Blocked::default()
    };
    assert_eq!(
        execution(&report),
        Execution {
            orders: 2,
            filled: 2,
            blocked,
            ..Execution::default()
        }
    );
    let stored = serde_json::to_value(BacktestResult::new(&report, &data)).unwrap();
    assert_eq!(stored["execution"]["orders"], 2);
    assert_eq!(stored["execution"]["blocked"]["limit_down"], 1);
    let plain = BacktestConfig {
        market: Market::Plain,
        ..with_cash(10_000.0)
    };
    let stored = BacktestResult::new(&play(&data, &told, &plain), &data);
    let stored = serde_json::to_value(stored).unwrap();
    assert!(stored.get("execution").is_none());
}

#[test]
fn a_purchase_at_limit_up_expires() {
    // Of 9.05 limit-up is 9.955, so 9.96. Opening there, the entry expires and is not tried on the
    // next day; opening at 9.95, it is filled.
    let opening = |open: f64| {
        data(vec![bars(
            "600000.SH",
            &[
                ("2020-06-01", 9.0, 9.05, MUCH),
                ("2020-06-02", open, open, MUCH),
                ("2020-06-03", open, open, MUCH),
            ],
        )])
    };
    let told = script(&[("2020-06-01", Enter)]);
    let report = play(&opening(9.96), &told, &with_cash(10_000.0));
    assert_equity(&report, &[10_000.0; 3]);
    let blocked = Blocked {
        limit_up: 1,
        ..Blocked::default()
    };
    assert_eq!(
        execution(&report),
        Execution {
            orders: 1,
            expired: 1,
            blocked,
            ..Execution::default()
        }
    );
    let report = play(&opening(9.95), &told, &with_cash(10_000.0));
    assert_eq!(report.open_positions[0].entry_row, 1);
    // Filled at the close, it is the close that is judged.
    let at_close = BacktestConfig {
        fill: Fill::NextClose,
        ..with_cash(10_000.0)
    };
    let up = data(vec![bars(
        "600000.SH",
        &[
            ("2020-06-01", 9.0, 9.05, MUCH),
            ("2020-06-02", 9.05, 9.96, MUCH),
        ],
    )]);
    assert_eq!(execution(&play(&up, &told, &at_close)).blocked.limit_up, 1);
    assert_eq!(execution(&play(&up, &told, &with_cash(10_000.0))).filled, 1);
    // Holding, which a strategy is compared with, asks again until it gets its shares.
    let held = hold(&opening(9.96), &with_cash(10_000.0)).unwrap();
    assert_eq!(held.open_positions[0].entry_row, 2);
}

fn smic(rows: &[Row]) -> Dataset {
    let listed = Some(day("2020-07-16"));
    let status = Status {
        listed,
        ..Status::default()
    };
    let statuses = BTreeMap::from([("688981.SH".to_owned(), status)]);
    data(vec![bars("688981.SH", rows)]).with_statuses(statuses)
}

#[test]
fn star_shares_come_in_two_hundred_and_single_ones_and_an_odd_rest_goes_at_once() {
    // 400 shares at 50.00 leave nothing for the fees: 399 x 50.00 = 19,950.00, commission 5.985, so
    // 5.99, transfer fee 0.399, so 0.40: 19,956.39.
    // 03-03 a tenth of 2,500 is 250: 12,500.00 - 5.00 - 12.50 - 0.25 = 12,482.25.
    // 03-04 of 1,400 it is 140, and the odd 149 are not split.
    // 03-05 149 x 50.00 = 7,450.00 - 5.00 - 7.45 - 0.15 = 7,437.40 (0.149 is 0.15).
    let data = smic(&[
        ("2021-03-01", 50.0, 50.0, MUCH),
        ("2021-03-02", 50.0, 50.0, MUCH),
        ("2021-03-03", 50.0, 50.0, 2_500.0),
        ("2021-03-04", 50.0, 50.0, 1_400.0),
        ("2021-03-05", 50.0, 50.0, MUCH),
    ]);
    let told = script(&[("2021-03-01", Enter), ("2021-03-02", Exit)]);
    let report = play(&data, &told, &with_cash(20_000.0));
    let sold: Vec<_> = report
        .trades
        .iter()
        .map(|t| (t.exit_row, t.shares))
        .collect();
    assert_eq!(sold, [(2, 250.0), (4, 149.0)]);
    assert_fen(report.trades[0].received, 12_482.25);
    assert_fen(report.trades[1].received, 7_437.40);
    let paid: f64 = report.trades.iter().map(|trade| trade.paid).sum();
    assert_fen(paid, 19_956.39);
    assert_fen(report.trades[0].paid, 19_956.39 * 250.0 / 399.0);
    assert_fen(report.cash, 20_000.0 - 19_956.39 + 12_482.25 + 7_437.40);
    assert_fen(report.equity[2], 20_000.0 - 19_956.39 + 12_482.25 + 7_450.0);
    let found = execution(&report);
    assert_eq!((found.orders, found.filled), (2, 2));
    assert_eq!((found.blocked.volume_cap, found.limit_unknown), (1, 0));

    // 199 shares could be paid, 200 could not.
    let report = play(&data, &told, &with_cash(10_004.0));
    assert_eq!(execution(&report).blocked.cash_below_lot, 1);
    assert_equity(&report, &[10_004.0; 5]);
}

#[test]
fn a_purchase_is_cut_to_the_volume_in_whole_lots() {
    // A tenth of 5,990 is 599: 500 shares. A tenth of 990 is 99: none.
    let traded = |volume: f64| {
        data(vec![bars(
            "600000.SH",
            &[
                ("2020-06-01", 10.0, 10.0, MUCH),
                ("2020-06-02", 10.0, 10.0, volume),
            ],
        )])
    };
    let told = script(&[("2020-06-01", Enter)]);
    let report = play(&traded(5_990.0), &told, &with_cash(10_000.0));
    assert_eq!(report.open_positions[0].shares, 500.0);
    let found = execution(&report);
    assert_eq!((found.filled, found.blocked.volume_cap), (1, 1));
    let report = play(&traded(990.0), &told, &with_cash(10_000.0));
    let found = execution(&report);
    assert_eq!((found.expired, found.blocked.volume_cap), (1, 1));
}

#[test]
fn duty_is_that_of_the_day_and_the_side() {
    // Always 900 shares at 10.00 = 9,000.00 and a commission of 5.00.
    let days = [
        "2008-04-22",
        "2008-04-23",
        "2008-04-24",
        "2008-09-17",
        "2008-09-18",
        "2008-09-19",
        "2008-09-22",
        "2023-08-24",
        "2023-08-25",
        "2023-08-28",
        "2023-08-29",
    ];
    let rows = days.map(|day| (day, 10.0, 10.0, MUCH));
    let data = data(vec![bars("600000.SH", &rows)]);
    let told = script(&[
        ("2008-04-22", Enter),
        ("2008-04-23", Exit),
        ("2008-09-17", Enter),
        ("2008-09-18", Exit),
        ("2008-09-19", Enter),
        ("2023-08-24", Exit),
        ("2023-08-25", Enter),
        ("2023-08-28", Exit),
    ]);
    let report = play(&data, &told, &with_cash(10_000.0));
    let wanted = [
        // 0.3 % is 27.00; the day after, 0.1 % is 9.00.
        (9_032.0, 8_986.0),
        // 0.1 % of both sides on the last day, then of the sale.
        (9_014.0, 8_986.0),
        // None of the purchase; 2023-08-25 still 0.1 % of the sale, and 0.001 % is 0.09.
        (9_005.0, 8_985.91),
        // 0.05 % of the sale is 4.50.
        (9_005.09, 8_990.41),
    ];
    assert_eq!(report.trades.len(), wanted.len());
    let mut cash = 10_000.0;
    for (trade, (paid, received)) in report.trades.iter().zip(wanted) {
        assert_fen(trade.paid, paid);
        assert_fen(trade.received, received);
        cash += received - paid;
    }
    assert_fen(cash, 9_892.23);
    assert_fen(report.cash, cash);
}

#[test]
fn while_a_share_is_suspended_purchases_expire_and_sales_wait() {
    // 06-02 suspended: the entry of 06-01 expires. 06-04 bought: 900 x 10.00 + 5.18 = 9,005.18.
    // 06-05 suspended: the exit of 06-04 waits. 06-08 sold: 9,000.00 - 5.00 - 9.00 - 0.18.
    let suspended = bars(
        "600000.SH",
        &[
            ("2020-06-01", 10.0, 10.0, MUCH),
            ("2020-06-02", 10.0, 10.0, 0.0),
            ("2020-06-03", 10.0, 10.0, MUCH),
            ("2020-06-04", 10.0, 10.0, MUCH),
            ("2020-06-05", 10.0, 10.0, 0.0),
            ("2020-06-08", 10.0, 10.0, MUCH),
        ],
    );
    let told = script(&[
        ("2020-06-01", Enter),
        ("2020-06-03", Enter),
        ("2020-06-04", Exit),
    ]);
    let alone = data(vec![Arc::clone(&suspended)]);
    let report = play(&alone, &told, &with_cash(10_000.0));
    assert_eq!(report.equity.len(), 4, "suspended days are no rows");
    assert_eq!(
        (report.trades[0].entry_row, report.trades[0].exit_row),
        (2, 3)
    );
    assert_fen(report.cash, 10_000.0 - 9_005.18 + 8_985.82);
    let found = execution(&report);
    assert_eq!((found.orders, found.filled, found.expired), (3, 2, 1));
    assert_eq!(found.blocked.suspended, 2);

    // Beside a share that trades every day, and of which nobody here can pay a lot.
    let dates = ["06-01", "06-02", "06-03", "06-04", "06-05", "06-08"];
    let dear = dates.map(|date| format!("2020-{date}"));
    let dear = dear.map(|date| (&*Box::leak(date.into_boxed_str()), 1e3, 1e3, MUCH));
    let beside = data(vec![suspended, bars("600519.SH", &dear)]);
    let report = play(&beside, &told, &with_cash(20_000.0));
    assert_eq!(
        (report.trades[0].entry_row, report.trades[0].exit_row),
        (3, 5)
    );
    assert_fen(report.cash, 20_000.0 - 9_005.18 + 8_985.82);
    let found = execution(&report);
    assert_eq!(found.blocked.suspended, 2);
    assert_eq!(found.blocked.cash_below_lot, 2);
}

#[test]
fn cash_below_one_lot_buys_nothing() {
    // 100 shares at 99.95 are 9,995.00; with 5.00 and 0.20 they are 10,000.20.
    let rows = [
        ("2020-06-01", 99.95, 99.95, MUCH),
        ("2020-06-02", 99.95, 99.95, MUCH),
    ];
    let data = data(vec![bars("600000.SH", &rows)]);
    let told = script(&[("2020-06-01", Enter)]);
    let report = play(&data, &told, &with_cash(10_000.19));
    assert_eq!(execution(&report).blocked.cash_below_lot, 1);
    assert_eq!(report.cash, 10_000.19);
    let report = play(&data, &told, &with_cash(10_000.20));
    assert_eq!(report.open_positions[0].shares, 100.0);
    assert_fen(report.cash, 0.0);
    // Without a commission there is no least one: 9,995.00 and 0.20.
    let free = BacktestConfig {
        commission_rate: 0.0,
        ..with_cash(9_995.20)
    };
    assert_eq!(execution(&play(&data, &told, &free)).filled, 1);
}

#[test]
fn an_entry_cancels_the_sale_that_waits() {
    // The exit of 06-02 meets limit-down on 06-03; the entry of that day takes it back.
    let data = data(vec![bars(
        "600000.SH",
        &[
            ("2020-06-01", 10.0, 10.0, MUCH),
            ("2020-06-02", 10.0, 10.0, MUCH),
            ("2020-06-03", 9.0, 9.0, MUCH),
            ("2020-06-04", 9.0, 9.0, MUCH),
            ("2020-06-05", 9.0, 9.0, MUCH),
        ],
    )]);
    let told = script(&[
        ("2020-06-01", Enter),
        ("2020-06-02", Exit),
        ("2020-06-03", Enter),
    ]);
    let report = play(&data, &told, &with_cash(10_000.0));
    assert!(report.trades.is_empty());
    assert_eq!(report.open_positions[0].entry_row, 1);
    let found = execution(&report);
    assert_eq!((found.orders, found.filled, found.cancelled), (2, 1, 1));
    assert_eq!((found.blocked.limit_down, found.waiting), (1, 0));
    // A sale that still waits at the end is told.
    let told = script(&[("2020-06-01", Enter), ("2020-06-02", Exit)]);
    let data = Dataset::new(
        vec![bars(
            "600000.SH",
            &[
                ("2020-06-01", 10.0, 10.0, MUCH),
                ("2020-06-02", 10.0, 10.0, MUCH),
                ("2020-06-03", 9.0, 9.0, MUCH),
            ],
        )],
        day("2020-06-01"),
        day("2020-06-30"),
    );
    let report = play(&data.unwrap(), &told, &with_cash(10_000.0));
    assert_eq!(execution(&report).waiting, 1);
    assert_eq!(report.open_positions.len(), 1);
}

#[test]
fn a_day_whose_prices_refute_the_limits_is_not_judged() {
    // Ten bonus shares for ten: from 20.00 to 10.00, far below the 18.00 of the raw close.
    let data = data(vec![bars(
        "600000.SH",
        &[
            ("2020-06-01", 20.0, 20.0, MUCH),
            ("2020-06-02", 20.0, 20.0, MUCH),
            ("2020-06-03", 10.0, 10.1, MUCH),
        ],
    )]);
    let told = script(&[("2020-06-01", Enter), ("2020-06-02", Exit)]);
    let report = play(&data, &told, &with_cash(10_000.0));
    assert_eq!(report.trades[0].exit_row, 2);
    let found = execution(&report);
    assert_eq!((found.limit_unknown, found.blocked.limit_down), (1, 0));
}

#[test]
fn special_treatment_and_new_listings_have_limits_of_their_own() {
    let rows = |dates: [&'static str; 2], open: f64| {
        bars(
            "600000.SH",
            &[(dates[0], 10.0, 10.0, MUCH), (dates[1], open, open, MUCH)],
        )
    };
    let treated = Status {
        listed: Some(day("1999-11-10")),
        special_treatment: vec![Treatment {
            first: day("2020-01-01"),
            last: Some(day("2026-12-31")),
        }],
        ..Status::default()
    };
    let bought = |dates: [&'static str; 2], open: f64, status: &Status| {
        let statuses = BTreeMap::from([("600000.SH".to_owned(), status.clone())]);
        let data = data(vec![rows(dates, open)]).with_statuses(statuses);
        let told = script(&[(dates[0], Enter)]);
        let found = execution(&play(&data, &told, &with_cash(10_000.0)));
        assert_eq!(found.filled + found.blocked.limit_up, 1);
        (found.filled == 1, found.limit_unknown)
    };
    let (june, july) = (["2020-06-01", "2020-06-02"], ["2026-07-03", "2026-07-06"]);
    assert_eq!(bought(june, 10.5, &treated), (false, 0));
    assert_eq!(bought(june, 10.49, &treated), (true, 0));
    assert_eq!(bought(june, 10.5, &Status::default()), (true, 0));
    // From 2026-07-06 it is 10 % for them too.
    assert_eq!(bought(july, 10.99, &treated), (true, 0));
    assert_eq!(bought(july, 11.0, &treated), (false, 0));
    // On the second day of a main board listing: a limit until 2023-04-10, none from then on.
    let listed = |date: &str| Status {
        listed: Some(day(date)),
        ..Status::default()
    };
    assert_eq!(bought(june, 11.0, &listed("2020-06-01")), (false, 0));
    let after = ["2023-05-04", "2023-05-05"];
    assert_eq!(bought(after, 14.0, &listed("2023-05-04")), (true, 0));
    // Not known to be new, it is not judged; known to be old, it is.
    assert_eq!(bought(after, 11.0, &Status::default()), (true, 1));
    assert_eq!(bought(after, 11.0, &listed("1999-11-10")), (false, 0));
}

#[test]
fn a_rotation_buys_with_what_was_sold_or_not_at_all() {
    // 06-03 Y opens at limit-down: the sale waits, and X, which is to be bought with it, is not.
    // 06-04 Y is sold. X stays unbought until the rule asks for it again on 06-05.
    let y = bars(
        "600000.SH",
        &[
            ("2020-06-01", 10.0, 10.0, MUCH),
            ("2020-06-02", 10.0, 10.0, MUCH),
            ("2020-06-03", 9.0, 9.0, MUCH),
            ("2020-06-04", 9.0, 9.0, MUCH),
            ("2020-06-05", 9.0, 9.0, MUCH),
            ("2020-06-08", 9.0, 9.0, MUCH),
        ],
    );
    let x = bars(
        "601398.SH",
        &[
            ("2020-06-01", 5.0, 5.0, MUCH),
            ("2020-06-02", 5.1, 5.0, MUCH),
            ("2020-06-03", 5.0, 5.0, MUCH),
            ("2020-06-04", 5.0, 5.1, MUCH),
            ("2020-06-05", 5.0, 5.0, MUCH),
            ("2020-06-08", 5.0, 5.0, MUCH),
        ],
    );
    let pairs = [("600000.SH".to_owned(), "601398.SH".to_owned())];
    let data = Dataset::with_pairs(vec![y, x], &pairs, day("2020-06-01"), day("2020-06-30"));
    let data = data.unwrap();
    let long = |leg| PairSignal::Enter {
        long: leg,
        hedge_ratio: 1.0,
        admitted: true,
    };
    let told = script(&[
        ("2020-06-01", long(Leg::Y)),
        ("2020-06-02", long(Leg::X)),
        ("2020-06-05", long(Leg::X)),
    ]);
    let report = play(&data, &told, &with_cash(10_000.0));
    assert_eq!(report.trades.len(), 1);
    assert_eq!((report.trades[0].symbol, report.trades[0].exit_row), (0, 3));
    let open = report.open_positions[0];
    assert_eq!((open.symbol, open.entry_row), (1, 5));
    // 900 x 9.00 = 8,100.00 - 5.00 - 8.10 - 0.16 = 8,086.74 and 994.82: 9,081.56; 1,800 x 5.00 =
    // 9,000.00 + 5.00 + 0.18.
    assert_eq!(open.shares, 1_800.0);
    assert_fen(report.cash, 994.82 + 8_086.74 - 9_005.18);
    let found = execution(&report);
    assert_eq!((found.orders, found.filled, found.expired), (4, 3, 1));
    assert_eq!((found.blocked.limit_down, found.blocked.other_leg), (1, 1));
}

#[test]
fn us_deals_in_whole_shares_without_limits() {
    // 3 x 333.33 (1.0003) = 1,000.29 is too much; 2 x 333.33 (1.0003) = 666.859998.
    let data = data(vec![bars(
        "AAPL",
        &[
            ("2020-06-01", 100.0, 100.0, MUCH),
            ("2020-06-02", 333.33, 333.33, 1.0),
            ("2020-06-03", 10.0, 10.0, 1.0),
        ],
    )]);
    let us = BacktestConfig {
        market: Market::Us,
        ..with_cash(1_000.0)
    };
    let told = script(&[("2020-06-01", Enter), ("2020-06-02", Exit)]);
    let report = play(&data, &told, &us);
    assert_eq!(report.trades[0].shares, 2.0);
    assert_fen(report.trades[0].paid, 666.859_998);
    assert_fen(report.trades[0].received, 20.0 * 0.9997);
    let found = execution(&report);
    assert_eq!((found.orders, found.filled, found.limit_unknown), (2, 2, 0));
    assert_eq!(found.blocked, Blocked::default());
}

#[test]
fn what_the_market_does_not_deal_in_is_refused_by_name() {
    let rows = [
        ("2020-06-01", 10.0, 10.0, MUCH),
        ("2020-06-02", 10.0, 10.0, MUCH),
    ];
    let series = ["600000.SH", "000300.SH", "AAPL"].map(|symbol| bars(symbol, &rows));
    let mixed = data(series.into());
    let refused = RunError::NotShares {
        symbols: vec!["000300.SH".to_owned(), "AAPL".to_owned()],
    };
    let told = script(&[("2020-06-01", Enter)]);
    let config = with_cash(10_000.0);
    let got = run(&mixed, &told, &Params::new(), &config, &|| false);
    assert_eq!(got.unwrap_err(), refused);
    assert_eq!(hold(&mixed, &config).unwrap_err(), refused);
    assert!(refused.to_string().contains("000300.SH, AAPL"));
    assert_eq!(Backtest::new(mixed, config).unwrap_err(), refused);
    let short = BacktestConfig {
        allow_short: true,
        ..with_cash(10_000.0)
    };
    let faults = short.check().unwrap_err();
    assert_eq!(faults[0].field(), "allow_short");
}

/// Two for one and 1.00 in cash, without which 21.00 is worth 10.00.
fn gift(ex_date: &str) -> CorporateAction {
    CorporateAction {
        symbol: "600000.SH".to_owned(),
        ex_date: day(ex_date),
        cash_per_share: 1.0,
        bonus_per_share: 1.0,
    }
}

/// The bars of [`gift`] on 2020-06-03.
fn given(actions: &[CorporateAction]) -> Dataset {
    let data = data(vec![bars(
        "600000.SH",
        &[
            ("2020-06-01", 20.0, 20.0, MUCH),
            ("2020-06-02", 20.0, 21.0, MUCH),
            ("2020-06-03", 9.0, 9.5, MUCH),
            ("2020-06-04", 9.6, 9.6, MUCH),
        ],
    )]);
    data.with_actions(actions).unwrap()
}

#[test]
fn dividends_and_bonus_shares_reach_the_holder_before_the_deals_of_the_day() {
    // 06-02 400 x 20.00 = 8,000.00 + 5.00 + 0.16 = 8,005.16; 1,994.84 are left.
    // 06-03 400.00 in cash and 400 new shares. The reference is (21.00 - 1.00) / 2 = 10.00, limit-down
    //       9.00, the open: no buyer. 1,994.84 + 400.00 + 800 x 9.50 = 9,994.84.
    // 06-04 800 x 9.60 = 7,680.00 - 5.00 - 7.68 - 0.15 = 7,667.17.
    let told = script(&[("2020-06-01", Enter), ("2020-06-02", Exit)]);
    let data = given(&[gift("2020-06-03")]);
    let report = play(&data, &told, &with_cash(10_000.0));
    assert_equity(&report, &[10_000.0, 10_394.84, 9_994.84, 10_062.01]);
    let trade = report.trades[0];
    assert_eq!((trade.shares, trade.exit_row), (800.0, 3));
    assert_fen(trade.received, 7_667.17 + 400.0);
    assert_fen(trade.profit(), 62.01);
    assert_eq!(execution(&report).blocked.limit_down, 1);
    assert_eq!(execution(&report).limit_unknown, 0);
    let held = |shares, from_row, to_row| Held {
        symbol: 0,
        shares,
        from_row,
        to_row,
    };
    assert_eq!(report.held, [held(400.0, 1, 2), held(800.0, 2, 3)]);
    let result = BacktestResult::new(&report, &data);
    assert!((result.symbols[0].exposure - report.exposure).abs() < 1e-12);
    // Not sold, it is open with what it has brought.
    let report = play(
        &data,
        &script(&[("2020-06-01", Enter)]),
        &with_cash(10_000.0),
    );
    let open = report.open_positions[0];
    assert_fen(open.profit(), 800.0 * 9.6 + 400.0 - 8_005.16);
    // On the ex-date itself nothing is given to who buys on it.
    let report = play(
        &data,
        &script(&[("2020-06-02", Enter)]),
        &with_cash(10_000.0),
    );
    assert_eq!(report.open_positions[0].shares, 1_100.0);
    assert_eq!(report.held.len(), 1);
}

/// Keeps the closes it is shown and does nothing.
struct Watch(Arc<Mutex<Vec<f64>>>);

impl Rule for Watch {
    fn warm_up_rows(&self) -> usize {
        0
    }

    fn signals(&self, bars: &BarView<'_>, _: &mut [Signal]) {
        *self.0.lock().unwrap() = bars.close.to_vec();
    }
}

impl Strategy for Watch {
    fn info(&self) -> &'static StrategyInfo {
        &SINGLE
    }

    fn rule(&self, _: &Params) -> Result<TradingRule, Vec<ParamFault>> {
        Ok(TradingRule::single(Self(Arc::clone(&self.0))))
    }
}

#[test]
fn signals_see_prices_adjusted_by_the_past_and_by_nothing_later() {
    let seen = |actions: &[CorporateAction]| {
        let watch = Watch(Arc::default());
        play(&given(actions), &watch, &with_cash(10_000.0));
        let closes = watch.0.lock().unwrap();
        closes.clone()
    };
    assert_eq!(seen(&[]), [20.0, 21.0, 9.5, 9.6]);
    // 21.00 by 10.00 is 2.1.
    let adjusted = seen(&[gift("2020-06-03")]);
    for (got, wanted) in adjusted.iter().zip([20.0, 21.0, 19.95, 20.16]) {
        assert_fen(*got, wanted);
    }
    let later = seen(&[gift("2020-06-03"), gift("2020-06-04")]);
    assert_eq!(later[..3], adjusted[..3]);
    // Nobody can have held the share before its first bar, nor after its last.
    assert_eq!(seen(&[gift("2020-06-01")]), seen(&[]));
    assert_eq!(seen(&[gift("2020-06-05")]), seen(&[]));
}

#[test]
fn actions_of_one_day_are_for_the_shares_held_before_it_in_any_order() {
    let told = script(&[("2020-06-01", Enter), ("2020-06-02", Exit)]);
    let equity = |actions: &[CorporateAction]| {
        let report = play(&given(actions), &told, &with_cash(10_000.0));
        report.equity
    };
    let (cash, bonus) = (
        CorporateAction {
            bonus_per_share: 0.0,
            ..gift("2020-06-03")
        },
        CorporateAction {
            cash_per_share: 0.0,
            ..gift("2020-06-03")
        },
    );
    let together = equity(&[gift("2020-06-03")]);
    assert_eq!(equity(&[cash.clone(), bonus.clone()]), together);
    assert_eq!(equity(&[bonus, cash]), together);
    let series = data(vec![bars(
        "600000.SH",
        &[
            ("2020-06-02", 20.0, 21.0, MUCH),
            ("2020-06-03", 9.0, 9.5, MUCH),
        ],
    )]);
    let twice = [gift("2020-06-03"), gift("2020-06-03")];
    let refused = series.with_actions(&twice).unwrap_err();
    assert!(refused.to_string().contains("is there twice"), "{refused}");
}

/// Deadlines and cancels are asked for on every row that takes work, not only where orders are given.
#[test]
fn a_run_is_stopped_while_a_sale_waits_and_while_dividends_come() {
    use std::cell::Cell;
    // Bought on 06-02; from 06-03 on the share stands at limit-down, so that the sale waits.
    let days: Vec<String> = (1..=28).map(|day| format!("2020-06-{day:02}")).collect();
    let mut close = 20.0;
    let mut rows: Vec<Row> = Vec::new();
    for (number, date) in days.iter().enumerate() {
        if number >= 2 {
            close = (close * 90.0_f64).round() / 100.0;
        }
        rows.push((date.clone().leak(), close, close, MUCH));
    }
    let told = script(&[("2020-06-01", Enter), ("2020-06-02", Exit)]);
    let falling = || data(vec![bars("600000.SH", &rows)]);
    // Held through a dividend on each row.
    let flat: Vec<Row> = rows.iter().map(|row| (row.0, 20.0, 20.0, MUCH)).collect();
    let dividends: Vec<CorporateAction> = days[2..]
        .iter()
        .map(|date| CorporateAction {
            cash_per_share: 0.01,
            bonus_per_share: 0.0,
            ..gift(date)
        })
        .collect();
    let paying = data(vec![bars("600000.SH", &flat)]);
    let paying = paying.with_actions(&dividends).unwrap();
    for (data, told) in [
        (falling(), told),
        (paying, script(&[("2020-06-01", Enter)])),
    ] {
        let asked = Cell::new(0);
        let until = |most: usize| {
            asked.set(0);
            let stop = || {
                asked.set(asked.get() + 1);
                asked.get() > most
            };
            run(&data, &told, &Params::new(), &with_cash(10_000.0), &stop)
        };
        until(usize::MAX).unwrap();
        // Once for the signals, once for each row on which something is done.
        assert!(asked.get() >= 27, "{} questions", asked.get());
        assert_eq!(until(20).unwrap_err(), RunError::Stopped);
    }
}

#[test]
fn a_fortune_in_single_shares_is_dealt_and_ends() {
    let rows = [
        ("2020-06-01", 0.05, 0.05, MUCH),
        ("2020-06-02", 0.05, 0.05, MUCH),
        ("2020-06-03", 0.05, 0.05, MUCH),
    ];
    let config = BacktestConfig {
        market: Market::Us,
        ..with_cash(1e15)
    };
    let told = script(&[("2020-06-01", Enter)]);
    let report = play(&data(vec![bars("PENNY", &rows)]), &told, &config);
    assert_eq!(report.open_positions[0].shares, 2_f64.powi(52));
}

#[test]
fn an_action_that_cannot_be_is_refused_and_so_is_plain() {
    let series = || {
        data(vec![bars(
            "600000.SH",
            &[
                ("2020-06-01", 20.0, 20.0, MUCH),
                ("2020-06-02", 20.0, 20.0, MUCH),
            ],
        )])
    };
    for (cash_per_share, bonus_per_share) in [(20.0, 0.0), (-1.0, 0.0), (0.0, f64::NAN)] {
        let action = CorporateAction {
            cash_per_share,
            bonus_per_share,
            ..gift("2020-06-02")
        };
        let refused = series().with_actions(&[action]).unwrap_err();
        assert!(matches!(refused, DatasetError::Action { .. }), "{refused}");
        assert!(refused.to_string().contains("600000.SH on 2020-06-02"));
    }
    let data = given(&[gift("2020-06-03")]);
    assert!(data.has_actions());
    let plain = BacktestConfig::default();
    let Err(RunError::Config(faults)) = hold(&data, &plain) else {
        panic!("plain paid no dividend");
    };
    assert_eq!(faults[0].field(), "market");
}

/// Every row of the dated table is in the document, with its day, its value and its source.
#[test]
fn the_document_has_every_row_of_the_table() {
    let document = include_str!("../../docs/market-rules.md");
    fn lines<T: Copy>(rows: &[Dated<T>], value: impl Fn(T) -> String) -> Vec<String> {
        let line =
            |row: &Dated<T>| format!("| {} | {} | {} |", row.first, value(row.value), row.source);
        rows.iter().map(line).collect()
    }
    let percent = |value: i64| format!("{value} %");
    let fraction = |value: f64| format!("{} %", (value * 1e7).round() / 1e5);
    let mut wanted = lines(SPECIAL_TREATMENT_LIMITS, percent);
    wanted.extend(lines(STAMP_DUTY, |duty| {
        format!("{} | {}", fraction(duty.purchase), fraction(duty.sale))
    }));
    for board in Board::ALL {
        wanted.extend(lines(price_limits(board), percent));
        wanted.extend(lines(transfer_fees(board), fraction));
        wanted.extend(lines(listing_rules(board), |rule| match rule {
            ListingRule::Unlimited { days: 1 } => "no limit on 1 day".to_owned(),
            ListingRule::Unlimited { days } => format!("no limit on {days} days"),
            ListingRule::FirstDay { up, down } => {
                format!("+{up} %, -{down} % of the issue price on 1 day")
            }
        }));
    }
    let missing: Vec<_> = wanted
        .iter()
        .filter(|line| !document.contains(*line))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
