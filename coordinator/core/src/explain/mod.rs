//! What a run that is not over waits for, told to people: for each unfinished node a cause, in data and as a sentence
//! ([`words`]). The causes of a run follow from its state alone ([`crate::run::waits`]); who has the run in memory and who
//! knows the agents add what they know.

#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::graph::ListensTo;
use crate::id::{AgentId, AttemptNumber, EventSeq, Instance, NodeIx, ReviewId, RunId, Subject};
use crate::limits;
use crate::partition::permits::{Need, Permits, Standing};
use crate::run::event::{Event, Fact, NodeError, ReviewKind};
use crate::run::view::{NodeState, state_of};
use crate::run::waits::Wait;
use crate::run::{Listener, NodePhase, Pause, Run};
use crate::time::Timestamp;

pub(crate) use self::words::quoted;
pub use self::words::{cancelled, ended, finishing, headline, needed, orphaned, owed_cancels, owing, paused_by};

/// Why an instance does not go on.
#[derive(Debug, Clone, PartialEq)]
pub enum Cause {
    /// Nodes before it are not done.
    Inputs {
        /// The ids of the first of them.
        nodes: Vec<Arc<str>>,
        /// How many more there are.
        more: u32,
    },
    /// The engine decides it next.
    Turn,
    /// The engine reads what it looks at.
    Values,
    /// Too many reviews of its run are open.
    Room,
    /// A result that runs share is looked for.
    Shared,
    /// It could be at an agent.
    Work {
        /// What it needs.
        need: Need,
        /// How that stands, if somebody has looked.
        standing: Option<Box<Standing>>,
    },
    /// Somebody has paused its type.
    Paused {
        /// Which type.
        node_type: Arc<str>,
        /// Who.
        by: Subject,
        /// Why, for people.
        reason: Option<Arc<str>>,
    },
    /// An agent has it.
    Attempt {
        /// Which.
        agent: AgentId,
        /// Which try.
        number: AttemptNumber,
        /// Since when the agent is away, and when its work counts as lost, if it is.
        away: Option<(Timestamp, Timestamp)>,
    },
    /// The pause before its next try.
    Retry {
        /// Until when.
        until: Timestamp,
        /// Failures that count.
        failed: u32,
        /// How many there may be.
        attempts_max: u32,
        /// Why the last try failed, if that is known.
        error: Option<NodeError>,
    },
    /// An instant.
    Timer {
        /// Which.
        until: Timestamp,
    },
    /// People.
    Review {
        /// Which review.
        id: ReviewId,
        /// What is looked at.
        kind: ReviewKind,
        /// When its time is over.
        due_at: Option<Timestamp>,
        /// Who may decide; nobody = whoever is allowed to.
        assignees: Vec<Arc<str>>,
    },
    /// A signal that is sent to the run.
    Signal {
        /// Its name.
        name: Arc<str>,
        /// When it waits no longer.
        until: Option<Timestamp>,
    },
    /// A call of its address.
    Webhook {
        /// When it waits no longer.
        until: Option<Timestamp>,
    },
    /// A run that it has invoked.
    Child {
        /// Which.
        run: RunId,
        /// Whether somebody has found that it cannot be read: then its end never comes.
        is_unreadable: bool,
    },
    /// Items or turns of its body.
    Items {
        /// How many are open.
        open: u32,
    },
    /// Nothing would ever wake it.
    Nothing,
}

/// One unfinished instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Which.
    pub instance: Instance,
    /// Its node's id in the document.
    pub node: Arc<str>,
    /// The numbers of the items and turns that it lies in, the outermost first.
    pub index: Vec<u32>,
    /// Where it stands.
    pub state: NodeState,
    /// Why it does not go on.
    pub cause: Cause,
    /// Since when.
    pub since: Timestamp,
    /// How many more instances of its node wait for the same; with the last of them that is told.
    pub more: u32,
}

