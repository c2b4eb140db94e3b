//! The crash points: one process dies at one step, is started again as a supervisor would, and
//! afterwards nothing is lost, doubled or stuck.

use crate::assessed;
use crate::chance::Chance;
use crate::client::Client;
use crate::cluster::Cluster;
use crate::customer::{Act, Customers};
use crate::findings::{Findings, say};
use crate::observer::Observer;
use crate::points::{Arrange, Point, Who};
use crate::process::Process;
use crate::rest;
use crate::work::Work;
use anyhow::{Context, bail, ensure};
use futures::future::join_all;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Where the product reads its fail point.
const FAIL_POINT: &str = "TRIALMILL_FAILPOINT";
/// How the armed process must die.
const SIGABRT: i32 = 6;
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Trials of the fast task and of the one whose trials are announced.
const TRIALS: (u32, u32) = (40, 4);
/// So many pairs of tasks are tried until one reaches the point. The end of a task comes once, and to
/// any worker: of four, the armed one misses 40 of them in one of 100,000 cases. A timeout is found
/// by any process, so the API misses 20 of them, beside one worker, in one of a million.
/// Long leases are renewed seldom: the rounds go on for as long as any wait may take.
const LEAST_ROUNDS: u32 = 20;
/// An armed worker is asked to leave so often, until it leaves while it holds something.
const MOST_DRAINS: u32 = 10;

/// What is run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The points.
    pub points: Vec<Point>,
    /// Numbers of workers.
    pub workers: Vec<usize>,
    /// Seeds.
    pub seeds: std::ops::RangeInclusive<u64>,
    /// Seconds of a lease.
    pub lease_seconds: u32,
    /// Clusters that work on it at the same time.
    pub jobs: usize,
}

/// One run.
#[derive(Debug, Clone, Copy)]
struct Run {
    point: Point,
    workers: usize,
    seed: u64,
}

/// How a run came out.
struct Outcome {
    run: Run,
    seconds: f64,
    violations: Vec<String>,
}

/// Runs all of it, prints a table and totals; whether there was no violation.
///
/// # Errors
/// When a cluster cannot be started.
pub async fn run(plan: &Plan) -> anyhow::Result<bool> {
    let mut runs = Vec::new();
    for seed in plan.seeds.clone() {
        for workers in &plan.workers {
            let at = |point| Run {
                point,
                workers: *workers,
                seed,
            };
            runs.extend(plan.points.iter().copied().map(at));
        }
    }
    let total = runs.len();
    let (points, lease) = (plan.points.len(), plan.lease_seconds);
    say(&format!(
        "{total} runs: {points} points, workers {:?}, seeds {:?}, leases of {lease} s",
        plan.workers, plan.seeds
    ));
    let began = Instant::now();
    // The last ones first out of a stack would be an odd order to read.
    runs.reverse();
    let queue = Mutex::new(runs);
    let outcomes = Mutex::new(Vec::new());
    let jobs = (1..=plan.jobs.clamp(1, total.max(1))).map(|job| {
        let (queue, outcomes) = (&queue, &outcomes);
        async move {
            let mut stage = Stage::open(job, lease).await?;
            loop {
                let next = queue.lock().ok().and_then(|mut runs| runs.pop());
                let Some(run) = next else { break };
                let outcome = stage.play(run).await;
                tell(&outcome);
                if let Ok(mut outcomes) = outcomes.lock() {
                    outcomes.push(outcome);
                }
            }
            anyhow::Ok(())
        }
    });
    for ended in join_all(jobs).await {
        ended?;
    }
    let outcomes = outcomes.into_inner().unwrap_or_default();
    Ok(table(plan, &outcomes, began.elapsed()))
}

fn tell(outcome: &Outcome) {
    let Run {
        point,
        workers,
        seed,
    } = outcome.run;
    let verdict = if outcome.violations.is_empty() {
        "held"
    } else {
        "VIOLATED"
    };
    let (name, seconds) = (point.name, outcome.seconds);
    say(&format!(
        "  {name:<20} {workers} workers  seed {seed:<4} {seconds:5.1} s  {verdict}"
    ));
    for violation in &outcome.violations {
        say(&format!("    {violation}"));
    }
}

