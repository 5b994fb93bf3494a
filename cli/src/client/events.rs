//! Server-sent events: what a run tells while it goes on.

use std::collections::VecDeque;

use heddle_error_chain::chain;
use reqwest::Response;
use serde_json::Value;

use super::types::Waiting;
use crate::error::{Exit, Failure, Result};
use crate::limits::EVENT_BYTES_MAX;

/// What the server says last; a stream that breaks does not say it.
const END: &str = "stream.end";
/// What it says when it ends a stream before all is told: it can be taken up again.
const CLOSED: &str = "stream.closed";

/// One event of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its place in the run's history; `None` for those that live only now (progress, tokens).
    pub seq: Option<u64>,
    /// `node.completed`, `run.started`…
    pub kind: String,
    /// As the server sent it.
    pub data: Value,
}

/// What a run asks of people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The node that asks.
    pub node: String,
    /// The review.
    pub review: String,
}

impl Event {
    /// The reviews that open with it.
    pub fn asked(&self) -> Vec<Asked> {
        let decided = self.data.get("decided").and_then(Value::as_array).into_iter().flatten();
        let read = |item: &Value| {
            let text = |name: &str| item[name].as_str().map(str::to_owned);
            Some(Asked { node: text("nodeId")?, review: text("reviewId")? })
        };
        decided.filter(|item| item["state"] == "WAITING").filter_map(read).collect()
    }

    /// What somebody has to send to nodes that begin to wait with it: their node, and the signal or the address.
    pub fn awaited(&self) -> Vec<Waiting> {
        let decided = self.data.get("decided").and_then(Value::as_array).into_iter().flatten();
        let read = |item: &Value| {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let (signal, url) = (text(&item["signal"]), text(&item["outputs"]["url"]));
            let kind = if signal.is_some() { "signal" } else { "webhook" }.to_owned();
            let node_id = text(&item["nodeId"]).filter(|_| signal.is_some() || url.is_some())?;
            let index = item["index"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
            Some(Waiting { kind, node_id, index, signal, url, ..Waiting::default() })
        };
        decided.filter(|item| item["state"] == "WAITING").filter_map(read).collect()
    }

    /// The review that it closes.
    pub fn answered(&self) -> Option<&str> {
        // One that waits for further people stays open.
        let closes = self.kind.starts_with("review.") && self.data["state"] != "WAITING";
        self.data["reviewId"].as_str().filter(|_| closes)
    }
}

/// A stream of events that remembers where it is.
#[derive(Debug)]
pub struct EventStream {
    response: Response,
    parser: Parser,
    after: String,
    is_over: bool,
}

impl EventStream {
    pub(super) fn new(response: Response, after: &str) -> Self {
        EventStream { response, parser: Parser::default(), after: after.to_owned(), is_over: false }
    }

    /// The id of the youngest event read: where the next stream goes on.
    pub fn after(&self) -> &str {
        &self.after
    }

    /// Whether all was told.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// The next event; `None` at the stream's end. May be dropped and called again.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some((id, event)) = self.parser.ready.pop_front() {
                self.is_over = event.kind == END;
                if matches!(event.kind.as_str(), END | CLOSED) {
                    return Ok(None);
                }
                self.after = id.unwrap_or_else(|| std::mem::take(&mut self.after));
                return Ok(Some(event));
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.parser.push(&chunk)?,
                Ok(None) => return Ok(None),
                Err(error) => {
                    return Err(Failure::new(Exit::Failed, format!("the event stream broke: {}", chain(&error))));
                }
            }
        }
    }
}

/// Cuts bytes into events, after the WHATWG standard: fields `id`, `event`, `data`; an empty line ends an event.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    id: Option<String>,
    kind: String,
    data: String,
    /// With the id that each had.
    ready: VecDeque<(Option<String>, Event)>,
}

impl Parser {
    fn push(&mut self, chunk: &[u8]) -> Result<()> {
        for &byte in chunk {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned();
            self.take_line(&line);
        }
        if self.line.len() + self.data.len() > EVENT_BYTES_MAX {
            return Err(Failure::failed(format!("an event is larger than {EVENT_BYTES_MAX} bytes")));
        }
        Ok(())
    }

    fn take_line(&mut self, line: &str) {
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = Some(value.to_owned()),
            "event" => self.kind = value.to_owned(),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            _ => {}
        }
    }

    fn dispatch(&mut self) {
        let (id, kind, data) = (self.id.take(), std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
        if data.is_empty() && kind.is_empty() {
            return;
        }
        let data: Value = serde_json::from_str(&data).unwrap_or(Value::String(data));
        let named = data.get("type").and_then(Value::as_str).map(str::to_owned);
        let kind = if kind.is_empty() { named.unwrap_or_default() } else { kind };
        // Words of nodes at work have an id, too, but no place in the history.
        let seq = data.get("seq").and_then(Value::as_u64).or_else(|| id.as_ref()?.parse().ok());
        self.ready.push_back((id, Event { seq, kind, data }));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(text: &str, chunk_bytes: usize) -> Vec<Event> {
        let mut parser = Parser::default();
        for chunk in text.as_bytes().chunks(chunk_bytes) {
            parser.push(chunk).unwrap();
        }
        parser.ready.into_iter().map(|(_, event)| event).collect()
    }

    #[test]
    fn events_survive_any_cut() {
        let text = ": hello\r\n\r\nid: 3\r\nevent: node.completed\r\ndata: {\"nodeId\":\r\ndata: \"é\"}\r\n\r\n\
                    event: node.progress\ndata: {\"progress\":0.5}\n\n\nid: 4\ndata: {\"type\":\"run.completed\"}\n\n";
        let expected = [
            Event { seq: Some(3), kind: "node.completed".into(), data: json!({"nodeId": "é"}) },
            Event { seq: None, kind: "node.progress".into(), data: json!({"progress": 0.5}) },
            Event { seq: Some(4), kind: "run.completed".into(), data: json!({"type": "run.completed"}) },
        ];
        for chunk_bytes in [1, 2, 7, 1000] {
            assert_eq!(parse(text, chunk_bytes), expected, "{chunk_bytes}");
        }
    }

    #[test]
    fn every_id_is_a_place_and_only_the_history_has_numbers() {
        let mut parser = Parser::default();
        let text = "id: 3.12\nevent: node.completed\ndata: {\"seq\":3}\n\nid: 3.13\nevent: node.delta\ndata: {}\n\n";
        parser.push(text.as_bytes()).unwrap();
        let read: Vec<_> = parser.ready.iter().map(|(id, event)| (id.as_deref(), event.seq)).collect();
        assert_eq!(read, [(Some("3.12"), Some(3)), (Some("3.13"), None)]);
    }

    #[test]
    fn an_unfinished_event_is_not_told() {
        assert_eq!(parse("id: 1\nevent: run.started\ndata: {}\n", 1000), []);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut parser = Parser::default();
        assert!(parser.push(&vec![b'x'; EVENT_BYTES_MAX + 1]).is_err());
    }
}
