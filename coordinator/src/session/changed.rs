//! A node's config as a person has changed it, who had the node run again.

use bytes::Bytes;
use heddle_core::graph::Provided;
use heddle_core::value::Value;
use serde_json::Map;

/// What is changed: keys of the config, and values of inputs that no edge feeds.
pub(crate) struct Changed {
    /// The whole config, one JSON object.
    pub(crate) config: Bytes,
    /// Inputs by their ids; nothing: what the type says itself, if it does.
    pub(crate) inputs: Vec<(String, Option<Value>)>,
}

/// Lays the changes over a node's config: `null` takes a key out. A key that is an input's id is that input's value.
pub(crate) fn lay_over(provided: Provided<'_>, changes: &[u8]) -> Changed {
    let read = |json: &[u8]| serde_json::from_slice::<Map<String, serde_json::Value>>(json).unwrap_or_default();
    let (mut config, mut inputs) = (read(provided.config), Vec::new());
    for (key, value) in read(changes) {
        let is_null = value.is_null();
        match provided.node_type.and_then(|node_type| node_type.input(&key)) {
            Some((_, input)) => {
                let given = if is_null { input.default.as_ref() } else { Some(&value) };
                let given = given.map(|value| Value::from_json(value.to_string().into()));
                inputs.push((key, given));
            }
            None if is_null => drop(config.remove(&key)),
            None => drop(config.insert(key, value)),
        }
    }
    Changed { config: serde_json::Value::Object(config).to_string().into(), inputs }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use heddle_core::node_type::NodeType;
    use heddle_core::policy::Policy;
    use serde_json::json;

    use super::*;

    #[test]
    fn null_takes_a_key_out() {
        let node_type: NodeType = serde_json::from_value(json!({
            "id": "t:x", "version": 1, "title": "X", "outputs": [], "effect": "pure",
            "inputs": [{"id": "a", "type": "TEXT"}, {"id": "b", "type": "TEXT", "default": "own"}],
        }))
        .unwrap();
        let config = Bytes::from_static(br#"{"kept":1,"gone":2,"other":3}"#);
        let (node_type, policy) = (Arc::new(node_type), Policy::default());
        let provided = Provided {
            type_id: &node_type.id,
            node_type: Some(&node_type),
            config: &config,
            constants: &[],
            effect: node_type.effect,
            policy: &policy,
        };
        let changed = lay_over(provided, br#"{"gone":null,"other":4,"a":null,"b":null}"#);
        assert_eq!(changed.config, r#"{"kept":1,"other":4}"#);
        let inputs: Vec<_> =
            changed.inputs.iter().map(|(id, value)| (id.as_str(), value.as_ref().map(Value::json))).collect();
        assert_eq!(inputs, [("a", None), ("b", Some(&Bytes::from_static(br#""own""#)))]);
    }
}
