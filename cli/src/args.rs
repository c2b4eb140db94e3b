//! The commands and their options.

use crate::config::{API_HELP, DATABASE_HELP, FULL_HELP, KEYS_HELP, PLAIN_HELP};
use crate::example;
use chrono::NaiveDate;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use trialmill_common::secret::Secret;
use uuid::Uuid;

/// Trialmill grinds trials: parameter searches over trading strategies, each trial recorded once.
#[derive(Debug, Parser)]
#[command(name = "trialmill", version, after_help = FULL_HELP, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a search on invented prices, all in this process: no service, no network
    #[command(after_help = PLAIN_HELP)]
    Demo(Demo),
    /// Run API, relay and worker in one process, embedded or on DATABASE_URL and AMQP_URL
    #[command(after_help = FULL_HELP)]
    Up(Up),
    /// Print an example request that is accepted as it is
    #[command(after_help = API_HELP)]
    Init(Api),
    /// Submit a task
    #[command(after_help = API_HELP)]
    Submit(Submit),
    /// Watch a task until it ends: exit code 0 completed, 1 failed, 2 cancelled
    #[command(after_help = API_HELP)]
    Watch(OfTask),
    /// List tasks, newest first
    #[command(after_help = API_HELP)]
    List(List),
    /// Show a task and its result (that of a backtest with --json)
    #[command(after_help = API_HELP)]
    Show(OfTask),
    /// Show the best trial of a task; with several objectives the selected one and the front
    #[command(after_help = API_HELP)]
    Best(OfTask),
    /// List the trials of a task by number
    #[command(after_help = API_HELP)]
    Trials(Trials),
    /// End a task; its running trials are abandoned
    #[command(after_help = API_HELP)]
    Cancel(OfTask),
    /// Start no new trial of a task until it is resumed
    #[command(after_help = API_HELP)]
    Pause(OfTask),
    /// Let trials of a paused task start again
    #[command(after_help = API_HELP)]
    Resume(OfTask),
    /// Make a new task of an ended one: trials that did not fail are copied, the others run again
    #[command(after_help = API_HELP)]
    Retry(Retry),
    /// Make a new task of the same request, with the same seed, bars and partners
    #[command(after_help = API_HELP)]
    Clone(CloneOf),
    /// Make a new task of an ended one: its trials are copied, and more run, up to TRIALS in all
    #[command(after_help = API_HELP)]
    Extend(Extend),
    /// Say why a task moves or does not
    #[command(after_help = API_HELP)]
    Explain(OfTask),
    /// Run an ended trial again and compare it with its record: exit code 1 if a bit differs
    #[command(after_help = API_HELP)]
    Replay(OfTrial),
    /// Check this build's figures against a file of expected ones: exit code 1 on a disagreement
    #[command(after_help = PLAIN_HELP)]
    Backtest(Backtest),
    /// List the workers seen within the last day
    #[command(after_help = API_HELP)]
    Workers(Api),
    /// Messages that nobody could use: list, replay, discard
    #[command(subcommand)]
    Dead(Dead),
    /// Bars: import, list, check and generate
    #[command(subcommand)]
    Data(Data),
    /// Keys of the API: create, list, revoke; and who did what
    #[command(subcommand)]
    Keys(Keys),
    /// Check the promises over the database: exit code 1 and a line for each violation
    #[command(after_help = DATABASE_HELP)]
    Verify(OfDatabase),
    /// Bring the schema of DATABASE_URL up to date
    #[command(after_help = DATABASE_HELP)]
    Migrate,
    /// Check configuration, database, broker, API, workers and data: exit code 1 on a FAIL
    #[command(after_help = FULL_HELP)]
    Doctor(Doctor),
}

/// How to reach the API, and how to answer.
#[derive(Debug, Clone, Args)]
pub struct Api {
    /// Address of the API
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Key of the API; safer in TRIALMILL_API_KEY, since other users see command lines
    #[arg(long, value_name = "KEY")]
    pub key: Option<Secret>,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

/// A command on one task.
#[derive(Debug, Args)]
pub struct OfTask {
    /// Id of the task
    pub id: Uuid,
    /// The API.
    #[command(flatten)]
    pub api: Api,
}

/// Options of `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// Keep the database in this folder [default: a temporary folder, removed at the end]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Seed of the invented prices and of the search [default: 7 for the prices, 42 for the search]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=example::MAX_SEED))]
    pub seed: Option<u64>,
    /// How many of the three acts are played
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3))]
    pub acts: u32,
    /// Trials of the first act
    #[arg(long, value_name = "N", default_value_t = example::DEMO_TRIALS,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub trials: u32,
}

