//! A service over SQLite in memory and the in-process queue, behind a real listener, and the part of
//! a worker that its answers are about.

use crate::faulty_store::{FaultyStore, MoodSwitch};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use trialmill_api::{AccessSettings, ApiKey, AppState, router, serve};
use trialmill_broker::InProcessBroker;
use trialmill_common::protocol::board::UnitEnd;
use trialmill_common::spec::TaskSpec;
use trialmill_common::state::{TaskId, WorkerId};
use trialmill_common::trial::{EndedTrial, Evaluation, Failure, FailureKind, Outcome};
use trialmill_common::worker::{DEFAULT_POOL, WorkerCard};
use trialmill_search::{Choice, History};
use trialmill_store::rows::{Claim, UnitRef};
use trialmill_store::sqlite::SqliteStore;
use trialmill_store::{Store, Timing, UnitFlush};
use uuid::Uuid;

pub const TASKS: &str = "/api/v1/optimization/tasks";

pub struct Service {
    pub base: String,
    pub http: reqwest::Client,
    pub store: SqliteStore,
    pub broker: Arc<InProcessBroker>,
    pub mood: MoodSwitch,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<std::io::Result<()>>,
}

impl Service {
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    pub async fn start_with(key: Option<ApiKey>) -> Self {
        Self::start_guarded(AccessSettings {
            environment: key,
            ..AccessSettings::default()
        })
        .await
    }

    pub async fn start_guarded(access: AccessSettings) -> Self {
        let store = SqliteStore::open_in_memory(Timing::default()).unwrap();
        Self::over(store, access).await
    }

    /// Another service over the same store.
    pub async fn beside(&self) -> Self {
        Self::over(self.store.clone(), AccessSettings::default()).await
    }

    async fn over(store: SqliteStore, access: AccessSettings) -> Self {
        let broker = Arc::new(InProcessBroker::new(1024));
        let (faulty, mood) = FaultyStore::new(store.clone());
        let state = AppState::new(Arc::new(faulty), broker.clone()).with_access(access);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(listener, router(state), async move {
            let _ = stopped.await;
        }));
        trialmill_tls::install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            base,
            http,
            store,
            broker,
            mood,
            stop: Some(stop),
            served,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(
            self.http
                .get(format!("{}{path}", self.base))
                .send()
                .await
                .unwrap(),
        )
        .await
    }

    pub async fn post(&self, path: &str) -> Answer {
        Answer::of(
            self.http
                .post(format!("{}{path}", self.base))
                .send()
                .await
                .unwrap(),
        )
        .await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        Answer::of(
            self.http
                .delete(format!("{}{path}", self.base))
                .send()
                .await
                .unwrap(),
        )
        .await
    }

    /// A request with a key ("": none) and a body (null: none).
    pub async fn ask(&self, key: &str, method: &str, path: &str, body: &Value) -> Answer {
        let url = format!("{}{path}", self.base);
        let mut request = self.http.request(method.parse().unwrap(), url);
        if !key.is_empty() {
            request = request.bearer_auth(key);
        }
        if !body.is_null() {
            request = request.json(body);
        }
        Answer::of(request.send().await.unwrap()).await
    }

    pub async fn submit(&self, body: &Value) -> Answer {
        self.submit_with(body, &[]).await
    }

    pub async fn submit_with(&self, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.http.post(format!("{}{TASKS}", self.base)).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.send().await.unwrap()).await
    }

    /// Submits and returns the path of the task.
    pub async fn accepted(&self, body: &Value) -> String {
        let answer = self.submit(body).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.header("location").unwrap().to_owned()
    }

    pub async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.served.await.unwrap().unwrap();
    }
}

/// An answer, read whole.
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
    pub body: Value,
}

