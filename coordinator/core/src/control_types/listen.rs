//! The node types that wait for a word from outside (graph.md, part 9).

use serde_json::{Value, json};

use super::{aliases, control, port};
use crate::limits;
use crate::node_type::{Control, NodeType, PortType};

pub(super) fn control_of(name: &str) -> Option<Control> {
    Some(match name {
        "signal" => Control::Signal,
        "wait_webhook" => Control::Webhook,
        _ => return None,
    })
}

pub(super) fn all() -> [NodeType; 2] {
    [signal(), webhook()]
}

fn signal() -> NodeType {
    let name = json!({
        "type": "string",
        "minLength": 1,
        "maxLength": limits::SIGNAL_NAME_BYTES_MAX,
        "pattern": "^[A-Za-z0-9_.-]+$",
        "description": "by what name it is sent"
    });
    let mut properties = common();
    properties["name"] = name;
    listener("logic:signal", "Signal", "Waits until a signal of its name is sent to the run.", properties)
}

fn webhook() -> NodeType {
    let summary = "Waits until somebody calls the address that it gives when it begins, once.";
    let mut webhook = listener("logic:wait_webhook", "Wait for a call", summary, common());
    webhook.outputs.push(port("url", PortType::Text));
    webhook.output_aliases.extend(aliases(&["address", "callbackUrl"], "url"));
    webhook
}

fn common() -> Value {
    json!({
        "timeoutMs": {"type": "integer", "minimum": 1, "description": "how long it waits; for ever if absent"},
        "schema": {"type": "object", "description": "JSON Schema that the body has to fit"}
    })
}

fn listener(id: &str, title: &str, summary: &str, properties: Value) -> NodeType {
    NodeType {
        inputs: vec![port("value", PortType::Any)],
        outputs: vec![port("body", PortType::Json), port("timed_out", PortType::Boolean)],
        input_aliases: aliases(&["in", "input"], "value"),
        output_aliases: {
            let mut names = aliases(&["out", "value", "event", "output"], "body");
            names.extend(aliases(&["timedOut"], "timed_out"));
            names
        },
        ..control(id, title, summary, properties)
    }
}
