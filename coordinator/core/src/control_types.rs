//! The node types that the core evaluates itself: where values enter a graph, where results leave it, and pauses.

use serde_json::{Value, json};

use crate::node_type::{Control, EffectClass, NodeType, Port, PortType};

/// Which built-in evaluation a type id stands for.
pub fn control_of(type_id: &str) -> Option<Control> {
    match type_id {
        "input:text" | "input:number" | "input:boolean" | "input:select" | "input:json" | "input:list" => {
            Some(Control::Input)
        }
        "output:preview" | "output:text" | "output:json" => Some(Control::Output),
        "logic:wait" => Some(Control::Wait),
        _ => None,
    }
}

/// Whether the id belongs to a part of the language that the engine does not run yet: a branch, a scope, a review…
pub fn is_planned(type_id: &str) -> bool {
    const LOGIC: [&str; 22] = [
        "if",
        "switch",
        "router",
        "merge",
        "race",
        "gate",
        "filter",
        "map",
        "loop",
        "batch",
        "reduce",
        "review",
        "wait_webhook",
        "wait_event",
        "signal",
        "stop",
        "split_test",
        "loop_until",
        "while",
        "fallback",
        "retry",
        "try",
    ];
    const INPUTS: [&str; 6] = ["image", "video", "audio", "file", "form", "trigger_data"];
    const OUTPUTS: [&str; 6] = ["image", "video", "audio", "file", "gallery", "table"];
    match type_id.split_once(':') {
        Some(("logic", name)) => LOGIC.contains(&name),
        Some(("input", name)) => INPUTS.contains(&name),
        Some(("output", name)) => OUTPUTS.contains(&name),
        Some(("trigger", name)) => matches!(name, "webhook" | "schedule"),
        Some(("blueprint", name)) => name == "invoke",
        _ => false,
    }
}

/// All built-in types.
pub fn all() -> Vec<NodeType> {
    vec![
        input_text(),
        input_number(),
        input_boolean(),
        input_select(),
        input_json(),
        input_list(),
        output("output:preview", "Preview", "Shows any value.", "value", PortType::Any, &PREVIEW_ALIASES),
        output("output:text", "Text output", "Gives a text as a result of the run.", "text", PortType::Text, &[]),
        output("output:json", "JSON output", "Gives any JSON as a result of the run.", "json", PortType::Json, &[]),
        wait(),
    ]
}

/// Names under which foreign graphs reach the one port of a preview.
const PREVIEW_ALIASES: [&str; 12] =
    ["in", "input", "output", "result", "media", "image", "images", "video", "audio", "text", "prompt", "url"];

fn input_text() -> NodeType {
    let properties =
        json!({"text": {"type": ["string", "number", "null"]}, "maxChars": {"type": "integer", "minimum": 1}});
    let text = input("input:text", "Text", "A text given with the run, or the one in the graph.", properties);
    NodeType {
        outputs: vec![port("text", PortType::Text)],
        output_aliases: aliases(&["prompt", "value", "output"], "text"),
        config_aliases: aliases(&["prompt", "value", "default"], "text"),
        ..text
    }
}

fn input_number() -> NodeType {
    let number = json!({"type": "number"});
    let properties = json!({"value": {"type": ["number", "null"]}, "min": number, "max": number, "step": number});
    let number = input("input:number", "Number", "A number given with the run, or the one in the graph.", properties);
    NodeType {
        outputs: vec![port("value", PortType::Number)],
        output_aliases: aliases(&["number", "seed", "output"], "value"),
        config_aliases: aliases(&["number", "seed", "default"], "value"),
        ..number
    }
}

fn input_boolean() -> NodeType {
    let properties = json!({"value": {"type": ["boolean", "null"]}});
    let boolean = input("input:boolean", "Switch", "True or false, given with the run or in the graph.", properties);
    NodeType {
        outputs: vec![port("value", PortType::Boolean)],
        output_aliases: aliases(&["boolean", "output"], "value"),
        config_aliases: aliases(&["boolean", "default"], "value"),
        ..boolean
    }
}

