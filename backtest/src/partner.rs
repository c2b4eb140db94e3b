//! The choice of a partner: the other leg of a pair, found on the years before the backtest.
//!
//! Among 302 random walks about 30 look cointegrated with a given one at the 5 % level: a partner
//! chosen by its p-value alone is mostly luck. So the p-values are corrected for the number of
//! tests made, and the period of the choice ends before the period of the trades begins.
//!
//! # What prices must not show
//! A jump that comes to rest looks like a spread that returns, to a test that knows nothing of
//! splits. Of 150 A-shares with unadjusted prices, 97 had a "cointegrated" partner after the
//! correction on 2015 to 2017: 40 of them the same one, a new share that rose from 19.6 to 68 by
//! daily limits in the month after its listing (without the first 40 common rows p went from 7.6e-6
//! to 0.376), most of the others one whose price a split had cut by 18 or 35 % overnight. So, for the
//! test only, the first [`NEW_LISTING_ROWS`] bars of a symbol do not count, and a move from one traded day's close to the next one's that the exchange does not
//! allow ([`largest_move`](crate::moves::largest_move)) is taken out: the log prices from that day
//! on are shifted so that the day's move is 0. How many were, is told (`gaps_removed`). The trades of
//! the backtest still meet such gaps: [`impossible_moves`](crate::moves::impossible_moves) counts
//! them.
//!
//! # What is left
//! Every second stock of the same 303 series, all others as candidates: cointegrated partners fell
//! from 82 of 124 to 64 of 122 on 2015 to 2017, from 112 of 144 to 37 of 140 on 2018 to 2020, and from
//! 5 of 109 to 4 of 108 on 2012 to 2014. Most of those left on 2015 to 2017 are not to be believed
//! either: MacKinnon's p-values suppose that a spread moves as much in one year as in the next, and
//! 2015 did not. Of 60 targets among 100 invented walks that move 2.5 times as much in the first year,
//! 21 have a "cointegrated" partner (29 if the walks share half of their variance), where it is 1 if
//! all years are alike. Runs within the daily limit over many days, as at a restructuring, stay in the
//! prices as well.
//!
//! Not seen are adjustments within the limit (most dividends). A real move beyond it is taken out
//! too: where no exchange limits prices, one of more than 30 %; in a share after the end of a
//! suspension, one that the exchange let happen.

use crate::bars::{BarSeries, Frequency, midnight};
use crate::cointegration::{CointegrationError, Lags, ar1_lambda, engle_granger, half_life};
use crate::moves::is_impossible;
use chrono::{Months, NaiveDate};
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use thiserror::Error;

/// Years of the formation period, which ends on the day before the start date.
pub const FORMATION_YEARS: u32 = 3;

/// The fewest days on which both symbols traded within the formation period.
pub const MIN_JOINT_ROWS: usize = 250;

/// The least share of the target's days on which the candidate traded too.
pub const MIN_COVERAGE: f64 = 0.8;

/// Bars at the beginning of a series that do not count: the price of a new share is not yet found.
/// A series that begins within the formation period because no earlier bars were imported loses them
/// too.
pub const NEW_LISTING_ROWS: usize = 60;

/// A partner whose corrected p-value is at most this is called cointegrated.
pub const SIGNIFICANCE: f64 = 0.05;

/// How many tests a [`PartnerChoice`] lists.
pub const LISTED_TESTS: usize = 10;

/// How many symbols a [`Skipped`] names.
pub const LISTED_SYMBOLS: usize = 5;

/// Whether a symbol is that of an index, which cannot be traded.
///
/// By the numbering of the Chinese exchanges: `000xxx.SH` (also `.SS`), `399xxx.SZ` and `980xxx.SZ`,
/// `899xxx.BJ`; everything with the suffix `.CSI`, `.CNI`, `.SI` or `.INDX`; and names that begin
/// with `^` or `.`, as Yahoo's and Reuters' do. The case of the suffix does not matter. An index
/// under a bare name such as `SPX` is not recognised.
///
/// ```
/// use trialmill_backtest::partner::is_index;
/// assert!(is_index("000300.SH") && is_index("399001.SZ") && is_index("^GSPC"));
/// assert!(!is_index("000001.SZ") && !is_index("600000.SH") && !is_index("SYN01.SZ"));
/// ```
#[must_use]
pub fn is_index(symbol: &str) -> bool {
    if symbol.starts_with(['^', '.']) {
        return true;
    }
    let Some((code, suffix)) = symbol.rsplit_once('.') else {
        return false;
    };
    let digits = code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit());
    match suffix.to_ascii_uppercase().as_str() {
        "SH" | "SS" => digits && code.starts_with("000"),
        "SZ" => digits && (code.starts_with("399") || code.starts_with("980")),
        "BJ" => digits && code.starts_with("899"),
        "CSI" | "CNI" | "SI" | "INDX" => true,
        _ => false,
    }
}

