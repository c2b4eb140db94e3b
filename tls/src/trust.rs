//! Whom a client trusts.

use crate::{TlsFault, algorithms, pem};
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The authorities whose certificates a client accepts on one link: those of a file and no others
/// if one is named, else those of the system.
#[derive(Clone)]
pub struct Trust {
    setting: &'static str,
    roots: Roots,
}

#[derive(Clone)]
enum Roots {
    System,
    File(PathBuf, Arc<RootCertStore>),
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.roots {
            Roots::System => write!(f, "Trust(the system's authorities)"),
            Roots::File(file, _) => write!(f, "Trust({})", file.display()),
        }
    }
}

impl Trust {
    /// The authorities that the system's store holds when they are first needed. `setting` is what
    /// a refusal tells to set.
    #[must_use]
    pub const fn system(setting: &'static str) -> Self {
        Self {
            setting,
            roots: Roots::System,
        }
    }

    /// The authorities of the file that `setting` names, else the system's.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no certificate, or one that is no authority's.
    pub fn new(setting: &'static str, ca_file: Option<&Path>) -> Result<Self, TlsFault> {
        let Some(file) = ca_file else {
            return Ok(Self::system(setting));
        };
        let mut store = RootCertStore::empty();
        for certificate in pem::certificates(setting, file)? {
            store.add(certificate).map_err(|error| {
                TlsFault(format!(
                    "{setting} is {}, which holds a certificate that cannot be used: {error}",
                    file.display()
                ))
            })?;
        }
        Ok(Self {
            setting,
            roots: Roots::File(file.to_owned(), Arc::new(store)),
        })
    }

    /// Whether a file names the authorities, so that somebody counts on TLS.
    #[must_use]
    pub fn is_named(&self) -> bool {
        matches!(self.roots, Roots::File(..))
    }

    /// How a client connects: TLS 1.2 or 1.3, certificate and name verified, and the protocols that
    /// it offers within (ALPN).
    #[must_use]
    pub fn client(&self, protocols: &[&[u8]]) -> ClientConfig {
        let roots = match &self.roots {
            Roots::System => system_roots(),
            Roots::File(_, roots) => Arc::clone(roots),
        };
        let mut config = ClientConfig::builder_with_provider(algorithms())
            .with_safe_default_protocol_versions()
            .expect("ring has the algorithms of TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        config
    }

    /// Why `server` was not believed, and what to do; nothing when the error is no matter of TLS.
    #[must_use]
    pub fn refusal(
        &self,
        error: &(dyn std::error::Error + 'static),
        server: &str,
    ) -> Option<String> {
        let whom = match &self.roots {
            Roots::System if system_roots().is_empty() => {
                "this system has no store of authorities".to_owned()
            }
            Roots::System => "only the system's authorities are trusted".to_owned(),
            Roots::File(file, _) => {
                format!("only the authorities in {} are trusted", file.display())
            }
        };
        crate::refusal::explain(error, server, self.setting, &whom)
    }
}

/// Read once: parsing the store of a system takes some milliseconds.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let mut store = RootCertStore::empty();
        // What is unreadable is left out; a refusal says when nothing is left.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(store)
    };
    Arc::clone(ROOTS.get_or_init(read))
}
