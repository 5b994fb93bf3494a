//! A plan as a gateway gets it, and the token by which it is agreed to.

use heddle_core::graph::Graph;
use heddle_core::id::{EventSeq, RunId};
use heddle_core::run::lineage::Source;
use heddle_core::run::plan::{Plan, Planned, Why};
use heddle_core::value::Digest;
use heddle_proto::control as wire;
use prost::Message as _;
use tonic::Status;

use crate::rpc::failure;

pub(super) fn to_wire(graph: &Graph, parent: RunId, plan: &Plan, plan_token: String) -> wire::ResumePlan {
    let all = |planned: &[Planned]| planned.iter().map(|planned| node(graph, planned)).collect();
    wire::ResumePlan {
        execution_id: parent.to_string(),
        plan_token,
        will_run: all(&plan.will_run),
        may_run: all(&plan.may_run),
        reused: all(&plan.reused),
        skipped: all(&plan.skipped),
        unknown_count: plan.unknown_count,
        // Node types have no prices yet.
        credits_min: 0,
        credits_max: 0,
    }
}

fn node(graph: &Graph, planned: &Planned) -> wire::PlannedNode {
    let node = graph.node(planned.node);
    wire::PlannedNode {
        node_id: node.id.to_string(),
        node_type: node.type_id.to_string(),
        label: node.label.to_string(),
        index: planned.index.clone(),
        instances: planned.instances,
        why: why(planned.why).into(),
        from_execution_id: match planned.source {
            Some(Source::Run(run)) => run.to_string(),
            _ => String::new(),
        },
    }
}

fn why(why: Why) -> wire::PlanReason {
    match why {
        Why::Start => wire::PlanReason::Start,
        Why::EditedInput => wire::PlanReason::EditedInput,
        Why::Failed => wire::PlanReason::Failed,
        Why::NeverRan => wire::PlanReason::NeverRan,
        Why::Index => wire::PlanReason::Index,
        Why::FailedItem => wire::PlanReason::FailedItem,
        Why::Downstream => wire::PlanReason::Downstream,
        Why::ConfigChanged => wire::PlanReason::ConfigChanged,
        Why::InputChanged => wire::PlanReason::InputChanged,
        Why::Evaluated => wire::PlanReason::Evaluated,
        Why::Rerun => wire::PlanReason::Rerun,
        Why::InputMayChange => wire::PlanReason::InputMayChange,
        Why::CacheMayAnswer => wire::PlanReason::CacheMayAnswer,
        Why::Same => wire::PlanReason::Same,
        Why::Edited => wire::PlanReason::Edited,
        Why::NotInPart => wire::PlanReason::NotInPart,
        Why::BranchNotTaken => wire::PlanReason::BranchNotTaken,
    }
}

/// What a plan hangs on, each part by itself, so that it can be said which of them has changed: the parent's history, the graph, and
/// what is asked for.
pub(super) fn token(parent: RunId, seq: EventSeq, graph: &Graph, request: &wire::ResumeRequest) -> String {
    let asked = wire::ResumeRequest {
        // Which graph it comes to counts, not how it was named; and who asks, not at all.
        tenant: String::new(),
        subject: String::new(),
        graph_choice: 0,
        graph: None,
        plan_token: String::new(),
        idempotency: None,
        traceparent: String::new(),
        sandbox: false,
        ..request.clone()
    };
    let history = Digest::of(format!("{parent}/{seq}").as_bytes());
    [history, graph.digest(), Digest::of(&asked.encode_to_vec())].map(short).join("-")
}

fn short(digest: Digest) -> String {
    const DIGITS: usize = 24;
    digest.to_string().chars().take(DIGITS).collect()
}

/// The plan that was agreed to is not the one that would be carried out now.
pub(super) fn changed(agreed: &str, now: &str) -> Status {
    let what = ["the run's history has gone on", "the graph is another", "something else is asked for"];
    let parts: Vec<&str> = agreed.split('-').collect();
    let changed: Vec<&str> = match parts.len() == what.len() {
        true => {
            parts.iter().zip(now.split('-')).zip(what).filter(|((a, b), _)| *a != b).map(|(_, what)| what).collect()
        }
        false => vec!["the token is not one that a plan gave"],
    };
    let message = format!("the plan has changed since: {}; plan it again", changed.join(", and "));
    failure::plain(409, "plan_changed", message)
}
