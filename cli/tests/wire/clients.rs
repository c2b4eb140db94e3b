//! Trials that clients run, through two APIs that are killed over a PostgreSQL that is killed, by clients some of
//! which are never heard of again.
//!
//! The oracle is what the clients themselves know: an end that was acknowledged is recorded as it was told, and no
//! trial has two.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use trialmill_chaos::client::TASKS;
use trialmill_chaos::cluster::Cluster;

const TRIALS: u32 = 320;

/// What the clients know.
#[derive(Default)]
struct Known {
    /// The value of each acknowledged end, by trial.
    told: Mutex<BTreeMap<u64, f64>>,
    /// Every ask has a value of its own.
    asked: AtomicU64,
    abandoned: AtomicU64,
    refused: AtomicU64,
}

struct Client {
    http: reqwest::Client,
    apis: Vec<String>,
    task: String,
    known: Arc<Known>,
    /// Which API it speaks to.
    at: usize,
}

impl Client {
    /// An answer of any API, or none within the patience of a client.
    async fn post(&mut self, path: &str, body: &Value) -> Option<(u16, Value)> {
        let url = format!("{}{TASKS}/{}{path}", self.apis[self.at], self.task);
        let answer = self.http.post(url).json(body).send().await;
        match answer {
            Ok(answer) => {
                let status = answer.status().as_u16();
                Some((status, answer.json().await.ok()?))
            }
            Err(_) => {
                self.at = (self.at + 1) % self.apis.len();
                tokio::time::sleep(Duration::from_millis(50)).await;
                None
            }
        }
    }

    /// The same again until it is answered by something else than that the database is away.
    async fn surely(&mut self, path: &str, body: &Value) -> (u16, Value) {
        loop {
            match self.post(path, body).await {
                None | Some((500.., _)) => {}
                Some(answer) => return answer,
            }
        }
    }

    async fn work(mut self) {
        loop {
            let Some((status, answer)) = self.post("/ask", &json!({})).await else {
                continue;
            };
            if status == 409 {
                if answer["errors"][0]["code"] == "task_ended" {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            if status != 200 {
                assert!(status >= 500, "{answer:#}");
                continue;
            }
            let asked = self.known.asked.fetch_add(1, Ordering::Relaxed);
            if asked % 13 == 5 {
                self.known.abandoned.fetch_add(1, Ordering::Relaxed);
                if asked.is_multiple_of(2) {
                    // What it reported is not its successor's.
                    let number = &answer["trial_number"];
                    let report = json!({"lease": answer["lease"], "step": 7, "values": -1.0});
                    self.post(&format!("/trials/{number}/report"), &report)
                        .await;
                }
                continue;
            }
            self.run(&answer, asked as f64).await;
        }
    }

    /// Reports once and tells the end, as often as it takes to be answered.
    async fn run(&mut self, trial: &Value, value: f64) {
        let number = trial["trial_number"].as_u64().unwrap();
        let lease = &trial["lease"];
        let report = json!({"lease": lease, "step": 0, "values": value});
        let path = format!("/trials/{number}/report");
        let (status, answer) = self.surely(&path, &report).await;
        if status != 200 {
            assert_eq!(answer["errors"][0]["code"], "lease_lost", "{answer:#}");
            self.known.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let told = json!({"lease": lease, "values": value});
        let (status, answer) = self.surely(&format!("/trials/{number}/tell"), &told).await;
        if status == 200 {
            let before = self.known.told.lock().unwrap().insert(number, value);
            assert_eq!(before, None, "trial {number} was acknowledged twice");
        } else {
            let code = &answer["errors"][0]["code"];
            assert!(
                code == "lease_lost" || code == "already_ended",
                "{answer:#}"
            );
            self.known.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_were_acknowledged_is_recorded_once_whatever_is_killed() {
    let mut cluster = Cluster::start("clients", 0).await;
    cluster.add_api(&[]).unwrap().process.start().unwrap();
    cluster.api_answers(1).await.unwrap();
    let request = json!({
        "task_name": "wire", "strategy_name": "client",
        "param_space": {
            "x": {"type": "float", "low": -5.0, "high": 5.0},
            "n": {"type": "int", "low": 1, "high": 9},
        },
        "objective_config": {"objective_metric": "asked", "direction": "minimize"},
        "optimization_method": "tpe", "n_trials": TRIALS, "seed": 31, "trial_timeout": 1.5,
    });
    let id = cluster.submit(&request).await;
    let known = Arc::new(Known::default());
    let apis: Vec<String> = cluster.apis.iter().map(|api| api.url.clone()).collect();
    let clients: Vec<_> = (0..6)
        .map(|number| {
            let http = reqwest::Client::builder().timeout(Duration::from_secs(5));
            let client = Client {
                http: http.build().unwrap(),
                apis: apis.clone(),
                task: id.clone(),
                known: Arc::clone(&known),
                at: number % apis.len(),
            };
            tokio::spawn(client.work())
        })
        .collect();
    for round in 0..6 {
        let wanted = (round + 1) * 40;
        let progress = async |_: &Cluster| known.told.lock().unwrap().len() >= wanted;
        cluster.wait("the clients go on", progress).await;
        let killed = round % 2;
        cluster.apis[killed].process.kill();
        cluster.apis[killed].process.start().unwrap();
        cluster.api_answers(killed).await.unwrap();
        if round == 3 {
            cluster.services(&["kill", "pg"]);
            cluster.services(&["start", "pg"]);
        }
    }
    let status = cluster.ended(&id).await;
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(status["status"], "completed", "{status:#}");
    assert_eq!(status["stop_reason"], "n_trials");
    let recorded = cluster.trials(&id).await;
    assert_eq!(recorded.len(), TRIALS as usize);
    let told = known.told.lock().unwrap().clone();
    let mut reported = Vec::new();
    for (number, trial) in (0..).zip(&recorded) {
        assert_eq!(trial["number"], number, "dense and in order");
        let value = trial["values"]["asked"].as_f64();
        match told.get(&number) {
            Some(told) => {
                assert_eq!(value, Some(*told), "trial {number} was acknowledged so");
                reported.push((number, *told));
            }
            // Recorded without an answer that reached its client, or lost three times.
            None => assert!(value.is_some() || trial["state"] == "failed", "{trial:#}"),
        }
    }
    for (number, told) in reported.into_iter().step_by(9) {
        let trial = cluster
            .get(&format!("{TASKS}/{id}/trials/{number}"))
            .await
            .1;
        let own = json!([{"step": 0, "values": {"asked": told}}]);
        assert_eq!(trial["reports"], own, "{trial:#}");
    }
    let abandoned = known.abandoned.load(Ordering::Relaxed);
    assert!(abandoned >= 20, "{abandoned}");
    assert!(told.len() >= 240, "{}", told.len());
    cluster.verify();
}
