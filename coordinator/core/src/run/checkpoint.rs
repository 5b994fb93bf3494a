//! The results of a run, found while its history is read (E22): for each instance that completed its key and what it gave, and of
//! containers how their items began. What failed and was caught is none of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::items::ItemsView;
use super::lineage::Source;
use super::reuse::content;
use super::{Corrupt, NodePhase, Run};
use crate::graph::Graph;
use crate::id::{EventSeq, Instance, NodeIx, RunId, Subject};
use crate::policy::ReviewWhen;
use crate::run::event::{ChildOutcome, Decision, ErrorClass, Event, Fact, NodeError, PortOutput, ReviewOutcome};
use crate::value::{Digest, ValueRef};

/// What an instance gave, and by what it is known again.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Of which node.
    pub node: NodeIx,
    /// The numbers of the items and turns it lies in, the outermost first.
    pub index: Vec<u32>,
    /// What the node was and what came into it.
    pub key: Digest,
    /// What came into it, by name.
    pub inputs: Vec<(String, Digest)>,
    /// The event that made it durable.
    pub seq: EventSeq,
    /// Where it comes from.
    pub source: Source,
    /// What it gave.
    pub outputs: Vec<PortOutput>,
}

/// How the items of a container began.
#[derive(Debug, Clone, PartialEq)]
pub struct Begun {
    /// What came into the container from outside, by name.
    pub inputs: Vec<(String, Digest)>,
    /// How many items there were to be, or turns at most.
    pub count: u32,
    /// For each that began, what the container's outputs into its body gave.
    pub items: BTreeMap<u32, Vec<Option<Digest>>>,
}

/// All results of a run.
#[derive(Debug, Clone, Default)]
pub struct Checkpoints {
    /// In the order in which they became durable.
    pub results: Vec<Checkpoint>,
    /// Of containers, by node and index.
    pub begun: BTreeMap<(NodeIx, Vec<u32>), Begun>,
    /// Instances that failed for good.
    pub failed: Vec<(NodeIx, Vec<u32>)>,
    /// Instances that began to act on the world, and of which nobody knows what became.
    pub unknown: BTreeSet<(NodeIx, Vec<u32>)>,
    /// Instances whose result is none, since people had changed what it was made of.
    pub changed: BTreeMap<(NodeIx, Vec<u32>), Changed>,
}

/// What people had changed at a review when a result was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// The node's config.
    Config,
    /// What came into it.
    Inputs,
}

/// A run as it is read, with its results so far.
#[derive(Debug)]
pub struct Gatherer {
    items: ItemsView,
    found: Checkpoints,
    /// What people have changed, of which instances.
    changed: BTreeMap<(NodeIx, Vec<u32>), Changed>,
    /// Whether only nodes outside of maps and loops count.
    is_shallow: bool,
}

impl Gatherer {
    /// Begins with a run's first event. A shallow one takes down nodes outside of maps and loops only.
    ///
    /// # Errors
    /// [`Corrupt`] if the history does not begin with this event.
    pub fn begin(id: RunId, graph: Arc<Graph>, first: &Event, is_shallow: bool) -> Result<Self, Corrupt> {
        let items = ItemsView::begin(id, graph, first)?;
        let mut gatherer = Self { items, found: Checkpoints::default(), changed: BTreeMap::new(), is_shallow };
        gatherer.note(first);
        Ok(gatherer)
    }

    /// Reads the next event.
    ///
    /// # Errors
    /// [`Corrupt`] if it does not follow.
    pub fn step(&mut self, event: &Event) -> Result<(), Corrupt> {
        self.items.step(event)?;
        self.note(event);
        Ok(())
    }

    /// The state that it has come to.
    pub fn run(&self) -> &Run {
        self.items.run()
    }

    /// What it has found.
    pub fn finish(mut self) -> (Run, Checkpoints) {
        let run = self.items.run();
        let trusted = run.lineage().map_or(&[][..], |lineage| &lineage.trusted);
        // These had their result before anything had come into them.
        let early = self.found.results.iter_mut().filter(|it| trusted.binary_search(&it.node).is_ok());
        for result in early {
            let instance = Instance::root(result.node);
            (result.key, result.inputs) = (run.key_of(instance), run.inputs_of(instance));
        }
        (run.clone(), self.found)
    }

