//! Results that runs share (`policy.cache`): the same key gives the same outputs, whoever asks. When an instance becomes ready
//! that may take one and nothing of its run's own lineage fits, it is looked for; what was found, or that there is none, is a
//! decision. That somebody is asking is known to the partition alone: whoever loads the run asks again.

use super::corrupt::Corrupt;
use super::{Body, NodePhase, Run};
use crate::fault::{Fault, is_planted};
use crate::graph::{Graph, Hasher};
use crate::id::{Generation, Instance, NodeIx, PortIx, ProviderIx, RunId};
use crate::limits;
use crate::node_type::Runner;
use crate::run::event::{Decision, Fact, OutputValue, PortOutput};
use crate::run::lineage::Source;
use crate::time::{Span, Timestamp};
use crate::value::{Digest, Value};

/// What a node gave in a run, for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedResult {
    /// What the node was and what came into it.
    pub key: Digest,
    /// The run that made it.
    pub run: RunId,
    /// What it gave; ports that were not taken are left out.
    pub outputs: Vec<(PortIx, Value)>,
    /// When it was made.
    pub made_at: Timestamp,
    /// From when on nobody takes it.
    pub expires_at: Timestamp,
}

impl Graph {
    /// How long results of a node are shared among runs; `None` = they are not.
    pub fn shared_for(&self, ix: NodeIx) -> Option<Span> {
        let node = self.node(ix);
        node.policy.cache.filter(|_| node.runner == Runner::Agent && node.policy.review.is_none())
    }

    /// Whether results of any of its nodes are.
    pub fn shares_results(&self) -> bool {
        self.nodes().any(|(ix, _)| self.shared_for(ix).is_some())
    }
}

impl Run {
    /// Instances for which a shared result is looked for, in order.
    pub fn recalls(&self) -> impl Iterator<Item = Instance> {
        self.state.recalls.iter().copied()
    }

    /// Whether a shared result is looked for.
    pub fn is_recalling(&self, instance: Instance) -> bool {
        self.state.recalls.contains(&instance)
    }

    /// By what results of an instance are known to all runs of its tenant. What the sandbox gave is no result for others.
    pub fn shared_key(&self, instance: Instance) -> Digest {
        let mut hasher = Hasher::default();
        hasher.number(usize::from(self.is_sandboxed()));
        hasher.digest(Some(match is_planted(Fault::SharedKeyWithoutConfig) {
            true => Digest::of(self.graph.node(instance.node).type_id.as_bytes()),
            false => self.key_of(instance),
        }));
        hasher.done()
    }

    /// Whether an instance takes a result that runs share. What is to run afresh, or what a person has had made again, does not.
    pub(super) fn may_recall(&self, instance: Instance) -> bool {
        if self.graph.shared_for(instance.node).is_none() || instance.generation != Generation(0) {
            return false;
        }
        let is_fresh = match self.lineage() {
            Some(lineage) => lineage.rerun || lineage.fresh || self.is_forced(instance),
            None => false,
        };
        let is_resumed = self.lineage().is_some_and(|lineage| lineage.parent.is_some());
        let is_target = |target| target == instance.node || self.graph.is_inside(instance.node, target);
        // Whoever names a target wants it made now; that of a resume is only where it ends.
        !is_fresh && (is_resumed || !self.target().is_some_and(is_target))
    }

    /// A shared result is looked for before an agent gets it.
    pub(super) fn ask_for_shared(&mut self, instance: Instance) -> Result<(), Corrupt> {
        self.enter(instance, NodePhase::Due)?;
        self.state.recalls.insert(instance);
        Ok(())
    }

    /// Nothing is taken over: where a shared result was looked for, an agent gets it now.
    pub(super) fn afresh(&mut self, instance: Instance) -> Result<(), Corrupt> {
        if self.state.recalls.remove(&instance) { self.queue(instance) } else { self.begin_afresh(instance) }
    }

    /// What follows from what was found. New values go into `body`.
    pub(crate) fn recall(&self, instance: Instance, found: Option<CachedResult>, body: &mut Body) -> Decision {
        let Some(found) = found else { return Decision::Afresh { instance } };
        let ports = self.graph.node(instance.node).node_type.as_ref().map_or(0, |node_type| node_type.outputs.len());
        let ports = (0..ports as u16).map(PortIx);
        let outputs = ports.map(|port| {
            let given = found.outputs.iter().find(|(at, _)| *at == port);
            let value = given.map_or(OutputValue::Closed, |(_, value)| OutputValue::One(body.put(value.clone())));
            PortOutput { port, value }
        });
        Decision::Reused { instance, offer: None, source: Source::Run(found.run), outputs: outputs.collect() }
    }

    /// Folds a shared result.
    pub(super) fn recalled(&mut self, instance: Instance, outputs: &[PortOutput]) -> Result<(), Corrupt> {
        if !self.state.recalls.remove(&instance) {
            return Err(Corrupt::WrongSide { seq: self.state.seq });
        }
        self.give(instance, NodePhase::Cached, None, outputs)
    }

    /// What a fact that is about to be folded gives to other runs. Only what the node itself has made counts: neither what another
    /// provider gave in its place, nor what a person had made with another config.
    pub(crate) fn shares(&self, fact: &Fact, values: &[Value], now: Timestamp) -> Option<(Instance, CachedResult)> {
        let Fact::Succeeded { attempt, outputs, .. } = fact else { return None };
        let instance = attempt.instance;
        let ttl = self.graph.shared_for(instance.node)?;
        let live = self.attempt(instance)?;
        if live.provider != ProviderIx::default() || live.stopping || self.changed_config(instance).is_some() {
            return None;
        }
        let mut given = Vec::with_capacity(outputs.len());
        for output in outputs {
            match &output.value {
                OutputValue::Closed => {}
                OutputValue::One(reference) | OutputValue::List(reference) => {
                    given.push((output.port, values.get(reference.place as usize)?.clone()));
                }
                OutputValue::Gather(_) | OutputValue::Pieces(_) => return None,
            }
        }
        let bytes: usize = given.iter().map(|(_, value)| value.json().len()).sum();
        (bytes <= limits::CACHED_BYTES_MAX).then(|| {
            let (key, run) = (self.shared_key(instance), self.id());
            (instance, CachedResult { key, run, outputs: given, made_at: now, expires_at: now.plus(ttl) })
        })
    }
}
