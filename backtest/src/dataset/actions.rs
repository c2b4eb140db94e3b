//! Dividends and bonus shares: what they do to the bars that signals see, and on which row they
//! are paid.

use super::{Dataset, DatasetError, Instrument};
use crate::bars::{BarSeries, Columns, midnight};
use crate::indicator::WindowSums;
use crate::market::{CorporateAction, Payout};
use std::sync::Arc;

impl Dataset {
    /// Adds dividends and bonus shares; those of symbols that are not of this data, or before their
    /// second bar, change nothing.
    ///
    /// What several actions of one ex-date give adds up: each is for the shares held before it.
    ///
    /// An action takes effect on the first bar from its ex-date on: before the deals of that row,
    /// whoever holds the share gets the cash and the new shares (whole ones; a fraction of a share is
    /// lost), and the reference of the limits is the close before, less the cash, by one more than
    /// the bonus. Fills, limits and values are in prices as traded. Signals see prices multiplied by
    /// the factors of the actions up to each row, `close / ex-right reference`, so that no later
    /// action changes an earlier price; volumes are divided by one more than the bonus.
    ///
    /// Call it once, before the statuses or after. The market `plain` refuses such data.
    ///
    /// # Errors
    /// [`DatasetError::Action`] of the first action that cannot be one of these bars;
    /// [`DatasetError::Pair`] if adjusted prices of a pair cannot be compared.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn with_actions(mut self, actions: &[CorporateAction]) -> Result<Self, DatasetError> {
        let mut actions: Vec<&CorporateAction> = actions.iter().collect();
        actions.sort_by(|a, b| (&a.symbol, a.ex_date).cmp(&(&b.symbol, b.ex_date)));
        for of_symbol in actions.chunk_by(|a, b| a.symbol == b.symbol) {
            let symbol = &of_symbol[0].symbol;
            let Ok(number) = self.symbols.binary_search(symbol) else {
                continue;
            };
            self.instruments[number].pay_out(&days(of_symbol)?)?;
        }
        self.place_payouts();
        for place in 0..self.pairs.len() {
            let (y, x) = (self.pairs[place].y, self.pairs[place].x);
            let adjusted = |number: usize| self.instruments[number].raw.is_some();
            if adjusted(y) || adjusted(x) {
                let (y, x) = (self.symbols[y].clone(), self.symbols[x].clone());
                let joined = self.join(&y, &x);
                let pair = joined.map_err(|reason| DatasetError::Pair { y, x, reason })?;
                self.pairs[place] = pair;
            }
        }
        Ok(self)
    }

    /// Puts what is given within the period on its rows.
    pub(super) fn place_payouts(&mut self) {
        for (number, instrument) in self.instruments.iter().enumerate() {
            for &(bar, payout) in &instrument.payouts {
                if instrument.period.contains(&bar) {
                    let row = instrument.calendar_row[bar - instrument.period.start];
                    self.payouts.push((row, number, payout));
                }
            }
        }
        self.payouts.sort_by_key(|&(row, number, _)| (row, number));
    }

    /// Whether there are dividends or bonus shares.
    #[must_use]
    pub fn has_actions(&self) -> bool {
        self.instruments.iter().any(|i| !i.payouts.is_empty())
    }
}

fn fault(action: &CorporateAction, reason: &'static str) -> DatasetError {
    DatasetError::Action {
        symbol: action.symbol.clone(),
        ex_date: action.ex_date,
        reason,
    }
}

/// The actions of a symbol, which are ordered by date, one for each ex-date.
fn days(actions: &[&CorporateAction]) -> Result<Vec<CorporateAction>, DatasetError> {
    let mut days = Vec::with_capacity(actions.len());
    for of_day in actions.chunk_by(|a, b| a.ex_date == b.ex_date) {
        for (place, action) in of_day.iter().enumerate() {
            action
                .check()
                .map_err(|found| fault(action, found.reason))?;
            if of_day[..place].contains(action) {
                let reason = "it is there twice; name each action once";
                return Err(fault(action, reason));
            }
        }
        let payout = Payout::of_day(of_day.iter().copied());
        days.push(CorporateAction {
            cash_per_share: payout.cash,
            bonus_per_share: payout.bonus,
            ..of_day[0].clone()
        });
    }
    Ok(days)
}

impl Instrument {
    /// Keeps the bars as traded and adjusts those of the signals. The actions are ordered by date.
    fn pay_out(&mut self, actions: &[CorporateAction]) -> Result<(), DatasetError> {
        let raw = Arc::clone(&self.bars);
        for action in actions {
            let bar = raw
                .time()
                .partition_point(|&time| time < midnight(action.ex_date));
            if bar == 0 || bar == raw.rows() {
                continue;
            }
            let payout = Payout {
                cash: action.cash_per_share,
                bonus: action.bonus_per_share,
            };
            self.payouts.push((bar, payout));
            if !self
                .reference(&raw, bar)
                .is_some_and(|reference| reference > 0.0)
            {
                let reason = "it gives more cash than the share was worth; correct the table, or \
                              import prices as traded";
                return Err(fault(action, reason));
            }
        }
        let (mut factor, mut shares) = (1.0, 1.0);
        let mut next = self.payouts.iter().peekable();
        let mut columns = Columns::default();
        for bar in 0..raw.rows() {
            let mut paid = false;
            while let Some((_, payout)) = next.next_if(|(of, _)| *of == bar) {
                shares *= 1.0 + payout.bonus;
                paid = true;
            }
            if paid && let Some(reference) = self.reference(&raw, bar) {
                factor *= raw.close()[bar - 1] / reference;
            }
            columns.time.push(raw.time()[bar]);
            columns.open.push(raw.open()[bar] * factor);
            columns.high.push(raw.high()[bar] * factor);
            columns.low.push(raw.low()[bar] * factor);
            columns.close.push(raw.close()[bar] * factor);
            columns.volume.push(raw.volume()[bar] / shares);
        }
        let last = &actions[actions.len() - 1];
        let adjusted = BarSeries::new(raw.symbol(), raw.frequency(), columns);
        self.bars = Arc::new(adjusted.map_err(|_| DatasetError::Action {
            symbol: last.symbol.clone(),
            ex_date: last.ex_date,
            reason: "with all actions up to it, adjusted prices are beyond those of a bar series; \
                     correct the table",
        })?);
        self.close_sums = Arc::new(WindowSums::new(self.bars.close()));
        self.raw = Some(raw);
        Ok(())
    }
}
