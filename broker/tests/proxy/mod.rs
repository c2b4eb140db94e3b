//! A TCP proxy in front of the broker that can cut and stall what goes through it.

use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
    task::JoinHandle,
};

pub struct Proxy {
    url: String,
    /// How often it was cut: each change ends the connections that exist.
    cuts: watch::Sender<u64>,
    stalled: watch::Sender<bool>,
    listening: JoinHandle<()>,
}

/// A port that was free a moment ago.
pub async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// The same URL with another host and port.
pub fn at_port(url: &str, port: u16) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    assert_eq!(scheme, "amqp", "the tests cut plain connections only");
    let (authority, path) = rest
        .split_once('/')
        .map_or((rest, ""), |(a, path)| (a, path));
    let credentials = authority
        .rsplit_once('@')
        .map_or(String::new(), |(c, _)| format!("{c}@"));
    let path = if rest.contains('/') {
        format!("/{path}")
    } else {
        String::new()
    };
    format!("amqp://{credentials}127.0.0.1:{port}{path}")
}

fn upstream(url: &str) -> String {
    let rest = url.split_once("://").unwrap().1;
    let authority = rest.split('/').next().unwrap();
    let host = authority.rsplit('@').next().unwrap();
    if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:5672")
    }
}

impl Proxy {
    /// Listens on `port` (0: any) and passes everything on to the broker of `url`.
    pub async fn start(url: &str, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let own = at_port(url, listener.local_addr().unwrap().port());
        let (cuts, stalled) = (watch::Sender::new(0), watch::Sender::new(false));
        let upstream = Arc::new(upstream(url));
        let (cuts_seen, stalled_seen) = (cuts.subscribe(), stalled.subscribe());
        let listening = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let upstream = Arc::clone(&upstream);
                let (mut cuts, stalled) = (cuts_seen.clone(), stalled_seen.clone());
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    let server = TcpStream::connect(upstream.as_str()).await.unwrap();
                    let (client_read, client_write) = client.into_split();
                    let (server_read, server_write) = server.into_split();
                    tokio::select! {
                        _ = cuts.changed() => {}
                        () = pass(client_read, server_write, stalled.clone()) => {}
                        () = pass(server_read, client_write, stalled) => {}
                    }
                });
            }
        });
        Self {
            url: own,
            cuts,
            stalled,
            listening,
        }
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Ends every connection; new ones are accepted.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// While stalled nothing passes and nothing ends.
    pub fn stall(&self, stalled: bool) {
        self.stalled.send_replace(stalled);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn pass(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    mut stalled: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 8192];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        if stalled.wait_for(|stalled| !stalled).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
