//! Streams of runs and of their nodes from the coordinator.

use heddle_proto::control::{EventPage, FollowNodeRequest, ReadEventsRequest};
use heddle_proto::stream_place::StreamPlace;
use tokio::time::timeout;
use tonic::{Response, Status, Streaming};

use super::{Coordinator, Repeat, persist};
use crate::http::auth::{Caller, ReadExecutions};
use crate::http::error::ApiError;
use crate::limits::CALL_TIME_MAX;

impl Coordinator {
    /// Pages of a run's events: those after a place, and with `follow` all to come, or those up to another place.
    pub(crate) async fn events(
        &self,
        caller: &Caller<ReadExecutions>,
        execution_id: String,
        after: StreamPlace,
        until: Option<StreamPlace>,
        follow: bool,
    ) -> Result<Streaming<EventPage>, ApiError> {
        // A coordinator of an older build knows numbers only.
        let (after_seq, after_place) = (after.seq, after.to_string());
        let until_place = until.map(|until| until.to_string()).unwrap_or_default();
        let tenant = caller.tenant();
        let request = ReadEventsRequest { tenant, execution_id, after_seq, follow, after_place, until_place };
        let attempt = || {
            let (mut client, request) = (self.followers.clone(), request.clone());
            opened(async move { client.read_events(request).await })
        };
        persist(Repeat::Always, attempt).await.map(Response::into_inner)
    }

    /// Pages of a node's events and words. `request` without its tenant.
    pub(crate) async fn follow_node(
        &self,
        caller: &Caller<ReadExecutions>,
        request: FollowNodeRequest,
    ) -> Result<Streaming<EventPage>, ApiError> {
        let request = FollowNodeRequest { tenant: caller.tenant(), ..request };
        let attempt = || {
            let (mut client, request) = (self.streams.clone(), request.clone());
            opened(async move { client.follow_node(request).await })
        };
        persist(Repeat::Always, attempt).await.map(Response::into_inner)
    }
}

/// A deadline in the request would end the stream itself; this one is for its beginning.
async fn opened<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let opened = timeout(CALL_TIME_MAX, call).await;
    opened.unwrap_or_else(|_| Err(Status::deadline_exceeded("the event stream did not open")))
}
