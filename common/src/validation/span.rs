//! Lengths: `36mo`, `2y`, `6w`, `250d`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Most months of a span: a hundred years, as long as a period may be
/// ([`MAX_PERIOD_DAYS`](crate::draft::MAX_PERIOD_DAYS)).
pub const MAX_SPAN_MONTHS: u32 = 1_200;
/// Most weeks of a span: a hundred years.
pub const MAX_SPAN_WEEKS: u32 = 5_200;
/// Most trading days of a span: a hundred years of an exchange that never closes.
pub const MAX_SPAN_DAYS: u32 = 36_500;
/// Most trading days of an embargo: about a year. Labels look ahead by days or weeks; more than a
/// year dropped is a gap in the training data and no embargo.
pub const MAX_EMBARGO_DAYS: u16 = 250;

/// A length of time.
///
/// Months and weeks are counted on the calendar, whatever is traded: a month after January 31 is
/// the last day of February. Days are trading days. A year is 12 months.
///
/// ```
/// use trialmill_common::validation::Span;
///
/// assert_eq!("36mo".parse(), Ok(Span::Months(36)));
/// assert_eq!("2y".parse(), Ok(Span::Months(24)));
/// assert_eq!("250d".parse(), Ok(Span::Days(250)));
/// assert_eq!(Span::Months(24).to_string(), "24mo");
///
/// let fault = "36m".parse::<Span>().unwrap_err();
/// assert_eq!(fault.detail, "\"36m\" is not a length; did you mean 36mo?");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Calendar months.
    Months(u32),
    /// Calendar weeks, seven days each.
    Weeks(u32),
    /// Trading days.
    Days(u32),
}

/// Why a text is no length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct SpanFault {
    /// `malformed_span` or `out_of_range`.
    pub code: &'static str,
    /// The bounds that were passed.
    pub limit: Option<String>,
    /// A sentence without the name of the field, such as `"36m" is not a length; did you mean
    /// 36mo?`.
    pub detail: String,
}

/// Units: as written, and what else people write for them. `m` is a month here: nothing is shorter
/// than a day.
const UNITS: [(&str, &[&str]); 4] = [
    ("mo", &["m", "mon", "mos", "month", "months"]),
    ("y", &["yr", "yrs", "year", "years", "a"]),
    ("w", &["wk", "wks", "week", "weeks"]),
    (
        "d",
        &["day", "days", "td", "b", "bd", "row", "rows", "bar", "bars"],
    ),
];
/// Most characters of a text that a message repeats.
const SHOWN: usize = 32;

impl Span {
    /// How often it has its unit: 36 of `36mo`.
    #[must_use]
    pub fn count(self) -> u32 {
        match self {
            Self::Months(count) | Self::Weeks(count) | Self::Days(count) => count,
        }
    }

    /// Its unit as written: `mo`, `w` or `d`.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Months(_) => "mo",
            Self::Weeks(_) => "w",
            Self::Days(_) => "d",
        }
    }

    /// What it counts, in words, for a message.
    pub(super) fn units(self) -> &'static str {
        match self {
            Self::Months(_) => "months",
            Self::Weeks(_) => "weeks",
            Self::Days(_) => "trading days",
        }
    }
}

/// The beginning of a text, for a message.
fn shown(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN).collect();
    let cut = if shown.len() < text.len() { "..." } else { "" };
    format!("\"{shown}{cut}\"")
}

/// The number that a text begins with, and the unit that was probably meant by the rest of it.
fn meant(text: &str) -> (&str, Option<&'static str>) {
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    let rest = rest.trim().trim_start_matches(['-', '_']).to_lowercase();
    let unit = UNITS
        .iter()
        .find(|(unit, others)| *unit == rest || others.contains(&rest.as_str()));
    (number, unit.map(|(unit, _)| *unit))
}

/// A text that is no length, and the length that was probably meant.
fn malformed(text: &str) -> SpanFault {
    let advice = match meant(text) {
        (number, Some(unit)) if !number.is_empty() => format!("did you mean {number}{unit}?"),
        (number, None) if !number.is_empty() && number == text => format!(
            "it has no unit: write {number}mo (months), {number}y, {number}w or {number}d (trading \
             days)"
        ),
        _ => "write a whole number with mo (months), y, w or d (trading days), such as 36mo"
            .to_owned(),
    };
    SpanFault {
        code: "malformed_span",
        limit: None,
        detail: format!("{} is not a length; {advice}", shown(text)),
    }
}

/// A text that is no number of trading days, and what was probably meant.
fn malformed_days(text: &str) -> SpanFault {
    let advice = match meant(text) {
        ("", _) => "write them, such as 5d".to_owned(),
        (number, Some("d")) => format!("did you mean {number}d?"),
        (number, None) if number == text => format!("did you mean {number}d?"),
        _ => "write them, such as 5d".to_owned(),
    };
    SpanFault {
        code: "malformed_span",
        limit: None,
        detail: format!("{} is not a number of trading days; {advice}", shown(text)),
    }
}

/// A count outside its bounds.
fn out_of_range(number: &str, least: u32, most: u32, unit: &str) -> SpanFault {
    let limit = format!("{least}{unit} to {most}{unit}");
    let number: String = number.chars().take(SHOWN).collect();
    SpanFault {
        code: "out_of_range",
        detail: format!("{number}{unit} is out of range; write {limit}"),
        limit: Some(limit),
    }
}

