//! Orders dealt by the rules of a market: sales that are blocked wait, purchases that are blocked
//! expire, and every obstacle is counted.

use super::book::{Book, Layout, Opening, Order, Prices, Span, Wish, index};
use super::report::{Held, Side, Trade};
use super::venue::{Judged, Venue};
use crate::config::BacktestConfig;
use crate::dataset::Dataset;
use crate::market::{Blocked, Deal, Execution, Payout, in_fen};
use std::collections::BTreeMap;

/// What a book under rules knows besides what it holds.
pub(super) struct Rules<'a> {
    venue: Venue<'a>,
    /// As [`Dataset::payouts`].
    payouts: &'a [(u32, usize, Payout)],
    /// Holdings that are to be sold, with what their sale has met so far.
    waiting: BTreeMap<usize, Met>,
    /// The row since which each holding has had the shares it has.
    since: Vec<u32>,
    /// Holdings as they were until their shares changed.
    spans: Vec<Span>,
    execution: Execution,
}

/// By how much of a share bonus shares may fall short of a whole one by rounding: 1,000 shares and
/// a bonus of 0.3 are 1,300.
const ROUNDING: f64 = 1e-6;

/// An obstacle.
#[derive(Clone, Copy)]
enum Obstacle {
    LimitUp,
    LimitDown,
    Suspended,
    CashBelowLot,
    VolumeCap,
    OtherLeg,
}

impl Obstacle {
    fn count(self, blocked: &mut Blocked) {
        *match self {
            Self::LimitUp => &mut blocked.limit_up,
            Self::LimitDown => &mut blocked.limit_down,
            Self::Suspended => &mut blocked.suspended,
            Self::CashBelowLot => &mut blocked.cash_below_lot,
            Self::VolumeCap => &mut blocked.volume_cap,
            Self::OtherLeg => &mut blocked.other_leg,
        } += 1;
    }
}

/// The obstacles that a sale has met, each counted once.
#[derive(Clone, Copy, Default)]
struct Met {
    limit_down: bool,
    suspended: bool,
    volume_cap: bool,
}

impl Met {
    fn note(&mut self, obstacle: Obstacle, blocked: &mut Blocked) {
        let met = match obstacle {
            Obstacle::LimitDown => &mut self.limit_down,
            Obstacle::Suspended => &mut self.suspended,
            _ => &mut self.volume_cap,
        };
        if !std::mem::replace(met, true) {
            obstacle.count(blocked);
        }
    }
}

impl<'a> Rules<'a> {
    pub(super) fn of(data: &'a Dataset, layout: &Layout, config: &BacktestConfig) -> Option<Self> {
        config.market.has_rules().then(|| Self {
            venue: Venue::new(data, config),
            payouts: &data.payouts,
            waiting: BTreeMap::new(),
            since: vec![0; layout.symbols.len()],
            spans: Vec::new(),
            execution: Execution::default(),
        })
    }

    pub(super) fn into_execution(self) -> Execution {
        Execution {
            waiting: self.waiting.len(),
            ..self.execution
        }
    }

    fn payouts_on(&self, row: u32) -> &'a [(u32, usize, Payout)] {
        let rest = &self.payouts[self.payouts.partition_point(|(of, ..)| *of < row)..];
        &rest[..rest.partition_point(|(of, ..)| *of == row)]
    }

    /// The shares of a holding change on this row.
    fn end_span(&mut self, holding: usize, shares: f64, row: u32) {
        let from = std::mem::replace(&mut self.since[holding], row);
        // What changes twice on one row was never held at its close.
        if from < row {
            self.spans.push(Span {
                holding,
                shares,
                from: from as usize,
                to: row as usize,
            });
        }
    }

    /// A holding is to be sold; `late` if the day for it has passed.
    fn want_sold(&mut self, holding: usize, late: bool) {
        let execution = &mut self.execution;
        let met = self.waiting.entry(holding).or_insert_with(|| {
            execution.orders += 1;
            Met::default()
        });
        if late {
            met.note(Obstacle::Suspended, &mut execution.blocked);
        }
    }

    fn expire(&mut self, obstacle: Obstacle) {
        self.execution.expired += 1;
        obstacle.count(&mut self.execution.blocked);
    }

    fn count_deal(&mut self, judged: Judged) {
        self.execution.limit_unknown += usize::from(judged == Judged::Unknown);
    }
}

