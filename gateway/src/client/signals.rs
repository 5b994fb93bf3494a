//! What the coordinator is told for runs: signals, and calls of hooks.

use heddle_proto::control::{CallHookRequest, CalledHook, SendSignalRequest, SentSignal};
use tonic::{Request, Response};

use super::{Coordinator, Repeat, persist};
use crate::http::auth::{Caller, Execute};
use crate::http::error::ApiError;
use crate::limits::CALL_TIME_MAX;

impl Coordinator {
    /// `request` without its tenant and subject, which only the caller's key knows.
    pub(crate) async fn send_signal(
        &self,
        caller: &Caller<Execute>,
        request: SendSignalRequest,
    ) -> Result<SentSignal, ApiError> {
        // Without a key a second one would be another signal.
        let repeat = Repeat::if_idempotent(request.idempotency.is_some());
        let request = SendSignalRequest { tenant: caller.tenant(), subject: caller.subject(), ..request };
        let attempt = || {
            let (mut client, mut request) = (self.signals.clone(), Request::new(request.clone()));
            request.set_timeout(CALL_TIME_MAX);
            async move { client.send_signal(request).await }
        };
        persist(repeat, attempt).await.map(Response::into_inner)
    }

    /// Of no [`Caller`]: who has the token may call, and the coordinator looks at its code before anything else.
    pub(crate) async fn call_hook(&self, request: CallHookRequest) -> Result<CalledHook, ApiError> {
        // Without a key a second one would be told that the hook was used: by itself.
        let repeat = Repeat::if_idempotent(request.idempotency.is_some());
        let attempt = || {
            let (mut client, mut request) = (self.hooks.clone(), Request::new(request.clone()));
            request.set_timeout(CALL_TIME_MAX);
            async move { client.call_hook(request).await }
        };
        persist(repeat, attempt).await.map(Response::into_inner)
    }
}
