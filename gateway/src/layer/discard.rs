//! Bodies that nobody reads to the end.
//!
//! A client that sends its whole request before it reads would meet a reset connection, and never our answer, if we
//! answered early and closed. So what is left of a body is taken off the wire and dropped, within bounds, while the
//! answer goes out.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::EXPECT;
use futures::StreamExt;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::limits::{DISCARD_BYTES_MAX, DISCARD_TIME_MAX};

/// A request body that is discarded if it is dropped half read.
pub(crate) struct Discarding {
    incoming: Option<Incoming>,
    /// The client waits for a word from us before it sends: as long as nobody reads, there is nothing to discard.
    is_held_back: bool,
}

/// Wraps a request's body for its handler.
pub(crate) fn discarding(headers: &HeaderMap, incoming: Incoming) -> Body {
    if incoming.is_end_stream() {
        return Body::empty();
    }
    Body::new(Discarding { incoming: Some(incoming), is_held_back: headers.contains_key(EXPECT) })
}

impl HttpBody for Discarding {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.is_held_back = false;
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(incoming).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.incoming = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Discarding {
    fn drop(&mut self) {
        let Some(rest) = self.incoming.take() else { return };
        if self.is_held_back || rest.is_end_stream() {
            return;
        }
        // Ends by itself within the two limits, or with the connection.
        tokio::spawn(discard(rest));
    }
}

async fn discard(rest: Incoming) {
    let mut rest = Body::new(rest).into_data_stream();
    let mut bytes_left = DISCARD_BYTES_MAX;
    let all = async {
        while let Some(Ok(piece)) = rest.next().await {
            bytes_left = bytes_left.saturating_sub(piece.len() as u64);
            if bytes_left == 0 {
                break;
            }
        }
    };
    let _ = timeout(DISCARD_TIME_MAX, all).await;
}
