//! The rules of exchanges: which board a code is of, how far prices may move, how many shares an
//! order may be for, and what it costs, each by its date.
//!
//! | profile | shares | limits | settlement | fees besides the commission |
//! | --- | --- | --- | --- | --- |
//! | `plain` | fractions | none | same day | none |
//! | `cn_a` | [lots](Lot) by board | [by board and day](limit_percent) | next day | [stamp duty, transfer fee](charge), commission of at least [`MIN_COMMISSION`] |
//! | `us` | whole ones | none | same day | none |
//!
//! What tables beside the bars say of a symbol is its [`Record`].
//!
//! All figures that depend on a day are in one [`table`], each with its first day and its source.
//! What the engine makes of them is told at [`crate::engine`]; for readers there is
//! `docs/market-rules.md`, which a test holds to the table.

mod action;
mod board;
mod execution;
mod fees;
mod fundamental;
mod limit;
mod lot;
mod record;
mod status;
pub mod table;

pub(crate) use action::Payout;
pub use action::{ActionFault, CorporateAction, MAX_BONUS};
pub use board::{Board, Security, security};
pub use execution::{Blocked, Execution};
pub use fees::{Charge, Deal, MIN_COMMISSION, charge};
pub(crate) use fees::{in_fen, rates};
pub use fundamental::{Fundamentals, FundamentalsFault};
pub use limit::{Limits, begins_unlimited, fen, limit_percent, unjudged_days};
pub use lot::Lot;
pub use record::{
    MAX_ACTIONS, MAX_RECORD_BYTES, MAX_REPORTS, MAX_TREATMENTS, Record, RecordChange, RecordFault,
};
pub use status::{Status, Treatment};

/// The most that one order takes of the volume of its row, as a fraction: a tenth is what trade
/// simulations commonly grant before an order would move the price itself. Only under `cn_a`, and
/// only where the series has volume. The volume of a row is not known at its open, so it bounds the
/// size of an order and decides nothing else.
pub const VOLUME_SHARE: f64 = 0.1;
