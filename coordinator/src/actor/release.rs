//! Effects whose cause is durable leave the process here.

use std::sync::Arc;

use heddle_core::batch::BatchId;
use heddle_core::id::{AgentBoot, AttemptKey, PartitionId, RunId};
use heddle_core::outbox::{Message, MessageBody};
use heddle_core::partition::batch::Phase;
use heddle_core::partition::io::{Delivery, Dispatch, Effect, Input, Order};
use heddle_core::run::event::{ErrorClass, NodeError, Timing};
use heddle_core::run::{ChildEnd, Outcome};
use heddle_crash_point::crash_point;
use heddle_error_chain::chain;
use heddle_proto::agent::{CoordinatorMessage, coordinator_message::Kind};
use tokio::task::JoinSet;

use super::inputs::{self, Unfit};
use crate::batches;
use crate::children::{self, Started};
use crate::limits::{ATTEMPT_ARTIFACTS_MAX, ATTEMPT_INPUTS_BYTES_MAX, ATTEMPT_ITEMS_MAX};
use crate::read::hub::Hint;
use crate::session::convert;
use crate::session::inputs::in_parts;
use crate::shared::Shared;

/// Carries out the effects of one partition.
pub(crate) struct Releaser {
    shared: Arc<Shared>,
    partition: PartitionId,
}

impl Releaser {
    pub(crate) fn new(shared: Arc<Shared>, partition: PartitionId) -> Self {
        Self { shared, partition }
    }

    /// Carries out effects in order; what one agent gets leaves as one bundle.
    pub(crate) fn release(&self, effects: Vec<Effect>, work: &mut JoinSet<()>) {
        let mut bundles: Vec<(AgentBoot, Vec<CoordinatorMessage>)> = Vec::new();
        for effect in effects {
            match effect {
                Effect::Dispatch(dispatch) => {
                    crash_point!("session.before-assign");
                    self.shared.counters.attempts.add(1);
                    match inputs::at_hand(&self.shared, &dispatch) {
                        Some(filled) if !inputs::is_too_much(&filled) => {
                            for message in in_parts(convert::assign(&dispatch, filled)) {
                                push(&mut bundles, &dispatch.to, message);
                            }
                        }
                        Some(_) => refuse(&self.shared, self.partition, &dispatch, &Unfit::TooLarge),
                        None => self.fetch_and_send(*dispatch, work),
                    }
                }
                Effect::CancelJob(job) => self.cancel_job(*job, work),
                Effect::CancelAttempt { to, key } => push(&mut bundles, &to, convert::cancel(key)),
                Effect::Acknowledge { to, key } => {
                    crash_point!("session.before-acknowledge");
                    acknowledge(&mut bundles, &to, key);
                }
                Effect::AnswerIntent { to, key, go } => push(&mut bundles, &to, convert::answer_intent(key, go)),
                Effect::Verdicts { to, session, verdicts } => {
                    self.shared.sessions.verdicts(self.partition, &to, session, verdicts);
                }
                Effect::Notify { run, seq, phase } => {
                    self.shared.hub.publish(run, Hint { seq, phase });
                    self.hint_batch(run, phase);
                    if let Some(ended) = self.shared.ended_runs.as_ref().filter(|_| phase == Phase::Closed) {
                        // Too many wait: this one is not told, and nobody is held up by it.
                        ended.try_send(run).unwrap_or_else(|_| heddle_telemetry::note_dropped());
                    }
                }
                Effect::Deliver(message) => self.deliver(message, work),
                Effect::Arrived { source, message } => {
                    crash_point!("outbox.before-arrived");
                    let sender = self.shared.journal.partitions().of(source);
                    self.shared.doors.report(sender, [Input::Received(message)]);
                }
                Effect::CountForeign(key) => {
                    self.shared.counters.foreign_messages.add(1);
                    tracing::warn!(run = %key.run, node = %key.instance.node, "an agent spoke of what it does not hold");
                }
                Effect::CountZombie(key) => {
                    self.shared.counters.zombie_results.add(1);
                    tracing::info!(run = %key.run, node = %key.instance.node, attempt = %key.number, "late result refused");
                }
            }
        }
        for (to, bundle) in bundles {
            self.shared.sessions.send(self.partition, &to, bundle);
        }
    }

    /// Brings a message to its receiver. What cannot be brought now is brought again: the sender has not heard of it.
    fn deliver(&self, message: Message, work: &mut JoinSet<()>) {
        crash_point!("outbox.before-deliver");
        let Message { id, source, destination, body } = message;
        let shared = Arc::clone(&self.shared);
        let receiver = shared.journal.partitions().of(destination);
        let report = move |shared: &Shared, order| {
            let delivery = Delivery { message: id, source, order };
            shared.doors.report(receiver, [Input::Delivered(Box::new(delivery))]);
        };
        match body {
            MessageBody::CancelRun { run, by } => report(&shared, Order::Cancel { run, by, reason: None }),
            MessageBody::StartChild { child, parent, instance, seq } => drop(work.spawn(async move {
                match children::start(&shared, parent, instance, seq, child).await {
                    Ok(Started::Begins(submission)) => report(&shared, Order::Start(submission)),
                    Ok(Started::Exists) => {
                        let sender = shared.journal.partitions().of(source);
                        shared.doors.report(sender, [Input::Received(id)]);
                    }
                    Ok(Started::Cannot(error)) => {
                        // Nothing begins where the message leads to: its sender hears at once what that means for it.
                        let end = Box::new(ChildEnd { instance, child, outcome: Err(error) });
                        let order = Order::EndChild { parent, end };
                        let delivery = Delivery { message: id, source, order };
                        let sender = shared.journal.partitions().of(source);
                        shared.doors.report(sender, [Input::Delivered(Box::new(delivery))]);
                    }
                    Err(error) => {
                        let error = chain(&error);
                        tracing::warn!(%parent, %child, error, "a child cannot be started yet; trying again");
                    }
                }
            })),
            MessageBody::ChildEnded { child, parent, instance } => drop(work.spawn(async move {
                match children::end(&shared, parent, instance, child).await {
                    Ok(end) => report(&shared, Order::EndChild { parent, end: Box::new(end) }),
                    Err(error) => {
                        let error = chain(&error);
                        tracing::warn!(%parent, %child, error, "what a child gave cannot be read yet; trying again");
                    }
                }
            })),
            MessageBody::StartRun { batch, index } => drop(work.spawn(async move {
                match batches::submission(&shared, batch, index).await {
                    Ok(submission) => report(&shared, Order::Start(Box::new(submission))),
                    Err(error) if error.may_pass() => {
                        let error = chain(&error);
                        tracing::warn!(%batch, index, error, "a run of a batch cannot be started yet; trying again");
                    }
                    Err(error) => {
                        // It shows as failed. To go on asking would keep its batch from ever being over.
                        let error = chain(&error);
                        tracing::error!(%batch, index, error, "a run of a batch cannot be started, and never will be");
                        let sender = shared.journal.partitions().of(source);
                        shared.doors.report(sender, [Input::Received(id)]);
                    }
                }
            })),
        }
    }

