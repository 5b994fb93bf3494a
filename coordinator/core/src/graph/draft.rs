//! A graph as its author sent it: read, bounded and kept byte for byte, but not yet understood.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::json::{self, Fault, Json, Member};
use super::problem::{Problem, Problems, rule, shown};
use crate::limits::{GRAPH_EDGES_MAX, GRAPH_ID_BYTES_MAX, GRAPH_NODES_MAX};
use crate::value::Digest;

/// Keys of a node's `data` that a run or a read left there. They are no part of the graph.
const RUN_TIME_KEYS: [&str; 7] =
    ["output", "result", "selectedOutput", "selectedIndex", "isExecuting", "dims", "cached"];

/// A graph's document: well-formed JSON within bounds, whose nodes have ids and whose edges have ends.
#[derive(Debug, Clone)]
pub struct Draft {
    pub(super) nodes: Vec<DraftNode>,
    pub(super) edges: Vec<DraftEdge>,
    stored: Stored,
}

/// A graph's document as it is kept: as it was sent, without white space between tokens, and without the fields that
/// runs and reads leave on nodes (`output`, `result`, `selectedOutput`, `selectedIndex`, `isExecuting`, `dims`,
/// `cached`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The array of nodes.
    pub nodes: Bytes,
    /// The array of edges.
    pub edges: Bytes,
    /// The workflow's policy, an object; empty if it has none.
    pub policy: Bytes,
}

impl Stored {
    /// SHA-256 over the nodes, a line feed and the edges, and with a policy over a line feed and that: the graph's
    /// identity.
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        hash.update(&self.nodes);
        hash.update(b"\n");
        hash.update(&self.edges);
        if !self.policy.is_empty() {
            hash.update(b"\n");
            hash.update(&self.policy);
        }
        Digest(hash.finalize().into())
    }
}

#[derive(Debug, Clone)]
pub(super) struct DraftNode {
    pub(super) id: Arc<str>,
    /// `type`: how React Flow draws it.
    pub(super) renderer: Option<String>,
    /// The node that it lies in.
    pub(super) parent: Option<String>,
    /// The whole stored node.
    text: Bytes,
}

impl DraftNode {
    /// The whole node as it is kept.
    pub(super) fn json(&self) -> Json<'_> {
        Json(utf8(&self.text))
    }

    /// The members of its `data`.
    pub(super) fn data(&self) -> impl Iterator<Item = Member<'_>> {
        self.json().get("data").into_iter().flat_map(Json::members)
    }
}

#[derive(Debug, Clone)]
pub(super) struct DraftEdge {
    pub(super) id: Option<Arc<str>>,
    pub(super) source: Box<str>,
    pub(super) target: Box<str>,
    pub(super) source_handle: Option<Box<str>>,
    pub(super) target_handle: Option<Box<str>>,
}

impl Draft {
    /// Reads the JSON texts of the two arrays as a client sent them. Every problem is reported, not only the first.
    pub fn parse(nodes: &[u8], edges: &[u8]) -> Result<Draft, Vec<Problem>> {
        let mut problems = Problems::default();
        let nodes = read_array(nodes, "nodes", GRAPH_NODES_MAX, &mut problems);
        let edges = read_array(edges, "edges", GRAPH_EDGES_MAX, &mut problems);
        if !problems.is_empty() {
            return Err(problems.into_list());
        }
        let stored = Stored { nodes: strip_nodes(Json(&nodes)).into(), edges: edges.into(), policy: Bytes::new() };
        let draft_nodes = read_all(&stored.nodes, |place, json| read_node(place, json, &stored.nodes, &mut problems));
        let draft_edges = read_all(&stored.edges, |place, json| read_edge(place, json, &mut problems));
        problems.into_result(Draft { nodes: draft_nodes, edges: draft_edges, stored })
    }

