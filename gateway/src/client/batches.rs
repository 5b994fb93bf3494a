//! What is asked of the coordinator about batches of runs.

use heddle_proto::control::{Batch, BatchRequest, CancelBatchRequest};

use super::{Coordinator, Repeat};
use crate::http::auth::{Caller, Execute, ReadExecutions};
use crate::http::error::ApiError;
use crate::limits::CALL_TIME_MAX;

impl Coordinator {
    /// `request` without its tenant.
    pub(crate) async fn batch(
        &self,
        caller: &Caller<ReadExecutions>,
        request: BatchRequest,
    ) -> Result<Batch, ApiError> {
        let request = BatchRequest { tenant: caller.tenant(), ..request };
        self.call(request, Repeat::Always, CALL_TIME_MAX, |mut client, request| async move {
            client.get_batch(request).await
        })
        .await
    }

    pub(crate) async fn cancel_batch(
        &self,
        caller: &Caller<Execute>,
        batch_id: String,
        reason: String,
    ) -> Result<Batch, ApiError> {
        let request = CancelBatchRequest { tenant: caller.tenant(), batch_id, subject: caller.subject(), reason };
        // A second cancel of the same batch changes nothing.
        self.call(request, Repeat::Always, CALL_TIME_MAX, |mut client, request| async move {
            client.cancel_batch(request).await
        })
        .await
    }
}
