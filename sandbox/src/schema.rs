//! Values that a JSON Schema allows.

use serde_json::{Map, Value};

use crate::limits::{SCHEMA_DEPTH_MAX, SCHEMA_FIELDS_MAX, SCHEMA_TEXT_MAX, SCHEMA_VALUES_MAX};

/// A value that a schema allows, as far as its usual keywords say. Past the limits it is null.
pub(crate) fn made(schema: &Value, name: &str) -> Value {
    Maker { root: schema, open: Vec::new(), left: SCHEMA_VALUES_MAX }.value(schema, name, 0)
}

struct Maker<'a> {
    /// What `$ref` refers to.
    root: &'a Value,
    /// The references that are being followed.
    open: Vec<&'a str>,
    /// Values that may still be made.
    left: usize,
}

impl<'a> Maker<'a> {
    fn value(&mut self, schema: &'a Value, name: &str, depth: usize) -> Value {
        if depth > SCHEMA_DEPTH_MAX || self.left == 0 {
            return Value::Null;
        }
        self.left -= 1;
        if let Some(target) = schema["$ref"].as_str() {
            return self.referred(target, name, depth);
        }
        if let Some(first) = schema["enum"].as_array().and_then(|allowed| allowed.first()) {
            return first.clone();
        }
        if let Some(only) = schema.get("const") {
            return only.clone();
        }
        if let Some(choices) = ["anyOf", "oneOf", "allOf"].iter().find_map(|key| schema[*key].as_array()) {
            // What leads back into itself would not end.
            let choice = choices.iter().find(|choice| !self.leads_back(choice)).or_else(|| choices.first());
            return choice.map_or(Value::Null, |choice| self.value(choice, name, depth + 1));
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds.first().and_then(Value::as_str),
            kind => kind.as_str(),
        };
        match kind {
            Some("object") => self.object(schema, depth),
            None if schema["properties"].is_object() => self.object(schema, depth),
            Some("array") => self.list(schema, name, depth),
            Some("integer") => schema["minimum"].as_i64().unwrap_or(1).into(),
            Some("number") => schema["minimum"].as_f64().unwrap_or(0.5).into(),
            Some("boolean") => true.into(),
            Some("null") => Value::Null,
            _ => text(schema, name).into(),
        }
    }

    fn referred(&mut self, target: &'a str, name: &str, depth: usize) -> Value {
        let Some(schema) = target.strip_prefix('#').and_then(|path| self.root.pointer(path)) else {
            return Value::Null;
        };
        self.open.push(target);
        let value = self.value(schema, name, depth + 1);
        self.open.pop();
        value
    }

    fn leads_back(&self, schema: &Value) -> bool {
        schema["$ref"].as_str().is_some_and(|target| self.open.contains(&target))
    }

    fn object(&mut self, schema: &'a Value, depth: usize) -> Value {
        let fields = schema["properties"].as_object().into_iter().flatten().take(SCHEMA_FIELDS_MAX);
        fields.map(|(name, field)| (name.clone(), self.value(field, name, depth + 1))).collect::<Map<_, _>>().into()
    }

    fn list(&mut self, schema: &'a Value, name: &str, depth: usize) -> Value {
        let usual = u64::from(!self.leads_back(&schema["items"]));
        let count = schema["minItems"].as_u64().unwrap_or(usual).min(SCHEMA_FIELDS_MAX as u64);
        (0..count).map(|_| self.value(&schema["items"], name, depth + 1)).collect()
    }
}

fn text(schema: &Value, name: &str) -> String {
    let count = |key: &str| schema[key].as_u64().map(|count| count.min(SCHEMA_TEXT_MAX as u64) as usize);
    let mut text = format!("sandbox {name}");
    let missing = count("minLength").unwrap_or_default().saturating_sub(text.chars().count());
    text.extend(std::iter::repeat_n('.', missing));
    match count("maxLength") {
        Some(most) => text.chars().take(most).collect(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_are_followed_and_end() {
        let schema = json!({
            "$defs": {
                "Kind": {"enum": ["spring", "neap"]},
                "Tree": {"type": "object", "properties": {
                    "kind": {"$ref": "#/$defs/Kind"},
                    "left": {"anyOf": [{"$ref": "#/$defs/Tree"}, {"type": "null"}]},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}},
                }},
            },
            "type": "object",
            "properties": {"tree": {"$ref": "#/$defs/Tree"}, "nowhere": {"$ref": "#/$defs/None"}},
        });
        let tree = json!({"kind": "spring", "left": null, "children": []});
        assert_eq!(made(&schema, "a"), json!({"tree": tree, "nowhere": null}));
        assert_eq!(made(&json!({"$ref": "#"}), "a"), Value::Null);
    }

    #[test]
    fn what_would_grow_without_end_is_bounded() {
        let list = |items: Value| json!({"type": "array", "minItems": 200, "items": items});
        let schema = list(list(list(list(json!({"type": "integer"})))));
        assert!(made(&schema, "a").to_string().len() < 20 * SCHEMA_VALUES_MAX * 5);
        let schema = json!({"type": "string", "minLength": u64::MAX});
        assert_eq!(made(&schema, "a").as_str().unwrap().len(), SCHEMA_TEXT_MAX);
    }

    #[test]
    fn texts_are_as_long_as_they_must_be() {
        let length = |schema: Value| made(&schema, "name").as_str().unwrap().chars().count();
        assert_eq!(length(json!({"type": "string"})), "sandbox name".len());
        assert_eq!(length(json!({"type": "string", "minLength": 30})), 30);
        assert_eq!(length(json!({"type": "string", "maxLength": 3})), 3);
    }
}
