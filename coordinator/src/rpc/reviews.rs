//! The service of reviews.

use std::sync::Arc;

use heddle_proto::control::reviews_server::Reviews;
use heddle_proto::control::{self as wire};
use tonic::{Request, Response, Status};

use super::review_requests;
use crate::shared::Shared;

/// The service of reviews.
pub(crate) struct ReviewsService {
    pub(crate) shared: Arc<Shared>,
}

#[tonic::async_trait]
impl Reviews for ReviewsService {
    async fn list_reviews(
        &self,
        request: Request<wire::ListReviewsRequest>,
    ) -> Result<Response<wire::ReviewList>, Status> {
        review_requests::list(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn get_review(&self, request: Request<wire::ReviewRequest>) -> Result<Response<wire::Review>, Status> {
        review_requests::get(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn decide_review(
        &self,
        request: Request<wire::DecideReviewRequest>,
    ) -> Result<Response<wire::DecidedReview>, Status> {
        review_requests::decide(&self.shared, request.into_inner()).await.map(Response::new)
    }
}
