//! One task as its client sees it, from the submission to the end: the outside history.
//!
//! Nothing of the product is asked for but what any client may ask. What was told once is held
//! against everything that is told later: a task that was accepted is there, a state that was
//! terminal stays, counters do not fall, events come once each and without a gap, a trial that was
//! listed keeps its bits, and in the end all trials are there, each once, and are those of an
//! undisturbed run.

use crate::chance::Chance;
use crate::client::{Client, TASKS};
use crate::events::Events;
use crate::findings::Findings;
use crate::work::Work;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a customer looks at its task.
const LOOK: Duration = Duration::from_millis(200);
/// One look of so many lists trials too.
const LISTS_EVERY: u64 = 5;
/// Wait before a broken stream of events is opened again.
const REOPEN: Duration = Duration::from_millis(100);

/// What a customer does beside watching.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Act {
    /// Nothing.
    Watch,
    /// Cancels once so many trials have ended.
    Cancel(u64),
    /// Pauses once so many trials have ended, and resumes after a time.
    Pause(u64, Duration),
}

/// The tasks that have not ended: their ids, and what they are.
#[derive(Debug, Clone, Default)]
pub struct OpenTasks(Arc<Mutex<BTreeMap<String, String>>>);

impl OpenTasks {
    fn with<T>(&self, change: impl FnOnce(&mut BTreeMap<String, String>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ids and descriptions.
    #[must_use]
    pub fn list(&self) -> Vec<(String, String)> {
        self.with(|open| open.clone().into_iter().collect())
    }
}

/// Serves one task after another, on behalf of many customers at a time.
#[derive(Clone)]
pub struct Customers {
    client: Client,
    findings: Findings,
    open: OpenTasks,
    /// Whether a trial may end as `worker_crashed`: with many kills, one trial may lose its worker
    /// three times.
    pub crash_limit_may_be_reached: bool,
}

/// What one customer knows of its task.
struct Watch<'a> {
    all: &'a Customers,
    id: &'a str,
    work: &'a Work,
    /// The last status, to hold the next one against.
    status: Value,
    /// Trials by number, as they were first listed.
    trials: BTreeMap<u64, Value>,
}

impl Customers {
    /// Customers of a client.
    #[must_use]
    pub fn new(client: Client, findings: Findings) -> Self {
        Self {
            client,
            findings,
            open: OpenTasks::default(),
            crash_limit_may_be_reached: false,
        }
    }

    /// The tasks that were accepted and have not ended.
    #[must_use]
    pub fn open(&self) -> &OpenTasks {
        &self.open
    }

    /// Submits a task, follows it to its end, and judges it. Lasts as long as the task does.
    pub async fn serve(&self, work: Work, act: Act, mut chance: Chance) {
        let key = format!("chaos-{:016x}{:016x}", chance.bits(), chance.bits());
        let request = work.request();
        let Some(id) = self.client.submit(&request, &key).await else {
            return;
        };
        self.findings.count("tasks accepted", 1);
        let what = format!("{} x {} ({act:?})", work.n_trials, work.name);
        self.open.with(|open| open.insert(id.clone(), what));
        // A client that lost the answer asks again, and so do we although we have it.
        if chance.percent(30) {
            match self.client.submit(&request, &key).await {
                Some(again) if again != id => {
                    let why = format!("key {key} made task {id} and then task {again}");
                    self.findings.violation(why);
                }
                _ => {}
            }
        }
        let watch = Watch {
            all: self,
            id: &id,
            work: &work,
            status: Value::Null,
            trials: BTreeMap::new(),
        };
        let (ended, told) = tokio::join!(watch.until_ended(act), self.follow(&id));
        self.judge(&work, act, &ended, &told).await;
        self.open.with(|open| open.remove(&id));
        self.findings.count("tasks ended", 1);
    }

    /// Reads the events of a task until it has ended; the trials that they named.
    async fn follow(&self, id: &str) -> BTreeSet<u64> {
        let mut seen = 0;
        let mut numbers = BTreeSet::new();
        loop {
            let Some(response) = self.client.events(id, seen).await else {
                tokio::time::sleep(REOPEN).await;
                continue;
            };
            match response.status().as_u16() {
                200 => {}
                204 => return numbers,
                status => {
                    if status == 404 || status == 500 {
                        let what = format!("the events of accepted task {id} answer {status}");
                        self.findings.violation(what);
                        return numbers;
                    }
                    tokio::time::sleep(REOPEN).await;
                    continue;
                }
            }
            let mut events = Events::new(response);
            // A stream that breaks is opened again; one that is garbled is too, and counted.
            while let Ok(Some((number, event))) = events.next().await {
                if number != seen + 1 {
                    let what = format!("task {id}: event {number} came after event {seen}");
                    self.findings.violation(what);
                }
                seen = number;
                self.findings.count("events seen", 1);
                for run in event["numbers"].as_array().into_iter().flatten() {
                    let (first, count) = (run[0].as_u64(), run[1].as_u64());
                    let (first, count) = (first.unwrap_or(0), count.unwrap_or(0));
                    for trial in first..first + count {
                        if !numbers.insert(trial) {
                            let what = format!("task {id}: two events tell of trial {trial}");
                            self.findings.violation(what);
                        }
                    }
                }
            }
            tokio::time::sleep(REOPEN).await;
        }
    }

