//! The gateways' calls that are being answered, and how they end when the coordinator stops.
//!
//! A call is begun before the stop, and finished; or it is not begun, and told so, and its gateway makes it again elsewhere.
//! Calls that only wait for something are cut off, and made again as well.

use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tower::{Layer, Service};

use super::failure;

/// Calls of gateways. Agents keep their streams open for ever; their sessions end them.
const CALLS: &str = "/heddle.control.v1.";
/// Those of them that may wait, and change nothing.
const WAITING: [&str; 3] = [
    "/heddle.control.v1.Control/GetRun",
    "/heddle.control.v1.Control/ReadEvents",
    "/heddle.control.v1.Streams/FollowNode",
];

/// The calls of one coordinator.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight {
    begun: TaskTracker,
    /// Nothing new is begun.
    closed: CancellationToken,
    /// Whoever still waits is cut off.
    cut: CancellationToken,
}

impl InFlight {
    /// From now on no call is begun.
    pub(crate) fn close(&self) {
        self.closed.cancel();
        self.begun.close();
    }

    /// Waits until every call that was begun is answered to its last byte, but no longer than `time_max`. Then cuts off
    /// those that only wait.
    pub(crate) async fn drained(&self, time_max: Duration) {
        if timeout(time_max, self.begun.wait()).await.is_err() {
            tracing::warn!(calls = self.begun.len(), "stopping before all calls are answered");
        }
        self.cut.cancel();
    }

    fn admit(&self, path: &str) -> Option<Hold> {
        if !path.starts_with(CALLS) {
            return Some(Hold::Free);
        }
        // Counted before the gate is looked at: a call that finds it open is waited for.
        let begun = self.begun.token();
        if self.closed.is_cancelled() {
            return None;
        }
        match WAITING.contains(&path) {
            true => Some(Hold::Waits(Box::pin(self.cut.clone().cancelled_owned()))),
            false => Some(Hold::Counts(begun)),
        }
    }
}

impl<S> Layer<S> for InFlight {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Gate { inner, calls: self.clone() }
    }
}

/// A service whose calls end in order.
#[derive(Debug, Clone)]
pub(crate) struct Gate<S> {
    inner: S,
    calls: InFlight,
}

/// What a call has to do with the coordinator's end, until its answer has left.
enum Hold {
    Free,
    /// It is waited for.
    Counts(#[expect(dead_code, reason = "it counts as long as it is held")] TaskTrackerToken),
    /// It is cut off.
    Waits(Pin<Box<WaitForCancellationFutureOwned>>),
}

impl Hold {
    fn poll_cut(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Hold::Waits(cut) => cut.as_mut().poll(context),
            Hold::Free | Hold::Counts(_) => Poll::Pending,
        }
    }
}

impl<S, A, B> Service<Request<A>> for Gate<S>
where
    S: Service<Request<A>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
{
    type Response = Response<Answer<B>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let Some(mut hold) = self.calls.admit(request.uri().path()) else {
            return ready(Ok(not_begun())).boxed();
        };
        let answer = self.inner.call(request);
        async move {
            let cut = std::future::poll_fn(|context| hold.poll_cut(context));
            let answer = tokio::select! {
                biased;
                answer = answer => Some(answer?),
                () = cut => None,
            };
            Ok(answer.map_or_else(not_begun, |answer| answer.map(|body| Answer { body: Some(body), hold })))
        }
        .boxed()
    }
}

/// What says that nothing was done.
fn not_begun<B>() -> Response<Answer<B>> {
    failure::stopping().into_http::<()>().map(|()| Answer { body: None, hold: Hold::Free })
}

