//! Several backtests that are one trial: a book for each symbol, a flat start in each segment.

use super::Subject;
use super::aggregate::{Named, over_segments, over_symbols};
use super::backtest::{Figures, dataset, figures};
use super::breakdown::{Breakdown, SegmentFigures, SymbolFigures, by_name};
use super::pooled::{Equity, StretchReturns, days_of, stats};
use super::trouble::Reason;
use crate::bars::PinnedData;
use chrono::NaiveDate;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use trialmill_backtest::bars::{BarSeries, midnight};
use trialmill_backtest::config::BacktestConfig;
use trialmill_backtest::engine::{Backtest, Dataset, RunError};
use trialmill_backtest::strategy::{Params, Strategy};
use trialmill_backtest::trust::TrialStats;
use trialmill_common::spec::{Aggregate, Scope, Target, TaskSpec};
use trialmill_common::validation::MIN_ROWS_ALONE;

/// The backtests of a trial: one for each book and stretch of days.
pub(crate) struct Panel {
    strategy: &'static dyn Strategy,
    objectives: Vec<Target>,
    /// How the books become one; nothing for the one book of a portfolio.
    aggregate: Option<Aggregate>,
    stretches: Vec<Stretch>,
    /// Ascending by name.
    books: Vec<Book>,
    /// Stock codes that are not counted, with the reason.
    left_out: Vec<(String, String)>,
}

/// A stretch of days.
struct Stretch {
    index: usize,
    first: NaiveDate,
    last: NaiveDate,
    /// The days of all its backtests.
    days: Vec<i64>,
}

impl fmt::Display for Stretch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "segment {} ({} to {})",
            self.index, self.first, self.last
        )
    }
}

struct Book {
    /// The stock code; nothing for a portfolio.
    code: String,
    /// One for each stretch, but for those in which the bars of the code are too few.
    backtests: Vec<Option<Backtest>>,
}

/// What a trial gave.
pub(super) struct Scored {
    pub(super) figures: Figures,
    pub(super) stats: Option<TrialStats>,
    /// Positions opened, of all of them.
    pub(super) entries: usize,
    /// By book, for each stretch that it has.
    parts: Vec<Vec<(usize, Figures)>>,
}

/// What the stretches gave that were run.
struct Found {
    /// By book, for each stretch that it has.
    parts: Vec<Vec<(usize, Figures)>>,
    /// The returns of each stretch.
    pooled: BTreeMap<usize, StretchReturns>,
    entries: usize,
}

impl Found {
    fn of(panel: &Panel) -> Self {
        Self {
            parts: vec![Vec::new(); panel.books.len()],
            pooled: BTreeMap::new(),
            entries: 0,
        }
    }

    /// The parts of each book in the order of the stretches, whichever was run first.
    fn in_order(&self) -> Vec<Vec<(usize, Figures)>> {
        let mut parts = self.parts.clone();
        for part in &mut parts {
            part.sort_by_key(|(index, _)| *index);
        }
        parts
    }
}

fn stretches(days: &[(NaiveDate, NaiveDate)]) -> Vec<Stretch> {
    let stretch = |(index, &(first, last))| Stretch {
        index,
        first,
        last,
        days: Vec::new(),
    };
    days.iter().enumerate().map(stretch).collect()
}

impl Panel {
    /// Makes every backtest ready.
    ///
    /// A symbol alone is not counted in a stretch in which it has fewer than [`MIN_ROWS_ALONE`]
    /// trading days, nor at all where that is every stretch. This is the same for every trial.
    ///
    /// # Errors
    /// What is wrong with the bars or the settings, or that no symbol is left.
    pub(super) fn prepare(
        subject: &Subject,
        strategy: &'static dyn Strategy,
        data: &PinnedData,
        config: &BacktestConfig,
    ) -> Result<Self, Reason> {
        let stretches = match subject.segments.as_slice() {
            [] => stretches(&[(subject.first, subject.last)]),
            segments => stretches(segments),
        };
        let mut panel = Self {
            strategy,
            objectives: subject.objectives.clone(),
            aggregate: subject.scope.aggregate(),
            stretches,
            books: Vec::new(),
            left_out: Vec::new(),
        };
        match subject.scope {
            Scope::Portfolio => panel.add_portfolio(subject, data, config)?,
            Scope::PerSymbol(_) => {
                for (code, subject, data) in alone(subject, data) {
                    panel.add_symbol(code, &subject, &data, config)?;
                }
            }
        }
        panel.count_days();
        match (panel.books.is_empty(), panel.left_out.first()) {
            (true, Some((code, reason))) => Err(Reason::data(format!(
                "no symbol has enough bars; {code}: {reason}"
            ))),
            (true, None) => Err(Reason::data("there is no symbol".to_owned())),
            (false, _) => Ok(panel),
        }
    }