    /// The verdict on an ended task.
    async fn judge(&self, work: &Work, act: Act, ended: &Ended, told: &BTreeSet<u64>) {
        let id = &ended.id;
        let wrong = |what: String| self.findings.violation(format!("task {id}: {what}"));
        let state = ended.status["status"].as_str().unwrap_or("");
        // A cancel that was acknowledged stands; one that was refused came too late, or its first
        // attempt took effect and the answer was lost.
        let may_be: &[&str] = match (act, ended.cancelled) {
            (_, true) => &["cancelled"],
            // Out of time before any trial ended.
            _ if work.timeout.is_some() => &["completed", "failed"],
            (Act::Cancel(_), false) => &["cancelled", "completed"],
            _ => &["completed"],
        };
        if !may_be.contains(&state) {
            wrong(format!(
                "it is {state} and should be {may_be:?} ({act:?}): {}",
                ended.status
            ));
        }
        let count = |field: &str| ended.status[field].as_u64().unwrap_or(0);
        let counted = count("completed_trials") + count("pruned_trials") + count("failed_trials");
        let listed = &ended.trials;
        if counted != listed.len() as u64 {
            wrong(format!(
                "{counted} trials are counted and {} listed",
                listed.len()
            ));
        }
        let numbers: BTreeSet<u64> = listed.iter().filter_map(|t| t["number"].as_u64()).collect();
        if numbers.len() != listed.len() {
            wrong("a number is listed twice".to_owned());
        }
        if numbers != *told {
            let quiet: Vec<_> = numbers.symmetric_difference(told).collect();
            wrong(format!("events and rows differ in trials {quiet:?}"));
        }
        for trial in listed.iter().filter(|trial| trial["state"] != "completed") {
            let crashed = trial["failure"]["kind"] == "worker_crashed";
            if crashed && self.crash_limit_may_be_reached {
                self.findings.count("trials ended by the crash limit", 1);
            } else {
                wrong(format!("a trial did not complete: {trial}"));
            }
        }
        let best = work.best(listed);
        if work.front {
            // Of several objectives no trial is the best: what leads has the best first value.
            let (metric, leads) = (
                work.metric(),
                best.and_then(|best| listed.iter().find(|trial| trial["number"] == best)),
            );
            let expected = leads.map(|trial| &trial["values"][metric]);
            let told = &ended.status["best_values"][metric];
            if told != expected.unwrap_or(&Value::Null) {
                wrong(format!(
                    "the trial that leads has {metric} {told}, by the rows {expected:?}"
                ));
            }
        }
        let best = best.filter(|_| !work.front);
        if ended.status["best_trial_number"].as_u64() != best {
            let told = &ended.status["best_trial_number"];
            wrong(format!(
                "the best trial is {told}, by the rows it is {best:?}"
            ));
        }
        if state == "completed" {
            for fault in work.faults(listed) {
                wrong(fault);
            }
            self.findings
                .count("trials of completed tasks", listed.len() as u64);
        }
    }
}

/// A task that has ended, as its client knows it.
struct Ended {
    id: String,
    status: Value,
    trials: Vec<Value>,
    /// A cancel was acknowledged before the end.
    cancelled: bool,
}

impl Watch<'_> {
    fn wrong(&self, what: &str) {
        let id = self.id;
        self.all.findings.violation(format!("task {id}: {what}"));
    }

    async fn until_ended(mut self, act: Act) -> Ended {
        let mut to_do = Some(act);
        let mut resume_at = None;
        let mut cancelled = None;
        let mut looks: u64 = 0;
        while !self.look().await {
            looks += 1;
            if looks.is_multiple_of(LISTS_EVERY) {
                self.list().await;
            }
            let trials = self.ended_trials();
            match to_do {
                Some(Act::Cancel(after)) if trials >= after => {
                    to_do = None;
                    if self.order("cancel").await {
                        cancelled = Some(Instant::now());
                    }
                }
                Some(Act::Pause(after, time)) if trials >= after => {
                    to_do = None;
                    self.order("pause").await;
                    resume_at = Some(Instant::now() + time);
                }
                _ => {}
            }
            // Also when a pause whose answer was lost takes effect late.
            let paused = self.status["status"] == "paused";
            if resume_at.map_or(paused, |at| Instant::now() >= at) {
                resume_at = None;
                self.order("resume").await;
            }
            tokio::time::sleep(LOOK).await;
        }
        if let Some(at) = cancelled {
            let seconds = at.elapsed().as_secs_f64();
            self.all.findings.took("cancelled task has ended", seconds);
        }
        // Terminal is terminal, whichever API is asked.
        self.look().await;
        self.list().await;
        Ended {
            id: self.id.to_owned(),
            status: self.status,
            trials: self.trials.into_values().collect(),
            cancelled: cancelled.is_some(),
        }
    }

