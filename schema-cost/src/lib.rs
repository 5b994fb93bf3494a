//! What it may cost to hold a value against a JSON Schema that a user wrote.
//!
//! References let a short schema stand for an endless one, and a checker follows them. So a schema is taken only if it
//! has no circle and, with every reference written out, a bounded size: then each value in the document is looked at no
//! more than that often.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod pattern;

use std::collections::HashMap;
use std::fmt;

pub use pattern::PATTERN_BYTES_MAX;
use serde_json::{Map, Value};

/// Parts of a schema with its references written out.
pub const PARTS_MAX: usize = 10_000;
/// Where what is unevaluated is checked, everything beside that is looked at so often.
const UNEVALUATED_FACTOR: usize = 8;
/// Bytes of a text that count as one more value.
const TEXT_BYTES_PER_LOOK: usize = 64;
const DEPTH_MAX: usize = 256;
/// Bytes of what a schema refers to, and of a place in it, that a fault repeats.
const SHOWN_BYTES_MAX: usize = 200;

/// Keywords that move what a reference means, or choose it while checking.
const REFUSED: [&str; 6] =
    ["$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef", "$vocabulary"];
/// Keywords whose value is data, whatever it looks like.
const DATA: [&str; 4] = ["const", "default", "enum", "examples"];
/// Keywords whose members have names of their own, and are schemas.
const NAMED: [&str; 6] =
    ["$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"];
const REFERENCES: &str = "a reference leads to a place in the schema (\"#/$defs/…\")";

/// How many parts a schema has when its references are written out: at most [`PARTS_MAX`].
///
/// # Errors
/// Why it is not taken, where, and what to do.
pub fn parts(schema: &Value) -> Result<usize, Fault> {
    Walk { root: schema, known: HashMap::new() }.parts(schema, 0).map_err(|found| Fault {
        place: found.pointer(),
        is_of_pattern: found.is_of_pattern,
        what: found.what,
        todo: found.todo,
    })
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

/// Why a schema is not taken. As a text it is a few words that follow "the schema".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A JSON pointer into the schema; empty = the schema itself.
    pub place: String,
    is_of_pattern: bool,
    what: String,
    todo: String,
}

impl Fault {
    /// What is wrong, in a few words that follow "the schema".
    pub fn what(&self) -> String {
        match self.is_of_pattern {
            true => format!("has a pattern at {:?} that {}", shown(&self.place), self.what),
            false => self.what.clone(),
        }
    }

    /// What to do about it, in a few words.
    pub fn todo(&self) -> &str {
        &self.todo
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what(), self.todo)
    }
}

/// What is wrong with a schema, on the way out to its root.
struct Found {
    /// Where `keys` begin: the place that a reference leads to, if one was followed.
    target: Option<String>,
    /// Keys from the place where the walk is to what is wrong, the last one first.
    keys: Vec<String>,
    is_of_pattern: bool,
    what: String,
    todo: String,
}

impl Found {
    fn new(what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { target: None, keys: Vec::new(), is_of_pattern: false, what: what.into(), todo: todo.into() }
    }

    fn of_pattern((what, todo): (String, &'static str)) -> Self {
        Self { is_of_pattern: true, ..Self::new(what, todo) }
    }

    fn under(mut self, key: &str) -> Self {
        if self.target.is_none() {
            self.keys.push(key.replace('~', "~0").replace('/', "~1"));
        }
        self
    }

    /// It lies in what a reference leads to, wherever that stands.
    fn at(mut self, target: &str) -> Self {
        if self.target.is_none() {
            self.target = Some(target.to_owned());
        }
        self
    }

    fn pointer(&self) -> String {
        self.keys.iter().rev().fold(self.target.clone().unwrap_or_default(), |place, key| place + "/" + key)
    }
}

struct Walk<'a> {
    root: &'a Value,
    /// Parts of what a reference leads to; none while it is being counted.
    known: HashMap<&'a str, Option<usize>>,
}

