//! One node of a run.

use heddle_proto::control::{self, NodeKind, PortValue};

use super::run::{cached_from, node_run, node_words, run_error};
use super::{non_empty, raw, unreadable};
use crate::dto::node::{AttemptRun, NodeDetail, NodeInstance};
use crate::dto::run::Outputs;
use crate::dto::time::Time;
use crate::http::error::ApiError;

pub(crate) fn detail(detail: &control::NodeDetail) -> Result<NodeDetail<'_>, ApiError> {
    let kind = match detail.kind() {
        NodeKind::Node => "node",
        NodeKind::Instance => "instance",
        NodeKind::Item => "item",
        NodeKind::Unspecified => return Err(unreadable("kind of a node's answer")),
    };
    let node = detail.node.as_ref().ok_or_else(|| unreadable("node"))?;
    Ok(NodeDetail {
        execution_id: &detail.execution_id,
        kind,
        index: &detail.index,
        node: node_run(node, detail.sandbox)?,
        inputs: match kind {
            "node" => None,
            _ => Some(ports(&detail.inputs)?),
        },
        attempt_runs: detail.attempt_runs.iter().map(attempt).collect(),
        instances: detail.instances.iter().map(instance).collect::<Result<_, _>>()?,
        next_cursor: non_empty(&detail.next_cursor),
    })
}

fn ports(ports: &[PortValue]) -> Result<Outputs<'_>, ApiError> {
    let values = ports.iter().map(|port| Ok((port.port.as_str(), raw(&port.value_json, "input of a node")?)));
    values.collect::<Result<_, _>>().map(Outputs)
}

fn instance(instance: &control::NodeInstance) -> Result<NodeInstance<'_>, ApiError> {
    let (state, status) = node_words(instance.state)?;
    Ok(NodeInstance {
        index: &instance.index,
        status,
        state,
        cached: state == "CACHED",
        cached_from: instance.cached_from.as_ref().map(cached_from),
        error: instance.error.as_ref().map(run_error),
        attempts: instance.attempts,
        provider: non_empty(&instance.provider),
        agent: non_empty(&instance.agent_id),
        start_time: instance.started_at_ms.map(Time),
        end_time: instance.ended_at_ms.map(Time),
    })
}

fn attempt(attempt: &control::AttemptRun) -> AttemptRun<'_> {
    AttemptRun {
        number: attempt.number,
        agent: &attempt.agent_id,
        provider: non_empty(&attempt.provider),
        outcome: &attempt.outcome,
        error: attempt.error.as_ref().map(run_error),
        assigned_time: Time(attempt.assigned_at_ms),
        start_time: attempt.started_at_ms.map(Time),
        end_time: attempt.ended_at_ms.map(Time),
    }
}
