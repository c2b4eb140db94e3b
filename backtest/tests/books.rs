//! Books small enough to be worked out by hand: sizes, pairs, short sales.

use chrono::{Days, NaiveDate};
use std::collections::BTreeMap;
use std::sync::Arc;
use trialmill_backtest::bars::{BarSeries, Columns, Frequency};
use trialmill_backtest::engine::{
    BacktestConfig, Dataset, DatasetError, Fill, Position, Report, RunError, Side, hold, run,
};
use trialmill_backtest::result::{BacktestResult, Figure};
use trialmill_backtest::strategy::{
    BarView, Leg, PairRule, PairSignal, PairView, ParamFault, Params, Rule, Signal, Strategy,
    StrategyInfo, TradingRule, find,
};

const FIRST: i64 = 18_000;

fn date(day: i64) -> NaiveDate {
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
    epoch + Days::new((FIRST + day).unsigned_abs())
}

/// Bars of one price a day: day and price.
fn bars(symbol: &str, prices: &[(i64, f64)]) -> Arc<BarSeries> {
    let price: Vec<f64> = prices.iter().map(|(_, price)| *price).collect();
    let columns = Columns {
        time: prices
            .iter()
            .map(|(day, _)| (FIRST + day) * 86_400)
            .collect(),
        open: price.clone(),
        high: price.clone(),
        low: price.clone(),
        close: price,
        volume: vec![1.0; prices.len()],
    };
    Arc::new(BarSeries::new(symbol, Frequency::Daily, columns).unwrap())
}

fn daily(symbol: &str, prices: &[f64]) -> Arc<BarSeries> {
    let days: Vec<(i64, f64)> = (0..).zip(prices.iter().copied()).collect();
    bars(symbol, &days)
}

/// Signals by day, the same for every symbol or pair.
#[derive(Clone)]
struct Script<S>(BTreeMap<i64, S>);

type Singles = Script<Signal>;
type Pairs = Script<PairSignal>;

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
            *signal = self
                .0
                .get(&(time / 86_400 - FIRST))
                .copied()
                .unwrap_or_default();
        }
    }
}

impl Rule for Singles {
    fn warm_up_rows(&self) -> usize {
        0
    }

    fn signals(&self, bars: &BarView<'_>, signals: &mut [Signal]) {
        self.write(bars.time, signals);
    }
}

impl PairRule for Pairs {
    fn warm_up_rows(&self) -> usize {
        0
    }

    fn signals(&self, pair: &PairView<'_>, signals: &mut [PairSignal]) {
        self.write(pair.time, signals);
    }
}

impl Strategy for Singles {
    fn info(&self) -> &'static StrategyInfo {
        &SINGLE
    }

    fn rule(&self, _: &Params) -> Result<TradingRule, Vec<ParamFault>> {
        Ok(TradingRule::single(self.clone()))
    }
}

impl Strategy for Pairs {
    fn info(&self) -> &'static StrategyInfo {
        &PAIR
    }

    fn rule(&self, _: &Params) -> Result<TradingRule, Vec<ParamFault>> {
        Ok(TradingRule::pair(self.clone()))
    }
}

fn long(leg: Leg, hedge_ratio: f64) -> PairSignal {
    PairSignal::Enter {
        long: leg,
        hedge_ratio,
        admitted: true,
    }
}

/// 1,000 of cash and no costs.
fn free(position: Position, allow_short: bool) -> BacktestConfig {
    BacktestConfig {
        initial_cash: 1_000.0,
        commission_rate: 0.0,
        slippage_rate: 0.0,
        position,
        allow_short,
        ..BacktestConfig::default()
    }
}

fn play(data: &Dataset, strategy: &dyn Strategy, config: &BacktestConfig) -> Report {
    run(data, strategy, &Params::new(), config, &|| false).unwrap()
}

fn singles(series: Vec<Arc<BarSeries>>) -> Dataset {
    Dataset::new(series, date(0), date(99)).unwrap()
}