/// An answer on its way, which holds its call until it has left.
pub(crate) struct Answer<B> {
    /// None once it is complete.
    body: Option<B>,
    hold: Hold,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        match Pin::new(body).poll_frame(context) {
            Poll::Ready(Some(frame)) => Poll::Ready(Some(frame)),
            Poll::Ready(None) => {
                (this.body, this.hold) = (None, Hold::Free);
                Poll::Ready(None)
            }
            Poll::Pending => this.hold.poll_cut(context).map(|()| {
                (this.body, this.hold) = (None, Hold::Free);
                let mut trailers = HeaderMap::new();
                // Its text has nothing in it that a header could not hold.
                let _fits = failure::stopping().add_header(&mut trailers);
                Some(Ok(Frame::trailers(trailers)))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::future::poll_immediate;
    use heddle_proto::control as wire;
    use prost::Message as _;
    use tokio::sync::Semaphore;
    use tonic::Status;
    use tonic::codegen::http::HeaderMap;

    use super::*;

    const SUBMIT: &str = "/heddle.control.v1.Control/Submit";
    const A_MINUTE: Duration = Duration::from_secs(60);

    /// An answer whose body comes when there is a permit for it.
    struct Slow(BoxFuture<'static, ()>);

    impl Body for Slow {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.poll_unpin(context).map(|()| None)
        }
    }

    type Served = BoxFuture<'static, Result<Response<Slow>, Infallible>>;

    /// The head of an answer needs a permit, and so does its body.
    fn service(
        permits: &Arc<Semaphore>,
    ) -> impl Service<Request<()>, Response = Response<Slow>, Error = Infallible, Future = Served> + use<> {
        let permits = Arc::clone(permits);
        tower::service_fn(move |_| {
            let permits = Arc::clone(&permits);
            let next = move |permits: Arc<Semaphore>| async move { permits.acquire().await.unwrap().forget() };
            async move {
                next(Arc::clone(&permits)).await;
                Ok(Response::new(Slow(next(permits).boxed())))
            }
            .boxed()
        })
    }

    fn request(path: &str) -> Request<()> {
        Request::builder().uri(path).body(()).unwrap()
    }

    fn says_not_begun(headers: &HeaderMap) -> bool {
        let status = Status::from_header_map(headers).unwrap();
        let failure = wire::Failure::decode(status.details()).unwrap();
        failure.not_begun && failure.http_status == 503
    }

    async fn frame<B: Body<Data = Bytes> + Unpin>(answer: &mut B) -> Option<Result<Frame<Bytes>, B::Error>> {
        std::future::poll_fn(|context| Pin::new(&mut *answer).poll_frame(context)).await
    }

    #[tokio::test]
    async fn a_call_that_was_begun_is_waited_for_until_its_answer_has_left() {
        let (in_flight, permits) = (InFlight::default(), Arc::new(Semaphore::new(0)));
        let mut gate = in_flight.layer(service(&permits));
        let mut submit = gate.call(request(SUBMIT));
        assert!(poll_immediate(&mut submit).await.is_none());
        in_flight.close();
        let mut drain = std::pin::pin!(in_flight.drained(A_MINUTE));
        assert!(poll_immediate(&mut drain).await.is_none());
        permits.add_permits(1);
        let mut answer = submit.await.unwrap().into_body();
        assert!(poll_immediate(&mut drain).await.is_none(), "its body has not left");
        permits.add_permits(1);
        assert!(frame(&mut answer).await.is_none());
        drain.await;
    }

    #[tokio::test]
    async fn a_call_that_comes_later_is_not_begun_and_told_so() {
        let (in_flight, permits) = (InFlight::default(), Arc::new(Semaphore::new(9)));
        let mut gate = in_flight.layer(service(&permits));
        in_flight.close();
        for path in WAITING.into_iter().chain([SUBMIT, "/heddle.control.v1.Traces/ReadTrace"]) {
            assert!(says_not_begun(gate.call(request(path)).await.unwrap().headers()), "{path}");
        }
        assert_eq!(permits.available_permits(), 9, "nothing has looked at them");
        gate.call(request("/heddle.agent.v1.AgentLink/Attach")).await.unwrap();
        assert_eq!(permits.available_permits(), 8);
        in_flight.drained(A_MINUTE).await;
    }

    #[tokio::test]
    async fn who_only_waits_is_cut_off_and_told_to_ask_again() {
        let (in_flight, permits) = (InFlight::default(), Arc::new(Semaphore::new(1)));
        let mut gate = in_flight.layer(service(&permits));
        let [get, read, _] = WAITING.map(|path| gate.call(request(path)));
        let mut answer = read.await.unwrap().into_body();
        in_flight.close();
        in_flight.drained(A_MINUTE).await;
        assert!(says_not_begun(get.await.unwrap().headers()));
        let trailers = frame(&mut answer).await.unwrap().unwrap().into_trailers().unwrap();
        assert!(says_not_begun(&trailers));
        assert!(frame(&mut answer).await.is_none() && answer.is_end_stream());
    }
}
