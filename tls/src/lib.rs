//! TLS, for every link: whom a client trusts ([`Trust`]), what a server shows
//! ([`ServerIdentity`]), and refusals that say what to do.
//!
//! One library (rustls) with one set of algorithms (ring), TLS 1.2 and 1.3. Where a client speaks
//! TLS, the server's certificate and name are always verified; the one exception is
//! [`connect_unverified`], for a health check that asks its own process whether it answers. Client
//! certificates are not spoken. docs/tls.md is the operator's page.

mod identity;
mod pem;
mod refusal;
mod stream;
mod trust;
mod unverified;

pub use identity::{CERT_SETTING, KEY_SETTING, ServerIdentity};
pub use refusal::is_refused;
pub use stream::ServerStream;
pub use trust::Trust;
pub use unverified::connect_unverified;

use rustls::crypto::CryptoProvider;
use std::sync::Arc;

/// What is wrong with a file or with what it holds, in a sentence that names its setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsFault(String);

/// Makes the algorithms of this crate those of the process, for libraries that ask for such a thing:
/// an HTTP client that is not given a configuration of TLS (as in tests) panics without.
pub fn install_default() {
    // An error says that there is one already, which is the same one: there is only ring.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The algorithms of every link. Named and not a process-wide default, so that no order of
/// initialisation can choose others.
fn algorithms() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
