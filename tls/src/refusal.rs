//! Refusals in words for an operator.

use rustls::{CertificateError, Error as TlsError};
use std::error::Error;
use std::io;

/// Whether an error says that a server's certificate, name or manner of TLS was not accepted.
#[must_use]
pub fn is_refused(error: &(dyn Error + 'static)) -> bool {
    cause(error).is_some()
}

/// The error of TLS inside another, if there is one. An I/O error does not give what it wraps as its
/// source, so that is looked into by itself.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TlsError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<TlsError>() {
            return Some(found);
        }
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(|error| error.get_ref());
        if let Some(found) = wrapped.and_then(|wrapped| cause(wrapped)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// What went wrong at `server` and what to do about it.
pub(crate) fn explain(
    error: &(dyn Error + 'static),
    server: &str,
    setting: &str,
    whom: &str,
) -> Option<String> {
    let told = match cause(error)? {
        TlsError::InvalidCertificate(fault) => certificate(fault, server, setting, whom),
        TlsError::InvalidMessage(_) => {
            format!("{server} does not speak TLS at this port; is it the port for TLS?")
        }
        TlsError::AlertReceived(alert) => {
            format!("{server} ended the TLS handshake ({alert:?}); its log says why")
        }
        other => format!("TLS with {server} failed: {other}"),
    };
    Some(told)
}

fn certificate(fault: &CertificateError, server: &str, setting: &str, whom: &str) -> String {
    match fault {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the certificate of {server} is not from an authority that is trusted here ({whom}); \
             set {setting} to a PEM file with the certificate of the authority that signed it"
        ),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names: Vec<_> = presented.iter().map(|name| plain_name(name)).collect();
            format!(
                "the certificate of {server} is made out to {} and not to {server}; connect by a \
                 name that it holds, or have one made that holds {server} (subjectAltName)",
                if names.is_empty() {
                    "nobody".to_owned()
                } else {
                    names.join(", ")
                }
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
            "the certificate of {server} has expired; have it renewed there (or set this \
             machine's clock right)"
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the certificate of {server} is not valid yet; is this machine's clock right?")
        }
        // A name of the verifier's own error, which it does not export as a type.
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => format!(
            "{server} shows the certificate of an authority (CA:TRUE) as its own; have one made \
             for it that is signed by that authority"
        ),
        other => format!("the certificate of {server} is not accepted: {other}"),
    }
}

/// A name of a certificate without the type in which the verifier wraps it.
fn plain_name(name: &str) -> &str {
    match name.split_once('(') {
        Some((_, inner)) => inner.trim_end_matches(')').trim_matches('"'),
        None => name,
    }
}
