//! The gateways' calls that are being answered, so that a stop can wait for them.

use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::Either;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TrackedFuture;
use tonic::codegen::http::Request;
use tower::{Layer, Service};

/// What a stop waits for: calls that do something. Those that wait for something are made again elsewhere, and agents keep
/// their streams open for ever.
const TRACKED: &str = "/heddle.control.v1.";
const WAITING: [&str; 2] = ["/heddle.control.v1.Control/GetRun", "/heddle.control.v1.Control/ReadEvents"];

/// Counts calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight(TaskTracker);

impl InFlight {
    /// Waits until no call is being answered, but no longer than `time_max`. Calls may go on coming in.
    pub(crate) async fn drained(&self, time_max: Duration) {
        self.0.close();
        if timeout(time_max, self.0.wait()).await.is_err() {
            tracing::warn!(calls = self.0.len(), "stopping before all calls are answered");
        }
    }
}

impl<S> Layer<S> for InFlight {
    type Service = Tracked<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Tracked { inner, calls: self.0.clone() }
    }
}

/// A service whose calls are counted.
#[derive(Debug, Clone)]
pub(crate) struct Tracked<S> {
    inner: S,
    calls: TaskTracker,
}

impl<S, B> Service<Request<B>> for Tracked<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<TrackedFuture<S::Future>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        let is_tracked = path.starts_with(TRACKED) && !WAITING.contains(&path);
        let answer = self.inner.call(request);
        if is_tracked { Either::Left(self.calls.track_future(answer)) } else { Either::Right(answer) }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn request(path: &str) -> Request<()> {
        Request::builder().uri(path).body(()).unwrap()
    }

    #[tokio::test]
    async fn a_stop_waits_for_calls_that_do_something() {
        let in_flight = InFlight::default();
        let mut service = in_flight.layer(tower::service_fn(|_: Request<()>| async {
            std::future::pending::<()>().await;
            Ok::<_, ()>(())
        }));
        let _waiting = WAITING.map(|path| service.call(request(path)));
        let _agent = service.call(request("/heddle.agent.v1.AgentLink/Connect"));
        in_flight.drained(Duration::from_secs(60)).await;
        let submit = service.call(request("/heddle.control.v1.Control/Submit"));
        let (done, is_done) = oneshot::channel();
        let drain = tokio::spawn(async move {
            in_flight.drained(Duration::from_secs(60)).await;
            let _nobody = done.send(());
        });
        tokio::task::yield_now().await;
        assert!(!drain.is_finished());
        drop(submit);
        is_done.await.unwrap();
    }
}
