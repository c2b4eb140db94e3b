//! The environment, read here and nowhere else, once, with all mistakes told at once.

use crate::failure::Failure;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use trialmill_api::RateLimit;
use trialmill_api::limits::{DEFAULT_RATE_BURST, DEFAULT_RATE_PER_SECOND, MAX_RATE};
use trialmill_common::key::{
    DEFAULT_MAX_ACTIVE_TASKS, DEFAULT_MAX_BACKLOG_TRIALS, MAX_QUOTA, Quota,
};
use trialmill_store::Keep;

/// Where the API is when nobody says.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8080";
/// Where the embedded database is when nobody says.
pub const DEFAULT_DATA_DIR: &str = "trialmill-data";

/// For `--help` of the commands that talk to the API.
pub const API_HELP: &str = "Environment:
  TRIALMILL_URL           address of the API [default: http://127.0.0.1:8080]
  TRIALMILL_API_KEY       its key, if it wants one; or TRIALMILL_API_KEY_FILE, a file that holds it
  TRIALMILL_CA_FILE       PEM file with the authorities of an https:// API's certificate, instead
                          of the system's
  TRIALMILL_LOG           what is logged, such as warn or trialmill=debug";

/// For `--help` of the commands that open the database.
pub const DATABASE_HELP: &str = "Environment:
  DATABASE_URL            PostgreSQL, postgres://user:password@host:5432/database;
                          or DATABASE_URL_FILE, a file that holds it
  TRIALMILL_DATABASE_CA_FILE  PEM file with the authorities of its certificate, instead of the
                          system's; with it TLS is demanded unless the address has an sslmode
  TRIALMILL_DATA_DIR      without DATABASE_URL: folder of the embedded database
                          [default: trialmill-data]
  TRIALMILL_LOG           what is logged, such as warn or trialmill=debug";

/// For `--help` of the commands on keys.
pub const KEYS_HELP: &str = "Environment:
  DATABASE_URL            PostgreSQL; when it is set, and no --url is given, the command works on it
                          without the API (or DATABASE_URL_FILE, a file that holds it)
  TRIALMILL_URL           else: address of the API [default: http://127.0.0.1:8080]
  TRIALMILL_API_KEY       a key with the scope admin for the API; or TRIALMILL_API_KEY_FILE
  TRIALMILL_DATABASE_CA_FILE, TRIALMILL_CA_FILE
                          PEM files with the authorities of their certificates, instead of the
                          system's
  TRIALMILL_LOG           what is logged, such as warn or trialmill=debug";

/// For `--help` of the commands that need neither.
pub const PLAIN_HELP: &str = "Environment:
  TRIALMILL_LOG           what is logged, such as warn or trialmill=debug
  NO_COLOR                no colours";

/// For `--help` of `up`, `doctor` and the program itself.
pub const FULL_HELP: &str = "Environment:
  DATABASE_URL            PostgreSQL, postgres://user:password@host:5432/database
  AMQP_URL                RabbitMQ, amqp://user:password@host:5672/%2f; several with commas
  TRIALMILL_API_KEY       key of the API, which may do everything; required when it listens beyond
                          loopback, unless the database has an admin key (`trialmill keys create`)
                          (each of these three also as *_FILE, a file that holds it)
  TRIALMILL_DATABASE_CA_FILE, TRIALMILL_AMQP_CA_FILE, TRIALMILL_CA_FILE
                          PEM files with the authorities of the certificates of PostgreSQL (TLS is
                          then demanded unless the address has an sslmode), of RabbitMQ (amqps://)
                          and of the API (https://), instead of the system's
  TRIALMILL_TLS_CERT_FILE, TRIALMILL_TLS_KEY_FILE
                          PEM files of certificate chain and key: `up` speaks HTTPS with them
  TRIALMILL_RATE_PER_SECOND, TRIALMILL_RATE_BURST
                          requests that `up` takes per key, or per address without one; 0: no
                          limit [default: 500, and 1000 at once]
  TRIALMILL_MAX_ACTIVE_TASKS, TRIALMILL_MAX_BACKLOG_TRIALS
                          what a key of `up` may have in work; 0: no limit
                          [default: 200000, 100000000]
  TRIALMILL_LISTEN        where `up` listens [default: 127.0.0.1:8080]
  TRIALMILL_SLOTS         trials that `up` runs at a time [default: one per processor]
  TRIALMILL_LEASE_SECONDS how long a lease of `up` lasts, the same in every process [default: 30]
  TRIALMILL_LUCK_SECONDS  most seconds of a processor for the luck test of a search of `up` or
                          `demo`, 0 for none [default: 600; of `demo` 20]
  TRIALMILL_KEEP_EVENTS_DAYS
                          days that `up` keeps the events of a task after its end [default: 30]
  TRIALMILL_KEEP_TASKS_DAYS
                          days that `up` keeps ended tasks and their results [default: for ever]
  TRIALMILL_URL           address of the API for client commands [default: http://127.0.0.1:8080]
  TRIALMILL_DATA_DIR      folder of the embedded database, used without DATABASE_URL and AMQP_URL
                          [default: trialmill-data]
  TRIALMILL_LOG           what is logged, such as warn or trialmill=debug
  NO_COLOR                no colours";

/// Variables that this program reads; those of secrets also as `*_FILE`.
const OWN: [&str; 20] = [
    "TRIALMILL_API_KEY",
    "TRIALMILL_API_KEY_FILE",
    "TRIALMILL_RATE_PER_SECOND",
    "TRIALMILL_RATE_BURST",
    "TRIALMILL_MAX_ACTIVE_TASKS",
    "TRIALMILL_MAX_BACKLOG_TRIALS",
    "TRIALMILL_DATABASE_CA_FILE",
    "TRIALMILL_AMQP_CA_FILE",
    "TRIALMILL_CA_FILE",
    "TRIALMILL_TLS_CERT_FILE",
    "TRIALMILL_TLS_KEY_FILE",
    "TRIALMILL_LISTEN",
    "TRIALMILL_SLOTS",
    "TRIALMILL_LEASE_SECONDS",
    "TRIALMILL_LUCK_SECONDS",
    "TRIALMILL_KEEP_EVENTS_DAYS",
    "TRIALMILL_KEEP_TASKS_DAYS",
    "TRIALMILL_URL",
    "TRIALMILL_DATA_DIR",
    "TRIALMILL_LOG",
];

/// What the environment says.
#[derive(Default)]
pub struct Settings {
    /// PostgreSQL.
    pub database_url: Option<String>,
    /// RabbitMQ, several with commas.
    pub amqp_url: Option<String>,
    /// The key of the API.
    pub api_key: Option<String>,
    /// Authorities of PostgreSQL's certificate.
    pub database_ca_file: Option<PathBuf>,
    /// Authorities of RabbitMQ's certificate.
    pub amqp_ca_file: Option<PathBuf>,
    /// Authorities of the API's certificate.
    pub ca_file: Option<PathBuf>,
    /// The certificate chain that `up` shows.
    pub tls_cert_file: Option<PathBuf>,
    /// Its private key.
    pub tls_key_file: Option<PathBuf>,
    /// How fast a caller of `up` may ask.
    pub rate: Option<RateLimit>,
    /// What a key of `up` may have in work.
    pub quota: Quota,
    /// Where `up` listens.
    pub listen: Option<String>,
    /// Slots of `up`.
    pub slots: Option<u32>,
    /// Seconds that a lease of `up` lasts.
    pub lease_seconds: Option<u32>,
    /// Most time that the luck test of a search may take.
    pub luck: Option<Duration>,
    /// How long `up` keeps what ended.
    pub keep: Keep,
    /// The address of the API.
    pub url: Option<String>,
    /// Folder of the embedded database.
    pub data_dir: Option<PathBuf>,
    /// Log filter.
    pub log: Option<String>,
    /// No colours.
    pub no_colour: bool,
    /// Variables that look like ours and are not.
    pub unknown: Vec<String>,
}

impl Settings {
    /// Reads the environment of this process.
    ///
    /// # Errors
    /// Every mistake, a line each, without any value of a secret.
    pub fn of_process() -> Result<Self, Failure> {
        let mut variables = BTreeMap::new();
        let mut mistakes = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else {
                continue;
            };
            match value.into_string() {
                Ok(value) => drop(variables.insert(name, value)),
                Err(_) if is_read(&name) => mistakes.push(format!("{name} is not UTF-8 text")),
                Err(_) => {}
            }
        }
        Self::read(&variables, mistakes)
            .map_err(|mistakes| Failure::reason(mistakes.join("\nerror: ")))
    }

    fn read(
        variables: &BTreeMap<String, String>,
        mut mistakes: Vec<String>,
    ) -> Result<Self, Vec<String>> {
        // An empty variable is one that a compose file passes on without a value.
        let plain = |name: &str| {
            variables
                .get(name)
                .filter(|v| !v.trim().is_empty())
                .cloned()
        };
        let mut secret = |name: &str| {
            let file_name = format!("{name}_FILE");
            match (plain(name), plain(&file_name)) {
                (Some(_), Some(_)) => {
                    mistakes.push(format!("{name} and {file_name} are both set; keep one"));
                    None
                }
                (None, Some(path)) => match std::fs::read_to_string(&path) {
                    Ok(text) => Some(text.trim().to_owned()),
                    Err(error) => {
                        mistakes.push(format!("{file_name} names {path}: {error}"));
                        None
                    }
                },
                (value, None) => value,
            }
        };
        let [database_url, amqp_url, api_key] =
            ["DATABASE_URL", "AMQP_URL", "TRIALMILL_API_KEY"].map(&mut secret);
        let mut number = |name: &str, least: u32, most: u32| {
            let text = plain(name)?;
            let number = text
                .trim()
                .parse()
                .ok()
                .filter(|number| (least..=most).contains(number));
            if number.is_none() {
                let text = text.chars().take(40).collect::<String>();
                let wanted = format!("it must be a whole number from {least} to {most}");
                mistakes.push(format!("{name} is {text:?}; {wanted}"));
            }
            number
        };
        let slots = number("TRIALMILL_SLOTS", 1, 256);
        let lease_seconds = number("TRIALMILL_LEASE_SECONDS", 1, 3600);
        let luck_seconds = number("TRIALMILL_LUCK_SECONDS", 0, 86_400);
        let rate = number("TRIALMILL_RATE_PER_SECOND", 0, MAX_RATE);
        let burst = number("TRIALMILL_RATE_BURST", 0, MAX_RATE);
        let most = u32::try_from(MAX_QUOTA).unwrap_or(u32::MAX);
        let mut bound = |name: &str, default: u64| {
            Some(number(name, 0, most).map_or(default, u64::from)).filter(|bound| *bound > 0)
        };
        let quota = Quota {
            active_tasks: bound("TRIALMILL_MAX_ACTIVE_TASKS", DEFAULT_MAX_ACTIVE_TASKS),
            backlog_trials: bound("TRIALMILL_MAX_BACKLOG_TRIALS", DEFAULT_MAX_BACKLOG_TRIALS),
        };
        let rate = RateLimit::new(
            rate.unwrap_or(DEFAULT_RATE_PER_SECOND),
            burst.unwrap_or(DEFAULT_RATE_BURST),
        );
        let [events, tasks] =
            ["TRIALMILL_KEEP_EVENTS_DAYS", "TRIALMILL_KEEP_TASKS_DAYS"].map(plain);
        let keep = Keep::of_days(events.as_deref(), tasks.as_deref());
        let keep = keep.unwrap_or_else(|faults| {
            mistakes.extend(faults);
            Keep::default()
        });
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let path = |name: &str| plain(name).map(PathBuf::from);
        let unknown = |name: &&String| trialmill_common::environment::is_unknown(name);
        Ok(Self {
            database_url,
            amqp_url,
            api_key,
            database_ca_file: path("TRIALMILL_DATABASE_CA_FILE"),
            amqp_ca_file: path("TRIALMILL_AMQP_CA_FILE"),
            ca_file: path("TRIALMILL_CA_FILE"),
            tls_cert_file: path("TRIALMILL_TLS_CERT_FILE"),
            tls_key_file: path("TRIALMILL_TLS_KEY_FILE"),
            rate,
            quota,
            listen: plain("TRIALMILL_LISTEN"),
            slots,
            lease_seconds,
            luck: luck_seconds.map(|seconds| Duration::from_secs(seconds.into())),
            keep,
            url: plain("TRIALMILL_URL"),
            data_dir: path("TRIALMILL_DATA_DIR"),
            log: plain("TRIALMILL_LOG"),
            no_colour: plain("NO_COLOR").is_some(),
            unknown: variables.keys().filter(unknown).cloned().collect(),
        })
    }
}

fn is_read(name: &str) -> bool {
    const SHARED: [&str; 4] = [
        "DATABASE_URL",
        "DATABASE_URL_FILE",
        "AMQP_URL",
        "AMQP_URL_FILE",
    ];
    OWN.contains(&name) || SHARED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Settings::read(&variables.iter().map(owned).collect(), Vec::new())
    }

    #[test]
    fn every_mistake_is_told_at_once_and_none_shows_a_secret() {
        let mistakes = read(&[
            ("DATABASE_URL", "postgres://me:hunter2@host/db"),
            ("DATABASE_URL_FILE", "secret"),
            ("AMQP_URL_FILE", "no/such/file"),
            ("TRIALMILL_SLOTS", "many"),
        ])
        .err()
        .unwrap();
        assert_eq!(mistakes.len(), 3, "{mistakes:?}");
        assert!(!mistakes.join(" ").contains("hunter2"));
    }

    #[test]
    fn a_secret_may_stand_in_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "postgres://host/db\n").unwrap();
        let path = file.path().to_str().unwrap();
        let settings = read(&[("DATABASE_URL_FILE", path), ("AMQP_URL", "")])
            .ok()
            .unwrap();
        assert_eq!(settings.database_url.as_deref(), Some("postgres://host/db"));
        assert_eq!(settings.amqp_url, None);
    }

    #[test]
    fn variables_that_only_look_like_ours_are_named() {
        let settings = read(&[("TRIALMILL_SLOT", "3"), ("TRIALMILL_URL", "http://h")])
            .ok()
            .unwrap();
        assert_eq!(settings.unknown, ["TRIALMILL_SLOT"]);
    }

    #[test]
    fn the_help_names_every_variable_that_is_read() {
        for name in OWN {
            let secret = name.strip_suffix("_FILE").filter(|name| OWN.contains(name));
            let name = secret.unwrap_or(name);
            assert!(FULL_HELP.contains(name), "{name}");
        }
    }
}
