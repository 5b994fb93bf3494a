//! What is asked of the coordinator about reviews.

use std::future::Future;

use heddle_proto::control::reviews_client::ReviewsClient;
use heddle_proto::control::{
    DecideReviewRequest, DecidedReview, ListReviewsRequest, Review, ReviewList, ReviewRequest,
};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::{Coordinator, Repeat, persist};
use crate::http::auth::{Caller, DecideReviews, ReadReviews};
use crate::http::error::ApiError;
use crate::limits::CALL_TIME_MAX;

impl Coordinator {
    /// `request` without its tenant.
    pub(crate) async fn reviews(
        &self,
        caller: &Caller<ReadReviews>,
        request: ListReviewsRequest,
    ) -> Result<ReviewList, ApiError> {
        let request = ListReviewsRequest { tenant: caller.tenant(), ..request };
        self.call_reviews(
            request,
            Repeat::Always,
            |mut client, request| async move { client.list_reviews(request).await },
        )
        .await
    }

    pub(crate) async fn review(&self, caller: &Caller<ReadReviews>, id: String) -> Result<Review, ApiError> {
        let request = ReviewRequest { tenant: caller.tenant(), id };
        self.call_reviews(
            request,
            Repeat::Always,
            |mut client, request| async move { client.get_review(request).await },
        )
        .await
    }

    /// `request` without its tenant, its subject and what its key may, which only the key knows.
    pub(crate) async fn decide_review(
        &self,
        caller: &Caller<DecideReviews>,
        request: DecideReviewRequest,
    ) -> Result<DecidedReview, ApiError> {
        // Without a key a second one would be told that somebody was first: itself.
        let repeat = Repeat::if_idempotent(request.idempotency.is_some());
        let request = DecideReviewRequest {
            tenant: caller.tenant(),
            subject: caller.subject(),
            decides_own: caller.decides_own(),
            writes_workflows: caller.writes_workflows(),
            ..request
        };
        self.call_reviews(request, repeat, |mut client, request| async move { client.decide_review(request).await })
            .await
    }

    async fn call_reviews<Q, A, F, R>(&self, request: Q, repeat: Repeat, call: F) -> Result<A, ApiError>
    where
        Q: Clone,
        F: Fn(ReviewsClient<Channel>, Request<Q>) -> R,
        R: Future<Output = Result<Response<A>, Status>>,
    {
        let attempt = || {
            let mut request = Request::new(request.clone());
            request.set_timeout(CALL_TIME_MAX);
            call(self.reviews.clone(), request)
        };
        persist(repeat, attempt).await.map(Response::into_inner)
    }
}
