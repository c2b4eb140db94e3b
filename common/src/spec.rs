//! A checked task: what a request means once every fault is excluded and every default filled in.
//!
//! The only way to one is [`crate::draft`] (a request) or [`TaskSpec::from_json`] (a row that was
//! written from one), so past these two nobody re-checks.

mod constraint;
mod run;
mod scope;
mod target;

pub use constraint::{Broken, MetricNames, ResultConstraint, canonical};
pub use run::{RecordedTrial, Replay, RunSpec};
pub use scope::{Aggregate, Scope};
pub use target::{CUSTOM, MAX_WEIGHT, Target, Weight, weighted_sum};

use crate::objective::{CLIENT, TestFunction};
use crate::protocol::StopRules;
use crate::state::TaskKind;
use crate::validation::{Plan, Validation, Window};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use trialmill_backtest::config::{BacktestConfig, Benchmark, Market, Position};
use trialmill_search::pruner::{Pruner, PrunerConfig};
use trialmill_search::{
    Choice, Domain, FinishedTrial, Method, Point, Space, SpaceBuilder, Stream, Study, TrialEnd,
};

/// Most trials of one task.
pub const MAX_TRIALS: u32 = 1_000_000;
/// Largest seed: every integer up to it is exact in JSON readers that know only doubles.
pub const MAX_SEED: u64 = (1 << 53) - 1;

/// An optimization as a worker runs it.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskSpec {
    /// The user's name for it.
    pub task_name: String,
    /// Key of the strategy or test function.
    pub strategy_name: String,
    /// Symbols, as given, each once; empty for a test function.
    pub stock_codes: Vec<String>,
    /// First day that is traded.
    pub start_date: NaiveDate,
    /// Last day that is traded.
    pub end_date: NaiveDate,
    /// The searched parameters.
    pub space: Space,
    /// Parameters that are not searched: disabled ones at their default.
    pub fixed: BTreeMap<String, Choice>,
    /// Points that the first trials take, in order, before the sampler is asked.
    pub first_points: Vec<Point>,
    /// The sampler.
    pub method: Method,
    /// Seed of every random stream of the task.
    pub seed: u64,
    /// Trials asked for.
    pub n_trials: u32,
    /// Most units open at a time.
    pub parallelism: Option<u32>,
    /// Seconds during which trials run (no pauses, no assessment), after which the task ends.
    pub timeout: Option<f64>,
    /// Seconds after which one trial fails.
    pub trial_timeout: f64,
    /// What is optimized: the best of one objective, the front of several. The first one decides the trial
    /// that leads.
    pub objectives: Vec<Target>,
    /// Bounds on metrics; a trial that breaks one is infeasible.
    pub result_constraints: Vec<ResultConstraint>,
    /// How a backtest is done.
    pub backtest: BacktestSettings,
    /// Symbol to partner, for strategies with two legs; the snapshot pins both series.
    pub pairs: BTreeMap<String, String>,
    /// When it ends before all of its trials have.
    pub stop: StopRules,
    /// Whether some of its trials were copied from another task.
    pub copies: bool,
    /// What judges it besides the days that its trials see, and the searches that it is made of.
    /// Nothing: one search over the whole period, or over none.
    pub validation: Option<Validated>,
    /// Whether its symbols share one book.
    pub scope: Scope,
    /// Which of its trials are stopped early, by what they report.
    pub pruner: PrunerConfig,
    /// Trials of earlier tasks that its sampler knows from the start, numbered from 0, with their ends as those
    /// tasks judged them.
    pub prior: Vec<FinishedTrial>,
}

/// Most trials of earlier tasks that a task may begin with: they are stored with it.
pub const MAX_PRIOR_TRIALS: usize = 1_000;

/// A validation held against the trading days of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Validated {
    /// As it was asked for.
    pub method: Validation,
    /// The searches, with the days and the trials of each.
    pub plan: Plan,
}

/// The part of `backtest_config` that this build knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BacktestSettings {
    /// Cash at the start, in currency.
    pub initial_cash: f64,
    /// Commission per side, as a fraction of the value traded.
    pub commission_rate: f64,
    /// Slippage per side, as a fraction of the price.
    pub slippage_rate: f64,
    /// When a signal is filled: `next_open`, `next_close` or `close`.
    pub fill: String,
    /// Yearly risk-free rate, as a fraction.
    pub risk_free_rate: f64,
    /// Rows per year, for annualization.
    pub periods_per_year: f64,
    /// How much an entry gets.
    #[serde(default)]
    pub position: Position,
    /// Whether a pair strategy sells the other leg short.
    #[serde(default)]
    pub allow_short: bool,
    /// What the result is compared with.
    #[serde(default)]
    pub benchmark: Benchmark,
    /// The rules of the exchange.
    #[serde(default, skip_serializing_if = "is_plain")]
    pub market: Market,
    /// Whether a pinned record has reports of fundamentals.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pins_reports: bool,
}

