//! Answers that follow from the request alone.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::limits::{ECHO_BYTES_MAX, SCHEMA_DEPTH_MAX, SCHEMA_FIELDS_MAX};

/// What is said to a conversation: JSON of the schema that it asks for, else a sentence about its last message.
pub(crate) fn text(request: &Value) -> String {
    let format = &request["response_format"];
    match format["type"].as_str() {
        Some("json_schema") => made(&format["json_schema"]["schema"], "answer", 0).to_string(),
        Some("json_object") => json!({"sandbox": true, "about": about(request)}).to_string(),
        _ => format!("Sandbox answer about: {}", about(request)),
    }
}

/// The call of the first tool, if the request insists on one.
pub(crate) fn tool_call(request: &Value) -> Option<Value> {
    let choice = &request["tool_choice"];
    if choice != "required" && !choice.is_object() {
        return None;
    }
    let wanted = choice["function"]["name"].as_str();
    let tools = request["tools"].as_array()?;
    let tool = tools.iter().find(|tool| wanted.is_none_or(|wanted| tool["function"]["name"] == wanted))?;
    let function = &tool["function"];
    let arguments = made(&function["parameters"], "argument", 0).to_string();
    Some(json!({
        "id": format!("call_{}", &digest(request)[..12]),
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments},
    }))
}

/// The beginning of the last message.
fn about(request: &Value) -> String {
    let last = request["messages"].as_array().and_then(|messages| messages.last());
    let content = last.map(|message| &message["content"]);
    let text = match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    };
    text[..text.floor_char_boundary(ECHO_BYTES_MAX)].to_owned()
}

/// A value that a schema allows, as far as its usual keywords say.
fn made(schema: &Value, name: &str, depth: usize) -> Value {
    if depth > SCHEMA_DEPTH_MAX {
        return Value::Null;
    }
    if let Some(first) = schema["enum"].as_array().and_then(|allowed| allowed.first()) {
        return first.clone();
    }
    if !schema["const"].is_null() {
        return schema["const"].clone();
    }
    if let Some(first) = ["anyOf", "oneOf"].iter().find_map(|key| schema[*key].as_array()?.first()) {
        return made(first, name, depth + 1);
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str),
        kind => kind.as_str(),
    };
    match kind {
        Some("object") => object(schema, depth),
        None if schema["properties"].is_object() => object(schema, depth),
        Some("array") => {
            let count = schema["minItems"].as_u64().unwrap_or(1).min(SCHEMA_FIELDS_MAX as u64);
            (0..count).map(|_| made(&schema["items"], name, depth + 1)).collect()
        }
        Some("integer") => schema["minimum"].as_i64().unwrap_or(1).into(),
        Some("number") => schema["minimum"].as_f64().unwrap_or(0.5).into(),
        Some("boolean") => true.into(),
        Some("null") => Value::Null,
        _ => format!("sandbox {name}").into(),
    }
}

fn object(schema: &Value, depth: usize) -> Value {
    let fields = schema["properties"].as_object().into_iter().flatten().take(SCHEMA_FIELDS_MAX);
    fields.map(|(name, field)| (name.clone(), made(field, name, depth + 1))).collect::<Map<_, _>>().into()
}

/// A vector of numbers between -1 and 1 that follow from the text.
pub(crate) fn vector(text: &str, dimensions: usize) -> Vec<f64> {
    let block = |number: usize| Sha256::digest(format!("{number}:{text}"));
    let bytes = (0..).flat_map(|number| block(number).to_vec());
    bytes.take(dimensions).map(|byte| f64::from(byte) / 127.5 - 1.0).collect()
}

/// Tokens of a text, roughly: its words.
pub(crate) fn tokens(text: &str) -> usize {
    text.split_whitespace().count()
}

/// Names a request by its content.
pub(crate) fn digest(request: &Value) -> String {
    Sha256::digest(request.to_string()).iter().map(|byte| format!("{byte:02x}")).collect()
}
