//! What differs between two states of a workflow, node by node. Where nodes lie on the canvas is counted only.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::ui::style::Style;

/// Members of a node that say where and how it is drawn.
const LAYOUT: [&str; 12] = [
    "position",
    "positionAbsolute",
    "width",
    "height",
    "measured",
    "selected",
    "dragging",
    "style",
    "className",
    "zIndex",
    "handleBounds",
    "resizing",
];

/// What would change, from one state to the next.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Diff {
    /// Name, description, tags.
    pub fields: Vec<KeyChange>,
    /// Nodes by id.
    pub nodes: Vec<PartChange>,
    /// Edges by what they join.
    pub edges: Vec<PartChange>,
    /// Nodes that only lie elsewhere or look otherwise.
    pub moved: usize,
}

/// A node or an edge that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartChange {
    /// What became of it.
    pub change: Kind,
    /// The node's id, or `a.out -> b.in`.
    pub id: String,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The node's type.
    #[serde(rename = "nodeType", skip_serializing_if = "Option::is_none")]
    pub node_type: Option<String>,
    /// Which of its keys differ; those of a new or lost part are not listed.
    pub keys: Vec<KeyChange>,
}

/// One key that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KeyChange {
    /// Its path, with dots.
    pub key: String,
    /// `null` for a key that is new.
    pub before: Option<Value>,
    /// `null` for a key that is gone.
    pub after: Option<Value>,
}

/// What became of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It differs.
    Changed,
}

/// One state of a workflow.
#[derive(Debug, Clone, Copy, Default)]
pub struct State<'a> {
    /// Its name; `None` = not compared.
    pub name: Option<&'a str>,
    /// What it is for; `None` = not compared.
    pub description: Option<&'a str>,
    /// Its tags; `None` = not compared.
    pub tags: Option<&'a [String]>,
    /// Its nodes.
    pub nodes: &'a [Value],
    /// Its edges.
    pub edges: &'a [Value],
    /// Its policy for all nodes.
    pub policy: Option<&'a Value>,
}

impl Diff {
    /// Compares two states.
    pub fn between(before: State<'_>, after: State<'_>) -> Self {
        let (mut nodes, mut moved) = (Vec::new(), 0);
        let (old, new) = (by_id(before.nodes), by_id(after.nodes));
        for id in all_keys(&old, &new) {
            match (old.get(id), new.get(id)) {
                (Some(old), Some(new)) => {
                    let keys = changed_keys(&flat(old, is_work), &flat(new, is_work));
                    if !keys.is_empty() {
                        nodes.push(node(Kind::Changed, id, new, keys));
                    } else if flat(old, is_layout) != flat(new, is_layout) {
                        moved += 1;
                    }
                }
                (Some(old), None) => nodes.push(node(Kind::Removed, id, old, Vec::new())),
                (None, Some(new)) => nodes.push(node(Kind::Added, id, new, Vec::new())),
                (None, None) => {}
            }
        }
        Diff { fields: fields(before, after), nodes, edges: edges(before.edges, after.edges), moved }
    }

    /// Whether both states are the same, apart from looks.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.nodes.is_empty() && self.edges.is_empty() && self.moved == 0
    }

    /// As lines for people: `+` new, `-` gone, `~` changed.
    pub fn render(&self, style: Style) -> Vec<String> {
        let mut lines: Vec<String> = self.fields.iter().map(|change| key_line("", change, style)).collect();
        for node in &self.nodes {
            lines.push(part_line("node", node, style));
            lines.extend(node.keys.iter().map(|change| key_line("    ", change, style)));
        }
        lines.extend(self.edges.iter().map(|edge| part_line("edge", edge, style)));
        match self.moved {
            0 => {}
            1 => lines.push(style.dim("  one node only lies elsewhere or looks otherwise")),
            moved => lines.push(style.dim(&format!("  {moved} nodes only lie elsewhere or look otherwise"))),
        }
        lines
    }
}

