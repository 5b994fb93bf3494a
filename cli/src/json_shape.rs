//! What is wrong with the shape of a JSON document, in the words of JSON and with its place.

use serde_json::Value;

/// A kind of JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    Text,
    /// `1.5`
    Number,
}

/// Whether the value at a place, given as a JSON pointer, is of this kind; else what is wrong with it.
pub fn expect(value: Option<&Value>, kind: Kind, place: &str) -> Result<(), String> {
    let Some(value) = value else { return Err(format!("there is nothing at {place}; expected {}", kind.name())) };
    let is_so = match kind {
        Kind::Object => value.is_object(),
        Kind::Array => value.is_array(),
        Kind::Text => value.is_string(),
        Kind::Number => value.is_number(),
    };
    if is_so {
        return Ok(());
    }
    let at = if place.is_empty() { String::new() } else { format!(" at {place}") };
    Err(format!("expected {}, found {}{at}", kind.name(), name_of(value)))
}

/// As [`expect`], and a value that is absent or null will do.
pub fn optional(value: Option<&Value>, kind: Kind, place: &str) -> Result<(), String> {
    match value {
        None | Some(Value::Null) => Ok(()),
        value => expect(value, kind, place),
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Object => "an object",
            Kind::Array => "an array",
            Kind::Text => "a string",
            Kind::Number => "a number",
        }
    }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn faults_have_their_place() {
        let document = json!({"a": [1], "b": null});
        assert_eq!(expect(document.get("a"), Kind::Array, "/a"), Ok(()));
        assert_eq!(expect(document.get("a"), Kind::Text, "/a").unwrap_err(), "expected a string, found an array at /a");
        assert_eq!(
            expect(document.get("c"), Kind::Number, "/c").unwrap_err(),
            "there is nothing at /c; expected a number"
        );
        assert_eq!(expect(Some(&json!(1)), Kind::Object, "").unwrap_err(), "expected an object, found a number");
        assert_eq!(optional(document.get("b"), Kind::Text, "/b"), Ok(()));
    }
}
