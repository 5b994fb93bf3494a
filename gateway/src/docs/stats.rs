//! The operations of figures and alerts. Bodies are read field by field, as in `requests.rs`.

#![allow(dead_code, reason = "of the types of bodies only their schemas are used")]

use axum::http::StatusCode;
use schemars::JsonSchema;
use serde_json::json;

use super::operation::{Operation, Shape};
use super::table::limited;
use crate::dto::stats::{Alert, Incident, Stats};
use crate::dto::workflow::Deleted;
use crate::http::auth::{ReadExecutions, ReadWorkflows, WriteWorkflows};

const STATS: &str = "Figures and alerts";

/// A rule to make, or the whole rule anew.
#[derive(JsonSchema)]
#[schemars(tag = "kind", rename_all = "snake_case", rename_all_fields = "camelCase", deny_unknown_fields)]
enum Rule {
    /// Too many of the runs that ended by themselves failed.
    ErrorRate {
        /// How far it looks back.
        #[schemars(range(min = 1_000, max = 2_592_000_000_u64))]
        window_ms: u64,
        /// The share of failed runs that is too much.
        #[schemars(range(min = 0.000001, max = 1.0))]
        threshold: f64,
        /// With fewer runs it says nothing.
        #[schemars(range(min = 1, max = 10_000))]
        min_runs: u64,
        /// For how long all must be well before its incident closes; a minute if it is left out.
        #[schemars(range(min = 0, max = 86_400_000))]
        close_after_ms: Option<u64>,
    },
    /// The slowest twentieth of the runs that ended by themselves took too long.
    #[schemars(rename = "duration_p95")]
    DurationP95 {
        /// How far it looks back.
        #[schemars(range(min = 1_000, max = 2_592_000_000_u64))]
        window_ms: u64,
        /// What is too long.
        #[schemars(range(min = 1, max = 2_592_000_000_u64))]
        threshold_ms: u64,
        /// With fewer runs it says nothing.
        #[schemars(range(min = 1, max = 10_000))]
        min_runs: u64,
        /// For how long all must be well before its incident closes; a minute if it is left out.
        #[schemars(range(min = 0, max = 86_400_000))]
        close_after_ms: Option<u64>,
    },
    /// No run has completed for too long.
    NoSuccessFor {
        /// For how long.
        #[schemars(range(min = 1_000, max = 2_592_000_000_u64))]
        ms: u64,
        /// For how long all must be well before its incident closes; a minute if it is left out.
        #[schemars(range(min = 0, max = 86_400_000))]
        close_after_ms: Option<u64>,
    },
}

fn figures(operation: Operation) -> Operation {
    let instant = || json!({"type": "string", "format": "date-time"});
    operation
        .query("from", instant(), "Runs that ended from here; seven days before `to` if it is left out.")
        .query("to", instant(), "Up to here, and not with it; now if it is left out.")
        .answers::<Stats<'_>>(StatusCode::OK, Shape::Enveloped)
        .refuses(StatusCode::UNPROCESSABLE_ENTITY)
        .refuses(StatusCode::TOO_MANY_REQUESTS)
}

pub(crate) fn of_workflow() -> Operation {
    figures(Operation::of::<ReadExecutions>(
        STATS,
        "Count the runs of a workflow: how they ended, how long they took, and why they failed",
    ))
}

pub(crate) fn of_all() -> Operation {
    figures(Operation::of::<ReadExecutions>(STATS, "Count the runs of all workflows"))
}

pub(crate) fn list_alerts() -> Operation {
    Operation::of::<ReadWorkflows>(STATS, "List the rules that watch over a workflow, the oldest first")
        .answers::<Alert<'_>>(StatusCode::OK, Shape::List)
}

pub(crate) fn get_alert() -> Operation {
    Operation::of::<ReadWorkflows>(STATS, "Get a rule that watches over a workflow")
        .answers::<Alert<'_>>(StatusCode::OK, Shape::Enveloped)
}

fn with_rule(operation: Operation) -> Operation {
    operation
        .body::<Rule>(json!({"kind": "error_rate", "windowMs": 3_600_000, "threshold": 0.2, "minRuns": 10}))
        .refuses(StatusCode::CONFLICT)
        .refuses(StatusCode::UNPROCESSABLE_ENTITY)
}

pub(crate) fn create_alert() -> Operation {
    with_rule(Operation::of::<WriteWorkflows>(STATS, "Have a rule watch over a workflow"))
        .idempotent()
        .answers::<Alert<'_>>(StatusCode::CREATED, Shape::Enveloped)
}

pub(crate) fn replace_alert() -> Operation {
    with_rule(Operation::of::<WriteWorkflows>(STATS, "Change a rule that watches over a workflow; its kind stays"))
        .answers::<Alert<'_>>(StatusCode::OK, Shape::Enveloped)
}

pub(crate) fn delete_alert() -> Operation {
    Operation::of::<WriteWorkflows>(STATS, "Delete a rule that watches over a workflow, and close its incident")
        .answers::<Deleted<'_>>(StatusCode::OK, Shape::Enveloped)
}

pub(crate) fn list_incidents() -> Operation {
    let state = json!({"enum": ["open", "closed", "all"], "default": "all"});
    let list = Operation::of::<ReadWorkflows>(STATS, "List what rules found, the youngest first");
    limited(list, 50, "Incidents in a page, of which 200 come at most.")
        .query("state", state, "Only incidents that stand so.")
        .query("workflowId", json!({"type": "string"}), "Only of this workflow.")
        .query("cursor", json!({"type": "string"}), "The next page: what the Link header names.")
        .answers::<Incident<'_>>(StatusCode::OK, Shape::List)
}
