//! Single instances of a node, or single items of a container, for those who look at them. They are found while a history
//! is read, and no more of them are in memory than will be shown or are still open.

use std::collections::BTreeMap;

use super::items::{ItemState, ItemsView};
use super::scope::{Frame, ROOT};
use super::trace::AttemptOutcome;
use super::view::{NodeState, NodeView, Noted, note, state_of};
use super::{NodePhase, RunStatus, SourcedValue};
use crate::graph::{Graph, ScopeKind};
use crate::id::{AgentId, AttemptNumber, Instance, NodeIx, PortIx, ProviderIx, ScopeIx};
use crate::limits::INSTANCE_ATTEMPTS_SHOWN_MAX;
use crate::run::event::{Attempt, Decision, Event, Fact, NodeError, OutputValue, PortOutput, Timing};
use crate::time::Timestamp;

/// Which instances somebody wants to see.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Of which node.
    pub node: NodeIx,
    /// What of it.
    pub kind: InstanceKind,
    /// Only those inside these items and turns, the outermost first.
    pub within: Vec<u32>,
    /// Only those that stand so.
    pub state: Option<NodeState>,
    /// Only those that began after this one.
    pub after: ScopeIx,
    /// At most so many.
    pub limit: usize,
}

/// What of a node is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceKind {
    /// What runs: the node in each item around it.
    Own,
    /// The items of a container, or the turns.
    Item,
}

/// A search for instances, as far as the history has been read.
#[derive(Debug)]
pub struct Search {
    wanted: Wanted,
    /// Whose items they are, or lie in; none: the node is outside of all.
    container: Option<NodeIx>,
    /// Whether it is about one, with all that is known of it.
    is_exact: bool,
    found: BTreeMap<ScopeIx, Found>,
    /// What begins later lies behind the page.
    until: Option<ScopeIx>,
}

#[derive(Debug, Default)]
struct Found {
    view: NodeView,
    /// When its item has closed.
    state: Option<NodeState>,
    attempts: Vec<AttemptView>,
    inputs: Vec<(PortIx, OutputValue)>,
    outputs: Vec<(PortIx, OutputValue)>,
}

/// One instance of a node, or one item.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceView {
    /// Where the search goes on behind it.
    pub scope: ScopeIx,
    /// The numbers of the items and turns that it lies in or is, the outermost first.
    pub index: Vec<u32>,
    /// How it stands.
    pub state: NodeState,
    /// Times, agent and error.
    pub view: NodeView,
    /// Its attempts, in order; of a search for one only.
    pub attempts: Vec<AttemptView>,
    /// What came in by edges, or what the item is: input ports of a node, inner outputs of a container. Of a search for
    /// one only.
    pub inputs: Vec<(PortIx, OutputValue)>,
    /// What it gave, or what the item gave: outputs of a node, inner inputs of a container. Of a search for one only.
    pub outputs: Vec<(PortIx, OutputValue)>,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptView {
    /// Which try.
    pub number: AttemptNumber,
    /// Who had it.
    pub agent: AgentId,
    /// Who did the node's work in it.
    pub provider: ProviderIx,
    /// When it was given.
    pub assigned_at: Timestamp,
    /// When its work began: known once it has ended.
    pub started_at: Option<Timestamp>,
    /// When its end was taken in.
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// Why it failed.
    pub error: Option<NodeError>,
}

impl Graph {
    /// How many numbers the index of a node's instance has.
    pub fn depth(&self, node: NodeIx) -> usize {
        std::iter::successors(self.within(node), |container| self.within(*container)).count()
    }

    /// Whether a node has items or turns.
    pub fn has_items(&self, node: NodeIx) -> bool {
        self.scope(node).is_some_and(|scope| !matches!(scope.kind, ScopeKind::Batch(_)))
    }

    /// Whether any node of it has items or turns.
    pub fn has_scopes(&self) -> bool {
        !self.bodies.is_empty()
    }
}

impl Search {
    /// Begins a search, before the first event.
    pub fn new(graph: &Graph, wanted: Wanted) -> Self {
        let (container, depth) = match wanted.kind {
            InstanceKind::Own => (graph.within(wanted.node), graph.depth(wanted.node)),
            InstanceKind::Item => (Some(wanted.node), graph.depth(wanted.node) + 1),
        };
        let mut search =
            Self { is_exact: wanted.within.len() == depth, container, found: BTreeMap::new(), until: None, wanted };
        if container.is_none() {
            search.found.insert(ROOT, Found::default());
        }
        search
    }

    /// Reads an event that `items` has read just before.
    pub fn note(&mut self, items: &ItemsView, event: &Event) {
        self.open(items, event);
        match self.wanted.kind {
            InstanceKind::Own => {
                note(event, self);
                self.note_attempts(event);
            }
            InstanceKind::Item => self.note_errors(event),
        }
        let mut has_closed = false;
        let container = self.container;
        for (scope, frame) in items.closed().iter().filter(|(_, frame)| Some(frame.container.node) == container) {
            has_closed |= self.close(items, *scope, frame, Some(event.at));
        }
        if has_closed {
            self.prune();
        }
    }

