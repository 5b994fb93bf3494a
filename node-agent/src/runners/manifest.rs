//! What a node type says of itself, in the JSON that the coordinator keeps and `GET /nodes/{type}` serves.

use std::collections::BTreeMap;

use serde::Serialize;

/// A node type's manifest.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// `family:name`.
    pub id: String,
    /// Raised with every change of its meaning.
    pub version: u32,
    /// A few words for people.
    pub title: String,
    /// One sentence for people.
    pub summary: String,
    /// What it takes. The first that fits is the one that an edge without a handle means.
    pub inputs: Vec<Port>,
    /// What it gives.
    pub outputs: Vec<Port>,
    /// JSON Schema of its config; absent = any object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_schema: Option<serde_json::Value>,
    /// What it may do to the world.
    pub effect: EffectClass,
    /// Whether `config.effect` may name another class.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub effect_from_config: bool,
    /// Whether it may be sent ahead of a free slot: for work so short that the way to the agent matters.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub prefetch: bool,
    /// Other names of inputs, as foreign graphs use them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub input_aliases: BTreeMap<String, String>,
    /// Other names of outputs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub output_aliases: BTreeMap<String, String>,
}

/// One input or output.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// Its id, as edges name it.
    pub id: String,
    /// What flows through it.
    #[serde(rename = "type")]
    pub port_type: PortType,
    /// Whether it carries a list.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub list: bool,
    /// For inputs: whether the node cannot run without a value.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
}

impl Port {
    /// An optional port for one value.
    pub fn new(id: &str, port_type: PortType) -> Self {
        Self { id: id.to_owned(), port_type, list: false, required: false }
    }

    /// The same port for a list.
    #[must_use]
    pub fn list(self) -> Self {
        Self { list: true, ..self }
    }
}

/// The kind of value that flows through a port (graph.md, part 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PortType {
    /// A text.
    Text,
    /// A reference to a picture.
    Image,
    /// A reference to a film.
    Video,
    /// A reference to a sound.
    Audio,
    /// Any JSON.
    Json,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A reference to any file.
    File,
    /// Whatever comes.
    Any,
}

/// What an attempt may do to the world, and so what may be done when it is lost (E10, E11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EffectClass {
    /// Nothing: it may run again at will.
    Pure,
    /// Its provider takes an idempotency key.
    Keyed,
    /// Its job can be asked for by a handle.
    Pollable,
    /// Nobody can tell whether it happened.
    Blind,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_json_has_the_fields_that_the_coordinator_reads() {
        let manifest = Manifest {
            id: "debug:noop".into(),
            version: 1,
            title: "Nothing".into(),
            summary: "Does nothing.".into(),
            inputs: vec![Port::new("in", PortType::Any).list()],
            outputs: vec![Port::new("out", PortType::Any)],
            config_schema: None,
            effect: EffectClass::Pure,
            effect_from_config: true,
            prefetch: false,
            input_aliases: BTreeMap::from([("prompt".to_owned(), "in".to_owned())]),
            output_aliases: BTreeMap::new(),
        };
        assert_eq!(
            serde_json::to_value(manifest).unwrap(),
            json!({
                "id": "debug:noop", "version": 1, "title": "Nothing", "summary": "Does nothing.",
                "inputs": [{"id": "in", "type": "ANY", "list": true}], "outputs": [{"id": "out", "type": "ANY"}],
                "effect": "pure", "effectFromConfig": true, "inputAliases": {"prompt": "in"},
            })
        );
    }
}
