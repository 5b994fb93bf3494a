//! The supervisor of attempts: owns the [`Ledger`], and so everything the agent has accepted and still owes.
//!
//! All that must arrive is said here, in one order; a new session is told all of it again from the ledger.

mod attempt;
mod course;
mod jobs;
mod ledger;
mod permits;
mod prefetch;
mod trace;
mod waiting;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use heddle_crash_point::crash_point;
use heddle_proto::agent as wire;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::sync::mpsc;
use wire::agent_message::Kind;
use wire::coordinator_message::Kind as Told;
use wire::{AttemptKey, Verdict};

use heddle_proto::limits::{AGENT_MESSAGE_BYTES_MAX, INLINE_INPUTS_BYTES_MAX};

use crate::artifacts::desk::Desk;
use crate::artifacts::files::Files;
use crate::artifacts::inputs::Placed;
use crate::limits::{JOB_CANCELS_MAX, PARTED_MAX};
use crate::metrics::{NUMBERS, Share};
use crate::outgoing::{Outgoing, Outlet};
use crate::root::RootMessage;
use crate::runners::{ErrorClass, Failure, JobEnd, Registry};
use crate::wire as convert;
use crate::wire::Outcome;
use attempt::{Assignment, Attempt, AttemptArguments, AttemptState, Ended};
use course::Happening;
use ledger::{Admission, Ledger, Stop};
use permits::Class;
use trace::AttemptTrace;

pub(crate) use jobs::JobHandle;
pub(crate) use ledger::Greeting;
pub(crate) use permits::Permits;

pub(crate) struct Attempts;

pub(crate) struct AttemptsArguments {
    pub(crate) slots: u32,
    pub(crate) registry: Arc<Registry>,
    pub(crate) prefetch_patience: Duration,
    pub(crate) root: ActorRef<RootMessage>,
    pub(crate) agent_id: Arc<str>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) farewell: Farewell,
}

/// Whether the agent has said goodbye: the coordinator may end the stream before anybody else knows of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Farewell(Arc<AtomicBool>);