fn pairs(series: Vec<Arc<BarSeries>>, names: &[(&str, &str)]) -> Dataset {
    let names: Vec<(String, String)> = names
        .iter()
        .map(|(y, x)| ((*y).to_owned(), (*x).to_owned()))
        .collect();
    Dataset::with_pairs(series, &names, date(0), date(99)).unwrap()
}

#[test]
fn all_in_takes_the_first_of_two_entries_on_one_row_and_refuses_the_other() {
    let data = singles(vec![
        daily("B", &[10.0, 10.0, 20.0, 20.0, 20.0]),
        daily("A", &[10.0, 10.0, 5.0, 5.0, 5.0]),
    ]);
    let script = Script([(0, Signal::Enter), (2, Signal::Exit)].into());
    let report = play(&data, &script, &free(Position::AllIn, false));
    assert_eq!((report.entries, report.entries_without_cash), (1, 1));
    assert_eq!(report.symbols[report.trades[0].symbol as usize], "A");
    assert_eq!(report.equity, [1_000.0, 1_000.0, 500.0, 500.0, 500.0]);
}

#[test]
fn a_fixed_fraction_is_one_of_the_whole_book_and_bounded_by_the_cash() {
    let prices = [10.0, 10.0, 10.0];
    let series = ["A", "B", "C", "D"].map(|symbol| daily(symbol, &prices));
    let data = singles(series.into());
    let script = Script([(0, Signal::Enter)].into());
    let report = play(
        &data,
        &script,
        &free(Position::FixedFraction { fraction: 0.4 }, false),
    );
    let paid: Vec<f64> = report.open_positions.iter().map(|open| open.cash).collect();
    assert_eq!(paid, [400.0, 400.0, 200.0]);
    assert_eq!(report.entries_without_cash, 1);
    let ten_percent = Position::FixedFraction { fraction: 0.1 };
    let report = play(&data, &script, &free(ten_percent, false));
    assert_eq!(report.cash, 600.0);
    let result = BacktestResult::new(&report, &data);
    assert!((report.exposure - 0.4 * 2.0 / 3.0).abs() < 1e-12);
    assert!((result.symbols[3].exposure - 0.1 * 2.0 / 3.0).abs() < 1e-12);
}

#[test]
fn a_rotation_sells_one_leg_and_buys_the_other_on_one_row() {
    let y = daily("Y", &[10.0, 10.0, 12.0, 12.0, 12.0, 9.0]);
    let x = daily("X", &[20.0, 20.0, 20.0, 20.0, 30.0, 30.0]);
    let data = pairs(vec![y, x], &[("Y", "X")]);
    let script = Script(
        [
            (0, long(Leg::Y, 1.0)),
            (1, long(Leg::Y, 1.0)), // ignored while held
            (2, long(Leg::X, 1.0)),
            (4, PairSignal::Exit),
        ]
        .into(),
    );
    let report = play(&data, &script, &free(Position::EqualWeight, false));
    assert_eq!(
        report.equity,
        [1_000.0, 1_000.0, 1_200.0, 1_200.0, 1_800.0, 1_800.0]
    );
    let rows: Vec<(u32, u32)> = report
        .trades
        .iter()
        .map(|trade| (trade.entry_row, trade.exit_row))
        .collect();
    assert_eq!(rows, [(1, 3), (3, 5)]);
    assert_eq!((report.entry_signals, report.exit_signals), (3, 1));
    assert!(
        report
            .trades
            .iter()
            .all(|trade| trade.side == Side::Long && trade.pair == Some(0))
    );
    // Both legs held from row 1: 500 of each.
    let held = hold(&data, &free(Position::AllIn, false)).unwrap();
    assert_eq!(
        held.equity,
        [1_000.0, 1_000.0, 1_100.0, 1_100.0, 1_350.0, 1_200.0]
    );
    let result = BacktestResult::new(&report, &data);
    let pair = result.pair.unwrap();
    assert_eq!(
        (
            pair.pairs[0].stock_code.as_str(),
            pair.pairs[0].partner.as_str()
        ),
        ("Y", "X")
    );
    assert!(pair.form.starts_with("leg rotation"));
    let number = |figure: &Figure| match figure {
        Figure::Value(value) => *value,
        Figure::Undefined { reason, .. } => panic!("{reason}"),
    };
    assert!((number(&pair.hold_return) - 0.2).abs() < 1e-12);
    assert!((number(&pair.excess_return) - 0.6).abs() < 1e-12);
    // Returns 0, .2, 0, .5, 0 on 0, .1, 0, 250/1100, -150/1350.
    let (r, b) = (
        [0.0, 0.2, 0.0, 0.5, 0.0],
        [0.0, 0.1, 0.0, 250.0 / 1_100.0, -150.0 / 1_350.0],
    );
    let mean = |v: [f64; 5]| v.iter().sum::<f64>() / 5.0;
    let (r_mean, b_mean) = (mean(r), mean(b));
    let covariance: f64 = r
        .iter()
        .zip(b)
        .map(|(r, b)| (r - r_mean) * (b - b_mean))
        .sum();
    let variance: f64 = b.iter().map(|b| (b - b_mean) * (b - b_mean)).sum();
    assert!((number(&pair.beta) - covariance / variance).abs() < 1e-12);
}

