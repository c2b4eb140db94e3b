//! Two simple moving averages that cross.

use super::{
    BarView, ParamFault, ParamInfo, ParamKind, Params, Rule, Signal, Strategy, StrategyInfo,
    TradingRule, read, rows,
};

/// Long while the short average is above the long one, judged at the crossing.
///
/// With `signal_threshold` 0 this is the plain crossover. The default 0.005 is that of the service
/// this replaces, whose code and description disagreed (0.005 and 0.02); a threshold asks for a gap
/// *on the day of the crossing*, so that slow crossings, however far they go later, are never
/// traded.
///
/// Limit: at threshold 0, two averages that are equal on paper may differ in their last bit, so
/// that flat prices can cross where exact arithmetic would not.
#[derive(Clone, Copy, Debug)]
pub struct MovingAverage;

static INFO: StrategyInfo = StrategyInfo {
    key: "moving_average",
    name: "Moving average crossover",
    category: "trend",
    description: "Buys when the short moving average of the close crosses above the long one by \
                  more than the threshold, sells when it crosses below by more than the threshold.",
    formula: "d[t] = (SMA(close, short_window)[t] - SMA(close, long_window)[t]) / \
              SMA(close, long_window)[t]; enter: d[t-1] <= 0 and d[t] > 0 and |d[t]| > \
              signal_threshold; exit: d[t-1] >= 0 and d[t] < 0 and |d[t]| > signal_threshold",
    legs: 1,
    reads_fundamentals: false,
    parameters: &[
        ParamInfo {
            name: "short_window",
            kind: ParamKind::Int,
            default: 5.0,
            min: 2.0,
            max: 50.0,
            description: "rows of the short average; must be below long_window",
        },
        ParamInfo {
            name: "long_window",
            kind: ParamKind::Int,
            default: 20.0,
            min: 5.0,
            max: 200.0,
            description: "rows of the long average",
        },
        ParamInfo {
            name: "signal_threshold",
            kind: ParamKind::Float,
            default: 0.005,
            min: 0.0,
            max: 0.1,
            description: "gap between the averages at the crossing, as a fraction of the long one; \
                          0 takes every crossing",
        },
    ],
    retired: &[],
};

/// The rule of [`MovingAverage`] with any windows, also those outside the parameter ranges.
///
/// The averages are exact, so that a signal depends on the rows of the long window and the one
/// before it, to the last bit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MovingAverageRule {
    /// Rows of the short average, 1 or more.
    pub short_window: usize,
    /// Rows of the long average, above `short_window`.
    pub long_window: usize,
    /// Gap asked for at the crossing, as a fraction of the long average.
    pub signal_threshold: f64,
}

impl Strategy for MovingAverage {
    fn info(&self) -> &'static StrategyInfo {
        &INFO
    }

    fn rule(&self, params: &Params) -> Result<TradingRule, Vec<ParamFault>> {
        let values = read(&INFO, params)?;
        let rule = MovingAverageRule {
            short_window: rows(values[0]),
            long_window: rows(values[1]),
            signal_threshold: values[2],
        };
        if rule.short_window >= rule.long_window {
            let reason = format!(
                "short_window {} must be below long_window {}",
                rule.short_window, rule.long_window
            );
            return Err(vec![ParamFault::Unsuitable { reason }]);
        }
        Ok(TradingRule::single(rule))
    }
}

impl Rule for MovingAverageRule {
    fn warm_up_rows(&self) -> usize {
        // The long average of the row before the first one reaches back this far.
        self.long_window
    }

    fn signals(&self, bars: &BarView<'_>, signals: &mut [Signal]) {
        let from = self.long_window - 1;
        let mut averages = bars
            .close_sma(from, self.short_window)
            .zip(bars.close_sma(from, self.long_window))
            .enumerate();
        let Some((_, mut before)) = averages.next() else {
            return;
        };
        for (row, now) in averages {
            let (short, long) = now;
            // The averages are positive, so d has the sign of their difference; the division is
            // done only where a crossing asks for it.
            let wide = || ((short - long) / long).abs() > self.signal_threshold;
            if before.0 <= before.1 && short > long {
                if wide() {
                    signals[from + row] = Signal::Enter;
                }
            } else if before.0 >= before.1 && short < long && wide() {
                signals[from + row] = Signal::Exit;
            }
            before = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::indicator::sma;
    use crate::strategy::laws::{closes, signals_on_closes};

    fn signals_of(close: &[f64], short: usize, long: usize, threshold: f64) -> Vec<Signal> {
        let rule = MovingAverageRule {
            short_window: short,
            long_window: long,
            signal_threshold: threshold,
        };
        signals_on_closes(&rule, close)
    }

    #[test]
    fn signals_follow_the_formula_word_for_word() {
        let close = closes(2_000, 11);
        for (short, long, threshold) in [(2, 5, 0.0), (5, 20, 0.005), (10, 60, 0.002)] {
            let (s, l) = (sma(&close, short), sma(&close, long));
            let d: Vec<f64> = s.iter().zip(&l).map(|(s, l)| (s - l) / l).collect();
            let got = signals_of(&close, short, long, threshold);
            let mut seen = 0;
            for t in 1..close.len() {
                let wide = d[t].abs() > threshold;
                let wanted = if d[t - 1] <= 0.0 && d[t] > 0.0 && wide {
                    Signal::Enter
                } else if d[t - 1] >= 0.0 && d[t] < 0.0 && wide {
                    Signal::Exit
                } else {
                    Signal::None
                };
                assert_eq!(got[t], wanted, "row {t}");
                seen += usize::from(wanted != Signal::None);
            }
            assert!(seen > 10, "{seen} signals test too little");
        }
    }

    #[test]
    fn a_series_shorter_than_the_long_window_gives_no_signal() {
        assert_eq!(signals_of(&[1.0, 2.0, 3.0], 2, 5, 0.0), [Signal::None; 3]);
        assert_eq!(
            signals_of(&[1.0, 2.0, 3.0, 4.0, 5.0], 2, 5, 0.0),
            [Signal::None; 5]
        );
    }

    #[test]
    fn windows_in_the_wrong_order_get_one_plain_reason() {
        let params = Params::new()
            .with("short_window", 30)
            .with("long_window", 30);
        let faults = MovingAverage.rule(&params).err().unwrap();
        assert_eq!(faults.len(), 1);
        assert_eq!(
            faults[0].to_string(),
            "short_window 30 must be below long_window 30"
        );
        assert_eq!(faults[0].name(), None);
    }
}