/// Options of `up`.
#[derive(Debug, Args)]
pub struct Up {
    /// Run embedded on this folder, whatever the environment says
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Trials run at a time [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub slots: Option<u32>,
}

/// Options of `submit`.
#[derive(Debug, Args)]
pub struct Submit {
    /// File with the request; - reads standard input
    pub file: PathBuf,
    /// What is done with the task.
    #[command(flatten)]
    pub made: Made,
}

/// What is done with a task that was made.
#[derive(Debug, Args)]
pub struct Made {
    /// Watch it until it ends: exit code 0 completed, 1 failed, 2 cancelled
    #[arg(long)]
    pub watch: bool,
    /// The same key and command give the same task again
    #[arg(long, value_name = "K")]
    pub idempotency_key: Option<String>,
    /// The API.
    #[command(flatten)]
    pub api: Api,
}

/// Options of `retry`.
#[derive(Debug, Args)]
pub struct Retry {
    /// Id of the task that has ended
    pub id: Uuid,
    /// Another name for the new task
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// What is done with it.
    #[command(flatten)]
    pub made: Made,
}

/// Options of `clone`.
#[derive(Debug, Args)]
pub struct CloneOf {
    /// Id of the task, in any state
    pub id: Uuid,
    /// Another seed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=example::MAX_SEED))]
    pub seed: Option<u64>,
    /// Another name for the new task
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// What is done with it.
    #[command(flatten)]
    pub made: Made,
}

/// Options of `extend`.
#[derive(Debug, Args)]
pub struct Extend {
    /// Id of the task that has ended
    pub id: Uuid,
    /// Trials in all, the copied ones included: more than the task has
    #[arg(value_name = "TRIALS", value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub n_trials: u32,
    /// Another name for the new task
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// What is done with it.
    #[command(flatten)]
    pub made: Made,
}

/// Options of `list`.
#[derive(Debug, Args)]
pub struct List {
    /// Only tasks in this state: queued, running, paused, completed, failed, cancelled
    #[arg(long, value_name = "S")]
    pub state: Option<String>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// The API.
    #[command(flatten)]
    pub api: Api,
}

/// Options of `trials`.
#[derive(Debug, Args)]
pub struct Trials {
    /// Id of the task
    pub id: Uuid,
    /// Only trials in this state: completed, pruned, failed, running
    #[arg(long, value_name = "S")]
    pub state: Option<String>,
    /// At most this many [default: all]
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// The API.
    #[command(flatten)]
    pub api: Api,
}

/// A command on one ended trial.
#[derive(Debug, Args)]
pub struct OfTrial {
    /// Id of the task
    pub id: Uuid,
    /// Number of the trial
    pub trial: u32,
    /// The API.
    #[command(flatten)]
    pub api: Api,
}

/// Options of `backtest`.
#[derive(Debug, Args)]
pub struct Backtest {
    /// File of expected values: backtests, indicators or cointegrated pairs
    #[arg(long, value_name = "FILE.json")]
    pub reference: PathBuf,
    /// Folder that the file's paths start from; symbols are looked for in it and one level below
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

/// A command on the database.
#[derive(Debug, Args)]
pub struct OfDatabase {
    /// The embedded database in this folder, whatever the environment says
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

/// Options of `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The embedded database in this folder, whatever the environment says
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The API.
    #[command(flatten)]
    pub api: Api,
}

/// The commands on dead letters.
#[derive(Debug, Subcommand)]
pub enum Dead {
    /// List them with their reasons, oldest first
    #[command(after_help = API_HELP)]
    List {
        /// Only those of this pool
        #[arg(long, value_name = "POOL")]
        pool: Option<String>,
        /// Look at no more than this many
        #[arg(long, value_name = "N", default_value_t = 100,
            value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// The API.
        #[command(flatten)]
        api: Api,
    },
    /// Put one back into its queue; what still cannot be read comes back
    #[command(after_help = API_HELP)]
    Replay {
        /// Its id
        id: String,
        /// The API.
        #[command(flatten)]
        api: Api,
    },
    /// Remove one, or all; their units are in the database and are published again
    #[command(after_help = API_HELP)]
    Discard {
        /// Its id
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<String>,
        /// All of them
        #[arg(long)]
        all: bool,
        /// With --all: only those of this pool
        #[arg(long, value_name = "POOL", requires = "all")]
        pool: Option<String>,
        /// The API.
        #[command(flatten)]
        api: Api,
    },
}

/// The commands on keys.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a key and print it, once: it is kept nowhere
    #[command(after_help = KEYS_HELP)]
    Create {
        /// Its name: letters, digits, '.', '_' and '-'
        name: String,
        /// What it may do: read, submit (includes read), admin (includes both); several times for
        /// several
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<String>,
        /// Days until it ceases to be valid [default: never]
        #[arg(long, value_name = "N")]
        expires_days: Option<u32>,
        /// Most tasks of it that have not ended [default: what the service says]
        #[arg(long, value_name = "N")]
        max_active_tasks: Option<u64>,
        /// Most trials of these tasks that have not ended [default: what the service says]
        #[arg(long, value_name = "N")]
        max_backlog_trials: Option<u64>,
        /// Where.
        #[command(flatten)]
        at: KeysAt,
    },
    /// List the keys, revoked ones last
    #[command(after_help = KEYS_HELP)]
    List(KeysAt),
    /// Revoke a key: it stops working within 3 seconds; its tasks go on
    #[command(after_help = KEYS_HELP)]
    Revoke {
        /// Name of the key
        name: String,
        /// Where.
        #[command(flatten)]
        at: KeysAt,
    },
    /// List who did what, latest first
    #[command(after_help = KEYS_HELP)]
    Audit {
        /// At most this many
        #[arg(long, value_name = "N", default_value_t = 100,
            value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Only events with a lower number
        #[arg(long, value_name = "N")]
        before: Option<i64>,
        /// Where.
        #[command(flatten)]
        at: KeysAt,
    },
}

/// Where the keys are: in a database, or behind the API.
#[derive(Debug, Args)]
pub struct KeysAt {
    /// The embedded database in this folder, whatever the environment says
    #[arg(long, value_name = "DIR", conflicts_with_all = ["url", "key"])]
    pub data_dir: Option<PathBuf>,
    /// The API; with --url it is asked even when DATABASE_URL is set.
    #[command(flatten)]
    pub api: Api,
}

/// The commands on market data.
#[derive(Debug, Subcommand)]
pub enum Data {
    /// Store the bars and tables of files (CSV, CSV.gz, Parquet): all of them, or none if any has a fault
    ///
    /// Tables beside bars are CSV, told by their columns: corporate actions (symbol, ex_date,
    /// cash_per_share, bonus_per_share), statuses (symbol, listed, delisted, st_from, st_to),
    /// fundamentals (symbol, announced, earnings_per_share, book_per_share, sales_per_share,
    /// ebitda_per_share, net_debt_per_share) and adjustment factors (date, price_factor, split_factor,
    /// reference_price; AAPL.factors.csv), from which actions follow. A table replaces what was known of its kind of the symbols that it names.
    /// docs/market-data.md has the columns with examples.
    #[command(after_help = DATABASE_HELP)]
    Import {
        /// Files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The symbol of a file that does not name it, and the only one of a file that does
        #[arg(long, value_name = "SYMBOL")]
        symbol: Option<String>,
        /// The database.
        #[command(flatten)]
        database: OfDatabase,
    },
    /// List the stored series, and what is known beside their bars
    #[command(after_help = DATABASE_HELP)]
    List(OfDatabase),
    /// Read files as import does, print all that is found, and store nothing
    #[command(after_help = PLAIN_HELP)]
    Check {
        /// Files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The symbol of a file that does not name it, and the only one of a file that does
        #[arg(long, value_name = "SYMBOL")]
        symbol: Option<String>,
        /// Print JSON for programs
        #[arg(long)]
        json: bool,
    },
    /// Invent daily bars from a seed and store them; no market
    #[command(after_help = DATABASE_HELP)]
    Generate {
        /// How many series: 000001.SZ, SYN01.SZ which stays with it, SYN02.SZ, ...
        #[arg(long, value_name = "N", default_value_t = example::SERIES,
            value_parser = clap::value_parser!(u32).range(1..=10_000))]
        symbols: u32,
        /// First day
        #[arg(long, value_name = "DATE", default_value_t = example::first_day())]
        from: NaiveDate,
        /// Last day
        #[arg(long, value_name = "DATE", default_value_t = example::last_day())]
        to: NaiveDate,
        /// Seed of the prices
        #[arg(long, value_name = "N", default_value_t = example::PRICE_SEED)]
        seed: u64,
        /// The database.
        #[command(flatten)]
        database: OfDatabase,
    },
}