impl Answer {
    pub async fn of(response: reqwest::Response) -> Self {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self {
            status,
            headers,
            text,
            body,
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Checks that it is a problem of this status and class, and returns its document.
    pub fn problem(&self, status: u16, class: &str) -> &Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(self.body["type"], format!("urn:trialmill:problem:{class}"));
        assert_eq!(self.body["status"], status);
        assert!(
            self.body["instance"].as_str().unwrap().starts_with('/'),
            "{}",
            self.body
        );
        &self.body
    }

    /// (pointer, code) of every fault.
    pub fn faults(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let faults = self.body["errors"].as_array().unwrap();
        faults
            .iter()
            .map(|fault| (text(&fault["pointer"]), text(&fault["code"])))
            .collect()
    }
}

pub fn sphere(n_trials: u32) -> Value {
    json!({
        "task_name": "测试 sphere",
        "strategy_name": "sphere",
        "stock_codes": [],
        "start_date": "2023-01-01",
        "end_date": "2023-12-31",
        "param_space": {
            "x": {"type": "float", "low": -5.0, "high": 5.0},
            "n": {"type": "int", "low": 1, "high": 9},
        },
        "objective_config": {"objective_metric": "value"},
        "optimization_method": "random",
        "parallelism": 1,
        "seed": 42,
        "n_trials": n_trials,
    })
}

/// A worker's hold on the only unit of a sequential task.
pub struct Holder {
    store: SqliteStore,
    claim: Claim,
    recorded: u32,
}

pub fn id_of(path: &str) -> TaskId {
    TaskId(path.rsplit('/').next().unwrap().parse::<Uuid>().unwrap())
}

pub async fn announce(store: &SqliteStore, strategies: &[&str]) -> WorkerId {
    let id = WorkerId(Uuid::now_v7());
    let card = WorkerCard {
        id,
        name: "host:1".to_owned(),
        slots: 2,
        pool: DEFAULT_POOL.to_owned(),
        strategies: strategies.iter().map(|name| (*name).to_owned()).collect(),
        version: "test".to_owned(),
        speaks: None,
    };
    store.announce(&card).await.unwrap();
    id
}

impl Holder {
    pub async fn claim(store: &SqliteStore, path: &str) -> Self {
        Self::claim_unit(store, path, 0).await
    }

    pub async fn claim_unit(store: &SqliteStore, path: &str, unit: u32) -> Self {
        let worker = announce(store, &["sphere"]).await;
        let unit = UnitRef {
            task: id_of(path),
            unit,
        };
        let claim = store
            .claim(unit, worker)
            .await
            .unwrap()
            .expect("the unit is free");
        Self {
            store: store.clone(),
            claim,
            recorded: 0,
        }
    }

    /// Records the next trials; with `close`, the unit ends after them. Trials whose number is in
    /// `failing` fail.
    pub async fn record(&mut self, count: u32, failing: &[u32], close: bool) {
        let outcome = |number: u32, parameters: BTreeMap<String, Choice>| {
            let square = |value: Choice| match value {
                Choice::Float(x) => x * x,
                #[expect(clippy::cast_precision_loss, reason = "small integers")]
                Choice::Int(n) => (n * n) as f64,
                _ => 0.0,
            };
            let value = parameters.into_values().map(square).sum();
            if failing.contains(&number) {
                Outcome::Failed(Failure {
                    kind: FailureKind::Panic,
                    message: "index out of bounds".to_owned(),
                    causes: vec!["the len is 3".to_owned()],
                    hint: "mend the objective".to_owned(),
                    worker: "host:1/0".to_owned(),
                })
            } else {
                Outcome::Completed(Evaluation {
                    values: vec![value],
                    metrics: vec![("value".to_owned(), Ok(value))],
                    ..Evaluation::default()
                })
            }
        };
        self.hand_in(count, outcome, close).await;
    }

    /// Records what came of the next trials; with `close`, the unit ends after them.
    pub async fn hand_in(
        &mut self,
        count: u32,
        mut outcome: impl FnMut(u32, BTreeMap<String, Choice>) -> Outcome,
        close: bool,
    ) {
        let spec = TaskSpec::from_json(&self.claim.spec).unwrap();
        let first = self.claim.first + self.recorded;
        let study = spec.study(first).unwrap();
        let begin = spec.search_of(first).start;
        let trials = (first..first + count).map(|number| {
            let point = study.ask(&History::EMPTY, number - begin).unwrap();
            EndedTrial {
                number,
                outcome: outcome(number, spec.named(&point)),
                point,
                reports: None,
                duration_ms: 1.5,
                window: self.claim.window,
            }
        });
        let flush = UnitFlush {
            lease: self.claim.lease,
            recorded_before: self.recorded,
            trials: trials.collect(),
            steps: 0,
            end: if close { UnitEnd::Close } else { UnitEnd::Keep },
            result: None,
            why: None,
        };
        self.store
            .record(self.claim.lease.unit.task, &[flush])
            .await
            .unwrap();
        self.recorded += count;
    }
}
