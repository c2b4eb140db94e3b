//! A table of fundamentals: `symbol, announced` and figures per share, which may be empty.

use super::Part;
use super::cells::Cells;
use crate::report::{Code, Findings};
use chrono::NaiveDate;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use trialmill_backtest::market::{Fundamentals, FundamentalsFault, RecordChange};

const FIGURES: [&str; 5] = Fundamentals::FIGURES;

/// The columns besides `symbol`.
pub(super) const COLUMNS: [&str; 6] = [
    "announced",
    FIGURES[0],
    FIGURES[1],
    FIGURES[2],
    FIGURES[3],
    FIGURES[4],
];

/// The reports of each symbol by day, with their rows in the file.
#[derive(Default)]
pub(super) struct Reports(BTreeMap<String, BTreeMap<NaiveDate, (u64, Fundamentals)>>);

impl Part for Reports {
    fn add(&mut self, symbol: &str, cells: &mut Cells<'_>) {
        let announced = cells.day(0);
        let figures = [1, 2, 3, 4, 5].map(|column| cells.maybe_number(column));
        let (Ok(announced), [Ok(a), Ok(b), Ok(c), Ok(d), Ok(e)]) = (announced, figures) else {
            return;
        };
        let report = Fundamentals::new(symbol, announced, [a, b, c, d, e]);
        if let Err(FundamentalsFault { field, reason }) = report.check() {
            return cells.refuse(
                Code::NotAReport,
                field,
                &format!("announced {announced}"),
                reason,
            );
        }
        let of_symbol = self.0.entry(symbol.to_owned()).or_default();
        match of_symbol.entry(announced) {
            Entry::Vacant(place) => {
                place.insert((cells.row, report));
            }
            Entry::Occupied(place) => {
                let value = format!("{announced} is also in row {}", place.get().0);
                let reason = "a symbol has one report a day; put the figures into one row";
                cells.refuse(Code::DuplicateReport, "announced", &value, reason);
            }
        }
    }

    fn finish(self: Box<Self>, _: &mut Findings) -> Vec<RecordChange> {
        let of_symbol = |(symbol, reports): (String, BTreeMap<_, (u64, Fundamentals)>)| {
            let reports = reports.into_values().map(|(_, report)| report);
            RecordChange {
                symbol,
                fundamentals: Some(reports.collect()),
                ..RecordChange::default()
            }
        };
        self.0.into_iter().map(of_symbol).collect()
    }
}
