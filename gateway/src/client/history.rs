//! Histories as files.

use heddle_proto::control::{ExportPiece, ExportRequest};
use tokio::time::timeout;
use tonic::{Response, Status, Streaming};

use super::{Coordinator, Repeat, persist};
use crate::http::auth::{Caller, ReadExecutions};
use crate::http::error::ApiError;
use crate::limits::CALL_TIME_MAX;

impl Coordinator {
    /// The file of a run, piece by piece.
    pub(crate) async fn export(
        &self,
        caller: &Caller<ReadExecutions>,
        execution_id: String,
    ) -> Result<Streaming<ExportPiece>, ApiError> {
        let request = ExportRequest { tenant: caller.tenant(), execution_id };
        let attempt = || {
            let (mut client, request) = (self.history.clone(), request.clone());
            async move {
                // A deadline in the request would end the stream itself; this one is for its beginning.
                let opened = timeout(CALL_TIME_MAX, client.export(request)).await;
                opened.unwrap_or_else(|_| Err(Status::deadline_exceeded("the export did not begin")))
            }
        };
        persist(Repeat::Always, attempt).await.map(Response::into_inner)
    }
}
