//! The service that tells traces.

use std::sync::Arc;

use heddle_proto::control::traces_server::Traces;
use heddle_proto::control::{self as wire};
use tonic::{Request, Response, Status};

use super::failure;
use crate::auth;
use crate::read::trace;
use crate::shared::Shared;

/// The service of traces.
pub(crate) struct TracesService {
    pub(crate) shared: Arc<Shared>,
}

#[tonic::async_trait]
impl Traces for TracesService {
    async fn read_trace(&self, request: Request<wire::TraceRequest>) -> Result<Response<wire::Trace>, Status> {
        let request = request.into_inner();
        let run = failure::run_id(&request.execution_id)?;
        trace::read(&self.shared, &auth::tenant(&request)?, &request, run)
            .await
            .map(Response::new)
            .map_err(failure::read)
    }
}
