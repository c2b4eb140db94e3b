//! From signals to orders: which row fills what.

use super::book::{Layout, Order, Wish};
use super::{RunError, Trading};
use crate::config::{BacktestConfig, Fill};
use crate::dataset::Dataset;
use crate::strategy::{Leg, PairSignal, Signal};
use std::borrow::Cow;

/// The orders of a run, each with the calendar row on which it is due: slot by slot, rows ascending.
pub(super) struct Orders {
    pub(super) given: Vec<(u32, Order)>,
    /// Entry and exit signals inside the period.
    pub(super) signals: (usize, usize),
}

/// On which row a signal of each row is filled.
struct Schedule<'a> {
    data: &'a Dataset,
    fill: Fill,
    has_rules: bool,
}

impl Schedule<'_> {
    /// The rows due, as far as there are any, for signals of these calendar rows: the next of them,
    /// or, under the rules of a market, the next row of the calendar, whether the symbol trades on it
    /// or not.
    fn due<'r>(&self, rows: &'r [u32]) -> Cow<'r, [u32]> {
        match self.fill {
            Fill::Close => Cow::Borrowed(rows),
            Fill::NextOpen | Fill::NextClose if self.has_rules => {
                let next = rows.iter().map(|row| row + 1);
                next.filter(|&row| (row as usize) < self.data.rows())
                    .collect()
            }
            Fill::NextOpen | Fill::NextClose => Cow::Borrowed(rows.get(1..).unwrap_or(&[])),
        }
    }

    /// Whether the day that an order was given for, under the rules of a market, is none of the
    /// calendar: no symbol of the data traded on it.
    fn is_late(&self, due: u32) -> bool {
        self.has_rules && self.fill != Fill::Close && self.data.idle_before[due as usize]
    }
}

impl Orders {
    /// Asks the rule for its signals, one slot after the other. Signals of warm-up rows are not
    /// traded; a signal without a row to fill it is only counted.
    pub(super) fn of(
        data: &Dataset,
        trading: &Trading<'_>,
        layout: &Layout,
        config: &BacktestConfig,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self, RunError> {
        let schedule = Schedule {
            data,
            fill: config.fill,
            has_rules: config.market.has_rules(),
        };
        let mut orders = Self {
            given: Vec::new(),
            signals: (0, 0),
        };
        match trading {
            Trading::Symbols(rule) => {
                let mut signals = Vec::new();
                for (slot, &symbol) in layout.symbols.iter().enumerate() {
                    if stop() {
                        return Err(RunError::Stopped);
                    }
                    let instrument = &data.instruments[symbol];
                    let (view, warm_up) = instrument.view(rule.warm_up_rows());
                    signals.clear();
                    signals.resize(view.rows(), Signal::None);
                    rule.signals(&view, &mut signals);
                    let wish = |signal: &Signal| match signal {
                        Signal::None => None,
                        Signal::Enter => Some(Wish::In {
                            long: Leg::Y,
                            hedge_ratio: 0.0,
                            admitted: true,
                        }),
                        Signal::Exit => Some(Wish::Out),
                    };
                    let rows = &instrument.calendar_row;
                    orders.add(slot, signals[warm_up..].iter().map(wish), rows, &schedule);
                }
            }
            Trading::Pairs(rule) => {
                let mut signals = Vec::new();
                for (slot, pair) in data.pairs.iter().enumerate() {
                    if stop() {
                        return Err(RunError::Stopped);
                    }
                    let (view, warm_up) = pair.view(rule.warm_up_rows());
                    signals.clear();
                    signals.resize(view.rows(), PairSignal::None);
                    rule.signals(&view, &mut signals);
                    let wish = |signal: &PairSignal| match *signal {
                        PairSignal::None => None,
                        PairSignal::Exit => Some(Wish::Out),
                        PairSignal::Enter {
                            long,
                            hedge_ratio,
                            admitted,
                        } => Some(Wish::In {
                            long,
                            hedge_ratio,
                            admitted,
                        }),
                    };
                    let rows = &pair.calendar_row;
                    orders.add(slot, signals[warm_up..].iter().map(wish), rows, &schedule);
                }
            }
        }
        Ok(orders)
    }

    /// `rows` are the calendar rows of the signals.
    fn add(
        &mut self,
        slot: usize,
        wishes: impl Iterator<Item = Option<Wish>>,
        rows: &[u32],
        schedule: &Schedule<'_>,
    ) {
        let due = schedule.due(rows);
        for (row, wish) in wishes.enumerate() {
            let Some(wish) = wish else { continue };
            match wish {
                Wish::In { .. } => self.signals.0 += 1,
                Wish::Out => self.signals.1 += 1,
            }
            if let Some(&due) = due.get(row) {
                let late = schedule.is_late(due);
                self.given.push((due, Order { slot, wish, late }));
            }
        }
    }
}
