//! What is known of a symbol beside its bars: when it was listed, how it was treated, what it gave and
//! what it reported.

use super::{CorporateAction, Fundamentals, Status, Treatment};
use crate::bars::{SYMBOL_RULE, is_day_of_bars, is_symbol};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The most corporate actions of a symbol: a hundred years of weekly distributions fit nearly.
pub const MAX_ACTIONS: usize = 5_000;

/// The most times under special treatment of a symbol: nobody is treated more than twice a year.
pub const MAX_TREATMENTS: usize = 500;

/// The most reports of a symbol: a hundred years of quarterly ones fit more than twice.
pub const MAX_REPORTS: usize = 1_000;

/// The longest byte form of a record: that of the longest one is shorter.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// The version of the byte form without fundamentals.
const VERSION: u8 = 1;
/// The version of the form with fundamentals.
const VERSION_WITH_FUNDAMENTALS: u8 = 2;

/// A symbol with what tables beside its bars say of it.
///
/// It is checked, and its corporate actions and reports are in order of their days: the same knowledge is
/// the same record and the same bytes, whatever the order of the tables was.
///
/// ```
/// use trialmill_backtest::market::{CorporateAction, Record, Status};
/// let action = CorporateAction {
///     symbol: "600000.SH".to_owned(),
///     ex_date: "2015-06-15".parse().unwrap(),
///     cash_per_share: 0.757,
///     bonus_per_share: 0.0,
/// };
/// let record = Record::new("600000.SH", Status::default(), vec![action], Vec::new())?;
/// assert_eq!(Record::from_bytes(&record.to_bytes())?, record);
/// # Ok::<(), trialmill_backtest::market::RecordFault>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    symbol: String,
    status: Status,
    actions: Vec<CorporateAction>,
    fundamentals: Vec<Fundamentals>,
}

/// What one table says of a symbol: it takes the place of that part of the symbol's record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordChange {
    /// The symbol.
    pub symbol: String,
    /// All of its corporate actions, if the table is one of them.
    pub actions: Option<Vec<CorporateAction>>,
    /// Its status, if the table is one of statuses.
    pub status: Option<Status>,
    /// All of its reports, if the table is one of fundamentals.
    pub fundamentals: Option<Vec<Fundamentals>>,
}

/// Why something is no record.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordFault {
    /// The symbol cannot be one.
    #[error("{symbol:?} is no symbol; {SYMBOL_RULE}")]
    Symbol {
        /// The symbol.
        symbol: String,
    },
    /// A corporate action cannot be one.
    #[error("the corporate action of {symbol} on {ex_date}: {reason}")]
    Action {
        /// The symbol.
        symbol: String,
        /// Its ex-date.
        ex_date: NaiveDate,
        /// What is wrong and what to do.
        reason: &'static str,
    },
    /// A report cannot be one.
    #[error("the fundamentals of {symbol}, announced on {announced}: {reason}")]
    Fundamentals {
        /// The symbol.
        symbol: String,
        /// The day of the announcement.
        announced: NaiveDate,
        /// What is wrong and what to do.
        reason: &'static str,
    },
    /// A status contradicts itself.
    #[error("the status of {symbol}: {reason}")]
    Status {
        /// The symbol.
        symbol: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// There is too much of something.
    #[error("{symbol} has {found} {what}; at most {limit} are kept: leave the oldest out")]
    TooMany {
        /// The symbol.
        symbol: String,
        /// `corporate actions`, `times under special treatment` or `reports`.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// The bound.
        limit: usize,
    },
    /// Bytes that are no byte form of a record.
    #[error("these bytes are no record of a symbol: {0}")]
    Bytes(String),
}

