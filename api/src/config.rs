//! The environment and the arguments of `trialmill-api`, read once and checked as a whole.

use crate::access::RateLimit;
use crate::key::ApiKey;
use crate::limits::{DEFAULT_RATE_BURST, DEFAULT_RATE_PER_SECOND, MAX_RATE};
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use trialmill_broker::{AmqpUrls, rabbit};
use trialmill_common::key::{
    DEFAULT_MAX_ACTIVE_TASKS, DEFAULT_MAX_BACKLOG_TRIALS, MAX_QUOTA, Quota,
};
use trialmill_store::{Keep, postgres};
use trialmill_tls::{ServerIdentity, Trust};

/// Where it listens when nothing is said: this machine only.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

/// Accepted lease durations, in seconds.
const LEASE_SECONDS: std::ops::RangeInclusive<f64> = 1.0..=3600.0;

/// The HTTP API of Trialmill over PostgreSQL and RabbitMQ.
#[derive(Parser)]
#[command(name = "trialmill-api", version)]
pub struct Arguments {
    /// What to do; without a word, serve.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings.
    #[command(flatten)]
    pub settings: Settings,
}

/// What to do instead of serving.
#[derive(Subcommand, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Asks a running service at TRIALMILL_LISTEN for /healthz; exit code 0 when it lives.
    Healthcheck,
    /// Prints the OpenAPI document.
    Openapi,
}

/// Settings as they are given. Everything is text until [`Settings::check`], so that all mistakes
/// are told at once.
#[derive(Args, Default, Clone)]
pub struct Settings {
    /// Address and port to listen on; beyond loopback TRIALMILL_API_KEY is needed, or a key with the
    /// scope admin in the database.
    #[arg(long, env = "TRIALMILL_LISTEN", default_value = DEFAULT_LISTEN)]
    pub listen: String,
    /// PostgreSQL, such as postgres://user:password@host:5432/trialmill.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// File that holds DATABASE_URL.
    #[arg(long, env = "DATABASE_URL_FILE")]
    pub database_url_file: Option<PathBuf>,
    /// PEM file with the authorities of PostgreSQL's certificate, instead of the system's; with it
    /// TLS is demanded unless DATABASE_URL has an sslmode.
    #[arg(long, env = "TRIALMILL_DATABASE_CA_FILE")]
    pub database_ca_file: Option<PathBuf>,
    /// RabbitMQ, such as amqp://user:password@host:5672/vhost; several, comma separated.
    #[arg(long, env = "AMQP_URL", hide_env_values = true)]
    pub amqp_url: Option<String>,
    /// File that holds AMQP_URL.
    #[arg(long, env = "AMQP_URL_FILE")]
    pub amqp_url_file: Option<PathBuf>,
    /// PEM file with the authorities of RabbitMQ's certificate (amqps://), instead of the system's.
    #[arg(long, env = "TRIALMILL_AMQP_CA_FILE")]
    pub amqp_ca_file: Option<PathBuf>,
    /// Key that may do everything, sent as `Authorization: Bearer KEY`, at least 32 characters;
    /// others are made with `trialmill keys create`.
    #[arg(long, env = "TRIALMILL_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// File that holds TRIALMILL_API_KEY.
    #[arg(long, env = "TRIALMILL_API_KEY_FILE")]
    pub api_key_file: Option<PathBuf>,
    /// PEM file with the certificate chain that clients are shown; with it HTTPS is spoken. Read
    /// again at SIGHUP.
    #[arg(long, env = "TRIALMILL_TLS_CERT_FILE")]
    pub tls_cert_file: Option<PathBuf>,
    /// PEM file with the private key of that certificate, without a passphrase.
    #[arg(long, env = "TRIALMILL_TLS_KEY_FILE")]
    pub tls_key_file: Option<PathBuf>,
    /// Requests per second that one key may send, or one address without a key; 0: no limit.
    /// Default 500.
    #[arg(long, env = "TRIALMILL_RATE_PER_SECOND")]
    pub rate_per_second: Option<String>,
    /// Requests that may come at once before the rate counts. Default 1000.
    #[arg(long, env = "TRIALMILL_RATE_BURST")]
    pub rate_burst: Option<String>,
    /// Tasks of one key that have not ended, unless the key has a limit of its own; 0: no limit.
    /// Default 200000.
    #[arg(long, env = "TRIALMILL_MAX_ACTIVE_TASKS")]
    pub max_active_tasks: Option<String>,
    /// Trials of these tasks that have not ended; 0: no limit. Default 100000000.
    #[arg(long, env = "TRIALMILL_MAX_BACKLOG_TRIALS")]
    pub max_backlog_trials: Option<String>,
    /// Seconds that a lease lasts without renewal; the same for every process. Default 30.
    #[arg(long, env = "TRIALMILL_LEASE_SECONDS")]
    pub lease_seconds: Option<String>,
    /// Days that the events of a task are kept after its end; the last one stays. Default 30.
    #[arg(long, env = "TRIALMILL_KEEP_EVENTS_DAYS")]
    pub keep_events_days: Option<String>,
    /// Days that tasks are kept after their end, with their trials and results. Default: for ever.
    #[arg(long, env = "TRIALMILL_KEEP_TASKS_DAYS")]
    pub keep_tasks_days: Option<String>,
    /// What is logged, such as info or trialmill_api=debug.
    #[arg(long, env = "TRIALMILL_LOG", default_value = "info")]
    pub log: String,
    /// text or json.
    #[arg(long, env = "TRIALMILL_LOG_FORMAT", default_value = "text")]
    pub log_format: String,
    /// The step of the protocol at which this process dies: NAME, or NAME@N to pass it N times.
    #[cfg(feature = "failpoints")]
    #[arg(long, env = "TRIALMILL_FAILPOINT")]
    pub failpoint: Option<String>,
}

