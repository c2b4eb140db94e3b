//! Input that means harm, or is broken in the ways that input is broken, against the real service on
//! PostgreSQL: each line of the table is refused with a problem document, or is accepted and given
//! back as it came, and nothing else is stored.
//!
//! What the tests of the API show over SQLite (64 MB bodies, slow bodies, large headers and keys)
//! is not repeated.

use serde_json::{Value, json};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use trialmill_chaos::cluster::{Cluster, PATIENCE};

const TASKS: &str = "/api/v1/optimization/tasks";

fn request() -> Value {
    json!({
        "task_name": "hostile", "strategy_name": "sphere", "stock_codes": [],
        "start_date": "2023-01-01", "end_date": "2023-12-31",
        "param_space": {"x": {"type": "float", "low": -5, "high": 5}},
        "objective_config": {"objective_metric": "value"},
        "optimization_method": "random", "n_trials": 3, "seed": 1,
    })
}

/// The request with another value at a pointer.
fn with(pointer: &str, value: Value) -> Value {
    let mut request = request();
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    request.pointer_mut(parent).expect("it is there")[name] = value;
    request
}

fn space(parameter: Value) -> Value {
    with("/param_space/x", parameter)
}

/// The request as text, with a piece that `json!` cannot write in the place of `"@"`.
fn raw(pointer: &str, piece: &str) -> Vec<u8> {
    let text = with(pointer, json!("@")).to_string();
    text.replace("\"@\"", piece).into_bytes()
}

