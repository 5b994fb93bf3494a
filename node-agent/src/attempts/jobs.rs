//! Cancelling jobs at providers: that of an attempt which ends without its result, and those that the coordinator names
//! because nobody goes on with them.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::attempt::panic_message;
use crate::limits::{JOB_CANCEL_WAIT, JOB_START_WAIT};
use crate::runners::{ErrorClass, Failure, JobEnd, Runner, Work};

/// The job of an attempt, if it has begun one: a cell that its work and its supervisor share.
pub(crate) type JobHandle = Arc<watch::Sender<Bytes>>;

/// What is needed to cancel the job of a running attempt.
pub(super) struct OwnJob {
    pub(super) runner: Arc<dyn Runner>,
    /// Without inputs.
    pub(super) work: Work,
    pub(super) handle: JobHandle,
}

impl OwnJob {
    /// Ends the attempt's work, and cancels its job. Work that is just beginning a job gets a little time to say its handle: it
    /// would go on at the provider unknown.
    pub(super) async fn cancel(self, task: Option<AbortOnDropHandle<()>>) -> Option<JobEnd> {
        let Self { runner, mut work, handle } = self;
        let mut told = handle.subscribe();
        if let Some(task) = task {
            tokio::select! {
                _ = timeout(JOB_START_WAIT, told.wait_for(|handle| !handle.is_empty())) => {}
                _ = task => {}
            }
        }
        work.handle = handle.borrow().clone();
        if work.handle.is_empty() {
            return None;
        }
        cancel(runner, work).await.ok()
    }
}

/// Cancels a job. It never panics, and ends within [`JOB_CANCEL_WAIT`].
pub(super) async fn cancel(runner: Arc<dyn Runner>, work: Work) -> Result<JobEnd, Failure> {
    let cancelling = async move { runner.cancel_job(work).await };
    match timeout(JOB_CANCEL_WAIT, AssertUnwindSafe(cancelling).catch_unwind()).await {
        Ok(Ok(end)) => end,
        Ok(Err(panic)) => {
            let message = format!("the cancelling of the job panicked: {}", panic_message(&*panic));
            Err(Failure::new(ErrorClass::Internal, "panic", message))
        }
        Err(_) => {
            let message = format!("the job was not cancelled within {} s", JOB_CANCEL_WAIT.as_secs());
            Err(Failure::new(ErrorClass::Timeout, "timeout", message))
        }
    }
}
