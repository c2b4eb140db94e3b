//! One connection, kept up for as long as the broker is open.
//!
//! The client library's own recovery is not used: it knows one URL only and hides losses. Each
//! connection has exactly one events listener, because listeners steal events from each other.

use super::{Shared, backoff::Backoff};
use futures::StreamExt;
use lapin::tcp::RustlsConnector;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties, Event, runtime::default_runtime};
use std::{fmt, pin::pin, sync::Arc, time::Instant};
use tokio::{
    sync::watch,
    time::{interval, sleep, timeout},
};

/// What a connection is for. They are apart because a broker that is short of memory stops reading
/// from connections that publish, and acknowledgements must not wait behind that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Publish,
    Consume,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish => "publish",
            Self::Consume => "consume",
        })
    }
}

/// The place where the living connection, if any, is found.
pub(super) type Slot = watch::Sender<Option<Arc<Connection>>>;

/// Connects, watches, and connects again until the broker is closed.
pub(super) async fn supervise(shared: Arc<Shared>, role: Role, slot: Arc<Slot>) {
    let mut closing = shared.closing.subscribe();
    tokio::select! {
        biased;
        // An error means that the sender is gone, which is closing too.
        _ = closing.wait_for(|closing| *closing) => {}
        () = keep_up(&shared, role, &slot) => {}
    }
    shared
        .board
        .disconnected(role, "closed by this process".to_owned());
    if let Some(connection) = slot.send_replace(None) {
        let goodbye = connection.close(200, "closed by this process".into());
        if !matches!(
            timeout(shared.options.operation_timeout, goodbye).await,
            Ok(Ok(()))
        ) {
            tracing::debug!(%role, "the broker did not answer the goodbye");
        }
    }
}

async fn keep_up(shared: &Shared, role: Role, slot: &Slot) {
    let options = &shared.options;
    let mut backoff = Backoff::new(options.backoff_least, options.backoff_most);
    for attempt in 0_usize.. {
        let url = options.urls.turn(attempt);
        let reason = match connect(shared, role, attempt).await {
            Ok(connection) => {
                tracing::info!(%role, %url, "connected to the broker");
                let connected_at = Instant::now();
                let reason = hold(shared, role, slot, Arc::new(connection)).await;
                slot.send_replace(None);
                // A broker that throws us out at once is not asked four times a second.
                if connected_at.elapsed() > options.backoff_most {
                    backoff.reset();
                }
                reason
            }
            Err(reason) => reason,
        };
        let reason = format!("{url}: {reason}");
        let wait = backoff.wait();
        tracing::warn!(%role, %reason, wait_ms = wait.as_millis(), "no connection to the broker");
        shared.board.disconnected(role, reason);
        sleep(wait).await;
    }
}

async fn connect(shared: &Shared, role: Role, attempt: usize) -> Result<Connection, String> {
    let options = &shared.options;
    let url = options.urls.turn(attempt);
    let mut uri = url.uri();
    let host = uri.authority.host.clone();
    let seconds = u16::try_from(options.heartbeat.as_secs()).unwrap_or(u16::MAX);
    uri.query.heartbeat.get_or_insert(seconds);
    let milliseconds = u64::try_from(options.operation_timeout.as_millis()).unwrap_or(u64::MAX);
    uri.query.connection_timeout.get_or_insert(milliseconds);
    let properties = ConnectionProperties::default()
        .with_connection_name(format!("{} ({role})", options.connection_name).into())
        .with_client_property("product".into(), options.product.as_str().into())
        .with_client_property("version".into(), options.version.as_str().into());
    let tls = url
        .wants_tls()
        .then(|| RustlsConnector::from(options.trust.client(&[])));
    let runtime = default_runtime().map_err(|error| error.to_string())?;
    // The library's own way would read the system's authorities at every attempt, and would log the
    // address with its password.
    let connect = Connection::connector(
        uri,
        runtime,
        async move |uri: AMQPUri, runtime| {
            let place = (uri.authority.host.clone(), uri.authority.port);
            let stream = AsyncTcpStream::connect(&runtime, runtime.to_socket_addrs(place)).await?;
            Ok(match (&uri.scheme, &tls) {
                (AMQPScheme::AMQPS, Some(tls)) => {
                    stream.into_rustls(tls, &uri.authority.host).await?
                }
                _ => stream,
            })
        },
        properties,
    );
    match timeout(options.operation_timeout, connect).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(options
            .trust
            .refusal(&error, &host)
            .unwrap_or_else(|| error.to_string())),
        Err(_) => Err(format!(
            "no connection within {:?}",
            options.operation_timeout
        )),
    }
}

/// Offers the connection to the others until it ends; why it ended.
async fn hold(shared: &Shared, role: Role, slot: &Slot, connection: Arc<Connection>) -> String {
    let mut events = pin!(connection.events_listener());
    shared.topology.doubt_all().await;
    if role == Role::Publish
        && let Err(reason) = declare_all(shared, &connection).await
    {
        // Not fatal: a publish declares again and tells its caller why it fails.
        tracing::warn!(%reason, "the queues could not be declared");
    }
    slot.send_replace(Some(Arc::clone(&connection)));
    shared.board.connected(role);
    // The event of a loss that happened before the listener existed never comes; this sees it.
    let mut look = interval(shared.options.heartbeat);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(reason)) => {
                    tracing::warn!(%role, %reason, "the broker is blocked");
                    shared.board.blocked(role, reason);
                }
                Some(Event::ConnectionUnblocked) => {
                    tracing::info!(%role, "the broker is no longer blocked");
                    shared.board.connected(role);
                }
                // The errors of single channels come here too, and end nothing but their channel.
                Some(Event::Error(error)) if connection.status().connected() => {
                    tracing::debug!(%role, %error, "a channel was closed by the broker");
                }
                Some(Event::Error(error)) => return error.to_string(),
                Some(_) => {}
                None => return "the connection ended".to_owned(),
            },
            _ = look.tick() => {
                if !connection.status().connected() {
                    return "the connection ended".to_owned();
                }
            }
        }
    }
}

/// Declares every pool used so far, so that an emptied broker is noticed without a publish.
async fn declare_all(shared: &Shared, connection: &Connection) -> Result<(), String> {
    let declare = async {
        let channel = connection.create_channel().await?;
        for pool in shared.topology.pools().await {
            shared.topology.ensure(&channel, &pool).await?;
        }
        channel.close(200, "declared".into()).await
    };
    match timeout(shared.options.operation_timeout, declare).await {
        Ok(result) => result.map_err(|error: lapin::Error| error.to_string()),
        Err(_) => Err(format!(
            "no answer within {:?}",
            shared.options.operation_timeout
        )),
    }
}
