//! `utility:json_build`: makes one object of several values.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::Answer;
use super::call::{Call, output_json, refused};
use crate::runners::{Failure, Manifest, Port, PortType};

pub(super) fn manifest() -> Manifest {
    let properties = json!({
        "fields": {"type": "array", "items": {"type": "string"}, "description": "Names of the wired values, in the order of their edges. A value without a name must be an object; its fields are taken over."},
        "constants": {"type": "object", "description": "Fields that are always there, unless a wired value has the same name."},
    });
    let build = Manifest::pure("utility:json_build", "Build an object", "Makes one object of several values.")
        .ports([Port::new("values", PortType::Any).list()], [Port::new("json", PortType::Json)])
        .config(&[], properties)
        .aliases(&[("value{n}", "values[]")], &[("data", "json")], &[])
        .example(
            "Two fields",
            json!({"fields": ["title", "score"], "constants": {"kind": "note"}}),
            json!({"values": ["Tides", 7]}),
            json!({"json": {"kind": "note", "title": "Tides", "score": 7}}),
        );
    Manifest { prefetch: true, ..build }
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    fields: Vec<String>,
    #[serde(default)]
    constants: BTreeMap<String, Box<RawValue>>,
}

pub(super) fn run(call: &Call) -> Answer {
    let Config { fields, constants } = call.config()?;
    let values = call.raw("values");
    if fields.len() > values.len() {
        let message = format!("fields has {} names for {} values; wire the others", fields.len(), values.len());
        return Err(refused("fields_too_many", message));
    }
    // Values keep their text: a number that no float holds stays what it is.
    let mut members: BTreeMap<String, Box<RawValue>> = constants;
    for (place, value) in values.iter().enumerate() {
        match fields.get(place) {
            Some(name) => drop(members.insert(name.clone(), raw(value)?)),
            None => members.extend(object(place, value)?),
        }
    }
    let json = serde_json::to_vec(&members).map_err(|error| defect(&error))?;
    Ok(vec![output_json("json", json)])
}

fn raw(json: &Bytes) -> Result<Box<RawValue>, Failure> {
    serde_json::from_slice(json).map_err(|error| defect(&error))
}

fn object(place: usize, json: &Bytes) -> Result<BTreeMap<String, Box<RawValue>>, Failure> {
    serde_json::from_slice(json).map_err(|_| {
        let message = format!("value {} has no name and is no object; name it in fields", place + 1);
        refused("field_unnamed", message)
    })
}

fn defect(error: &serde_json::Error) -> Failure {
    let message = format!("a value is no JSON: {error}; report this as a defect");
    Failure::new(crate::runners::ErrorClass::Internal, "input_invalid", message)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::tests::{Given, code, one};
    use super::*;

    fn build(config: Value, values: Value) -> Given {
        Given::config(config).list("values", values)
    }

    #[test]
    fn later_values_win() {
        let given = build(json!({"fields": ["a"], "constants": {"a": 0, "b": 0}}), json!([1, {"b": 2, "c": [3]}]));
        assert_eq!(one(run, given), json!({"a": 1, "b": 2, "c": [3]}));
        assert_eq!(one(run, build(json!({}), json!([]))), json!({}));
    }

    #[test]
    fn values_keep_their_text() {
        let work = crate::runners::debug::tests::work(&json!({"fields": ["n"]}));
        let values = vec![Bytes::from_static(b"123456789012345678901234567890.10")];
        let inputs = vec![crate::runners::Input { port: "values".into(), list: true, values }];
        let call = Call::new(crate::runners::Work { inputs, ..work }, Default::default());
        assert_eq!(run(&call).unwrap()[0].value, r#"{"n":123456789012345678901234567890.10}"#);
    }

    #[test]
    fn every_value_has_a_place() {
        assert_eq!(code(run, build(json!({}), json!([1]))), "field_unnamed");
        assert_eq!(code(run, build(json!({"fields": ["a", "b"]}), json!([1]))), "fields_too_many");
        assert_eq!(code(run, build(json!({"fields": "a"}), json!([1]))), "config_invalid");
    }
}