impl<'a> Walk<'a> {
    fn parts(&mut self, schema: &'a Value, depth: usize) -> Result<usize, Found> {
        if depth > DEPTH_MAX {
            return Err(Found::new("nests too deep", "write it flatter"));
        }
        let mut parts = 1_usize;
        match schema {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let more = self.parts(item, depth + 1).map_err(|fault| fault.under(&index.to_string()))?;
                    parts = parts.saturating_add(more);
                }
            }
            Value::Object(members) => {
                for (key, value) in members {
                    let more = self.keyword(key, value, depth + 1).map_err(|fault| fault.under(key))?;
                    parts = parts.saturating_add(more);
                }
                if members.contains_key("unevaluatedProperties") || members.contains_key("unevaluatedItems") {
                    parts = parts.saturating_mul(UNEVALUATED_FACTOR);
                }
            }
            Value::String(text) => parts += text.len() / TEXT_BYTES_PER_LOOK,
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        bounded(parts)
    }

    fn keyword(&mut self, key: &'a str, value: &'a Value, depth: usize) -> Result<usize, Found> {
        match (key, value) {
            ("$ref", Value::String(target)) => self.target(target, depth),
            ("$id", _) if depth > 1 => Err(Found::new("has $id inside of it", "write it without")),
            (key, _) if REFUSED.contains(&key) => Err(Found::new(format!("uses {key}"), REFERENCES)),
            ("pattern", Value::String(text)) => pattern::parts(text).map_err(Found::of_pattern),
            (key, data) if DATA.contains(&key) => bounded(values(data)),
            (key, Value::Object(members)) if NAMED.contains(&key) => {
                self.named(members, key == "patternProperties", depth)
            }
            _ => self.parts(value, depth),
        }
    }

    /// Schemas by names, which are patterns or mean nothing here.
    fn named(&mut self, members: &'a Map<String, Value>, patterns: bool, depth: usize) -> Result<usize, Found> {
        let mut parts = 1_usize;
        for (name, schema) in members {
            let name_parts = match patterns {
                true => pattern::parts(name).map_err(|why| Found::of_pattern(why).under(name))?,
                false => 0,
            };
            let more = self.parts(schema, depth + 1).map_err(|fault| fault.under(name))?;
            parts = parts.saturating_add(more).saturating_add(name_parts);
        }
        bounded(parts)
    }

    fn target(&mut self, target: &'a str, depth: usize) -> Result<usize, Found> {
        match self.known.get(target) {
            Some(Some(parts)) => return Ok(*parts),
            Some(None) => {
                let what = format!("refers to itself by {:?}", shown(target));
                return Err(Found::new(what, format!("{REFERENCES} and never back to itself")));
            }
            None => {}
        }
        let pointer = target.strip_prefix('#').filter(|pointer| pointer.is_empty() || pointer.starts_with('/'));
        let Some(schema) = pointer.and_then(|pointer| self.root.pointer(pointer)) else {
            let what = format!("refers to {:?}, which is not inside of it", shown(target));
            return Err(Found::new(what, REFERENCES));
        };
        self.known.insert(target, None);
        let parts = self.parts(schema, depth).map_err(|found| found.at(target.trim_start_matches('#')))?;
        self.known.insert(target, Some(parts));
        Ok(parts)
    }
}

fn bounded(parts: usize) -> Result<usize, Found> {
    match parts > PARTS_MAX {
        true => {
            let what = format!("has more than {PARTS_MAX} parts when its references are written out");
            Err(Found::new(what, "write a shorter one"))
        }
        false => Ok(parts),
    }
}

/// The beginning of a text.
fn shown(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN_BYTES_MAX)]
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
    fn data_is_no_schema_and_names_are_no_keywords() {
        let looks_like_one = json!({"$ref": "#", "pattern": "(?=a)", "$anchor": "x"});
        let data = json!({"const": looks_like_one, "enum": [looks_like_one], "default": looks_like_one,
            "examples": [looks_like_one]});
        assert!(parts(&data).is_ok(), "{:?}", parts(&data));
        let names = json!({"properties": {"$ref": {"type": "string"}, "$anchor": true, "$id": true, "pattern": true}});
        assert!(parts(&names).is_ok(), "{:?}", parts(&names));
    }

    #[test]
    fn a_pattern_that_is_not_taken_is_named_by_its_place() {
        let bad = json!({"pattern": "(?=a)b"});
        let cases = [
            (bad.clone(), "\"/pattern\""),
            (json!({"properties": {"a/b": {"anyOf": [true, bad]}}}), "\"/properties/a~1b/anyOf/1/pattern\""),
            (json!({"items": {"$ref": "#/$defs/a"}, "$defs": {"a": bad}}), "\"/$defs/a/pattern\""),
            (json!({"patternProperties": {"(?=a)b": true}}), "\"/patternProperties/(?=a)b\""),
        ];
        for (schema, place) in cases {
            let fault = parts(&schema).unwrap_err();
            assert_eq!(format!("{:?}", fault.place), place);
            let fault = fault.to_string();
            assert!(fault.contains(place) && fault.contains("look-around"), "{fault}");
        }
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
            (json!({"$ref": "#/const", "const": {"$ref": "#"}}), "itself"),
            (json!({"properties": {"const": {"$ref": "#"}}}), "itself"),
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
            assert!(parts(&schema).is_err_and(|fault| fault.to_string().contains(what)), "{schema}");
        }
    }

    #[test]
    fn every_fault_has_its_place() {
        let far = json!({"$ref": "x.json"});
        for (schema, place) in [
            (json!({"$dynamicRef": "#x"}), "/$dynamicRef"),
            (json!({"items": {"anyOf": [true, far]}}), "/items/anyOf/1/$ref"),
            (
                json!({"items": {"$ref": "#/$defs/b"}, "$defs": {"a": {"not": far}, "b": {"not": {"$ref": "#/$defs/a"}}}}),
                "/$defs/a/not/$ref",
            ),
            (json!({"properties": {"a": {"$id": "x"}}}), "/properties/a/$id"),
        ] {
            assert_eq!(parts(&schema).unwrap_err().place, place, "{schema}");
        }
        let fault = parts(&far).unwrap_err();
        assert_eq!(fault.to_string(), format!("{}; {}", fault.what(), fault.todo()));
    }

    #[test]
    fn values_are_counted_with_what_lies_in_them() {
        assert_eq!(values(&json!(null)), 1);
        assert_eq!(values(&json!([1, {"a": [], "b": "x"}])), 5);
        assert_eq!(values(&json!("x".repeat(640))), 11);
    }
}
