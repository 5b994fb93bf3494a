//! What is asked of the coordinator about what runs wait for.

use heddle_proto::control::{ExplainRequest, Explanation};
use tonic::{Request, Response};

use super::{Coordinator, Repeat, persist};
use crate::http::auth::{Caller, ReadExecutions};
use crate::http::error::ApiError;
use crate::limits::CALL_TIME_MAX;

impl Coordinator {
    /// What a run waits for, or how it ended.
    pub(crate) async fn explain(
        &self,
        caller: &Caller<ReadExecutions>,
        execution_id: String,
    ) -> Result<Explanation, ApiError> {
        let request = ExplainRequest { tenant: caller.tenant(), execution_id };
        let attempt = || {
            let (mut client, mut request) = (self.explains.clone(), Request::new(request.clone()));
            request.set_timeout(CALL_TIME_MAX);
            async move { client.explain_run(request).await }
        };
        persist(Repeat::Always, attempt).await.map(Response::into_inner)
    }
}
