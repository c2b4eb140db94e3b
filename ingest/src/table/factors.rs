//! A file of adjustment factors: `date, price_factor, split_factor, reference_price`, where a row is
//! in force up to and including its date, and the factors of the last row are those of today. What
//! changes from a row to the next was given after the date of the first of them.

use super::Part;
use super::actions::told;
use super::cells::Cells;
use crate::report::{Code, Findings, Subject};
use chrono::NaiveDate;
use std::collections::BTreeMap;
use trialmill_backtest::market::{CorporateAction, RecordChange};

/// How far, as a fraction, a ratio of two factors may lie from the split that it stands for: factors
/// are written with six digits or so, and 0.0357143 by 0.0178571 is two for one. Without this, whoever
/// holds 200 shares gets 199 new ones.
const FACTOR_ROUNDING: f64 = 1e-5;

/// The most old shares that a split is for: 51 for 50 is a bonus of 2 %. Finer ratios are taken as they
/// are.
const MOST_OLD_SHARES: u32 = 100;

/// One row of the file.
struct Row {
    number: u64,
    date: NaiveDate,
    price: f64,
    split: f64,
    reference: f64,
}

/// The rows of each symbol.
#[derive(Default)]
pub(super) struct Factors(BTreeMap<String, Vec<Row>>);

impl Part for Factors {
    fn add(&mut self, symbol: &str, cells: &mut Cells<'_>) {
        let date = cells.day(0);
        let [price, split, reference] = [1, 2, 3].map(|column| cells.number(column));
        let (Ok(date), Ok(price), Ok(split), Ok(reference)) = (date, price, split, reference)
        else {
            return;
        };
        let is_factor = |factor: f64| factor > 0.0 && factor.is_finite();
        if !is_factor(price) || !is_factor(split) {
            let column = if is_factor(price) {
                "split_factor"
            } else {
                "price_factor"
            };
            let value = format!("price_factor {price}, split_factor {split}");
            let reason = "factors are numbers above 0";
            return cells.refuse(Code::NotAnAction, column, &value, reason);
        }
        self.0.entry(symbol.to_owned()).or_default().push(Row {
            number: cells.row,
            date,
            price,
            split,
            reference,
        });
    }

    fn finish(self: Box<Self>, findings: &mut Findings) -> Vec<RecordChange> {
        let of_symbol = |(symbol, mut rows): (String, Vec<Row>)| {
            rows.sort_by_key(|row| (row.date, row.number));
            let mut actions = Vec::new();
            for two in rows.windows(2) {
                let (row, next) = (&two[0], &two[1]);
                if row.date == next.date {
                    let value = format!("{} is also in row {}", row.date, row.number);
                    let subject = Subject::new(Code::DuplicateDate).symbol(&symbol);
                    findings.add(subject, Some(next.number), &value);
                    continue;
                }
                let mut refuse = |column, value: &str, reason| {
                    let subject = Subject::new(Code::NotAnAction).symbol(&symbol);
                    let subject = subject.column(column).limit(reason);
                    findings.add(subject, Some(row.number), value);
                };
                match given(&symbol, row, next) {
                    Ok(None) => {}
                    Ok(Some(action)) => match action.check() {
                        Ok(()) => actions.push(action),
                        Err(found) => refuse(found.field, &told(&action), found.reason),
                    },
                    Err(Refusal {
                        column,
                        value,
                        reason,
                    }) => refuse(column, &value, reason),
                }
            }
            RecordChange {
                symbol,
                actions: Some(actions),
                ..RecordChange::default()
            }
        };
        self.0.into_iter().map(of_symbol).collect()
    }
}

/// Why two rows give no action.
struct Refusal {
    column: &'static str,
    /// What stands there.
    value: String,
    reason: &'static str,
}

/// What a share gave between two rows, if anything.
fn given(symbol: &str, row: &Row, next: &Row) -> Result<Option<CorporateAction>, Refusal> {
    let Row { date, .. } = row;
    let bonus_per_share = bonus(next.split / row.split);
    if bonus_per_share < 0.0 {
        return Err(Refusal {
            column: "split_factor",
            value: format!("{} up to {date}, {} after", row.split, next.split),
            reason: "a reverse split is not modelled: leave this row and all before it out, and the \
                     bars up to its date, or import adjusted prices",
        });
    }
    let cash_per_share = if row.price == next.price {
        0.0
    } else if row.price > next.price {
        return Err(Refusal {
            column: "price_factor",
            value: format!("{} up to {date}, {} after", row.price, next.price),
            reason: "no dividend lowers a price factor; correct the row",
        });
    } else if row.reference > 0.0 && row.reference.is_finite() {
        row.reference * (1.0 - row.price / next.price)
    } else {
        return Err(Refusal {
            column: "reference_price",
            value: format!("{} on {date}", row.reference),
            reason: "a dividend follows from the close of its row's date, a number above 0; correct \
                     the row",
        });
    };
    if cash_per_share == 0.0 && bonus_per_share == 0.0 {
        return Ok(None);
    }
    // The engine takes an action at the first bar from its ex-date on.
    let ex_date = row.date.succ_opt().unwrap_or(row.date);
    Ok(Some(CorporateAction {
        symbol: symbol.to_owned(),
        ex_date,
        cash_per_share,
        bonus_per_share,
    }))
}

/// New shares for each old one where one share became `ratio`.
fn bonus(ratio: f64) -> f64 {
    for old in 1..=MOST_OLD_SHARES {
        let old = f64::from(old);
        let new = (ratio * old).round();
        if new > 0.0 && (ratio * old / new - 1.0).abs() <= FACTOR_ROUNDING {
            return (new - old) / old;
        }
    }
    ratio - 1.0
}

#[cfg(test)]
mod tests {
    use super::bonus;

    #[test]
    fn ratios_of_rounded_factors_are_the_splits_they_stand_for() {
        for (ratio, wanted) in [
            (0.017_857_10 / 0.008_928_57, 1.0),
            (0.035_714_30 / 0.017_857_10, 1.0),
            (0.25 / 0.035_714_30, 6.0),
            (10.666_70 / 7.111_110_22, 0.5),
            (13.333_300 / 10.666_70, 0.25),
            (0.333_333 / 0.111_110_99, 2.0),
            (1.0, 0.0),
            (1.02, 0.02),
            (0.05, -0.95),
        ] {
            assert_eq!(bonus(ratio), wanted, "{ratio}");
        }
        // No simple split: as it is.
        assert_eq!(bonus(1.0 / 0.997_307), 1.0 / 0.997_307 - 1.0);
    }
}
