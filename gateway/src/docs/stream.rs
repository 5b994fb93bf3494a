//! The operations that give what runs do piece by piece: streams of events, and whole histories.

use axum::http::StatusCode;
use serde_json::json;

use super::operation::{Operation, Shape};
use super::table::{OK, RUNS, limited};
use crate::dto::event::Events;
use crate::http::auth::ReadExecutions;
use crate::http::export::MEDIA_TYPE;

/// Where a stream goes on: the id of an event. A number has 64 bits, and those of the fourth and the fifth place 32.
const PLACE: &str = concat!(
    r"^(([0-9]{1,19}|18446744073709551615)((\.([0-9]{1,19}|18446744073709551615)){0,2}",
    r"|(\.([0-9]{1,19}|18446744073709551615)){2}(\.[0-9]{1,9}){2}\.[0-9]{1,19}))?$",
);

pub(crate) fn events() -> Operation {
    let place = json!({"type": "string", "pattern": PLACE});
    let says = "Follow a run's events as server-sent events, or list them as JSON";
    limited(Operation::of::<ReadExecutions>(RUNS, says), 1_000, "Events in a list, of which 1000 come at most.")
        .query("after", place.clone(), "Only events after this one: its number, or its id in a stream.")
        .query("follow", json!({"type": "boolean", "default": true}), "false: ends with the last event there is.")
        .query("ids", json!({"enum": ["history", "all"], "default": "history"}), IDS)
        .header("Last-Event-ID", json!({"anyOf": [place, {"const": ""}]}), "Goes on after this event.")
        .gives(OK, "text/event-stream")
        .answers::<Events<'_>>(OK, Shape::Enveloped)
        .refuses(StatusCode::NOT_ACCEPTABLE)
}

pub(crate) fn export() -> Operation {
    Operation::of::<ReadExecutions>(RUNS, "Get a run with its whole history as one file, which `heddle replay` reads")
        .gives(OK, MEDIA_TYPE)
}

/// What `ids` chooses.
const IDS: &str = "all: pieces and progress have an id, too, and a stream goes on exactly behind them.";

pub(crate) fn node_stream() -> Operation {
    let place = json!({"type": "string", "pattern": PLACE});
    let index = json!({"type": "string", "pattern": "^([0-9]{1,9}(,[0-9]{1,9}){0,8})?$"});
    Operation::of::<ReadExecutions>(RUNS, "Follow one node of a run as server-sent events, to its result")
        .query("after", place.clone(), "Only events after the one with this id.")
        .query("follow", json!({"type": "boolean", "default": true}), "false: ends with the last event there is.")
        .query("index", index, "Which item of the maps and loops around it, the outermost first, such as 17 or 3,0.")
        .header("Last-Event-ID", json!({"anyOf": [place, {"const": ""}]}), "Goes on after this event.")
        .gives(OK, "text/event-stream")
        .refuses(StatusCode::CONFLICT)
}
