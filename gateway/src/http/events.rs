//! A run's events: as a stream that can be taken up again anywhere, or as JSON.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use heddle_proto::control::EventPage;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};
use tonic::Streaming;

use super::auth::{Caller, ReadExecutions};
use super::error::ApiError;
use super::input::{Parameters, Segment};
use super::query::number;
use super::reply;
use super::workflows::flag;
use crate::app::App;
use crate::convert::{self, failure, unreadable};
use crate::dto::event::Events;
use crate::limits::{
    CALL_TIME_MAX, EVENTS_ANSWER_BYTES_MAX, EVENTS_PER_ANSWER_MAX, FOLLOW_OUTAGE_MAX, FOLLOW_PAUSE, FOLLOW_TIME_MAX,
    HEARTBEAT_INTERVAL,
};
use crate::metrics::Closed;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// What the stream begins with: how long a client should wait before it connects again, in milliseconds.
const HELLO: &str = "retry: 1000\n\n";
const HEARTBEAT: &str = ": heartbeat\n\n";
const OUTAGE: &str = ": the coordinator cannot be reached, trying again\n\n";
/// Nothing more will come. A client that would connect again on its own is told not to.
const END: &str = "event: stream.end\ndata: {}\n\n";

/// Which events.
#[derive(Deserialize)]
pub(crate) struct EventParameters {
    /// Only those after this seq.
    after: Option<String>,
    /// Whether to wait for those to come.
    follow: Option<String>,
}

/// `GET /workflows/executions/{id}/events`.
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    caller: Caller<ReadExecutions>,
    Segment(id): Segment,
    Parameters(parameters): Parameters<EventParameters>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    // A browser that connects again keeps the address and sends the newer place in the header.
    let asked = number("after", parameters.after.as_deref(), (0, u64::MAX))?;
    let after = last_event_id(&headers)?.or(asked).unwrap_or(0);
    if !wants_stream(&headers, parameters.follow.is_some()) {
        return listed(&app, &caller, id, after).await;
    }
    let follow = flag("follow", parameters.follow.as_deref())?.unwrap_or(true);
    let permit = app.followers.clone().try_acquire_owned().map_err(|_| too_many_followers())?;
    let pages = app.coordinator.events(&caller, id.clone(), after, follow).await?;
    let follower = Follower {
        app,
        caller,
        execution_id: id,
        after,
        follow,
        pages: Some(pages),
        opened_at: Instant::now(),
        lost_at: None,
        is_over: false,
        closed: Closed::Client,
        _permit: permit,
    };
    Ok(stream(follower))
}

fn stream(follower: Follower) -> Response {
    let pieces = futures::stream::unfold((follower, Some(HELLO)), |(mut follower, hello)| async move {
        let piece = match hello {
            Some(hello) => Bytes::from_static(hello.as_bytes()),
            None => follower.next().await?,
        };
        Some((Ok::<_, std::convert::Infallible>(piece), (follower, None)))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Reverse proxies that buffer would hold events back.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// One client that reads a run's events, and where it is.
struct Follower {
    app: Arc<App>,
    caller: Caller<ReadExecutions>,
    execution_id: String,
    after: u64,
    follow: bool,
    /// Nothing while the coordinator cannot be reached.
    pages: Option<Streaming<EventPage>>,
    opened_at: Instant,
    /// Since when the coordinator cannot be reached.
    lost_at: Option<Instant>,
    is_over: bool,
    /// Why it would end if it ended now.
    closed: Closed,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    /// The next piece of the stream; nothing at its end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.is_over {
                return None;
            }
            if self.app.stopping.is_cancelled() {
                return self.close(Closed::Stopping);
            }
            if self.opened_at.elapsed() > FOLLOW_TIME_MAX {
                return self.close(Closed::Time);
            }
            let Some(pages) = &mut self.pages else {
                match self.reconnect().await {
                    Some(piece) => return Some(piece),
                    None => continue,
                }
            };
            let stopping = self.app.stopping.clone();
            let page = tokio::select! {
                page = pages.message() => page,
                () = sleep(HEARTBEAT_INTERVAL) => return Some(Bytes::from_static(HEARTBEAT.as_bytes())),
                () = stopping.cancelled() => return self.close(Closed::Stopping),
            };
            match page {
                Ok(Some(page)) => {
                    self.lost_at = None;
                    if !page.events.is_empty() {
                        return self.written(&page);
                    }
                }
                Ok(None) => {
                    let _over = self.close(Closed::End);
                    return Some(Bytes::from_static(END.as_bytes()));
                }
                Err(status) => {
                    let error = failure::refused(status);
                    tracing::debug!(code = &*error.code, after = self.after, "an event stream broke");
                    self.pages = None;
                    if error.status != StatusCode::SERVICE_UNAVAILABLE {
                        return self.close(Closed::Error);
                    }
                }
            }
        }
    }

    /// Takes the stream up where it broke. The client notices a comment, and no event twice or not at all.
    async fn reconnect(&mut self) -> Option<Bytes> {
        let lost_at = *self.lost_at.get_or_insert_with(Instant::now);
        sleep(FOLLOW_PAUSE).await;
        let execution_id = self.execution_id.clone();
        match self.app.coordinator.events(&self.caller, execution_id, self.after, self.follow).await {
            Ok(pages) => self.pages = Some(pages),
            Err(error) if error.status == StatusCode::SERVICE_UNAVAILABLE && lost_at.elapsed() < FOLLOW_OUTAGE_MAX => {
                return Some(Bytes::from_static(OUTAGE.as_bytes()));
            }
            Err(_) => return self.close(Closed::Error),
        }
        None
    }

    /// The stream ends here.
    fn close(&mut self, why: Closed) -> Option<Bytes> {
        (self.is_over, self.closed) = (true, why);
        None
    }

    fn written(&mut self, page: &EventPage) -> Option<Bytes> {
        let mut text = Vec::new();
        for event in &page.events {
            if !is_live(event) && event.seq <= self.after {
                continue;
            }
            match write(&mut text, event, &self.execution_id) {
                Ok(()) => self.after = self.after.max(event.seq),
                Err(_) => {
                    let _over = self.close(Closed::Error);
                    break;
                }
            }
        }
        Some(text.into())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.app.numbers.closed(self.closed);
    }
}

