//! Config schemas of node types, which agents bring, and what is wrong with a config by them.
//!
//! Graphs are checked on the threads that serve everybody, and a check cannot be stopped. So what one costs is bounded before it
//! begins, as for the schemas that users write (`reviews/form.rs`): a pattern goes through a text once.

use heddle_core::graph::ConfigFault;
use heddle_core::limits::GRAPH_PROBLEMS_MAX;
use heddle_schema_cost as cost;
use jsonschema::{PatternOptions, ValidationOptions, Validator};
use serde_json::Value as Json;

use crate::limits::{CONFIG_LOOKS_MAX, CONFIG_REASONS_BYTES_MAX};
use crate::schema_words::{self, Told};

/// How schemas that others write are compiled: no pattern tries things out, and none is large.
pub(crate) fn options() -> ValidationOptions<'static> {
    let patterns = PatternOptions::regex().size_limit(cost::PATTERN_BYTES_MAX).dfa_size_limit(cost::PATTERN_BYTES_MAX);
    jsonschema::options().with_pattern_options(patterns)
}

/// The config schema of one version of a node type, ready to be held against configs.
pub(crate) struct ConfigSchema {
    schema: Json,
    validator: Validator,
    parts: usize,
    /// Of branches that do not fit all reasons are put together, with the place of each.
    has_branches: bool,
}

impl ConfigSchema {
    /// # Errors
    /// Why it cannot be used and what to do, in a few words that follow "the config schema".
    pub(crate) fn read(schema: &Json) -> Result<Self, String> {
        let parts = cost::parts(schema).map_err(|fault| fault.to_string())?;
        let validator = options().build(schema).map_err(|error| {
            let Told { place, sentence, .. } = schema_words::told(&Json::Null, &error, "it");
            format!("cannot be used at {place:?}: {sentence}; correct it")
        })?;
        let text = schema.to_string();
        let has_branches = text.contains("\"anyOf\"") || text.contains("\"oneOf\"");
        Ok(Self { schema: schema.clone(), validator, parts, has_branches })
    }

    /// What is wrong with a config, at most as much as is told of a graph. `is_kept` = it was taken before, so is not too much to check.
    pub(crate) fn faults(&self, config: &Json, is_kept: bool) -> Vec<ConfigFault> {
        let (values, bytes) = (cost::values(config), config.to_string().len());
        if !is_kept && self.parts.saturating_mul(values) > CONFIG_LOOKS_MAX {
            let message = format!(
                "There is too much to check: {values} values in the config against a schema of {} parts.",
                self.parts
            );
            return vec![whole(message, "Bring large values in through an input.")];
        }
        if self.validator.is_valid(config) {
            return Vec::new();
        }
        if self.has_branches && self.parts.saturating_mul(bytes) > CONFIG_REASONS_BYTES_MAX {
            let message = "The config does not fit its node type's schema, and is too large to say where.";
            return vec![whole(message.to_owned(), "Bring large values in through an input.")];
        }
        let told = self.validator.iter_errors(config).take(GRAPH_PROBLEMS_MAX + 1).map(|error| {
            let Told { place, sentence, fix } = schema_words::told(&self.schema, &error, "the config");
            ConfigFault { place, message: sentence + ".", fix: fix + "." }
        });
        told.collect()
    }
}

fn whole(message: String, fix: &str) -> ConfigFault {
    ConfigFault { place: String::new(), message, fix: fix.to_owned() }
}

#[cfg(test)]
mod tests {
    use heddle_core::graph::TypeCatalogue;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fault_says_where_and_what_to_write() {
        let schema = json!({"type": "object", "properties": {"width": {"type": "integer", "minimum": 1}}});
        let schema = ConfigSchema::read(&schema).unwrap();
        let fault = |config: Json| schema.faults(&config, false).remove(0);
        let wide = fault(json!({"width": "wide"}));
        assert_eq!(wide.place, "/width");
        assert_eq!(wide.message, "width is \"wide\", but must be a whole number.");
        assert_eq!(wide.fix, "Set width to a whole number.");
        assert_eq!(fault(json!({"width": 0})).fix, "Set width to a number that is at least 1.");
        assert_eq!(schema.faults(&json!({"width": 1}), false), []);
    }

    #[test]
    fn what_would_cost_too_much_is_refused_with_the_place() {
        let refused = |schema: Json| ConfigSchema::read(&schema).err().unwrap();
        let around = refused(json!({"properties": {"name": {"pattern": "(?=a)b"}}}));
        assert!(around.contains("\"/properties/name/pattern\"") && around.contains("look-around"), "{around}");
        // What an engine tries out that can look around, and what takes long by its size alone.
        assert!(refused(json!({"pattern": "(?<=(a|aa)+)c$"})).contains("look-around"));
        assert!(refused(json!({"pattern": "^(\\p{L}{1,50}){1,20}$"})).contains("too large"));
        assert!(refused(json!({"$ref": "http://h.example/schema"})).contains("inside"));
        assert!(refused(json!({"properties": {"a": {"type": "txt"}}})).contains("\"/properties/a/type\""));
        let consts: Vec<Json> = (0..3_000).map(|number| json!({ "const": number })).collect();
        let many = ConfigSchema::read(&json!({"additionalProperties": {"items": {"anyOf": consts}}})).unwrap();
        let config = json!({ "a": vec![5_000; 10_000] });
        let fault = many.faults(&config, false).remove(0);
        assert!(fault.message.contains("too much to check"), "{fault:?}");
        assert!(many.faults(&config, true)[0].message.contains("too large to say where"));
    }

    #[test]
    fn those_of_built_in_types_can_be_used() {
        for node_type in TypeCatalogue::new().iter() {
            let Some(schema) = &node_type.config_schema else { continue };
            let read = ConfigSchema::read(schema).map(|schema| schema.parts);
            assert!(read.as_ref().is_ok_and(|parts| *parts < 1_000), "{}: {read:?}", node_type.id);
        }
    }
}
