//! Two stocks whose prices stay together: the cheaper one is bought when they drift apart.

use super::{
    Leg, PairRule, PairSignal, PairView, ParamFault, ParamInfo, ParamKind, Params, Strategy,
    StrategyInfo, TradingRule, read, rows,
};
use crate::dataset::FORMATION_ROWS;

/// Trades the distance between a stock code `y` and its partner `x`, measured in standard deviations
/// of what the line of `ln y` on `ln x` leaves over.
///
/// The line, its residuals and so the z-score of a row come from the `lookback_period` joint rows
/// that end with it: the past only, fitted anew on each row. A row whose window has no line (a leg
/// that does not move) gives no signal.
///
/// New entries need a spread that returns: the half-life estimated over [`FORMATION_ROWS`] joint
/// rows, far more than the lookback, must exist and be at most `half_life`. What is held already is
/// kept until its own exit, whatever becomes of the half-life. They also need a hedge ratio above 0
/// on the signal's row ([`crate::engine`]): legs that move against each other have no dear and no
/// cheap one.
///
/// Signals are levels, not crossings: a stock that is still cheap on the day after an exit is bought
/// again. Between the thresholds nothing happens, also when the score jumps across zero without
/// coming to rest within `exit_threshold`: the position then waits for that, or for the opposite
/// entry.
#[derive(Clone, Copy, Debug)]
pub struct Cointegration;

static INFO: StrategyInfo = StrategyInfo {
    key: "cointegration",
    name: "Cointegration pair",
    category: "pairs",
    description: "Fits a line through the log prices of a stock and its partner. Far below the line \
                  the stock is bought, far above it the partner; near the line what is held is sold. \
                  Opens only while the spread's estimated half-life is short enough. Long only it \
                  rotates between the two stocks; with allow_short it also sells the other one \
                  short, weighted by the hedge ratio.",
    formula: "ln y = a + b ln x + e fitted on the lookback_period joint rows ending at t; z[t] = \
              e[t] / sd(e); half-life h[t] = -ln 2 / slope of (e[s] - e[s-1]) on e[s-1] over 500 \
              joint rows ending at t, with their own line; enter y: z[t] <= -entry_threshold, enter \
              x: z[t] >= entry_threshold, both only if h[t] exists, h[t] <= half_life and b > 0 \
              (otherwise the opposite leg is sold and nothing bought); exit: |z[t]| <= exit_threshold",
    legs: 2,
    reads_fundamentals: false,
    parameters: &[
        ParamInfo {
            name: "lookback_period",
            kind: ParamKind::Int,
            default: 60.0,
            min: 30.0,
            max: 120.0,
            description: "joint rows on which the line is fitted, the signal row being the last",
        },
        ParamInfo {
            name: "entry_threshold",
            kind: ParamKind::Float,
            default: 2.0,
            min: 1.0,
            max: 3.0,
            description: "distance from the line at which a leg is bought, in standard deviations",
        },
        ParamInfo {
            name: "exit_threshold",
            kind: ParamKind::Float,
            default: 0.5,
            // At 0 what is held would practically never be sold.
            min: 0.1,
            max: 2.0,
            description: "distance within which what is held is sold, in standard deviations; must \
                          be below entry_threshold",
        },
        ParamInfo {
            name: "half_life",
            kind: ParamKind::Int,
            default: 20.0,
            min: 5.0,
            max: 60.0,
            description: "longest estimated half-life of the spread at which a position is opened, \
                          in joint rows",
        },
    ],
    retired: &[],
};

struct Reversion {
    lookback: usize,
    entry: f64,
    exit: f64,
    half_life: f64,
}

impl Strategy for Cointegration {
    fn info(&self) -> &'static StrategyInfo {
        &INFO
    }

    fn rule(&self, params: &Params) -> Result<TradingRule, Vec<ParamFault>> {
        let values = read(&INFO, params)?;
        let rule = Reversion {
            lookback: rows(values[0]),
            entry: values[1],
            exit: values[2],
            half_life: values[3],
        };
        if rule.exit >= rule.entry {
            let reason = format!(
                "exit_threshold {} must be below entry_threshold {}",
                rule.exit, rule.entry
            );
            return Err(vec![ParamFault::Unsuitable { reason }]);
        }
        Ok(TradingRule::pair(rule))
    }
}

impl PairRule for Reversion {
    fn warm_up_rows(&self) -> usize {
        self.lookback.max(FORMATION_ROWS) - 1
    }

