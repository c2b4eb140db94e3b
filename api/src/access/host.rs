//! For which name a request was meant.
//!
//! A web page may point a name of its own at 127.0.0.1 (DNS rebinding): the browser of somebody who
//! works on this machine then sends that page's requests to a service on loopback. Such a request
//! carries the page's name. Without a key to tell friends from strangers, only names that nobody
//! else can give are served.

use axum::http::{HeaderMap, Uri, header};
use std::net::IpAddr;

/// The name in the request that is neither an address nor `localhost`, if there is one.
pub(super) fn foreign<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    // HTTP/2 has it in the target; a header that is not text is no name of ours.
    let given = match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers
            .get(header::HOST)
            .map(|host| host.to_str().unwrap_or("?")),
    };
    given.filter(|host| !is_local(host))
}

fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.to_ascii_lowercase();
    // An address is no name that could be pointed elsewhere.
    name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_can_be_pointed_elsewhere_are_foreign() {
        for local in [
            "localhost",
            "LocalHost:8080",
            "app.localhost",
            "127.0.0.1:8080",
            "[::1]:8080",
            "[::1]",
            "192.168.1.7",
        ] {
            assert!(is_local(local), "{local}");
        }
        for foreign in [
            "attacker.example",
            "localhost.attacker.example:8080",
            "127.0.0.1.nip.io",
            "",
            "[attacker]",
            "notlocalhost",
        ] {
            assert!(!is_local(foreign), "{foreign}");
        }
    }

    #[test]
    fn the_target_counts_before_the_header_and_none_is_not_foreign() {
        let mut headers = HeaderMap::new();
        let bare = Uri::from_static("/api/v1/workers");
        assert_eq!(foreign(&headers, &bare), None);
        headers.insert(header::HOST, "evil.example".parse().unwrap());
        assert_eq!(foreign(&headers, &bare), Some("evil.example"));
        let whole = Uri::from_static("http://localhost:8080/api/v1/workers");
        assert_eq!(foreign(&headers, &whole), None);
    }
}
