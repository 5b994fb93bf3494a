//! The world outside: it sends signals and calls hooks, early, late, twice, and sometimes with a key.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use heddle_core::graph::{Graph, ListensTo};
use heddle_core::id::{CallerId, EventSeq, Instance, RunId, Subject};
use heddle_core::partition::batch::Batch;
use heddle_core::partition::io::{Input, Reply};
use heddle_core::run::event::{Decision, Fact, RequestKey};
use heddle_core::value::{Digest, Value};
use serde_json::json;

use super::event::Event;
use super::queue::millis;
use super::random::Random;
use super::world::World;

/// The caller that stands for all of them.
pub(super) const CLIENT: usize = usize::MAX - 1;

/// What they do, and what they have said.
pub(super) struct Outsiders {
    random: Random,
    /// What was said, by who waits for the answer.
    said: BTreeMap<CallerId, Said>,
    /// The events that answers named for hooks.
    called: BTreeMap<(RunId, Instance), EventSeq>,
}

struct Said {
    run: RunId,
    body: Digest,
    hook: Option<Instance>,
}

impl Outsiders {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Random::from_seed(seed), said: BTreeMap::new(), called: BTreeMap::new() }
    }
}

/// The names of the signals that a graph's nodes wait for.
fn names(graph: &Graph) -> BTreeSet<String> {
    let listening = graph.nodes().filter_map(|(ix, _)| graph.listen(ix));
    let name = |to: &ListensTo| match to {
        ListensTo::Signal(name) => Some(name.to_string()),
        ListensTo::Webhook => None,
    };
    listening.filter_map(|listen| name(&listen.to)).collect()
}

impl World {
    /// What a batch makes known outside: runs that hear signals, and instances that wait.
    pub(super) fn show_listeners(&mut self, batch: &Batch, quarantined: &[RunId]) {
        if self.knobs.listen_percent == 0 {
            return;
        }
        for written in batch.runs.iter().filter(|written| !quarantined.contains(&written.run)) {
            let run = written.run;
            let graph = written.created.as_ref().and_then(|created| self.store.graphs.get(&created.graph)).cloned();
            for name in graph.iter().flat_map(|graph| names(graph)) {
                if self.outsiders.random.percent(40) {
                    let pause = millis(self.outsiders.random.between((1, 2_000)));
                    self.after(pause, Event::OutsiderSends { run, name });
                }
            }
            for decision in written.events.iter().flat_map(|event| &event.decisions) {
                let Decision::Listening { instance, .. } = decision else { continue };
                let pause = millis(self.outsiders.random.between((1, 3_000)));
                self.after(pause, Event::OutsiderActs { run, instance: *instance });
            }
        }
    }

    /// A signal, whether anybody waits for it or not.
    pub(super) fn outsider_sends(&mut self, run: RunId, name: &str) {
        self.tell_run(run, Err(name));
    }

    /// Somebody acts as long as an instance waits; now and then somebody comes too late.
    pub(super) fn outsider_acts(&mut self, run: RunId, instance: Instance) {
        let waits = self.check.listens(run, instance);
        let is_late = !waits && self.outsiders.random.percent(20);
        let Some(graph) = self.store.runs.get(&run).and_then(|row| self.store.graphs.get(&row.created.graph)).cloned()
        else {
            return;
        };
        if !waits && !is_late {
            return;
        }
        match graph.listen(instance.node).map(|listen| &listen.to) {
            Some(ListensTo::Signal(name)) => self.tell_run(run, Err(name)),
            Some(ListensTo::Webhook) => self.tell_run(run, Ok(instance)),
            None => {}
        }
        if waits {
            let pause = millis(self.outsiders.random.between((200, 3_000)));
            self.after(pause, Event::OutsiderActs { run, instance });
        }
    }

    /// Says something to a run: a call of an instance's hook, or a signal of a name. Who has a key may say it twice.
    fn tell_run(&mut self, run: RunId, to: Result<Instance, &str>) {
        let number = self.next_serial();
        let random = &mut self.outsiders.random;
        let body = json!({"n": random.below(60), "said": number});
        let body = Value::from_json(Bytes::from(body.to_string()));
        let digest = body.digest();
        let key = random.percent(40).then(|| RequestKey { key: Digest::of(&number.to_be_bytes()), body: digest });
        let times = if key.is_some() { random.between((1, 2)) } else { 1 };
        for _ in 0..times {
            let (caller, tenant) = (CallerId(self.next_serial()), self.store.tenant_of(run));
            let body = body.clone();
            let input = match to {
                Ok(instance) => Input::Call { caller, run, tenant, instance, body, key },
                Err(name) => {
                    let by = Subject::from("somebody");
                    Input::Signal { caller, run, tenant, name: name.into(), by, body, key }
                }
            };
            self.outsiders.said.insert(caller, Said { run, body: digest, hook: to.ok() });
            let most = if times == 1 { self.knobs.link_ms } else { (0, 500) };
            let (partition, pause) = (self.partition_of(run), millis(self.outsiders.random.between(most)));
            self.after(pause, Event::Request { client: CLIENT, partition, input: Box::new(input) });
        }
    }

    /// What counts is in the history, as it was said; a hook is called once.
    pub(super) fn outsider_hears(&mut self, caller: CallerId, reply: &Reply) {
        let Some(said) = self.outsiders.said.remove(&caller) else { return };
        let Reply::Heard { seq, .. } = reply else { return };
        if self.check.is_quarantined(said.run) {
            return;
        }
        let event = self.store.runs.get(&said.run).and_then(|row| row.events.get(seq.0 as usize - 1));
        let is_there = event.is_some_and(|event| {
            let is_heard = matches!(event.fact, Fact::Signalled(_) | Fact::Called(_));
            is_heard && event.values.first().is_some_and(|value| value.digest() == said.body)
        });
        self.check.expect(is_there, "H1", || format!("{}: event {seq} is not what was said", said.run));
        if let Some(instance) = said.hook {
            let first = *self.outsiders.called.entry((said.run, instance)).or_insert(*seq);
            self.check.expect(first == *seq, "H4", || {
                format!("{}: the hook of node {} was called with events {first} and {seq}", said.run, instance.node)
            });
        }
    }
}
