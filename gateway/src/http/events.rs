//! A run's events: as a stream that can be taken up again anywhere, or as JSON; and the stream of one node.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::Response;
use heddle_proto::stream_place::StreamPlace;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::accept::wants_stream;
use super::auth::{Caller, ReadExecutions};
use super::error::ApiError;
use super::follow;
use super::input::{Parameters, Segment, TwoSegments};
use super::query::limit;
use super::reply;
use super::run_nodes::index;
use super::workflows::flag;
use crate::app::App;
use crate::convert::{self, failure, unreadable};
use crate::dto::event::Events;
use crate::feeds::Followed;
use crate::limits::{CALL_TIME_MAX, EVENTS_ANSWER_BYTES_MAX, EVENTS_LIMIT_MAX};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Which events.
#[derive(Deserialize)]
pub(crate) struct EventParameters {
    /// Only those after this seq, or after this id of a stream.
    after: Option<String>,
    /// Whether to wait for those to come.
    follow: Option<String>,
    /// Which events have an id.
    ids: Option<String>,
    /// How many are listed at once.
    limit: Option<String>,
}

/// `GET /workflows/executions/{id}/events`.
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    caller: Caller<ReadExecutions>,
    Segment(id): Segment,
    Parameters(parameters): Parameters<EventParameters>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let after = place(&headers, parameters.after.as_deref())?;
    let has_all_ids = match parameters.ids.as_deref() {
        None | Some("" | "history") => false,
        Some("all") => true,
        Some(_) => return Err(ApiError::invalid_parameter("ids", "history or all")),
    };
    let limit = limit("limit", parameters.limit.as_deref(), EVENTS_LIMIT_MAX, EVENTS_LIMIT_MAX)?;
    if !wants_stream(&headers, parameters.follow.is_some())? {
        return listed(&app, &caller, id, after, limit).await;
    }
    let follow = flag("follow", parameters.follow.as_deref())?.unwrap_or(true);
    let followed = Followed { tenant: caller.tenant(), execution_id: id, node: None, follow, has_all_ids };
    follow::open(app, caller, followed, after).await
}

/// Which part of a node's stream.
#[derive(Deserialize)]
pub(crate) struct StreamParameters {
    after: Option<String>,
    follow: Option<String>,
    /// Numbers of items and turns, the outermost first, with commas between them.
    index: Option<String>,
}

/// `GET /workflows/executions/{id}/nodes/{nodeId}/stream`.
pub(crate) async fn of_node(
    State(app): State<Arc<App>>,
    caller: Caller<ReadExecutions>,
    TwoSegments(execution_id, node_id): TwoSegments,
    Parameters(parameters): Parameters<StreamParameters>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let after = place(&headers, parameters.after.as_deref())?;
    let follow = flag("follow", parameters.follow.as_deref())?.unwrap_or(true);
    let node = Some((node_id, index(parameters.index.as_deref().unwrap_or_default())?));
    let followed = Followed { tenant: caller.tenant(), execution_id, node, follow, has_all_ids: true };
    follow::open(app, caller, followed, after).await
}

/// What there is of a run's events now, up to `limit` of them, in one JSON object.
async fn listed(
    app: &App,
    caller: &Caller<ReadExecutions>,
    execution_id: String,
    after: StreamPlace,
    limit: u32,
) -> Result<Response, ApiError> {
    let mut pages = app.coordinator.events(caller, execution_id.clone(), after, None, false).await?;
    let (mut events, mut last_seq, mut bytes, mut has_more) = (Vec::new(), after.seq, 0, false);
    let until = Instant::now() + CALL_TIME_MAX;
    'pages: loop {
        let page = match pages.message().await {
            Ok(Some(page)) => page,
            Ok(None) => break,
            // Taken up where it broke: whoever asked gets one whole answer.
            Err(status) if failure::is_connection_lost(&status) && Instant::now() < until => {
                let after = StreamPlace { seq: last_seq, ..StreamPlace::default() };
                pages = app.coordinator.events(caller, execution_id.clone(), after, None, false).await?;
                continue;
            }
            Err(status) => return Err(failure::refused(status)),
        };
        for event in &page.events {
            if events.len() >= limit as usize || bytes >= EVENTS_ANSWER_BYTES_MAX {
                has_more = true;
                break 'pages;
            }
            let event_json = json(event, &execution_id)?;
            bytes += event_json.get().len();
            events.push(event_json);
            last_seq = event.seq;
        }
    }
    reply::enveloped(StatusCode::OK, &Events { execution_id: &execution_id, events, last_seq, has_more })
}

fn json(event: &heddle_proto::control::Event, execution_id: &str) -> Result<Box<RawValue>, ApiError> {
    let mut text = Vec::with_capacity(event.data_json.len() + 128);
    convert::event::write(&mut text, event, execution_id)?;
    let text = String::from_utf8(text).map_err(|_| unreadable("data of an event"))?;
    RawValue::from_string(text).map_err(|_| unreadable("data of an event"))
}

/// Where to go on. A browser that connects again keeps the address and sends the newer place in the header.
fn place(headers: &HeaderMap, after: Option<&str>) -> Result<StreamPlace, ApiError> {
    let asked = after
        .filter(|text| !text.is_empty())
        .map(|text| text.parse().map_err(|_| ApiError::invalid_parameter("after", "the number or the id of an event")));
    let asked = asked.transpose()?.unwrap_or_default();
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else { return Ok(asked) };
    let message = "Last-Event-ID must be the id of an event of this stream, as it was";
    let place = value.to_str().ok().and_then(|text| text.parse().ok());
    place.ok_or_else(|| ApiError::bad_request("invalid_last_event_id", message))
}