/// The number and the unit of a text, where they are written as they should be.
fn split(text: &str) -> Result<(&str, &'static str), SpanFault> {
    let (unit, _) = UNITS
        .iter()
        .rev()
        .find(|(unit, _)| text.ends_with(unit))
        .ok_or_else(|| malformed(text))?;
    let number = &text[..text.len() - unit.len()];
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed(text));
    }
    Ok((number, unit))
}

impl FromStr for Span {
    type Err = SpanFault;

    fn from_str(text: &str) -> Result<Self, SpanFault> {
        let (number, unit) = split(text)?;
        let (most, span): (u32, fn(u32) -> Self) = match unit {
            "mo" => (MAX_SPAN_MONTHS, Self::Months),
            "y" => (MAX_SPAN_MONTHS / 12, |years| Self::Months(12 * years)),
            "w" => (MAX_SPAN_WEEKS, Self::Weeks),
            _ => (MAX_SPAN_DAYS, Self::Days),
        };
        match number.parse() {
            Ok(count) if (1..=most).contains(&count) => Ok(span(count)),
            _ => Err(out_of_range(number, 1, most, unit)),
        }
    }
}

/// The canonical text: years as months.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.count(), self.unit())
    }
}

/// Trading days that are dropped between what is trained on and what is judged: 0 to
/// [`MAX_EMBARGO_DAYS`], written as `5d`.
///
/// ```
/// use trialmill_common::validation::Embargo;
///
/// let embargo: Embargo = "5d".parse()?;
/// assert_eq!((embargo.rows(), Embargo::default().to_string()), (5, "0d".to_owned()));
/// let fault = "1mo".parse::<Embargo>().unwrap_err();
/// assert_eq!(fault.detail, "\"1mo\" is not a number of trading days; write them, such as 5d");
/// # Ok::<(), trialmill_common::validation::SpanFault>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Embargo(u16);

impl Embargo {
    /// How many trading days: rows of the calendar.
    #[must_use]
    pub fn rows(self) -> usize {
        self.0.into()
    }
}

impl FromStr for Embargo {
    type Err = SpanFault;

    fn from_str(text: &str) -> Result<Self, SpanFault> {
        let Ok((number, "d")) = split(text) else {
            return Err(malformed_days(text));
        };
        match number.parse() {
            Ok(days) if days <= MAX_EMBARGO_DAYS => Ok(Self(days)),
            _ => Err(out_of_range(number, 0, MAX_EMBARGO_DAYS.into(), "d")),
        }
    }
}

impl fmt::Display for Embargo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}d", self.0)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Embargo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Embargo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_a_whole_number_and_a_unit_and_nothing_else() {
        for (text, span, canonical) in [
            ("1d", Span::Days(1), "1d"),
            ("036mo", Span::Months(36), "36mo"),
            ("100y", Span::Months(1200), "1200mo"),
            ("5200w", Span::Weeks(5200), "5200w"),
        ] {
            let read: Span = text.parse().unwrap();
            assert_eq!((read, read.to_string().as_str()), (span, canonical));
        }
        for (text, code, says) in [
            ("", "malformed_span", "such as 36mo"),
            ("mo", "malformed_span", "such as 36mo"),
            ("36", "malformed_span", "write 36mo (months)"),
            ("36 mo", "malformed_span", "did you mean 36mo?"),
            ("36MO", "malformed_span", "did you mean 36mo?"),
            ("3 Years", "malformed_span", "did you mean 3y?"),
            ("6-weeks", "malformed_span", "did you mean 6w?"),
            ("20days", "malformed_span", "did you mean 20d?"),
            ("1.5y", "malformed_span", "whole number"),
            ("-5d", "malformed_span", "such as 36mo"),
            ("+5d", "malformed_span", "such as 36mo"),
            ("٣mo", "malformed_span", "such as 36mo"),
            ("P3Y", "malformed_span", "such as 36mo"),
            ("0d", "out_of_range", "1d to 36500d"),
            ("1201mo", "out_of_range", "1mo to 1200mo"),
            ("101y", "out_of_range", "1y to 100y"),
            ("5201w", "out_of_range", "1w to 5200w"),
            ("99999999999999999999d", "out_of_range", "1d to 36500d"),
        ] {
            let fault = text.parse::<Span>().unwrap_err();
            assert_eq!(fault.code, code, "{text}: {fault}");
            assert!(fault.detail.contains(says), "{text}: {fault}");
        }
        let long = "é".repeat(10_000).parse::<Span>().unwrap_err();
        assert!(long.detail.len() < 250, "{long}");
    }

    #[test]
    fn an_embargo_may_be_nothing_but_no_year() {
        assert_eq!("0d".parse::<Embargo>().unwrap().rows(), 0);
        assert_eq!("250d".parse::<Embargo>().unwrap().rows(), 250);
        for (text, code, says) in [
            ("251d", "out_of_range", "0d to 250d"),
            ("70000d", "out_of_range", "0d to 250d"),
            ("1w", "malformed_span", "such as 5d"),
            ("", "malformed_span", "such as 5d"),
            ("5", "malformed_span", "did you mean 5d?"),
            ("5 days", "malformed_span", "did you mean 5d?"),
        ] {
            let fault = text.parse::<Embargo>().unwrap_err();
            assert_eq!(fault.code, code, "{text}");
            assert!(fault.detail.ends_with(says), "{fault}");
        }
    }
}
