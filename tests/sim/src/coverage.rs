//! The table of how nodes and runs may move, as [`heddle_core::run::NodePhase`] draws it: every other move is a fault, and
//! many worlds together must show each of these.

use std::fmt;

use heddle_core::graph::Graph;
use heddle_core::id::{Instance, NodeIx, ScopeIx};
use heddle_core::node_type::{Control, Runner};
use heddle_core::partition::batch::Phase;
use heddle_core::policy::ReviewWhen;
use heddle_core::run::event::{ChildOutcome, Decision, Event, Fact, ReviewOutcome};
use heddle_core::run::{NodePhase, Run, RunStatus};
use serde_json::Value as Json;

/// Moves of a node.
const NODES: [(NodePhase, NodePhase); 32] = {
    use NodePhase::{
        Backoff, Cached, Completed, Dropped, Due, Failed, Open, Pending, Ready, Running, Skipped, Waiting,
    };
    [
        (Pending, Due),
        (Pending, Ready),
        (Pending, Skipped),
        (Pending, Dropped),
        (Due, Completed),
        (Due, Cached),
        (Due, Waiting),
        (Due, Failed),
        (Due, Open),
        (Due, Ready),
        (Due, Dropped),
        (Ready, Running),
        (Ready, Dropped),
        (Running, Completed),
        (Running, Failed),
        (Running, Backoff),
        (Running, Ready),
        (Running, Open),
        (Running, Dropped),
        (Running, Due),
        (Backoff, Running),
        (Backoff, Dropped),
        (Waiting, Completed),
        (Waiting, Dropped),
        (Waiting, Ready),
        (Waiting, Failed),
        (Waiting, Pending),
        (Completed, Ready),
        (Open, Completed),
        (Open, Failed),
        (Open, Ready),
        (Open, Dropped),
    ]
};
/// Moves of a run's row.
const RUNS: [(Phase, Phase); 7] = [
    (Phase::Active, Phase::Parked),
    (Phase::Active, Phase::Closing),
    (Phase::Active, Phase::Closed),
    (Phase::Parked, Phase::Active),
    (Phase::Parked, Phase::Closing),
    (Phase::Parked, Phase::Closed),
    (Phase::Closing, Phase::Closed),
];
/// Ends of a run.
const ENDS: [RunStatus; 3] = [RunStatus::Completed, RunStatus::Failed, RunStatus::Cancelled];

/// How often each move was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Coverage {
    nodes: [u64; NODES.len()],
    runs: [u64; RUNS.len()],
    ends: [u64; ENDS.len()],
}

/// How the nodes outside of scopes stand, and the run's row.
#[derive(Debug, Default)]
pub(super) struct Stand {
    phases: Vec<NodePhase>,
    phase: Option<Phase>,
}

impl Coverage {
    pub(super) fn add(&mut self, other: &Coverage) {
        let add = |mine: &mut [u64], other: &[u64]| mine.iter_mut().zip(other).for_each(|(mine, other)| *mine += other);
        add(&mut self.nodes, &other.nodes);
        add(&mut self.runs, &other.runs);
        add(&mut self.ends, &other.ends);
    }

    fn lines(&self) -> Vec<(String, u64)> {
        let nodes = NODES.iter().zip(self.nodes).map(|((from, to), count)| (format!("node {from:?} > {to:?}"), count));
        let runs = RUNS.iter().zip(self.runs).map(|((from, to), count)| (format!("run {from:?} > {to:?}"), count));
        let ends = ENDS.iter().zip(self.ends).map(|(end, count)| (format!("run > {end:?}"), count));
        nodes.chain(runs).chain(ends).collect()
    }

    /// Moves that were never seen.
    pub fn missing(&self) -> Vec<String> {
        self.lines().into_iter().filter(|(_, count)| *count == 0).map(|(line, _)| line).collect()
    }

    pub(super) fn to_json(&self) -> Json {
        self.lines()
            .into_iter()
            .collect::<std::collections::BTreeMap<_, _>>()
            .into_iter()
            .map(|(line, count)| (line, Json::from(count)))
            .collect()
    }

    /// Notes what an event has moved; the error is a move that may not be.
    pub(super) fn note(&mut self, stand: &mut Stand, run: &Run, event: &Event) -> Result<(), String> {
        let after: Vec<NodePhase> = (0..run.graph().len() as u32).map(|ix| run.phase_of(NodeIx(ix))).collect();
        let begun = || after.iter().map(|phase| if is_outside(*phase) { *phase } else { NodePhase::Pending }).collect();
        let mut now = if stand.phases.is_empty() { begun() } else { std::mem::take(&mut stand.phases) };
        for (instance, to) in steps(event, run) {
            let here = (instance.scope == ScopeIx(0)).then(|| now.get_mut(instance.node.0 as usize)).flatten();
            let Some(here) = here else { continue };
            // What an event decides or gives away may have become ready with it.
            if *here == NodePhase::Pending {
                let ready = if to == NodePhase::Running { NodePhase::Ready } else { NodePhase::Due };
                self.node(here, ready, instance.node)?;
            }
            if !(*here == NodePhase::Open && to == NodePhase::Open) {
                self.node(here, to, instance.node)?;
            }
        }
        for (ix, (here, after)) in now.iter_mut().zip(&after).enumerate() {
            if *here != *after {
                self.node(here, *after, NodeIx(ix as u32))?;
            }
        }
        stand.phases = after;
        let phase = run.summary().phase;
        if let Some(before) = stand.phase.replace(phase).filter(|before| *before != phase) {
            let place = RUNS.iter().position(|known| *known == (before, phase));
            let place = place.ok_or_else(|| format!("the run moves from {before:?} to {phase:?}"))?;
            self.runs[place] += 1;
        }
        if let Fact::Ended { status, .. } = &event.fact {
            ENDS.iter().zip(&mut self.ends).filter(|(end, _)| *end == status).for_each(|(_, count)| *count += 1);
        }
        Ok(())
    }

