//! `up`: API, relay and worker in one process, embedded or on real services.

use crate::args::Up;
use crate::config::Settings;
use crate::database::{self, Place};
use crate::demo::{QUEUE_BOUND, available_slots};
use crate::failure::Failure;
use crate::output;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use trialmill_api::{AccessSettings, ApiKey, AppState, may_listen};
use trialmill_broker::rabbit::CA_SETTING;
use trialmill_broker::{AmqpUrls, Broker, InProcessBroker, RabbitBroker, RabbitOptions};
use trialmill_common::worker::DEFAULT_POOL;
use trialmill_relay::Pace;
use trialmill_store::{Store, Timing};
use trialmill_tls::{ServerIdentity, Trust};
use trialmill_worker::{RunningWorker, WorkerFault, WorkerOptions};

/// Where it listens when nobody says: this machine only.
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";
/// A lease when nobody says.
const DEFAULT_LEASE_SECONDS: u32 = 30;

/// The mode, decided before anything is opened.
enum Mode {
    Embedded,
    Services { amqp: AmqpUrls, trust: Trust },
}

/// What is needed to start, without fault.
struct Plan {
    mode: Mode,
    place: Place,
    listen: SocketAddr,
    key: Option<ApiKey>,
    identity: Option<Arc<ServerIdentity>>,
    slots: u32,
    timing: Timing,
}

/// Runs until SIGINT or SIGTERM, then drains.
///
/// # Errors
/// When it cannot start, or its worker cannot go on.
pub async fn run(options: &Up, settings: &Settings) -> Result<(), Failure> {
    let plan = plan(options, settings)?;
    // Installed first, so that a signal during the start is not lost.
    let mut ends = Ends::install()?;
    let listener = TcpListener::bind(plan.listen)
        .await
        .map_err(|error| Failure::reason(format!("cannot listen on {}: {error}", plan.listen)))?;
    let address = listener.local_addr()?;
    let store: Arc<dyn Store> = match &plan.place {
        Place::Embedded(folder) => Arc::new(database::embedded(folder, &plan.timing)?),
        Place::Postgres(url, ca_file) => {
            let trust = database::trust(ca_file.as_deref())?;
            Arc::new(database::connect(url, trust, 10, &plan.timing).await?)
        }
    };
    let demanded = may_listen(plan.listen, plan.key.as_ref(), store.as_ref())
        .await
        .map_err(|error| Failure::reason(error.to_string()))?;
    let broker: Arc<dyn Broker> = match &plan.mode {
        Mode::Embedded => Arc::new(InProcessBroker::new(QUEUE_BOUND)),
        Mode::Services { amqp, trust } => {
            Arc::new(rabbit(amqp.clone(), trust.clone(), "trialmill-up"))
        }
    };
    let mut worker_options = WorkerOptions::new(plan.slots);
    worker_options.lease = plan.timing.lease;
    if let Some(luck) = settings.luck {
        worker_options.luck = luck;
    }
    let mut worker = RunningWorker::start(Arc::clone(&store), Arc::clone(&broker), worker_options)
        .await
        .map_err(|error| Failure::reason(error.to_string()))?;
    let shutdown = CancellationToken::new();
    let relay = tokio::spawn(trialmill_relay::run(
        Arc::clone(&store),
        Arc::clone(&broker),
        DEFAULT_POOL.to_owned(),
        Pace {
            keep: settings.keep,
            ..Pace::for_lease(plan.timing.lease)
        },
        shutdown.clone(),
    ));
    let closing = CancellationToken::new();
    let access = AccessSettings {
        environment: plan.key.clone(),
        demanded,
        rate: settings.rate,
        quota: settings.quota,
    };
    let state = AppState::new(Arc::clone(&store), Arc::clone(&broker)).with_access(access);
    let router = trialmill_api::router(state);
    let renewal = plan
        .identity
        .clone()
        .map(|identity| tokio::spawn(trialmill_api::renew_on_hangup(identity)));
    let served = tokio::spawn(trialmill_api::serve_with(
        listener,
        plan.identity.clone(),
        router,
        closing.clone().cancelled_owned(),
    ));
    greet(&plan, address)?;
    if demanded || plan.key.is_some() || store.key_census().await?.kept > 0 {
        output::say("requests need a key: TRIALMILL_API_KEY, or one of `trialmill keys list`")?;
    }

    let fault: Option<WorkerFault> = tokio::select! {
        () = ends.next() => None,
        fault = worker.failed() => Some(fault),
    };
    output::note("draining: running trials end, results are written; again to leave at once");
    closing.cancel();
    tokio::select! {
        () = worker.drain() => {}
        () = ends.next() => output::note("leaving at once; unfinished trials run again later"),
    }
    shutdown.cancel();
    if let Some(renewal) = renewal {
        renewal.abort();
    }
    // Both end because they were told to; what a panic of theirs would have to say is in the log.
    drop(relay.await);
    let served = tokio::time::timeout(Duration::from_secs(5), served).await;
    broker.close().await;
    if let Ok(Ok(Err(error))) = served {
        return Err(Failure::reason(format!("serving ended: {error}")));
    }
    if let Some(fault) = fault {
        return Err(Failure::reason(fault.to_string()));
    }
    output::note("ended in good order");
    Ok(())
}

