//! `heddle nodes`: what can stand in a graph.

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::pause::{PauseType, UnpauseType};
use crate::client::{Client, NodeType, Port, read_value};
use crate::completion;
use crate::connection::Connection;
use crate::error::Result;
use crate::ui::style::Style;
use crate::ui::table::Table;
use crate::ui::{note, print, print_json};

/// List and get node types: what can stand in a workflow
#[derive(Debug, Args)]
pub struct Nodes {
    #[command(flatten)]
    connection: Connection,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List node types
    List {
        /// Only types of this family: what stands before the colon
        #[arg(long, value_name = "NAME")]
        family: Option<String>,
        /// Only types that can run now
        #[arg(long)]
        available: bool,
    },
    /// Get one node type: its ports, its config and an example
    Get {
        /// The type, as family:name
        #[arg(value_name = "TYPE", add = completion::node_types())]
        node_type: String,
    },
    /// Pause a node type: no such node begins in any run, until `unpause`
    Pause(PauseType),
    /// Let nodes of a type begin again
    Unpause(UnpauseType),
}

impl Nodes {
    /// Runs the verb.
    pub async fn run(self) -> Result<()> {
        let client = self.connection.client().await?;
        match self.verb {
            Verb::List { family, available } => list(&client, family.as_deref(), available, self.json).await,
            Verb::Get { node_type } => get(&client, &node_type, self.json).await,
            Verb::Pause(pause) => pause.run(&client, self.json).await,
            Verb::Unpause(unpause) => unpause.run(&client, self.json).await,
        }
    }
}

async fn list(client: &Client, family: Option<&str>, available: bool, as_json: bool) -> Result<()> {
    let all = client.node_types().await?;
    let families: BTreeSet<String> =
        all.iter().filter_map(|item| Some(item["category"].as_str()?.to_owned())).collect();
    let wanted = |item: &&Value| {
        family.is_none_or(|family| item["category"] == family) && (!available || item["available"] == true)
    };
    let mut items: Vec<Value> = all.iter().filter(wanted).cloned().collect();
    items.sort_by(|a, b| a["nodeType"].as_str().cmp(&b["nodeType"].as_str()));
    if as_json {
        return print_json(&json!({ "nodes": items }));
    }
    if items.is_empty() {
        let known: Vec<&str> = families.iter().map(String::as_str).collect();
        note(&format!("no node type fits; the families are: {}", known.join(", ")));
        return Ok(());
    }
    let mut table = Table::new(&["TYPE", "TITLE", "TAKES", "GIVES", "EFFECT", "NOW"]);
    for item in items {
        let item: NodeType = read_value(item, "node type")?;
        let now = match item.available {
            _ if item.paused.is_some() => "paused",
            true => "available",
            false => "no agent",
        };
        let (takes, gives) = (ports(&item.inputs), ports(&item.outputs));
        table.row(vec![item.node_type, item.label, takes, gives, item.effect, now.into()]);
    }
    print(&table.render(Style::stdout()))
}

async fn get(client: &Client, id: &str, as_json: bool) -> Result<()> {
    let value = client.node_type(id).await?;
    if as_json {
        return print_json(&value);
    }
    print(&describe(&read_value(value, "node type")?, Style::stdout()))
}

fn ports(ports: &[Port]) -> String {
    let text = |port: &Port| format!("{}{}:{}{}", port.id, star(port), port.r#type, if port.list { "[]" } else { "" });
    ports.iter().map(text).collect::<Vec<_>>().join(" ")
}

fn star(port: &Port) -> &'static str {
    if port.required { "*" } else { "" }
}