impl Record {
    /// Checks what is known of a symbol. Actions and reports may be in any order.
    ///
    /// # Errors
    /// The first thing that cannot be so.
    pub fn new(
        symbol: impl Into<String>,
        status: Status,
        mut actions: Vec<CorporateAction>,
        mut fundamentals: Vec<Fundamentals>,
    ) -> Result<Self, RecordFault> {
        let symbol = symbol.into();
        if !is_symbol(&symbol) {
            return Err(RecordFault::Symbol { symbol });
        }
        let too_many = |what, found, limit| RecordFault::TooMany {
            symbol: symbol.clone(),
            what,
            found,
            limit,
        };
        if actions.len() > MAX_ACTIONS {
            return Err(too_many("corporate actions", actions.len(), MAX_ACTIONS));
        }
        let treatments = status.special_treatment.len();
        if treatments > MAX_TREATMENTS {
            let what = "times under special treatment";
            return Err(too_many(what, treatments, MAX_TREATMENTS));
        }
        if fundamentals.len() > MAX_REPORTS {
            return Err(too_many("reports", fundamentals.len(), MAX_REPORTS));
        }
        status.check().map_err(|reason| RecordFault::Status {
            symbol: symbol.clone(),
            reason,
        })?;
        for action in &mut actions {
            // -0.0 + 0.0 is +0.0, so that equal records have equal bytes.
            action.cash_per_share += 0.0;
            action.bonus_per_share += 0.0;
        }
        actions.sort_by(|a, b| {
            let days = a.ex_date.cmp(&b.ex_date);
            let cash = || a.cash_per_share.total_cmp(&b.cash_per_share);
            let bonus = || a.bonus_per_share.total_cmp(&b.bonus_per_share);
            days.then_with(cash).then_with(bonus)
        });
        for (place, action) in actions.iter().enumerate() {
            let fault = |reason| RecordFault::Action {
                symbol: symbol.clone(),
                ex_date: action.ex_date,
                reason,
            };
            if action.symbol != symbol {
                return Err(fault("it is of another symbol; leave it out"));
            }
            action.check().map_err(|found| fault(found.reason))?;
            if place > 0 && actions[place - 1] == *action {
                return Err(fault("it is there twice; name each action once"));
            }
        }
        fundamentals.sort_by_key(|report| report.announced);
        for (place, report) in fundamentals.iter().enumerate() {
            let fault = |reason| RecordFault::Fundamentals {
                symbol: symbol.clone(),
                announced: report.announced,
                reason,
            };
            if report.symbol != symbol {
                return Err(fault("they are of another symbol; leave them out"));
            }
            report.check().map_err(|found| fault(found.reason))?;
            if place > 0 && fundamentals[place - 1].announced == report.announced {
                return Err(fault("the day is there twice; name each day once"));
            }
        }
        Ok(Self {
            symbol,
            status,
            actions,
            fundamentals,
        })
    }

