//! Graphs. Untrusted React Flow JSON becomes a draft, and a draft becomes a [`Graph`]: which only exists when it is
//! valid, and is immutable, dense and shared from then on.

mod catalogue;
mod compile;
mod config_fault;
mod config_keys;
mod difference;
mod draft;
mod edit;
mod fallback;
#[cfg(test)]
pub(crate) mod fixture;
mod following;
mod identity;
mod inputs;
mod invoke;
pub(crate) mod json;
mod kinds;
mod large_list;
mod layout;
mod lift;
mod listen;
mod logic;
mod losers;
pub(crate) mod nearest;
mod order;
mod outputs;
mod part;
mod policies;
mod policy_json;
mod ports;
pub(crate) mod problem;
mod provider;
pub(crate) mod review;
mod scope;
mod scope_config;
mod secrets;
mod size;
#[cfg(test)]
mod tests;
mod values;
mod wait;
mod wires;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

pub use self::catalogue::{MANIFEST_BYTES_MAX, ManifestError, TYPE_PORTS_MAX, TypeCatalogue};
pub use self::compile::{Compile, Compiled, Migration};
pub use self::config_fault::{CheckConfig, ConfigFault};
pub use self::config_keys::{chooses_access, unknown_key};
pub use self::difference::{Difference, EdgeDifference, KeyDifference, NodeChange, NodeDifference};
pub use self::draft::{Draft, Stored};
pub use self::edit::{EditError, NodePatch, Point};
pub(crate) use self::identity::Hasher;
pub use self::inputs::InputDescription;
pub use self::invoke::Invoke;
pub use self::large_list::{ListPlace, no_list};
pub use self::layout::{Bounds, Gaps, Layout};
pub use self::listen::{Listen, ListensTo, is_signal_name};
pub use self::logic::Logic;
pub use self::policies::{ServerPolicyError, read_server_policy};
pub use self::problem::{Problem, rule};
pub use self::provider::{Provided, Provider};
pub use self::review::{Allow, OnTimeout, Review, Timeout};
pub use self::scope::{Scope, ScopeKind, Select};
pub use self::values::CONFIG_BYTES_MAX;

use crate::control_types::scope::Doors;
use crate::id::{NodeIx, PortIx};
use crate::node_type::{EffectClass, NodeType, Runner};
use crate::policy::Policy;
use crate::time::Span;
use crate::value::{Digest, Value};

/// Secrets that stand in a config, which a graph or a person would share with it; each with its place.
pub fn literal_secrets(config: &str, path: &str) -> Vec<Problem> {
    secrets::find(json::Json(config), path)
}

/// A valid graph, compiled to dense indices. Nodes that never run (notes, groups) are not in it.
#[derive(Debug)]
pub struct Graph {
    pub(crate) digest: Digest,
    pub(crate) nodes: Vec<Node>,
    /// Edges by target, in the order that [`Graph::in_edges`] tells; `in_offsets[n]..in_offsets[n + 1]` are node n's.
    pub(crate) in_edges: Vec<InEdge>,
    pub(crate) in_offsets: Vec<u32>,
    /// The same edges by source.
    pub(crate) out_edges: Vec<OutEdge>,
    pub(crate) out_offsets: Vec<u32>,
    /// Node indices sorted by node id, for look-up.
    pub(crate) by_id: Vec<NodeIx>,
    /// What lies inside each container, sorted.
    pub(crate) bodies: BTreeMap<NodeIx, Vec<NodeIx>>,
    /// Whether a node of it decides by what values are.
    pub(crate) decides_on_values: bool,
    /// How many days its runs are kept after their end, if the document says so.
    pub(crate) keep_runs_days: Option<u16>,
    /// How long its runs may be active, if the document says.
    pub(crate) deadline: Option<Span>,
    /// What each node is, once somebody has asked.
    pub(crate) identities: OnceLock<Box<[Digest]>>,
}

