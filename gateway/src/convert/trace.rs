//! The trace of a run.

use heddle_proto::control::{self, AttemptEnd};
use sha2::{Digest, Sha256};

use super::run::{node_words, run_status};
use super::unreadable;
use crate::dto::time::Time;
use crate::dto::trace::{Attempt, Node, Trace};
use crate::http::error::ApiError;

pub(crate) fn trace(trace: &control::Trace) -> Result<Trace<'_>, ApiError> {
    let run = trace.run.as_ref().ok_or_else(|| unreadable("run of a trace"))?;
    Ok(Trace {
        execution_id: &run.id,
        workflow_id: &run.workflow_id,
        status: run_status(run)?,
        trace_id: trace_id(&run.id, &trace.traceparent),
        start_time: Time(run.started_at_ms),
        end_time: run.ended_at_ms.map(Time),
        seq: run.seq,
        nodes: trace.nodes.iter().map(node).collect::<Result<_, _>>()?,
        nodes_total: trace.nodes_total,
    })
}

/// The trace that the caller was in, or one made of the run's id: the same whoever asks.
fn trace_id(execution: &str, traceparent: &str) -> String {
    match traceparent.split('-').nth(1) {
        Some(given) => given.to_owned(),
        None => Sha256::digest(execution).iter().take(16).map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn node(node: &control::TraceNode) -> Result<Node<'_>, ApiError> {
    let (state, status) = node_words(node.state)?;
    Ok(Node {
        node_id: &node.node_id,
        node_type: &node.node_type,
        label: &node.label,
        status,
        state,
        ready_at: node.ready_at_ms.map(Time),
        end_time: node.ended_at_ms.map(Time),
        attempts: node.attempts.iter().map(attempt).collect::<Result<_, _>>()?,
    })
}

fn attempt(attempt: &control::TraceAttempt) -> Result<Attempt<'_>, ApiError> {
    let outcome = match attempt.end() {
        AttemptEnd::Unspecified => return Err(unreadable("end of an attempt")),
        AttemptEnd::Running => "RUNNING",
        AttemptEnd::Succeeded => "SUCCEEDED",
        AttemptEnd::Failed => "FAILED",
        AttemptEnd::Lost => "LOST",
        AttemptEnd::HandedBack => "HANDED_BACK",
        AttemptEnd::Stopped => "STOPPED",
    };
    let (started, ended) = (attempt.started_at_ms, attempt.ended_at_ms);
    Ok(Attempt {
        number: attempt.number,
        agent: &attempt.agent_id,
        assigned_at: Time(attempt.assigned_at_ms),
        start_time: started.map(Time),
        end_time: ended.map(Time),
        outcome,
        error_code: Some(attempt.error_code.as_str()).filter(|code| !code.is_empty()),
        queued_ms: started.map(|started| started - attempt.assigned_at_ms),
        worked_ms: started.zip(ended).map(|(started, ended)| ended - started),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_a_caller_has_a_trace_of_its_own() {
        let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace_id("exec_1", given), "4bf92f3577b34da6a3ce929d0e0e4736");
        let own = trace_id("exec_1", "");
        assert_eq!(own.len(), 32);
        assert_eq!(own, trace_id("exec_1", ""));
        assert_ne!(own, trace_id("exec_2", ""));
    }
}
