//! Watching a run until it is over.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::client::{Asked, Client, Poll, RunStatus, error_text};
use crate::error::{Exit, Failure, Result};
use crate::limits::{EVENT_STREAM_FAILURES_MAX, EVENT_STREAM_PAUSE, EVENT_STREAM_PAUSE_MAX};
use crate::ui::program;
use crate::ui::progress::Progress;

/// Why watching ended before the run did.
#[derive(Debug)]
pub enum Stopped {
    /// The user pressed Ctrl-C.
    Interrupted,
    /// The time given by the user is over.
    TimedOut,
    /// It waits for somebody's review.
    Review(Asked),
    /// The server cannot be followed any more.
    Failed(Failure),
}

/// What ends the watching, beside the run's end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Until {
    /// This time.
    pub timeout: Option<Duration>,
    /// A review that opens.
    pub review: bool,
}

/// Shows a run's events from its start until it is over; returns its final state.
pub async fn follow(
    client: &Client,
    execution: &str,
    progress: &mut Progress,
    until: Until,
) -> std::result::Result<Poll, Stopped> {
    let watched = watch(client, execution, progress, until.review);
    let bounded = async {
        match until.timeout {
            Some(timeout) => timeout_at(Instant::now() + timeout, watched).await.map_err(|_| Stopped::TimedOut)?,
            None => watched.await,
        }
    };
    tokio::select! {
        poll = bounded => poll,
        Ok(()) = tokio::signal::ctrl_c() => Err(Stopped::Interrupted),
    }
}

async fn watch(
    client: &Client,
    execution: &str,
    progress: &mut Progress,
    review: bool,
) -> std::result::Result<Poll, Stopped> {
    let (mut after, mut failures, mut pause) = ("0".to_owned(), 0, EVENT_STREAM_PAUSE);
    loop {
        let before = after.clone();
        let ended = stream(client, execution, progress, &mut after, review).await;
        let polled = client.poll(execution, 0).await;
        if after != before {
            (failures, pause) = (0, EVENT_STREAM_PAUSE);
        }
        let failure = match (ended, polled) {
            (_, Ok(poll)) if poll.status.is_over() => return Ok(poll),
            // The review may be over by now: the events before it are told again to each new watcher.
            (Ok(Some(asked)), Ok(poll)) if poll.waits_for_review(&asked.node) => return Err(Stopped::Review(asked)),
            (Err(failure), _) | (_, Err(failure)) => failure,
            _ => {
                sleep(pause).await;
                continue;
            }
        };
        failures += 1;
        if failures > EVENT_STREAM_FAILURES_MAX || matches!(failure.exit, Exit::Auth | Exit::NotFound | Exit::Usage) {
            return Err(Stopped::Failed(failure));
        }
        progress.lost(&failure.message);
        sleep(pause).await;
        pause = (pause * 2).min(EVENT_STREAM_PAUSE_MAX);
    }
}

/// One stream of events, to its end; `after` moves along. With `review` it also ends where a review opens, and returns it.
async fn stream(
    client: &Client,
    execution: &str,
    progress: &mut Progress,
    after: &mut String,
    review: bool,
) -> Result<Option<Asked>> {
    let mut events = client.events(execution, after, true).await?;
    while let Some(event) = events.next().await? {
        events.after().clone_into(after);
        progress.event(&event);
        if matches!(event.kind.as_str(), "run.completed" | "run.failed" | "run.cancelled") {
            break;
        }
        if let Some(asked) = event.asked().into_iter().next().filter(|_| review) {
            return Ok(Some(asked));
        }
    }
    Ok(None)
}

/// The failure that a run's end is, if it did not complete.
pub fn outcome(execution: &str, poll: &Poll) -> Result<()> {
    let why = match (poll.status, &poll.error) {
        (RunStatus::Completed, _) => return Ok(()),
        (RunStatus::Cancelled, None) => "the run was cancelled".to_owned(),
        (RunStatus::Cancelled, Some(error)) => format!("the run was cancelled: {}", error_text(error)),
        (_, Some(error)) => format!("the run failed: {}", error_text(error)),
        (_, None) => "the run failed".to_owned(),
    };
    Err(Failure::failed(why).with_next(format!("{} executions get {execution}", program())))
}

