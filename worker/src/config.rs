//! What the environment and the command line say: read here, once, and nowhere else.
//!
//! Every setting is an environment variable and an option of the same meaning. All mistakes are
//! listed at once.

use crate::options::WorkerOptions;
use clap::{Args, Parser, Subcommand};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use trialmill_broker::{AmqpUrls, check_pool, rabbit};
use trialmill_common::secret::{Secret, masked};
use trialmill_store::{Keep, postgres};
use trialmill_tls::Trust;

/// Runs trials of Trialmill tasks: takes units from RabbitMQ, writes results to PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "trialmill-worker", version, max_term_width = 100)]
pub struct CommandLine {
    /// What to do; without it, work.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings.
    #[command(flatten)]
    pub settings: Settings,
}

/// What a worker can be asked besides working.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Command {
    /// Checks that a worker could start here: settings, schema, database, broker, strategies.
    Preflight,
    /// Exits with 0 if the worker that writes the status file is alive, else with 1.
    Healthcheck,
}

/// Settings as they were given: texts, checked by [`Settings::check`].
#[derive(Debug, Clone, Default, Args)]
pub struct Settings {
    /// Address of PostgreSQL, such as postgres://user:password@host/database.
    #[arg(long, global = true, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<Secret>,
    /// File that holds the address of PostgreSQL.
    #[arg(long, global = true, env = "DATABASE_URL_FILE")]
    pub database_url_file: Option<PathBuf>,
    /// PEM file with the authorities of PostgreSQL's certificate, instead of the system's; with it
    /// TLS is demanded unless DATABASE_URL has an sslmode.
    #[arg(long, global = true, env = "TRIALMILL_DATABASE_CA_FILE")]
    pub database_ca_file: Option<PathBuf>,
    /// Address of RabbitMQ, such as amqp://user:password@host; several, separated by commas.
    #[arg(long, global = true, env = "AMQP_URL", hide_env_values = true)]
    pub amqp_url: Option<Secret>,
    /// File that holds the address of RabbitMQ.
    #[arg(long, global = true, env = "AMQP_URL_FILE")]
    pub amqp_url_file: Option<PathBuf>,
    /// PEM file with the authorities of RabbitMQ's certificate (amqps://), instead of the system's.
    #[arg(long, global = true, env = "TRIALMILL_AMQP_CA_FILE")]
    pub amqp_ca_file: Option<PathBuf>,
    /// Trials run at a time; default: the cores of this machine.
    #[arg(long, global = true, env = "TRIALMILL_SLOTS")]
    pub slots: Option<String>,
    /// The pool whose queue is consumed; default: default.
    #[arg(long, global = true, env = "TRIALMILL_POOL")]
    pub pool: Option<String>,
    /// Seconds that a lease lasts without renewal, the same in every process; default: 30.
    #[arg(long, global = true, env = "TRIALMILL_LEASE_SECONDS")]
    pub lease_seconds: Option<String>,
    /// Seconds that running trials may go on after SIGTERM; default: 30.
    #[arg(long, global = true, env = "TRIALMILL_DRAIN_SECONDS")]
    pub drain_seconds: Option<String>,
    /// Milliseconds between two writes of results; default: 1000.
    #[arg(long, global = true, env = "TRIALMILL_FLUSH_MS")]
    pub flush_ms: Option<String>,
    /// Seconds after which a unit is split; default: 10.
    #[arg(long, global = true, env = "TRIALMILL_UNIT_SECONDS")]
    pub unit_seconds: Option<String>,
    /// Seconds after which a running unit's message is acknowledged; default: 300.
    #[arg(long, global = true, env = "TRIALMILL_ACK_EARLY_SECONDS")]
    pub ack_early_seconds: Option<String>,
    /// MiB of bars kept in memory; default: 256.
    #[arg(long, global = true, env = "TRIALMILL_CACHE_MB")]
    pub cache_mb: Option<String>,
    /// MiB of recorded trials kept for adaptive samplers; default: 256.
    #[arg(long, global = true, env = "TRIALMILL_HISTORY_MB")]
    pub history_mb: Option<String>,
    /// Most seconds of a processor for the luck test of a search, 0 for none; default: 600.
    #[arg(long, global = true, env = "TRIALMILL_LUCK_SECONDS")]
    pub luck_seconds: Option<String>,
    /// MiB of address space of an isolated trial; default: 2048.
    #[arg(long, global = true, env = "TRIALMILL_TRIAL_MEMORY_MB")]
    pub trial_memory_mb: Option<String>,
    /// MiB of address space of the worker itself; default: no limit.
    #[arg(long, global = true, env = "TRIALMILL_MEMORY_MB")]
    pub memory_mb: Option<String>,
    /// Days that the events of a task are kept after its end; default: 30. The last one stays.
    #[arg(long, global = true, env = "TRIALMILL_KEEP_EVENTS_DAYS")]
    pub keep_events_days: Option<String>,
    /// Days that tasks are kept after their end, with their trials and results; default: for ever.
    #[arg(long, global = true, env = "TRIALMILL_KEEP_TASKS_DAYS")]
    pub keep_tasks_days: Option<String>,
    /// Where the worker writes its status for `healthcheck`, one file per worker; default:
    /// trialmill-worker.status in the folder for temporary files.
    #[arg(long, global = true, env = "TRIALMILL_STATUS_FILE")]
    pub status_file: Option<PathBuf>,
    /// What is logged, such as info or trialmill_worker=debug,info; default: info.
    #[arg(long, global = true, env = "TRIALMILL_LOG")]
    pub log: Option<String>,
    /// How it is logged: text or json; default: text.
    #[arg(long, global = true, env = "TRIALMILL_LOG_FORMAT")]
    pub log_format: Option<String>,
    /// The step of the protocol at which this process dies: NAME, or NAME@N to pass it N times.
    #[cfg(feature = "failpoints")]
    #[arg(long, global = true, env = "TRIALMILL_FAILPOINT")]
    pub failpoint: Option<String>,
}

