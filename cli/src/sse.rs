//! Server-sent events out of a stream of bytes (HTML standard, section 9.2.6), as far as the API
//! writes them.

use futures::StreamExt;
use futures::stream::BoxStream;
use reqwest::Response;
use serde_json::Value;

/// Longest line read: an event names the trials of one write, a few kB.
const MAX_LINE_BYTES: usize = 16 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What to send as `Last-Event-ID`.
    pub id: Option<String>,
    /// Its type.
    pub name: String,
    /// Its document; null when it is none.
    pub data: Value,
}

/// The events of a response.
pub struct Events {
    bytes: BoxStream<'static, Result<Vec<u8>, reqwest::Error>>,
    parser: Parser,
}

/// Why a stream broke.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The connection.
    #[error("{0}")]
    Connection(#[from] reqwest::Error),
    /// A line without end.
    #[error("a line of the events is longer than {MAX_LINE_BYTES} bytes")]
    TooLong,
}

impl Events {
    /// Reads the events of a response.
    pub fn new(response: Response) -> Self {
        let bytes = response
            .bytes_stream()
            .map(|chunk| chunk.map(|bytes| bytes.to_vec()))
            .boxed();
        Self {
            bytes,
            parser: Parser::default(),
        }
    }

    /// The next event; nothing at the end of the stream. Cancel safe.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn next(&mut self) -> Result<Option<Event>, StreamError> {
        loop {
            if let Some(event) = self.parser.next() {
                return Ok(Some(event));
            }
            match self.bytes.next().await {
                None => return Ok(None),
                Some(chunk) => self.parser.feed(&chunk?)?,
            }
        }
    }
}

/// Bytes that came, and the event that is being put together.
#[derive(Default)]
struct Parser {
    buffer: Vec<u8>,
    id: Option<String>,
    name: String,
    data: String,
}

impl Parser {
    fn feed(&mut self, chunk: &[u8]) -> Result<(), StreamError> {
        self.buffer.extend_from_slice(chunk);
        if self.buffer.len() > MAX_LINE_BYTES && !self.buffer.contains(&b'\n') {
            return Err(StreamError::TooLong);
        }
        Ok(())
    }

    /// The next whole event of what was fed.
    fn next(&mut self) -> Option<Event> {
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                let (data, name) = (
                    std::mem::take(&mut self.data),
                    std::mem::take(&mut self.name),
                );
                if data.is_empty() {
                    continue;
                }
                let data = serde_json::from_str(&data).unwrap_or_default();
                return Some(Event {
                    id: self.id.clone(),
                    name,
                    data,
                });
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => self.id = Some(value.to_owned()),
                "event" => value.clone_into(&mut self.name),
                "data" => {
                    if !self.data.is_empty() {
                        self.data.push('\n');
                    }
                    self.data.push_str(value);
                }
                // Comments (an empty field) keep the connection open; others mean nothing here.
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_come_out_whole_however_the_bytes_are_cut() {
        let text = ": hello\n\nid: 1\nevent: accepted\ndata: {\"seq\":1}\n\nid: 2\r\nevent: trials\r\n\
                    data: {\"name\":\r\ndata: \"测试\"}\r\n\r\nid: 3\nevent: cut";
        let first = Event {
            id: Some("1".into()),
            name: "accepted".into(),
            data: json!({"seq": 1}),
        };
        let second = Event {
            id: Some("2".into()),
            name: "trials".into(),
            data: json!({"name": "测试"}),
        };
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for chunk in text.as_bytes().chunks(size) {
                parser.feed(chunk).unwrap();
                while let Some(event) = parser.next() {
                    events.push(event);
                }
            }
            assert_eq!(events, [first.clone(), second.clone()], "chunks of {size}");
        }
    }
}
