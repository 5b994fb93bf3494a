//! What a node is, apart from what comes into it: whether an earlier result may be reused hangs on it (E22). Found out when it is
//! first asked for: graphs whose runs reuse nothing never pay for it.

use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::{Graph, InEdge, Logic, Node};
use crate::condition::{Condition, Need};
use crate::fault::{Fault, is_planted};
use crate::id::{NodeIx, PortIx};
use crate::node_type::{Control, Runner};
use crate::value::Digest;

/// What came out of an output, as a digest; `None` if nothing did.
pub(crate) type Seen<'a> = &'a dyn Fn(NodeIx, PortIx) -> Option<Digest>;

/// Takes in parts, each with its length, so that no two lists of parts give the same.
#[derive(Default)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    pub(crate) fn text(&mut self, text: &[u8]) -> &mut Self {
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text);
        self
    }

    pub(crate) fn number(&mut self, number: usize) -> &mut Self {
        self.0.update((number as u64).to_be_bytes());
        self
    }

    pub(crate) fn digest(&mut self, digest: Option<Digest>) -> &mut Self {
        match digest {
            None => self.0.update([0]),
            Some(digest) => {
                self.0.update([1]);
                self.0.update(digest.0);
            }
        }
        self
    }

    pub(crate) fn done(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl Graph {
    /// Type, version and config of a node, its own values of inputs among them, and whether people look at it; of a container, of all in its body and of how
    /// that is joined.
    pub fn identity(&self, ix: NodeIx) -> Digest {
        let all = self.identities.get_or_init(|| self.find_identities());
        all.get(ix.0 as usize).copied().unwrap_or(Digest([0; 32]))
    }

    /// The key of an instance of a node (E22): what the node is, and what came into it.
    pub(crate) fn key(&self, ix: NodeIx, seen: Seen<'_>) -> Digest {
        let mut hasher = Hasher::default();
        hasher.digest(Some(self.identity(ix)));
        let ports = self.inputs_seen(ix, seen);
        hasher.number(ports.len());
        for (port, digest) in ports {
            hasher.text(port.as_bytes()).digest(Some(digest));
        }
        hasher.done()
    }

    /// For each input that edges feed, by its name, the digest of what they bring, and what conditions look at beside that. Of a
    /// container these are its outer inputs, and all that leads into its body or is looked at there.
    pub(crate) fn inputs_seen(&self, ix: NodeIx, seen: Seen<'_>) -> Vec<(String, Digest)> {
        let doors = self.doors(ix);
        let own = |edge: &&InEdge| doors.is_none_or(|doors| !doors.is_inner_input(edge.target_port));
        let mut ports = Vec::new();
        self.brought(ix, "", self.in_edges(ix).iter().filter(own), seen, &mut ports);
        let inside = self.all_inside(ix);
        let is_outside = |node: NodeIx| node != ix && inside.binary_search(&node).is_err();
        for node in &inside {
            let prefix = format!("{}.", self.node(*node).id);
            let edges = self.in_edges(*node).iter().filter(|edge| is_outside(edge.source));
            self.brought(*node, &prefix, edges, seen, &mut ports);
        }
        for need in inside.iter().chain([&ix]).flat_map(|node| self.needs(*node)) {
            let (node, outputs) = match need {
                Need::Input(_) => continue,
                Need::Output(node, port) => (NodeIx(node), vec![PortIx(port)]),
                Need::Node(node) => {
                    let node = NodeIx(node);
                    (node, (0..self.outputs_of(node)).map(|port| PortIx(port as u16)).collect())
                }
            };
            if is_outside(node) {
                let mut hasher = Hasher::default();
                for port in &outputs {
                    hasher.digest(seen(node, *port));
                }
                ports.push((format!("nodes.{}", self.node(node).id), hasher.done()));
            }
        }
        ports.sort();
        ports.dedup();
        ports
    }

    /// What edges bring to the inputs of a node, in edge order; closed ones add nothing, as in its list.
    fn brought<'a>(
        &self,
        ix: NodeIx,
        prefix: &str,
        edges: impl Iterator<Item = &'a InEdge>,
        seen: Seen<'_>,
        ports: &mut Vec<(String, Digest)>,
    ) {
        let mut fed: Vec<(PortIx, Vec<Digest>)> = Vec::new();
        for edge in edges {
            let value = seen(edge.source, edge.source_port);
            match fed.iter_mut().find(|(port, _)| *port == edge.target_port) {
                Some((_, values)) => values.extend(value),
                None => fed.push((edge.target_port, value.into_iter().collect())),
            }
        }
        for (port, values) in fed {
            let mut hasher = Hasher::default();
            hasher.number(values.len());
            for value in values {
                hasher.digest(Some(value));
            }
            ports.push((format!("{prefix}{}", self.input_id(ix, port)), hasher.done()));
        }
    }

    /// The name of an input.
    fn input_id(&self, ix: NodeIx, port: PortIx) -> String {
        let named = self.node(ix).node_type.as_ref().and_then(|node_type| node_type.inputs.get(usize::from(port.0)));
        named.map_or_else(|| port.0.to_string(), |port| port.id.to_string())
    }

    fn outputs_of(&self, ix: NodeIx) -> usize {
        self.node(ix).node_type.as_ref().map_or(0, |node_type| node_type.outputs.len())
    }

    /// All nodes inside a container, at any depth, sorted.
    pub(crate) fn all_inside(&self, container: NodeIx) -> Vec<NodeIx> {
        let (mut inside, mut open) = (Vec::new(), self.body(container).to_vec());
        while let Some(node) = open.pop() {
            inside.push(node);
            open.extend(self.body(node));
        }
        inside.sort_unstable();
        inside
    }

    /// What the conditions of a node look at.
    fn needs(&self, ix: NodeIx) -> Vec<Need> {
        let Some(logic) = self.node(ix).logic.as_deref() else { return Vec::new() };
        let of_scope: Vec<&Condition> = match logic {
            Logic::Scope(scope) => scope.conditions().collect(),
            _ => Vec::new(),
        };
        logic.conditions().iter().chain(of_scope).flat_map(|condition| condition.needs().iter().copied()).collect()
    }

    fn find_identities(&self) -> Box<[Digest]> {
        let mut found: Vec<Digest> = self.nodes.iter().map(plain).collect();
        // What lies deepest first, so that a container finds those inside done.
        let mut containers: Vec<NodeIx> = self.bodies.keys().copied().collect();
        containers.sort_by_key(|container| std::cmp::Reverse(self.depth(*container)));
        for container in containers {
            let mut hasher = Hasher::default();
            hasher.digest(found.get(container.0 as usize).copied());
            for node in self.body(container).iter().chain([&container]) {
                hasher.text(self.node(*node).id.as_bytes());
                hasher.digest(found.get(node.0 as usize).copied().filter(|_| node != &container));
                let joins = |edge: &&InEdge| edge.source == container || self.within(edge.source) == Some(container);
                for edge in self.in_edges(*node).iter().filter(joins) {
                    hasher.text(self.node(edge.source).id.as_bytes());
                    hasher.number(usize::from(edge.source_port.0)).number(usize::from(edge.target_port.0));
                }
            }
            found[container.0 as usize] = hasher.done();
        }
        found.into()
    }
}