    /// A portfolio over segments of the days of a backtest.
    ///
    /// # Errors
    /// What keeps a segment from being backtested.
    pub(super) fn of_segments(
        spec: &TaskSpec,
        strategy: &'static dyn Strategy,
        segments: &[(NaiveDate, NaiveDate)],
        whole: &Backtest,
    ) -> Result<Self, Reason> {
        let mut panel = Self {
            strategy,
            objectives: spec.objectives.clone(),
            aggregate: None,
            stretches: stretches(segments),
            books: Vec::new(),
            left_out: Vec::new(),
        };
        panel.lay_portfolio(whole.data(), whole.config())?;
        panel.count_days();
        Ok(panel)
    }

    /// The days of all stretches.
    pub(super) fn days(&self) -> usize {
        self.stretches
            .iter()
            .map(|stretch| stretch.days.len())
            .sum()
    }

    fn count_days(&mut self) {
        for stretch in &mut self.stretches {
            let of_stretch = self.books.iter().map(|book| &book.backtests[stretch.index]);
            stretch.days = days_of(of_stretch.flatten());
        }
    }

    fn add_portfolio(
        &mut self,
        subject: &Subject,
        data: &PinnedData,
        config: &BacktestConfig,
    ) -> Result<(), Reason> {
        let whole = dataset(subject, data, subject.first, subject.last).map_err(Reason::data)?;
        self.lay_portfolio(&whole, config)
    }

    /// One book, a backtest for each stretch of the days.
    fn lay_portfolio(&mut self, whole: &Dataset, config: &BacktestConfig) -> Result<(), Reason> {
        let mut backtests = Vec::with_capacity(self.stretches.len());
        for stretch in &self.stretches {
            let data = whole.over(stretch.first, stretch.last);
            let data = data.map_err(|error| Reason::data(format!("{stretch}: {error}")))?;
            backtests.push(Some(backtest(data, config)?));
        }
        self.books.push(Book {
            code: String::new(),
            backtests,
        });
        Ok(())
    }

    fn add_symbol(
        &mut self,
        code: String,
        subject: &Subject,
        data: &PinnedData,
        config: &BacktestConfig,
    ) -> Result<(), Reason> {
        let (first, last) = (subject.first, subject.last);
        let fewest = data
            .series
            .iter()
            .map(|one| traded_days(one, first, last))
            .min();
        let mut backtests = Vec::with_capacity(self.stretches.len());
        if fewest.unwrap_or(0) >= MIN_ROWS_ALONE {
            let whole = dataset(subject, data, first, last)
                .map_err(|error| Reason::data(format!("{code}: {error}")))?;
            for stretch in &self.stretches {
                let data = whole.over(stretch.first, stretch.last).ok();
                let data = data.filter(|data| data.fewest_rows() >= MIN_ROWS_ALONE);
                backtests.push(data.map(|data| backtest(data, config)).transpose()?);
            }
        }
        if backtests.iter().any(Option::is_some) {
            self.books.push(Book { code, backtests });
            return Ok(());
        }
        let part = match self.stretches.len() {
            1 => "from",
            _ => "in any segment from",
        };
        self.left_out.push((
            code,
            format!("fewer than {MIN_ROWS_ALONE} trading days {part} {first} to {last}"),
        ));
        Ok(())
    }

    /// Runs every backtest with these parameters, one after the other.
    ///
    /// # Errors
    /// As [`Backtest::trial`].
    pub(super) fn trial(
        &self,
        params: &Params,
        stop: &dyn Fn() -> bool,
    ) -> Result<Scored, RunError> {
        let mut found = Found::of(self);
        for stretch in &self.stretches {
            self.run(stretch, params, stop, &mut found)?;
        }
        Ok(self.scored(&found))
    }

    /// The same, stretch by stretch in the order of their indices in `order`. After each `goes_on` is
    /// told the figures so far, and whether it was the last, and says whether to go on; nothing when it did not.
    ///
    /// Whatever the order, the result of a trial that ran to its end is the same bits.
    ///
    /// # Errors
    /// As [`Backtest::trial`].
    pub(super) fn trial_in_order(
        &self,
        params: &Params,
        stop: &dyn Fn() -> bool,
        order: &[u32],
        mut goes_on: impl FnMut(Figures, bool) -> bool,
    ) -> Result<Option<Scored>, RunError> {
        let mut found = Found::of(self);
        for (step, index) in order.iter().enumerate() {
            self.run(&self.stretches[*index as usize], params, stop, &mut found)?;
            let is_last = step + 1 == order.len();
            if !goes_on(self.aggregated(&found.in_order()), is_last) {
                return Ok(None);
            }
        }
        Ok(Some(self.scored(&found)))
    }