    fn note(&mut self, event: &Event) {
        let made = Source::Run(self.run().id());
        match &event.fact {
            // What it gives is not settled before people have looked at it.
            Fact::Succeeded { attempt, .. }
                if self.run().graph().node(attempt.instance.node).policy.review == Some(ReviewWhen::After) =>
            {
                self.known(attempt.instance);
            }
            Fact::Succeeded { attempt, outputs, .. } | Fact::Settled { attempt, outputs } => {
                self.add(attempt.instance, event.seq, made, outputs);
            }
            Fact::TimerFired { instance, outputs } => self.add(*instance, event.seq, made, outputs),
            Fact::Called(it) => self.add(it.instance, event.seq, made, &it.outputs),
            Fact::Signalled(it) => it.to.into_iter().for_each(|to| self.add(to, event.seq, made, &it.outputs)),
            Fact::IntentRecorded { attempt } => self.unknown(attempt.instance),
            Fact::Failed { attempt, error, retry_at, fallback, asks, .. } => {
                self.ended(attempt.instance, error);
                if (retry_at, fallback, asks) == (&None, &None, &false) {
                    self.fail(attempt.instance);
                }
            }
            Fact::Lost { attempt, failure: Some(error), asks, .. } => {
                self.ended(attempt.instance, error);
                if !asks {
                    self.fail(attempt.instance);
                }
            }
            Fact::ChildEnded(it) => match &it.outcome {
                ChildOutcome::Gave(outputs) => self.add(it.instance, event.seq, made, outputs),
                ChildOutcome::Failed { .. } => self.fail(it.instance),
            },
            Fact::Reviewed(it) => match &it.outcome {
                ReviewOutcome::Begins if !it.edit.is_empty() => self.change(it.instance, Changed::Inputs),
                ReviewOutcome::Gave(outputs) => self.add(it.instance, event.seq, made, outputs),
                ReviewOutcome::Failed { .. } => {
                    self.known(it.instance);
                    self.fail(it.instance);
                }
                ReviewOutcome::Again { instance } => {
                    self.known(*instance);
                    self.take_back(*instance);
                    if it.config.is_some() {
                        self.change(*instance, Changed::Config);
                    }
                }
                ReviewOutcome::Open { .. } | ReviewOutcome::Begins => {}
            },
            _ => {}
        }
        for decision in &event.decisions {
            match decision {
                Decision::Completed { instance, outputs } | Decision::Took { instance, outputs, .. } => {
                    self.add(*instance, event.seq, made, outputs);
                }
                // It stood in for what people were to decide.
                Decision::Reused { instance, source: Source::Edit | Source::Request, .. }
                    if self.run().graph().asks_people(instance.node) => {}
                Decision::Reused { instance, source, outputs, .. } => {
                    // An edit is known by the run that it was made for.
                    let source = if *source == Source::Edit { made } else { *source };
                    self.add(*instance, event.seq, source, outputs);
                }
                Decision::Failed { instance, .. } => self.fail(*instance),
                Decision::Opened { instance, opened } if !self.is_shallow => {
                    let inputs = self.run().inputs_of(*instance);
                    let place = (instance.node, self.items.path(instance.scope));
                    let begun = self.found.begun.entry(place);
                    let begun = begun.or_insert_with(|| Begun { inputs, count: opened.count, items: BTreeMap::new() });
                    for (index, given) in (opened.index..).zip(&opened.items) {
                        begun.items.insert(index, given.iter().map(content).collect());
                    }
                }
                _ => {}
            }
        }
    }

    fn fail(&mut self, instance: Instance) {
        if !self.is_shallow {
            self.found.failed.push((instance.node, self.items.path(instance.scope)));
        }
    }

    /// A person has changed what an instance is made of, for this run: the graph's would give something else.
    fn change(&mut self, instance: Instance, what: Changed) {
        let place = self.place(instance);
        self.changed.insert(place, what);
    }

    /// Whether people have changed what lies in a container, at this index.
    fn is_changed_inside(&self, container: NodeIx, index: &[u32]) -> bool {
        let graph = self.run().graph();
        self.changed.keys().any(|(node, at)| graph.is_inside(*node, container) && at.starts_with(index))
    }