fn is_plain(market: &Market) -> bool {
    *market == Market::Plain
}

impl Default for BacktestSettings {
    fn default() -> Self {
        Self {
            initial_cash: 100_000.0,
            commission_rate: 0.0003,
            slippage_rate: 0.0001,
            fill: "next_open".to_owned(),
            risk_free_rate: 0.0,
            periods_per_year: 252.0,
            position: Position::default(),
            allow_short: false,
            benchmark: Benchmark::default(),
            market: Market::default(),
            pins_reports: false,
        }
    }
}

impl BacktestSettings {
    /// The assumptions of the engine. The partners of a pair are no part of them: they are decided
    /// when the task is accepted ([`TaskSpec::pairs`]).
    ///
    /// # Errors
    /// When `fill` is none that this build knows.
    pub fn config(&self) -> Result<BacktestConfig, UnreadableSpec> {
        let fill = serde_json::from_value(self.fill.clone().into()).map_err(|error| {
            UnreadableSpec(format!("backtest_config.fill is {:?}: {error}", self.fill))
        })?;
        Ok(BacktestConfig {
            initial_cash: self.initial_cash,
            commission_rate: self.commission_rate,
            slippage_rate: self.slippage_rate,
            market: self.market,
            fill,
            position: self.position,
            allow_short: self.allow_short,
            benchmark: self.benchmark,
            risk_free_rate: self.risk_free_rate,
            periods_per_year: self.periods_per_year,
            ..BacktestConfig::default()
        })
    }
}

impl TaskSpec {
    /// Trials that will be handed out: fewer than asked for where the space has fewer points.
    #[must_use]
    pub fn planned(&self, size_limit: Option<u64>) -> u32 {
        match size_limit {
            Some(size) => u32::try_from(size).map_or(self.n_trials, |size| size.min(self.n_trials)),
            None => self.n_trials,
        }
    }

    /// Whether its sampler proposes from what has ended: then the order in which trials end
    /// matters, and not too many may be unseen.
    #[must_use]
    pub fn reads_history(&self) -> bool {
        self.method.reads_history()
    }

    /// Whether its trials depend on those that have ended: on where the sampler proposes, or on which are
    /// stopped early.
    #[must_use]
    pub fn looks_back(&self) -> bool {
        self.reads_history() || self.pruner != PrunerConfig::None
    }

    /// Whether the same request, snapshot and build give the same trials again.
    ///
    /// Where no history is read, the order in which trials end changes nothing, unless it decides
    /// when the task ends; one trial after the other is always in the same order.
    #[must_use]
    pub fn is_reproducible(&self) -> bool {
        self.parallelism == Some(1) || !self.looks_back() && self.stop.is_empty()
    }

    /// The points of the space, if its method can exhaust it: those that give no point twice. Points of earlier
    /// tasks, each of which it knows once, are none of them.
    #[must_use]
    pub fn size_limit(&self) -> Option<u64> {
        let exhausts = self.method.never_repeats();
        let size = exhausts.then(|| self.space.lattice_size()).flatten()?;
        Some(size.saturating_sub(self.prior.len() as u64))
    }

    /// The plan of its validation, if it has one.
    #[must_use]
    pub fn plan(&self) -> Option<&Plan> {
        self.validation.as_ref().map(|validated| &validated.plan)
    }

    /// The searches that it is made of, each with its own trials and history: the windows of a
    /// walk-forward. Empty for a task that is one search.
    #[must_use]
    pub fn windows(&self) -> &[Window] {
        match self.plan() {
            Some(plan) if plan.windows.len() > 1 => &plan.windows,
            _ => &[],
        }
    }

    /// The numbers of the trials of each of its windows; none for a task that is one search.
    #[must_use]
    pub fn window_trials(&self) -> Vec<Range<u32>> {
        self.windows()
            .iter()
            .map(|window| window.trials.clone())
            .collect()
    }

    /// The window of a trial, of a task that has several.
    #[must_use]
    pub fn window_of(&self, number: u32) -> Option<&Window> {
        let windows = self.windows();
        windows.get(windows.partition_point(|window| window.trials.end <= number))
    }

    /// The numbers of the search that a trial belongs to.
    #[must_use]
    pub fn search_of(&self, number: u32) -> Range<u32> {
        self.window_of(number)
            .map_or(0..MAX_TRIALS, |window| window.trials.clone())
    }

