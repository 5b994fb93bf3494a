//! What a run's history says: what its nodes gave, and what is left to chance.

use std::collections::BTreeMap;

use heddle_core::id::{Instance, NodeIx, ProviderIx, ReviewIx, RunId, ScopeIx};
use heddle_core::policy::ReviewWhen;
use heddle_core::run::event::{
    ChildEnded, ChildOutcome, Decision, Fact, PortOutput, ReviewKind, ReviewOutcome, ReviewVerdict, Reviewed,
};
use heddle_core::run::lineage::{Offer, Source};
use heddle_core::run::{NodePhase, Run};
use serde_json::Value as Json;

use super::super::children::results;
use super::super::stored::Stored;
use super::super::work;
use super::interpreter::given;
use super::{At, Child, Outside, Path};

/// A history, read.
#[derive(Debug, Default)]
pub(super) struct History {
    /// What came out of nodes, by port.
    pub(super) outputs: BTreeMap<At, BTreeMap<String, Json>>,
    pub(super) outside: Outside,
    /// In which order nodes gave what they gave.
    pub(super) order: BTreeMap<At, usize>,
    /// Where items and turns lie: their container, and their number in it.
    scopes: BTreeMap<ScopeIx, (Instance, u32)>,
    /// What was offered, in order.
    offers: Vec<Offer>,
    /// The run that this one goes on from.
    parent: Option<Box<History>>,
    /// What reviews look at.
    kinds: BTreeMap<ReviewIx, ReviewKind>,
    /// Who does the work of nodes.
    providers: BTreeMap<Instance, ProviderIx>,
}

/// Another run, as it is kept.
pub(in super::super) type Others<'a> = &'a dyn Fn(RunId) -> Option<(&'a Run, Stored<'a>)>;

/// A run's events, and how its nodes and ports are called.
struct Reader<'a> {
    run: &'a Run,
    stored: Stored<'a>,
    others: Others<'a>,
}

