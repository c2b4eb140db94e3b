//! What every rule for one symbol must obey, whatever its parameters and the prices.

use super::{BarView, ParamFault, ParamKind, Params, Rule, Signal, TradingRule, YieldView, all};
use crate::bars::Columns;
use crate::indicator::WindowSums;
use crate::synthetic::Random;

/// Closes of a random walk.
pub(super) fn closes(rows: usize, seed: u64) -> Vec<f64> {
    let mut random = Random::new(seed);
    let mut price = 50.0;
    (0..rows)
        .map(|_| {
            price *= 1.0 + 0.02 * random.normal();
            price
        })
        .collect()
}

/// Bars around a random walk, with whole volumes.
pub(super) fn market(rows: usize, seed: u64) -> Columns {
    let close = closes(rows, seed);
    let mut random = Random::new(!seed);
    let mut bars = Columns::default();
    for (row, &close) in close.iter().enumerate() {
        let open = close * (1.0 + 0.01 * random.normal());
        bars.time.push(i64::try_from(row).unwrap() * 86_400);
        bars.open.push(open);
        bars.high
            .push(open.max(close) * (1.0 + 0.01 * random.uniform()));
        bars.low
            .push(open.min(close) * (1.0 - 0.01 * random.uniform()));
        bars.volume.push((1e6 * random.uniform()).floor());
        bars.close.push(close);
    }
    bars
}

/// The signals of a rule on every row, nothing lying before the first.
pub(super) fn signals_on(rule: &dyn Rule, bars: &Columns) -> Vec<Signal> {
    let sums = WindowSums::new(&bars.close);
    let by_price = |figure: f64| -> Vec<f64> { bars.close.iter().map(|c| figure / c).collect() };
    let yields = [2.0, 30.0, 80.0, 5.0].map(by_price);
    let view = BarView {
        time: &bars.time,
        open: &bars.open,
        high: &bars.high,
        low: &bars.low,
        close: &bars.close,
        volume: &bars.volume,
        yields: Some(YieldView {
            earnings: &yields[0],
            book: &yields[1],
            sales: &yields[2],
            ebitda: &yields[3],
        }),
        close_sums: &sums,
        first: 0,
    };
    let mut signals = vec![Signal::None; bars.time.len()];
    rule.signals(&view, &mut signals);
    signals
}

/// The signals on bars whose four prices are these closes.
pub(super) fn signals_on_closes(rule: &dyn Rule, close: &[f64]) -> Vec<Signal> {
    let bars = Columns {
        time: (0i64..).take(close.len()).collect(),
        open: close.to_vec(),
        high: close.to_vec(),
        low: close.to_vec(),
        close: close.to_vec(),
        volume: close.to_vec(),
    };
    signals_on(rule, &bars)
}

fn part(bars: &Columns, rows: std::ops::Range<usize>) -> Columns {
    Columns {
        time: bars.time[rows.clone()].to_vec(),
        open: bars.open[rows.clone()].to_vec(),
        high: bars.high[rows.clone()].to_vec(),
        low: bars.low[rows.clone()].to_vec(),
        close: bars.close[rows.clone()].to_vec(),
        volume: bars.volume[rows].to_vec(),
    }
}

/// Every single-symbol strategy with its defaults, the ends of its ranges and random values between.
fn rules() -> Vec<(String, Box<dyn Rule>)> {
    let mut rules = Vec::new();
    for strategy in all() {
        let info = strategy.info();
        if info.legs != 1 {
            continue;
        }
        let mut random = Random::new(77);
        let mut draws: Vec<Params> = vec![Params::new()];
        for draw in 0..8 {
            let mut params = Params::new();
            for p in info.parameters {
                let place = match draw {
                    0 => 0.0,
                    1 => 1.0,
                    _ => random.uniform(),
                };
                let value = p.min + place * (p.max - p.min);
                params = match p.kind {
                    ParamKind::Int => params.with(p.name, value.round()),
                    ParamKind::Float => params.with(p.name, value),
                };
            }
            draws.push(params);
        }
        let before = rules.len();
        for params in draws {
            let name = format!("{} {:?}", info.key, params.0);
            match strategy.rule(&params) {
                Ok(TradingRule::Single(rule)) => rules.push((name, rule)),
                Ok(TradingRule::Pair(_)) => panic!("{name} has one leg and gives a pair rule"),
                Err(faults) => {
                    assert!(
                        matches!(faults[..], [ParamFault::Unsuitable { .. }]),
                        "{name}"
                    );
                }
            }
        }
        assert!(rules.len() > before + 2, "{} is hardly tested", info.key);
    }
    rules
}

#[test]
fn truncating_or_changing_the_future_never_changes_a_past_signal() {
    let bars = market(1_500, 1);
    for (name, rule) in rules() {
        let whole = signals_on(rule.as_ref(), &bars);
        for cut in [1, 2, 57, 400, 1_111, 1_499] {
            let cut_off = signals_on(rule.as_ref(), &part(&bars, 0..cut));
            assert_eq!(cut_off[..], whole[..cut], "{name} cut at {cut}");
            let mut changed = bars.clone();
            for (row, factor) in (cut..1_500).zip([0.5, 3.0, 1.0].into_iter().cycle()) {
                for prices in [
                    &mut changed.open,
                    &mut changed.high,
                    &mut changed.low,
                    &mut changed.close,
                    &mut changed.volume,
                ] {
                    prices[row] *= factor;
                }
            }
            let changed = signals_on(rule.as_ref(), &changed);
            assert_eq!(changed[..cut], whole[..cut], "{name} changed at {cut}");
        }
    }
}

