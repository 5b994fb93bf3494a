//! Jobs at providers (E10, E21): by what each is asked for, and those that no attempt goes on with, which are to be cancelled.
//!
//! A job is in one place at a time: with the attempt that has it, with the tries of its node until the next attempt takes it
//! over, or among what is owed, until it is known what became of it.

use serde::{Deserialize, Serialize};

use super::corrupt::Corrupt;
use super::{Admitted, Rejection, Run, RunStatus};
use crate::fault::{Fault, is_planted};
use crate::id::{AttemptNumber, Instance, ProviderIx};
use crate::run::event::{Attempt, Fact, NodeError};
use crate::time::Timestamp;
use crate::value::ValueRef;

/// A job that any agent can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Where its handle lies.
    pub handle: ValueRef,
    /// Whether its node type can cancel it; nothing: it was begun under a release that owed no cancels.
    pub cancels: Option<bool>,
}

/// Names a job inside a run: by the last attempt that had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobKey {
    /// Of which instance.
    pub instance: Instance,
    /// Which try.
    pub number: AttemptNumber,
}

impl From<&Attempt> for JobKey {
    fn from(attempt: &Attempt) -> Self {
        Self { instance: attempt.instance, number: attempt.number }
    }
}

/// A job that is to be cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwedCancel {
    /// Where its handle lies.
    pub handle: ValueRef,
    /// Whether its node type can do that.
    pub cancels: bool,
    /// Who does the node's work: at whose provider it is.
    pub provider: ProviderIx,
    /// Keys of its node's config that people had changed.
    pub config: Option<ValueRef>,
    /// Since when nobody goes on with it.
    pub since: Timestamp,
}

/// What became of a job that was to be cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEnd {
    /// Its provider has stopped it.
    Cancelled,
    /// It had come to its end before.
    Over,
    /// Its node type cannot cancel jobs: it may go on.
    Unsupported,
    /// It could not be cancelled, and may go on.
    Failed(NodeError),
}

impl JobEnd {
    /// Its stable name.
    pub fn name(&self) -> &'static str {
        match self {
            JobEnd::Cancelled => "cancelled",
            JobEnd::Over => "over",
            JobEnd::Unsupported => "unsupported",
            JobEnd::Failed(_) => "failed",
        }
    }
}

impl Run {
    /// Jobs that are to be cancelled.
    pub fn owed_cancels(&self) -> impl Iterator<Item = (JobKey, &OwedCancel)> {
        self.state.owed.iter().map(|(key, owed)| (*key, owed))
    }

    /// How many jobs of an instance its failed attempts have left: a provider that keeps to its keys would give a job that was
    /// cancelled again.
    pub(crate) fn jobs_left(&self, instance: Instance) -> u32 {
        self.state.tries.get(&instance).map_or(0, |tries| tries.jobs_left)
    }

    /// One of them.
    pub fn owed_cancel(&self, job: JobKey) -> Option<&OwedCancel> {
        self.state.owed.get(&job)
    }

    /// Whether any job is to be cancelled.
    pub fn owes_cancels(&self) -> bool {
        !self.state.owed.is_empty()
    }

    /// What became of a job that was to be cancelled: it counts once.
    pub(super) fn end_job(&self, job: JobKey, end: JobEnd) -> Result<Admitted, Rejection> {
        match self.state.owed.contains_key(&job) {
            true => Ok(Fact::ProviderCancelled { job, end }.into()),
            false => Err(Rejection::Idle),
        }
    }

    /// Whether a handle that comes now is still kept: also when nothing else of its attempt counts, so that its job is not
    /// forgotten.
    pub(crate) fn can_cancel(&self, instance: Instance) -> bool {
        let node = self.graph.node(instance.node);
        node.provided(self.provider_of(instance)).node_type.is_some_and(|node_type| node_type.cancels_jobs)
    }

    /// No attempt goes on with a job.
    pub(super) fn owe_cancel(&mut self, key: JobKey, job: Option<Job>, provider: ProviderIx) {
        let Some((Job { handle, .. }, cancels)) = job.and_then(|job| Some((job, job.cancels?))) else { return };
        if is_planted(Fault::JobForgotten) {
            return;
        }
        let (config, since) = (self.changed_config(key.instance), self.state.last_at);
        self.state.owed.insert(key, OwedCancel { handle, cancels, provider, config, since });
    }

    /// No attempt takes over the job that the tries of an instance keep, if they keep one.
    pub(super) fn owe_kept(&mut self, instance: Instance) {
        let Some(tries) = self.state.tries.get_mut(&instance) else { return };
        let (job, number, provider) = (tries.job.take(), tries.last, tries.provider);
        self.owe_cancel(JobKey { instance, number }, job, provider);
    }

    /// The run is over: no attempt takes over any job that tries keep.
    pub(super) fn owe_all_kept(&mut self) {
        let kept = self.state.tries.iter().filter(|(_, tries)| tries.job.is_some());
        let kept: Vec<Instance> = kept.map(|(instance, _)| *instance).collect();
        kept.into_iter().for_each(|instance| self.owe_kept(instance));
    }

    /// Folds what became of a job.
    pub(super) fn job_ended(&mut self, job: JobKey) -> Result<(), Corrupt> {
        let unknown = Corrupt::UnknownJob { seq: self.state.seq, job };
        self.state.owed.remove(&job).map(drop).ok_or(unknown)
    }

    /// Whether it is over with everything but the jobs that are to be cancelled.
    pub fn only_owes(&self) -> bool {
        self.state.status != RunStatus::Running && self.state.attempts.is_empty() && self.owes_cancels()
    }
}
