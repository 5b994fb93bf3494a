//! The node types that decide which way a run goes (graph.md, part 4).

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{aliases, control, port};
use crate::limits;
use crate::node_type::{Control, NodeType, Port, PortType};

/// What the output is called that is taken when no case holds.
pub(crate) const DEFAULT_OUTPUT: &str = "default";

pub(super) fn all() -> Vec<NodeType> {
    vec![if_(), switch(), router(), merge(), race(), gate(), filter(), stop(), split_test()]
}

pub(super) fn control_of(name: &str) -> Option<Control> {
    Some(match name {
        "if" => Control::If,
        "switch" => Control::Switch,
        "router" => Control::Router,
        "merge" => Control::Merge,
        "race" => Control::Race,
        "gate" => Control::Gate,
        "filter" => Control::Filter,
        "stop" => Control::Stop,
        "split_test" => Control::SplitTest,
        _ => return None,
    })
}

/// The config key under which a type lists its cases, each of which has an output of its own.
pub(crate) fn cases_key(control: Control) -> Option<&'static str> {
    match control {
        Control::Switch => Some("cases"),
        Control::Router => Some("rules"),
        _ => None,
    }
}

/// The type of one node whose outputs are its cases.
pub(crate) fn with_cases(node_type: &NodeType, ids: &[String]) -> NodeType {
    let mut known = BTreeSet::from([DEFAULT_OUTPUT]);
    let cases = ids.iter().filter(|id| known.insert(id)).take(limits::SWITCH_CASES_MAX);
    let mut outputs: Vec<Port> = cases.map(|id| port(id, PortType::Any)).collect();
    outputs.push(port(DEFAULT_OUTPUT, PortType::Any));
    let output_aliases = aliases(&["else", "otherwise"], DEFAULT_OUTPUT);
    let output_aliases = output_aliases.into_iter().filter(|(alias, _)| !known.contains(alias.as_str())).collect();
    NodeType { outputs, output_aliases, ..node_type.clone() }
}

fn any(id: &str) -> Port {
    port(id, PortType::Any)
}

fn required(id: &str) -> Port {
    Port { required: true, ..any(id) }
}

fn list(id: &str) -> Port {
    Port { list: true, ..any(id) }
}

fn condition() -> Value {
    json!({"type": "string", "examples": ["size(value) > 100"],
        "description": "CEL: true or false, of the inputs by their ids, inputs, nodes.<id>.output and run"})
}

/// A list of cases; `input` is what their conditions mostly look at.
fn cases(input: &str) -> Value {
    let case = json!({"type": "object", "required": ["id", "when"], "properties": {
        "id": {"type": "string", "description": "also the name of its output"}, "when": condition()}});
    let when = |kind: &str| format!("{input}.kind == '{kind}'");
    let example = json!([{"id": "refund", "when": when("refund")}, {"id": "praise", "when": when("praise")}]);
    json!({"type": "array", "items": case, "examples": [example]})
}

fn if_() -> NodeType {
    let summary = "Passes its value on to one of two outputs, as a condition says.";
    NodeType {
        inputs: vec![required("value")],
        outputs: vec![any("true"), any("false")],
        input_aliases: aliases(&["in", "input"], "value"),
        output_aliases: aliases(&["then", "yes"], "true")
            .into_iter()
            .chain(aliases(&["else", "no"], "false"))
            .collect(),
        config_aliases: aliases(&["expression", "when"], "condition"),
        ..control("logic:if", "If", summary, json!({"condition": condition()}))
    }
}

fn switch() -> NodeType {
    let summary =
        "Passes its value on to the output of the first case that holds, or of all that hold; else to default.";
    let properties = json!({"cases": cases("value"),
        "mode": {"enum": ["first", "all"], "description": "first: one output (the default); all: each case that holds"}});
    NodeType {
        inputs: vec![required("value")],
        outputs: vec![any(DEFAULT_OUTPUT)],
        input_aliases: aliases(&["in", "input"], "value"),
        ..control("logic:switch", "Switch", summary, properties)
    }
}

fn router() -> NodeType {
    let summary =
        "Passes its input on: to output, or, with rules, to the output of the first rule that holds, else to default.";
    NodeType {
        inputs: vec![required("input")],
        outputs: vec![any("output")],
        ..control("logic:router", "Router", summary, json!({"rules": cases("input")}))
    }
}

