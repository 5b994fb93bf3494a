//! Keys of a node's config that its type does not know: nearly always slips of the pen.
//!
//! Only `config` and `params` are judged. Directly in `data` clients keep whatever they like (React Flow's own fields,
//! notes, what a later version reads), so a key there says nothing.

use std::sync::Arc;

use super::json::Member;
use super::nearest::distance;
use super::ports::Side;
use super::problem::{Problem, Problems, join, rule, shown};
use super::values::is_schema_key;
use crate::node_type::NodeType;

/// Known keys that a message lists where none is alike.
const KEYS_SHOWN_MAX: usize = 8;

/// Keys that choose with which credential a node goes where, whatever its type says.
const ACCESS_KEYS: [&str; 3] = ["credential", "baseUrl", "url"];

/// Warns of each key of a node's `config` and `params` that neither its type's schema nor a port or alias names. A type
/// whose schema names no keys, or takes others besides, is not judged; one that forbids others refuses them itself.
pub(super) fn report_unknown(
    node_type: &NodeType,
    id: &Arc<str>,
    data: &[Member<'_>],
    path: &str,
    warnings: &mut Problems,
) {
    if !names_all_keys(node_type) {
        return;
    }
    for level in data.iter().filter(|member| matches!(&*member.key, "config" | "params")) {
        for member in level.value.members().filter(|member| !is_known(node_type, &member.key)) {
            warnings.push_with(|| {
                let message = format!(
                    "{} of node \"{}\" has the key \"{}\", which {} does not know: nothing reads it.",
                    level.key,
                    shown(id),
                    shown(&member.key),
                    node_type.id
                );
                let path = join(&format!("{path}/data/{}", level.key), &member.key);
                Problem::new(rule::UNKNOWN_CONFIG_KEY, message, fix(node_type, &member.key)).node(id).at(path)
            });
        }
    }
}

/// What to do about a key that a node's type does not know by just this name; nothing if it does, or judges no keys.
pub fn unknown_key(node_type: &NodeType, key: &str) -> Option<String> {
    if !names_all_keys(node_type) {
        return None;
    }
    let is_named = is_schema_key(node_type, key)
        || node_type.input(key).is_some()
        || node_type.effect_rules.iter().any(|rule| *rule.key == *key)
        || node_type.effect_from_config && key == "effect";
    match node_type.config_aliases.get(key).or_else(|| node_type.input_aliases.get(key)) {
        _ if is_named => None,
        Some(name) => Some(format!("Did you mean \"{name}\"?")),
        None => Some(fix(node_type, key)),
    }
}

/// Whether a key chooses with which credential a node goes where: by its name, or as the type's schema marks it with
/// `"x-access": true`.
pub fn chooses_access(node_type: &NodeType, key: &str) -> bool {
    let key = node_type.config_aliases.get(key).map_or(key, String::as_str);
    let property = node_type.config_schema.as_ref().and_then(|schema| schema.get("properties")?.get(key));
    let is_marked = property.and_then(|property| property.get("x-access")) == Some(&serde_json::Value::Bool(true));
    is_marked || ACCESS_KEYS.contains(&key)
}

fn names_all_keys(node_type: &NodeType) -> bool {
    let Some(schema) = &node_type.config_schema else { return false };
    let takes_others =
        ["additionalProperties", "unevaluatedProperties", "patternProperties", "allOf", "anyOf", "oneOf", "$ref"];
    schema.get("properties").is_some() && takes_others.iter().all(|key| schema.get(key).is_none())
}

fn is_known(node_type: &NodeType, key: &str) -> bool {
    is_schema_key(node_type, key)
        || node_type.config_aliases.contains_key(key)
        || Side::inputs(node_type).find(key).is_some()
        || node_type.effect_rules.iter().any(|rule| *rule.key == *key)
        || node_type.effect_from_config && key == "effect"
}

fn fix(node_type: &NodeType, key: &str) -> String {
    let names: Vec<&str> = names(node_type).collect();
    let distance_max = (key.len() / 3).max(2);
    let alike = names.iter().filter_map(|name| Some((distance(&folded(key), &folded(name), distance_max)?, *name)));
    match alike.min_by_key(|(distance, _)| *distance) {
        Some((_, name)) => format!("Did you mean \"{name}\"?"),
        None if names.is_empty() => "Take it out: the type has no config.".to_owned(),
        None => {
            let listed: Vec<_> = names.iter().take(KEYS_SHOWN_MAX).copied().collect();
            let more = if names.len() > listed.len() { ", …" } else { "" };
            format!("Take it out; the type knows {}{more}.", listed.join(", "))
        }
    }
}

/// The names by which a config gives values: the schema's, then those of inputs, then aliases without a number.
fn names(node_type: &NodeType) -> impl Iterator<Item = &str> {
    let schema = node_type.config_schema.as_ref().and_then(|schema| schema.get("properties")?.as_object());
    let inputs = node_type.inputs.iter().map(|port| &*port.id);
    let aliases = node_type.config_aliases.keys().chain(node_type.input_aliases.keys());
    let aliases = aliases.map(String::as_str).filter(|alias| !alias.contains('{'));
    schema.into_iter().flat_map(|keys| keys.keys().map(String::as_str)).chain(inputs).chain(aliases)
}

/// Without what clients write in different ways: `max_chars` is `maxChars`.
fn folded(key: &str) -> String {
    key.chars().filter(|letter| !matches!(letter, '_' | '-')).flat_map(char::to_lowercase).collect()
}