fn fields(before: State<'_>, after: State<'_>) -> Vec<KeyChange> {
    let pairs = [
        ("name", before.name.map(Value::from), after.name.map(Value::from)),
        ("description", before.description.map(Value::from), after.description.map(Value::from)),
        ("tags", before.tags.map(Value::from), after.tags.map(Value::from)),
    ];
    let differs = |(key, before, after): (&str, Option<Value>, Option<Value>)| {
        (after.is_some() && before != after).then(|| KeyChange { key: key.to_owned(), before, after })
    };
    let policy = (before.policy != after.policy).then(|| KeyChange {
        key: "policy".to_owned(),
        before: before.policy.cloned(),
        after: after.policy.cloned(),
    });
    pairs.into_iter().filter_map(differs).chain(policy).collect()
}

fn by_id(nodes: &[Value]) -> BTreeMap<&str, &Value> {
    nodes.iter().filter_map(|node| Some((node.get("id")?.as_str()?, node))).collect()
}

fn all_keys<'a, T>(old: &BTreeMap<&'a str, T>, new: &BTreeMap<&'a str, T>) -> BTreeSet<&'a str> {
    old.keys().chain(new.keys()).copied().collect()
}

fn node(change: Kind, id: &str, node: &Value, keys: Vec<KeyChange>) -> PartChange {
    let text = |name: &str| Some(node.get("data")?.get(name)?.as_str()?.to_owned());
    PartChange { change, id: id.to_owned(), label: text("label"), node_type: text("nodeType"), keys }
}

/// Edges are told apart by what they join: their own ids say nothing.
fn edges(before: &[Value], after: &[Value]) -> Vec<PartChange> {
    let names = |edges: &[Value]| -> BTreeSet<String> { edges.iter().map(edge_name).collect() };
    let (old, new) = (names(before), names(after));
    let part = |change: Kind, id: &String| PartChange {
        change,
        id: id.clone(),
        label: None,
        node_type: None,
        keys: Vec::new(),
    };
    let removed = old.difference(&new).map(|id| part(Kind::Removed, id));
    let added = new.difference(&old).map(|id| part(Kind::Added, id));
    removed.chain(added).collect()
}

/// What an edge joins, as `a.out -> b.in`.
pub fn edge_name(edge: &Value) -> String {
    let end = |node: &str, handle: &str| {
        let text = |name: &str| edge.get(name).and_then(Value::as_str).unwrap_or_default();
        match text(handle) {
            "" => text(node).to_owned(),
            port => format!("{}.{port}", text(node)),
        }
    };
    format!("{} -> {}", end("source", "sourceHandle"), end("target", "targetHandle"))
}

fn is_layout(key: &str) -> bool {
    LAYOUT.contains(&key)
}

/// The size that the server tells of a node is no part of it.
fn is_work(key: &str) -> bool {
    !is_layout(key) && !matches!(key, "id" | "dims")
}

/// The values of a node by their paths, of those members that are wanted. Arrays are values.
fn flat(node: &Value, wanted: fn(&str) -> bool) -> BTreeMap<String, &Value> {
    let mut found = BTreeMap::new();
    let mut open: Vec<(String, &Value)> = Vec::new();
    for (key, value) in node.as_object().into_iter().flatten().filter(|(key, _)| wanted(key)) {
        // `data` holds all that matters; its name would stand before each path.
        open.push((if key == "data" { String::new() } else { key.clone() }, value));
    }
    while let Some((path, value)) = open.pop() {
        match value.as_object().filter(|fields| !fields.is_empty()) {
            Some(fields) => open.extend(
                fields
                    .iter()
                    .map(|(key, value)| (if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, value)),
            ),
            None => {
                found.insert(path, value);
            }
        }
    }
    found
}

fn changed_keys(old: &BTreeMap<String, &Value>, new: &BTreeMap<String, &Value>) -> Vec<KeyChange> {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let value = |map: &BTreeMap<String, &Value>, key: &String| map.get(key).map(|value| (*value).clone());
    let change = |key: &String| KeyChange { key: key.clone(), before: value(old, key), after: value(new, key) };
    keys.into_iter().map(change).filter(|change| change.before != change.after).collect()
}

