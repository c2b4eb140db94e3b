//! The engine that trials run gives the report of the readable one, bit for bit.

use chrono::{Days, NaiveDate};
use proptest::prelude::{Just, ProptestConfig, any, prop_compose, prop_oneof, proptest};
use proptest::strategy::Strategy as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use trialmill_backtest::bars::{BarSeries, Columns, Frequency, midnight};
use trialmill_backtest::engine::{
    Backtest, BacktestConfig, Dataset, Fill, Market, Position, Report, RunError, hold, reference,
};
use trialmill_backtest::market::{CorporateAction, Status, Treatment, fen};
use trialmill_backtest::metrics::evaluate_all;
use trialmill_backtest::strategy::{
    BarView, Leg, PairRule, PairSignal, PairView, ParamFault, ParamKind, ParamValue, Params, Rule,
    Signal, Strategy, StrategyInfo, TradingRule, all,
};
use trialmill_backtest::synthetic::{GroupKind, Random, group, reports};

fn first_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2016, 1, 1).unwrap()
}

/// A market, its gaps, and how it is traded.
#[derive(Clone, Debug)]
struct Case {
    seed: u64,
    symbols: usize,
    /// Days of the whole series; the last 60 % are the period.
    days: u64,
    /// How many days in a hundred are missing, and how many are suspended.
    gaps: (u64, u64),
    /// Daily moves are this many times those of an ordinary stock.
    wildness: u32,
    /// The last day of the period, if it is not that of the series.
    cut: Option<u64>,
    config: BacktestConfig,
}

impl Case {
    fn series(&self) -> Vec<Arc<BarSeries>> {
        let last = first_day() + Days::new(self.days);
        let whole = group(
            GroupKind::Cointegrated,
            self.seed,
            self.symbols,
            first_day(),
            last,
        );
        let mut random = Random::new(self.seed ^ 0x5eed);
        let punch = |whole: BarSeries| {
            let mut columns = Columns::default();
            for row in 0..whole.rows() {
                if random.bits() % 100 < self.gaps.0 {
                    continue;
                }
                // The same moves, stretched.
                let wild = |price: f64| {
                    50.0 * (price / whole.close()[0]).powi(self.wildness.try_into().unwrap())
                };
                let suspended = random.bits() % 100 < self.gaps.1;
                columns.time.push(whole.time()[row]);
                columns.open.push(wild(whole.open()[row]));
                columns.high.push(wild(whole.high()[row]));
                columns.low.push(wild(whole.low()[row]));
                columns.close.push(wild(whole.close()[row]));
                columns
                    .volume
                    .push(if suspended { 0.0 } else { whole.volume()[row] });
            }
            (whole.symbol().to_owned(), columns)
        };
        let whole = whole.unwrap().into_iter().map(punch);
        let named = whole.zip(SHARES).zip(0..);
        let named = named.map(|(((symbol, mut columns), share), number)| {
            let symbol = match self.config.market {
                Market::CnA => {
                    ruled(&mut columns, &mut random_of(self.seed, number));
                    share.to_owned()
                }
                Market::Plain | Market::Us => symbol,
            };
            if self.cut.is_some() {
                let end = midnight(self.period().1);
                let rows = columns.time.partition_point(|&time| time <= end);
                let Columns {
                    time,
                    open,
                    high,
                    low,
                    close,
                    volume,
                } = &mut columns;
                time.truncate(rows);
                for column in [open, high, low, close, volume] {
                    column.truncate(rows);
                }
            }
            Arc::new(BarSeries::new(&symbol, Frequency::Daily, columns).unwrap())
        });
        named.collect()
    }

    /// What is known of some of the shares.
    fn statuses(&self) -> BTreeMap<String, Status> {
        let day = |days: u64| first_day() + Days::new(days);
        let status = |listed: Option<NaiveDate>, treated: &[(u64, u64)]| Status {
            listed,
            special_treatment: treated
                .iter()
                .map(|&(first, last)| Treatment {
                    first: day(first),
                    last: Some(day(last)),
                })
                .collect(),
            ..Status::default()
        };
        let new = first_day() + Days::new(self.days * 2 / 5 + 4);
        BTreeMap::from([
            (SHARES[0].to_owned(), status(None, &[(0, 400), (600, 900)])),
            (SHARES[1].to_owned(), status(Some(first_day()), &[])),
            (SHARES[2].to_owned(), status(Some(new), &[])),
        ])
    }

    fn period(&self) -> (NaiveDate, NaiveDate) {
        let last = first_day() + Days::new(self.cut.unwrap_or(self.days));
        (first_day() + Days::new(self.days * 2 / 5), last)
    }