    /// What was found, and whether there is more behind it.
    pub fn finish(mut self, items: &ItemsView) -> (Vec<InstanceView>, bool) {
        let run = items.run();
        let open: Vec<ScopeIx> = self.found.iter().filter(|(_, it)| it.state.is_none()).map(|(it, _)| *it).collect();
        for scope in open {
            match run.frame(scope) {
                Some(frame) => drop(self.close(items, scope, frame, None)),
                None if scope == ROOT => self.close_root(items),
                None => drop(self.found.remove(&scope)),
            }
        }
        let has_more = self.found.len() > self.wanted.limit;
        let found = self.found.into_iter().take(self.wanted.limit).filter_map(|(scope, found)| {
            Some(InstanceView {
                scope,
                index: items.path(scope),
                state: found.state?,
                view: found.view,
                attempts: found.attempts,
                inputs: found.inputs,
                outputs: found.outputs,
            })
        });
        (found.collect(), has_more)
    }

    /// Items that begin may be wanted.
    fn open(&mut self, items: &ItemsView, event: &Event) {
        for decision in &event.decisions {
            let Decision::Opened { instance, opened } = decision else { continue };
            if Some(instance.node) != self.container || !items.run().graph().has_items(instance.node) {
                continue;
            }
            let is_before = |scope: &ScopeIx| self.until.is_none_or(|until| *scope <= until);
            let scopes = (opened.scope.0..).take(opened.items.len()).map(ScopeIx);
            let begun = scopes.filter(|scope| *scope > self.wanted.after).take_while(is_before);
            let wanted = begun.filter(|scope| items.path(*scope).starts_with(&self.wanted.within));
            let started_at = (self.wanted.kind == InstanceKind::Item).then_some(event.at);
            let view = NodeView { started_at, ..NodeView::default() };
            self.found.extend(wanted.map(|scope| (scope, Found { view: view.clone(), ..Found::default() })));
        }
    }

    /// What became of one whose item has closed, or of one at the history's end; whether it is still wanted.
    fn close(&mut self, items: &ItemsView, scope: ScopeIx, frame: &Frame, at: Option<Timestamp>) -> bool {
        let Some(found) = self.found.get_mut(&scope) else { return false };
        let (run, node) = (items.run(), self.wanted.node);
        let is_item = self.wanted.kind == InstanceKind::Item;
        let slot = frame.slots.get(run.graph().node(node).place as usize).filter(|_| !is_item);
        let state = match (frame.state(run.status() != RunStatus::Running), slot) {
            (state, None) => item_state(state, run.status()),
            (_, Some(slot)) if at.is_none() => {
                state_of(run.phase_shown(Instance { scope, ..Instance::root(node) }, slot.phase), run.status())
            }
            // The item is over: what has no end of its own was given up with it.
            (_, Some(slot)) => match slot.phase {
                NodePhase::Excluded => None,
                phase => Some(state_of(phase, RunStatus::Completed).unwrap_or(NodeState::Cancelled)),
            },
        };
        let Some(state) = state.filter(|state| self.wanted.state.is_none_or(|wanted| wanted == *state)) else {
            self.found.remove(&scope);
            return false;
        };
        found.state = Some(state);
        if is_item || found.view.started_at.is_some() {
            found.view.ended_at = found.view.ended_at.or(at);
        }
        if is_item && state != NodeState::Failed {
            found.view.error = None;
        } else if let Some(failure) = frame.failure.as_ref().filter(|failure| is_item && !failure.is_given_up()) {
            found.view.error = Some(failure.error.clone());
        }
        if self.is_exact {
            let instance = Instance { scope, ..Instance::root(node) };
            (found.inputs, found.outputs) = match slot {
                Some(slot) => {
                    let given = slot.result.as_ref().map_or(&[][..], |result| &result.outputs);
                    (wired(items, instance, false), open_ports(given))
                }
                None => ((0..).map(PortIx).zip(frame.given.iter().cloned()).collect(), wired(items, instance, true)),
            };
        }
        true
    }

    fn close_root(&mut self, items: &ItemsView) {
        let (run, node) = (items.run(), self.wanted.node);
        let phase = run.phase_shown(Instance::root(node), run.phase_of(node));
        let state = state_of(phase, run.status());
        match (state, self.found.get_mut(&ROOT)) {
            (Some(state), Some(found)) => {
                found.state = Some(state);
                found.inputs = wired(items, Instance::root(node), false);
                found.outputs = open_ports(run.outputs(node));
            }
            _ => self.found.clear(),
        }
    }

    /// As soon as the page is full, and one is known behind it, nothing later is looked at any more.
    fn prune(&mut self) {
        let closed = self.found.iter().filter(|(_, found)| found.state.is_some());
        if let Some((last, _)) = closed.map(|(scope, found)| (*scope, found)).nth(self.wanted.limit) {
            self.until = Some(last);
            drop(self.found.split_off(&last.next()));
        }
    }

