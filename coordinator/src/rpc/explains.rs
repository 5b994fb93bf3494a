//! The service that explains what runs wait for.

use std::sync::Arc;

use heddle_proto::control::explains_server::Explains;
use heddle_proto::control::{self as wire};
use tonic::{Request, Response, Status};

use super::failure;
use crate::auth;
use crate::read::explain;
use crate::shared::Shared;

/// The service of explanations.
pub(crate) struct ExplainsService {
    pub(crate) shared: Arc<Shared>,
}

#[tonic::async_trait]
impl Explains for ExplainsService {
    async fn explain_run(&self, request: Request<wire::ExplainRequest>) -> Result<Response<wire::Explanation>, Status> {
        let request = request.into_inner();
        let run = failure::run_id(&request.execution_id)?;
        let explained = explain::run(&self.shared, &auth::tenant(&request)?, run).await;
        explained.map(Response::new).map_err(failure::read)
    }
}
