//! The graph module as its callers see it.

mod branching;
mod difference;
mod document;
mod editing;
mod executing;
mod invokes;
mod language;
mod layout;
mod listening;
mod policies;
mod properties;
mod reviews;
mod scopes;
mod validation;

use serde_json::{Value, json};

use super::{Compile, Compiled, ConfigFault, Draft, Problem, TypeCatalogue};
use crate::node_type::NodeType;

/// The built-in types, and a few that an agent could bring.
fn types() -> TypeCatalogue {
    let mut types = TypeCatalogue::new();
    let manifests = [
        json!({"id": "debug:echo", "version": 1, "title": "Echo", "effect": "pure", "effectFromConfig": true,
            "inputs": [{"id": "in", "type": "ANY"}], "outputs": [{"id": "out", "type": "ANY"}]}),
        json!({"id": "generate:flux_2_pro", "version": 1, "title": "Flux", "effect": "pollable",
            "aliases": ["generate:flux_two"],
            "policy": {"timeoutMs": 600_000, "retry": {"maxAttempts": 2}},
            "inputs": [{"id": "prompt", "type": "TEXT", "required": true}, {"id": "image_url", "type": "IMAGE"},
                {"id": "seed", "type": "NUMBER", "default": 7}],
            "outputs": [{"id": "image", "type": "IMAGE"}],
            "outputAliases": {"images": "image"},
            "configSchema": {"type": "object", "properties": {"width": {"type": "integer"}}}}),
        json!({"id": "utility:prompt_concat", "version": 1, "title": "Join", "effect": "pure",
            "inputs": [{"id": "texts", "type": "TEXT", "list": true, "required": true}],
            "outputs": [{"id": "text", "type": "TEXT"}],
            "inputAliases": {"prompt{n}": "texts[]"}, "outputAliases": {"prompt": "text"}}),
        json!({"id": "utility:split", "version": 1, "title": "Split", "effect": "pure",
            "inputs": [{"id": "text", "type": "TEXT", "required": true}],
            "outputs": [{"id": "parts", "type": "TEXT", "list": true}]}),
    ];
    for manifest in manifests {
        types.add_manifest(manifest.to_string().as_bytes()).unwrap();
    }
    types
}

/// Checks one rule, as a JSON Schema would.
fn check_config(node_type: &NodeType, config: &str) -> Vec<ConfigFault> {
    let config: Value = serde_json::from_str(config).unwrap();
    let is_wrong = &*node_type.id == "generate:flux_2_pro" && config["width"].is_string();
    if is_wrong { vec![fault("/width", "width is not a number")] } else { Vec::new() }
}

fn fault(place: &str, message: &str) -> ConfigFault {
    ConfigFault { place: place.to_owned(), message: message.to_owned(), fix: "Do as the schema says.".to_owned() }
}

const STRICT: Compile<'static> = Compile { strict: true, complete: false, check_config: &check_config };

fn draft(nodes: &Value, edges: &Value) -> Result<Draft, Vec<Problem>> {
    Draft::parse(nodes.to_string().as_bytes(), edges.to_string().as_bytes())
}

fn compile(nodes: &Value, edges: &Value) -> Result<Compiled, Vec<Problem>> {
    super::Graph::compile(&draft(nodes, edges)?, &types(), STRICT)
}

/// A node with a config.
fn node(id: &str, node_type: &str, config: Value) -> Value {
    json!({"id": id, "type": "basedNode", "position": {"x": 0, "y": 0}, "data": {"nodeType": node_type, "config": config}})
}

/// An edge between two handles; an empty handle is left out.
fn edge(source: &str, output: &str, target: &str, input: &str) -> Value {
    let handle = |handle: &str| if handle.is_empty() { Value::Null } else { handle.into() };
    json!({"id": format!("{source}.{output}-{target}.{input}"), "source": source, "target": target,
        "sourceHandle": handle(output), "targetHandle": handle(input)})
}

fn rules(problems: &[Problem]) -> Vec<&'static str> {
    problems.iter().map(|problem| problem.rule).collect()
}

/// The one problem of a graph that is refused.
fn problem(nodes: &Value, edges: &Value) -> Problem {
    let problems = compile(nodes, edges).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.into_iter().next().unwrap()
}
