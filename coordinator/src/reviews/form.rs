//! Forms of reviews: the JSON Schemas that edits have to fit.

use jsonschema::Validator;
use serde_json::Value as Json;

/// The form that a schema is. What it refers to lies inside it: nothing is fetched.
///
/// # Errors
/// What is wrong with it, in one sentence.
pub(crate) fn compile(schema: &Json) -> Result<Validator, String> {
    if let Some(reference) = foreign(schema) {
        return Err(format!(
            "the form refers to {reference:?}, which lies outside of it; write it into the schema (\"#/$defs/…\")"
        ));
    }
    jsonschema::validator_for(schema).map_err(|error| format!("the form is no JSON Schema: {error}"))
}

/// A reference that leads out of a schema.
fn foreign(schema: &Json) -> Option<&str> {
    match schema {
        Json::Array(items) => items.iter().find_map(foreign),
        Json::Object(members) => members.iter().find_map(|(key, value)| match value {
            Json::String(text) if matches!(key.as_str(), "$ref" | "$dynamicRef") && !text.starts_with('#') => {
                Some(text.as_str())
            }
            value => foreign(value),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_broken_form_says_what_is_wrong_with_it() {
        for broken in [
            json!({"type": "nonsense"}),
            json!({"pattern": "("}),
            json!({"minimum": "x"}),
            json!({"properties": 5}),
            json!({"$ref": "#/nope"}),
            json!({"properties": {"a": {"$ref": "http://h.example/schema"}}}),
            json!({"allOf": [{"$ref": "other.json"}]}),
        ] {
            assert!(compile(&broken).is_err(), "{broken}");
        }
        let outside = compile(&json!({"$ref": "file:///etc/passwd"})).unwrap_err();
        assert!(outside.contains("file:///etc/passwd") && outside.contains("outside"), "{outside}");
        let own = json!({"$defs": {"name": {"type": "string"}}, "properties": {"a": {"$ref": "#/$defs/name"}}});
        assert!(!compile(&own).unwrap().is_valid(&json!({"a": 3})));
    }
}
