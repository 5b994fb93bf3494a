//! `utility:json_schema_check`: whether a value is what a JSON Schema says.

use heddle_schema_cost as schema_cost;
use jsonschema::PatternOptions;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Answer;
use super::call::{Call, output, refused};
use crate::limits::{PATTERN_COMPILED_BYTES_MAX, SCHEMA_FAULTS_MAX};
use crate::runners::{Manifest, Port, PortType};

pub(super) fn manifest() -> Manifest {
    let properties = json!({
        "schema": {"type": ["object", "boolean"], "description": "The schema. Its references stay inside of it and do not run in circles."},
        "formats": {"type": "boolean", "default": false, "description": "Whether format (email, date…) is checked."},
    });
    Manifest::pure(
        "utility:json_schema_check",
        "Check against a schema",
        "Says whether a value is what a JSON Schema says, and where it is not.",
    )
    .ports(
        [Port::new("json", PortType::Json).required()],
        [Port::new("valid", PortType::Boolean), Port::new("errors", PortType::Json)],
    )
    .config(&["schema"], properties)
    .example(
        "A score",
        json!({"schema": {"properties": {"score": {"type": "number", "maximum": 10}}, "required": ["score"]}}),
        json!({"json": {"score": 12}}),
        json!({"valid": false, "errors": [{"path": "/score", "message": "12 is greater than the maximum of 10"}]}),
    )
}

#[derive(Deserialize)]
struct Config {
    schema: Value,
    #[serde(default)]
    formats: bool,
}

pub(super) fn run(call: &Call) -> Answer {
    let Config { schema, formats } = call.config()?;
    if let Err(fault) = schema_cost::parts(&schema) {
        return Err(refused("schema_unusable", format!("the schema {fault}")));
    }
    let patterns =
        PatternOptions::regex().size_limit(PATTERN_COMPILED_BYTES_MAX).dfa_size_limit(PATTERN_COMPILED_BYTES_MAX);
    let checker = jsonschema::options().with_pattern_options(patterns).should_validate_formats(formats).build(&schema);
    let checker = checker.map_err(|error| {
        let (path, what) = (error.schema_path().to_string(), error.to_string());
        refused("schema_invalid", format!("the schema cannot be used at {path:?}: {what}; correct it"))
    })?;
    let json = call.needed("json")?;
    let errors: Vec<Value> = checker
        .iter_errors(&json)
        .take(SCHEMA_FAULTS_MAX)
        .map(|error| json!({"path": error.instance_path().to_string(), "message": shortened(error.to_string())}))
        .collect();
    Ok(vec![output("valid", errors.is_empty()), output("errors", errors)])
}

/// Messages repeat the value that is wrong, which may be long.
fn shortened(mut message: String) -> String {
    const MESSAGE_BYTES_MAX: usize = 300;
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
    message
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Given, all, code};
    use super::*;

    fn check(schema: Value, value: Value) -> Given {
        Given::config(json!({"schema": schema})).one("json", value)
    }

    #[test]
    fn faults_are_listed_with_their_place() {
        assert_eq!(all(run, check(json!({"type": "array"}), json!([]))), json!({"valid": true, "errors": []}));
        let many = all(run, check(json!({"items": {"type": "string"}}), json!(vec![1; 1_000])));
        assert_eq!(many["errors"].as_array().unwrap().len(), SCHEMA_FAULTS_MAX);
        assert_eq!(many["errors"][1]["path"], "/1");
        let long = all(run, check(json!({"type": "number"}), json!("ü".repeat(10_000))));
        assert!(long["errors"][0]["message"].as_str().unwrap().len() <= 300);
    }

    #[test]
    fn unusable_schemas_are_refused() {
        assert_eq!(code(run, check(json!({"type": "nothing"}), json!(1))), "schema_invalid");
        assert_eq!(code(run, check(json!({"pattern": "(?<!a)b"}), json!("b"))), "schema_unusable");
        assert_eq!(code(run, check(json!({"$ref": "#"}), json!(1))), "schema_unusable");
        assert_eq!(code(run, check(json!({"$ref": "http://127.0.0.1/x"}), json!(1))), "schema_unusable");
        assert_eq!(code(run, check(json!("x"), json!(1))), "schema_invalid");
    }
}