    /// The record after a change: what the change has takes the place of what `before` had, the rest
    /// stays.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn changed(before: Option<Self>, change: RecordChange) -> Result<Self, RecordFault> {
        let RecordChange {
            symbol,
            actions,
            status,
            fundamentals,
        } = change;
        let (old_status, old_actions, old_fundamentals) = before
            .filter(|record| record.symbol == symbol)
            .map_or_else(Default::default, |record| {
                (record.status, record.actions, record.fundamentals)
            });
        Self::new(
            symbol,
            status.unwrap_or(old_status),
            actions.unwrap_or(old_actions),
            fundamentals.unwrap_or(old_fundamentals),
        )
    }

    /// The symbol.
    #[must_use]
    pub fn symbol(&self) -> &str {
        &self.symbol
    }

    /// Its listing and treatment; empty if no table told.
    #[must_use]
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// Its corporate actions, by ex-date.
    #[must_use]
    pub fn actions(&self) -> &[CorporateAction] {
        &self.actions
    }

    /// What it reported, by the day of the announcement.
    #[must_use]
    pub fn fundamentals(&self) -> &[Fundamentals] {
        &self.fundamentals
    }

    /// Bytes that the record takes in memory, within a few dozen.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let of_actions = self.actions.len() * (size_of::<CorporateAction>() + self.symbol.len());
        let of_times = self.status.special_treatment.len() * size_of::<Treatment>();
        let of_reports = self.fundamentals.len() * (size_of::<Fundamentals>() + self.symbol.len());
        size_of::<Self>() + self.symbol.len() + of_actions + of_times + of_reports
    }

    /// The stable byte form: the same record gives the same bytes on every machine, so that a hash
    /// of them names it. JSON without blanks, the fields of each object in the order of the alphabet.
    ///
    /// ```text
    /// {"actions":[{"bonus_per_share":0.0,"cash_per_share":0.757,"ex_date":"2015-06-15"}],
    /// "delisted":null,"listed":"1999-11-10","special_treatment":[],"symbol":"600000.SH","version":1}
    /// ```
    ///
    /// With fundamentals it is version 2, and `"fundamentals":[["2015-03-19",[2.52,13.9,null,null,null]]]`
    /// comes before `listed`: the day of each announcement, and the figures in the order of
    /// [`Fundamentals::FIGURES`].
    ///
    /// # Panics
    /// Never: every field has a JSON form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let action = |action: &CorporateAction| ActionForm {
            bonus_per_share: action.bonus_per_share,
            cash_per_share: action.cash_per_share,
            ex_date: action.ex_date,
        };
        let report = |report: &Fundamentals| ReportForm(report.announced, report.figures());
        let time = |time: &Treatment| TreatmentForm {
            first: time.first,
            last: time.last,
        };
        let form = Form {
            actions: self.actions.iter().map(action).collect(),
            delisted: self.status.delisted,
            fundamentals: (!self.fundamentals.is_empty())
                .then(|| self.fundamentals.iter().map(report).collect()),
            listed: self.status.listed,
            special_treatment: self.status.special_treatment.iter().map(time).collect(),
            symbol: self.symbol.clone(),
            version: self.version(),
        };
        serde_json::to_vec(&form).expect("dates, finite numbers and texts have a JSON form")
    }

    fn version(&self) -> u8 {
        if self.fundamentals.is_empty() {
            VERSION
        } else {
            VERSION_WITH_FUNDAMENTALS
        }
    }

    /// Reads what [`Self::to_bytes`] wrote and checks it like [`Self::new`].
    ///
    /// # Errors
    /// Whatever is not exactly that form; never a panic.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordFault> {
        if bytes.len() > MAX_RECORD_BYTES {
            let length = bytes.len();
            return Err(RecordFault::Bytes(format!(
                "there are {length}, and at most {MAX_RECORD_BYTES} can be"
            )));
        }
        let told = |error: serde_json::Error| RecordFault::Bytes(error.to_string());
        let Versioned { version } = serde_json::from_slice(bytes).map_err(told)?;
        if ![VERSION, VERSION_WITH_FUNDAMENTALS].contains(&version) {
            return Err(RecordFault::Bytes(format!(
                "version {version} is not known, only {VERSION} and {VERSION_WITH_FUNDAMENTALS}; use \
                 a newer build"
            )));
        }
        let form: Form = serde_json::from_slice(bytes).map_err(told)?;
        let status = Status {
            listed: form.listed,
            delisted: form.delisted,
            special_treatment: form
                .special_treatment
                .into_iter()
                .map(|TreatmentForm { first, last }| Treatment { first, last })
                .collect(),
        };
        let actions = form.actions.into_iter().map(|action| CorporateAction {
            symbol: form.symbol.clone(),
            ex_date: action.ex_date,
            cash_per_share: action.cash_per_share,
            bonus_per_share: action.bonus_per_share,
        });
        let reports = form.fundamentals.into_iter().flatten();
        let reports = reports
            .map(|ReportForm(day, figures)| Fundamentals::new(&form.symbol, day, figures))
            .collect();
        let record = Self::new(form.symbol.clone(), status, actions.collect(), reports)?;
        if record.to_bytes() == bytes {
            Ok(record)
        } else {
            let why = "they are written in another way than records are";
            Err(RecordFault::Bytes(why.to_owned()))
        }
    }
}

/// Whether a day can be one of a record: those of bars.
pub(super) fn is_day(day: NaiveDate) -> bool {
    is_day_of_bars(day)
}

/// What is read first: a newer form may have any other field.
#[derive(Deserialize)]
struct Versioned {
    version: u8,
}

// The fields of each form are in the order of the alphabet, which is that of the bytes.

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    actions: Vec<ActionForm>,
    delisted: Option<NaiveDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fundamentals: Option<Vec<ReportForm>>,
    listed: Option<NaiveDate>,
    special_treatment: Vec<TreatmentForm>,
    symbol: String,
    version: u8,
}

