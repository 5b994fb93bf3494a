//! Runs and their nodes.

use std::num::NonZeroU32;

use heddle_proto::control::{self, NodeState, RunStatus};

use super::value::Essence;
use super::{non_empty, raw, unreadable};
use crate::dto;
use crate::dto::diagnosis::Diagnostics;
use crate::dto::run::{
    CachedFrom, Cancelled, FinalOutput, InvokedBy, Items, NodeResults, NodeRun, Outputs, Paused, Poll, RemovedRun, Run,
    RunError, RunHead, WaitingOn,
};
use crate::dto::time::Time;
use crate::http::error::ApiError;

pub(crate) fn run(run: &control::Run) -> Result<Run<'_>, ApiError> {
    let node_runs = node_runs(run)?;
    Ok(Run {
        head: RunHead {
            id: &run.id,
            execution_id: &run.id,
            workflow_id: &run.workflow_id,
            batch_id: &run.batch_id,
            run_index_in_batch: run.run_index_in_batch,
            input_index: run.input_index,
            status: status(run.status)?,
            error: run.error.as_ref().map(run_error),
            start_time: Time(run.started_at_ms),
            end_time: run.ended_at_ms.map(Time),
            parent_execution_id: non_empty(&run.parent_execution_id),
            lineage_id: non_empty(&run.lineage_id),
            invoked_by: invoked_by(run),
        },
        workflow_version: run.workflow_version,
        final_output: final_output(run, &node_runs),
        skipped_nodes: run.skipped_nodes.iter().map(String::as_str).collect(),
        node_runs,
        nodes_total: run.nodes_total,
        target_node_id: non_empty(&run.target_node_id),
        waiting_on: waiting_on(&run.waiting_on),
        progress: run.progress,
        cancel_requested: run.cancel_requested,
        paused: run.pause.as_ref().map(paused),
        cancelled: run.cancellation.as_ref().map(cancelled),
        jobs_to_cancel: Some(run.jobs_to_cancel).filter(|jobs| *jobs > 0),
        seq: run.seq,
    })
}

pub(super) fn paused(pause: &control::Pause) -> Paused<'_> {
    Paused { since: Time(pause.since_ms), by: &pause.by, reason: non_empty(&pause.reason) }
}

fn cancelled(it: &control::Cancellation) -> Cancelled<'_> {
    Cancelled { by: &it.by, reason: non_empty(&it.reason) }
}

pub(crate) fn poll(run: &control::Run) -> Result<Poll<'_>, ApiError> {
    let node_runs = node_runs(run)?;
    Ok(Poll {
        execution_id: &run.id,
        workflow_id: &run.workflow_id,
        batch_id: &run.batch_id,
        run_index_in_batch: run.run_index_in_batch,
        input_index: run.input_index,
        status: status(run.status)?,
        error: run.error.as_ref().map(run_error),
        node_states: run.nodes.iter().zip(&node_runs).map(|(node, shown)| node_state(node, shown)).collect(),
        final_output: final_output(run, &node_runs),
        skipped_nodes: run.skipped_nodes.iter().map(String::as_str).collect(),
        node_results: NodeResults { node_runs },
        nodes_total: run.nodes_total,
        diagnostics: Diagnostics::none(),
        waiting_on: waiting_on(&run.waiting_on),
        progress: run.progress,
        cost: None,
        start_time: Time(run.started_at_ms),
        end_time: run.ended_at_ms.map(Time),
        cancel_requested: run.cancel_requested,
        paused: run.pause.as_ref().map(paused),
        cancelled: run.cancellation.as_ref().map(cancelled),
        jobs_to_cancel: Some(run.jobs_to_cancel).filter(|jobs| *jobs > 0),
        seq: run.seq,
        parent_execution_id: non_empty(&run.parent_execution_id),
        lineage_id: non_empty(&run.lineage_id),
        invoked_by: invoked_by(run),
    })
}

fn invoked_by(run: &control::Run) -> Option<InvokedBy<'_>> {
    let by = run.invoked_by.as_ref()?;
    Some(InvokedBy { execution_id: &by.execution_id, node_id: non_empty(&by.node_id), index: &by.index })
}

