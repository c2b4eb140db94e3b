//! `keys`: in the database where it is given, else through the API.

use crate::args::{Keys, KeysAt};
use crate::client::Client;
use crate::config::Settings;
use crate::database::Place;
use crate::failure::Failure;
use crate::figures;
use crate::output;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use trialmill_api::NewSecret;
use trialmill_api::answer::{AuditAnswer, AuditList, KeyAnswer, KeyCreated, KeyList};
use trialmill_common::fault::Fault;
use trialmill_common::key::{DATABASE, check_key, is_key_name};
use trialmill_store::Store;
use trialmill_store::keys::NewKey;

const KEYS: &str = "/api/v1/keys";

/// Where the keys are reached.
enum Reach {
    Database(Arc<dyn Store>),
    Api(Client),
}

impl Reach {
    async fn of(at: &KeysAt, settings: &Settings) -> Result<Self, Failure> {
        let direct =
            at.data_dir.is_some() || (settings.database_url.is_some() && at.api.url.is_none());
        if direct {
            let place = Place::of(at.data_dir.as_deref(), settings);
            return place.open(true).await.map(Self::Database);
        }
        Client::new(&at.api, settings).map(Self::Api)
    }
}

/// The commands on keys.
///
/// # Errors
/// When the request has faults, or neither database nor API does it.
pub async fn run(command: Keys, settings: &Settings) -> Result<(), Failure> {
    match command {
        Keys::Create {
            name,
            scopes,
            expires_days,
            max_active_tasks,
            max_backlog_trials,
            at,
        } => {
            let given = [
                ("expires_in_days", expires_days.map(Value::from)),
                ("max_active_tasks", max_active_tasks.map(Value::from)),
                ("max_backlog_trials", max_backlog_trials.map(Value::from)),
            ];
            let given = given
                .into_iter()
                .filter_map(|(field, value)| Some((field.to_owned(), value?)));
            let mut request: Map<String, Value> = given.collect();
            request.insert("name".to_owned(), name.into());
            request.insert("scopes".to_owned(), scopes.into());
            create(&request.into(), &at, settings).await
        }
        Keys::List(at) => list(&at, settings).await,
        Keys::Revoke { name, at } => revoke(&name, &at, settings).await,
        Keys::Audit { limit, before, at } => audit(limit, before, &at, settings).await,
    }
}

async fn create(request: &Value, at: &KeysAt, settings: &Settings) -> Result<(), Failure> {
    // Checked here too, so that a fault is told by its option and not by a field.
    let draft = check_key(request).map_err(|faults| told(&faults))?;
    let name = draft.name.clone();
    let created = match Reach::of(at, settings).await? {
        Reach::Api(client) => {
            let document = request.to_string().into_bytes();
            client.send_document(KEYS, document, None).await?.body
        }
        Reach::Database(store) => {
            let secret = NewSecret::draw().map_err(|error| Failure::reason(error.to_string()))?;
            let new = NewKey {
                draft,
                hash: secret.digest(),
                created_by: DATABASE.to_owned(),
            };
            let row = store.create_key(new).await?.ok_or_else(|| {
                Failure::reason(format!(
                    "there is a key '{name}' that is not revoked; choose another name, or revoke \
                     it first"
                ))
            })?;
            json!(KeyCreated {
                key: secret.reveal().to_owned(),
                about: row.into(),
            })
        }
    };
    if at.api.json {
        return Ok(output::document(&created)?);
    }
    let key = created["key"]
        .as_str()
        .ok_or_else(|| Failure::reason("the API named no key; is it a Trialmill API?"))?;
    output::note(format!(
        "key '{name}': keep it now, it is shown only here; clients send it as TRIALMILL_API_KEY"
    ));
    Ok(output::say(key)?)
}

fn told(faults: &[Fault]) -> Failure {
    let lines: Vec<_> = faults.iter().map(|fault| fault.detail.as_str()).collect();
    Failure::reason(lines.join("\nerror: "))
}

