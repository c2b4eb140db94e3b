//! How each fault is played, and what its end is.

use super::fault::Fault;
use super::scene::{APIS, Scene};
use crate::proxy::{Link, Weather};
use anyhow::Context;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A worker that is asked to leave has two seconds for its trials; the rest is a busy machine.
const LEAVES_WITHIN: Duration = Duration::from_secs(60);
/// Units of which a duplicate may come, and how often at most.
const DUPLICATED_UNITS: i64 = 40;
const MOST_COPIES: u64 = 5;
/// How often a malformed message is looked for among the dead letters.
const DEAD_LOOK: Duration = Duration::from_millis(100);
/// Seconds by which a clock jumps.
const JUMPS: [i64; 6] = [600, -600, -3600, 3600, 5, -5];
/// What is longer than any message of ours.
const OVERSIZE: usize = 6_000;

impl Scene {
    /// Plays a fault, a kill of some worker on top of it if it is `doubled`, and waits until both
    /// are recovered from; what happened, in words.
    ///
    /// # Errors
    /// When the tool itself cannot go on.
    pub async fn play(&mut self, fault: Fault, doubled: bool) -> anyhow::Result<String> {
        let name = fault.name();
        match fault {
            Fault::WorkerKill => self.kill_worker(name).await,
            Fault::ApiKill => {
                let api = self.chance.index(APIS);
                self.start(api)?;
                self.double(doubled).await?;
                let took = self.is_ready(name, api).await?;
                Ok(format!("api-{api} ready after {took:.1} s"))
            }
            Fault::DatabaseRestart => {
                self.servers(&["restart", "pg"], None).await?;
                self.database_is_back(name, doubled).await
            }
            Fault::DatabaseKill => {
                self.servers(&["kill", "pg"], Some(&["start", "pg"]))
                    .await?;
                self.database_is_back(name, doubled).await
            }
            Fault::BrokerRestart => {
                self.servers(&["restart", "rabbitmq"], None).await?;
                self.broker_is_back(name, doubled).await
            }
            Fault::BrokerKill => {
                self.servers(&["kill", "rabbitmq"], Some(&["start", "rabbitmq"]))
                    .await?;
                self.broker_is_back(name, doubled).await
            }
            Fault::BrokerWipe => {
                self.servers(&["wipe", "rabbitmq"], None).await?;
                self.broker_is_back(name, doubled).await
            }
            Fault::QueueDelete => {
                self.observer.delete_queue().await?;
                self.broker_is_back(name, doubled).await
            }
            Fault::QueueDead => {
                self.cluster.servers().deaden_queue().await?;
                self.broker_is_back(name, doubled).await
            }
            Fault::BrokerCut => {
                self.each_link(50, |links| links.broker.cut());
                self.broker_is_back(name, doubled).await
            }
            Fault::DatabaseCut => {
                self.each_link(50, |links| links.database.cut());
                self.database_is_back(name, doubled).await
            }
            Fault::Delay => {
                let delay = self.chance.seconds(0.05, 0.3);
                self.weather(doubled, 100, Weather::Delayed(delay)).await?;
                self.broker_is_back(name, false).await
            }
            Fault::Throttle => {
                self.weather(doubled, 34, Weather::Throttled(2_000)).await?;
                self.broker_is_back(name, false).await
            }
            Fault::BrokerStall => {
                let time = self.long_or_short();
                let number = self.chance.index(self.processes());
                self.links[number].broker.set(Weather::Stalled);
                self.double(doubled).await?;
                self.pause(time).await?;
                self.links[number].broker.set(Weather::Fair);
                self.broker_is_back(name, false).await
            }
            Fault::DatabaseStall => {
                let time = self.long_or_short();
                let number = self.chance.index(self.processes());
                self.links[number].database.set(Weather::Stalled);
                self.double(doubled).await?;
                self.pause(time).await?;
                self.links[number].database.set(Weather::Fair);
                self.database_is_back(name, false).await
            }
            Fault::Zombie => self.zombie(name, doubled).await,
            Fault::Duplicates => self.duplicates(name, doubled).await,
            Fault::Malformed => self.malformed(name, doubled).await,
            Fault::MemoryAlarm => {
                let (set, reset) = ("set_vm_memory_high_watermark", "1GB");
                self.alarm([set, "absolute", "1MB"], [set, "absolute", reset], doubled)
                    .await?;
                self.broker_is_back(name, false).await
            }
            Fault::DiskAlarm => {
                let set = "set_disk_free_limit";
                self.alarm([set, "9999GB", ""], [set, "200MB", ""], doubled)
                    .await?;
                self.broker_is_back(name, false).await
            }
            Fault::ClockJump => self.jump(name, doubled).await,
            Fault::Connections => self.exhaust(name, doubled).await,
            Fault::LockedTable => {
                let client = self.observer.connect().await?;
                client
                    .batch_execute("begin; lock table trials in access exclusive mode")
                    .await?;
                self.double(doubled).await?;
                let time = self.chance.seconds(1.0, 2.5 * self.lease.as_secs_f64());
                self.pause(time).await?;
                client.batch_execute("commit").await?;
                self.database_is_back(name, false).await
            }
            Fault::RollingRestart => self.roll(name).await,
        }
    }