/// What is known of a run that was removed.
pub(super) fn removed(run: &control::RemovedRun) -> Option<RemovedRun<'_>> {
    Some(RemovedRun {
        id: &run.id,
        workflow_id: &run.workflow_id,
        status: status(run.status).ok()?,
        started_at: Time(run.started_at_ms),
        ended_at: Time(run.ended_at_ms),
        events: run.events,
        head_hash: &run.head_hash,
        removed_at: Time(run.removed_at_ms),
    })
}

/// The word for how a run, or a batch of runs, stands.
pub(super) fn status(number: i32) -> Result<&'static str, ApiError> {
    match RunStatus::try_from(number) {
        Ok(RunStatus::Pending) => Ok("PENDING"),
        Ok(RunStatus::Running) => Ok("RUNNING"),
        Ok(RunStatus::Completed) => Ok("COMPLETED"),
        Ok(RunStatus::Failed) => Ok("FAILED"),
        Ok(RunStatus::Cancelled) => Ok("CANCELLED"),
        Ok(RunStatus::Unspecified) | Err(_) => Err(unreadable("status of a run")),
    }
}

/// Heddle's word for a node's state, and the documented API's, which knows fewer.
pub(super) fn node_words(state: i32) -> Result<(&'static str, &'static str), ApiError> {
    Ok(match NodeState::try_from(state) {
        Ok(NodeState::Pending) => ("PENDING", "PENDING"),
        Ok(NodeState::Ready) => ("READY", "PENDING"),
        Ok(NodeState::Running) => ("RUNNING", "RUNNING"),
        Ok(NodeState::Waiting) => ("WAITING", "RUNNING"),
        Ok(NodeState::Completed) => ("COMPLETED", "COMPLETED"),
        Ok(NodeState::Failed) => ("FAILED", "FAILED"),
        Ok(NodeState::Skipped) => ("SKIPPED", "SKIPPED"),
        Ok(NodeState::Cancelled) => ("CANCELLED", "CANCELLED"),
        Ok(NodeState::Cached) => ("CACHED", "COMPLETED"),
        Ok(NodeState::Unspecified) | Err(_) => return Err(unreadable("state of a node")),
    })
}

fn node_runs(run: &control::Run) -> Result<Vec<NodeRun<'_>>, ApiError> {
    run.nodes.iter().map(|node| node_run(node, run.sandbox)).collect()
}

pub(super) fn node_run(node: &control::Node, sandbox: bool) -> Result<NodeRun<'_>, ApiError> {
    let (state, status) = node_words(node.state)?;
    let outputs: Result<Vec<_>, ApiError> = node
        .outputs
        .iter()
        .map(|output| Ok((output.port.as_str(), raw(&output.value_json, "output of a node")?)))
        .collect();
    Ok(NodeRun {
        node_id: &node.node_id,
        node_type: &node.node_type,
        label: &node.label,
        status,
        state,
        cached: state == "CACHED",
        cached_from: node.cached_from.as_ref().map(cached_from),
        sandbox,
        // A node that failed has outputs where its policy lets the run go on.
        output: Some(Outputs(outputs?)).filter(|outputs| {
            let is_there = status == "COMPLETED" || status == "FAILED" && is_caught(outputs);
            is_there || is_early(node, outputs) || is_lifted(node, outputs)
        }),
        error: node.error.as_ref().map(run_error),
        attempts: node.attempts,
        provider: non_empty(&node.provider),
        agent: non_empty(&node.agent_id),
        queued_at: node.queued_at_ms.map(Time),
        start_time: node.started_at_ms.map(Time),
        end_time: node.ended_at_ms.map(Time),
        items: node.items.map(items),
        child_execution_id: non_empty(&node.child_execution_id),
    })
}

pub(super) fn cached_from(from: &control::CachedFrom) -> CachedFrom<'_> {
    CachedFrom {
        source: &from.source,
        execution_id: non_empty(&from.execution_id),
        edited_by: non_empty(&from.edited_by),
    }
}

fn items(items: control::Items) -> Items {
    let control::Items { total, completed, failed, skipped, running, cached } = items;
    Items { total, completed, failed, skipped, running, cached: NonZeroU32::new(cached) }
}