async fn list(at: &KeysAt, settings: &Settings) -> Result<(), Failure> {
    let listed = match Reach::of(at, settings).await? {
        Reach::Api(client) => client.get(KEYS).await?,
        Reach::Database(store) => {
            let page = store.keys().await?;
            json!(KeyList {
                items: page.keys.into_iter().map(KeyAnswer::from).collect(),
                total: page.total,
            })
        }
    };
    if at.api.json {
        return Ok(output::document(&listed)?);
    }
    let head = ["NAME", "SCOPES", "STATE", "USED", "CREATED", "BY"];
    let row = |key: &Value| {
        let state = match (key["revoked_at"].as_str(), key["expires_at"].as_str()) {
            (Some(at), _) => format!("revoked {at}"),
            (None, Some(at)) => format!("until {at}"),
            (None, None) => "valid".to_owned(),
        };
        let or = |field: &str, nothing: &str| key[field].as_str().unwrap_or(nothing).to_owned();
        let scopes = key["scopes"].as_array().into_iter().flatten();
        let scopes: Vec<_> = scopes.filter_map(Value::as_str).collect();
        vec![
            or("name", ""),
            scopes.join(","),
            state,
            or("last_used_at", "never"),
            or("created_at", ""),
            or("created_by", "-"),
        ]
    };
    table(head.map(str::to_owned).to_vec(), &listed, row)?;
    let (shown, total) = (listed["items"].as_array(), listed["total"].as_u64());
    if let (Some(shown), Some(total)) = (shown, total)
        && (shown.len() as u64) < total
    {
        output::note(format!("{} of {total} keys are shown", shown.len()));
    }
    Ok(())
}

async fn revoke(name: &str, at: &KeysAt, settings: &Settings) -> Result<(), Failure> {
    let unknown = || Failure::reason(format!("there is no key '{name}' that is not revoked"));
    if !is_key_name(name) {
        return Err(unknown());
    }
    match Reach::of(at, settings).await? {
        Reach::Api(client) => client.remove(&format!("{KEYS}/{name}")).await?,
        Reach::Database(store) => {
            let revoked = store.revoke_key(name, DATABASE).await?;
            revoked.ok_or_else(unknown)?;
        }
    }
    if at.api.json {
        return Ok(output::document(&json!({"name": name, "revoked": true}))?);
    }
    Ok(output::say(format!(
        "key '{name}' is revoked; it stops working within 3 seconds"
    ))?)
}

async fn audit(
    limit: u32,
    before: Option<i64>,
    at: &KeysAt,
    settings: &Settings,
) -> Result<(), Failure> {
    let listed = match Reach::of(at, settings).await? {
        Reach::Api(client) => {
            let cursor = before.map_or_else(String::new, |n| format!("&cursor={n}"));
            client
                .get(&format!("/api/v1/audit?limit={limit}{cursor}"))
                .await?
        }
        Reach::Database(store) => {
            let rows = store.audit_page(before, limit).await?;
            json!(AuditList {
                next_cursor: None,
                items: rows.into_iter().map(AuditAnswer::from).collect(),
            })
        }
    };
    if at.api.json {
        return Ok(output::document(&listed)?);
    }
    let head = ["NUMBER", "AT", "KEY", "ACTION", "TIMES", "TARGET", "DETAIL"];
    let row = |event: &Value| {
        let text = |field: &str| figures::value(&event[field]);
        let key = event["key"].as_str().unwrap_or("-").to_owned();
        let [id, at, action, times, target, detail] =
            ["id", "at", "action", "times", "target", "detail"].map(text);
        vec![id, at, key, action, times, target, detail]
    };
    table(head.map(str::to_owned).to_vec(), &listed, row)
}

fn table(
    head: Vec<String>,
    listed: &Value,
    row: impl Fn(&Value) -> Vec<String>,
) -> Result<(), Failure> {
    let items = listed["items"].as_array().map_or(&[][..], Vec::as_slice);
    let rows: Vec<_> = std::iter::once(head).chain(items.iter().map(row)).collect();
    for line in output::columns(&rows) {
        output::say(line)?;
    }
    Ok(())
}
