//! What each unfinished instance of a run waits for, by the run's own state, and so whether anything would ever wake it
//! (H21): the one place that knows all kinds of waiting.

use std::collections::{BTreeMap, BTreeSet};

use super::{Listener, NodePhase, Run, RunStatus, Slot, TimerKind};
use crate::id::{Instance, NodeIx, ReviewIx, RunId, ScopeIx};
use crate::limits;
use crate::time::Timestamp;

/// What an instance waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// Nodes before it are not done.
    Inputs,
    /// The engine decides it next.
    Turn,
    /// Too many reviews of its run are open: it asks when one of them closes.
    Room,
    /// A result that runs share is looked for.
    Shared,
    /// An agent, now.
    Agent,
    /// An agent has it.
    Attempt,
    /// The pause before its next try.
    Retry {
        /// Until when.
        until: Timestamp,
    },
    /// An instant.
    Timer {
        /// Which.
        until: Timestamp,
    },
    /// People.
    Review(ReviewIx),
    /// A word from outside.
    World(Listener),
    /// A run that it has invoked.
    Child(RunId),
    /// Items or turns of its body.
    Items {
        /// How many are open.
        open: u32,
    },
    /// Nothing would ever wake it: the engine is at fault.
    Nothing,
}

/// All that can wake instances of a run.
struct Wakes {
    due: BTreeSet<Instance>,
    timers: BTreeMap<(Instance, TimerKind), Timestamp>,
    reviews: BTreeMap<Instance, ReviewIx>,
    /// Those that ask as soon as another review closes.
    asking_later: BTreeSet<Instance>,
    /// Open items and turns by their containers.
    items: BTreeMap<Instance, u32>,
}

impl Wakes {
    fn of(run: &Run) -> Self {
        let mut items: BTreeMap<Instance, u32> = BTreeMap::new();
        for frame in run.state.frames.values().filter(|frame| frame.open > 0) {
            *items.entry(frame.container).or_default() += 1;
        }
        let later = run.state.reviews.iter().flat_map(|reviews| reviews.waiting.iter().copied());
        Self {
            due: run.state.due.iter().copied().collect(),
            timers: run.state.timers.iter().map(|timer| ((timer.instance, timer.kind), timer.at)).collect(),
            reviews: run.open_reviews().map(|(ix, open)| (open.instance, ix)).collect(),
            asking_later: later.collect(),
            items,
        }
    }
}

/// A run with all that can wake its instances.
pub(crate) struct Waits<'a> {
    run: &'a Run,
    wakes: Wakes,
}

impl Waits<'_> {
    /// The instances that are not done, where they stand, and since when: nodes outside of all bodies first, then those of
    /// open items. Of a run that is over there are none.
    pub(crate) fn open(&self) -> impl Iterator<Item = (Instance, NodePhase, Timestamp)> {
        let is_running = self.run.status() == RunStatus::Running;
        let slots = self.run.slots().map(|(instance, slot)| (instance, slot.phase, slot.since));
        slots.filter(move |(_, phase, _)| is_running && !is_final(*phase))
    }

    /// What an instance that stands so waits for; nothing if it is done.
    pub(crate) fn of(&self, instance: Instance, phase: NodePhase) -> Option<Wait> {
        self.run.wait_of(instance, phase, &self.wakes)
    }
}

