//! What is missing between the bars of a series, and jumps that no session allows.

use crate::Import;
use crate::collect::FileRows;
use crate::report::{Code, Findings, Subject};
use std::collections::{BTreeMap, HashMap};
use trialmill_backtest::bars::{BarSeries, Frequency, LocalTime};
pub use trialmill_backtest::moves::GENERAL_GAP;
use trialmill_backtest::moves::largest_move;

const SECONDS_PER_DAY: i64 = 86_400;

/// Calendar days without a bar that no ordinary closure lasts: the longest of the mainland
/// exchanges, around the new year of the lunar calendar, are 11.
pub const MAX_DAYS_BETWEEN_BARS: i64 = 15;

/// How many other series must span a day before their trading on it says anything.
const MIN_OTHERS: usize = 3;

/// Holes, unadjusted gaps and suspended days of one series. A gap is a move from a close to the next
/// open beyond [`largest_move`]; new shares may move further in their first days, and the warning is
/// then a wrong one.
pub(crate) fn look(series: &BarSeries, rows: &FileRows, findings: &mut Findings) {
    let symbol = series.symbol();
    let (time, open, close) = (series.time(), series.open(), series.close());
    for bar in 0..series.rows() {
        if series.is_suspended(bar) {
            let subject = Subject::new(Code::SuspendedDays);
            findings.add(subject, Some(rows.of_bar(bar)), "");
        }
        let Some(before) = bar.checked_sub(1) else {
            continue;
        };
        let days = time[bar].div_euclid(SECONDS_PER_DAY) - time[before].div_euclid(SECONDS_PER_DAY);
        if days > MAX_DAYS_BETWEEN_BARS {
            let value = format!(
                "{} to {}, {days} days",
                LocalTime(time[before]),
                LocalTime(time[bar])
            );
            let subject = Subject::new(Code::Hole)
                .symbol(symbol)
                .limit("at most 15 calendar days");
            findings.add(subject, Some(rows.of_bar(bar)), &value);
        }
        let limit = largest_move(symbol, time[bar]);
        let moved = open[bar] / close[before] - 1.0;
        if days > 0 && moved.abs() > limit {
            let value = format!(
                "{}: {:+.1} % from {} to {}",
                LocalTime(time[bar]),
                moved * 100.0,
                close[before],
                open[bar]
            );
            let words = format!("{:.0} % overnight", limit * 100.0);
            let subject = Subject::new(Code::UnadjustedGap)
                .symbol(symbol)
                .limit(&words);
            findings.add(subject, Some(rows.of_bar(bar)), &value);
        }
    }
}

/// One series of an import and where it came from.
struct Daily<'a> {
    file: usize,
    series: &'a BarSeries,
    rows: &'a FileRows,
}

/// Dates that most of the other daily series of the same market have and a series lacks within its
/// span. Of each, the row after the gap is listed. The mainland exchanges are one market, as they
/// trade on the same days; otherwise a market is what follows the dot of the symbol.
///
/// Gives the findings of each file.
pub(crate) fn missing_dates(imports: &[Option<&Import>]) -> Vec<Findings> {
    let mut markets: BTreeMap<&str, Vec<Daily<'_>>> = BTreeMap::new();
    for (file, import) in imports.iter().enumerate() {
        let Some(import) = import else { continue };
        for (series, rows) in import.series.iter().zip(&import.file_rows) {
            if series.frequency() == Frequency::Daily {
                let daily = Daily { file, series, rows };
                markets
                    .entry(market(series.symbol()))
                    .or_default()
                    .push(daily);
            }
        }
    }
    let mut found: Vec<Findings> = imports.iter().map(|_| Findings::default()).collect();
    for members in markets
        .values()
        .filter(|members| members.len() > MIN_OTHERS)
    {
        compare(members, &mut found);
    }
    found
}

fn market(symbol: &str) -> &str {
    match symbol.rsplit_once('.') {
        Some((_, "SH" | "SZ" | "BJ")) => "mainland",
        Some((_, exchange)) => exchange,
        None => "",
    }
}

fn compare(members: &[Daily<'_>], found: &mut [Findings]) {
    let mut traded: HashMap<i64, usize> = HashMap::new();
    for time in members.iter().flat_map(|member| member.series.time()) {
        *traded.entry(*time).or_default() += 1;
    }
    let mut firsts: Vec<i64> = members.iter().map(|m| m.series.first_time()).collect();
    let mut lasts: Vec<i64> = members.iter().map(|m| m.series.last_time()).collect();
    firsts.sort_unstable();
    lasts.sort_unstable();
    let mut calendar: Vec<i64> = traded
        .iter()
        .filter(|(day, traded)| {
            let begun = firsts.partition_point(|first| first <= *day);
            let ended = lasts.partition_point(|last| last < *day);
            // One of those that span the day is the series that may lack it.
            let others = (begun - ended).saturating_sub(1);
            others >= MIN_OTHERS && **traded * 2 > others
        })
        .map(|(day, _)| *day)
        .collect();
    calendar.sort_unstable();
    for Daily { file, series, rows } in members {
        let time = series.time();
        let start = calendar.partition_point(|day| *day < series.first_time());
        let end = calendar.partition_point(|day| *day <= series.last_time());
        let mut bar = 0;
        for day in &calendar[start..end] {
            while time[bar] < *day {
                bar += 1;
            }
            if time[bar] != *day {
                let subject = Subject::new(Code::MissingDates)
                    .symbol(series.symbol())
                    .limit("dates that most others of the import have");
                let value = LocalTime(*day).to_string();
                found[*file].add(subject, Some(rows.of_bar(bar)), &value);
            }
        }
    }
}
