//! How a run's time went: the same fold once more, with every attempt of every node.
//!
//! What is measured on an agent's clock (how long an attempt queued and ran) is laid out backwards from the time at which
//! its end was recorded, so that all times of a run are on one clock: the partition's.

use std::sync::Arc;

use super::Corrupt;
use super::view::RunView;
use crate::graph::Graph;
use crate::id::{AgentId, AttemptNumber, Instance, NodeIx, RunId};
use crate::run::event::{Attempt, Event, Fact, Timing};
use crate::time::Timestamp;

/// A run's history with its times, as far as it has been read.
#[derive(Debug, Clone)]
pub struct Timeline {
    view: RunView,
    attempts: Vec<Vec<AttemptTimes>>,
}

/// How the time of one attempt went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptTimes {
    /// Which try.
    pub number: AttemptNumber,
    /// Who had it.
    pub agent: AgentId,
    /// When that was recorded; it was sent at once.
    pub assigned_at: Timestamp,
    /// When the agent began with it, if that is known.
    pub started_at: Option<Timestamp>,
    /// When its end was recorded.
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    pub end: AttemptEnd,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptEnd {
    /// It has not.
    Running,
    /// With a result.
    Succeeded,
    /// With an error of this code.
    Failed(Arc<str>),
    /// Its agent went, or forgot it.
    Lost,
    /// Its agent gave it back before it began.
    HandedBack,
    /// The run was over before it was.
    Stopped,
}

impl Timeline {
    /// A timeline of a run from its first event.
    ///
    /// # Errors
    /// [`Corrupt`] if the history does not begin with this event.
    pub fn begin(id: RunId, graph: Arc<Graph>, first: &Event) -> Result<Self, Corrupt> {
        let view = RunView::begin(id, graph, first)?;
        let attempts = vec![Vec::new(); view.run().graph().len()];
        let mut timeline = Self { view, attempts };
        timeline.note(first);
        Ok(timeline)
    }

    /// Reads the next event.
    ///
    /// # Errors
    /// [`Corrupt`] if it does not follow.
    pub fn step(&mut self, event: &Event) -> Result<(), Corrupt> {
        self.view.step(event)?;
        self.note(event);
        Ok(())
    }

    /// The run as people see it.
    pub fn view(&self) -> &RunView {
        &self.view
    }

    /// The tries of a node, the first one first.
    pub fn attempts(&self, node: NodeIx) -> &[AttemptTimes] {
        &self.attempts[node.0 as usize]
    }

    /// When a node's last input was settled; the run's start for one without inputs, `None` while an input is open.
    pub fn ready_at(&self, node: NodeIx) -> Option<Timestamp> {
        let run = self.view.run();
        let inputs = run.graph().in_edges(node).iter().map(|edge| self.view.node(edge.source).ended_at);
        inputs.into_iter().try_fold(run.started_at(), |latest, ended_at| Some(latest.max(ended_at?)))
    }

    fn note(&mut self, event: &Event) {
        let at = event.at;
        match &event.fact {
            Fact::Succeeded { attempt, timing, .. } => self.over(*attempt, at, AttemptEnd::Succeeded, Some(*timing)),
            Fact::Failed { attempt, error, timing, .. } => {
                self.over(*attempt, at, AttemptEnd::Failed(Arc::clone(&error.code)), Some(*timing));
            }
            Fact::Lost { attempt, .. } => self.over(*attempt, at, AttemptEnd::Lost, None),
            Fact::HandedBack { attempts } => {
                attempts.iter().for_each(|attempt| self.over(*attempt, at, AttemptEnd::HandedBack, None));
            }
            Fact::Stopped { attempts } => {
                attempts.iter().for_each(|attempt| self.over(*attempt, at, AttemptEnd::Stopped, None));
            }
            Fact::Discarded { attempt } => self.over(*attempt, at, AttemptEnd::Stopped, None),
            Fact::Settled { attempt, .. } => self.over(*attempt, at, AttemptEnd::Succeeded, None),
            _ => {}
        }
        for assignment in &event.assignments {
            self.of(assignment.attempt.instance).push(AttemptTimes {
                number: assignment.attempt.number,
                agent: assignment.to.agent.clone(),
                assigned_at: at,
                started_at: None,
                ended_at: None,
                end: AttemptEnd::Running,
            });
        }
    }

    fn over(&mut self, attempt: Attempt, at: Timestamp, end: AttemptEnd, timing: Option<Timing>) {
        let times = self.of(attempt.instance).iter_mut().find(|times| times.number == attempt.number);
        let Some(times) = times else { return };
        times.started_at = timing.map(|timing| at.before(timing.ran).max(times.assigned_at));
        times.ended_at = Some(at);
        times.end = end;
    }

    fn of(&mut self, instance: Instance) -> &mut Vec<AttemptTimes> {
        &mut self.attempts[instance.node.0 as usize]
    }
}