    /// What failed an item.
    fn note_errors(&mut self, event: &Event) {
        let of_fact = match &event.fact {
            Fact::Failed { attempt, error, retry_at: None, fallback: None, caught, .. } => {
                Some((attempt.instance, error, caught))
            }
            Fact::Lost { attempt, failure: Some(error), caught, .. } => Some((attempt.instance, error, caught)),
            _ => None,
        };
        let of_decisions = event.decisions.iter().filter_map(|decision| match decision {
            Decision::Failed { instance, error, caught } => Some((*instance, error, caught)),
            _ => None,
        });
        for (instance, error, _) in of_fact.into_iter().chain(of_decisions).filter(|(.., caught)| caught.is_empty()) {
            if let Some(found) = self.found.get_mut(&instance.scope) {
                found.view.error = Some(error.clone());
            }
        }
    }

    fn note_attempts(&mut self, event: &Event) {
        if !self.is_exact {
            return;
        }
        let node = self.wanted.node;
        for attempt in event.fact.ended_attempts().iter().filter(|attempt| attempt.instance.node == node) {
            if let Some(found) = self.found.get_mut(&attempt.instance.scope) {
                end_attempt(&mut found.attempts, attempt, event);
            }
        }
        for assignment in event.assignments.iter().filter(|it| it.attempt.instance.node == node) {
            let Some(found) = self.found.get_mut(&assignment.attempt.instance.scope) else { continue };
            if found.attempts.len() >= INSTANCE_ATTEMPTS_SHOWN_MAX {
                found.attempts.remove(0);
            }
            found.attempts.push(AttemptView {
                number: assignment.attempt.number,
                agent: assignment.to.agent.clone(),
                provider: assignment.provider,
                assigned_at: event.at,
                started_at: None,
                ended_at: None,
                outcome: AttemptOutcome::Running,
                error: None,
            });
        }
    }
}

impl Noted for Search {
    fn entry(&mut self, instance: Instance) -> Option<&mut NodeView> {
        let is_own = instance.node == self.wanted.node;
        self.found.get_mut(&instance.scope).filter(|_| is_own).map(|found| &mut found.view)
    }
}

fn item_state(state: ItemState, status: RunStatus) -> Option<NodeState> {
    Some(match state {
        ItemState::Open if status == RunStatus::Running => NodeState::Running,
        ItemState::Open | ItemState::GivenUp => NodeState::Cancelled,
        ItemState::Completed => NodeState::Completed,
        ItemState::Failed => NodeState::Failed,
    })
}

/// Outputs that gave something.
fn open_ports(outputs: &[PortOutput]) -> Vec<(PortIx, OutputValue)> {
    let open = outputs.iter().filter(|output| output.value != OutputValue::Closed);
    open.map(|output| (output.port, output.value.clone())).collect()
}

/// What a node was given by its edges, by port: what takes a list a list. Into a container either from outside or from its body.
fn wired(items: &ItemsView, instance: Instance, is_inner: bool) -> Vec<(PortIx, OutputValue)> {
    let run = items.run();
    let doors = run.graph().doors(instance.node);
    let mut ports: Vec<PortIx> = run.graph().in_edges(instance.node).iter().map(|edge| edge.target_port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports.retain(|port| doors.is_some_and(|doors| doors.is_inner_input(*port)) == is_inner);
    let brought = |port: &PortIx| {
        if let Some(changed) = run.changed_inputs(instance).iter().find(|changed| changed.port == *port) {
            return Some((*port, changed.value.clone()));
        }
        let inputs = run.wired_inputs(instance);
        match &inputs.iter().find(|input| input.port == *port)?.values[..] {
            [SourcedValue { value: OutputValue::One(one), .. }] if run.means_items(instance.node, *port, one) => {
                Some((*port, OutputValue::One(*one)))
            }
            _ => Some((*port, run.input_value(instance, *port)?)),
        }
    };
    ports.iter().filter_map(brought).collect()
}

fn end_attempt(attempts: &mut [AttemptView], attempt: &Attempt, event: &Event) {
    let Some(found) = attempts.iter_mut().rev().find(|it| it.number == attempt.number) else { return };
    let (outcome, timing, error): (_, Option<&Timing>, Option<&NodeError>) = match &event.fact {
        Fact::Succeeded { timing, .. } => (AttemptOutcome::Succeeded, Some(timing), None),
        Fact::Failed { timing, error, .. } => (AttemptOutcome::Failed, Some(timing), Some(error)),
        Fact::Lost { failure, .. } => (AttemptOutcome::Lost, None, failure.as_ref()),
        Fact::HandedBack { .. } => (AttemptOutcome::HandedBack, None, None),
        Fact::Settled { .. } => (AttemptOutcome::Succeeded, None, None),
        _ => (AttemptOutcome::Stopped, None, None),
    };
    let began = timing.map(|timing| event.at.as_millis().saturating_sub_unsigned(timing.ran.as_millis()));
    found.started_at = began.map(|began| Timestamp::from_millis(began).max(found.assigned_at));
    (found.ended_at, found.outcome, found.error) = (Some(event.at), outcome, error.cloned());
}
