//! What must hold when all tasks have ended and nobody does anything: `trialmill verify` is silent,
//! no lease, no due unit, no message on its way, and only planted letters are dead.

use crate::cluster::Cluster;
use crate::findings::Findings;
use crate::observer::Observer;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long the last messages of ended tasks may take to be acknowledged.
const SETTLES_WITHIN: Duration = Duration::from_secs(60);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Waits until it rests, and reports what does not.
///
/// # Errors
/// When servers cannot be asked, which must all run.
pub async fn check(
    cluster: &Cluster,
    observer: &Observer,
    planted: &BTreeSet<String>,
    findings: &Findings,
) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let mut unrest = observer.unrest().await?;
        // A queue that was deleted before the last process went is not there, and rests.
        if let Ok(depth) = observer.depth().await
            && (depth.ready, depth.unacknowledged) != (0, 0)
        {
            unrest.push(format!("messages are on their way: {depth:?}"));
        }
        if unrest.is_empty() {
            break;
        }
        if began.elapsed() > SETTLES_WITHIN {
            for what in unrest {
                findings.violation(format!("not at rest: {what}"));
            }
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    let found = loop {
        match cluster.violations().await {
            Ok(found) => break found,
            Err(error) if began.elapsed() > 2 * SETTLES_WITHIN => return Err(error),
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    };
    for found in found {
        findings.violation(format!("verify: {found}"));
    }
    dead_letters(observer, planted, findings).await
}

/// Takes the dead letters; each must have been planted.
///
/// # Errors
/// When the broker cannot be asked.
pub async fn dead_letters(
    observer: &Observer,
    planted: &BTreeSet<String>,
    findings: &Findings,
) -> anyhow::Result<()> {
    for body in observer.take_dead().await? {
        if planted.contains(&body) {
            findings.count("planted messages found dead", 1);
        } else {
            findings.violation(format!("a message is dead that nobody planted: {body}"));
        }
    }
    Ok(())
}
