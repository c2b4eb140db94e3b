//! The binary `trialmill-worker`.

use anyhow::Context;
use clap::Parser;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use trialmill_broker::rabbit::LOG_LIMITS;
use trialmill_broker::{Broker, BrokerState, RabbitBroker, RabbitOptions};
use trialmill_common::secret::masked;
use trialmill_relay::Pace;
use trialmill_store::postgres::{PgOptions, PgStore};
use trialmill_store::{Store, Timing};
use trialmill_worker::config::{
    Command, CommandLine, Config, Logging, Settings, unknown_variables,
};
use trialmill_worker::preflight::preflight;
use trialmill_worker::status::{self, StatusFile};
use trialmill_worker::{RunningWorker, child};

fn main() -> ExitCode {
    // Before anything else: a child has no runtime, no log and no settings.
    if let Some(code) = child::main_if_child() {
        return code;
    }
    let CommandLine { command, settings } = CommandLine::parse();
    match run(command, &settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("trialmill-worker: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Option<Command>, settings: &Settings) -> anyhow::Result<()> {
    if let Some(Command::Healthcheck) = command {
        let alive = status::check(&settings.status_file()).map_err(anyhow::Error::msg)?;
        say(&alive);
        return Ok(());
    }
    start_log(&settings.logging()?)?;
    for name in unknown_variables() {
        tracing::warn!("{name} is set but no setting has that name; is it misspelled?");
    }
    #[cfg(feature = "failpoints")]
    if let Some(point) = &settings.failpoint {
        trialmill_common::failpoints::arm(point).context("TRIALMILL_FAILPOINT")?;
    }
    let config = settings.check()?;
    if let Some(bytes) = config.memory_bytes {
        let limit = Rlimit {
            current: Some(bytes),
            maximum: Some(bytes),
        };
        setrlimit(Resource::As, limit).context("TRIALMILL_MEMORY_MB cannot be set")?;
    }
    // The one runtime. Two threads: they wait for the network, the slots' threads compute.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("trialmill-io")
        .enable_all()
        .build()
        .context("no runtime")?;
    let done = runtime.block_on(async {
        match command {
            Some(Command::Preflight) => check(&config).await,
            Some(Command::Healthcheck) | None => work(&config, settings).await,
        }
    });
    // Threads that a trial holds for ever must not hold the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

/// Opens the store and the broker and looks whether everything is in order.
async fn open(config: &Config) -> anyhow::Result<(Arc<dyn Store>, Arc<dyn Broker>)> {
    let name = format!("trialmill-worker:{}", std::process::id());
    let options = PgOptions {
        application_name: name,
        pool_size: 2,
        trust: config.database_trust.clone(),
        // Below half a lease, so that a flush that hangs is known to have failed in time.
        statement_timeout: config.worker.lease.mul_f64(0.45),
        ..PgOptions::default()
    };
    let timing = Timing {
        lease: config.worker.lease,
        ..Timing::default()
    };
    let store = PgStore::connect(&config.database_url, options, timing)
        .await
        .with_context(|| format!("DATABASE_URL {}", masked(&config.database_url)))?;
    let store: Arc<dyn Store> = Arc::new(store);
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let connection = format!("trialmill-worker@{host}:{}", std::process::id());
    let version = env!("CARGO_PKG_VERSION");
    let urls = config.amqp_urls.clone();
    let mut options = RabbitOptions::new(urls, "trialmill-worker", version, &connection);
    options.trust = config.amqp_trust.clone();
    options.pools = vec![config.worker.pool.clone()];
    let broker: Arc<dyn Broker> = Arc::new(RabbitBroker::start(options));
    let mut state = broker.state();
    let connected = state.wait_for(|state| *state == BrokerState::Connected);
    // A broker that is away is no reason not to start; it gets a moment to answer.
    let _ = tokio::time::timeout(BROKER_PATIENCE, connected).await;
    let found = preflight(store.as_ref(), broker.as_ref()).await?;
    if let Some(broker) = &found.broker {
        tracing::warn!("the broker is {broker}; the worker waits for it");
    }
    tracing::info!(strategies = ?found.strategies, "preflight passed");
    Ok((store, broker))
}

const BROKER_PATIENCE: Duration = Duration::from_secs(3);

async fn check(config: &Config) -> anyhow::Result<()> {
    let (_store, broker) = open(config).await?;
    broker.close().await;
    Ok(())
}

async fn work(config: &Config, settings: &Settings) -> anyhow::Result<()> {
    // Installed first, so that a signal during the start is not lost.
    let mut ends = Ends::install().context("signals cannot be received")?;
    let (store, broker) = open(config).await?;
    let mut worker = RunningWorker::start(
        Arc::clone(&store),
        Arc::clone(&broker),
        config.worker.clone(),
    )
    .await?;
    let shutdown = CancellationToken::new();
    let mut relay = tokio::spawn(trialmill_relay::run(
        store,
        Arc::clone(&broker),
        config.worker.pool.clone(),
        Pace {
            keep: config.keep,
            ..Pace::for_lease(config.worker.lease)
        },
        shutdown.clone(),
    ));
    let beats = tokio::spawn(write_status(
        StatusFile::new(settings.status_file(), config.worker.lease),
        worker.card().clone(),
        worker.beat(),
        worker.quarantine(),
    ));
    let mut relay_ended = false;
    let fault: Option<anyhow::Error> = tokio::select! {
        name = ends.next() => {
            tracing::info!(signal = name, "asked to leave");
            None
        }
        fault = worker.failed() => {
            tracing::error!(%fault, "the worker cannot go on");
            Some(fault.into())
        }
        ended = &mut relay => {
            relay_ended = true;
            let fault = match ended {
                Ok(()) => anyhow::anyhow!("the relay ended by itself"),
                Err(error) => anyhow::anyhow!("the relay ended badly: {error}"),
            };
            tracing::error!(%fault, "the worker leaves");
            Some(fault)
        }
    };
    tokio::select! {
        () = worker.drain() => {}
        name = ends.next() => tracing::warn!(signal = name, "asked again: leaving at once"),
    }
    shutdown.cancel();
    if !relay_ended {
        // It may have been cut off by a panic of its own; then there is nothing left to wait for.
        let _ = relay.await;
    }
    beats.abort();
    broker.close().await;
    fault.map_or(Ok(()), Err)
}

/// The signals that ask a worker to leave.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    fn install() -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self {
            terminate,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

async fn write_status(
    file: StatusFile,
    card: trialmill_common::worker::WorkerCard,
    mut beat: tokio::sync::watch::Receiver<trialmill_worker::Beat>,
    mut quarantine: tokio::sync::watch::Receiver<Option<String>>,
) {
    loop {
        let now = *beat.borrow_and_update();
        let why = quarantine.borrow_and_update().clone();
        if let Err(error) = file.write(&card, now, why.as_deref()) {
            tracing::warn!(%error, "the status file cannot be written; healthcheck will fail");
        }
        let changed = tokio::select! {
            changed = beat.changed() => changed,
            changed = quarantine.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

fn start_log(logging: &Logging) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&logging.filter)
        .with_context(|| format!("TRIALMILL_LOG is {:?}", logging.filter))?;
    let filter = LOG_LIMITS.iter().fold(filter, |filter, limit| {
        filter.add_directive(limit.parse().expect("a directive"))
    });
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    if logging.json {
        log.json().init();
    } else {
        log.init();
    }
    Ok(())
}

#[expect(
    clippy::print_stderr,
    reason = "the one word of a program to the person who started it"
)]
fn say(text: &str) {
    eprintln!("{text}");
}
