//! Whom a client believes, what a server shows, and how both say what is wrong.

mod certificates;

use certificates::{Authority, Issued};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::TlsConnector;
use trialmill_tls::{ServerIdentity, Trust, connect_unverified, is_refused};

const CA: &str = "THE_CA_FILE";
const LIMIT: Duration = Duration::from_secs(10);

struct Place {
    folder: TempDir,
    authority: Authority,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path(), "right");
        Self { folder, authority }
    }

    fn issue(&self, name: &str, hosts: &[&str]) -> Issued {
        self.authority.issue(self.folder.path(), name, hosts)
    }
}

fn identity(issued: &Issued) -> ServerIdentity {
    ServerIdentity::from_settings(Some(&issued.cert), Some(&issued.key))
        .unwrap_or_else(|faults| panic!("{faults:?}"))
        .expect("both are given")
}

fn faults(issued: &Issued) -> Vec<String> {
    let read = ServerIdentity::from_settings(Some(&issued.cert), Some(&issued.key));
    let found = read.err().expect("these files cannot be used");
    found.iter().map(ToString::to_string).collect()
}

/// Connects as `host` and gets one byte.
async fn talk(trust: &Trust, server: &ServerIdentity, host: &'static str) -> io::Result<u8> {
    let (near, far) = duplex(1 << 16);
    let mut served = server.accept(far, LIMIT);
    let serve = async {
        // Whether it is believed shows at the other end.
        let _ = served.write_all(b"!").await;
        let _ = served.flush().await;
    };
    let ask = async {
        let connector = TlsConnector::from(Arc::new(trust.client(&[])));
        let mut stream = connector.connect(host.try_into().unwrap(), near).await?;
        stream.read_u8().await
    };
    tokio::join!(serve, ask).1
}

async fn refusal(trust: &Trust, server: &ServerIdentity, host: &'static str) -> String {
    let error = talk(trust, server, host).await.unwrap_err();
    assert!(is_refused(&error), "{error}");
    trust.refusal(&error, host).expect("a matter of TLS")
}

#[tokio::test]
async fn only_the_right_authority_and_name_are_believed_and_a_refusal_says_what_to_do() {
    let place = Place::new();
    let server = identity(&place.issue("server", &["db.example", "127.0.0.1"]));
    let right = Trust::new(CA, Some(&place.authority.file)).unwrap();
    assert_eq!(talk(&right, &server, "db.example").await.unwrap(), b'!');
    assert_eq!(talk(&right, &server, "127.0.0.1").await.unwrap(), b'!');

    let wrong = Authority::new(place.folder.path(), "wrong");
    let wrong = Trust::new(CA, Some(&wrong.file)).unwrap();
    for trust in [wrong, Trust::system(CA)] {
        let told = refusal(&trust, &server, "db.example").await;
        assert!(told.contains("authority") && told.contains(CA), "{told}");
    }
    let told = refusal(&right, &server, "other.example").await;
    assert!(
        told.contains("made out to db.example, 127.0.0.1 and not to other.example"),
        "{told}"
    );
}

#[tokio::test]
async fn a_server_without_tls_is_told_from_one_with_a_bad_certificate() {
    let (near, mut far) = duplex(1 << 16);
    far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        .await
        .unwrap();
    let trust = Trust::system(CA);
    let connector = TlsConnector::from(Arc::new(trust.client(&[])));
    let name = "db.example".try_into().unwrap();
    let error = connector.connect(name, near).await.unwrap_err();
    let told = trust.refusal(&error, "db.example").unwrap();
    assert!(told.contains("does not speak TLS at this port"), "{told}");
    let unrelated = io::Error::from(io::ErrorKind::ConnectionRefused);
    assert_eq!(trust.refusal(&unrelated, "db.example"), None);
}

#[test]
fn files_that_cannot_be_used_are_told_all_at_once() {
    let place = Place::new();
    assert!(ServerIdentity::from_settings(None, None).unwrap().is_none());
    let good = place.issue("good", &["a.example"]);
    let other = place.issue("other", &["a.example"]);
    let lone = ServerIdentity::from_settings(Some(&good.cert), None)
        .err()
        .unwrap();
    assert!(
        lone[0]
            .to_string()
            .contains("TRIALMILL_TLS_KEY_FILE is not")
    );

    let mixed = Issued {
        cert: good.cert.clone(),
        key: other.key,
    };
    assert!(faults(&mixed)[0].contains("is not that of the certificate"));
    let swapped = Issued {
        cert: good.key.clone(),
        key: good.cert,
    };
    let told = faults(&swapped);
    assert!(
        told[0].contains("no certificate") && told[1].contains("no private key"),
        "{told:?}"
    );
    let absent = Issued {
        cert: place.folder.path().join("no.pem"),
        key: place.folder.path().join("no.key"),
    };
    assert!(
        faults(&absent)
            .iter()
            .all(|told| told.contains("cannot be read"))
    );
    let folder = place.folder.path();
    let old = place
        .authority
        .issue_until(folder, "old", &["a.example"], 2020);
    assert!(
        faults(&old)[0].contains("expired on 2020-01-01"),
        "{:?}",
        faults(&old)
    );

    let empty = folder.join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let told = Trust::new(CA, Some(&empty)).unwrap_err().to_string();
    assert!(
        told.contains(CA) && told.contains("no certificate"),
        "{told}"
    );
}

#[tokio::test]
async fn renewed_files_are_shown_and_damaged_ones_are_not() {
    let place = Place::new();
    let issued = place.issue("server", &["before.example"]);
    let server = identity(&issued);
    let trust = Trust::new(CA, Some(&place.authority.file)).unwrap();
    place.issue("server", &["after.example"]);
    assert!(talk(&trust, &server, "after.example").await.is_err());
    server.reload().unwrap();
    assert_eq!(talk(&trust, &server, "after.example").await.unwrap(), b'!');
    std::fs::write(&issued.key, "damaged").unwrap();
    assert_eq!(server.reload().unwrap_err().len(), 1);
    assert_eq!(talk(&trust, &server, "after.example").await.unwrap(), b'!');
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_shake_hands_is_dropped_in_time() {
    let place = Place::new();
    let server = identity(&place.issue("server", &["a.example"]));
    let (near, far) = duplex(1 << 16);
    let mut served = server.accept(far, LIMIT);
    let began = tokio::time::Instant::now();
    let error = served.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!((LIMIT..LIMIT * 2).contains(&began.elapsed()));
    // The connection is closed while its wrapper still lives.
    let (mut reader, _writer) = tokio::io::split(near);
    assert_eq!(reader.read(&mut [0; 8]).await.unwrap(), 0);
    drop(served);
}

#[tokio::test]
async fn the_health_check_asks_for_no_name() {
    let place = Place::new();
    let server = identity(&place.issue("server", &["public.example"]));
    let (near, far) = duplex(1 << 16);
    let mut served = server.accept(far, LIMIT);
    let (_, got) = tokio::join!(
        async {
            served.write_all(b"!").await.unwrap();
            served.flush().await.unwrap();
        },
        async {
            connect_unverified(near)
                .await
                .unwrap()
                .read_u8()
                .await
                .unwrap()
        }
    );
    assert_eq!(got, b'!');
}
