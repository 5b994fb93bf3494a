//! One client that follows a run, or a node of it, and where it is. It holds no more than a page of events, whether it reads
//! or not.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use futures::stream;
use heddle_proto::control::{Event, EventPage, FollowNodeRequest};
use heddle_proto::limits::{STREAM_WINDOW_BYTES, STREAM_WINDOW_SECONDS};
use heddle_proto::stream_place::StreamPlace;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tonic::Streaming;

use super::auth::{Caller, ReadExecutions};
use super::error::ApiError;
use crate::app::App;
use crate::convert::{self, failure, unreadable};
use crate::followers::{NoPlace, Place};
use crate::limits::{
    FOLLOW_OUTAGE_MAX, FOLLOW_PAUSE, FOLLOW_TIME_MAX, FOLLOWER_FAREWELL_MAX, FOLLOWERS_PER_TENANT_MAX,
    HEARTBEAT_INTERVAL,
};
use crate::metrics::Closed;

const HEARTBEAT: &[u8] = b": heartbeat\n\n";
const OUTAGE: &[u8] = b": the coordinator cannot be reached, trying again\n\n";
/// Nothing more will come. A client that would connect again on its own is told not to.
const END: &[u8] = b"event: stream.end\ndata: {}\n\n";

/// What is followed.
pub(super) struct Followed {
    pub(super) execution_id: String,
    /// A node of it, and the items and turns that it lies in.
    pub(super) node: Option<(String, Vec<u32>)>,
    /// Whether to wait for what is to come.
    pub(super) follow: bool,
    /// Whether each event names the place behind it, or those of the history alone.
    pub(super) has_all_ids: bool,
}

/// Opens a stream of events behind a place.
pub(super) async fn open(
    app: Arc<App>,
    caller: Caller<ReadExecutions>,
    followed: Followed,
    after: StreamPlace,
) -> Result<Response, ApiError> {
    let place = app.followers.take(&caller.tenant()).map_err(too_many)?;
    let mut follower = Follower {
        app,
        caller,
        followed,
        after,
        pages: None,
        opened_at: Instant::now(),
        lost_at: None,
        is_over: false,
        closed: Closed::Client,
        place: Some(place),
        is_counted: false,
    };
    follower.pages = Some(follower.connect().await?);
    // One piece waits for the client, so that it is known for how long it has waited.
    let (pieces, taken) = mpsc::channel(1);
    tokio::spawn(follower.run(pieces));
    let body =
        stream::unfold(taken, |mut taken| async move { Some((Ok::<_, Infallible>(taken.recv().await?), taken)) });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Reverse proxies that buffer would hold events back.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

struct Follower {
    app: Arc<App>,
    caller: Caller<ReadExecutions>,
    followed: Followed,
    after: StreamPlace,
    /// Nothing while the coordinator cannot be reached.
    pages: Option<Streaming<EventPage>>,
    opened_at: Instant,
    /// Since when the coordinator cannot be reached.
    lost_at: Option<Instant>,
    is_over: bool,
    /// Why it would end if it ended now.
    closed: Closed,
    place: Option<Place>,
    is_counted: bool,
}

impl Follower {
    /// Gives the client what comes, for as long as it takes it.
    async fn run(mut self, pieces: mpsc::Sender<Bytes>) {
        let mut hello = Some(hello());
        loop {
            // Nothing is asked for before there is room for it.
            let room = match timeout(self.app.stream_stall, pieces.reserve()).await {
                Ok(Ok(room)) => room,
                Ok(Err(_)) => return,
                Err(_) => {
                    (self.closed, self.pages, self.place) = (Closed::Slow, None, None);
                    self.count();
                    let _taken = timeout(FOLLOWER_FAREWELL_MAX, pieces.send(self.farewell())).await;
                    return;
                }
            };
            if let Some(hello) = hello.take() {
                room.send(hello);
                continue;
            }
            let piece = tokio::select! {
                piece = self.next() => piece,
                () = pieces.closed() => return,
            };
            match piece {
                Some(piece) => room.send(piece),
                None => return,
            }
        }
    }

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
            let page = tokio::select! {
                page = pages.message() => page,
                () = sleep(HEARTBEAT_INTERVAL) => return Some(Bytes::from_static(HEARTBEAT)),
                () = self.app.stopping.cancelled() => return self.close(Closed::Stopping),
            };
            match page {
                Ok(Some(page)) => {
                    self.lost_at = None;
                    if !page.events.is_empty() {
                        return self.written(&page);
                    }
                }
                Ok(None) => {
                    (self.is_over, self.closed) = (true, Closed::End);
                    return Some(Bytes::from_static(END));
                }
                Err(status) => {
                    let error = failure::refused(status);
                    tracing::debug!(code = &*error.code, after = %self.after, "an event stream broke");
                    self.pages = None;
                    if error.status != StatusCode::SERVICE_UNAVAILABLE {
                        return self.close(Closed::Error);
                    }
                }
            }
        }
    }

    async fn connect(&self) -> Result<Streaming<EventPage>, ApiError> {
        let Followed { execution_id, node, follow, .. } = &self.followed;
        let coordinator = &self.app.coordinator;
        match node {
            None => coordinator.events(&self.caller, execution_id.clone(), self.after, *follow).await,
            Some((node_id, index)) => {
                let is_fresh = self.after == StreamPlace::default();
                let request = FollowNodeRequest {
                    execution_id: execution_id.clone(),
                    node_id: node_id.clone(),
                    index: index.clone(),
                    after_place: if is_fresh { String::new() } else { self.after.to_string() },
                    follow: *follow,
                    ..FollowNodeRequest::default()
                };
                coordinator.follow_node(&self.caller, request).await
            }
        }
    }

    /// Takes the stream up where it broke. The client notices a comment, and no event twice or not at all.
    async fn reconnect(&mut self) -> Option<Bytes> {
        let lost_at = *self.lost_at.get_or_insert_with(Instant::now);
        sleep(FOLLOW_PAUSE).await;
        match self.connect().await {
            Ok(pages) => self.pages = Some(pages),
            Err(error) if error.status == StatusCode::SERVICE_UNAVAILABLE && lost_at.elapsed() < FOLLOW_OUTAGE_MAX => {
                return Some(Bytes::from_static(OUTAGE));
            }
            Err(_) => return self.close(Closed::Error),
        }
        None
    }

    /// The stream ends here, and its client is told where to go on.
    fn close(&mut self, why: Closed) -> Option<Bytes> {
        (self.is_over, self.closed) = (true, why);
        Some(self.farewell())
    }

    /// Counts its end, once.
    fn count(&mut self) {
        if !std::mem::replace(&mut self.is_counted, true) {
            self.app.numbers.closed(self.closed);
        }
    }

    fn farewell(&self) -> Bytes {
        let data = json!({ "reason": self.closed.name(), "resume": self.after.to_string() });
        format!("event: stream.closed\ndata: {data}\n\n").into()
    }

    fn written(&mut self, page: &EventPage) -> Option<Bytes> {
        let mut text = Vec::new();
        for event in &page.events {
            if !is_live(event) && event.seq <= self.after.seq {
                continue;
            }
            // A coordinator of an older build names no places.
            let behind = event
                .place
                .parse()
                .unwrap_or_else(|_| StreamPlace { seq: event.seq.max(self.after.seq), ..self.after });
            match write(&mut text, event, &self.followed, behind) {
                Ok(()) => self.after = behind,
                Err(_) => {
                    text.extend_from_slice(&self.close(Closed::Error).unwrap_or_default());
                    break;
                }
            }
        }
        Some(text.into())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.count();
    }
}