fn merge() -> NodeType {
    let summary = "Brings branches together: what those give that were taken.";
    let properties = json!({"mode": {"enum": ["first", "any", "all"],
        "description": "first, any: value is what the first branch in the order of edges gives (the default); all: value is the list"}});
    let names = [("in", "branches"), ("input", "branches"), ("in{n}", "branches[]"), ("branch{n}", "branches[]")];
    NodeType {
        inputs: vec![Port { required: true, ..list("branches") }],
        outputs: vec![any("value"), list("values")],
        input_aliases: names.iter().map(|(alias, target)| ((*alias).to_owned(), (*target).to_owned())).collect(),
        output_aliases: aliases(&["out", "output"], "value"),
        ..control("logic:merge", "Merge", summary, properties)
    }
}

fn race() -> NodeType {
    let summary = "Gives what the first branch brings, and stops the others.";
    let properties = json!({"cancelLosers": {"type": "boolean",
        "description": "false: nodes that lead only here run to their end, though they have lost; true if absent"}});
    let names = [("in", "branches"), ("input", "branches"), ("in{n}", "branches[]"), ("branch{n}", "branches[]")];
    NodeType {
        inputs: vec![Port { required: true, ..list("branches") }],
        outputs: vec![any("value"), port("winner", PortType::Text)],
        input_aliases: names.iter().map(|(alias, target)| ((*alias).to_owned(), (*target).to_owned())).collect(),
        output_aliases: aliases(&["out", "output"], "value"),
        ..control("logic:race", "Race", summary, properties)
    }
}

fn gate() -> NodeType {
    let summary = "Passes its value on if it is open; else what hangs on it is skipped.";
    NodeType {
        inputs: vec![required("value"), Port { required: true, ..port("open", PortType::Boolean) }],
        outputs: vec![any("value")],
        input_aliases: aliases(&["in", "input"], "value").into_iter().chain(aliases(&["condition"], "open")).collect(),
        output_aliases: aliases(&["out", "output"], "value"),
        ..control("logic:gate", "Gate", summary, json!({}))
    }
}

fn filter() -> NodeType {
    let summary = "Divides a list: items for which a condition holds, and the others.";
    let properties = json!({"condition": {"type": "string", "examples": ["item.score >= 0.5"],
        "description": "CEL over item, index, and what other conditions see"}});
    NodeType {
        inputs: vec![Port { required: true, ..list("items") }],
        outputs: vec![list("kept"), list("dropped")],
        input_aliases: aliases(&["in", "input", "list"], "items"),
        output_aliases: aliases(&["out", "output", "items"], "kept"),
        config_aliases: aliases(&["expression", "when"], "condition"),
        ..control("logic:filter", "Filter", summary, properties)
    }
}

fn stop() -> NodeType {
    let summary = "Ends the run at once; work in progress is stopped.";
    let properties = json!({
        "status": {"enum": ["completed", "failed", "cancelled"], "description": "how the run ends; completed if absent"},
        "message": {"type": "string", "maxLength": limits::ERROR_MESSAGE_BYTES_MAX, "description": "why, for people"}
    });
    NodeType {
        inputs: vec![any("value")],
        input_aliases: aliases(&["in", "input"], "value"),
        ..control("logic:stop", "Stop", summary, properties)
    }
}

fn split_test() -> NodeType {
    let summary = "Passes its value on to one of two outputs at random; which one is recorded.";
    let weight = json!({"type": "number", "minimum": 0});
    let properties = json!({"weights": {"type": "object", "properties": {"a": weight, "b": weight},
        "description": "how often each is taken; equal if absent"}});
    NodeType {
        inputs: vec![required("value")],
        outputs: vec![any("a"), any("b")],
        input_aliases: aliases(&["in", "input"], "value"),
        ..control("logic:split_test", "Split test", summary, properties)
    }
}

/// The ids of the cases that a config lists, as far as they can be read.
pub(crate) fn case_ids(cases: &Value) -> Vec<String> {
    let cases = cases.as_array().map(Vec::as_slice).unwrap_or_default();
    cases.iter().filter_map(|case| Some(case.get("id")?.as_str()?.to_owned())).collect()
}

/// Makes a node's own type out of the general one; `None` if it has no cases.
pub(crate) fn shaped(control: Control, node_type: &Arc<NodeType>, cases: Option<&Value>) -> Option<Arc<NodeType>> {
    cases_key(control)?;
    let ids = case_ids(cases?);
    let is_plain = ids.is_empty() && control == Control::Router;
    (!is_plain).then(|| Arc::new(with_cases(node_type, &ids)))
}
