//! Orders dealt by the rules of a market: sales that are blocked wait, purchases that are blocked
//! expire, and every obstacle is counted.

use super::book::{Book, Layout, Opening, Order, Prices, Span, Wish, index};
use super::report::{Side, Trade};
use super::venue::{Judged, Venue};
use crate::config::BacktestConfig;
use crate::dataset::Dataset;
use crate::market::{Blocked, Deal, Execution};
use std::collections::BTreeMap;

/// What a book under rules knows besides what it holds.
pub(super) struct Rules<'a> {
    venue: Venue<'a>,
    /// Holdings that are to be sold, with what their sale has met so far.
    waiting: BTreeMap<usize, Met>,
    /// The row since which each holding has had the shares it has.
    since: Vec<u32>,
    /// Holdings as they were until their shares changed.
    spans: Vec<Span>,
    execution: Execution,
}

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
    /// Whether a sale waits, so that every row must be visited.
    pub(super) fn waits(&self) -> bool {
        let rules = self.rules.as_ref();
        rules.is_some_and(|rules| !rules.waiting.is_empty())
    }

    /// Under rules, what each holding was from row to row; in no order.
    pub(super) fn spans_by_rules(&mut self, rows: usize) -> Option<Vec<Span>> {
        let rules = self.rules.as_mut()?;
        let mut spans = std::mem::take(&mut rules.spans);
        let held = self.shares.iter().zip(&rules.since).enumerate();
        let open = held.filter(|(_, (shares, _))| **shares != 0.0);
        spans.extend(open.map(|(holding, (&shares, &since))| Span {
            holding,
            shares,
            from: since as usize,
            to: rows,
        }));
        Some(spans)
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
            let Wish::In {
                long,
                hedge_ratio,
                admitted,
            } = order.wish
            else {
                continue;
            };
            let holding = self.holding(order.slot, long);
            if self.shares[holding] > 0.0 {
                continue;
            }
            if !admitted {
                self.entries_not_admitted += 1;
                continue;
            }
            if !self.is_hedged(hedge_ratio) {
                self.entries_not_hedged += 1;
                continue;
            }
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
        self.open(holding, shares, Opening { row, price, cash });
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
        let paid = if shares == held {
            opening.cash
        } else {
            opening.cash * shares / held
        };
        self.cash += received;
        self.shares[holding] = held - shares;
        self.openings[holding].cash = opening.cash - paid;
        rules.spans.push(Span {
            holding,
            shares: held,
            from: rules.since[holding] as usize,
            to: row as usize,
        });
        rules.since[holding] = row;
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
            received,
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
