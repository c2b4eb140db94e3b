//! What was known of a company on each row, against the price of the row.

use super::{Dataset, Instrument};
use crate::bars::midnight;
use crate::market::Fundamentals;
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
    /// it once, after [`Self::with_actions`]: a bonus that was given after a report divides its
    /// figures.
    ///
    /// A row knows the reports that were announced on days before its own: of each figure the latest.
    #[must_use]
    pub fn with_fundamentals(mut self, reports: &[Fundamentals]) -> Self {
        for (symbol, instrument) in self.symbols.iter().zip(&mut self.instruments) {
            let of_symbol = reports.iter().filter(|report| report.symbol == *symbol);
            let mut of_symbol: Vec<&Fundamentals> = of_symbol.collect();
            if !of_symbol.is_empty() {
                of_symbol.sort_by_key(|report| report.announced);
                instrument.yields = Some(Arc::new(instrument.yields_of(&of_symbol)));
            }
        }
        self
    }
}

impl Instrument {
    /// The reports are ordered by day.
    fn yields_of(&self, reports: &[&Fundamentals]) -> Yields {
        let raw = self.raw.as_ref().unwrap_or(&self.bars);
        // How many shares one of the first row has become.
        let mut shares = 1.0;
        let mut payouts = self.payouts.iter().peekable();
        let mut next = reports.iter().peekable();
        // Figures of one share of the first row.
        let mut known: [Option<f64>; 5] = [None; 5];
        let rows = raw.rows();
        let mut yields = Yields {
            earnings: Vec::with_capacity(rows),
            book: Vec::with_capacity(rows),
            sales: Vec::with_capacity(rows),
            ebitda: Vec::with_capacity(rows),
        };
        for (row, (&time, close)) in raw.time().iter().zip(raw.close()).enumerate() {
            // In the order of their days: a report of an earlier day is of the shares before the
            // bonus of this row.
            while let Some(report) = next.next_if(|r| midnight(r.announced) < day_of(time)) {
                let ex_before = |bar: usize| raw.time()[bar] < midnight(report.announced) + DAY;
                while let Some((_, payout)) = payouts.next_if(|(bar, _)| ex_before(*bar)) {
                    shares *= 1.0 + payout.bonus;
                }
                for (known, figure) in known.iter_mut().zip(report.figures()) {
                    *known = figure.map(|figure| figure * shares).or(*known);
                }
            }
            while let Some((_, payout)) = payouts.next_if(|(bar, _)| *bar <= row) {
                shares *= 1.0 + payout.bonus;
            }
            let [earnings, book, sales, ebitda, net_debt] =
                known.map(|figure| figure.map(|figure| figure / shares));
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
}

const DAY: i64 = crate::bars::SECONDS_PER_DAY;

/// The midnight that a bar's day begins with.
fn day_of(time: i64) -> i64 {
    time - time.rem_euclid(DAY)
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
        let days = 1..=6;
        let time = days.map(|d| midnight(day(&format!("2020-06-0{d}"))));
        let close = vec![10.0, 10.0, 10.0, 5.0, 5.0, 5.0];
        let columns = Columns {
            time: time.collect(),
            open: close.clone(),
            high: close.clone(),
            low: close.clone(),
            volume: vec![1e6; 6],
            close,
        };
        let bars = BarSeries::new("A", Frequency::Daily, columns).unwrap();
        let data = Dataset::new(vec![Arc::new(bars)], day("2020-06-02"), day("2020-06-06"));
        let bonus = CorporateAction {
            symbol: "A".to_owned(),
            ex_date: day("2020-06-04"),
            cash_per_share: 0.0,
            bonus_per_share: 1.0,
        };
        data.unwrap().with_actions(&[bonus]).unwrap()
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
        let data = split().with_fundamentals(&reports);
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
        let before = split().with_fundamentals(std::slice::from_ref(&first));
        let after = split().with_fundamentals(&[first, report("2020-06-05", 3.0)]);
        assert_same(
            &yields(&after).earnings[..5],
            &yields(&before).earnings[..5],
        );
        assert!(yields(&after).earnings[5] > yields(&before).earnings[5]);
    }

    #[test]
    fn an_enterprise_that_is_worth_less_than_nothing_has_no_yield() {
        let figures = [Some(-1.0), None, None, Some(2.0), Some(-10.0)];
        let data = split().with_fundamentals(&[Fundamentals::new("A", day("2020-06-01"), figures)]);
        assert!(yields(&data).ebitda.iter().all(|v| v.is_nan()));
        assert_same(&yields(&data).earnings[1..3], &[-0.1, -0.1]);
    }
}
