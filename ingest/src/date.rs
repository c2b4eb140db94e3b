//! Dates and times as files write them, read as exchange-local wall time.

use chrono::{NaiveDate, NaiveTime};
use trialmill_backtest::bars::midnight;

/// Exchange-local seconds of `2020-01-02`, `2020/01/02` or `20200102`, each optionally followed by
/// `T` or a blank and `HH:MM`, `HH:MM:SS` or `HH:MM:SS.fff`, and an offset, which is dropped; or of
/// `20200102093500` with or without milliseconds.
pub fn parse(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii();
    let dashed = text.len() >= 10 && matches!(text[4], b'-' | b'/') && text[7] == text[4];
    let (date, rest) = if dashed {
        (
            ymd(
                number(&text[..4])?,
                number(&text[5..7])?,
                number(&text[8..10])?,
            )?,
            &text[10..],
        )
    } else if text.len() >= 8 {
        (compact(number(&text[..8])?.into())?, &text[8..])
    } else {
        return None;
    };
    let seconds = match rest {
        [] => 0,
        [b'T' | b' ', time @ ..] => time_of_day(time)?,
        digits if !dashed && (digits.len() == 6 || digits.len() == 9) => digits_of_day(digits)?,
        _ => return None,
    };
    Some(date + seconds)
}

/// Exchange-local seconds of the number 20200102.
pub fn compact(number: i64) -> Option<i64> {
    let number = u32::try_from(number).ok()?;
    ymd(number / 10_000, number / 100 % 100, number % 100)
}

fn ymd(year: u32, month: u32, day: u32) -> Option<i64> {
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day).map(midnight)
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |value, digit| {
        digit
            .is_ascii_digit()
            .then(|| value * 10 + u32::from(digit - b'0'))
    })
}

/// Seconds of `093500` or `093500000`.
fn digits_of_day(digits: &[u8]) -> Option<i64> {
    let mut parts = digits.chunks(2);
    let mut part = || number(parts.next()?);
    let time = NaiveTime::from_hms_opt(part()?, part()?, part()?)?;
    number(&digits[6..])?;
    Some((time - NaiveTime::MIN).num_seconds())
}

fn time_of_day(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let clock = match text.find(['Z', 'z', '+', '-']) {
        Some(end) => text[..end].trim_end(),
        None => text,
    };
    let time = NaiveTime::parse_from_str(clock, "%H:%M:%S%.f")
        .or_else(|_| NaiveTime::parse_from_str(clock, "%H:%M"))
        .ok()?;
    Some((time - NaiveTime::MIN).num_seconds())
}

#[cfg(test)]
mod tests {
    use super::parse;

    const DAY: i64 = 18_263 * 86_400; // 2020-01-02

    #[test]
    fn the_usual_forms_are_read() {
        for text in [
            "2020-01-02",
            "2020/01/02",
            "20200102",
            " 2020-01-02 ",
            "2020-01-02 00:00",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(DAY), "{text}");
        }
        for text in [
            "2020-01-02T09:31:00",
            "2020-01-02 09:31:00.000",
            "20200102 09:31",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(DAY + 34_260), "{text}");
        }
        assert_eq!(parse(b"20200102093100000"), Some(DAY + 34_260));
        assert_eq!(parse(b"20200102093100"), Some(DAY + 34_260));
        assert_eq!(parse(b"2020-01-02T09:31:00+08:00"), Some(DAY + 34_260));
        assert_eq!(parse(b"2020-01-02T09:31:00Z"), Some(DAY + 34_260));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "2020",
            "2020-1-2",
            "2021-02-29",
            "2020-13-01",
            "02/01/2020",
            "2020-01/02",
            "2020-01-02x",
            "2020-01-02 25:00",
            "20200102123",
            "20200102246000",
            "20200102093100x00",
            "tomorrow at ten",
            "2020-01-02T",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