    /// Another fault before the first one is over.
    async fn double(&mut self, doubled: bool) -> anyhow::Result<()> {
        if doubled {
            let number = self.some_worker();
            self.start(number)?;
            self.findings
                .count("workers killed on top of another fault", 1);
        }
        Ok(())
    }

    async fn servers(&mut self, verbs: &[&str], then: Option<&[&str]>) -> anyhow::Result<()> {
        self.cluster.servers().run(verbs).await?;
        if let Some(then) = then {
            let time = self.chance.seconds(0.0, 1.5 * self.lease.as_secs_f64());
            self.pause(time).await?;
            self.cluster.servers().run(then).await?;
        }
        Ok(())
    }

    async fn database_is_back(&mut self, name: &str, doubled: bool) -> anyhow::Result<String> {
        self.double(doubled).await?;
        let work = self.work_goes_on(name).await?;
        Ok(format!("trials are recorded after {work:.1} s"))
    }

    async fn broker_is_back(&mut self, name: &str, doubled: bool) -> anyhow::Result<String> {
        self.double(doubled).await?;
        let began = Instant::now();
        self.new_task_ends(name).await?;
        let task = began.elapsed().as_secs_f64();
        // Counted from the same moment as the other.
        let consumers = self.consumers_are_back(name, began).await?;
        Ok(format!(
            "a new task ends after {task:.1} s, every slot consumes after {consumers:.1} s"
        ))
    }

    async fn kill_worker(&mut self, name: &str) -> anyhow::Result<String> {
        let number = self.some_worker();
        let pid = self.process(number).id().unwrap_or(0);
        let leases = self.observer.leases_of(pid).await?;
        self.start(number)?;
        let took = self.run_elsewhere(name, &leases).await?;
        let (worker, units) = (number - APIS, leases.len());
        Ok(format!(
            "worker-{worker} with {units} units, elsewhere after {took:.1} s"
        ))
    }

    async fn zombie(&mut self, name: &str, doubled: bool) -> anyhow::Result<String> {
        let number = self.some_worker();
        let pid = self.process(number).id().unwrap_or(0);
        let leases = self.observer.leases_of(pid).await?;
        self.process(number).signal(Signal::STOP);
        self.double(doubled).await?;
        let asleep = self.lease.mul_f64(self.chance.between(1.2, 2.5));
        let began = Instant::now();
        let took = self.run_elsewhere(name, &leases).await?;
        self.pause(asleep.saturating_sub(began.elapsed())).await?;
        self.process(number).signal(Signal::CONT);
        let consumers = self.consumers_are_back(name, Instant::now()).await?;
        let (worker, units) = (number - APIS, leases.len());
        Ok(format!(
            "worker-{worker} with {units} units, elsewhere after {took:.1} s; awake, every slot \
             consumes after {consumers:.1} s"
        ))
    }

    /// Links of some processes, each with that probability, and at least one.
    fn each_link(&mut self, percent: u64, change: impl Fn(&super::scene::Links)) {
        let one = self.chance.index(self.links.len());
        for number in 0..self.links.len() {
            if number == one || self.chance.percent(percent) {
                change(&self.links[number]);
            }
        }
    }

    /// Bad weather on all links of some processes, for a time.
    async fn weather(&mut self, doubled: bool, percent: u64, bad: Weather) -> anyhow::Result<()> {
        let set = |weather: Weather| {
            move |links: &super::scene::Links| {
                links
                    .both()
                    .into_iter()
                    .for_each(|link: &Link| link.set(weather));
            }
        };
        self.each_link(percent, set(bad));
        self.double(doubled).await?;
        let time = self.chance.seconds(2.0, 6.0);
        self.pause(time).await?;
        self.links.iter().for_each(set(Weather::Fair));
        Ok(())
    }

    /// Mostly about a lease; sometimes longer than the heartbeats of a connection.
    fn long_or_short(&mut self) -> Duration {
        match self.chance.percent(20) {
            true => self.chance.seconds(35.0, 50.0),
            false => self.lease.mul_f64(self.chance.between(0.5, 3.0)),
        }
    }

    async fn duplicates(&mut self, name: &str, doubled: bool) -> anyhow::Result<String> {
        let units = self.observer.some_units(DUPLICATED_UNITS).await?;
        let mut copies = Vec::new();
        for unit in units {
            for _ in 0..=self.chance.below(MOST_COPIES) {
                copies.push(unit.clone());
            }
        }
        self.chance.shuffle(&mut copies);
        for (task, unit) in &copies {
            let body = json!({"task_id": task, "unit": unit}).to_string();
            self.observer.publish(&body, Some(json!(1))).await?;
        }
        let recovered = self.broker_is_back(name, doubled).await?;
        Ok(format!("{} messages; {recovered}", copies.len()))
    }

