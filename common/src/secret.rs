//! What must never be shown: secrets, and addresses that hold one.

use std::fmt;

/// A text that no log and no error may repeat. Shows itself as stars.
///
/// ```
/// use trialmill_common::secret::Secret;
///
/// let key = Secret::from("hunter2");
/// assert_eq!(format!("{key} {key:?}"), "*** ***");
/// assert_eq!(key.reveal(), "hunter2");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the one place that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What an address shows where all of it might be a secret.
const NOT_SHOWN: &str = "(not shown)";

/// The address of a server as it may be shown: without password and parameters. It may be malformed,
/// and where it cannot be told what is the password, less of it is left. What is no URL
/// (`key=value` pairs, a password that was put in the wrong place) is not shown at all.
///
/// ```
/// use trialmill_common::secret::masked;
///
/// assert_eq!(masked("postgres://mill:hunter2@db/mill?sslmode=require"), "postgres://mill:***@db/mill?***");
/// assert_eq!(masked("host=db password=hunter2"), "(not shown)");
/// ```
#[must_use]
pub fn masked(address: &str) -> String {
    let Some((scheme, rest)) = address.trim().split_once("://") else {
        return NOT_SHOWN.to_owned();
    };
    if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return NOT_SHOWN.to_owned();
    }
    let (login, place) = match rest.rsplit_once('@') {
        // Either a password that should have been percent-encoded, or one among the parameters.
        Some((login, _)) if login.contains(['?', '#']) => {
            return format!("{scheme}://{NOT_SHOWN}");
        }
        // A login without a password and more behind it: a path with an @, or a password after it.
        Some((login, _)) if !login.contains(':') && login.contains(['/', '@']) => {
            return format!("{scheme}://{NOT_SHOWN}");
        }
        Some((login, place)) => (Some(login), place),
        None => (None, rest),
    };
    let (place, parameters) = match place.find(['?', '#']) {
        Some(at) => (&place[..at], "?***"),
        None => (place, ""),
    };
    let user = login.map(|login| match login.split_once(':') {
        Some((user, _)) => format!("{user}:***@"),
        None => format!("{login}@"),
    });
    let user = user.unwrap_or_default();
    format!("{scheme}://{user}{}{parameters}", without_password(place))
}

/// A host without what follows its colon unless that is a port: it may be the beginning of a
/// password whose `@` is missing.
fn without_password(place: &str) -> String {
    let hosts = place.find('/').unwrap_or(place.len());
    let (hosts, path) = place.split_at(hosts);
    let is_port = |text: &str| text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let sound = hosts.split(',').all(|host| {
        let after_literal = host.rsplit(']').next().unwrap_or_default();
        after_literal
            .split_once(':')
            .is_none_or(|(_, port)| is_port(port))
    });
    if sound {
        return format!("{hosts}{path}");
    }
    let shown = hosts.split(':').next().unwrap_or_default();
    format!("{shown}:***")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_where_but_not_how() {
        for (address, shown) in [
            ("postgres://u:p@h:5432/db", "postgres://u:***@h:5432/db"),
            ("postgres://u@h/db", "postgres://u@h/db"),
            ("postgres://h:5432/db", "postgres://h:5432/db"),
            ("postgres://u:p@a:1,b:2/db", "postgres://u:***@a:1,b:2/db"),
            (
                "postgres://u:p@[::1]:5432/db",
                "postgres://u:***@[::1]:5432/db",
            ),
            ("postgres:///db?host=/tmp", "postgres:///db?***"),
            ("amqps://u:p@h:5671/%2f", "amqps://u:***@h:5671/%2f"),
        ] {
            assert_eq!(masked(address), shown);
        }
    }

    #[test]
    fn no_form_of_an_address_shows_its_password() {
        for address in [
            "postgres://u:hunter2@h/db",
            "postgres://u:p@hunter2@h/db",
            "postgres://u:hunter2@",
            "postgres://u:hunter2",
            "postgres://u:hunter2/db",
            "postgres://u:x/hunter2@h",
            "postgres://u:x?hunter2=y@h",
            "postgres://u:x#hunter2@h",
            "postgres://h/db?user=u&password=hunter2",
            "postgres://h/db?user=u&password=x@hunter2",
            "postgres://u:p@h/db?sslpassword=hunter2",
            "postgres://u:p@h:hunter2/db",
            "host=h user=u password=hunter2",
            "password='hunter2 x' host=h",
            "hunter2",
            "hunter2@h",
            "u:hunter2@h",
            "u hunter2://h",
            "amqp://u:%68unter2@hunter2:hunter2@h",
            "amqp://u:x,hunter2@h",
            "amqp://u:hunter2, amqp://h",
            "://hunter2",
            "",
        ] {
            let shown = masked(address);
            assert!(!shown.contains("hunter2"), "{address}: {shown}");
        }
    }
}