/// The days on which a partner is chosen, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Formation {
    /// The first day: [`FORMATION_YEARS`] before the start date.
    pub from: NaiveDate,
    /// The last day: the one before the start date.
    pub to: NaiveDate,
}

impl Formation {
    /// The formation period of a backtest that starts on `start_date`.
    #[must_use]
    pub fn before(start_date: NaiveDate) -> Self {
        let years = Months::new(12 * FORMATION_YEARS);
        Self {
            from: start_date
                .checked_sub_months(years)
                .unwrap_or(NaiveDate::MIN),
            to: start_date.pred_opt().unwrap_or(NaiveDate::MIN),
        }
    }

    fn rows(self, series: &BarSeries) -> Range<usize> {
        series.rows_between(midnight(self.from), midnight(self.to))
    }
}

/// Which leg of a pair stands on the left of `ln y = alpha + hedge_ratio ln x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dependent {
    /// The symbol asked for is y, its partner x.
    Target,
    /// The partner is y, the symbol asked for x.
    Partner,
}

/// One Engle-Granger test between the target and a candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairTest {
    /// The candidate.
    pub partner: String,
    /// Which of the two was regressed on the other.
    pub dependent: Dependent,
    /// Days on which both traded, as far as they count ([`NEW_LISTING_ROWS`]).
    pub rows: usize,
    /// Moves of both legs within these days that the exchange does not allow, taken out.
    pub gaps_removed: usize,
    /// The augmented Dickey-Fuller statistic of the residuals.
    pub statistic: f64,
    /// Lagged changes in it, by Akaike's criterion.
    pub lags: usize,
    /// MacKinnon's p-value of this test alone; above 0.
    pub p_value: f64,
    /// The p-value after Holm's correction for all tests made; at most 1.
    pub p_value_corrected: f64,
    /// Units of log price of the independent leg for one of the dependent leg.
    pub hedge_ratio: f64,
    /// Half-life of the residuals in trading days; null if they do not return to their mean.
    pub half_life: Option<f64>,
}

/// Why a candidate was not tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// An index cannot be traded; see [`is_index`].
    Index,
    /// Its bars are not daily.
    NotDaily,
    /// Too few days on which both traded.
    TooFewRows,
    /// One of the two prices never changed on the common days.
    Constant,
    /// Its log price is a linear function of the target's.
    Collinear,
    /// Its residuals allow no test.
    Untestable,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Index => "an index",
            Self::NotDaily => "without daily bars",
            Self::TooFewRows => "with too few common days",
            Self::Constant => "with a price that never changed",
            Self::Collinear => "collinear",
            Self::Untestable => "without a defined test",
        })
    }
}

/// Candidates that were not tested for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The reason.
    pub reason: SkipReason,
    /// How many.
    pub count: usize,
    /// The first [`LISTED_SYMBOLS`] of them in ascending order.
    pub symbols: Vec<String>,
}

/// The test of the order that is traded: the stock on the left, its partner on the right.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TradedOrder {
    /// MacKinnon's p-value of that test alone; above 0.
    pub p_value: f64,
    /// The p-value after Holm's correction for all tests made; at most 1.
    pub p_value_corrected: f64,
}

