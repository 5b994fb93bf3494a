//! What a node of the document is: a note, a node of a known type, or something nobody knows here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::catalogue::TypeCatalogue;
use super::draft::{Draft, DraftNode};
use super::json::{Json, Member};
use super::problem::{Problem, rule, shown};
use crate::control_types::{control_of, is_planned};
use crate::limits::{GRAPH_ID_BYTES_MAX, GRAPH_PROBLEMS_MAX};
use crate::node_type::{NodeType, Runner};

/// Families of models in foreign graphs: such a graph can be kept, though nobody offers the model here.
const FOREIGN_FAMILIES: [&str; 11] =
    ["generate", "video", "audio", "talking", "edit", "llm", "iterator", "process", "action", "model", "compv3"];
/// What the ids of foreign scopes begin with.
const FOREIGN_SCOPES: &str = "iterator:";

pub(super) enum Kind {
    /// A note or a group: only drawn.
    NeverRuns,
    Known {
        node_type: Arc<NodeType>,
        runner: Runner,
        /// The type id as the document writes it.
        written: String,
    },
    Unknown {
        problem: Problem,
        /// What the problem is about: a JSON pointer inside the node.
        key: &'static str,
        /// Whether it is a foreign model, which never keeps a graph from being saved.
        is_foreign: bool,
        written: String,
    },
    /// It names no type at all.
    Untyped(Problem),
}

/// Finds types, and remembers what it said of unknown ones.
pub(super) struct Lookup<'a> {
    types: &'a TypeCatalogue,
    unknown: BTreeMap<String, (Problem, bool)>,
    /// The types of foreign nodes that have a body of other nodes, by id.
    scopes: BTreeMap<&'a str, String>,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(types: &'a TypeCatalogue, draft: &'a Draft) -> Self {
        let parents: BTreeSet<&str> = draft.nodes.iter().filter_map(|node| node.parent.as_deref()).collect();
        let parents = draft.nodes.iter().filter(|node| parents.contains(&*node.id));
        let scopes = parents.filter_map(|node| {
            let data: Vec<_> = node.data().collect();
            Some((&*node.id, written_type(node, &data).filter(|written| written.starts_with(FOREIGN_SCOPES))?))
        });
        Self { types, unknown: BTreeMap::new(), scopes: scopes.collect() }
    }

    pub(super) fn kind(&mut self, node: &DraftNode, data: &[Member<'_>]) -> Kind {
        let written = written_type(node, data);
        let is_scope = written.as_deref().is_some_and(is_scope);
        match node.renderer.as_deref() {
            Some("stickyNote" | "custom_group") => return Kind::NeverRuns,
            Some("group") if !is_scope => return Kind::NeverRuns,
            _ => {}
        }
        let scope = node.parent.as_deref().and_then(|parent| self.scopes.get(parent));
        match written {
            None => Kind::Untyped(untyped(node)),
            Some(written) if scope.is_some() => {
                let problem = Problem::new(
                    rule::NOT_SUPPORTED_YET,
                    format!("Node \"{}\" lies inside an iterator of another system, which is not supported.", node.id),
                    "Take the node out, or put it into a logic:map.",
                );
                Kind::Unknown { problem, key: "/parentId", is_foreign: true, written }
            }
            Some(id) if id == "utility:sticky_note" => Kind::NeverRuns,
            Some(id) if id.len() > GRAPH_ID_BYTES_MAX => {
                let message = format!("The node type \"{}\" is longer than {GRAPH_ID_BYTES_MAX} bytes.", shown(&id));
                Kind::Untyped(Problem::new(rule::LIMITS, message, "Correct data.nodeType."))
            }
            Some(written) => match self.types.resolve(&written) {
                Some(node_type) => {
                    let runner = control_of(&node_type.id).map_or(Runner::Agent, Runner::Control);
                    Kind::Known { node_type: node_type.clone(), runner, written }
                }
                None => {
                    let (problem, is_foreign) = self.unknown(&written);
                    Kind::Unknown { problem, key: "/data/nodeType", is_foreign, written }
                }
            },
        }
    }

    fn unknown(&mut self, id: &str) -> (Problem, bool) {
        if let Some(known) = self.unknown.get(id) {
            return known.clone();
        }
        // Comparing with all known ids costs time: a graph of nothing but unknown types gets only so much of it.
        let compares = self.unknown.len() < GRAPH_PROBLEMS_MAX;
        let family = id.split(':').next().unwrap_or_default();
        let is_foreign = FOREIGN_FAMILIES.contains(&family) && !(compares && self.types.is_slip(id));
        let problem = if is_planned(id) {
            let message = format!("The node type \"{id}\" is not supported yet.");
            Problem::new(rule::NOT_SUPPORTED_YET, message, "Take the node out of the graph.")
        } else {
            let rule = if is_foreign { rule::UNSUPPORTED_NODE } else { rule::UNKNOWN_NODE_TYPE };
            not_known(self.types, id, rule, compares)
        };
        self.unknown.insert(id.to_owned(), (problem.clone(), is_foreign));
        (problem, is_foreign)
    }
}

