//! The cluster of mixed faults: two APIs and some workers, each behind links of its own, and a
//! supervisor that starts again what has ended.

use super::Plan;
use super::stream::Stream;
use crate::assessed;
use crate::chance::Chance;
use crate::client::{Client, TASKS};
use crate::cluster::Cluster;
use crate::findings::{Findings, say};
use crate::observer::Observer;
use crate::process::{FAKE_CLOCK, Process};
use crate::proxy::{Link, Weather, host_and_port};
use anyhow::{Context, ensure};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// APIs.
pub const APIS: usize = 2;
/// Slots of a worker.
pub const SLOTS: u64 = 2;
/// How often a condition is looked at.
pub const LOOK: Duration = Duration::from_millis(50);
/// A process that cannot start (the database may be away) is started again after this time.
const RESTART_AFTER: Duration = Duration::from_millis(500);
/// What a process says when it has started.
const STARTED: [&str; 2] = ["preflight passed", "listening; the documentation"];
/// Where Debian has the library that fakes clocks.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// The links of one process.
pub struct Links {
    /// To PostgreSQL.
    pub database: Link,
    /// To RabbitMQ.
    pub broker: Link,
}

impl Links {
    async fn open(cluster: &Cluster) -> anyhow::Result<Self> {
        let link = async |variable: &str| {
            let upstream = host_and_port(cluster.env(variable));
            Link::open(&upstream).await.context("a link")
        };
        Ok(Self {
            database: link("DATABASE_URL").await?,
            broker: link("AMQP_URL").await?,
        })
    }

    /// Both of them.
    pub fn both(&self) -> [&Link; 2] {
        [&self.database, &self.broker]
    }
}

/// Everything that faults are played on.
pub struct Scene {
    /// Servers and processes.
    pub cluster: Cluster,
    /// Links of the APIs and then of the workers.
    pub links: Vec<Links>,
    /// Who asks the servers directly.
    pub observer: Observer,
    /// What is found.
    pub findings: Findings,
    /// Chance of the details of faults.
    pub chance: Chance,
    /// Bodies of messages that may be found dead.
    pub planted: BTreeSet<String>,
    /// How long a lease lasts.
    pub lease: Duration,
    /// The file with the offset of the clock of the last API and the last worker.
    pub clock: Option<PathBuf>,
    /// When each process was started last, APIs and then workers.
    started: Vec<Instant>,
}

impl Scene {
    /// Starts everything.
    pub async fn open(plan: &Plan, findings: &Findings) -> anyhow::Result<Self> {
        let mut cluster = Cluster::with_servers("mixed").await?;
        cluster.set("TRIALMILL_LEASE_SECONDS", &plan.lease_seconds.to_string());
        cluster.set("TRIALMILL_LOG", &plan.log);
        cluster.set("TRIALMILL_LUCK_SECONDS", assessed::LUCK_SECONDS);
        assessed::import(&cluster).await?;
        // A drain is to be seen to end; what runs then is handed back.
        cluster.set("TRIALMILL_DRAIN_SECONDS", "2");
        let database = cluster.env("DATABASE_URL").to_owned();
        let management = cluster.env("TRIALMILL_RABBITMQ_MANAGEMENT_URL").to_owned();
        let observer = Observer::new(&database, &management)?;
        let clock = clock_file(cluster.servers().dir());
        if clock.is_none() {
            say(&format!(
                "  clock jumps are SKIPPED: {FAKETIME} is not there (apt-get install libfaketime)"
            ));
        }
        let mut links = Vec::new();
        let count = APIS + plan.workers;
        for number in 0..count {
            let own = Links::open(&cluster).await?;
            let database = own.database.through(&database);
            let broker = own.broker.through(cluster.env("AMQP_URL"));
            let process = if number < APIS {
                &mut cluster.add_api(&[])?.process
            } else {
                cluster.add_worker(&[])?
            };
            process.set("DATABASE_URL", &database);
            process.set("AMQP_URL", &broker);
            let last = number + 1 == APIS || number + 1 == count;
            if let (Some(file), true) = (&clock, last) {
                process.set("LD_PRELOAD", FAKETIME);
                process.set(FAKE_CLOCK, &file.to_string_lossy());
                process.set("FAKETIME_CACHE_DURATION", "1");
                // As a real clock that is set: time that is measured goes on evenly.
                process.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
            }
            links.push(own);
        }
        let mut scene = Self {
            cluster,
            links,
            observer,
            findings: findings.clone(),
            chance: Chance::new(plan.seed, "faults"),
            planted: BTreeSet::new(),
            lease: Duration::from_secs(plan.lease_seconds.into()),
            clock,
            started: vec![Instant::now(); count],
        };
        for number in 0..count {
            scene.start(number)?;
        }
        for api in 0..APIS {
            scene.cluster.api_answers(api).await?;
        }
        Ok(scene)
    }

