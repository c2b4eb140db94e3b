//! A server's end of a connection, with TLS or without.

use rustls::ServerConfig;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_rustls::{Accept, TlsAcceptor, server::TlsStream};

/// A connection that was accepted. With TLS, its handshake is made by whoever reads or writes it.
pub struct ServerStream<S>(State<S>);

enum State<S> {
    Plain(S),
    Shaking {
        accept: Box<Accept<S>>,
        limit: Duration,
        /// Set when it is first asked for bytes.
        late: Option<Pin<Box<Sleep>>>,
    },
    Open(Box<TlsStream<S>>),
    /// The handshake failed, and said so.
    Failed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ServerStream<S> {
    /// A connection without TLS.
    pub fn plain(stream: S) -> Self {
        Self(State::Plain(stream))
    }

    pub(crate) fn tls(config: Arc<ServerConfig>, stream: S, limit: Duration) -> Self {
        Self(State::Shaking {
            accept: Box::new(TlsAcceptor::from(config).accept(stream)),
            limit,
            late: None,
        })
    }

    /// Brings the handshake on; what may be read and written once it has ended.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Open<'_, S>>> {
        if let State::Shaking {
            accept,
            limit,
            late,
        } = &mut self.0
        {
            let ended = match Pin::new(accept.as_mut()).poll(context) {
                Poll::Ready(ended) => ended,
                Poll::Pending => {
                    let limit = *limit;
                    let late = late.get_or_insert_with(|| {
                        Box::pin(tokio::time::sleep_until(Instant::now() + limit))
                    });
                    ready!(late.as_mut().poll(context));
                    Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("no TLS handshake within {limit:?}"),
                    ))
                }
            };
            match ended {
                Ok(stream) => self.0 = State::Open(Box::new(stream)),
                Err(error) => {
                    // Also closes the connection.
                    self.0 = State::Failed;
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(match &mut self.0 {
            State::Plain(stream) => Ok(Open::Plain(Pin::new(stream))),
            State::Open(stream) => Ok(Open::Tls(Pin::new(stream.as_mut()))),
            State::Shaking { .. } | State::Failed => Err(io::ErrorKind::NotConnected.into()),
        })
    }
}

enum Open<'a, S> {
    Plain(Pin<&'a mut S>),
    Tls(Pin<&'a mut TlsStream<S>>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ServerStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(self.poll_open(context))? {
            Open::Plain(stream) => stream.poll_read(context, buffer),
            Open::Tls(stream) => stream.poll_read(context, buffer),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ServerStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.poll_open(context))? {
            Open::Plain(stream) => stream.poll_write(context, bytes),
            Open::Tls(stream) => stream.poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(self.poll_open(context))? {
            Open::Plain(stream) => stream.poll_flush(context),
            Open::Tls(stream) => stream.poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            State::Open(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
            // Nothing was said yet that would have to be ended.
            State::Shaking { .. } | State::Failed => Poll::Ready(Ok(())),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.poll_open(context))? {
            Open::Plain(stream) => stream.poll_write_vectored(context, slices),
            Open::Tls(stream) => stream.poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            State::Plain(stream) => stream.is_write_vectored(),
            State::Open(stream) => stream.is_write_vectored(),
            State::Shaking { .. } | State::Failed => false,
        }
    }
}
