//! Runs that go on from others: what is asked, what would happen, and the family.

use heddle_proto::control::{self, PlanReason, ResumeReply};

use super::run::status;
use super::{non_empty, submit, unreadable};
use crate::dto::resume::{Credits, EditedPort, Lineage, LineageRun, Plan, PlanChanges, PlanMove, PlannedNode, Resumed};
use crate::dto::time::Time;
use crate::http::error::ApiError;

pub(crate) fn resumed(reply: &ResumeReply) -> Result<Resumed<'_>, ApiError> {
    let run = reply.run.as_ref().ok_or_else(|| unreadable("child of a run"))?;
    Ok(Resumed {
        run: submit::executed(run),
        parent_execution_id: &reply.parent_execution_id,
        lineage_id: &reply.lineage_id,
    })
}

pub(crate) fn plan(plan: &control::ResumePlan) -> Result<Plan<'_>, ApiError> {
    Ok(Plan {
        execution_id: &plan.execution_id,
        will_run: planned(&plan.will_run)?,
        may_run: planned(&plan.may_run)?,
        reused: planned(&plan.reused)?,
        skipped: planned(&plan.skipped)?,
        unknown_count: plan.unknown_count,
        credits: Credits { min: plan.credits_min, max: plan.credits_max },
        plan_token: &plan.plan_token,
    })
}

fn planned(nodes: &[control::PlannedNode]) -> Result<Vec<PlannedNode<'_>>, ApiError> {
    nodes
        .iter()
        .map(|node| {
            Ok(PlannedNode {
                node_id: &node.node_id,
                node_type: &node.node_type,
                label: &node.label,
                index: &node.index,
                instances: Some(node.instances).filter(|count| *count > 0),
                why: why(node.why())?,
                from: non_empty(&node.from_execution_id),
            })
        })
        .collect()
}

/// The word for why a node runs, may run, is reused or is skipped.
fn why(reason: PlanReason) -> Result<&'static str, ApiError> {
    Ok(match reason {
        PlanReason::Start => "start",
        PlanReason::EditedInput => "edited_input",
        PlanReason::Failed => "failed",
        PlanReason::NeverRan => "never_ran",
        PlanReason::OutcomeUnknown => "outcome_unknown",
        PlanReason::Index => "index",
        PlanReason::FailedItem => "failed_item",
        PlanReason::Downstream => "downstream",
        PlanReason::ConfigChanged => "config_changed",
        PlanReason::InputChanged => "input_changed",
        PlanReason::Evaluated => "evaluated",
        PlanReason::Rerun => "rerun",
        PlanReason::InputMayChange => "input_may_change",
        PlanReason::CacheMayAnswer => "cache_may_answer",
        PlanReason::RaceMayBeWon => "race_may_be_won",
        PlanReason::Same => "same",
        PlanReason::Edited => "edited",
        PlanReason::NotInPart => "not_in_part",
        PlanReason::BranchNotTaken => "branch_not_taken",
        PlanReason::Unspecified => return Err(unreadable("reason in a plan")),
    })
}

/// In what a plan is not the one that was agreed to.
pub(crate) fn changes(changes: &control::PlanChanges) -> PlanChanges<'_> {
    let moved = changes.moved.iter().map(|moved| PlanMove {
        node_id: &moved.node_id,
        index: &moved.index,
        instances: Some(moved.instances).filter(|count| *count > 0),
        from: non_empty(&moved.from),
        to: non_empty(&moved.to),
        why: why(moved.why()).ok(),
    });
    PlanChanges {
        parent: changes.parent,
        graph: changes.graph,
        options: changes.options.iter().map(String::as_str).collect(),
        outputs: edited(&changes.outputs),
        inputs: changes.inputs.iter().map(String::as_str).collect(),
        moved: moved.collect(),
        moved_total: changes.moved_total,
    }
}

fn edited(edits: &[control::EditedPort]) -> Vec<EditedPort<'_>> {
    edits.iter().map(|edit| EditedPort { node_id: &edit.node_id, port: &edit.port }).collect()
}

pub(crate) fn lineage(lineage: &control::Lineage) -> Result<Lineage<'_>, ApiError> {
    let runs = lineage.runs.iter().map(|run| {
        Ok(LineageRun {
            execution_id: &run.execution_id,
            parent_execution_id: non_empty(&run.parent_execution_id),
            workflow_id: &run.workflow_id,
            status: status(run.status)?,
            start_time: Time(run.started_at_ms),
            end_time: run.ended_at_ms.map(Time),
            rerun: run.rerun,
            from_node_id: non_empty(&run.from_node_id),
            to_node_id: non_empty(&run.to_node_id),
            subject: non_empty(&run.subject),
            edits: edited(&run.edits),
        })
    });
    Ok(Lineage {
        lineage_id: &lineage.lineage_id,
        runs: runs.collect::<Result<_, ApiError>>()?,
        next_cursor: non_empty(&lineage.next_cursor),
    })
}
