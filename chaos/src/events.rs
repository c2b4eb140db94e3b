//! Server-sent events out of a response, as far as the API writes them.

use anyhow::bail;
use serde_json::Value;
use std::time::Duration;

/// The API sends a comment every 15 s; a stream that is silent for longer is dead.
const SILENCE: Duration = Duration::from_secs(40);

/// The events of one connection.
pub struct Events {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

impl Events {
    /// Reads the events of a response.
    #[must_use]
    pub fn new(response: reqwest::Response) -> Self {
        Self {
            response,
            buffer: Vec::new(),
        }
    }

    /// The next event's number and document; nothing at the end of the stream.
    ///
    /// # Errors
    /// When the connection breaks or is silent, or when an event cannot be read.
    pub async fn next(&mut self) -> anyhow::Result<Option<(u64, Value)>> {
        loop {
            // A whole event ends with an empty line.
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let bytes: Vec<u8> = self.buffer.drain(..end + 2).collect();
                if let Some(event) = read(&String::from_utf8_lossy(&bytes))? {
                    return Ok(Some(event));
                }
                continue;
            }
            match tokio::time::timeout(SILENCE, self.response.chunk()).await?? {
                None => return Ok(None),
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
            }
        }
    }
}

/// One event; nothing for a comment.
fn read(text: &str) -> anyhow::Result<Option<(u64, Value)>> {
    let field = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines
            .find(|(field, _)| *field == name)
            .map(|(_, value)| value.trim())
    };
    match (field("id"), field("data")) {
        (Some(id), Some(data)) => Ok(Some((id.parse()?, serde_json::from_str(data)?))),
        (None, None) => Ok(None),
        _ => bail!("an event has an id or data only: {text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_its_number_and_document_and_a_comment_is_none() {
        let event = read("id: 3\nevent: trials\ndata: {\"seq\":3,\"a\":\"b: c\"}\n\n").unwrap();
        let (id, data) = event.expect("an event");
        assert_eq!((id, &data["a"]), (3, &Value::from("b: c")));
        assert_eq!(read(":\n\n").unwrap(), None);
        assert!(read("id: 3\n\n").is_err());
    }
}