#[test]
fn a_refused_entry_sells_the_opposite_leg_and_is_counted_once_for_each_day_it_would_have_opened() {
    let data = pairs(
        vec![daily("Y", &[10.0; 6]), daily("X", &[20.0; 6])],
        &[("Y", "X")],
    );
    let refused = PairSignal::Enter {
        long: Leg::X,
        hedge_ratio: 1.0,
        admitted: false,
    };
    let script = Script([(0, long(Leg::Y, 1.0)), (2, refused), (3, refused)].into());
    let report = play(&data, &script, &free(Position::EqualWeight, false));
    assert_eq!((report.entries, report.exits), (1, 1));
    assert_eq!(report.entries_not_admitted, 2);
    assert_eq!(report.trades[0].exit_row, 3);
    assert_eq!(
        BacktestResult::new(&report, &data)
            .counts
            .refused_by_half_life,
        2
    );
}

#[test]
fn an_order_for_a_pair_waits_for_the_day_on_which_both_legs_trade() {
    let y = bars(
        "Y",
        &[(0, 10.0), (1, 10.0), (2, 11.0), (3, 12.0), (4, 24.0)],
    );
    let x = bars("X", &[(0, 20.0), (3, 21.0), (4, 21.0)]);
    let data = pairs(vec![y, x], &[("Y", "X")]);
    let script = Script([(0, long(Leg::Y, 1.0))].into());
    let report = play(&data, &script, &free(Position::EqualWeight, false));
    assert_eq!(report.open_positions[0].entry_row, 3);
    assert_eq!(report.open_positions[0].entry_price, 12.0);
    assert_eq!(report.equity, [1_000.0, 1_000.0, 1_000.0, 1_000.0, 2_000.0]);
    // At the close of the signal's own row nothing has to wait.
    let at_close = BacktestConfig {
        fill: Fill::Close,
        ..free(Position::EqualWeight, false)
    };
    assert_eq!(
        play(&data, &script, &at_close).open_positions[0].entry_row,
        0
    );
}

