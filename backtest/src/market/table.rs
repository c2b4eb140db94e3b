//! Every figure of the mainland rules that depends on a day: its first day, its value, its source.
//!
//! A row holds from its first day until that of the next one. "Checked" names what the row was
//! compared with besides the document itself, of which no copy was at hand; a row without it was
//! taken from general knowledge and compared with nothing.

use super::Board;
use chrono::NaiveDate;

/// A value and the first day on which it holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dated<T> {
    /// The first day.
    pub first: NaiveDate,
    /// What holds from then on.
    pub value: T,
    /// The document that says so, and what the row was checked with.
    pub source: &'static str,
}

/// The row in force on a day; none before the first one.
#[must_use]
pub fn in_force<T>(rows: &[Dated<T>], day: NaiveDate) -> Option<&Dated<T>> {
    rows[..rows.partition_point(|row| row.first <= day)].last()
}

/// The limit on a day's prices, as a whole percentage of the reference close, up and down alike.
#[must_use]
pub const fn price_limits(board: Board) -> &'static [Dated<i64>] {
    match board {
        Board::Main => MAIN_LIMITS,
        Board::Chinext => CHINEXT_LIMITS,
        Board::Star => STAR_LIMITS,
        Board::Bse => BSE_LIMITS,
    }
}

/// The same for shares under special treatment (ST, *ST) on the main boards; those of the other
/// boards have the limits of their board.
pub const SPECIAL_TREATMENT_LIMITS: &[Dated<i64>] = &[
    row(
        (1998, 4, 27),
        5,
        "SSE and SZSE rules on special treatment, 1998-04; checked: asiaetrading.com pages on the \
         price limits of both exchanges (5 %), not the first day",
    ),
    row(
        (2026, 7, 6),
        10,
        "SSE and SZSE trading rules in force from 2026-07-06, after the consultation of 2025-06-27; \
         checked: nashnova.com, 'A-Share Main Board ST Stocks' Daily Price Limit Expanded to 10%'",
    ),
];

const MAIN_LIMITS: &[Dated<i64>] = &[row(
    (1996, 12, 16),
    10,
    "SSE and SZSE notices of 1996-12-13 on the 10 % limit; checked: star.sse.com.cn, comparison of \
     trading mechanisms (10 %), not the first day",
)];

const CHINEXT_LIMITS: &[Dated<i64>] = &[
    row(
        (2009, 10, 30),
        10,
        "SZSE trading rules at the opening of ChiNext; checked: eyeshenzhen.com 2020-08-25 (10 % \
         before the reform), not the first day",
    ),
    row(
        (2020, 8, 24),
        20,
        "SZSE special rules for trading on ChiNext, 2020-06-12, in force with the first \
         registration-based listings; checked: eyeshenzhen.com 2020-08-25",
    ),
];

const STAR_LIMITS: &[Dated<i64>] = &[row(
    (2019, 7, 22),
    20,
    "SSE special rules for trading on the STAR Market, 2019-03-01, in force at its opening; checked: \
     star.sse.com.cn, comparison of trading mechanisms (20 %), not the first day",
)];

const BSE_LIMITS: &[Dated<i64>] = &[row(
    (2021, 11, 15),
    30,
    "BSE trading rules (trial), 2021-11-02, in force at its opening; checked: tellerreport.com \
     2021-11-12 (opening), laitimes.com on the rules of the BSE (30 %)",
)];

/// What holds on the first days of a new share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListingRule {
    /// No limit on so many trading days.
    Unlimited {
        /// Trading days, the listing day included.
        days: usize,
    },
    /// On the listing day, prices from the issue price less `down` % to the issue price and `up` %;
    /// then the limits of the board.
    FirstDay {
        /// Whole percentage.
        up: i64,
        /// Whole percentage.
        down: i64,
    },
}

/// The rule of the first days of a new share.
#[must_use]
pub const fn listing_rules(board: Board) -> &'static [Dated<ListingRule>] {
    match board {
        Board::Main => MAIN_LISTING,
        Board::Chinext => CHINEXT_LISTING,
        Board::Star => STAR_LISTING,
        Board::Bse => BSE_LISTING,
    }
}

const MAIN_LISTING: &[Dated<ListingRule>] = &[
    row(
        (1996, 12, 16),
        ListingRule::Unlimited { days: 1 },
        "SSE and SZSE notices of 1996-12-13; checked: asiaetrading.com pages on the price limits of \
         both exchanges (no limit on the first day), not the first day of the rule",
    ),
    row(
        (2014, 1, 1),
        ListingRule::FirstDay { up: 44, down: 36 },
        "SSE and SZSE notices of 2013-12-13 on trading at the beginning of a listing; checked: \
         star.sse.com.cn, comparison of trading mechanisms (+44 %, -36 %), not the first day; the \
         first listing under it was on 2014-01-17 (szdaily.com 2014-01-23), and in Shenzhen some \
         still closed above +44 % then (scmp.com 2014-01-22)",
    ),
    row(
        (2023, 4, 10),
        ListingRule::Unlimited { days: 5 },
        "SSE and SZSE trading rules, 2023-02-17, in force with the first registration-based main \
         board listings; checked: malaya.com.ph (Reuters) on that Monday",
    ),
];

