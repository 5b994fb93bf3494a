//! Whose word counts: a node's own policy, else its type's, else its workflow's, else the server's (graph.md, part 6).

use std::sync::Arc;

use thiserror::Error;

use super::json::{self, Json, Member};
use super::policy_json;
use super::problem::{Problem, rule};
use crate::node_type::{Control, NodeType, Port, PortType, Runner};
use crate::policy::{CacheDraft, OnError, Policy, PolicyDraft, RunPolicy};

/// The output that `onError: continue` opens.
pub(super) const ERROR_OUTPUT: &str = "error";

/// What the server's settings cannot say for all nodes: it would change graphs that are stored and runs that go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0} is said by a node or a workflow, not by the server's settings: take it out of them")]
pub struct ServerPolicyError(pub &'static str);

/// Refuses a policy of the server's settings that says more than how attempts are tried.
pub(super) fn check_server(policy: &PolicyDraft) -> Result<(), ServerPolicyError> {
    let said = [
        ("deadlineMs", policy.deadline_ms.is_some()),
        ("onError", policy.on_error.is_some()),
        ("onItemError", policy.on_item_error.is_some()),
        ("priority", policy.priority.is_some()),
        ("agent", policy.agent.is_some()),
        ("review", policy.review.is_some()),
        ("cache", policy.cache.is_some()),
        ("concurrencyKey", policy.concurrency_key.is_some()),
    ];
    said.iter().find(|(_, is_said)| *is_said).map_or(Ok(()), |(name, _)| Err(ServerPolicyError(name)))
}

/// Reads the policy of the server's settings, a JSON object as `data.policy` is.
///
/// # Errors
/// A sentence that names what is wrong, and where.
pub fn read_server_policy(text: &str) -> Result<PolicyDraft, String> {
    let text = json::compact(text.as_bytes()).map_err(|fault| fault.message("the policy"))?;
    let mut problems = Vec::new();
    let draft = policy_json::read(Json(&text), "", &mut |problem| problems.push(problem));
    if let Some(problem) = problems.into_iter().next() {
        let place = problem.path.unwrap_or_default();
        return Err(format!("{place}: {} {}", problem.message, problem.fix));
    }
    match Json(&text).get("fallback") {
        Some(_) => Err(ServerPolicyError("fallback").to_string()),
        None => check_server(&draft).map(|()| draft).map_err(|error| error.to_string()),
    }
}

/// The policies below a node's own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Defaults<'a> {
    pub(super) server: &'a PolicyDraft,
    pub(super) workflow: &'a PolicyDraft,
}

impl Defaults<'_> {
    /// The policy of a node of a type, with its own on top.
    pub(super) fn with(&self, node_type: Option<&NodeType>, own: &PolicyDraft) -> Policy {
        let policy = Policy::default().with(self.server).with(self.workflow);
        let policy = match node_type.and_then(|node_type| node_type.policy.as_ref()) {
            Some(of_type) => policy.with(of_type),
            None => policy,
        };
        policy.with(own)
    }
}

/// A node's own policy.
pub(super) fn own(data: &[Member<'_>], path: &str, report: &mut dyn FnMut(Problem)) -> PolicyDraft {
    let Some(policy) = written(data) else { return PolicyDraft::default() };
    let path = format!("{path}/data/policy");
    let mut draft = policy_json::read_of_node(policy, &path, report);
    if draft.deadline_ms.take().is_some() {
        let message = "A node's policy cannot have deadlineMs: it is the time of a whole run.";
        let fix = "Write it in the workflow's policy; timeoutMs is the time of one attempt.";
        report(Problem::new(rule::BAD_POLICY, message, fix).at(path + "/deadlineMs"));
    }
    draft
}

/// A node's own policy as it is written.
pub(super) fn written<'a>(data: &[Member<'a>]) -> Option<Json<'a>> {
    data.iter().find(|member| member.key == "policy").map(|member| member.value).filter(|policy| !policy.is_null())
}