/// A node type, whole, as people read it.
fn describe(item: &NodeType, style: Style) -> String {
    let available = match item.available {
        _ if item.paused.is_some() => style.red("paused"),
        true => style.green("available"),
        false => style.red("no agent offers it now"),
    };
    let mut blocks = vec![format!(
        "{}  {}\n{}\nversion {}, effect {}: {}; {available}",
        style.bold(&item.node_type),
        item.label,
        item.description,
        item.version,
        item.effect,
        effect(item),
    )];
    for (head, list) in [("takes", &item.inputs), ("gives", &item.outputs)] {
        let lines = list.iter().map(|port| {
            let list = if port.list { "a list of " } else { "" };
            let needed = if port.required { ", required" } else { "" };
            format!("  {:<14}  {list}{}{needed}", port.id, port.r#type)
        });
        blocks.push(block(style.dim(head), lines.collect()));
    }
    blocks.push(block(style.dim("config"), config_lines(item.config_schema.as_ref())));
    let example = serde_json::to_string_pretty(&example(item)).unwrap_or_default();
    blocks.push(format!("{}\n{example}", style.dim("example")));
    blocks.join("\n\n")
}

fn block(head: String, lines: Vec<String>) -> String {
    match lines.is_empty() {
        true => format!("{head}\n  nothing"),
        false => format!("{head}\n{}", lines.join("\n")),
    }
}

/// What the class of its effect means for whoever uses the node.
fn effect(item: &NodeType) -> &'static str {
    let repeats = item.policy.as_ref().is_some_and(|policy| policy["onUnknown"] == "retry");
    match &*item.effect {
        "blind" if repeats => {
            "nobody can tell whether a lost try happened, and it is tried again all the same, unless policy.onUnknown \
             says fail"
        }
        "pure" => "it changes nothing and may run again at will",
        "keyed" => "its provider takes an idempotency key, so a retry does nothing twice",
        "pollable" if item.cancels_jobs => {
            "its provider's job is asked for again, so a retry starts no second one, and cancelled when nobody goes on with it"
        }
        "pollable" => {
            "its provider's job is asked for again, so a retry starts no second one; it cannot be cancelled there"
        }
        "blind" => "nobody can tell whether a lost try happened, so it is not tried again by itself",
        _ => "a class that this program does not know",
    }
}

fn config_lines(schema: Option<&Value>) -> Vec<String> {
    let Some(schema) = schema else { return vec!["  any object".to_owned()] };
    let required = required(schema);
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    let width = properties.keys().map(|key| key.chars().count()).max().unwrap_or(0).max(14);
    let line = |(key, property): (&String, &Value)| {
        let mut notes = vec![kind(property)];
        if required.contains(&key.as_str()) {
            notes.push("required".to_owned());
        }
        if let Some(default) = property.get("default") {
            notes.push(format!("default {default}"));
        }
        let said = property["description"].as_str().map(|text| format!("  {text}")).unwrap_or_default();
        format!("  {key:<width$}  {}{said}", notes.join(", "))
    };
    properties.iter().map(line).collect()
}

