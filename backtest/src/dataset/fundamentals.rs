//! What was known of a company on each row, against the price of the row.

use super::Dataset;
use crate::bars::{BarSeries, SECONDS_PER_DAY, midnight};
use crate::market::{CorporateAction, Fundamentals};
use std::sync::Arc;

/// How much of a company a unit of price buys, on each row of the bars of a symbol; NaN where the
/// figure was not known yet.
#[derive(Debug)]
pub(crate) struct Yields {
    pub(super) earnings: Vec<f64>,
    pub(super) book: Vec<f64>,
    pub(super) sales: Vec<f64>,
    pub(super) ebitda: Vec<f64>,
}

impl Dataset {
    /// Adds what companies reported; reports of symbols that are not of this data are left out. Call
    /// it once, after [`Self::with_actions`], with the same actions: a bonus whose ex-date is after a report
    /// divides its figures, whether the share traded on that day or not.
    ///
    /// A row knows the reports that were announced on days before its own: of each figure the latest.
    #[must_use]
    pub fn with_fundamentals(
        mut self,
        reports: &[Fundamentals],
        actions: &[CorporateAction],
    ) -> Self {
        for (symbol, instrument) in self.symbols.iter().zip(&mut self.instruments) {
            let of_symbol = reports.iter().filter(|report| report.symbol == *symbol);
            let mut of_symbol: Vec<&Fundamentals> = of_symbol.collect();
            if !of_symbol.is_empty() {
                of_symbol.sort_by_key(|report| report.announced);
                let shares = Shares::of(symbol, actions);
                let raw = instrument.raw.as_ref().unwrap_or(&instrument.bars);
                instrument.yields = Some(Arc::new(yields_of(raw, &of_symbol, &shares)));
            }
        }
        self
    }
}

/// How many shares one of the beginning has become, by day.
struct Shares(Vec<(i64, f64)>);

impl Shares {
    fn of(symbol: &str, actions: &[CorporateAction]) -> Self {
        let of_symbol = actions.iter().filter(|action| action.symbol == symbol);
        let mut bonuses: Vec<(i64, f64)> = of_symbol
            .map(|action| (midnight(action.ex_date), action.bonus_per_share))
            .collect();
        bonuses.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let mut shares = 1.0;
        // What is given on one day is for the shares held before it.
        let days = bonuses.chunk_by(|a, b| a.0 == b.0).map(|of_day| {
            shares *= 1.0 + of_day.iter().map(|(_, bonus)| bonus).sum::<f64>();
            (of_day[0].0, shares)
        });
        Self(days.collect())
    }

    /// At the end of the day that begins at this midnight.
    fn on(&self, day: i64) -> f64 {
        let place = self.0.partition_point(|(ex_date, _)| *ex_date <= day);
        place.checked_sub(1).map_or(1.0, |last| self.0[last].1)
    }
}