/// What is to come of a body.
enum End {
    /// 422 with a fault of this code at this pointer.
    Fault(&'static str, &'static str),
    /// This status and class.
    Problem(u16, &'static str),
    /// 201; the task's request has the same value at this pointer.
    Kept(&'static str),
}

use End::{Fault, Kept, Problem};

fn bodies() -> Vec<(&'static str, Vec<u8>, End)> {
    let body = |value: Value| value.to_string().into_bytes();
    let not_json = || Fault("", "invalid_json");
    let float = |low: f64, high: f64| space(json!({"type": "float", "low": low, "high": high}));
    let int = |low: Value, high: Value| space(json!({"type": "int", "low": low, "high": high}));
    let mut grid = int(json!(0), json!(1_000_000_000_000_u64 - 1));
    grid["optimization_method"] = json!("grid");
    let many: serde_json::Map<String, Value> =
        (0..50_000).map(|n| (format!("p{n}"), json!(n))).collect();
    let injection = "'; DROP TABLE tasks; -- =cmd|' /C calc'!A0 ${jndi:ldap://x} <script>%s%n";
    vec![
        (
            "a grid of 1e12 points",
            body(grid),
            Fault("/param_space", "grid_too_large"),
        ),
        (
            "a step of zero",
            body(space(
                json!({"type": "float", "low": 0, "high": 1, "step": 0}),
            )),
            Fault("/param_space/x/step", "step_not_positive"),
        ),
        (
            "a step below zero",
            body(space(
                json!({"type": "int", "low": 0, "high": 9, "step": -1}),
            )),
            Fault("/param_space/x/step", "step_not_positive"),
        ),
        ("NaN", raw("/param_space/x/low", "NaN"), not_json()),
        (
            "infinity",
            raw("/param_space/x/high", "Infinity"),
            not_json(),
        ),
        (
            "beyond a double",
            raw("/param_space/x/high", "1e400"),
            not_json(),
        ),
        (
            "bounds in the wrong order",
            body(float(5.0, -5.0)),
            Fault("/param_space/x/low", "low_above_high"),
        ),
        (
            "a width beyond a double",
            body(float(-1e308, 1e308)),
            Fault("/param_space/x/high", "range_too_wide"),
        ),
        (
            "fifty thousand parameters",
            body(with("/param_space", Value::Object(many))),
            Fault("/param_space", "too_many_parameters"),
        ),
        (
            "a million parameters",
            raw(
                "/param_space",
                &format!("{{{}}}", "\"p\":1,".repeat(1_000_000)),
            ),
            Problem(413, "body_too_large"),
        ),
        (
            "a name given twice",
            raw(
                "/param_space",
                r#"{"x":{"type":"int","low":1,"high":2},"x":{}}"#,
            ),
            not_json(),
        ),
        (
            "128 levels",
            raw(
                "/labels",
                &format!("{}{}", "[".repeat(128), "]".repeat(128)),
            ),
            not_json(),
        ),
        (
            "bytes that are no UTF-8",
            raw("/task_name", "\"a\"")
                .iter()
                .map(|b| b | 0x80)
                .collect(),
            not_json(),
        ),
        (
            "half of a surrogate pair",
            raw("/task_name", r#""\ud800""#),
            not_json(),
        ),
        (
            "UTF-16",
            body(request()).iter().flat_map(|b| [*b, 0]).collect(),
            not_json(),
        ),
        (
            "NUL in the name",
            body(with("/task_name", json!("a\0b"))),
            Fault("/task_name", "control_character"),
        ),
        (
            "NUL in a label",
            body(with("/labels", json!({"a\0": "b\0"}))),
            Fault("/labels/a\0", "control_character"),
        ),
        (
            "NUL in the name of a parameter",
            body(with(
                "/param_space",
                json!({"a\0b": {"type": "float", "low": 0, "high": 1}}),
            )),
            Fault("/param_space/a\0b", "bad_name"),
        ),
        (
            "NUL in a choice",
            body(space(
                json!({"type": "categorical", "choices": ["a\0b", "c"]}),
            )),
            Fault("/param_space/x/choices/0", "nul_character"),
        ),
        (
            "NUL in the strategy",
            body(with("/strategy_name", json!("sphere\0"))),
            Fault("/strategy_name", "unknown_strategy"),
        ),
        (
            "NUL in a stock code",
            body(with("/stock_codes", json!(["600000.SH\0"]))),
            Fault("/stock_codes/0", "malformed_symbol"),
        ),
        (
            "NUL in a condition",
            body(with("/result_constraints", json!(["value < '\0'"]))),
            Fault("/result_constraints/0", "control_character"),
        ),
        (
            "the largest u64 as a seed",
            body(with("/seed", json!(u64::MAX))),
            Fault("/seed", "out_of_range"),
        ),
        (
            "the least i64 as a seed",
            body(with("/seed", json!(i64::MIN))),
            Fault("/seed", "out_of_range"),
        ),
        (
            "2^53 - 1 as a seed",
            body(with("/seed", json!((1_u64 << 53) - 1))),
            Kept("/seed"),
        ),
        (
            "2^64 trials",
            raw("/n_trials", "18446744073709551616"),
            Fault("/n_trials", "out_of_range"),
        ),
        (
            "the edges of i64 as bounds",
            body(int(json!(i64::MIN), json!(i64::MAX))),
            Fault("/param_space/x/low", "out_of_range"),
        ),
        (
            "a zero below zero",
            body(float(-0.0, 1.0)),
            Kept("/param_space/x/low"),
        ),
        (
            "subnormal bounds",
            body(float(5e-324, 1e-310)),
            Kept("/param_space/x/low"),
        ),
        (
            "SQL, CSV and shell in the name",
            body(with("/task_name", json!(injection))),
            Kept("/task_name"),
        ),
        (
            "SQL, CSV and shell in a label",
            body(with("/labels", json!({"a'; --": injection}))),
            Kept("/labels/a'; --"),
        ),
        (
            "every sign that right-to-left text and emoji need",
            body(with("/task_name", json!("\u{202e}abc\u{200d}👩‍🚀\u{feff}"))),
            Kept("/task_name"),
        ),
    ]
}

/// Heads that no client library sends, and the status of their answer.
fn heads() -> Vec<(&'static str, Vec<u8>, u16)> {
    let flood: String = (0..2_000).map(|n| format!("x-{n}: y\r\n")).collect();
    let post =
        format!("POST {TASKS} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n");
    let get =
        |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    vec![
        (
            "no HTTP at all",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(),
            400,
        ),
        (
            "two thousand headers",
            format!("{post}{flood}\r\n").into_bytes(),
            431,
        ),
        (
            "two lengths",
            format!("{post}content-length: 1\r\ncontent-length: 2\r\n\r\n{{}}").into_bytes(),
            400,
        ),
        (
            "a length that is none",
            format!("{post}content-length: -1\r\n\r\n").into_bytes(),
            400,
        ),
        (
            "a chunk whose size is none",
            format!("{post}transfer-encoding: chunked\r\n\r\nzz\r\n").into_bytes(),
            422,
        ),
        (
            "a length that would be 16 exabytes",
            format!("{post}content-length: 18446744073709551615\r\n\r\n{{").into_bytes(),
            431,
        ),
        (
            "NUL in a path",
            get("/api/v1/market-data/%00").into_bytes(),
            404,
        ),
        (
            "no UTF-8 in a path",
            get("/api/v1/market-data/%ff").into_bytes(),
            404,
        ),
        (
            "a path that climbs",
            get("/api/v1/market-data/..%2f..%2fetc%2fpasswd").into_bytes(),
            404,
        ),
        (
            "NUL in a query",
            get("/api/v1/tasks?name=%00&strategy_name=%00").into_bytes(),
            200,
        ),
        (
            "a parameter given twice",
            get("/api/v1/tasks?limit=1&limit=2").into_bytes(),
            422,
        ),
        (
            "a path of 20 kB",
            get(&format!("/{}", "a".repeat(20_000))).into_bytes(),
            431,
        ),
    ]
}

/// Posts a body. A database that is slow to answer on a busy machine is no answer to it, and the same
/// key makes a repetition harmless.
async fn submit(
    http: &reqwest::Client,
    cluster: &Cluster,
    name: &str,
    body: Vec<u8>,
) -> (u16, Value) {
    let began = Instant::now();
    let key: String = name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    loop {
        let response = http
            .post(cluster.url(TASKS))
            .header("content-type", "application/json")
            .header("idempotency-key", &key)
            .body(body.clone())
            .send()
            .await
            .unwrap();
        let status = response.status().as_u16();
        let answer: Value = response.json().await.unwrap_or_default();
        if status != 503 {
            // A repetition of what was stored after all.
            let status = if status == 200 { 201 } else { status };
            return (status, answer);
        }
        assert!(began.elapsed() < PATIENCE, "{name}: {answer}");
    }
}

async fn exchange(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The service may have answered and closed before the last byte.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    // An answer to what cannot be read ends with its connection; others after their head.
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
        match timeout(PATIENCE, stream.read(&mut piece))
            .await
            .expect("it answers")
        {
            Ok(0) | Err(_) => break,
            Ok(read) => answer.extend_from_slice(&piece[..read]),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_input_is_refused_with_its_reason_or_kept_as_it_came() {
    let cluster = Cluster::start("hostile", 0).await;
    let http = reqwest::Client::new();
    let address = cluster.url("");
    let address = address
        .strip_prefix("http://")
        .expect("plain HTTP")
        .to_owned();
    // Connections that say nothing, or half a head, are there all the time.
    let mut halves = Vec::new();
    for n in 0..200 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        if n % 2 == 0 {
            stream
                .write_all(b"POST /api/v1/tasks HTTP/1.1\r\nhost: ")
                .await
                .unwrap();
        }
        halves.push(stream);
    }
    let mut wrong = Vec::new();
    let mut kept = 0;
    for (name, body, end) in bodies() {
        let sent: Value = serde_json::from_slice(&body).unwrap_or_default();
        let (status, answer) = submit(&http, &cluster, name, body).await;
        let class = answer["type"].as_str().unwrap_or_default();
        let class = class
            .strip_prefix("urn:trialmill:problem:")
            .unwrap_or_default();
        let as_wanted = match end {
            Problem(wanted, wanted_class) => status == wanted && class == wanted_class,
            Fault(pointer, code) => {
                let faults = answer["errors"].as_array();
                let is = |fault: &Value| fault["pointer"] == pointer && fault["code"] == code;
                status == 422 && faults.is_some_and(|faults| faults.iter().any(is))
            }
            Kept(pointer) => {
                kept += 1;
                let id = answer["task_id"].as_str().unwrap_or_default();
                let (_, task) = cluster.get(&format!("{TASKS}/{id}")).await;
                status == 201
                    && task["request"].pointer(pointer) == sent.pointer(pointer)
                    && sent.pointer(pointer).is_some()
            }
        };
        if !as_wanted {
            wrong.push(format!("{name}: {status} {answer}"));
        }
    }
    for (name, head, wanted) in heads() {
        let answer = exchange(&address, &head).await;
        if !answer.starts_with(&format!("HTTP/1.1 {wanted} ")) {
            wrong.push(format!("{name}: {answer}"));
        }
    }
    let bomb = http
        .post(cluster.url(TASKS))
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
        .body(request().to_string())
        .send()
        .await
        .unwrap();
    if bomb.status() != 415 {
        wrong.push(format!("a packed body: {}", bomb.text().await.unwrap()));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let (_, listed) = cluster.get(&format!("{TASKS}?limit=1")).await;
    assert_eq!(listed["total"], kept, "nothing else is stored");
    drop(halves);
    cluster.verify();
}