#[test]
fn two_pairs_that_share_a_leg_keep_their_positions_apart() {
    let data = pairs(
        vec![
            daily("A", &[10.0, 10.0, 20.0, 20.0]),
            daily("B", &[10.0; 4]),
            daily("C", &[10.0; 4]),
        ],
        &[("A", "B"), ("C", "A")],
    );
    // Both pairs want A: pair 0 as its y, pair 1 as its x.
    let both = Script([(0, long(Leg::Y, 1.0))].into());
    let report = play(&data, &both, &free(Position::EqualWeight, false));
    let held: Vec<(u32, Option<u32>, f64)> = report
        .open_positions
        .iter()
        .map(|open| (open.symbol, open.pair, open.cash))
        .collect();
    assert_eq!(held, [(0, Some(0), 500.0), (2, Some(1), 500.0)]);
    let other = Script([(0, long(Leg::Y, 1.0)), (1, long(Leg::X, 1.0))].into());
    let report = play(&data, &other, &free(Position::EqualWeight, false));
    // Pair 0 has moved on from A, at 20, to B; pair 1 from C to A.
    let held: Vec<(u32, Option<u32>, f64)> = report
        .open_positions
        .iter()
        .map(|open| (open.symbol, open.pair, open.cash))
        .collect();
    assert_eq!(held, [(1, Some(0), 750.0), (0, Some(1), 750.0)]);
    // Held: half of it A twice, a quarter B and C each.
    let benchmark = hold(&data, &free(Position::EqualWeight, false)).unwrap();
    assert_eq!(benchmark.equity[3], 1_500.0);
}

#[test]
fn a_neutral_pair_is_long_and_short_by_the_hedge_ratio_within_its_share() {
    let y = daily("Y", &[10.0, 10.0, 11.0, 11.0]);
    let x = daily("X", &[20.0, 20.0, 19.0, 19.0]);
    let data = pairs(vec![y, x], &[("Y", "X")]);
    let script = Script([(0, long(Leg::Y, 0.25)), (2, PairSignal::Exit)].into());
    let report = play(&data, &script, &free(Position::EqualWeight, true));
    // 800 of y, 200 of x sold: 80 shares gain 1, 10 shares gain 1.
    assert_eq!(report.equity, [1_000.0, 1_000.0, 1_090.0, 1_090.0]);
    assert_eq!(report.legs_per_trip, 2);
    let [y, x] = report.trades[..] else {
        panic!("{:?}", report.trades)
    };
    assert_eq!((y.side, y.shares, y.profit()), (Side::Long, 80.0, 80.0));
    assert_eq!((x.side, x.shares, x.profit()), (Side::Short, 10.0, 10.0));
    assert_eq!(report.round_trips().collect::<Vec<_>>(), [90.0]);
    // Gross: 1,000 of 1,000, then 880 + 190 of 1,090.
    assert!((report.exposure - (1.0 + 1_070.0 / 1_090.0) / 4.0).abs() < 1e-12);
    let mirror = Script([(0, long(Leg::X, 0.25)), (2, PairSignal::Exit)].into());
    let report = play(&data, &mirror, &free(Position::EqualWeight, true));
    assert_eq!(report.equity[3], 1_000.0 - 80.0 - 10.0);
}

#[test]
fn costs_of_a_neutral_pair_are_paid_on_both_legs_and_both_ways() {
    let data = pairs(
        vec![daily("Y", &[10.0; 4]), daily("X", &[20.0; 4])],
        &[("Y", "X")],
    );
    let script = Script([(0, long(Leg::Y, 1.0)), (1, PairSignal::Exit)].into());
    let (commission_rate, slippage_rate) = (0.001, 0.002);
    let config = BacktestConfig {
        commission_rate,
        slippage_rate,
        ..free(Position::EqualWeight, true)
    };
    let report = play(&data, &script, &config);
    let bought = 500.0;
    let sold = bought / (1.002 * 1.001) * 0.998 * 0.999;
    let shorted = 500.0 * 0.998 * 0.999;
    let covered = 500.0 * 1.002 * 1.001;
    let wanted = 1_000.0 - bought + sold + shorted - covered;
    assert!((report.equity[3] - wanted).abs() < 1e-9);
    assert!((report.commission + report.slippage - (1_000.0 - wanted)).abs() < 1e-9);
}

