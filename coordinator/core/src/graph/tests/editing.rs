use super::super::{EditError, NodePatch, Point};
use super::*;

const NODES: &str = concat!(
    r##"[{"id":"a","type":"basedNode","position":{"x":1.50,"y":-0.0},"mine":{"k":[1]},"data":{"nodeType":"input:text","##,
    r##""\u0063onfig":{"text":"old","n":1.0,"gone":2},"label":"A","x":"\u00e9"}},{"id":"b","selected":true}]"##
);

fn draft() -> Draft {
    Draft::parse(NODES.as_bytes(), br#"[{"source":"a","target":"b","animated":true}]"#).unwrap()
}

fn patched(node: &str, patch: NodePatch<'_>) -> String {
    let draft = draft().patched(node, patch).unwrap();
    assert_eq!(draft.stored().edges, r#"[{"source":"a","target":"b","animated":true}]"#);
    String::from_utf8(draft.stored().nodes.to_vec()).unwrap()
}

#[test]
fn a_patch_merges_one_level_and_leaves_every_other_byte() {
    let config: &[u8] = br#"{ "text" : "new", "gone":null, "deep":{"k":null}, "never":null }"#;
    let found = patched("a", NodePatch { config: Some(config), label: Some("L\"1\""), ..NodePatch::default() });
    let expected = concat!(
        r##"[{"id":"a","type":"basedNode","position":{"x":1.50,"y":-0.0},"mine":{"k":[1]},"data":{"nodeType":"input:text","##,
        r##""\u0063onfig":{"text":"new","n":1.0,"deep":{"k":null}},"label":"L\"1\"","x":"\u00e9","##,
        r##""params":{"text":"new","deep":{"k":null}}}},{"id":"b","selected":true}]"##
    );
    assert_eq!(found, expected);
}

#[test]
fn params_go_before_what_config_says_there() {
    let patch =
        NodePatch { config: Some(br#"{"a":1,"b":2}"#), params: Some(br#"{"b":3,"c":4}"#), ..NodePatch::default() };
    assert!(patched("a", patch).contains(r#""params":{"a":1,"b":3,"c":4}"#));
    let patch = NodePatch { params: Some(br#"{"b":3}"#), ..NodePatch::default() };
    assert!(patched("a", patch).contains(r#""\u0063onfig":{"text":"old","n":1.0,"gone":2}"#), "params alone");
    let patch = NodePatch { config: Some(br#"{"gone":null}"#), ..NodePatch::default() };
    assert!(!patched("a", patch).contains("params"), "what only takes away makes no params");
}

#[test]
fn a_node_without_data_or_position_gets_them() {
    let patch = NodePatch { position: Some(br#"{"x":7,"y":8.0,"z":1}"#), label: Some("B"), ..NodePatch::default() };
    let expected = r#"{"id":"b","selected":true,"data":{"label":"B"},"position":{"x":7,"y":8.0,"z":1}}"#;
    assert!(patched("b", patch).ends_with(&format!("{expected}]")));
}

#[test]
fn what_cannot_be_done_is_said() {
    assert_eq!(draft().patched("z", NodePatch::default()).unwrap_err(), EditError::NodeNotFound("z".into()));
    for (patch, field) in [
        (NodePatch { config: Some(b"[]"), ..NodePatch::default() }, "config"),
        (NodePatch { params: Some(b"{"), ..NodePatch::default() }, "params"),
        (NodePatch { position: Some(br#"{"x":1}"#), ..NodePatch::default() }, "position"),
        (NodePatch { position: Some(br#"{"x":"1","y":2}"#), ..NodePatch::default() }, "position"),
    ] {
        assert!(matches!(draft().patched("a", patch), Err(EditError::BadField(name, _)) if name == field), "{field}");
    }
    let deep = format!("{{\"k\":{}{}}}", "[".repeat(62), "]".repeat(62));
    let patch = NodePatch { config: Some(deep.as_bytes()), ..NodePatch::default() };
    assert!(matches!(draft().patched("a", patch), Err(EditError::Refused(_))), "deeper than a document may be");
}

#[test]
fn moving_changes_positions_only() {
    let moved = draft().moved(&[(0, Point { x: 0.0, y: 40.5 })].into()).unwrap();
    let nodes = String::from_utf8(moved.stored().nodes.to_vec()).unwrap();
    assert_eq!(nodes, NODES.replace(r#"{"x":1.50,"y":-0.0}"#, r#"{"x":0,"y":40.5}"#));
}
