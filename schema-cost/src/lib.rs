//! What it may cost to hold a value against a JSON Schema that a user wrote.
//!
//! References let a short schema stand for an endless one, and a checker follows them. So a schema is taken only if it
//! has no circle and, with every reference written out, a bounded size: then each value in the document is looked at no
//! more than that often.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::collections::HashMap;

use serde_json::Value;

/// Parts of a schema with its references written out.
pub const PARTS_MAX: usize = 10_000;
/// A pattern counts as so many parts: it is compiled, and goes through the text.
const PATTERN_PARTS: usize = 64;
/// Where what is unevaluated is checked, everything beside that is looked at so often.
const UNEVALUATED_FACTOR: usize = 8;
/// Bytes of a text that count as one more value.
const TEXT_BYTES_PER_LOOK: usize = 64;
const DEPTH_MAX: usize = 256;

/// Keywords that move what a reference means, or choose it while checking.
const REFUSED: [&str; 6] =
    ["$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef", "$vocabulary"];

/// How many parts a schema has when its references are written out: at most [`PARTS_MAX`].
///
/// # Errors
/// Why it is not taken, in a few words that follow "the schema".
pub fn parts(schema: &Value) -> Result<usize, String> {
    Walk { root: schema, known: HashMap::new() }.parts(schema, 0)
}

/// How many values there are to look at in a value, itself among them; long texts count as several. What is nested as deep as
/// a parser allows is counted, no more.
pub fn values(value: &Value) -> usize {
    let text = |text: &str| text.len() / TEXT_BYTES_PER_LOOK;
    1 + match value {
        Value::String(string) => text(string),
        Value::Array(items) => items.iter().map(values).sum(),
        Value::Object(members) => members.iter().map(|(name, value)| text(name) + values(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

struct Walk<'a> {
    root: &'a Value,
    /// Parts of what a reference leads to; none while it is being counted.
    known: HashMap<&'a str, Option<usize>>,
}

impl<'a> Walk<'a> {
    fn parts(&mut self, schema: &'a Value, depth: usize) -> Result<usize, String> {
        if depth > DEPTH_MAX {
            return Err("nests too deep".to_owned());
        }
        let mut parts = 1_usize;
        match schema {
            Value::Array(items) => {
                for item in items {
                    parts = parts.saturating_add(self.parts(item, depth + 1)?);
                }
            }
            Value::Object(members) => {
                for (key, value) in members {
                    let more = match (key.as_str(), value) {
                        ("$ref", Value::String(target)) => self.target(target, depth + 1)?,
                        ("$id", _) if depth > 0 => return Err("has $id inside of it".to_owned()),
                        (key, _) if REFUSED.contains(&key) => return Err(format!("uses {key}")),
                        ("pattern", Value::String(_)) => PATTERN_PARTS,
                        ("patternProperties", Value::Object(patterns)) => {
                            self.parts(value, depth + 1)?.saturating_add(patterns.len().saturating_mul(PATTERN_PARTS))
                        }
                        _ => self.parts(value, depth + 1)?,
                    };
                    parts = parts.saturating_add(more);
                }
                if members.contains_key("unevaluatedProperties") || members.contains_key("unevaluatedItems") {
                    parts = parts.saturating_mul(UNEVALUATED_FACTOR);
                }
            }
            Value::String(text) => parts += text.len() / TEXT_BYTES_PER_LOOK,
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        match parts > PARTS_MAX {
            true => Err(format!("has more than {PARTS_MAX} parts when its references are written out")),
            false => Ok(parts),
        }
    }

    fn target(&mut self, target: &'a str, depth: usize) -> Result<usize, String> {
        match self.known.get(target) {
            Some(Some(parts)) => return Ok(*parts),
            Some(None) => return Err(format!("refers to itself by {target:?}")),
            None => {}
        }
        let pointer = target.strip_prefix('#').filter(|pointer| pointer.is_empty() || pointer.starts_with('/'));
        let Some(schema) = pointer.and_then(|pointer| self.root.pointer(pointer)) else {
            return Err(format!("refers to {target:?}, which is not inside of it"));
        };
        self.known.insert(target, None);
        let parts = self.parts(schema, depth)?;
        self.known.insert(target, Some(parts));
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_schemas_and_shared_parts_are_taken() {
        let schema = json!({"properties": {"a": {"$ref": "#/$defs/n"}, "b": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "number"}}});
        assert_eq!(parts(&schema), Ok(11));
        assert_eq!(parts(&json!(true)), Ok(1));
        assert!(parts(&json!({"type": "string", "pattern": "^a"})).unwrap() > 60);
    }

    #[test]
    fn circles_bombs_and_far_references_are_not() {
        let mut bomb = json!({"$ref": "#/$defs/d0"});
        for level in 0..40 {
            let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
            bomb["$defs"][format!("d{level}")] = json!({"allOf": [next, next]});
        }
        bomb["$defs"]["d40"] = json!(true);
        let mut unevaluated = json!({"properties": {"a": true}});
        for _ in 0..10 {
            unevaluated = json!({"allOf": [unevaluated], "unevaluatedProperties": false});
        }
        let cases = [
            (json!({"$ref": "#"}), "itself"),
            (json!({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#/allOf/0"}}}), "itself"),
            (json!({"$ref": "https://example.com/schema"}), "not inside"),
            (json!({"$ref": "#/nowhere"}), "not inside"),
            (json!({"properties": {"a": {"$id": "x"}}}), "$id"),
            (json!({"$dynamicRef": "#x"}), "$dynamicRef"),
            (json!({"anyOf": vec![json!({"pattern": "a{900}"}); 200]}), "parts"),
            (json!({"const": "x".repeat(1_000_000)}), "parts"),
            (unevaluated, "parts"),
            (bomb, "parts"),
        ];
        for (schema, what) in cases {
            assert!(parts(&schema).is_err_and(|fault| fault.contains(what)), "{schema}");
        }
    }

    #[test]
    fn values_are_counted_with_what_lies_in_them() {
        assert_eq!(values(&json!(null)), 1);
        assert_eq!(values(&json!([1, {"a": [], "b": "x"}])), 5);
        assert_eq!(values(&json!("x".repeat(640))), 11);
    }
}