/// Settings without fault. Holds secrets, so it cannot be shown.
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The database.
    pub database_url: String,
    /// Whose certificates are believed there.
    pub database_trust: Trust,
    /// The brokers.
    pub amqp_urls: AmqpUrls,
    /// Whose certificates are believed there.
    pub amqp_trust: Trust,
    /// The key of the environment, if any.
    pub api_key: Option<ApiKey>,
    /// How fast one caller may ask.
    pub rate: Option<RateLimit>,
    /// What one key may have in work.
    pub quota: Quota,
    /// What HTTPS shows; without, HTTP is spoken.
    pub identity: Option<Arc<ServerIdentity>>,
    /// How long a lease lasts.
    pub lease: Duration,
    /// How long what ended is kept.
    pub keep: Keep,
}

impl Settings {
    /// The settings as a service needs them.
    ///
    /// # Errors
    /// Every mistake, one sentence each.
    pub fn check(&self) -> Result<Config, Vec<String>> {
        let mut faults = Vec::new();
        let listen = keep(self.listen_address(), &mut faults);
        let database_url = secret(
            "DATABASE_URL",
            self.database_url.as_deref(),
            self.database_url_file.as_ref(),
        );
        let database_url = keep(database_url, &mut faults).flatten();
        if let Some(url) = &database_url
            && !["postgres://", "postgresql://"]
                .iter()
                .any(|scheme| url.starts_with(scheme))
        {
            faults.push(
                "DATABASE_URL is no PostgreSQL address; write postgres://user:password@host:5432/name"
                    .to_owned(),
            );
        }
        let amqp_url = secret(
            "AMQP_URL",
            self.amqp_url.as_deref(),
            self.amqp_url_file.as_ref(),
        );
        let amqp_url = keep(amqp_url, &mut faults).flatten();
        let parsed = amqp_url
            .as_ref()
            .map(|url| url.parse::<AmqpUrls>().map_err(|e| e.to_string()));
        let amqp_urls = parsed.and_then(|urls| keep(urls, &mut faults));
        let trust = |setting, file: &Option<PathBuf>| {
            Trust::new(setting, file.as_deref()).map_err(|e| e.to_string())
        };
        let database_trust = trust(postgres::CA_SETTING, &self.database_ca_file);
        let database_trust = keep(database_trust, &mut faults);
        let amqp_trust = keep(trust(rabbit::CA_SETTING, &self.amqp_ca_file), &mut faults);
        if let (Some(urls), Some(trust)) = (&amqp_urls, &amqp_trust)
            && let Err(fault) = urls.check_trust(trust)
        {
            faults.push(fault.to_string());
        }
        let (cert, key) = (self.tls_cert_file.as_deref(), self.tls_key_file.as_deref());
        let identity = ServerIdentity::from_settings(cert, key).unwrap_or_else(|found| {
            faults.extend(found.iter().map(ToString::to_string));
            None
        });
        let missing = |name: &str, what: &str| {
            format!(
                "{name} is not set; trialmill-api needs {what} (or run: trialmill up, which needs neither)"
            )
        };
        if self.database_url.is_none() && self.database_url_file.is_none() {
            faults.push(missing("DATABASE_URL", "PostgreSQL"));
        }
        if self.amqp_url.is_none() && self.amqp_url_file.is_none() {
            faults.push(missing("AMQP_URL", "RabbitMQ"));
        }
        let key = secret(
            "TRIALMILL_API_KEY",
            self.api_key.as_deref(),
            self.api_key_file.as_ref(),
        );
        let key = keep(key, &mut faults).flatten();
        let key = key.map(|key| ApiKey::new(&key).map_err(|e| format!("TRIALMILL_API_KEY: {e}")));
        let api_key = key.and_then(|key| keep(key, &mut faults));
        let mut count = |name: &str, text: &Option<String>, default: u64, most: u64| {
            let read = whole_number(name, text.as_deref(), default, most);
            keep(read, &mut faults).unwrap_or_default()
        };
        let rate = count(
            "TRIALMILL_RATE_PER_SECOND",
            &self.rate_per_second,
            DEFAULT_RATE_PER_SECOND.into(),
            MAX_RATE.into(),
        );
        let burst = count(
            "TRIALMILL_RATE_BURST",
            &self.rate_burst,
            DEFAULT_RATE_BURST.into(),
            MAX_RATE.into(),
        );
        let active_tasks = count(
            "TRIALMILL_MAX_ACTIVE_TASKS",
            &self.max_active_tasks,
            DEFAULT_MAX_ACTIVE_TASKS,
            MAX_QUOTA,
        );
        let backlog_trials = count(
            "TRIALMILL_MAX_BACKLOG_TRIALS",
            &self.max_backlog_trials,
            DEFAULT_MAX_BACKLOG_TRIALS,
            MAX_QUOTA,
        );
        let rates = [rate, burst].map(|rate| u32::try_from(rate).unwrap_or(MAX_RATE));
        let rate = RateLimit::new(rates[0], rates[1]);
        let quota = Quota {
            active_tasks: Some(active_tasks).filter(|limit| *limit > 0),
            backlog_trials: Some(backlog_trials).filter(|limit| *limit > 0),
        };
        let lease = keep(self.lease(), &mut faults);
        let (events, tasks) = (&self.keep_events_days, &self.keep_tasks_days);
        let keep = Keep::of_days(events.as_deref(), tasks.as_deref());
        let keep = keep.unwrap_or_else(|mistakes| {
            faults.extend(mistakes);
            Keep::default()
        });
        let secured = database_trust.zip(amqp_trust);
        match (listen, database_url, amqp_urls, secured, lease) {
            (
                Some(listen),
                Some(database_url),
                Some(amqp_urls),
                Some((database_trust, amqp_trust)),
                Some(lease),
            ) if faults.is_empty() => Ok(Config {
                listen,
                database_url,
                database_trust,
                amqp_urls,
                amqp_trust,
                api_key,
                rate,
                quota,
                identity: identity.map(Arc::new),
                lease,
                keep,
            }),
            _ => Err(faults),
        }
    }