    /// Every other case has dividends and bonus shares.
    fn has_actions(&self) -> bool {
        self.config.market.has_rules() && self.seed.is_multiple_of(2)
    }

    /// Data with what is known beside its bars.
    fn informed(&self, data: Dataset) -> Dataset {
        let data = data.with_statuses(self.statuses());
        let last = first_day() + Days::new(self.days);
        let symbols = (self.seed..).zip(data.symbols().iter());
        let known = symbols.filter(|(seed, _)| seed % 3 > 0);
        let reports: Vec<_> = known
            .flat_map(|(seed, symbol)| reports(symbol, seed, first_day(), last))
            .collect();
        if !self.has_actions() {
            return data.with_fundamentals(&reports, &[]);
        }
        let mut random = random_of(self.seed, 99);
        let symbols = Arc::clone(data.symbols());
        let mut known = BTreeSet::new();
        let actions: Vec<CorporateAction> = (0..3 * symbols.len())
            .map(|number| CorporateAction {
                symbol: symbols[number / 3].clone(),
                ex_date: first_day() + Days::new(random.bits() % self.days),
                // Less than any price here.
                cash_per_share: [0.0, 0.002][number % 2],
                bonus_per_share: [0.0, 0.25, 1.0][(random.bits() % 3) as usize],
            })
            .filter(|action| action.check().is_ok())
            // Two on one day are one too many.
            .filter(|action| known.insert((action.symbol.clone(), action.ex_date)))
            .collect();
        data.with_actions(&actions)
            .unwrap()
            .with_fundamentals(&reports, &actions)
    }

    /// The data for a strategy of that many legs: each symbol paired with the one before it.
    fn data(&self, legs: u8) -> Dataset {
        self.data_over(legs, self.period())
    }

    fn data_over(&self, legs: u8, (first, last): (NaiveDate, NaiveDate)) -> Dataset {
        let series = self.series();
        if legs == 1 {
            let data = Dataset::new(series, first, last).unwrap();
            return self.informed(data);
        }
        let names: Vec<String> = series.iter().map(|s| s.symbol().to_owned()).collect();
        let pairs: Vec<(String, String)> = names
            .windows(2)
            .map(|two| (two[1].clone(), two[0].clone()))
            .collect();
        let data = Dataset::with_pairs(series, &pairs, first, last).unwrap();
        self.informed(data)
    }
}

/// One of each board, and two more of the main board.
const SHARES: [&str; 6] = [
    "000001.SZ",
    "300750.SZ",
    "688981.SH",
    "600000.SH",
    "830799.BJ",
    "601398.SH",
];

fn random_of(seed: u64, number: u64) -> Random {
    Random::new(seed ^ (number + 1).wrapping_mul(0x9e37_79b9))
}

/// Prices in fen that mostly keep within 10 % of the close before, often at a limit, sometimes
/// odd; volumes that are sometimes small.
fn ruled(columns: &mut Columns, random: &mut Random) {
    let in_fen = |price: f64| u32::try_from(fen(price).max(2)).map_or(1e6, f64::from) / 100.0;
    let mut before: Option<f64> = None;
    for row in 0..columns.time.len() {
        let prices = [
            &mut columns.open,
            &mut columns.high,
            &mut columns.low,
            &mut columns.close,
        ];
        let [open, high, low, close] = prices.map(|column| &mut column[row]);
        let moved = *close / *open;
        // A split of the prices now and then, which the limits cannot know.
        let base = before.unwrap_or(*open)
            * if random.bits().is_multiple_of(100) {
                0.5
            } else {
                1.0
            };
        let (up, down) = (in_fen(base * 1.1), in_fen(base * 0.9));
        (*open, *close) = match random.bits() % 10 {
            0 => (up, up),
            1 => (down, down),
            2 => (in_fen(base), up),
            3 => (down, in_fen(base)),
            4 => (base * 1.01, base * 1.023),
            _ => (in_fen(base), in_fen((base * moved).clamp(down, up))),
        };
        (*open, *close) = (open.clamp(0.01, 1e5), close.clamp(0.01, 1e5));
        (*high, *low) = (open.max(*close), open.min(*close));
        before = Some(*close);
        let volume = &mut columns.volume[row];
        *volume = match random.bits() % 8 {
            _ if *volume == 0.0 => 0.0,
            0 => 900.0,
            1 => 2_700.0,
            2 => 13_000.0,
            _ => 1e7,
        };
    }
}

