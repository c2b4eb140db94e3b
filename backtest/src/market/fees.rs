//! What a deal costs.

use super::table::{STAMP_DUTY, in_force, transfer_fees};
use super::{Board, fen};
use chrono::NaiveDate;

/// The least commission of an order under `cn_a`, in CNY. Brokers charge it since the commission was
/// freed (CSRC, notice of 2002-04-04: at most 0.3 % of the value, at least 5 CNY). A configured rate
/// of 0 means no commission, and then there is no least one either.
pub const MIN_COMMISSION: f64 = 5.0;

/// Which side of a deal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deal {
    /// Shares for cash.
    Purchase,
    /// Cash for shares.
    Sale,
}

/// What one deal costs, in CNY, each part in whole fen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Charge {
    /// The broker's, exchange fees included.
    pub commission: f64,
    /// The state's.
    pub stamp_duty: f64,
    /// The clearing house's.
    pub transfer_fee: f64,
}

impl Charge {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.commission + self.stamp_duty + self.transfer_fee
    }
}

/// What a deal in an A-share costs on a day: `commission_rate` of the value, at least
/// [`MIN_COMMISSION`]; stamp duty and transfer fee by their rates of the day. Each is rounded to the
/// fen, the half up.
///
/// ```
/// use chrono::NaiveDate;
/// use trialmill_backtest::market::{Board, Charge, Deal, charge};
/// let day = NaiveDate::from_ymd_opt(2023, 8, 28).expect("a date of the calendar");
/// let sale = charge(Board::Main, day, Deal::Sale, 20_000.0, 0.0003);
/// // 0.03 % is 6.00; 0.05 % is 10.00; 0.001 % is 0.20.
/// assert_eq!(sale, Charge { commission: 6.0, stamp_duty: 10.0, transfer_fee: 0.2 });
/// let purchase = charge(Board::Main, day, Deal::Purchase, 1_000.0, 0.0003);
/// assert_eq!(purchase, Charge { commission: 5.0, stamp_duty: 0.0, transfer_fee: 0.01 });
/// ```
#[must_use]
pub fn charge(
    board: Board,
    day: NaiveDate,
    deal: Deal,
    value: f64,
    commission_rate: f64,
) -> Charge {
    let least = if commission_rate > 0.0 {
        MIN_COMMISSION
    } else {
        0.0
    };
    let (duty_rate, transfer_rate) = rates(board, day, deal);
    Charge {
        commission: in_fen(value * commission_rate).max(least),
        stamp_duty: in_fen(value * duty_rate),
        transfer_fee: in_fen(value * transfer_rate),
    }
}

/// Stamp duty and transfer fee as fractions of the value.
pub(crate) fn rates(board: Board, day: NaiveDate, deal: Deal) -> (f64, f64) {
    let duty = in_force(STAMP_DUTY, day).unwrap_or(&STAMP_DUTY[0]).value;
    let duty_rate = match deal {
        Deal::Purchase => duty.purchase,
        Deal::Sale => duty.sale,
    };
    let transfer_rate = in_force(transfer_fees(board), day).map_or(0.0, |row| row.value);
    (duty_rate, transfer_rate)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "fees are far below 2^53 fen; beyond it they are rounded"
)]
pub(crate) fn in_fen(amount: f64) -> f64 {
    fen(amount) as f64 / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(y: i32, m: u32, d: u32, deal: Deal) -> (f64, f64) {
        let day = NaiveDate::from_ymd_opt(y, m, d).unwrap();
        let charge = charge(Board::Main, day, deal, 100_000.0, 0.0003);
        assert_eq!(charge.commission, 30.0);
        (charge.stamp_duty, charge.transfer_fee)
    }

    #[test]
    fn duty_and_transfer_fee_change_on_their_days() {
        use Deal::{Purchase, Sale};
        // Of 100,000: 0.1 % is 100, 0.002 % is 2.
        assert_eq!(of(2005, 1, 21, Purchase), (200.0, 0.0));
        assert_eq!(of(2005, 1, 24, Purchase), (100.0, 0.0));
        assert_eq!(of(2007, 5, 30, Purchase), (300.0, 0.0));
        assert_eq!(of(2008, 4, 23, Sale), (300.0, 0.0));
        assert_eq!(of(2008, 4, 24, Purchase), (100.0, 0.0));
        assert_eq!(of(2008, 9, 18, Purchase), (100.0, 0.0));
        assert_eq!(of(2008, 9, 19, Purchase), (0.0, 0.0));
        assert_eq!(of(2008, 9, 19, Sale), (100.0, 0.0));
        assert_eq!(of(2015, 7, 31, Purchase), (0.0, 0.0));
        assert_eq!(of(2015, 8, 3, Purchase), (0.0, 2.0));
        assert_eq!(of(2022, 4, 28, Sale), (100.0, 2.0));
        assert_eq!(of(2022, 4, 29, Sale), (100.0, 1.0));
        assert_eq!(of(2023, 8, 25, Sale), (100.0, 1.0));
        assert_eq!(of(2023, 8, 28, Sale), (50.0, 1.0));
    }

    #[test]
    fn a_rate_of_zero_is_no_commission_at_all() {
        let day = NaiveDate::from_ymd_opt(2020, 1, 6).unwrap();
        let free = charge(Board::Bse, day, Deal::Purchase, 1_000.0, 0.0);
        assert_eq!(free, Charge::default());
    }
}