const CHINEXT_LISTING: &[Dated<ListingRule>] = &[
    row(
        (2009, 10, 30),
        ListingRule::Unlimited { days: 1 },
        "SZSE trading rules at the opening of ChiNext",
    ),
    row(
        (2014, 1, 1),
        ListingRule::FirstDay { up: 44, down: 36 },
        "SZSE notice of 2013-12-13 on trading at the beginning of a listing; as on the main board",
    ),
    row(
        (2020, 8, 24),
        ListingRule::Unlimited { days: 5 },
        "SZSE special rules for trading on ChiNext, 2020-06-12; checked: eyeshenzhen.com 2020-08-25",
    ),
];

const STAR_LISTING: &[Dated<ListingRule>] = &[row(
    (2019, 7, 22),
    ListingRule::Unlimited { days: 5 },
    "SSE special rules for trading on the STAR Market, 2019-03-01; checked: star.sse.com.cn, \
     comparison of trading mechanisms",
)];

const BSE_LISTING: &[Dated<ListingRule>] = &[row(
    (2021, 11, 15),
    ListingRule::Unlimited { days: 1 },
    "BSE trading rules (trial), 2021-11-02; checked: dailynht.com (CGTN) on the opening day",
)];

/// Stamp duty as a fraction of the value of a deal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StampDuty {
    /// Paid by the buyer.
    pub purchase: f64,
    /// Paid by the seller.
    pub sale: f64,
}

/// Stamp duty. Before the first row, when it was higher, the first row is used.
pub const STAMP_DUTY: &[Dated<StampDuty>] = &[
    row(
        (2001, 11, 16),
        both(0.002),
        "Ministry of Finance, 2001-11-15; checked: en.people.cn 2001-11-16",
    ),
    row(
        (2005, 1, 24),
        both(0.001),
        "Ministry of Finance and State Administration of Taxation, 2005-01-23; checked: \
         english.china.org.cn 2005-01-24 (Xinhua)",
    ),
    row(
        (2007, 5, 30),
        both(0.003),
        "Ministry of Finance and State Administration of Taxation, circular of 2007-05-30; checked: \
         chinalawandpractice.com, CLP reference 3210/07.05.30",
    ),
    row(
        (2008, 4, 24),
        both(0.001),
        "Ministry of Finance and State Administration of Taxation, 2008-04-23; checked: \
         english1.english.gov.cn 2008-04-23 (Xinhua)",
    ),
    row(
        (2008, 9, 19),
        StampDuty {
            purchase: 0.0,
            sale: 0.001,
        },
        "Ministry of Finance and State Administration of Taxation, Cai Shui Ming Dian [2008] No. 2; \
         checked: wodefinance.com, which quotes it",
    ),
    row(
        (2023, 8, 28),
        StampDuty {
            purchase: 0.0,
            sale: 0.0005,
        },
        "Ministry of Finance and State Taxation Administration, 2023-08-27; checked: \
         tpfh.cntaiping.com notice 165, asianprivatebanker.com 2023-08-28",
    ),
];

/// The transfer fee as a fraction of the value of a deal, paid by both sides; none before the first
/// row. Shanghai then charged by face value (0.3 per mille of it in 2015), which bars do not tell,
/// and Shenzhen 0.0255 per mille of the value.
#[must_use]
pub const fn transfer_fees(board: Board) -> &'static [Dated<f64>] {
    match board {
        Board::Main | Board::Chinext | Board::Star => TRANSFER_FEE,
        Board::Bse => BSE_TRANSFER_FEE,
    }
}

const TRANSFER_FEE: &[Dated<f64>] = &[
    row(
        (2015, 8, 1),
        0.000_02,
        "SSE, SZSE and China Securities Depository and Clearing, 2015-07; checked: mondovisione.com \
         2015-07-03, questions and answers of the three",
    ),
    row(
        (2022, 4, 29),
        0.000_01,
        "China Securities Depository and Clearing, 2022-04-28; checked: yicaiglobal.com 2022-04-29",
    ),
];

const BSE_TRANSFER_FEE: &[Dated<f64>] = &[
    row(
        (2021, 11, 15),
        0.000_025,
        "China Securities Depository and Clearing; checked: yicaiglobal.com 2022-04-29 (the fee \
         before that day)",
    ),
    row(
        (2022, 4, 29),
        0.000_01,
        "China Securities Depository and Clearing, 2022-04-28; checked: yicaiglobal.com 2022-04-29",
    ),
];

const fn both(rate: f64) -> StampDuty {
    StampDuty {
        purchase: rate,
        sale: rate,
    }
}

const fn row<T: Copy>(first: (i32, u32, u32), value: T, source: &'static str) -> Dated<T> {
    match NaiveDate::from_ymd_opt(first.0, first.1, first.2) {
        Some(first) => Dated {
            first,
            value,
            source,
        },
        None => panic!("no such day"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_ascend_and_hold_from_their_first_day() {
        fn ascend<T>(rows: &[Dated<T>]) {
            assert!(!rows.is_empty());
            assert!(rows.windows(2).all(|two| two[0].first < two[1].first));
            assert!(rows.iter().all(|row| !row.source.is_empty()));
        }
        for board in Board::ALL {
            ascend(price_limits(board));
            ascend(listing_rules(board));
            ascend(transfer_fees(board));
        }
        ascend(SPECIAL_TREATMENT_LIMITS);
        ascend(STAMP_DUTY);
        let sale = |y, m, d| {
            let day = NaiveDate::from_ymd_opt(y, m, d).unwrap();
            in_force(STAMP_DUTY, day).map(|row| row.value.sale)
        };
        assert_eq!(sale(2001, 11, 15), None);
        assert_eq!(sale(2007, 5, 29), Some(0.001));
        assert_eq!(sale(2007, 5, 30), Some(0.003));
        assert_eq!(sale(2030, 1, 1), Some(0.0005));
    }
}
