//! From a config and inputs to the body of a request.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::limits::HTTP_TIMEOUT_MAX;
use crate::runners::native::{as_text, refused};
use crate::runners::{Failure, Work};

/// Where requests go, unless a config says otherwise.
const BASE_URL: &str = "https://api.openai.com/v1";
/// Fields of the body that have a key of their own.
const OWN_FIELDS: [&str; 6] = ["model", "messages", "stream", "stream_options", "tools", "response_format"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Config {
    pub(super) model: String,
    base_url: Option<String>,
    pub(super) credential: Option<String>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    max_tokens: Option<u64>,
    max_tokens_field: Option<String>,
    stop: Option<Value>,
    seed: Option<i64>,
    response_format: Option<Value>,
    json_schema: Option<Value>,
    tools: Option<Value>,
    tool_choice: Option<Value>,
    #[serde(default)]
    extra: Map<String, Value>,
    stream: Option<bool>,
    stream_usage: Option<bool>,
    timeout_ms: Option<u64>,
    prices: Option<Prices>,
}

/// What a million tokens cost.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Prices {
    pub(super) input: f64,
    pub(super) output: f64,
}

/// The schema of [`Config`].
pub(super) fn schema() -> Value {
    let price = json!({"type": "number", "minimum": 0});
    json!({
        "model": {"type": "string", "minLength": 1, "description": "As the server names it."},
        "baseUrl": {"type": "string", "default": BASE_URL, "description": "What stands before /chat/completions."},
        "credential": {"type": "string", "description": "Name of the credential, set with: heddle secrets set NAME."},
        "temperature": {"type": "number", "minimum": 0},
        "topP": {"type": "number", "minimum": 0, "maximum": 1},
        "maxTokens": {"type": "integer", "minimum": 1},
        "maxTokensField": {"enum": ["max_tokens", "max_completion_tokens"], "default": "max_tokens", "description": "How the server calls it."},
        "stop": {"type": ["string", "array"]},
        "seed": {"type": "integer"},
        "responseFormat": {"anyOf": [{"enum": ["text", "json"]}, {"type": "object"}], "description": "json: an object; or the field response_format as the server takes it."},
        "jsonSchema": {"type": "object", "description": "The schema that the answer follows."},
        "tools": {"type": "array", "items": {"type": "object"}, "description": "Functions that the model may call, as the server takes them."},
        "toolChoice": {"type": ["string", "object"]},
        "extra": {"type": "object", "description": "Other fields of the body, as the server takes them."},
        "stream": {"type": "boolean", "default": true, "description": "Whether words show as they come."},
        "streamUsage": {"type": "boolean", "default": true, "description": "Whether a stream is asked for its usage; false for servers that refuse the question."},
        "timeoutMs": {"type": "integer", "minimum": 1, "maximum": HTTP_TIMEOUT_MAX.as_millis() as u64},
        "prices": {"type": "object", "required": ["input", "output"], "properties": {"input": price, "output": price}, "description": "What a million tokens cost, for the cost of the call."},
    })
}

impl Config {
    pub(super) fn base_url(&self) -> &str {
        self.base_url.as_deref().unwrap_or(BASE_URL)
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout_ms.map_or(HTTP_TIMEOUT_MAX, Duration::from_millis).min(HTTP_TIMEOUT_MAX)
    }

    pub(super) fn wants_json(&self) -> bool {
        let format = self.response_format.as_ref();
        self.json_schema.is_some()
            || format.is_some_and(|format| {
                format == "json" || format["type"] == "json_object" || format["type"] == "json_schema"
            })
    }

    pub(super) fn prices(&self) -> Option<Prices> {
        self.prices
    }

    fn response_format(&self) -> Option<Value> {
        if let Some(schema) = &self.json_schema {
            let named = json!({"name": "answer", "schema": schema, "strict": true});
            return Some(json!({"type": "json_schema", "json_schema": named}));
        }
        match self.response_format.as_ref()? {
            Value::String(name) if name == "json" => Some(json!({"type": "json_object"})),
            Value::String(_) => None,
            format => Some(format.clone()),
        }
    }
}

/// The body. What is absent is left out: servers refuse fields that they do not know.
pub(super) fn body(config: &Config, work: &Work) -> Result<Value, Failure> {
    if let Some(field) = OWN_FIELDS.iter().find(|field| config.extra.contains_key(**field)) {
        return Err(refused("config_invalid", format!("extra holds {field}, which has a key of its own; use that")));
    }
    let mut body = config.extra.clone();
    let stream = config.stream.unwrap_or(true);
    let asks_usage = stream && config.stream_usage.unwrap_or(true);
    let tokens_field = match config.max_tokens_field.as_deref() {
        None | Some("max_tokens") => "max_tokens",
        Some("max_completion_tokens") => "max_completion_tokens",
        Some(_) => {
            return Err(refused(
                "config_invalid",
                "maxTokensField is not known; write max_tokens or max_completion_tokens",
            ));
        }
    };
    let fields = [
        ("model", Some(json!(config.model))),
        ("messages", Some(messages(work)?)),
        ("temperature", config.temperature.map(Value::from)),
        ("top_p", config.top_p.map(Value::from)),
        (tokens_field, config.max_tokens.map(Value::from)),
        ("stop", config.stop.clone()),
        ("seed", config.seed.map(Value::from)),
        ("response_format", config.response_format()),
        ("tools", config.tools.clone()),
        ("tool_choice", config.tool_choice.clone()),
        ("stream", stream.then_some(Value::Bool(true))),
        ("stream_options", asks_usage.then(|| json!({"include_usage": true}))),
    ];
    body.extend(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    Ok(body.into())
}

/// The conversation: what is wired as messages, with the system's words before and the prompt behind it.
fn messages(work: &Work) -> Result<Value, Failure> {
    let value = |port: &str| work.input(port).first().and_then(|json| serde_json::from_slice::<Value>(json).ok());
    let text = |port: &str| value(port).filter(|value| !value.is_null()).map(as_text).filter(|text| !text.is_empty());
    let mut messages = Vec::new();
    messages.extend(text("system").map(|text| json!({"role": "system", "content": text})));
    match value("messages") {
        Some(Value::Array(given)) => messages.extend(given),
        None | Some(Value::Null) => {}
        Some(_) => return Err(refused("messages_invalid", "messages is no list; give a list of {role, content}")),
    }
    messages.extend(text("prompt").map(|text| json!({"role": "user", "content": text})));
    match messages.iter().all(|message| message["role"] == "system") {
        true => Err(refused("input_missing", "there is nothing to ask; wire prompt or messages")),
        false => Ok(messages.into()),
    }
}