prop_compose! {
    fn cases()(
        seed in 0..10_000u64,
        symbols in 1..=6usize,
        days in 60..1_200u64,
        gaps in (0..15u64, 0..10u64),
        wildness in 1..=5u32,
        fill in prop_oneof![Just(Fill::NextOpen), Just(Fill::NextClose), Just(Fill::Close)],
        position in prop_oneof![
            Just(Position::EqualWeight),
            Just(Position::AllIn),
            (0.05..1.0f64).prop_map(|fraction| Position::FixedFraction { fraction }),
        ],
        commission_rate in prop_oneof![Just(0.0), 0.0..0.01f64],
        slippage_rate in prop_oneof![Just(0.0), 0.0..0.01f64],
        allow_short in any::<bool>(),
    ) -> Case {
        let config = BacktestConfig {
            fill,
            position,
            commission_rate,
            slippage_rate,
            allow_short,
            ..BacktestConfig::default()
        };
        Case { seed, symbols, days, gaps, wildness, cut: None, config }
    }
}

prop_compose! {
    fn ruled_cases()(
        case in cases(),
        market in prop_oneof![Just(Market::CnA), Just(Market::CnA), Just(Market::Us)],
        initial_cash in prop_oneof![Just(1.0), 100.0..20_000.0f64, Just(1e6), Just(1e9)],
        no_commission in any::<bool>(),
    ) -> Case {
        let config = BacktestConfig {
            market,
            initial_cash,
            allow_short: false,
            commission_rate: if no_commission { 0.0 } else { case.config.commission_rate },
            ..case.config
        };
        Case { config, ..case }
    }
}

/// Everything of a report but the benchmark, which the readable engine leaves out. The shortest
/// text of a number tells its bits.
fn text(report: Report) -> String {
    let benchmark = None;
    format!(
        "{:?}",
        Report {
            benchmark,
            ..report
        }
    )
}

#[track_caller]
fn same_bits(case: &Case, strategy: &dyn Strategy, params: &Params) -> Option<Report> {
    let legs = strategy.info().legs;
    let config = BacktestConfig {
        allow_short: case.config.allow_short && legs == 2,
        ..case.config.clone()
    };
    let data = case.data(legs);
    let wanted = reference::run(&data, strategy, params, &config, &|| false);
    let held = text(reference::hold(&data, &config).unwrap());
    assert_eq!(text(hold(&data, &config).unwrap()), held);
    let backtest = Backtest::new(data, config).unwrap();
    let got = backtest.trial(strategy, params, &|| false);
    let (got, wanted) = match (got, wanted) {
        (Ok(got), Ok(wanted)) => (got, wanted),
        (Err(RunError::Params(got)), Err(RunError::Params(wanted))) => {
            assert_eq!(got, wanted);
            assert!(
                matches!(got.as_slice(), [ParamFault::Unsuitable { .. }]),
                "{got:?}"
            );
            return None;
        }
        (got, wanted) => panic!("{got:?}\n{wanted:?}"),
    };
    for (metric, value) in evaluate_all(&got) {
        assert_eq!(value, metric.value(&got), "{}", metric.name());
    }
    let seen = got.clone();
    assert_eq!(text(got), text(wanted));
    Some(seen)
}

