//! The service of runs that go on from others.

use std::sync::Arc;

use heddle_proto::control::resumes_server::Resumes;
use heddle_proto::control::{self as wire};
use tonic::{Request, Response, Status};

use crate::resume;
use crate::shared::Shared;

/// The service of resumes.
pub(crate) struct ResumesService {
    pub(crate) shared: Arc<Shared>,
}

#[tonic::async_trait]
impl Resumes for ResumesService {
    async fn resume(&self, request: Request<wire::ResumeRequest>) -> Result<Response<wire::ResumeReply>, Status> {
        resume::resume(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn plan_resume(&self, request: Request<wire::ResumeRequest>) -> Result<Response<wire::ResumePlan>, Status> {
        resume::plan(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn read_lineage(&self, request: Request<wire::LineageRequest>) -> Result<Response<wire::Lineage>, Status> {
        resume::family::lineage(&self.shared, request.into_inner()).await.map(Response::new)
    }
}