    /// The first and last day that a trial sees: those of its training window, or of the period.
    #[must_use]
    pub fn days_of(&self, number: u32) -> (NaiveDate, NaiveDate) {
        let window = self.plan().map(|plan| match plan.windows.as_slice() {
            [only] => only,
            _ => plan.window_of(number).unwrap_or_else(|| plan.deployed()),
        });
        window.map_or((self.start_date, self.end_date), |window| {
            (window.train.first, window.train.last)
        })
    }

    /// The first and last trading day of each segment that every trial is scored over, in order;
    /// empty where a trial is one stretch of days ([`Self::days_of`]).
    #[must_use]
    pub fn segments(&self) -> Vec<(NaiveDate, NaiveDate)> {
        let segments = self.plan().map_or(&[][..], |plan| &plan.segments);
        let days = segments.iter().map(|segment| &segment.test);
        days.map(|test| (test.first, test.last)).collect()
    }

    /// The search that a trial belongs to, ready to be asked: for each trial by how many there are
    /// before it in the search. Each window of a walk-forward has a seed of its own; the first has
    /// that of the task.
    ///
    /// # Errors
    /// When its method does not take its space, or a first point is none of it: the row was damaged
    /// or written by another build.
    pub fn study(&self, number: u32) -> Result<Study, UnreadableSpec> {
        let told = |faults: Vec<String>| UnreadableSpec(faults.join("; "));
        let text = |fault: &dyn ToString| fault.to_string();
        let window = self.window_of(number).map_or(0, |window| window.index);
        let seed = Stream::seed_of_part(self.seed, window.into());
        let study = Study::new(self.space.clone(), self.method, seed)
            .map_err(|faults| told(faults.iter().map(|f| text(f)).collect()))?;
        study
            .with_initial(self.first_points.clone())
            .map(|study| study.with_prior(self.prior_count()))
            .map_err(|faults| told(faults.iter().map(|f| text(f)).collect()))
    }

    /// The named parameters of a point, fixed ones included: what an objective and a user see.
    #[must_use]
    pub fn named(&self, point: &Point) -> BTreeMap<String, Choice> {
        let searched = self
            .space
            .named(point)
            .map(|(name, value)| (name.to_owned(), value));
        self.fixed.clone().into_iter().chain(searched).collect()
    }

    /// Whether its trials are run by clients, who ask for them.
    #[must_use]
    pub fn runs_at_client(&self) -> bool {
        self.strategy_name == CLIENT
    }

    /// How many trials of earlier tasks its sampler knows from the start: its own are counted after them by a
    /// [`Study`].
    #[must_use]
    pub fn prior_count(&self) -> u32 {
        u32::try_from(self.prior.len()).expect("they are at most MAX_PRIOR_TRIALS")
    }

    /// What decides which of its trials are stopped early; nothing where none is.
    ///
    /// # Errors
    /// When its options are out of their bounds: the row was damaged.
    pub fn pruner(&self) -> Result<Option<Pruner>, UnreadableSpec> {
        if self.pruner == PrunerConfig::None {
            return Ok(None);
        }
        let pruner = Pruner::new(self.pruner.clone());
        let unreadable = |faults: Vec<_>| UnreadableSpec(format!("its pruner: {}", faults[0]));
        pruner.map(Some).map_err(unreadable)
    }

    /// Whether it is said what its result is worth when its trials have ended: where there are returns.
    #[must_use]
    pub fn is_assessed(&self) -> bool {
        !self.stock_codes.is_empty()
    }

    /// The objectives' values as costs, of which less is better, in the order of the objectives: what a sampler
    /// and a front are told.
    #[must_use]
    pub fn costs(&self, values: &[f64]) -> Vec<f64> {
        let pairs = self.objectives.iter().zip(values);
        pairs
            .map(|(target, value)| target.direction.cost(*value))
            .collect()
    }

    /// Whether the trial to be used of its one search is picked by a selection of the request.
    fn picks_of_one_search(&self) -> bool {
        let method = self.validation.as_ref().map(|validated| &validated.method);
        method.is_some_and(|method| {
            method.selection().is_some() && !matches!(method, Validation::WalkForward(_))
        })
    }

    /// The oldest version of the form that means all of this task: the builds that read it run the
    /// task as it is meant, and older ones leave it alone.
    fn form_version(&self) -> u32 {
        let function = TestFunction::named(&self.strategy_name);
        let has_several = self.objectives.len() > 1
            || function.is_some_and(|function| function.metrics().len() > 1);
        let is_auto = self.method == Method::Auto;
        if !self.stop.aims.is_empty() {
            return AIMS_FORM_VERSION;
        }
        if self.objectives.iter().any(|one| !one.weights.is_empty()) {
            return WEIGHTED_FORM_VERSION;
        }
        if self.runs_at_client() || self.pruner != PrunerConfig::None || !self.prior.is_empty() {
            return CLIENTS_FORM_VERSION;
        }
        if has_several || self.picks_of_one_search() || is_auto || self.backtest.pins_reports {
            return SEVERAL_FORM_VERSION;
        }
        if matches!(self.method, Method::Gp | Method::CmaEs | Method::Nsga2) {
            return MODELS_FORM_VERSION;
        }
        let trusts = self.validation.is_some() || self.backtest.market.has_rules();
        if trusts || !self.scope.is_portfolio() || self.is_assessed() {
            TRUST_FORM_VERSION
        } else if !self.stop.is_empty() || self.copies {
            RULES_FORM_VERSION
        } else {
            PLAIN_FORM_VERSION
        }
    }

