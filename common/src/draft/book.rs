//! `backtest_config`: cash, costs, fills and the rules of the market.

use super::Subject;
use super::findings::Findings;
use super::node::{Node, Object};
use crate::spec::BacktestSettings;
use trialmill_backtest::config::{BacktestConfig, ConfigFault};

/// The fields of `backtest_config`.
pub(super) const BACKTEST_FIELDS: [&str; 13] = [
    "initial_cash",
    "commission_rate",
    "slippage_rate",
    "market",
    "fill",
    "position",
    "allow_short",
    "benchmark",
    "risk_free_rate",
    "periods_per_year",
    "frequency",
    "partners",
    "require_cointegration",
];

/// When a signal is filled.
pub(super) const FILLS: [&str; 3] = ["next_open", "next_close", "close"];

/// Endings of symbols whose exchange has rules that `plain` leaves out.
const CHINESE: [&str; 3] = [".SH", ".SZ", ".BJ"];

/// Reads `backtest_config`.
pub(super) fn read(
    node: &Node<'_>,
    subject: Option<Subject>,
    stock_codes: &[String],
    findings: &mut Findings,
) -> BacktestSettings {
    let empty = serde_json::Map::new();
    let object = match node.value {
        None => Object {
            pointer: node.pointer.clone(),
            fields: &empty,
        },
        Some(_) => match node.object(&BACKTEST_FIELDS, findings) {
            Some(object) => object,
            None => return BacktestSettings::default(),
        },
    };
    let mut config = BacktestConfig::default();
    for (field, place) in [
        ("initial_cash", &mut config.initial_cash),
        ("commission_rate", &mut config.commission_rate),
        ("slippage_rate", &mut config.slippage_rate),
        ("risk_free_rate", &mut config.risk_free_rate),
        ("periods_per_year", &mut config.periods_per_year),
    ] {
        if let Some(number) = object.field(field).number(findings) {
            *place = number;
        }
    }
    for fault in config.check().err().unwrap_or_default() {
        let node = object.field(fault.field());
        let (code, limit) = match &fault {
            ConfigFault::OutOfRange { min, max, .. } => ("out_of_range", Some((*min, *max))),
            ConfigFault::NotBuilt { .. } => ("not_built_yet", None),
        };
        let mut found = node.fault(code, fault.to_string());
        if let Some((min, max)) = limit {
            found = found.limit(format!("{min} to {max}"));
        }
        findings.fault(found);
    }
    let trades = matches!(subject, Some(Subject::Strategy(_)));
    let market = object.field("market");
    market.one_of(&["plain"], &["cn_a", "us"], findings);
    let chinese = |code: &&String| CHINESE.iter().any(|ending| code.ends_with(ending));
    if trades
        && market.value.is_none()
        && let Some(code) = stock_codes.iter().find(chinese)
    {
        let detail = format!(
            "{code} trades under rules that are not built yet; the market is plain: no lots, no \
             T+1, no price limits, no stamp duty. Results are better than real ones would be"
        );
        findings.warn("market_rules_not_built", &market.pointer, detail);
    }
    let fill = object.field("fill");
    let filled = fill.one_of(&FILLS, &[], findings).unwrap_or(FILLS[0]);
    if filled == "close" {
        let detail = "fill close trades at the closing price that gave the signal, which nobody \
                      knows in time; results are not attainable. Use next_open";
        findings.warn("look_ahead", &fill.pointer, detail);
    }
    let position = object.field("position");
    if position.value.is_some()
        && let Some(position) = position.object(&["mode"], findings)
    {
        position
            .field("mode")
            .required(findings)
            .one_of(&["equal_weight"], &[], findings);
    }
    object
        .field("benchmark")
        .one_of(&["buy_and_hold"], &["equal_weight_hold"], findings);
    object
        .field("frequency")
        .one_of(&["1d"], &["1h", "5m", "1m"], findings);
    for (field, what) in [
        ("allow_short", "selling short"),
        ("require_cointegration", "trading pairs"),
    ] {
        let node = object.field(field);
        if node.flag(findings) == Some(true) {
            node.not_built(what, "false", findings);
        }
    }
    let partners = object.field("partners");
    if partners.value.is_some()
        && partners
            .list(findings)
            .is_some_and(|partners| !partners.is_empty())
    {
        partners.not_built("trading pairs", "[]", findings);
    }
    BacktestSettings {
        initial_cash: config.initial_cash,
        commission_rate: config.commission_rate,
        slippage_rate: config.slippage_rate,
        fill: filled.to_owned(),
        risk_free_rate: config.risk_free_rate,
        periods_per_year: config.periods_per_year,
    }
}
