//! What is asked of the coordinator about runs that go on from others.

use std::future::Future;

use heddle_proto::control::resumes_client::ResumesClient;
use heddle_proto::control::{Lineage, LineageRequest, ResumePlan, ResumeReply, ResumeRequest};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::{Coordinator, Repeat, persist};
use crate::http::auth::{Caller, Execute, ReadExecutions};
use crate::http::error::ApiError;
use crate::limits::CALL_TIME_MAX;

impl Coordinator {
    /// `request` without its tenant, subject and sandbox mark, which only the caller's key knows.
    pub(crate) async fn resume(
        &self,
        caller: &Caller<Execute>,
        request: ResumeRequest,
    ) -> Result<ResumeReply, ApiError> {
        let repeat = Repeat::if_idempotent(request.idempotency.is_some());
        self.ask_resumes(of(caller, request), repeat, |mut client, request| async move { client.resume(request).await })
            .await
    }

    /// As [`Coordinator::resume`], but nothing starts.
    pub(crate) async fn plan_resume(
        &self,
        caller: &Caller<Execute>,
        request: ResumeRequest,
    ) -> Result<ResumePlan, ApiError> {
        self.ask_resumes(of(caller, request), Repeat::Always, |mut client, request| async move {
            client.plan_resume(request).await
        })
        .await
    }

    /// `request` without its tenant.
    pub(crate) async fn lineage(
        &self,
        caller: &Caller<ReadExecutions>,
        request: LineageRequest,
    ) -> Result<Lineage, ApiError> {
        let request = LineageRequest { tenant: caller.tenant(), ..request };
        self.ask_resumes(
            request,
            Repeat::Always,
            |mut client, request| async move { client.read_lineage(request).await },
        )
        .await
    }

    async fn ask_resumes<Q, A, F, R>(&self, request: Q, repeat: Repeat, call: F) -> Result<A, ApiError>
    where
        Q: Clone,
        F: Fn(ResumesClient<Channel>, Request<Q>) -> R,
        R: Future<Output = Result<Response<A>, Status>>,
    {
        let attempt = || {
            let mut request = Request::new(request.clone());
            request.set_timeout(CALL_TIME_MAX);
            call(self.resumes.clone(), request)
        };
        persist(repeat, attempt).await.map(Response::into_inner)
    }
}

fn of(caller: &Caller<Execute>, request: ResumeRequest) -> ResumeRequest {
    ResumeRequest { tenant: caller.tenant(), subject: caller.subject(), sandbox: caller.is_sandboxed(), ..request }
}
