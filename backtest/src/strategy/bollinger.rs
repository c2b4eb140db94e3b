//! Bollinger bands, read on the way back inside.

use super::crossing::write_crossings;
use super::{
    BarView, ParamFault, ParamInfo, ParamKind, Params, Rule, Signal, Strategy, StrategyInfo,
    TradingRule, read, rows,
};
use crate::indicator::z_score;

/// Buys when the close comes back above the lower band, sells when it comes back below the upper
/// one. The standard deviation is that of a sample (ddof 1).
#[derive(Clone, Copy, Debug)]
pub struct Bollinger;

static INFO: StrategyInfo = StrategyInfo {
    key: "bollinger",
    name: "Bollinger bands",
    category: "mean_reversion",
    description: "Buys when the close rises back above the lower Bollinger band, sells when it \
                  falls back below the upper one.",
    formula: "b[t] = (close[t] - lower[t]) / (upper[t] - lower[t]); upper, lower = SMA(close, \
              period) +- std_dev sd(close, period), sd with ddof 1; enter: b[t-1] <= 0 and b[t] > \
              0; exit: b[t-1] >= 1 and b[t] < 1",
    legs: 1,
    reads_fundamentals: false,
    parameters: &[
        ParamInfo {
            name: "period",
            kind: ParamKind::Int,
            default: 20.0,
            min: 5.0,
            max: 50.0,
            description: "rows of the average and the standard deviation",
        },
        ParamInfo {
            name: "std_dev",
            kind: ParamKind::Float,
            default: 2.0,
            min: 1.0,
            max: 3.0,
            description: "half the width of the bands, in standard deviations",
        },
    ],
    retired: &[(
        "entry_threshold",
        "it was listed but never read; the bands alone decide, and std_dev sets their width",
    )],
};

/// The rule of [`Bollinger`] with any values, also those outside the parameter ranges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BollingerRule {
    /// Rows of the average and the standard deviation, above `ddof`.
    pub period: usize,
    /// Half the width of the bands, in standard deviations; 0 or more.
    pub std_dev: f64,
    /// What the divisor of the variance is below `period`; the strategy takes 1.
    pub ddof: usize,
}

impl Strategy for Bollinger {
    fn info(&self) -> &'static StrategyInfo {
        &INFO
    }

    fn rule(&self, params: &Params) -> Result<TradingRule, Vec<ParamFault>> {
        let values = read(&INFO, params)?;
        Ok(TradingRule::single(BollingerRule {
            period: rows(values[0]),
            std_dev: values[1],
            ddof: 1,
        }))
    }
}

impl Rule for BollingerRule {
    fn warm_up_rows(&self) -> usize {
        // The window of the row before the first one.
        self.period
    }

    fn signals(&self, bars: &BarView<'_>, signals: &mut [Signal]) {
        // b is (z / std_dev + 1) / 2, so that 0 and 1 are the scores -std_dev and std_dev.
        let scores = z_score(bars.close, self.period, self.ddof);
        write_crossings(&scores, -self.std_dev, self.std_dev, signals);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::indicator::bollinger_bands;
    use crate::strategy::laws::{closes, signals_on_closes};

    #[test]
    fn signals_follow_the_formula_word_for_word() {
        let close = closes(2_000, 14);
        for (period, std_dev) in [(20, 2.0), (5, 1.0), (50, 1.8)] {
            let bands = bollinger_bands(&close, period, std_dev, 1);
            let b: Vec<f64> = (0..close.len())
                .map(|t| (close[t] - bands.lower[t]) / (bands.upper[t] - bands.lower[t]))
                .collect();
            let rule = BollingerRule {
                period,
                std_dev,
                ddof: 1,
            };
            let got = signals_on_closes(&rule, &close);
            let mut seen = [0, 0];
            for t in 1..close.len() {
                let wanted = if b[t - 1] <= 0.0 && b[t] > 0.0 {
                    seen[0] += 1;
                    Signal::Enter
                } else if b[t - 1] >= 1.0 && b[t] < 1.0 {
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

    #[test]
    fn the_unused_threshold_is_refused_with_its_reason() {
        let faults = Bollinger
            .rule(&Params::new().with("entry_threshold", 0.02))
            .err()
            .unwrap();
        assert_eq!(
            faults[0].to_string(),
            "entry_threshold is no longer a parameter of bollinger: it was listed but never read; \
             the bands alone decide, and std_dev sets their width"
        );
        assert_eq!(faults[0].name(), Some("entry_threshold"));
    }
}
