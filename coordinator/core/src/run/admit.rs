//! The only place that says no: a command against the state of a run gives facts, or a rejection.

use std::sync::Arc;

use super::child::ChildEnd;
use super::listen::ListenRefusal;
use super::review::{ReviewAnswer, ReviewRefusal};
use super::{Body, JobEnd, JobKey, LiveAttempt, Outcome, PauseChange, Run, RunStatus, Stop, TimerKind};
use crate::fault::{Fault, is_planted};
use crate::id::{Instance, PortIx, ProviderIx, Subject};
use crate::limits;
use crate::node_type::EffectClass;
use crate::policy::OnUnknown;
use crate::run::event::{
    Attempt, ErrorClass, Fact, LossCause, NodeError, OutputValue, PortOutput, RequestKey, RunError, Timing,
};
use crate::time::{Span, Timestamp};
use crate::value::Value;

/// What is asked of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// An agent reports the end of an attempt.
    Finish {
        /// Which attempt.
        attempt: Attempt,
        /// What came of it.
        outcome: Outcome,
        /// How the time went.
        timing: Timing,
    },
    /// The attempt will not be heard of again, or must not be believed.
    Lose {
        /// Which attempt.
        attempt: Attempt,
        /// How that is known.
        cause: LossCause,
    },
    /// An agent gives back work that it has not begun.
    HandBack {
        /// Which attempt.
        attempt: Attempt,
    },
    /// The attempt asks to act on the world.
    Intend {
        /// Which attempt.
        attempt: Attempt,
    },
    /// The attempt's job has a handle.
    Checkpoint {
        /// Which attempt.
        attempt: Attempt,
        /// The handle.
        handle: Value,
    },
    /// It is known what became of a job that was to be cancelled.
    EndJob {
        /// Which job.
        job: JobKey,
        /// What became of it.
        end: JobEnd,
    },
    /// Time has passed: timers and the deadline are looked at.
    Wake,
    /// Somebody stops the run.
    Cancel {
        /// Who.
        by: Subject,
        /// Why, if they say.
        reason: Option<Arc<str>>,
    },
    /// Somebody pauses the run, or lets it go on.
    Pause {
        /// Which of both.
        change: PauseChange,
        /// Who.
        by: Subject,
    },
    /// Somebody answers a review.
    Answer(Box<ReviewAnswer>),
    /// Somebody sends a signal.
    Signal {
        /// By what name.
        name: Arc<str>,
        /// Who.
        by: Subject,
        /// What it says.
        body: Value,
        /// By what it is known if it comes again.
        key: Option<RequestKey>,
    },
    /// Somebody calls the address of a node.
    Call {
        /// Whose address.
        instance: Instance,
        /// What they say.
        body: Value,
        /// By what the call is known if it comes again.
        key: Option<RequestKey>,
    },
    /// A run that it has invoked is over, or cannot begin.
    EndChild(Box<ChildEnd>),
    /// Every node has its final phase, or one has failed: the run ends.
    Conclude,
}

/// Why a command changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The token is not the current one: an agent that was given up on has woken (I6).
    Zombie,
    /// Exactly this result, or this handle, is committed already.
    AlreadyCommitted,
    /// The run is over.
    Over(RunStatus),
    /// The review does not take it.
    Review(ReviewRefusal),
    /// Nobody takes the signal or the call.
    Listen(ListenRefusal),
    /// There is nothing to do.
    Idle,
}

/// A fact and the values that its references point to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Admitted {
    pub(crate) fact: Fact,
    pub(crate) values: Vec<Value>,
}

impl From<Fact> for Admitted {
    fn from(fact: Fact) -> Self {
        Self { fact, values: Vec::new() }
    }
}

