//! What a server shows: a certificate chain and its key, from files that may be renewed.

use crate::stream::ServerStream;
use crate::{TlsFault, algorithms, pem};
use chrono::{DateTime, Utc};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, UnixTime};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use x509_cert::der::Decode;

/// The setting that names the certificate chain, the server's own certificate first.
pub const CERT_SETTING: &str = "TRIALMILL_TLS_CERT_FILE";
/// The setting that names its private key.
pub const KEY_SETTING: &str = "TRIALMILL_TLS_KEY_FILE";

/// The certificate and key of a server. [`ServerIdentity::reload`] takes renewed files; connections
/// that are open keep what they began with.
pub struct ServerIdentity {
    cert_file: PathBuf,
    key_file: PathBuf,
    shown: RwLock<Shown>,
}

#[derive(Clone)]
struct Shown {
    config: Arc<ServerConfig>,
    valid_until: DateTime<Utc>,
}

impl ServerIdentity {
    /// The identity that two settings name, or none when neither is set.
    ///
    /// # Errors
    /// All mistakes: one file without the other, unreadable, damaged, expired or not valid yet, and
    /// a key that is not the certificate's.
    pub fn from_settings(
        cert_file: Option<&Path>,
        key_file: Option<&Path>,
    ) -> Result<Option<Self>, Vec<TlsFault>> {
        let (cert_file, key_file) = match (cert_file, key_file) {
            (None, None) => return Ok(None),
            (Some(cert_file), Some(key_file)) => (cert_file, key_file),
            (given, _) => {
                let (set, unset) = if given.is_some() {
                    (CERT_SETTING, KEY_SETTING)
                } else {
                    (KEY_SETTING, CERT_SETTING)
                };
                return Err(vec![TlsFault(format!(
                    "{set} is set and {unset} is not; HTTPS needs both, HTTP neither"
                ))]);
            }
        };
        Ok(Some(Self {
            shown: RwLock::new(read(cert_file, key_file)?),
            cert_file: cert_file.to_owned(),
            key_file: key_file.to_owned(),
        }))
    }

    /// Reads the files again for connections to come.
    ///
    /// # Errors
    /// As [`ServerIdentity::from_settings`]; then what was shown before is shown on.
    pub fn reload(&self) -> Result<(), Vec<TlsFault>> {
        let shown = read(&self.cert_file, &self.key_file)?;
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok(())
    }

    /// When the certificate that is shown expires.
    #[must_use]
    pub fn valid_until(&self) -> DateTime<Utc> {
        self.shown().valid_until
    }

    /// A connection whose handshake begins with its first read or write and has to end within
    /// `limit` of that. Nothing is waited for here, so a slow peer holds up only itself.
    pub fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        limit: Duration,
    ) -> ServerStream<S> {
        ServerStream::tls(self.shown().config, stream, limit)
    }

    fn shown(&self) -> Shown {
        self.shown
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn read(cert_file: &Path, key_file: &Path) -> Result<Shown, Vec<TlsFault>> {
    let mut faults = Vec::new();
    let mut keep = |fault: TlsFault| faults.push(fault);
    let chain = pem::certificates(CERT_SETTING, cert_file)
        .map_err(&mut keep)
        .ok();
    let valid_until = chain
        .as_ref()
        .and_then(|chain| validity(&chain[0], cert_file).map_err(&mut keep).ok());
    let key = pem::private_key(KEY_SETTING, key_file)
        .map_err(&mut keep)
        .ok();
    let (Some(chain), Some(key), Some(valid_until)) = (chain, key, valid_until) else {
        return Err(faults);
    };
    let config = ServerConfig::builder_with_provider(algorithms())
        .with_safe_default_protocol_versions()
        .expect("ring has the algorithms of TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, key);
    match config {
        Ok(mut config) => {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok(Shown {
                config: Arc::new(config),
                valid_until,
            })
        }
        Err(rustls::Error::InconsistentKeys(_)) => Err(vec![TlsFault(format!(
            "the key in {KEY_SETTING} ({}) is not that of the certificate in {CERT_SETTING} ({}); \
             the server's own certificate comes first in its file",
            key_file.display(),
            cert_file.display()
        ))]),
        Err(error) => Err(vec![TlsFault(format!(
            "{CERT_SETTING} ({}) and {KEY_SETTING} ({}) cannot be used: {error}",
            cert_file.display(),
            key_file.display()
        ))]),
    }
}

/// When a certificate that is valid now expires.
fn validity(certificate: &CertificateDer<'_>, file: &Path) -> Result<DateTime<Utc>, TlsFault> {
    let fault = |what: String| {
        let shown = file.display();
        TlsFault(format!(
            "{CERT_SETTING} is {shown}, whose certificate {what}"
        ))
    };
    let read = x509_cert::Certificate::from_der(certificate)
        .map_err(|error| fault(format!("cannot be read: {error}")))?;
    let validity = read.tbs_certificate.validity;
    let (from, until) = (
        DateTime::<Utc>::from(validity.not_before.to_system_time()),
        DateTime::<Utc>::from(validity.not_after.to_system_time()),
    );
    // The clock by which peers' certificates are judged too: this machine's.
    let now = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
    if until.timestamp() < now {
        return Err(fault(format!("expired on {until:?}; have it renewed")));
    }
    if now < from.timestamp() {
        return Err(fault(format!(
            "is valid from {from:?} only; is this machine's clock right?"
        )));
    }
    Ok(until)
}
