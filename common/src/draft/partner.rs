//! The partners of a strategy with two legs: who may be one, and what follows from the choice.
//!
//! The check of a request cannot choose: that takes the bars. It leaves a [`Pairing`], whose
//! [`candidates`](Pairing::candidates) the caller reads and hands to
//! [`trialmill_backtest::partner::choose`], once for each stock; [`Accepted::paired`] takes the
//! answers. A request is refused here only after it has no other fault.

use super::market::{MIN_PERIOD_DAYS, some_of};
use super::{Accepted, Coverage, exchange};
use crate::fault::{Fault, Warning};
use chrono::NaiveDate;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use trialmill_backtest::config::Market;
use trialmill_backtest::partner::{
    Dependent, Formation, PartnerChoice, PartnerError, SIGNIFICANCE,
};

pub(super) use trialmill_backtest::partner::is_index;

/// The most symbols that partners are chosen from. The formation period of each is held in memory
/// while they are tested: some 40 kB.
pub const MAX_CANDIDATES: usize = 2_000;

/// The most pairs of a stock and a candidate that are tested for one task, each in both orders:
/// some ten seconds of one core.
pub const MAX_PAIRS: usize = 30_000;

/// What was found for one stock.
pub type PartnerAnswer = Result<PartnerChoice, PartnerError>;

/// A request that needs partners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairing {
    /// The stocks, with their places in the request.
    pub stocks: Vec<(String, String)>,
    /// The symbols that may be partners; empty for every one that is stored.
    pub partners: Vec<String>,
    /// The first day that is traded: partners are chosen on the three years before.
    pub start_date: NaiveDate,
    /// The last day that is traded.
    pub end_date: NaiveDate,
    /// Whether a pair that is not cointegrated is refused.
    pub require_cointegration: bool,
    /// Whether the partners must be A-shares, since the request names the market `cn_a`.
    pub only_shares: bool,
    /// The place of `backtest_config` in the request.
    pub config_pointer: String,
}