/// What a run waits for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Explained {
    /// The youngest event that it reflects.
    pub seq: EventSeq,
    /// Whether somebody has paused it: whatever its nodes wait for, nothing of it begins.
    pub pause: Option<Pause>,
    /// Unfinished instances: what waits for something outside of the run first, what waits for other nodes last.
    pub nodes: Vec<Told>,
    /// Instances that are not told, by their kind of waiting.
    untold: BTreeMap<&'static str, u32>,
}

/// Which unfinished instances are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All.
    All,
    /// Those that wait for something outside of the run: people, time, agents.
    Outside,
}

/// In which order causes are told: those that lie outside of the run, those inside, those that follow from others.
fn rank(kind: &str) -> u8 {
    match kind {
        "nothing" => 0,
        "items" => 2,
        "inputs" => 3,
        _ => 1,
    }
}

impl Cause {
    /// Its word in the API.
    pub fn kind(&self) -> &'static str {
        match self {
            Cause::Inputs { .. } => "inputs",
            Cause::Turn => "turn",
            Cause::Values => "value",
            Cause::Room => "room",
            Cause::Shared => "cache",
            Cause::Work { standing: Some(standing), .. } if standing.fit == 0 => "agent",
            Cause::Work { standing: Some(standing), .. } if standing.place.is_some() && !standing.has_place => {
                "concurrency"
            }
            Cause::Work { .. } => "slot",
            Cause::Paused { .. } => "paused",
            Cause::Attempt { .. } => "attempt",
            Cause::Retry { .. } => "retry",
            Cause::Timer { .. } => "timer",
            Cause::Review { kind: ReviewKind::Outcome, .. } => "outcome",
            Cause::Review { .. } => "review",
            Cause::Signal { .. } => "signal",
            Cause::Webhook { .. } => "webhook",
            Cause::Child { .. } => "child",
            Cause::Items { .. } => "items",
            Cause::Nothing => "nothing",
        }
    }

    fn of(run: &Run, instance: Instance, wait: Wait, now: Timestamp) -> Self {
        let graph = run.graph();
        match wait {
            Wait::Inputs => {
                let (open, more) = run.inputs_awaited(instance);
                let nodes = open.iter().map(|ix| Arc::clone(&graph.node(*ix).id)).collect();
                Cause::Inputs { nodes, more }
            }
            Wait::Turn => Cause::Turn,
            Wait::Room => Cause::Room,
            Wait::Shared => Cause::Shared,
            Wait::Agent => Self::work(run, instance),
            Wait::Attempt => match run.attempt(instance) {
                Some(live) => Cause::Attempt { agent: live.agent.agent.clone(), number: live.number, away: None },
                None => Cause::Nothing,
            },
            Wait::Retry { until } if until <= now => Self::work(run, instance),
            Wait::Retry { until } => {
                let (failed, attempts_max) = run.tries_counted(instance);
                Cause::Retry { until, failed, attempts_max, error: None }
            }
            Wait::Timer { until } => Cause::Timer { until },
            Wait::Review(review) => match run.open_review(review) {
                Some(open) => {
                    let assignees = run.assignees(open).to_vec();
                    let id = ReviewId::of(run.id(), review);
                    Cause::Review { id, kind: open.kind, due_at: open.due_at, assignees }
                }
                None => Cause::Nothing,
            },
            Wait::World(Listener { until, .. }) => match graph.listen(instance.node).map(|listen| &listen.to) {
                Some(ListensTo::Signal(name)) => Cause::Signal { name: Arc::clone(name), until },
                Some(ListensTo::Webhook) => Cause::Webhook { until },
                None => Cause::Nothing,
            },
            Wait::Child(run) => Cause::Child { run, is_unreadable: false },
            Wait::Items { open } => Cause::Items { open },
            Wait::Nothing => Cause::Nothing,
        }
    }

    /// Whether it is a suspect shows when its turn comes: any agent that fits may be the one.
    fn work(run: &Run, instance: Instance) -> Self {
        Cause::Work { need: Need { alone: false, ..Need::of(run, instance) }, standing: None }
    }
}