/// The failure for a run that outlives its watcher. `left` says how it goes on when its server ends with the watcher.
pub fn stopped(execution: &str, stopped: Stopped, left: Option<String>) -> Failure {
    let (exit, why) = match stopped {
        Stopped::Interrupted => (Exit::Interrupted, "interrupted"),
        Stopped::TimedOut => (Exit::Timeout, "the time is over"),
        Stopped::Review(Asked { node, review }) => {
            let (heddle, message) = (program(), format!("the run {execution} waits for a review at {node}"));
            let next =
                format!("{heddle} reviews get {review}; when it is decided: {heddle} executions watch {execution}");
            return Failure::new(Exit::Review, message).with_next(next);
        }
        Stopped::Failed(failure) => return failure,
    };
    let (heddle, id) = (program(), execution);
    let attach = || format!("{heddle} executions watch {id}, or {heddle} executions cancel {id}");
    match left {
        Some(left) => Failure::new(exit, format!("{why}; the run {execution} is kept")).with_next(left),
        None => Failure::new(exit, format!("{why}; the run {execution} goes on")).with_next(attach()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::extract::Query;
    use axum::response::IntoResponse;
    use axum::{Json, Router, routing::get};
    use serde_json::{Value, json};

    use super::*;

    /// A gateway whose first stream breaks after event 1, and whose second tells the end.
    async fn gateway(end: Value) -> Client {
        let streams = Arc::new(AtomicU32::new(0));
        let told = streams.clone();
        let events = move |Query(query): Query<std::collections::HashMap<String, String>>| async move {
            let first = streams.fetch_add(1, Ordering::SeqCst) == 0;
            assert_eq!(query["after"], if first { "0" } else { "1" });
            let text = match first {
                true => "id: 1\nevent: node.started\ndata: {\"nodeId\":\"a\"}\n\n",
                false => "id: 2\nevent: run.completed\ndata: {}\n\n",
            };
            ([("Content-Type", "text/event-stream")], text).into_response()
        };
        let poll = move || async move {
            Json(if told.load(Ordering::SeqCst) < 2 { json!({"status": "RUNNING"}) } else { end })
        };
        let router = Router::new()
            .route("/api/v1/workflows/executions/{id}/events", get(events))
            .route("/api/v1/workflows/executions/{id}/poll", get(poll));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Client::new(&url, None).unwrap()
    }

    #[tokio::test]
    async fn a_broken_stream_is_taken_up_where_it_broke() {
        let client = gateway(json!({"status": "COMPLETED"})).await;
        let mut progress = Progress::new(&[], true);
        let poll = follow(&client, "exec_1", &mut progress, Until::default()).await.unwrap();
        assert_eq!(outcome("exec_1", &poll), Ok(()));
    }

    #[tokio::test]
    async fn an_open_review_ends_the_watching_if_that_is_wanted() {
        let events = || async {
            let text = "id: 1\nevent: node.completed\ndata: {\"decided\":[{\"nodeId\":\"gate\",\"state\":\"WAITING\",\"reviewId\":\"rev_1\"}]}\n\n";
            ([("Content-Type", "text/event-stream")], text).into_response()
        };
        let poll = || async { Json(json!({"status": "RUNNING", "waitingOn": [{"kind": "review", "nodeId": "gate"}]})) };
        let router = Router::new()
            .route("/api/v1/workflows/executions/{id}/events", get(events))
            .route("/api/v1/workflows/executions/{id}/poll", get(poll));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(&format!("http://{}", listener.local_addr().unwrap()), None).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut progress = Progress::new(&[], true);
        let until = Until { review: true, ..Until::default() };
        let end = follow(&client, "exec_1", &mut progress, until).await.unwrap_err();
        let failure = stopped("exec_1", end, None);
        assert_eq!((failure.exit, &*failure.message), (Exit::Review, "the run exec_1 waits for a review at gate"));
        assert!(failure.next.unwrap().contains("reviews get rev_1;"));
    }

    #[tokio::test]
    async fn a_failed_run_is_exit_code_one() {
        let client = gateway(json!({"status": "FAILED", "error": {"code": "x", "message": "no agent"}})).await;
        let mut progress = Progress::new(&[], true);
        let poll = follow(&client, "exec_1", &mut progress, Until::default()).await.unwrap();
        let failure = outcome("exec_1", &poll).unwrap_err();
        assert_eq!((failure.exit, failure.message.as_str()), (Exit::Failed, "the run failed: no agent"));
    }

    #[tokio::test]
    async fn time_given_is_time_kept() {
        let client = gateway(json!({"status": "RUNNING"})).await;
        let mut progress = Progress::new(&[], true);
        let until = Until { timeout: Some(Duration::from_millis(1)), ..Until::default() };
        let end = follow(&client, "exec_1", &mut progress, until).await.unwrap_err();
        let failure = stopped("exec_1", end, None);
        assert_eq!(failure.exit, Exit::Timeout);
        assert!(failure.next.unwrap().contains(" executions watch exec_1"));
    }
}
