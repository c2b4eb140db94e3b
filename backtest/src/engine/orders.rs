//! From signals to orders: which row fills what.

use super::book::{Layout, Order, Wish};
use super::{RunError, Trading};
use crate::config::Fill;
use crate::dataset::Dataset;
use crate::strategy::{Leg, PairSignal, Signal};

/// The orders of a run, each with the calendar row on which it is due: slot by slot, rows ascending.
pub(super) struct Orders {
    pub(super) given: Vec<(u32, Order)>,
    /// Entry and exit signals inside the period.
    pub(super) signals: (usize, usize),
}

impl Orders {
    /// Asks the rule for its signals, one slot after the other. Signals of warm-up rows are not
    /// traded; a signal without a row to fill it is only counted.
    pub(super) fn of(
        data: &Dataset,
        trading: &Trading<'_>,
        layout: &Layout,
        fill: Fill,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self, RunError> {
        let delay = match fill {
            Fill::Close => 0,
            Fill::NextOpen | Fill::NextClose => 1,
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
                    let due = instrument.calendar_row.get(delay..).unwrap_or(&[]);
                    orders.add(slot, signals[warm_up..].iter().map(wish), due);
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
                    let due = pair.calendar_row.get(delay..).unwrap_or(&[]);
                    orders.add(slot, signals[warm_up..].iter().map(wish), due);
                }
            }
        }
        Ok(orders)
    }

    /// `due` is the row on which a signal of each row is filled, as far as there is one.
    fn add(&mut self, slot: usize, wishes: impl Iterator<Item = Option<Wish>>, due: &[u32]) {
        for (row, wish) in wishes.enumerate() {
            let Some(wish) = wish else { continue };
            match wish {
                Wish::In { .. } => self.signals.0 += 1,
                Wish::Out => self.signals.1 += 1,
            }
            if let Some(&due) = due.get(row) {
                self.given.push((due, Order { slot, wish }));
            }
        }
    }
}
