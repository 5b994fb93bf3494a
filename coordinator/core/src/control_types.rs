//! The node types that the core evaluates itself: where values enter a graph, where results leave it, pauses and branches.

pub(crate) mod branch;
pub(crate) mod invoke;
mod listen;
pub(crate) mod lists;
mod review;
pub(crate) mod scope;

use serde_json::{Value, json};

use crate::node_type::{Control, EffectClass, NodeType, Port, PortType};

/// Which built-in evaluation a type id stands for.
pub fn control_of(type_id: &str) -> Option<Control> {
    match type_id {
        "input:text" | "input:number" | "input:boolean" | "input:select" | "input:json" | "input:list"
        | "input:image" | "input:video" | "input:audio" | "input:file" => Some(Control::Input),
        "output:preview" | "output:text" | "output:json" | "output:image" | "output:video" | "output:audio"
        | "output:file" | "output:gallery" | "output:table" => Some(Control::Output),
        "logic:wait" => Some(Control::Wait),
        invoke::ID => invoke::control_of(type_id),
        other => {
            let name = other.strip_prefix("logic:")?;
            let beside = || review::control_of(name).or_else(|| listen::control_of(name));
            branch::control_of(name).or_else(|| scope::control_of(name)).or_else(beside)
        }
    }
}

/// Whether the id belongs to a part of the language that the engine does not run yet: a form, a trigger…
pub fn is_planned(type_id: &str) -> bool {
    const LOGIC: [&str; 4] = ["wait_event", "fallback", "retry", "try"];
    const INPUTS: [&str; 2] = ["form", "trigger_data"];
    match type_id.split_once(':') {
        Some(("logic", name)) => LOGIC.contains(&name),
        Some(("input", name)) => INPUTS.contains(&name),
        Some(("trigger", name)) => matches!(name, "webhook" | "schedule"),
        _ => false,
    }
}

/// All built-in types.
pub fn all() -> Vec<NodeType> {
    let mut types = vec![
        input_text(),
        input_number(),
        input_boolean(),
        input_select(),
        input_json(),
        input_list(),
        input_media("input:image", "Image", "image", PortType::Image),
        input_media("input:video", "Video", "video", PortType::Video),
        input_media("input:audio", "Audio", "audio", PortType::Audio),
        input_media("input:file", "File", "file", PortType::File),
        output("output:preview", "Preview", "Shows any value.", "value", PortType::Any, &PREVIEW_ALIASES),
        output("output:text", "Text output", "Gives a text as a result of the run.", "text", PortType::Text, &[]),
        output("output:json", "JSON output", "Gives any JSON as a result of the run.", "json", PortType::Json, &[]),
        output_media("output:image", "Image output", "image", PortType::Image),
        output_media("output:video", "Video output", "video", PortType::Video),
        output_media("output:audio", "Audio output", "audio", PortType::Audio),
        output_media("output:file", "File output", "file", PortType::File),
        output_gallery(),
        output_table(),
        wait(),
    ];
    types.extend(branch::all());
    types.extend(scope::all());
    types.push(review::review());
    types.extend(listen::all());
    types.push(invoke::invoke());
    types
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
    let properties = json!({
        "items": {"type": ["array", "null"]},
        "maxItems": {"type": "integer", "minimum": 1},
        "itemType": {"enum": LIST_ITEM_TYPES.map(|(name, _)| name), "description": "what each item is; absent: anything"}
    });
    let list = input("input:list", "List", "A list given with the run, or the one in the graph.", properties);
    NodeType {
        outputs: vec![Port { list: true, ..port("items", PortType::Any) }],
        output_aliases: aliases(&["value", "values", "list", "output"], "items"),
        config_aliases: aliases(&["value", "values", "list", "default"], "items"),
        ..list
    }
}

/// What the items of `input:list` may be.
pub(crate) const LIST_ITEM_TYPES: [(&str, PortType); 9] = [
    ("any", PortType::Any),
    ("text", PortType::Text),
    ("number", PortType::Number),
    ("boolean", PortType::Boolean),
    ("json", PortType::Json),
    ("image", PortType::Image),
    ("video", PortType::Video),
    ("audio", PortType::Audio),
    ("file", PortType::File),
];

/// A file that is given by reference, or several of them.
fn input_media(id: &str, title: &str, name: &str, port_type: PortType) -> NodeType {
    let summary =
        "A file given with the run, or the one in the graph: a reference or its address; with multiple, a list.";
    let mut properties = json!({
        "multiple": {"type": "boolean", "description": "true: it takes a list of files"},
        "accept": {"type": "array", "items": {"type": "string"}, "description": "media types, such as image/png or image/*"},
        "maxBytes": {"type": "integer", "minimum": 1, "description": "largest file"},
        "maxItems": {"type": "integer", "minimum": 1, "description": "with multiple: most files"}
    });
    properties[name] = json!({"type": ["string", "object", "array", "null"]});
    let address = format!("{name}Url");
    let names = ["media", "url", "value", "output"];
    let keys = [&*address, "media", "url", "value", "default"];
    NodeType {
        outputs: vec![port(name, port_type)],
        output_aliases: aliases(&names, name),
        config_aliases: aliases(&keys, name),
        ..input(id, title, summary, properties)
    }
}

fn output_media(id: &str, title: &str, name: &str, port_type: PortType) -> NodeType {
    let names = ["in", "input", "media", "url", "value"];
    output(id, title, "Gives a file as a result of the run.", name, port_type, &names)
}

/// Any number of values beside each other.
fn output_gallery() -> NodeType {
    let summary = "Gives values as a list: those of several edges, or a list as it is.";
    let names = ["in", "input", "images", "image", "media", "values", "value"];
    let mut gallery = output("output:gallery", "Gallery", summary, "items", PortType::Any, &names);
    gallery.inputs[0].list = true;
    gallery.outputs[0].list = true;
    with_columns(gallery, json!({"type": "integer", "minimum": 1}))
}

fn output_table() -> NodeType {
    let summary = "Gives rows as a result of the run: a list of objects or of lists.";
    let table = output("output:table", "Table", summary, "rows", PortType::Json, &["in", "input", "json", "value"]);
    with_columns(table, json!({"type": "array", "items": {"type": "string"}}))
}

fn with_columns(node_type: NodeType, schema: Value) -> NodeType {
    let mut config = node_type.config_schema.unwrap_or_default();
    config["properties"]["columns"] = schema;
    NodeType { config_schema: Some(config), ..node_type }
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
        "until": {"type": "string", "description": "RFC 3339; or, with timezone, a local time such as \"2030-01-31T09:00\", or a time of day: the next one"},
        "timezone": {"type": "string", "description": "of a local time in until: a name such as \"Europe/Berlin\" or \"UTC\""}
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
        effect_rules: Vec::new(),
        prefetch: false,
        cancels_jobs: false,
        policy: None,
        aliases: Vec::new(),
        input_aliases: Default::default(),
        output_aliases: Default::default(),
        config_aliases: Default::default(),
        examples: Vec::new(),
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
        assert!(is_planned("logic:try") && !is_planned("logic:tries") && !is_planned("llm:try"));
    }
}