/// What a node is by itself.
fn plain(node: &Node) -> Digest {
    let mut hasher = Hasher::default();
    hasher.text(node.type_id.as_bytes());
    hasher.number(node.node_type.as_ref().map_or(0, |node_type| node_type.version as usize));
    if !is_planted(Fault::KeyWithoutConfig) {
        // What a review is called is no part of what is asked.
        let is_review = node.runner == Runner::Control(Control::Review);
        hasher.text(canonical(&node.config, is_review.then_some("title")).as_bytes());
    }
    hasher.number(node.constants.len());
    for (port, value) in &node.constants {
        hasher.number(usize::from(port.0)).digest(Some(value.digest()));
    }
    if node.within.is_some() {
        // What a failed item leaves in the results of its container is said by the nodes in it.
        hasher.text(format!("{:?}{:?}", node.policy.on_error, node.policy.on_item_error).as_bytes());
    }
    // What nobody was asked about is no result of a node that asks people.
    if let Some(review) = node.policy.review.filter(|_| !is_planted(Fault::KeyWithoutReview)) {
        hasher.text(format!("review {review:?}").as_bytes());
    }
    hasher.done()
}

/// A config whose keys are in order, without one of them: how a document writes it does not matter.
fn canonical(config: &[u8], without: Option<&str>) -> String {
    fn write(value: &Json, out: &mut String) {
        match value {
            Json::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                members.sort_by(|a, b| a.0.cmp(b.0));
                out.push('{');
                for (key, value) in members {
                    out.push_str(&Json::from(key.as_str()).to_string());
                    out.push(':');
                    write(value, out);
                    out.push(',');
                }
                out.push('}');
            }
            Json::Array(items) => {
                out.push('[');
                items.iter().for_each(|item| {
                    write(item, out);
                    out.push(',');
                });
                out.push(']');
            }
            plain => out.push_str(&plain.to_string()),
        }
    }
    match serde_json::from_slice::<Json>(config) {
        Ok(mut value) => {
            if let (Some(members), Some(key)) = (value.as_object_mut(), without) {
                members.remove(key);
            }
            let mut out = String::with_capacity(config.len() + 8);
            write(&value, &mut out);
            out
        }
        Err(_) => String::from_utf8_lossy(config).into_owned(),
    }
}
