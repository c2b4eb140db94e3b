//! `trialmill-chaos`: crash points, and mixed faults over a running cluster.

use clap::{Args, Parser, Subcommand};
use std::ops::RangeInclusive;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use trialmill_chaos::cluster::SHORT_LEASE;
use trialmill_chaos::findings::say;
use trialmill_chaos::mixed::{self, fault::Fault};
use trialmill_chaos::{crash, points};

/// Seconds of a lease as it is delivered.
const PRODUCTION_LEASE: u32 = 30;

/// Breaks a cluster of real Trialmill processes on purpose, and checks from outside that nothing is
/// lost, doubled or stuck. It starts PostgreSQL, RabbitMQ, APIs and workers of its own on loopback
/// and ends them, whatever happens. Exit code 1: something was violated.
#[derive(Parser)]
#[command(name = "trialmill-chaos", version, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Kills one process at each fail point of the product. Needs binaries with fail points
    /// (cargo build --workspace --all-features).
    CrashPoints(CrashPoints),
    /// Plays every fault at random while clients submit, watch, pause and cancel tasks.
    Mixed(Mixed),
}

#[derive(Args)]
struct Mixed {
    /// How long faults are played; what was begun then ends.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Seed of everything that is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Workers, of two slots each.
    #[arg(long, default_value_t = 4)]
    workers: usize,
    /// Leases of 30 s, as they are delivered, instead of 2 s.
    #[arg(long)]
    production_leases: bool,
    /// What the processes log.
    #[arg(long, default_value = "info")]
    log: String,
    /// Leaves the logs also when nothing is violated.
    #[arg(long)]
    keep_logs: bool,
    /// Only this fault; can be given several times.
    #[arg(long, value_parser = Fault::named)]
    fault: Vec<Fault>,
}

#[derive(Args)]
struct CrashPoints {
    /// Numbers of workers, comma separated.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    workers: Vec<usize>,
    /// Seeds, the first and the last one.
    #[arg(long, value_parser = seeds, default_value = "1..1")]
    seeds: RangeInclusive<u64>,
    /// Only this point; can be given several times.
    #[arg(long)]
    point: Vec<String>,
    /// Seconds of a lease.
    #[arg(long, default_value_t = SHORT_LEASE)]
    lease_seconds: u32,
    /// Clusters that work at the same time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

fn seeds(text: &str) -> Result<RangeInclusive<u64>, String> {
    let wrong = || format!("'{text}' is no range of seeds; write 1..10, or 7 for one");
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let read = |part: &str| part.trim().parse::<u64>().map_err(|_| wrong());
    let (first, last) = (read(first)?, read(last)?);
    if first > last {
        return Err(wrong());
    }
    Ok(first..=last)
}

async fn play(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::CrashPoints(options) => {
            let plan = crash::Plan {
                points: points::named(&options.point)?,
                workers: options.workers,
                seeds: options.seeds,
                lease_seconds: options.lease_seconds,
                jobs: options.jobs,
            };
            crash::run(&plan).await
        }
        Command::Mixed(options) => {
            let faults = match options.fault.as_slice() {
                [] => Fault::ALL.to_vec(),
                some => some.to_vec(),
            };
            let plan = mixed::Plan {
                time: std::time::Duration::try_from_secs_f64(options.minutes * 60.0)?,
                seed: options.seed,
                workers: options.workers.max(1),
                lease_seconds: match options.production_leases {
                    true => PRODUCTION_LEASE,
                    false => SHORT_LEASE,
                },
                faults,
                log: options.log,
                keep_logs: options.keep_logs,
            };
            mixed::run(&plan).await
        }
    }
}

/// Ends when the program is asked to.
async fn asked_to_end() -> std::io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        _ = hangup.recv() => "SIGHUP",
    })
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = CommandLine::parse().command;
    // Whoever loses is dropped, and with the play its processes and servers.
    let outcome = tokio::select! {
        outcome = play(command) => outcome,
        name = asked_to_end() => match name {
            Ok(name) => Err(anyhow::anyhow!("ended by {name}")),
            Err(error) => Err(error.into()),
        },
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("trialmill-chaos: {error:#}"));
            ExitCode::from(2)
        }
    }
}
