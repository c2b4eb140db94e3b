//! What the stored market data says of the ground that a result will stand on.

use super::Accepted;
use super::market::some_of;
use crate::fault::Warning;
use chrono::NaiveDate;
use std::collections::{BTreeMap, BTreeSet};
use trialmill_backtest::config::Market;

/// From so many stocks on, a list without one that was delisted is taken for today's members of a
/// market or an index. A few names are a choice, whose backtest says nothing of a market; so many
/// look like one.
pub const SURVIVORSHIP_STOCKS: usize = 20;

/// What the store knows of the data that a task pins, besides the days that it covers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ground {
    /// How often the prices of each symbol moved further than a session allows in
    /// [`Accepted::priced_days`], moves that known actions explain left out
    /// ([`impossible_moves`](trialmill_backtest::moves::impossible_moves)).
    pub impossible_moves: BTreeMap<String, usize>,
    /// Days of the period for which there are bars and on which no symbol traded
    /// ([`TradedDays::idle`](trialmill_backtest::idle::TradedDays::idle)).
    pub idle_days: usize,
    /// The symbols of whose listing or treatment something is known, with the day of the delisting.
    pub statuses: BTreeMap<String, Option<NaiveDate>>,
    /// The symbols whose corporate actions are known.
    pub with_actions: BTreeSet<String>,
    /// The last day for which there is a bar of any stock code.
    pub last_bar: Option<NaiveDate>,
}

impl Accepted {
    /// Warns of what speaks against a result on this ground.
    pub fn warn_of_its_ground(&mut self, ground: &Ground) {
        let found = [
            self.unadjusted_prices(ground),
            self.no_status(ground),
            self.survivorship(ground),
            self.filler_days(ground),
        ];
        let found = found.into_iter().flatten();
        self.warnings.extend(found.map(|(code, detail)| Warning {
            code: code.to_owned(),
            pointer: "/stock_codes".to_owned(),
            detail,
        }));
    }

    fn market(&self) -> Market {
        self.spec.backtest().market
    }

    fn unadjusted_prices(&self, ground: &Ground) -> Option<(&'static str, String)> {
        let moved = ground.impossible_moves.iter();
        let moved = moved.filter(|(_, count)| **count > 0);
        let named: Vec<String> = moved
            .map(|(symbol, count)| {
                let known = if ground.with_actions.contains(symbol) {
                    ", beside its known actions"
                } else {
                    ""
                };
                format!("{symbol} ({count}{known})")
            })
            .collect();
        if named.is_empty() {
            return None;
        }
        let (first, last) = self.priced_days();
        let remedy = if self.market().has_rules() {
            "import their corporate actions (docs/market-data.md)"
        } else {
            "import adjusted prices, or use a market with rules (cn_a, us) and import their \
             corporate actions (docs/market-data.md)"
        };
        let detail = format!(
            "closing prices moved further from one session to the next than any session allows \
             (how often from {first} to {last}): {}. They are not adjusted for splits and dividends \
             and are used as they are, so results are not what a holder earned; {remedy}",
            some_of(named)
        );
        Some(("unadjusted_prices", detail))
    }

    fn no_status(&self, ground: &Ground) -> Option<(&'static str, String)> {
        if self.market() != Market::CnA {
            return None;
        }
        let unknown = self.series.keys();
        let unknown = unknown.filter(|symbol| !ground.statuses.contains_key(*symbol));
        let unknown: Vec<String> = unknown.cloned().collect();
        if unknown.is_empty() {
            return None;
        }
        let detail = format!(
            "nothing is known of the listing and special treatment of {}: their limits are those of \
             ordinary shares (10 % where one under ST has 5 %), and if their bars begin with the \
             listing its days are not told; import a table of statuses (docs/market-data.md)",
            some_of(unknown)
        );
        Some(("no_status", detail))
    }

    fn survivorship(&self, ground: &Ground) -> Option<(&'static str, String)> {
        let stocks = self.spec.stock_codes();
        let last_bar = ground.last_bar?;
        let left = |symbol: &String| {
            let delisted = ground.statuses.get(symbol).copied().flatten();
            delisted.is_some_and(|day| day <= last_bar)
        };
        if stocks.len() < SURVIVORSHIP_STOCKS || stocks.iter().any(left) {
            return None;
        }
        let detail = format!(
            "none of these {} stocks was delisted by {last_bar}, as far as is known: a list of those \
             that are there today leaves out the failures of the period, and what it earned is more \
             than could be earned. Name the members of the time, delisted ones too, and import a \
             table of statuses (docs/market-data.md)",
            stocks.len()
        );
        Some(("survivorship", detail))
    }

    fn filler_days(&self, ground: &Ground) -> Option<(&'static str, String)> {
        let days = ground.idle_days;
        if days == 0 || !self.market().has_rules() {
            return None;
        }
        let (first, last) = self.period();
        let detail = format!(
            "on {days} day(s) from {first} to {last} there are bars, and none of them has volume: \
             suspensions, or holidays that the files fill in. Purchases that were for such a day \
             expire. If the exchange was closed, leave those rows out and import the files again"
        );
        Some(("filler_days", detail))
    }
}
