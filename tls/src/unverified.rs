//! A client that believes every server, for the health check.

use crate::algorithms;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

/// Speaks TLS over a connection without asking who is there. For a health check alone: it looks
/// whether its own process answers at the address that it listens on, whatever name its certificate
/// is made out to, and sends nothing secret.
///
/// # Errors
/// When there is no TLS at the other end, or the connection breaks.
pub async fn connect_unverified<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
) -> io::Result<impl AsyncRead + AsyncWrite + Unpin> {
    let algorithms = algorithms();
    let verifier = Arc::new(BelievesAll(algorithms.signature_verification_algorithms));
    let config = ClientConfig::builder_with_provider(algorithms)
        .with_safe_default_protocol_versions()
        .expect("ring has the algorithms of TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    // An address and no name: then none is sent.
    let name = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// Takes every certificate, but still wants the server to hold its key.
#[derive(Debug)]
struct BelievesAll(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for BelievesAll {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
