//! What a run waits for.

use heddle_proto::control as wire;

use super::non_empty;
use super::run::{node_words, status};
use crate::dto::explain::{
    AgentNeed, ConcurrencyPlace, Ending, ExplainedNode, Explanation, PausedType, Reason, UnfitAgent, WaitsFor,
};
use crate::dto::time::Time;
use crate::http::error::ApiError;

pub(crate) fn explanation(explanation: &wire::Explanation) -> Result<Explanation<'_>, ApiError> {
    Ok(Explanation {
        execution_id: &explanation.execution_id,
        status: status(explanation.status)?,
        headline: &explanation.headline,
        orphaned: explanation.orphaned,
        at: Time(explanation.at_ms),
        seq: explanation.seq,
        kinds: explanation.kinds.iter().map(|it| (&*it.kind, it.count)).collect(),
        nodes: explanation.nodes.iter().map(node).collect::<Result<_, _>>()?,
        ending: explanation.ending.as_ref().map(ending),
    })
}

fn node(node: &wire::ExplainedNode) -> Result<ExplainedNode<'_>, ApiError> {
    Ok(ExplainedNode {
        node_id: &node.node_id,
        index: &node.index,
        state: node_words(node.state)?.0,
        waits_for: node.waits_for.as_ref().map(waits_for),
        sentence: &node.sentence,
        since: node.since_ms.map(Time),
        more: above_zero(node.more),
    })
}

fn waits_for(waits: &wire::WaitsFor) -> WaitsFor<'_> {
    let is_retry = waits.kind == "retry";
    WaitsFor {
        kind: &waits.kind,
        due_at: waits.due_at_ms.map(Time),
        node_ids: &waits.node_ids,
        nodes_more: above_zero(waits.nodes_more),
        agent_id: non_empty(&waits.agent_id),
        attempt: above_zero(waits.attempt),
        away_since: waits.away_since_ms.map(Time),
        need: waits.need.as_ref().map(need),
        review_id: non_empty(&waits.review_id),
        assignees: &waits.assignees,
        failed: is_retry.then_some(waits.failed),
        attempts_max: above_zero(waits.attempts_max),
        error: non_empty(&waits.error_code).map(|code| Reason { code, message: &waits.error_message }),
        items_open: above_zero(waits.items_open),
        signal: non_empty(&waits.signal),
        child_execution_id: non_empty(&waits.child_execution_id),
        child_unreadable: Some(waits.child_unreadable).filter(|is_so| *is_so),
        paused: waits.paused.as_ref().map(|paused| PausedType {
            node_type: &paused.node_type,
            by: &paused.by,
            reason: non_empty(&paused.reason),
        }),
    }
}

fn need(need: &wire::AgentNeed) -> AgentNeed<'_> {
    AgentNeed {
        node_type: &need.node_type,
        version: need.version,
        labels: need.labels.iter().map(|(name, value)| (&**name, &**value)).collect(),
        agents: need.agents,
        fit: need.fit,
        slots: need.slots,
        busy: need.busy,
        waiting: need.waiting,
        unfit: need.unfit.iter().map(unfit).collect(),
        concurrency: need.place.as_ref().map(|place| ConcurrencyPlace {
            key: &place.key,
            limit: place.limit,
            taken: place.taken,
        }),
    }
}

fn unfit(agent: &wire::UnfitAgent) -> UnfitAgent<'_> {
    UnfitAgent { agent_id: &agent.agent_id, lacks: &agent.lacks, detail: non_empty(&agent.detail) }
}

fn ending(ending: &wire::Ending) -> Ending<'_> {
    Ending {
        code: non_empty(&ending.code),
        message: non_empty(&ending.message),
        node_id: non_empty(&ending.node_id),
        class: non_empty(&ending.class),
        attempts: ending.attempts,
        next: non_empty(&ending.next),
        by: non_empty(&ending.by),
    }
}

fn above_zero(count: u32) -> Option<u32> {
    Some(count).filter(|count| *count > 0)
}
