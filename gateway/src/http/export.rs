//! A run's history as one file.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::Response;

use super::auth::{Caller, ReadExecutions};
use super::error::ApiError;
use super::follow::too_many;
use super::input::Segment;
use crate::app::App;
use crate::convert::failure;

/// What the file is: lines of JSON.
pub(crate) const MEDIA_TYPE: &str = "application/x-ndjson";

/// `GET /workflows/executions/{id}/export`.
pub(crate) async fn export(
    State(app): State<Arc<App>>,
    caller: Caller<ReadExecutions>,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let place = app.followers.take(&caller.tenant()).map_err(too_many)?;
    let pieces = app.coordinator.export(&caller, id.clone()).await?;
    // A fault on the way breaks the answer off: the file lacks its last line then, and its reader says so.
    let lines = futures::stream::try_unfold((pieces, place), |(mut pieces, place)| async move {
        let piece = pieces.message().await.map_err(failure::refused)?;
        Ok::<_, ApiError>(piece.map(|piece| (piece.lines, (pieces, place))))
    });
    let mut response = Response::new(Body::from_stream(lines));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The id was one, else there would be no run.
    if let Ok(name) = HeaderValue::from_str(&format!("attachment; filename=\"{id}.jsonl\"")) {
        headers.insert(CONTENT_DISPOSITION, name);
    }
    Ok(response)
}
