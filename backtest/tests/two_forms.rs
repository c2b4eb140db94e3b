//! The engine that trials run gives the report of the readable one, bit for bit.

use chrono::{Days, NaiveDate};
use proptest::prelude::{Just, ProptestConfig, any, prop_compose, prop_oneof, proptest};
use proptest::strategy::Strategy as _;
use std::sync::Arc;
use trialmill_backtest::bars::{BarSeries, Columns, Frequency};
use trialmill_backtest::engine::{
    Backtest, BacktestConfig, Dataset, Fill, Position, Report, RunError, hold, reference,
};
use trialmill_backtest::metrics::evaluate_all;
use trialmill_backtest::strategy::{
    BarView, Leg, PairRule, PairSignal, PairView, ParamFault, ParamKind, ParamValue, Params, Rule,
    Signal, Strategy, StrategyInfo, TradingRule, all,
};
use trialmill_backtest::synthetic::{GroupKind, Random, group};

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
            Arc::new(BarSeries::new(whole.symbol(), Frequency::Daily, columns).unwrap())
        };
        whole.unwrap().into_iter().map(punch).collect()
    }

    fn period(&self) -> (NaiveDate, NaiveDate) {
        let last = first_day() + Days::new(self.days);
        (first_day() + Days::new(self.days * 2 / 5), last)
    }

    /// The data for a strategy of that many legs: each symbol paired with the one before it.
    fn data(&self, legs: u8) -> Dataset {
        let (first, last) = self.period();
        let series = self.series();
        if legs == 1 {
            return Dataset::new(series, first, last).unwrap();
        }
        let names: Vec<String> = series.iter().map(|s| s.symbol().to_owned()).collect();
        let pairs: Vec<(String, String)> = names
            .windows(2)
            .map(|two| (two[1].clone(), two[0].clone()))
            .collect();
        Dataset::with_pairs(series, &pairs, first, last).unwrap()
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
        Case { seed, symbols, days, gaps, wildness, config }
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
