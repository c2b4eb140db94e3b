//! `backtest_config`: cash, costs, fills and the rules of the market.

use super::Subject;
use super::exchange::{self, Placed};
use super::findings::{Findings, shown};
use super::market::{self, MarketView};
use super::node::{Node, Object};
use super::partner::is_index;
use crate::fault::Fault;
use crate::spec::BacktestSettings;
use serde_json::Value;
use std::collections::BTreeMap;
use trialmill_backtest::config::{BacktestConfig, Benchmark, ConfigFault, Market, Position};
use trialmill_backtest::strategy::Strategy;

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

/// The fields that a backtest request may also have outside of `backtest_config`, as older clients
/// write them.
pub(super) const OUTER_FIELDS: [&str; 3] = ["initial_cash", "commission_rate", "slippage_rate"];

/// How much an entry gets.
pub(super) const POSITIONS: [&str; 3] = ["equal_weight", "all_in", "fixed_fraction"];

/// What a result is compared with.
pub(super) const BENCHMARKS: [&str; 2] = ["buy_and_hold", "equal_weight_hold"];

/// What `backtest_config` means.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) settings: BacktestSettings,
    /// Whether the request names the market.
    pub(super) market_is_named: bool,
    /// The symbols that may be partners; empty for all that are stored.
    pub(super) partners: Vec<String>,
    /// Whether a pair must be cointegrated.
    pub(super) require_cointegration: bool,
}

