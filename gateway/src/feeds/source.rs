//! Where a feed comes from: a stream of the coordinator, that is taken up again where it broke.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::StatusCode;
use heddle_proto::control::{EventPage, FollowNodeRequest};
use heddle_proto::stream_place::StreamPlace;
use tokio::time::{Instant, sleep};
use tonic::Streaming;

use super::kept::Page;
use super::{Ended, Feed, Followed, OUTAGE, text};
use crate::app::App;
use crate::convert::failure;
use crate::http::auth::{Caller, ReadExecutions};
use crate::http::error::ApiError;
use crate::limits::{FOLLOW_OUTAGE_MAX, FOLLOW_PAUSE};

/// A stream of the coordinator.
pub(super) struct Source {
    app: Arc<App>,
    /// Who opened it. Those who join have shown keys of the same tenant.
    caller: Caller<ReadExecutions>,
    followed: Arc<Followed>,
    until: Option<StreamPlace>,
    /// Nothing while the coordinator cannot be reached.
    pages: Option<Streaming<EventPage>>,
    /// Since when it cannot.
    lost_at: Option<Instant>,
    /// What comes next cannot be told.
    is_unreadable: bool,
}

impl Source {
    pub(super) async fn open(
        app: &Arc<App>,
        caller: &Caller<ReadExecutions>,
        followed: &Arc<Followed>,
        after: StreamPlace,
        until: Option<StreamPlace>,
    ) -> Result<Self, ApiError> {
        let (app, caller, followed) = (Arc::clone(app), caller.clone(), Arc::clone(followed));
        let mut source = Self { app, caller, followed, until, pages: None, lost_at: None, is_unreadable: false };
        source.pages = Some(source.connect(after).await?);
        Ok(source)
    }

    /// Tells the feed a page whenever a reader has had all, as long as there are readers.
    pub(super) async fn run(mut self, feed: Arc<Feed>) {
        loop {
            let told = tokio::select! {
                told = async {
                    feed.wanted().await;
                    self.next(feed.end()).await
                } => told,
                () = feed.grown.closed() => {
                    if self.app.feeds.forget_if_left(&feed) {
                        return;
                    }
                    continue;
                }
            };
            match told {
                Ok(page) => feed.tell(page),
                Err(ended) => {
                    self.app.feeds.forget(&feed);
                    return feed.end_with(ended);
                }
            }
        }
    }

    /// The next page behind a place; or why there is none.
    async fn next(&mut self, after: StreamPlace) -> Result<Page, Ended> {
        loop {
            if self.is_unreadable {
                return Err(Ended::Error);
            }
            if self.until.is_some_and(|until| after.seq > until.seq || after.word > until.word) {
                // Something before that place is missing, and was told with what comes behind it.
                return Err(Ended::Until(after));
            }
            let Some(pages) = &mut self.pages else {
                match self.reconnect(after).await? {
                    Some(page) => return Ok(page),
                    None => continue,
                }
            };
            match pages.message().await {
                Ok(Some(page)) => {
                    self.lost_at = None;
                    if let (true, Some(until)) = (page.is_until, self.until) {
                        return Err(Ended::Until(until));
                    }
                    let (page, is_whole) = text::page(&page, &self.followed, after);
                    self.is_unreadable = !is_whole;
                    if !page.events.is_empty() {
                        return Ok(page);
                    }
                }
                Ok(None) => return Err(Ended::Over),
                Err(status) => {
                    let error = failure::refused(status);
                    tracing::debug!(code = &*error.code, %after, "an event stream broke");
                    self.pages = None;
                    if error.status != StatusCode::SERVICE_UNAVAILABLE {
                        return Err(Ended::Error);
                    }
                }
            }
        }
    }

    /// Takes the stream up where it broke. Clients notice a comment, and no event twice or not at all.
    async fn reconnect(&mut self, after: StreamPlace) -> Result<Option<Page>, Ended> {
        let lost_at = *self.lost_at.get_or_insert_with(Instant::now);
        sleep(FOLLOW_PAUSE).await;
        match self.connect(after).await {
            Ok(pages) => self.pages = Some(pages),
            Err(error) if error.status == StatusCode::SERVICE_UNAVAILABLE && lost_at.elapsed() < FOLLOW_OUTAGE_MAX => {
                let text = Bytes::from_static(OUTAGE);
                return Ok(Some(Page { events: vec![(after, text.len())], text }));
            }
            Err(_) => return Err(Ended::Error),
        }
        Ok(None)
    }

    async fn connect(&self, after: StreamPlace) -> Result<Streaming<EventPage>, ApiError> {
        let Followed { execution_id, node, follow, .. } = &*self.followed;
        let (coordinator, until) = (&self.app.coordinator, self.until);
        match node {
            None => coordinator.events(&self.caller, execution_id.clone(), after, until, *follow).await,
            Some((node_id, index)) => {
                let is_fresh = after == StreamPlace::default();
                let request = FollowNodeRequest {
                    execution_id: execution_id.clone(),
                    node_id: node_id.clone(),
                    index: index.clone(),
                    after_place: if is_fresh { String::new() } else { after.to_string() },
                    until_place: until.map(|until| until.to_string()).unwrap_or_default(),
                    follow: *follow,
                    ..FollowNodeRequest::default()
                };
                coordinator.follow_node(&self.caller, request).await
            }
        }
    }
}
