//! `utility:prompt_concat`: joins texts into one.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, ready};
use serde::Deserialize;
use serde_json::{Value, json};

use super::config::config;
use super::{Context, EffectClass, ErrorClass, Failure, Manifest, Output, Port, PortType, Runner, Work};

/// Joins texts in edge order.
pub(super) struct PromptConcat;

#[derive(Deserialize)]
struct Config {
    #[serde(default = "one_space")]
    separator: String,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    suffix: String,
    /// Used when the port is not wired.
    #[serde(default)]
    texts: OneOrMany,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<Value>),
    One(String),
}

impl Default for OneOrMany {
    fn default() -> Self {
        OneOrMany::Many(Vec::new())
    }
}

impl Runner for PromptConcat {
    fn manifest(&self) -> Manifest {
        Manifest {
            id: "utility:prompt_concat".into(),
            version: 1,
            title: "Concatenate texts".into(),
            summary: "Joins texts into one, in the order of their edges.".into(),
            inputs: vec![Port::new("texts", PortType::Text).list()],
            outputs: vec![Port::new("text", PortType::Text)],
            config_schema: Some(json!({
                "type": "object",
                "properties": {
                    "separator": {"type": "string", "default": " ", "description": "Put between two texts."},
                    "prefix": {"type": "string", "default": "", "description": "Put before the first text."},
                    "suffix": {"type": "string", "default": "", "description": "Put after the last text."},
                    "texts": {
                        "description": "The texts, when none is wired.",
                        "anyOf": [{"type": "string"}, {"type": "array"}],
                    },
                },
            })),
            effect: EffectClass::Pure,
            effect_from_config: false,
            prefetch: true,
            input_aliases: BTreeMap::from([("prompt{n}".to_owned(), "texts[]".to_owned())]),
            output_aliases: BTreeMap::from([("prompt".to_owned(), "text".to_owned())]),
        }
    }

    fn run(&self, work: Work, _context: Context) -> BoxFuture<'static, Result<Vec<Output>, Failure>> {
        ready(concatenate(&work)).boxed()
    }
}

fn concatenate(work: &Work) -> Result<Vec<Output>, Failure> {
    let config: Config = config(work)?;
    let texts = match (work.input("texts"), config.texts) {
        ([], OneOrMany::One(text)) => vec![text],
        ([], OneOrMany::Many(values)) => values.into_iter().map(as_text).collect(),
        (wired, _) => wired.iter().map(|json| read_text(work, json)).collect::<Result<_, _>>()?,
    };
    let text = format!("{}{}{}", config.prefix, texts.join(&config.separator), config.suffix);
    Ok(vec![Output { port: "text".into(), value: Bytes::from(Value::String(text).to_string()) }])
}

fn read_text(work: &Work, json: &Bytes) -> Result<String, Failure> {
    serde_json::from_slice(json).map(as_text).map_err(|error| {
        let message = format!("an input of node {} is not JSON: {error}; report this as a defect", work.node_id);
        Failure::new(ErrorClass::Internal, "input_invalid", message)
    })
}

/// Numbers, booleans and JSON become compact text.
fn as_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn one_space() -> String {
    " ".to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::Input;
    use super::*;

    fn run(config: &Value, texts: &[&str]) -> Result<String, Failure> {
        let values = texts.iter().map(|json| Bytes::copy_from_slice(json.as_bytes())).collect::<Vec<_>>();
        let inputs = match values.is_empty() {
            true => Vec::new(),
            false => vec![Input { port: "texts".into(), list: true, values }],
        };
        let work = Work { inputs, ..super::super::debug::tests::work(config) };
        concatenate(&work).map(|outputs| String::from_utf8(outputs[0].value.to_vec()).unwrap())
    }

    #[test]
    fn texts_are_joined_in_order() {
        assert_eq!(run(&json!({}), &[r#""a cat""#, r#""in \"oil\"""#]).unwrap(), r#""a cat in \"oil\"""#);
        assert_eq!(
            run(&json!({"separator": "|", "prefix": "<", "suffix": ">"}), &[r#""a""#, "1", "[true]"]).unwrap(),
            r#""<a|1|[true]>""#
        );
    }

    #[test]
    fn config_stands_in_for_edges() {
        assert_eq!(run(&json!({"texts": "alone", "label": {"x": 1}}), &[]).unwrap(), r#""alone""#);
        assert_eq!(run(&json!({"texts": ["a", 2]}), &[]).unwrap(), r#""a 2""#);
        assert_eq!(run(&json!({"texts": "unused"}), &[r#""wired""#]).unwrap(), r#""wired""#);
        assert_eq!(run(&json!({}), &[]).unwrap(), r#""""#);
    }

    #[test]
    fn a_bad_config_is_the_callers_fault() {
        let failure = run(&json!({"separator": 7}), &[]).unwrap_err();
        assert_eq!((failure.class, &*failure.code), (ErrorClass::InvalidRequest, "config_invalid"));
    }
}
