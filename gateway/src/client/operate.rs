//! What is asked of the coordinator about standing still.

use heddle_proto::control::{NodeTypeStand, PauseNodeTypeRequest, PauseRunRequest, Run};
use tonic::{Request, Response};

use super::{Coordinator, Repeat, persist};
use crate::http::auth::{Caller, Execute, Operate};
use crate::http::error::ApiError;
use crate::limits::CALL_TIME_MAX;

impl Coordinator {
    /// `request` without its tenant and subject, which only the caller's key knows.
    pub(crate) async fn pause_run(&self, caller: &Caller<Execute>, request: PauseRunRequest) -> Result<Run, ApiError> {
        let request = PauseRunRequest { tenant: caller.tenant(), subject: caller.subject(), ..request };
        let attempt = || {
            let (mut client, request) = (self.operate.clone(), timed(request.clone()));
            async move { client.pause_run(request).await }
        };
        // A second time changes nothing.
        persist(Repeat::Always, attempt).await.map(Response::into_inner)
    }

    /// `request` without its subject and operator, which only the caller's key knows.
    pub(crate) async fn pause_node_type(
        &self,
        caller: &Caller<Operate>,
        request: PauseNodeTypeRequest,
    ) -> Result<NodeTypeStand, ApiError> {
        let (subject, operator) = (caller.subject(), caller.tenant());
        let request = PauseNodeTypeRequest { subject, operator, ..request };
        let attempt = || {
            let (mut client, request) = (self.operate.clone(), timed(request.clone()));
            async move { client.pause_node_type(request).await }
        };
        persist(Repeat::Always, attempt).await.map(Response::into_inner)
    }
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_TIME_MAX);
    request
}
