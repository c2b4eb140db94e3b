//! What a code does not tell of a share.

use super::record::is_day;
use chrono::NaiveDate;

/// When a share was listed and when it was under special treatment: from an imported table.
///
/// Without it a share is never taken to be under special treatment, and the first rows of its
/// series are those of a new share, perhaps: see [`crate::engine`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The listing day.
    pub listed: Option<NaiveDate>,
    /// The first day on which it was listed no longer. The engine does not ask for it: what is held
    /// then stays, at its last close.
    pub delisted: Option<NaiveDate>,
    /// The times under special treatment, one after the other.
    pub special_treatment: Vec<Treatment>,
}

/// A time under special treatment (ST, *ST).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Treatment {
    /// The first day.
    pub first: NaiveDate,
    /// The last day; none while it lasts.
    pub last: Option<NaiveDate>,
}

impl Status {
    /// Whether it was under special treatment on a day.
    #[must_use]
    pub fn is_specially_treated(&self, day: NaiveDate) -> bool {
        let begun = |time: &&Treatment| time.first <= day;
        let mut times = self.special_treatment.iter().filter(begun);
        times.any(|time| time.last.is_none_or(|last| day <= last))
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks that it does not contradict itself.
    ///
    /// # Errors
    /// The first thing that cannot be so, in a sentence.
    pub fn check(&self) -> Result<(), String> {
        let Self {
            listed,
            delisted,
            special_treatment,
        } = self;
        let ends = special_treatment
            .iter()
            .flat_map(|t| [Some(t.first), t.last]);
        let days = [*listed, *delisted].into_iter().chain(ends).flatten();
        if let Some(day) = days.into_iter().find(|day| !is_day(*day)) {
            return Err(format!("{day} is not a day from 1800 to 2199; correct it"));
        }
        if let (Some(listed), Some(delisted)) = (listed, delisted)
            && delisted <= listed
        {
            return Err(format!(
                "it was delisted on {delisted}, not after its listing on {listed}; correct the days"
            ));
        }
        let mut before: Option<&Treatment> = None;
        for time in special_treatment {
            let Treatment { first, last } = *time;
            if let Some(last) = last
                && last < first
            {
                return Err(format!(
                    "special treatment ended on {last}, before it began on {first}; correct the days"
                ));
            }
            match before.map(|before| before.last) {
                None => {}
                Some(Some(ended)) if ended < first => {}
                Some(ended) => {
                    let ended =
                        ended.map_or("is open".to_owned(), |ended| format!("ends on {ended}"));
                    return Err(format!(
                        "special treatment begins on {first} while that before it {ended}; name each \
                         time once, the earlier ones first"
                    ));
                }
            }
            if listed.is_some_and(|listed| first < listed) {
                return Err(format!(
                    "special treatment began on {first}, before its listing; correct the days"
                ));
            }
            if delisted.is_some_and(|delisted| delisted <= last.unwrap_or(first)) {
                return Err(format!(
                    "special treatment lasted to {}, when it was delisted already; correct the days",
                    last.unwrap_or(first)
                ));
            }
            before = Some(time);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_contradicts_itself_is_told() {
        let day = |text: &str| -> NaiveDate { text.parse().unwrap() };
        let of = |listed: &str, delisted: &str, times: &[(&str, &str)]| Status {
            listed: listed.parse().ok(),
            delisted: delisted.parse().ok(),
            special_treatment: times
                .iter()
                .map(|(first, last)| Treatment {
                    first: day(first),
                    last: last.parse().ok(),
                })
                .collect(),
        };
        let (one, two) = (("2001-01-01", "2001-12-31"), ("2002-01-01", ""));
        for (status, told) in [
            (of("", "", &[]), None),
            (of("2000-01-04", "2003-01-01", &[one, two]), None),
            (
                of("2000-01-04", "2000-01-04", &[]),
                Some("not after its listing"),
            ),
            (of("", "", &[two, one]), Some("is open")),
            (
                of("", "", &[one, ("2001-12-31", "")]),
                Some("ends on 2001-12-31"),
            ),
            (
                of("", "", &[("2001-02-01", "2001-01-31")]),
                Some("before it began"),
            ),
            (of("2001-01-02", "", &[one]), Some("before its listing")),
            (of("", "2001-12-31", &[one]), Some("delisted already")),
            (of("1790-01-01", "", &[]), Some("1800 to 2199")),
        ] {
            let found = status.check();
            match told {
                None => assert_eq!(found, Ok(())),
                Some(told) => assert!(found.clone().unwrap_err().contains(told), "{found:?}"),
            }
        }
        let open = of("", "", &[one, two]);
        let treated = |text| open.is_specially_treated(day(text));
        assert_eq!(
            ["2000-12-31", "2001-12-31", "2001-06-01", "2150-01-01"].map(treated),
            [false, true, true, true]
        );
    }
}