    fn node(&mut self, here: &mut NodePhase, to: NodePhase, node: NodeIx) -> Result<(), String> {
        let from = std::mem::replace(here, to);
        let place = NODES.iter().position(|known| *known == (from, to));
        let place = place.ok_or_else(|| format!("node {node} moves from {from:?} to {to:?}"))?;
        self.nodes[place] += 1;
        Ok(())
    }
}

/// Nodes that are no part of the run, or of which each item has one.
fn is_outside(phase: NodePhase) -> bool {
    matches!(phase, NodePhase::Excluded | NodePhase::Inside)
}

/// What an event says of single nodes, in order.
fn steps(event: &Event, run: &Run) -> Vec<(Instance, NodePhase)> {
    let graph = run.graph();
    use NodePhase::{Backoff, Cached, Completed, Due, Failed, Open, Pending, Ready, Running, Waiting};
    let mut steps = match &event.fact {
        Fact::Succeeded { attempt, .. } => {
            let is_reviewed = graph.node(attempt.instance.node).policy.review == Some(ReviewWhen::After);
            vec![(attempt.instance, if is_reviewed { Due } else { Completed })]
        }
        Fact::Answered { attempt, .. } => vec![(attempt.instance, Open)],
        Fact::Failed { attempt, asks: true, .. } | Fact::Lost { attempt, asks: true, .. } => {
            vec![(attempt.instance, Due)]
        }
        Fact::Failed { attempt, retry_at, fallback, .. } => {
            let to = if retry_at.is_some() { Backoff } else { Failed };
            vec![(attempt.instance, if fallback.is_some() { Ready } else { to })]
        }
        Fact::Lost { attempt, failure, .. } => {
            vec![(attempt.instance, if failure.is_some() { Failed } else { Ready })]
        }
        Fact::HandedBack { attempts } => attempts.iter().map(|attempt| (attempt.instance, Ready)).collect(),
        Fact::TimerFired { instance, .. } => vec![(*instance, Completed)],
        Fact::Signalled(it) => it.to.into_iter().map(|to| (to, Completed)).collect(),
        Fact::Called(it) => vec![(it.instance, Completed)],
        Fact::ChildEnded(it) => match &it.outcome {
            ChildOutcome::Gave(_) => vec![(it.instance, Completed)],
            ChildOutcome::Failed { .. } => vec![(it.instance, Failed)],
        },
        Fact::Reviewed(it) => match &it.outcome {
            ReviewOutcome::Open { .. } => Vec::new(),
            ReviewOutcome::Begins => vec![(it.instance, Ready)],
            ReviewOutcome::Gave(_) => vec![(it.instance, Completed)],
            ReviewOutcome::Failed { .. } => vec![(it.instance, Failed)],
            ReviewOutcome::Again { instance } if instance.node == it.instance.node => vec![(*instance, Ready)],
            ReviewOutcome::Again { instance } => vec![(it.instance, Pending), (*instance, Ready)],
        },
        _ => Vec::new(),
    };
    steps.extend(event.decisions.iter().filter_map(|decision| match decision {
        Decision::Completed { instance, .. } | Decision::Took { instance, .. } | Decision::Stopped { instance, .. } => {
            Some((*instance, Completed))
        }
        Decision::Waiting { instance, .. }
        | Decision::Listening { instance, .. }
        | Decision::Asked { instance, .. }
        | Decision::Invoked { instance, .. } => Some((*instance, Waiting)),
        Decision::Failed { instance, .. } => Some((*instance, Failed)),
        Decision::Opened { instance, .. } => Some((*instance, Open)),
        // It is still due: people are asked next, or what runs share.
        Decision::Afresh { instance } if asks_first(graph, instance.node) || run.is_recalling(*instance) => None,
        // The answer may come in the same event.
        Decision::Afresh { instance } if is_recalled(event, *instance) => None,
        Decision::Delegated { instance, .. } | Decision::Afresh { instance } => Some((*instance, Ready)),
        Decision::Reused { instance, .. } => Some((*instance, Cached)),
        Decision::Gathered { .. } => None,
    }));
    // What is asked for after what was offered may be answered in the same event, with others decided in between.
    let all = steps.clone();
    let mut at = 0;
    steps.retain(|step| {
        at += 1;
        !(step.1 == Ready && all[at..].iter().find(|next| next.0 == step.0) == Some(step))
    });
    steps.extend(event.assignments.iter().map(|assignment| (assignment.attempt.instance, Running)));
    steps
}

/// Whether an event takes over for an instance what runs share.
fn is_recalled(event: &Event, instance: Instance) -> bool {
    let is_it = |decision: &&Decision| matches!(decision, Decision::Reused { offer: None, .. });
    event.decisions.iter().filter(is_it).any(|decision| decision.instance() == instance)
}

/// Whether a node asks people or another run before anything else.
fn asks_first(graph: &Graph, node: NodeIx) -> bool {
    let node = graph.node(node);
    let control = [Control::Review, Control::Invoke].map(Runner::Control);
    control.contains(&node.runner) || node.policy.review == Some(ReviewWhen::Before)
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.lines().iter().map(|(line, count)| format!("{line} {count}")).collect();
        writeln!(f, "moves seen: {}", lines.join(", "))?;
        match self.missing() {
            missing if missing.is_empty() => write!(f, "all {} legal moves were seen", lines.len()),
            missing => write!(f, "NEVER SEEN: {}", missing.join(", ")),
        }
    }
}
