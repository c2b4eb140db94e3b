//! What became of the orders of a backtest.

use serde::{Deserialize, Serialize};

/// Orders that met an obstacle, by what it was. An order counts at most once for each: a sale that
/// waited through three limit-down days is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// Purchases at or above limit-up.
    pub limit_up: usize,
    /// Sales at or below limit-down.
    pub limit_down: usize,
    /// The symbol did not trade on the day.
    pub suspended: usize,
    /// Purchases for which the cash of the entry did not reach the least lot with its fees.
    pub cash_below_lot: usize,
    /// The volume of the row kept an order from being done, or from being done in whole. A purchase
    /// that was cut is filled all the same.
    pub volume_cap: usize,
    /// Purchases of a pair whose other leg was held and could not be sold in whole first.
    pub other_leg: usize,
}

/// What became of the orders of a backtest under the rules of a market:
/// `orders = filled + expired + cancelled + waiting`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// Purchases and sales that came due.
    pub orders: usize,
    /// Purchases done, be it for fewer shares than the cash would have bought, and sales done in
    /// whole, be it on several rows.
    pub filled: usize,
    /// Purchases given up.
    pub expired: usize,
    /// Sales given up, in part at least, because the rule wanted to hold the position again.
    pub cancelled: usize,
    /// Sales that were waiting when the period ended.
    pub waiting: usize,
    /// Deals done without a limit to judge them by: the first days of a new share, or a row whose
    /// prices show that the close before was not its reference.
    pub limit_unknown: usize,
    /// Orders that met an obstacle.
    pub blocked: Blocked,
}
