//! One assignment: the shell around a [`Course`].
//!
//! The actor's end carries its state to the supervisor, which reads the outcome there: an attempt costs no message of its
//! own.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use heddle_crash_point::crash_point;
use heddle_proto::agent::AttemptKey;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio_util::task::AbortOnDropHandle;

use super::course::{Course, Happening, Next};
use super::jobs::{JobHandle, OwnJob};
use super::trace::AttemptTrace;
use super::{AttemptsHandle, AttemptsMessage};
use crate::artifacts::files::Files;
use crate::artifacts::inputs::{Placed, load};
use crate::artifacts::outputs::keep;
use crate::outgoing::Outlet;
use crate::runners::{Context, Failure, JobEnd, Notes, Runner, Work};
use crate::wire::Outcome;

/// An assignment that has been taken in.
pub(super) struct Assignment {
    pub(super) key: AttemptKey,
    /// What runs it, or why nothing here can.
    pub(super) runner: Result<Arc<dyn Runner>, Failure>,
    pub(super) work: Work,
    /// Inputs that lie in the artifact store.
    pub(super) placed: Placed,
    /// The files of its tenant.
    pub(super) files: Files,
    pub(super) needs_intent: bool,
    /// Whether its type can cancel a job at its provider.
    pub(super) cancels_jobs: bool,
    /// The longest it may run.
    pub(super) timeout: Option<Duration>,
    pub(super) arrived: Instant,
    /// Its span, if somebody wants it.
    pub(super) trace: Option<Box<AttemptTrace>>,
}

pub(super) struct Attempt;

pub(super) struct AttemptArguments {
    pub(super) assignment: Box<Assignment>,
    pub(super) attempts: AttemptsHandle,
    pub(super) outlet: Outlet,
}

pub(super) struct AttemptState {
    pub(super) key: AttemptKey,
    arrived: Instant,
    started: Instant,
    ended: Instant,
    timeout: Option<Duration>,
    course: Course,
    /// What begins once nothing stands in the way.
    plan: Option<Box<Plan>>,
    /// The work, or the clock that runs while an intent is awaited. Ends with the actor.
    task: Option<AbortOnDropHandle<()>>,
    attempts: AttemptsHandle,
    /// Its job at the provider, while it may have one that can be cancelled.
    job: Option<Box<OwnJob>>,
    /// Where the work says the handle of its job: whoever tells the end reads it there, and waits for no message.
    handle: Option<JobHandle>,
    /// What became of that.
    job_end: Option<JobEnd>,
    /// Its span, and what the work tells for it.
    trace: Option<(Box<AttemptTrace>, Notes)>,
}

struct Plan {
    runner: Result<Arc<dyn Runner>, Failure>,
    work: Work,
    placed: Placed,
    files: Files,
    context: Context,
    /// Where it says its job, if that can be cancelled.
    job: Option<JobHandle>,
}

/// Where the attempt that has ended spent its time, and how it ended.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) queued: Duration,
    pub(super) ran: Duration,
    /// What became of its job, if it was cancelled.
    pub(super) job: Option<JobEnd>,
    /// The handle of its job; empty = none.
    pub(super) handle: Bytes,
}

impl Ended {
    /// The end of an attempt that never ran, or nobody knows for how long.
    pub(super) fn at_once(outcome: Outcome, queued: Duration) -> Self {
        Ended { outcome, queued, ran: Duration::ZERO, job: None, handle: Bytes::new() }
    }
}

impl AttemptState {
    /// The end of an attempt whose actor has stopped. Without an outcome it was stopped from outside.
    pub(super) fn into_ended(self) -> Ended {
        let outcome = match self.course {
            Course::Ended(outcome) => outcome,
            Course::AwaitingIntent | Course::Working | Course::Cancelling(_) => Outcome::Stopped,
        };
        let ran = self.ended.saturating_duration_since(self.started);
        let handle = self.handle.map_or_else(Bytes::new, |handle| handle.borrow().clone());
        let ended = Ended { outcome, queued: self.started - self.arrived, ran, job: self.job_end, handle };
        if let Some((trace, notes)) = self.trace {
            trace.tell(&ended, notes.take());
        }
        ended
    }

    async fn happens(&mut self, myself: &ActorRef<Happening>, happening: Happening) {
        if let Happening::JobEnded(end) = &happening {
            self.job_end = *end;
        }
        match self.course.on(happening, self.job.is_some()) {
            Next::Begin => self.begin(myself).await,
            Next::CancelJob => self.cancel_job(myself),
            Next::End => self.end(myself),
            Next::Nothing => {}
        }
    }

