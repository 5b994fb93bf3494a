//! What differs between two documents, node by node: what they mean apart from how they look.

use std::collections::{BTreeMap, BTreeSet};

use super::Draft;
use super::draft::{DraftEdge, DraftNode};
use super::json::Json;
use crate::limits::{DIFFERENCE_BYTES_MAX, DIFFERENCE_VALUE_BYTES_MAX};

/// Members of a node that say where and how it is drawn: React Flow's, and what this server derives.
const LOOKS: [&str; 30] = [
    "ariaLabel",
    "ariaRole",
    "className",
    "connectable",
    "deletable",
    "domAttributes",
    "dragHandle",
    "draggable",
    "dragging",
    "expandParent",
    "extent",
    "focusable",
    "handleBounds",
    "handles",
    "height",
    "hidden",
    "initialHeight",
    "initialWidth",
    "measured",
    "origin",
    "position",
    "positionAbsolute",
    "resizing",
    "selectable",
    "selected",
    "sourcePosition",
    "style",
    "targetPosition",
    "width",
    "zIndex",
];
/// The same in the data of notes.
const NOTE_LOOKS: [&str; 2] = ["color", "textSize"];
/// Members of a node's data whose keys are compared one by one.
const OBJECTS: [&str; 3] = ["config", "params", "policy"];
/// What an entry weighs beside its texts.
const ENTRY_BYTES: usize = 64;

/// What differs between two documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Nodes that are new or differ, in the order of the newer document, then those that are gone.
    pub nodes: Vec<NodeDifference>,
    /// Edges that are gone, then those that are new. Edges are told apart by what they join.
    pub edges: Vec<EdgeDifference>,
    /// Inputs (node and handle) whose edges are the same, in another order: a list is put together in it.
    pub reordered: Vec<(String, String)>,
    /// The workflow's policy.
    pub policy: Option<KeyDifference>,
    /// Whether there is more than [`DIFFERENCE_BYTES_MAX`] of it: the rest is left out.
    pub is_cut: bool,
}

/// One node that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeDifference {
    /// What became of it.
    pub change: NodeChange,
    /// Its id.
    pub id: String,
    /// What people call it; empty if it has no label.
    pub label: String,
    /// Its type; empty if it names none.
    pub node_type: String,
    /// What of its meaning differs: `label`, `nodeType`, `config.text`, `params.n`, `policy.timeoutMs`, `data.mine`,
    /// `parentId`. A param that the config overrides means nothing, which null does not.
    pub keys: Vec<KeyDifference>,
    /// Which of its looks differ: `position`…
    pub looks: Vec<String>,
}

/// What became of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeChange {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It means something else.
    Changed,
    /// It lies elsewhere or is drawn otherwise, and means the same.
    Looks,
}

/// One value that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDifference {
    /// Its name.
    pub key: String,
    /// JSON; `None` if there was none.
    pub before: Option<String>,
    /// JSON; `None` if there is none.
    pub after: Option<String>,
    /// Whether the values are left out, since one of them has more than [`DIFFERENCE_VALUE_BYTES_MAX`].
    pub is_left_out: bool,
}

/// One edge that is new or gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeDifference {
    /// Whether it is new.
    pub is_added: bool,
    /// Its id, if it has one.
    pub id: String,
    /// Where it begins, and its handle; empty if it names none.
    pub source: (String, String),
    /// Where it ends.
    pub target: (String, String),
}

impl Difference {
    /// Compares two documents. Values are compared as JSON: the order of an object's keys and the spelling of a text
    /// mean nothing.
    pub fn between(before: &Draft, after: &Draft) -> Self {
        let mut found = Self::default();
        let mut room = DIFFERENCE_BYTES_MAX;
        found.policy = key("policy", before.policy(), after.policy());
        let fits = found.compare_nodes(before, after, &mut room) && found.compare_edges(before, after, &mut room);
        found.is_cut = !fits;
        found
    }

    /// Whether both are the same, looks included.
    pub fn is_empty(&self) -> bool {
        let Self { nodes, edges, reordered, policy, is_cut } = self;
        nodes.is_empty() && edges.is_empty() && reordered.is_empty() && policy.is_none() && !is_cut
    }