impl Run {
    /// What follows from a command at `now`; `draw` is uniform over `u64` and serves for jitter.
    ///
    /// # Errors
    /// A [`Rejection`] if nothing follows. The state is not changed either way.
    pub(crate) fn admit(&self, command: Command, now: Timestamp, draw: u64) -> Result<Admitted, Rejection> {
        match command {
            Command::Finish { attempt, outcome, timing } => self.finish(attempt, outcome, timing, now, draw),
            Command::Lose { attempt, cause } => self.lose(attempt, cause),
            Command::HandBack { attempt } => {
                let live = self.live_attempt(&attempt)?;
                Ok(self.unless_given_up(Fact::HandedBack { attempts: vec![attempt] }, attempt, live))
            }
            Command::Intend { attempt } => match self.live_attempt(&attempt)? {
                live if live.intent => Err(Rejection::AlreadyCommitted),
                _ if self.status() != RunStatus::Running => Err(Rejection::Over(self.status())),
                live if live.stopping => Err(Rejection::Idle),
                _ => Ok(Fact::IntentRecorded { attempt }.into()),
            },
            Command::Checkpoint { attempt, handle } => self.checkpoint(attempt, handle),
            Command::EndJob { job, end } => self.end_job(job, end),
            Command::Wake => self.wake(now),
            Command::Cancel { by, reason } => match self.status() {
                RunStatus::Running => {
                    Ok(Fact::Ended { status: RunStatus::Cancelled, error: None, by: Some(by), reason }.into())
                }
                status => Err(Rejection::Over(status)),
            },
            Command::Pause { change, by } => self.change_pause(change, by),
            Command::Answer(answer) => match self.status() {
                RunStatus::Running => self.answer(*answer),
                status => Err(Rejection::Over(status)),
            },
            Command::Signal { name, by, body, key } => self.signal(name, by, body, key),
            Command::Call { instance, body, key } => self.call(instance, body, key),
            Command::EndChild(end) => self.end_child(*end),
            Command::Conclude => self.conclude(),
        }
    }

    /// Whether every node has its final phase, or one has failed.
    pub(crate) fn can_conclude(&self) -> bool {
        self.status() == RunStatus::Running
            && (self.state.open_nodes == 0 || self.state.failure.is_some() || self.state.stop.is_some())
    }

    fn live_attempt(&self, attempt: &Attempt) -> Result<&LiveAttempt, Rejection> {
        let live = self.attempt(attempt.instance);
        if let Some(live) = live.filter(|live| (live.number, live.token) == (attempt.number, attempt.token)) {
            return Ok(live);
        }
        Err(if self.is_result_of(attempt) { Rejection::AlreadyCommitted } else { Rejection::Zombie })
    }

    /// The fact itself; of an attempt that counts no more, that it is gone.
    fn unless_given_up(&self, fact: Fact, attempt: Attempt, live: &LiveAttempt) -> Admitted {
        if self.is_given_up(live) { Fact::Stopped { attempts: vec![attempt] }.into() } else { fact.into() }
    }

    fn finish(
        &self,
        attempt: Attempt,
        outcome: Outcome,
        timing: Timing,
        now: Timestamp,
        draw: u64,
    ) -> Result<Admitted, Rejection> {
        let live = self.live_attempt(&attempt)?;
        let over = self.status() != RunStatus::Running && !is_planted(Fault::TerminalNotAbsorbing);
        match outcome {
            Outcome::Succeeded(values) if !live.stopping || !over && self.status() != RunStatus::Running => {
                if let Some(verdict) = self.delegated_verdict(attempt.instance, &values) {
                    return Ok(match verdict {
                        Err(error) => self.fail(attempt, live, (error, None), timing, now, draw),
                        Ok(_) if over => Fact::Discarded { attempt }.into(),
                        Ok(verdict) => Fact::Answered { attempt, verdict, timing }.into(),
                    });
                }
                let mut body = Body::new(self.seq().next());
                let outputs = match self.is_delegated(attempt.instance) {
                    true => self.delegated_outputs(attempt.instance, values, &mut body),
                    false => self.port_outputs(attempt.instance, values, &mut body),
                };
                match outputs {
                    Err(error) => Ok(self.fail(attempt, live, (error, None), timing, now, draw)),
                    Ok(outputs) if over => {
                        Ok(Admitted { fact: Fact::Settled { attempt, outputs }, values: body.into_values() })
                    }
                    Ok(outputs) => {
                        Ok(Admitted { fact: Fact::Succeeded { attempt, outputs, timing }, values: body.into_values() })
                    }
                }
            }
            Outcome::Succeeded(_) => Ok(Fact::Discarded { attempt }.into()),
            Outcome::Failed { error, retry_after } => {
                Ok(self.fail(attempt, live, (error, retry_after), timing, now, draw))
            }
            Outcome::Stopped => Ok(self.unless_given_up(Fact::HandedBack { attempts: vec![attempt] }, attempt, live)),
        }
    }

