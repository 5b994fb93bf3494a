//! The node type that asks people (graph.md, part 7).

use serde_json::json;

use super::{aliases, control, port};
use crate::limits;
use crate::node_type::{Control, NodeType, Port, PortType};

pub(super) fn control_of(name: &str) -> Option<Control> {
    (name == "review").then_some(Control::Review)
}

pub(super) fn review() -> NodeType {
    let people = json!({"anyOf": [
        {"type": "string", "maxLength": limits::REVIEW_ASSIGNEE_BYTES_MAX},
        {"type": "array", "items": {"type": "string"}, "maxItems": limits::REVIEW_ASSIGNEES_MAX}
    ]});
    let of = |description: &str| {
        let mut people = people.clone();
        people["description"] = description.into();
        people
    };
    let properties = json!({
        "title": {"type": "string", "description": "one line for the inbox; the node's label if absent"},
        "instructions": {"type": "string", "description": "what to look at, in Markdown"},
        "description": {"type": "string", "description": "the same as instructions"},
        "assignees": of("subjects who may decide; absent: whoever may decide reviews"),
        "schema": {"type": "object", "description": "JSON Schema that an edited value has to fit; the console draws its form"},
        "required": {"type": "integer", "minimum": 1, "maximum": limits::REVIEW_APPROVALS_MAX, "description": "approvals of different subjects; 1 if absent"},
        "timeoutMs": {"type": "integer", "minimum": 1, "description": "how long it waits; for ever if absent"},
        "onTimeout": {"enum": ["fail", "approve", "reject", "escalate"], "description": "what happens then; fail if absent"},
        "escalateTo": of("subjects who may decide after an escalation, for timeoutMs more"),
        "allow": {"type": "array", "items": {"enum": ["approve", "edit", "reject", "retry"]}, "examples": [["approve", "edit", "reject"]], "description": "what may be decided; all if absent"}
    });
    let summary = "Waits until a person approves its value, changes it, rejects it, or has it made again.";
    NodeType {
        inputs: vec![Port { required: true, ..port("value", PortType::Any) }],
        outputs: vec![
            port("approved", PortType::Any),
            port("rejected", PortType::Any),
            port("comment", PortType::Text),
        ],
        input_aliases: aliases(&["in", "input"], "value"),
        output_aliases: aliases(&["out", "output", "value"], "approved"),
        ..control("logic:review", "Review", summary, properties)
    }
}
