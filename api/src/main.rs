//! `trialmill-api`: the HTTP API over PostgreSQL and RabbitMQ, with the relay and the reaper beside
//! it.

use anyhow::{Context, bail};
use clap::Parser;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use trialmill_api::config::{Arguments, Command, Config, Settings, unknown_variables};
use trialmill_api::{
    AccessSettings, AppState, health, may_listen, openapi, renew_on_hangup, router, serve_with,
};
use trialmill_broker::rabbit::LOG_LIMITS;
use trialmill_broker::{Broker, RabbitBroker, RabbitOptions};
use trialmill_common::worker::DEFAULT_POOL;
use trialmill_relay::Pace;
use trialmill_store::postgres::{PgOptions, PgStore};
use trialmill_store::{Store, StoreError, Timing};

/// How long the database may be away at start: containers start in any order.
const PATIENCE_AT_START: Duration = Duration::from_secs(60);
/// Time between two attempts to reach it.
const RETRY: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Openapi) => print_openapi(),
        Some(Command::Healthcheck) => health::check(&arguments.settings).await,
        None => run(&arguments.settings).await,
    }
}

fn print_openapi() -> anyhow::Result<()> {
    let document = serde_json::to_string_pretty(&openapi())?;
    writeln!(std::io::stdout().lock(), "{document}")?;
    Ok(())
}

async fn run(settings: &Settings) -> anyhow::Result<()> {
    let config = match settings.check() {
        Ok(config) => config,
        Err(faults) => bail!("the settings are not usable:\n  {}", faults.join("\n  ")),
    };
    start_log(settings)?;
    #[cfg(feature = "failpoints")]
    if let Some(point) = &settings.failpoint {
        trialmill_common::failpoints::arm(point).context("TRIALMILL_FAILPOINT")?;
    }
    for name in unknown_variables(std::env::vars_os()) {
        tracing::warn!(
            name,
            "trialmill-api does not read this variable; see --help"
        );
    }
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let store = open_store(&config).await?;
    let demanded = may_listen(config.listen, config.api_key.as_ref(), store.as_ref()).await?;
    let broker = Arc::new(RabbitBroker::start(rabbit_options(&config)));
    let stop = CancellationToken::new();
    let (relay_store, relay_broker): (Arc<dyn Store>, Arc<dyn Broker>) =
        (Arc::clone(&store), broker.clone());
    let pace = Pace {
        keep: config.keep,
        ..Pace::for_lease(config.lease)
    };
    let relay = trialmill_relay::run(
        relay_store,
        relay_broker,
        DEFAULT_POOL.to_owned(),
        pace,
        stop.clone(),
    );
    let mut relay = tokio::spawn(relay);
    tracing::info!(
        address = %config.listen,
        key_of_environment = config.api_key.is_some(),
        keys_needed = demanded || config.api_key.is_some(),
        certificate_until = config.identity.as_ref().map(|identity| identity.valid_until().to_string()),
        "listening; the documentation is at /docs"
    );
    let state = AppState::new(store, broker.clone()).with_access(AccessSettings {
        environment: config.api_key,
        demanded,
        rate: config.rate,
        quota: config.quota,
    });
    let renewal = config
        .identity
        .clone()
        .map(|identity| tokio::spawn(renew_on_hangup(identity)));
    let served = tokio::select! {
        served = serve_with(listener, config.identity, router(state), terminated()) => served,
        ended = &mut relay => {
            ended.context("the relay ended badly")?;
            bail!("the relay ended by itself");
        }
    };
    if let Some(renewal) = renewal {
        renewal.abort();
    }
    stop.cancel();
    relay.await.context("the relay ended badly")?;
    broker.close().await;
    tracing::info!("ended in good order");
    served.context("serving ended")
}

fn start_log(settings: &Settings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.log)
        .with_context(|| format!("TRIALMILL_LOG is '{}'", settings.log))?;
    let filter = LOG_LIMITS.iter().fold(filter, |filter, limit| {
        filter.add_directive(limit.parse().expect("a directive"))
    });
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match settings.log_format.as_str() {
        "json" => log.json().init(),
        "text" => log.init(),
        other => bail!("TRIALMILL_LOG_FORMAT is '{other}'; use text or json"),
    }
    Ok(())
}

/// Opens the database; one that is away is waited for, one that is wrong is not.
async fn open_store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    let timing = Timing {
        lease: config.lease,
        ..Timing::default()
    };
    let mut options = PgOptions {
        application_name: process_name(),
        trust: config.database_trust.clone(),
        ..PgOptions::default()
    };
    // A statement must not outlive half a lease, or a slow answer costs a worker its lease.
    options.statement_timeout = options.statement_timeout.min(config.lease.mul_f64(0.45));
    let deadline = Instant::now() + PATIENCE_AT_START;
    loop {
        match PgStore::connect(&config.database_url, options.clone(), timing.clone()).await {
            Ok(store) => return Ok(Arc::new(store)),
            Err(error @ StoreError::Unavailable(_)) if Instant::now() < deadline => {
                tracing::warn!(error = %error, "waiting for the database");
                sleep(RETRY).await;
            }
            Err(error) => return Err(error).context("the database cannot be opened"),
        }
    }
}

fn rabbit_options(config: &Config) -> RabbitOptions {
    let mut options = RabbitOptions::new(
        config.amqp_urls.clone(),
        "trialmill-api",
        env!("CARGO_PKG_VERSION"),
        &process_name(),
    );
    options.trust = config.amqp_trust.clone();
    options.pools = vec![DEFAULT_POOL.to_owned()];
    options
}

/// What operators see in the database and the broker.
fn process_name() -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    format!("trialmill-api@{host}:{}", std::process::id())
}

/// Ends at SIGTERM or SIGINT.
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate =
        signal(SignalKind::terminate()).expect("a handler of SIGTERM can be set in every process");
    let mut interrupt =
        signal(SignalKind::interrupt()).expect("a handler of SIGINT can be set in every process");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("asked to end: no new connections, streams end, requests are finished");
}
