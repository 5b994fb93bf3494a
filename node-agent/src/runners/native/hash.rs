//! `utility:hash`: the digest of a value.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use md5::Md5;
use serde::Deserialize;
use serde_json::json;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::Answer;
use super::call::{Call, output};
use crate::runners::{Manifest, Port, PortType};

pub(super) fn manifest() -> Manifest {
    let properties = json!({
        "algorithm": {"enum": ["sha256", "sha512", "sha1", "md5"], "default": "sha256", "description": "sha1 and md5 are for old partners: they protect nothing."},
        "encoding": {"enum": ["hex", "base64", "base64url"], "default": "hex"},
    });
    let hash = Manifest::pure(
        "utility:hash",
        "Hash",
        "Gives the digest of a text, or of any other value as compact JSON with its keys in order.",
    )
    .ports([Port::new("value", PortType::Any).required()], [Port::new("text", PortType::Text)])
    .config(&[], properties)
    .aliases(&[("text", "value")], &[("hash", "text")], &[])
    .example(
        "A text",
        json!({}),
        json!({"value": "abc"}),
        json!({"text": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}),
    );
    Manifest { prefetch: true, ..hash }
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    algorithm: Algorithm,
    #[serde(default)]
    encoding: Encoding,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum Algorithm {
    #[default]
    Sha256,
    Sha512,
    Sha1,
    Md5,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    #[default]
    Hex,
    Base64,
    Base64url,
}

pub(super) fn run(call: &Call) -> Answer {
    let Config { algorithm, encoding } = call.config()?;
    let text = call.text("value")?;
    let digest = match algorithm {
        Algorithm::Sha256 => Sha256::digest(text).to_vec(),
        Algorithm::Sha512 => Sha512::digest(text).to_vec(),
        Algorithm::Sha1 => Sha1::digest(text).to_vec(),
        Algorithm::Md5 => Md5::digest(text).to_vec(),
    };
    let text = match encoding {
        Encoding::Hex => digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        Encoding::Base64 => STANDARD.encode(digest),
        Encoding::Base64url => URL_SAFE_NO_PAD.encode(digest),
    };
    Ok(vec![output("text", text)])
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Given, code, one};
    use super::*;

    #[test]
    fn digests_are_those_of_the_standards() {
        let abc = |config| one(run, Given::config(config).one("value", json!("abc")));
        assert_eq!(abc(json!({"algorithm": "md5"})), json!("900150983cd24fb0d6963f7d28e17f72"));
        assert_eq!(abc(json!({"algorithm": "sha1"})), json!("a9993e364706816aba3e25717850c26c9cd0d89d"));
        assert_eq!(abc(json!({"algorithm": "sha1", "encoding": "base64"})), json!("qZk+NkcGgWq6PiVxeFDCbJzQ2J0="));
        assert_eq!(abc(json!({"algorithm": "sha1", "encoding": "base64url"})), json!("qZk-NkcGgWq6PiVxeFDCbJzQ2J0"));
        assert_eq!(abc(json!({"algorithm": "sha512"})).as_str().unwrap().len(), 128);
    }

    #[test]
    fn equal_objects_have_equal_digests() {
        let of = |value| one(run, Given::config(json!({})).one("value", value));
        assert_eq!(of(json!({"b": 1, "a": 2})), of(json!("{\"a\":2,\"b\":1}")));
        assert_eq!(code(run, Given::config(json!({}))), "input_missing");
        assert_eq!(code(run, Given::config(json!({"algorithm": "crc"})).one("value", json!(1))), "config_invalid");
    }
}