/// What was known on each row of these bars as traded; the reports are ordered by day.
fn yields_of(raw: &BarSeries, reports: &[&Fundamentals], shares: &Shares) -> Yields {
    let mut next = reports.iter().peekable();
    // Figures of one share of the beginning.
    let mut known: [Option<f64>; 5] = [None; 5];
    let rows = raw.rows();
    let mut yields = Yields {
        earnings: Vec::with_capacity(rows),
        book: Vec::with_capacity(rows),
        sales: Vec::with_capacity(rows),
        ebitda: Vec::with_capacity(rows),
    };
    for (time, close) in raw.time().iter().zip(raw.close()) {
        let day = time - time.rem_euclid(SECONDS_PER_DAY);
        while let Some(report) = next.next_if(|report| midnight(report.announced) < day) {
            let then = shares.on(midnight(report.announced));
            for (known, figure) in known.iter_mut().zip(report.figures()) {
                *known = figure.map(|figure| figure * then).or(*known);
            }
        }
        let now = shares.on(day);
        let [earnings, book, sales, ebitda, net_debt] =
            known.map(|figure| figure.map(|figure| figure / now));
        let against = |figure: Option<f64>, price: f64| match figure {
            Some(figure) if price > 0.0 => figure / price,
            _ => f64::NAN,
        };
        yields.earnings.push(against(earnings, *close));
        yields.book.push(against(book, *close));
        yields.sales.push(against(sales, *close));
        let enterprise = close + net_debt.unwrap_or(0.0);
        yields.ebitda.push(against(ebitda, enterprise));
    }
    yields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bars::{BarSeries, Columns, Frequency};
    use crate::market::CorporateAction;
    use chrono::NaiveDate;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    /// A share at 10 for three days, at 5 for three days after a bonus of one for one on 2020-06-04.
    fn split() -> Dataset {
        traded(&[1e6; 6])
    }

    fn bonus() -> CorporateAction {
        CorporateAction {
            symbol: "A".to_owned(),
            ex_date: day("2020-06-04"),
            cash_per_share: 0.0,
            bonus_per_share: 1.0,
        }
    }

    /// The same with these volumes.
    fn traded(volume: &[f64; 6]) -> Dataset {
        let days = 1..=6;
        let time = days.map(|d| midnight(day(&format!("2020-06-0{d}"))));
        let close = vec![10.0, 10.0, 10.0, 5.0, 5.0, 5.0];
        let columns = Columns {
            time: time.collect(),
            open: close.clone(),
            high: close.clone(),
            low: close.clone(),
            volume: volume.to_vec(),
            close,
        };
        let bars = BarSeries::new("A", Frequency::Daily, columns).unwrap();
        let data = Dataset::new(vec![Arc::new(bars)], day("2020-06-02"), day("2020-06-06"));
        data.unwrap().with_actions(&[bonus()]).unwrap()
    }

    fn yields(data: &Dataset) -> &Yields {
        data.instruments[0].yields.as_deref().unwrap()
    }

    const NOT_YET: f64 = f64::NAN;

    fn assert_same(found: &[f64], wanted: &[f64]) {
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(found), bits(wanted), "{found:?}, not {wanted:?}");
    }

    #[test]
    fn a_report_is_known_from_the_day_after_it_and_of_the_shares_of_its_day() {
        let report = |announced, figures| Fundamentals::new("A", day(announced), figures);
        // In any order, and one of another share.
        let reports = [
            // Announced on the ex-date: of the doubled shares. Its book value is not told again.
            report("2020-06-04", [Some(0.4), None, None, None, None]),
            // Announced before: 1 of a share at 10, and 0.5 of one at 5 later.
            report(
                "2020-06-02",
                [Some(1.0), Some(8.0), None, Some(2.0), Some(-5.0)],
            ),
            Fundamentals::new("B", day("2019-01-01"), [Some(9.0); 5]),
        ];
        let data = split().with_fundamentals(&reports, &[bonus()]);
        let found = yields(&data);
        assert_same(&found.earnings, &[NOT_YET, NOT_YET, 0.1, 0.1, 0.08, 0.08]);
        assert_same(&found.book, &[NOT_YET, NOT_YET, 0.8, 0.8, 0.8, 0.8]);
        assert!(found.sales.iter().all(|v| v.is_nan()));
        // 2 by 10 - 5, and 1 by 5 - 2.5.
        assert_same(&found.ebitda, &[NOT_YET, NOT_YET, 0.4, 0.4, 0.4, 0.4]);
        // They begin with the warm-up rows of a view, and go with other periods.
        let other = data.over(day("2020-06-03"), day("2020-06-05")).unwrap();
        let (view, earlier) = other.instruments[0].view(1);
        assert_eq!((view.rows(), earlier), (4, 1));
        assert_same(view.yields.unwrap().earnings, &[NOT_YET, 0.1, 0.1, 0.08]);
        assert!(split().instruments[0].view(0).0.yields.is_none());
    }

    #[test]
    fn later_reports_change_no_earlier_row() {
        let report = |announced, earnings| {
            Fundamentals::new(
                "A",
                day(announced),
                [Some(earnings), None, None, None, None],
            )
        };
        let first = report("2020-06-01", 1.0);
        let before = split().with_fundamentals(std::slice::from_ref(&first), &[bonus()]);
        let after = split().with_fundamentals(&[first, report("2020-06-05", 3.0)], &[bonus()]);
        assert_same(
            &yields(&after).earnings[..5],
            &yields(&before).earnings[..5],
        );
        assert!(yields(&after).earnings[5] > yields(&before).earnings[5]);
    }

    #[test]
    fn an_enterprise_that_is_worth_less_than_nothing_has_no_yield() {
        let figures = [Some(-1.0), None, None, Some(2.0), Some(-10.0)];
        let report = Fundamentals::new("A", day("2020-06-01"), figures);
        let data = split().with_fundamentals(&[report], &[bonus()]);
        assert!(yields(&data).ebitda.iter().all(|v| v.is_nan()));
        assert_same(&yields(&data).earnings[1..3], &[-0.1, -0.1]);
    }

    #[test]
    fn a_report_between_the_ex_date_and_the_next_trade_is_of_the_new_shares() {
        // Suspended on the ex-date and the day after, when 0.5 of a new share is reported.
        let data = traded(&[1e6, 1e6, 1e6, 0.0, 0.0, 1e6]);
        let figures = [Some(0.5), None, None, None, None];
        let report = Fundamentals::new("A", day("2020-06-05"), figures);
        let data = data.with_fundamentals(&[report], &[bonus()]);
        let found = &yields(&data).earnings;
        assert_same(found, &[NOT_YET, NOT_YET, NOT_YET, 0.1]);
    }

    #[test]
    fn a_bonus_from_before_the_first_bar_divides_what_was_reported_before_it() {
        let figures = [Some(2.0), None, None, None, None];
        let report = Fundamentals::new("A", day("2019-05-31"), figures);
        let early = CorporateAction {
            ex_date: day("2019-06-15"),
            ..bonus()
        };
        let data = split().with_fundamentals(&[report], &[bonus(), early]);
        assert_same(&yields(&data).earnings[..4], &[0.1; 4]);
    }
}
