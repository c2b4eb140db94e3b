//! Where the brokers are. The only place that sees a password, and it never prints one.

use crate::BrokerError;
use lapin::uri::{AMQPScheme, AMQPUri};
use std::{fmt, str::FromStr};

/// One or more broker URLs, tried in turn: `amqp://user:password@host:5672/vhost`, or `amqps://` for
/// TLS (certificates are checked against the system's root store), comma separated. Characters such
/// as `,`, `@`, `/` and `:` in a password are percent-encoded. IPv6 literals are not supported; give
/// a host name.
///
/// ```
/// let urls: trialmill_broker::AmqpUrls = "amqp://worker:s3cret@a:5672/%2f,amqps://b".parse().unwrap();
/// assert_eq!(urls.to_string(), "amqp://worker:***@a:5672/%2f,amqps://guest:***@b:5671/%2f");
/// ```
#[derive(Clone)]
pub struct AmqpUrls(Vec<AmqpUrl>);

/// One broker URL; prints itself with its password masked.
#[derive(Clone)]
pub(super) struct AmqpUrl(AMQPUri);

impl AmqpUrls {
    /// The URL of attempt number `attempt`: they are tried in turn.
    pub(super) fn turn(&self, attempt: usize) -> &AmqpUrl {
        &self.0[attempt % self.0.len()]
    }
}

impl AmqpUrl {
    pub(super) fn uri(&self) -> AMQPUri {
        self.0.clone()
    }
}

impl FromStr for AmqpUrls {
    type Err = BrokerError;

    /// # Errors
    /// [`BrokerError::BadUrl`] for the first URL that cannot be used, with its password masked.
    fn from_str(list: &str) -> Result<Self, BrokerError> {
        list.split(',')
            .map(|url| parse(url.trim()))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn parse(url: &str) -> Result<AmqpUrl, BrokerError> {
    let refuse = |reason: &str| BrokerError::BadUrl {
        url: masked(url),
        reason: reason.to_owned(),
    };
    if !url.starts_with("amqp://") && !url.starts_with("amqps://") {
        return Err(refuse("it starts with neither amqp:// nor amqps://"));
    }
    if url.contains('[') {
        return Err(refuse("an IPv6 literal is not supported, give a host name"));
    }
    // The parser's own message may repeat the URL with its password.
    url.parse()
        .map(AmqpUrl)
        .map_err(|_: String| refuse("it cannot be parsed"))
}

/// A URL that may be malformed, without what may be its password and its query.
fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "***".to_owned();
    };
    match rest.rsplit_once('@') {
        Some((credentials, host)) => {
            let user = credentials.split(':').next().unwrap_or_default();
            let host = host.split('?').next().unwrap_or_default();
            format!("{scheme}://{user}:***@{host}")
        }
        None => format!("{scheme}://{}", rest.split('?').next().unwrap_or_default()),
    }
}

impl fmt::Display for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AMQPUri {
            scheme,
            authority,
            vhost,
            ..
        } = &self.0;
        let scheme = match scheme {
            AMQPScheme::AMQP => "amqp",
            AMQPScheme::AMQPS => "amqps",
        };
        let (user, host, port) = (
            &authority.userinfo.username,
            &authority.host,
            authority.port,
        );
        write!(
            f,
            "{scheme}://{user}:***@{host}:{port}/{}",
            vhost.replace('/', "%2f")
        )
    }
}

impl fmt::Display for AmqpUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, url) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{url}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for AmqpUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AmqpUrls({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for list in [
            "amqp://user:hunter2@host",
            "amqp://user:hunter2@host:99999",
            "amqp://user:hun/ter2@host",
            "amqp://user:p@hunter2@host/v?x=1",
            "http://user:hunter2@host",
            "user:hunter2@host",
            "amqp://user:hunter2@[::1]:5672",
            "hunter2",
            "amqp://user:hunter2@host,",
            "amqp://a,amqp://user:hunter2@ho st",
        ] {
            let shown = match list.parse::<AmqpUrls>() {
                Ok(urls) => format!("{urls} {urls:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(
                !shown.contains("hunter2") && !shown.contains("ter2"),
                "{list}: {shown}"
            );
        }
    }

    #[test]
    fn urls_are_tried_in_turn() {
        let urls: AmqpUrls = "amqp://a, amqp://b".parse().unwrap();
        let hosts: Vec<_> = (0..3).map(|i| urls.turn(i).uri().authority.host).collect();
        assert_eq!(hosts, ["a", "b", "a"]);
    }

    #[test]
    fn an_unusable_url_says_what_is_wrong() {
        for list in [
            "",
            "localhost:5672",
            "amqp://a,,amqp://b",
            "amqp://[::1]",
            "amqp://h:port",
        ] {
            assert!(
                matches!(list.parse::<AmqpUrls>(), Err(BrokerError::BadUrl { .. })),
                "{list}"
            );
        }
    }
}
