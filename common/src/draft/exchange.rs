//! The rules of the exchange that a backtest trades under: those that the request names, or those of
//! the exchange of its symbols.

use super::findings::Findings;
use super::market::some_of;
use super::node::Node;
use crate::fault::{Fault, Warning};
use serde_json::json;
use trialmill_backtest::config::Market;
use trialmill_backtest::market::{Security, security};

/// The names of the markets.
pub(super) const MARKETS: [&str; 3] = [
    Market::ALL[0].name(),
    Market::ALL[1].name(),
    Market::ALL[2].name(),
];

/// A symbol and its place in the request.
pub(super) type Placed = (String, String);

/// The market of a backtest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) market: Market,
    /// Whether the request named it: then it is kept, whoever becomes a partner.
    pub(super) named: bool,
}

/// Reads `market`. `symbols` are the stocks and the named partners of a strategy; `short` says whether
/// short sales are asked for.
pub(super) fn read(
    node: &Node<'_>,
    symbols: &[&Placed],
    short: bool,
    findings: &mut Findings,
) -> Chosen {
    let name = node.one_of(&MARKETS, &[], findings);
    let found = Market::ALL.into_iter().find(|m| Some(m.name()) == name);
    if let Some(market) = found {
        if market == Market::CnA {
            for (symbol, pointer) in symbols.iter().filter(|(symbol, _)| !is_share(symbol)) {
                findings.fault(not_a_share(symbol, pointer));
            }
        }
        return Chosen {
            market,
            named: true,
        };
    }
    let market = default(symbols.iter().map(|(symbol, _)| symbol.as_str()));
    if market == Market::CnA && short {
        let detail = "the market is plain, since the rules of cn_a have no short sales: no lots, no \
                      T+1, no price limits, no stamp duty. Results are better than real ones would \
                      be";
        findings.warn(MARKET_IS_PLAIN, &node.pointer, detail);
        return Chosen::default();
    }
    let of_exchange = symbols.iter().any(|(symbol, _)| is_mainland(symbol));
    if market == Market::Plain && of_exchange {
        let others = others(symbols.iter().map(|(symbol, _)| symbol.as_str()));
        findings.warn(MARKET_IS_PLAIN, &node.pointer, plain_for(others));
    }
    Chosen {
        market,
        named: false,
    }
}

/// The warning of a task that trades under no rules though its exchange has some.
const MARKET_IS_PLAIN: &str = "market_is_plain";

/// The market of symbols for which none is named: `cn_a` if all are A-shares.
fn default<'a>(mut symbols: impl Iterator<Item = &'a str>) -> Market {
    let mut any = false;
    let all = symbols.all(|symbol| {
        any = true;
        is_share(symbol)
    });
    if any && all {
        Market::CnA
    } else {
        Market::Plain
    }
}

/// Whether the rules of `cn_a` are those of a symbol.
pub(super) fn is_share(symbol: &str) -> bool {
    matches!(security(symbol), Security::Share(_))
}

/// Whether a symbol is of an exchange whose shares have rules.
fn is_mainland(symbol: &str) -> bool {
    !matches!(security(symbol), Security::Elsewhere)
}

/// The symbols that are no A-shares.
fn others<'a>(symbols: impl Iterator<Item = &'a str>) -> Vec<String> {
    let others = symbols.filter(|symbol| !is_share(symbol));
    others.map(str::to_owned).collect()
}

fn plain_for(others: Vec<String>) -> String {
    format!(
        "the market is plain, since these are no A-shares by their codes: {}. There are no lots, no \
         T+1, no price limits and no stamp duty, so results are better than real ones would be. \
         Name A-shares only for cn_a, or name the market to choose it",
        some_of(others)
    )
}

fn not_a_share(symbol: &str, pointer: &str) -> Fault {
    let detail = format!(
        "the rules of cn_a are those of A-shares, and {symbol} is none by its code: leave it out, \
         or use the market plain"
    );
    Fault::new(pointer, "not_a_share", detail).value(&json!(symbol))
}

/// The warning that the market of a task is plain after all: a chosen partner is no A-share.
pub(super) fn plain_for_partners(partners: &[&str], config_pointer: &str) -> Option<Warning> {
    let others = others(partners.iter().copied());
    (!others.is_empty()).then(|| Warning {
        code: MARKET_IS_PLAIN.to_owned(),
        pointer: format!("{config_pointer}/market"),
        detail: plain_for(others),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_that_of_the_exchange_where_all_are_its_shares() {
        let of = |symbols: &[&str]| default(symbols.iter().copied());
        assert_eq!(of(&["600000.SH", "300750.SZ", "830799.BJ"]), Market::CnA);
        assert_eq!(of(&["600000.SH", "510300.SH"]), Market::Plain);
        assert_eq!(of(&["600000.SH", "AAPL"]), Market::Plain);
        assert_eq!(of(&["AAPL"]), Market::Plain);
        assert_eq!(of(&[]), Market::Plain);
    }

    #[test]
    fn a_partner_that_is_no_share_takes_the_rules_away_and_is_named() {
        assert_eq!(plain_for_partners(&["601398.SH"], "/x"), None);
        let warning = plain_for_partners(&["601398.SH", "SYN01.SZ"], "/x").unwrap();
        assert_eq!(
            (warning.code.as_str(), warning.pointer.as_str()),
            ("market_is_plain", "/x/market")
        );
        assert!(warning.detail.contains("codes: SYN01.SZ."), "{warning:?}");
    }
}