    /// The form stored with the task.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(SpecForm::from(self)).expect("every field has a JSON form")
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When the row was written by another version, or damaged: the message says what is wrong.
    pub fn from_json(value: &serde_json::Value) -> Result<Self, UnreadableSpec> {
        check_version(value, 1..=FORM_VERSION)?;
        let form = SpecForm::deserialize(value).map_err(|e| UnreadableSpec(e.to_string()))?;
        form.try_into()
    }
}

/// A checked task of any kind that is built.
#[derive(Debug, Clone, PartialEq)]
pub enum Spec {
    /// A search over a parameter space.
    Search(Box<TaskSpec>),
    /// One backtest.
    Run(Box<RunSpec>),
}

impl Spec {
    /// The kind of the task.
    #[must_use]
    pub fn kind(&self) -> TaskKind {
        match self {
            Self::Search(_) => TaskKind::HyperparameterOptimization,
            Self::Run(_) => TaskKind::Backtest,
        }
    }

    /// The search, if it is one.
    #[must_use]
    pub fn as_search(&self) -> Option<&TaskSpec> {
        match self {
            Self::Search(spec) => Some(spec),
            Self::Run(_) => None,
        }
    }

    /// The backtest, if it is one.
    #[must_use]
    pub fn as_run(&self) -> Option<&RunSpec> {
        match self {
            Self::Search(_) => None,
            Self::Run(spec) => Some(spec),
        }
    }

    /// The user's name for it.
    #[must_use]
    pub fn task_name(&self) -> &str {
        match self {
            Self::Search(spec) => &spec.task_name,
            Self::Run(spec) => &spec.task_name,
        }
    }

    /// Key of the strategy or test function.
    #[must_use]
    pub fn strategy_name(&self) -> &str {
        match self {
            Self::Search(spec) => &spec.strategy_name,
            Self::Run(spec) => &spec.strategy_name,
        }
    }

    /// Its symbols.
    #[must_use]
    pub fn stock_codes(&self) -> &[String] {
        match self {
            Self::Search(spec) => &spec.stock_codes,
            Self::Run(spec) => &spec.stock_codes,
        }
    }

    /// Symbol to partner, for strategies with two legs.
    pub fn pairs_mut(&mut self) -> &mut BTreeMap<String, String> {
        match self {
            Self::Search(spec) => &mut spec.pairs,
            Self::Run(spec) => &mut spec.pairs,
        }
    }

    /// How its backtests are done.
    #[must_use]
    pub fn backtest(&self) -> &BacktestSettings {
        match self {
            Self::Search(spec) => &spec.backtest,
            Self::Run(spec) => &spec.backtest,
        }
    }

    /// The same, to be changed.
    pub fn backtest_mut(&mut self) -> &mut BacktestSettings {
        match self {
            Self::Search(spec) => &mut spec.backtest,
            Self::Run(spec) => &mut spec.backtest,
        }
    }

    /// The form stored with the task.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Search(spec) => spec.to_json(),
            Self::Run(spec) => spec.to_json(),
        }
    }
}

/// A stored task that this build cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored task cannot be read by this build: {0}")]
pub struct UnreadableSpec(pub String);

/// Newest version of a search's stored form that this build reads and writes. Version 1 had no
/// conditions, constraints and pairs, and wrote a result constraint in three parts; it is read as
/// well.
pub const FORM_VERSION: u32 = AIMS_FORM_VERSION;
/// The version of a task with several objectives and rules by which it ends itself. An older build would
/// record beyond them.
const AIMS_FORM_VERSION: u32 = 9;
/// The version of a task with a weighted sum of metrics, of which an older build has no value.
const WEIGHTED_FORM_VERSION: u32 = 8;
/// The version of a task whose trials are run by clients, that prunes, or that begins with trials of earlier
/// tasks. An older build would look for the objective, run every trial to its end, or search from nothing.
const CLIENTS_FORM_VERSION: u32 = 7;
/// The version of a task with several objectives, of a function with several values, with a selection
/// for its one search, with the sampler `auto`, or that pins reports of fundamentals. An older build would
/// use another trial than the picked one, and knows neither the function nor the sampler nor reports.
const SEVERAL_FORM_VERSION: u32 = 6;
/// The version of a task whose sampler is a Gaussian process, CMA-ES or NSGA-II, which an older build does not
/// know.
const MODELS_FORM_VERSION: u32 = 5;
/// The version of a task that is assessed, validated, trades under the rules of a market, or has a book
/// for each symbol. An older build would take the assessment for trials, trade as if there were no
/// rules, let trials see the days that are to judge them, and put all symbols into one book.
const TRUST_FORM_VERSION: u32 = 4;
/// The version of a task with stop rules or copied trials. An older build would record beyond a rule,
/// and end a task whose gaps it does not know.
const RULES_FORM_VERSION: u32 = 3;
/// The version of a task that has nothing of all this.
const PLAIN_FORM_VERSION: u32 = 2;

