//! What a backtest assumes besides the rule: cash, costs, fills, sizes.

use crate::bars::Frequency;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// When a signal given by the close of row `t` is filled. "Next" is the next row on which that
/// symbol trades; a signal without a next row inside the period is never filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// At the next open.
    #[default]
    NextOpen,
    /// At the next close.
    NextClose,
    /// At the very close that gave the signal. Look-ahead: nobody knows a closing price in time to
    /// trade at it. See [`Fill::looks_ahead`].
    Close,
}

impl Fill {
    /// Whether results with this fill rest on prices that were not known when the order was given;
    /// whoever shows them must say so.
    #[must_use]
    pub const fn looks_ahead(self) -> bool {
        matches!(self, Self::Close)
    }
}

/// The rules of the exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Market {
    /// No rules: fractional shares, no limits, no settlement delay.
    #[default]
    Plain,
    /// China A-shares: lots, T+1, price limits, suspension, stamp duty and transfer fee, a least
    /// commission, a volume cap.
    CnA,
    /// US shares: whole shares, orders good for the day, no limits, T+0.
    Us,
}

impl Market {
    /// Every market.
    pub const ALL: [Self; 3] = [Self::Plain, Self::CnA, Self::Us];

    /// Its name in requests and documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::CnA => "cn_a",
            Self::Us => "us",
        }
    }

    /// Whether orders are dealt by the rules of a market: see [`crate::engine`].
    #[must_use]
    pub const fn has_rules(self) -> bool {
        !matches!(self, Self::Plain)
    }
}

/// How much an entry gets. `equity` is cash and positions of the whole book at the fill prices of
/// the row, after the row's sales; `free` is the cash, or, with short sales, equity less the value
/// of all positions. An entry without anything free is refused and counted.
///
/// A position is one symbol held, or one pair: a leg of it, or both with short sales.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum Position {
    /// `min(free, equity / N)` for `N` symbols or pairs: a single one gets everything.
    #[default]
    EqualWeight,
    /// Everything that is free, if no position is open: one position at a time. Of several entries
    /// on one row, the first in the order of the symbols (or pairs) is bought, the others are
    /// refused.
    AllIn,
    /// `min(free, fraction x equity)`. Entries of one row are served in the order of the symbols
    /// (or pairs) until nothing is free.
    FixedFraction {
        /// 0.000001 to 1.
        fraction: f64,
    },
}

/// What a result is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Benchmark {
    /// Every symbol bought at its first chance for an equal share and held. For pairs: both legs
    /// of each.
    #[default]
    BuyAndHold,
    /// Another name of the same: the weights are equal when bought and drift after.
    EqualWeightHold,
}

/// The assumptions of a backtest; the default is that of the request's `backtest_config`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BacktestConfig {
    /// Cash at the start, in the currency of the prices. 100,000.
    pub initial_cash: f64,
    /// Fee as a fraction of the traded value, on purchases and sales. 0.0003.
    pub commission_rate: f64,
    /// How much worse than the fill price a trade is done, as a fraction. 0.0001.
    pub slippage_rate: f64,
    /// The exchange's rules.
    pub market: Market,
    /// When signals are filled.
    pub fill: Fill,
    /// How much is bought.
    pub position: Position,
    /// Short sales: the market-neutral form of a pair strategy. Refused for others.
    pub allow_short: bool,
    /// What the result is compared with.
    pub benchmark: Benchmark,
    /// Yearly riskless rate as a fraction; divided by `periods_per_year` for one row. 0.
    pub risk_free_rate: f64,
    /// Rows in a year. 252.
    pub periods_per_year: f64,
    /// Spacing of the bars.
    pub frequency: Frequency,
    /// Candidate partners of pair strategies. Whoever prepares the data chooses among them; the
    /// engine does not read it.
    pub partners: Vec<String>,
    /// Whether a pair must be cointegrated: as [`Self::partners`].
    pub require_cointegration: bool,
}

impl Default for BacktestConfig {
    fn default() -> Self {
        Self {
            initial_cash: 100_000.0,
            commission_rate: 0.000_3,
            slippage_rate: 0.000_1,
            market: Market::Plain,
            fill: Fill::NextOpen,
            position: Position::EqualWeight,
            allow_short: false,
            benchmark: Benchmark::BuyAndHold,
            risk_free_rate: 0.0,
            periods_per_year: 252.0,
            frequency: Frequency::Daily,
            partners: Vec::new(),
            require_cointegration: false,
        }
    }
}