/// Everything that can be wrong before the start, told at once.
fn plan(options: &Up, settings: &Settings) -> Result<Plan, Failure> {
    let mut mistakes = Vec::new();
    let place = Place::of(options.data_dir.as_deref(), settings);
    let mode = match (&place, &settings.amqp_url) {
        _ if options.data_dir.is_some() => Some(Mode::Embedded),
        (Place::Embedded(_), None) => Some(Mode::Embedded),
        (Place::Embedded(_), Some(_)) => {
            mistakes.push(
                "AMQP_URL is set and DATABASE_URL is not; set both to run on services, or neither \
                 to run embedded"
                    .to_owned(),
            );
            None
        }
        (Place::Postgres(..), None) => {
            mistakes.push(
                "DATABASE_URL is set and AMQP_URL is not; set both to run on services, neither to \
                 run embedded, or give --data-dir"
                    .to_owned(),
            );
            None
        }
        (Place::Postgres(..), Some(url)) => match services(url, settings) {
            Ok(mode) => Some(mode),
            Err(error) => {
                mistakes.push(error);
                None
            }
        },
    };
    if let Place::Postgres(_, ca_file) = &place
        && let Err(fault) = database::trust(ca_file.as_deref())
    {
        mistakes.push(fault.to_string());
    }
    let (cert, key) = (
        settings.tls_cert_file.as_deref(),
        settings.tls_key_file.as_deref(),
    );
    let identity = ServerIdentity::from_settings(cert, key).unwrap_or_else(|faults| {
        mistakes.extend(faults.iter().map(ToString::to_string));
        None
    });
    let listen = options.listen.as_ref().or(settings.listen.as_ref());
    let listen = listen.map_or(DEFAULT_LISTEN, String::as_str);
    let address: Option<SocketAddr> = listen.trim().parse().ok();
    if address.is_none() {
        mistakes.push(format!(
            "the address to listen on is {listen:?}; write an IP address and a port, such as \
             {DEFAULT_LISTEN} or [::1]:8080"
        ));
    }
    let key = settings.api_key.as_ref().map(|key| ApiKey::new(key));
    let key = key.transpose().unwrap_or_else(|error| {
        mistakes.push(format!("TRIALMILL_API_KEY: {error}"));
        None
    });
    match (mode, address) {
        (Some(mode), Some(listen)) if mistakes.is_empty() => {
            let lease = settings.lease_seconds.unwrap_or(DEFAULT_LEASE_SECONDS);
            let lease = Duration::from_secs(u64::from(lease));
            let slots = options
                .slots
                .or(settings.slots)
                .unwrap_or_else(available_slots);
            let timing = Timing {
                lease,
                ..Timing::default()
            };
            Ok(Plan {
                mode,
                place,
                listen,
                key,
                identity: identity.map(Arc::new),
                slots,
                timing,
            })
        }
        _ => Err(Failure::reason(mistakes.join("\nerror: "))),
    }
}

/// On services, if address and authorities of the broker can be used.
fn services(url: &str, settings: &Settings) -> Result<Mode, String> {
    let amqp: AmqpUrls = url.parse().map_err(|error| format!("AMQP_URL: {error}"))?;
    let trust = Trust::new(CA_SETTING, settings.amqp_ca_file.as_deref())
        .map_err(|fault| fault.to_string())?;
    amqp.check_trust(&trust)
        .map_err(|fault| fault.to_string())?;
    Ok(Mode::Services { amqp, trust })
}

fn greet(plan: &Plan, address: SocketAddr) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let on = match plan.mode {
        Mode::Embedded => format!("embedded: {} + in-process queue", plan.place.name()),
        Mode::Services { .. } => "on PostgreSQL and RabbitMQ".to_owned(),
    };
    output::say(format!("Trialmill {version}   {on}, {} slots", plan.slots))?;
    let scheme = match plan.identity {
        Some(_) => "https",
        None => "http",
    };
    output::say(format!("listening on {scheme}://{address}"))?;
    output::say(format!(
        "  {scheme}://{address}/docs                 every route, to try out"
    ))?;
    let url = if plan.listen.to_string() == DEFAULT_LISTEN && plan.identity.is_none() {
        String::new()
    } else {
        format!(" --url {scheme}://{address}")
    };
    output::say(format!(
        "  trialmill init{url} > task.json             an example request"
    ))?;
    output::say(format!(
        "  trialmill submit task.json --watch{url}     run it"
    ))?;
    Ok(())
}

/// A connection to RabbitMQ with the name that operators see.
pub fn rabbit(urls: AmqpUrls, trust: Trust, product: &str) -> RabbitBroker {
    let name = format!("{product}:{}", std::process::id());
    let mut options = RabbitOptions::new(urls, product, env!("CARGO_PKG_VERSION"), &name);
    options.trust = trust;
    options.pools = vec![DEFAULT_POOL.to_owned()];
    RabbitBroker::start(options)
}

/// The signals that ask a process to leave.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    fn install() -> Result<Self, Failure> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self {
            terminate,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
