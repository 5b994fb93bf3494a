//! The one rule of reuse (E22): an instance takes over an earlier result iff it is not forced to run, and its type, version and
//! config and the digests of what comes into it are those of that result. It is decided when the instance becomes ready.
//!
//! Of a container first the whole is looked for; if that is not the same, its items open, and what is in them is looked for by
//! key, at the same index first. A turn of a loop takes only what the same turn gave: after a turn that is forced to run, the
//! later ones run, too.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::corrupt::Corrupt;
use super::lineage::{Forced, Lineage, Offer};
use super::scope::{Given, ROOT};
use super::{NodePhase, Run, Slot};
use crate::fault::{Fault, is_planted};
use crate::graph::{Graph, Hasher, ScopeKind};
use crate::id::{EventSeq, Instance, NodeIx, PortIx, ScopeIx};
use crate::node_type::{Control, Runner};
use crate::run::event::{Decision, OutputValue, Piece, PortOutput};
use crate::value::{Digest, ValueRef};

/// What was offered and is not taken yet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Offers {
    /// Events with offers that are still to come: nothing is decided before.
    awaited: u32,
    /// The number of the next offer.
    next: u32,
    offers: BTreeMap<u32, Offer>,
    by_node: BTreeMap<NodeIx, BTreeSet<u32>>,
    by_key: BTreeMap<(NodeIx, Digest), BTreeSet<u32>>,
}

impl Offers {
    pub(super) fn awaiting(events: u32) -> Self {
        Self { awaited: events, ..Self::default() }
    }

    fn add(&mut self, offer: Offer) {
        let number = self.next;
        self.next = self.next.saturating_add(1);
        self.by_node.entry(offer.node).or_default().insert(number);
        self.by_key.entry((offer.node, offer.key)).or_default().insert(number);
        self.offers.insert(number, offer);
    }

    fn remove(&mut self, number: u32) -> Option<Offer> {
        let offer = self.offers.remove(&number)?;
        let key = (offer.node, offer.key);
        let empty = |numbers: &mut BTreeSet<u32>| {
            numbers.remove(&number);
            numbers.is_empty()
        };
        if self.by_node.get_mut(&offer.node).is_some_and(empty) {
            self.by_node.remove(&offer.node);
        }
        if self.by_key.get_mut(&key).is_some_and(empty) {
            self.by_key.remove(&key);
        }
        Some(offer)
    }

    /// The offer for an instance at an index: at its own index, else the first one that was in the same turns.
    fn find(&self, node: NodeIx, key: Option<Digest>, index: &[u32], turns: &[bool]) -> Option<(u32, &Offer)> {
        let numbers = match key {
            Some(key) => self.by_key.get(&(node, key))?,
            None => self.by_node.get(&node)?,
        };
        let offers = || numbers.iter().filter_map(|number| Some((*number, self.offers.get(number)?)));
        let same_turns = |offer: &Offer| {
            let places = offer.index.iter().zip(index).zip(turns);
            offer.index.len() == index.len() && places.into_iter().all(|((was, is), is_turn)| !is_turn || was == is)
        };
        offers().find(|(_, offer)| offer.index == index).or_else(|| offers().find(|(_, offer)| same_turns(offer)))
    }
}

impl Graph {
    /// Whether earlier results of a node are worth keeping: others are decided afresh, which costs nothing and gives the same. What
    /// a person has decided, or what has come from outside, is kept: nobody is asked twice about the same.
    pub fn is_reusable(&self, ix: NodeIx) -> bool {
        match self.node(ix).runner {
            Runner::Agent | Runner::Unavailable => true,
            Runner::Control(control) => {
                control.is_container() || {
                    use Control::{Invoke, Review, Signal, SplitTest, Wait, Webhook};
                    matches!(control, Wait | SplitTest | Review | Signal | Webhook | Invoke)
                }
            }
        }
    }

    /// What an output gives, wherever it lies: what is equal has the same digest in all runs. `None` if it is closed.
    pub fn content(&self, ix: NodeIx, port: PortIx, value: &OutputValue) -> Option<Digest> {
        content(&self.declared(ix, port, value))
    }

    /// The same for a value in the place of what the output gave before, of which only the digest is known.
    pub fn content_of(&self, ix: NodeIx, port: PortIx, digest: Digest, before: Option<&OutputValue>) -> Digest {
        let reference = ValueRef { seq: EventSeq(0), place: 0, bytes: 0, digest, is_array: false };
        self.content(ix, port, &OutputValue::in_place_of(reference, before)).unwrap_or(digest)
    }

