//! The address of the database: which of its parts we read, and how it wants TLS.

use super::PgOptions;
use crate::error::StoreError;
use std::error::Error;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use trialmill_common::secret::masked;
use trialmill_tls::Trust;

/// The setting that names the authorities of the database's certificate.
pub const CA_SETTING: &str = "TRIALMILL_DATABASE_CA_FILE";

/// What is understood as `sslmode`. The three last ones mean the same: where TLS is demanded,
/// certificate and host name are verified.
const MODES: &str = "disable, prefer, require, verify-ca or verify-full";

/// The address with our options, or why it cannot be used.
///
/// # Errors
/// [`StoreError::Address`], without any part of the address that may be secret.
pub(super) fn config(url: &str, options: &PgOptions) -> Result<Config, StoreError> {
    let (url, mode_given) = our_mode(url).map_err(StoreError::Address)?;
    let mut config: Config = url.parse().map_err(|e: tokio_postgres::Error| {
        let why = reason(&e, &url);
        StoreError::Address(format!(
            "DATABASE_URL is no PostgreSQL address ({why}); write it like \
             postgres://user:password@host:5432/database, and every character of a password but \
             letters and digits percent-encoded"
        ))
    })?;
    secure(&mut config, mode_given, &options.trust).map_err(StoreError::Address)?;
    let given = config.get_options().unwrap_or_default().to_owned();
    let statement = options.statement_timeout;
    // A process that freezes inside a flush holds the task's row: it must lose it, and those who
    // wait must give up their own rows, well before a lease runs out.
    let idle_in_transaction = (statement / 3).max(Duration::from_secs(1)).as_millis();
    let lock = (statement / 4).max(Duration::from_millis(500)).as_millis();
    let statement = statement.as_millis();
    config.options(format!(
        "{given} -c statement_timeout={statement} -c lock_timeout={lock} \
         -c idle_in_transaction_session_timeout={idle_in_transaction} \
         -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=2 \
         -c tcp_user_timeout=20000 -c default_transaction_isolation=read\\ committed \
         -c timezone=UTC -c jit=off"
    ));
    config.application_name(&options.application_name);
    config.connect_timeout(options.connect_timeout);
    config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    config.keepalives_idle(Duration::from_secs(10));
    config.keepalives_interval(Duration::from_secs(5));
    config.keepalives_retries(2);
    config.tcp_user_timeout(Duration::from_secs(20));
    Ok(config)
}

/// The hosts of an address, for people.
pub(super) fn hosts(config: &Config) -> String {
    let hosts = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    });
    let hosts: Vec<_> = hosts.collect();
    match hosts.is_empty() {
        true => "the database".to_owned(),
        false => hosts.join(", "),
    }
}

/// The address with an `sslmode` that the client library knows, and whether it names one at all.
fn our_mode(url: &str) -> Result<(String, bool), String> {
    let mut named = false;
    let mut translate = |pair: &str| -> Result<String, String> {
        match pair.split_once('=') {
            Some(("sslmode", mode)) => {
                named = true;
                match mode {
                    "verify-ca" | "verify-full" => Ok("sslmode=require".to_owned()),
                    "disable" | "prefer" | "require" => Ok(pair.to_owned()),
                    "allow" => Err(format!(
                        "the sslmode of DATABASE_URL is 'allow', which tries without TLS first; \
                         use {MODES}"
                    )),
                    // The value stays unsaid: it may be a piece of a password.
                    _ => Err(format!("the sslmode of DATABASE_URL is none; use {MODES}")),
                }
            }
            Some(("sslrootcert", _)) => Err(format!(
                "DATABASE_URL has an sslrootcert, which is not read; name that file in {CA_SETTING}"
            )),
            Some((name @ ("sslcert" | "sslkey" | "sslpassword"), _)) => Err(format!(
                "DATABASE_URL has an {name}; client certificates are not spoken, take it out"
            )),
            _ => Ok(pair.to_owned()),
        }
    };
    let translated = if url.contains("://") {
        // The client library takes the first @ for the end of the login.
        let start = url.find("://").map_or(0, |at| at + 3);
        let login = url[start..].find('@').map_or(start, |at| start + at + 1);
        let parameters = url[login..].find('?');
        let place = parameters.map_or(&url[login..], |at| &url[login..login + at]);
        if url[start..login].contains(['/', '?', '#']) || place.contains('@') {
            // Else a piece of the password would be taken for host, database or user, and named in
            // errors, the server's own among them.
            return Err(
                "the login of DATABASE_URL has one of / ? # @ as it is; percent-encode every \
                 character of a password but letters and digits (%2F %3F %23 %40)"
                    .to_owned(),
            );
        }
        match parameters {
            None => url.to_owned(),
            Some(at) => {
                let (address, parameters) = url.split_at(login + at + 1);
                let parameters: Result<Vec<_>, _> =
                    parameters.split('&').map(&mut translate).collect();
                format!("{address}{}", parameters?.join("&"))
            }
        }
    } else {
        let pairs: Result<Vec<_>, _> = url.split(' ').map(&mut translate).collect();
        pairs?.join(" ")
    };
    Ok((translated, named))
}

