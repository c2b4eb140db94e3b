//! The book: cash, positions, and what happens when an order is due.

use super::by_rules::Rules;
use super::report::{OpenPosition, PairLegs, Report, Ruin, Side, Trade};
use crate::config::{BacktestConfig, Position};
use crate::dataset::Dataset;
use crate::strategy::Leg;
use crate::sum::sum_of_two;
use std::sync::Arc;

/// What a book can hold. A slot is what an order is for: a symbol, or a pair with its two legs;
/// slot `s` has the holdings `s * legs ..`. Two slots may hold the same symbol without mixing.
pub(super) struct Layout {
    /// The symbol of each holding.
    pub(super) symbols: Vec<usize>,
    /// Holdings of a slot: 1, or 2 (first `y`, then `x`).
    pub(super) legs: usize,
    /// Whether the other leg of a pair is sold short.
    pub(super) short: bool,
}

impl Layout {
    pub(super) fn of_symbols(data: &Dataset) -> Self {
        Self {
            symbols: (0..data.symbols().len()).collect(),
            legs: 1,
            short: false,
        }
    }

    /// Each leg of each pair by itself.
    pub(super) fn of_legs(data: &Dataset) -> Self {
        Self {
            legs: 1,
            ..Self::of_pairs(data, false)
        }
    }

    pub(super) fn of_pairs(data: &Dataset, short: bool) -> Self {
        Self {
            symbols: data.pairs().flat_map(|(y, x)| [y, x]).collect(),
            legs: 2,
            short,
        }
    }

    pub(super) fn slots(&self) -> usize {
        self.symbols.len() / self.legs
    }
}

/// A budget of at most this share of the equity is what rounding left over, not cash: it would be
/// counted as a trade whose costs and profit nobody can see.
const DUST: f64 = 1e-9;

/// What an order is for.
#[derive(Clone, Copy)]
pub(super) enum Wish {
    /// To hold nothing.
    Out,
    /// To be long of a leg (of the symbol itself if there is one leg only).
    In {
        long: Leg,
        hedge_ratio: f64,
        admitted: bool,
    },
}

#[derive(Clone, Copy)]
pub(super) struct Order {
    pub(super) slot: usize,
    pub(super) wish: Wish,
    /// Whether it was given for a day before the row, on which no symbol of the data traded. Only
    /// under the rules of a market.
    pub(super) late: bool,
}

/// Shares held from the close of row `from` to that of the row before `to`.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) holding: usize,
    pub(super) shares: f64,
    pub(super) from: usize,
    pub(super) to: usize,
}

/// The opening of a position.
#[derive(Clone, Copy, Default)]
pub(super) struct Opening {
    pub(super) row: u32,
    pub(super) price: f64,
    /// Paid if long, received if short; of what is still held.
    pub(super) cash: f64,
    /// Received since from what is still held.
    pub(super) dividends: f64,
}

/// Prices of one calendar row, one for each symbol.
pub(super) type Prices<'a> = &'a [f64];

pub(super) struct Book<'a> {
    pub(super) layout: &'a Layout,
    position: Position,
    pub(super) cash: f64,
    /// Shares of each holding: 0 while there is none, below 0 if short.
    pub(super) shares: Vec<f64>,
    pub(super) openings: Vec<Opening>,
    commission_rate: f64,
    pub(super) slippage_rate: f64,
    pub(super) trades: Vec<Trade>,
    /// The holding of each trade.
    pub(super) trade_holdings: Vec<usize>,
    entries: usize,
    entries_without_cash: usize,
    pub(super) entries_not_admitted: usize,
    pub(super) entries_not_hedged: usize,
    pub(super) traded_value: f64,
    pub(super) commission: f64,
    pub(super) slippage: f64,
    /// None under `plain`.
    pub(super) rules: Option<Rules<'a>>,
}

