//! What must hold of signals and calls: each is got once, by who has waited for it the longest, or kept in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use heddle_core::id::{EventSeq, Instance, RunId};
use heddle_core::run::Run;
use heddle_core::run::event::{Decision, Event, Fact, RequestKey};
use heddle_core::value::Digest;
use serde_json::Value as Json;

use super::check::Checker;

/// What is durable of who listens in a run. It shares no code with the engine: names are read from the nodes' configs.
#[derive(Debug, Default)]
pub(super) struct Heard {
    waiting: BTreeMap<String, VecDeque<Instance>>,
    hooks: BTreeSet<Instance>,
    kept: BTreeMap<String, VecDeque<EventSeq>>,
    keys: BTreeSet<Digest>,
}

impl Heard {
    fn forget(&mut self, instance: Instance) {
        self.hooks.remove(&instance);
        self.waiting.values_mut().for_each(|waiting| waiting.retain(|it| *it != instance));
    }

    fn first(&self, name: &str) -> Option<Instance> {
        self.waiting.get(name)?.front().copied()
    }

    /// Whether a key has not come before.
    fn is_new(&mut self, key: Option<RequestKey>) -> bool {
        key.is_none_or(|key| self.keys.insert(key.key))
    }

    /// Takes down what a fact says; false if it does not follow.
    fn fact(&mut self, event: &Event) -> bool {
        match &event.fact {
            Fact::Signalled(it) => {
                let follows = self.first(&it.name) == it.to && self.is_new(it.key);
                match it.to {
                    Some(instance) => self.forget(instance),
                    None => self.kept.entry(it.name.to_string()).or_default().push_back(event.seq),
                }
                follows
            }
            Fact::Called(it) => self.hooks.remove(&it.instance) && self.is_new(it.key),
            Fact::TimerFired { instance, .. } => {
                self.forget(*instance);
                true
            }
            _ => true,
        }
    }

    fn decision(&mut self, run: &Run, decision: &Decision) -> bool {
        match decision {
            Decision::Listening { instance, .. } => match name(run, *instance) {
                Some(name) => {
                    self.waiting.entry(name.clone()).or_default().push_back(*instance);
                    self.kept.get(&name).is_none_or(VecDeque::is_empty)
                }
                None => self.hooks.insert(*instance),
            },
            Decision::Took { instance, signal, .. } => {
                let kept = name(run, *instance).and_then(|name| self.kept.get_mut(&name)?.pop_front());
                kept == Some(*signal)
            }
            _ => true,
        }
    }
}

/// The name of the signals that a node waits for.
fn name(run: &Run, instance: Instance) -> Option<String> {
    let config: Json = serde_json::from_slice(&run.graph().node(instance.node).config).ok()?;
    config["name"].as_str().map(str::to_owned)
}

impl Checker {
    /// Whether an instance waits for a word from outside, as far as that is durable.
    pub(super) fn listens(&self, run: RunId, instance: Instance) -> bool {
        let account = self.runs.get(&run).filter(|account| !account.is_quarantined);
        account.and_then(|account| account.fold.as_ref()).is_some_and(|fold| fold.listener(instance).is_some())
    }

    /// Holds an event that was folded against who was waiting.
    pub(super) fn signals(&mut self, run: RunId, event: &Event) {
        let Some(fold) = self.runs.get(&run).and_then(|account| account.fold.as_ref()) else { return };
        let heard = self.heard.entry(run).or_default();
        let follows = heard.fact(event);
        let wrong = event.decisions.iter().find(|decision| !heard.decision(fold, decision));
        let wrong = wrong.map(|decision| format!("{decision:?}"));
        fold.given_up().iter().for_each(|instance| heard.forget(*instance));
        self.expect(follows, "H4", || format!("{run}: event {} goes to another than has waited for it", event.seq));
        self.expect(wrong.is_none(), "H4", || format!("{run}, event {}: {wrong:?} does not follow", event.seq));
    }
}
