//! The engine that trials run: the same book as the reference, visited only on rows with orders;
//! what lies between them is valued column by column. The same bits as [`super::reference`].
//!
//! Why the bits are the same: fills go through the same code with the same prices; the value of a
//! row is the cash plus one product for each holding added in their order, and a holding without
//! shares, which is left out here, adds a zero there.

use super::book::{Book, Layout, Span};
use super::orders::Orders;
use super::report::Report;
use super::{RunError, Trading, reference};
use crate::config::{BacktestConfig, Fill};
use crate::dataset::Dataset;
use std::ops::Range;

/// `stop` is asked before each slot's signals and before each row on which something is due: orders,
/// sales that wait, dividends and bonus shares.
pub(super) fn trade(
    data: &Dataset,
    trading: &Trading<'_>,
    layout: &Layout,
    config: &BacktestConfig,
    stop: &dyn Fn() -> bool,
) -> Result<Report, RunError> {
    let mut orders = Orders::of(data, trading, layout, config, stop)?;
    if layout.slots() > 1 {
        // Stable, so that the orders of a row stay in the order of their slots.
        orders.given.sort_by_key(|(row, _)| *row);
    }
    let fill_prices = match config.fill {
        Fill::NextOpen => &data.open_at,
        Fill::NextClose | Fill::Close => &data.close_at,
    };
    let width = data.symbols().len();
    let rows = data.rows();
    let mut book = Book::new(layout, data, config);
    let mut equity = Vec::with_capacity(rows);
    let cells = |row: u32| row as usize * width..(row as usize + 1) * width;
    // Rows on which nothing is due but sales that wait, dividends and bonus shares.
    let retry = |book: &mut Book<'_>, equity: &mut Vec<f64>, rows: Range<u32>| {
        for row in rows {
            if !book.must_visit(row) {
                if book.is_quiet() {
                    break;
                }
                continue;
            }
            if stop() {
                return Err(RunError::Stopped);
            }
            equity.resize(row as usize, book.cash);
            book.carry_out([].iter(), row, &fill_prices[cells(row)]);
        }
        Ok(())
    };
    let mut next = 0;
    for due in orders.given.chunk_by(|(a, _), (b, _)| a == b) {
        if stop() {
            return Err(RunError::Stopped);
        }
        let row = due[0].0;
        retry(&mut book, &mut equity, next..row)?;
        // Cash stays as it was up to this row; the positions are added below.
        equity.resize(row as usize, book.cash);
        let orders = due.iter().map(|(_, order)| order);
        book.carry_out(orders, row, &fill_prices[cells(row)]);
        next = row + 1;
    }
    let end = u32::try_from(rows).expect("a calendar is shorter than 2^32");
    retry(&mut book, &mut equity, next..end)?;
    equity.resize(rows, book.cash);
    let mut net = vec![0.0; rows];
    let mut gross = vec![0.0; if layout.short { rows } else { 0 }];
    for span in spans(&book, layout, rows) {
        let closes = &data.closes(layout.symbols[span.holding])[span.from..span.to];
        for (net, close) in net[span.from..span.to].iter_mut().zip(closes) {
            *net += span.shares * close;
        }
        if layout.short {
            for (gross, close) in gross[span.from..span.to].iter_mut().zip(closes) {
                *gross += (span.shares * close).abs();
            }
        }
    }
    for (equity, net) in equity.iter_mut().zip(&net) {
        *equity += net;
    }
    let may_be_lost = layout.short || config.market.has_rules();
    if may_be_lost && equity.iter().any(|value| *value <= 0.0) {
        // A lost book trades no more, which changes every later row.
        return reference::trade(data, trading, layout, config, stop);
    }
    let gross = if layout.short { &gross } else { &net };
    Ok(book.into_report(data, config, equity, gross, orders.signals, None))
}

/// All spans in the order of their holdings.
fn spans(book: &Book<'_>, layout: &Layout, rows: usize) -> Vec<Span> {
    if let Some(spans) = book.spans_by_rules(rows) {
        return spans;
    }
    let closed = book.trades.iter().zip(&book.trade_holdings);
    let closed = closed.map(|(trade, &holding)| Span {
        holding,
        shares: match trade.side {
            super::Side::Long => trade.shares,
            super::Side::Short => -trade.shares,
        },
        from: trade.entry_row as usize,
        to: trade.exit_row as usize,
    });
    let open = book.open_holdings().map(|(holding, shares, row)| Span {
        holding,
        shares,
        from: row as usize,
        to: rows,
    });
    let mut spans: Vec<Span> = closed.chain(open).collect();
    if layout.symbols.len() > 1 {
        spans.sort_by_key(|span| span.holding);
    }
    spans
}