impl Book<'_> {
    /// Whether a row must be visited though no order is due on it: a sale waits, or a share gives
    /// something.
    pub(super) fn must_visit(&self, row: u32) -> bool {
        let rules = self.rules.as_ref();
        rules.is_some_and(|rules| !rules.waiting.is_empty() || !rules.payouts_on(row).is_empty())
    }

    /// Whether no row need be visited until an order is due.
    pub(super) fn is_quiet(&self) -> bool {
        let rules = self.rules.as_ref();
        rules.is_none_or(|rules| rules.waiting.is_empty() && rules.payouts.is_empty())
    }

    /// Under rules, what each holding was from row to row, by holding and time.
    pub(super) fn spans_by_rules(&self, rows: usize) -> Option<Vec<Span>> {
        let rules = self.rules.as_ref()?;
        let mut spans = rules.spans.clone();
        let held = self.shares.iter().zip(&rules.since).enumerate();
        let open = held.filter(|(_, (shares, _))| **shares != 0.0);
        spans.extend(open.map(|(holding, (&shares, &since))| Span {
            holding,
            shares,
            from: since as usize,
            to: rows,
        }));
        // Stable, and each holding's spans were noted in the order of time.
        spans.sort_by_key(|span| span.holding);
        Some(spans)
    }

    /// The same for a report; empty without rules.
    pub(super) fn held_by_rules(&self, rows: usize) -> Vec<Held> {
        let spans = self.spans_by_rules(rows).unwrap_or_default();
        let held = spans.iter().map(|span| Held {
            symbol: index(self.layout.symbols[span.holding]),
            shares: span.shares,
            from_row: index(span.from),
            to_row: index(span.to),
        });
        held.collect()
    }

    /// Pays what the shares held give on this row.
    fn receive(&mut self, rules: &mut Rules<'_>, row: u32) {
        for &(_, symbol, payout) in rules.payouts_on(row) {
            for holding in 0..self.shares.len() {
                let held = self.shares[holding];
                if self.layout.symbols[holding] != symbol || held == 0.0 {
                    continue;
                }
                let cash = in_fen(held * payout.cash);
                self.cash += cash;
                self.openings[holding].dividends += cash;
                let shares = (held * (1.0 + payout.bonus) + ROUNDING).floor();
                if shares != held {
                    rules.end_span(holding, held, row);
                    self.shares[holding] = shares;
                }
            }
        }
    }

    /// Carries out the orders of one row, which are in the order of their slots, and the sales that
    /// wait: first all sales, in the order of the holdings, then the purchases.
    pub(super) fn carry_out_by<'o>(
        &mut self,
        rules: &mut Rules<'_>,
        orders: impl Iterator<Item = &'o Order> + Clone,
        row: u32,
        prices: Prices<'_>,
    ) {
        self.receive(rules, row);
        let mut entries = false;
        for order in orders.clone() {
            match order.wish {
                Wish::Out => {
                    let slot = order.slot * self.layout.legs;
                    for holding in slot..slot + self.layout.legs {
                        if self.shares[holding] > 0.0 {
                            rules.want_sold(holding, order.late);
                        }
                    }
                }
                Wish::In {
                    long,
                    hedge_ratio,
                    admitted,
                } => {
                    entries = true;
                    if self.holds_opposite(order.slot, long) {
                        let other = self.holding(order.slot, long.other());
                        rules.want_sold(other, order.late);
                    } else if admitted && self.is_hedged(hedge_ratio) {
                        // Wanted again before it was sold: it is kept.
                        let holding = self.holding(order.slot, long);
                        let was_waiting = rules.waiting.remove(&holding).is_some();
                        rules.execution.cancelled += usize::from(was_waiting);
                    }
                }
            }
        }
        self.sell_waiting(rules, row, prices);
        if !entries {
            return;
        }
        let equity = self.cash + self.net(prices);
        for order in orders {
            let Some((long, _)) = self.entry(order) else {
                continue;
            };
            let holding = self.holding(order.slot, long);
            rules.execution.orders += 1;
            if order.late {
                rules.expire(Obstacle::Suspended);
            } else if self.holds_opposite(order.slot, long) {
                rules.expire(Obstacle::OtherLeg);
            } else {
                let budget = self.budget(equity, prices);
                match self.purchase(rules, holding, budget, row, prices) {
                    Ok(()) => rules.execution.filled += 1,
                    Err(obstacle) => rules.expire(obstacle),
                }
            }
        }
    }

    fn purchase(
        &mut self,
        rules: &mut Rules<'_>,
        holding: usize,
        budget: f64,
        row: u32,
        prices: Prices<'_>,
    ) -> Result<(), Obstacle> {
        let symbol = self.layout.symbols[holding];
        let price = prices[symbol];
        let Some(stall) = rules.venue.stall(symbol, row) else {
            return Err(Obstacle::Suspended);
        };
        if stall.is_limit_up(price) {
            return Err(Obstacle::LimitUp);
        }
        let dealt_at = price * (1.0 + self.slippage_rate);
        let wanted = stall.affordable(budget, dealt_at);
        if wanted == 0.0 {
            return Err(Obstacle::CashBelowLot);
        }
        let shares = stall.within_volume(wanted);
        if shares == 0.0 {
            return Err(Obstacle::VolumeCap);
        }
        if shares < wanted {
            Obstacle::VolumeCap.count(&mut rules.execution.blocked);
        }
        let value = shares * dealt_at;
        let fees = stall.fees(Deal::Purchase, value);
        let cash = value + fees;
        self.cash -= cash;
        let opening = Opening {
            row,
            price,
            cash,
            dividends: 0.0,
        };
        self.open(holding, shares, opening);
        rules.since[holding] = row;
        rules.count_deal(stall.judged);
        self.count_deal(value, fees, shares * (dealt_at - price));
        Ok(())
    }

    /// Sells of each holding that waits what the row allows.
    fn sell_waiting(&mut self, rules: &mut Rules<'_>, row: u32, prices: Prices<'_>) {
        let mut waiting = std::mem::take(&mut rules.waiting);
        waiting.retain(|&holding, met| {
            let obstacle = self.sale(rules, holding, row, prices);
            if let Some(obstacle) = obstacle {
                met.note(obstacle, &mut rules.execution.blocked);
            } else {
                rules.execution.filled += 1;
            }
            obstacle.is_some()
        });
        rules.waiting = waiting;
    }

    /// Sells what the row allows of a holding; none if that was all of it.
    fn sale(
        &mut self,
        rules: &mut Rules<'_>,
        holding: usize,
        row: u32,
        prices: Prices<'_>,
    ) -> Option<Obstacle> {
        let symbol = self.layout.symbols[holding];
        let price = prices[symbol];
        let Some(stall) = rules.venue.stall(symbol, row) else {
            return Some(Obstacle::Suspended);
        };
        if stall.is_limit_down(price) {
            return Some(Obstacle::LimitDown);
        }
        let held = self.shares[holding];
        let shares = stall.sellable(held);
        if shares == 0.0 {
            return Some(Obstacle::VolumeCap);
        }
        let opening = self.openings[holding];
        debug_assert!(
            opening.row < row,
            "T+1: an entry and an exit never share a row"
        );
        let dealt_at = price * (1.0 - self.slippage_rate);
        let value = shares * dealt_at;
        // What is sold for less than the least commission brings nothing, and costs nothing beyond.
        let fees = stall.fees(Deal::Sale, value).min(value);
        let received = value - fees;
        let part = |whole: f64| {
            if shares == held {
                whole
            } else {
                whole * shares / held
            }
        };
        let (paid, dividends) = (part(opening.cash), part(opening.dividends));
        self.cash += received;
        self.shares[holding] = held - shares;
        self.openings[holding].cash = opening.cash - paid;
        self.openings[holding].dividends = opening.dividends - dividends;
        rules.end_span(holding, held, row);
        rules.count_deal(stall.judged);
        self.trades.push(Trade {
            symbol: index(symbol),
            pair: self.pair_of(holding),
            side: Side::Long,
            entry_row: opening.row,
            exit_row: row,
            shares,
            entry_price: opening.price,
            exit_price: price,
            paid,
            received: received + dividends,
        });
        self.trade_holdings.push(holding);
        self.count_deal(value, fees, shares * (price - dealt_at));
        (shares < held).then_some(Obstacle::VolumeCap)
    }

    fn count_deal(&mut self, value: f64, fees: f64, slippage: f64) {
        self.traded_value += value;
        self.commission += fees;
        self.slippage += slippage;
    }
}