/// One node of a valid graph.
#[derive(Debug)]
pub struct Node {
    /// Its id in the document.
    pub id: Arc<str>,
    /// What people call it; the id if the document gives no label.
    pub label: Arc<str>,
    /// The id of its type, as the document writes it after aliases are resolved.
    pub type_id: Arc<str>,
    /// Its type; `None` iff `runner` is [`Runner::Unavailable`].
    pub node_type: Option<Arc<NodeType>>,
    /// Who runs it.
    pub runner: Runner,
    /// One JSON object: the config keys by precedence (config over params over bare data).
    pub config: Bytes,
    /// Values of input ports that no edge feeds, by precedence down to the port's default.
    pub constants: Vec<(PortIx, Value)>,
    /// What it may do to the world.
    pub effect: EffectClass,
    /// Its policy, defaults filled in.
    pub policy: Policy,
    /// What it does, if it is a branching node or a container.
    pub logic: Option<Box<Logic>>,
    /// The container that it lies in.
    pub within: Option<NodeIx>,
    /// Its place among the nodes of that container; outside of all, its own index.
    pub(crate) place: u32,
    /// Edges beside it that must be settled before it is ready. For a container, those that lead into its body, too.
    pub(crate) waits_for: u32,
    /// Which of its ports are for its body.
    pub(crate) doors: Option<Doors>,
    /// Whether no document knows it: it runs lifted nodes once per item.
    pub is_anonymous: bool,
    /// Who does its work instead when its own type fails for good, in order.
    pub fallback: Vec<Provider>,
    /// Whether people can have it run again after it has given its output.
    pub(crate) is_reviewed: bool,
    /// The output that gives what was wrong when it fails for good: there is one iff `policy.on_error` is `Continue`.
    pub error_port: Option<PortIx>,
}

/// An edge, seen from the node it ends at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InEdge {
    /// The node it begins at.
    pub source: NodeIx,
    /// The output it begins at.
    pub source_port: PortIx,
    /// The input it ends at.
    pub target_port: PortIx,
}

/// An edge, seen from the node it begins at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutEdge {
    /// The output it begins at.
    pub source_port: PortIx,
    /// The node it ends at.
    pub target: NodeIx,
    /// The input it ends at.
    pub target_port: PortIx,
    /// What waits for it beside the source: the target, or the container that the target lies in. None where the edge
    /// joins a container to its own body.
    pub(crate) settles: Option<NodeIx>,
}

impl Graph {
    /// SHA-256 of the document it was compiled from: runs pin it.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many days its runs are kept after their end; `None` = as many as the server's settings say.
    pub fn keep_runs_days(&self) -> Option<u16> {
        self.keep_runs_days
    }

    /// How many nodes can run.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether no node can run.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All nodes with their indices, in the order of the document.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeIx, &Node)> {
        self.nodes.iter().enumerate().map(|(ix, node)| (NodeIx(ix as u32), node))
    }

    /// The node at an index of this graph.
    pub fn node(&self, ix: NodeIx) -> &Node {
        &self.nodes[ix.0 as usize]
    }

    /// The node at an index that may come from outside.
    pub fn get(&self, ix: NodeIx) -> Option<&Node> {
        self.nodes.get(ix.0 as usize)
    }

    /// The index of a node id.
    pub fn find(&self, id: &str) -> Option<NodeIx> {
        self.by_id.binary_search_by(|ix| (*self.node(*ix).id).cmp(id)).ok().map(|place| self.by_id[place])
    }

    /// The edges that end at a node, in the order of the document; before them, those to which an alias gives a place
    /// in a list, in the order of these places.
    pub fn in_edges(&self, ix: NodeIx) -> &[InEdge] {
        &self.in_edges[self.in_offsets[ix.0 as usize] as usize..self.in_offsets[ix.0 as usize + 1] as usize]
    }

    /// The edges that begin at a node, in the order of the document.
    pub fn out_edges(&self, ix: NodeIx) -> &[OutEdge] {
        &self.out_edges[self.out_offsets[ix.0 as usize] as usize..self.out_offsets[ix.0 as usize + 1] as usize]
    }
}
