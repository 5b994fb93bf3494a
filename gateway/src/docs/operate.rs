//! The operations of runs and types that stand still on purpose.

use axum::http::StatusCode;
use serde_json::json;

use super::operation::{Operation, Shape};
use super::requests;
use super::table::{CLUSTER, RUNS};
use crate::dto::node_type::NodeTypeStand;
use crate::dto::run::Run;
use crate::http::auth::{Execute, Operate};

const OK: StatusCode = StatusCode::OK;

pub(crate) fn pause_run() -> Operation {
    Operation::of::<Execute>(RUNS, "Pause a run: what is at work finishes, and nothing begins until it goes on")
        .body::<requests::Pause>(json!({"reason": "look at the first results"}))
        .answers::<Run<'_>>(OK, Shape::Enveloped)
        .refuses(StatusCode::CONFLICT)
}

pub(crate) fn unpause_run() -> Operation {
    Operation::of::<Execute>(RUNS, "Let a paused run go on")
        .body::<requests::Unpause>(json!({}))
        .answers::<Run<'_>>(OK, Shape::Enveloped)
        .refuses(StatusCode::CONFLICT)
}

pub(crate) fn pause_type() -> Operation {
    Operation::of::<Operate>(CLUSTER, "Pause a node type: no attempt at such a node begins, in no run of any tenant")
        .body::<requests::Pause>(json!({"reason": "the provider is down"}))
        .answers::<NodeTypeStand<'_>>(OK, Shape::Bare)
        .refuses(StatusCode::UNPROCESSABLE_ENTITY)
}

pub(crate) fn unpause_type() -> Operation {
    Operation::of::<Operate>(CLUSTER, "Let nodes of a type begin again")
        .body::<requests::Unpause>(json!({}))
        .answers::<NodeTypeStand<'_>>(OK, Shape::Bare)
        .refuses(StatusCode::UNPROCESSABLE_ENTITY)
}
