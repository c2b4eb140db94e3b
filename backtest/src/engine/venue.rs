//! The rules of a market, applied to the bars of the data: whether a symbol trades on a row, within
//! which limits, how many shares a deal may be for, and what it costs.

use crate::bars::SECONDS_PER_DAY;
use crate::config::{BacktestConfig, Market};
use crate::dataset::{Dataset, Session};
use crate::market::{
    Board, Deal, Limits, Lot, MIN_COMMISSION, Security, Status, VOLUME_SHARE, begins_unlimited,
    charge, fen, limit_percent, rates, security, unjudged_days,
};
use chrono::{DateTime, NaiveDate};

/// The most shares of a purchase: beyond, one share more or less is lost in rounding.
const MOST_SHARES: f64 = 4_503_599_627_370_496.0; // 2^52

/// A market with the data that is dealt in it.
pub(super) struct Venue<'a> {
    data: &'a Dataset,
    /// By symbol; none under `us`.
    boards: Vec<Option<Board>>,
    commission_rate: f64,
}

/// What a deal on a row is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// By limits.
    By(Limits),
    /// There is no limit.
    Free,
    /// There is one, or may be, and it cannot be told from the bars.
    Unknown,
}

/// A symbol on a row on which it trades.
pub(super) struct Stall {
    board: Option<Board>,
    lot: Lot,
    day: NaiveDate,
    pub(super) judged: Judged,
    /// The most shares that one order gets; infinite if nothing bounds it.
    pub(super) most: f64,
    commission_rate: f64,
}

impl<'a> Venue<'a> {
    pub(super) fn new(data: &'a Dataset, config: &BacktestConfig) -> Self {
        let board = |symbol: &String| match (config.market, security(symbol)) {
            (Market::CnA, Security::Share(board)) => Some(board),
            _ => None,
        };
        Self {
            data,
            boards: data.symbols().iter().map(board).collect(),
            commission_rate: config.commission_rate,
        }
    }

    /// None if the symbol does not trade on the row.
    pub(super) fn stall(&self, symbol: usize, row: u32) -> Option<Stall> {
        let session = self.data.session(symbol, row)?;
        let day = date(self.data.calendar()[row as usize]);
        let board = self.boards[symbol];
        let status = self.data.status(&self.data.symbols()[symbol]);
        Some(Stall {
            board,
            lot: board.map_or(Lot::SINGLE, Lot::of),
            day,
            judged: board.map_or(Judged::Free, |board| judge(&session, board, day, status)),
            most: match (board, session.volume) {
                (Some(_), Some(volume)) => VOLUME_SHARE * volume,
                _ => f64::INFINITY,
            },
            commission_rate: self.commission_rate,
        })
    }
}

impl Stall {
    /// Whether a purchase at this price finds no seller.
    pub(super) fn is_limit_up(&self, price: f64) -> bool {
        matches!(self.judged, Judged::By(limits) if fen(price) >= limits.up)
    }

    /// Whether a sale at this price finds no buyer.
    pub(super) fn is_limit_down(&self, price: f64) -> bool {
        matches!(self.judged, Judged::By(limits) if fen(price) <= limits.down)
    }

    /// Fees of a deal of that value.
    pub(super) fn fees(&self, deal: Deal, value: f64) -> f64 {
        match self.board {
            Some(board) => charge(board, self.day, deal, value, self.commission_rate).total(),
            None => value * self.commission_rate,
        }
    }

    /// The most shares that `budget` buys at `price` with all fees, in a size that may be bought; 0
    /// if it does not reach the least.
    pub(super) fn affordable(&self, budget: f64, price: f64) -> f64 {
        let (rate, least) = match self.board {
            Some(board) => {
                let (duty, transfer) = rates(board, self.day, Deal::Purchase);
                let least = if self.commission_rate > 0.0 {
                    MIN_COMMISSION
                } else {
                    0.0
                };
                (duty + transfer, least)
            }
            None => (0.0, 0.0),
        };
        // The smaller of the two commissions may never be the one charged, so neither count is
        // below the right one by more than rounding.
        let by_rate = budget / (price * (1.0 + rate + self.commission_rate));
        let by_least = (budget - least) / (price * (1.0 + rate));
        let most = by_rate.min(by_least) + self.lot.step();
        let mut shares = self.lot.purchase(most.min(MOST_SHARES));
        while shares > 0.0 && shares * price + self.fees(Deal::Purchase, shares * price) > budget {
            shares = self.lot.purchase(shares - self.lot.step());
        }
        shares
    }

    /// The largest purchase of at most so many shares that the row's volume allows.
    pub(super) fn within_volume(&self, shares: f64) -> f64 {
        self.lot.purchase(shares.min(self.most))
    }

    /// The largest sale out of so many shares that the row's volume allows.
    pub(super) fn sellable(&self, held: f64) -> f64 {
        self.lot.sale(held, self.most)
    }
}

fn judge(session: &Session, board: Board, day: NaiveDate, status: Option<&Status>) -> Judged {
    let first = date(session.first_time);
    let is_new = |listed: NaiveDate| session.bar < unjudged_days(board, listed);
    match status.and_then(|status| status.listed) {
        // A series that begins later has left those days out, or it is as if it had.
        Some(listed) if listed < first => {}
        Some(listed) if is_new(listed) => {
            // The issue price, from which the limit of a first day follows, is not in the bars.
            return if begins_unlimited(board, listed) {
                Judged::Free
            } else {
                Judged::Unknown
            };
        }
        // The series may begin with the listing.
        None if is_new(first) => return Judged::Unknown,
        _ => {}
    }
    let special_treatment = status.is_some_and(|status| status.is_specially_treated(day));
    let Some(percent) = limit_percent(board, special_treatment, day) else {
        return Judged::Free;
    };
    let Some(before) = session.before else {
        return Judged::Unknown;
    };
    let limits = Limits::around(fen(before), percent);
    if limits.are_refuted_by(session.high, session.low) {
        Judged::Unknown
    } else {
        Judged::By(limits)
    }
}

fn date(local_seconds: i64) -> NaiveDate {
    let midnight = local_seconds - local_seconds.rem_euclid(SECONDS_PER_DAY);
    DateTime::from_timestamp(midnight, 0)
        .expect("the days of a series are within the calendar")
        .date_naive()
}
