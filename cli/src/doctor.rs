//! `doctor`: what a user would look at when something does not work, in that order.

use crate::args::Doctor;
use crate::client::Client;
use crate::config::Settings;
use crate::database::Place;
use crate::failure::Failure;
use crate::figures::count;
use crate::output;
use crate::up::rabbit;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use trialmill_broker::rabbit::CA_SETTING;
use trialmill_broker::{AmqpUrls, Broker, BrokerState};
use trialmill_store::{Store, StoreError};
use trialmill_tls::Trust;

/// How long a broker may take to answer.
const BROKER_TIME: Duration = Duration::from_secs(5);

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Ok,
    Warn,
    Fail,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// One line of the doctor.
struct Finding {
    what: &'static str,
    level: Level,
    text: String,
}

/// Checks everything and prints a line each.
///
/// # Errors
/// [`Failure::Said`] with 1 when a check failed.
pub async fn run(options: &Doctor, settings: &Settings) -> Result<(), Failure> {
    let mut findings = vec![config(settings)];
    let place = Place::of(options.data_dir.as_deref(), settings);
    let embedded = matches!(place, Place::Embedded(_));
    let store = database(&place, &mut findings).await;
    broker(settings, embedded, &mut findings).await;
    let client = Client::new(&options.api, settings)?;
    let api = api(&client, &mut findings).await;
    workers(store.as_deref(), api.then_some(&client), &mut findings).await;
    data(store.as_deref(), api.then_some(&client), &mut findings).await;

    if options.api.json {
        let item = |f: &Finding| json!({"check": f.what, "level": f.level.name(), "text": f.text});
        let items: Vec<Value> = findings.iter().map(item).collect();
        output::document(&json!({"checks": items}))?;
    } else {
        let row = |f: &Finding| vec![f.level.name().to_owned(), f.what.to_owned(), f.text.clone()];
        let rows: Vec<_> = findings.iter().map(row).collect();
        for line in output::columns(&rows) {
            output::say(line)?;
        }
    }
    if findings.iter().any(|finding| finding.level == Level::Fail) {
        return Err(Failure::Said(1));
    }
    Ok(())
}

fn note(findings: &mut Vec<Finding>, what: &'static str, level: Level, text: impl Into<String>) {
    findings.push(Finding {
        what,
        level,
        text: text.into(),
    });
}

fn config(settings: &Settings) -> Finding {
    let (level, text) = match (&settings.database_url, &settings.amqp_url) {
        _ if !settings.unknown.is_empty() => {
            let names = settings.unknown.join(", ");
            (
                Level::Warn,
                format!("nothing reads {names}; look for a misspelt name in --help"),
            )
        }
        (Some(_), Some(_)) => (
            Level::Ok,
            "DATABASE_URL and AMQP_URL: on services".to_owned(),
        ),
        (None, None) => (
            Level::Ok,
            "neither DATABASE_URL nor AMQP_URL is set: embedded".to_owned(),
        ),
        (Some(_), None) => (
            Level::Warn,
            "DATABASE_URL is set and AMQP_URL is not; `trialmill up` and the workers need both"
                .to_owned(),
        ),
        (None, Some(_)) => (
            Level::Warn,
            "AMQP_URL is set and DATABASE_URL is not; `trialmill up` and the workers need both"
                .to_owned(),
        ),
    };
    Finding {
        what: "config",
        level,
        text,
    }
}

async fn database(place: &Place, findings: &mut Vec<Finding>) -> Option<Arc<dyn Store>> {
    const WHAT: &str = "database";
    if let Place::Embedded(_) = place
        && !place.exists()
    {
        let text = format!("there is no {} yet; `trialmill up` makes it", place.name());
        note(findings, WHAT, Level::Warn, text);
        return None;
    }
    let store = match place.open(false).await {
        Ok(store) => store,
        Err(failure) => {
            // The embedded file serves one process: one that is taken is at work.
            let level = if matches!(place, Place::Embedded(_)) {
                Level::Warn
            } else {
                Level::Fail
            };
            let remedy = match &failure {
                Failure::Store(StoreError::Schema { .. }) | Failure::Reason(_) => "",
                _ => "; is PostgreSQL up, and is DATABASE_URL right?",
            };
            note(findings, WHAT, level, format!("{failure}{remedy}"));
            return None;
        }
    };
    match store.writable().await {
        Ok(()) => {
            let text = format!("{}: schema up to date, takes writes", place.name());
            note(findings, WHAT, Level::Ok, text);
        }
        Err(error) => {
            let text = format!(
                "{} takes no writes: {error}; look at its disk",
                place.name()
            );
            note(findings, WHAT, Level::Fail, text);
        }
    }
    Some(store)
}

