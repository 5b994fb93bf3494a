//! `utility:prompt_concat`: joins texts into one.

use serde::Deserialize;
use serde_json::json;

use super::Answer;
use super::call::{Call, as_text, output};
use crate::runners::{Manifest, Port, PortType};

pub(super) fn manifest() -> Manifest {
    let text = Manifest::pure(
        "utility:prompt_concat",
        "Concatenate texts",
        "Joins texts into one, in the order of their edges.",
    );
    let properties = json!({
        "separator": {"type": "string", "default": " ", "description": "Put between two texts."},
        "prefix": {"type": "string", "default": "", "description": "Put before the first text."},
        "suffix": {"type": "string", "default": "", "description": "Put after the last text."},
        "texts": {
            "description": "The texts, when none is wired.",
            "anyOf": [{"type": "string"}, {"type": "array"}],
        },
    });
    let text = text
        .ports([Port::new("texts", PortType::Text).list()], [Port::new("text", PortType::Text)])
        .config(&[], properties)
        .aliases(&[("prompt{n}", "texts[]")], &[("prompt", "text")], &[])
        .example("Two texts", json!({}), json!({"texts": ["a cat", "in oil"]}), json!({"text": "a cat in oil"}));
    Manifest { prefetch: true, ..text }
}

#[derive(Deserialize)]
struct Config {
    #[serde(default = "one_space")]
    separator: String,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    suffix: String,
}

pub(super) fn run(call: &Call) -> Answer {
    let Config { separator, prefix, suffix } = call.config()?;
    let texts: Vec<String> = call.values("texts")?.into_iter().map(as_text).collect();
    Ok(vec![output("text", format!("{prefix}{}{suffix}", texts.join(&separator)))])
}

fn one_space() -> String {
    " ".to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Given, code, one};
    use super::*;

    #[test]
    fn texts_are_joined_in_order() {
        let given = Given::config(json!({"separator": "|", "prefix": "<", "suffix": ">"}));
        assert_eq!(one(run, given.list("texts", json!(["a", 1, [true]]))), json!("<a|1|[true]>"));
        assert_eq!(one(run, Given::config(json!({"label": {"x": 1}})).list("texts", json!(["alone"]))), json!("alone"));
        assert_eq!(one(run, Given::config(json!({}))), json!(""));
    }

    #[test]
    fn a_bad_config_is_the_callers_fault() {
        assert_eq!(code(run, Given::config(json!({"separator": 7}))), "config_invalid");
    }
}
