//! The service of what is done with a workflow that is there, beside saving it whole.

use std::sync::Arc;

use heddle_proto::control::workflows_server::Workflows;
use heddle_proto::control::{self as wire};
use tonic::{Request, Response, Status};

use super::{edit_requests, version_requests};
use crate::shared::Shared;

/// The service of workflows.
pub(crate) struct WorkflowsService {
    pub(crate) shared: Arc<Shared>,
}

#[tonic::async_trait]
impl Workflows for WorkflowsService {
    async fn list_versions(
        &self,
        request: Request<wire::ListVersionsRequest>,
    ) -> Result<Response<wire::VersionList>, Status> {
        version_requests::list(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn get_version(&self, request: Request<wire::VersionRequest>) -> Result<Response<wire::Version>, Status> {
        version_requests::get(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn restore_version(
        &self,
        request: Request<wire::RestoreVersionRequest>,
    ) -> Result<Response<wire::SavedWorkflow>, Status> {
        version_requests::restore(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn compare_versions(
        &self,
        request: Request<wire::CompareVersionsRequest>,
    ) -> Result<Response<wire::VersionDifference>, Status> {
        version_requests::compare(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn patch_node(
        &self,
        request: Request<wire::PatchNodeRequest>,
    ) -> Result<Response<wire::PatchedNode>, Status> {
        edit_requests::patch_node(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn duplicate_workflow(
        &self,
        request: Request<wire::DuplicateWorkflowRequest>,
    ) -> Result<Response<wire::SavedWorkflow>, Status> {
        edit_requests::duplicate(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn lay_out(&self, request: Request<wire::LayOutRequest>) -> Result<Response<wire::Layout>, Status> {
        edit_requests::lay_out(&self.shared, request.into_inner()).await.map(Response::new)
    }
}
