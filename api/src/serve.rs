//! Listening: connections that take no bytes, or ask for none, are dropped, and shutdown ends the
//! streams first.

use crate::access::Peer;
use crate::limits::{HANDSHAKE_TIME, QUIET, WRITE_STALL};
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use axum::{Extension, Router};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};
use trialmill_tls::{ServerIdentity, ServerStream};

/// Tells long-lived streams that the service is about to end.
#[derive(Debug, Clone)]
pub(crate) struct Closing(watch::Receiver<bool>);

impl Closing {
    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it begins.
    pub async fn begun(&mut self) {
        // An error means that the server is gone, which is as good a reason to end.
        let _ = self.0.wait_for(|closing| *closing).await;
    }
}

/// Serves until `shutdown` ends, then takes no new connection, ends the streams of events and
/// waits for the requests under way (each is bounded by [`crate::limits::REQUEST_TIME`], and a
/// client that does not take its answer by [`WRITE_STALL`]).
///
/// # Errors
/// When the listener has no address, which only a closed one has not.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    serve_with(listener, None, router, shutdown).await
}

/// The same over TLS if there is something to show: a handshake is made by its own connection, within
/// [`HANDSHAKE_TIME`], so that nobody else waits for it.
///
/// # Errors
/// As [`serve`].
pub async fn serve_with(
    listener: TcpListener,
    identity: Option<Arc<ServerIdentity>>,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (begin, closing) = watch::channel(false);
    // Streams that start while it closes must see it too: the sender lives until the server ends.
    let begin = Arc::new(begin);
    let signal = Arc::clone(&begin);
    let router = router.layer(Extension(Closing(closing)));
    let listener = Guarded {
        listener,
        identity,
        stall: WRITE_STALL,
        quiet: QUIET,
    };
    let router = router.into_make_service_with_connect_info::<Peer>();
    let served = axum::serve(listener, router).with_graceful_shutdown(async move {
        shutdown.await;
        signal.send_replace(true);
    });
    let result = served.await;
    drop(begin);
    result
}

/// A listener whose connections are dropped when they take no bytes for `stall`, or are sent none
/// for `quiet`.
struct Guarded {
    listener: TcpListener,
    identity: Option<Arc<ServerIdentity>>,
    stall: Duration,
    quiet: Duration,
}

impl Listener for Guarded {
    type Io = ServerStream<Connection<TcpStream>>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // Events are small and must not wait for more; a refusal only costs latency.
        let _ = stream.set_nodelay(true);
        // Below TLS, where every byte that is taken counts.
        let stream = Connection::new(stream, self.stall, self.quiet);
        let stream = match &self.identity {
            Some(identity) => identity.accept(stream, HANDSHAKE_TIME),
            None => ServerStream::plain(stream),
        };
        (stream, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, Guarded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Guarded>) -> Self {
        Self(stream.remote_addr().ip())
    }
}

/// A connection whose writes fail once the peer has taken nothing for some time, so that a watcher
/// that stopped reading cannot hold its place for ever; and whose reads fail once it was sent nothing
/// for some time, so that one who asks for nothing, or adds a byte to a head now and then, cannot.
struct Connection<S> {
    stream: S,
    stall: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    quiet: Duration,
    silence: Pin<Box<Sleep>>,
}

impl<S> Connection<S> {
    fn new(stream: S, stall: Duration, quiet: Duration) -> Self {
        Self {
            stream,
            stall,
            waiting: None,
            quiet,
            silence: Box::pin(tokio::time::sleep(quiet)),
        }
    }

    /// Passes progress on; counts the time without it.
    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        write: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if write.is_ready() {
            self.waiting = None;
            return write;
        }
        let deadline = Instant::now() + self.stall;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the peer took no bytes for {:?}", self.stall),
        )))
    }
}

impl<S> Connection<S> {
    /// Bytes that were written are an answer; an empty flush, of which there are many, is none.
    fn answered(&mut self, write: &Poll<io::Result<usize>>) {
        if matches!(write, Poll::Ready(Ok(bytes)) if *bytes > 0) {
            let deadline = Instant::now() + self.quiet;
            self.silence.as_mut().reset(deadline);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.silence.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("nothing was answered on it for {:?}", self.quiet),
            )));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.answered(&write);
        self.watch(context, write)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(context, flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shutdown = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch(context, shutdown)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.answered(&write);
        self.watch(context, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_peer_that_takes_no_bytes_is_dropped_and_one_that_reads_is_not() {
        let (near, mut far) = tokio::io::duplex(16);
        let day = Duration::from_secs(86_400);
        let mut connection = Connection::new(near, Duration::from_millis(50), day);
        connection.write_all(&[0; 16]).await.unwrap();
        let stalled = connection.write_all(&[0; 1]).await.unwrap_err();
        assert_eq!(stalled.kind(), io::ErrorKind::TimedOut);

        let (near, _far) = (&mut far, ());
        let mut taken = [0; 16];
        near.read_exact(&mut taken).await.unwrap();
        connection.write_all(&[1; 8]).await.unwrap();
    }
    #[tokio::test(start_paused = true)]
    async fn a_peer_that_is_answered_nothing_is_dropped_though_it_sends_and_others_are_not() {
        let (near, mut far) = tokio::io::duplex(16);
        let mut connection = Connection::new(near, WRITE_STALL, QUIET);
        let begun = Instant::now();
        let sender = tokio::spawn(async move {
            let mut every = tokio::time::interval(QUIET / 4);
            loop {
                every.tick().await;
                if far.write_all(&[7]).await.is_err() {
                    return;
                }
            }
        });
        let mut byte = [0; 1];
        connection.read_exact(&mut byte).await.unwrap();
        connection.read_exact(&mut byte).await.unwrap();
        // An answer gives it the same time again.
        connection.write_all(&[1]).await.unwrap();
        let answered = begun.elapsed();
        let dropped = loop {
            // As the HTTP library does at every turn, whether there is something to send or not.
            connection.flush().await.unwrap();
            if let Err(error) = connection.read_exact(&mut byte).await {
                break error;
            }
        };
        assert_eq!(dropped.kind(), io::ErrorKind::TimedOut);
        assert_eq!((begun.elapsed() - answered).as_secs(), QUIET.as_secs());
        drop(connection);
        sender.await.unwrap();
    }
}