fn part_line(what: &str, part: &PartChange, style: Style) -> String {
    let kind = part.node_type.as_deref().map(|kind| format!("  {}", style.dim(kind))).unwrap_or_default();
    let label = part.label.as_deref().filter(|label| *label != part.id).map(|label| format!("  {label:?}"));
    let text = format!("{what} {}", part.id);
    let head = match part.change {
        Kind::Added => style.green(&format!("+ {text}")),
        Kind::Removed => style.red(&format!("- {text}")),
        Kind::Changed => style.yellow(&format!("~ {text}")),
    };
    format!("{head}{}{kind}", label.unwrap_or_default())
}

fn key_line(indent: &str, change: &KeyChange, style: Style) -> String {
    let key = &change.key;
    match (&change.before, &change.after) {
        (None, Some(after)) => style.green(&format!("{indent}+ {key}: {after}")),
        (Some(before), None) => style.red(&format!("{indent}- {key}: {before}")),
        (before, after) => {
            let [before, after] = [before, after].map(|value| value.as_ref().map(Value::to_string).unwrap_or_default());
            let (before, after) = (style.red(&before), style.green(&after));
            format!("{}{before} -> {after}", style.yellow(&format!("{indent}~ {key}: ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn array(value: Value) -> Vec<Value> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn nodes_edges_and_keys_are_told_apart() {
        let old = array(json!([
            {"id": "a", "position": {"x": 1}, "data": {"label": "A", "nodeType": "input:text", "config": {"text": "x"}}},
            {"id": "b", "position": {"x": 1}, "data": {"nodeType": "output:text", "config": {}}},
            {"id": "c", "data": {"nodeType": "output:json"}},
        ]));
        let new = array(json!([
            {"id": "a", "position": {"x": 9}, "data": {"label": "A", "nodeType": "input:text", "config": {"text": "y", "list": [1]}}},
            {"id": "b", "position": {"x": 2}, "data": {"nodeType": "output:text", "config": {}}},
            {"id": "d", "data": {"nodeType": "output:json"}},
        ]));
        let old_edges = array(json!([{"id": "1", "source": "a", "target": "b"}, {"source": "a", "target": "c"}]));
        let new_edges = array(json!([
            {"id": "other", "source": "a", "target": "b"},
            {"source": "a", "sourceHandle": "out-text", "target": "d", "targetHandle": "in-value"},
        ]));
        let before = State { name: Some("one"), nodes: &old, edges: &old_edges, ..State::default() };
        let after = State { name: Some("two"), nodes: &new, edges: &new_edges, ..State::default() };
        let diff = Diff::between(before, after);
        let expected = [
            "~ name: \"one\" -> \"two\"",
            "~ node a  \"A\"  input:text",
            "    + config.list: [1]",
            "    ~ config.text: \"x\" -> \"y\"",
            "- node c  output:json",
            "+ node d  output:json",
            "- edge a -> c",
            "+ edge a.out-text -> d.in-value",
            "  one node only lies elsewhere or looks otherwise",
        ];
        assert_eq!(diff.render(Style::PLAIN), expected);
        assert_eq!(serde_json::to_value(&diff).unwrap()["nodes"][1]["change"], "removed");
        assert!(Diff::between(before, before).is_empty());
    }

    #[test]
    fn what_a_file_does_not_say_is_not_compared() {
        let tags = ["x".to_owned()];
        let before = State { name: Some("n"), description: Some("d"), tags: Some(&tags), ..State::default() };
        let after = State { name: Some("n"), ..State::default() };
        assert!(Diff::between(before, after).is_empty());
    }

    #[test]
    fn a_policy_for_all_nodes_is_compared_even_if_it_is_gone() {
        let policy = json!({"timeoutMs": 5});
        let with = State { policy: Some(&policy), ..State::default() };
        let keys = |before, after| {
            let fields = Diff::between(before, after).fields;
            fields.into_iter().map(|it| (it.key, it.before, it.after)).collect::<Vec<_>>()
        };
        assert_eq!(keys(with, with), []);
        assert_eq!(keys(with, State::default()), [("policy".to_owned(), Some(policy.clone()), None)]);
        assert_eq!(keys(State::default(), with), [("policy".to_owned(), None, Some(policy.clone()))]);
    }
}
