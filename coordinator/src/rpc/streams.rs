//! The service that tells what single nodes say and give.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use heddle_proto::control::streams_server::Streams;
use heddle_proto::control::{self as wire};
use tonic::{Request, Response, Status};

use super::{failure, node_requests};
use crate::auth;
use crate::read::events::{self, Wanted};
use crate::read::node_events::Only;
use crate::shared::Shared;

/// The service of nodes' streams.
pub(crate) struct StreamsService {
    pub(crate) shared: Arc<Shared>,
}

#[tonic::async_trait]
impl Streams for StreamsService {
    type FollowNodeStream = Pin<Box<dyn Stream<Item = Result<wire::EventPage, Status>> + Send>>;

    async fn follow_node(
        &self,
        request: Request<wire::FollowNodeRequest>,
    ) -> Result<Response<Self::FollowNodeStream>, Status> {
        let request = request.into_inner();
        let run = failure::run_id(&request.execution_id)?;
        let tenant = auth::tenant(&request)?;
        let after = failure::place(&request.after_place)?.unwrap_or_default();
        let until = failure::place(&request.until_place)?;
        let found = Only::find(&self.shared, &tenant, run, &request.node_id, request.index).await;
        let only = found.map_err(node_requests::refused)?;
        let wanted = Wanted { after, until, follow: request.follow, only: Some(only) };
        let pages = events::pages(Arc::clone(&self.shared), tenant, run, wanted).await.map_err(failure::read)?;
        Ok(Response::new(Box::pin(pages.map(|page| page.map_err(failure::read)))))
    }
}
