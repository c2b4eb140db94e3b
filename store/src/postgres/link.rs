//! How every connection to the database is made: the pool's, the session's, the listener's and a
//! migration's, with TLS or without.

use super::{PgOptions, address};
use crate::error::StoreError;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use trialmill_tls::Trust;

/// The protocol that PostgreSQL 17 and newer expect within TLS; older ones do not look.
const PROTOCOL: &[u8] = b"postgresql";
/// What the client library says of every failure to agree on TLS, before the cause.
const TLS_FAILED: &str = "error performing TLS handshake";
/// And this is the cause when the server has none.
const NO_TLS: &str = "server does not support TLS";

/// A connection to be driven. Its type is the same with TLS and without.
pub(super) type Driver = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// The way to one database.
#[derive(Clone)]
pub(super) struct Link {
    config: Config,
    tls: MakeRustlsConnect,
    trust: Trust,
    /// Whether it was said that a connection goes on without TLS.
    said: Arc<AtomicBool>,
}

impl Link {
    /// # Errors
    /// [`StoreError::Address`] when the address cannot be used.
    pub fn new(url: &str, options: &PgOptions) -> Result<Self, StoreError> {
        Ok(Self {
            config: address::config(url, options)?,
            tls: MakeRustlsConnect::new(options.trust.client(&[PROTOCOL])),
            trust: options.trust.clone(),
            said: Arc::default(),
        })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Connects. Where TLS is preferred and not demanded, a server whose TLS is not accepted is
    /// spoken to without, and the log says so once.
    pub async fn connect(&self) -> Result<(Client, Driver), tokio_postgres::Error> {
        let connected = self.config.connect(self.tls.clone()).await;
        match connected {
            Err(error) if self.config.get_ssl_mode() == SslMode::Prefer && is_tls(&error) => {
                if !self.said.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        reason = self.tls_reason(&error),
                        "connecting to the database without TLS; sslmode=require in DATABASE_URL \
                         would demand it, sslmode=disable would not try it"
                    );
                }
                let mut plain = self.config.clone();
                plain.ssl_mode(SslMode::Disable);
                plain.connect(self.tls.clone()).await
            }
            connected => connected,
        }
    }

    /// What a failed [`Link::connect`] means for the caller: a login that is refused will be refused
    /// again.
    pub fn fault(&self, error: &tokio_postgres::Error) -> StoreError {
        match error.code() {
            Some(code) if code.code().starts_with("28") => {
                StoreError::Refused(self.why(error).into())
            }
            _ => self.pool_fault(error),
        }
    }

    /// The same for a connection of the pool: whatever keeps it from being made may pass.
    pub fn pool_fault(&self, error: &tokio_postgres::Error) -> StoreError {
        if is_tls(error) {
            return StoreError::Unavailable(Box::new(TlsRefused(self.tls_reason(error))));
        }
        StoreError::Unavailable(self.why(error).into())
    }

    fn why(&self, error: &tokio_postgres::Error) -> String {
        let place = address::hosts(&self.config);
        let causes = with_causes(error);
        // How pg_hba.conf refuses who comes without TLS; it has no code of its own.
        let hint = if causes.contains("no encryption") {
            "; it wants TLS: write sslmode=require in DATABASE_URL"
        } else {
            ""
        };
        format!("no connection to {place}: {causes}{hint}")
    }

    fn tls_reason(&self, error: &tokio_postgres::Error) -> String {
        let place = address::hosts(&self.config);
        let Some(cause) = error.source() else {
            return format!("TLS with {place} failed");
        };
        let known = self.trust.refusal(cause, &place);
        known.unwrap_or_else(|| match cause.to_string() {
            text if text == NO_TLS => format!(
                "{place} does not speak TLS; turn it on there (ssl = on), or allow plain text \
                 with sslmode=disable in DATABASE_URL if the way to it is safe"
            ),
            text => format!("TLS with {place} failed: {text}"),
        })
    }
}

impl deadpool_postgres::Connect for Link {
    fn connect(
        &self,
        _: &Config,
    ) -> Pin<
        Box<
            dyn Future<Output = Result<(Client, JoinHandle<()>), tokio_postgres::Error>>
                + Send
                + '_,
        >,
    > {
        Box::pin(async move {
            let (client, driver) = Link::connect(self).await?;
            let driver = tokio::spawn(async move {
                if let Err(error) = driver.await {
                    tracing::warn!(%error, "a connection to the database ended badly");
                }
            });
            Ok((client, driver))
        })
    }
}

fn is_tls(error: &tokio_postgres::Error) -> bool {
    error.to_string() == TLS_FAILED
}

/// An error with everything that caused it; the client library's own text leaves that out.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// The database's certificate, name or manner of TLS was not accepted.
#[derive(Debug)]
struct TlsRefused(String);

impl fmt::Display for TlsRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for TlsRefused {}

/// At the start a refusal of TLS is a mistake in the settings, and no waiting mends it. Later the
/// certificate may have run out while results are held, so it counts as an outage there.
pub(super) fn at_start(error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(error) if error.is::<TlsRefused>() => {
            StoreError::Address(format!("the database is not spoken to: {error}"))
        }
        other => other,
    }
}
