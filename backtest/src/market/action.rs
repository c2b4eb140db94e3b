//! Dividends and bonus shares.

use chrono::NaiveDate;

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

/// What one share gives on one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Payout {
    pub(crate) cash: f64,
    pub(crate) bonus: f64,
}

impl Payout {
    /// The price that is worth the same without: `(close - cash) / (1 + bonus)`.
    pub(crate) fn ex_right(self, close: f64) -> f64 {
        (close - self.cash) / (1.0 + self.bonus)
    }
}
