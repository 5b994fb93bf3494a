//! Between the wire's types and the agent's own.

use std::time::Duration;

use bytes::Bytes;
use heddle_proto::agent as wire;

use crate::artifacts::outputs::Given;
use crate::limits::{ERROR_MESSAGE_BYTES_MAX, RESULT_OVERHEAD_BYTES};
use crate::runners::{ErrorClass, Failure, Input, JobEnd, Work};

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    Succeeded(Vec<Given>),
    Failed(Failure),
    Stopped,
}

impl Outcome {
    /// What a runner's answer amounts to, once its large values are kept.
    pub(crate) fn of(answer: Result<Vec<Given>, Failure>) -> Self {
        match answer {
            Ok(outputs) => Outcome::Succeeded(outputs),
            Err(failure) => Outcome::Failed(failure),
        }
    }

    /// The outcome of work that panicked.
    pub(crate) fn panicked(message: &str) -> Self {
        let message = format!("the node's work panicked: {message}; report this as a defect of its node type");
        Outcome::Failed(Failure::new(ErrorClass::Internal, "panic", message))
    }

    /// The outcome of work that took longer than the coordinator allows.
    pub(crate) fn timed_out(after: Duration) -> Self {
        let message = format!("the attempt ran longer than {} ms; raise policy.timeoutMs", after.as_millis());
        Outcome::Failed(Failure::new(ErrorClass::Timeout, "timeout", message))
    }
}

/// The message that tells the coordinator, and what it weighs in memory. It brings the handle of a job that may go on: the one
/// that was told by itself may still be on its way to whoever sends this, or lost with a session.
pub(crate) fn finished(
    key: wire::AttemptKey,
    outcome: Outcome,
    (queued, ran): (Duration, Duration),
    job: Option<JobEnd>,
    handle: Bytes,
) -> (wire::Finished, usize) {
    let handle = if matches!(outcome, Outcome::Succeeded(_)) { Bytes::new() } else { handle };
    let mut bytes = RESULT_OVERHEAD_BYTES + handle.len();
    let outcome = match outcome {
        Outcome::Succeeded(outputs) => {
            bytes += outputs.iter().map(|output| output.value.len()).sum::<usize>();
            let outputs = outputs.into_iter().map(output).collect();
            wire::finished::Outcome::Succeeded(wire::Succeeded { outputs })
        }
        Outcome::Failed(failure) => {
            bytes += failure.message.len().min(ERROR_MESSAGE_BYTES_MAX);
            wire::finished::Outcome::Failed(failed(failure))
        }
        Outcome::Stopped => wire::finished::Outcome::Stopped(wire::Stopped {}),
    };
    let (queued_ms, ran_ms) = (queued.as_millis() as u64, ran.as_millis() as u64);
    let job = job.map_or(wire::JobEnd::Unspecified, job_end).into();
    (wire::Finished { key: Some(key), queued_ms, ran_ms, outcome: Some(outcome), job, handle }, bytes)
}

/// The message that tells what became of a job that this agent was asked to cancel.
pub(crate) fn job_cancelled(key: wire::AttemptKey, end: Result<JobEnd, Failure>) -> wire::JobCancelled {
    let (end, failed) = match end {
        Ok(end) => (job_end(end), None),
        Err(failure) => (wire::JobEnd::Unspecified, Some(failed(failure))),
    };
    wire::JobCancelled { key: Some(key), end: end.into(), failed }
}

fn job_end(end: JobEnd) -> wire::JobEnd {
    match end {
        JobEnd::Cancelled => wire::JobEnd::Cancelled,
        JobEnd::Over => wire::JobEnd::Over,
        JobEnd::Unsupported => wire::JobEnd::Unsupported,
    }
}

fn output(output: Given) -> wire::Output {
    wire::Output { port: output.port.into_owned(), value_json: output.value, artifact: output.artifact }
}

fn failed(failure: Failure) -> wire::Failed {
    wire::Failed {
        class: error_class(failure.class).into(),
        code: failure.code.into_owned(),
        message: shortened(failure.message),
        retry_after_ms: failure.retry_after.map_or(0, |pause| pause.as_millis() as u64),
    }
}

fn error_class(class: ErrorClass) -> wire::ErrorClass {
    match class {
        ErrorClass::Retryable => wire::ErrorClass::Retryable,
        ErrorClass::RateLimited => wire::ErrorClass::RateLimited,
        ErrorClass::InvalidRequest => wire::ErrorClass::InvalidRequest,
        ErrorClass::Auth => wire::ErrorClass::Auth,
        ErrorClass::ContentPolicy => wire::ErrorClass::ContentPolicy,
        ErrorClass::Timeout => wire::ErrorClass::Timeout,
        ErrorClass::Cancelled => wire::ErrorClass::Cancelled,
        ErrorClass::Internal => wire::ErrorClass::Internal,
        ErrorClass::UnknownOutcome => wire::ErrorClass::UnknownOutcome,
    }
}

fn shortened(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(ERROR_MESSAGE_BYTES_MAX));
    message
}

/// What an assignment asks for, apart from its key and what it takes up.
pub(crate) fn work(assign: wire::Assign, attempt: u32) -> Work {
    Work {
        execution_id: assign.execution_id,
        node_id: assign.node_id,
        config: assign.config_json,
        inputs: assign.inputs.into_iter().map(input).collect(),
        attempt,
        lineage_attempt: assign.lineage_attempt,
        idempotency_key: assign.idempotency_key,
        handle: assign.handle,
        traceparent: assign.traceparent,
        sandbox: assign.sandbox,
    }
}

fn input(input: wire::Input) -> Input {
    Input { port: input.port, list: input.list, values: input.values_json }
}

/// Whether the work waits until its intent is durable (E11). A class that this build does not know waits too: that is the
/// safe side.
pub(crate) fn needs_intent(effect: i32) -> bool {
    match wire::EffectClass::try_from(effect) {
        Ok(wire::EffectClass::Pure | wire::EffectClass::Keyed) => false,
        Ok(wire::EffectClass::Pollable | wire::EffectClass::Blind | wire::EffectClass::Unspecified) | Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let failure = Failure::new(ErrorClass::Internal, "long", "ü".repeat(ERROR_MESSAGE_BYTES_MAX));
        assert_eq!(failed(failure).message.len(), ERROR_MESSAGE_BYTES_MAX);
        let failure = Failure::new(ErrorClass::Internal, "long", format!("x{}", "ü".repeat(ERROR_MESSAGE_BYTES_MAX)));
        assert_eq!(failed(failure).message.len(), ERROR_MESSAGE_BYTES_MAX - 1);
    }

    #[test]
    fn only_what_may_run_again_goes_without_intent() {
        let needs = |effect: wire::EffectClass| needs_intent(effect.into());
        assert!(!needs(wire::EffectClass::Pure) && !needs(wire::EffectClass::Keyed));
        assert!(needs(wire::EffectClass::Pollable) && needs(wire::EffectClass::Blind));
        assert!(needs(wire::EffectClass::Unspecified) && needs_intent(99));
    }
}
