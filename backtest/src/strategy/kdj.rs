//! The KDJ oscillator: K crossing D while J is at an extreme.

use super::{
    BarView, ParamFault, ParamInfo, ParamKind, Params, Rule, Signal, Strategy, StrategyInfo,
    TradingRule, read, rows,
};
use crate::indicator::{kdj, settling_rows};

/// Buys when K crosses above D while J is oversold, sells when K crosses below D while J is
/// overbought.
///
/// K and D are the recursive averages of the usual definition (weights 1/3 by default), so that
/// they are the lines a terminal shows. The service this replaces took simple means, which is the
/// slow stochastic oscillator under another name. Its parameter names stay: `j_smooth` smooths K,
/// `d_period` smooths D.
#[derive(Clone, Copy, Debug)]
pub struct Kdj;

static INFO: StrategyInfo = StrategyInfo {
    key: "kdj",
    name: "KDJ oscillator",
    category: "mean_reversion",
    description: "Buys when K crosses above D while J is below the oversold level, sells when K \
                  crosses below D while J is above the overbought level.",
    formula: "RSV[t] = 100 (close[t] - LL) / (HH - LL), HH and LL the highest high and lowest low of \
              k_period rows; K[t] = K[t-1] + (RSV[t] - K[t-1]) / j_smooth; D[t] = D[t-1] + (K[t] - \
              D[t-1]) / d_period; J = 3 K - 2 D; enter: K[t-1] <= D[t-1] and K[t] > D[t] and J[t] < \
              oversold; exit: K[t-1] >= D[t-1] and K[t] < D[t] and J[t] > overbought",
    legs: 1,
    reads_fundamentals: false,
    parameters: &[
        ParamInfo {
            name: "k_period",
            kind: ParamKind::Int,
            default: 9.0,
            min: 5.0,
            max: 30.0,
            description: "rows of the range that RSV is the place in",
        },
        ParamInfo {
            name: "d_period",
            kind: ParamKind::Int,
            default: 3.0,
            min: 2.0,
            max: 10.0,
            description: "rows over which D follows K: the newest K weighs 1 / d_period",
        },
        ParamInfo {
            name: "j_smooth",
            kind: ParamKind::Int,
            default: 3.0,
            min: 2.0,
            max: 10.0,
            description: "rows over which K follows RSV: the newest RSV weighs 1 / j_smooth",
        },
        ParamInfo {
            name: "oversold",
            kind: ParamKind::Float,
            default: 20.0,
            min: 10.0,
            max: 30.0,
            description: "J must be below it to buy; J also leaves 0 to 100",
        },
        ParamInfo {
            name: "overbought",
            kind: ParamKind::Float,
            default: 80.0,
            min: 70.0,
            max: 90.0,
            description: "J must be above it to sell",
        },
    ],
    retired: &[],
};

struct Turn {
    k_period: usize,
    d_period: usize,
    j_smooth: usize,
    oversold: f64,
    overbought: f64,
}

impl Strategy for Kdj {
    fn info(&self) -> &'static StrategyInfo {
        &INFO
    }

    fn rule(&self, params: &Params) -> Result<TradingRule, Vec<ParamFault>> {
        let values = read(&INFO, params)?;
        Ok(TradingRule::single(Turn {
            k_period: rows(values[0]),
            d_period: rows(values[1]),
            j_smooth: rows(values[2]),
            oversold: values[3],
            overbought: values[4],
        }))
    }
}

impl Rule for Turn {
    fn warm_up_rows(&self) -> usize {
        // The first range, then K has to forget its seed, then D has to forget that K; and the row
        // before the first one.
        let settled = |period: usize| settling_rows(1.0 / period as f64);
        self.k_period + settled(self.j_smooth) + settled(self.d_period) + 1
    }

    fn signals(&self, bars: &BarView<'_>, signals: &mut [Signal]) {
        let (k_smooth, d_smooth) = (self.j_smooth, self.d_period);
        let lines = kdj(
            bars.high,
            bars.low,
            bars.close,
            self.k_period,
            k_smooth,
            d_smooth,
        );
        let pairs = lines.k.windows(2).zip(lines.d.windows(2));
        let rows = pairs.zip(lines.j.iter().skip(1));
        for (((k, d), j), signal) in rows.zip(signals.iter_mut().skip(1)) {
            if k[0] <= d[0] && k[1] > d[1] && *j < self.oversold {
                *signal = Signal::Enter;
            } else if k[0] >= d[0] && k[1] < d[1] && *j > self.overbought {
                *signal = Signal::Exit;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::laws::{market, signals_on};

    #[test]
    fn signals_follow_the_formula_word_for_word() {
        let bars = market(4_000, 19);
        let lines = kdj(&bars.high, &bars.low, &bars.close, 9, 3, 2);
        let (k, d, j) = (&lines.k, &lines.d, &lines.j);
        let rule = Turn {
            k_period: 9,
            d_period: 2,
            j_smooth: 3,
            oversold: 30.0,
            overbought: 70.0,
        };
        let got = signals_on(&rule, &bars);
        let mut seen = [0, 0];
        for t in 1..got.len() {
            let wanted = if k[t - 1] <= d[t - 1] && k[t] > d[t] && j[t] < 30.0 {
                seen[0] += 1;
                Signal::Enter
            } else if k[t - 1] >= d[t - 1] && k[t] < d[t] && j[t] > 70.0 {
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