/// The partner found, and how.
///
/// The field names are part of the answer that users get.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartnerChoice {
    /// The symbol for which a partner was sought.
    pub symbol: String,
    /// The partner.
    pub partner: String,
    /// Whether the pair is cointegrated: `p_value_corrected` at most [`SIGNIFICANCE`], and
    /// `hedge_ratio` above 0.
    pub cointegrated: bool,
    /// The period of the choice.
    pub formation: Formation,
    /// Days of it on which both traded, as far as they count ([`NEW_LISTING_ROWS`]).
    pub rows: usize,
    /// Moves of both legs within these days that the exchange does not allow, taken out for the
    /// test: above 0, the prices are not adjusted for splits.
    pub gaps_removed: usize,
    /// Candidates tested.
    pub candidates: usize,
    /// Tests made, two for each candidate; the number that p-values are corrected for.
    pub tests: usize,
    /// Candidates that were not tested.
    pub skipped: Vec<Skipped>,
    /// Which leg is regressed on the other: the order with the smaller p-value.
    pub dependent: Dependent,
    /// The augmented Dickey-Fuller statistic of the residuals.
    pub statistic: f64,
    /// Lagged changes in it, by Akaike's criterion.
    pub lags: usize,
    /// MacKinnon's p-value of that test alone; above 0.
    pub p_value: f64,
    /// The p-value after Holm's correction for all tests made; at most 1.
    pub p_value_corrected: f64,
    /// The p-values of [`Dependent::Target`], the order that the strategy trades; those above
    /// unless `dependent` is the other one.
    pub traded: TradedOrder,
    /// Units of log price of the independent leg for one of the dependent leg, over the formation
    /// period. Below 0 for legs that moved against each other.
    pub hedge_ratio: f64,
    /// Half-life of the residuals over the formation period in trading days; null if they do not
    /// return to their mean.
    pub half_life: Option<f64>,
    /// The [`LISTED_TESTS`] tests with the smallest p-values; the chosen one is the first whose
    /// hedge ratio is above 0.
    pub best_tests: Vec<PairTest>,
}

/// Why there is no partner.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PartnerError {
    /// The target has no daily bars.
    #[error("{symbol} has bars of {}; a partner is chosen on daily bars (1d)", .frequency.name())]
    NotDaily {
        /// The symbol.
        symbol: String,
        /// Its frequency.
        frequency: Frequency,
    },
    /// The target traded too little before the start.
    #[error(
        "{symbol} traded on {rows} day(s) that count from {from} to {to} (the first \
         {NEW_LISTING_ROWS} bars of a series do not); choosing its partner takes \
         at least {MIN_JOINT_ROWS} in the {FORMATION_YEARS} years before the start: start later or \
         import earlier bars"
    )]
    TooFewRows {
        /// The symbol.
        symbol: String,
        /// Days on which it traded, as far as they count.
        rows: usize,
        /// First day of the formation period.
        from: NaiveDate,
        /// Last day of it.
        to: NaiveDate,
    },
    /// The target's price never changed.
    #[error(
        "the price of {symbol} never changed on the {rows} day(s) that count from {from} to {to}; \
         there is nothing that a partner could follow: check its bars, or start later"
    )]
    Constant {
        /// The symbol.
        symbol: String,
        /// Days on which it traded, as far as they count.
        rows: usize,
        /// First day of the formation period.
        from: NaiveDate,
        /// Last day of it.
        to: NaiveDate,
    },
    /// There is nothing to choose from.
    #[error(
        "no other tradable symbol is stored for {symbol}: a pair needs a second one; import the \
         bars of more stocks"
    )]
    NoCandidate {
        /// The symbol.
        symbol: String,
    },
    /// There are others, but none can be tested.
    #[error(
        "none of {count} candidate(s) can be tested with {symbol} from {from} to {to}: {}; import \
         more bars or choose other dates",
        listed(.skipped)
    )]
    NothingTestable {
        /// The symbol.
        symbol: String,
        /// How many candidates there were.
        count: usize,
        /// Why each was skipped.
        skipped: Vec<Skipped>,
        /// First day of the formation period.
        from: NaiveDate,
        /// Last day of it.
        to: NaiveDate,
    },
    /// `stop` said so.
    #[error("the choice of a partner was stopped before it was done")]
    Stopped,
}

