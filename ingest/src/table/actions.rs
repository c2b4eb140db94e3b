//! A table of corporate actions: `symbol, ex_date, cash_per_share, bonus_per_share`.

use super::Part;
use super::cells::Cells;
use crate::report::{Code, Findings, Subject};
use std::collections::BTreeMap;
use trialmill_backtest::market::{ActionFault, CorporateAction, RecordChange};

/// The actions of each symbol with their rows in the file.
#[derive(Default)]
pub(super) struct Actions(BTreeMap<String, Vec<(u64, CorporateAction)>>);

impl Part for Actions {
    fn add(&mut self, symbol: &str, cells: &mut Cells<'_>) {
        let (ex_date, cash, bonus) = (cells.day(0), cells.number(1), cells.number(2));
        let (Ok(ex_date), Ok(cash_per_share), Ok(bonus_per_share)) = (ex_date, cash, bonus) else {
            return;
        };
        let action = CorporateAction {
            symbol: symbol.to_owned(),
            ex_date,
            cash_per_share,
            bonus_per_share,
        };
        match action.check() {
            Ok(()) => {
                let actions = self.0.entry(symbol.to_owned()).or_default();
                actions.push((cells.row, action));
            }
            Err(ActionFault { field, reason }) => {
                cells.refuse(Code::NotAnAction, field, &told(&action), reason);
            }
        }
    }

    fn finish(self: Box<Self>, findings: &mut Findings) -> Vec<RecordChange> {
        let of_symbol = |(symbol, mut actions): (String, Vec<(u64, CorporateAction)>)| {
            actions.sort_by(|(row, a), (other, b)| {
                let days = a.ex_date.cmp(&b.ex_date);
                let cash = || a.cash_per_share.total_cmp(&b.cash_per_share);
                let bonus = || a.bonus_per_share.total_cmp(&b.bonus_per_share);
                days.then_with(cash).then_with(bonus).then(row.cmp(other))
            });
            for two in actions.windows(2) {
                let ((first, action), (row, other)) = (&two[0], &two[1]);
                if action == other {
                    let value = format!("{} is also in row {first}", told(action));
                    let subject = Subject::new(Code::DuplicateAction).symbol(&symbol);
                    findings.add(subject, Some(*row), &value);
                }
            }
            RecordChange {
                symbol,
                actions: Some(actions.into_iter().map(|(_, action)| action).collect()),
                ..RecordChange::default()
            }
        };
        self.0.into_iter().map(of_symbol).collect()
    }
}

/// An action in short.
pub(super) fn told(action: &CorporateAction) -> String {
    format!(
        "{}: {} in cash, {} new shares",
        action.ex_date, action.cash_per_share, action.bonus_per_share
    )
}