fn input_select() -> NodeType {
    let option = json!({"anyOf": [
        {"type": "string"},
        {"type": "object", "properties": {"value": {"type": "string"}, "label": {"type": "string"}}, "required": ["value"]}
    ]});
    let properties = json!({"value": {"type": ["string", "null"]}, "options": {"type": "array", "items": option}});
    let select =
        input("input:select", "Choice", "One of several texts, given with the run or in the graph.", properties);
    NodeType {
        outputs: vec![port("value", PortType::Text)],
        output_aliases: aliases(&["text", "selected", "output"], "value"),
        config_aliases: aliases(&["selected", "default"], "value"),
        ..select
    }
}

fn input_json() -> NodeType {
    let json =
        input("input:json", "JSON", "Any JSON given with the run, or the one in the graph.", json!({"value": {}}));
    NodeType {
        outputs: vec![port("json", PortType::Json)],
        output_aliases: aliases(&["value", "output"], "json"),
        config_aliases: aliases(&["json", "default"], "value"),
        ..json
    }
}

fn input_list() -> NodeType {
    let properties = json!({"items": {"type": ["array", "null"]}, "maxItems": {"type": "integer", "minimum": 1}});
    let list = input("input:list", "List", "A list given with the run, or the one in the graph.", properties);
    NodeType {
        outputs: vec![Port { list: true, ..port("items", PortType::Any) }],
        output_aliases: aliases(&["value", "values", "list", "output"], "items"),
        config_aliases: aliases(&["value", "values", "list", "default"], "items"),
        ..list
    }
}

fn input(id: &str, title: &str, summary: &str, mut properties: Value) -> NodeType {
    properties["required"] = json!({"type": "boolean", "description": "false: a run may leave it out"});
    properties["description"] = json!({"type": "string"});
    control(id, title, summary, properties)
}

fn output(id: &str, title: &str, summary: &str, name: &str, port_type: PortType, names: &[&str]) -> NodeType {
    NodeType {
        inputs: vec![Port { required: true, ..port(name, port_type) }],
        outputs: vec![port(name, port_type)],
        input_aliases: aliases(names, name),
        output_aliases: aliases(names, name),
        ..control(id, title, summary, json!({"name": {"type": "string"}, "title": {"type": "string"}}))
    }
}

fn wait() -> NodeType {
    let properties = json!({
        "for": {"type": ["number", "string"], "description": "milliseconds, or \"5s\", \"1h30m\", \"PT5S\""},
        "forMs": {"type": "integer", "minimum": 0, "description": "milliseconds"},
        "until": {"type": "string", "description": "RFC 3339"}
    });
    NodeType {
        inputs: vec![port("value", PortType::Any)],
        outputs: vec![port("value", PortType::Any)],
        input_aliases: aliases(&["in", "input"], "value"),
        output_aliases: aliases(&["out", "output"], "value"),
        ..control("logic:wait", "Wait", "Waits for a time or until an instant, then passes its value on.", properties)
    }
}

fn control(id: &str, title: &str, summary: &str, properties: Value) -> NodeType {
    NodeType {
        id: id.into(),
        version: 1,
        title: title.to_owned(),
        summary: summary.to_owned(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        config_schema: Some(json!({"type": "object", "properties": properties})),
        effect: EffectClass::Pure,
        effect_from_config: false,
        prefetch: false,
        policy: None,
        aliases: Vec::new(),
        input_aliases: Default::default(),
        output_aliases: Default::default(),
        config_aliases: Default::default(),
    }
}

fn port(id: &str, port_type: PortType) -> Port {
    Port { id: id.into(), port_type, list: false, required: false, default: None }
}

fn aliases(names: &[&str], target: &str) -> std::collections::BTreeMap<String, String> {
    let names = names.iter().filter(|name| **name != target);
    names.map(|name| ((*name).to_owned(), target.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_type_is_evaluated_and_none_is_planned() {
        for node_type in all() {
            assert!(control_of(&node_type.id).is_some(), "{}", node_type.id);
            assert!(!is_planned(&node_type.id), "{}", node_type.id);
        }
        assert!(is_planned("logic:map") && !is_planned("logic:mop") && !is_planned("llm:map"));
    }
}
