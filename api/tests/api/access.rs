//! Keys of the database, what they may do and how fast, and what the audit tells.

use crate::faulty_store::Mood;
use crate::service::{Answer, Service, TASKS, sphere};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use trialmill_api::limits::KEY_BELIEVED;
use trialmill_api::{AccessSettings, ApiKey, NoAccess, RateLimit, may_listen};
use trialmill_broker::Broker;
use trialmill_common::key::Quota;
use trialmill_store::Store;
use trialmill_store::keys::{AuditEvent, AuditRow};

const BOSS: &str = "pL2rWq8vT5yNc7bXh3mKj6dZs9fGa4eR";
const KEYS: &str = "/api/v1/keys";
const AUDIT: &str = "/api/v1/audit";

async fn service() -> Service {
    Service::start_with(Some(ApiKey::new(BOSS).unwrap())).await
}

/// Makes a key with one scope, and returns the key itself.
async fn made(service: &Service, name: &str, scope: &str) -> String {
    let request = json!({"name": name, "scopes": [scope]});
    let answer = service.ask(BOSS, "POST", KEYS, &request).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.body["key"].as_str().unwrap().to_owned()
}

/// Asks again until the answer is as wanted.
async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !ask().await {
        assert!(began.elapsed() < Duration::from_secs(60), "never {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}

#[tokio::test]
async fn each_scope_may_do_what_it_includes_and_no_more() {
    let service = service().await;
    let of_scope = ["read", "submit", "admin"];
    let mut keys = Vec::new();
    for scope in of_scope {
        keys.push(made(&service, scope, scope).await);
    }
    let accepted = service.ask(BOSS, "POST", TASKS, &sphere(3)).await;
    let task = accepted.header("location").unwrap().to_owned();
    let nothing = Value::Null;
    // From which scope on; "nobody" is no key, so the admin's attempt does no harm.
    let cases = [
        (0, "GET", TASKS.to_owned(), &nothing),
        (0, "GET", "/api/v1/workers".to_owned(), &nothing),
        (0, "GET", format!("{task}/explain"), &nothing),
        (1, "POST", TASKS.to_owned(), &sphere(2)),
        (1, "POST", format!("{task}/pause"), &nothing),
        (1, "POST", format!("{task}/resume"), &nothing),
        (1, "POST", format!("{task}/cancel"), &nothing),
        (2, "DELETE", task.clone(), &nothing),
        (2, "GET", KEYS.to_owned(), &nothing),
        (2, "GET", AUDIT.to_owned(), &nothing),
        (2, "POST", KEYS.to_owned(), &json!({})),
        (2, "DELETE", format!("{KEYS}/nobody"), &nothing),
    ];
    for (least, method, path, body) in &cases {
        for (scope, key) in keys.iter().enumerate() {
            let answer = service.ask(key, method, path, body).await;
            let said = format!("{} {method} {path}: {}", of_scope[scope], answer.text);
            if scope < *least {
                let problem = answer.problem(403, "forbidden");
                let fault = &problem["errors"][0];
                assert_eq!(fault["code"], "missing_scope", "{said}");
                assert_eq!(fault["allowed"], json!([of_scope[*least]]), "{said}");
                let challenge = answer.header("www-authenticate").unwrap();
                assert!(challenge.contains("insufficient_scope"), "{said}");
            } else {
                assert!(![401, 403, 429].contains(&answer.status), "{said}");
                // What it may do is done once: the next scope asks for something else.
                if *method == "POST" && path.ends_with("/cancel") {
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_key_is_shown_once_and_nowhere_else() {
    let service = service().await;
    let request = json!({"name": "ci", "scopes": ["submit", "read"], "expires_in_days": 30,
        "max_active_tasks": 7});
    let created = service.ask(BOSS, "POST", KEYS, &request).await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert_eq!(created.header("cache-control"), Some("no-store"));
    let key = created.body["key"].as_str().unwrap();
    assert!(key.starts_with("tm_") && key.len() == 67, "its form");
    assert_eq!(created.body["scopes"], json!(["read", "submit"]));
    assert_eq!(created.body["created_by"], "environment");
    assert_eq!(created.body["max_active_tasks"], 7);
    assert!(created.body["expires_at"].is_string());

    assert_eq!(
        service.ask(key, "GET", TASKS, &Value::Null).await.status,
        200
    );
    let listed = async || service.ask(BOSS, "GET", KEYS, &Value::Null).await;
    until("used", async || {
        listed().await.body["items"][0]["last_used_at"].is_string()
    })
    .await;
    let listed = listed().await;
    let audit = service.ask(BOSS, "GET", AUDIT, &Value::Null).await;
    let digest = ApiKey::new(key).unwrap().digest();
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    for answer in [&listed, &audit] {
        for secret in [key, &key[3..], BOSS, &digest] {
            assert!(!answer.text.contains(secret), "{}", answer.text);
        }
    }
    let taken = service.ask(BOSS, "POST", KEYS, &request).await;
    assert_eq!(
        taken.problem(409, "conflict")["errors"][0]["code"],
        "name_taken"
    );
    let faulty = json!({"name": "database", "scopes": ["root"], "expires_in_days": 0, "age": 1});
    let faulty = service.ask(BOSS, "POST", KEYS, &faulty).await;
    faulty.problem(422, "invalid_request");
    assert_eq!(faulty.faults().len(), 4, "{}", faulty.text);
}

#[tokio::test]
async fn a_revoked_key_stops_working() {
    let service = service().await;
    let (here, elsewhere) = (
        made(&service, "here", "read").await,
        made(&service, "elsewhere", "read").await,
    );
    let works = async |key: &str| {
        let answer = service.ask(key, "GET", TASKS, &Value::Null).await;
        assert!([200, 401].contains(&answer.status), "{}", answer.text);
        answer.status == 200
    };
    assert!(works(&here).await && works(&elsewhere).await);
    let revoked = service
        .ask(BOSS, "DELETE", &format!("{KEYS}/here"), &Value::Null)
        .await;
    assert_eq!(revoked.status, 204, "{}", revoked.text);
    assert!(!works(&here).await, "at once in this process");
    let again = format!("{KEYS}/here");
    let again = service.ask(BOSS, "DELETE", &again, &Value::Null).await;
    again.problem(404, "not_found");
    // As another process does it: this one believes the key for some seconds.
    service.store.revoke_key("elsewhere", "").await.unwrap();
    let took = until("refused", async || !works(&elsewhere).await).await;
    assert!(took < KEY_BELIEVED + Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn while_the_database_is_away_no_key_is_called_wrong() {
    let service = service().await;
    let key = made(&service, "ci", "read").await;
    service.mood.set(Mood::Away);
    let samplers = "/api/v1/samplers";
    for unknown in [key.as_str(), "tm_unknown"] {
        let answer = service.ask(unknown, "GET", samplers, &Value::Null).await;
        answer.problem(503, "unavailable");
        assert_eq!(answer.header("retry-after"), Some("5"));
    }
    let own = service.ask(BOSS, "GET", samplers, &Value::Null).await;
    assert_eq!(own.status, 200, "the environment's key needs no database");
    service.mood.set(Mood::Well);
    let back = service.ask(&key, "GET", samplers, &Value::Null).await;
    assert_eq!(back.status, 200, "{}", back.text);
}

#[tokio::test]
async fn on_loopback_a_key_is_needed_as_soon_as_there_is_one() {
    let service = Service::start().await;
    let get = async |key: &str| service.ask(key, "GET", TASKS, &Value::Null).await.status;
    assert_eq!(get("").await, 200);
    let request = json!({"name": "first", "scopes": ["admin"]});
    let created = service.ask("", "POST", KEYS, &request).await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert_eq!(created.body["created_by"], Value::Null);
    let key = created.body["key"].as_str().unwrap();
    assert_eq!((get("").await, get(key).await), (401, 200));
    let path = format!("{KEYS}/first");
    assert_eq!(
        service.ask(key, "DELETE", &path, &Value::Null).await.status,
        204
    );
    assert_eq!(get("").await, 200, "without any key it is open again");
}

#[tokio::test]
async fn an_address_that_others_reach_is_served_only_with_a_key() {
    let service = Service::start_guarded(AccessSettings {
        demanded: true,
        ..AccessSettings::default()
    })
    .await;
    let answer = service.get(TASKS).await;
    answer.problem(401, "unauthorized");
    let (inside, outside) = ("127.0.0.1:8080", "0.0.0.0:8080");
    let environment = ApiKey::new(BOSS).unwrap();
    let ask = async |address: &str, key: Option<&ApiKey>| {
        let address = address.parse().unwrap();
        may_listen(address, key, &service.store).await
    };
    assert!(!ask(inside, None).await.unwrap());
    assert!(ask(outside, Some(&environment)).await.unwrap());
    let refused = ask(outside, None).await.unwrap_err();
    assert!(matches!(refused, NoAccess::NoKey(_)), "{refused}");
    for word in ["0.0.0.0:8080", "TRIALMILL_API_KEY", "keys create"] {
        assert!(refused.to_string().contains(word), "{refused}");
    }
    for (name, scope, enough) in [("ci", "submit", false), ("boss", "admin", true)] {
        let key = trialmill_store::keys::NewKey {
            draft: trialmill_common::key::check_key(&json!({"name": name, "scopes": [scope]}))
                .unwrap(),
            hash: [u8::from(enough); 32],
            created_by: "database".to_owned(),
        };
        service.store.create_key(key).await.unwrap().unwrap();
        assert_eq!(ask(outside, None).await.is_ok(), enough, "{scope}");
    }
}

#[tokio::test]
async fn who_asks_too_fast_is_told_to_wait_and_others_are_not() {
    let service = Service::start_guarded(AccessSettings {
        environment: Some(ApiKey::new(BOSS).unwrap()),
        rate: RateLimit::new(1, 5),
        ..AccessSettings::default()
    })
    .await;
    let key = made(&service, "ci", "read").await;
    let ask = async |key: &str| {
        service
            .ask(key, "GET", "/api/v1/samplers", &Value::Null)
            .await
    };
    let mut refused = None;
    for _ in 0..50 {
        let answer = ask(&key).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let refused = refused.expect("50 requests take less than 45 s");
    let problem = refused.problem(429, "limit_reached");
    let fault = &problem["errors"][0];
    assert_eq!(
        (&fault["code"], &fault["limit"]),
        (&json!("rate_limited"), &json!(1))
    );
    assert_eq!(fault["value"], "ci");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(
        ask(BOSS).await.status,
        200,
        "another key has its own bucket"
    );
    // Without a valid key the address counts, before anything is looked up.
    let mut statuses = Vec::new();
    for n in 0..50 {
        statuses.push(ask(&format!("tm_guess{n}")).await.status);
        if statuses.last() == Some(&429) {
            break;
        }
    }
    assert_eq!(
        (statuses[0], statuses.last()),
        (401, Some(&429)),
        "{statuses:?}"
    );
    for _ in 0..20 {
        assert_eq!(service.get("/healthz").await.status, 200);
    }
}

#[tokio::test]
async fn a_key_with_too_much_in_work_is_refused_with_the_limit() {
    let service = Service::start_guarded(AccessSettings {
        environment: Some(ApiKey::new(BOSS).unwrap()),
        quota: Quota {
            active_tasks: Some(2),
            backlog_trials: Some(100),
        },
        ..AccessSettings::default()
    })
    .await;
    let code = |answer: &Answer| {
        let problem = answer.problem(429, "limit_reached");
        assert_eq!(answer.header("retry-after"), Some("60"));
        let fault = &problem["errors"][0];
        let numbers = (fault["value"].as_u64(), fault["limit"].as_u64());
        (fault["code"].as_str().unwrap().to_owned(), numbers)
    };
    let submit = async |key: &str, trials| service.ask(key, "POST", TASKS, &sphere(trials)).await;
    let key = made(&service, "ci", "submit").await;
    assert_eq!(submit(&key, 60).await.status, 201);
    let full = submit(&key, 41).await;
    assert_eq!(
        code(&full),
        ("backlog_full".to_owned(), (Some(101), Some(100)))
    );
    let second = submit(&key, 40).await;
    assert_eq!(second.status, 201, "{}", second.text);
    let third = submit(&key, 1).await;
    let expected = ("too_many_active_tasks".to_owned(), (Some(3), Some(2)));
    assert_eq!(code(&third), expected);
    let detail = third.body["detail"].as_str().unwrap();
    for word in ["'ci'", "TRIALMILL_MAX_ACTIVE_TASKS", "cancel"] {
        assert!(detail.contains(word), "{detail}");
    }
    // Bounds of its own count instead, and other keys have their own load.
    let own = json!({"name": "big", "scopes": ["submit"], "max_active_tasks": 3,
        "max_backlog_trials": 1000});
    let own = service.ask(BOSS, "POST", KEYS, &own).await;
    let own = own.body["key"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        assert_eq!(submit(&own, 200).await.status, 201);
    }
    assert_eq!(code(&submit(&own, 1).await).1, (Some(4), Some(3)));
    // What ends makes room.
    let path = second.header("location").unwrap();
    let cancel = format!("{path}/cancel");
    let cancelled = service.ask(&key, "POST", &cancel, &Value::Null).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text);
    assert_eq!(submit(&key, 1).await.status, 201);
}

#[tokio::test]
async fn idempotency_keys_of_different_keys_are_different() {
    let service = service().await;
    let (one, other) = (
        made(&service, "one", "submit").await,
        made(&service, "other", "submit").await,
    );
    let mut tasks = Vec::new();
    for key in [&one, &one, &other] {
        let bearer = format!("Bearer {key}");
        let headers = [("Authorization", bearer.as_str()), ("Idempotency-Key", "7")];
        let answer = service.submit_with(&sphere(3), &headers).await;
        tasks.push((answer.status, answer.body["task_id"].clone()));
    }
    assert_eq!((tasks[0].0, tasks[1].0, tasks[2].0), (201, 200, 201));
    assert_eq!(tasks[0].1, tasks[1].1);
    assert_ne!(tasks[0].1, tasks[2].1);
}

#[tokio::test]
async fn the_audit_tells_who_did_what() {
    let service = service().await;
    let key = made(&service, "ci", "submit").await;
    let accepted = service.ask(&key, "POST", TASKS, &sphere(3)).await;
    let path = accepted.header("location").unwrap();
    let id = accepted.body["task_id"].as_str().unwrap();
    for verb in ["pause", "resume", "cancel"] {
        let answer = service
            .ask(&key, "POST", &format!("{path}/{verb}"), &Value::Null)
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    assert_eq!(
        service.ask(&key, "DELETE", path, &Value::Null).await.status,
        403
    );
    assert_eq!(
        service.ask(BOSS, "DELETE", path, &Value::Null).await.status,
        204
    );
    service
        .ask(BOSS, "DELETE", &format!("{KEYS}/ci"), &Value::Null)
        .await;
    let told = async || {
        let page = service
            .ask(BOSS, "GET", &format!("{AUDIT}?limit=1000"), &Value::Null)
            .await;
        let items = page.body["items"].as_array().unwrap().clone();
        let text = |event: &Value, field: &str| event[field].as_str().unwrap_or("-").to_owned();
        let line = |event| ["key", "action", "target"].map(|field| text(event, field));
        items.iter().rev().map(line).collect::<Vec<_>>()
    };
    let denied = ["ci", "request.denied", "admin"].map(str::to_owned);
    until("told", async || told().await.contains(&denied)).await;
    let mut told = told().await;
    told.retain(|line| *line != denied);
    let expected = [
        ["environment", "key.create", "ci"],
        ["ci", "task.submit", id],
        ["ci", "task.pause", id],
        ["ci", "task.resume", id],
        ["ci", "task.cancel", id],
        ["environment", "task.delete", id],
        ["environment", "key.revoke", "ci"],
    ];
    assert_eq!(told, expected.map(|line| line.map(str::to_owned)));
    // By pages.
    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("{AUDIT}?limit=3{cursor}");
        let page = service.ask(BOSS, "GET", &path, &Value::Null).await.body;
        pages.extend(page["items"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(pages.len(), expected.len() + 1);
    let faulty = format!("{AUDIT}?limit=0&cursor=x");
    let faulty = service.ask(BOSS, "GET", &faulty, &Value::Null).await;
    assert_eq!(faulty.faults().len(), 2, "{}", faulty.text);
}

#[tokio::test]
async fn a_flood_of_refused_requests_is_a_few_events() {
    let service = service().await;
    for n in 0..200 {
        let answer = service
            .ask(&format!("tm_{n}"), "GET", TASKS, &Value::Null)
            .await;
        answer.problem(401, "unauthorized");
    }
    let told = async || {
        let events = service.store.audit_page(None, 1_000).await.unwrap();
        events.into_iter().map(|row| row.event).collect::<Vec<_>>()
    };
    until("told", async || !told().await.is_empty()).await;
    // The first is written at once, what follows is gathered.
    let events = told().await;
    assert!(events.len() <= 2, "{events:?}");
    assert_eq!(events[0].action, "request.denied");
    assert_eq!(events[0].target, "127.0.0.1");
}

/// (key, action, target) of every event of the audit, the earliest first.
async fn told(service: &Service) -> Vec<[String; 3]> {
    let rows = service.store.audit_page(None, 1_000).await.unwrap();
    let line = |row: AuditRow| {
        let AuditEvent {
            key,
            action,
            target,
            ..
        } = row.event;
        [key, action, target]
    };
    rows.into_iter().rev().map(line).collect()
}

#[tokio::test]
async fn the_audit_tells_what_became_of_dead_letters() {
    let service = service().await;
    let key = made(&service, "operator", "admin").await;
    let before = told(&service).await.len();
    crate::dead::let_die(&service, "default", 2).await;
    let list = service.ask(&key, "GET", "/api/v1/dead", &Value::Null).await;
    let id = |place: usize| list.body["items"][place]["id"].as_str().unwrap().to_owned();
    for (method, path) in [
        ("POST", format!("/api/v1/dead/{}/replay", id(0))),
        ("DELETE", format!("/api/v1/dead/{}", id(1))),
        ("DELETE", "/api/v1/dead?pool=gpu".to_owned()),
    ] {
        let answer = service.ask(&key, method, &path, &Value::Null).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    // What was not there was not removed.
    let again = format!("/api/v1/dead/{}", id(1));
    let again = service.ask(&key, "DELETE", &again, &Value::Null).await;
    again.problem(404, "not_found");
    let expected = [
        ["operator", "dead.replay", &id(0)],
        ["operator", "dead.discard", &id(1)],
        ["operator", "dead.discard", "all of gpu"],
    ];
    let told = told(&service).await.split_off(before);
    assert_eq!(told, expected.map(|line| line.map(str::to_owned)));
}

#[tokio::test]
async fn what_is_done_is_told_also_when_its_client_has_gone() {
    let service = service().await;
    let path = service
        .ask(BOSS, "POST", TASKS, &sphere(3))
        .await
        .header("location")
        .unwrap()
        .to_owned();
    crate::dead::let_die(&service, "default", 1).await;
    service.mood.set(Mood::HoldingAudit);
    for (method, path) in [
        ("POST", format!("{path}/cancel")),
        ("DELETE", "/api/v1/dead".to_owned()),
    ] {
        let url = format!("{}{path}", service.base);
        let request = service.http.request(method.parse().unwrap(), url);
        let asked = tokio::spawn(request.bearer_auth(BOSS).send());
        let done = async || match method {
            "POST" => {
                let task = service
                    .store
                    .task(crate::service::id_of(path.trim_end_matches("/cancel")));
                task.await.unwrap().unwrap().ledger.state.is_terminal()
            }
            _ => service.broker.dead(10).await.unwrap().total == 0,
        };
        until("done", done).await;
        asked.abort();
        assert!(asked.await.unwrap_err().is_cancelled());
    }
    // The service ends when it has let go of every connection.
    let (store, mood) = (service.store.clone(), service.mood.clone());
    service.stop().await;
    mood.set(Mood::Well);
    for action in ["task.cancel", "dead.discard"] {
        let told = async || {
            let rows = store.audit_page(None, 1_000).await.unwrap();
            rows.iter().any(|row| row.event.action == action)
        };
        until(action, told).await;
    }
}

#[tokio::test]
async fn without_keys_a_request_to_a_foreign_name_is_refused() {
    let ask = async |service: &Service, host: &str, key: &str| {
        let url = format!("{}/api/v1/workers", service.base);
        let request = service.http.get(url).header("host", host);
        Answer::of(request.bearer_auth(key).send().await.unwrap()).await
    };
    let open = Service::start().await;
    let refused = ask(&open, "attacker.example:8080", "none").await;
    refused.problem(403, "forbidden");
    let fault = ("#Host".to_owned(), "foreign_host".to_owned());
    assert_eq!(refused.faults(), [fault]);
    assert_eq!(ask(&open, "localhost:9", "none").await.status, 200);
    // A key is what a foreign page does not have.
    let guarded = service().await;
    assert_eq!(ask(&guarded, "trialmill.internal", BOSS).await.status, 200);
}
