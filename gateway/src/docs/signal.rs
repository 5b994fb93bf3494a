//! The operations of signals and hooks.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::operation::{Operation, Shape};
use super::table::RUNS;
use crate::dto::signal::{CalledHook, SentSignal};
use crate::http::auth::Execute;

pub(crate) fn send_signal() -> Operation {
    Operation::of::<Execute>(RUNS, "Send a run a signal; a node of the name takes it, or it is kept until one waits")
        .idempotent()
        .body::<Value>(json!({"paid": true}))
        .answers::<SentSignal<'_>>(StatusCode::ACCEPTED, Shape::Enveloped)
}

pub(crate) fn call_hook() -> Operation {
    hook("Call back a run that waits: with the address that its node has given, once; no key")
}

pub(crate) fn put_hook() -> Operation {
    hook("The same, for those who put")
}

fn hook(says: &'static str) -> Operation {
    let refusals = [
        StatusCode::NOT_FOUND,
        StatusCode::GONE,
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ];
    let operation = Operation::open(RUNS, says).idempotent().body::<Value>(json!({"done": true}));
    let operation = refusals.into_iter().fold(operation, Operation::refuses);
    operation.answers::<CalledHook>(StatusCode::ACCEPTED, Shape::Bare)
}