/// Prints the table; whether nothing was violated.
fn table(plan: &Plan, outcomes: &[Outcome], took: Duration) -> bool {
    say("");
    say("point                 process  runs  violated   seconds mean / max");
    for point in &plan.points {
        let here = || outcomes.iter().filter(|o| o.run.point.name == point.name);
        let runs = here().count();
        let violated = here().filter(|o| !o.violations.is_empty()).count();
        let most = here().map(|o| o.seconds).fold(0.0, f64::max);
        #[expect(clippy::cast_precision_loss, reason = "a number of runs")]
        let mean = here().map(|o| o.seconds).sum::<f64>() / runs.max(1) as f64;
        let who = format!("{:?}", point.who).to_lowercase();
        let name = point.name;
        say(&format!(
            "{name:<20}  {who:<7}  {runs:>4}  {violated:>8}   {mean:.1} / {most:.1}"
        ));
    }
    let violated: Vec<&Outcome> = outcomes
        .iter()
        .filter(|o| !o.violations.is_empty())
        .collect();
    for outcome in &violated {
        let Run {
            point,
            workers,
            seed,
        } = outcome.run;
        say(&format!(
            "\n{} with {workers} workers, seed {seed}:",
            point.name
        ));
        for violation in &outcome.violations {
            say(&format!("  {violation}"));
        }
    }
    let (runs, bad) = (outcomes.len(), violated.len());
    say(&format!(
        "\n{runs} runs in {:.0} s, {bad} violated",
        took.as_secs_f64()
    ));
    bad == 0
}

/// A cluster that plays runs, one after another.
struct Stage {
    cluster: Cluster,
    observer: Observer,
    lease: Duration,
    /// Tasks whose assessments were looked at.
    assessed: BTreeSet<String>,
}

impl Stage {
    async fn open(job: usize, lease_seconds: u32) -> anyhow::Result<Self> {
        let mut cluster = Cluster::with_servers(&format!("crash-{job}")).await?;
        cluster.set("TRIALMILL_LEASE_SECONDS", &lease_seconds.to_string());
        cluster.set("TRIALMILL_LUCK_SECONDS", assessed::LUCK_SECONDS);
        assessed::import(&cluster).await?;
        let database = cluster.env("DATABASE_URL").to_owned();
        let management = cluster.env("TRIALMILL_RABBITMQ_MANAGEMENT_URL").to_owned();
        Ok(Self {
            cluster,
            observer: Observer::new(&database, &management)?,
            lease: Duration::from_secs(lease_seconds.into()),
            assessed: BTreeSet::new(),
        })
    }

    async fn play(&mut self, run: Run) -> Outcome {
        let began = Instant::now();
        let findings = Findings::default();
        if let Err(error) = self.play_it(run, &findings).await {
            findings.violation(format!("{}: {error:#}", run.point.name));
            self.cluster.keep_logs();
        }
        // Whatever happened, the next run begins without processes.
        self.cluster.clear();
        let violations = findings.violations();
        if !violations.is_empty() {
            self.cluster.keep_logs();
        }
        Outcome {
            run,
            seconds: began.elapsed().as_secs_f64(),
            violations,
        }
    }

    /// Longest time of one wait: several leases, and a busy machine.
    fn patience(&self) -> Duration {
        self.lease * 4 + Duration::from_secs(60)
    }

