//! On-balance volume crossing its average.

use super::{
    BarView, ParamFault, ParamInfo, ParamKind, Params, Rule, Signal, Strategy, StrategyInfo,
    TradingRule, read, rows,
};
use crate::indicator::volume_above_average;

/// Buys when on-balance volume crosses above its simple average, sells when it crosses below.
///
/// `signal_threshold` was listed by the service this replaces and never read. Here it does what it
/// does for `moving_average`: it asks for a gap on the day of the crossing. The gap is a fraction of
/// the volume traded in the window and not of the average, because the level of on-balance volume
/// depends on the day it was begun and means nothing. Limit: a series without volume never signals.
#[derive(Clone, Copy, Debug)]
pub struct OnBalanceVolume;

static INFO: StrategyInfo = StrategyInfo {
    key: "obv",
    name: "On-balance volume",
    category: "volume",
    description: "Buys when on-balance volume crosses above its moving average by more than the \
                  threshold, sells when it crosses below by more than the threshold.",
    formula: "OBV[t] = OBV[t-1] + volume[t] sign(close[t] - close[t-1]); g[t] = (OBV[t] - SMA(OBV, \
              obv_ma_period)[t]) / sum(volume, obv_ma_period)[t]; enter: g[t-1] <= 0 and g[t] > 0 \
              and |g[t]| > signal_threshold; exit: g[t-1] >= 0 and g[t] < 0 and |g[t]| > \
              signal_threshold",
    legs: 1,
    reads_fundamentals: false,
    parameters: &[
        ParamInfo {
            name: "obv_ma_period",
            kind: ParamKind::Int,
            default: 20.0,
            min: 5.0,
            max: 60.0,
            description: "rows of the average",
        },
        ParamInfo {
            name: "signal_threshold",
            kind: ParamKind::Float,
            default: 0.02,
            min: 0.0,
            max: 0.1,
            description: "gap to the average at the crossing, as a fraction of the volume traded in \
                          its rows; 0 takes every crossing",
        },
    ],
    retired: &[],
};

struct Crossing {
    period: usize,
    threshold: f64,
}

impl Strategy for OnBalanceVolume {
    fn info(&self) -> &'static StrategyInfo {
        &INFO
    }

    fn rule(&self, params: &Params) -> Result<TradingRule, Vec<ParamFault>> {
        let values = read(&INFO, params)?;
        Ok(TradingRule::single(Crossing {
            period: rows(values[0]),
            threshold: values[1],
        }))
    }
}

impl Rule for Crossing {
    fn warm_up_rows(&self) -> usize {
        // The window of the row before the first one.
        self.period
    }

    fn signals(&self, bars: &BarView<'_>, signals: &mut [Signal]) {
        let gaps = volume_above_average(bars.close, bars.volume, self.period);
        for (gap, signal) in gaps.windows(2).zip(signals.iter_mut().skip(1)) {
            if gap[0] <= 0.0 && gap[1] > self.threshold {
                *signal = Signal::Enter;
            } else if gap[0] >= 0.0 && gap[1] < -self.threshold {
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
    use crate::indicator::on_balance_volume;
    use crate::strategy::laws::{market, signals_on};

    #[test]
    fn signals_follow_the_formula_word_for_word() {
        let bars = market(2_000, 20);
        let obv = on_balance_volume(&bars.close, &bars.volume);
        let gap = |t: usize| {
            let rows = t - 19..=t;
            let average = obv[rows.clone()].iter().sum::<f64>() / 20.0;
            (obv[t] - average) / bars.volume[rows].iter().sum::<f64>()
        };
        for threshold in [0.0, 0.02, 0.05] {
            let rule = Crossing {
                period: 20,
                threshold,
            };
            let got = signals_on(&rule, &bars);
            assert_eq!(got[..20], [Signal::None; 20]);
            let mut seen = 0;
            for t in 20..got.len() {
                let wide = gap(t).abs() > threshold;
                let wanted = if gap(t - 1) <= 0.0 && gap(t) > 0.0 && wide {
                    Signal::Enter
                } else if gap(t - 1) >= 0.0 && gap(t) < 0.0 && wide {
                    Signal::Exit
                } else {
                    Signal::None
                };
                assert_eq!(got[t], wanted, "row {t}");
                seen += usize::from(wanted != Signal::None);
            }
            assert!(seen > 20, "{seen} signals test too little");
        }
    }
}