    fn place(&self, instance: Instance) -> (NodeIx, Vec<u32>) {
        (instance.node, self.items.path(instance.scope))
    }

    /// It may act from now on: until more is heard of it, nobody knows whether it has.
    fn unknown(&mut self, instance: Instance) {
        if !self.is_shallow {
            let place = self.place(instance);
            self.found.unknown.insert(place);
        }
    }

    /// What became of it is known.
    fn known(&mut self, instance: Instance) {
        if !self.found.unknown.is_empty() {
            let place = self.place(instance);
            self.found.unknown.remove(&place);
        }
    }

    /// An attempt failed: most errors say that it has not done its work.
    fn ended(&mut self, instance: Instance, error: &NodeError) {
        match error.class {
            ErrorClass::UnknownOutcome => self.unknown(instance),
            _ => self.known(instance),
        }
    }

    /// What an instance gave does not count: a person had it made again.
    fn take_back(&mut self, instance: Instance) {
        let index = self.items.path(instance.scope);
        self.found.results.retain(|result| result.node != instance.node || result.index != index);
    }

    fn add(&mut self, instance: Instance, seq: EventSeq, source: Source, outputs: &[PortOutput]) {
        self.known(instance);
        let run = self.items.run();
        if self.is_shallow && run.graph().within(instance.node).is_some() {
            return;
        }
        let inside = run.graph().all_inside(instance.node);
        if inside.into_iter().any(|inside| !run.covers(inside)) {
            // Only a part of its body ran: it may have given less than it would.
            return;
        }
        let place = self.place(instance);
        if let Some(what) = self.changed.get(&place) {
            self.found.changed.insert(place, *what);
            return;
        }
        if self.is_changed_inside(instance.node, &place.1) {
            return;
        }
        let inputs = run.inputs_of(instance);
        let checkpoint = Checkpoint {
            node: instance.node,
            index: place.1,
            key: run.key_of(instance),
            inputs,
            seq,
            source,
            outputs: outputs.to_vec(),
        };
        self.found.results.push(checkpoint);
    }
}

impl Checkpoints {
    /// The same for another graph: nodes are the same that have the same id. What is not there any more is left out.
    pub fn in_graph(self, from: &Graph, to: &Graph) -> Self {
        let known: Vec<Option<NodeIx>> = (0..from.len() as u32).map(|ix| to.counterpart(from, NodeIx(ix))).collect();
        let at = |node: NodeIx| known.get(node.0 as usize).copied().flatten();
        let results = self.results.into_iter().filter_map(|it| Some(Checkpoint { node: at(it.node)?, ..it }));
        let begun = self.begun.into_iter().filter_map(|((node, index), begun)| Some(((at(node)?, index), begun)));
        let failed = self.failed.into_iter().filter_map(|(node, index)| Some((at(node)?, index)));
        let unknown = self.unknown.into_iter().filter_map(|(node, index)| Some((at(node)?, index)));
        let changed = self.changed.into_iter().filter_map(|((node, index), it)| Some(((at(node)?, index), it)));
        Self {
            results: results.collect(),
            begun: begun.collect(),
            failed: failed.collect(),
            unknown: unknown.collect(),
            changed: changed.collect(),
        }
    }
}

impl Graph {
    /// The node of this graph that is the same as one of another: it has the same id, and as much around it. A map that no document
    /// names is known by the node that it runs for.
    pub fn counterpart(&self, other: &Graph, ix: NodeIx) -> Option<NodeIx> {
        if self.digest() == other.digest() && self.len() == other.len() {
            return Some(ix);
        }
        let named = self.find(&other.node(other.named(ix)).id)?;
        let found = if other.node(ix).is_anonymous { self.within(named)? } else { named };
        let is_same = self.node(found).is_anonymous == other.node(ix).is_anonymous;
        (is_same && self.depth(found) == other.depth(ix)).then_some(found)
    }
}

impl Run {
    /// Whether a node belongs to this run.
    pub fn covers(&self, node: NodeIx) -> bool {
        self.phase_of(node) != NodePhase::Excluded
    }

    /// Who asked for it.
    pub fn subject(&self) -> &Subject {
        &self.state.origin.subject
    }

    /// The values that were given for input nodes.
    pub fn given_inputs(&self) -> &[(NodeIx, ValueRef)] {
        &self.state.origin.inputs
    }
}