    /// Results by port id become outputs by port index; a declared port without a value is closed.
    fn port_outputs(
        &self,
        instance: Instance,
        values: Vec<(Arc<str>, Value)>,
        body: &mut Body,
    ) -> Result<Vec<PortOutput>, NodeError> {
        let invalid = |code: &str, message: String| NodeError {
            class: ErrorClass::InvalidRequest,
            code: code.into(),
            message: message.into(),
        };
        let node = self.graph.node(instance.node);
        let Some(node_type) = &node.node_type else {
            return Err(invalid("unknown_node_type", format!("the type {} is unknown here", node.type_id)));
        };
        let provider = self.provider_of(instance);
        let mut given: Vec<(PortIx, Value)> = Vec::with_capacity(values.len());
        for (port, value) in values {
            let Some((ix, _)) = node_type.output(&port) else {
                // A fallback may give more than the node has outputs for.
                if provider != ProviderIx::default() {
                    continue;
                }
                let message = format!("the agent gave a value for the port {port:?}, which {} lacks", node.type_id);
                return Err(invalid("unknown_output", message));
            };
            check_size(&port, &value)?;
            given.push((ix, value));
        }
        let ports = (0..node_type.outputs.len()).map(|ix| PortIx(ix as u16));
        Ok(ports
            .map(|port| match given.iter().position(|(ix, _)| *ix == port) {
                Some(place) => PortOutput { port, value: OutputValue::One(body.put(given.swap_remove(place).1)) },
                None => PortOutput { port, value: OutputValue::Closed },
            })
            .collect())
    }

    fn fail(
        &self,
        attempt: Attempt,
        live: &LiveAttempt,
        (error, retry_after): (NodeError, Option<Span>),
        timing: Timing,
        now: Timestamp,
        draw: u64,
    ) -> Admitted {
        if self.is_given_up(live) {
            return Fact::Stopped { attempts: vec![attempt] }.into();
        }
        let Attempt { instance, number, .. } = attempt;
        let policy = self.graph.node(instance.node).provided(self.provider_of(instance)).policy;
        let before = self.state.tries.get(&instance).map_or(0, |tries| tries.failed);
        let failed = before + u32::from(error.class != ErrorClass::RateLimited);
        let again = match error.class {
            ErrorClass::UnknownOutcome => policy.on_unknown == OnUnknown::Retry,
            class => class.retries(),
        };
        let most = policy.retry.attempts_max - u32::from(is_planted(Fault::RetriesCutShort));
        let left = failed < most && number.0 < limits::ATTEMPTS_MAX;
        let retry_at = (again && left).then(|| {
            let pause = policy.retry.pause(failed.max(1), draw);
            now.plus(pause.max(retry_after.unwrap_or(Span::ZERO)))
        });
        let fallback = self.next_provider(&attempt, error.class).filter(|_| retry_at.is_none());
        if retry_at.is_some() || fallback.is_some() {
            return Fact::Failed { attempt, error, retry_at, fallback, caught: Vec::new(), asks: false, timing }.into();
        }
        let error = self.naming_turn(instance, self.naming_tried(instance, error));
        if error.class == ErrorClass::UnknownOutcome && self.parks(instance, policy.on_unknown) {
            let (caught, asks) = (Vec::new(), true);
            return Fact::Failed { attempt, error, retry_at, fallback, caught, asks, timing }.into();
        }
        let mut body = Body::new(self.seq().next());
        let caught = self.caught(instance, &error, number, &mut body);
        let fact = Fact::Failed { attempt, error, retry_at, fallback, caught, asks: false, timing };
        Admitted { fact, values: body.into_values() }
    }