    /// A client of both APIs.
    pub fn client(&self) -> anyhow::Result<Client> {
        let urls = self
            .cluster
            .apis
            .iter()
            .map(|api| api.url.clone())
            .collect();
        Client::new(urls, self.findings.clone())
    }

    /// How many processes there are.
    pub fn processes(&self) -> usize {
        APIS + self.cluster.workers.len()
    }

    /// The process at a place: APIs and then workers.
    pub fn process(&mut self, number: usize) -> &mut Process {
        if number < APIS {
            &mut self.cluster.apis[number].process
        } else {
            &mut self.cluster.workers[number - APIS]
        }
    }

    /// The place of some worker.
    pub fn some_worker(&mut self) -> usize {
        APIS + self.chance.index(self.cluster.workers.len())
    }

    /// Starts the process at a place (killing what is there).
    pub fn start(&mut self, number: usize) -> anyhow::Result<()> {
        self.started[number] = Instant::now();
        self.process(number).start()
    }

    /// Starts again what has ended. Who ends by itself after it had started is a violation: no
    /// fault here is a reason for a process to go. Who cannot start is tried again.
    pub fn supervise(&mut self) -> anyhow::Result<()> {
        for number in 0..self.processes() {
            let process = self.process(number);
            if let Some(status) = process.ended() {
                let said = process.said();
                let had_started = STARTED.iter().any(|words| said.contains(words));
                if had_started {
                    let (name, words) = (process.name().to_owned(), process.last_words(12));
                    let what = format!("{name} ended by itself ({status}):\n{words}");
                    self.findings.violation(what);
                } else {
                    self.findings
                        .count("starts that failed and were repeated", 1);
                }
            }
            let gone = self.process(number).id().is_none();
            if gone && self.started[number].elapsed() > RESTART_AFTER {
                self.start(number)?;
            }
        }
        Ok(())
    }

    /// Waits, supervising.
    pub async fn pause(&mut self, time: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        while began.elapsed() < time {
            self.supervise()?;
            tokio::time::sleep(LOOK.min(time)).await;
        }
        Ok(())
    }

    /// Longest time that a recovery may take: a lease, and what a busy machine adds.
    pub fn patience(&self) -> Duration {
        self.lease * 3 + Duration::from_secs(90)
    }

    /// Waits until trials are recorded.
    pub async fn until_work_flows(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        while self.observer.recorded().await.unwrap_or(0) == 0 {
            ensure!(
                began.elapsed() < self.patience(),
                "no trial is ever recorded"
            );
            self.pause(LOOK).await?;
        }
        Ok(())
    }

    /// Takes every fault back.
    pub async fn heal(&mut self) -> anyhow::Result<()> {
        for link in self.links.iter().flat_map(Links::both) {
            link.set(Weather::Fair);
        }
        for number in 0..self.processes() {
            self.process(number).signal(Signal::CONT);
        }
        self.cluster.servers().run(&["start"]).await?;
        self.supervise()
    }

    /// Waits until every task has ended; those that do not are violations, with the reason that
    /// the product itself gives.
    pub async fn until_ended(&mut self, stream: &mut Stream) -> anyhow::Result<()> {
        let began = Instant::now();
        let patience = self.patience() + Duration::from_secs(120);
        while !stream.has_ended() {
            if began.elapsed() > patience {
                for (id, what) in stream.open().list() {
                    let url = self.cluster.apis[0].url.clone();
                    let path = format!("{TASKS}/{id}/explain");
                    let why = self.cluster.try_get(&url, &path).await;
                    let stuck = format!("task {id}, {what}, does not end: {why:?}");
                    self.findings.violation(stuck);
                }
                break;
            }
            self.pause(LOOK).await?;
        }
        Ok(())
    }

    /// Asks everybody to leave; who does not is a violation.
    pub async fn leave_in_order(&mut self) {
        for number in 0..self.processes() {
            self.process(number).signal(Signal::TERM);
        }
        for number in 0..self.processes() {
            let process = self.process(number);
            let status = process.exit(Duration::from_secs(60)).await;
            if status.is_none_or(|status| !status.success()) {
                let (name, words) = (process.name().to_owned(), process.last_words(5));
                let what = format!("{name} was asked to leave ({status:?}): {words}");
                self.findings.violation(what);
            }
        }
    }
}

/// The file that the clocks follow, where the library is.
fn clock_file(dir: &Path) -> Option<PathBuf> {
    if !Path::new(FAKETIME).exists() {
        return None;
    }
    let file = dir.join("clock");
    std::fs::write(&file, "+0\n").ok()?;
    Some(file)
}
