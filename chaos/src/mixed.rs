//! Mixed faults: a cluster under a steady stream of small tasks, and every fault there is, in a
//! random order that a seed repeats.

pub mod fault;
mod play;
mod recovery;
mod scene;
mod stream;

use crate::assessed;
use crate::chance::Chance;
use crate::findings::{Findings, percentile, say};
use crate::rest;
use fault::{Deck, Fault};
use scene::Scene;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use stream::Stream;

/// Times between two faults, in seconds: from the end of the recovery to the next fault.
const SPACING: (f64, f64) = (0.2, 2.0);
/// In so many of a hundred cases a worker is killed while another fault is being recovered from.
const DOUBLED_PERCENT: u64 = 50;
/// `trialmill verify` looks this often while faults are played.
const VERIFY_EVERY: Duration = Duration::from_secs(60);
/// How many customers there are at a time.
const CUSTOMERS: usize = 6;

/// What is played.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How long faults are played; the tasks are then waited for.
    pub time: Duration,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Workers, of two slots each.
    pub workers: usize,
    /// Seconds of a lease.
    pub lease_seconds: u32,
    /// The kinds of faults.
    pub faults: Vec<Fault>,
    /// What the processes log, as `TRIALMILL_LOG` says it.
    pub log: String,
    /// Leave the logs also when nothing is violated.
    pub keep_logs: bool,
}

/// Plays, waits until everything has ended, and prints a report; whether nothing was violated.
///
/// # Errors
/// When the cluster cannot be started, or a fault cannot be played.
pub async fn run(plan: &Plan) -> anyhow::Result<bool> {
    let Plan {
        seed,
        workers,
        lease_seconds,
        ..
    } = plan;
    say(&format!(
        "seed {seed}: {:.1} minutes, 2 APIs, {workers} workers of 2 slots, leases of {lease_seconds} s",
        plan.time.as_secs_f64() / 60.0
    ));
    let findings = Findings::default();
    let mut scene = Scene::open(plan, &findings).await?;
    let outcome = play(plan, &mut scene, &findings).await;
    if plan.keep_logs || outcome.is_err() || !findings.violations().is_empty() {
        scene.cluster.keep_logs();
    }
    // What was found counts, whatever ended the play.
    let sound = report(plan, &findings);
    outcome?;
    Ok(sound)
}

async fn play(plan: &Plan, scene: &mut Scene, findings: &Findings) -> anyhow::Result<()> {
    let mut stream = Stream::begin(scene.client()?, findings.clone(), plan.seed, CUSTOMERS);
    let mut deck = Deck::new(plan.seed, plan.faults.clone());
    let mut chance = Chance::new(plan.seed, "spacing");
    let began = Instant::now();
    let mut verified = Instant::now();
    scene.until_work_flows().await?;
    while began.elapsed() < plan.time {
        let Some(fault) = deck.deal() else { break };
        let at = began.elapsed().as_secs_f64();
        let done = scene.play(fault, chance.percent(DOUBLED_PERCENT)).await?;
        say(&format!("  {at:7.1} s  {:<16}  {done}", fault.name()));
        if verified.elapsed() > VERIFY_EVERY {
            verified = Instant::now();
            match scene.cluster.violations().await {
                Ok(all) => all.into_iter().for_each(|found| {
                    findings.violation(format!("verify, in the middle: {found}"));
                }),
                // It connects itself, and the machine may be too busy; at rest it has to answer.
                Err(error) => say(&format!("  verify has no answer: {error:#}")),
            }
        }
        scene.pause(chance.seconds(SPACING.0, SPACING.1)).await?;
    }
    scene.heal().await?;
    let waiting = Instant::now();
    stream.close();
    scene.until_ended(&mut stream).await?;
    findings.took(
        "all tasks have ended after the last fault",
        waiting.elapsed().as_secs_f64(),
    );
    assessed::check(&scene.observer, &mut BTreeSet::new(), true, findings).await?;
    rest::check(&scene.cluster, &scene.observer, &scene.planted, findings).await?;
    scene.leave_in_order().await;
    Ok(())
}

/// Prints what was played, how long recovery took, and what was violated.
fn report(plan: &Plan, findings: &Findings) -> bool {
    say("");
    say("recovered                                          count    p50 s    p99 s    max s");
    for (what, times) in findings.times() {
        let figure = |part| percentile(&times, part).unwrap_or(0.0);
        let count = times.len();
        let (p50, p99, max) = (figure(0.5), figure(0.99), figure(1.0));
        say(&format!(
            "{what:<50} {count:>5} {p50:>8.2} {p99:>8.2} {max:>8.2}"
        ));
    }
    say("");
    for (what, count) in findings.counts() {
        say(&format!("{count:>8}  {what}"));
    }
    let violations = findings.violations();
    say(&format!(
        "\nseed {}: {} violations",
        plan.seed,
        violations.len()
    ));
    for violation in &violations {
        say(&format!("  {violation}"));
    }
    violations.is_empty()
}