    async fn malformed(&mut self, name: &str, doubled: bool) -> anyhow::Result<String> {
        let mark = format!("planted {:016x}", self.chance.bits());
        let padding = "x".repeat(OVERSIZE);
        let sound = |extra: &str| format!("{{\"task_id\":\"{mark}\",\"unit\":1{extra}}}");
        let messages: [(String, Option<Value>); 7] = [
            (format!("{mark}, no JSON"), Some(json!(1))),
            (format!("[\"{mark}\"]"), Some(json!(1))),
            (sound(""), Some(json!(1))),
            (format!("{mark}, of a version to come"), Some(json!(99))),
            (format!("{mark}, without a version"), None),
            (
                format!("{mark}, with a version in words"),
                Some(json!("one")),
            ),
            (format!("{mark}, too long: {padding}"), Some(json!(1))),
        ];
        let count = messages.len();
        for (body, schema) in messages {
            self.observer.publish(&body, schema).await?;
            self.planted.insert(body);
        }
        self.findings
            .count("malformed messages planted", count as u64);
        self.double(doubled).await?;
        // Each is dead sooner or later, with its reason; those that were taken before count.
        let mut dead = 0;
        let began = Instant::now();
        while dead < count && began.elapsed() < self.patience() {
            for body in self.observer.take_dead().await? {
                if !self.planted.contains(&body) {
                    let what = format!("a message is dead that nobody planted: {body}");
                    self.findings.violation(what);
                } else if body.contains(&mark) {
                    dead += 1;
                }
            }
            self.pause(DEAD_LOOK).await?;
        }
        if dead < count {
            let what = format!("{name}: {dead} of {count} unreadable messages are dead letters");
            self.findings.violation(what);
        }
        let took = began.elapsed().as_secs_f64();
        self.findings
            .took(&format!("{name}: all of them are dead letters"), took);
        Ok(format!("{count} messages, dead letters after {took:.1} s"))
    }

    async fn alarm(
        &mut self,
        set: [&str; 3],
        reset: [&str; 3],
        doubled: bool,
    ) -> anyhow::Result<()> {
        self.control(set).await?;
        self.double(doubled).await?;
        let time = self.chance.seconds(3.0, 15.0);
        self.pause(time).await?;
        self.control(reset).await
    }

    async fn control(&mut self, arguments: [&str; 3]) -> anyhow::Result<()> {
        let arguments = arguments.into_iter().filter(|word| !word.is_empty());
        let all: Vec<&str> = std::iter::once("ctl").chain(arguments).collect();
        self.cluster.servers().run(&all).await.map(|_| ())
    }

    async fn jump(&mut self, name: &str, doubled: bool) -> anyhow::Result<String> {
        let Some(file) = self.clock.clone() else {
            return Ok("skipped: no libfaketime".to_owned());
        };
        let seconds = JUMPS[self.chance.index(JUMPS.len())];
        // Replaced whole, since it is read at any time.
        let fresh = file.with_extension("new");
        std::fs::write(&fresh, format!("{seconds:+}\n")).context("the clock's file")?;
        std::fs::rename(&fresh, &file).context("the clock's file")?;
        let recovered = self.broker_is_back(name, doubled).await?;
        Ok(format!("to {seconds:+} s; {recovered}"))
    }

    async fn exhaust(&mut self, name: &str, doubled: bool) -> anyhow::Result<String> {
        let mut idle = Vec::new();
        // The last one is refused.
        while let Ok(client) = self.observer.connect().await {
            idle.push(client);
        }
        let held = idle.len();
        // Whoever comes back now finds no place.
        self.each_link(50, |links| links.database.cut());
        self.double(doubled).await?;
        let time = self.chance.seconds(1.0, 2.0 * self.lease.as_secs_f64());
        self.pause(time).await?;
        drop(idle);
        let recovered = self.database_is_back(name, false).await?;
        Ok(format!("{held} connections; {recovered}"))
    }

    async fn roll(&mut self, name: &str) -> anyhow::Result<String> {
        let workers = self.cluster.workers.len();
        for number in APIS..APIS + workers {
            let process = self.process(number);
            process.signal(Signal::TERM);
            let began = Instant::now();
            let status = process.exit(LEAVES_WITHIN).await;
            let words = process.last_words(5);
            if status.is_none_or(|status| !status.success()) {
                let what = format!("{name}: worker-{}: {status:?}: {words}", number - APIS);
                self.findings.violation(what);
            }
            let took = began.elapsed().as_secs_f64();
            self.findings
                .took(&format!("{name}: a worker has left"), took);
            self.start(number)?;
        }
        let consumers = self.consumers_are_back(name, Instant::now()).await?;
        Ok(format!(
            "{workers} workers, every slot consumes after {consumers:.1} s"
        ))
    }
}
