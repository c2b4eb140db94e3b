//! A certificate that is renewed without a restart.

use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use trialmill_tls::ServerIdentity;

/// Reads certificate and key again at every SIGHUP, for ever. What cannot be used is told in the log,
/// and connections go on with what was there.
pub async fn renew_on_hangup(identity: Arc<ServerIdentity>) {
    let mut hangups =
        signal(SignalKind::hangup()).expect("a handler of SIGHUP can be set in every process");
    while hangups.recv().await.is_some() {
        match identity.reload() {
            Ok(()) => tracing::info!(
                valid_until = %identity.valid_until(),
                "certificate and key were read again"
            ),
            Err(faults) => {
                for fault in faults {
                    tracing::error!(%fault, "the certificate stays the one that was read before");
                }
            }
        }
    }
}
