//! A company that has become cheap against its own past.

use super::crossing::write_crossings;
use super::{
    BarView, ParamFault, ParamInfo, ParamKind, Params, Rule, Signal, Strategy, StrategyInfo,
    TradingRule, YieldView, read, rows,
};
use crate::indicator::z_score;

/// Buys when what a unit of price buys of a company rises above its average, sells when it falls
/// below.
///
/// The old service had no fundamentals: its "price earnings ratio" was the inverse of the mean return
/// and its others were functions of volatility.
#[derive(Clone, Copy, Debug)]
pub struct ValueFactor;

static INFO: StrategyInfo = StrategyInfo {
    key: "value_factor",
    name: "Value",
    category: "factor",
    description: "Buys when a share is cheaper than it was on average in the lookback, by earnings, \
                  book value, sales and EBITDA that were announced on earlier days; sells when it is \
                  dearer.",
    formula: "s[t] = sum(w z[t]) / sum(w) over the yields that are known; z[t]: z-score of the yield \
              over lookback_period rows, ddof 1; yields: earnings, book and sales of a share by its \
              close, EBITDA of a share by close plus net debt of a share; enter: s[t-1] <= 0 and \
              s[t] > 0; exit: s[t-1] >= 0 and s[t] < 0",
    legs: 1,
    reads_fundamentals: true,
    parameters: &[
        weight("pe_weight", "weight of earnings by price"),
        weight("pb_weight", "weight of book value by price"),
        weight("ps_weight", "weight of sales by price"),
        weight("ev_ebitda_weight", "weight of EBITDA by enterprise value"),
        ParamInfo {
            name: "lookback_period",
            kind: ParamKind::Int,
            default: 252.0,
            min: 20.0,
            max: 756.0,
            description: "rows over which a yield is compared with itself",
        },
    ],
    retired: &[("pe_max", PRICE_BOUND), ("pb_max", PRICE_BOUND)],
};

const PRICE_BOUND: &str = "it bounded a ratio that was none; what is cheap is told by the weights";

const fn weight(name: &'static str, description: &'static str) -> ParamInfo {
    ParamInfo {
        name,
        kind: ParamKind::Float,
        default: 0.25,
        min: 0.0,
        max: 1.0,
        description,
    }
}

struct Cheap {
    /// Of earnings, book value, sales, EBITDA.
    weights: [f64; 4],
    lookback: usize,
}

impl Strategy for ValueFactor {
    fn info(&self) -> &'static StrategyInfo {
        &INFO
    }

    fn rule(&self, params: &Params) -> Result<TradingRule, Vec<ParamFault>> {
        let values = read(&INFO, params)?;
        let weights = [values[0], values[1], values[2], values[3]];
        if weights.iter().all(|weight| *weight == 0.0) {
            return Err(vec![ParamFault::Unsuitable {
                reason: "all four weights are 0; one at least must be above".to_owned(),
            }]);
        }
        Ok(TradingRule::single(Cheap {
            weights,
            lookback: rows(values[4]),
        }))
    }
}

impl Rule for Cheap {
    fn warm_up_rows(&self) -> usize {
        // A crossing looks at the row before, whose window reaches back this far.
        self.lookback
    }

    fn signals(&self, bars: &BarView<'_>, signals: &mut [Signal]) {
        if let Some(yields) = &bars.yields {
            write_crossings(&self.scores(yields), 0.0, 0.0, signals);
        }
    }
}

impl Cheap {
    /// The weighted mean of the z-scores that are defined; NaN where none is.
    fn scores(&self, yields: &YieldView<'_>) -> Vec<f64> {
        let columns = [yields.earnings, yields.book, yields.sales, yields.ebitda];
        let mut sums = vec![(0.0, 0.0); yields.earnings.len()];
        for (weight, column) in self.weights.into_iter().zip(columns) {
            if weight == 0.0 {
                continue;
            }
            for (sum, z) in sums.iter_mut().zip(z_score(column, self.lookback, 1)) {
                if !z.is_nan() {
                    sum.0 += weight * z;
                    sum.1 += weight;
                }
            }
        }
        // 0 / 0 is NaN where nothing is known.
        sums.into_iter().map(|(sum, weight)| sum / weight).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::laws::closes;

    /// The signals by the formula, one row after the other.
    fn wanted(columns: [&[f64]; 4], weights: [f64; 4], lookback: usize) -> Vec<Signal> {
        let rows = columns[0].len();
        let z = |column: &[f64], t: usize| {
            let window = &column[t + 1 - lookback..=t];
            let n = lookback as f64;
            let mean = window.iter().sum::<f64>() / n;
            let squares: f64 = window.iter().map(|v| (v - mean) * (v - mean)).sum();
            (column[t] - mean) / (squares / (n - 1.0)).sqrt()
        };
        let score = |t: usize| {
            let (mut sum, mut all) = (0.0, 0.0);
            for (column, weight) in columns.iter().zip(weights) {
                let z = z(column, t);
                if weight > 0.0 && !z.is_nan() {
                    sum += weight * z;
                    all += weight;
                }
            }
            sum / all
        };
        let signal = |t: usize| match t < lookback {
            true => Signal::None,
            false if score(t - 1) <= 0.0 && score(t) > 0.0 => Signal::Enter,
            false if score(t - 1) >= 0.0 && score(t) < 0.0 => Signal::Exit,
            false => Signal::None,
        };
        (0..rows).map(signal).collect()
    }

    #[test]
    fn signals_follow_the_formula_and_what_is_not_known_does_not_vote() {
        let close = closes(2_000, 21);
        let other = closes(2_000, 22);
        let by = |figures: &[f64]| -> Vec<f64> {
            figures.iter().zip(&close).map(|(f, c)| f / c).collect()
        };
        let (earnings, mut book) = (by(&other), by(&[20.0; 2_000]));
        book[..700].fill(f64::NAN);
        let (sales, never) = (by(&closes(2_000, 23)), vec![f64::NAN; 2_000]);
        let columns = [&earnings[..], &book[..], &sales[..], &never[..]];
        let view = YieldView {
            earnings: &earnings,
            book: &book,
            sales: &sales,
            ebitda: &never,
        };
        for weights in [[0.25; 4], [0.5, 0.1, 0.0, 1.0]] {
            let rule = Cheap {
                weights,
                lookback: 60,
            };
            let mut got = vec![Signal::None; 2_000];
            write_crossings(&rule.scores(&view), 0.0, 0.0, &mut got);
            let wanted = wanted(columns, weights, 60);
            assert_eq!(got, wanted);
            let seen = wanted.iter().filter(|s| **s != Signal::None).count();
            assert!(seen > 50, "{seen} signals test too little");
        }
        let silent = Cheap {
            weights: [0.0, 0.0, 0.0, 1.0],
            lookback: 60,
        };
        assert!(silent.scores(&view).iter().all(|score| score.is_nan()));
    }

    #[test]
    fn weights_that_are_all_zero_do_not_go_together() {
        let zero = INFO.parameters[..4].iter().map(|p| (p.name, 0.0));
        let faults = ValueFactor.rule(&zero.collect()).err().unwrap();
        assert!(
            matches!(faults[..], [ParamFault::Unsuitable { .. }]),
            "{faults:?}"
        );
    }
}
