//! Which symbols over which days: dates, stock codes, and what the store knows of them.

use super::findings::{Findings, shown};
use super::node::Node;
use super::partner::is_index;
use super::request::{CONFIG, NESTED};
use super::{Accepted, Subject};
use crate::fault::Fault;
use crate::spec::Spec;
use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use trialmill_backtest::bars::{Frequency, MAX_SYMBOL_BYTES};
use trialmill_backtest::partner::Formation;
use trialmill_backtest::strategy::Strategy;

/// The most symbols of one task.
pub const MAX_STOCK_CODES: usize = 1_000;
/// The fewest calendar days of a backtest, both ends included: about 20 trading days.
pub const MIN_PERIOD_DAYS: i64 = 30;
/// The most calendar days, about 100 years: longer than any exchange's electronic record.
pub const MAX_PERIOD_DAYS: i64 = 36_500;
/// The years that dates may lie in: outside is a typing error, not a market.
pub const YEARS: std::ops::RangeInclusive<i32> = 1_800..=2_199;

/// Days by which prices may begin after the first day of a period, or stop before its last, and still
/// cover it: longer than any holiday.
pub const GRACE_DAYS: i64 = 15;
const GRACE: TimeDelta = TimeDelta::days(GRACE_DAYS);

/// How many symbols a warning names.
const NAMED: usize = 5;

/// What the store holds of one symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// Spacing of its bars by its short name, such as `1d`.
    pub frequency: String,
    /// Day of the first bar.
    pub first: NaiveDate,
    /// Day of the last bar.
    pub last: NaiveDate,
    /// Number of bars.
    pub rows: u64,
    /// Hash of the series: what a task pins.
    pub hash: [u8; 32],
}

impl Coverage {
    /// Whether its bars are daily: the only ones that backtests take so far.
    #[must_use]
    pub fn is_daily(&self) -> bool {
        self.frequency == Frequency::Daily.name()
    }

    /// Whether its bars leave out more of the period, at its beginning or end, than a holiday.
    pub(super) fn is_partial(&self, (start, end): (NaiveDate, NaiveDate)) -> bool {
        self.first - start > GRACE || end - self.last > GRACE
    }

    /// The symbol with the days that its bars span, for a message.
    pub(super) fn spans(&self, symbol: &str) -> String {
        format!("{symbol} ({} to {})", self.first, self.last)
    }
}

/// The first [`NAMED`] of some things, and how many more there are.
pub(super) fn some_of(mut names: Vec<String>) -> String {
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    names.truncate(NAMED);
    names.join(", ") + &more
}

/// The fault of a symbol whose bars are not daily.
pub(super) fn not_daily(node: &Node<'_>, code: &str, coverage: &Coverage) -> Fault {
    let detail = format!(
        "{code} is stored with bars of {}, and a backtest takes daily bars ({}); bring those in \
         with `trialmill data import FILE`, or name another symbol",
        coverage.frequency,
        Frequency::Daily.name()
    );
    node.fault("not_daily", detail)
        .allowed([Frequency::Daily.name()])
}

/// What the store holds of the requested symbols; a symbol that is absent has no bars.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MarketView {
    /// Coverage by symbol.
    pub series: BTreeMap<String, Coverage>,
    /// The symbols of which fundamentals are stored; needed for strategies that read them.
    pub reported: BTreeSet<String>,
}

/// The symbols that a request names (stocks and partners), for loading their [`Coverage`] before
/// the check. Lenient: what is not a list of symbols gives nothing here and its fault there.
#[must_use]
pub fn symbols(body: &Value) -> Vec<String> {
    let places = [Some(body), body.get(CONFIG)].into_iter().flatten();
    let lists = places.flat_map(|place| {
        let partners = place.get("backtest_config").and_then(|c| c.get("partners"));
        let lists = [place.get("stock_codes"), partners];
        lists.map(|list| list.and_then(Value::as_array))
    });
    let mut symbols: Vec<String> = lists
        .flatten()
        .flat_map(|list| list.iter().take(MAX_STOCK_CODES))
        .filter_map(Value::as_str)
        .filter(|code| is_symbol(code))
        .map(str::to_owned)
        .collect();
    symbols.sort();
    symbols.dedup();
    symbols
}

/// The strategy that a request names, wherever its form puts it. Lenient, as [`symbols`].
#[must_use]
pub fn strategy_key(body: &Value) -> Option<&str> {
    let places = [Some(body), body.get(CONFIG)].into_iter().flatten();
    let all = places.flat_map(|place| [Some(place), place.get(NESTED)]);
    let names = all.flatten().flat_map(|place| {
        ["strategy_name", "strategy_type"].map(|name| place.get(name).and_then(Value::as_str))
    });
    names.flatten().next()
}

