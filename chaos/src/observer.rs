//! What an operator could see: questions to the database and to the broker's management, past every
//! process of the product and past every fault between them.

use crate::assessed::Stored;
use anyhow::{Context, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

/// The queue of the default pool, as the management API spells its path.
const QUEUE: &str = "/api/queues/%2F/trialmill.work.default.v1";
/// Its exchange.
const EXCHANGE: &str = "/api/exchanges/%2F/trialmill.work/publish";
/// The queue of what could not be read.
const DEAD: &str = "/api/queues/%2F/trialmill.dead.v1";
/// The class of the relay's advisory locks ("trim"), as PostgreSQL shows it.
const RELAY_LOCK: i64 = 0x7472_696d;
/// A question that is not answered within this time has failed.
const QUESTION: Duration = Duration::from_secs(10);
/// How long a queued unit of a live task may be due at rest: the relay looks twice a second.
const OVERDUE_SECONDS: f64 = 10.0;

/// A lease: task, unit, token.
pub type Lease = (uuid::Uuid, i32, i64);

/// Depth and readers of the work queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Messages that wait.
    pub ready: u64,
    /// Messages that are being worked on.
    pub unacknowledged: u64,
    /// Consumers: one per slot.
    pub consumers: u64,
}

/// Asks PostgreSQL and RabbitMQ.
pub struct Observer {
    database: String,
    management: String,
    http: reqwest::Client,
    client: tokio::sync::Mutex<Option<Client>>,
}

