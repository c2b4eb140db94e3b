//! No key and no password is in what the processes say, however much they are told to say.

use crate::sleeping;
use reqwest::Method;
use serde_json::{Value, json};
use trialmill_chaos::cluster::Cluster;

const OWN_KEY: &str = "environment-key-4b825dc642cb6eb9a060e54b";
const DATABASE_PASSWORD: &str = "database-word-1f0f6a1c2b3d";
const BROKER_PASSWORD: &str = "broker-word-8c2b7d519d55";

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_logged_at_debug_level_whatever_fails() {
    let mut cluster = Cluster::start("secrets", 0).await;
    cluster.kill_api();
    let user = json!({"password": BROKER_PASSWORD, "tags": ""});
    cluster
        .management(Method::PUT, "/api/users/mill", user)
        .await;
    let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
    cluster
        .management(Method::PUT, "/api/permissions/%2F/mill", all)
        .await;
    let with = |url: &str, user: &str| {
        let (_, host) = url.split_once('@').expect("a user");
        let (scheme, _) = url.split_once("://").expect("a URL");
        format!("{scheme}://{user}@{host}")
    };
    let database = format!("trialmill:{DATABASE_PASSWORD}");
    let database = with(cluster.env("DATABASE_URL"), &database);
    let broker = with(cluster.env("AMQP_URL"), &format!("mill:{BROKER_PASSWORD}"));
    for (name, value) in [
        ("DATABASE_URL", database.as_str()),
        ("AMQP_URL", broker.as_str()),
        ("TRIALMILL_API_KEY", OWN_KEY),
        ("TRIALMILL_LOG", "debug"),
    ] {
        cluster.set(name, value);
        cluster.apis[0].process.set(name, value);
    }
    cluster.start_api().await;
    cluster.start_worker();

    // A key made in the database, and one made by it through the API.
    let key = |output: std::process::Output| {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{error}");
        let key = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(key.starts_with("tm_"));
        key.trim().to_owned()
    };
    let boss = key(cluster.cli(&["keys", "create", "boss", "--scope", "admin"]));
    let url = cluster.url("");
    let through = ["--url", &url, "--key", &boss];
    let create = ["keys", "create", "ci", "--scope", "submit"];
    let ci = key(cluster.cli(&[&create[..], &through].concat()));

    let http = reqwest::Client::new();
    let ask = async |method: Method, path: &str, key: &str, body: Option<&Value>| {
        let mut request = http.request(method, cluster.url(path)).bearer_auth(key);
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.unwrap()
    };
    let tasks = "/api/v1/optimization/tasks";
    let accepted = ask(Method::POST, tasks, &ci, Some(&sleeping(20, 0.001, 3))).await;
    assert_eq!(accepted.status(), 201);
    let accepted: Value = accepted.json().await.unwrap();
    let id = accepted["task_id"].as_str().expect("an id");
    let status = format!("{tasks}/{id}/status");
    cluster
        .wait("the task ends", async |_| {
            let status = ask(Method::GET, &status, &ci, None).await;
            let status: Value = status.json().await.unwrap();
            status["status"] == "completed"
        })
        .await;
    let guess = format!("tm_{}", "5".repeat(64));
    for (secret, expected) in [(guess.as_str(), 401), (&ci, 403), (OWN_KEY, 200)] {
        let answer = ask(Method::GET, "/api/v1/keys", secret, None).await;
        assert_eq!(answer.status(), expected);
    }
    for server in ["pg", "rabbitmq"] {
        cluster.services(&["kill", server]);
    }
    let answer = ask(Method::GET, tasks, OWN_KEY, None).await;
    assert_eq!(answer.status(), 503);
    let readable = answer.text().await.unwrap();
    let broken = cluster.cli(&["verify"]);
    assert!(!broken.status.success());
    let said = [broken.stdout, broken.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    for server in ["pg", "rabbitmq"] {
        cluster.services(&["start", server]);
    }
    cluster
        .wait("the API is well again", async |_| {
            ask(Method::GET, tasks, &boss, None).await.status() == 200
        })
        .await;
    cluster.kill_api();

    let logs = cluster.logs() + &readable + &said;
    assert!(
        logs.contains("DEBUG") && logs.contains("a task was accepted"),
        "the logs are those of the processes"
    );
    let secrets = [
        OWN_KEY,
        DATABASE_PASSWORD,
        BROKER_PASSWORD,
        &guess,
        &boss,
        &boss[3..],
        &ci,
        &ci[3..],
    ];
    for secret in secrets {
        let line = logs.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} is in: {line:?}");
    }
}
