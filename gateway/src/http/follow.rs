//! One client that follows a run, or a node of it, and where it is. It has no queue: it takes what is new from a feed that it
//! shares with others, when it has room.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use futures::{StreamExt as _, stream};
use heddle_proto::limits::{STREAM_WINDOW_BYTES, STREAM_WINDOW_SECONDS};
use heddle_proto::pace::Counted;
use heddle_proto::stream_place::StreamPlace;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::auth::{Caller, ReadExecutions};
use super::error::ApiError;
use crate::app::App;
use crate::feeds::{self, Ended, Followed, Seat, Taken};
use crate::followers::{NoPlace, Place};
use crate::limits::{
    FOLLOW_OUTAGE_MAX, FOLLOW_PAUSE, FOLLOW_TIME_MAX, FOLLOWER_FAREWELL_MAX, FOLLOWERS_PER_TENANT_MAX,
    HEARTBEAT_INTERVAL,
};
use crate::metrics::Closed;

const HEARTBEAT: &[u8] = b": heartbeat\n\n";
/// Nothing more will come. A client that would connect again on its own is told not to.
const END: &[u8] = b"event: stream.end\ndata: {}\n\n";

/// Opens a stream of events behind a place.
pub(super) async fn open(
    app: Arc<App>,
    caller: Caller<ReadExecutions>,
    followed: Followed,
    after: StreamPlace,
) -> Result<Response, ApiError> {
    let place = app.followers.take(&followed.tenant).map_err(too_many)?;
    let followed = Arc::new(followed);
    let seat = feeds::open(&app, &caller, &followed, after).await?;
    let follower = Follower {
        app,
        caller,
        followed,
        after,
        seat: Some(seat),
        opened_at: Instant::now(),
        lost_at: None,
        is_over: false,
        closed: Closed::Client,
        place: Some(place),
        is_counted: false,
        counted: Counted::default(),
        not_before: None,
    };
    // One piece waits for the client, so that it is known for how long it has waited.
    let (pieces, taken) = mpsc::channel(1);
    tokio::spawn(follower.run(pieces));
    let body = stream::unfold(taken, |mut taken| async move { Some((taken.recv().await?, taken)) });
    let body = body.flat_map(|texts: Texts| stream::iter(texts).map(Ok::<_, Infallible>));
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Reverse proxies that buffer would hold events back.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// What is sent at once.
type Texts = Vec<Bytes>;

struct Follower {
    app: Arc<App>,
    caller: Caller<ReadExecutions>,
    followed: Arc<Followed>,
    after: StreamPlace,
    /// Nothing where what comes next has to be asked for anew.
    seat: Option<Seat>,
    opened_at: Instant,
    /// Since when the coordinator cannot be asked.
    lost_at: Option<Instant>,
    is_over: bool,
    /// Why it would end if it ended now.
    closed: Closed,
    place: Option<Place>,
    is_counted: bool,
    /// Among those who are told something.
    counted: Counted,
    /// When it is told more.
    not_before: Option<Instant>,
}

impl Follower {
    /// Gives the client what comes, for as long as it takes it.
    async fn run(mut self, pieces: mpsc::Sender<Texts>) {
        let mut hello = Some(hello());
        loop {
            // Nothing is asked for before there is room for it.
            let room = match timeout(self.app.stream_stall, pieces.reserve()).await {
                Ok(Ok(room)) => room,
                Ok(Err(_)) => return,
                Err(_) => {
                    (self.closed, self.seat, self.place) = (Closed::Slow, None, None);
                    self.count();
                    let _taken = timeout(FOLLOWER_FAREWELL_MAX, pieces.send(self.farewell())).await;
                    return;
                }
            };
            if let Some(hello) = hello.take() {
                room.send(vec![hello]);
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
    async fn next(&mut self) -> Option<Texts> {
        let stopping = self.app.stopping.clone();
        if let Some(at) = self.not_before.take() {
            let _stopped = stopping.run_until_cancelled(sleep_until(at)).await;
        }
        loop {
            if self.is_over {
                return None;
            }
            if stopping.is_cancelled() {
                return self.close(Closed::Stopping);
            }
            if self.opened_at.elapsed() > FOLLOW_TIME_MAX {
                return self.close(Closed::Time);
            }
            let Some(seat) = &mut self.seat else {
                match self.reopen().await {
                    Some(piece) => return Some(piece),
                    None => continue,
                }
            };
            match seat.take() {
                Taken::Text(texts, behind) => {
                    self.after = behind;
                    let now = Instant::now();
                    let pause = self.app.feeds.pace.told(&mut self.counted, now.into_std());
                    self.not_before = (!pause.is_zero()).then(|| now + pause);
                    return Some(texts);
                }
                Taken::Nothing => tokio::select! {
                    () = seat.wait() => {}
                    () = sleep(HEARTBEAT_INTERVAL) => return Some(vec![Bytes::from_static(HEARTBEAT)]),
                    () = stopping.cancelled() => {}
                },
                Taken::Gone => self.seat = None,
                Taken::Ended(Ended::Until(place)) => (self.after, self.seat) = (place, None),
                Taken::Ended(Ended::Over) => {
                    (self.is_over, self.closed) = (true, Closed::End);
                    return Some(vec![Bytes::from_static(END)]);
                }
                Taken::Ended(Ended::Error) => return self.close(Closed::Error),
            }
        }
    }

    /// Goes on where it is, in another feed. The client notices nothing, or a comment while the coordinator is away.
    async fn reopen(&mut self) -> Option<Texts> {
        match feeds::open(&self.app, &self.caller, &self.followed, self.after).await {
            Ok(seat) => (self.seat, self.lost_at) = (Some(seat), None),
            Err(error) => {
                let lost_at = *self.lost_at.get_or_insert_with(Instant::now);
                if error.status != StatusCode::SERVICE_UNAVAILABLE || lost_at.elapsed() > FOLLOW_OUTAGE_MAX {
                    return self.close(Closed::Error);
                }
                sleep(FOLLOW_PAUSE).await;
                return Some(vec![Bytes::from_static(feeds::OUTAGE)]);
            }
        }
        None
    }

    /// The stream ends here, and its client is told where to go on.
    fn close(&mut self, why: Closed) -> Option<Texts> {
        (self.is_over, self.closed) = (true, why);
        Some(self.farewell())
    }

    /// Counts its end, once.
    fn count(&mut self) {
        if !std::mem::replace(&mut self.is_counted, true) {
            self.app.numbers.closed(self.closed);
        }
    }

    fn farewell(&self) -> Texts {
        let data = json!({ "reason": self.closed.name(), "resume": self.after.to_string() });
        vec![format!("event: stream.closed\ndata: {data}\n\n").into()]
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
