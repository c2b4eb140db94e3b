//! TLS on every link, with real servers and processes: what is right works, what is wrong is refused
//! with what to do about it, and no log shows a secret. One test, since its servers take some time to
//! start.

#[path = "../../../tls/tests/certificates/mod.rs"]
mod certificates;
mod servers;

use serde_json::json;
use servers::{AMQP_PASSWORD, PG_PASSWORD, Servers, encoded, wait};
use std::collections::HashMap;
use std::net::TcpListener;

#[tokio::test(flavor = "multi_thread")]
async fn every_link_speaks_tls_what_is_wrong_is_refused_and_no_secret_is_shown() {
    let servers = Servers::start().await;
    a_task_runs_over_three_secured_links(&servers).await;
    a_wrong_database_is_refused(&servers);
    a_wrong_broker_is_refused(&servers);
    mistakes_are_told_at_the_start(&servers);
    whatever_is_wrong_with_an_address_its_password_is_not_repeated(&servers);
    let leaks = servers.leaks();
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}

async fn a_task_runs_over_three_secured_links(servers: &Servers) {
    let mut settings = servers.right_settings();
    let migrated = servers.run("trialmill", &["migrate"], &settings);
    assert!(migrated.status.success(), "{}", migrated.said);

    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut of_api = settings.clone();
    of_api.insert("TRIALMILL_LISTEN", format!("127.0.0.1:{port}"));
    let identity = &servers.identity;
    of_api.insert(
        "TRIALMILL_TLS_CERT_FILE",
        identity.cert.display().to_string(),
    );
    of_api.insert("TRIALMILL_TLS_KEY_FILE", identity.key.display().to_string());
    let api = servers.spawn("trialmill-api", &[], &of_api);
    let worker = servers.spawn("trialmill-worker", &[], &settings);
    wait("the health check passes", async || {
        let checked = servers.run("trialmill-api", &["healthcheck"], &of_api);
        checked.status.success()
    })
    .await;

    let task = servers.folder.join("task.json");
    std::fs::write(&task, sleeping().to_string()).unwrap();
    let task = task.to_str().expect("UTF-8");
    settings.insert("TRIALMILL_URL", format!("https://localhost:{port}"));
    settings.insert(
        "TRIALMILL_CA_FILE",
        servers.right.file.display().to_string(),
    );
    let watched = servers.run("trialmill", &["submit", task, "--watch"], &settings);
    assert!(watched.status.success(), "{}", watched.said);

    // PostgreSQL lets this user in with TLS only; RabbitMQ is asked.
    wait("RabbitMQ counts the connections", async || {
        // One of the API, two of the worker.
        servers.rabbitmq_connections().await.len() >= 3
    })
    .await;
    let connections = servers.rabbitmq_connections().await;
    assert!(
        connections.iter().all(|encrypted| *encrypted),
        "{connections:?}"
    );

    refused_client(
        servers,
        &settings,
        &servers.wrong.file.display().to_string(),
        port,
    );
    for program in [&api, &worker] {
        let said = program.said();
        let traced = said.contains("TRACE") && said.contains("lapin");
        assert!(traced, "the log is not at trace: {said}");
    }
}

/// The client against the running API: another authority, another name, no TLS.
fn refused_client(
    servers: &Servers,
    right: &HashMap<&'static str, String>,
    wrong_authority: &str,
    port: u16,
) {
    for (name, value, told) in [
        (
            "TRIALMILL_CA_FILE",
            wrong_authority.to_owned(),
            "TRIALMILL_CA_FILE",
        ),
        (
            "TRIALMILL_URL",
            format!("https://127.0.0.1:{port}"),
            "made out to localhost and not to 127.0.0.1",
        ),
        (
            "TRIALMILL_URL",
            format!("http://localhost:{port}"),
            "no answer",
        ),
    ] {
        let mut settings = right.clone();
        settings.insert(name, value);
        let ended = servers.run("trialmill", &["list"], &settings);
        assert!(!ended.status.success(), "{name}");
        assert!(ended.said.contains(told), "{name}: {}", ended.said);
    }
}

fn sleeping() -> serde_json::Value {
    json!({
        "task_name": "secured", "strategy_name": "sleep", "stock_codes": [],
        "start_date": "2023-01-01", "end_date": "2023-12-31",
        "param_space": {
            "x": {"type": "float", "low": -5.0, "high": 5.0},
            "seconds": {"type": "float", "low": 0.0, "high": 60.0, "default": 0.0, "enabled": false},
        },
        "objective_config": {"objective_metric": "value"}, "optimization_method": "random",
        "n_trials": 20, "seed": 1,
    })
}