/// Checked settings.
#[derive(Clone)]
pub struct Config {
    /// Address of PostgreSQL.
    pub database_url: String,
    /// Whose certificates are believed there.
    pub database_trust: Trust,
    /// Addresses of RabbitMQ.
    pub amqp_urls: AmqpUrls,
    /// Whose certificates are believed there.
    pub amqp_trust: Trust,
    /// Limit of the worker's own address space, in bytes.
    pub memory_bytes: Option<u64>,
    /// How to work.
    pub worker: WorkerOptions,
    /// How long what ended is kept.
    pub keep: Keep,
}

/// Secrets are left out.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("database_url", &masked(&self.database_url))
            .field("database_trust", &self.database_trust)
            .field("amqp_urls", &self.amqp_urls)
            .field("amqp_trust", &self.amqp_trust)
            .field("memory_bytes", &self.memory_bytes)
            .field("worker", &self.worker)
            .field("keep", &self.keep)
            .finish()
    }
}

/// How to log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// Directives of the filter.
    pub filter: String,
    /// One JSON object per line.
    pub json: bool,
}

/// Every mistake in the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFaults(pub Vec<String>);

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => f.write_str(one),
            many => {
                write!(f, "{} settings are wrong:", many.len())?;
                many.iter().try_for_each(|fault| write!(f, "\n- {fault}"))
            }
        }
    }
}

impl std::error::Error for ConfigFaults {}

