//! The service of histories as files.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use heddle_proto::control as wire;
use heddle_proto::control::history_server::History;
use tonic::{Request, Response, Status};

use super::failure;
use crate::auth;
use crate::read::export;
use crate::shared::Shared;

/// The service of histories as files.
pub(crate) struct HistoryService {
    pub(crate) shared: Arc<Shared>,
}

#[tonic::async_trait]
impl History for HistoryService {
    type ExportStream = Pin<Box<dyn Stream<Item = Result<wire::ExportPiece, Status>> + Send>>;

    async fn export(&self, request: Request<wire::ExportRequest>) -> Result<Response<Self::ExportStream>, Status> {
        let request = request.into_inner();
        let (tenant, run) = (auth::tenant(&request)?, failure::run_id(&request.execution_id)?);
        let pieces = export::pieces(Arc::clone(&self.shared), tenant, run).await.map_err(failure::read)?;
        let pieces = pieces.map(|piece| piece.map(|lines| wire::ExportPiece { lines }).map_err(failure::read));
        Ok(Response::new(Box::pin(pieces)))
    }
}