fn a_wrong_database_is_refused(servers: &Servers) {
    let right = servers.right_settings();
    let wrong_authority = servers.wrong.file.display().to_string();
    let (password, port) = (encoded(PG_PASSWORD), servers.port("PG_PORT"));
    let by_address = format!("postgres://guarded:{password}@127.0.0.1:{port}/trialmill");
    let plain = servers.database("?sslmode=disable");
    let mut without_authority = right.clone();
    without_authority.remove("TRIALMILL_DATABASE_CA_FILE");
    for (base, name, value, told) in [
        // Named authorities are demanded even where the address does not speak of TLS.
        (
            &right,
            "TRIALMILL_DATABASE_CA_FILE",
            wrong_authority,
            "not from an authority",
        ),
        (
            &right,
            "DATABASE_URL",
            by_address,
            "made out to localhost and not to 127.0.0.1",
        ),
        (
            &right,
            "DATABASE_URL",
            plain.clone(),
            "sslmode=disable, which never uses it",
        ),
        (
            &without_authority,
            "DATABASE_URL",
            plain,
            "it wants TLS: write sslmode=require",
        ),
        (
            &without_authority,
            "DATABASE_URL",
            servers.database("?sslmode=require"),
            "set TRIALMILL_DATABASE_CA_FILE",
        ),
        // Preferred: tried, told of, and given up.
        (
            &without_authority,
            "DATABASE_URL",
            servers.database(""),
            "connecting to the database without TLS",
        ),
    ] {
        let mut settings = base.clone();
        settings.insert(name, value);
        let ended = servers.run("trialmill", &["migrate"], &settings);
        assert!(!ended.status.success(), "{name}: {}", ended.said);
        assert!(ended.said.contains(told), "{told}: {}", ended.said);
    }
    // A service does not wait for a certificate to become right.
    let mut settings = right;
    settings.insert("TRIALMILL_LISTEN", "127.0.0.1:0".to_owned());
    settings.insert(
        "TRIALMILL_DATABASE_CA_FILE",
        servers.wrong.file.display().to_string(),
    );
    for (program, words) in [
        ("trialmill-api", &[][..]),
        ("trialmill-worker", &["preflight"]),
    ] {
        let ended = servers.run(program, words, &settings);
        assert!(!ended.status.success(), "{program}");
        assert!(
            ended.said.contains("not from an authority"),
            "{}",
            ended.said
        );
    }
}

fn a_wrong_broker_is_refused(servers: &Servers) {
    let right = servers.right_settings();
    let password = encoded(AMQP_PASSWORD);
    let at = |host: &str, port: &str| format!("amqps://guarded:{password}@{host}:{port}/%2f");
    let (secured, plain) = (servers.port("AMQPS_PORT"), servers.port("AMQP_PORT"));
    for (name, value, told) in [
        (
            "TRIALMILL_AMQP_CA_FILE",
            servers.wrong.file.display().to_string(),
            "set TRIALMILL_AMQP_CA_FILE",
        ),
        (
            "AMQP_URL",
            at("127.0.0.1", secured),
            "made out to localhost and not to 127.0.0.1",
        ),
        (
            "AMQP_URL",
            at("localhost", plain),
            "does not speak TLS at this port",
        ),
        (
            "AMQP_URL",
            format!("amqp://guarded:{password}@localhost:{plain}/%2f"),
            "no address in AMQP_URL begins with amqps://",
        ),
        (
            "AMQP_URL",
            format!("{}?verify=verify_none", servers.amqps()),
            "the parameter verify is not read",
        ),
    ] {
        let mut settings = right.clone();
        settings.insert(name, value);
        let ended = servers.run("trialmill", &["doctor"], &settings);
        assert!(!ended.status.success(), "{told}");
        assert!(ended.said.contains(told), "{told}: {}", ended.said);
    }
    let healthy = servers.run("trialmill", &["doctor"], &right);
    assert!(healthy.status.success(), "{}", healthy.said);
}

