//! Conversations, whole or as a stream of pieces.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, Stream};
use serde_json::{Value, json};

use crate::answer;
use crate::limits::BREAK_DELAY_MS;
use crate::script::Step;

/// When every answer was given: the same request has the same answer.
pub(crate) const CREATED: u64 = 1_700_000_000;

/// Answers a conversation.
pub(crate) fn respond(request: &Value, step: &Step) -> Response {
    let tool_call = step.answer.is_none().then(|| answer::tool_call(request)).flatten();
    let text = match (&step.answer, &tool_call) {
        (Some(text), _) => text.clone(),
        (None, Some(_)) => String::new(),
        (None, None) => answer::text(request),
    };
    let reply = Reply::new(request, step, text, tool_call);
    match request["stream"] == true {
        true => reply.streamed(step),
        false => reply.whole(step),
    }
}

struct Reply {
    id: String,
    model: Value,
    text: String,
    tool_call: Option<Value>,
    finish: String,
    usage: Value,
    wants_usage: bool,
}

impl Reply {
    fn new(request: &Value, step: &Step, text: String, tool_call: Option<Value>) -> Self {
        let prompt = answer::tokens(&request["messages"].to_string());
        let completion = answer::tokens(&text).max(1);
        let finish = if tool_call.is_some() { "tool_calls" } else { "stop" };
        Self {
            id: format!("sandbox-{}", &answer::digest(request)[..16]),
            model: request["model"].clone(),
            finish: step.finish_reason.clone().unwrap_or_else(|| finish.to_owned()),
            usage: json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}),
            wants_usage: request["stream_options"]["include_usage"] == true,
            text,
            tool_call,
        }
    }

    fn whole(&self, step: &Step) -> Response {
        let mut message = json!({"role": "assistant", "content": self.text});
        if let Some(call) = &self.tool_call {
            message["content"] = Value::Null;
            message["tool_calls"] = json!([call]);
        }
        let body = json!({
            "id": self.id, "object": "chat.completion", "created": CREATED, "model": self.model, "sandbox": true,
            "choices": [{"index": 0, "message": message, "finish_reason": self.finish}],
            "usage": self.usage,
        });
        let text = body.to_string();
        match step.truncate {
            false => ([(CONTENT_TYPE, "application/json")], text).into_response(),
            true => {
                let half = Bytes::from(text.as_bytes()[..text.len() / 2].to_vec());
                let pieces = stream::iter([Ok(half)]).chain(broken_off());
                ([(CONTENT_TYPE, "application/json")], Body::from_stream(pieces)).into_response()
            }
        }
    }

    fn streamed(self, step: &Step) -> Response {
        let pause = Duration::from_millis(step.piece_delay_ms);
        let events = self.events();
        let count = if step.truncate { events.len() / 2 } else { events.len() };
        let pieces = stream::iter(events.into_iter().take(count)).then(move |event| async move {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            Ok(Bytes::from(event))
        });
        let pieces = if step.truncate { pieces.chain(broken_off()).boxed() } else { pieces.boxed() };
        ([(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")], Body::from_stream(pieces)).into_response()
    }

    /// The events of the stream, a word each.
    fn events(&self) -> Vec<String> {
        let event = |delta: Value, finish: Value| {
            let body = json!({
                "id": self.id, "object": "chat.completion.chunk", "created": CREATED, "model": self.model, "sandbox": true,
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
            });
            format!("data: {body}\n\n")
        };
        let mut events = vec![event(json!({"role": "assistant", "content": ""}), Value::Null)];
        events.extend(self.text.split_inclusive(' ').map(|word| event(json!({"content": word}), Value::Null)));
        if let Some(call) = &self.tool_call {
            let mut call = call.clone();
            call["index"] = json!(0);
            events.push(event(json!({"tool_calls": [call]}), Value::Null));
        }
        events.push(event(json!({}), json!(self.finish)));
        if self.wants_usage {
            let body = json!({
                "id": self.id, "object": "chat.completion.chunk", "created": CREATED, "model": self.model, "sandbox": true,
                "choices": [], "usage": self.usage,
            });
            events.push(format!("data: {body}\n\n"));
        }
        events.push("data: [DONE]\n\n".to_owned());
        events
    }
}

/// Ends a body in its middle, once what was said so far has left.
fn broken_off() -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    stream::once(async {
        tokio::time::sleep(Duration::from_millis(BREAK_DELAY_MS)).await;
        Err(std::io::Error::new(std::io::ErrorKind::ConnectionAborted, "the script says to break off"))
    })
}
