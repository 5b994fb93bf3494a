//! Jobs at the model's provider: whatever of them a run knows, and does not need any more, is over when all is quiet (F26).

use std::collections::BTreeMap;

use heddle_core::id::{Instance, RunId};
use heddle_core::run::{JobEnd, JobKey};
use heddle_core::value::{Digest, ValueRef};

use super::check::Checker;

/// All jobs, by their handles.
pub(super) type Jobs = BTreeMap<Digest, Job>;

/// A job as its provider knows it, and what is durable of it.
#[derive(Debug)]
pub(super) struct Job {
    run: RunId,
    /// Whether it has come to its end, or was cancelled.
    is_over: bool,
    /// Whose it is once its handle is durable, and whether that node type can cancel it.
    known: Option<(Instance, bool)>,
    /// Whether the history says that it may go on.
    is_left: bool,
}

impl Checker {
    /// The provider begins a job.
    pub(super) fn job_begun(&mut self, run: RunId, handle: Digest) {
        self.jobs.insert(handle, Job { run, is_over: false, known: None, is_left: false });
    }

    /// The provider ends a job; whether it went on until now.
    pub(super) fn job_over(&mut self, handle: Digest) -> bool {
        self.jobs.get_mut(&handle).is_some_and(|job| !std::mem::replace(&mut job.is_over, true))
    }

    pub(super) fn job_known(&mut self, handle: &ValueRef, of: Instance, cancels: bool) {
        self.jobs.get_mut(&handle.digest).into_iter().for_each(|job| job.known = Some((of, cancels)));
    }

    /// An attempt says itself that it has failed: that its type cannot cancel jobs is no news with each of its failures.
    pub(super) fn job_failed(&mut self, run: RunId, instance: Instance) {
        let of_it = self.jobs.values_mut().filter(|job| job.run == run && job.known == Some((instance, false)));
        of_it.for_each(|job| job.is_left = true);
    }

    /// The history says what became of a job that was to be cancelled.
    pub(super) fn job_settled(&mut self, run: RunId, key: JobKey, end: &JobEnd) {
        let fold = self.runs.get(&run).and_then(|account| account.fold.as_ref());
        let handle = fold.and_then(|fold| fold.owed_cancel(key)).map(|owed| owed.handle.digest);
        let Some(job) = handle.and_then(|handle| self.jobs.get_mut(&handle)) else { return };
        job.is_left = matches!(end, JobEnd::Unsupported | JobEnd::Failed(_));
        let is_true = job.is_left || job.is_over;
        self.expect(is_true, "H15", || format!("{run}: the job of {key:?} is said to be {}, and goes on", end.name()));
    }

    /// Everything is quiet, and all runs are over.
    pub(super) fn check_jobs(&self) {
        let forgotten = self.jobs.values().filter(|job| job.known.is_some() && !job.is_over && !job.is_left);
        for job in forgotten.filter(|job| !self.is_quarantined(job.run)) {
            self.fail("H15", format!("{} is over, and a job of it goes on at its provider", job.run));
        }
    }
}
