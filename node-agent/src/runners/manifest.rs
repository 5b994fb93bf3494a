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
    /// How the config changes the class; the first that fits counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub effect_rules: Vec<EffectRule>,
    /// Whether it may be sent ahead of a free slot: for work so short that the way to the agent matters.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub prefetch: bool,
    /// Whether it can cancel a job at its provider ([`super::Runner::cancel_job`]).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cancels_jobs: bool,
    /// Other names of inputs, as foreign graphs use them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub input_aliases: BTreeMap<String, String>,
    /// Other names of outputs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub output_aliases: BTreeMap<String, String>,
    /// Other names of config keys.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub config_aliases: BTreeMap<String, String>,
    /// Defaults of `data.policy` for its nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<serde_json::Value>,
    /// What it makes of what: shown to people, and run by tests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
}

impl Manifest {
    /// The first version of a type that does nothing to the world, still without ports and config.
    pub fn pure(id: &str, title: &str, summary: &str) -> Self {
        Self {
            id: id.to_owned(),
            version: 1,
            title: title.to_owned(),
            summary: summary.to_owned(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            config_schema: None,
            effect: EffectClass::Pure,
            effect_from_config: false,
            effect_rules: Vec::new(),
            prefetch: false,
            cancels_jobs: false,
            input_aliases: BTreeMap::new(),
            output_aliases: BTreeMap::new(),
            config_aliases: BTreeMap::new(),
            policy: None,
            examples: Vec::new(),
        }
    }

    /// With these inputs and outputs.
    #[must_use]
    pub fn ports<const I: usize, const O: usize>(self, inputs: [Port; I], outputs: [Port; O]) -> Self {
        Self { inputs: inputs.into(), outputs: outputs.into(), ..self }
    }

    /// With a config of these keys, of which some must be there.
    #[must_use]
    pub fn config(self, required: &[&str], properties: serde_json::Value) -> Self {
        let schema = serde_json::json!({"type": "object", "required": required, "properties": properties});
        Self { config_schema: Some(schema), ..self }
    }

    /// With other names of its inputs, outputs and config keys: each pair is a name and what it stands for.
    #[must_use]
    pub fn aliases(self, inputs: &[(&str, &str)], outputs: &[(&str, &str)], config: &[(&str, &str)]) -> Self {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|&(from, to)| (from.to_owned(), to.to_owned())).collect();
        Self { input_aliases: map(inputs), output_aliases: map(outputs), config_aliases: map(config), ..self }
    }

    /// With one example more. `config`, `inputs` and `outputs` are JSON objects.
    #[must_use]
    pub fn example(
        mut self,
        title: &str,
        config: serde_json::Value,
        inputs: serde_json::Value,
        outputs: serde_json::Value,
    ) -> Self {
        self.examples.push(Example { title: title.to_owned(), config, inputs, outputs });
        self
    }
}

/// What a node of the type makes of one config and its inputs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Example {
    /// A few words for people.
    pub title: String,
    /// The config.
    pub config: serde_json::Value,
    /// The value of each wired input.
    pub inputs: serde_json::Value,
    /// The value of each output; one that is not named is closed.
    pub outputs: serde_json::Value,
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

    /// The same port, without which the node cannot run.
    #[must_use]
    pub fn required(self) -> Self {
        Self { required: true, ..self }
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

/// A config key that changes the effect class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectRule {
    /// The key.
    pub key: String,
    /// The texts that fit; none = any that is not empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// Whether the rule fits, too, when the key is not there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub or_absent: bool,
    /// The class.
    pub effect: EffectClass,
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
            ..Manifest::pure("", "", "")
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