pub(super) fn is_symbol(code: &str) -> bool {
    (1..=MAX_SYMBOL_BYTES).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_graphic())
}

/// The fault of a text that is no symbol.
pub(super) fn malformed(node: &Node<'_>, text: &str) -> Fault {
    let detail = format!(
        "{:?} is not a symbol: 1 to {MAX_SYMBOL_BYTES} printable ASCII characters without spaces",
        shown(text)
    );
    node.fault("malformed_symbol", detail)
}

/// Reads `stock_codes`: the sound ones, in the order given, with their nodes.
pub(super) fn codes<'a>(
    node: &Node<'a>,
    subject: Option<Subject>,
    findings: &mut Findings,
) -> Vec<(Node<'a>, String)> {
    let items = node.list(findings).unwrap_or_default();
    if items.is_empty() && node.value.is_some_and(Value::is_array) {
        if subject.is_none_or(Subject::trades) {
            let detail = "stock_codes is empty; name at least one symbol";
            findings.fault(node.fault("empty", detail).limit(1));
        }
    } else if items.len() > MAX_STOCK_CODES {
        let detail = format!(
            "stock_codes has {} symbols; it may have {MAX_STOCK_CODES}",
            items.len()
        );
        findings.fault(node.fault("too_many", detail).limit(MAX_STOCK_CODES));
        return Vec::new();
    }
    let mut seen = BTreeMap::new();
    let mut codes = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let Some(value) = item.value.and_then(Value::as_str) else {
            let detail = format!("{} must be a string, such as \"600000.SH\"", item.name());
            findings.fault(item.fault("wrong_type", detail));
            continue;
        };
        if !is_symbol(value) {
            findings.fault(malformed(&item, value));
        } else if let Some(first) = seen.insert(value, index) {
            let detail = format!("{value} is also stock_codes[{first}]; name it once");
            findings.fault(item.fault("duplicate", detail));
        } else {
            codes.push((item, value.to_owned()));
        }
    }
    codes
}