/// The workflow's policy: what counts for its nodes, and for its runs. It cannot name providers: they are of one node.
pub(super) fn of_workflow(policy: Json<'_>, path: &str, report: &mut dyn FnMut(Problem)) -> (PolicyDraft, RunPolicy) {
    let (mut draft, of_runs) = policy_json::read_of_workflow(policy, path, report);
    if draft.on_error == Some(OnError::Fallback) || policy.get("fallback").is_some_and(|list| !list.is_null()) {
        let message = "The workflow's policy cannot name fallbacks: they are of one node.";
        let problem = Problem::new(rule::BAD_POLICY, message, "Write onError and fallback in the node's data.policy.");
        report(problem.at(path.to_owned()));
        draft.on_error = None;
    }
    (draft, of_runs)
}

/// What a node's own policy says that has no meaning for its type, each with its field.
pub(super) fn misplaced(
    (type_id, runner): (&str, Runner),
    own: &PolicyDraft,
    policy: &Policy,
) -> Vec<(&'static str, Problem)> {
    let Runner::Control(control) = runner else {
        let are_both = policy.cache.is_some() && policy.review.is_some();
        let message = "policy: a node cannot have both cache and review: what people decided in one run is not what they would \
                       decide in another.";
        let fix = "Take one of them out; \"cache\": \"off\" takes out what the workflow's policy says.";
        return are_both.then(|| ("cache", Problem::new(rule::BAD_POLICY, message, fix))).into_iter().collect();
    };
    let mut found = Vec::new();
    let mut refuse = |field: &'static str, why: &str, fix: &str| {
        let message = format!("policy: {field} has no meaning for {type_id}{why}.");
        found.push((field, Problem::new(rule::BAD_POLICY, message, fix)));
    };
    let is_invoke = control == Control::Invoke;
    if own.review.is_some() {
        refuse("review", ", which is built in", "Put a logic:review before or behind the node.");
    }
    if own.cache.and_then(CacheDraft::ttl).is_some() {
        let (why, fix) = match is_invoke {
            true => (": it runs a whole workflow, and what runs share are results of nodes", IN_THE_OTHER_CACHE),
            false => (
                ", which is built in: it costs nothing to decide it anew",
                "Take cache out, or write it in the policy of nodes that agents run.",
            ),
        };
        refuse("cache", why, fix);
    }
    if control.may_ask_an_agent() {
        return found;
    }
    let why = match is_invoke {
        true => ": it runs a whole workflow, and has no attempts of its own",
        false => ", which is built in: it has no attempts",
    };
    if own.timeout_ms.is_some() {
        let fix = match control {
            Control::Invoke => IN_A_RACE,
            Control::Review | Control::Signal | Control::Webhook => "Write timeoutMs in the node's config.",
            _ => "Take timeoutMs out, or write it in the policy of nodes that agents run.",
        };
        refuse("timeoutMs", why, fix);
    }
    if own.retry.is_some() {
        let fix = match is_invoke {
            true => IN_THE_OTHER_RETRY,
            false => "Take retry out, or write it in the policy of nodes that agents run.",
        };
        refuse("retry", why, fix);
    }
    found
}

const IN_THE_OTHER_CACHE: &str = "Take cache out, or write it in the policy of that workflow or of its nodes.";
const IN_THE_OTHER_RETRY: &str = "Take retry out, or write it in the policy of that workflow or of its nodes.";
const IN_A_RACE: &str = "Take timeoutMs out; a logic:race with a logic:wait gives the other run up when its time is over, and \
                         deadlineMs in that workflow's policy bounds the time that it is active.";

/// A type with the output `error`, and whether it had none before.
pub(super) fn with_error_output(node_type: Arc<NodeType>) -> (Arc<NodeType>, bool) {
    if node_type.output(ERROR_OUTPUT).is_some() {
        return (node_type, false);
    }
    let port = Port { id: ERROR_OUTPUT.into(), port_type: PortType::Json, list: false, required: false, default: None };
    let outputs = node_type.outputs.iter().cloned().chain([port]).collect();
    (Arc::new(NodeType { outputs, ..NodeType::clone(&node_type) }), true)
}

/// Whether what was wrong fits through the output `error` that a type has of its own.
pub(super) fn takes_error(node_type: &NodeType) -> bool {
    let port = node_type.output(ERROR_OUTPUT).map(|(_, port)| port);
    port.is_none_or(|port| !port.list && matches!(port.port_type, PortType::Json | PortType::Any))
}
