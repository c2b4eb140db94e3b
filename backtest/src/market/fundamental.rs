//! What a company reported, per share.

use super::record::is_day;
use crate::bars::MAX_PRICE;
use chrono::NaiveDate;

/// The figures of one report: from an imported table. A figure that a report does not have is not
/// there, and the one of the last report that had it stays.
///
/// All are in the currency of the prices for one share of those outstanding on the day of the
/// announcement; flows (earnings, sales, EBITDA) are of the twelve months before.
#[derive(Clone, Debug, PartialEq)]
pub struct Fundamentals {
    /// The share.
    pub symbol: String,
    /// The day on which the figures were published: known to nobody before the next day.
    pub announced: NaiveDate,
    /// Net income of the shareholders, for a share.
    pub earnings_per_share: Option<f64>,
    /// Shareholders' equity, for a share.
    pub book_per_share: Option<f64>,
    /// Revenue, for a share.
    pub sales_per_share: Option<f64>,
    /// Earnings before interest, taxes, depreciation and amortization, for a share.
    pub ebitda_per_share: Option<f64>,
    /// Interest-bearing debt less cash, for a share; below 0 where there is more cash. With the price
    /// it makes the value of the enterprise; where it is never told it counts as 0.
    pub net_debt_per_share: Option<f64>,
}

impl Fundamentals {
    /// The names of the figures in a table, in the order of [`Self::figures`].
    pub const FIGURES: [&'static str; 5] = [
        "earnings_per_share",
        "book_per_share",
        "sales_per_share",
        "ebitda_per_share",
        "net_debt_per_share",
    ];

    /// The figures.
    #[must_use]
    pub const fn figures(&self) -> [Option<f64>; 5] {
        [
            self.earnings_per_share,
            self.book_per_share,
            self.sales_per_share,
            self.ebitda_per_share,
            self.net_debt_per_share,
        ]
    }

    /// The report with these figures, in the order of [`Self::FIGURES`].
    #[must_use]
    pub fn new(symbol: &str, announced: NaiveDate, figures: [Option<f64>; 5]) -> Self {
        // -0.0 + 0.0 is +0.0, so that equal records have equal bytes.
        let [earnings, book, sales, ebitda, net_debt] =
            figures.map(|figure| figure.map(|v| v + 0.0));
        Self {
            symbol: symbol.to_owned(),
            announced,
            earnings_per_share: earnings,
            book_per_share: book,
            sales_per_share: sales,
            ebitda_per_share: ebitda,
            net_debt_per_share: net_debt,
        }
    }

    /// Checks the day and the figures.
    ///
    /// # Errors
    /// The first field that cannot be so, and what to do.
    pub fn check(&self) -> Result<(), FundamentalsFault> {
        let fault = |field, reason| Err(FundamentalsFault { field, reason });
        if !is_day(self.announced) {
            let reason = "the day of the announcement is not a day from 1800 to 2199; correct it";
            return fault("announced", reason);
        }
        let figures = self.figures();
        for (field, figure) in Self::FIGURES.into_iter().zip(figures) {
            if figure.is_some_and(|value| !(-MAX_PRICE..=MAX_PRICE).contains(&value)) {
                let reason = "a figure per share is a number from -1e12 to 1e12; correct it";
                return fault(field, reason);
            }
        }
        if self.sales_per_share.is_some_and(|sales| sales < 0.0) {
            return fault("sales_per_share", "sales are not below 0; correct them");
        }
        if figures.iter().all(Option::is_none) {
            return fault("announced", "it has no figure; leave it out");
        }
        Ok(())
    }
}

/// What is wrong with a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FundamentalsFault {
    /// The field, by its name in a table.
    pub field: &'static str,
    /// The rule and what to do.
    pub reason: &'static str,
}