#[test]
fn every_strategy_gives_both_signals_and_the_same_ones_again() {
    let bars = market(6_000, 2);
    let of = |strategy: &dyn super::Strategy| match strategy.rule(&Params::new()).unwrap() {
        TradingRule::Single(rule) => Some(signals_on(rule.as_ref(), &bars)),
        TradingRule::Pair(_) => None,
    };
    let mut tested = 0;
    for strategy in all() {
        let (Some(one), Some(two)) = (of(*strategy), of(*strategy)) else {
            continue;
        };
        let key = strategy.info().key;
        assert_eq!(one, two, "{key}");
        for wanted in [Signal::Enter, Signal::Exit] {
            assert!(one.contains(&wanted), "{key} never gives {wanted:?}");
        }
        tested += 1;
    }
    assert!(tested >= 9, "{tested} strategies");
}

#[test]
fn the_warm_up_rows_are_enough_for_the_first_row_and_earlier_ones_change_nothing() {
    let bars = market(3_000, 3);
    for (name, rule) in rules() {
        let whole = signals_on(rule.as_ref(), &bars);
        let warm_up = rule.warm_up_rows();
        assert!(warm_up < 1_500, "{name} warms up for {warm_up} rows");
        let mut signals = 0;
        for (row, &wanted) in whole.iter().enumerate().skip(warm_up) {
            // Every row that signals, and some that do not.
            if wanted == Signal::None && row % 97 != 0 {
                continue;
            }
            let view = part(&bars, row - warm_up..row + 1);
            let got = signals_on(rule.as_ref(), &view)[warm_up];
            assert_eq!(got, wanted, "{name} row {row}");
            signals += usize::from(got != Signal::None);
        }
        if !name.ends_with("{}") {
            continue;
        }
        assert!(signals > 3, "{name}: {signals} signals test too little");
    }
}

#[test]
fn the_unit_of_prices_and_of_volumes_does_not_matter() {
    let bars = market(2_000, 4);
    for (name, rule) in rules() {
        let signals = signals_on(rule.as_ref(), &bars);
        // Powers of two, which scale without rounding.
        for (price_factor, volume_factor) in [(8.0, 0.5), (0.25, 1_024.0)] {
            let scaled = |values: &[f64], factor: f64| values.iter().map(|v| v * factor).collect();
            let other = Columns {
                time: bars.time.clone(),
                open: scaled(&bars.open, price_factor),
                high: scaled(&bars.high, price_factor),
                low: scaled(&bars.low, price_factor),
                close: scaled(&bars.close, price_factor),
                volume: scaled(&bars.volume, volume_factor),
            };
            assert_eq!(signals_on(rule.as_ref(), &other), signals, "{name}");
        }
    }
}

#[test]
fn a_price_that_never_moves_gives_no_signal() {
    let mut random = Random::new(8);
    let some: Vec<f64> = (0..20).map(|_| 100.0 * random.uniform()).collect();
    for price in [0.1, 1e-9, 1e12].into_iter().chain(some) {
        let flat = vec![price; 1_500];
        for (name, rule) in rules() {
            let signals = signals_on_closes(rule.as_ref(), &flat);
            assert!(
                signals.iter().all(|s| *s == Signal::None),
                "{name} at {price}"
            );
        }
    }
}

#[test]
fn short_series_and_missing_volumes_are_borne() {
    let bars = market(70, 5);
    for (name, rule) in rules() {
        for rows in 0..bars.time.len() {
            let signals = signals_on(rule.as_ref(), &part(&bars, 0..rows));
            assert_eq!(signals.len(), rows, "{name}");
            assert!(signals.first().is_none_or(|s| *s == Signal::None), "{name}");
        }
        let mut silent = market(1_500, 6);
        silent.volume.fill(0.0);
        let signals = signals_on(rule.as_ref(), &silent);
        if name.starts_with("obv") {
            assert!(signals.iter().all(|s| *s == Signal::None), "{name}");
        } else {
            assert_eq!(
                signals,
                signals_on(rule.as_ref(), &market(1_500, 6)),
                "{name}"
            );
        }
    }
}

#[test]
fn extreme_prices_are_borne() {
    let mut bars = market(1_500, 7);
    for (row, price) in (0..1_500).zip([1e-9, 1e12, 5.0, 5.0].into_iter().cycle()) {
        bars.open[row] = price;
        bars.high[row] = price;
        bars.low[row] = price;
        bars.close[row] = price;
        bars.volume[row] = 1e18;
    }
    for (name, rule) in rules() {
        let whole = signals_on(rule.as_ref(), &bars);
        let cut = signals_on(rule.as_ref(), &part(&bars, 0..700));
        assert_eq!(cut[..], whole[..700], "{name}");
    }
}

#[test]
fn the_worked_example_of_contributing_is_the_strategy_that_runs() {
    let page = include_str!("../../../CONTRIBUTING.md").replace("\r\n", "\n");
    let file = include_str!("mean_reversion.rs").replace("\r\n", "\n");
    assert!(
        page.contains(&format!("```rust\n{file}```\n")),
        "CONTRIBUTING.md does not show strategy/mean_reversion.rs as it is; paste it again"
    );
    let list = include_str!("../strategy.rs");
    for line in [
        "mod mean_reversion;\n",
        "pub use mean_reversion::MeanReversion;\n",
        "    &MeanReversion,\n",
    ] {
        assert!(page.contains(line), "CONTRIBUTING.md lacks {line:?}");
        assert!(list.contains(line), "strategy.rs lacks {line:?}");
    }
}