/// Refuses a form that is not of the versions `read`, before anything else of it is looked at: one
/// of a newer version may have any shape.
fn check_version(
    form: &serde_json::Value,
    read: std::ops::RangeInclusive<u32>,
) -> Result<(), UnreadableSpec> {
    let version = form["version"].as_u64();
    if version.is_some_and(|v| u32::try_from(v).is_ok_and(|v| read.contains(&v))) {
        return Ok(());
    }
    let found = version.map_or_else(
        || "no form version".to_owned(),
        |v| format!("form version {v}"),
    );
    let reads = if read.start() == read.end() {
        read.end().to_string()
    } else {
        format!("{} to {}", read.start(), read.end())
    };
    Err(UnreadableSpec(format!(
        "it has {found}, this build reads {reads}"
    )))
}

#[derive(Serialize, Deserialize)]
struct SpecForm {
    version: u32,
    task_name: String,
    strategy_name: String,
    stock_codes: Vec<String>,
    start_date: NaiveDate,
    end_date: NaiveDate,
    space: Vec<(String, DomainForm)>,
    /// The conditions of parameters, by parameter.
    #[serde(default)]
    when: BTreeMap<String, String>,
    /// The constraints between parameters.
    #[serde(default)]
    constraints: Vec<String>,
    fixed: BTreeMap<String, Choice>,
    first_points: Vec<BTreeMap<String, Choice>>,
    method: String,
    seed: u64,
    n_trials: u32,
    parallelism: Option<u32>,
    timeout: Option<f64>,
    trial_timeout: f64,
    objectives: Vec<Target>,
    result_constraints: Vec<ResultConstraint>,
    backtest: BacktestSettings,
    #[serde(default)]
    pairs: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "StopRules::is_empty")]
    stop: StopRules,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    copies: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    validation: Option<Validated>,
    #[serde(default, skip_serializing_if = "Scope::is_portfolio")]
    scope: Scope,
    #[serde(default, skip_serializing_if = "prunes_nothing")]
    pruner: PrunerConfig,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    prior: Vec<PriorForm>,
}

fn prunes_nothing(pruner: &PrunerConfig) -> bool {
    *pruner == PrunerConfig::None
}