/// A field of [`BacktestConfig`] that cannot be used.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ConfigFault {
    /// A number outside its range.
    #[error("{field} is {value}; it must be a number in {min:?} to {max:?}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// Its value.
        value: f64,
        /// Smallest accepted.
        min: f64,
        /// Largest accepted.
        max: f64,
    },
    /// Something that is known but not available, or not for this strategy.
    #[error("{field}: {detail}")]
    NotBuilt {
        /// The field.
        field: &'static str,
        /// What is missing and what to use instead.
        detail: &'static str,
    },
}

impl ConfigFault {
    /// The field of the fault, for a JSON pointer.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::OutOfRange { field, .. } | Self::NotBuilt { field, .. } => field,
        }
    }
}

impl BacktestConfig {
    /// Checks every field by itself. [`Self::check_for`] checks what a strategy can use.
    ///
    /// # Errors
    /// All faults, in the order of the fields.
    pub fn check(&self) -> Result<(), Vec<ConfigFault>> {
        let mut faults = Vec::new();
        let mut number = |field, value: f64, min: f64, max: f64| {
            if !(min..=max).contains(&value) {
                faults.push(ConfigFault::OutOfRange {
                    field,
                    value,
                    min,
                    max,
                });
            }
        };
        number("initial_cash", self.initial_cash, 1.0, 1e15);
        number("commission_rate", self.commission_rate, 0.0, 0.5);
        number("slippage_rate", self.slippage_rate, 0.0, 0.5);
        if let Position::FixedFraction { fraction } = self.position {
            number("position.fraction", fraction, 1e-6, 1.0);
        }
        number("risk_free_rate", self.risk_free_rate, -0.5, 1.0);
        number("periods_per_year", self.periods_per_year, 1.0, 1e6);
        let mut refuse = |field, wanted: bool, detail| {
            if wanted {
                faults.push(ConfigFault::NotBuilt { field, detail });
            }
        };
        refuse(
            "allow_short",
            self.allow_short && self.market.has_rules(),
            "the market has no short sales; use false, or the market plain",
        );
        refuse(
            "frequency",
            self.frequency != Frequency::Daily,
            "only daily bars (1d) are available",
        );
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }
}

impl BacktestConfig {
    /// Checks that a strategy of that many legs ([`StrategyInfo::legs`]) can use what is asked for:
    /// short sales, partners and the test for cointegration are for pair strategies.
    ///
    /// [`StrategyInfo::legs`]: crate::strategy::StrategyInfo::legs
    ///
    /// # Errors
    /// All faults, in the order of the fields.
    pub fn check_for(&self, legs: u8) -> Result<(), Vec<ConfigFault>> {
        if legs == 2 {
            return Ok(());
        }
        let fields = [
            (
                "allow_short",
                self.allow_short,
                "this strategy only buys; use false, or a pair strategy such as cointegration",
            ),
            (
                "partners",
                !self.partners.is_empty(),
                "this strategy trades each symbol by itself; leave it out, or use a pair strategy \
                 such as cointegration",
            ),
            (
                "require_cointegration",
                self.require_cointegration,
                "this strategy trades each symbol by itself; use false, or a pair strategy such as \
                 cointegration",
            ),
        ];
        let faults: Vec<_> = fields
            .into_iter()
            .filter(|(_, wanted, _)| *wanted)
            .map(|(field, _, detail)| ConfigFault::NotBuilt { field, detail })
            .collect();
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_passes_and_every_fault_is_named() {
        assert_eq!(BacktestConfig::default().check(), Ok(()));
        let bad = BacktestConfig {
            initial_cash: 0.0,
            commission_rate: -0.1,
            slippage_rate: f64::NAN,
            market: Market::CnA,
            allow_short: true,
            position: Position::FixedFraction { fraction: 1.5 },
            ..BacktestConfig::default()
        };
        let fields: Vec<_> = bad
            .check()
            .unwrap_err()
            .iter()
            .map(ConfigFault::field)
            .collect();
        assert_eq!(
            fields,
            [
                "initial_cash",
                "commission_rate",
                "slippage_rate",
                "position.fraction",
                "allow_short",
            ]
        );
    }

    #[test]
    fn what_only_a_pair_strategy_can_use_is_refused_for_others() {
        let asked = BacktestConfig {
            allow_short: true,
            partners: vec!["B".to_owned()],
            require_cointegration: true,
            ..BacktestConfig::default()
        };
        assert_eq!(asked.check(), Ok(()));
        assert_eq!(asked.check_for(2), Ok(()));
        let faults = asked.check_for(1).unwrap_err();
        let fields: Vec<_> = faults.iter().map(ConfigFault::field).collect();
        assert_eq!(fields, ["allow_short", "partners", "require_cointegration"]);
        assert_eq!(BacktestConfig::default().check_for(1), Ok(()));
    }
}