    fn compare_nodes(&mut self, before: &Draft, after: &Draft, room: &mut usize) -> bool {
        let by_id = |draft: &Draft| -> BTreeMap<String, usize> {
            draft.nodes.iter().enumerate().map(|(place, node)| (node.id.to_string(), place)).collect()
        };
        let (old, new) = (by_id(before), by_id(after));
        let newer = after.nodes.iter().filter_map(|node| match old.get(&*node.id) {
            Some(place) => compare(&before.nodes[*place], node),
            None => Some(named(NodeChange::Added, node)),
        });
        let gone = before.nodes.iter().filter(|node| !new.contains_key(&*node.id));
        for difference in newer.chain(gone.map(|node| named(NodeChange::Removed, node))) {
            if !take(room, difference.weight()) {
                return false;
            }
            self.nodes.push(difference);
        }
        true
    }

    fn compare_edges(&mut self, before: &Draft, after: &Draft, room: &mut usize) -> bool {
        let removed = without(&before.edges, &after.edges);
        let added = without(&after.edges, &before.edges);
        let removed = removed.map(|edge| (false, edge));
        for (is_added, edge) in removed.chain(added.map(|edge| (true, edge))) {
            let ends = Ends::of(edge);
            let text = |text: &str| text.to_owned();
            let difference = EdgeDifference {
                is_added,
                id: edge.id.as_deref().map(text).unwrap_or_default(),
                source: (text(ends.source.0), text(ends.source.1)),
                target: (text(ends.target.0), text(ends.target.1)),
            };
            let EdgeDifference { id, source, target, .. } = &difference;
            let weight = id.len() + source.0.len() + source.1.len() + target.0.len() + target.1.len();
            if !take(room, weight) {
                return false;
            }
            self.edges.push(difference);
        }
        for (node, handle) in reordered(before, after) {
            if !take(room, node.len() + handle.len()) {
                return false;
            }
            self.reordered.push((node.to_owned(), handle.to_owned()));
        }
        true
    }
}

/// Takes what an entry weighs from what may still be said.
fn take(room: &mut usize, weight: usize) -> bool {
    let left = room.checked_sub(weight + ENTRY_BYTES);
    *room = left.unwrap_or(0);
    left.is_some()
}

impl NodeDifference {
    fn weight(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let keys: usize =
            self.keys.iter().map(|it| it.key.len() + text(&it.before) + text(&it.after) + ENTRY_BYTES).sum();
        let looks: usize = self.looks.iter().map(|look| look.len() + 8).sum();
        self.id.len() + self.label.len() + self.node_type.len() + keys + looks
    }
}

fn named(change: NodeChange, node: &DraftNode) -> NodeDifference {
    let data = node.json().get("data");
    let text = |key: &str| data.and_then(|data| data.get(key)?.as_text()).map(|text| text.into_owned());
    let (label, node_type) = (text("label").unwrap_or_default(), text("nodeType").unwrap_or_default());
    NodeDifference { change, id: node.id.to_string(), label, node_type, keys: Vec::new(), looks: Vec::new() }
}

/// What differs of a node that is in both.
fn compare(before: &DraftNode, after: &DraftNode) -> Option<NodeDifference> {
    if before.json() == after.json() {
        return None;
    }
    let (old, new) = (Parts::of(before), Parts::of(after));
    let keys: Vec<KeyDifference> = names(&old.meaning, &new.meaning)
        .filter_map(|name| key(name, old.meaning.get(name).copied(), new.meaning.get(name).copied()))
        .collect();
    let is_other = |name: &&String| key(name, old.looks.get(*name).copied(), new.looks.get(*name).copied()).is_some();
    let looks: Vec<String> = names(&old.looks, &new.looks).filter(is_other).cloned().collect();
    let change = match (keys.is_empty(), looks.is_empty()) {
        (true, true) => return None,
        (true, false) => NodeChange::Looks,
        (false, _) => NodeChange::Changed,
    };
    Some(NodeDifference { keys, looks, ..named(change, after) })
}

/// A node's members by name.
#[derive(Default)]
struct Parts<'a> {
    meaning: BTreeMap<String, Json<'a>>,
    looks: BTreeMap<String, Json<'a>>,
}

impl<'a> Parts<'a> {
    fn of(node: &'a DraftNode) -> Self {
        let mut parts = Self::default();
        let is_note = node.renderer.as_deref() == Some("stickyNote");
        for member in node.json().members().filter(|member| member.key != "id") {
            match &*member.key {
                "data" if member.value.is_object() => parts.read_data(member.value, is_note),
                name if LOOKS.contains(&name) => drop(parts.looks.insert(name.to_owned(), member.value)),
                name => drop(parts.meaning.insert(name.to_owned(), member.value)),
            }
        }
        parts
    }