impl Pairing {
    /// The symbols to test, with what is stored of each: no indices, none whose bars are not daily,
    /// and none without bars in the period that is traded.
    ///
    /// # Errors
    /// When a stock has nobody to be paired with, or there are more than [`MAX_CANDIDATES`], or
    /// more than [`MAX_PAIRS`] of a stock and a candidate.
    pub fn candidates<'a>(
        &self,
        stored: impl IntoIterator<Item = (&'a String, &'a Coverage)>,
    ) -> Result<BTreeMap<String, Coverage>, Vec<Fault>> {
        let mut candidates = BTreeMap::new();
        for (symbol, coverage) in stored {
            let named = self.partners.is_empty() || self.partners.contains(symbol);
            let allowed = !self.only_shares || exchange::is_share(symbol);
            let wanted = named && allowed && coverage.is_daily();
            let Coverage { first, last, .. } = *coverage;
            let days = (last.min(self.end_date) - first.max(self.start_date)).num_days() + 1;
            if wanted && !is_index(symbol) && days >= MIN_PERIOD_DAYS {
                candidates.insert(symbol.clone(), coverage.clone());
            }
        }
        let mut faults = Vec::new();
        for (symbol, pointer) in &self.stocks {
            if candidates.keys().all(|candidate| candidate == symbol) {
                let detail = if self.partners.is_empty() {
                    let kind = if self.only_shares {
                        "A-share"
                    } else {
                        "tradable symbol"
                    };
                    format!(
                        "no other {kind} with bars from {} to {} is stored for {symbol}: \
                         a pair needs a second one; bring more in with `trialmill data import FILE`",
                        self.start_date, self.end_date
                    )
                } else {
                    format!(
                        "none of the partners named for {symbol} has {MIN_PERIOD_DAYS} days of \
                         bars from {} to {}; name others, or change the dates",
                        self.start_date, self.end_date
                    )
                };
                faults
                    .push(Fault::new(pointer.as_str(), "no_partner", detail).value(&json!(symbol)));
            }
        }
        if faults.is_empty() && candidates.len() > MAX_CANDIDATES {
            let pointer = format!("{}/partners", self.config_pointer);
            let detail = format!(
                "{} stored symbols may be partners, and at most {MAX_CANDIDATES} are tested; name \
                 some in partners",
                candidates.len()
            );
            faults.push(Fault::new(pointer, "too_many_candidates", detail).limit(MAX_CANDIDATES));
        }
        let pairs = self.stocks.len() * candidates.len();
        if faults.is_empty() && pairs > MAX_PAIRS {
            let pointer = format!("{}/partners", self.config_pointer);
            let detail = format!(
                "{} stocks with {} candidates each are {pairs} pairs to test, and one task may \
                 have {MAX_PAIRS}; name fewer partners, or split the stocks over several tasks",
                self.stocks.len(),
                candidates.len()
            );
            faults.push(Fault::new(pointer, "too_many_pairs", detail).limit(MAX_PAIRS));
        }
        if faults.is_empty() {
            Ok(candidates)
        } else {
            Err(faults)
        }
    }

    /// The fault of a stock for which none was chosen.
    fn refused(&self, stock: &(String, String), error: &PartnerError) -> Fault {
        let code = match error {
            PartnerError::NotDaily { .. } => "not_daily",
            PartnerError::TooFewRows { .. } => "too_few_rows_to_choose",
            PartnerError::Constant { .. } => "constant_price",
            PartnerError::NoCandidate { .. } | PartnerError::NothingTestable { .. } => "no_partner",
            PartnerError::Stopped => "not_chosen",
        };
        let (symbol, pointer) = stock;
        Fault::new(pointer.as_str(), code, error.to_string()).value(&json!(symbol))
    }

    /// The only partner that the user named for a stock: who chooses alone needs no test to
    /// choose by.
    fn only_named<'a>(
        &self,
        symbol: &str,
        candidates: &'a BTreeMap<String, Coverage>,
    ) -> Option<&'a String> {
        let others = self.partners.iter().filter(|partner| *partner != symbol);
        match others.collect::<Vec<_>>().as_slice() {
            [only] => candidates.get_key_value(*only).map(|(name, _)| name),
            _ => None,
        }
    }

    /// What to say of a named partner that was not tested.
    fn untested(symbol: &str, partner: &str, error: &PartnerError) -> String {
        format!("{partner}, which was named as the partner of {symbol}, was not tested: {error}")
    }

    /// What to say of a pair that is cointegrated in the order that is not traded.
    fn other_order(choice: &PartnerChoice) -> String {
        let PartnerChoice {
            symbol, partner, ..
        } = choice;
        format!(
            "{symbol} and {partner} pass the test of cointegration only with {partner} explained by \
             {symbol} (p = {:.4} after correction for {} tests); the strategy trades {symbol} as \
             explained by {partner}, where p = {:.4} after correction and should be at most \
             {SIGNIFICANCE}. To trade the order that passes, ask for {partner} with the partner \
             {symbol}",
            choice.p_value_corrected, choice.tests, choice.traded.p_value_corrected
        )
    }

    /// What to say of a pair that is not cointegrated.
    fn doubt(choice: &PartnerChoice) -> String {
        let together = if choice.hedge_ratio > 0.0 {
            String::new()
        } else {
            format!(
                "; its hedge ratio is {:.4}, and should be above 0: the two move against each \
                 other, and a long and a short leg would not offset each other",
                choice.hedge_ratio
            )
        };
        format!(
            "no partner of {} is cointegrated with it from {} to {} ({} symbols tested in both \
             orders); the best is {}, p = {:.4}, {:.4} after correction for {} tests, which should \
             be at most {SIGNIFICANCE}{together}",
            choice.symbol,
            choice.formation.from,
            choice.formation.to,
            choice.candidates,
            choice.partner,
            choice.p_value,
            choice.p_value_corrected,
            choice.tests,
        )
    }
}

