//! A plan as a gateway gets it.

use heddle_core::graph::Graph;
use heddle_core::id::RunId;
use heddle_core::run::lineage::Source;
use heddle_core::run::plan::{Plan, Planned, Why};
use heddle_proto::control as wire;

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

pub(super) fn why(why: Why) -> wire::PlanReason {
    match why {
        Why::Start => wire::PlanReason::Start,
        Why::EditedInput => wire::PlanReason::EditedInput,
        Why::Failed => wire::PlanReason::Failed,
        Why::NeverRan => wire::PlanReason::NeverRan,
        Why::OutcomeUnknown => wire::PlanReason::OutcomeUnknown,
        Why::Index => wire::PlanReason::Index,
        Why::FailedItem => wire::PlanReason::FailedItem,
        Why::Downstream => wire::PlanReason::Downstream,
        Why::ConfigChanged => wire::PlanReason::ConfigChanged,
        Why::InputChanged => wire::PlanReason::InputChanged,
        Why::Evaluated => wire::PlanReason::Evaluated,
        Why::Rerun => wire::PlanReason::Rerun,
        Why::InputMayChange => wire::PlanReason::InputMayChange,
        Why::CacheMayAnswer => wire::PlanReason::CacheMayAnswer,
        Why::RaceMayBeWon => wire::PlanReason::RaceMayBeWon,
        Why::Same => wire::PlanReason::Same,
        Why::Edited => wire::PlanReason::Edited,
        Why::NotInPart => wire::PlanReason::NotInPart,
        Why::BranchNotTaken => wire::PlanReason::BranchNotTaken,
    }
}
