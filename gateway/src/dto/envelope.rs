//! The envelope of object resources: their fields at top level, and the same object again under `data`.
//!
//! Clients of three generations read one or the other. The object is serialized once and its text used twice.

use serde::Serialize;

/// Nothing beside a resource.
#[derive(Serialize)]
pub(crate) struct Alone {}

/// Writes `{…fields, "data":{…fields}, …siblings}`. Both arguments serialize as JSON objects, the first with a field.
///
/// # Errors
/// When a value cannot be serialized.
pub(crate) fn enveloped(resource: &impl Serialize, siblings: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(resource)?;
    let length = text.len();
    debug_assert!(length > 2 && text[0] == b'{', "a resource is an object with fields");
    text.reserve(length + 16);
    text[length - 1] = b',';
    text.extend_from_slice(b"\"data\":");
    text.extend_from_within(..length - 1);
    text.push(b'}');
    let siblings = serde_json::to_vec(siblings)?;
    if siblings.len() > 2 {
        text.push(b',');
    }
    text.extend_from_slice(&siblings[1..]);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_stand_twice() {
        let text = |siblings: &serde_json::Value| {
            String::from_utf8(enveloped(&json!({"a":1,"b":[{}]}), siblings).unwrap()).unwrap()
        };
        assert_eq!(text(&json!({})), r#"{"a":1,"b":[{}],"data":{"a":1,"b":[{}]}}"#);
        assert_eq!(text(&json!({"meta":{}})), r#"{"a":1,"b":[{}],"data":{"a":1,"b":[{}]},"meta":{}}"#);
    }
}
