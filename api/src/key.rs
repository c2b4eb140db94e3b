//! Keys as digests, and new ones.

use crate::limits::MIN_KEY_CHARS;
use sha2::{Digest, Sha256};
use std::fmt;

/// How a key made here begins, so that it is known as one wherever it turns up.
pub const KEY_PREFIX: &str = "tm_";

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
        Ok(Self::sent(key))
    }

    /// What a client sent for a key, whatever it is.
    pub(crate) fn sent(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// The digest, as it is stored.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.0
    }

    /// Whether `offered` is this key. The time it takes does not depend on where they differ: every
    /// byte of the digests is compared.
    pub(crate) fn is(&self, offered: &Self) -> bool {
        let differences = self
            .0
            .iter()
            .zip(offered.0)
            .fold(0_u8, |all, (a, b)| all | (a ^ b));
        std::hint::black_box(differences) == 0
    }
}

/// A new key, to be shown once and forgotten. A debugger does not show it.
pub struct NewSecret(String);

impl fmt::Debug for NewSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewSecret(***)")
    }
}

/// The system gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes for a key: {0}")]
pub struct NoRandomness(getrandom::Error);

impl NewSecret {
    /// Draws 256 bits from the system: [`KEY_PREFIX`] and 64 hexadecimal digits.
    ///
    /// ```
    /// let secret = trialmill_api::NewSecret::draw()?;
    /// assert!(secret.reveal().starts_with("tm_"));
    /// assert_eq!((secret.reveal().len(), format!("{secret:?}").as_str()), (67, "NewSecret(***)"));
    /// # Ok::<(), trialmill_api::NoRandomness>(())
    /// ```
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn draw() -> Result<Self, NoRandomness> {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes).map_err(NoRandomness)?;
        let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
        let digits: String = digits.collect();
        Ok(Self(format!("{KEY_PREFIX}{digits}")))
    }

    /// The key itself, for the one who asked for it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Its digest, for the store.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        ApiKey::sent(&self.0).digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_knows_itself_and_nothing_else_and_never_shows_itself() {
        let text = "0123456789abcdef0123456789abcdef";
        let key = ApiKey::new(&format!("{text}\n")).unwrap();
        assert!(key.is(&ApiKey::sent(text)));
        assert!(!key.is(&ApiKey::sent(&text[1..])));
        assert!(!key.is(&ApiKey::sent("")));
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

    #[test]
    fn no_two_new_keys_are_the_same_and_each_can_be_a_key() {
        let (one, other) = (NewSecret::draw().unwrap(), NewSecret::draw().unwrap());
        assert_ne!(one.reveal(), other.reveal());
        let read = ApiKey::new(one.reveal()).unwrap();
        assert_eq!(read.digest(), one.digest());
    }
}