    /// A batch may have been waiting for this end. It looks for itself: few runs are of a batch, and some only seem to be.
    fn hint_batch(&self, run: RunId, phase: Phase) {
        if matches!(phase, Phase::Closing | Phase::Closed)
            && let Some((batch, _)) = BatchId::of_run(run)
        {
            let owner = self.shared.journal.partitions().of(batch.slot());
            self.shared.doors.report(owner, [Input::BatchHint(batch)]);
        }
    }

    /// Asks an agent to cancel a job at its provider.
    fn cancel_job(&self, job: Dispatch, work: &mut JoinSet<()>) {
        let (shared, partition) = (Arc::clone(&self.shared), self.partition);
        let send = move |shared: &Shared, job: &Dispatch, filled| {
            crash_point!("jobs.before-order");
            let message = convert::cancel_job(job, filled);
            shared.sessions.send_in(job.session, partition, &job.to, vec![message]);
        };
        if let Some(filled) = inputs::at_hand(&shared, &job) {
            return send(&shared, &job, filled);
        }
        // What cannot be read is asked for again when no answer has come.
        work.spawn(async move {
            if let Ok(filled) = inputs::read(&shared, &job).await {
                send(&shared, &job, filled);
            }
        });
    }

    /// The inputs are older than what is at hand, or long lists: they are read, and then the messages are sent.
    fn fetch_and_send(&self, dispatch: Dispatch, work: &mut JoinSet<()>) {
        let (shared, partition) = (Arc::clone(&self.shared), self.partition);
        work.spawn(async move {
            match inputs::read(&shared, &dispatch).await {
                Err(unfit) => refuse(&shared, partition, &dispatch, &unfit),
                Ok(filled) => {
                    let messages = in_parts(convert::assign(&dispatch, filled));
                    shared.sessions.send_in(dispatch.session, partition, &dispatch.to, messages);
                }
            }
        });
    }
}

/// The attempt fails without having been sent; its permit is free again.
fn refuse(shared: &Shared, partition: PartitionId, dispatch: &Dispatch, reason: &Unfit) {
    let dealt = {
        let mut permits = shared.permits();
        permits.finished(&dispatch.to, dispatch.session, 1);
        permits.grant(&dispatch.to, dispatch.session, dispatch.permit, 1);
        permits.deal()
    };
    shared.deliver(dealt);
    let error = match reason {
        Unfit::TooLarge => {
            let message = format!(
                "the inputs of one attempt have at most {ATTEMPT_INPUTS_BYTES_MAX} bytes beside artifacts, of which there are at \
                 most {ATTEMPT_ARTIFACTS_MAX}, and {ATTEMPT_ITEMS_MAX} values; pass on fewer of them, or make one large value \
                 of them, which becomes an artifact"
            );
            unfit(ErrorClass::InvalidRequest, "inputs_too_large", message)
        }
        Unfit::Broken => {
            let message =
                "a list among the inputs cannot be read back; please report this with the run's id".to_owned();
            unfit(ErrorClass::Internal, "inputs_broken", message)
        }
    };
    let outcome = Outcome::Failed { error, retry_after: None };
    let (from, key, timing) = (dispatch.to.clone(), dispatch.key, Timing::default());
    shared.doors.report(partition, [Input::Finished { from, key, outcome, timing }]);
}

fn unfit(class: ErrorClass, code: &str, message: String) -> NodeError {
    NodeError { class, code: code.into(), message: message.into() }
}

fn push(bundles: &mut Vec<(AgentBoot, Vec<CoordinatorMessage>)>, to: &AgentBoot, message: CoordinatorMessage) {
    match bundles.iter_mut().find(|(agent, _)| agent == to) {
        Some((_, bundle)) => bundle.push(message),
        None => bundles.push((to.clone(), vec![message])),
    }
}

/// Acknowledgements in a row share one message.
fn acknowledge(bundles: &mut Vec<(AgentBoot, Vec<CoordinatorMessage>)>, to: &AgentBoot, key: AttemptKey) {
    let bundle = bundles.iter_mut().find(|(agent, _)| agent == to).map(|(_, bundle)| bundle);
    if let Some(CoordinatorMessage { kind: Some(Kind::Acknowledge(acknowledge)) }) =
        bundle.and_then(|bundle| bundle.last_mut())
    {
        return acknowledge.keys.push(convert::key_to_wire(key));
    }
    push(bundles, to, convert::acknowledge(key));
}