/// Whether a node that has failed gives what was wrong.
fn is_caught(outputs: &Outputs<'_>) -> bool {
    outputs.0.iter().any(|(port, _)| *port == "error")
}

/// Whether a node has given something when it began to wait.
fn is_early(node: &control::Node, outputs: &Outputs<'_>) -> bool {
    node.node_type == "logic:wait_webhook" && outputs.0.iter().any(|(port, _)| *port == "url")
}

/// Whether a node has lists of what its items gave, whatever became of them; what others in bodies gave is in their containers.
fn is_lifted(node: &control::Node, outputs: &Outputs<'_>) -> bool {
    node.items.is_some() && !outputs.0.is_empty()
}

fn node_state<'a>(node: &'a control::Node, shown: &NodeRun<'a>) -> dto::run::NodeState<'a> {
    let essence = shown.output.as_ref().map(Essence::of).unwrap_or_default();
    dto::run::NodeState {
        node_id: shown.node_id,
        label: shown.label,
        status: shown.status,
        state: shown.state,
        cached: shown.cached,
        error: shown.error,
        output_url: essence.url(),
        output_urls: essence.urls,
        text: essence.text,
        progress: node.progress,
        request_id: None,
        items: shown.items,
    }
}

/// Picks what the run was for: its target; else the last completed `output:*` node; else the last completed node that
/// no edge leaves. "Last" is in the order of the graph.
fn final_output<'a>(run: &'a control::Run, node_runs: &[NodeRun<'a>]) -> Option<FinalOutput<'a>> {
    let target = non_empty(&run.target_node_id);
    let completed = || run.nodes.iter().zip(node_runs).rev().filter(|(_, shown)| shown.status == "COMPLETED");
    let picked = match target {
        Some(target) => completed().find(|(node, _)| node.node_id == target),
        None => completed()
            .find(|(node, _)| node.node_type.starts_with("output:"))
            .or_else(|| completed().find(|(node, _)| node.terminal)),
    };
    let (_, shown) = picked?;
    let output = shown.output.clone()?;
    let essence = Essence::of(&output);
    Some(FinalOutput { node_id: shown.node_id, url: essence.url(), urls: essence.urls, text: essence.text, output })
}

pub(super) fn run_error(error: &control::RunError) -> RunError<'_> {
    RunError {
        code: &error.code,
        message: &error.message,
        node_id: non_empty(&error.node_id),
        class: non_empty(&error.class),
        attempts: error.attempts,
    }
}

