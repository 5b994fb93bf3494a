//! `utility:json_parse`: reads JSON from a text, also from one that a model wrote around it.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::Answer;
use super::call::{Call, output_json, refused};
use crate::limits::JSON_PARSE_TRIES_MAX;
use crate::runners::{Manifest, Port, PortType};

pub(super) fn manifest() -> Manifest {
    let properties = json!({
        "strict": {"type": "boolean", "default": false, "description": "Whether the text must be JSON and nothing else; else the first object or list in it is taken."},
    });
    let parse = Manifest::pure(
        "utility:json_parse",
        "Parse JSON",
        "Reads JSON from a text; fences and words around it do no harm.",
    )
    .ports([Port::new("text", PortType::Text).required()], [Port::new("json", PortType::Json)])
    .config(&[], properties)
    .example(
        "What a model said",
        json!({}),
        json!({"text": "Here you are:\n```json\n{\"score\": 7}\n```"}),
        json!({"json": {"score": 7}}),
    );
    Manifest { prefetch: true, ..parse }
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    strict: bool,
}

pub(super) fn run(call: &Call) -> Answer {
    let Config { strict } = call.config()?;
    let text = call.text("text")?;
    let text = text.trim_start_matches('\u{feff}').trim();
    let whole = serde_json::from_str::<&RawValue>(text);
    // The text of a number stays as it is: a float cannot hold them all.
    let found = match (&whole, strict) {
        (Ok(json), _) => Some(json.get()),
        (Err(_), true) => None,
        (Err(_), false) => first_json(text),
    };
    match (found, whole) {
        (Some(json), _) => Ok(vec![output_json("json", json.to_owned())]),
        (None, Err(error)) => Err(refused(
            "json_invalid",
            format!("the text holds no JSON that can be read: {error}; correct what writes it"),
        )),
        (None, Ok(_)) => Err(refused("json_invalid", "the text holds no JSON; correct what writes it")),
    }
}

/// The first object or list that can be read.
fn first_json(text: &str) -> Option<&str> {
    let starts = text.char_indices().filter(|(_, character)| matches!(character, '{' | '['));
    starts.take(JSON_PARSE_TRIES_MAX).find_map(|(start, _)| {
        let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<&RawValue>();
        values.next()?.ok().map(RawValue::get)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Given, code, one};
    use super::*;

    fn parse(strict: bool, text: &str) -> Given {
        Given::config(json!({"strict": strict})).one("text", json!(text))
    }

    #[test]
    fn the_first_json_in_a_text_is_found() {
        assert_eq!(one(run, parse(true, "\u{feff} [1, {}] ")), json!([1, {}]));
        assert_eq!(one(run, parse(false, "so [see] this: {\"a\": \"}\"} and more {}")), json!({"a": "}"}));
        assert_eq!(one(run, parse(false, "7")), json!(7));
        assert_eq!(one(run, parse(false, r#""text""#)), json!("text"));
    }

    #[test]
    fn numbers_stay_as_they_are_written() {
        let json = first_json("x [123456789012345678901234567890, 1.0]").unwrap();
        assert_eq!(json, "[123456789012345678901234567890, 1.0]");
    }

    #[test]
    fn a_text_without_json_is_refused() {
        assert_eq!(code(run, parse(true, "x {}")), "json_invalid");
        for text in ["", "no", "{\"a\": ", &"[".repeat(60_000), &"{".repeat(60_000)] {
            assert_eq!(code(run, parse(false, text)), "json_invalid");
        }
    }
}