impl Observer {
    /// An observer of the servers at these addresses.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(database: &str, management: &str) -> anyhow::Result<Self> {
        Ok(Self {
            database: database.to_owned(),
            management: management.to_owned(),
            http: reqwest::Client::builder().timeout(QUESTION).build()?,
            client: tokio::sync::Mutex::new(None),
        })
    }

    /// A connection of its own.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn connect(&self) -> anyhow::Result<Client> {
        let (client, connection) = tokio_postgres::connect(&self.database, NoTls).await?;
        // It ends with the client, or with the server; the client says so.
        tokio::spawn(async move { connection.await.is_ok() });
        Ok(client)
    }

    async fn ask<T>(
        &self,
        question: impl AsyncFn(&Client) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let answer = async {
            let mut slot = self.client.lock().await;
            if slot.as_ref().is_none_or(Client::is_closed) {
                *slot = Some(self.connect().await?);
            }
            let client = slot.as_ref().context("it was opened")?;
            let answer = question(client).await;
            if answer.is_err() {
                *slot = None;
            }
            answer
        };
        tokio::time::timeout(QUESTION, answer)
            .await
            .context("the database did not answer in time")?
    }

    /// Trials recorded so far, of all tasks.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn recorded(&self) -> anyhow::Result<i64> {
        let sum = "select coalesce(sum(completed + pruned + failed), 0)::bigint from tasks";
        self.ask(async |client| Ok(client.query_one(sum, &[]).await?.get(0)))
            .await
    }

    /// The leases of the worker process with that id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn leases_of(&self, pid: u32) -> anyhow::Result<Vec<Lease>> {
        let ends = format!("%:{pid}");
        let query = "select u.task_id, u.number, u.lease_token
            from units u join workers w on w.id = u.owner
            where u.state = 'leased' and w.name like $1";
        self.ask(async |client| {
            let rows = client.query(query, &[&ends]).await?;
            Ok(rows
                .iter()
                .map(|row| (row.get(0), row.get(1), row.get(2)))
                .collect())
        })
        .await
    }

    /// How many of these leases are neither superseded by another holder nor over, although their
    /// task may run.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn still_lost(&self, leases: &[Lease]) -> anyhow::Result<i64> {
        let tasks: Vec<uuid::Uuid> = leases.iter().map(|lease| lease.0).collect();
        let units: Vec<i32> = leases.iter().map(|lease| lease.1).collect();
        let tokens: Vec<i64> = leases.iter().map(|lease| lease.2).collect();
        let query = "select count(*)
            from unnest($1::uuid[], $2::int4[], $3::int8[]) as lost (task, number, token)
            join units u on u.task_id = lost.task and u.number = lost.number
            join tasks t on t.id = u.task_id
            where u.state = 'leased' and u.lease_token = lost.token
                or u.state = 'queued' and t.state in ('queued', 'running')
                    and t.stop_requested is null";
        self.ask(async |client| {
            let row = client.query_one(query, &[&tasks, &units, &tokens]).await?;
            Ok(row.get(0))
        })
        .await
    }

    /// The names under which relaying processes are known to the database: at most one per pool.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn relays(&self) -> anyhow::Result<Vec<String>> {
        let query = "select coalesce(a.application_name, '') from pg_locks l
            join pg_stat_activity a on a.pid = l.pid
            where l.locktype = 'advisory' and l.granted and l.classid::bigint = $1";
        self.ask(async |client| {
            let rows = client.query(query, &[&RELAY_LOCK]).await?;
            Ok(rows.iter().map(|row| row.get(0)).collect())
        })
        .await
    }

    /// Some units, of tasks alive and ended: what a duplicate message may name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn some_units(&self, most: i64) -> anyhow::Result<Vec<(String, i32)>> {
        let query = "select u.task_id::text, u.number from units u join tasks t on t.id = u.task_id
            order by t.completed_at is not null, u.created_at desc limit $1";
        self.ask(async |client| {
            let rows = client.query(query, &[&most]).await?;
            Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
        })
        .await
    }

    /// The completed searches on bars, with their assessments.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn assessments(&self) -> anyhow::Result<Vec<Stored>> {
        let query = "select t.id::text, t.spec::text, coalesce(r.result::text, 'null')
            from tasks t left join runs r on r.task_id = t.id
            where t.state = 'completed' and t.kind = 'hyperparameter_optimization'
                and cardinality(t.stock_codes) > 0";
        self.ask(async |client| {
            let rows = client.query(query, &[]).await?;
            rows.iter()
                .map(|row| {
                    Ok(Stored {
                        id: row.get(0),
                        spec: serde_json::from_str(row.get(1))?,
                        document: serde_json::from_str(row.get(2))?,
                    })
                })
                .collect()
        })
        .await
    }

    /// What must not be while nobody works, a sentence each (I10): leased units without a live
    /// lease, queued units that are long due, tasks that are alive.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn unrest(&self) -> anyhow::Result<Vec<String>> {
        let query = "select 'unit ' || u.number || ' of task ' || u.task_id || ' is leased'
                || case when u.lease_until < now() then ' by a lease that has expired' else '' end
            from units u where u.state = 'leased'
            union all
            select 'unit ' || u.number || ' of task ' || u.task_id || ' has been due for '
                || extract(epoch from now() - u.publish_at)::int || ' s'
            from units u join tasks t on t.id = u.task_id
            where u.state = 'queued' and t.state in ('queued', 'running')
                and u.publish_at < now() - make_interval(secs => $1)
            union all
            select 'task ' || id || ' is ' || state from tasks
            where state in ('queued', 'running', 'paused')";
        self.ask(async |client| {
            let rows = client.query(query, &[&OVERDUE_SECONDS]).await?;
            Ok(rows.iter().map(|row| row.get(0)).collect())
        })
        .await
    }

    async fn manage(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.management);
        let response = self.http.request(method, url).json(body).send().await?;
        let status = response.status();
        ensure!(
            status.is_success(),
            "the management answers {status} at {path}"
        );
        Ok(response.json().await.unwrap_or(Value::Null))
    }

    /// The work queue, as the management shows it: up to five seconds late.
    ///
    /// # Errors
    /// When the broker does not answer, or has no such queue.
    pub async fn depth(&self) -> anyhow::Result<Depth> {
        let queue = self.manage(Method::GET, QUEUE, &Value::Null).await?;
        let figure = |name: &str| queue[name].as_u64().context("a figure is not there yet");
        Ok(Depth {
            ready: figure("messages_ready")?,
            unacknowledged: figure("messages_unacknowledged")?,
            consumers: figure("consumers")?,
        })
    }

    /// Publishes a body with a schema header (none: without) as if it named a unit.
    ///
    /// # Errors
    /// When the broker does not take it, or has no queue for it.
    pub async fn publish(&self, body: &str, schema: Option<Value>) -> anyhow::Result<()> {
        let headers = schema.map_or_else(|| json!({}), |v| json!({"x-trialmill-schema": v}));
        let message = json!({
            "routing_key": "default", "payload": body, "payload_encoding": "string",
            "properties": {"headers": headers, "delivery_mode": 2},
        });
        let answer = self.manage(Method::POST, EXCHANGE, &message).await?;
        if answer["routed"] != true {
            bail!("there is no queue for it");
        }
        Ok(())
    }

    /// Deletes the work queue with all its messages.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn delete_queue(&self) -> anyhow::Result<()> {
        self.manage(Method::DELETE, QUEUE, &Value::Null).await?;
        Ok(())
    }

    /// Takes the bodies of all dead letters; none where there is no such queue.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn take_dead(&self) -> anyhow::Result<Vec<String>> {
        let mut bodies = Vec::new();
        loop {
            let get = json!({"count": 100, "ackmode": "ack_requeue_false", "encoding": "auto"});
            let answer = match self
                .manage(Method::POST, &format!("{DEAD}/get"), &get)
                .await
            {
                Err(error) if error.to_string().contains("404") => return Ok(bodies),
                answer => answer?,
            };
            let page = answer.as_array().cloned().unwrap_or_default();
            if page.is_empty() {
                return Ok(bodies);
            }
            let body = |message: &Value| message["payload"].as_str().unwrap_or("").to_owned();
            bodies.extend(page.iter().map(body));
        }
    }
}