impl History {
    pub(super) fn read<'a>(run: &'a Run, stored: Stored<'a>, others: Others<'a>) -> Self {
        let reader = Reader { run, stored, others };
        let parent = run.lineage().and_then(|lineage| lineage.parent).and_then(others);
        let parent = parent.map(|(run, stored)| Box::new(Self::read(run, stored, others)));
        let mut history = Self { parent, ..Self::default() };
        let above = |run: &Run| run.invoked_by().and_then(|by| others(by.run)).map(|(run, _)| run);
        history.outside.depth = std::iter::successors(above(run), |run| above(run)).count() as u32;
        history.outside.inputs = inputs_of(run, stored);
        for event in stored.events {
            history.fact(&reader, &event.fact);
            event.decisions.iter().for_each(|decision| history.decision(&reader, decision));
            let given = event.assignments.iter().map(|assignment| (assignment.attempt.instance, assignment.provider));
            history.providers.extend(given);
        }
        history
    }

    fn fact(&mut self, reader: &Reader<'_>, fact: &Fact) {
        match fact {
            Fact::Succeeded { attempt, outputs, .. } => {
                self.provided(reader, attempt.instance);
                if reader.run.graph().node(attempt.instance.node).policy.review != Some(ReviewWhen::After) {
                    self.gave(reader, attempt.instance, outputs);
                }
            }
            // What came after the end of the run is no part of it, but others may go on from it.
            Fact::Settled { attempt, .. } => self.provided(reader, attempt.instance),
            Fact::TimerFired { instance, outputs } => self.gave(reader, *instance, outputs),
            Fact::Offered { offers } => {
                for offer in offers.iter().filter(|offer| offer.source == Source::Edit) {
                    let at = (reader.run.graph().node(offer.node).id.to_string(), Path::new());
                    let outputs = reader.outputs(Instance::root(offer.node), &offer.outputs).into_iter();
                    let outputs = outputs.map(|(port, value)| {
                        let value = given(&port, value);
                        (port, value)
                    });
                    self.outside.edited.insert(at, outputs.collect());
                }
                self.offers.extend(offers.iter().cloned());
            }
            Fact::Failed { attempt, error, retry_at: None, fallback: None, caught, asks: false, .. } => {
                self.provided(reader, attempt.instance);
                self.caught(reader, attempt.instance, caught);
                let at = self.at(reader, attempt.instance);
                // An agent that looks for the engine may find that a condition cannot be answered.
                let is_looked_at =
                    !work::TYPES.contains(&reader.kind(attempt.instance)) && &*error.code == "condition_failed";
                match &*error.code == work::REFUSED || is_looked_at {
                    true => self.outside.refused.insert(at, error.code.to_string()),
                    false => self.failed(attempt.instance, at, &error.code),
                };
            }
            Fact::Lost { attempt, failure: Some(error), caught, asks: false, .. } => {
                self.caught(reader, attempt.instance, caught);
                let at = self.at(reader, attempt.instance);
                self.failed(attempt.instance, at, &error.code);
            }
            Fact::Reviewed(it) => self.reviewed(reader, it),
            Fact::Signalled(it) => it.to.into_iter().for_each(|to| self.gave(reader, to, &it.outputs)),
            Fact::Called(it) => self.gave(reader, it.instance, &it.outputs),
            Fact::ChildEnded(it) => self.child_ended(reader, it),
            _ => {}
        }
    }

    /// A child is over: what it has given is in its own history.
    fn child_ended(&mut self, reader: &Reader<'_>, it: &ChildEnded) {
        let at = self.at(reader, it.instance);
        match &it.outcome {
            ChildOutcome::Gave(outputs) => {
                if let Some((run, stored)) = (reader.others)(it.child) {
                    let id = it.child.to_string();
                    let (inputs, outputs) = (inputs_of(run, stored), results(run, stored));
                    self.outside.children.insert(at, Child { id, inputs, outputs });
                }
                self.gave(reader, it.instance, outputs);
            }
            ChildOutcome::Failed { error, caught } => {
                self.caught(reader, it.instance, caught);
                self.failed(it.instance, at, &error.code);
            }
        }
    }

    /// People have decided.
    fn reviewed(&mut self, reader: &Reader<'_>, it: &Reviewed) {
        let at = self.at(reader, it.instance);
        let kind = self.kinds.get(&it.review).copied();
        let edits: BTreeMap<String, Json> = match kind {
            Some(ReviewKind::Value) => {
                let values = it.edit.iter().filter_map(|edit| reader.stored.output(&edit.value));
                values.map(|value| ("approved".to_owned(), value)).collect()
            }
            Some(ReviewKind::Before) => {
                // Kept whatever becomes of the node: made again, it gets the same.
                self.outside.put_in.entry(at.clone()).or_default().extend(reader.inputs(it.instance, &it.edit));
                BTreeMap::new()
            }
            _ => reader.outputs(it.instance, &it.edit),
        };
        self.outside.changed.entry(at.clone()).or_default().extend(edits);
        match &it.outcome {
            ReviewOutcome::Open { .. } | ReviewOutcome::Begins => {}
            ReviewOutcome::Gave(outputs) => {
                match kind {
                    Some(ReviewKind::Value) => {
                        self.outside.reviewed.insert(at, it.verdict == ReviewVerdict::Approve);
                    }
                    Some(ReviewKind::Outcome) => {
                        self.outside.told.insert(at, reader.outputs(it.instance, &it.edit));
                    }
                    _ => {}
                }
                self.gave(reader, it.instance, outputs);
            }
            ReviewOutcome::Failed { error, caught } => {
                self.caught(reader, it.instance, caught);
                self.failed(it.instance, at, &error.code);
            }
            ReviewOutcome::Again { instance } => {
                let again = self.at(reader, *instance);
                self.outside.changed.remove(&again);
                self.outside.changed.remove(&at);
                self.outside.fallbacks.remove(&again);
                self.outside.told.remove(&again);
                self.outputs.remove(&again);
                self.order.remove(&again);
            }
        }
    }

    /// An agent has failed, or nobody could do the work. It may have been to look at a turn, which has run then.
    fn failed(&mut self, instance: Instance, at: At, code: &str) -> Option<String> {
        let turns =
            self.scopes.values().filter(|(container, _)| *container == instance).map(|(_, turn)| *turn as usize);
        if let Some(turn) = turns.max() {
            self.outside.unseen.insert(at.clone(), turn);
        }
        self.outside.failed.insert(at, code.to_owned())
    }

    fn decision(&mut self, reader: &Reader<'_>, decision: &Decision) {
        match decision {
            Decision::Completed { instance, outputs } | Decision::Took { instance, outputs, .. } => {
                self.gave(reader, *instance, outputs);
            }
            Decision::Listening { instance, outputs, .. } => {
                let at = self.at(reader, *instance);
                self.outside.early.insert(at, reader.outputs(*instance, outputs));
            }
            Decision::Reused { instance, offer: Some(offer), outputs, .. } => {
                self.reused(reader, (*instance, *offer), outputs);
            }
            Decision::Reused { instance, offer: None, outputs, .. } => self.gave(reader, *instance, outputs),
            Decision::Stopped { instance, .. } => {
                let at = self.at(reader, *instance);
                self.outside.stopped.insert(at.clone());
                self.outputs.insert(at, BTreeMap::new());
            }
            Decision::Failed { instance, error, caught } => {
                self.caught(reader, *instance, caught);
                let at = self.at(reader, *instance);
                self.outside.refused.insert(at, error.code.to_string());
            }
            Decision::Opened { instance, opened } => {
                let scopes = (opened.scope.0..).zip(opened.index..).take(opened.items.len());
                self.scopes.extend(scopes.map(|(scope, index)| (ScopeIx(scope), (*instance, index))));
            }
            Decision::Asked { asked, .. } => drop(self.kinds.insert(asked.review, asked.kind)),
            Decision::Waiting { .. }
            | Decision::Invoked { .. }
            | Decision::Gathered { .. }
            | Decision::Delegated { .. }
            | Decision::Afresh { .. } => {}
        }
    }

    /// An instance takes over what another run gave: with that all that only chance has decided there, and all that is inside.
    fn reused(&mut self, reader: &Reader<'_>, (instance, offer): (Instance, u32), outputs: &[PortOutput]) {
        self.gave(reader, instance, outputs);
        let at = self.at(reader, instance);
        let Some(offer) = self.offers.get(offer as usize).filter(|offer| offer.source != Source::Edit) else { return };
        let graph = reader.run.graph();
        // A run of a part of a body takes over what all of it gave.
        let is_left_out = |ix: NodeIx| reader.run.phase_of(ix) == NodePhase::Excluded;
        if graph.nodes().any(|(ix, _)| graph.is_inside(ix, instance.node) && is_left_out(ix)) {
            let outputs = reader.outputs(instance, outputs).into_iter();
            let outputs = outputs.map(|(port, value)| (port.clone(), given(&port, value)));
            self.outside.edited.insert(at, outputs.collect());
            return;
        }
        let Some(parent) = self.parent.take() else { return };
        let moved = |(id, path): &At| -> Option<At> {
            let is_inside = graph.find(id).is_some_and(|node| graph.is_inside(node, instance.node));
            let is_its = *id == at.0 && *path == offer.index;
            let rest = path.strip_prefix(&offer.index[..]).filter(|_| is_its || is_inside)?;
            Some((id.clone(), [&at.1[..], rest].concat()))
        };
        fn take<T: Clone>(mine: &mut BTreeMap<At, T>, other: &BTreeMap<At, T>, moved: &dyn Fn(&At) -> Option<At>) {
            for (at, value) in other {
                if let Some(at) = moved(at) {
                    mine.entry(at).or_insert_with(|| value.clone());
                }
            }
        }
        take(&mut self.outputs, &parent.outputs, &moved);
        take(&mut self.outside.refused, &parent.outside.refused, &moved);
        take(&mut self.outside.failed, &parent.outside.failed, &moved);
        take(&mut self.outside.edited, &parent.outside.edited, &moved);
        take(&mut self.outside.changed, &parent.outside.changed, &moved);
        take(&mut self.outside.reviewed, &parent.outside.reviewed, &moved);
        take(&mut self.outside.put_in, &parent.outside.put_in, &moved);
        take(&mut self.outside.told, &parent.outside.told, &moved);
        take(&mut self.outside.heard, &parent.outside.heard, &moved);
        take(&mut self.outside.early, &parent.outside.early, &moved);
        take(&mut self.outside.split, &parent.outside.split, &moved);
        take(&mut self.outside.winner, &parent.outside.winner, &moved);
        take(&mut self.outside.brought, &parent.outside.brought, &moved);
        take(&mut self.outside.fallbacks, &parent.outside.fallbacks, &moved);
        take(&mut self.outside.children, &parent.outside.children, &moved);
        take(&mut self.outside.unseen, &parent.outside.unseen, &moved);
        self.parent = Some(parent);
    }

    /// Notes who had the last word on an instance.
    fn provided(&mut self, reader: &Reader<'_>, instance: Instance) {
        if let Some(ProviderIx(provider @ 1..)) = self.providers.get(&instance) {
            let at = self.at(reader, instance);
            self.outside.fallbacks.insert(at, usize::from(*provider) - 1);
        }
    }

    /// An instance has failed, and gives what was wrong, if its policy says so.
    fn caught(&mut self, reader: &Reader<'_>, instance: Instance, outputs: &[PortOutput]) {
        if !outputs.is_empty() {
            self.gave(reader, instance, outputs);
        }
    }

    /// An instance has its outputs.
    fn gave(&mut self, reader: &Reader<'_>, instance: Instance, outputs: &[PortOutput]) {
        let at = self.at(reader, instance);
        let outputs = reader.outputs(instance, outputs);
        match reader.kind(instance) {
            "logic:split_test" => {
                let taken = outputs.keys().next().cloned();
                taken.map(|port| self.outside.split.insert(at.clone(), port));
            }
            "logic:race" => {
                if let (Some(Json::String(winner)), Some(value)) = (outputs.get("winner"), outputs.get("value")) {
                    self.outside.winner.insert(at.clone(), winner.clone());
                    self.outside.brought.insert(at.clone(), value.clone());
                }
            }
            "logic:signal" | "logic:wait_webhook" => drop(self.outside.heard.insert(at.clone(), outputs.clone())),
            _ => {}
        }
        self.order.insert(at.clone(), self.order.len());
        self.outputs.insert(at, outputs);
    }

    fn at(&self, reader: &Reader<'_>, instance: Instance) -> At {
        (reader.run.graph().node(instance.node).id.to_string(), self.path(instance.scope))
    }

    fn path(&self, scope: ScopeIx) -> Path {
        let Some((container, index)) = self.scopes.get(&scope) else { return Path::new() };
        let mut path = self.path(container.scope);
        path.push(*index);
        path
    }
}