    async fn play_it(&mut self, run: Run, findings: &Findings) -> anyhow::Result<()> {
        let Run { point, .. } = run;
        // Runs share databases: what two of them drew alike (an idempotency key) would be one task.
        let stream = format!("{} {}", point.name, run.workers);
        let mut chance = Chance::new(run.seed, &stream);
        let (least, most) = point.passes;
        let passed = least + chance.below(most - least + 1);
        let value = format!("{}@{passed}", point.name);
        let mut own = vec![];
        match point.arrange {
            Arrange::Drain => own.push(("TRIALMILL_DRAIN_SECONDS", "0")),
            Arrange::AckEarly => own.push(("TRIALMILL_ACK_EARLY_SECONDS", "1")),
            _ => {}
        }
        self.cluster.add_api(&[])?;
        if point.who == Who::Api {
            self.cluster.apis[0].process.set(FAIL_POINT, &value);
        }
        self.cluster.apis[0].process.start()?;
        self.cluster.api_answers(0).await?;
        // Alone it becomes the relay; so it is known who relays.
        self.until("the API relays", async |stage| {
            Ok(!stage.observer.relays().await?.is_empty())
        })
        .await?;
        for number in 0..run.workers {
            let worker = self.cluster.add_worker(&own)?;
            if point.who == Who::Worker && number == 0 {
                worker.set(FAIL_POINT, &value);
            }
        }
        let client = Client::new(vec![self.cluster.apis[0].url.clone()], findings.clone())?;
        let mut play = Play {
            customers: Customers::new(client, findings.clone()),
            serving: JoinSet::new(),
            chance,
            armed: Armed::Alive,
            point,
        };
        if point.arrange == Arrange::Unroutable {
            self.observer.delete_queue().await?;
        } else {
            self.start_workers()?;
        }
        self.reach(&mut play).await?;
        self.settle(&mut play).await?;
        let assessed = assessed::check(&self.observer, &mut self.assessed, false, findings).await?;
        ensure!(
            assessed >= 2 || point.arrange != Arrange::Assess,
            "{assessed} assessments were there to be looked at, of two in each round"
        );
        rest::check(&self.cluster, &self.observer, &BTreeSet::new(), findings).await
    }

    fn start_workers(&mut self) -> anyhow::Result<()> {
        self.cluster.workers.iter_mut().try_for_each(Process::start)
    }

    /// Tasks run until the armed process has died at its point.
    async fn reach(&mut self, play: &mut Play) -> anyhow::Result<()> {
        let first = Instant::now();
        for round in 1.. {
            if round > LEAST_ROUNDS && first.elapsed() > self.patience() {
                break;
            }
            play.submit();
            match play.point.arrange {
                Arrange::Drain => self.drain(play).await?,
                Arrange::Reap => self.lose_all_workers(play).await?,
                _ => {}
            }
            let began = Instant::now();
            while !play.served() && play.armed == Armed::Alive {
                self.supervise(play)?;
                ensure!(
                    began.elapsed() < self.patience(),
                    "round {round} does not end: {:?}",
                    play.customers.open().list()
                );
                tokio::time::sleep(LOOK).await;
            }
            if play.armed == Armed::Died {
                return Ok(());
            }
        }
        bail!(
            "the point was not reached in {LEAST_ROUNDS} rounds and more; the binaries need the feature \
             failpoints (cargo build --workspace --all-features)"
        )
    }

