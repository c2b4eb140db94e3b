//! How far a price may move in a day.

use super::Board;
use super::table::{ListingRule, SPECIAL_TREATMENT_LIMITS, in_force, listing_rules, price_limits};
use chrono::NaiveDate;

/// How far, in fen, an amount may lie below the half and still be rounded up: `1.005` is
/// 100.49999999999999 fen in binary and 100.5 to whoever wrote it. Prices have four decimals at
/// most, so that nothing else is as near.
const DECIMAL: f64 = 1e-6;

/// By how many fen a price may lie beyond a limit before the limit is doubted: adjusted and averaged
/// prices are rounded once more.
const DOUBT: i64 = 1;

/// An amount of CNY in whole fen, the half rounded up, as it stands in decimal digits.
///
/// ```
/// use trialmill_backtest::market::fen;
/// assert_eq!((1.005_f64 * 100.0).round(), 100.0); // what binary makes of it
/// assert_eq!(fen(1.005), 101);
/// assert_eq!(fen(1.00499), 100);
/// assert_eq!(fen(8.665), 867);
/// assert_eq!(fen(10.0), 1_000);
/// ```
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the largest price is 1e12; beyond 2^63 the cast saturates"
)]
pub fn fen(amount: f64) -> i64 {
    (amount * 100.0 + 0.5 + DECIMAL).floor() as i64
}

/// The highest and the lowest price of a day, in fen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Limit-up: nobody need sell to a buyer at this price.
    pub up: i64,
    /// Limit-down.
    pub down: i64,
}

impl Limits {
    /// `reference (100 + percent) / 100` and `reference (100 - percent) / 100`, the half rounded up,
    /// in whole fen; at least one fen away from the reference (and not below one fen), as the
    /// exchanges rule for prices so low that the percentage is less than a fen.
    ///
    /// ```
    /// use trialmill_backtest::market::{Limits, fen};
    /// assert_eq!(Limits::around(fen(9.05), 10), Limits { up: 996, down: 815 }); // 9.955 and 8.145
    /// assert_eq!(Limits::around(fen(0.04), 10), Limits { up: 5, down: 3 });
    /// ```
    #[must_use]
    pub fn around(reference: i64, percent: i64) -> Self {
        let at = |percent: i64| (reference * percent + 50).div_euclid(100);
        Self {
            up: at(100 + percent).max(reference + 1),
            down: at(100 - percent).min(reference - 1).max(1),
        }
    }

    /// Whether a day with these prices, in CNY, cannot have had these limits: no deal is done beyond
    /// them, so the reference was another one (an ex-right day of raw prices, a day without limits).
    /// One fen is granted for prices that were rounded once more.
    #[must_use]
    pub fn are_refuted_by(self, high: f64, low: f64) -> bool {
        fen(high) > self.up + DOUBT || fen(low) < self.down - DOUBT
    }
}

/// The limit of a day as a whole percentage; none where the board had no limit yet.
#[must_use]
pub fn limit_percent(board: Board, special_treatment: bool, day: NaiveDate) -> Option<i64> {
    let rows = if special_treatment && board == Board::Main {
        SPECIAL_TREATMENT_LIMITS
    } else {
        price_limits(board)
    };
    in_force(rows, day).map(|row| row.value)
}

/// How many trading days of a share listed on that day have no limit that follows from a close
/// before: those without a limit, or the listing day whose limit follows from the issue price.
#[must_use]
pub fn unjudged_days(board: Board, listed: NaiveDate) -> usize {
    match in_force(listing_rules(board), listed).map(|row| row.value) {
        Some(ListingRule::Unlimited { days }) => days,
        Some(ListingRule::FirstDay { .. }) | None => 1,
    }
}

/// Whether a share listed on that day has no limit at all on its [`unjudged_days`].
#[must_use]
pub fn begins_unlimited(board: Board, listed: NaiveDate) -> bool {
    let rule = in_force(listing_rules(board), listed).map(|row| row.value);
    matches!(rule, Some(ListingRule::Unlimited { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(y: i32, m: u32, d: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(y, m, d).unwrap()
    }

    #[test]
    fn fen_and_limits_are_those_of_decimal_arithmetic() {
        // Every price from 0.01 to 400.00, against integers only.
        for price in 1..40_000_i64 {
            let close = f64::from(u16::try_from(price).unwrap()) / 100.0;
            assert_eq!(fen(close), price);
            for percent in [5, 10, 20, 30] {
                let limits = Limits::around(fen(close), percent);
                let thousandth = price * (100 + percent);
                let up = thousandth / 100 + i64::from(thousandth % 100 >= 50);
                assert_eq!(limits.up, up.max(price + 1), "{price} {percent}");
                let thousandth = price * (100 - percent);
                let down = thousandth / 100 + i64::from(thousandth % 100 >= 50);
                assert_eq!(limits.down, down.min(price - 1).max(1), "{price} {percent}");
            }
        }
        // Half a fen, as an ex-right reference has it.
        for half in 0..20_000_u32 {
            let price = f64::from(half) / 100.0 + 0.005;
            assert_eq!(fen(price), i64::from(half) + 1, "{price}");
        }
    }

    #[test]
    fn a_day_beyond_its_limits_refutes_them() {
        let limits = Limits::around(1_000, 10);
        assert!(!limits.are_refuted_by(11.0, 9.0));
        assert!(!limits.are_refuted_by(11.01, 8.99));
        assert!(limits.are_refuted_by(11.02, 10.0));
        assert!(limits.are_refuted_by(10.0, 8.98));
    }

    #[test]
    fn the_percentage_is_that_of_board_and_day() {
        use Board::{Bse, Chinext, Main, Star};
        let at = |board, y, m, d| limit_percent(board, false, day(y, m, d));
        assert_eq!(at(Main, 1996, 12, 13), None);
        assert_eq!(at(Main, 2020, 8, 24), Some(10));
        assert_eq!(at(Chinext, 2020, 8, 21), Some(10));
        assert_eq!(at(Chinext, 2020, 8, 24), Some(20));
        assert_eq!(at(Star, 2019, 7, 22), Some(20));
        assert_eq!(at(Bse, 2021, 11, 15), Some(30));
        let treated = |board, y, m, d| limit_percent(board, true, day(y, m, d));
        assert_eq!(treated(Main, 2026, 7, 3), Some(5));
        assert_eq!(treated(Main, 2026, 7, 6), Some(10));
        assert_eq!(treated(Chinext, 2021, 1, 4), Some(20));
        assert_eq!(unjudged_days(Main, day(2010, 1, 4)), 1);
        assert_eq!(unjudged_days(Main, day(2023, 4, 7)), 1);
        assert_eq!(unjudged_days(Main, day(2023, 4, 10)), 5);
        assert_eq!(unjudged_days(Chinext, day(2020, 8, 21)), 1);
        assert_eq!(unjudged_days(Chinext, day(2020, 8, 24)), 5);
        assert_eq!(unjudged_days(Star, day(2020, 7, 16)), 5);
        assert_eq!(unjudged_days(Bse, day(2022, 1, 4)), 1);
        // One day without any limit, and one whose limit follows from the issue price.
        assert!(begins_unlimited(Bse, day(2022, 1, 4)));
        assert!(begins_unlimited(Main, day(2010, 1, 4)));
        assert!(!begins_unlimited(Main, day(2015, 1, 5)));
    }
}