/// A trial of an earlier task.
#[derive(Serialize, Deserialize)]
struct PriorForm {
    params: BTreeMap<String, Choice>,
    end: PriorEnd,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PriorEnd {
    Costs(Vec<f64>),
    /// Infeasible, by so much; null: infinitely.
    Violation(Option<f64>),
    Pruned,
    Failed,
}

impl From<&TrialEnd> for PriorEnd {
    fn from(end: &TrialEnd) -> Self {
        match end {
            TrialEnd::Completed(costs) => Self::Costs(costs.to_vec()),
            TrialEnd::Infeasible { violation } => {
                Self::Violation(Some(*violation).filter(|by| by.is_finite()))
            }
            TrialEnd::Pruned(_) => Self::Pruned,
            TrialEnd::Failed => Self::Failed,
        }
    }
}

impl From<PriorEnd> for TrialEnd {
    fn from(end: PriorEnd) -> Self {
        match end {
            PriorEnd::Costs(costs) => Self::completed(costs),
            PriorEnd::Violation(by) => Self::Infeasible {
                violation: by.unwrap_or(f64::INFINITY),
            },
            PriorEnd::Pruned => Self::Pruned(None),
            PriorEnd::Failed => Self::Failed,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum DomainForm {
    Float {
        low: f64,
        high: f64,
        step: Option<f64>,
        log: bool,
    },
    Int {
        low: i64,
        high: i64,
        step: i64,
        log: bool,
    },
    Categorical {
        choices: Vec<Choice>,
    },
}

impl From<&TaskSpec> for SpecForm {
    fn from(spec: &TaskSpec) -> Self {
        let domain = |domain: &Domain| match domain.clone() {
            Domain::Float {
                low,
                high,
                step,
                log,
            } => DomainForm::Float {
                low,
                high,
                step,
                log,
            },
            Domain::Int {
                low,
                high,
                step,
                log,
            } => DomainForm::Int {
                low,
                high,
                step,
                log,
            },
            Domain::Categorical { choices } => DomainForm::Categorical { choices },
        };
        let parameters = spec.space.parameters().iter();
        let named = |point: &Point| -> BTreeMap<String, Choice> {
            spec.space
                .named(point)
                .map(|(name, value)| (name.to_owned(), value))
                .collect()
        };
        Self {
            version: spec.form_version(),
            task_name: spec.task_name.clone(),
            strategy_name: spec.strategy_name.clone(),
            stock_codes: spec.stock_codes.clone(),
            start_date: spec.start_date,
            end_date: spec.end_date,
            space: parameters
                .clone()
                .map(|p| (p.name().to_owned(), domain(p.domain())))
                .collect(),
            when: parameters
                .filter_map(|p| Some((p.name().to_owned(), p.when()?.to_string())))
                .collect(),
            constraints: spec
                .space
                .constraints()
                .iter()
                .map(ToString::to_string)
                .collect(),
            fixed: spec.fixed.clone(),
            first_points: spec.first_points.iter().map(named).collect(),
            method: spec.method.name().to_owned(),
            seed: spec.seed,
            n_trials: spec.n_trials,
            parallelism: spec.parallelism,
            timeout: spec.timeout,
            trial_timeout: spec.trial_timeout,
            objectives: spec.objectives.clone(),
            result_constraints: spec.result_constraints.clone(),
            backtest: spec.backtest.clone(),
            pairs: spec.pairs.clone(),
            stop: spec.stop.clone(),
            copies: spec.copies,
            validation: spec.validation.clone(),
            scope: spec.scope,
            pruner: spec.pruner.clone(),
            prior: spec
                .prior
                .iter()
                .map(|trial| PriorForm {
                    params: named(&trial.point),
                    end: PriorEnd::from(&trial.end),
                })
                .collect(),
        }
    }
}

impl TryFrom<SpecForm> for TaskSpec {
    type Error = UnreadableSpec;

    fn try_from(form: SpecForm) -> Result<Self, UnreadableSpec> {
        let unreadable = |what: String| UnreadableSpec(what);
        let domain = |form| match form {
            DomainForm::Float {
                low,
                high,
                step,
                log,
            } => Domain::Float {
                low,
                high,
                step,
                log,
            },
            DomainForm::Int {
                low,
                high,
                step,
                log,
            } => Domain::Int {
                low,
                high,
                step,
                log,
            },
            DomainForm::Categorical { choices } => Domain::Categorical { choices },
        };
        // Version 1 kept disabled parameters under any name: those that no expression can name are
        // no constants.
        let mut space = SpaceBuilder::stored();
        for (name, of) in form.space {
            let domain = domain(of);
            space = match form.when.get(&name) {
                Some(when) => space.conditional(name, domain, when),
                None => space.parameter(name, domain),
            };
        }
        for (name, value) in &form.fixed {
            space = space.constant(name, value.clone());
        }
        for constraint in form.constraints {
            space = space.constraint(constraint);
        }
        let space = space
            .build()
            .map_err(|faults| unreadable(faults[0].to_string()))?;
        let method = form
            .method
            .parse::<Method>()
            .map_err(|e| unreadable(e.to_string()))?;
        let first_points = form
            .first_points
            .iter()
            .map(|named| space.point_from_named(named))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|faults| unreadable(faults[0].to_string()))?;
        let prior = (0..)
            .zip(form.prior)
            .map(|(number, trial)| {
                let point = space.point_from_named(&trial.params);
                let point = point.map_err(|faults| unreadable(faults[0].to_string()))?;
                let end = trial.end.into();
                Ok(FinishedTrial { number, point, end })
            })
            .collect::<Result<Vec<_>, UnreadableSpec>>()?;
        Ok(Self {
            task_name: form.task_name,
            strategy_name: form.strategy_name,
            stock_codes: form.stock_codes,
            start_date: form.start_date,
            end_date: form.end_date,
            space,
            fixed: form.fixed,
            first_points,
            method,
            seed: form.seed,
            n_trials: form.n_trials,
            parallelism: form.parallelism,
            timeout: form.timeout,
            trial_timeout: form.trial_timeout,
            objectives: form.objectives,
            result_constraints: form.result_constraints,
            backtest: form.backtest,
            pairs: form.pairs,
            stop: form.stop,
            copies: form.copies,
            validation: form.validation,
            scope: form.scope,
            pruner: form.pruner,
            prior,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Aim;
    use crate::state::Direction;
    use trialmill_search::pruner::{Asha, Patient};

    fn example() -> TaskSpec {
        let rate = Domain::Float {
            low: 1e-5,
            high: 0.1,
            step: None,
            log: true,
        };
        let kind = Domain::Categorical {
            choices: vec![Choice::Text("a".into()), Choice::Text("b".into())],
        };
        let depth = Domain::Int {
            low: 1,
            high: 9,
            step: 2,
            log: false,
        };
        let space = SpaceBuilder::default()
            .parameter("rate", rate)
            .parameter("kind", kind)
            .conditional("depth", depth, "kind == 'b'")
            .constant("period", Choice::Int(20))
            .constraint("rate * period < 1.5")
            .constraint("depth != 3")
            .build()
            .unwrap();
        let named = [
            ("rate".to_owned(), Choice::Float(0.1 + 0.2 - 0.299)),
            ("kind".to_owned(), Choice::Text("a".into())),
        ];
        let first = space
            .point_from_named(&named.into_iter().collect())
            .unwrap();
        TaskSpec {
            task_name: "测试超参优化".to_owned(),
            strategy_name: "sphere".to_owned(),
            stock_codes: vec![],
            start_date: NaiveDate::from_ymd_opt(2023, 1, 1).unwrap(),
            end_date: NaiveDate::from_ymd_opt(2023, 12, 31).unwrap(),
            space,
            fixed: BTreeMap::from([("period".to_owned(), Choice::Int(20))]),
            first_points: vec![first],
            method: Method::Random,
            seed: MAX_SEED,
            n_trials: 10,
            parallelism: Some(1),
            timeout: None,
            trial_timeout: 300.0,
            objectives: vec![Target::new("value", Direction::Minimize)],
            result_constraints: vec![
                ResultConstraint::parse(
                    "value <= 1e300",
                    MetricNames::Function(TestFunction::Sphere),
                )
                .unwrap(),
            ],
            backtest: BacktestSettings::default(),
            pairs: BTreeMap::new(),
            stop: StopRules::default(),
            copies: false,
            validation: None,
            scope: Scope::default(),
            pruner: PrunerConfig::None,
            prior: Vec::new(),
        }
    }

    fn held_out() -> Validated {
        let (start, end) = (example().start_date, example().end_date);
        let days: Vec<NaiveDate> = start.iter_days().take_while(|day| *day <= end).collect();
        let method = Validation::Holdout {
            length: "3mo".parse().unwrap(),
            embargo: "5d".parse().unwrap(),
            selection: None,
        };
        let period = crate::validation::Period::new(start, end, &days).unwrap();
        let plan = crate::validation::plan(&method, &period, 10, None).unwrap();
        Validated { method, plan }
    }

    #[test]
    fn only_a_task_that_the_build_before_would_spoil_is_kept_from_it() {
        let stops = TaskSpec {
            stop: StopRules {
                target: Some(0.1 + 0.2),
                patience: Some(7),
                aims: Vec::new(),
            },
            ..example()
        };
        let copies = TaskSpec {
            copies: true,
            ..example()
        };
        let ruled = TaskSpec {
            backtest: BacktestSettings {
                market: Market::CnA,
                ..BacktestSettings::default()
            },
            ..example()
        };
        let by_auto = TaskSpec {
            method: Method::Auto,
            ..example()
        };
        let mut reported = ruled.clone();
        reported.backtest.pins_reports = true;
        let validated = TaskSpec {
            validation: Some(held_out()),
            ..example()
        };
        let alone = TaskSpec {
            scope: Scope::PerSymbol(Aggregate::Worst),
            ..example()
        };
        let target = |metric: &str| Target::new(metric, Direction::Minimize);
        let of_two_values = TaskSpec {
            strategy_name: "schaffer".to_owned(),
            objectives: vec![target("f2")],
            ..example()
        };
        let several = TaskSpec {
            strategy_name: "moving_average".to_owned(),
            objectives: vec![target("max_drawdown"), target("volatility")],
            ..example()
        };
        let aim = |target| Aim {
            direction: Direction::Minimize,
            target,
        };
        let aimed = TaskSpec {
            stop: StopRules {
                aims: vec![aim(Some(0.1 + 0.2)), aim(None)],
                ..StopRules::default()
            },
            ..several.clone()
        };
        let mut picked = TaskSpec {
            validation: Some(held_out()),
            ..example()
        };
        if let Some(Validated {
            method: Validation::Holdout { selection, .. },
            ..
        }) = &mut picked.validation
        {
            *selection = Some("calmar".parse().unwrap());
        }
        let at_client = TaskSpec {
            strategy_name: CLIENT.to_owned(),
            ..example()
        };
        let wrapped = PrunerConfig::Asha(Asha {
            min_resource: Some(4),
            ..Asha::default()
        });
        let pruned = TaskSpec {
            pruner: PrunerConfig::Patient(Patient {
                wrapped: Some(Box::new(wrapped)),
                patience: 3,
                min_delta: 0.1 + 0.2,
            }),
            ..example()
        };
        let ends = [
            TrialEnd::completed(vec![0.1 + 0.2]),
            TrialEnd::Infeasible { violation: 0.5 },
            TrialEnd::Infeasible {
                violation: f64::INFINITY,
            },
            TrialEnd::Pruned(None),
            TrialEnd::Failed,
        ];
        let point = example().first_points[0].clone();
        let prior = (0..).zip(ends).map(|(number, end)| FinishedTrial {
            number,
            point: point.clone(),
            end,
        });
        let warm = TaskSpec {
            prior: prior.collect(),
            ..example()
        };
        for (spec, version) in [
            (example(), 2),
            (stops, 3),
            (copies, 3),
            (reported, 6),
            (by_auto, 6),
            (ruled, 4),
            (validated, 4),
            (alone, 4),
            (several, 6),
            (of_two_values, 6),
            (picked, 6),
            (at_client, 7),
            (pruned, 7),
            (warm, 7),
            (aimed, 9),
        ] {
            let form = spec.to_json();
            assert_eq!(form["version"], version);
            let text = form.to_string();
            let back = TaskSpec::from_json(&serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(back, spec);
        }
    }

    #[test]
    fn the_stored_form_gives_the_same_task_bit_for_bit() {
        let spec = example();
        let text = spec.to_json().to_string();
        let back = TaskSpec::from_json(&serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(back, spec);
    }

    #[test]
    fn a_form_of_another_version_is_refused_by_name() {
        let mut form = example().to_json();
        form["version"] = 10.into();
        let refused = TaskSpec::from_json(&form).unwrap_err().to_string();
        assert!(
            refused.contains("form version 10, this build reads 1 to 9"),
            "{refused}"
        );
    }

    #[test]
    fn a_sampler_that_an_older_build_does_not_know_is_of_a_newer_form() {
        for method in Method::ALL {
            let form = TaskSpec {
                method,
                ..example()
            }
            .to_json();
            let is_new = matches!(method, Method::Gp | Method::CmaEs | Method::Nsga2);
            assert_eq!(
                form["version"] == 5,
                is_new,
                "{method}: {}",
                form["version"]
            );
            assert_eq!(TaskSpec::from_json(&form).unwrap().method, method);
        }
    }

    #[test]
    fn a_task_that_version_1_stored_is_read_as_it_was_meant() {
        let stored = r#"{
            "version": 1, "task_name": "old", "strategy_name": "moving_average",
            "stock_codes": ["600000.SH"], "start_date": "2013-01-01", "end_date": "2022-12-31",
            "space": [
                ["long_window", {"type": "int", "low": 30, "high": 120, "step": 5, "log": false}],
                ["short_window", {"type": "float", "low": 5.0, "high": 20.0, "step": null,
                    "log": false}]
            ],
            "fixed": {"signal_threshold": 0.005, "2nd": 3, "": null, "fast window": "no"},
            "first_points": [{"long_window": 60, "short_window": 5.5}],
            "method": "random", "seed": 42, "n_trials": 50, "parallelism": null, "timeout": null,
            "trial_timeout": 300.0,
            "objectives": [{"metric": "sharpe_ratio", "direction": "maximize"}],
            "result_constraints": [
                {"metric": "n_trades", "op": ">=", "bound": 1.0},
                {"metric": "max_drawdown", "op": "<", "bound": 0.30000000000000004}
            ],
            "backtest": {"initial_cash": 100000.0, "commission_rate": 0.0003,
                "slippage_rate": 0.0001, "fill": "next_close", "risk_free_rate": 0.0,
                "periods_per_year": 252.0}
        }"#;
        let spec = TaskSpec::from_json(&serde_json::from_str(stored).unwrap()).unwrap();
        assert_eq!((spec.method, spec.n_trials), (Method::Random, 50));
        assert_eq!(spec.first_points.len(), 1);
        let named = spec.named(&spec.first_points[0]);
        assert_eq!((named.len(), &named["2nd"]), (6, &Choice::Int(3)));
        assert!(spec.pairs.is_empty() && spec.space.constraints().is_empty());
        let constraints: Vec<String> = spec
            .result_constraints
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            constraints,
            ["n_trades >= 1", "max_drawdown < 0.30000000000000004"]
        );
        assert_eq!(spec.backtest.fill, "next_close");
        // Written anew, it is assessed.
        let again = spec.to_json();
        assert_eq!(again["version"], 4);
        assert_eq!(TaskSpec::from_json(&again).unwrap(), spec);
    }
}
