//! A TCP proxy between one process and one server, which can cut, hold, delay and slow down what
//! goes through it.

use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

/// Bytes read at a time.
const CHUNK: usize = 4096;
/// Chunks that are on their way in one direction: what a delayed link holds.
const ON_THE_WAY: usize = 256;

/// What a link does with bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weather {
    /// Passes them on.
    Fair,
    /// Passes nothing, ends nothing, and takes new connections in silence: as if every packet were
    /// lost. What was held passes afterwards, as TCP would send it again.
    Stalled,
    /// Each byte arrives so much later.
    Delayed(Duration),
    /// So many bytes a second in each direction.
    Throttled(u32),
}

/// A link. Dropping it ends its connections.
pub struct Link {
    port: u16,
    weather: watch::Sender<Weather>,
    /// How often it was cut: each change resets the connections that exist.
    cuts: watch::Sender<u64>,
    listening: JoinHandle<()>,
}

impl Link {
    /// Listens on a port of loopback and passes everything on to `upstream` (host:port).
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn open(upstream: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", crate::cluster::free_port())).await?;
        let port = listener.local_addr()?.port();
        let (weather, cuts) = (watch::Sender::new(Weather::Fair), watch::Sender::new(0));
        let (weather_seen, cuts_seen) = (weather.subscribe(), cuts.subscribe());
        let upstream: Arc<str> = upstream.into();
        let listening = tokio::spawn(async move {
            loop {
                // Too many open files or so: others end meanwhile.
                let Ok((client, _)) = listener.accept().await else {
                    sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let (upstream, weather) = (Arc::clone(&upstream), weather_seen.clone());
                let mut cuts = cuts_seen.clone();
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        // Whichever comes first drops both ends.
                        _ = cuts.changed() => {}
                        _ = connected(client, &upstream, weather) => {}
                    }
                });
            }
        });
        Ok(Self {
            port,
            weather,
            cuts,
            listening,
        })
    }

    /// The same URL with this link's host and port.
    #[must_use]
    pub fn through(&self, url: &str) -> String {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let login = match authority.rfind('@') {
            Some(at) => &authority[..=at],
            None => "",
        };
        format!("{scheme}://{login}127.0.0.1:{}{path}", self.port)
    }

    /// Resets every connection (RST, not FIN); new ones are accepted.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Changes what happens to bytes from now on.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.listening.abort();
        self.cut();
    }
}

/// The host and port of a URL.
#[must_use]
pub fn host_and_port(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    authority.rsplit('@').next().unwrap_or(authority).to_owned()
}

async fn connected(
    mut client: TcpStream,
    upstream: &str,
    mut weather: watch::Receiver<Weather>,
) -> io::Result<()> {
    // Who is dropped here is reset, and knows at once.
    client.set_zero_linger()?;
    client.set_nodelay(true)?;
    let passing = |weather: &Weather| *weather != Weather::Stalled;
    if weather.wait_for(passing).await.is_err() {
        return Ok(());
    }
    let mut server = TcpStream::connect(upstream).await?;
    server.set_zero_linger()?;
    server.set_nodelay(true)?;
    // Borrowed halves: an owned one that is dropped says goodbye before the reset.
    let (client_read, client_write) = client.split();
    let (server_read, server_write) = server.split();
    tokio::select! {
        ended = pass(client_read, server_write, weather.clone()) => ended,
        ended = pass(server_read, client_write, weather) => ended,
    }
}

/// Passes bytes in one direction until either side ends.
async fn pass(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    weather: watch::Receiver<Weather>,
) -> io::Result<()> {
    let (send, mut receive) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    let mut now = weather.clone();
    let reading = async move {
        let mut buffer = vec![0; CHUNK];
        loop {
            let length = from.read(&mut buffer).await?;
            if length == 0 {
                return Ok(());
            }
            let delay = match *weather.borrow() {
                Weather::Delayed(delay) => delay,
                _ => Duration::ZERO,
            };
            let chunk = (Instant::now() + delay, buffer[..length].to_vec());
            if send.send(chunk).await.is_err() {
                return Ok(());
            }
        }
    };
    let writing = async move {
        while let Some((due, chunk)) = receive.recv().await {
            sleep_until(due).await;
            let passing = |weather: &Weather| *weather != Weather::Stalled;
            let weather = now.wait_for(passing).await.map(|weather| *weather);
            match weather {
                Ok(Weather::Throttled(rate)) => {
                    // In pieces, so that a fair wind is felt soon.
                    for piece in chunk.chunks(64) {
                        to.write_all(piece).await?;
                        let seconds = f64::from(u32::try_from(piece.len()).unwrap_or(64));
                        let pause = Duration::from_secs_f64(seconds / f64::from(rate.max(1)));
                        let fair = now.wait_for(|now| !matches!(now, Weather::Throttled(_)));
                        // Whichever comes first.
                        let _ = tokio::time::timeout(pause, fair).await;
                    }
                }
                Ok(_) => to.write_all(&chunk).await?,
                Err(_) => return Ok(()),
            }
        }
        io::Result::Ok(())
    };
    // The end of the reading side ends the writing side once it has written what is on its way.
    let (read, written) = tokio::join!(reading, writing);
    read.and(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await.is_ok()
                });
            }
        });
        address
    }

    async fn round(stream: &mut TcpStream) -> io::Result<Duration> {
        let began = Instant::now();
        stream.write_all(b"hello").await?;
        let mut back = [0; 5];
        stream.read_exact(&mut back).await?;
        assert_eq!(&back, b"hello");
        Ok(began.elapsed())
    }

    #[tokio::test]
    async fn a_link_passes_delays_stalls_and_cuts() {
        let link = Link::open(&echo().await).await.unwrap();
        let connect = || TcpStream::connect(("127.0.0.1", link.port));
        let mut stream = connect().await.unwrap();
        round(&mut stream).await.unwrap();

        let delay = Duration::from_millis(100);
        link.set(Weather::Delayed(delay));
        assert!(round(&mut stream).await.unwrap() >= delay * 2, "both ways");

        link.set(Weather::Throttled(50));
        assert!(round(&mut stream).await.is_ok());

        link.set(Weather::Stalled);
        let held = round(&mut stream);
        let late = tokio::time::timeout(delay * 3, held).await;
        assert!(late.is_err(), "nothing passes");
        link.set(Weather::Fair);
        let mut back = [0; 5];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"hello", "what was held passes afterwards");

        link.cut();
        let error = stream.read(&mut back).await.expect_err("a reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let mut another = connect().await.unwrap();
        round(&mut another).await.unwrap();
    }

    #[tokio::test]
    async fn a_url_leads_through_the_link() {
        let link = Link::open("127.0.0.1:1").await.unwrap();
        let port = link.port;
        let through = |url: &str| link.through(url);
        assert_eq!(
            through("amqp://guest:guest@127.0.0.1:5672/%2f"),
            format!("amqp://guest:guest@127.0.0.1:{port}/%2f")
        );
        assert_eq!(
            through("postgres://mill@db:5432/mill"),
            format!("postgres://mill@127.0.0.1:{port}/mill")
        );
        assert_eq!(host_and_port("postgres://mill@db:5432/mill"), "db:5432");
    }
}