/// What is wrong with a type that is named and not known.
pub(super) fn unknown_type(types: &TypeCatalogue, id: &str) -> Problem {
    if is_planned(id) {
        let message = format!("The node type \"{}\" is not supported yet.", shown(id));
        return Problem::new(rule::NOT_SUPPORTED_YET, message, "Choose another type.");
    }
    not_known(types, id, rule::UNKNOWN_NODE_TYPE, true)
}

fn not_known(types: &TypeCatalogue, id: &str, rule: &'static str, compares: bool) -> Problem {
    let name = shown(id);
    if types.lacks_agents(id) && !(compares && types.is_slip(id)) {
        let message = format!("No node type \"{name}\" is known here: agents bring it, and none has connected yet.");
        let fix = "Start an agent (heddle agent --coordinator ADDRESS), or everything at once (heddle up).";
        return Problem::new(rule, message, fix);
    }
    let nearest = if compares { types.nearest(id) } else { Vec::new() };
    Problem::new(rule, format!("No node type \"{name}\" is known here."), did_you_mean(&nearest))
}

fn is_scope(type_id: &str) -> bool {
    matches!(type_id, "logic:map" | "logic:loop" | "logic:loop_until" | "logic:while" | "logic:reduce")
        || type_id.starts_with(FOREIGN_SCOPES)
}

/// The type that a node names: `data.nodeType`; in old documents `data.model.name`, or the renderer itself.
fn written_type(node: &DraftNode, data: &[Member<'_>]) -> Option<String> {
    let find = |key: &str| data.iter().find(|member| member.key == key).map(|member| member.value);
    let text = |json: Json<'_>| json.as_text().filter(|text| !text.is_empty()).map(|text| text.into_owned());
    let is_old = node.renderer.as_deref() == Some("model");
    let model = || find("model").filter(|_| is_old).and_then(|model| model.get("name")).and_then(text);
    find("nodeType")
        .and_then(text)
        .or_else(|| Some(model()?).map(|name| if name.contains(':') { name } else { format!("model:{name}") }))
        .or_else(|| node.renderer.clone().filter(|renderer| renderer.contains(':')))
}

fn untyped(node: &DraftNode) -> Problem {
    if node.renderer.as_deref() == Some("model") {
        let message = format!("Node {} is missing model.name", node.id);
        return Problem::new(rule::UNKNOWN_NODE_TYPE, message, "Name the node's type in data.nodeType.");
    }
    let message = format!("Node \"{}\" names no type.", node.id);
    Problem::new(rule::UNKNOWN_NODE_TYPE, message, "Name the node's type in data.nodeType.")
}

fn did_you_mean(nearest: &[Arc<str>]) -> String {
    match nearest {
        [] => "See the list of node types for what is known.".to_owned(),
        names => {
            let names: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
            format!("Did you mean {}?", names.join(" or "))
        }
    }
}