#[derive(Serialize, Deserialize)]
struct ReportForm(NaiveDate, [Option<f64>; 5]);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ActionForm {
    bonus_per_share: f64,
    cash_per_share: f64,
    ex_date: NaiveDate,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TreatmentForm {
    first: NaiveDate,
    last: Option<NaiveDate>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn action(ex_date: &str, cash_per_share: f64, bonus_per_share: f64) -> CorporateAction {
        CorporateAction {
            symbol: "600000.SH".to_owned(),
            ex_date: day(ex_date),
            cash_per_share,
            bonus_per_share,
        }
    }

    fn status() -> Status {
        let time = |first, last: Option<&str>| Treatment {
            first: day(first),
            last: last.map(day),
        };
        Status {
            listed: Some(day("1999-11-10")),
            delisted: Some(day("2021-06-01")),
            special_treatment: vec![
                time("2005-01-04", Some("2006-01-04")),
                time("2020-04-30", None),
            ],
        }
    }

    fn record(actions: Vec<CorporateAction>) -> Record {
        Record::new("600000.SH", status(), actions, Vec::new()).unwrap()
    }

    #[test]
    fn a_record_reads_back_and_the_order_of_its_table_changes_nothing() {
        // Amounts whose shortest decimal form has 17 digits, or an exponent.
        let actions = vec![
            action("2015-06-15", 0.1 + 0.2, 0.0),
            action("2006-05-25", 5e-324, 1.0 / 3.0),
            action("2006-05-25", -0.0, 0.3),
        ];
        let one = record(actions.clone());
        let mut turned = actions;
        turned.reverse();
        let other = record(turned);
        assert_eq!(one, other);
        let bytes = one.to_bytes();
        assert_eq!(bytes, other.to_bytes());
        assert_eq!(Record::from_bytes(&bytes).unwrap(), one);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            text,
            r#"{"actions":[{"bonus_per_share":0.3,"cash_per_share":0.0,"ex_date":"2006-05-25"},{"bonus_per_share":0.3333333333333333,"cash_per_share":5e-324,"ex_date":"2006-05-25"},{"bonus_per_share":0.0,"cash_per_share":0.30000000000000004,"ex_date":"2015-06-15"}],"delisted":"2021-06-01","listed":"1999-11-10","special_treatment":[{"first":"2005-01-04","last":"2006-01-04"},{"first":"2020-04-30","last":null}],"symbol":"600000.SH","version":1}"#
        );
    }