    /// Whether people decide what came of an attempt, where nobody knows. Looking at values for the engine has no effects.
    fn parks(&self, instance: Instance, on_unknown: OnUnknown) -> bool {
        on_unknown == OnUnknown::Park && !self.is_delegated(instance)
    }

    fn lose(&self, attempt: Attempt, cause: LossCause) -> Result<Admitted, Rejection> {
        let live = self.live_attempt(&attempt)?;
        if self.is_given_up(live) {
            return Ok(Fact::Stopped { attempts: vec![attempt] }.into());
        }
        let failure = self.failure_of_loss(attempt, live, cause);
        let failure = failure.map(|error| self.naming_tried(attempt.instance, error));
        let on_unknown = self.graph.node(attempt.instance.node).provided(live.provider).policy.on_unknown;
        let is_unknown = failure.as_ref().is_some_and(|error| error.class == ErrorClass::UnknownOutcome);
        if is_unknown && self.parks(attempt.instance, on_unknown) {
            return Ok(Fact::Lost { attempt, cause, failure, caught: Vec::new(), asks: true }.into());
        }
        let mut body = Body::new(self.seq().next());
        let caught = failure.as_ref().map(|error| self.caught(attempt.instance, error, attempt.number, &mut body));
        let fact = Fact::Lost { attempt, cause, failure, caught: caught.unwrap_or_default(), asks: false };
        Ok(Admitted { fact, values: body.into_values() })
    }

    /// Whether the node fails with the loss of its attempt (E11, E13).
    fn failure_of_loss(&self, attempt: Attempt, live: &LiveAttempt, cause: LossCause) -> Option<NodeError> {
        let provided = self.graph.node(attempt.instance.node).provided(live.provider);
        let proofs = self.state.tries.get(&attempt.instance).map_or(0, |tries| tries.proofs);
        let error =
            |class, code: &str, message: String| Some(NodeError { class, code: code.into(), message: message.into() });
        let is_proven = live.alone && proofs + 1 >= limits::POISON_PROOFS || is_planted(Fault::InnocentBlamed);
        if is_proven && cause == LossCause::NewBoot {
            let message =
                format!("it ended {} agents that had nothing else to do; mend the node", limits::POISON_PROOFS);
            return error(ErrorClass::Poison, "poison_node", message);
        }
        let unknown = live.intent && (provided.effect == EffectClass::Blind || live.job.is_none());
        let retries = provided.policy.on_unknown == OnUnknown::Retry || is_planted(Fault::UnknownRetried);
        if unknown && provided.effect.needs_intent() && !retries {
            let what = match provided.effect {
                EffectClass::Pollable => "may have begun a job; look at the provider, where it may go on",
                _ => "acted; look whether it took effect",
            };
            let message = format!("agent {} was lost while it {what}", live.agent.agent);
            return error(ErrorClass::UnknownOutcome, "unknown_outcome", message);
        }
        if attempt.number.0 >= limits::ATTEMPTS_MAX {
            let message = format!("its agents were lost in {} attempts", limits::ATTEMPTS_MAX);
            return error(ErrorClass::Internal, "attempts_exhausted", message);
        }
        None
    }