    fn read_data(&mut self, data: Json<'a>, is_note: bool) {
        let config = data.get("config").filter(|config| config.is_object());
        let config: BTreeSet<_> = config
            .into_iter()
            .flat_map(Json::members)
            .filter(|member| !member.value.is_null())
            .map(|member| member.key)
            .collect();
        for member in data.members() {
            match &*member.key {
                name if OBJECTS.contains(&name) && member.value.is_object() => {
                    for inner in member.value.members() {
                        let is_overridden = name == "params" && config.contains(&inner.key);
                        if !is_overridden {
                            self.meaning.insert(format!("{name}.{}", inner.key), inner.value);
                        }
                    }
                }
                name if OBJECTS.contains(&name) || matches!(name, "label" | "nodeType") => {
                    self.meaning.insert(name.to_owned(), member.value);
                }
                name if is_note && NOTE_LOOKS.contains(&name) => {
                    self.looks.insert(format!("data.{name}"), member.value);
                }
                name => drop(self.meaning.insert(format!("data.{name}"), member.value)),
            }
        }
    }
}

fn names<'m>(
    old: &'m BTreeMap<String, Json<'_>>,
    new: &'m BTreeMap<String, Json<'_>>,
) -> impl Iterator<Item = &'m String> {
    old.keys().chain(new.keys()).collect::<BTreeSet<_>>().into_iter()
}

fn key(name: &str, before: Option<Json<'_>>, after: Option<Json<'_>>) -> Option<KeyDifference> {
    if before.is_some() == after.is_some() && before.zip(after).is_none_or(|(before, after)| is_same(before, after)) {
        return None;
    }
    let is_left_out = [before, after].iter().flatten().any(|value| value.0.len() > DIFFERENCE_VALUE_BYTES_MAX);
    let shown = |value: Option<Json<'_>>| value.filter(|_| !is_left_out).map(|value| value.0.to_owned());
    Some(KeyDifference { key: name.to_owned(), before: shown(before), after: shown(after), is_left_out })
}

fn is_same(left: Json<'_>, right: Json<'_>) -> bool {
    let value = |json: Json<'_>| serde_json::from_str::<serde_json::Value>(json.0).ok();
    left == right || value(left).is_some_and(|left| Some(left) == value(right))
}

/// What an edge joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ends<'a> {
    target: (&'a str, &'a str),
    source: (&'a str, &'a str),
}

impl<'a> Ends<'a> {
    fn of(edge: &'a DraftEdge) -> Self {
        let handle = |handle: &'a Option<Box<str>>| handle.as_deref().unwrap_or_default();
        Self {
            target: (&edge.target, handle(&edge.target_handle)),
            source: (&edge.source, handle(&edge.source_handle)),
        }
    }
}

/// The edges that have no twin among others; each twin stands for one.
fn without<'e>(edges: &'e [DraftEdge], others: &[DraftEdge]) -> impl Iterator<Item = &'e DraftEdge> {
    let mut twins: BTreeMap<Ends<'_>, usize> = BTreeMap::new();
    for other in others {
        *twins.entry(Ends::of(other)).or_default() += 1;
    }
    let mut lone = Vec::new();
    for edge in edges {
        match twins.get_mut(&Ends::of(edge)).filter(|left| **left > 0) {
            Some(left) => *left -= 1,
            None => lone.push(edge),
        }
    }
    lone.into_iter()
}

/// Inputs at which the edges that are in both documents follow each other otherwise.
fn reordered<'d>(before: &'d Draft, after: &'d Draft) -> Vec<(&'d str, &'d str)> {
    let by_target = |draft: &'d Draft, other: &'d Draft| {
        let mut both: BTreeMap<Ends<'_>, usize> = BTreeMap::new();
        for edge in &other.edges {
            *both.entry(Ends::of(edge)).or_default() += 1;
        }
        let mut sources: BTreeMap<(&str, &str), Vec<(&str, &str)>> = BTreeMap::new();
        for ends in draft.edges.iter().map(Ends::of) {
            if let Some(left) = both.get_mut(&ends).filter(|left| **left > 0) {
                *left -= 1;
                sources.entry(ends.target).or_default().push(ends.source);
            }
        }
        sources
    };
    let (old, new) = (by_target(before, after), by_target(after, before));
    old.into_iter().filter(|(target, sources)| new.get(target) != Some(sources)).map(|(target, _)| target).collect()
}
