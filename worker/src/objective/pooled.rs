//! The returns of several backtests as those of one account: what a trial of them keeps.

use trialmill_backtest::engine::{Backtest, Report};
use trialmill_backtest::metrics::returns_of;
use trialmill_backtest::trust::TrialStats;

/// Every day of some backtests, ascending.
pub(super) fn days_of<'a>(backtests: impl Iterator<Item = &'a Backtest>) -> Vec<i64> {
    let days = backtests.flat_map(|backtest| backtest.data().calendar().iter().copied());
    let mut days: Vec<i64> = days.collect();
    days.sort_unstable();
    days.dedup();
    days
}

/// The equity of the books of one stretch of days, put together.
///
/// On a day the account holds the equity of every book of the stretch: of one that has not begun to
/// trade its cash, of one that has ended its last.
pub(super) struct Equity<'a> {
    days: &'a [i64],
    equity: Vec<f64>,
    riskless: Option<f64>,
}

/// The returns of one stretch, which starts anew: no return leads from one stretch to the next.
pub(super) struct StretchReturns {
    returns: Vec<f64>,
    /// Nothing where no book traded in it.
    riskless: Option<f64>,
}

impl<'a> Equity<'a> {
    /// Of no book yet.
    pub(super) fn of(days: &'a [i64]) -> Self {
        Self {
            days,
            equity: vec![0.0; days.len()],
            riskless: None,
        }
    }

    /// Adds a book, whose days are all among those of the stretch.
    pub(super) fn add(&mut self, report: &Report) {
        self.riskless = Some(report.risk_free_rate / report.periods_per_year);
        let mut held = report.initial_cash;
        let mut rows = report.time.iter().zip(&report.equity).peekable();
        for (day, sum) in self.days.iter().zip(&mut self.equity) {
            if let Some((_, equity)) = rows.next_if(|(time, _)| *time == day) {
                held = *equity;
            }
            *sum += held;
        }
    }

    /// Ends the stretch.
    pub(super) fn close(self) -> StretchReturns {
        let lost = self.equity.last().is_some_and(|equity| *equity <= 0.0);
        StretchReturns {
            returns: returns_of(&self.equity, lost),
            riskless: self.riskless,
        }
    }
}

/// The statistics of stretches, joined in their order.
pub(super) fn stats<'a>(stretches: impl Iterator<Item = &'a StretchReturns>) -> Option<TrialStats> {
    let (mut returns, mut riskless) = (Vec::new(), 0.0);
    for stretch in stretches {
        returns.extend(&stretch.returns);
        riskless = stretch.riskless.unwrap_or(riskless);
    }
    TrialStats::of_returns(&returns, riskless)
}