impl Settings {
    /// Checks everything.
    ///
    /// # Errors
    /// All mistakes at once, each naming its variable, its value and what is accepted.
    pub fn check(&self) -> Result<Config, ConfigFaults> {
        let mut check = Check::default();
        let database_url = check.address(
            "DATABASE_URL",
            self.database_url.as_ref(),
            self.database_url_file.as_ref(),
            "the worker keeps everything in PostgreSQL: postgres://user:password@host/database \
             (for a single process without services, use `trialmill up`)",
        );
        let amqp = check.address(
            "AMQP_URL",
            self.amqp_url.as_ref(),
            self.amqp_url_file.as_ref(),
            "the worker gets its units from RabbitMQ: amqp://user:password@host (for a single \
             process without services, use `trialmill up`)",
        );
        let amqp_urls = amqp.and_then(|text| match text.parse::<AmqpUrls>() {
            Ok(urls) => Some(urls),
            // The value is a secret; the parser's own words leave it out.
            Err(error) => check.fault(format!("AMQP_URL: {error}")),
        });
        let trust = |check: &mut Check, setting, file: &Option<PathBuf>| {
            Trust::new(setting, file.as_deref())
                .or_else(|fault| check.fault(fault.to_string()).ok_or(()))
                .ok()
        };
        let database_trust = trust(&mut check, postgres::CA_SETTING, &self.database_ca_file);
        let amqp_trust = trust(&mut check, rabbit::CA_SETTING, &self.amqp_ca_file);
        if let (Some(urls), Some(trust)) = (&amqp_urls, &amqp_trust)
            && let Err(fault) = urls.check_trust(trust)
        {
            check.faults.push(fault.to_string());
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let slots = check.number("TRIALMILL_SLOTS", self.slots.as_ref(), cores, 1, 256);
        let mut worker = WorkerOptions::new(u32::try_from(slots).unwrap_or(256));
        if let Some(pool) = &self.pool {
            match check_pool(pool) {
                Ok(()) => worker.pool.clone_from(pool),
                Err(error) => check
                    .fault::<()>(format!("TRIALMILL_POOL: {error}"))
                    .unwrap_or(()),
            }
        }
        let second = Duration::from_secs;
        let number = |check: &mut Check, name, text: &Option<String>, default, least, most| {
            check.number(name, text.as_ref(), default, least, most)
        };
        let c = &mut check;
        worker.lease = second(number(
            c,
            "TRIALMILL_LEASE_SECONDS",
            &self.lease_seconds,
            30,
            1,
            3600,
        ));
        worker.drain = second(number(
            c,
            "TRIALMILL_DRAIN_SECONDS",
            &self.drain_seconds,
            30,
            0,
            86_400,
        ));
        worker.flush = Duration::from_millis(number(
            c,
            "TRIALMILL_FLUSH_MS",
            &self.flush_ms,
            1000,
            10,
            60_000,
        ));
        worker.unit_limit = second(number(
            c,
            "TRIALMILL_UNIT_SECONDS",
            &self.unit_seconds,
            10,
            1,
            86_400,
        ));
        worker.ack_early = second(number(
            c,
            "TRIALMILL_ACK_EARLY_SECONDS",
            &self.ack_early_seconds,
            300,
            1,
            1500,
        ));
        worker.cache_bytes = number(c, "TRIALMILL_CACHE_MB", &self.cache_mb, 256, 1, 1 << 20) << 20;
        worker.history_bytes =
            number(c, "TRIALMILL_HISTORY_MB", &self.history_mb, 256, 1, 1 << 20) << 20;
        worker.luck = second(number(
            c,
            "TRIALMILL_LUCK_SECONDS",
            &self.luck_seconds,
            600,
            0,
            86_400,
        ));
        worker.trial_memory_bytes = number(
            c,
            "TRIALMILL_TRIAL_MEMORY_MB",
            &self.trial_memory_mb,
            2048,
            64,
            1 << 20,
        ) << 20;
        let own = self.memory_mb.is_some();
        let memory = number(
            c,
            "TRIALMILL_MEMORY_MB",
            &self.memory_mb,
            1 << 20,
            256,
            1 << 20,
        ) << 20;
        if worker.flush * 2 > worker.lease {
            let (flush, lease) = (worker.flush.as_millis(), worker.lease.as_secs());
            check.faults.push(format!(
                "TRIALMILL_FLUSH_MS is {flush} and TRIALMILL_LEASE_SECONDS is {lease}; results \
                 must be written at least twice per lease"
            ));
        }
        let (events, tasks) = (&self.keep_events_days, &self.keep_tasks_days);
        let keep = Keep::of_days(events.as_deref(), tasks.as_deref());
        let keep = keep.unwrap_or_else(|faults| {
            check.faults.extend(faults);
            Keep::default()
        });
        let database = database_url.zip(database_trust);
        let amqp = amqp_urls.zip(amqp_trust);
        match (database, amqp) {
            (Some((database_url, database_trust)), Some((amqp_urls, amqp_trust)))
                if check.faults.is_empty() =>
            {
                let memory_bytes = own.then_some(memory);
                Ok(Config {
                    database_url,
                    database_trust,
                    amqp_urls,
                    amqp_trust,
                    memory_bytes,
                    worker,
                    keep,
                })
            }
            _ => Err(ConfigFaults(check.faults)),
        }
    }

    /// How to log. A wrong format is a mistake that [`Self::check`] cannot report, since its
    /// report is logged: it is returned here.
    ///
    /// # Errors
    /// When the format is neither text nor json.
    pub fn logging(&self) -> Result<Logging, ConfigFaults> {
        let json = match self.log_format.as_deref() {
            None | Some("text") => false,
            Some("json") => true,
            Some(other) => {
                let fault = format!("TRIALMILL_LOG_FORMAT is {other:?}; it must be text or json");
                return Err(ConfigFaults(vec![fault]));
            }
        };
        Ok(Logging {
            filter: self.log.clone().unwrap_or_else(|| "info".to_owned()),
            json,
        })
    }

    /// Where the status is written.
    #[must_use]
    pub fn status_file(&self) -> PathBuf {
        let default = || std::env::temp_dir().join("trialmill-worker.status");
        self.status_file.clone().unwrap_or_else(default)
    }
}

/// Names of variables that look like ours and are none: probably misspelled.
#[must_use]
pub fn unknown_variables() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut unknown: Vec<String> = names
        .filter(|name| trialmill_common::environment::is_unknown(name))
        .collect();
    unknown.sort_unstable();
    unknown
}

