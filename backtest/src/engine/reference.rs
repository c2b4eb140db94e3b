//! The engine to read: row by row, nothing skipped, nothing kept that the rules do not speak of.
//!
//! The trials of a search run a faster form of it, which tests hold to the same bits.

use super::book::{Book, Layout, Order};
use super::orders::Orders;
use super::report::{Report, Ruin};
use super::{RunError, Trading};
use crate::config::{BacktestConfig, Fill};
use crate::dataset::Dataset;
use crate::strategy::{Params, Strategy};
use std::collections::BTreeMap;

/// Runs a strategy over the data, row by row: the same report as [`run`](super::run), bit for bit.
///
/// `stop` is asked before each symbol's (or pair's) signals and before each calendar row.
///
/// # Errors
/// As [`run`](super::run).
pub fn run(
    data: &Dataset,
    strategy: &dyn Strategy,
    params: &Params,
    config: &BacktestConfig,
    stop: &dyn Fn() -> bool,
) -> Result<Report, RunError> {
    super::checked(data, strategy, params, config, |trading| {
        trade(data, trading, &trading.layout(data, config), config, stop)
    })
}

/// Buys and holds: the same report as [`hold`](super::hold), bit for bit.
///
/// # Errors
/// As [`hold`](super::hold).
pub fn hold(data: &Dataset, config: &BacktestConfig) -> Result<Report, RunError> {
    super::check(data, config)?;
    let hold = super::Hold::under(config.market);
    let config = &super::equal_weight(config);
    let trading = Trading::Symbols(&hold);
    trade(data, &trading, &super::hold_layout(data), config, &|| false)
}

pub(super) fn trade(
    data: &Dataset,
    trading: &Trading<'_>,
    layout: &Layout,
    config: &BacktestConfig,
    stop: &dyn Fn() -> bool,
) -> Result<Report, RunError> {
    let orders = Orders::of(data, trading, layout, config, stop)?;
    let mut due: BTreeMap<u32, Vec<Order>> = BTreeMap::new();
    for (row, order) in orders.given {
        due.entry(row).or_default().push(order);
    }
    let fill_prices = match config.fill {
        Fill::NextOpen => &data.open_at,
        Fill::NextClose | Fill::Close => &data.close_at,
    };
    let width = data.symbols().len();
    let mut book = Book::new(layout, data, config);
    let (mut equity, mut gross) = (Vec::new(), Vec::new());
    let mut ruin: Option<Ruin> = None;
    for (row, number) in (0u32..).zip(0..data.rows()) {
        if stop() {
            return Err(RunError::Stopped);
        }
        if ruin.is_some() {
            equity.push(0.0);
            gross.push(0.0);
            continue;
        }
        let cells = number * width..(number + 1) * width;
        let orders = due.get(&row).map_or(&[][..], Vec::as_slice);
        if !orders.is_empty() || book.must_visit(row) {
            book.carry_out(orders.iter(), row, &fill_prices[cells.clone()]);
        }
        let closes = &data.close_at[cells];
        let value = book.cash + book.net(closes);
        if value > 0.0 {
            equity.push(value);
            gross.push(book.gross(closes));
        } else {
            book.close_all(row, closes);
            // Closing costs, so that what is left is not above 0 either.
            let shortfall = -std::mem::take(&mut book.cash);
            ruin = Some(Ruin { row, shortfall });
            equity.push(0.0);
            gross.push(0.0);
        }
    }
    Ok(book.into_report(data, config, equity, &gross, orders.signals, ruin))
}
