//! The model agents' node types, and what they make: always the same of the same inputs, so that the reference interpreter
//! knows it too.

use heddle_core::node_type::EffectClass;
use serde_json::{Value as Json, json};

/// Takes a list; may be sent ahead.
pub(super) const PREFETCHED: &str = "debug:prefetched";
/// Takes a list.
pub(super) const WORK: &str = "debug:work";
/// Takes one value, and a second one if wired: a list lifts it.
pub(super) const ONE: &str = "debug:one";
/// Gives a list.
pub(super) const LIST: &str = "debug:list";
/// The types that agents offer, sorted.
pub(super) const TYPES: [&str; 4] = [LIST, ONE, PREFETCHED, WORK];

/// The code with which inputs are refused.
pub(super) const REFUSED: &str = "refused";

/// Values by port.
pub(super) type Made = Vec<(&'static str, Json)>;

/// What a node makes of its inputs, which are in the order of its ports; nothing if it refuses them.
///
/// Its config says what it refuses (`refuses`: about one in so many), how long its lists get (`longest`), and whether what it
/// makes is too large for a row (`large`).
pub(super) fn make(node_type: &str, config: &Json, inputs: &[Json]) -> Option<Made> {
    let salt = config["salt"].as_u64().unwrap_or_default();
    let seen = inputs.iter().fold(mix(1, salt), look);
    let is_one_in = |share: u64, salt: u64| share > 0 && mix(seen, salt).is_multiple_of(share);
    if is_one_in(config["refuses"].as_u64().unwrap_or_default(), 2) {
        return None;
    }
    let number = |salt: u64| json!({"n": mix(seen, salt) % 60});
    let is_large = config["large"] == true;
    if node_type == LIST {
        let length = mix(seen, 3) % (config["longest"].as_u64().unwrap_or_default() + 1);
        let items = (0..length).map(|place| number(100 + place)).collect();
        return Some(vec![("items", Json::Array(items))]);
    }
    let number = |salt: u64| if is_large { json!({"n": mix(seen, salt) % 60, "large": true}) } else { number(salt) };
    let mut made = vec![("out", number(4))];
    // Now and then its second output stays closed, so that what hangs on it is skipped.
    if !is_one_in(5, 5) {
        made.push(("side", number(6)));
    }
    Some(made)
}

/// The manifest of one of the types.
pub(super) fn manifest(node_type: &str) -> Json {
    let inputs = match node_type {
        ONE => json!([{"id": "one", "type": "ANY", "required": true}, {"id": "extra", "type": "ANY"}]),
        _ => json!([{"id": "in", "type": "ANY", "list": true, "required": true}]),
    };
    let outputs = match node_type {
        LIST => json!([{"id": "items", "type": "ANY", "list": true}]),
        _ => json!([{"id": "out", "type": "ANY"}, {"id": "side", "type": "ANY"}]),
    };
    json!({"id": node_type, "version": 1, "title": "Work", "effect": EffectClass::Pure, "effectFromConfig": true,
        "prefetch": node_type == PREFETCHED, "cancelsJobs": node_type != PREFETCHED, "inputs": inputs, "outputs": outputs})
}

/// Only numbers count, where others are, and what lies in a list: who made values and why something failed do not.
fn look(seen: u64, value: &Json) -> u64 {
    match value {
        Json::Array(items) => mix(items.iter().fold(mix(seen, 17), look), 19),
        Json::Number(number) => mix(seen, number.as_u64().unwrap_or(1) + 1_000),
        Json::Object(fields) => match fields.get("n") {
            Some(number) => look(seen, number),
            None => mix(seen, 11),
        },
        Json::Null => mix(seen, 7),
        Json::Bool(_) | Json::String(_) => mix(seen, 13),
    }
}

fn mix(seen: u64, with: u64) -> u64 {
    let mixed = (seen ^ with.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed ^ (mixed >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_made_of_the_same() {
        let made = |inputs: &[Json]| make(WORK, &json!({}), inputs);
        assert_eq!(made(&[json!([{"n": 1, "by": "a"}, {"n": 2}])]), made(&[json!([{"n": 1}, {"n": 2, "by": "b"}])]));
        assert_ne!(made(&[json!([{"n": 1}, {"n": 2}])]), made(&[json!([[{"n": 1}], {"n": 2}])]));
        assert_ne!(made(&[json!([{"n": 1}, {"n": 2}])]), made(&[json!([{"n": 2}, {"n": 1}])]));
    }

    #[test]
    fn a_config_says_what_is_refused_and_how_long_lists_are() {
        let share = |config: &Json| {
            let refused = (0..1_000).filter(|n| make(ONE, config, &[json!({"n": n})]).is_none());
            refused.count()
        };
        assert_eq!(share(&json!({})), 0);
        assert!((50..200).contains(&share(&json!({"refuses": 10}))));
        let lengths = (0..200).filter_map(|n| make(LIST, &json!({"longest": 3}), &[json!([{"n": n}])]));
        let lengths: std::collections::BTreeSet<_> =
            lengths.map(|made| made[0].1.as_array().map_or(0, Vec::len)).collect();
        assert_eq!(lengths, (0..=3).collect());
    }
}
