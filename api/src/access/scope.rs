//! Which route needs which scope, said once for the guard and for the description.

use axum::http::Method;
use trialmill_common::state::KeyScope;

/// What a request must bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing, and it is never too much: the health of the process.
    Nothing,
    /// No key: readiness, and the description of the API. They say nothing about tasks or data.
    NoKey,
    /// A key with this scope.
    Key(KeyScope),
}

const HEALTH: [&str; 1] = ["/healthz"];
/// Readiness writes to the database, so that it has a rate like everything else.
const OPEN: [&str; 4] = ["/readyz", "/", "/openapi.json", "/docs"];
/// What only administrators see and change, with everything below it.
const ADMINISTRATION: [&str; 3] = ["/api/v1/keys", "/api/v1/audit", "/api/v1/dead"];

/// What a request needs; `path` may also be a route's template. Every path needs something, whether
/// it exists or not.
pub(super) fn need(method: &Method, path: &str) -> Need {
    if HEALTH.contains(&path) {
        return Need::Nothing;
    }
    if OPEN.contains(&path) {
        return Need::NoKey;
    }
    let below = |prefix: &&str| {
        path.strip_prefix(*prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let administration = ADMINISTRATION.iter().any(below);
    Need::Key(if administration || *method == Method::DELETE {
        KeyScope::Admin
    } else if [Method::GET, Method::HEAD, Method::OPTIONS].contains(method) {
        KeyScope::Read
    } else {
        KeyScope::Submit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_needs_read_changing_submit_and_removing_admin() {
        let task = "/api/v1/tasks/019a3f0e-8c2b-7d51-9d55-1f0f6a1c2b3d";
        let cases = [
            (Method::GET, "/healthz", Need::Nothing),
            (Method::GET, "/docs", Need::NoKey),
            (Method::GET, "/readyz", Need::NoKey),
            (Method::GET, task, Need::Key(KeyScope::Read)),
            (Method::HEAD, "/nothing", Need::Key(KeyScope::Read)),
            (Method::POST, "/api/v1/tasks", Need::Key(KeyScope::Submit)),
            (
                Method::PUT,
                "/api/v1/market-data/X",
                Need::Key(KeyScope::Submit),
            ),
            (Method::PATCH, task, Need::Key(KeyScope::Submit)),
            (Method::DELETE, task, Need::Key(KeyScope::Admin)),
            (Method::GET, "/api/v1/keys", Need::Key(KeyScope::Admin)),
            (Method::GET, "/api/v1/audit", Need::Key(KeyScope::Admin)),
            (
                Method::POST,
                "/api/v1/dead/7/replay",
                Need::Key(KeyScope::Admin),
            ),
            (Method::GET, "/api/v1/keystones", Need::Key(KeyScope::Read)),
        ];
        for (method, path, needed) in cases {
            assert_eq!(need(&method, path), needed, "{method} {path}");
        }
    }
}