    /// Where to listen, or to knock.
    ///
    /// # Errors
    /// When it is no address with a port.
    pub fn listen_address(&self) -> Result<SocketAddr, String> {
        self.listen.trim().parse().map_err(|_| {
            format!(
                "TRIALMILL_LISTEN is '{}'; write an IP address and a port, such as {DEFAULT_LISTEN} \
                 or [::1]:8080",
                self.listen
            )
        })
    }

    fn lease(&self) -> Result<Duration, String> {
        let Some(text) = &self.lease_seconds else {
            return Ok(Duration::from_secs(30));
        };
        match text.trim().parse::<f64>() {
            Ok(seconds) if LEASE_SECONDS.contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
            _ => Err(format!(
                "TRIALMILL_LEASE_SECONDS is '{text}'; it must be a number from {} to {}",
                LEASE_SECONDS.start(),
                LEASE_SECONDS.end()
            )),
        }
    }
}

fn keep<T>(read: Result<T, String>, faults: &mut Vec<String>) -> Option<T> {
    read.map_err(|fault| faults.push(fault)).ok()
}

fn whole_number(name: &str, text: Option<&str>, default: u64, most: u64) -> Result<u64, String> {
    let Some(text) = text else {
        return Ok(default);
    };
    match text.trim().parse() {
        Ok(number) if number <= most => Ok(number),
        _ => Err(format!(
            "{name} is '{text}'; it must be a whole number from 0 to {most}"
        )),
    }
}

/// A value given directly or in a file; never both, since nobody could know which one counts.
fn secret(
    name: &str,
    value: Option<&str>,
    file: Option<&PathBuf>,
) -> Result<Option<String>, String> {
    match (value, file) {
        (Some(_), Some(_)) => Err(format!("{name} and {name}_FILE are both set; keep one")),
        (Some(value), None) => non_empty(name, value).map(Some),
        (None, Some(file)) => {
            let text = std::fs::read_to_string(file).map_err(|error| {
                format!(
                    "{name}_FILE is {}, which cannot be read: {error}",
                    file.display()
                )
            })?;
            non_empty(&format!("{name}_FILE"), &text).map(Some)
        }
        (None, None) => Ok(None),
    }
}