/// Whether this process was started as an isolated child.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the file that reads the environment"
)]
pub(crate) fn is_child(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|value| value == "1")
}

#[derive(Default)]
struct Check {
    faults: Vec<String>,
}

impl Check {
    fn fault<T>(&mut self, fault: String) -> Option<T> {
        self.faults.push(fault);
        None
    }

    /// A secret address, given directly or by a file; the variable itself wins over the file.
    fn address(
        &mut self,
        name: &str,
        given: Option<&Secret>,
        file: Option<&PathBuf>,
        needed_for: &str,
    ) -> Option<String> {
        let text = match (given, file) {
            (Some(text), _) => text.reveal().to_owned(),
            (None, Some(path)) => match std::fs::read_to_string(path) {
                Ok(text) => text,
                Err(error) => {
                    return self.fault(format!("{name}_FILE is {}: {error}", path.display()));
                }
            },
            (None, None) => String::new(),
        };
        if text.trim().is_empty() {
            return self.fault(format!("{name} is not set; {needed_for}"));
        }
        Some(text.trim().to_owned())
    }

    fn number(
        &mut self,
        name: &str,
        text: Option<&String>,
        default: u64,
        least: u64,
        most: u64,
    ) -> u64 {
        let Some(text) = text else { return default };
        match text.trim().parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => number,
            _ => {
                let wanted = format!("a whole number from {least} to {most}");
                self.fault::<u64>(format!("{name} is {text:?}; it must be {wanted}"))
                    .unwrap_or(default)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Settings {
        Settings {
            database_url: Some("postgres://mill:secret@db/mill".into()),
            amqp_url: Some("amqp://mill:hidden@rabbit".into()),
            ..Settings::default()
        }
    }

    #[test]
    fn the_defaults_need_only_the_two_addresses() {
        let config = complete().check().unwrap();
        assert_eq!(config.worker.lease, Duration::from_secs(30));
        assert!(config.worker.slots >= 1);
        assert_eq!(config.memory_bytes, None);
    }

    #[test]
    fn all_mistakes_are_listed_at_once_with_their_values() {
        let settings = Settings {
            slots: Some("none".to_owned()),
            pool: Some("a pool".to_owned()),
            flush_ms: Some("5".to_owned()),
            ..Settings::default()
        };
        let ConfigFaults(faults) = settings.check().unwrap_err();
        let begins: Vec<&str> = faults
            .iter()
            .filter_map(|f| f.split_whitespace().next())
            .collect();
        let wanted = [
            "DATABASE_URL",
            "AMQP_URL",
            "TRIALMILL_SLOTS",
            "TRIALMILL_POOL:",
            "TRIALMILL_FLUSH_MS",
        ];
        assert_eq!(begins, wanted, "{faults:#?}");
        assert!(faults[2].contains("\"none\"; it must be a whole number from 1 to 256"));
    }

    #[test]
    fn secrets_are_read_from_files_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("url");
        std::fs::write(&file, "postgres://mill:secret@db/mill\n").unwrap();
        let settings = Settings {
            database_url: None,
            database_url_file: Some(file),
            ..complete()
        };
        let config = settings.check().unwrap();
        assert_eq!(config.database_url, "postgres://mill:secret@db/mill");
        let shown = format!("{config:?}");
        assert!(
            !shown.contains("secret") && !shown.contains("hidden"),
            "{shown}"
        );
        assert!(shown.contains("postgres://mill:***@db/mill"), "{shown}");
    }

    #[test]
    fn a_misspelled_variable_is_noticed() {
        assert!(trialmill_common::environment::is_unknown("TRIALMILL_SLOT"));
        assert!(!trialmill_common::environment::is_unknown(
            "TRIALMILL_SLOTS"
        ));
        assert!(!trialmill_common::environment::is_unknown("PATH"));
    }
}
