//! The service over TLS.

#[path = "../../../tls/tests/certificates/mod.rs"]
mod certificates;

use certificates::Authority;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use trialmill_api::config::Settings;
use trialmill_api::{AppState, health, router, serve_with};
use trialmill_broker::InProcessBroker;
use trialmill_store::Timing;
use trialmill_store::sqlite::SqliteStore;
use trialmill_tls::{ServerIdentity, Trust};

/// Connections that say nothing: more than tokio has threads here.
const SILENT: usize = 64;

struct Secured {
    folder: TempDir,
    authority: Authority,
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<std::io::Result<()>>,
}

impl Secured {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path(), "authority");
        let issued = authority.issue(folder.path(), "server", &["localhost"]);
        let identity = ServerIdentity::from_settings(Some(&issued.cert), Some(&issued.key));
        let identity = identity.ok().flatten().map(Arc::new);
        assert!(identity.is_some());
        let store = SqliteStore::open_in_memory(Timing::default()).unwrap();
        let state = AppState::new(Arc::new(store), Arc::new(InProcessBroker::new(8)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve_with(listener, identity, router(state), async move {
            let _ = stopped.await;
        }));
        Self {
            folder,
            authority,
            address,
            stop,
            served,
        }
    }

    fn client(&self, ca_file: Option<&Path>) -> reqwest::Client {
        let trust = Trust::new("CA", ca_file).unwrap();
        reqwest::Client::builder()
            .tls_backend_preconfigured(trust.client(&[b"http/1.1"]))
            .resolve("localhost", self.address)
            .build()
            .unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    fn settings(&self) -> Settings {
        Settings {
            listen: self.address.to_string(),
            tls_cert_file: Some(self.folder.path().join("server.pem")),
            ..Settings::default()
        }
    }
}

#[tokio::test]
async fn requests_are_answered_while_many_peers_do_not_shake_hands() {
    let service = Secured::start().await;
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        silent.push(TcpStream::connect(service.address).await.unwrap());
    }
    let believing = service.client(Some(&service.authority.file));
    let answer = believing.get(service.url("/readyz")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let document = believing
        .get(service.url("/openapi.json"))
        .send()
        .await
        .unwrap();
    assert!(document.text().await.unwrap().contains("\"openapi\""));
    let doubting = service.client(None);
    assert!(doubting.get(service.url("/readyz")).send().await.is_err());
    // Those that were silent were held up by nobody either: they are still there.
    let mut first = silent.swap_remove(0);
    let mut byte = [0];
    let read = tokio::time::timeout(std::time::Duration::ZERO, first.read(&mut byte)).await;
    assert!(read.is_err(), "the connection was closed: {read:?}");
    drop((first, silent, believing, doubting));
    service.stop.send(()).unwrap();
    service.served.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_health_check_speaks_tls_when_the_service_does() {
    let service = Secured::start().await;
    health::check(&service.settings()).await.unwrap();
    let plain = Settings {
        tls_cert_file: None,
        ..service.settings()
    };
    assert!(health::check(&plain).await.is_err());
}