    fn run(
        &self,
        stretch: &Stretch,
        params: &Params,
        stop: &dyn Fn() -> bool,
        found: &mut Found,
    ) -> Result<(), RunError> {
        let mut equity = Equity::of(&stretch.days);
        let of_stretch = self
            .books
            .iter()
            .zip(&mut found.parts)
            .filter_map(|(book, part)| Some((book.backtests[stretch.index].as_ref()?, part)));
        for (backtest, part) in of_stretch {
            let report = backtest.trial(self.strategy, params, stop)?;
            found.entries += report.entries;
            part.push((stretch.index, figures(&report, &self.objectives)));
            equity.add(&report);
        }
        found.pooled.insert(stretch.index, equity.close());
        Ok(())
    }

    fn scored(&self, found: &Found) -> Scored {
        let parts = found.in_order();
        Scored {
            figures: self.aggregated(&parts),
            stats: stats(found.pooled.values()),
            entries: found.entries,
            parts,
        }
    }

    /// Over the segments first, then over the books.
    fn aggregated(&self, parts: &[Vec<(usize, Figures)>]) -> Figures {
        // A book that has nothing yet was not listed in the stretches so far.
        let run = self.books.iter().zip(parts);
        let books: Vec<(&Book, Figures)> = run
            .filter(|(_, part)| !part.is_empty())
            .map(|(book, part)| (book, self.of_book(part)))
            .collect();
        let Some(aggregate) = self.aggregate else {
            let only = books.into_iter().next();
            return only.map(|(_, figures)| figures).unwrap_or_default();
        };
        let named: Vec<Named<'_>> = books
            .iter()
            .map(|(book, figures)| Named {
                name: &book.code,
                figures,
            })
            .collect();
        over_symbols(aggregate, &named)
    }

    fn of_book(&self, part: &[(usize, Figures)]) -> Figures {
        if self.stretches.len() == 1 {
            return part
                .first()
                .map(|(_, figures)| figures.clone())
                .unwrap_or_default();
        }
        let named = part.iter().map(|(index, figures)| Named {
            name: &self.stretches[*index],
            figures,
        });
        over_segments(&named.collect::<Vec<_>>())
    }

    /// What each backtest gave.
    pub(super) fn breakdown(&self, scored: &Scored) -> Breakdown {
        if self.aggregate.is_none() {
            let parts = scored.parts.iter().flatten();
            let segments = parts.map(|(index, figures)| SegmentFigures {
                index: *index,
                from: self.stretches[*index].first,
                to: self.stretches[*index].last,
                metrics: by_name(figures),
            });
            return Breakdown::Segments(segments.collect());
        }
        let counted = self.books.iter().zip(&scored.parts);
        let counted = counted.map(|(book, part)| SymbolFigures {
            symbol: book.code.clone(),
            metrics: by_name(&self.of_book(part)),
            left_out: None,
        });
        let left_out = self.left_out.iter().map(|(code, reason)| SymbolFigures {
            symbol: code.clone(),
            metrics: BTreeMap::new(),
            left_out: Some(reason.clone()),
        });
        let mut symbols: Vec<SymbolFigures> = counted.chain(left_out).collect();
        symbols.sort_by(|a, b| a.symbol.cmp(&b.symbol));
        Breakdown::PerSymbol(symbols)
    }
}

fn backtest(data: Dataset, config: &BacktestConfig) -> Result<Backtest, Reason> {
    Backtest::new(data, config.clone()).map_err(|error| Reason::config(error.to_string()))
}

/// Each stock code by itself, ascending, so that the order of a request changes nothing: with the
/// bars of its own, and of its partner.
fn alone(subject: &Subject, data: &PinnedData) -> Vec<(String, Subject, PinnedData)> {
    let series = &data.series;
    let find = |symbol: &str| series.iter().find(|one| one.symbol() == symbol).cloned();
    let with = |series: Vec<Arc<BarSeries>>| {
        let records = data.records.iter();
        let of = |symbol: &str| series.iter().any(|one| one.symbol() == symbol);
        PinnedData {
            records: records.filter(|r| of(r.symbol())).cloned().collect(),
            series,
        }
    };
    let mut books: Vec<_> = if subject.is_paired() {
        let pairs = subject.pairs.iter();
        pairs
            .map(|(code, partner)| {
                let legs = [find(code), find(partner)].into_iter().flatten();
                (code.clone(), subject.with_only(code), with(legs.collect()))
            })
            .collect()
    } else {
        let each = series.iter();
        each.map(|one| {
            let code = one.symbol().to_owned();
            (code, subject.clone(), with(vec![Arc::clone(one)]))
        })
        .collect()
    };
    books.sort_by(|a, b| a.0.cmp(&b.0));
    books
}

/// The days on which a symbol traded.
fn traded_days(series: &BarSeries, first: NaiveDate, last: NaiveDate) -> usize {
    let after = last.succ_opt().unwrap_or(last);
    let rows = series.rows_between(midnight(first), midnight(after) - 1);
    rows.filter(|row| !series.is_suspended(*row)).count()
}