/// The partner of one stock, and what the answer says of it.
struct Leg {
    symbol: String,
    partner: String,
    shown: Value,
}

impl Pairing {
    /// The partner of one stock, if it may be used; warnings are added.
    fn leg(
        &self,
        stock: &(String, String),
        answer: &PartnerAnswer,
        candidates: &BTreeMap<String, Coverage>,
        warnings: &mut Vec<Warning>,
    ) -> Result<Leg, Box<Fault>> {
        let (symbol, pointer) = stock;
        let mut warn = |code: &str, detail: String| {
            warnings.push(Warning {
                code: code.to_owned(),
                pointer: pointer.clone(),
                detail,
            });
        };
        let choice = match (answer, self.only_named(symbol, candidates)) {
            (Ok(choice), _) => choice,
            (
                Err(
                    error
                    @ (PartnerError::TooFewRows { .. } | PartnerError::NothingTestable { .. }),
                ),
                Some(partner),
            ) => {
                let code = "partner_not_tested";
                let detail = Self::untested(symbol, partner, error);
                if self.require_cointegration {
                    let help = "name another partner or other dates, or use false";
                    return Err(self.required(code, format!("{detail}; {help}")).into());
                }
                warn(
                    code,
                    format!("{detail}. It is used as named; require_cointegration refuses it"),
                );
                return Ok(Leg {
                    symbol: symbol.clone(),
                    partner: partner.clone(),
                    shown: json!({
                        "symbol": symbol,
                        "partner": partner,
                        "tested": false,
                        "reason": error.to_string(),
                        "cointegrated": null,
                        "formation": Formation::before(self.start_date),
                    }),
                });
            }
            (Err(error), _) => return Err(self.refused(stock, error).into()),
        };
        if !choice.cointegrated {
            let code = "partner_not_cointegrated";
            let detail = Self::doubt(choice);
            if self.require_cointegration {
                let help = "name other partners or dates, or use false";
                return Err(self.required(code, format!("{detail}; {help}")).into());
            }
            warn(
                code,
                format!("{detail}. It is used; require_cointegration refuses it"),
            );
        }
        if choice.cointegrated
            && choice.dependent == Dependent::Partner
            && choice.traded.p_value_corrected > SIGNIFICANCE
        {
            warn("partner_other_order", Self::other_order(choice));
        }
        let mut shown = json!(choice);
        shown["tested"] = json!(true);
        Ok(Leg {
            symbol: symbol.clone(),
            partner: choice.partner.clone(),
            shown,
        })
    }

    /// The fault of a pair that `require_cointegration` refuses.
    fn required(&self, code: &str, detail: String) -> Fault {
        let pointer = format!("{}/require_cointegration", self.config_pointer);
        let fault = Fault::new(pointer, code, detail);
        fault.value(&json!(true)).limit(SIGNIFICANCE)
    }
}