#[test]
fn without_a_positive_hedge_ratio_nothing_is_opened_and_the_opposite_leg_is_closed() {
    let data = pairs(
        vec![daily("Y", &[10.0; 6]), daily("X", &[20.0; 6])],
        &[("Y", "X")],
    );
    for ratio in [-0.5, 0.0, f64::NAN, f64::INFINITY] {
        for (short, legs) in [(false, 1), (true, 2)] {
            let script = Script([(0, long(Leg::Y, ratio))].into());
            let report = play(&data, &script, &free(Position::EqualWeight, short));
            assert_eq!(report.entries, 0, "{ratio}");
            assert_eq!(
                (report.entries_not_admitted, report.entries_not_hedged),
                (0, 1)
            );
            let script = Script([(0, long(Leg::Y, 1.0)), (2, long(Leg::X, ratio))].into());
            let report = play(&data, &script, &free(Position::EqualWeight, short));
            assert_eq!((report.entries, report.exits), (legs, legs), "{ratio}");
            assert_eq!(report.trades[0].exit_row, 3);
            let counts = BacktestResult::new(&report, &data).counts;
            assert_eq!(
                (counts.refused_by_half_life, counts.refused_by_hedge_ratio),
                (0, 1)
            );
        }
    }
}

#[test]
fn what_rounding_leaves_of_the_cash_buys_nothing() {
    // Thirds of 1,000 do not add up to it: what is left in the book is some 1e-13.
    let mut left_over = 0;
    for slots in 2u8..40 {
        let symbols: Vec<String> = (0..=slots).map(|symbol| format!("S{symbol:02}")).collect();
        let series = symbols.iter().map(|symbol| daily(symbol, &[10.0; 4]));
        let data = Dataset::new(series.collect(), date(0), date(3)).unwrap();
        let enter = Script([(0, Signal::Enter)].into());
        let config = free(
            Position::FixedFraction {
                fraction: 1.0 / f64::from(slots),
            },
            false,
        );
        let report = play(&data, &enter, &config);
        assert_eq!(report.entries, usize::from(slots), "{slots}");
        assert_eq!(report.entries_without_cash, 1, "{slots}");
        left_over += usize::from(report.cash > 0.0);
    }
    assert!(left_over > 0, "no book had anything left over");
}

#[test]
fn short_proceeds_are_never_spent() {
    let data = pairs(
        vec![
            daily("A", &[10.0; 5]),
            daily("B", &[10.0; 5]),
            daily("C", &[10.0; 5]),
        ],
        &[("A", "B"), ("B", "C")],
    );
    let script = Script([(0, long(Leg::Y, 1.0))].into());
    for position in [
        Position::EqualWeight,
        Position::AllIn,
        Position::FixedFraction { fraction: 0.8 },
    ] {
        let report = play(&data, &script, &free(position, true));
        let gross: f64 = report
            .open_positions
            .iter()
            .map(|open| open.value.abs())
            .sum();
        assert!((gross - 1_000.0).abs() < 1e-9, "{position:?}: {gross}");
        let pairs = if position == Position::AllIn { 1 } else { 2 };
        assert_eq!(report.open_positions.len(), 2 * pairs, "{position:?}");
        assert_eq!(report.entries_without_cash, 2 - pairs, "{position:?}");
    }
}

#[test]
fn a_book_that_short_sales_use_up_is_closed_and_says_so() {
    let y = daily("Y", &[10.0, 10.0, 10.0, 10.0, 10.0]);
    let x = daily("X", &[10.0, 10.0, 35.0, 10.0, 10.0]);
    let data = pairs(vec![y, x], &[("Y", "X")]);
    let script = Script([(0, long(Leg::Y, 1.0)), (2, long(Leg::Y, 1.0))].into());
    let report = play(&data, &script, &free(Position::EqualWeight, true));
    // 50 shares of x sold short at 10 cost 1,750 to buy back; y is worth 500.
    assert_eq!(report.equity, [1_000.0, 1_000.0, 0.0, 0.0, 0.0]);
    let ruin = report.ruin.unwrap();
    assert_eq!((ruin.row, ruin.shortfall), (2, 250.0));
    assert_eq!((report.trades.len(), report.open_positions.len()), (2, 0));
    assert_eq!(report.entries, 2, "a lost book trades no more");
    let result = BacktestResult::new(&report, &data);
    assert_eq!(result.lost.unwrap().date, date(2));
    assert_eq!(result.metrics["total_return"], Figure::Value(-1.0));
    assert!(matches!(
        result.metrics["stability"],
        Figure::Undefined { .. }
    ));
    let months: f64 = result
        .monthly_returns
        .iter()
        .map(|m| 1.0 + m.change)
        .product();
    assert_eq!(months, 0.0);
}

