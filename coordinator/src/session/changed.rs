//! A node's config as a person has changed it, who had the node run again.

use bytes::Bytes;
use heddle_core::graph::Provided;
use heddle_core::value::Value;
use serde_json::Map;

/// What is changed: keys of the config, and values of inputs that no edge feeds.
pub(crate) struct Changed {
    /// The whole config, one JSON object.
    pub(crate) config: Bytes,
    /// Inputs by their ids.
    pub(crate) inputs: Vec<(String, Value)>,
}

/// Lays the changes over a node's config. A key that is an input's id is that input's value.
pub(crate) fn lay_over(provided: Provided<'_>, changes: &[u8]) -> Changed {
    let read = |json: &[u8]| serde_json::from_slice::<Map<String, serde_json::Value>>(json).unwrap_or_default();
    let (mut config, mut inputs) = (read(provided.config), Vec::new());
    for (key, value) in read(changes) {
        let is_input = provided.node_type.is_some_and(|node_type| node_type.input(&key).is_some());
        if is_input {
            inputs.push((key, Value::from_json(value.to_string().into())));
        } else {
            config.insert(key, value);
        }
    }
    Changed { config: serde_json::Value::Object(config).to_string().into(), inputs }
}
