//! What it may cost to check a value against a schema that a user wrote.
//!
//! References let a short schema stand for an endless one, and a checker follows them. So a schema is taken only if it
//! has no circle and, with every reference written out, a bounded size: then each value in the document is looked at no
//! more than that often.

use std::collections::HashMap;

use serde_json::Value;

use crate::limits::SCHEMA_PARTS_MAX;

/// Keywords that move what a reference means, or choose it while checking.
const REFUSED: [&str; 6] =
    ["$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef", "$vocabulary"];

/// Why a schema is not taken, in a few words.
pub(super) fn fault(schema: &Value) -> Option<String> {
    let mut walk = Walk { root: schema, known: HashMap::new() };
    walk.parts(schema, 0).err()
}

struct Walk<'a> {
    root: &'a Value,
    /// Parts of what a reference leads to; none while it is being counted.
    known: HashMap<&'a str, Option<usize>>,
}

impl<'a> Walk<'a> {
    /// How many parts the schema has when its references are written out.
    fn parts(&mut self, schema: &'a Value, depth: usize) -> Result<usize, String> {
        const DEPTH_MAX: usize = 256;
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
                        _ => self.parts(value, depth + 1)?,
                    };
                    parts = parts.saturating_add(more);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        match parts > SCHEMA_PARTS_MAX {
            true => Err(format!("has more than {SCHEMA_PARTS_MAX} parts when its references are written out")),
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
        assert_eq!(fault(&schema), None);
        assert_eq!(fault(&json!(true)), None);
    }

    #[test]
    fn circles_bombs_and_far_references_are_not() {
        let mut bomb = json!({"$ref": "#/$defs/d0"});
        for level in 0..40 {
            let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
            bomb["$defs"][format!("d{level}")] = json!({"allOf": [next, next]});
        }
        bomb["$defs"]["d40"] = json!(true);
        let cases = [
            (json!({"$ref": "#"}), "itself"),
            (json!({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#/allOf/0"}}}), "itself"),
            (json!({"$ref": "https://example.com/schema"}), "not inside"),
            (json!({"$ref": "#/nowhere"}), "not inside"),
            (json!({"properties": {"a": {"$id": "x"}}}), "$id"),
            (json!({"$dynamicRef": "#x"}), "$dynamicRef"),
            (bomb, "parts"),
        ];
        for (schema, what) in cases {
            assert!(fault(&schema).is_some_and(|fault| fault.contains(what)), "{schema}");
        }
    }
}