    async fn begin(&mut self, myself: &ActorRef<Happening>) {
        let Some(plan) = self.plan.take() else { return };
        self.job = plan.own_job();
        crash_point!("agent.before-work");
        let mut work: Pin<Box<dyn Future<Output = Outcome> + Send>> = Box::pin(run(plan));
        // Work that is ready at once needs no task, no timer and no message.
        if let Some(outcome) = work.as_mut().now_or_never() {
            return match self.course.on(Happening::Ended(outcome), self.job.is_some()) {
                Next::CancelJob => self.cancel_job(myself),
                _ => self.end(myself),
            };
        }
        let (myself, left) = (myself.clone(), self.time_left());
        self.task = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let outcome = match left {
                Some((left, timeout)) => {
                    tokio::time::timeout(left, work).await.unwrap_or_else(|_| Outcome::timed_out(timeout))
                }
                None => work.await,
            };
            // Gone = stopped meanwhile.
            let _ = myself.cast(Happening::Ended(outcome));
        })));
    }

    /// Cancels its job, and ends after that.
    fn cancel_job(&mut self, myself: &ActorRef<Happening>) {
        let (job, task, myself) = (self.job.take(), self.task.take(), myself.clone());
        self.task = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let end = match job {
                Some(job) => job.cancel(task).await,
                None => None,
            };
            let _ = myself.cast(Happening::JobEnded(end));
        })));
    }

    /// Asks for the intent to be made durable, and lets the clock run meanwhile.
    fn await_intent(&mut self, myself: &ActorRef<Happening>) {
        self.attempts.tell(AttemptsMessage::Intends(self.key.clone()));
        if let Some((left, timeout)) = self.time_left() {
            let myself = myself.clone();
            self.task = Some(AbortOnDropHandle::new(tokio::spawn(async move {
                tokio::time::sleep(left).await;
                let _ = myself.cast(Happening::Ended(Outcome::timed_out(timeout)));
            })));
        }
    }

    /// What remains of the timeout, and the whole of it.
    fn time_left(&self) -> Option<(Duration, Duration)> {
        self.timeout.map(|timeout| (timeout.saturating_sub(self.started.elapsed()), timeout))
    }

    fn end(&mut self, myself: &ActorRef<Happening>) {
        self.ended = Instant::now();
        self.task = None;
        crash_point!("agent.before-result");
        myself.stop(None);
    }
}

impl Plan {
    /// How its job can be cancelled, if it may get one.
    fn own_job(&self) -> Option<Box<OwnJob>> {
        let handle = self.job.clone()?;
        let runner = Arc::clone(self.runner.as_ref().ok()?);
        let work = Work { inputs: Vec::new(), ..self.work.clone() };
        handle.send_replace(work.handle.clone());
        Some(Box::new(OwnJob { runner, work, handle }))
    }
}

/// The work as a future that never panics.
async fn run(plan: Box<Plan>) -> Outcome {
    let work = async move {
        let Plan { runner, mut work, placed, files, context, job: _ } = *plan;
        let runner = runner?;
        let _room = load(&files, &mut work.inputs, placed).await?;
        let outputs = runner.run(work, context).await?;
        keep(&files, outputs).await
    };
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(answer) => Outcome::of(answer),
        Err(panic) => Outcome::panicked(panic_message(&*panic)),
    }
}

pub(super) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(message), _) => message,
        (None, Some(message)) => message,
        (None, None) => "without a message",
    }
}

impl Actor for Attempt {
    type Msg = Happening;
    type State = AttemptState;
    type Arguments = AttemptArguments;

    async fn pre_start(
        &self,
        _myself: ActorRef<Happening>,
        arguments: AttemptArguments,
    ) -> Result<AttemptState, ActorProcessingErr> {
        let AttemptArguments { assignment, attempts, outlet } = arguments;
        let Assignment { key, runner, work, placed, files, needs_intent, cancels_jobs, timeout, arrived, trace } =
            *assignment;
        let notes = trace.is_some().then(Notes::default);
        let may_begin_job = needs_intent || cancels_jobs;
        let handle = may_begin_job.then(JobHandle::default);
        let job = handle.clone().filter(|_| cancels_jobs);
        let (at, told) = (key.clone(), attempts.clone());
        let context = Context::new(at, outlet, told, files.clone(), notes.clone(), handle.clone());
        let started = Instant::now();
        Ok(AttemptState {
            key,
            arrived,
            started,
            ended: started,
            timeout,
            course: Course::new(needs_intent),
            plan: Some(Box::new(Plan { runner, work, placed, files, context, job })),
            task: None,
            attempts,
            job: None,
            handle,
            job_end: None,
            trace: trace.zip(notes),
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<Happening>,
        state: &mut AttemptState,
    ) -> Result<(), ActorProcessingErr> {
        match state.course {
            Course::AwaitingIntent => state.await_intent(&myself),
            Course::Working => state.begin(&myself).await,
            Course::Cancelling(_) | Course::Ended(_) => {}
        }
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Happening>,
        happening: Happening,
        state: &mut AttemptState,
    ) -> Result<(), ActorProcessingErr> {
        state.happens(&myself, happening).await;
        Ok(())
    }
}