impl Farewell {
    fn say(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the end of a stream is no loss.
    pub(crate) fn is_said(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Numbers the sessions of one agent: what a former one says is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SessionNumber(u64);

pub(crate) enum AttemptsMessage {
    /// A session is about to say Hello. It replaces the one before.
    Greet(RpcReplyPort<(SessionNumber, Greeting)>),
    /// A session was welcomed.
    Welcomed { session: SessionNumber, verdicts: Vec<wire::HeldVerdict>, messages: mpsc::Sender<Outgoing> },
    /// What a session's stream brought.
    Told { session: SessionNumber, messages: Vec<wire::CoordinatorMessage> },
    /// A session is over.
    Left(SessionNumber),
    /// Some time has passed.
    Tick,
    /// What was queued up to this number has waited for too long, if it waits still.
    QueueLooked { queued: u64 },
    /// An attempt waits until its intent is durable.
    Intends(AttemptKey),
    /// An attempt's job can be polled.
    JobStarted { key: AttemptKey, handle: Bytes },
    /// A job that the coordinator wanted to be cancelled is, or cannot be.
    JobCancelled { key: AttemptKey, end: Result<JobEnd, Failure> },
    /// Take nothing in, finish what runs within the grace, and say goodbye.
    Drain { grace: Duration },
    /// The grace is over.
    GraceOver,
}

/// A cheap way to the supervisor, for what belongs to it.
#[derive(Debug, Clone)]
pub(crate) struct AttemptsHandle(ActorRef<AttemptsMessage>);

impl AttemptsHandle {
    pub(crate) fn job_started(&self, key: AttemptKey, handle: Bytes) {
        self.tell(AttemptsMessage::JobStarted { key, handle });
    }

    fn tell(&self, message: AttemptsMessage) {
        // Gone = the agent is ending.
        let _ = self.0.cast(message);
    }
}

pub(crate) struct AttemptsState {
    ledger: Ledger<Box<Assignment>, ActorRef<Happening>>,
    registry: Arc<Registry>,
    root: ActorRef<RootMessage>,
    agent_id: Arc<str>,
    session: SessionNumber,
    /// The queue of the session that is open.
    messages: Option<mpsc::Sender<Outgoing>>,
    outlet: Outlet,
    drain: Drain,
    /// The agent's way to the artifact store.
    desk: Arc<Desk>,
    farewell: Farewell,
    /// For how long work may wait here.
    prefetch_patience: Duration,
    /// Whether what waits is about to be looked at.
    is_watching: bool,
    /// Jobs of others that are being cancelled.
    cancelling: usize,
    /// Values that came ahead of their assignments, and in how many messages.
    parts: HashMap<AttemptKey, (u32, Vec<wire::Input>)>,
    _slots: Share,
    open: Share,
    unacknowledged: Share,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drain {
    Not,
    Draining,
    Done,
}

impl AttemptsState {
    fn greet(&mut self) -> (SessionNumber, Greeting) {
        self.close_session();
        self.session.0 += 1;
        (self.session, self.ledger.greet())
    }

    fn close_session(&mut self) {
        self.parts.clear();
        self.messages = None;
        self.outlet.close();
    }

    fn welcomed(&mut self, verdicts: Vec<wire::HeldVerdict>, messages: mpsc::Sender<Outgoing>) {
        self.outlet.open(messages.clone());
        self.messages = Some(messages);
        for held in verdicts {
            let verdict = held.verdict();
            let Some(key) = held.key else { continue };
            match verdict {
                Verdict::Acknowledged => self.ledger.acknowledge(&key),
                Verdict::Stop => self.disown(&key),
                Verdict::Keep | Verdict::Unspecified => {}
            }
        }
        for (result, bytes) in self.ledger.results() {
            self.send(Outgoing::finished(result, bytes, Permits::NONE));
        }
        let restated = self.ledger.restate();
        for key in restated.intents {
            self.send(intent(key));
        }
        for (key, handle) in restated.handles {
            self.send(job_handle(key, handle));
        }
        self.grant();
    }

    /// Queues what must arrive. Without a session it is not lost: the ledger tells the next one.
    fn send(&mut self, outgoing: Outgoing) {
        let Some(messages) = &self.messages else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = messages.try_send(outgoing) {
            // Each attempt causes fewer messages than the queue has room for: the coordinator asks for more than it
            // reads, or a runner reports too many handles. The session ends when the wire has taken what is queued.
            tracing::warn!("the queue to the coordinator is full; the session will be opened anew");
            self.close_session();
        }
    }

    fn grant(&mut self) {
        if self.messages.is_some() {
            let permits = self.ledger.grant();
            if permits != Permits::NONE {
                self.send(Outgoing::permits(permits));
            }
        }
    }

    async fn told(&mut self, myself: &ActorRef<AttemptsMessage>, message: wire::CoordinatorMessage) {
        match message.kind {
            Some(Told::Assign(assign)) => self.assign(myself, assign).await,
            Some(Told::InputsPart(part)) => self.keep_part(part),
            Some(Told::Acknowledge(acknowledge)) => {
                crash_point!("agent.result-sent");
                acknowledge.keys.iter().for_each(|key| self.ledger.acknowledge(key));
                self.grant();
            }
            Some(Told::Cancel(wire::Cancel { key: Some(key), .. })) => self.cancel(&key),
            Some(Told::CancelJob(wire::CancelJob { job: Some(job) })) => self.cancel_job(myself, job),
            Some(Told::IntentAcknowledged(wire::IntentAcknowledged { key: Some(key), go })) => {
                if let Some(attempt) = self.ledger.set_awaits_intent(&key, false) {
                    let _ = attempt.cast(Happening::IntentAcknowledged { go });
                }
            }
            Some(Told::ReturnPermit(returned)) => {
                if let Some(class) = Class::from_wire(returned.class) {
                    self.ledger.give_back(class, returned.count);
                }
            }
            Some(Told::InventoryRequest(asked)) => {
                let inventory = self.ledger.inventory(asked.request);
                self.send(Outgoing::message(Kind::Inventory(inventory)));
            }
            Some(Told::HandBackRequest(_)) => {
                let unstarted = self.ledger.withdraw();
                self.hand_back(unstarted);
                self.grant();
            }
            // Answered by the session itself.
            Some(Told::Ping(_)) => {}
            Some(
                Told::Welcome(_)
                | Told::Refused(_)
                | Told::Cancel(wire::Cancel { key: None, .. })
                | Told::CancelJob(wire::CancelJob { job: None })
                | Told::IntentAcknowledged(wire::IntentAcknowledged { key: None, .. }),
            )
            | None => tracing::warn!("the coordinator sent a message that this build does not understand; passed over"),
        }
    }

    async fn assign(&mut self, myself: &ActorRef<AttemptsMessage>, mut assign: wire::Assign) {
        crash_point!("agent.assignment-received");
        let (Some(key), Some(class)) = (assign.key.clone(), Class::from_wire(assign.permit)) else {
            tracing::warn!("the coordinator sent an assignment without a key or a permit; passed over");
            return;
        };
        let runner = match self.take_parts(&key, &mut assign) {
            true => self.registry.runner(&assign.node_type, assign.type_version),
            false => {
                let message = "not all inputs arrived with the assignment; another attempt gets them again";
                Err(Failure::new(ErrorClass::Retryable, "inputs_incomplete", message))
            }
        };
        let tenant = assign.tenant.clone();
        let assignment = Box::new(Assignment {
            placed: Placed::of(&mut assign.inputs),
            files: Files::new(Arc::clone(&self.desk), &assign.tenant),
            trace: AttemptTrace::of(&assign, &key, &self.agent_id),
            key: key.clone(),
            runner,
            needs_intent: convert::needs_intent(assign.effect),
            cancels_jobs: self.registry.cancels_jobs(&assign.node_type),
            timeout: (assign.timeout_ms > 0).then(|| Duration::from_millis(assign.timeout_ms)),
            work: convert::work(assign, key.number),
            arrived: Instant::now(),
        });
        match self.ledger.accept(&key, class, &tenant, assignment) {
            Admission::Start(assignment) => self.start(myself, assignment).await,
            Admission::Queued | Admission::Known => {}
            Admission::Refused => self.hand_back(vec![key]),
        }
    }

    /// Keeps values until the assignment that they belong to arrives.
    fn keep_part(&mut self, part: wire::InputsPart) {
        let Some(key) = part.key else { return };
        if self.parts.len() >= PARTED_MAX && !self.parts.contains_key(&key) {
            tracing::warn!("too many assignments arrive in parts at once; they are handed back");
            return;
        }
        let (count, inputs) = self.parts.entry(key).or_default();
        let bytes = |inputs: &[wire::Input]| -> usize {
            inputs.iter().flat_map(|input| &input.values_json).map(Bytes::len).sum()
        };
        if bytes(inputs) + bytes(&part.inputs) <= INLINE_INPUTS_BYTES_MAX + AGENT_MESSAGE_BYTES_MAX {
            *count += 1;
            inputs.extend(part.inputs);
        }
    }

    /// Puts values that came ahead into the assignment; says whether all of them came.
    fn take_parts(&mut self, key: &AttemptKey, assign: &mut wire::Assign) -> bool {
        let (count, parts) = self.parts.remove(key).unwrap_or_default();
        for part in parts {
            if let Some(input) = assign.inputs.iter_mut().find(|input| input.port == part.port) {
                input.values_json.extend(part.values_json);
            }
        }
        count == assign.parts
    }

    async fn start(&mut self, myself: &ActorRef<AttemptsMessage>, assignment: Box<Assignment>) {
        let key = assignment.key.clone();
        let attempts = AttemptsHandle(myself.clone());
        let arguments = AttemptArguments { assignment, attempts, outlet: self.outlet.clone() };
        match Actor::spawn_linked(None, Attempt, arguments, myself.get_cell()).await {
            Ok((attempt, _)) => self.ledger.started(&key, attempt),
            Err(error) => {
                let message = format!("the attempt could not be started: {error}; it may work on another agent");
                let failure = Failure::new(ErrorClass::Retryable, "attempt_not_started", message);
                self.end(key, Ended::at_once(Outcome::Failed(failure), Duration::ZERO));
            }
        }
    }

    async fn start_waiting(&mut self, myself: &ActorRef<AttemptsMessage>) {
        while let Some(assignment) = self.ledger.next() {
            self.start(myself, assignment).await;
        }
    }

    /// Keeps the result, and sends it together with the permit that it frees.
    fn end(&mut self, key: AttemptKey, ended: Ended) {
        // What was stopped before it began says nothing about work.
        if !ended.ran.is_zero() {
            self.ledger.ran(ended.ran);
        }
        NUMBERS.ended(&ended.outcome, ended.queued, ended.ran);
        let Ended { outcome, queued, ran, job, handle } = ended;
        let (result, bytes) = convert::finished(key.clone(), outcome, (queued, ran), job, handle);
        if self.ledger.finish(&key, &result, bytes) && self.messages.is_some() {
            let permits = self.ledger.grant();
            self.send(Outgoing::finished(result, bytes, permits));
        }
    }

    /// Cancels a job that nobody goes on with.
    fn cancel_job(&mut self, myself: &ActorRef<AttemptsMessage>, job: wire::Assign) {
        crash_point!("jobs.order-received");
        let Some(key) = job.key.clone() else { return };
        let runner = match self.cancelling < JOB_CANCELS_MAX {
            true => self.registry.runner(&job.node_type, job.type_version),
            false => {
                let message = format!("this agent cancels {JOB_CANCELS_MAX} jobs already; another one may do it");
                Err(Failure::new(ErrorClass::RateLimited, "cancels_too_many", message))
            }
        };
        match runner {
            Err(failure) => self.send(job_cancelled(key, Err(failure))),
            Ok(runner) => {
                self.cancelling += 1;
                let (work, attempts) = (convert::work(job, key.number), AttemptsHandle(myself.clone()));
                tokio::spawn(async move {
                    let end = jobs::cancel(runner, work).await;
                    attempts.tell(AttemptsMessage::JobCancelled { key, end });
                });
            }
        }
    }

    fn cancel(&mut self, key: &AttemptKey) {
        match self.ledger.cancel(key) {
            Stop::Withdrawn(assignment) => {
                self.end(assignment.key, Ended::at_once(Outcome::Stopped, assignment.arrived.elapsed()));
            }
            Stop::Reach(attempt) => {
                let _ = attempt.cast(Happening::Cancelled);
            }
            Stop::Unknown => {}
        }
    }

    fn disown(&mut self, key: &AttemptKey) {
        if let Stop::Reach(attempt) = self.ledger.disown(key) {
            let _ = attempt.cast(Happening::Disowned);
        }
    }

    fn hand_back(&mut self, keys: Vec<AttemptKey>) {
        if !keys.is_empty() {
            self.send(Outgoing::message(Kind::HandedBack(wire::HandedBack { keys })));
        }
    }

    /// Looks again at what waits when it has waited for too long.
    fn watch_queue(&mut self, myself: &ActorRef<AttemptsMessage>) {
        if let Some(queued) = self.ledger.last_queued().filter(|_| !self.is_watching) {
            self.is_watching = true;
            myself.send_after(self.prefetch_patience, move || AttemptsMessage::QueueLooked { queued });
        }
    }

    /// Gives back what waits behind long work. Without a session nobody could be told.
    fn look_at_queue(&mut self, queued: u64) {
        self.is_watching = false;
        if self.messages.is_some() {
            let overdue = self.ledger.overdue(queued);
            self.hand_back(overdue);
        }
    }

    fn drain(&mut self, myself: &ActorRef<AttemptsMessage>, grace: Duration) {
        if self.drain == Drain::Not {
            self.drain = Drain::Draining;
            let unstarted = self.ledger.drain();
            self.hand_back(unstarted);
            myself.send_after(grace, || AttemptsMessage::GraceOver);
        }
    }

    /// Counts what is owed, and says goodbye once nothing is, or when the grace is over.
    fn account(&mut self, is_grace_over: bool) {
        let (unfinished, unacknowledged) = self.ledger.owed();
        self.open.set(unfinished as i64);
        self.unacknowledged.set(unacknowledged as i64);
        let is_settled = unfinished + unacknowledged == 0;
        if self.drain != Drain::Draining || !(is_settled || is_grace_over) {
            return;
        }
        self.drain = Drain::Done;
        self.farewell.say();
        self.send(Outgoing::message(Kind::Goodbye(wire::Goodbye {})));
        self.close_session();
        let _ = self.root.cast(RootMessage::Drained { unfinished, unacknowledged });
    }
}

fn intent(key: AttemptKey) -> Outgoing {
    Outgoing::message(Kind::Intent(wire::Intent { key: Some(key) }))
}

fn job_cancelled(key: AttemptKey, end: Result<JobEnd, Failure>) -> Outgoing {
    Outgoing::message(Kind::JobCancelled(convert::job_cancelled(key, end)))
}

fn job_handle(key: AttemptKey, handle: Bytes) -> Outgoing {
    Outgoing::message(Kind::Handle(wire::Handle { key: Some(key), handle }))
}

impl Actor for Attempts {
    type Msg = AttemptsMessage;
    type State = AttemptsState;
    type Arguments = AttemptsArguments;

    async fn pre_start(
        &self,
        _myself: ActorRef<AttemptsMessage>,
        arguments: AttemptsArguments,
    ) -> Result<AttemptsState, ActorProcessingErr> {
        Ok(AttemptsState {
            ledger: Ledger::new(arguments.slots),
            registry: arguments.registry,
            root: arguments.root,
            agent_id: arguments.agent_id,
            session: SessionNumber::default(),
            messages: None,
            outlet: Outlet::default(),
            drain: Drain::Not,
            prefetch_patience: arguments.prefetch_patience,
            is_watching: false,
            desk: arguments.desk,
            farewell: arguments.farewell,
            cancelling: 0,
            parts: HashMap::new(),
            _slots: Share::of(&NUMBERS.slots, i64::from(arguments.slots)),
            open: Share::of(&NUMBERS.open, 0),
            unacknowledged: Share::of(&NUMBERS.unacknowledged, 0),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<AttemptsMessage>,
        message: AttemptsMessage,
        state: &mut AttemptsState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            AttemptsMessage::Told { session, messages } if session == state.session => {
                for message in messages {
                    state.told(&myself, message).await;
                }
                state.start_waiting(&myself).await;
            }
            AttemptsMessage::Welcomed { session, verdicts, messages } if session == state.session => {
                state.welcomed(verdicts, messages);
                state.start_waiting(&myself).await;
            }
            AttemptsMessage::Left(session) if session == state.session => state.close_session(),
            AttemptsMessage::Told { .. } | AttemptsMessage::Welcomed { .. } | AttemptsMessage::Left(_) => {}
            AttemptsMessage::Greet(reply) => {
                // Gone = the session ended while it waited.
                let _ = reply.send(state.greet());
            }
            AttemptsMessage::Tick => state.grant(),
            AttemptsMessage::QueueLooked { queued } => state.look_at_queue(queued),
            AttemptsMessage::Intends(key) => {
                if state.ledger.set_awaits_intent(&key, true).is_some() {
                    state.send(intent(key));
                }
            }
            AttemptsMessage::JobStarted { key, handle } => {
                if state.ledger.set_handle(&key, handle.clone()) {
                    state.send(job_handle(key, handle));
                }
            }
            AttemptsMessage::JobCancelled { key, end } => {
                crash_point!("jobs.cancelled");
                state.cancelling -= 1;
                state.send(job_cancelled(key, end));
            }
            AttemptsMessage::Drain { grace } => state.drain(&myself, grace),
            AttemptsMessage::GraceOver => state.account(true),
        }
        state.watch_queue(&myself);
        state.account(false);
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<AttemptsMessage>,
        event: SupervisionEvent,
        state: &mut AttemptsState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(_, Some(mut attempt), _) => {
                if let Ok(attempt) = attempt.take::<AttemptState>() {
                    state.end(attempt.key.clone(), attempt.into_ended());
                }
            }
            // Work that panics is an outcome; this is the actor itself, and its state is gone.
            SupervisionEvent::ActorFailed(attempt, error) => {
                let key = state.ledger.find_running(|running| running.get_id() == attempt.get_id());
                if let Some(key) = key {
                    state.end(key, Ended::at_once(Outcome::panicked(&error.to_string()), Duration::ZERO));
                }
            }
            _ => return Ok(()),
        }
        state.start_waiting(&myself).await;
        state.watch_queue(&myself);
        state.account(false);
        Ok(())
    }
}