async fn broker(settings: &Settings, embedded: bool, findings: &mut Vec<Finding>) {
    const WHAT: &str = "broker";
    let Some(url) = &settings.amqp_url else {
        let (level, text) = if embedded {
            (Level::Ok, "in-process queue")
        } else {
            (
                Level::Warn,
                "AMQP_URL is not set; set it as in `trialmill up --help`",
            )
        };
        return note(findings, WHAT, level, text);
    };
    let urls: AmqpUrls = match url.parse() {
        Ok(urls) => urls,
        Err(error) => return note(findings, WHAT, Level::Fail, format!("AMQP_URL: {error}")),
    };
    let shown = urls.to_string();
    let trust = Trust::new(CA_SETTING, settings.amqp_ca_file.as_deref())
        .map_err(|fault| fault.to_string())
        .and_then(|trust| match urls.check_trust(&trust) {
            Ok(()) => Ok(trust),
            Err(fault) => Err(fault.to_string()),
        });
    let trust = match trust {
        Ok(trust) => trust,
        Err(fault) => return note(findings, WHAT, Level::Fail, fault),
    };
    let broker = rabbit(urls, trust, "trialmill-doctor");
    let mut state = broker.state();
    let connected = state.wait_for(|state| *state == BrokerState::Connected);
    let answered = timeout(BROKER_TIME, connected)
        .await
        .is_ok_and(|state| state.is_ok());
    if answered {
        note(findings, WHAT, Level::Ok, format!("{shown} answers"));
    } else {
        let why = match &*broker.state().borrow() {
            BrokerState::Connected => "it connected too late".to_owned(),
            BrokerState::Disconnected { reason, .. } | BrokerState::Blocked { reason } => {
                reason.clone()
            }
        };
        let text = format!(
            "{shown}: {why}; tasks are accepted and wait. Is RabbitMQ up, and is AMQP_URL right?"
        );
        note(findings, WHAT, Level::Fail, text);
    }
    broker.close().await;
}

async fn api(client: &Client, findings: &mut Vec<Finding>) -> bool {
    match client.get("/readyz").await {
        Ok(answer) => {
            let status = answer["status"].as_str().unwrap_or("answers");
            let level = if status == "ready" {
                Level::Ok
            } else {
                Level::Warn
            };
            note(
                findings,
                "api",
                level,
                format!("{} is {status}", client.address()),
            );
            true
        }
        Err(error) => {
            note(findings, "api", Level::Warn, error.to_string());
            false
        }
    }
}

async fn workers(store: Option<&dyn Store>, api: Option<&Client>, findings: &mut Vec<Finding>) {
    const WHAT: &str = "workers";
    let slots: Option<u64> = match (store, api) {
        (Some(store), _) => store.workers().await.ok().map(|workers| {
            let live = workers.iter().filter(|worker| worker.live);
            live.map(|worker| u64::from(worker.card.slots)).sum()
        }),
        (None, Some(client)) => client.get("/api/v1/workers").await.ok().map(|answer| {
            let workers = answer["items"].as_array().map_or(&[][..], Vec::as_slice);
            let live = workers
                .iter()
                .filter(|worker| worker["live"] == json!(true));
            live.filter_map(|worker| worker["slots"].as_u64()).sum()
        }),
        (None, None) => None,
    };
    match slots {
        Some(0) => {
            let text = "none is alive; start one with `trialmill up` or `trialmill-worker`";
            note(findings, WHAT, Level::Warn, text);
        }
        Some(slots) => note(
            findings,
            WHAT,
            Level::Ok,
            format!("{slots} slots are alive"),
        ),
        None => note(
            findings,
            WHAT,
            Level::Warn,
            "not known: neither database nor API answers",
        ),
    }
}

async fn data(store: Option<&dyn Store>, api: Option<&Client>, findings: &mut Vec<Finding>) {
    const WHAT: &str = "data";
    let series: Option<u64> = match (store, api) {
        (Some(store), _) => store
            .series_info(&[])
            .await
            .ok()
            .map(|series| series.len() as u64),
        (None, Some(client)) => {
            let answer = client.get("/api/v1/market-data").await.ok();
            answer.and_then(|answer| answer["total"].as_u64())
        }
        (None, None) => None,
    };
    match series {
        Some(0) => {
            let text = "no bars; bring some in with `trialmill data import FILE`, or invent some \
                        with `trialmill data generate`";
            note(findings, WHAT, Level::Warn, text);
        }
        Some(series) => note(
            findings,
            WHAT,
            Level::Ok,
            format!("{} series", count(series)),
        ),
        None => note(
            findings,
            WHAT,
            Level::Warn,
            "not known: neither database nor API answers",
        ),
    }
}