fn mistakes_are_told_at_the_start(servers: &Servers) {
    let mut settings = servers.right_settings();
    settings.insert(
        "TRIALMILL_TLS_CERT_FILE",
        servers.identity.cert.display().to_string(),
    );
    settings.insert("TRIALMILL_DATABASE_CA_FILE", "/no/such/file".to_owned());
    settings.insert(
        "TRIALMILL_AMQP_CA_FILE",
        servers.identity.key.display().to_string(),
    );
    for (program, words) in [("trialmill-api", &[][..]), ("trialmill", &["up"])] {
        let ended = servers.run(program, words, &settings);
        assert!(!ended.status.success());
        for told in [
            "TRIALMILL_TLS_KEY_FILE is not",
            "TRIALMILL_DATABASE_CA_FILE is /no/such/file",
            "holds no certificate",
        ] {
            assert!(
                ended.said.contains(told),
                "{program}, {told}: {}",
                ended.said
            );
        }
    }
}

fn whatever_is_wrong_with_an_address_its_password_is_not_repeated(servers: &Servers) {
    let (pg, amqp) = (encoded(PG_PASSWORD), encoded(AMQP_PASSWORD));
    let (pg_port, amqps_port) = (servers.port("PG_PORT"), servers.port("AMQPS_PORT"));
    let right = servers.right_settings();
    let (right_database, right_broker) = (&right["DATABASE_URL"], &right["AMQP_URL"]);
    let database = |tail: &str| servers.database(tail);
    let cases = [
        // Not the password of that user.
        (
            format!("postgres://guarded:{pg}pgpw@localhost:{pg_port}/trialmill"),
            format!("amqps://guarded:{amqp}amqpw@localhost:{amqps_port}/%2f"),
        ),
        (
            right_database.clone(),
            format!("amqps://guarded:{amqp}amqpw@localhost:{amqps_port}"),
        ),
        // Nobody there.
        (
            format!("postgres://guarded:{pg}@localhost:1/trialmill"),
            format!("amqps://guarded:{amqp}@localhost:1/%2f"),
        ),
        (
            right_database.clone(),
            format!("amqps://guarded:{amqp}@localhost:1/%2f"),
        ),
        // Not encoded, and so cut in the wrong places.
        (
            format!("postgres://guarded:{PG_PASSWORD}@localhost:{pg_port}/trialmill"),
            format!("amqps://guarded:{AMQP_PASSWORD}@localhost:{amqps_port}/%2f"),
        ),
        (
            format!("postgres://{PG_PASSWORD}"),
            "amqps://guarded:k4nin,amqpw@localhost".to_owned(),
        ),
        (
            format!("postgres://guarded:gehe1m@pgpw/secr3t@localhost:{pg_port}/trialmill"),
            format!("amqps://guarded:1/amqpw@localhost:{amqps_port}/%2f"),
        ),
        // Elsewhere in the address.
        (
            format!(
                "postgres://localhost:{pg_port}/trialmill?user=guarded&password={pg}&sslmode=require"
            ),
            format!("amqps://localhost:{amqps_port}/%2f?password={amqp}"),
        ),
        (
            format!(
                "host=localhost port={pg_port} user=guarded password='{PG_PASSWORD}' dbname=trialmill"
            ),
            right_broker.clone(),
        ),
        (
            format!("host=localhost password=gehe1m pgpw=1 {PG_PASSWORD}"),
            AMQP_PASSWORD.to_owned(),
        ),
        (database("?pgpw=1"), format!("{right_broker}?amqpw=1")),
        (database("?sslmode=pgpw"), format!("amqp://{AMQP_PASSWORD}")),
        (
            PG_PASSWORD.to_owned(),
            format!("guarded:{AMQP_PASSWORD}@localhost"),
        ),
    ];
    for (database_url, amqp_url) in cases {
        let mut settings = right.clone();
        settings.insert("DATABASE_URL", database_url);
        settings.insert("AMQP_URL", amqp_url);
        settings.insert("TRIALMILL_LISTEN", "127.0.0.1:0".to_owned());
        servers.run("trialmill", &["doctor"], &settings);
        servers.run("trialmill", &["up"], &with_short_key(&settings));
        servers.run("trialmill-worker", &["preflight"], &settings);
        // It waits for a database or a broker that is away: it has said why by then.
        let words = ["waiting for the database", "no connection to the broker"];
        let api = servers.spawn("trialmill-api", &[], &settings);
        let said = api.end(&words).said;
        assert!(
            !said.is_empty(),
            "nothing was said, so nothing was looked at"
        );
    }
}

/// The settings with a key that is refused, so that a program ends that would serve.
fn with_short_key(settings: &HashMap<&'static str, String>) -> HashMap<&'static str, String> {
    let mut settings = settings.clone();
    settings.insert("TRIALMILL_API_KEY", "sch1uessel".to_owned());
    settings
}
