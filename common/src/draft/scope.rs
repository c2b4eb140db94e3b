//! `scope` and `aggregate`: one book over all symbols, or one for each.

use super::Subject;
use super::findings::Findings;
use super::request::Request;
use crate::spec::{Aggregate, Scope};

/// The fields.
pub(super) const SCOPE: &str = "scope";
pub(super) const AGGREGATE: &str = "aggregate";

/// Reads both; what is absent or at fault is a portfolio, or the mean.
pub(super) fn read(
    request: &Request<'_>,
    subject: Option<Subject>,
    findings: &mut Findings,
) -> Scope {
    let scope = request.field(SCOPE, findings);
    let aggregate = request.field(AGGREGATE, findings);
    let [portfolio, per_symbol] = Scope::NAMES;
    let name = match scope.value {
        None => Some(portfolio),
        Some(_) => scope.one_of(&Scope::NAMES, &[], findings),
    };
    let named = aggregate
        .value
        .and_then(|_| aggregate.one_of(&Aggregate::ALL.map(Aggregate::name), &[], findings));
    if name == Some(portfolio) && named.is_some() {
        let detail = format!(
            "the scope {portfolio} has one book, whose metrics are not aggregated; leave aggregate \
             out, or use the scope {per_symbol}"
        );
        findings.fault(aggregate.fault("not_for_this_scope", detail));
    }
    if name != Some(per_symbol) {
        return Scope::Portfolio;
    }
    let symbolless = match subject {
        Some(Subject::Function(function)) => Some(function.name()),
        Some(Subject::Client) => Some("an objective at the client"),
        Some(Subject::Strategy(_)) | None => None,
    };
    if let Some(symbolless) = symbolless {
        let detail =
            format!("{symbolless} reads no symbols and has no value for each; leave it out");
        let fault = scope.fault("not_for_functions", detail);
        findings.fault(fault.allowed([portfolio]));
    }
    let aggregate = Aggregate::ALL.into_iter().find(|a| Some(a.name()) == named);
    Scope::PerSymbol(aggregate.unwrap_or_default())
}
