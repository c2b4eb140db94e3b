//! A table of statuses: `symbol, listed, delisted, st_from, st_to`, a row for each time under special
//! treatment; days that are not known are empty.

use super::Part;
use super::cells::Cells;
use crate::report::{Code, Findings, Subject};
use chrono::NaiveDate;
use std::collections::BTreeMap;
use trialmill_backtest::market::{MAX_TREATMENTS, RecordChange, Status, Treatment};

/// What the rows say of each symbol.
#[derive(Default)]
pub(super) struct Statuses(BTreeMap<String, Told>);

#[derive(Default)]
struct Told {
    /// A day and the row that first named it.
    listed: Option<(NaiveDate, u64)>,
    delisted: Option<(NaiveDate, u64)>,
    times: Vec<(Treatment, u64)>,
}

impl Part for Statuses {
    fn add(&mut self, symbol: &str, cells: &mut Cells<'_>) {
        let days = [0, 1, 2, 3].map(|column| cells.maybe_day(column));
        let [Ok(listed), Ok(delisted), Ok(first), Ok(last)] = days else {
            return;
        };
        const REFUSED: Code = Code::ContradictingStatus;
        if [listed, delisted, first, last].iter().all(Option::is_none) {
            let reason = "a row names one day at least";
            return cells.refuse(REFUSED, "listed", "all days are empty", reason);
        }
        let told = self.0.entry(symbol.to_owned()).or_default();
        for (name, day, known) in [
            ("listed", listed, &mut told.listed),
            ("delisted", delisted, &mut told.delisted),
        ] {
            match (day, &known) {
                (None, _) => {}
                (Some(day), None) => *known = Some((day, cells.row)),
                (Some(day), Some((other, row))) if day != *other => {
                    let value = format!("{name} {day}, and {other} in row {row}");
                    cells.refuse(REFUSED, name, &value, "the rows of a symbol agree");
                }
                (Some(_), Some(_)) => {}
            }
        }
        match (first, last) {
            (Some(first), last) => told.times.push((Treatment { first, last }, cells.row)),
            (None, Some(last)) => {
                let value = format!("st_to {last} without st_from");
                cells.refuse(REFUSED, "st_to", &value, "a time has a first day");
            }
            (None, None) => {}
        }
    }

    fn finish(self: Box<Self>, findings: &mut Findings) -> Vec<RecordChange> {
        let of_symbol = |(symbol, told): (String, Told)| RecordChange {
            status: Some(told.status(&symbol, findings)),
            symbol,
            ..RecordChange::default()
        };
        self.0.into_iter().map(of_symbol).collect()
    }
}

impl Told {
    /// The status that the rows agree on; what does not fit is told with its row and left out.
    fn status(mut self, symbol: &str, findings: &mut Findings) -> Status {
        let day = |known: Option<(NaiveDate, u64)>| known.map(|(day, _)| day);
        let mut status = Status {
            listed: day(self.listed),
            delisted: day(self.delisted),
            special_treatment: Vec::new(),
        };
        if self.times.len() > MAX_TREATMENTS {
            let value = format!("{} times under special treatment", self.times.len());
            let limit = format!("at most {MAX_TREATMENTS} of a symbol");
            let subject = Subject::new(Code::RecordTooLarge)
                .symbol(symbol)
                .limit(&limit);
            findings.add(subject, None, &value);
            return status;
        }
        let mut refuse = |reason: &str, row| {
            let subject = Subject::new(Code::ContradictingStatus).symbol(symbol);
            findings.add(subject, row, reason);
        };
        if let Err(reason) = status.check() {
            refuse(&reason, self.delisted.or(self.listed).map(|(_, row)| row));
            return status;
        }
        self.times.sort_by_key(|(time, row)| (time.first, *row));
        for (time, row) in self.times {
            status.special_treatment.push(time);
            if let Err(reason) = status.check() {
                refuse(&reason, Some(row));
                status.special_treatment.pop();
            }
        }
        status
    }
}