/// What a stream begins with: how long a client should wait before it connects again, in milliseconds, and what it finds then.
fn hello() -> Bytes {
    let kilobytes = STREAM_WINDOW_BYTES / 1024;
    format!(
        "retry: 1000\n: of each attempt the youngest {kilobytes} KiB of pieces are kept while it runs and {STREAM_WINDOW_SECONDS} s \
         longer; go on with Last-Event-ID\n\n"
    )
    .into()
}

/// Writes one event in the form of the WHATWG standard.
fn write(out: &mut Vec<u8>, event: &Event, followed: &Followed, behind: StreamPlace) -> Result<(), ApiError> {
    if event.r#type.contains(['\n', '\r']) {
        return Err(unreadable("type of an event"));
    }
    // Unless it asks for more, a client knows places in the history alone.
    match followed.has_all_ids {
        true => out.extend_from_slice(format!("id: {behind}\n").as_bytes()),
        false if is_live(event) => {}
        false => out.extend_from_slice(format!("id: {}\n", event.seq).as_bytes()),
    }
    out.extend_from_slice(format!("event: {}\n", event.r#type).as_bytes());
    let mut json = Vec::with_capacity(event.data_json.len() + 128);
    convert::event::write(&mut json, event, &followed.execution_id)?;
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
fn is_live(event: &Event) -> bool {
    event.seq == 0
}

pub(super) fn too_many(no_place: NoPlace) -> ApiError {
    let message = match no_place {
        NoPlace::Left => {
            "this gateway follows as many runs as it can; poll instead, or try again in a moment".to_owned()
        }
        NoPlace::ForTenant => {
            format!(
                "{FOLLOWERS_PER_TENANT_MAX} clients of this tenant follow runs here; end some of them, or poll instead"
            )
        }
    };
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_followers", message).retry_after(5)
}
