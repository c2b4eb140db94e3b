//! The MACD histogram changing its sign.

use super::crossing::write_crossings;
use super::{
    BarView, ParamFault, ParamInfo, ParamKind, Params, Rule, Signal, Strategy, StrategyInfo,
    TradingRule, read, rows,
};
use crate::indicator::{Seed, macd, settling_rows};

/// Long while the MACD line is above its signal line, judged at the crossing.
///
/// Averages are seeded with a mean, as in TA-Lib, so that no signal comes from an average that is
/// not full. (The service this replaces took one seeding or the other, depending on what was
/// installed.) After the warm-up rows the two differ by less than one part in 10^8.
#[derive(Clone, Copy, Debug)]
pub struct Macd;

static INFO: StrategyInfo = StrategyInfo {
    key: "macd",
    name: "Moving average convergence divergence",
    category: "trend",
    description: "Buys when the MACD histogram (the gap of two exponential averages of the close, \
                  less the average of that gap) rises above 0, sells when it falls below 0.",
    formula: "line = EMA(close, fast_period) - EMA(close, slow_period); h = line - EMA(line, \
              signal_period); each EMA seeded with the mean of its first rows; enter: h[t-1] <= 0 \
              and h[t] > 0; exit: h[t-1] >= 0 and h[t] < 0",
    legs: 1,
    reads_fundamentals: false,
    parameters: &[
        ParamInfo {
            name: "fast_period",
            kind: ParamKind::Int,
            default: 12.0,
            min: 5.0,
            max: 30.0,
            description: "rows of the fast average; must be below slow_period",
        },
        ParamInfo {
            name: "slow_period",
            kind: ParamKind::Int,
            default: 26.0,
            min: 10.0,
            max: 50.0,
            description: "rows of the slow average",
        },
        ParamInfo {
            name: "signal_period",
            kind: ParamKind::Int,
            default: 9.0,
            min: 3.0,
            max: 20.0,
            description: "rows of the average of the gap",
        },
    ],
    retired: &[],
};

struct Histogram {
    fast: usize,
    slow: usize,
    signal: usize,
}

impl Strategy for Macd {
    fn info(&self) -> &'static StrategyInfo {
        &INFO
    }

    fn rule(&self, params: &Params) -> Result<TradingRule, Vec<ParamFault>> {
        let values = read(&INFO, params)?;
        let rule = Histogram {
            fast: rows(values[0]),
            slow: rows(values[1]),
            signal: rows(values[2]),
        };
        if rule.fast >= rule.slow {
            let reason = format!(
                "fast_period {} must be below slow_period {}",
                rule.fast, rule.slow
            );
            return Err(vec![ParamFault::Unsuitable { reason }]);
        }
        Ok(TradingRule::single(rule))
    }
}

impl Rule for Histogram {
    fn warm_up_rows(&self) -> usize {
        // First the line has to forget its seed, then the signal has to forget that line; and the
        // row before the first one.
        let settled = |period: usize| period + settling_rows(2.0 / (period as f64 + 1.0));
        settled(self.slow) + settled(self.signal) + 1
    }

    fn signals(&self, bars: &BarView<'_>, signals: &mut [Signal]) {
        let macd = macd(bars.close, self.fast, self.slow, self.signal, Seed::Mean);
        write_crossings(&macd.histogram, 0.0, 0.0, signals);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::laws::{closes, signals_on_closes};

    #[test]
    fn signals_follow_the_formula_word_for_word() {
        let close = closes(2_000, 13);
        let h = macd(&close, 12, 26, 9, Seed::Mean).histogram;
        let rule = Histogram {
            fast: 12,
            slow: 26,
            signal: 9,
        };
        let got = signals_on_closes(&rule, &close);
        let mut seen = 0;
        for t in 1..close.len() {
            let wanted = if h[t - 1] <= 0.0 && h[t] > 0.0 {
                Signal::Enter
            } else if h[t - 1] >= 0.0 && h[t] < 0.0 {
                Signal::Exit
            } else {
                Signal::None
            };
            assert_eq!(got[t], wanted, "row {t}");
            seen += usize::from(wanted != Signal::None);
        }
        assert!(seen > 50, "{seen} signals test too little");
        assert_eq!(
            got[..34],
            [Signal::None; 34],
            "the first value is at row 33"
        );
    }

    #[test]
    fn periods_in_the_wrong_order_get_one_plain_reason() {
        let params = Params::new()
            .with("fast_period", 30)
            .with("slow_period", 20);
        let faults = Macd.rule(&params).err().unwrap();
        assert_eq!(
            faults[0].to_string(),
            "fast_period 30 must be below slow_period 20"
        );
    }
}
