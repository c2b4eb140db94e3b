//! The fast stochastic oscillator crossing its average within an extreme zone.

use super::{
    BarView, ParamFault, ParamInfo, ParamKind, Params, Rule, Signal, Strategy, StrategyInfo,
    TradingRule, read, rows,
};
use crate::indicator::stochastic_fast;

/// Buys when %K turns up through %D while both of its rows are oversold, sells when it turns down
/// through %D while both are overbought. %K is the fast one, %D its simple mean.
#[derive(Clone, Copy, Debug)]
pub struct Stochastic;

static INFO: StrategyInfo = StrategyInfo {
    key: "stochastic",
    name: "Stochastic oscillator",
    category: "mean_reversion",
    description: "Buys when fast %K crosses above %D inside the oversold zone, sells when it \
                  crosses below %D inside the overbought zone.",
    formula: "K[t] = 100 (close[t] - LL) / (HH - LL), HH and LL the highest high and lowest low of \
              k_period rows; D = SMA(K, d_period); enter: K[t-1] < oversold and K[t] < oversold and \
              K[t-1] <= D[t-1] and K[t] > D[t]; exit: K[t-1] > overbought and K[t] > overbought and \
              K[t-1] >= D[t-1] and K[t] < D[t]",
    legs: 1,
    reads_fundamentals: false,
    parameters: &[
        ParamInfo {
            name: "k_period",
            kind: ParamKind::Int,
            default: 14.0,
            min: 5.0,
            max: 30.0,
            description: "rows of the range that %K is the place in",
        },
        ParamInfo {
            name: "d_period",
            kind: ParamKind::Int,
            default: 3.0,
            min: 2.0,
            max: 10.0,
            description: "rows of the mean that is %D",
        },
        ParamInfo {
            name: "oversold",
            kind: ParamKind::Float,
            default: 20.0,
            min: 10.0,
            max: 30.0,
            description: "upper end of the oversold zone, points of 0 to 100",
        },
        ParamInfo {
            name: "overbought",
            kind: ParamKind::Float,
            default: 80.0,
            min: 70.0,
            max: 90.0,
            description: "lower end of the overbought zone, points of 0 to 100",
        },
    ],
    retired: &[],
};

struct Turn {
    k_period: usize,
    d_period: usize,
    oversold: f64,
    overbought: f64,
}

impl Strategy for Stochastic {
    fn info(&self) -> &'static StrategyInfo {
        &INFO
    }

    fn rule(&self, params: &Params) -> Result<TradingRule, Vec<ParamFault>> {
        let values = read(&INFO, params)?;
        Ok(TradingRule::single(Turn {
            k_period: rows(values[0]),
            d_period: rows(values[1]),
            oversold: values[2],
            overbought: values[3],
        }))
    }
}

impl Rule for Turn {
    fn warm_up_rows(&self) -> usize {
        // The mean of the row before the first one, and the range of its oldest %K.
        self.k_period + self.d_period - 1
    }

    fn signals(&self, bars: &BarView<'_>, signals: &mut [Signal]) {
        let (k_period, d_period) = (self.k_period, self.d_period);
        let lines = stochastic_fast(bars.high, bars.low, bars.close, k_period, d_period);
        let pairs = lines.k.windows(2).zip(lines.d.windows(2));
        for ((k, d), signal) in pairs.zip(signals.iter_mut().skip(1)) {
            if k[0] < self.oversold && k[1] < self.oversold && k[0] <= d[0] && k[1] > d[1] {
                *signal = Signal::Enter;
            } else if k[0] > self.overbought
                && k[1] > self.overbought
                && k[0] >= d[0]
                && k[1] < d[1]
            {
                *signal = Signal::Exit;
            }
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::needless_range_loop,
    reason = "formulas are written with row numbers"
)]
mod tests {
    use super::*;
    use crate::strategy::laws::{market, signals_on};

    #[test]
    fn signals_follow_the_formula_word_for_word() {
        let bars = market(3_000, 16);
        let k = |t: usize| {
            let highest = bars.high[t - 13..=t].iter().copied().fold(0.0, f64::max);
            let lowest = bars.low[t - 13..=t].iter().copied().fold(1e9, f64::min);
            100.0 * ((bars.close[t] - lowest) / (highest - lowest))
        };
        let d = |t: usize| (k(t - 2) + k(t - 1) + k(t)) / 3.0;
        let rule = Turn {
            k_period: 14,
            d_period: 3,
            oversold: 20.0,
            overbought: 80.0,
        };
        let got = signals_on(&rule, &bars);
        assert_eq!(got[..16], [Signal::None; 16]);
        let mut seen = [0, 0];
        for t in 16..got.len() {
            let wanted = if k(t - 1) < 20.0 && k(t) < 20.0 && k(t - 1) <= d(t - 1) && k(t) > d(t) {
                seen[0] += 1;
                Signal::Enter
            } else if k(t - 1) > 80.0 && k(t) > 80.0 && k(t - 1) >= d(t - 1) && k(t) < d(t) {
                seen[1] += 1;
                Signal::Exit
            } else {
                Signal::None
            };
            assert_eq!(got[t], wanted, "row {t}");
        }
        assert!(
            seen[0] > 5 && seen[1] > 5,
            "{seen:?} signals test too little"
        );
    }
}
