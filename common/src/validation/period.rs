//! The days of a task, and counting on them in months, weeks and trading days.

use super::fault::PlanFault;
use super::span::Span;
use crate::draft::GRACE_DAYS;
use chrono::{Days, Months, NaiveDate, TimeDelta};

/// The days that a task trades on.
///
/// Windows are counted from the first day asked for and a holdout from the last, holidays or not,
/// so that years begin on January 1. Where trading begins more than [`GRACE_DAYS`] later, or ends
/// more than that earlier, it is the first or last trading day instead: what has no prices is no
/// part of a window.
#[derive(Debug, Clone, Copy)]
pub struct Period<'a> {
    /// The first day counted.
    start: NaiveDate,
    /// The day after the last day counted.
    end: NaiveDate,
    days: &'a [NaiveDate],
}

/// A place between two days: what is before it and what is not, on the calendar and in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edge {
    /// The first day that is not before it.
    pub(super) date: NaiveDate,
    /// The first row that is not before it.
    pub(super) row: usize,
}

impl<'a> Period<'a> {
    /// The period from `start` to `end`, both included, of which `days` are the trading days: every
    /// day on which any of the task's symbols has a bar, ascending. Rows of a plan are indices into
    /// it.
    ///
    /// # Errors
    /// When there is no day, or the days are not ascending or not within the period.
    pub fn new(start: NaiveDate, end: NaiveDate, days: &'a [NaiveDate]) -> Result<Self, PlanFault> {
        let (Some(first), Some(last)) = (days.first(), days.last()) else {
            return Err(PlanFault::NoDays { start, end });
        };
        if let Some(pair) = days.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(PlanFault::DaysOutOfOrder { day: pair[1] });
        }
        if let Some(day) = [*first, *last]
            .into_iter()
            .find(|day| !(start..=end).contains(day))
        {
            return Err(PlanFault::DayOutside { day, start, end });
        }
        let grace = TimeDelta::days(GRACE_DAYS);
        let start = if *first - start > grace {
            *first
        } else {
            start
        };
        let end = if end - *last > grace { *last } else { end };
        let end = end.succ_opt().unwrap_or(end);
        Ok(Self { start, end, days })
    }

    /// Its beginning.
    pub(super) fn first(&self) -> Edge {
        Edge {
            date: self.start,
            row: 0,
        }
    }

    /// Its end.
    pub(super) fn last(&self) -> Edge {
        Edge {
            date: self.end,
            row: self.days.len(),
        }
    }

    /// The trading day of a row.
    pub(super) fn day(&self, row: usize) -> NaiveDate {
        self.days[row]
    }

    /// The edge after the row before this one. It is the same whatever comes later.
    fn after_row_before(&self, row: usize) -> Edge {
        let date = match row.checked_sub(1) {
            Some(before) => self.days[before].succ_opt().unwrap_or(self.end),
            None => self.start,
        };
        Edge { date, row }
    }

    /// The edge before a row: on its trading day, but for the first.
    pub(super) fn row(&self, row: usize) -> Edge {
        match self.days.get(row) {
            _ if row == 0 => self.first(),
            Some(date) => Edge { date: *date, row },
            None => self.last(),
        }
    }

    fn edge(&self, date: NaiveDate) -> Edge {
        let row = self.days.partition_point(|day| *day < date);
        Edge { date, row }
    }

    /// The edge that lies so many of each span after the beginning, if it is not after `until`.
    ///
    /// Months are added first and at once, so that the end of a short month does not shift what
    /// follows; then weeks; then trading days. Spans that come to the same sum give the same edge.
    pub(super) fn after(&self, spans: &[(Span, usize)], until: Edge) -> Option<Edge> {
        let (mut months, mut weeks, mut rows) = (0_usize, 0_usize, 0_usize);
        for (span, times) in spans {
            let (sum, count) = match span {
                Span::Months(count) => (&mut months, *count),
                Span::Weeks(count) => (&mut weeks, *count),
                Span::Days(count) => (&mut rows, *count),
            };
            *sum = sum.checked_add(times.checked_mul(usize::try_from(count).ok()?)?)?;
        }
        let months = Months::new(u32::try_from(months).ok()?);
        let days = Days::new(u64::try_from(weeks.checked_mul(7)?).ok()?);
        let date = self.start.checked_add_months(months)?;
        let date = date.checked_add_days(days)?;
        if date > until.date {
            return None;
        }
        let calendar = self.edge(date);
        let row = calendar.row.checked_add(rows)?;
        if rows == 0 {
            return Some(calendar);
        }
        (row <= until.row).then(|| self.after_row_before(row))
    }

    /// The edge that lies one span before `edge`; the beginning where the span is longer than what
    /// there is.
    pub(super) fn before(&self, edge: Edge, span: Span) -> Edge {
        let date = match span {
            Span::Months(count) => edge.date.checked_sub_months(Months::new(count)),
            Span::Weeks(count) => edge.date.checked_sub_days(Days::new(u64::from(count) * 7)),
            Span::Days(count) => {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                return self.row(edge.row.saturating_sub(count));
            }
        };
        match date {
            Some(date) if date > self.start => self.edge(date),
            _ => self.first(),
        }
    }

    /// How many whole units of a span it has, counted from either end: the fewer of the two, where
    /// the lengths of months make them differ.
    pub(super) fn whole(&self, unit: Span) -> u32 {
        let count = match unit {
            Span::Months(_) => {
                let fits = |months: u32| {
                    let months = Months::new(months);
                    let forward = self.start.checked_add_months(months);
                    let back = self.end.checked_sub_months(months);
                    forward.is_some_and(|date| date <= self.end)
                        && back.is_some_and(|date| date >= self.start)
                };
                return (0..).find(|months| !fits(months + 1)).unwrap_or_default();
            }
            Span::Weeks(_) => usize::try_from((self.end - self.start).num_weeks()),
            Span::Days(_) => Ok(self.days.len()),
        };
        let count = count.ok().and_then(|count| u32::try_from(count).ok());
        count.unwrap_or(u32::MAX)
    }

    /// The latest start with which a sum of months or of weeks would fit.
    pub(super) fn start_for(&self, needed: Span) -> Option<NaiveDate> {
        match needed {
            Span::Months(count) => self.end.checked_sub_months(Months::new(count)),
            Span::Weeks(count) => self.end.checked_sub_days(Days::new(u64::from(count) * 7)),
            Span::Days(_) => None,
        }
    }

    /// Its first and last day counted.
    pub(super) fn bounds(&self) -> (NaiveDate, NaiveDate) {
        (self.start, self.end.pred_opt().unwrap_or(self.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(year: i32, month: u32, day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(year, month, day).unwrap()
    }

    fn every_day(from: NaiveDate, to: NaiveDate) -> Vec<NaiveDate> {
        from.iter_days().take_while(|day| *day <= to).collect()
    }

    #[test]
    fn months_are_added_at_once_so_that_a_short_one_shifts_nothing() {
        let days = every_day(day(2019, 1, 31), day(2020, 12, 31));
        let period = Period::new(day(2019, 1, 31), day(2020, 12, 31), &days).unwrap();
        let after = |spans: &[(Span, usize)]| period.after(spans, period.last()).unwrap().date;
        let month = Span::Months(1);
        assert_eq!(after(&[(month, 1)]), day(2019, 2, 28));
        assert_eq!(after(&[(month, 1), (month, 1)]), day(2019, 3, 31));
        assert_eq!(after(&[(month, 13)]), day(2020, 2, 29));
        // Weeks and trading days come after, in whatever order they are named.
        let mixed = [(Span::Days(1), 1), (Span::Weeks(1), 2), (month, 1)];
        assert_eq!(after(&mixed), day(2019, 3, 15));
        let back = |date, months| period.before(period.edge(date), Span::Months(months)).date;
        assert_eq!(back(day(2020, 3, 31), 1), day(2020, 2, 29));
        assert_eq!(back(day(2020, 3, 31), 36), day(2019, 1, 31));
    }

    #[test]
    fn a_span_that_ends_with_the_period_fits_and_one_day_more_does_not() {
        let days = every_day(day(2020, 1, 1), day(2020, 12, 31));
        let period = Period::new(day(2020, 1, 1), day(2020, 12, 31), &days).unwrap();
        let last = period.last();
        for span in [Span::Months(12), Span::Days(366)] {
            assert_eq!(period.after(&[(span, 1)], last), Some(last));
        }
        assert_eq!(
            period.after(&[(Span::Weeks(1), 52)], last),
            Some(period.row(364))
        );
        assert_eq!(period.after(&[(Span::Days(367), 1)], last), None);
        assert_eq!(period.after(&[(Span::Months(1), 13)], last), None);
        assert_eq!(
            period.after(&[(Span::Months(1200), usize::MAX)], last),
            None
        );
        assert_eq!(period.whole(Span::Months(1)), 12);
        assert_eq!(period.whole(Span::Weeks(1)), 52);
        assert_eq!(period.whole(Span::Days(1)), 366);
    }

    #[test]
    fn what_has_no_prices_is_no_part_of_the_period() {
        let days = every_day(day(2020, 1, 16), day(2020, 6, 15));
        let near = Period::new(day(2020, 1, 1), day(2020, 6, 30), &days).unwrap();
        assert_eq!(near.bounds(), (day(2020, 1, 1), day(2020, 6, 30)));
        let far = Period::new(day(2019, 12, 31), day(2020, 7, 1), &days).unwrap();
        assert_eq!(far.bounds(), (day(2020, 1, 16), day(2020, 6, 15)));
    }

    #[test]
    fn days_must_be_there_ascending_and_inside() {
        let (start, end) = (day(2020, 1, 1), day(2020, 12, 31));
        let refused = |days: &[NaiveDate]| Period::new(start, end, days).unwrap_err().code();
        assert_eq!(refused(&[]), "no_trading_days");
        assert_eq!(refused(&[start, start]), "days_out_of_order");
        assert_eq!(refused(&[day(2019, 12, 31), start]), "day_outside");
        assert_eq!(refused(&[start, day(2021, 1, 1)]), "day_outside");
    }
}
