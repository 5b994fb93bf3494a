//! What the coordinator of the tests says of versions and small changes.

use heddle_proto::control::workflows_server::Workflows;
use heddle_proto::control::*;
use tonic::{Request, Response, Status};

use crate::fake::Fake;

#[tonic::async_trait]
impl Workflows for Fake {
    async fn list_versions(&self, request: Request<ListVersionsRequest>) -> Result<Response<VersionList>, Status> {
        self.refusal("list_versions")?;
        let (request, mut script) = (request.into_inner(), self.script());
        // One page and a last one.
        let next_cursor = if request.cursor.is_empty() { "3".to_owned() } else { String::new() };
        script.version_lists.push(request);
        Ok(Response::new(VersionList { versions: vec![script.version.clone()], next_cursor }))
    }

    async fn get_version(&self, request: Request<VersionRequest>) -> Result<Response<Version>, Status> {
        self.refusal("get_version")?;
        let number = request.into_inner().version;
        Ok(Response::new(Version { version: number, ..self.script().version.clone() }))
    }

    async fn restore_version(
        &self,
        request: Request<RestoreVersionRequest>,
    ) -> Result<Response<SavedWorkflow>, Status> {
        self.script().restores.push(request.into_inner());
        self.refusal("restore_version")?;
        Ok(Response::new(self.saved()))
    }

    async fn compare_versions(
        &self,
        request: Request<CompareVersionsRequest>,
    ) -> Result<Response<VersionDifference>, Status> {
        self.script().comparisons.push(request.into_inner());
        self.refusal("compare_versions")?;
        Ok(Response::new(self.script().difference.clone()))
    }

    async fn patch_node(&self, request: Request<PatchNodeRequest>) -> Result<Response<PatchedNode>, Status> {
        self.script().patches.push(request.into_inner());
        self.refusal("patch_node")?;
        Ok(Response::new(self.script().patched.clone()))
    }

    async fn duplicate_workflow(
        &self,
        request: Request<DuplicateWorkflowRequest>,
    ) -> Result<Response<SavedWorkflow>, Status> {
        self.script().copies.push(request.into_inner());
        self.refusal("duplicate_workflow")?;
        Ok(Response::new(self.saved()))
    }

    async fn lay_out(&self, request: Request<LayOutRequest>) -> Result<Response<Layout>, Status> {
        self.script().layouts.push(request.into_inner());
        self.refusal("lay_out")?;
        Ok(Response::new(self.script().layout.clone()))
    }
}

impl Fake {
    fn saved(&self) -> SavedWorkflow {
        let script = self.script();
        SavedWorkflow { workflow: Some(script.workflow.clone()), replayed: script.replayed, ..SavedWorkflow::default() }
    }
}