/// What came in for a run's input nodes.
fn inputs_of(run: &Run, stored: Stored<'_>) -> BTreeMap<String, Json> {
    let named = |(node, value): &(NodeIx, _)| (run.graph().node(*node).id.to_string(), stored.json(value));
    run.given_inputs().iter().map(named).collect()
}

impl Reader<'_> {
    fn kind(&self, instance: Instance) -> &str {
        &self.run.graph().node(instance.node).type_id
    }

    fn outputs(&self, instance: Instance, outputs: &[PortOutput]) -> BTreeMap<String, Json> {
        let node_type = self.run.graph().node(instance.node).node_type.as_ref();
        let name = |output: &PortOutput| Some(node_type?.outputs.get(usize::from(output.port.0))?.id.to_string());
        outputs.iter().filter_map(|output| Some((name(output)?, self.stored.output(&output.value)?))).collect()
    }

    fn inputs(&self, instance: Instance, inputs: &[PortOutput]) -> BTreeMap<String, Json> {
        let node_type = self.run.graph().node(instance.node).node_type.as_ref();
        let name = |input: &PortOutput| Some(node_type?.inputs.get(usize::from(input.port.0))?.id.to_string());
        inputs.iter().filter_map(|input| Some((name(input)?, self.stored.output(&input.value)?))).collect()
    }
}
