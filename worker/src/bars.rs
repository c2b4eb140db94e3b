//! The market data that a task has pinned, and what a backtest over some days of it is run on.

use chrono::NaiveDate;
use std::collections::BTreeMap;
use std::sync::Arc;
use trialmill_backtest::bars::{BarSeries, Frequency};
use trialmill_backtest::config::BacktestConfig;
use trialmill_backtest::engine::{Backtest, Dataset};
use trialmill_backtest::market::Record;

/// The pinned bars, and what was known beside them when the task was accepted.
#[derive(Clone, Debug, Default)]
pub struct PinnedData {
    /// The series of every symbol.
    pub series: Vec<Arc<BarSeries>>,
    /// The records that are pinned: of some of the symbols, or of none.
    pub records: Vec<Arc<Record>>,
}

impl PinnedData {
    /// Bytes taken in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let series: usize = self.series.iter().map(|one| one.memory_bytes()).sum();
        let records: usize = self.records.iter().map(|one| one.memory_bytes()).sum();
        series + records
    }

    /// The backtest of [`Self::over`].
    ///
    /// # Errors
    /// As [`Self::over`], and what is wrong with the assumptions.
    pub fn backtest(
        &self,
        pairs: Option<&BTreeMap<String, String>>,
        config: &BacktestConfig,
        (first, last): (NaiveDate, NaiveDate),
    ) -> Result<Backtest, String> {
        let data = self.over(pairs, first, last)?;
        Backtest::new(data, config.clone()).map_err(|error| error.to_string())
    }

    /// The data of a backtest from `first` to `last`, both days included, with the corporate actions,
    /// statuses and reports of the records. `pairs` are stock code and partner of a strategy with two legs.
    ///
    /// # Errors
    /// Why these bars cannot be backtested over these days, in a sentence.
    pub fn over(
        &self,
        pairs: Option<&BTreeMap<String, String>>,
        first: NaiveDate,
        last: NaiveDate,
    ) -> Result<Dataset, String> {
        let series = self.series.clone();
        let data = match pairs {
            Some(pairs) => {
                let pairs: Vec<_> = pairs.clone().into_iter().collect();
                Dataset::with_pairs(series, &pairs, first, last)
            }
            None => Dataset::new(series, first, last),
        };
        let data = data.map_err(|error| error.to_string())?;
        if data.frequency() != Frequency::Daily {
            return Err(format!(
                "the bars are spaced {}; only daily ones (1d) can be backtested by a task",
                data.frequency().name()
            ));
        }
        let statuses = self
            .records
            .iter()
            .filter(|record| !record.status().is_empty());
        let statuses = statuses.map(|record| (record.symbol().to_owned(), record.status().clone()));
        let actions: Vec<_> = self.records.iter().flat_map(|r| r.actions()).collect();
        let data = data.with_statuses(statuses.collect());
        let actions: Vec<_> = actions.into_iter().cloned().collect();
        let data = if actions.is_empty() {
            data
        } else {
            let data = data.with_actions(&actions);
            data.map_err(|error| error.to_string())?
        };
        let reports = self.records.iter().flat_map(|r| r.fundamentals());
        let reports: Vec<_> = reports.cloned().collect();
        Ok(data.with_fundamentals(&reports, &actions))
    }
}