    fn signals(&self, pair: &PairView<'_>, signals: &mut [PairSignal]) {
        for (row, signal) in signals.iter_mut().enumerate().skip(self.lookback - 1) {
            let Ok(fit) = pair.fit(row, self.lookback) else {
                continue;
            };
            let z = fit.z_score;
            if z.abs() <= self.exit {
                *signal = PairSignal::Exit;
            } else if z.abs() >= self.entry {
                *signal = PairSignal::Enter {
                    long: if z < 0.0 { Leg::Y } else { Leg::X },
                    hedge_ratio: fit.hedge_ratio,
                    // NaN, no half-life, is not at most anything.
                    admitted: pair.half_life[row] <= self.half_life,
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cointegration::{PairSums, ar1_lambda, half_life, ols};
    use crate::synthetic::Random;

    /// A pair whose spread returns, and its prices.
    fn prices(count: usize, seed: u64) -> (Vec<f64>, Vec<f64>) {
        let mut random = Random::new(seed);
        let (mut walk, mut spread) = (3.0, 0.0);
        let rows = (0..count).map(|_| {
            walk += 0.015 * random.normal();
            spread = 0.93 * spread + 0.01 * random.normal();
            (libm::exp(0.8 * walk + 0.5 + spread), libm::exp(walk))
        });
        rows.unzip()
    }

    fn signals_of(y: &[f64], x: &[f64], rule: &Reversion) -> Vec<PairSignal> {
        let time: Vec<i64> = (0i64..).take(y.len()).collect();
        let sums = PairSums::new(y, x).unwrap();
        let half_life: Vec<f64> = (0..y.len())
            .map(|row| match row + 1 < FORMATION_ROWS {
                true => f64::NAN,
                false => sums.half_life(row, FORMATION_ROWS).unwrap_or(f64::NAN),
            })
            .collect();
        let view = PairView {
            time: &time,
            y_close: y,
            x_close: x,
            half_life: &half_life,
            sums: &sums,
            first: 0,
        };
        let mut signals = vec![PairSignal::None; y.len()];
        rule.signals(&view, &mut signals);
        signals
    }

    #[test]
    fn signals_follow_the_formula_word_for_word() {
        let (y, x) = prices(1_200, 3);
        let logs = |prices: &[f64]| prices.iter().map(|p| libm::log(*p)).collect::<Vec<_>>();
        let (ln_y, ln_x) = (logs(&y), logs(&x));
        let rule = Reversion {
            lookback: 60,
            entry: 1.4,
            exit: 0.4,
            half_life: 9.5,
        };
        let got = signals_of(&y, &x, &rule);
        let (mut long_y, mut long_x, mut exits, mut refused) = (0, 0, 0, 0);
        for t in 0..y.len() {
            if t + 1 < rule.lookback {
                assert_eq!(got[t], PairSignal::None, "row {t}");
                continue;
            }
            let window = t + 1 - rule.lookback..t + 1;
            let line = ols(&ln_y[window.clone()], &ln_x[window]).unwrap();
            let z = line.residuals[rule.lookback - 1] / line.residual_std(1).unwrap();
            let life = t.checked_sub(FORMATION_ROWS - 1).and_then(|from| {
                let line = ols(&ln_y[from..=t], &ln_x[from..=t]).unwrap();
                half_life(ar1_lambda(&line.residuals).unwrap()).ok()
            });
            match got[t] {
                PairSignal::None => assert!(z.abs() < 1.4 && z.abs() > 0.4, "row {t} {z}"),
                PairSignal::Exit => {
                    assert!(z.abs() <= 0.4, "row {t} {z}");
                    exits += 1;
                }
                PairSignal::Enter {
                    long,
                    hedge_ratio,
                    admitted,
                } => {
                    assert!(z.abs() >= 1.4, "row {t} {z}");
                    assert_eq!(long, if z < 0.0 { Leg::Y } else { Leg::X });
                    assert!((hedge_ratio / line.hedge_ratio - 1.0).abs() < 1e-8);
                    assert_eq!(admitted, life.is_some_and(|life| life <= 9.5), "{life:?}");
                    long_y += usize::from(long == Leg::Y && admitted);
                    long_x += usize::from(long == Leg::X && admitted);
                    refused += usize::from(!admitted && t >= FORMATION_ROWS);
                }
            }
        }
        assert!(
            long_y > 5 && long_x > 5 && exits > 50 && refused > 5,
            "{long_y} {long_x} {exits} {refused}"
        );
    }

    #[test]
    fn a_leg_that_does_not_move_gives_no_signal() {
        let (y, _) = prices(700, 4);
        let rule = Reversion {
            lookback: 60,
            entry: 1.0,
            exit: 0.9,
            half_life: 60.0,
        };
        let flat = vec![10.0; 700];
        assert!(
            signals_of(&y, &flat, &rule)
                .iter()
                .all(|s| *s == PairSignal::None)
        );
        let short = &y[..40];
        assert!(
            signals_of(short, &flat[..40], &rule)
                .iter()
                .all(|s| *s == PairSignal::None)
        );
    }

    #[test]
    fn an_exit_at_or_beyond_the_entry_is_infeasible() {
        let params = Params::new()
            .with("entry_threshold", 1.5)
            .with("exit_threshold", 1.5);
        let faults = Cointegration.rule(&params).err().unwrap();
        assert_eq!(faults.len(), 1);
        assert_eq!(
            faults[0].to_string(),
            "exit_threshold 1.5 must be below entry_threshold 1.5"
        );
        assert_eq!(faults[0].name(), None);
    }
}