impl Run {
    /// What its instances wait for.
    pub(crate) fn waits(&self) -> Waits<'_> {
        Waits { run: self, wakes: Wakes::of(self) }
    }

    /// Failures of an instance's present provider that count, and how many there may be.
    pub(crate) fn tries_counted(&self, instance: Instance) -> (u32, u32) {
        let failed = self.state.tries.get(&instance).map_or(0, |tries| tries.failed);
        let provided = self.graph.node(instance.node).provided(self.provider_of(instance));
        (failed, provided.policy.retry.attempts_max)
    }

    /// Instances that nothing would ever wake, as far as the run's own state says. There are none, unless the engine is at fault.
    pub fn unwakeable(&self) -> Vec<Instance> {
        if self.status() != RunStatus::Running || self.can_conclude() {
            return Vec::new();
        }
        let wakes = Wakes::of(self);
        let mut found: Vec<Instance> = Vec::new();
        // Where something is open.
        let mut scopes: BTreeSet<ScopeIx> = BTreeSet::new();
        for (instance, slot) in self.slots() {
            let Some(wait) = self.wait_of(instance, slot.phase, &wakes) else { continue };
            scopes.insert(instance.scope);
            if wait == Wait::Nothing {
                found.push(instance);
            }
        }
        // A container that has failed is let go when the last of its body is.
        for container in self.state.expansions.keys() {
            let is_over = self.slot_of(*container).is_none_or(|slot| is_final(slot.phase));
            let is_awaited = wakes.due.contains(container) || wakes.items.contains_key(container);
            if is_over {
                scopes.insert(container.scope);
            }
            if is_over && !is_awaited {
                found.push(*container);
            }
        }
        // What counts as open and is not there: items, and the run itself.
        let hollow = self.state.frames.iter().filter(|(scope, frame)| frame.open > 0 && !scopes.contains(scope));
        found.extend(hollow.map(|(_, frame)| frame.container));
        if scopes.is_empty() {
            found.extend(self.graph.nodes().map(|(ix, _)| Instance::root(ix)).next());
        }
        found
    }

    /// All slots, those of open items after those outside.
    fn slots(&self) -> impl Iterator<Item = (Instance, &Slot)> {
        let outside = self.state.nodes.iter().zip(0..).map(|(slot, ix)| (Instance::root(NodeIx(ix)), slot));
        let inside = self.state.frames.iter().flat_map(|(scope, frame)| {
            let body = self.graph.body(frame.container.node);
            body.iter().zip(&frame.slots).map(|(ix, slot)| (Instance { scope: *scope, ..Instance::root(*ix) }, slot))
        });
        outside.chain(inside).map(|(instance, slot)| (self.current(instance), slot))
    }

    /// What an instance in this phase waits for; nothing if it is done.
    fn wait_of(&self, instance: Instance, phase: NodePhase, wakes: &Wakes) -> Option<Wait> {
        let timer = |kind| wakes.timers.get(&(instance, kind)).copied();
        let is_due = || wakes.due.contains(&instance);
        Some(match phase {
            phase if is_final(phase) => return None,
            NodePhase::Pending if self.open_before(instance).next().is_some() => Wait::Inputs,
            NodePhase::Due if is_due() => Wait::Turn,
            NodePhase::Due if self.state.recalls.contains(&instance) => Wait::Shared,
            NodePhase::Due if wakes.asking_later.contains(&instance) => Wait::Room,
            NodePhase::Ready if self.state.ready.contains(&self.rank(instance)) => Wait::Agent,
            NodePhase::Running if self.state.attempts.contains_key(&instance) => Wait::Attempt,
            NodePhase::Backoff => timer(TimerKind::Retry).map_or(Wait::Nothing, |until| Wait::Retry { until }),
            NodePhase::Waiting if let Some(review) = wakes.reviews.get(&instance) => Wait::Review(*review),
            NodePhase::Waiting if let Some(child) = self.open_child(instance) => Wait::Child(child),
            NodePhase::Waiting if let Some(listener) = self.listener(instance) => Wait::World(listener),
            NodePhase::Waiting => timer(TimerKind::Wait).map_or(Wait::Nothing, |until| Wait::Timer { until }),
            NodePhase::Open => match wakes.items.get(&instance) {
                Some(open) => Wait::Items { open: *open },
                None if is_due() => Wait::Turn,
                None => Wait::Nothing,
            },
            _ => Wait::Nothing,
        })
    }

    /// The nodes before an instance that are not done, each as often as an edge comes from it. What leads into the body of a
    /// container counts for it.
    fn open_before(&self, instance: Instance) -> impl Iterator<Item = NodeIx> {
        let (graph, node) = (&self.graph, instance.node);
        let edges = std::iter::once(node).chain(graph.all_inside(node)).flat_map(|ix| graph.in_edges(ix));
        let is_beside = move |source: &NodeIx| graph.within(*source) == graph.within(node) && *source != node;
        let is_open = move |source: &NodeIx| {
            let slot = self.slot_of(self.current(instance.beside(*source)));
            slot.is_some_and(|slot| !is_final(slot.phase))
        };
        edges.map(|edge| edge.source).filter(is_beside).filter(is_open)
    }

    /// The same as the document knows them, each once.
    pub(crate) fn inputs_awaited(&self, instance: Instance) -> (Vec<NodeIx>, u32) {
        let all: BTreeSet<NodeIx> = self.open_before(instance).map(|source| self.graph.named(source)).collect();
        let more = all.len().saturating_sub(limits::WAITING_INPUTS_NAMED_MAX);
        (all.into_iter().take(limits::WAITING_INPUTS_NAMED_MAX).collect(), more as u32)
    }
}

/// Whether nothing happens any more to what stands so, or it stands for others.
fn is_final(phase: NodePhase) -> bool {
    match phase {
        NodePhase::Excluded
        | NodePhase::Inside
        | NodePhase::Completed
        | NodePhase::Cached
        | NodePhase::Failed
        | NodePhase::Skipped
        | NodePhase::Dropped => true,
        NodePhase::Pending
        | NodePhase::Due
        | NodePhase::Ready
        | NodePhase::Running
        | NodePhase::Backoff
        | NodePhase::Waiting
        | NodePhase::Open => false,
    }
}