impl<'a> Book<'a> {
    pub(super) fn new(layout: &'a Layout, data: &'a Dataset, config: &BacktestConfig) -> Self {
        Self {
            layout,
            position: config.position,
            cash: config.initial_cash,
            shares: vec![0.0; layout.symbols.len()],
            openings: vec![Opening::default(); layout.symbols.len()],
            commission_rate: config.commission_rate,
            slippage_rate: config.slippage_rate,
            trades: Vec::new(),
            trade_holdings: Vec::new(),
            entries: 0,
            entries_without_cash: 0,
            entries_not_admitted: 0,
            entries_not_hedged: 0,
            traded_value: 0.0,
            commission: 0.0,
            slippage: 0.0,
            rules: Rules::of(data, layout, config),
        }
    }

    /// Carries out the orders of one row, which are in the order of their slots: first whatever
    /// closes a position, then whatever opens one.
    pub(super) fn carry_out<'o>(
        &mut self,
        orders: impl Iterator<Item = &'o Order> + Clone,
        row: u32,
        prices: Prices<'_>,
    ) {
        if let Some(mut rules) = self.rules.take() {
            self.carry_out_by(&mut rules, orders, row, prices);
            self.rules = Some(rules);
            return;
        }
        let mut entries = false;
        for order in orders.clone() {
            match order.wish {
                Wish::Out => self.close_slot(order.slot, row, prices),
                Wish::In { long, .. } => {
                    entries = true;
                    if self.holds_opposite(order.slot, long) {
                        self.close_slot(order.slot, row, prices);
                    }
                }
            }
        }
        if !entries {
            return;
        }
        let equity = self.cash + self.net(prices);
        for order in orders {
            if let Some((long, hedge_ratio)) = self.entry(order) {
                let holding = self.holding(order.slot, long);
                let budget = self.budget(equity, prices);
                if budget <= DUST * equity.max(0.0) {
                    self.entries_without_cash += 1;
                } else if self.layout.short {
                    self.open_both(order.slot, long, hedge_ratio, budget, row, prices);
                } else {
                    self.buy(holding, budget, row, prices);
                }
            }
        }
    }

    /// Whether an entry may be done by its hedge ratio: always, if there is one leg only.
    pub(super) fn is_hedged(&self, hedge_ratio: f64) -> bool {
        // Legs that move against each other leave no dear one to exchange for a cheap one.
        self.layout.legs == 1 || (hedge_ratio > 0.0 && hedge_ratio.is_finite())
    }

    /// The leg that an order enters and its hedge ratio, unless the leg is held. What the rule does not
    /// admit, or what has no hedge, is counted and not entered.
    pub(super) fn entry(&mut self, order: &Order) -> Option<(Leg, f64)> {
        let Wish::In {
            long,
            hedge_ratio,
            admitted,
        } = order.wish
        else {
            return None;
        };
        if self.shares[self.holding(order.slot, long)] > 0.0 {
            return None;
        }
        if !admitted {
            self.entries_not_admitted += 1;
            return None;
        }
        if !self.is_hedged(hedge_ratio) {
            self.entries_not_hedged += 1;
            return None;
        }
        Some((long, hedge_ratio))
    }

    /// What one entry may spend.
    pub(super) fn budget(&self, equity: f64, prices: Prices<'_>) -> f64 {
        let free = if self.layout.short {
            self.cash + self.net(prices) - self.gross(prices)
        } else {
            self.cash
        };
        match self.position {
            Position::EqualWeight => free.min(equity / self.layout.slots() as f64),
            Position::AllIn if self.shares.iter().any(|shares| *shares != 0.0) => 0.0,
            Position::AllIn => free,
            Position::FixedFraction { fraction } => free.min(fraction * equity),
        }
    }

    pub(super) fn holding(&self, slot: usize, leg: Leg) -> usize {
        match leg {
            Leg::Y => slot * self.layout.legs,
            Leg::X => slot * self.layout.legs + 1,
        }
    }

    pub(super) fn holds_opposite(&self, slot: usize, long: Leg) -> bool {
        self.layout.legs == 2 && {
            let other = self.holding(slot, long.other());
            self.shares[other] > 0.0
        }
    }

    /// What the positions add to the equity at these prices, added up in their order.
    pub(super) fn net(&self, prices: Prices<'_>) -> f64 {
        let values = self.shares.iter().zip(&self.layout.symbols);
        values
            .map(|(shares, &symbol)| shares * prices[symbol])
            .sum()
    }

    /// The value of the positions, short ones with their magnitude.
    pub(super) fn gross(&self, prices: Prices<'_>) -> f64 {
        let values = self.shares.iter().zip(&self.layout.symbols);
        values
            .map(|(shares, &symbol)| (shares * prices[symbol]).abs())
            .sum()
    }

    /// Closes everything.
    pub(super) fn close_all(&mut self, row: u32, prices: Prices<'_>) {
        for slot in 0..self.layout.slots() {
            self.close_slot(slot, row, prices);
        }
    }

    fn close_slot(&mut self, slot: usize, row: u32, prices: Prices<'_>) {
        for holding in slot * self.layout.legs..(slot + 1) * self.layout.legs {
            self.close(holding, row, prices);
        }
    }

    /// The long leg gets its part of the budget, costs included; the short one is worth the rest.
    fn open_both(
        &mut self,
        slot: usize,
        long: Leg,
        hedge_ratio: f64,
        budget: f64,
        row: u32,
        prices: Prices<'_>,
    ) {
        let y_part = budget / (1.0 + hedge_ratio);
        let x_part = budget - y_part;
        let (y, x) = (self.holding(slot, Leg::Y), self.holding(slot, Leg::X));
        match long {
            Leg::Y => {
                self.buy(y, y_part, row, prices);
                self.sell_short(x, x_part, row, prices);
            }
            Leg::X => {
                self.sell_short(y, y_part, row, prices);
                self.buy(x, x_part, row, prices);
            }
        }
    }

    fn buy(&mut self, holding: usize, paid: f64, row: u32, prices: Prices<'_>) {
        let price = prices[self.layout.symbols[holding]];
        let dealt_at = price * (1.0 + self.slippage_rate);
        let shares = paid / (dealt_at * (1.0 + self.commission_rate));
        self.cash -= paid;
        self.open(
            holding,
            shares,
            Opening {
                row,
                price,
                cash: paid,
                dividends: 0.0,
            },
        );
        self.count_costs(shares, price, dealt_at);
    }

    fn sell_short(&mut self, holding: usize, value: f64, row: u32, prices: Prices<'_>) {
        let price = prices[self.layout.symbols[holding]];
        let shares = value / price;
        let dealt_at = price * (1.0 - self.slippage_rate);
        let received = shares * dealt_at * (1.0 - self.commission_rate);
        self.cash += received;
        self.open(
            holding,
            -shares,
            Opening {
                row,
                price,
                cash: received,
                dividends: 0.0,
            },
        );
        self.count_costs(shares, price, dealt_at);
    }

    pub(super) fn open(&mut self, holding: usize, shares: f64, opening: Opening) {
        self.shares[holding] = shares;
        self.openings[holding] = opening;
        self.entries += 1;
    }

    fn close(&mut self, holding: usize, row: u32, prices: Prices<'_>) {
        let held = std::mem::take(&mut self.shares[holding]);
        if held == 0.0 {
            return;
        }
        let symbol = self.layout.symbols[holding];
        let price = prices[symbol];
        let opening = self.openings[holding];
        let shares = held.abs();
        let (side, dealt_at, paid, received);
        if held > 0.0 {
            side = Side::Long;
            dealt_at = price * (1.0 - self.slippage_rate);
            paid = opening.cash;
            received = shares * dealt_at * (1.0 - self.commission_rate);
            self.cash += received;
        } else {
            side = Side::Short;
            dealt_at = price * (1.0 + self.slippage_rate);
            paid = shares * dealt_at * (1.0 + self.commission_rate);
            received = opening.cash;
            self.cash -= paid;
        }
        self.trades.push(Trade {
            symbol: index(symbol),
            pair: self.pair_of(holding),
            side,
            entry_row: opening.row,
            exit_row: row,
            shares,
            entry_price: opening.price,
            exit_price: price,
            paid,
            received,
        });
        self.trade_holdings.push(holding);
        self.count_costs(shares, price, dealt_at);
    }

    fn count_costs(&mut self, shares: f64, price: f64, dealt_at: f64) {
        let value = shares * dealt_at;
        self.traded_value += value;
        self.commission += value * self.commission_rate;
        self.slippage += shares * (dealt_at - price).abs();
    }

    pub(super) fn pair_of(&self, holding: usize) -> Option<u32> {
        (self.layout.legs == 2).then(|| index(holding / 2))
    }

    /// Holdings that are open: which, shares below 0 if short, and the row of the opening.
    pub(super) fn open_holdings(&self) -> impl Iterator<Item = (usize, f64, u32)> {
        let holdings = self.shares.iter().zip(&self.openings).enumerate();
        holdings
            .filter(|(_, (shares, _))| **shares != 0.0)
            .map(|(holding, (&shares, opening))| (holding, shares, opening.row))
    }

    /// The report of a run that has ended. `gross` is the value of the positions at each close.
    pub(super) fn into_report(
        self,
        data: &Dataset,
        config: &BacktestConfig,
        equity: Vec<f64>,
        gross: &[f64],
        signals: (usize, usize),
        ruin: Option<Ruin>,
    ) -> Report {
        let width = data.symbols().len();
        let last = &data.close_at[(data.rows() - 1) * width..];
        let open_positions = self
            .open_holdings()
            .map(|(holding, shares, entry_row)| {
                let symbol = self.layout.symbols[holding];
                OpenPosition {
                    symbol: index(symbol),
                    pair: self.pair_of(holding),
                    side: if shares > 0.0 {
                        Side::Long
                    } else {
                        Side::Short
                    },
                    entry_row,
                    shares: shares.abs(),
                    entry_price: self.openings[holding].price,
                    cash: self.openings[holding].cash - self.openings[holding].dividends,
                    value: shares * last[symbol],
                }
            })
            .collect();
        let pairs = if self.layout.legs == 2 {
            let legs = |(y, x)| PairLegs {
                y: index(y),
                x: index(x),
            };
            data.pairs().map(legs).collect()
        } else {
            Vec::new()
        };
        let held = self.held_by_rules(data.rows());
        // A lost book holds nothing and is worth nothing from then on.
        let share = |gross: f64, equity: f64| if equity > 0.0 { gross / equity } else { 0.0 };
        Report {
            time: Arc::clone(data.calendar()),
            symbols: Arc::clone(data.symbols()),
            pairs,
            exposure: sum_of_two(gross, &equity, share) / equity.len() as f64,
            equity,
            benchmark: None,
            held,
            execution: self.rules.map(Rules::into_execution),
            exits: self.trades.len(),
            trades: self.trades,
            legs_per_trip: if self.layout.short { 2 } else { 1 },
            open_positions,
            cash: self.cash,
            entry_signals: signals.0,
            exit_signals: signals.1,
            entries: self.entries,
            entries_without_cash: self.entries_without_cash,
            entries_not_admitted: self.entries_not_admitted,
            entries_not_hedged: self.entries_not_hedged,
            traded_value: self.traded_value,
            commission: self.commission,
            slippage: self.slippage,
            ruin,
            initial_cash: config.initial_cash,
            risk_free_rate: config.risk_free_rate,
            periods_per_year: config.periods_per_year,
            looks_ahead: config.fill.looks_ahead(),
        }
    }
}

pub(super) fn index(number: usize) -> u32 {
    u32::try_from(number).expect("there are fewer than 2^32 symbols and pairs")
}
