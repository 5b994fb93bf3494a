//! What is asked about workflows that are there, beside saving them whole.

use heddle_proto::control::workflows_client::WorkflowsClient;
use heddle_proto::control::{
    CompareVersionsRequest, DuplicateWorkflowRequest, LayOutRequest, Layout, ListVersionsRequest, PatchNodeRequest,
    PatchedNode, RestoreVersionRequest, SavedWorkflow, Version, VersionDifference, VersionList, VersionRequest,
};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::{Coordinator, Repeat, persist};
use crate::http::auth::{Caller, ReadWorkflows, WriteWorkflows};
use crate::http::error::ApiError;
use crate::limits::CALL_TIME_MAX;

impl Coordinator {
    /// `request` without its tenant.
    pub(crate) async fn versions(
        &self,
        caller: &Caller<ReadWorkflows>,
        request: ListVersionsRequest,
    ) -> Result<VersionList, ApiError> {
        let request = ListVersionsRequest { tenant: caller.tenant(), ..request };
        self.ask_workflows(
            request,
            Repeat::Always,
            |mut client, request| async move { client.list_versions(request).await },
        )
        .await
    }

    pub(crate) async fn version(
        &self,
        caller: &Caller<ReadWorkflows>,
        workflow_id: String,
        version: u64,
    ) -> Result<Version, ApiError> {
        let request = VersionRequest { tenant: caller.tenant(), workflow_id, version };
        self.ask_workflows(
            request,
            Repeat::Always,
            |mut client, request| async move { client.get_version(request).await },
        )
        .await
    }

    /// `request` without its tenant and subject.
    pub(crate) async fn restore_version(
        &self,
        caller: &Caller<WriteWorkflows>,
        request: RestoreVersionRequest,
    ) -> Result<SavedWorkflow, ApiError> {
        let repeat = Repeat::if_idempotent(request.idempotency.is_some());
        let request = RestoreVersionRequest { tenant: caller.tenant(), subject: caller.subject(), ..request };
        self.ask_workflows(request, repeat, |mut client, request| async move { client.restore_version(request).await })
            .await
    }

    /// `request` without its tenant.
    pub(crate) async fn compare_versions(
        &self,
        caller: &Caller<ReadWorkflows>,
        request: CompareVersionsRequest,
    ) -> Result<VersionDifference, ApiError> {
        let request = CompareVersionsRequest { tenant: caller.tenant(), ..request };
        self.ask_workflows(request, Repeat::Always, |mut client, request| async move {
            client.compare_versions(request).await
        })
        .await
    }

    /// `request` without its tenant and subject.
    pub(crate) async fn patch_node(
        &self,
        caller: &Caller<WriteWorkflows>,
        request: PatchNodeRequest,
    ) -> Result<PatchedNode, ApiError> {
        let request = PatchNodeRequest { tenant: caller.tenant(), subject: caller.subject(), ..request };
        self.ask_workflows(
            request,
            Repeat::IfUnsent,
            |mut client, request| async move { client.patch_node(request).await },
        )
        .await
    }

    /// `request` without its tenant and subject.
    pub(crate) async fn duplicate_workflow(
        &self,
        caller: &Caller<WriteWorkflows>,
        request: DuplicateWorkflowRequest,
    ) -> Result<SavedWorkflow, ApiError> {
        let repeat = Repeat::if_idempotent(request.idempotency.is_some());
        let request = DuplicateWorkflowRequest { tenant: caller.tenant(), subject: caller.subject(), ..request };
        self.ask_workflows(
            request,
            repeat,
            |mut client, request| async move { client.duplicate_workflow(request).await },
        )
        .await
    }

    /// `request` without its tenant and subject. A second time moves nothing.
    pub(crate) async fn lay_out(
        &self,
        caller: &Caller<WriteWorkflows>,
        request: LayOutRequest,
    ) -> Result<Layout, ApiError> {
        let request = LayOutRequest { tenant: caller.tenant(), subject: caller.subject(), ..request };
        self.ask_workflows(request, Repeat::Always, |mut client, request| async move { client.lay_out(request).await })
            .await
    }

    async fn ask_workflows<Q, A, F, R>(&self, request: Q, repeat: Repeat, call: F) -> Result<A, ApiError>
    where
        Q: Clone,
        F: Fn(WorkflowsClient<Channel>, Request<Q>) -> R,
        R: Future<Output = Result<Response<A>, Status>>,
    {
        let attempt = || {
            let mut request = Request::new(request.clone());
            request.set_timeout(CALL_TIME_MAX);
            call(self.workflows.clone(), request)
        };
        persist(repeat, attempt).await.map(Response::into_inner)
    }
}