    #[test]
    fn the_longest_record_fits_its_bound() {
        let long = "X".repeat(crate::bars::MAX_SYMBOL_BYTES);
        let mut actions = Vec::new();
        for number in 0..MAX_ACTIONS {
            let days = chrono::Days::new(u64::try_from(number).unwrap());
            actions.push(CorporateAction {
                symbol: long.clone(),
                ex_date: day("1900-01-01") + days,
                cash_per_share: 1.234_567_890_123_456_7e-101,
                bonus_per_share: 1.234_567_890_123_456_7e-101,
            });
        }
        let time = |number: usize| {
            let first = day("1900-01-01") + chrono::Days::new(2 * u64::try_from(number).unwrap());
            Treatment {
                first,
                last: Some(first),
            }
        };
        let status = Status {
            special_treatment: (0..MAX_TREATMENTS).map(time).collect(),
            ..Status::default()
        };
        let report = |number: usize| {
            let days = chrono::Days::new(u64::try_from(number).unwrap());
            let figures = [Some(1.234_567_890_123_456_7e-101); 5];
            Fundamentals::new(&long, day("1900-01-01") + days, figures)
        };
        let mut reports: Vec<Fundamentals> = (0..MAX_REPORTS).map(report).collect();
        let longest = Record::new(
            long.clone(),
            status.clone(),
            actions.clone(),
            reports.clone(),
        )
        .unwrap();
        let bytes = longest.to_bytes();
        assert!(bytes.len() <= MAX_RECORD_BYTES, "{}", bytes.len());
        assert_eq!(Record::from_bytes(&bytes).unwrap(), longest);
        actions.push(action("2100-01-01", 1.0, 0.0));
        let refused = Record::new(long.clone(), status.clone(), actions, Vec::new());
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("5001 corporate actions; at most 5000"));
        reports.push(report(MAX_REPORTS));
        let refused = Record::new(long.clone(), status, Vec::new(), reports);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("1001 reports; at most 1000"));
    }

    #[test]
    fn bytes_that_are_not_exactly_a_record_are_refused() {
        let sound = String::from_utf8(record(vec![action("2015-06-15", 1.0, 0.0)]).to_bytes());
        let sound = sound.unwrap();
        for (from, to) in [
            ("\"version\":1", "\"version\":2"),
            ("\"version\":1", "\"version\":3"),
            ("\"version\":1", "\"version\":1,\"more\":0"),
            ("{\"actions\"", " {\"actions\""),
            ("1.0", "1.00"),
            ("1.0", "1e999"),
            ("1.0", "-1.0"),
            ("2015-06-15", "2015-06-31"),
            ("2015-06-15", "1015-06-15"),
            ("600000.SH", "600000 SH"),
            ("\"delisted\":\"2021-06-01\"", "\"delisted\":\"1989-06-01\""),
            ("2020-04-30", "2005-06-01"),
            ("\"version\":1}", ""),
        ] {
            let changed = sound.replace(from, to);
            assert_ne!(changed, sound, "{from} is in the form");
            assert!(
                Record::from_bytes(changed.as_bytes()).is_err(),
                "{from} became {to}"
            );
        }
        let long = vec![b' '; MAX_RECORD_BYTES + 1];
        let refused = Record::from_bytes(&long).unwrap_err().to_string();
        assert!(refused.contains("1048577"), "{refused}");
    }

    fn report(announced: &str, earnings: f64) -> Fundamentals {
        let figures = [Some(earnings), None, Some(10.0), None, None];
        Fundamentals::new("600000.SH", day(announced), figures)
    }

    #[test]
    fn fundamentals_read_back_in_a_form_of_their_own() {
        let reports = [report("2016-04-27", -0.0), report("2015-03-19", 2.52)];
        let one = Record::new("600000.SH", Status::default(), Vec::new(), reports.to_vec());
        let one = one.unwrap();
        let text = String::from_utf8(one.to_bytes()).unwrap();
        assert_eq!(
            text,
            r#"{"actions":[],"delisted":null,"fundamentals":[["2015-03-19",[2.52,null,10.0,null,null]],["2016-04-27",[0.0,null,10.0,null,null]]],"listed":null,"special_treatment":[],"symbol":"600000.SH","version":2}"#
        );
        assert_eq!(Record::from_bytes(text.as_bytes()).unwrap(), one);
        for (from, to) in [
            ("\"version\":2", "\"version\":1"),
            ("2016-04-27", "2015-03-19"),
            ("[0.0,", "["),
            ("[0.0,", "[0.0,0.0,"),
            ("[2.52,null,10.0,", "[null,null,null,"),
            ("[2.52,null,10.0,", "[2.52,null,-10.0,"),
            ("2.52", "1e13"),
        ] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text, "{from} is in the form");
            let read = Record::from_bytes(changed.as_bytes());
            assert!(read.is_err(), "{from} became {to}");
        }
        let twice = vec![report("2015-03-19", 1.0), report("2015-03-19", 2.0)];
        let refused = Record::new("600000.SH", Status::default(), Vec::new(), twice);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("announced on 2015-03-19: the day is there twice"));
    }

    #[test]
    fn a_change_replaces_its_part_and_keeps_the_others() {
        let change = |actions, status| RecordChange {
            symbol: "600000.SH".to_owned(),
            actions,
            status,
            fundamentals: None,
        };
        let reported = RecordChange {
            symbol: "600000.SH".to_owned(),
            fundamentals: Some(vec![report("2015-03-19", 1.0)]),
            ..RecordChange::default()
        };
        let first = change(Some(vec![action("2015-06-15", 1.0, 0.0)]), None);
        let first = Record::changed(None, first).unwrap();
        assert_eq!(first.status(), &Status::default());
        let both = Record::changed(Some(first), change(None, Some(status()))).unwrap();
        assert_eq!((both.actions().len(), both.status()), (1, &status()));
        let all = Record::changed(Some(both), reported).unwrap();
        assert_eq!((all.actions().len(), all.fundamentals().len()), (1, 1));
        let none = Record::changed(Some(all), change(Some(Vec::new()), None)).unwrap();
        assert_eq!((none.actions().len(), none.status()), (0, &status()));
        assert_eq!(none.fundamentals().len(), 1);
    }
}