/// Parameters drawn from the declared ranges.
fn drawn(info: &StrategyInfo, random: &mut Random) -> Params {
    let draw = |parameter: &trialmill_backtest::strategy::ParamInfo| {
        let value = parameter.min + (parameter.max - parameter.min) * random.uniform();
        let value = match parameter.kind {
            ParamKind::Int => ParamValue::Float(value.round()),
            ParamKind::Float => ParamValue::Float(value),
        };
        (parameter.name, value)
    };
    info.parameters.iter().map(draw).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_strategy_has_the_same_report_in_both_forms(case in cases(), seed in any::<u64>()) {
        let mut random = Random::new(seed);
        for strategy in all() {
            let params = drawn(strategy.info(), &mut random);
            if usize::from(strategy.info().legs) <= case.symbols {
                same_bits(&case, *strategy, &params);
            }
        }
    }

    #[test]
    fn random_orders_have_the_same_report_in_both_forms(case in cases(), seed in any::<u64>()) {
        same_bits(&case, &Dice { seed, pairs: false, one_in: 10 }, &Params::new());
        if case.symbols > 1 {
            same_bits(&case, &Dice { seed, pairs: true, one_in: 20 }, &Params::new());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn another_period_of_prepared_data_is_as_if_it_were_prepared_for_it(
        case in prop_oneof![cases(), ruled_cases()],
        seed in any::<u64>(),
    ) {
        let (first, last) = case.period();
        let wide = (first_day(), first_day() + Days::new(case.days / 2));
        for pairs in [false, true] {
            let legs = 1 + u8::from(pairs);
            if usize::from(legs) > case.symbols {
                continue;
            }
            let fresh = case.data_over(legs, (first, last));
            let again = case.data_over(legs, wide).over(first, last).unwrap();
            assert_eq!(again.fewest_rows(), fresh.fewest_rows());
            let dice = Dice { seed, pairs, one_in: 10 };
            let mut config = case.config.clone();
            config.allow_short &= pairs;
            let report = |data| {
                let backtest = Backtest::new(data, config.clone()).unwrap();
                backtest.trial(&dice, &Params::new(), &|| false).unwrap()
            };
            assert_eq!(report(again), report(fresh));
        }
    }
}

/// What holds of every book under rules, whatever was traded.
#[track_caller]
fn keeps_the_rules(case: &Case, report: &Report) {
    let execution = report.execution.unwrap();
    let ended = execution.filled + execution.expired + execution.cancelled + execution.waiting;
    assert_eq!(execution.orders, ended, "{execution:?}");
    assert!(
        report
            .trades
            .iter()
            .all(|trade| trade.entry_row < trade.exit_row)
    );
    assert!(report.cash >= 0.0 && report.equity.iter().all(|equity| *equity >= 0.0));
    let lots = report
        .trades
        .iter()
        .map(|trade| (trade.symbol, trade.shares));
    let open = report
        .open_positions
        .iter()
        .map(|open| (open.symbol, open.shares));
    for (symbol, shares) in lots.chain(open) {
        let whole = case.config.market == Market::Us
            || report.symbols[symbol as usize].starts_with(['6', '8'])
                && !report.symbols[symbol as usize].starts_with("60");
        let step = if whole || case.has_actions() {
            1.0
        } else {
            100.0
        };
        assert_eq!(shares % step, 0.0, "{}", report.symbols[symbol as usize]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn under_the_rules_of_a_market_both_forms_agree(case in ruled_cases(), seed in any::<u64>()) {
        for one_in in [4, 10, 60] {
            let dice = Dice { seed, pairs: false, one_in };
            keeps_the_rules(&case, &same_bits(&case, &dice, &Params::new()).unwrap());
            if case.symbols > 1 {
                let dice = Dice { seed, pairs: true, one_in: 2 * one_in };
                keeps_the_rules(&case, &same_bits(&case, &dice, &Params::new()).unwrap());
            }
        }
        let mut random = Random::new(seed);
        for strategy in all() {
            let params = drawn(strategy.info(), &mut random);
            if usize::from(strategy.info().legs) <= case.symbols {
                same_bits(&case, *strategy, &params);
            }
        }
    }
}

/// What happens after a day changes nothing that was done up to it.
#[test]
fn under_the_rules_of_a_market_the_future_never_changes_the_past() {
    let mut compared = 0;
    for seed in 0..6 {
        let case = Case {
            seed,
            symbols: 4,
            days: 500,
            gaps: (5, 8),
            wildness: 2,
            cut: None,
            config: BacktestConfig {
                market: Market::CnA,
                ..BacktestConfig::default()
            },
        };
        for pairs in [false, true] {
            let dice = Dice {
                seed,
                pairs,
                one_in: 12,
            };
            let legs = if pairs { 2 } else { 1 };
            let play = |case: &Case| {
                let data = case.data(legs);
                let done = reference::run(&data, &dice, &Params::new(), &case.config, &|| false);
                done.unwrap()
            };
            let whole = play(&case);
            for cut in [450, 380, 300, 230] {
                let known = play(&Case {
                    cut: Some(cut),
                    ..case.clone()
                });
                let rows = known.equity.len();
                assert!(rows < whole.equity.len());
                assert_eq!(known.time[..], whole.time[..rows]);
                assert_eq!(known.equity[..], whole.equity[..rows]);
                let earlier = whole.trades.iter().filter(|t| (t.exit_row as usize) < rows);
                assert!(known.trades.iter().eq(earlier));
                compared += known.trades.len();
            }
        }
    }
    assert!(compared > 500, "{compared} trades");
}

/// The random cases meet every obstacle there is, so that agreement on them says something.
#[test]
fn the_random_cases_meet_every_obstacle() {
    let mut met = [0; 10];
    for seed in 0..12 {
        let case = Case {
            seed,
            symbols: 6,
            days: 900,
            gaps: (5, 8),
            wildness: 2,
            cut: None,
            config: BacktestConfig {
                market: Market::CnA,
                initial_cash: 1e5,
                fill: if seed % 2 == 0 {
                    Fill::NextOpen
                } else {
                    Fill::NextClose
                },
                ..BacktestConfig::default()
            },
        };
        for pairs in [false, true] {
            let dice = Dice {
                seed,
                pairs,
                one_in: 12,
            };
            let report = same_bits(&case, &dice, &Params::new()).unwrap();
            keeps_the_rules(&case, &report);
            let execution = report.execution.unwrap();
            let blocked = execution.blocked;
            let counts = [
                execution.filled,
                execution.expired,
                execution.cancelled,
                execution.limit_unknown,
                blocked.limit_up,
                blocked.limit_down,
                blocked.suspended,
                blocked.cash_below_lot,
                blocked.volume_cap,
                blocked.other_leg,
            ];
            for (met, count) in met.iter_mut().zip(counts) {
                *met += count;
            }
        }
    }
    assert!(met.iter().all(|&count| count > 10), "{met:?}");
}

#[test]
fn a_lost_book_has_the_same_report_in_both_forms() {
    let mut lost = 0;
    for seed in 0..40 {
        let case = Case {
            seed,
            symbols: 3,
            days: 700,
            gaps: (5, 5),
            wildness: 5,
            cut: None,
            config: BacktestConfig {
                allow_short: true,
                ..BacktestConfig::default()
            },
        };
        let patient = Dice {
            seed,
            pairs: true,
            one_in: 600,
        };
        let report = same_bits(&case, &patient, &Params::new()).unwrap();
        let Some(ruin) = report.ruin else { continue };
        lost += 1;
        let row = ruin.row as usize;
        assert!(report.equity[..row].iter().all(|equity| *equity > 0.0));
        assert!(report.equity[row..].iter().all(|equity| *equity == 0.0));
        assert!(ruin.shortfall >= 0.0 && report.cash == 0.0);
        assert!(report.open_positions.is_empty());
        assert!(report.trades.iter().all(|trade| trade.exit_row <= ruin.row));
    }
    assert!(lost > 3, "{lost} books were lost");
}

/// Orders by dice, much denser than any strategy would give them.
struct Dice {
    seed: u64,
    pairs: bool,
    /// A row is thrown with a die of so many sides, of which up to five are orders.
    one_in: u64,
}

fn info(legs: u8) -> StrategyInfo {
    StrategyInfo {
        key: "dice",
        name: "Dice",
        category: "test",
        description: "orders at random",
        formula: "none",
        legs,
        reads_fundamentals: false,
        parameters: &[],
        retired: &[],
    }
}

static SINGLE: std::sync::LazyLock<StrategyInfo> = std::sync::LazyLock::new(|| info(1));
static PAIR: std::sync::LazyLock<StrategyInfo> = std::sync::LazyLock::new(|| info(2));

impl Strategy for Dice {
    fn info(&self) -> &'static StrategyInfo {
        if self.pairs { &PAIR } else { &SINGLE }
    }

    fn rule(&self, _: &Params) -> Result<TradingRule, Vec<ParamFault>> {
        let (seed, one_in) = (self.seed, self.one_in);
        Ok(if self.pairs {
            TradingRule::pair(Throws { seed, one_in })
        } else {
            TradingRule::single(Throws { seed, one_in })
        })
    }
}

struct Throws {
    seed: u64,
    one_in: u64,
}

impl Throws {
    /// The throw of a row: of its day and close, so that symbols differ.
    fn on(&self, time: i64, close: f64) -> Random {
        Random::new(self.seed ^ close.to_bits() ^ time.unsigned_abs())
    }
}

impl Rule for Throws {
    fn warm_up_rows(&self) -> usize {
        3
    }

    fn signals(&self, bars: &BarView<'_>, signals: &mut [Signal]) {
        for (row, signal) in signals.iter_mut().enumerate() {
            *signal = match self.on(bars.time[row], bars.close[row]).bits() % self.one_in {
                0 | 1 => Signal::Enter,
                2 => Signal::Exit,
                _ => Signal::None,
            };
        }
    }
}

impl PairRule for Throws {
    fn warm_up_rows(&self) -> usize {
        3
    }

    fn signals(&self, pair: &PairView<'_>, signals: &mut [PairSignal]) {
        for (row, signal) in signals.iter_mut().enumerate() {
            let mut dice = self.on(pair.time[row], pair.y_close[row]);
            let long = match dice.bits() % self.one_in {
                0 | 1 => Leg::Y,
                2 | 3 => Leg::X,
                4 => {
                    *signal = PairSignal::Exit;
                    continue;
                }
                _ => continue,
            };
            *signal = PairSignal::Enter {
                long,
                hedge_ratio: 3.0 * dice.uniform() - 0.3,
                admitted: dice.uniform() > 0.25,
            };
        }
    }
}
