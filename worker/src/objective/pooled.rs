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

/// The books of each stretch of days put together, and the stretches joined.
///
/// On a day the account holds the equity of every book of the stretch: of one that has not begun to
/// trade its cash, of one that has ended its last. Each stretch starts anew, so that no return leads
/// from one to the next.
#[derive(Default)]
pub(super) struct Pooled {
    equity: Vec<f64>,
    returns: Vec<f64>,
    riskless: f64,
}

impl Pooled {
    /// Begins a stretch of so many days.
    pub(super) fn open(&mut self, days: &[i64]) {
        self.equity.clear();
        self.equity.resize(days.len(), 0.0);
    }

    /// Adds a book, whose days are all among `days`.
    pub(super) fn add(&mut self, days: &[i64], report: &Report) {
        self.riskless = report.risk_free_rate / report.periods_per_year;
        let mut held = report.initial_cash;
        let mut rows = report.time.iter().zip(&report.equity).peekable();
        for (day, sum) in days.iter().zip(&mut self.equity) {
            if let Some((_, equity)) = rows.next_if(|(time, _)| *time == day) {
                held = *equity;
            }
            *sum += held;
        }
    }

    /// Ends the stretch.
    pub(super) fn close(&mut self) {
        let lost = self.equity.last().is_some_and(|equity| *equity <= 0.0);
        self.returns.extend(returns_of(&self.equity, lost));
    }

    /// The statistics of all stretches.
    pub(super) fn stats(&self) -> Option<TrialStats> {
        TrialStats::of_returns(&self.returns, self.riskless)
    }
}
