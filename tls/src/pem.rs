//! Certificates and keys in PEM files.

use crate::TlsFault;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;

/// Every certificate of a file, at least one.
pub(crate) fn certificates(
    setting: &str,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let text = read(setting, file)?;
    let shown = file.display();
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(TlsFault(format!(
            "{setting} is {shown}, which holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"
        ))),
        Err(error) => Err(TlsFault(format!(
            "{setting} is {shown}, which is damaged: {error}"
        ))),
    }
}

/// The private key of a file.
pub(crate) fn private_key(setting: &str, file: &Path) -> Result<PrivateKeyDer<'static>, TlsFault> {
    let text = read(setting, file)?;
    let shown = file.display();
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsFault(format!(
            "{setting} is {shown}, which holds no private key in PEM form (-----BEGIN PRIVATE \
             KEY-----); a key with a passphrase cannot be read, take it off with `openssl pkey`"
        )),
        // The parser names what is wrong with the form, never a part of the key.
        error => TlsFault(format!("{setting} is {shown}, which is damaged: {error}")),
    })
}

fn read(setting: &str, file: &Path) -> Result<Vec<u8>, TlsFault> {
    std::fs::read(file).map_err(|error| {
        TlsFault(format!(
            "{setting} is {}, which cannot be read: {error}",
            file.display()
        ))
    })
}
