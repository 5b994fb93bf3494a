//! Waiting for the world (graph.md, part 9): who listens for signals and calls, what comes of those, and what is kept of signals
//! that came before anybody waited for them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::admit::check_size;
use super::control::{Deciding, PORT};
use super::corrupt::Corrupt;
use super::{Admitted, Body, NodePhase, Rejection, Run, RunStatus, Timer, TimerKind};
use crate::fault::{Fault, is_planted};
use crate::graph::{Listen, ListensTo};
use crate::id::{EventSeq, Instance, PortIx, Subject};
use crate::limits;
use crate::run::event::{Called, Decision, Fact, OutputValue, PortOutput, RequestKey, Signalled};
use crate::time::Timestamp;
use crate::value::{Value, ValueRef};

/// What was said.
const BODY: PortIx = PORT;
/// Whether nobody has said anything in time.
const TIMED_OUT: PortIx = PortIx(1);
/// Where a hook is called; given when its node begins to wait.
const URL: PortIx = PortIx(2);

/// Who listens in a run, and what nobody has listened to yet. Runs that never listen have none of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Listeners {
    /// The number of the next one that begins to listen.
    next: u64,
    /// Who does.
    open: BTreeMap<Instance, Listener>,
    /// By name, as far as somebody waits for it, or something is kept.
    signals: BTreeMap<Arc<str>, Signals>,
    /// How many signals are kept, over all names.
    kept: u32,
    /// The youngest requests that came with a key, the oldest first.
    keys: VecDeque<Heard>,
}

/// A request that came with a key, and what was answered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Heard {
    key: RequestKey,
    seq: EventSeq,
    delivered: bool,
}

/// Who waits for signals of one name, or what is kept of them: never both.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Signals {
    /// By when they began to.
    waiting: BTreeMap<u64, Instance>,
    /// In the order in which they came.
    kept: VecDeque<Kept>,
}

/// A signal that nobody has taken yet.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Kept {
    seq: EventSeq,
    body: ValueRef,
}

/// An instance that waits for a word from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Goes up with each that begins to listen.
    number: u64,
    /// Until when, if it does not wait for ever.
    pub until: Option<Timestamp>,
}

/// Why a signal or a call changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenRefusal {
    /// No node of the run waits for signals of this name.
    UnknownSignal,
    /// As many as are kept wait to be taken.
    TooManySignals,
    /// It is larger than what a value may be.
    TooLarge,
    /// The run is over.
    RunOver,
    /// The address was called before.
    HookUsed,
    /// Nobody waits for the call any more.
    HookExpired,
    /// It came before, and counts.
    Again {
        /// Its event.
        seq: EventSeq,
        /// Whether a node has got it at once.
        delivered: bool,
    },
    /// Another request came with its key.
    KeyMismatch,
}