    fn checkpoint(&self, attempt: Attempt, handle: Value) -> Result<Admitted, Rejection> {
        let live = self.live_attempt(&attempt)?;
        let cancels = self.can_cancel(attempt.instance);
        // Agents tell it to each stream again, and with the end of the attempt.
        if live.job.is_some_and(|job| job.handle.digest == handle.digest() && job.cancels == Some(cancels)) {
            return Err(Rejection::AlreadyCommitted);
        }
        // The job of an attempt that counts no more is only kept in order to be cancelled.
        if self.is_given_up(live) && !cancels {
            let is_over = self.status() != RunStatus::Running;
            return Err(if is_over { Rejection::Over(self.status()) } else { Rejection::Idle });
        }
        let mut body = Body::new(self.seq().next());
        let handle = body.put(handle);
        let fact = Fact::HandleRecorded { attempt, handle, cancels: Some(cancels) };
        Ok(Admitted { fact, values: body.into_values() })
    }

    /// The first timer that is due, or the deadline. Called again until it answers [`Rejection::Idle`].
    fn wake(&self, now: Timestamp) -> Result<Admitted, Rejection> {
        if self.status() != RunStatus::Running {
            return Err(Rejection::Over(self.status()));
        }
        if self.is_paused() {
            return Err(Rejection::Idle);
        }
        let mut due = self.state.timers.iter().take_while(|timer| timer.at <= now);
        if let Some(timer) = due.find(|timer| timer.kind != TimerKind::Retry) {
            if timer.kind == TimerKind::Review {
                return self.timed_out(timer.instance, now).ok_or(Rejection::Idle);
            }
            let mut body = Body::new(self.seq().next());
            let outputs = match timer.kind {
                TimerKind::Listen => self.heard_nothing(timer.instance, &mut body),
                _ => self.pass_on(timer.instance, &mut body),
            };
            let fact = Fact::TimerFired { instance: timer.instance, outputs };
            return Ok(Admitted { fact, values: body.into_values() });
        }
        if self.deadline().is_some_and(|at| at <= now) {
            let error = RunError {
                code: "run_timeout".into(),
                message: format!("the run was active for more than {}", self.state.origin.active_max).into(),
                node: None,
                class: Some(ErrorClass::Timeout),
                attempts: 0,
            };
            return Ok(Fact::Ended { status: RunStatus::Failed, error: Some(error), by: None, reason: None }.into());
        }
        Err(Rejection::Idle)
    }

    fn conclude(&self) -> Result<Admitted, Rejection> {
        if !self.can_conclude() {
            return Err(Rejection::Idle);
        }
        let (status, error) = match (&self.state.failure, &self.state.stop) {
            (Some(failure), _) => (RunStatus::Failed, Some(failure.as_ref().clone())),
            (None, Some(stop)) => (stop.status, self.error_of_stop(stop)),
            (None, None) => (RunStatus::Completed, None),
        };
        Ok(Fact::Ended { status, error, by: None, reason: None }.into())
    }

    fn error_of_stop(&self, stop: &Stop) -> Option<RunError> {
        let error = RunError {
            code: "stopped".into(),
            message: stop.message.clone(),
            node: Some(stop.node),
            class: None,
            attempts: 0,
        };
        (stop.status != RunStatus::Completed).then_some(error)
    }
}

/// Whether a value of an output is one that is kept.
pub(super) fn check_size(port: &str, value: &Value) -> Result<(), NodeError> {
    let most = match value.artifact() {
        Some(_) => limits::ARTIFACT_BYTES_MAX,
        None => limits::INLINE_VALUE_BYTES_MAX as u64,
    };
    let bytes = value.bytes();
    if bytes <= most {
        return Ok(());
    }
    let message = format!("the output {port} has {bytes} bytes; at most {most} are kept, so give less");
    Err(NodeError { class: ErrorClass::InvalidRequest, code: "value_too_large".into(), message: message.into() })
}
