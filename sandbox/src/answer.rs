//! Answers that follow from the request alone.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::limits::ECHO_BYTES_MAX;
use crate::schema::made;

/// What is said to a conversation: JSON of the schema that it asks for, else a sentence about its last message.
pub(crate) fn text(request: &Value) -> String {
    let format = &request["response_format"];
    match format["type"].as_str() {
        Some("json_schema") => made(&format["json_schema"]["schema"], "answer").to_string(),
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
    let arguments = made(&function["parameters"], "argument").to_string();
    Some(json!({
        "id": format!("call_{}", &digest(request)[..12]),
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments},
    }))
}

/// The beginning of the last message.
fn about(request: &Value) -> String {
    let text = last_message(request);
    text[..text.floor_char_boundary(ECHO_BYTES_MAX)].to_owned()
}

/// The text of the last message; empty where there is none.
pub(crate) fn last_message(request: &Value) -> String {
    let last = request["messages"].as_array().and_then(|messages| messages.last());
    let content = last.map(|message| &message["content"]);
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

/// A vector of numbers between -1 and 1 that follow from the text.
pub(crate) fn vector(text: &str, dimensions: usize) -> Vec<f64> {
    let block = |number: usize| Sha256::digest(format!("{number}:{text}"));
    let bytes = (0..).flat_map(|number| block(number).to_vec());
    bytes.take(dimensions).map(|byte| f64::from(byte) / 127.5 - 1.0).collect()
}

/// A vector as base64 of single-precision numbers, lowest byte first: what the official clients ask for.
pub(crate) fn packed(vector: &[f64]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|number| (*number as f32).to_le_bytes()).collect();
    BASE64_STANDARD.encode(bytes)
}

/// Tokens of a text, roughly: its words.
pub(crate) fn tokens(text: &str) -> usize {
    text.split_whitespace().count()
}

/// Names a request by its content.
pub(crate) fn digest(request: &Value) -> String {
    Sha256::digest(request.to_string()).iter().map(|byte| format!("{byte:02x}")).collect()
}
