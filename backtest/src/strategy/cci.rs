//! The commodity channel index, read on the way back from an extreme.

use super::crossing::write_crossings;
use super::{
    BarView, ParamFault, ParamInfo, ParamKind, Params, Rule, Signal, Strategy, StrategyInfo,
    TradingRule, read, rows,
};
use crate::indicator::commodity_channel_index;

/// Buys when the index recovers from the oversold zone, sells when it falls out of the overbought
/// zone.
///
/// The service this replaces described that rule and did another: it bought when the index *entered*
/// the oversold zone, into the fall, and sold when it entered the overbought zone. Here the
/// description is true, and oversold means the same as for `rsi` and `bollinger`.
#[derive(Clone, Copy, Debug)]
pub struct CommodityChannel;

static INFO: StrategyInfo = StrategyInfo {
    key: "cci",
    name: "Commodity channel index",
    category: "mean_reversion",
    description: "Buys when the commodity channel index rises back out of the oversold zone, sells \
                  when it falls back out of the overbought zone.",
    formula: "p = (high + low + close) / 3; c[t] = (p[t] - SMA(p, period)[t]) / (0.015 mean|p - \
              SMA(p, period)[t]| over period rows); enter: c[t-1] <= oversold and c[t] > oversold; \
              exit: c[t-1] >= overbought and c[t] < overbought",
    legs: 1,
    reads_fundamentals: false,
    parameters: &[
        ParamInfo {
            name: "period",
            kind: ParamKind::Int,
            default: 20.0,
            min: 5.0,
            max: 50.0,
            description: "rows of the mean and of the mean absolute deviation",
        },
        ParamInfo {
            name: "oversold",
            kind: ParamKind::Float,
            default: -100.0,
            min: -200.0,
            max: -50.0,
            description: "upper end of the oversold zone, index points",
        },
        ParamInfo {
            name: "overbought",
            kind: ParamKind::Float,
            default: 100.0,
            min: 50.0,
            max: 200.0,
            description: "lower end of the overbought zone, index points",
        },
    ],
    retired: &[],
};

struct Recovery {
    period: usize,
    oversold: f64,
    overbought: f64,
}

impl Strategy for CommodityChannel {
    fn info(&self) -> &'static StrategyInfo {
        &INFO
    }

    fn rule(&self, params: &Params) -> Result<TradingRule, Vec<ParamFault>> {
        let values = read(&INFO, params)?;
        Ok(TradingRule::single(Recovery {
            period: rows(values[0]),
            oversold: values[1],
            overbought: values[2],
        }))
    }
}

impl Rule for Recovery {
    fn warm_up_rows(&self) -> usize {
        // The window of the row before the first one.
        self.period
    }

    fn signals(&self, bars: &BarView<'_>, signals: &mut [Signal]) {
        let index = commodity_channel_index(bars.high, bars.low, bars.close, self.period);
        write_crossings(&index, self.oversold, self.overbought, signals);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::laws::{market, signals_on};

    #[test]
    fn signals_follow_the_formula_word_for_word() {
        let bars = market(2_000, 17);
        let c = commodity_channel_index(&bars.high, &bars.low, &bars.close, 20);
        let rule = Recovery {
            period: 20,
            oversold: -100.0,
            overbought: 120.0,
        };
        let got = signals_on(&rule, &bars);
        let mut seen = 0;
        for t in 1..got.len() {
            let wanted = if c[t - 1] <= -100.0 && c[t] > -100.0 {
                Signal::Enter
            } else if c[t - 1] >= 120.0 && c[t] < 120.0 {
                Signal::Exit
            } else {
                Signal::None
            };
            assert_eq!(got[t], wanted, "row {t}");
            seen += usize::from(wanted != Signal::None);
        }
        assert!(seen > 50, "{seen} signals test too little");
    }

    #[test]
    fn a_fall_buys_nothing_until_it_is_over() {
        let mut bars = market(60, 18);
        for t in 0..60 {
            // Level, then a fall that gets steeper, then one day up.
            let price = match t {
                0..30 => 100.0 + (t % 2) as f64,
                30..45 => 100.0 - ((t - 29) * (t - 29)) as f64 / 4.0,
                _ => 80.0,
            };
            bars.open[t] = price;
            bars.high[t] = price;
            bars.low[t] = price;
            bars.close[t] = price;
        }
        let rule = Recovery {
            period: 20,
            oversold: -100.0,
            overbought: 100.0,
        };
        let got = signals_on(&rule, &bars);
        let entries: Vec<usize> = (0..60).filter(|t| got[*t] == Signal::Enter).collect();
        assert_eq!(entries.first(), Some(&45), "{entries:?}");
    }
}