    /// For each container around a node, the outermost first, whether its items are turns, of which each goes on from the one before.
    pub(crate) fn turns_around(&self, ix: NodeIx) -> Vec<bool> {
        let around = std::iter::successors(self.within(ix), |ix| self.within(*ix));
        let is_turn = |container| {
            matches!(self.scope(container).map(|scope| &scope.kind), Some(ScopeKind::Loop { .. } | ScopeKind::Reduce))
        };
        let mut turns: Vec<bool> = around.map(is_turn).collect();
        turns.reverse();
        turns
    }
}

impl Lineage {
    /// Whether an instance runs whatever was offered: it is forced itself, it is a container around what is forced, or it lies in
    /// a later turn than what is forced.
    pub(crate) fn forces(&self, graph: &Graph, node: NodeIx, index: &[u32]) -> bool {
        if is_planted(Fault::ForcedReused) {
            return false;
        }
        if self.names(node, index) {
            return true;
        }
        let inside = if graph.scope(node).is_some() { graph.all_inside(node) } else { Vec::new() };
        if inside.iter().any(|inside| self.names(*inside, index) || self.names_within(*inside, index)) {
            return true;
        }
        let is_turn = graph.turns_around(node).contains(&true);
        is_turn && self.forced.iter().any(|forced| is_later(graph, forced, node, index))
    }

    /// Whether an instance, or all of a node in what is around it, was named. What is forced is in order.
    fn names(&self, node: NodeIx, index: &[u32]) -> bool {
        let is_named = |index: &[u32]| {
            self.forced.binary_search_by(|forced| (forced.node, &forced.index[..]).cmp(&(node, index))).is_ok()
        };
        (0..=index.len()).any(|length| is_named(&index[..length]))
    }

    /// Whether an instance of a node was named that lies in an item of this index.
    fn names_within(&self, node: NodeIx, index: &[u32]) -> bool {
        let first = self.forced.partition_point(|forced| (forced.node, &forced.index[..]) < (node, index));
        self.forced.get(first).is_some_and(|forced| forced.node == node && forced.index.starts_with(index))
    }
}

/// Whether an instance lies in a later turn of a loop than one that was named with its turn.
fn is_later(graph: &Graph, forced: &Forced, node: NodeIx, index: &[u32]) -> bool {
    if forced.index.is_empty() || index.is_empty() {
        return false;
    }
    let shared = match graph.is_inside(node, forced.node) {
        // Of a container the numbers name its own item.
        true => graph.depth(forced.node) + 1,
        false => graph.shared_depth(forced.node, node),
    };
    let turns = graph.turns_around(node);
    let places = forced.index.iter().zip(index).zip(turns).take(shared);
    for ((was, is), is_turn) in places {
        if was != is {
            return is_turn && is > was;
        }
    }
    false
}

/// What a value is, wherever it lies: what is equal has the same digest in all runs. `None` if it is closed.
pub(super) fn content(value: &OutputValue) -> Option<Digest> {
    let mut hasher = Hasher::default();
    match value {
        OutputValue::Closed => return None,
        OutputValue::One(reference) => {
            hasher.number(1).digest(Some(reference.digest));
        }
        OutputValue::List(reference) => {
            hasher.number(4).digest(Some(reference.digest));
        }
        OutputValue::Gather(references) => {
            hasher.number(2).number(references.len());
            for reference in references {
                hasher.digest(Some(reference.digest));
            }
        }
        OutputValue::Pieces(pieces) => {
            hasher.number(3).number(pieces.len());
            for piece in pieces {
                // The digest of a chunk is that of what its items are.
                let kind = match piece {
                    Piece::Item(_) => 0,
                    Piece::Chunk(_) => 1,
                    Piece::List(_) => 2,
                };
                hasher
                    .number(kind)
                    .number(piece.items().unwrap_or_default() as usize)
                    .digest(Some(piece.reference().digest));
            }
        }
    }
    Some(hasher.done())
}

impl Run {
    /// What it takes over from earlier runs.
    pub fn lineage(&self) -> Option<&Lineage> {
        self.state.origin.lineage.as_deref()
    }

    /// The key of an instance whose inputs are settled.
    pub fn key_of(&self, instance: Instance) -> Digest {
        self.graph.key(instance.node, &|node, port| self.content_at(instance.scope, node, port))
    }

    /// By their names, what came into an instance whose inputs are settled.
    pub fn inputs_of(&self, instance: Instance) -> Vec<(String, Digest)> {
        self.graph.inputs_seen(instance.node, &|node, port| self.content_at(instance.scope, node, port))
    }