/// Reads `backtest_config`, and the fields of it that stand outside (`outer`).
pub(super) fn read(
    node: &Node<'_>,
    outer: &[(&'static str, Node<'_>)],
    subject: Option<Subject>,
    stocks: &[Placed],
    market: &MarketView,
    findings: &mut Findings,
) -> Book {
    let empty = serde_json::Map::new();
    let object = match node.value {
        None => Object {
            pointer: node.pointer.clone(),
            fields: &empty,
        },
        Some(_) => match node.object(&BACKTEST_FIELDS, findings) {
            Some(object) => object,
            None => return Book::default(),
        },
    };
    let field = |name: &str| {
        let given = outer.iter().find(|(outer, _)| *outer == name);
        match given
            .map(|(_, node)| node)
            .filter(|node| node.value.is_some())
        {
            Some(node) => node.clone(),
            None => object.field(name),
        }
    };
    for (name, node) in outer {
        let inner = object.field(name);
        if node.value.is_some() && inner.value.is_some() {
            let detail = format!("{name} is given here and in backtest_config; keep one");
            findings.fault(node.fault("given_twice", detail));
        }
    }
    let mut config = BacktestConfig::default();
    for (name, place) in [
        ("initial_cash", &mut config.initial_cash),
        ("commission_rate", &mut config.commission_rate),
        ("slippage_rate", &mut config.slippage_rate),
        ("risk_free_rate", &mut config.risk_free_rate),
        ("periods_per_year", &mut config.periods_per_year),
    ] {
        if let Some(number) = field(name).number(findings) {
            *place = number;
        }
    }
    config.position = read_position(&object.field("position"), findings);
    let allow_short = object.field("allow_short");
    let require = object.field("require_cointegration");
    let partners = object.field("partners");
    config.allow_short = allow_short.flag(findings).unwrap_or(false);
    let require_cointegration = require.flag(findings).unwrap_or(false);
    let named = partners.value.map(|_| partners.list(findings));
    let named = named.flatten().unwrap_or_default();
    let names = match subject {
        Some(Subject::Strategy(strategy)) if strategy.info().legs < 2 => {
            let asked = [
                (
                    config.allow_short,
                    &allow_short,
                    "sells nothing short",
                    "false",
                ),
                (
                    require_cointegration,
                    &require,
                    "has no pair to be cointegrated",
                    "false",
                ),
                (!named.is_empty(), &partners, "takes no partners", "[]"),
            ];
            for (asked, node, what, instead) in asked {
                if asked {
                    findings.fault(one_leg(node, strategy, what, instead));
                }
            }
            Vec::new()
        }
        Some(Subject::Strategy(_)) => read_partners(&partners, named, stocks, market, findings),
        Some(Subject::Function(_) | Subject::Client) | None => Vec::new(),
    };
    let symbols: Vec<&Placed> = stocks.iter().chain(&names).collect();
    let trades = subject.is_some_and(Subject::trades);
    let symbols = if trades { symbols } else { Vec::new() };
    let chosen = exchange::read(
        &object.field("market"),
        &symbols,
        config.allow_short,
        findings,
    );
    config.market = chosen.market;
    if let Some(Subject::Strategy(strategy)) = subject
        && strategy.info().reads_fundamentals
        && !chosen.market.has_rules()
    {
        findings.fault(no_reports(&object.field("market"), strategy));
    }
    for fault in config.check().err().unwrap_or_default() {
        let node = match fault.field() {
            FRACTION => {
                let fields = object.field("position");
                let fields = fields.value.and_then(Value::as_object);
                let fields = fields.expect("a fraction was read from it");
                let pointer = object.field("position").pointer;
                Object { pointer, fields }.field("fraction")
            }
            name => field(name),
        };
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
    let fill = object.field("fill");
    let filled = fill.one_of(&FILLS, &[], findings).unwrap_or(FILLS[0]);
    if filled == "close" {
        let detail = "fill close trades at the closing price that gave the signal, which nobody \
                      knows in time; results are not attainable. Use next_open";
        findings.warn("look_ahead", &fill.pointer, detail);
    }
    config.benchmark = match object.field("benchmark").one_of(&BENCHMARKS, &[], findings) {
        Some("equal_weight_hold") => Benchmark::EqualWeightHold,
        Some(_) | None => Benchmark::BuyAndHold,
    };
    object
        .field("frequency")
        .one_of(&["1d"], &["1h", "5m", "1m"], findings);
    Book {
        settings: BacktestSettings {
            initial_cash: config.initial_cash,
            commission_rate: config.commission_rate,
            slippage_rate: config.slippage_rate,
            fill: filled.to_owned(),
            risk_free_rate: config.risk_free_rate,
            periods_per_year: config.periods_per_year,
            position: config.position,
            allow_short: config.allow_short,
            benchmark: config.benchmark,
            market: chosen.market,
            pins_reports: false,
        },
        market_is_named: chosen.named,
        partners: names.into_iter().map(|(name, _)| name).collect(),
        require_cointegration,
    }
}

/// The name under which the engine refuses a fraction.
const FRACTION: &str = "position.fraction";

/// The fault of a strategy that reads fundamentals under a market that pins none.
fn no_reports(node: &Node<'_>, strategy: &dyn Strategy) -> Fault {
    let detail = format!(
        "{} reads fundamentals, and the market plain pins none: the bars of a plain task are all that \
         it knows. Use cn_a or us",
        strategy.info().key
    );
    node.fault("no_fundamentals", detail)
        .allowed([Market::CnA.name(), Market::Us.name()])
}

fn one_leg(
    node: &Node<'_>,
    strategy: &dyn Strategy,
    what: &str,
    instead: &str,
) -> crate::fault::Fault {
    let key = strategy.info().key;
    let detail = format!(
        "{key} trades each stock by itself and {what}; use {instead}, or a strategy of two legs \
         such as cointegration"
    );
    node.fault("not_for_one_leg", detail)
}

/// Reads `position`.
fn read_position(node: &Node<'_>, findings: &mut Findings) -> Position {
    if node.value.is_none() {
        return Position::default();
    }
    let Some(object) = node.object(&["mode", "fraction"], findings) else {
        return Position::default();
    };
    let mode = object.field("mode").required(findings);
    let mode = mode.one_of(&POSITIONS, &[], findings);
    let fraction = object.field("fraction");
    if mode == Some("fixed_fraction") {
        return match fraction.required(findings).number(findings) {
            Some(fraction) => Position::FixedFraction { fraction },
            None => Position::default(),
        };
    }
    if let (Some(mode), Some(_)) = (mode, fraction.value) {
        let detail =
            format!("the mode {mode} has no fraction; leave it out, or use fixed_fraction");
        findings.fault(fraction.fault("not_for_this_mode", detail));
    }
    match mode {
        Some("all_in") => Position::AllIn,
        Some(_) | None => Position::EqualWeight,
    }
}

/// Reads `partners`: each stored, tradable and named once, and one for each stock.
fn read_partners(
    list: &Node<'_>,
    items: Vec<Node<'_>>,
    stocks: &[Placed],
    market: &MarketView,
    findings: &mut Findings,
) -> Vec<Placed> {
    let before = findings.count();
    if items.len() > MAX_PARTNERS {
        let detail = format!(
            "partners has {} symbols; it may have {MAX_PARTNERS}",
            items.len()
        );
        findings.fault(list.fault("too_many", detail).limit(MAX_PARTNERS));
        return Vec::new();
    }
    let mut seen = BTreeMap::new();
    let mut names = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let Some(name) = item.value.and_then(Value::as_str) else {
            let detail = format!("{} must be a string, such as \"600000.SH\"", item.name());
            findings.fault(item.fault("wrong_type", detail));
            continue;
        };
        if !market::is_symbol(name) {
            findings.fault(market::malformed(&item, name));
        } else if let Some(first) = seen.insert(name, index) {
            let detail = format!("{name} is also partners[{first}]; name it once");
            findings.fault(item.fault("duplicate", detail));
        } else if stocks.len() == 1 && stocks[0].0 == name {
            let detail = format!("{name} is the stock itself; name another symbol");
            findings.fault(item.fault("own_partner", detail));
        } else if is_index(name) {
            let detail =
                format!("{name} is an index, which cannot be traded; name a stock or fund");
            findings.fault(item.fault("not_tradable", detail));
        } else if market.series.get(name).is_none_or(|held| held.rows == 0) {
            let detail = format!(
                "there are no bars of {name}; bring them in with `trialmill data import FILE`"
            );
            findings.fault(item.fault("missing_market_data", detail));
        } else if let Some(held) = market.series.get(name).filter(|held| !held.is_daily()) {
            findings.fault(market::not_daily(&item, name, held));
        } else {
            names.push((name.to_owned(), item.pointer.clone()));
        }
    }
    if let ([(only, _)], 0) = (names.as_slice(), findings.count() - before)
        && stocks.iter().any(|(stock, _)| stock == only)
    {
        let detail = format!(
            "{} cannot be its own partner; name another symbol too",
            shown(only)
        );
        findings.fault(list.fault("own_partner", detail));
    }
    names
}

/// The most entries of `partners`.
pub(super) const MAX_PARTNERS: usize = 1_000;