impl Run {
    /// Who waits for a word from outside.
    pub fn listeners(&self) -> impl Iterator<Item = (Instance, Listener)> + '_ {
        let open = self.state.listeners.iter().flat_map(|listeners| &listeners.open);
        open.map(|(instance, listener)| (*instance, *listener))
    }

    /// Since when an instance waits for a word from outside, and until when.
    pub fn listener(&self, instance: Instance) -> Option<Listener> {
        self.state.listeners.as_ref()?.open.get(&instance).copied()
    }

    /// Signals that nobody has taken yet.
    pub fn kept_signals(&self) -> usize {
        self.state.listeners.as_ref().map_or(0, |listeners| listeners.kept as usize)
    }

    /// Whether a word from outside is waited for.
    pub(super) fn listens(&self) -> bool {
        self.state.listeners.as_ref().is_some_and(|listeners| !listeners.open.is_empty())
    }

    /// What an instance that listens has given when it began to: of a hook its address. It stays when the instance is given up.
    pub fn early_outputs(&self, instance: Instance) -> &[PortOutput] {
        let listens = self.graph.listen(instance.node).and_then(|_| self.slot_of(instance));
        listens.and_then(|slot| slot.result.as_ref()).map_or(&[], |result| &result.outputs)
    }

    /// A node that listens is due: a signal may have come before it.
    pub(super) fn decide_to_listen(
        &self,
        instance: Instance,
        listen: &Listen,
        deciding: &Deciding<'_>,
        body: &mut Body,
    ) -> Decision {
        if let ListensTo::Signal(name) = &listen.to
            && let Some(Kept { seq, body: said }) = self.first_kept(name)
        {
            return Decision::Took { instance, signal: seq, outputs: self.heard(instance, Some(said), body) };
        }
        let until = listen.timeout.map(|timeout| deciding.now.plus(timeout));
        let outputs = match listen.to {
            ListensTo::Signal(_) => Vec::new(),
            ListensTo::Webhook => {
                let address = serde_json::Value::from(deciding.hooks.address(self.id, instance)).to_string();
                vec![PortOutput { port: URL, value: OutputValue::One(body.put(Value::from_json(address.into()))) }]
            }
        };
        Decision::Listening { instance, until, outputs }
    }

    fn first_kept(&self, name: &str) -> Option<Kept> {
        self.state.listeners.as_ref()?.signals.get(name)?.kept.front().copied()
    }

    /// All that an instance gives: what was said, or that nobody has said anything in time; and its address, if it has one.
    fn heard(&self, instance: Instance, said: Option<ValueRef>, body: &mut Body) -> Vec<PortOutput> {
        let timed_out = Value::from_json(if said.is_none() { "true" } else { "false" }.into());
        let mut outputs = vec![
            PortOutput { port: BODY, value: said.map_or(OutputValue::Closed, OutputValue::One) },
            PortOutput { port: TIMED_OUT, value: OutputValue::One(body.put(timed_out)) },
        ];
        let early = self.slot_of(instance).and_then(|slot| slot.result.as_ref());
        outputs.extend(early.iter().flat_map(|early| &early.outputs).cloned());
        outputs
    }

    /// The time of an instance is over.
    pub(super) fn heard_nothing(&self, instance: Instance, body: &mut Body) -> Vec<PortOutput> {
        self.heard(instance, None, body)
    }

    /// What follows from a signal: who has waited for it the longest gets it, else it is kept.
    pub(super) fn signal(
        &self,
        name: Arc<str>,
        by: Subject,
        said: Value,
        key: Option<RequestKey>,
    ) -> Result<Admitted, Rejection> {
        let refused = |why| Err(Rejection::Listen(why));
        self.is_new(key)?;
        if self.status() != RunStatus::Running {
            return refused(ListenRefusal::RunOver);
        }
        if !self.graph.hearing(&name).any(|node| self.covers(node)) {
            return refused(ListenRefusal::UnknownSignal);
        }
        if check_size("body", &said).is_err() {
            return refused(ListenRefusal::TooLarge);
        }
        let to = self.first_waiting(&name);
        if to.is_none() && self.kept_signals() >= limits::SIGNALS_KEPT_PER_RUN_MAX {
            return refused(ListenRefusal::TooManySignals);
        }
        let mut body = Body::new(self.seq().next());
        let said = body.put(said);
        let outputs = to.map(|instance| self.heard(instance, Some(said), &mut body)).unwrap_or_default();
        let signalled = Signalled { name, by, body: said, to, outputs, key };
        Ok(Admitted { fact: Fact::Signalled(Box::new(signalled)), values: body.into_values() })
    }

    /// Whether a request with this key has not come before.
    fn is_new(&self, key: Option<RequestKey>) -> Result<(), Rejection> {
        let Some((key, listeners)) = key.zip(self.state.listeners.as_ref()) else { return Ok(()) };
        match listeners.keys.iter().find(|known| known.key.key == key.key) {
            None => Ok(()),
            Some(known) if known.key.body != key.body => Err(Rejection::Listen(ListenRefusal::KeyMismatch)),
            Some(Heard { seq, delivered, .. }) => {
                Err(Rejection::Listen(ListenRefusal::Again { seq: *seq, delivered: *delivered }))
            }
        }
    }

    /// Takes down with what key a request came.
    fn note_key(&mut self, key: Option<RequestKey>, delivered: bool) {
        let Some(key) = key else { return };
        let seq = self.state.seq;
        let keys = &mut self.state.listeners.get_or_insert_default().keys;
        if keys.len() >= limits::HEARD_KEYS_PER_RUN_MAX {
            keys.pop_front();
        }
        keys.push_back(Heard { key, seq, delivered });
    }

    fn first_waiting(&self, name: &str) -> Option<Instance> {
        self.state.listeners.as_ref()?.signals.get(name)?.waiting.values().next().copied()
    }

    /// What follows from a call of an address.
    pub(super) fn call(&self, instance: Instance, said: Value, key: Option<RequestKey>) -> Result<Admitted, Rejection> {
        let refused = |why| Err(Rejection::Listen(why));
        self.is_new(key)?;
        let was_called = self.was_called(instance) && !is_planted(Fault::HookCalledTwice);
        if was_called {
            return refused(ListenRefusal::HookUsed);
        }
        if self.status() != RunStatus::Running || !(self.is_hook(instance) || self.was_called(instance)) {
            return refused(ListenRefusal::HookExpired);
        }
        if check_size("body", &said).is_err() {
            return refused(ListenRefusal::TooLarge);
        }
        let mut body = Body::new(self.seq().next());
        let said = body.put(said);
        let outputs = self.heard(instance, Some(said), &mut body);
        let called = Called { instance, outputs, key };
        Ok(Admitted { fact: Fact::Called(Box::new(called)), values: body.into_values() })
    }

    /// Whether an instance waits to be called.
    fn is_hook(&self, instance: Instance) -> bool {
        let open = self.state.listeners.as_ref().is_some_and(|listeners| listeners.open.contains_key(&instance));
        open && matches!(self.graph.listen(instance.node), Some(Listen { to: ListensTo::Webhook, .. }))
    }

    /// Whether an instance has its output by a call. Of an item that has closed nobody knows that any more.
    fn was_called(&self, instance: Instance) -> bool {
        let is_hook = matches!(self.graph.listen(instance.node), Some(Listen { to: ListensTo::Webhook, .. }));
        let slot = self.slot_of(instance).filter(|slot| is_hook && slot.phase == NodePhase::Completed);
        let outputs = slot.and_then(|slot| slot.result.as_ref()).map_or(&[][..], |result| &result.outputs);
        outputs.iter().any(|output| output.port == BODY && output.value != OutputValue::Closed)
    }

    /// Folds an instance that begins to listen.
    pub(super) fn listening(
        &mut self,
        instance: Instance,
        until: Option<Timestamp>,
        outputs: &[PortOutput],
    ) -> Result<(), Corrupt> {
        let seq = self.state.seq;
        let name = self.signal_of(instance)?;
        self.enter(instance, NodePhase::Waiting)?;
        let listeners = self.state.listeners.get_or_insert_default();
        let number = listeners.next;
        listeners.next += 1;
        listeners.open.insert(instance, Listener { number, until });
        if let Some(name) = name {
            let signals = listeners.signals.entry(name).or_default();
            if !signals.kept.is_empty() {
                return Err(Corrupt::NotListening { seq, instance });
            }
            signals.waiting.insert(number, instance);
        }
        if let Some(at) = until {
            self.state.timers.insert(Timer { at, instance, kind: TimerKind::Listen });
        }
        self.give_early(instance, outputs)
    }

    /// The name of the signals that an instance waits for; none if it waits for a call.
    fn signal_of(&self, instance: Instance) -> Result<Option<Arc<str>>, Corrupt> {
        let not_listening = Corrupt::NotListening { seq: self.state.seq, instance };
        match &self.graph.listen(instance.node).ok_or(not_listening)?.to {
            ListensTo::Signal(name) => Ok(Some(Arc::clone(name))),
            ListensTo::Webhook => Ok(None),
        }
    }

    /// Folds a signal.
    pub(super) fn signalled(&mut self, it: &Signalled) -> Result<(), Corrupt> {
        let seq = self.state.seq;
        let first = self.first_waiting(&it.name);
        match (it.to, first) {
            (None, None) => self.keep(it),
            (Some(instance), Some(first)) if first == instance => {
                self.hears(instance, &it.outputs)?;
                if is_planted(Fault::SignalGivenTwice) {
                    self.keep(it);
                }
            }
            (Some(instance), _) | (None, Some(instance)) => return Err(Corrupt::NotListening { seq, instance }),
        }
        self.note_key(it.key, it.to.is_some());
        Ok(())
    }

    fn keep(&mut self, it: &Signalled) {
        let kept = Kept { seq: self.state.seq, body: it.body };
        let listeners = self.state.listeners.get_or_insert_default();
        listeners.signals.entry(Arc::clone(&it.name)).or_default().kept.push_back(kept);
        listeners.kept += 1;
    }

    /// Folds a call.
    pub(super) fn called(&mut self, it: &Called) -> Result<(), Corrupt> {
        let instance = it.instance;
        if is_planted(Fault::HookCalledTwice) && self.was_called(instance) {
            return Ok(());
        }
        if !self.is_hook(instance) {
            return Err(Corrupt::NotListening { seq: self.state.seq, instance });
        }
        self.hears(instance, &it.outputs)?;
        self.note_key(it.key, true);
        Ok(())
    }

    /// An instance has what it has waited for.
    fn hears(&mut self, instance: Instance, outputs: &[PortOutput]) -> Result<(), Corrupt> {
        self.expect(instance, &[NodePhase::Waiting])?;
        self.take_timer(instance);
        self.stop_listening(instance);
        self.complete(instance, None, outputs)
    }

    /// Folds a signal that had come before the instance that takes it.
    pub(super) fn took(&mut self, instance: Instance, signal: EventSeq, outputs: &[PortOutput]) -> Result<(), Corrupt> {
        let not_listening = Corrupt::NotListening { seq: self.state.seq, instance };
        let Some(name) = self.signal_of(instance)? else { return Err(not_listening) };
        if self.first_kept(&name).map(|kept| kept.seq) != Some(signal) {
            return Err(not_listening);
        }
        if let Some(listeners) = &mut self.state.listeners {
            listeners.kept = listeners.kept.saturating_sub(1);
            let signals = listeners.signals.get_mut(&name);
            let is_over = signals.is_some_and(|signals| {
                signals.kept.pop_front();
                signals.kept.is_empty()
            });
            if is_over {
                listeners.signals.remove(&name);
            }
        }
        self.complete(instance, None, outputs)
    }

    /// An instance has its output or is given up: it hears nothing any more.
    pub(super) fn stop_listening(&mut self, instance: Instance) {
        let Some(listeners) = &mut self.state.listeners else { return };
        let Some(listener) = listeners.open.remove(&instance) else { return };
        let Some(Listen { to: ListensTo::Signal(name), .. }) = self.graph.listen(instance.node) else { return };
        let is_over = listeners.signals.get_mut(name).is_some_and(|signals| {
            signals.waiting.remove(&listener.number);
            signals.waiting.is_empty() && signals.kept.is_empty()
        });
        if is_over {
            listeners.signals.remove(name);
        }
    }

    /// The run is over. What was answered is known on.
    pub(super) fn hear_no_more(&mut self) {
        let Some(listeners) = &mut self.state.listeners else { return };
        listeners.open.clear();
        listeners.signals.clear();
        listeners.kept = 0;
    }

    /// What a load that forgets signals would make of a run.
    pub(crate) fn lose_signals(&mut self) {
        let Some(listeners) = &mut self.state.listeners else { return };
        listeners.signals.values_mut().for_each(|signals| signals.kept.clear());
        listeners.signals.retain(|_, signals| !signals.waiting.is_empty());
        listeners.kept = 0;
    }
}
