//! The services by which the world tells runs something.

use std::sync::Arc;

use heddle_proto::control::hooks_server::Hooks;
use heddle_proto::control::signals_server::Signals;
use heddle_proto::control::{self as wire};
use tonic::{Request, Response, Status};

use super::signal_requests;
use crate::shared::Shared;

/// The service of signals.
pub(crate) struct SignalsService {
    pub(crate) shared: Arc<Shared>,
}

#[tonic::async_trait]
impl Signals for SignalsService {
    async fn send_signal(
        &self,
        request: Request<wire::SendSignalRequest>,
    ) -> Result<Response<wire::SentSignal>, Status> {
        signal_requests::send(&self.shared, request.into_inner()).await.map(Response::new)
    }
}

/// The service of hooks.
pub(crate) struct HooksService {
    pub(crate) shared: Arc<Shared>,
}

#[tonic::async_trait]
impl Hooks for HooksService {
    async fn call_hook(&self, request: Request<wire::CallHookRequest>) -> Result<Response<wire::CalledHook>, Status> {
        signal_requests::call(&self.shared, request.into_inner()).await.map(Response::new)
    }
}