/// Who names authorities counts on TLS: then it is demanded unless the address says otherwise.
fn secure(config: &mut Config, mode_given: bool, trust: &Trust) -> Result<(), String> {
    if !trust.is_named() {
        return Ok(());
    }
    if config.get_ssl_mode() == SslMode::Disable {
        return Err(format!(
            "{CA_SETTING} is set, but DATABASE_URL has sslmode=disable, which never uses it; take \
             one of them out"
        ));
    }
    if !mode_given {
        config.ssl_mode(SslMode::Require);
    }
    Ok(())
}

/// Why an address cannot be read. A word that the parser quotes is repeated only where it may be
/// seen anyway: in an address that is not written as it should be it may be a piece of the password.
fn reason(error: &tokio_postgres::Error, url: &str) -> String {
    let why = error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string);
    let quoted = why.split('`').nth(1);
    let known = |word: &str| KNOWN_OPTIONS.contains(&word) || masked(url).contains(word);
    match quoted {
        Some(word) if !known(word) => "a part of it cannot be read".to_owned(),
        _ => why,
    }
}

/// Names that the parser's complaints may repeat.
const KNOWN_OPTIONS: [&str; 8] = [
    "host",
    "hostaddr",
    "port",
    "connect_timeout",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
    "sslnegotiation",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> Result<SslMode, String> {
        match config(url, &PgOptions::default()) {
            Ok(config) => Ok(config.get_ssl_mode()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn every_mode_has_a_meaning_and_what_we_do_not_read_is_refused() {
        for (given, meant) in [
            ("disable", SslMode::Disable),
            ("prefer", SslMode::Prefer),
            ("require", SslMode::Require),
            ("verify-ca", SslMode::Require),
            ("verify-full", SslMode::Require),
        ] {
            let url = format!("postgres://u:p@h/d?sslmode={given}&connect_timeout=3");
            assert_eq!(mode(&url), Ok(meant));
            let pairs = format!("host=h user=u password='a b' sslmode={given}");
            assert_eq!(mode(&pairs), Ok(meant));
        }
        assert_eq!(mode("postgres://u:sslmode=allow@h/d"), Ok(SslMode::Prefer));
        for (url, told) in [
            ("postgres://u:a@b@h/d", "%40"),
            ("postgres://u:a/b@h/d", "%2F"),
            ("postgres://h/d?sslmode=allow", "verify-full"),
            ("postgres://h/d?sslmode=x", "verify-full"),
            ("postgres://h/d?sslrootcert=/ca.pem", CA_SETTING),
            ("host=h sslrootcert=/ca.pem", CA_SETTING),
            ("postgres://h/d?sslkey=/k.pem", "client certificates"),
        ] {
            let error = mode(url).unwrap_err();
            assert!(error.contains(told), "{url}: {error}");
        }
    }

    #[test]
    fn no_complaint_repeats_a_password() {
        for url in [
            "postgres://u:hunter2@h:port/d",
            "postgres://u:p@hunter2@h/d",
            "postgres://u:p@x/hunter2@h/d",
            "postgres://u:p/hunter2@h/d",
            "postgres://h/d?user=u&password=hunter2@x",
            "postgres://u:p@hunter2@h:x/d",
            "postgres://u:hun?hunter2=x@h/d",
            "postgres://u:x?y&hunter2=z@h/d",
            "postgres://h/d?hunter2",
            "postgres://h/d?password=x&hunter2=y",
            "postgres://h/d?sslmode=hunter2",
            "host=h password=x hunter2=y",
            "host=h password=x hunter2",
            "password='hunter2",
            "hunter2",
            "postgres://u:hunter2@h/d?connect_timeout=x",
        ] {
            let told = mode(url).map_or_else(|error| error, |_| String::new());
            assert!(!told.contains("hunter2"), "{url}: {told}");
        }
    }
}
