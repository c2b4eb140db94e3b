//! The partners of a strategy with two legs: who may be one, and what follows from the choice.
//!
//! The check of a request cannot choose: that takes the bars. It leaves a [`Pairing`], whose
//! [`candidates`](Pairing::candidates) the caller reads and hands to
//! [`trialmill_backtest::partner::choose`], once for each stock; [`Accepted::paired`] takes the
//! answers. A request is refused here only after it has no other fault.

use super::market::MIN_PERIOD_DAYS;
use super::{Accepted, Coverage};
use crate::fault::{Fault, Warning};
use chrono::NaiveDate;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use trialmill_backtest::partner::{PartnerChoice, PartnerError, SIGNIFICANCE};

pub(super) use trialmill_backtest::partner::is_index;

/// The most symbols that partners are chosen from. The formation period of each is held in memory
/// while they are tested: some 40 kB.
pub const MAX_CANDIDATES: usize = 2_000;

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
    /// The place of `backtest_config` in the request.
    pub config_pointer: String,
}

impl Pairing {
    /// The symbols to test, with the hashes of their series, out of those that are stored: no
    /// indices, and none without bars in the period that is traded.
    ///
    /// # Errors
    /// When a stock has nobody to be paired with, or there are more than [`MAX_CANDIDATES`].
    pub fn candidates<'a>(
        &self,
        stored: impl IntoIterator<Item = (&'a String, &'a Coverage)>,
    ) -> Result<BTreeMap<String, [u8; 32]>, Vec<Fault>> {
        let mut candidates = BTreeMap::new();
        for (symbol, coverage) in stored {
            let wanted = self.partners.is_empty() || self.partners.contains(symbol);
            let Coverage { first, last, .. } = *coverage;
            let days = (last.min(self.end_date) - first.max(self.start_date)).num_days() + 1;
            if wanted && !is_index(symbol) && days >= MIN_PERIOD_DAYS {
                candidates.insert(symbol.clone(), coverage.hash);
            }
        }
        let mut faults = Vec::new();
        for (symbol, pointer) in &self.stocks {
            if candidates.keys().all(|candidate| candidate == symbol) {
                let detail = if self.partners.is_empty() {
                    format!(
                        "no other tradable symbol with bars from {} to {} is stored for {symbol}: \
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
            PartnerError::NoCandidate { .. } | PartnerError::NothingTestable { .. } => "no_partner",
            PartnerError::Stopped => "not_chosen",
        };
        let (symbol, pointer) = stock;
        Fault::new(pointer.as_str(), code, error.to_string()).value(&json!(symbol))
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

impl Accepted {
    /// The task with the partners that were chosen, one answer for each stock of its
    /// [`Pairing`] in order: the pairs in its spec, their series in its snapshot, the choice in
    /// `resolved.partner` (one object for one stock, else one for each symbol).
    ///
    /// # Errors
    /// When a stock has no partner, or none that is cointegrated and the request requires it.
    ///
    /// # Panics
    /// If the request needs no partners, or `candidates` lacks one that was chosen.
    pub fn paired(
        mut self,
        candidates: &BTreeMap<String, [u8; 32]>,
        answers: &[Result<PartnerChoice, PartnerError>],
    ) -> Result<Self, Vec<Fault>> {
        let pairing = self.pairing.take().expect("the request needs partners");
        let mut faults = Vec::new();
        let mut choices = Vec::new();
        for (stock, answer) in pairing.stocks.iter().zip(answers) {
            let choice = match answer {
                Ok(choice) => choice,
                Err(error) => {
                    faults.push(pairing.refused(stock, error));
                    continue;
                }
            };
            if !choice.cointegrated {
                let code = "partner_not_cointegrated";
                let detail = Pairing::doubt(choice);
                if pairing.require_cointegration {
                    let pointer = format!("{}/require_cointegration", pairing.config_pointer);
                    let fault = Fault::new(
                        pointer,
                        code,
                        format!("{detail}; name other partners or dates, or use false"),
                    );
                    faults.push(fault.value(&json!(true)).limit(SIGNIFICANCE));
                    continue;
                }
                self.warnings.push(Warning {
                    code: code.to_owned(),
                    pointer: stock.1.clone(),
                    detail: format!("{detail}. It is used; require_cointegration refuses it"),
                });
            }
            let partner = &choice.partner;
            let hash = candidates
                .get(partner)
                .expect("a partner is one of the candidates");
            self.series.insert(partner.clone(), *hash);
            self.spec
                .pairs_mut()
                .insert(choice.symbol.clone(), partner.clone());
            choices.push(choice);
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        self.resolved["partner"] = match choices.as_slice() {
            [only] => json!(only),
            several => several
                .iter()
                .map(|choice| (choice.symbol.clone(), json!(choice)))
                .collect::<serde_json::Map<String, Value>>()
                .into(),
        };
        Ok(self)
    }
}

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
}