    /// Gives an order; whether it was acknowledged. A task that has ended refuses it.
    async fn order(&self, order: &str) -> bool {
        let (code, answer) = self
            .all
            .client
            .post(&format!("{TASKS}/{}/{order}", self.id))
            .await;
        match code {
            200 => self
                .all
                .findings
                .count("tasks cancelled, paused or resumed", 1),
            409 => {}
            _ => self.wrong(&format!("{order} was answered {code}: {answer}")),
        }
        code == 200
    }

    fn ended_trials(&self) -> u64 {
        ended_trials(&self.status)
    }

    /// Reads the status and holds it against the last one; whether the task has ended.
    async fn look(&mut self) -> bool {
        let path = format!("{TASKS}/{}/status", self.id);
        let (code, now) = self.all.client.get(&path).await;
        if code != 200 {
            self.wrong(&format!("the status of an accepted task is {code}: {now}"));
            return false;
        }
        let before = std::mem::replace(&mut self.status, now);
        let now = &self.status;
        if !before.is_null() {
            if is_terminal(&before) {
                for field in [
                    "status",
                    "stop_reason",
                    "best_score",
                    "best_trial_number",
                    "completed_at",
                ] {
                    if before[field] != now[field] {
                        let (old, new) = (&before[field], &now[field]);
                        self.wrong(&format!("{field} was {old} after the end and is {new} now"));
                    }
                }
            }
            // That of the assessment begins again at 0.
            let progress = (before["phase"] == now["phase"]).then_some("progress");
            for field in
                progress
                    .into_iter()
                    .chain(["completed_trials", "pruned_trials", "failed_trials"])
            {
                if now[field].as_f64() < before[field].as_f64() {
                    let (old, new) = (&before[field], &now[field]);
                    self.wrong(&format!("{field} fell from {old} to {new}"));
                }
            }
            if let Some(old) = before["best_score"].as_f64()
                && now["best_score"]
                    .as_f64()
                    .is_none_or(|new| self.work.is_better(old, new))
            {
                let new = &now["best_score"];
                self.wrong(&format!("the best value was {old} and is {new} now"));
            }
        }
        if ended_trials(now) > u64::from(self.work.n_trials) {
            self.wrong(&format!("more trials than were asked for: {now}"));
        }
        is_terminal(now)
    }

    /// Lists all trials and holds them against those that were listed before.
    async fn list(&mut self) {
        let mut found: BTreeMap<u64, Value> = BTreeMap::new();
        let mut cursor = String::new();
        loop {
            let path = format!("{TASKS}/{}/trials?limit=500{cursor}", self.id);
            let (code, page) = self.all.client.get(&path).await;
            if code != 200 {
                self.wrong(&format!(
                    "the trials of an accepted task are {code}: {page}"
                ));
                return;
            }
            let listed = page["items"].as_array().into_iter().flatten();
            for trial in listed.filter(|trial| trial["state"] != "running") {
                let number = trial["number"].as_u64().unwrap_or(u64::MAX);
                if found.insert(number, trial.clone()).is_some() {
                    self.wrong(&format!("trial {number} is listed twice"));
                }
            }
            match &page["next_cursor"] {
                Value::Null => break,
                next => cursor = format!("&cursor={}", next.to_string().trim_matches('"')),
            }
        }
        for (number, before) in &self.trials {
            match found.get(number) {
                None => self.wrong(&format!("trial {number} was listed and is gone")),
                Some(now) if now != before => {
                    self.wrong(&format!("trial {number} was {before} and is {now} now"));
                }
                Some(_) => {}
            }
        }
        self.trials = found;
    }
}

fn is_terminal(status: &Value) -> bool {
    let state = status["status"].as_str().unwrap_or("");
    ["completed", "failed", "cancelled"].contains(&state)
}

fn ended_trials(status: &Value) -> u64 {
    ["completed_trials", "pruned_trials", "failed_trials"]
        .iter()
        .filter_map(|field| status[field].as_u64())
        .sum()
}
