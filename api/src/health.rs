//! What `trialmill-api healthcheck` does.

use crate::config::Settings;
use anyhow::{Context, bail};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Time for an answer.
const HEALTH_TIME: Duration = Duration::from_secs(5);
/// More than the head of an answer.
const MOST_BYTES: u64 = 4096;

/// Asks the service that these settings describe for `/healthz`, over TLS if it has a certificate.
///
/// # Errors
/// When it does not answer in time, or with something else than 200.
pub async fn check(settings: &Settings) -> anyhow::Result<()> {
    let address = reachable(settings.listen_address().map_err(anyhow::Error::msg)?);
    let answer = timeout(HEALTH_TIME, async {
        let stream = TcpStream::connect(address).await?;
        if settings.tls_cert_file.is_some() {
            ask(trialmill_tls::connect_unverified(stream).await?).await
        } else {
            ask(stream).await
        }
    });
    let answer = answer
        .await
        .with_context(|| format!("no answer from {address} within {HEALTH_TIME:?}"))?
        .with_context(|| format!("nothing answers at {address}"))?;
    let status = answer.lines().next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200") {
        bail!("{address} answered '{status}'");
    }
    Ok(())
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<String> {
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The address to knock at: one that listens everywhere is reached on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