/// Writes one event in the form of the WHATWG standard.
fn write(out: &mut Vec<u8>, event: &heddle_proto::control::Event, execution_id: &str) -> Result<(), ApiError> {
    if event.r#type.contains(['\n', '\r']) {
        return Err(unreadable("type of an event"));
    }
    // A place to take the stream up at is only in the history.
    if !is_live(event) {
        out.extend_from_slice(format!("id: {}\n", event.seq).as_bytes());
    }
    out.extend_from_slice(format!("event: {}\n", event.r#type).as_bytes());
    let mut json = Vec::with_capacity(event.data_json.len() + 128);
    convert::event::write(&mut json, event, execution_id)?;
    // White space inside the JSON may break lines; each line is a field of its own.
    for line in json.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
    Ok(())
}

/// Whether it is a word of an attempt at work, and in no history.
fn is_live(event: &heddle_proto::control::Event) -> bool {
    event.seq == 0
}

/// What there is of a run's events now, in one JSON object.
async fn listed(
    app: &App,
    caller: &Caller<ReadExecutions>,
    execution_id: String,
    after: u64,
) -> Result<Response, ApiError> {
    let mut pages = app.coordinator.events(caller, execution_id.clone(), after, false).await?;
    let (mut events, mut last_seq, mut bytes, mut has_more) = (Vec::new(), after, 0, false);
    let until = Instant::now() + CALL_TIME_MAX;
    'pages: loop {
        let page = match pages.message().await {
            Ok(Some(page)) => page,
            Ok(None) => break,
            // Taken up where it broke: whoever asked gets one whole answer.
            Err(status) if failure::is_connection_lost(&status) && Instant::now() < until => {
                pages = app.coordinator.events(caller, execution_id.clone(), last_seq, false).await?;
                continue;
            }
            Err(status) => return Err(failure::refused(status)),
        };
        for event in &page.events {
            if events.len() >= EVENTS_PER_ANSWER_MAX || bytes >= EVENTS_ANSWER_BYTES_MAX {
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

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else { return Ok(None) };
    match value.to_str().ok().and_then(|text| text.parse().ok()) {
        Some(seq) => Ok(Some(seq)),
        None => {
            Err(ApiError::bad_request("invalid_last_event_id", "Last-Event-ID must be the id of an event: a number"))
        }
    }
}

/// A list ends by itself: who asks neither for a stream nor whether to follow is not left to wait for its end.
fn wants_stream(headers: &HeaderMap, says_follow: bool) -> bool {
    let accepts =
        |kind: &str| headers.get_all(ACCEPT).iter().any(|value| value.to_str().is_ok_and(|text| text.contains(kind)));
    accepts("text/event-stream") || says_follow && !accepts("application/json")
}

fn too_many_followers() -> ApiError {
    let message = "this gateway follows as many runs as it can; poll instead, or try again in a moment";
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_followers", message).retry_after(5)
}
