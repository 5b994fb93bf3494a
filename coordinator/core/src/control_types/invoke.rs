//! The node type that runs another workflow (graph.md, part 9).

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::{aliases, control, port};
use crate::node_type::{Control, NodeType, PortType};

/// The type's id.
pub(crate) const ID: &str = "blueprint:invoke";
/// The output that gives all that the child has given.
pub(crate) const OUTPUTS: &str = "outputs";
/// The output that gives the child's id.
pub(crate) const EXECUTION_ID: &str = "executionId";

pub(super) fn control_of(type_id: &str) -> Option<Control> {
    (type_id == ID).then_some(Control::Invoke)
}

pub(super) fn invoke() -> NodeType {
    let properties = json!({
        "workflowId": {"type": "string", "examples": ["wf_01HF7YAT00000000000000000A"], "description": "the workflow to run"},
        "version": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}, {"enum": ["latest"]}],
            "description": "the version to run; absent or \"latest\": what is saved when the node begins"},
        "inputs": {"type": "object", "description": "values by the names of the workflow's inputs; what an edge brings goes before"}
    });
    let summary =
        "Runs another workflow with the values that come in by its inputs' names, and gives what its outputs give.";
    NodeType {
        outputs: vec![port(OUTPUTS, PortType::Json), port(EXECUTION_ID, PortType::Text)],
        aliases: vec!["logic:subworkflow".into(), "subworkflow".into()],
        output_aliases: aliases(&["execution_id"], EXECUTION_ID),
        config_aliases: aliases(&["workflow_id", "workflow", "blueprintId"], "workflowId"),
        ..control(ID, "Run a workflow", summary, properties)
    }
}

/// The type of one node: an input for each name that an edge ends at or its config gives, an output for each that an edge begins at.
pub(crate) fn shaped(node_type: &NodeType, inputs: &BTreeSet<String>, outputs: &BTreeSet<String>) -> Arc<NodeType> {
    let mut own = node_type.clone();
    own.inputs.extend(inputs.iter().map(|name| port(name, PortType::Any)));
    let is_new = |name: &&String| own.outputs.iter().all(|port| *port.id != ***name);
    let further: Vec<_> = outputs.iter().filter(is_new).map(|name| port(name, PortType::Any)).collect();
    own.outputs.extend(further);
    // A name of the child goes before another name of an output that is always there.
    own.output_aliases.retain(|alias, _| !outputs.contains(alias));
    Arc::new(own)
}
