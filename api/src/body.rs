//! Reading a body within its bound.

use crate::limits::{BODY_TIME, DISCARD_BYTES, MAX_BODY_BYTES};
use crate::problem::{Class, Problem};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use futures::StreamExt;
use tokio::time::{Instant, timeout_at};

/// Reads the body of a request that must be JSON.
///
/// # Errors
/// 415 for another content type or a packed body, 413 above [`MAX_BODY_BYTES`], 422 when the client stopped sending,
/// 408 when the body is not complete after [`BODY_TIME`].
pub(crate) async fn read_json(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Problem> {
    check_content_type(headers)?;
    read(headers, body).await
}

/// Reads the body of a request that may have none; if it has one it must be JSON.
///
/// # Errors
/// As [`read_json`].
pub(crate) async fn read_optional_json(
    headers: &HeaderMap,
    body: Body,
) -> Result<Vec<u8>, Problem> {
    let bytes = read(headers, body).await?;
    if !bytes.is_empty() {
        check_content_type(headers)?;
    }
    Ok(bytes)
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Problem> {
    check_encoding(headers)?;
    let announced = content_length(headers);
    let mut bytes = Vec::new();
    let mut discarded = 0_u64;
    let mut chunks = body.into_data_stream();
    if announced.is_some_and(|length| length > DISCARD_BYTES) {
        return Err(too_large());
    }
    let end = Instant::now() + BODY_TIME;
    loop {
        let chunk = match timeout_at(end, chunks.next()).await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            Err(_) if discarded > 0 => break,
            Err(_) => return Err(too_slow()),
        };
        let chunk = chunk.map_err(|error| {
            Problem::new(
                Class::InvalidRequest,
                format!("the body ended before it was complete: {error}; send it again"),
            )
        })?;
        if discarded == 0 && bytes.len() + chunk.len() <= MAX_BODY_BYTES {
            bytes.extend_from_slice(&chunk);
            continue;
        }
        bytes = Vec::new();
        discarded += chunk.len() as u64;
        if discarded > DISCARD_BYTES {
            break;
        }
    }
    if discarded > 0 {
        Err(too_large())
    } else {
        Ok(bytes)
    }
}

fn too_slow() -> Problem {
    let seconds = BODY_TIME.as_secs();
    Problem::new(
        Class::BodyTooSlow,
        format!("the body was not complete after {seconds} s; nothing was stored; send it again"),
    )
}

fn too_large() -> Problem {
    Problem::new(
        Class::BodyTooLarge,
        format!("the body is larger than {MAX_BODY_BYTES} bytes, the limit; shorten the request"),
    )
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// `application/json` or `application/<something>+json`, with any parameters.
fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let found = headers
        .get(header::CONTENT_TYPE)
        .map(|value| value.to_str().unwrap_or_default());
    let media_type = found.map(|value| value.split(';').next().unwrap_or_default().trim());
    let is_json = media_type.is_some_and(|media_type| {
        let media_type = media_type.to_ascii_lowercase();
        media_type
            .strip_prefix("application/")
            .is_some_and(|s| s == "json" || s.ends_with("+json"))
    });
    if is_json {
        return Ok(());
    }
    let found = found.map_or_else(
        || "none was sent".to_owned(),
        |found| format!("found '{}'", found.chars().take(100).collect::<String>()),
    );
    Err(Problem::new(
        Class::UnsupportedMediaType,
        format!("send the request as Content-Type: application/json; {found}"),
    ))
}

/// Bodies are taken as they are: a packed one might unpack to anything.
fn check_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    let plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    match headers.get(header::CONTENT_ENCODING) {
        Some(found) if !plain(found) => {
            let found = String::from_utf8_lossy(found.as_bytes());
            Err(Problem::new(
                Class::UnsupportedMediaType,
                format!(
                    "send the body as it is, without Content-Encoding; found '{}'",
                    found.chars().take(100).collect::<String>()
                ),
            ))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_types_are_accepted_and_others_are_not() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            check_content_type(&headers).is_ok()
        };
        assert!(with("application/json"));
        assert!(with("Application/JSON; charset=utf-8"));
        assert!(with("application/vnd.trialmill+json"));
        assert!(!with("text/json"));
        assert!(!with("application/x-www-form-urlencoded"));
        assert!(check_content_type(&HeaderMap::new()).is_err());
    }
}
