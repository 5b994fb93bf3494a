//! How fast a body must come: who drips holds a place, and memory, for as long as it likes.

use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::StatusCode;
use futures::StreamExt as _;
use tokio::time::{Instant, timeout};

use super::error::ApiError;
use crate::limits::{BODY_BYTES_PER_SECOND_MIN, BODY_GRACE, BODY_STALL_MAX};

/// Bounds of a body's pace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Longest pause between two pieces.
    stall: Duration,
    /// How long a body may take before its rate is looked at.
    grace: Duration,
    /// Bytes of it that must come in a second, over all the time after that.
    bytes_per_second_min: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { stall: BODY_STALL_MAX, grace: BODY_GRACE, bytes_per_second_min: BODY_BYTES_PER_SECOND_MIN }
    }
}

/// A body, piece by piece, none of them too late. Only the time counts for which its sender is waited for.
#[derive(Debug)]
pub(crate) struct Paced {
    pieces: BodyDataStream,
    bounds: Bounds,
    waited: Duration,
    bytes: u64,
}

impl Paced {
    pub(crate) fn new(body: Body) -> Self {
        Self::within(body, Bounds::default())
    }

    fn within(body: Body, bounds: Bounds) -> Self {
        Self { pieces: body.into_data_stream(), bounds, waited: Duration::ZERO, bytes: 0 }
    }

    /// The next piece; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let Bounds { stall, grace, bytes_per_second_min } = self.bounds;
        let earned = Duration::from_millis(self.bytes.saturating_mul(1_000) / bytes_per_second_min.max(1));
        let left = (grace + earned).saturating_sub(self.waited);
        if left.is_zero() {
            return Err(too_slow(bytes_per_second_min));
        }
        let began = Instant::now();
        let piece = timeout(left.min(stall), self.pieces.next()).await.map_err(|_| match left < stall {
            true => too_slow(bytes_per_second_min),
            false => stalled(stall),
        })?;
        self.waited += began.elapsed();
        let piece = piece.transpose();
        let piece = piece.map_err(|_| ApiError::bad_request("broken_body", "the body of this request ended early"))?;
        self.bytes += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Ok(piece)
    }

    /// Whether nothing more will come.
    pub(crate) fn is_over(&self) -> bool {
        http_body::Body::is_end_stream(&self.pieces)
    }
}

fn stalled(limit: Duration) -> ApiError {
    let message = format!("nothing of the body of this request arrived for {} s", limit.as_secs());
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
}

fn too_slow(bytes_per_second_min: u64) -> ApiError {
    let message = format!("the body of this request came more slowly than {bytes_per_second_min} bytes in a second");
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;

    use super::*;

    /// Never ready at once, and never at an end.
    fn drip() -> Body {
        Body::from_stream(stream::unfold((), |()| async {
            tokio::task::yield_now().await;
            Some((Ok::<_, Infallible>(Bytes::from_static(b"x")), ()))
        }))
    }

    #[tokio::test]
    async fn a_body_that_drips_is_cut_off() {
        let stall = Duration::from_secs(600);
        let bounds = Bounds { stall, grace: Duration::from_millis(20), bytes_per_second_min: u64::MAX };
        let mut body = Paced::within(drip(), bounds);
        let error = loop {
            match body.next().await {
                Ok(piece) => assert!(piece.is_some()),
                Err(error) => break error,
            }
        };
        assert!(error.code == "body_timeout" && error.message.contains("slowly"), "{}", error.message);
    }

    #[tokio::test]
    async fn who_keeps_the_pace_is_not() {
        let bounds =
            Bounds { stall: Duration::from_secs(600), grace: Duration::from_secs(600), bytes_per_second_min: 1 };
        let mut body = Paced::within(drip(), bounds);
        for _ in 0..100 {
            assert_eq!(body.next().await.unwrap().as_deref(), Some(&b"x"[..]));
        }
    }

    #[tokio::test]
    async fn silence_is_cut_off() {
        let bounds = Bounds { stall: Duration::from_millis(20), ..Bounds::default() };
        let mut body = Paced::within(Body::from_stream(stream::pending::<Result<Bytes, Infallible>>()), bounds);
        assert!(body.next().await.unwrap_err().message.contains("nothing"));
    }
}
