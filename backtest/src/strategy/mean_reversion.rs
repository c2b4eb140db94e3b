//! A price that has strayed from its mean and returns.

use super::crossing::write_crossings;
use super::{
    BarView, ParamFault, ParamInfo, ParamKind, Params, Rule, Signal, Strategy, StrategyInfo,
    TradingRule, read, rows,
};
use crate::indicator::z_score;

/// Buys when the z-score of the close comes back from below, sells when it comes back from above.
///
/// The same rule as [`Bollinger`](super::Bollinger) under other names, as it always was.
#[derive(Clone, Copy, Debug)]
pub struct MeanReversion;

static INFO: StrategyInfo = StrategyInfo {
    key: "mean_reversion",
    name: "Mean reversion",
    category: "mean_reversion",
    description: "Buys when the close, measured in standard deviations from its moving average, \
                  rises back above minus the threshold; sells when it falls back below the \
                  threshold.",
    formula: "z[t] = (close[t] - SMA(close, lookback_period)[t]) / sd(close, lookback_period)[t], \
              sd with ddof 1; enter: z[t-1] <= -zscore_threshold and z[t] > -zscore_threshold; \
              exit: z[t-1] >= zscore_threshold and z[t] < zscore_threshold",
    legs: 1,
    reads_fundamentals: false,
    parameters: &[
        ParamInfo {
            name: "lookback_period",
            kind: ParamKind::Int,
            default: 20.0,
            min: 10.0,
            max: 60.0,
            description: "rows of the average and the standard deviation",
        },
        ParamInfo {
            name: "zscore_threshold",
            kind: ParamKind::Float,
            default: 2.0,
            min: 1.0,
            max: 3.0,
            description: "how far the close has to have strayed, in standard deviations",
        },
    ],
    retired: &[(
        "position_size",
        "it was listed but never read; how much is bought is the book's business and is set for the \
         whole backtest",
    )],
};

struct Return {
    lookback: usize,
    threshold: f64,
}

impl Strategy for MeanReversion {
    fn info(&self) -> &'static StrategyInfo {
        &INFO
    }

    fn rule(&self, params: &Params) -> Result<TradingRule, Vec<ParamFault>> {
        // One value for each declared parameter, checked, in the order of the declaration.
        let values = read(&INFO, params)?;
        Ok(TradingRule::single(Return {
            lookback: rows(values[0]),
            threshold: values[1],
        }))
    }
}

impl Rule for Return {
    fn warm_up_rows(&self) -> usize {
        // A crossing looks at the row before, whose window reaches back this far.
        self.lookback
    }

    fn signals(&self, bars: &BarView<'_>, signals: &mut [Signal]) {
        let scores = z_score(bars.close, self.lookback, 1);
        write_crossings(&scores, -self.threshold, self.threshold, signals);
    }
}

#[cfg(test)]
#[expect(
    clippy::needless_range_loop,
    reason = "formulas are written with row numbers"
)]
mod tests {
    use super::*;
    use crate::indicator::{rolling_deviation, sma};
    use crate::strategy::laws::{closes, signals_on_closes};

    #[test]
    fn signals_follow_the_formula_word_for_word() {
        let close = closes(2_000, 15);
        let (mean, sd) = (sma(&close, 20), rolling_deviation(&close, 20, 1));
        let z = |t: usize| (close[t] - mean[t]) / sd[t];
        let rule = Return {
            lookback: 20,
            threshold: 1.5,
        };
        let got = signals_on_closes(&rule, &close);
        let mut seen = 0;
        for t in 1..close.len() {
            let wanted = if z(t - 1) <= -1.5 && z(t) > -1.5 {
                Signal::Enter
            } else if z(t - 1) >= 1.5 && z(t) < 1.5 {
                Signal::Exit
            } else {
                Signal::None
            };
            assert_eq!(got[t], wanted, "row {t}");
            seen += usize::from(wanted != Signal::None);
        }
        assert!(seen > 50, "{seen} signals test too little");
    }
}
