//! What the examples' commands say of the sandbox, for clusters whose agents ask one.

use serde_json::Value;

use super::example;

/// The scripts of an example, by credential; none for one that needs none.
pub(crate) fn scripts(name: &str) -> Value {
    let file = example(&format!("{name}/sandbox.json"));
    if !file.exists() {
        return Value::Object(serde_json::Map::new());
    }
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// These words for a server whose agents ask a sandbox.
pub(crate) fn without_sandbox(words: Vec<String>) -> Vec<String> {
    let mut words: Vec<String> = words.into_iter().filter(|word| word != "--sandbox").collect();
    if let Some(place) = words.iter().position(|word| word == "--sandbox-script") {
        words.drain(place..place + 2);
    }
    words
}