pub(super) fn waiting_on(waiting: &[control::WaitingOn]) -> Vec<WaitingOn<'_>> {
    waiting
        .iter()
        .map(|waiting| WaitingOn {
            kind: &waiting.kind,
            node_id: &waiting.node_id,
            index: &waiting.index,
            since: Time(waiting.since_ms),
            due_at: waiting.due_at_ms.map(Time),
            need: non_empty(&waiting.need),
            review_id: non_empty(&waiting.review_id),
            signal: non_empty(&waiting.signal),
            url: non_empty(&waiting.url),
            child_execution_id: non_empty(&waiting.child_execution_id),
            more: Some(waiting.more).filter(|more| *more > 0),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use heddle_proto::control::{Node, PortValue};
    use serde_json::{Value, json};

    use super::*;

    fn node(id: &str, node_type: &str, state: NodeState) -> Node {
        let outputs =
            vec![PortValue { port: "text".to_owned(), value_json: format!("\"{id}\"").into(), ..PortValue::default() }];
        Node {
            node_id: id.to_owned(),
            node_type: node_type.to_owned(),
            state: state.into(),
            outputs,
            terminal: true,
            ..Node::default()
        }
    }

    fn of(nodes: Vec<Node>) -> control::Run {
        control::Run { status: RunStatus::Running.into(), nodes, ..control::Run::default() }
    }

    fn polled(run: &control::Run) -> Value {
        serde_json::to_value(poll(run).unwrap()).unwrap()
    }

    #[test]
    fn states_have_two_words() {
        for (state, status, own) in [
            (NodeState::Pending, "PENDING", "PENDING"),
            (NodeState::Ready, "PENDING", "READY"),
            (NodeState::Running, "RUNNING", "RUNNING"),
            (NodeState::Waiting, "RUNNING", "WAITING"),
            (NodeState::Completed, "COMPLETED", "COMPLETED"),
            (NodeState::Failed, "FAILED", "FAILED"),
            (NodeState::Skipped, "SKIPPED", "SKIPPED"),
            (NodeState::Cancelled, "CANCELLED", "CANCELLED"),
            (NodeState::Cached, "COMPLETED", "CACHED"),
        ] {
            let body = polled(&of(vec![node("a", "x:y", state)]));
            for shown in [&body["nodeStates"][0], &body["nodeResults"]["nodeRuns"][0]] {
                assert_eq!((&shown["status"], &shown["state"]), (&json!(status), &json!(own)));
                assert_eq!(shown.get("cached").is_some(), own == "CACHED");
            }
            assert_eq!(body["nodeResults"]["nodeRuns"][0]["output"].is_object(), status == "COMPLETED");
        }
        let mut hook = node("h", "logic:wait_webhook", NodeState::Waiting);
        hook.outputs[0].port = "url".to_owned();
        let body = polled(&of(vec![hook]));
        assert_eq!(body["nodeResults"]["nodeRuns"][0]["output"]["url"], "h", "{body}");
        assert_eq!(body["finalOutput"], Value::Null);
        assert!(poll(&of(vec![node("a", "x:y", NodeState::Unspecified)])).is_err());
        assert!(poll(&control::Run::default()).is_err());
    }

    #[test]
    fn a_caught_failure_shows_its_error_and_is_no_final_output() {
        let error =
            PortValue { port: "error".to_owned(), value_json: "{\"code\":\"x\"}".into(), ..PortValue::default() };
        let mut failed = Node { outputs: vec![error], ..node("a", "llm:x", NodeState::Failed) };
        failed.provider = "llm:y".to_owned();
        let body = polled(&of(vec![failed, node("b", "llm:x", NodeState::Completed)]));
        let shown = &body["nodeResults"]["nodeRuns"][0];
        assert_eq!((&shown["output"]["error"]["code"], &shown["provider"]), (&json!("x"), &json!("llm:y")));
        assert_eq!(body["finalOutput"]["nodeId"], "b");
        assert!(body["nodeResults"]["nodeRuns"][1].get("provider").is_none());
    }

    #[test]
    fn the_lists_of_a_lifted_node_are_shown_whatever_became_of_its_items() {
        let lifted = |state, value: &'static str| {
            let list = PortValue { port: "out".to_owned(), value_json: value.into(), ..PortValue::default() };
            let items = Some(control::Items::default());
            Node { outputs: vec![list], items, ..node("a", "llm:x", state) }
        };
        for (state, value) in [(NodeState::Skipped, "[]"), (NodeState::Failed, "[null]"), (NodeState::Completed, "[1]")]
        {
            let body = polled(&of(vec![lifted(state, value)]));
            assert_eq!(body["nodeResults"]["nodeRuns"][0]["output"]["out"].to_string(), value, "{state:?}");
        }
        let nothing = Node { outputs: Vec::new(), ..lifted(NodeState::Skipped, "[]") };
        assert_eq!(polled(&of(vec![nothing]))["nodeResults"]["nodeRuns"][0]["output"], Value::Null);
    }

    #[test]
    fn the_final_output_is_the_target_or_an_output_node_or_the_end() {
        let done = NodeState::Completed;
        let nodes = vec![
            node("a", "llm:x", done),
            node("b", "output:preview", done),
            node("c", "output:preview", NodeState::Pending),
            node("d", "llm:y", done),
        ];
        assert_eq!(polled(&of(nodes.clone()))["finalOutput"]["nodeId"], "b");
        let targeted = control::Run { target_node_id: "a".to_owned(), ..of(nodes.clone()) };
        assert_eq!(polled(&targeted)["finalOutput"]["text"], "a");
        let mut plain = vec![nodes[0].clone(), nodes[3].clone()];
        assert_eq!(polled(&of(plain.clone()))["finalOutput"]["nodeId"], "d");
        plain[1].terminal = false;
        assert_eq!(polled(&of(plain))["finalOutput"]["nodeId"], "a");
        assert_eq!(polled(&of(vec![nodes[2].clone()]))["finalOutput"], Value::Null);
    }
}