impl Explained {
    /// What the instances of a run wait for at `now`, as its state says.
    pub fn of(run: &Run, part: Part, now: Timestamp) -> Self {
        let graph = run.graph();
        let waits = run.waits();
        let mut groups: BTreeMap<(u8, NodeIx, &'static str), (Vec<Told>, u32)> = BTreeMap::new();
        let mut inputs_told = 0;
        for (instance, phase, since) in waits.open() {
            let is_inside = matches!(phase, NodePhase::Pending | NodePhase::Open | NodePhase::Running);
            let is_anonymous = graph.node(instance.node).is_anonymous;
            // A map that no document names stands for the node that it runs: that one shows as soon as there are items.
            if (part == Part::Outside && is_inside) || (is_anonymous && phase == NodePhase::Open) {
                continue;
            }
            let is_pending = phase == NodePhase::Pending;
            if is_pending && inputs_told >= limits::EXPLAINED_NODES_MAX {
                // Nobody sees for which.
                groups.entry((rank("inputs"), instance.node, "inputs")).or_default().1 += 1;
                continue;
            }
            let Some(wait) = waits.of(instance, phase) else { continue };
            // A pause that is over is a wait for an agent.
            let since = if let Wait::Retry { until } = wait
                && until <= now
            {
                until
            } else {
                since
            };
            let cause = Cause::of(run, instance, wait, now);
            let group = groups.entry((rank(cause.kind()), instance.node, cause.kind())).or_default();
            if group.0.len() >= limits::EXPLAINED_INSTANCES_MAX {
                group.1 += 1;
                continue;
            }
            inputs_told += usize::from(is_pending);
            let node = Arc::clone(&graph.node(graph.named(instance.node)).id);
            let Some(state) = state_of(run.phase_shown(instance, phase), run.status()) else { continue };
            group.0.push(Told { instance, node, index: run.path(instance.scope), state, cause, since, more: 0 });
        }
        let mut explained = Explained { seq: run.seq(), pause: run.pause().cloned(), ..Explained::default() };
        for ((_, _, kind), (mut told, more)) in groups {
            let room = limits::EXPLAINED_NODES_MAX;
            let has_room = part == Part::Outside || explained.nodes.len() + told.len() <= room;
            if let Some(last) = told.last_mut().filter(|_| has_room) {
                last.more = more;
                explained.nodes.append(&mut told);
            } else {
                *explained.untold.entry(kind).or_default() += told.len() as u32 + more;
            }
        }
        explained
    }

    /// Adds how what agents do stands.
    pub fn look_at(&mut self, permits: &Permits) {
        for told in &mut self.nodes {
            if let Cause::Work { need, standing } = &mut told.cause {
                *standing = Some(Box::new(permits.standing(need)));
            }
        }
    }

    /// Adds which types of nodes somebody has paused, who, and why.
    pub fn note_pauses(&mut self, paused: impl Fn(&str) -> Option<(Subject, Option<Arc<str>>)>) {
        for told in &mut self.nodes {
            if let Cause::Work { need, .. } = &told.cause
                && let Some((by, reason)) = paused(&need.type_id)
            {
                told.cause = Cause::Paused { node_type: Arc::clone(&need.type_id), by, reason };
            }
        }
    }

    /// Adds why the last tries failed, as far as these events say: the youngest of the run.
    pub fn note<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>) {
        let failures = events.into_iter().filter_map(|event| match &event.fact {
            Fact::Failed { attempt, error, .. } => Some((attempt.instance, error)),
            _ => None,
        });
        let failed: BTreeMap<Instance, &NodeError> = failures.collect();
        for told in &mut self.nodes {
            if let Cause::Retry { error, .. } = &mut told.cause {
                *error = failed.get(&told.instance).map(|error| (*error).clone());
            }
        }
    }

    /// How many instances wait for each kind of thing, what is most first.
    pub fn kinds(&self) -> Vec<(&'static str, u32)> {
        let mut counts = self.untold.clone();
        for told in &self.nodes {
            *counts.entry(told.cause.kind()).or_default() += 1 + told.more;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(kind, count)| (rank(kind), std::cmp::Reverse(*count)));
        counts
    }
}
