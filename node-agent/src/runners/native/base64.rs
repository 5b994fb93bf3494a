//! `utility:base64`: to Base64 and back.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::json;

use super::Answer;
use super::call::{Call, output, refused};
use crate::runners::{Manifest, Port, PortType};

pub(super) fn manifest() -> Manifest {
    let properties = json!({
        "direction": {"enum": ["encode", "decode"], "default": "encode"},
        "alphabet": {"enum": ["standard", "url"], "default": "standard", "description": "url has - and _ for + and /, and no = at the end."},
    });
    let base64 = Manifest::pure("utility:base64", "Base64", "Writes a text as Base64, or reads a text from it.")
        .ports([Port::new("value", PortType::Any).required()], [Port::new("value", PortType::Text)])
        .config(&[], properties)
        .aliases(&[("text", "value")], &[("text", "value")], &[])
        .example("To Base64", json!({}), json!({"value": "high tide"}), json!({"value": "aGlnaCB0aWRl"}));
    Manifest { prefetch: true, ..base64 }
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    direction: Direction,
    #[serde(default)]
    alphabet: Alphabet,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum Direction {
    #[default]
    Encode,
    Decode,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum Alphabet {
    #[default]
    Standard,
    Url,
}

pub(super) fn run(call: &Call) -> Answer {
    let Config { direction, alphabet } = call.config()?;
    let text = call.text("value")?;
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = match alphabet {
        Alphabet::Standard => GeneralPurpose::new(&STANDARD, config),
        Alphabet::Url => GeneralPurpose::new(&URL_SAFE, config.with_encode_padding(false)),
    };
    let text = match direction {
        Direction::Encode => engine.encode(text),
        Direction::Decode => {
            // Line ends are how long texts travel.
            let compact: String = text.chars().filter(|character| !character.is_ascii_whitespace()).collect();
            let bytes = engine.decode(compact).map_err(|error| {
                refused("base64_invalid", format!("the text is no Base64: {error}; check its alphabet"))
            })?;
            String::from_utf8(bytes)
                .map_err(|_| refused("base64_no_text", "what is encoded is no text; decode it where it is needed"))?
        }
    };
    Ok(vec![output("value", text)])
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Given, code, one};
    use super::*;

    fn given(direction: &str, alphabet: &str, value: serde_json::Value) -> Given {
        Given::config(json!({"direction": direction, "alphabet": alphabet})).one("value", value)
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for alphabet in ["standard", "url"] {
            for text in ["", "a", "ü?>", "{\"x\":1}"] {
                let encoded = one(run, given("encode", alphabet, json!(text)));
                assert_eq!(one(run, given("decode", alphabet, encoded)), json!(text));
            }
        }
        assert_eq!(one(run, given("encode", "url", json!("?>?>"))), json!("Pz4_Pg"));
        assert_eq!(one(run, given("decode", "standard", json!("aGln\r\naA"))), json!("high"));
        assert_eq!(one(run, given("encode", "standard", json!([1]))), json!("WzFd"));
    }

    #[test]
    fn what_is_no_text_is_refused() {
        assert_eq!(code(run, given("decode", "standard", json!("*"))), "base64_invalid");
        assert_eq!(code(run, given("decode", "standard", json!("_w"))), "base64_invalid");
        assert_eq!(code(run, given("decode", "standard", json!("/w=="))), "base64_no_text");
    }
}
