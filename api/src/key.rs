//! The API key: one per service for now, kept as a digest only.

use crate::limits::MIN_KEY_CHARS;
use crate::problem::{Class, Problem};
use crate::state::AppState;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::fmt;

/// The SHA-256 digest of a key. Neither the log nor a debugger shows it.
#[derive(Clone)]
pub struct ApiKey([u8; 32]);

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(***)")
    }
}

/// A key that is too easy to guess or cannot be sent in a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Too short.
    #[error(
        "the API key has {found} characters and needs at least {MIN_KEY_CHARS}; draw it at random"
    )]
    TooShort {
        /// Characters found.
        found: usize,
    },
    /// Not sendable.
    #[error("the API key has a character that is not visible ASCII; use letters, digits and -._~")]
    NotVisible,
}

impl ApiKey {
    /// Reads a key; white space around it (a file's last line end) does not count.
    ///
    /// ```
    /// use trialmill_api::ApiKey;
    /// assert!(ApiKey::new("secret").is_err());
    /// assert!(ApiKey::new("pL2rWq8vT5yNc7bXh3mKj6dZs9fGa4eR").is_ok());
    /// ```
    ///
    /// # Errors
    /// When it is shorter than 32 characters or not visible ASCII.
    pub fn new(key: &str) -> Result<Self, BadKey> {
        let key = key.trim();
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadKey::NotVisible);
        }
        if key.len() < MIN_KEY_CHARS {
            return Err(BadKey::TooShort { found: key.len() });
        }
        Ok(Self(Sha256::digest(key.as_bytes()).into()))
    }

    /// Whether `offered` is this key. The time it takes does not depend on where they differ:
    /// digests are compared, and every byte of them.
    fn is(&self, offered: &str) -> bool {
        let offered: [u8; 32] = Sha256::digest(offered.as_bytes()).into();
        let differences = self
            .0
            .iter()
            .zip(offered)
            .fold(0_u8, |all, (a, b)| all | (a ^ b));
        std::hint::black_box(differences) == 0
    }
}

/// Paths that are open to everyone: the health of the process and the description of the API, which
/// say nothing about tasks or data. Every other path needs the key, whether it exists or not.
const OPEN_PATHS: [&str; 5] = ["/", "/healthz", "/readyz", "/openapi.json", "/docs"];

/// Refuses requests without the key, where there is one.
pub(crate) async fn require(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    let open = OPEN_PATHS.contains(&request.uri().path());
    match &state.key {
        Some(key) if !open && !offers(request.headers(), key) => Problem::new(
            Class::Unauthorized,
            "send the API key as 'Authorization: Bearer <key>'; none was sent, or another one",
        )
        .into_response(),
        _ => next.run(request).await,
    }
}

fn offers(headers: &HeaderMap, key: &ApiKey) -> bool {
    let value = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let Some((scheme, offered)) = value.and_then(|value| value.split_once(' ')) else {
        return false;
    };
    scheme.eq_ignore_ascii_case("bearer") && key.is(offered.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_knows_itself_and_nothing_else_and_never_shows_itself() {
        let text = "0123456789abcdef0123456789abcdef";
        let key = ApiKey::new(&format!("{text}\n")).unwrap();
        assert!(key.is(text));
        assert!(!key.is(&text[1..]));
        assert!(!key.is(""));
        assert_eq!(format!("{key:?}"), "ApiKey(***)");
    }

    #[test]
    fn short_and_unsendable_keys_are_refused() {
        assert_eq!(
            ApiKey::new("short").unwrap_err(),
            BadKey::TooShort { found: 5 }
        );
        assert_eq!(
            ApiKey::new(&"é".repeat(40)).unwrap_err(),
            BadKey::NotVisible
        );
    }
}