    fn content_at(&self, scope: ScopeIx, node: NodeIx, port: PortIx) -> Option<Digest> {
        if is_planted(Fault::KeyWithoutInput) && port == PortIx(0) {
            return None;
        }
        match self.outputs_at(scope, node)? {
            Given::Node(outputs) => outputs.iter().find(|output| output.port == port).and_then(|it| content(&it.value)),
            Given::Item(given) => given.get(usize::from(port.0)).and_then(content),
        }
    }

    /// Folds offers; after the last of them the run begins.
    pub(super) fn offered(&mut self, offers: &[Offer]) -> Result<(), Corrupt> {
        let seq = self.state.seq;
        let held = self.state.offers.as_mut().filter(|held| held.awaited > 0).ok_or(Corrupt::WrongSide { seq })?;
        held.awaited -= 1;
        for offer in offers {
            self.graph.get(offer.node).ok_or(Corrupt::UnknownNode { seq, node: offer.node })?;
            held.add(offer.clone());
        }
        if held.awaited == 0 { self.begin_nodes() } else { Ok(()) }
    }

    /// What needs no other node is due or ready; so is what gives an earlier result whatever comes into it.
    pub(super) fn begin_nodes(&mut self) -> Result<(), Corrupt> {
        if self.state.offers.as_ref().is_some_and(|offers| offers.awaited > 0) {
            return Ok(());
        }
        for ix in (0..self.graph.len() as u32).map(NodeIx) {
            let Slot { phase, unsettled, .. } = self.state.nodes[ix.0 as usize];
            if phase == NodePhase::Pending && self.is_trusted(ix) {
                self.enter(Instance::root(ix), NodePhase::Due)?;
                self.state.due.push_back(Instance::root(ix));
            } else if phase == NodePhase::Pending && unsettled == 0 {
                self.make_ready(Instance::root(ix))?;
            }
        }
        Ok(())
    }

    fn is_trusted(&self, node: NodeIx) -> bool {
        let trusted = self.lineage().is_some_and(|lineage| lineage.trusted.binary_search(&node).is_ok());
        trusted
            && !is_planted(Fault::EditIgnored)
            && self.state.offers.as_ref().is_some_and(|offers| offers.by_node.contains_key(&node))
    }

    /// Whether an instance may take over an earlier result, so that this has to be decided before an agent gets it.
    pub(super) fn may_reuse(&self, instance: Instance) -> bool {
        let Some(offers) = &self.state.offers else { return false };
        offers.by_node.contains_key(&instance.node) && !self.is_forced(instance)
    }

    pub(super) fn is_forced(&self, instance: Instance) -> bool {
        let index = if instance.scope == ROOT { Vec::new() } else { self.path(instance.scope) };
        self.lineage().is_some_and(|lineage| lineage.forces(&self.graph, instance.node, &index))
    }

    /// What an instance takes over, if it is that which has to be decided for it; nothing if none of the offers fits.
    pub(super) fn reuse(&self, instance: Instance) -> Option<Decision> {
        let offers = self.state.offers.as_ref()?;
        if !offers.by_node.contains_key(&instance.node) || self.state.expansions.contains_key(&instance) {
            return None;
        }
        let is_trusted = instance.scope == ROOT && self.is_trusted(instance.node);
        if !is_trusted && self.is_forced(instance) {
            return None;
        }
        let index = self.path(instance.scope);
        let key = (!is_trusted).then(|| self.key_of(instance));
        let (offer, found) = offers.find(instance.node, key, &index, &self.graph.turns_around(instance.node))?;
        Some(Decision::Reused { instance, offer: Some(offer), source: found.source, outputs: found.outputs.clone() })
    }

    /// Folds a result that is taken over. What was offered for the body of a container stays: where another item has the same in it,
    /// that was planned to be taken over, too, whichever of the two comes first.
    pub(super) fn reused(
        &mut self,
        instance: Instance,
        offer: Option<u32>,
        outputs: &[PortOutput],
    ) -> Result<(), Corrupt> {
        let seq = self.state.seq;
        let Some(offer) = offer else { return self.recalled(instance, outputs) };
        let offers = self.state.offers.as_mut().ok_or(Corrupt::WrongSide { seq })?;
        offers.remove(offer).filter(|it| it.node == instance.node).ok_or(Corrupt::WrongSide { seq })?;
        if self.state.expansions.contains_key(&instance) {
            return Err(Corrupt::WrongItems { seq, instance });
        }
        self.give(instance, NodePhase::Cached, None, outputs)
    }
}
