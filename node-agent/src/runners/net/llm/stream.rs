//! An answer that comes piece by piece.

use std::collections::BTreeMap;

use bytes::Bytes;
use eventsource_stream::{EventStreamError, Eventsource};
use futures::StreamExt;
use reqwest::Response;
use serde_json::{Value, json};

use super::answer::{Answer, failed, reasoning, words};
use crate::limits::{LLM_RESPONSE_BYTES_MAX, LLM_TOOL_CALLS_MAX};
use crate::runners::net::credential::{Secret, Veil};
use crate::runners::net::fault::{self, Repeat};
use crate::runners::{Context, ErrorClass, Failure};

/// How the parser calls events that the server gives no name.
const UNNAMED: &str = "message";

/// Reads the stream to its end and shows its words meanwhile.
pub(super) async fn read(
    response: Response,
    host: &str,
    secret: Option<&Secret>,
    context: &Context,
) -> Result<Answer, Failure> {
    // One event is never longer than all of them may be: the parser keeps what has no end yet.
    let mut left = LLM_RESPONSE_BYTES_MAX;
    let bounded = response.bytes_stream().map(move |piece| {
        let piece = piece.map_err(Broken::Off)?;
        left = left.checked_sub(piece.len()).ok_or(Broken::TooLong)?;
        Ok::<Bytes, Broken>(piece)
    });
    let mut events = std::pin::pin!(bounded.eventsource());
    let mut partial = Partial::default();
    let mut veil = Veil::over(secret);
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| broken(error, host))?;
        let data = event.data.trim();
        if data == "[DONE]" {
            partial.is_done = true;
            break;
        }
        let Ok(json) = serde_json::from_str::<Value>(data) else {
            // Some servers send events of their own. A piece that cannot be read may have held words.
            match data.is_empty() || event.event != UNNAMED {
                true => continue,
                false => return Err(garbled(host)),
            }
        };
        if !json["error"].is_null() {
            return Err(failed(&json["error"], host, secret));
        }
        let words = partial.take(&json)?.map(|words| veil.pass(&words)).filter(|words| !words.is_empty());
        if let Some(words) = words {
            context.partial("text", Bytes::from(words));
        }
    }
    let rest = veil.rest();
    if !rest.is_empty() {
        context.partial("text", Bytes::from(rest));
    }
    partial.into_answer(host)
}

fn garbled(host: &str) -> Failure {
    let message = format!(
        "{host} sends a piece that cannot be read; the answer may have been charged, and is asked for again; if it stays \
         so, set stream to false"
    );
    Failure::new(ErrorClass::UnknownOutcome, "stream_unreadable", message)
}

enum Broken {
    Off(reqwest::Error),
    TooLong,
}

fn broken(error: EventStreamError<Broken>, host: &str) -> Failure {
    match error {
        EventStreamError::Transport(Broken::Off(error)) => {
            let lost = fault::unanswered(error, host, Repeat::Harmful);
            Failure { code: "stream_truncated".into(), ..lost }
        }
        EventStreamError::Transport(Broken::TooLong) => {
            let message = format!("the answer of {host} has more than {LLM_RESPONSE_BYTES_MAX} bytes; lower maxTokens");
            Failure::new(ErrorClass::InvalidRequest, "response_too_large", message)
        }
        EventStreamError::Utf8(_) | EventStreamError::Parser(_) => {
            let message = format!("{host} sends a stream that cannot be read; set stream to false");
            Failure::new(ErrorClass::InvalidRequest, "stream_unreadable", message)
        }
    }
}

/// What has come so far.
#[derive(Default)]
struct Partial {
    answer: Answer,
    tool_calls: BTreeMap<u64, Value>,
    is_done: bool,
}

impl Partial {
    /// Takes a piece in; gives its words.
    fn take(&mut self, json: &Value) -> Result<Option<String>, Failure> {
        self.answer.take_facts(json);
        let choice = &json["choices"][0];
        if let Some(finish) = choice["finish_reason"].as_str() {
            self.answer.finish = finish.to_owned();
        }
        for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            self.take_call(call)?;
        }
        let delta = &choice["delta"];
        self.answer.reasoning.push_str(reasoning(delta));
        self.answer.refusal.push_str(delta["refusal"].as_str().unwrap_or_default());
        let words = words(&delta["content"]);
        self.answer.text.push_str(&words);
        Ok(Some(words).filter(|words| !words.is_empty()))
    }

    /// Id and name come first, then the arguments in pieces.
    fn take_call(&mut self, call: &Value) -> Result<(), Failure> {
        let index = call["index"].as_u64().unwrap_or_else(|| self.uncounted(&call["id"]));
        if self.tool_calls.len() >= LLM_TOOL_CALLS_MAX && !self.tool_calls.contains_key(&index) {
            let message = format!("the model calls more than {LLM_TOOL_CALLS_MAX} tools at once; give it fewer");
            return Err(Failure::new(ErrorClass::InvalidRequest, "tool_calls_too_many", message));
        }
        let known = self
            .tool_calls
            .entry(index)
            .or_insert_with(|| json!({"id": "", "type": "function", "function": {"name": "", "arguments": ""}}));
        let function = &call["function"];
        for (path, piece) in [("/id", &call["id"]), ("/function/name", &function["name"])] {
            // Some servers say them again with every piece.
            if let (Some(Value::String(known)), Some(piece)) = (known.pointer_mut(path), piece.as_str())
                && known.is_empty()
            {
                known.push_str(piece);
            }
        }
        if let (Some(Value::String(known)), Some(piece)) =
            (known.pointer_mut("/function/arguments"), function["arguments"].as_str())
        {
            known.push_str(piece);
        }
        Ok(())
    }

    /// The place of a piece of a call that the server gives no number: what has an id of its own is a call of its own.
    fn uncounted(&self, id: &Value) -> u64 {
        let last = self.tool_calls.last_key_value();
        last.map_or(0, |(index, known)| match id.as_str() {
            Some(id) if !id.is_empty() && known["id"] != id => index + 1,
            _ => *index,
        })
    }

    fn into_answer(self, host: &str) -> Result<Answer, Failure> {
        if !self.is_done && self.answer.finish.is_empty() {
            let message = format!("the answer of {host} broke off; it may have been charged, and is asked for again");
            return Err(Failure::new(ErrorClass::UnknownOutcome, "stream_truncated", message));
        }
        let finish = if self.answer.finish.is_empty() { "stop".to_owned() } else { self.answer.finish.clone() };
        Ok(Answer { tool_calls: self.tool_calls.into_values().collect(), finish, ..self.answer })
    }
}