fn required(schema: &Value) -> Vec<&str> {
    schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What a property takes, in one word or a list of them.
fn kind(property: &Value) -> String {
    if let Some(constant) = property.get("const") {
        return constant.to_string();
    }
    if let Some(words) = property["enum"].as_array() {
        return words.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ");
    }
    if let Some(kinds) = property["anyOf"].as_array().or_else(|| property["oneOf"].as_array()) {
        return kinds.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    let name = match &property["type"] {
        Value::String(name) => name.clone(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => return "any value".to_owned(),
    };
    let bound = |name: &str| property.get(name).map(Value::to_string);
    match (bound("minimum"), bound("maximum")) {
        (Some(low), Some(high)) => format!("{name} {low}..{high}"),
        (Some(low), None) => format!("{name} from {low}"),
        (None, Some(high)) => format!("{name} up to {high}"),
        (None, None) => name,
    }
}

/// A node of a graph, in the order in which people write it.
#[derive(Debug, Serialize)]
struct Example<'a> {
    id: &'a str,
    data: ExampleData<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExampleData<'a> {
    label: &'a str,
    node_type: &'a str,
    config: Map<String, Value>,
}

/// A node of this type as it stands in a graph, with the keys that it needs and those that have a default or an example, else its first.
fn example(item: &NodeType) -> Example<'_> {
    let name = item.node_type.rsplit(':').next().unwrap_or("node");
    let mut config = Map::new();
    if let Some(schema) = &item.config_schema {
        let required = required(schema);
        let properties = || schema["properties"].as_object().into_iter().flatten();
        for (key, property) in properties() {
            let is_shown = ["default", "examples"].iter().any(|name| property.get(*name).is_some());
            if is_shown || required.contains(&key.as_str()) {
                config.insert(key.clone(), sample(property));
            }
        }
        // An empty config shows nothing, and some types want any one of their keys.
        if let Some((key, property)) = properties().next().filter(|_| config.is_empty()) {
            config.insert(key.clone(), sample(property));
        }
    }
    let data = ExampleData { label: &item.label, node_type: &item.node_type, config };
    Example { id: name, data }
}

/// A value that a property takes: its default, its first example, else the simplest of its type.
fn sample(property: &Value) -> Value {
    let first = |name: &str| property[name].as_array().and_then(|list| list.first()).cloned();
    let given = property.get("default").or_else(|| property.get("const")).cloned();
    if let Some(value) = given.or_else(|| first("examples")).or_else(|| first("enum")) {
        return value;
    }
    if let Some(kind) = first("anyOf").or_else(|| first("oneOf")) {
        return sample(&kind);
    }
    let kind = property["type"].as_str().map(str::to_owned).or_else(|| Some(first("type")?.as_str()?.to_owned()));
    match kind.as_deref() {
        Some("string") => json!("text"),
        Some("integer" | "number") => property.get("minimum").cloned().unwrap_or_else(|| json!(1)),
        Some("boolean") => json!(false),
        Some("array") => json!([]),
        Some("object") => json!({}),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> NodeType {
        let value = json!({
            "nodeType": "utility:cut", "label": "Cut", "description": "Cuts a text.", "category": "utility",
            "version": 2, "effect": "pure", "available": true,
            "inputs": [{"id": "text", "type": "TEXT", "required": true}, {"id": "more", "type": "TEXT", "list": true}],
            "outputs": [{"id": "parts", "type": "TEXT", "list": true}],
            "configSchema": {"type": "object", "required": ["size"], "properties": {
                "size": {"type": "integer", "minimum": 1, "description": "Letters of a part."},
                "unit": {"enum": ["letters", "words"], "default": "letters"},
                "rest": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            }},
        });
        read_value(value, "node type").unwrap()
    }

    #[test]
    fn a_type_tells_ports_config_and_effect() {
        let text = describe(&item(), Style::PLAIN);
        for line in [
            "utility:cut  Cut",
            "version 2, effect pure: it changes nothing and may run again at will; available",
            "  text            TEXT, required",
            "  more            a list of TEXT",
            "  size            integer from 1, required  Letters of a part.",
            "  unit            \"letters\" | \"words\", default \"letters\"",
            "  rest            string or null",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in:\n{text}");
        }
        let told = |policy: Value| effect(&NodeType { effect: "blind".into(), policy: Some(policy), ..item() });
        assert!(told(json!({"onUnknown": "retry"})).contains("tried again all the same"));
        assert!(told(json!({"timeoutMs": 1})).contains("not tried again by itself"));
        let polled = |cancels_jobs| effect(&NodeType { effect: "pollable".into(), cancels_jobs, ..item() });
        assert!(polled(true).contains("cancelled when nobody") && polled(false).contains("cannot be cancelled"));
        assert_eq!(ports(&item().inputs), "text*:TEXT more:TEXT[]");
    }

    #[test]
    fn the_example_holds_what_the_schema_asks_for() {
        let expected = json!({"id": "cut", "data": {
            "label": "Cut", "nodeType": "utility:cut", "config": {"size": 1, "unit": "letters"},
        }});
        assert_eq!(serde_json::to_value(example(&item())).unwrap(), expected);
        let bare = NodeType { node_type: "a:b".into(), ..NodeType::default() };
        assert!(example(&bare).data.config.is_empty());
        // Of a type that needs no key and has no default, the first key is shown.
        let schema = json!({"properties": {"for": {"type": ["number", "string"]}, "until": {"type": "string"}}});
        let waits = NodeType { config_schema: Some(schema), ..bare };
        assert_eq!(Value::Object(example(&waits).data.config), json!({"for": 1}));
    }
}
