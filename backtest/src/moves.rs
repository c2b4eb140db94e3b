//! Moves that no session allows: what is left of a split or a dividend where prices are not
//! adjusted.

use crate::bars::{BarSeries, Frequency, midnight};
use crate::market::{CorporateAction, Payout};
use chrono::NaiveDate;

const SECONDS_PER_DAY: i64 = 86_400;

/// The move that is taken for an adjustment left out where no exchange limits prices: a split of
/// three for two moves the price by a third, news rarely do.
pub const GENERAL_GAP: f64 = 0.30;

/// Days of a new share without a limit on its price, on STAR, ChiNext and, since 2023-04-10, the
/// main boards.
pub const UNLIMITED_DAYS: usize = 5;

/// The least of all limits, that of the main boards.
const MAIN: f64 = 0.11;

/// 2020-08-24, since when prices on ChiNext may move by 20 % a day.
const CHINEXT_REFORM: i64 = 18_498 * SECONDS_PER_DAY;

/// The largest sound move from a close to the next session, as a fraction: the daily limit of the
/// board and one percent for its rounding; 0.11 on the main boards of Shanghai and Shenzhen, 0.21 on
/// STAR and, since 2020-08-24, on ChiNext, 0.31 in Beijing, else [`GENERAL_GAP`].
///
/// `time` is in exchange-local seconds. Not known from a symbol, and so not told apart: shares under
/// special treatment (5 %), the years before 1996-12-16, which had no limit, and the first
/// [`UNLIMITED_DAYS`] of a new share.
///
/// ```
/// use trialmill_backtest::moves::largest_move;
/// let (before, after) = (18_497 * 86_400, 18_498 * 86_400); // around 2020-08-24
/// assert_eq!(largest_move("600000.SH", after), 0.11);
/// assert_eq!(largest_move("688981.SH", after), 0.21);
/// assert_eq!(largest_move("300750.SZ", before), 0.11);
/// assert_eq!(largest_move("300750.SZ", after), 0.21);
/// assert_eq!(largest_move("830799.BJ", after), 0.31);
/// assert_eq!(largest_move("AAPL", after), 0.30);
/// ```
#[must_use]
pub fn largest_move(symbol: &str, time: i64) -> f64 {
    const WIDE: f64 = 0.21;
    let (code, exchange) = symbol.rsplit_once('.').unwrap_or((symbol, ""));
    let is_of = |starts: &[&str]| starts.iter().any(|start| code.starts_with(start));
    match exchange {
        "SH" if is_of(&["688", "689"]) => WIDE,
        "SZ" if is_of(&["300", "301", "302"]) && time >= CHINEXT_REFORM => WIDE,
        "SH" | "SZ" => MAIN,
        "BJ" => 0.31,
        _ => GENERAL_GAP,
    }
}

/// Whether a close after the close `before` is further away than [`largest_move`] allows.
pub(crate) fn is_impossible(symbol: &str, time: i64, before: f64, close: f64) -> bool {
    let moved = (close / before - 1.0).abs();
    // Hardly any move is: the symbol need not be looked at.
    moved > MAIN && moved > largest_move(symbol, time)
}

/// How many moves of a daily series, from one traded day's close to the next one's, are further than
/// [`largest_move`] allows on a day from `first` to `last`: above 0, the prices are not adjusted for
/// splits and dividends, and what is computed from them is not what a holder earned.
///
/// `actions` are those that are known of the symbol, by ex-date: a move is counted from the close less
/// what the share has given since, as signals see it
/// ([`Dataset::with_actions`](crate::dataset::Dataset::with_actions)).
///
/// Smaller adjustments, such as most dividends, are not seen. The first [`UNLIMITED_DAYS`] bars of
/// the series do not count, as they may be those of a new share. A series of another frequency has
/// none.
#[must_use]
pub fn impossible_moves(
    series: &BarSeries,
    actions: &[CorporateAction],
    first: NaiveDate,
    last: NaiveDate,
) -> usize {
    if series.frequency() != Frequency::Daily {
        return 0;
    }
    let rows = series.rows_between(midnight(first), midnight(last));
    let traded = |row: &usize| !series.is_suspended(*row);
    let mut before = (0..rows.start).rfind(traded);
    let mut count = 0;
    for row in rows.filter(traded) {
        if let Some(before) = before.replace(row) {
            let (time, close) = (series.time(), series.close());
            let reference = ex_right(close[before], time[before], time[row], actions);
            let impossible = is_impossible(series.symbol(), time[row], reference, close[row]);
            count += usize::from(impossible && row >= UNLIMITED_DAYS);
        }
    }
    count
}