/// Looks each symbol up: the hashes to pin, and a fault for each that has no bars in the period, or
/// so few that every trial would fail.
pub(super) fn pin(
    codes: &[(Node<'_>, String)],
    subject: Option<Subject>,
    period: Option<(NaiveDate, NaiveDate)>,
    market: &MarketView,
    findings: &mut Findings,
) -> BTreeMap<String, [u8; 32]> {
    let reads = |strategy: &dyn Strategy| strategy.info().reads_fundamentals;
    let reads_reports = matches!(subject, Some(Subject::Strategy(strategy)) if reads(strategy));
    let mut pinned = BTreeMap::new();
    let mut partial = Vec::new();
    for (node, code) in codes {
        let Some(coverage) = market.series.get(code).filter(|coverage| coverage.rows > 0) else {
            let detail = format!(
                "there are no bars of {code}; bring them in with `trialmill data import FILE`"
            );
            findings.fault(node.fault("missing_market_data", detail));
            continue;
        };
        if reads_reports && !market.reported.contains(code) {
            let detail = format!(
                "there are no fundamentals of {code}, which the strategy reads; bring a table in with \
                 `trialmill data import FILE` (docs/market-data.md)"
            );
            findings.fault(node.fault("missing_fundamentals", detail));
        }
        if !coverage.is_daily() {
            findings.fault(not_daily(node, code, coverage));
            continue;
        }
        if let Some((start, end)) = period {
            let Coverage { first, last, .. } = *coverage;
            let days = (last.min(end) - first.max(start)).num_days() + 1;
            if days < MIN_PERIOD_DAYS {
                let common = if days < 1 {
                    format!("none lies in {start} to {end}")
                } else {
                    format!(
                        "only {days} days of {start} to {end} are among them, fewer than \
                         {MIN_PERIOD_DAYS}"
                    )
                };
                let detail = format!(
                    "the bars of {code} run from {first} to {last} and {common}; change the \
                     dates, or bring more in with `trialmill data import FILE`"
                );
                let fault = node.fault("missing_market_data", detail);
                findings.fault(fault.limit(format!("{first} to {last}")));
                continue;
            }
            if coverage.is_partial((start, end)) {
                partial.push(coverage.spans(code));
            }
        }
        if is_index(code) {
            let detail = format!(
                "{code} is an index, which nobody can buy; results on it are not attainable. Use \
                 a fund that follows it"
            );
            findings.warn("index_not_tradable", &node.pointer, detail);
        }
        pinned.insert(code.clone(), coverage.hash);
    }
    if !partial.is_empty() {
        let detail = format!("bars cover only a part of the period: {}", some_of(partial));
        findings.warn("partial_market_data", "/stock_codes", detail);
    }
    pinned
}

impl Accepted {
    /// The first and last day that are traded.
    #[must_use]
    pub fn period(&self) -> (NaiveDate, NaiveDate) {
        match &self.spec {
            Spec::Search(spec) => (spec.start_date, spec.end_date),
            Spec::Run(spec) => (spec.start_date, spec.end_date),
        }
    }

    /// The days whose prices the task depends on: the period that is traded, and for pairs that on
    /// which their partners were chosen too.
    #[must_use]
    pub fn priced_days(&self) -> (NaiveDate, NaiveDate) {
        let (start, end) = self.period();
        if self.is_paired() {
            (Formation::before(start).from, end)
        } else {
            (start, end)
        }
    }

    /// Whether each stock has its partner.
    #[must_use]
    pub fn is_paired(&self) -> bool {
        let pairs = match &self.spec {
            Spec::Search(spec) => &spec.pairs,
            Spec::Run(spec) => &spec.pairs,
        };
        !pairs.is_empty()
    }
}

/// Reads `start_date` and `end_date`.
pub(super) fn period(
    start: &Node<'_>,
    end: &Node<'_>,
    subject: Option<Subject>,
    findings: &mut Findings,
) -> Option<(NaiveDate, NaiveDate)> {
    let (from, to) = (date(start, findings), date(end, findings));
    let (from, to) = (from?, to?);
    let days = (to - from).num_days() + 1;
    // What trades nothing needs no bars, so no period is too short for it.
    let least = if subject.is_none_or(Subject::trades) {
        MIN_PERIOD_DAYS
    } else {
        1
    };
    let (code, detail, limit) = if days < 1 {
        (
            "dates_reversed",
            format!("end_date {to} is before start_date {from}; swap them"),
            None,
        )
    } else if days < least {
        let detail = format!("{from} to {to} has {days} days; a backtest needs at least {least}");
        ("period_too_short", detail, Some(least))
    } else if days > MAX_PERIOD_DAYS {
        let detail = format!("{from} to {to} has {days} days; at most {MAX_PERIOD_DAYS} can be");
        ("period_too_long", detail, Some(MAX_PERIOD_DAYS))
    } else {
        return Some((from, to));
    };
    let fault = end.fault(code, detail);
    findings.fault(match limit {
        Some(limit) => fault.limit(limit),
        None => fault.limit(format!("{from} or later")),
    });
    None
}

fn date(node: &Node<'_>, findings: &mut Findings) -> Option<NaiveDate> {
    let text = node.string(findings)?;
    let Some(date) = parse_date(text) else {
        let detail = format!(
            "{} is {:?}, which is no date of the calendar; write it as 2023-12-31 or as an ISO \
             date-time",
            node.name(),
            shown(text)
        );
        findings.fault(node.fault("malformed_date", detail));
        return None;
    };
    if YEARS.contains(&chrono::Datelike::year(&date)) {
        return Some(date);
    }
    let limit = format!("{} to {}", YEARS.start(), YEARS.end());
    let detail = format!("{} is {date}; its year must be {limit}", node.name());
    findings.fault(node.fault("out_of_range", detail).limit(limit));
    None
}

/// `YYYY-MM-DD`, alone or with a time; of a date-time its own date counts, whatever its zone.
fn parse_date(text: &str) -> Option<NaiveDate> {
    let (day, time) = (text.get(..10)?, text.get(10..)?);
    let shape = |(i, b): (usize, u8)| {
        if i == 4 || i == 7 {
            b == b'-'
        } else {
            b.is_ascii_digit()
        }
    };
    if !day.bytes().enumerate().all(shape) {
        return None;
    }
    let date = NaiveDate::parse_from_str(day, "%Y-%m-%d").ok()?;
    let formats = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S%.f"];
    let text = text.replacen(' ', "T", 1);
    let is_time = time.is_empty()
        || DateTime::parse_from_rfc3339(&text).is_ok()
        || formats
            .iter()
            .any(|format| NaiveDateTime::parse_from_str(&text, format).is_ok());
    is_time.then_some(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read_from_a_date_or_a_date_time_and_from_nothing_else() {
        let day = NaiveDate::from_ymd_opt(2023, 2, 28);
        for text in [
            "2023-02-28",
            "2023-02-28T00:00:00",
            "2023-02-28T23:59",
            "2023-02-28 10:00:00.125",
            "2023-02-28T10:00:00Z",
            "2023-02-28T23:30:00+08:00",
        ] {
            assert_eq!(parse_date(text), day, "{text}");
        }
        for text in [
            "",
            "2023",
            "2023-2-28",
            "2023-02-29",
            "2023-13-01",
            "20230228",
            "28.02.2023",
            "+2023-02-28",
            "2023-02-28T",
            "2023-02-28T25:00:00",
            "2023-02-28x",
            "2023-02-2８",
            "二〇二三年",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }
}