impl Accepted {
    /// The task with the partners that were chosen, one answer for each stock of its
    /// [`Pairing`] in order: the pairs in its spec, their series in its snapshot, the choice in
    /// `resolved.partner` (one object for one stock, else one for each symbol, which leaves
    /// `best_tests` out).
    ///
    /// The only partner that a user named is used even where it could not be tested, with
    /// `tested: false`, the reason and a warning: the test is evidence, the choice is the user's.
    ///
    /// # Errors
    /// When a stock has no partner, or none that is cointegrated and the request requires it.
    ///
    /// # Panics
    /// If the request needs no partners, or `candidates` lacks one that was chosen.
    pub fn paired(
        mut self,
        candidates: &BTreeMap<String, Coverage>,
        answers: &[PartnerAnswer],
    ) -> Result<Self, Vec<Fault>> {
        let pairing = self.pairing.take().expect("the request needs partners");
        let mut faults = Vec::new();
        let mut shown = serde_json::Map::new();
        let mut partial = Vec::new();
        for (stock, answer) in pairing.stocks.iter().zip(answers) {
            let leg = match pairing.leg(stock, answer, candidates, &mut self.warnings) {
                Ok(leg) => leg,
                Err(fault) => {
                    faults.push(*fault);
                    continue;
                }
            };
            let coverage = candidates
                .get(&leg.partner)
                .expect("a partner is one of the candidates");
            if coverage.is_partial((pairing.start_date, pairing.end_date)) {
                partial.push(coverage.spans(&leg.partner));
            }
            self.series.insert(leg.partner.clone(), coverage.hash);
            self.spec
                .pairs_mut()
                .insert(leg.symbol.clone(), leg.partner);
            shown.insert(leg.symbol, leg.shown);
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        if !partial.is_empty() {
            // Several stocks may have one partner.
            partial.sort();
            partial.dedup();
            self.warnings.push(Warning {
                code: "partial_market_data".to_owned(),
                pointer: format!("{}/partners", pairing.config_pointer),
                detail: format!(
                    "bars of partners cover only a part of the period: {}",
                    some_of(partial)
                ),
            });
        }
        self.keep_to_the_market(&pairing);
        self.resolved["partner"] = if shown.len() == 1 {
            shown.into_iter().next().expect("there is one").1
        } else {
            for choice in shown.values_mut().filter_map(Value::as_object_mut) {
                choice.remove(BEST_TESTS);
            }
            shown.into()
        };
        Ok(self)
    }
}

impl Accepted {
    /// A market that the request does not name has to fit the partners that were chosen, too.
    fn keep_to_the_market(&mut self, pairing: &Pairing) {
        let partners: Vec<String> = self.spec.pairs_mut().values().cloned().collect();
        let partners: Vec<&str> = partners.iter().map(String::as_str).collect();
        let settings = self.spec.backtest_mut();
        if settings.market != Market::CnA {
            return;
        }
        let warning = exchange::plain_for_partners(&partners, &pairing.config_pointer);
        if let Some(warning) = warning {
            settings.market = Market::Plain;
            self.resolved["market"] = Market::Plain.name().into();
            self.warnings.push(warning);
        }
    }
}

/// The field of a choice that lists its best tests: some 3 kB.
pub const BEST_TESTS: &str = "best_tests";

#[cfg(test)]
mod tests {
    use super::*;

    fn day(y: i32, m: u32, d: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(y, m, d).unwrap()
    }

    fn stored(names: impl IntoIterator<Item = String>) -> BTreeMap<String, Coverage> {
        let held = |(index, name)| {
            let last = if name == "GONE.SZ" { 2020 } else { 2023 };
            let coverage = Coverage {
                frequency: "1d".to_owned(),
                first: day(2013, 1, 4),
                last: day(last, 12, 29),
                rows: 2_000,
                hash: [u8::try_from(index % 256).unwrap(); 32],
            };
            (name, coverage)
        };
        names.into_iter().enumerate().map(held).collect()
    }

    fn pairing(partners: &[&str]) -> Pairing {
        Pairing {
            stocks: vec![("000001.SZ".to_owned(), "/stock_codes/0".to_owned())],
            partners: partners.iter().map(|name| (*name).to_owned()).collect(),
            start_date: day(2023, 1, 1),
            end_date: day(2023, 12, 31),
            require_cointegration: false,
            only_shares: false,
            config_pointer: "/backtest_config".to_owned(),
        }
    }

    #[test]
    fn a_candidate_is_no_index_and_has_bars_in_the_period_that_is_traded() {
        let names = [
            "000001.SZ",
            "000300.SH",
            "399001.SZ",
            "600000.SH",
            "GONE.SZ",
        ];
        let stored = stored(names.map(str::to_owned));
        let found = pairing(&[]).candidates(&stored).unwrap();
        let names: Vec<&String> = found.keys().collect();
        assert_eq!(names, ["000001.SZ", "600000.SH"]);
        let faults = pairing(&["GONE.SZ"]).candidates(&stored).unwrap_err();
        assert_eq!(
            (faults[0].pointer.as_str(), faults[0].code.as_str()),
            ("/stock_codes/0", "no_partner")
        );
        assert!(faults[0].detail.contains("30 days"), "{}", faults[0].detail);
    }

