//! What a run's history says: what its nodes gave, and what is left to chance.

use std::collections::BTreeMap;

use heddle_core::id::{Instance, ScopeIx};
use heddle_core::run::Run;
use heddle_core::run::event::{Decision, Event, Fact, OutputValue, PortOutput};
use heddle_core::value::ValueRef;
use serde_json::Value as Json;

use super::super::work;
use super::{At, Outside, Path};

/// A history, read.
#[derive(Debug, Default)]
pub(super) struct History {
    /// What came out of nodes, by port.
    pub(super) outputs: BTreeMap<At, BTreeMap<String, Json>>,
    /// Nodes that failed because of what they were given, with the code.
    pub(super) refused: BTreeMap<At, String>,
    pub(super) outside: Outside,
    /// Where items and turns lie: their container, and their number in it.
    scopes: BTreeMap<ScopeIx, (Instance, u32)>,
}

/// A run's events, and how its nodes and ports are called.
struct Reader<'a> {
    run: &'a Run,
    events: &'a [Event],
}

impl History {
    pub(super) fn read(run: &Run, events: &[Event]) -> Self {
        let reader = Reader { run, events };
        let mut history = Self::default();
        for event in events {
            history.fact(&reader, &event.fact);
            event.decisions.iter().for_each(|decision| history.decision(&reader, decision));
        }
        history
    }

    fn fact(&mut self, reader: &Reader<'_>, fact: &Fact) {
        match fact {
            Fact::Succeeded { attempt, outputs, .. } => self.gave(reader, attempt.instance, outputs),
            Fact::TimerFired { instance, outputs } => self.gave(reader, *instance, outputs),
            Fact::Failed { attempt, error, retry_at: None, .. } => {
                let at = self.at(reader, attempt.instance);
                match &*error.code == work::REFUSED {
                    true => self.refused.insert(at, error.code.to_string()),
                    false => self.outside.failed.insert(at, error.code.to_string()),
                };
            }
            Fact::Lost { attempt, failure: Some(error), .. } => {
                let at = self.at(reader, attempt.instance);
                self.outside.failed.insert(at, error.code.to_string());
            }
            _ => {}
        }
    }

    fn decision(&mut self, reader: &Reader<'_>, decision: &Decision) {
        match decision {
            Decision::Completed { instance, outputs } => self.gave(reader, *instance, outputs),
            Decision::Stopped { instance, .. } => {
                let at = self.at(reader, *instance);
                self.outside.stopped.insert(at.clone());
                self.outputs.insert(at, BTreeMap::new());
            }
            Decision::Failed { instance, error } => {
                let at = self.at(reader, *instance);
                self.refused.insert(at, error.code.to_string());
            }
            Decision::Waiting { .. } => {}
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
            _ => {}
        }
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

impl Reader<'_> {
    fn kind(&self, instance: Instance) -> &str {
        &self.run.graph().node(instance.node).type_id
    }

    fn outputs(&self, instance: Instance, outputs: &[PortOutput]) -> BTreeMap<String, Json> {
        let node_type = self.run.graph().node(instance.node).node_type.as_ref();
        let name = |output: &PortOutput| Some(node_type?.outputs.get(usize::from(output.port.0))?.id.to_string());
        outputs.iter().filter_map(|output| Some((name(output)?, self.json(&output.value)?))).collect()
    }

    /// Nothing for a port that is closed.
    fn json(&self, value: &OutputValue) -> Option<Json> {
        match value {
            OutputValue::One(reference) => Some(self.value(reference)),
            OutputValue::Gather(references) => Some(references.iter().map(|reference| self.value(reference)).collect()),
            OutputValue::Closed => None,
        }
    }

    fn value(&self, reference: &ValueRef) -> Json {
        let event = self.events.get(reference.seq.0 as usize - 1);
        let value = event.and_then(|event| event.values.get(reference.place as usize));
        value.and_then(|value| serde_json::from_slice(value.json()).ok()).unwrap_or(Json::Null)
    }
}