/// A close less what the share has given after its time, up to `time`.
fn ex_right(close: f64, of: i64, time: i64, actions: &[CorporateAction]) -> f64 {
    let until = |time: i64| actions.partition_point(|action| midnight(action.ex_date) <= time);
    let since = &actions[until(of)..until(time)];
    let days = since.chunk_by(|a, b| a.ex_date == b.ex_date);
    days.fold(close, |close, day| Payout::of_day(day).ex_right(close))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bars::Columns;

    #[test]
    fn splits_are_counted_on_traded_days_of_the_period_and_not_on_those_of_a_new_share() {
        // A new share doubles on row 2; -35 % on row 7, while suspended on row 6; -20 % on row 9.
        let close = [5.0, 5.0, 10.0, 10.0, 10.0, 10.0, 6.5, 6.5, 7.0, 5.6, 5.6];
        let mut volume = vec![1.0; close.len()];
        volume[6] = 0.0;
        let series = |symbol: &str| {
            let columns = Columns {
                time: (0i64..).take(close.len()).map(|d| d * 86_400).collect(),
                open: close.to_vec(),
                high: close.to_vec(),
                low: close.to_vec(),
                close: close.to_vec(),
                volume: volume.clone(),
            };
            BarSeries::new(symbol, Frequency::Daily, columns).unwrap()
        };
        let day = |d| NaiveDate::from_ymd_opt(1970, 1, d).unwrap();
        let main = series("600000.SH");
        assert_eq!(impossible_moves(&main, &[], day(1), day(31)), 2);
        assert_eq!(
            impossible_moves(&main, &[], day(8), day(8)),
            1,
            "the day itself"
        );
        assert_eq!(impossible_moves(&main, &[], day(9), day(9)), 0);
        assert_eq!(impossible_moves(&main, &[], day(9), day(31)), 1);
        assert_eq!(impossible_moves(&series("AAPL"), &[], day(1), day(31)), 1);
        assert_eq!(
            impossible_moves(&series("830799.BJ"), &[], day(9), day(31)),
            0
        );
    }
    #[test]
    fn what_an_action_explains_is_no_impossible_move() {
        // Two for one on row 7, announced for the suspended row 6; 1.00 of 5.00 on row 9.
        let close = [10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 5.0, 5.0, 5.0, 4.0, 4.0];
        let mut volume = vec![1.0; close.len()];
        volume[6] = 0.0;
        let columns = Columns {
            time: (0i64..).take(close.len()).map(|d| d * 86_400).collect(),
            open: close.to_vec(),
            high: close.to_vec(),
            low: close.to_vec(),
            close: close.to_vec(),
            volume,
        };
        let series = BarSeries::new("600000.SH", Frequency::Daily, columns).unwrap();
        let day = |d| NaiveDate::from_ymd_opt(1970, 1, d).unwrap();
        let action = |d, cash_per_share, bonus_per_share| CorporateAction {
            symbol: "600000.SH".to_owned(),
            ex_date: day(d),
            cash_per_share,
            bonus_per_share,
        };
        let count =
            |actions: &[CorporateAction]| impossible_moves(&series, actions, day(1), day(31));
        let (split, dividend) = (action(7, 0.0, 1.0), action(10, 1.0, 0.0));
        assert_eq!(count(&[]), 2);
        assert_eq!(count(std::slice::from_ref(&split)), 1);
        assert_eq!(count(&[split.clone(), dividend]), 0);
        // The action of another day explains nothing and makes a move where there was none.
        assert_eq!(count(&[split, action(9, 1.0, 0.0)]), 2);
    }
}