    #[test]
    fn more_candidates_than_are_held_in_memory_are_refused() {
        let many = (0..=MAX_CANDIDATES).map(|n| format!("S{n}"));
        let stored = stored(many);
        let faults = pairing(&[]).candidates(&stored).unwrap_err();
        assert_eq!(
            (faults[0].pointer.as_str(), faults[0].code.as_str()),
            ("/backtest_config/partners", "too_many_candidates")
        );
        assert_eq!(pairing(&["S1"]).candidates(&stored).unwrap().len(), 1);
    }

    #[test]
    fn more_pairs_than_are_tested_for_one_task_are_refused() {
        let stored = stored((0..300).map(|n| format!("S{n}")));
        let with_stocks = |count: usize| Pairing {
            stocks: (0..count)
                .map(|n| (format!("S{n}"), format!("/stock_codes/{n}")))
                .collect(),
            ..pairing(&[])
        };
        let most = MAX_PAIRS / 300;
        assert_eq!(with_stocks(most).candidates(&stored).unwrap().len(), 300);
        let faults = with_stocks(most + 1).candidates(&stored).unwrap_err();
        assert_eq!(
            (faults[0].pointer.as_str(), faults[0].code.as_str()),
            ("/backtest_config/partners", "too_many_pairs")
        );
        assert!(
            faults[0].detail.contains("30300 pairs"),
            "{}",
            faults[0].detail
        );
    }

    #[test]
    fn bars_that_are_not_daily_are_no_candidate() {
        let mut stored = stored(["S1", "S2"].map(str::to_owned));
        stored.get_mut("S2").unwrap().frequency = "1h".to_owned();
        let found = pairing(&[]).candidates(&stored).unwrap();
        assert_eq!(found.into_keys().collect::<Vec<_>>(), ["S1"]);
    }

    /// A choice that passes the test with the partner on the left.
    fn choice() -> PartnerChoice {
        serde_json::from_value(json!({
            "symbol": "000001.SZ", "partner": "S1", "cointegrated": true,
            "formation": {"from": "2020-01-01", "to": "2022-12-31"},
            "rows": 700, "gaps_removed": 0, "candidates": 1, "tests": 2, "skipped": [],
            "dependent": "partner", "statistic": -4.0, "lags": 1,
            "p_value": 0.004, "p_value_corrected": 0.008,
            "traded": {"p_value": 0.09, "p_value_corrected": 0.09},
            "hedge_ratio": 0.9, "half_life": 8.0, "best_tests": [],
        }))
        .unwrap()
    }

    #[test]
    fn a_pair_that_passes_in_the_other_order_only_is_told() {
        let candidates = stored(["S1".to_owned()]);
        let pairing = pairing(&["S1"]);
        let told = |choice: PartnerChoice| {
            let mut warnings = Vec::new();
            let answer = Ok(choice);
            let leg = pairing.leg(&pairing.stocks[0], &answer, &candidates, &mut warnings);
            assert_eq!(leg.unwrap().partner, "S1");
            let codes = warnings.into_iter().map(|warning| warning.code);
            codes.collect::<Vec<_>>()
        };
        assert_eq!(told(choice()), ["partner_other_order"]);
        let mut both = choice();
        both.traded.p_value_corrected = 0.05;
        assert_eq!(told(both), [""; 0]);
        let traded = PartnerChoice {
            dependent: Dependent::Target,
            ..choice()
        };
        assert_eq!(told(traded), [""; 0]);
        let neither = PartnerChoice {
            cointegrated: false,
            ..choice()
        };
        assert_eq!(told(neither), ["partner_not_cointegrated"]);
    }
}