#[test]
fn pairs_that_cannot_be_traded_are_refused_by_name() {
    let series = || vec![daily("A", &[10.0; 4]), daily("B", &[10.0; 4])];
    let with = |names: &[(&str, &str)]| {
        let names: Vec<(String, String)> = names
            .iter()
            .map(|(y, x)| ((*y).to_owned(), (*x).to_owned()))
            .collect();
        Dataset::with_pairs(series(), &names, date(0), date(9)).unwrap_err()
    };
    assert_eq!(with(&[]), DatasetError::NoPairs);
    let told = with(&[("A", "C")]).to_string();
    assert_eq!(
        told,
        "the pair A/C needs the bars of C, which are not there"
    );
    assert!(
        with(&[("A", "A")])
            .to_string()
            .starts_with("A cannot be its own partner")
    );
    assert!(
        with(&[("A", "B"), ("A", "B")])
            .to_string()
            .contains("A/B is there twice")
    );
    let strategy = find("cointegration").unwrap();
    let data = singles(series());
    let refused = run(
        &data,
        strategy,
        &Params::new(),
        &BacktestConfig::default(),
        &|| false,
    );
    assert!(matches!(refused, Err(RunError::Config(_))), "{refused:?}");
    let short = BacktestConfig {
        allow_short: true,
        ..BacktestConfig::default()
    };
    let single = find("moving_average").unwrap();
    let refused = run(&data, single, &Params::new(), &short, &|| false).unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("allow_short: this strategy only buys"),
        "{refused}"
    );
}

#[test]
fn a_pair_counts_in_the_memory_and_leaves_strangers_out() {
    let series = vec![
        daily("A", &[10.0; 50]),
        daily("B", &[20.0; 50]),
        daily("Z", &[20.0; 60]),
    ];
    let alone = Dataset::new(series[..2].to_vec(), date(0), date(99)).unwrap();
    let data = pairs(series, &[("B", "A")]);
    assert_eq!(data.symbols()[..], ["A".to_owned(), "B".to_owned()]);
    assert_eq!(data.pairs().collect::<Vec<_>>(), [(1, 0)]);
    assert_eq!(data.rows(), 50);
    assert!(data.memory_bytes() > alone.memory_bytes() + 50 * 40);
}

#[test]
fn bars_of_another_spacing_make_a_book_too_and_the_last_day_counts_whole() {
    use trialmill_backtest::bars::{BarSeries, Columns, Frequency, midnight};
    let bars = |symbol: &str, frequency: Frequency, step: i64| {
        let first = midnight("2020-01-01".parse().unwrap());
        let close: Vec<f64> = (0..96).map(|row| 10.0 + f64::from(row % 7)).collect();
        let columns = Columns {
            time: (0..96).map(|row| first + row * step).collect(),
            open: close.clone(),
            high: close.clone(),
            low: close.clone(),
            volume: vec![1.0; 96],
            close,
        };
        std::sync::Arc::new(BarSeries::new(symbol, frequency, columns).unwrap())
    };
    let (first, last) = ("2020-01-02".parse().unwrap(), "2020-01-03".parse().unwrap());
    let hours = bars("H", Frequency::Hour, 3_600);
    let data = Dataset::new(vec![hours.clone()], first, last).unwrap();
    assert_eq!((data.rows(), data.frequency()), (48, Frequency::Hour));
    let days = bars("D", Frequency::Daily, 86_400);
    let refused = Dataset::new(vec![hours, days], first, last).unwrap_err();
    let told = refused.to_string();
    assert!(told.contains("D has bars of 1d and H of 1h"), "{told}");
}