    /// All tasks end.
    async fn settle(&mut self, play: &mut Play) -> anyhow::Result<()> {
        if play.point.arrange == Arrange::Reap || play.point.arrange == Arrange::Unroutable {
            self.start_workers()?;
        }
        let began = Instant::now();
        while !play.served() {
            self.supervise(play)?;
            if began.elapsed() > self.patience() {
                let open = play.customers.open().list();
                let mut why = String::new();
                for (id, _) in &open {
                    let url = self.cluster.apis[0].url.clone();
                    let path = format!("{}/{id}/explain", crate::client::TASKS);
                    let answer = self.cluster.try_get(&url, &path).await;
                    why += &format!("\n  {answer:?}");
                }
                bail!("tasks do not end: {open:?}{why}");
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Starts again what has died, and looks whether it died as it should.
    fn supervise(&mut self, play: &mut Play) -> anyhow::Result<()> {
        let api = &mut self.cluster.apis[0].process;
        revive(api, play, play.point.who == Who::Api)?;
        let armed = play.point.who == Who::Worker;
        for (number, worker) in self.cluster.workers.iter_mut().enumerate() {
            revive(worker, play, armed && number == 0)?;
        }
        Ok(())
    }

    /// Asks the armed worker to leave while it holds units, until it dies of it.
    async fn drain(&mut self, play: &mut Play) -> anyhow::Result<()> {
        for _ in 0..MOST_DRAINS {
            self.until("the worker holds a unit", async |stage| {
                stage.supervise(play)?;
                let pid = stage.cluster.workers[0].id().unwrap_or(0);
                Ok(play.served() || !stage.observer.leases_of(pid).await?.is_empty())
            })
            .await?;
            if play.served() {
                return Ok(());
            }
            let worker = &mut self.cluster.workers[0];
            worker.signal(Signal::TERM);
            let status = worker.exit(Duration::from_secs(60)).await;
            let status = status.with_context(|| format!("{} does not leave", worker.name()))?;
            if play.buried(worker, status, true)? {
                worker.start()?;
                return Ok(());
            }
            worker.start()?;
        }
        Ok(())
    }

    /// Kills every worker while it holds units: only the API can reap.
    async fn lose_all_workers(&mut self, play: &mut Play) -> anyhow::Result<()> {
        self.until("a unit is leased", async |stage| {
            stage.supervise(play)?;
            let mut leases = 0;
            for worker in &stage.cluster.workers {
                let pid = worker.id().unwrap_or(0);
                leases += stage.observer.leases_of(pid).await?.len();
            }
            Ok(leases > 0)
        })
        .await?;
        for worker in &mut self.cluster.workers {
            worker.kill();
        }
        Ok(())
    }

    async fn until(
        &mut self,
        what: &str,
        mut condition: impl AsyncFnMut(&mut Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        while !condition(self).await? {
            ensure!(
                began.elapsed() < self.patience(),
                "waited too long until {what}"
            );
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

/// Whether the armed process has died yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Armed {
    Alive,
    Died,
}

/// The state of one run.
struct Play {
    customers: Customers,
    serving: JoinSet<()>,
    chance: Chance,
    armed: Armed,
    point: Point,
}

impl Play {
    /// A round: a task of fast trials and one of slow ones, or two that are assessed.
    fn submit(&mut self) {
        let (fast, slow) = TRIALS;
        let mut works = vec![
            Work::fast(fast, self.chance.below(1 << 32)),
            Work::slow(slow, self.chance.below(1 << 32)),
        ];
        let mut act = Act::Watch;
        match self.point.arrange {
            Arrange::Cancel => act = Act::Cancel(self.chance.below(3)),
            Arrange::Pause => {
                act = Act::Pause(self.chance.below(3), Duration::from_millis(300));
                works[0].seconds = 0.1;
            }
            Arrange::Timeout => {
                // More than all slots do until a reaper looks.
                works[0].n_trials = 2_000;
                works[0].seconds = 0.1;
                works[0].timeout = Some(1.0);
            }
            Arrange::Assess => {
                works = vec![
                    Work::assessed(&mut self.chance),
                    Work::walk_forward(&mut self.chance),
                ];
            }
            Arrange::AckEarly => {
                works = works.into_iter().map(Work::in_order).collect();
                works[0].seconds = 0.05;
            }
            _ => {}
        }
        for work in works {
            let customers = self.customers.clone();
            let chance = Chance::new(self.chance.bits(), "customer");
            self.serving
                .spawn(async move { customers.serve(work, act, chance).await });
        }
    }

    /// Whether all tasks of all rounds have ended.
    fn served(&mut self) -> bool {
        while self.serving.try_join_next().is_some() {}
        self.serving.is_empty()
    }

    /// Judges how a process ended; whether it died at its point.
    fn buried(
        &mut self,
        process: &mut Process,
        status: ExitStatus,
        armed: bool,
    ) -> anyhow::Result<bool> {
        if armed && self.armed == Armed::Alive && status.signal() == Some(SIGABRT) {
            self.armed = Armed::Died;
            process.unset(FAIL_POINT);
            return Ok(true);
        }
        let asked_to_leave = self.point.arrange == Arrange::Drain && armed;
        if asked_to_leave && status.success() {
            return Ok(false);
        }
        bail!(
            "{} ended by itself ({status}): {}",
            process.name(),
            process.last_words(10)
        )
    }
}

/// Starts a process again that has ended.
fn revive(process: &mut Process, play: &mut Play, armed: bool) -> anyhow::Result<()> {
    let Some(status) = process.ended() else {
        return Ok(());
    };
    play.buried(process, status, armed)?;
    process.start()
}
