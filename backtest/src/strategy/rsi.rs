//! Wilder's relative strength index, read on the way back from an extreme.

use super::crossing::write_crossings;
use super::{
    BarView, ParamFault, ParamInfo, ParamKind, Params, Rule, Signal, Strategy, StrategyInfo,
    TradingRule, read, rows,
};
use crate::indicator::{relative_strength_index, settling_rows};

/// Buys when the index leaves the oversold zone, sells when it leaves the overbought zone.
///
/// Wilder's average at every period. (The service this replaces took a plain mean at period 14
/// only, so that its objective jumped there.)
#[derive(Clone, Copy, Debug)]
pub struct Rsi;

static INFO: StrategyInfo = StrategyInfo {
    key: "rsi",
    name: "Relative strength index",
    category: "mean_reversion",
    description: "Buys when Wilder's relative strength index rises out of the oversold zone, sells \
                  when it falls out of the overbought zone.",
    formula: "r[t] = 100 G[t] / (G[t] + L[t]), G and L Wilder's averages (weight 1 / rsi_period) of \
              the gains and losses of the close; enter: r[t-1] <= oversold_threshold and r[t] > \
              oversold_threshold; exit: r[t-1] >= overbought_threshold and r[t] < \
              overbought_threshold",
    legs: 1,
    reads_fundamentals: false,
    parameters: &[
        ParamInfo {
            name: "rsi_period",
            kind: ParamKind::Int,
            default: 14.0,
            min: 2.0,
            max: 50.0,
            description: "rows of Wilder's averages",
        },
        ParamInfo {
            name: "oversold_threshold",
            kind: ParamKind::Float,
            default: 30.0,
            min: 10.0,
            max: 40.0,
            description: "upper end of the oversold zone, index points of 0 to 100",
        },
        ParamInfo {
            name: "overbought_threshold",
            kind: ParamKind::Float,
            default: 70.0,
            min: 60.0,
            max: 90.0,
            description: "lower end of the overbought zone, index points of 0 to 100",
        },
    ],
    retired: &[(
        "trend_ma_period",
        "it was listed but never read, and the rule looks at no trend; leave it out",
    )],
};

/// The rule of [`Rsi`] with any values, also those outside the parameter ranges.
///
/// The averages are seeded where the view begins. [`Rule::warm_up_rows`] is long enough for the seed
/// to weigh less than [`SEED_WEIGHT`](crate::indicator::SEED_WEIGHT) on the first traded row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RsiRule {
    /// Rows of Wilder's averages, 1 or more.
    pub rsi_period: usize,
    /// Upper end of the oversold zone, at most `overbought_threshold`.
    pub oversold_threshold: f64,
    /// Lower end of the overbought zone.
    pub overbought_threshold: f64,
}

impl Strategy for Rsi {
    fn info(&self) -> &'static StrategyInfo {
        &INFO
    }

    fn rule(&self, params: &Params) -> Result<TradingRule, Vec<ParamFault>> {
        let values = read(&INFO, params)?;
        Ok(TradingRule::single(RsiRule {
            rsi_period: rows(values[0]),
            oversold_threshold: values[1],
            overbought_threshold: values[2],
        }))
    }
}

impl Rule for RsiRule {
    fn warm_up_rows(&self) -> usize {
        // The seed, its decay, and the row before the first one.
        self.rsi_period + settling_rows(1.0 / self.rsi_period as f64) + 1
    }

    fn signals(&self, bars: &BarView<'_>, signals: &mut [Signal]) {
        let index = relative_strength_index(bars.close, self.rsi_period);
        let (low, high) = (self.oversold_threshold, self.overbought_threshold);
        write_crossings(&index, low, high, signals);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::laws::{closes, signals_on_closes};

    #[test]
    fn signals_follow_the_formula_word_for_word() {
        let close = closes(2_000, 12);
        let r = relative_strength_index(&close, 14);
        let rule = RsiRule {
            rsi_period: 14,
            oversold_threshold: 30.0,
            overbought_threshold: 70.0,
        };
        let got = signals_on_closes(&rule, &close);
        let mut seen = [0, 0];
        for t in 1..close.len() {
            let wanted = if r[t - 1] <= 30.0 && r[t] > 30.0 {
                seen[0] += 1;
                Signal::Enter
            } else if r[t - 1] >= 70.0 && r[t] < 70.0 {
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
