//! TLS where the server has none. With TLS: cli/tests/tls.

use trialmill_store::postgres::{PgOptions, PgStore};
use trialmill_store::{StoreError, Timing};

fn server() -> String {
    #[expect(clippy::disallowed_methods, reason = "tests have no config.rs")]
    std::env::var("DATABASE_URL").expect("DATABASE_URL is not set; run scripts/test")
}

/// Encryption is never given up in silence, and nobody waits for it.
#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_demanded() {
    let server = server();
    if server.contains("sslmode") {
        // A server of the developer's own; what it does about TLS is not known here.
        return;
    }
    for mode in ["require", "verify-full"] {
        let url = format!("{server}?sslmode={mode}");
        let refused = PgStore::connect(&url, PgOptions::default(), Timing::default()).await;
        let told = match refused {
            Err(StoreError::Address(told)) => told,
            other => panic!("{mode}: {:?}", other.err()),
        };
        assert!(told.contains("does not speak TLS"), "{mode}: {told}");
        let migrated = PgStore::migrate(&url).await.unwrap_err().to_string();
        assert!(
            migrated.contains("does not speak TLS"),
            "{mode}: {migrated}"
        );
    }
}
