//! One assignment: the shell around a [`Course`].
//!
//! The actor's end carries its state to the supervisor, which reads the outcome there: an attempt costs no message of its
//! own.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use heddle_crash_point::crash_point;
use heddle_proto::agent::AttemptKey;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio_util::task::AbortOnDropHandle;

use super::course::{Course, Happening, Next};
use super::trace::AttemptTrace;
use super::{AttemptsHandle, AttemptsMessage};
use crate::artifacts::files::Files;
use crate::artifacts::inputs::{Placed, load};
use crate::artifacts::outputs::keep;
use crate::outgoing::Outlet;
use crate::runners::{Context, Failure, Notes, Runner, Work};
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
    /// The longest it may run.
    pub(super) timeout: Option<Duration>,
    pub(super) arrived: Instant,
    /// Its span, if somebody wants it.
    pub(super) trace: Option<Box<AttemptTrace>>,
}

pub(super) struct Attempt;

pub(super) struct AttemptArguments {
    pub(super) assignment: Assignment,
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
    plan: Option<Plan>,
    /// The work, or the clock that runs while an intent is awaited. Ends with the actor.
    task: Option<AbortOnDropHandle<()>>,
    attempts: AttemptsHandle,
    /// Its span, and what the work tells for it.
    trace: Option<(Box<AttemptTrace>, Notes)>,
}

struct Plan {
    runner: Result<Arc<dyn Runner>, Failure>,
    work: Work,
    placed: Placed,
    files: Files,
    context: Context,
}

/// Where the attempt that has ended spent its time, and how it ended.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) queued: Duration,
    pub(super) ran: Duration,
}

impl Ended {
    /// The end of an attempt that never ran, or nobody knows for how long.
    pub(super) fn at_once(outcome: Outcome, queued: Duration) -> Self {
        Ended { outcome, queued, ran: Duration::ZERO }
    }
}

impl AttemptState {
    /// The end of an attempt whose actor has stopped. Without an outcome it was stopped from outside.
    pub(super) fn into_ended(self) -> Ended {
        let outcome = match self.course {
            Course::Ended(outcome) => outcome,
            Course::AwaitingIntent | Course::Working => Outcome::Stopped,
        };
        let ran = self.ended.saturating_duration_since(self.started);
        let ended = Ended { outcome, queued: self.started - self.arrived, ran };
        if let Some((trace, notes)) = self.trace {
            trace.tell(&ended, notes.take());
        }
        ended
    }

    async fn happens(&mut self, myself: &ActorRef<Happening>, happening: Happening) {
        match self.course.on(happening) {
            Next::Begin => self.begin(myself).await,
            Next::End => self.end(myself),
            Next::Nothing => {}
        }
    }

    async fn begin(&mut self, myself: &ActorRef<Happening>) {
        let Some(plan) = self.plan.take() else { return };
        crash_point!("agent.before-work");
        let mut work: Pin<Box<dyn Future<Output = Outcome> + Send>> = Box::pin(run(plan));
        // Work that is ready at once needs no task, no timer and no message.
        if let Some(outcome) = work.as_mut().now_or_never() {
            self.course.on(Happening::Ended(outcome));
            return self.end(myself);
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

/// The work as a future that never panics.
async fn run(plan: Plan) -> Outcome {
    let work = async move {
        let Plan { runner, mut work, placed, files, context } = plan;
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

fn panic_message(panic: &(dyn Any + Send)) -> &str {
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
        let Assignment { key, runner, work, placed, files, needs_intent, timeout, arrived, trace } = assignment;
        let notes = trace.is_some().then(Notes::default);
        let context = Context::new(key.clone(), outlet, attempts.clone(), files.clone(), notes.clone());
        let started = Instant::now();
        Ok(AttemptState {
            key,
            arrived,
            started,
            ended: started,
            timeout,
            course: Course::new(needs_intent),
            plan: Some(Plan { runner, work, placed, files, context }),
            task: None,
            attempts,
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
            Course::Ended(_) => {}
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