    /// The same graph with a policy for the whole workflow, as a client sent it: a JSON object, or nothing.
    ///
    /// # Errors
    /// What keeps it from being read; what it says is checked with the graph.
    pub fn with_policy(mut self, policy: &[u8]) -> Result<Draft, Vec<Problem>> {
        if policy.is_empty() {
            return Ok(self);
        }
        let fix = "Send the workflow's policy as a JSON object, as data.policy of a node.";
        let text = json::compact(policy).map_err(|fault| {
            vec![Problem::new(rule::BAD_JSON, fault.message("policy"), fix).at("/policy".to_owned())]
        })?;
        self.stored.policy = match Json(&text).is_null() {
            true => Bytes::new(),
            false => text.into(),
        };
        Ok(self)
    }

    /// What the workflow's policy is, if it has one.
    pub(super) fn policy(&self) -> Option<Json<'_>> {
        (!self.stored.policy.is_empty()).then(|| Json(utf8(&self.stored.policy)))
    }

    /// The document as it is kept. Parsing it again gives the same document.
    pub fn stored(&self) -> &Stored {
        &self.stored
    }

    /// How many nodes it has, notes and groups included.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// How many edges it has.
    pub fn edge_count(&self) -> usize {
        self.edges.len()
    }
}

/// The text of a slice that was cut from a [`String`].
fn utf8(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn read_all<T>(stored: &Bytes, mut read: impl FnMut(usize, Json<'_>) -> Option<T>) -> Vec<T> {
    Json(utf8(stored)).elements().enumerate().filter_map(|(place, json)| read(place, json)).collect()
}

fn read_array(text: &[u8], name: &str, elements_max: usize, problems: &mut Problems) -> String {
    let path = format!("/{name}");
    match json::compact(text) {
        Err(fault) => {
            let (rule, path, fix) = match &fault {
                Fault::TooDeep => (rule::LIMITS, path, "Flatten the values inside."),
                Fault::DuplicateKey(place, _) => (rule::BAD_JSON, path + place, "Keep one of them."),
                Fault::NotUtf8 | Fault::Syntax(_) => (rule::BAD_JSON, path, "Send the array as valid JSON."),
            };
            problems.push(Problem::new(rule, fault.message(name), fix).at(path));
        }
        Ok(text) if !Json(&text).is_array() => {
            let message = format!("{name} is not an array.");
            problems.push(Problem::new(rule::BAD_JSON, message, "Send an array.").at(path));
        }
        Ok(text) => match Json(&text).elements().count() {
            count if count > elements_max => {
                let message = format!("There are {count} {name}; a graph has at most {elements_max}.");
                problems.push(Problem::new(rule::LIMITS, message, "Split the graph in several workflows.").at(path));
            }
            _ => return text,
        },
    }
    String::new()
}

/// Takes out of each node what is no part of the graph; the rest is copied as it is.
fn strip_nodes(nodes: Json<'_>) -> String {
    let mut out = String::with_capacity(nodes.0.len());
    out.push('[');
    for (place, node) in nodes.elements().enumerate() {
        if place > 0 {
            out.push(',');
        }
        if node.is_object() { strip_node(node, &mut out) } else { out.push_str(node.0) }
    }
    out.push(']');
    out
}

fn strip_node(node: Json<'_>, out: &mut String) {
    let mut data = String::new();
    if let Some(json) = node.get("data").filter(|data| data.is_object()) {
        let kept: Vec<_> = json.members().filter(|member| !RUN_TIME_KEYS.contains(&&*member.key)).collect();
        json::write_object(&mut data, kept.iter().map(|member| (member.raw_key, member.value.0)));
    }
    let kept: Vec<_> = node.members().filter(|member| member.key != "dims").collect();
    let members = kept.iter().map(|member| {
        let is_data = member.key == "data" && !data.is_empty();
        (member.raw_key, if is_data { data.as_str() } else { member.value.0 })
    });
    json::write_object(out, members);
}

fn read_node(place: usize, json: Json<'_>, stored: &Bytes, problems: &mut Problems) -> Option<DraftNode> {
    let mut reader = Reader::open("node", place, json, problems)?;
    let Some(id) = reader.get("id").filter(|id| id.0 != "\"\"") else {
        reader.report(rule::MISSING_ID, "A node has no id.", "Give each node an id of its own.", "");
        return None;
    };
    let id: Arc<str> = reader.text("id", id)?.into();
    if reader.get("data").is_some_and(|data| !data.is_object()) {
        let message = format!("The data of node \"{id}\" is not an object.");
        reader.report(rule::BAD_JSON, &message, "Send data as an object.", "data");
        return None;
    }
    let text = |key: &str| reader.get(key).and_then(Json::as_text).map(|text| text.into_owned());
    // React Flow called the parent `parentNode` before version 12.
    let (renderer, parent) = (text("type"), text("parentId").or_else(|| text("parentNode")));
    Some(DraftNode { id, renderer, parent, text: stored.slice_ref(json.0.as_bytes()) })
}

fn read_edge(place: usize, json: Json<'_>, problems: &mut Problems) -> Option<DraftEdge> {
    let mut reader = Reader::open("edge", place, json, problems)?;
    if let Some(id) = reader.get("id") {
        reader.edge_id = Some(reader.text("id", id)?.into());
    }
    let ends = ["source", "target"].map(|key| reader.end(key));
    let handles = ["sourceHandle", "targetHandle"].map(|key| reader.handle(key));
    let ([source, target], [source_handle, target_handle]) = (ends, handles);
    Some(DraftEdge {
        id: reader.edge_id,
        source: source?,
        target: target?,
        source_handle: source_handle?,
        target_handle: target_handle?,
    })
}

/// One node or edge, and where to report what is wrong with it.
struct Reader<'a, 'p> {
    /// `node` or `edge`.
    name: &'static str,
    place: usize,
    edge_id: Option<Arc<str>>,
    members: Vec<Member<'a>>,
    problems: &'p mut Problems,
}

impl<'a, 'p> Reader<'a, 'p> {
    fn open(name: &'static str, place: usize, json: Json<'a>, problems: &'p mut Problems) -> Option<Self> {
        let mut reader = Self { name, place, edge_id: None, members: json.members().collect(), problems };
        if json.is_object() {
            return Some(reader);
        }
        let message = format!("This {name} is {}, not an object.", shown(json.0));
        reader.report(rule::BAD_JSON, &message, "Send nodes and edges as objects.", "");
        None
    }

    /// The value of a key; null is as good as absent.
    fn get(&self, key: &str) -> Option<Json<'a>> {
        self.members.iter().find(|member| member.key == key).map(|member| member.value).filter(|value| !value.is_null())
    }

    fn end(&mut self, key: &str) -> Option<Box<str>> {
        if let Some(value) = self.get(key) {
            return self.text(key, value);
        }
        let fix = "Name the nodes that it joins in source and target.";
        self.report(rule::DANGLING_EDGE, &format!("An edge has no {key}."), fix, "");
        None
    }

    /// A handle; `Some(None)` if the edge leaves it out, which some clients write as null and some as an empty text.
    fn handle(&mut self, key: &str) -> Option<Option<Box<str>>> {
        match self.get(key) {
            Some(value) => Some(Some(self.text(key, value)?).filter(|text| !text.is_empty())),
            None => Some(None),
        }
    }

    fn text(&mut self, key: &str, value: Json<'a>) -> Option<Box<str>> {
        match value.as_text() {
            Some(text) if text.len() <= GRAPH_ID_BYTES_MAX => return Some(text.into()),
            Some(text) => {
                let message = format!("\"{}\" is longer than {GRAPH_ID_BYTES_MAX} bytes.", shown(&text));
                self.report(rule::LIMITS, &message, "Use shorter names.", key);
            }
            None => {
                let message = format!("{} is not a text.", shown(value.0));
                self.report(rule::BAD_JSON, &message, "Put it in quotation marks.", key);
            }
        }
        None
    }

    /// Reports a problem with one key, or with the whole node or edge if the key is empty.
    fn report(&mut self, rule: &'static str, message: &str, fix: &str, key: &str) {
        let separator = if key.is_empty() { "" } else { "/" };
        let path = format!("/{}s/{}{separator}{key}", self.name, self.place);
        self.problems.push(Problem::new(rule, message, fix).edge(self.edge_id.as_ref()).at(path));
    }
}