fn non_empty(name: &str, text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        Err(format!("{name} is empty; give it a value or unset it"))
    } else {
        Ok(text.to_owned())
    }
}

/// The variables that look like ours and are none: probably misspelt.
pub fn unknown_variables(environment: impl Iterator<Item = (OsString, OsString)>) -> Vec<String> {
    let names = environment.filter_map(|(name, _)| name.into_string().ok());
    let mut unknown: Vec<String> = names
        .filter(|name| trialmill_common::environment::is_unknown(name))
        .collect();
    unknown.sort();
    unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Settings {
        Settings {
            listen: DEFAULT_LISTEN.to_owned(),
            database_url: Some("postgres://u:p@localhost/t".to_owned()),
            amqp_url: Some("amqp://u:p@localhost:5672/%2f".to_owned()),
            ..Settings::default()
        }
    }

    fn faults(settings: &Settings) -> Vec<String> {
        settings.check().err().expect("the settings are wrong")
    }

    #[test]
    fn sound_settings_need_no_key_on_loopback() {
        let config = sound()
            .check()
            .unwrap_or_else(|faults| panic!("{faults:?}"));
        assert_eq!(config.listen.port(), 8080);
        assert_eq!(config.lease, Duration::from_secs(30));
        assert!(config.api_key.is_none());
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let settings = Settings {
            listen: "localhost".to_owned(),
            lease_seconds: Some("soon".to_owned()),
            api_key: Some("short".to_owned()),
            ..Settings::default()
        };
        let told = faults(&settings);
        for name in [
            "TRIALMILL_LISTEN",
            "DATABASE_URL",
            "AMQP_URL",
            "TRIALMILL_API_KEY",
            "TRIALMILL_LEASE_SECONDS",
        ] {
            assert!(
                told.iter().any(|fault| fault.starts_with(name)),
                "{name} in {told:?}"
            );
        }
        assert_eq!(told.len(), 5, "{told:?}");
    }

    #[test]
    fn limits_have_defaults_and_can_be_switched_off() {
        let config = |settings: Settings| settings.check().unwrap_or_else(|f| panic!("{f:?}"));
        let usual = config(sound());
        assert_eq!(usual.rate, RateLimit::new(500, 1000));
        assert_eq!(usual.quota.active_tasks, Some(200_000));
        assert_eq!(usual.quota.backlog_trials, Some(100_000_000));
        let off = Some("0".to_owned());
        let none = config(Settings {
            rate_per_second: off.clone(),
            max_active_tasks: off.clone(),
            max_backlog_trials: off,
            ..sound()
        });
        assert_eq!((none.rate, none.quota), (None, Quota::NONE));
        let wrong = |text: &str| Some(text.to_owned());
        let told = faults(&Settings {
            rate_per_second: wrong("-1"),
            rate_burst: wrong("1e3"),
            max_active_tasks: wrong("all"),
            max_backlog_trials: wrong("5000000000"),
            ..sound()
        });
        assert_eq!(told.len(), 4, "{told:?}");
    }

    #[test]
    fn a_secret_may_stand_in_a_file_but_not_in_both_places() {
        let file = std::env::temp_dir().join(format!("trialmill-key-{}", std::process::id()));
        std::fs::write(&file, format!("{}\n", "k".repeat(32))).unwrap();
        let settings = Settings {
            api_key_file: Some(file.clone()),
            ..sound()
        };
        assert!(
            settings
                .check()
                .is_ok_and(|config| config.api_key.is_some())
        );
        let both = Settings {
            api_key: Some("k".repeat(32)),
            ..settings
        };
        assert!(faults(&both)[0].contains("both set"));
        std::fs::remove_file(&file).unwrap();
        let gone = Settings {
            api_key_file: Some(file),
            ..sound()
        };
        assert!(faults(&gone)[0].contains("cannot be read"));
    }

    #[test]
    fn no_mistake_repeats_a_password() {
        let settings = Settings {
            database_url: Some("mysql://u:hunter2@localhost/t".to_owned()),
            amqp_url: Some("http://u:hunter2@localhost".to_owned()),
            api_key: Some("hunter2".to_owned()),
            ..sound()
        };
        let told = faults(&settings);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(
            told.iter().all(|fault| !fault.contains("hunter2")),
            "{told:?}"
        );
    }

    #[test]
    fn unknown_variables_are_named() {
        let environment = ["TRIALMILL_LISTEN", "TRIALMILL_LISTN", "HOME"];
        let environment = environment.map(|name| (name.into(), "x".into()));
        assert_eq!(
            unknown_variables(environment.into_iter()),
            ["TRIALMILL_LISTN"]
        );
    }
}