fn listed(skipped: &[Skipped]) -> String {
    let one = |s: &Skipped| {
        let more = if s.count > s.symbols.len() {
            ", ..."
        } else {
            ""
        };
        format!("{} {} ({}{more})", s.count, s.reason, s.symbols.join(", "))
    };
    skipped.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Chooses the partner of `target` among `candidates` on the three years before `start_date`.
///
/// A candidate is tested if it is no index, has daily bars, and traded on at least
/// [`MIN_COVERAGE`] of the target's days of the period and on [`MIN_JOINT_ROWS`] of them; days
/// without volume do not count, nor do the first [`NEW_LISTING_ROWS`] bars of either. The log closes of the common days, without the moves that no exchange allows
/// ([module](self)), are tested in both orders by [`engle_granger`] with the lag of Akaike's criterion. All p-values are corrected together by
/// Holm's method (S. Holm 1979, "A simple sequentially rejective multiple test procedure",
/// Scandinavian Journal of Statistics 6): the k-th smallest of m is multiplied by `m - k + 1`, made
/// at least as large as the one before and at most 1. The smallest wins; ties are decided by the
/// raw p-value, the statistic, the symbol and then the order with the target on the left.
///
/// A test whose hedge ratio is not above 0 found legs that move against each other: there is no
/// dear leg to leave for the cheap one. It counts among the tests made, but wins only where no
/// other was made, and is never called cointegrated.
///
/// Candidates may come one by one (each is let go of after its tests), in any order: the result is
/// the same. The target among them, and a symbol that was there already, are passed over. Named
/// partners are tested like found ones: give those only. Bars after the formation period are not
/// looked at.
///
/// `stop` is asked before every candidate. 302 candidates of 783 days take about 60 ms on one core.
///
/// # Errors
/// [`PartnerError`] if there is nothing to choose from, or `stop` returned true.
pub fn choose<B: Borrow<BarSeries>>(
    target: &BarSeries,
    candidates: impl IntoIterator<Item = B>,
    start_date: NaiveDate,
    stop: &dyn Fn() -> bool,
) -> Result<PartnerChoice, PartnerError> {
    let formation = Formation::before(start_date);
    let target = Target::new(target, formation)?;
    let mut seen = BTreeSet::from([target.symbol.to_owned()]);
    let mut skipped: BTreeMap<SkipReason, BTreeSet<String>> = BTreeMap::new();
    let mut tests = Vec::new();
    for candidate in candidates {
        if stop() {
            return Err(PartnerError::Stopped);
        }
        let candidate = candidate.borrow();
        let symbol = candidate.symbol();
        if !seen.insert(symbol.to_owned()) {
            continue;
        }
        match target.tests_with(candidate, formation) {
            Ok(both) => tests.extend(both),
            Err(reason) => {
                skipped.entry(reason).or_default().insert(symbol.to_owned());
            }
        }
    }
    let others = seen.len() - 1;
    let indices = skipped.get(&SkipReason::Index).map_or(0, BTreeSet::len);
    let skipped: Vec<Skipped> = skipped
        .into_iter()
        .map(|(reason, symbols)| Skipped {
            reason,
            count: symbols.len(),
            symbols: symbols.into_iter().take(LISTED_SYMBOLS).collect(),
        })
        .collect();
    correct(&mut tests);
    let moving_together = tests.iter().find(|test| test.hedge_ratio > 0.0);
    let Some(best) = moving_together.or(tests.first()).cloned() else {
        let symbol = target.symbol.to_owned();
        return Err(if others == indices {
            PartnerError::NoCandidate { symbol }
        } else {
            PartnerError::NothingTestable {
                symbol,
                count: others,
                skipped,
                from: formation.from,
                to: formation.to,
            }
        });
    };
    let traded = tests
        .iter()
        .find(|test| test.partner == best.partner && test.dependent == Dependent::Target)
        .expect("a candidate is tested in both orders or not at all");
    let traded = TradedOrder {
        p_value: traded.p_value,
        p_value_corrected: traded.p_value_corrected,
    };
    let count = tests.len();
    tests.truncate(LISTED_TESTS);
    Ok(PartnerChoice {
        symbol: target.symbol.to_owned(),
        partner: best.partner,
        cointegrated: best.p_value_corrected <= SIGNIFICANCE && best.hedge_ratio > 0.0,
        formation,
        rows: best.rows,
        gaps_removed: best.gaps_removed,
        candidates: count / 2,
        tests: count,
        skipped,
        dependent: best.dependent,
        statistic: best.statistic,
        lags: best.lags,
        p_value: best.p_value,
        p_value_corrected: best.p_value_corrected,
        traded,
        hedge_ratio: best.hedge_ratio,
        half_life: best.half_life,
        best_tests: tests,
    })
}

/// The days of a series that count.
struct Days {
    time: Vec<i64>,
    /// Log closes without impossible moves: equal to those of the bars up to the first one.
    log_close: Vec<f64>,
    /// How many impossible moves were taken out up to each day.
    gaps: Vec<usize>,
}

impl Days {
    fn of(series: &BarSeries, formation: Formation) -> Self {
        let (mut time, mut log_close, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
        let (mut shift, mut count) = (0.0, 0);
        let mut before: Option<f64> = None;
        for row in formation.rows(series) {
            if row < NEW_LISTING_ROWS || series.is_suspended(row) {
                continue;
            }
            let (day, close) = (series.time()[row], series.close()[row]);
            if let Some(before) = before.replace(close)
                && is_impossible(series.symbol(), day, before, close)
            {
                shift += libm::log(close) - libm::log(before);
                count += 1;
            }
            time.push(day);
            log_close.push(libm::log(close) - shift);
            gaps.push(count);
        }
        Self {
            time,
            log_close,
            gaps,
        }
    }

    fn gaps_between(&self, first: usize, last: usize) -> usize {
        self.gaps[last] - self.gaps[first]
    }

    /// The places of the days that both have.
    fn join(&self, other: &Self) -> Vec<(usize, usize)> {
        let mut both = Vec::with_capacity(self.time.len());
        let mut at = 0;
        for (place, time) in other.time.iter().enumerate() {
            while at < self.time.len() && self.time[at] < *time {
                at += 1;
            }
            if self.time.get(at) == Some(time) {
                both.push((at, place));
            }
        }
        both
    }
}

/// The target of a choice.
struct Target<'a> {
    symbol: &'a str,
    days: Days,
}

impl<'a> Target<'a> {
    fn new(target: &'a BarSeries, formation: Formation) -> Result<Self, PartnerError> {
        let symbol = target.symbol();
        if target.frequency() != Frequency::Daily {
            let (symbol, frequency) = (symbol.to_owned(), target.frequency());
            return Err(PartnerError::NotDaily { symbol, frequency });
        }
        let days = Days::of(target, formation);
        if days.time.len() < MIN_JOINT_ROWS {
            return Err(PartnerError::TooFewRows {
                symbol: symbol.to_owned(),
                rows: days.time.len(),
                from: formation.from,
                to: formation.to,
            });
        }
        if days.log_close.iter().all(|log| *log == days.log_close[0]) {
            return Err(PartnerError::Constant {
                symbol: symbol.to_owned(),
                rows: days.time.len(),
                from: formation.from,
                to: formation.to,
            });
        }
        Ok(Self { symbol, days })
    }

    /// Both tests with a candidate, their p-values not yet corrected.
    fn tests_with(
        &self,
        candidate: &BarSeries,
        formation: Formation,
    ) -> Result<[PairTest; 2], SkipReason> {
        let symbol = candidate.symbol();
        if is_index(symbol) {
            return Err(SkipReason::Index);
        }
        if candidate.frequency() != Frequency::Daily {
            return Err(SkipReason::NotDaily);
        }
        let days = Days::of(candidate, formation);
        let both = self.days.join(&days);
        let covered = both.len() as f64 >= MIN_COVERAGE * self.days.time.len() as f64;
        let ([first, .., last], true) = (both.as_slice(), covered) else {
            return Err(SkipReason::TooFewRows);
        };
        if both.len() < MIN_JOINT_ROWS {
            return Err(SkipReason::TooFewRows);
        }
        let gaps = self.days.gaps_between(first.0, last.0) + days.gaps_between(first.1, last.1);
        let (own, other): (Vec<f64>, Vec<f64>) = both
            .iter()
            .map(|&(own, other)| (self.days.log_close[own], days.log_close[other]))
            .unzip();
        Ok([
            test(symbol, Dependent::Target, &own, &other, gaps)?,
            test(symbol, Dependent::Partner, &other, &own, gaps)?,
        ])
    }
}

fn test(
    partner: &str,
    dependent: Dependent,
    y: &[f64],
    x: &[f64],
    gaps_removed: usize,
) -> Result<PairTest, SkipReason> {
    let result = engle_granger(y, x, Lags::Aic).map_err(|error| match error {
        CointegrationError::Constant { .. } => SkipReason::Constant,
        CointegrationError::Collinear => SkipReason::Collinear,
        CointegrationError::TooFewRows { .. } => SkipReason::TooFewRows,
        _ => SkipReason::Untestable,
    })?;
    let lambda = ar1_lambda(&result.fit.residuals).ok();
    Ok(PairTest {
        partner: partner.to_owned(),
        dependent,
        rows: y.len(),
        gaps_removed,
        statistic: result.statistic,
        lags: result.lags,
        p_value: result.p_value,
        p_value_corrected: result.p_value,
        hedge_ratio: result.fit.hedge_ratio,
        half_life: lambda.and_then(|lambda| half_life(lambda).ok()),
    })
}

/// Sorts the tests, the best first, and corrects their p-values by Holm's method.
fn correct(tests: &mut [PairTest]) {
    tests.sort_by(|a, b| {
        a.p_value
            .total_cmp(&b.p_value)
            .then(a.statistic.total_cmp(&b.statistic))
            .then_with(|| a.partner.cmp(&b.partner))
            .then(a.dependent.cmp(&b.dependent))
    });
    let mut floor: f64 = 0.0;
    let count = tests.len();
    for (rank, test) in tests.iter_mut().enumerate() {
        floor = floor.max(test.p_value * (count - rank) as f64).min(1.0);
        test.p_value_corrected = floor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_p(partner: &str, p_value: f64, statistic: f64) -> PairTest {
        PairTest {
            partner: partner.to_owned(),
            dependent: Dependent::Target,
            rows: 300,
            gaps_removed: 0,
            statistic,
            lags: 0,
            p_value,
            p_value_corrected: p_value,
            hedge_ratio: 1.0,
            half_life: None,
        }
    }

    #[test]
    fn holm_multiplies_by_the_tests_that_are_left_and_never_falls() {
        // 0.01 x 5, 0.011 x 4 (held at 0.05), 0.02 x 3, 0.03 x 2 (held), 0.9 x 1.
        let mut tests = [0.02, 0.9, 0.01, 0.03, 0.011].map(|p| with_p("A", p, 0.0));
        correct(&mut tests);
        let got: Vec<f64> = tests.iter().map(|t| t.p_value_corrected).collect();
        for (got, wanted) in got.iter().zip([0.05, 0.05, 0.06, 0.06, 0.9]) {
            assert!((got - wanted).abs() < 1e-15, "{got} instead of {wanted}");
        }
        let mut tests = [0.4, 0.8].map(|p| with_p("A", p, 0.0));
        correct(&mut tests);
        assert_eq!(tests.map(|t| t.p_value_corrected), [0.8, 0.8]);
    }

    #[test]
    fn ties_are_decided_by_the_statistic_and_then_by_the_symbol() {
        let mut tests = [
            with_p("C", 1.0, 2.0),
            with_p("B", 1.0, 1.5),
            with_p("A", 1.0, 2.0),
        ];
        correct(&mut tests);
        assert_eq!(tests.map(|t| t.partner), ["B", "A", "C"]);
    }

    #[test]
    fn indices_are_known_by_their_numbers() {
        for index in [
            "000001.SH",
            "000300.SH",
            "000905.ss",
            "399106.SZ",
            "980017.sz",
            "899050.BJ",
            "^GSPC",
            ".INX",
            "930050.CSI",
            "801010.SI",
            "GSPC.INDX",
        ] {
            assert!(is_index(index), "{index}");
        }
        for stock in [
            "000001.SZ",
            "002415.SZ",
            "300750.SZ",
            "600000.SH",
            "688981.SH",
            "830799.BJ",
            "AAPL",
            "BRK.B",
            "SYN00.SZ",
            "0001.SH",
            "000ABC.SH",
            "",
            "600000",
        ] {
            assert!(!is_index(stock), "{stock}");
        }
    }

    #[test]
    fn the_formation_period_is_the_three_years_before_the_start() {
        let day = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).unwrap();
        let formation = Formation::before(day(2023, 1, 1));
        assert_eq!(
            (formation.from, formation.to),
            (day(2020, 1, 1), day(2022, 12, 31))
        );
        assert_eq!(Formation::before(day(2024, 2, 29)).from, day(2021, 2, 28));
        assert_eq!(Formation::before(NaiveDate::MIN).to, NaiveDate::MIN);
    }
}
