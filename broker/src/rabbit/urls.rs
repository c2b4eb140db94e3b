//! Where the brokers are. The only place that sees a password, and it never prints one.

use crate::BrokerError;
use lapin::uri::{AMQPScheme, AMQPUri};
use std::{fmt, str::FromStr};
use trialmill_common::secret::masked;
use trialmill_tls::Trust;

/// One or more broker URLs, tried in turn: `amqp://user:password@host:5672/vhost`, or `amqps://` for
/// TLS (see [`RabbitOptions::trust`](super::RabbitOptions::trust)), comma separated. Characters such
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

    /// Whether what is trusted fits the addresses.
    ///
    /// # Errors
    /// [`BrokerError::NoTls`] when authorities are named and no address asks for TLS: somebody
    /// counts on what would not be there.
    pub fn check_trust(&self, trust: &Trust) -> Result<(), BrokerError> {
        if trust.is_named() && !self.0.iter().any(AmqpUrl::wants_tls) {
            return Err(BrokerError::NoTls {
                setting: CA_SETTING,
            });
        }
        Ok(())
    }
}

impl AmqpUrl {
    pub(super) fn uri(&self) -> AMQPUri {
        self.0.clone()
    }

    pub(super) fn wants_tls(&self) -> bool {
        self.0.scheme == AMQPScheme::AMQPS
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
    let place = url.split_once("://").map_or("", |(_, rest)| rest);
    let end = place.find(['/', '?', '#']).unwrap_or(place.len());
    if place[end..].contains('@') {
        // Else a piece of the password would be taken for the virtual host, which is shown.
        return Err(refuse(
            "its login has one of / ? # as it is, or its virtual host an @; percent-encode it",
        ));
    }
    // The parser's own message may repeat the URL with its password.
    let uri: AMQPUri = url
        .parse()
        .map_err(|_: String| refuse("it cannot be parsed"))?;
    let parameters = url.split_once('?').map_or("", |(_, after)| after);
    let name = |pair: &'_ str| pair.split('=').next().unwrap_or_default().to_owned();
    for name in parameters.split('&').map(name) {
        if TLS_PARAMETERS.contains(&name.as_str()) {
            return Err(refuse(&format!(
                "the parameter {name} is not read, certificate and host name of amqps:// are \
                 always verified; authorities of your own are named in {CA_SETTING}"
            )));
        }
        if !name.is_empty() && !PARAMETERS.contains(&name.as_str()) {
            // Its name stays unsaid: it may be a piece of a password.
            return Err(refuse(&format!(
                "it has a parameter that is none; use {}",
                PARAMETERS.join(", ")
            )));
        }
    }
    Ok(AmqpUrl(uri))
}

/// The setting that names the authorities of the brokers' certificates.
pub const CA_SETTING: &str = "TRIALMILL_AMQP_CA_FILE";

/// Parameters of a URL that the client library reads.
const PARAMETERS: [&str; 5] = [
    "heartbeat",
    "connection_timeout",
    "channel_max",
    "frame_max",
    "auth_mechanism",
];

/// Parameters of RabbitMQ's own clients that say how TLS is spoken. To overlook them would be to
/// verify less, or otherwise, than somebody counts on.
const TLS_PARAMETERS: [&str; 7] = [
    "cacertfile",
    "certfile",
    "keyfile",
    "verify",
    "fail_if_no_peer_cert",
    "server_name_indication",
    "depth",
];

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
            "amqp://user:pass,hunter2@host",
            "amqp://user:%68%75nter2@host?hunter2=1",
            "amqp://host?password=hunter2",
            "amqp://user:1/hunter2@host",
            "amqp://user:/hunter2@host/v",
            "amqp://user@host/hunter2@x",
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
            "amqps://h?verify=verify_none",
            "amqps://h/%2f?cacertfile=/ca.pem",
            "amqp://h?hartbeat=5",
        ] {
            assert!(
                matches!(list.parse::<AmqpUrls>(), Err(BrokerError::BadUrl { .. })),
                "{list}"
            );
        }
    }
}
