//! Dividends and bonus shares.

use super::record::is_day;
use crate::bars::MAX_PRICE;
use chrono::NaiveDate;

/// The most new shares for one: beyond any split, so that a typing error is told.
pub const MAX_BONUS: f64 = 10_000.0;

/// What a share gives its holders on its ex-date: from an imported table. Rights issues, reverse
/// splits and taxes are not modelled.
#[derive(Clone, Debug, PartialEq)]
pub struct CorporateAction {
    /// The share.
    pub symbol: String,
    /// The first day on which it trades without.
    pub ex_date: NaiveDate,
    /// Cash for each share held, before tax, in the currency of the prices; 0 or more.
    pub cash_per_share: f64,
    /// New shares for each share held: bonus shares, transfers from reserves, splits (1 for two for
    /// one); 0 or more.
    pub bonus_per_share: f64,
}

impl CorporateAction {
    /// Checks the day and the amounts.
    ///
    /// # Errors
    /// The first field that cannot be so, and what to do.
    pub fn check(&self) -> Result<(), ActionFault> {
        let fault = |field, reason| Err(ActionFault { field, reason });
        if !is_day(self.ex_date) {
            let reason = "the ex-date is not a day from 1800 to 2199; correct it";
            return fault("ex_date", reason);
        }
        if !(0.0..=MAX_PRICE).contains(&self.cash_per_share) {
            let reason = "cash is a number from 0 to 1e12; correct it";
            return fault("cash_per_share", reason);
        }
        if !(0.0..=MAX_BONUS).contains(&self.bonus_per_share) {
            let reason = "a bonus is a number from 0 to 10000; a reverse split (below 0) is not \
                          modelled: leave the bars before it out, or import adjusted ones";
            return fault("bonus_per_share", reason);
        }
        if self.cash_per_share == 0.0 && self.bonus_per_share == 0.0 {
            let reason = "it gives neither cash nor shares; leave it out";
            return fault("cash_per_share and bonus_per_share", reason);
        }
        Ok(())
    }
}

/// What is wrong with a corporate action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionFault {
    /// The field, by its name in a table.
    pub field: &'static str,
    /// The rule and what to do.
    pub reason: &'static str,
}

/// What one share gives on one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Payout {
    pub(crate) cash: f64,
    pub(crate) bonus: f64,
}

impl Payout {
    /// All that the actions of one ex-date give: each is for the shares held before it.
    pub(crate) fn of_day<'a>(actions: impl IntoIterator<Item = &'a CorporateAction>) -> Self {
        let nothing = Self {
            cash: 0.0,
            bonus: 0.0,
        };
        actions.into_iter().fold(nothing, |sum, action| Self {
            cash: sum.cash + action.cash_per_share,
            bonus: sum.bonus + action.bonus_per_share,
        })
    }

    /// The price that is worth the same without: `(close - cash) / (1 + bonus)`.
    pub(crate) fn ex_right(self, close: f64) -> f64 {
        (close - self.cash) / (1.0 + self.bonus)
    }
}
