//! One node of a run: over all its instances, or one of them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use heddle_proto::control::{GetNodeRequest, NodeDetail, NodeState};
use serde::Deserialize;

use super::artifacts::Origin;
use super::auth::{Caller, ReadExecutions};
use super::error::ApiError;
use super::input::{Parameters, TwoSegments};
use super::query::limit;
use super::reply::{self, encoded};
use crate::app::App;
use crate::convert;
use crate::limits::{INDEX_NUMBERS_MAX, INSTANCES_LIMIT_DEFAULT, INSTANCES_LIMIT_MAX};

/// Which instances.
#[derive(Deserialize)]
pub(crate) struct NodeParameters {
    /// Numbers of items and turns, the outermost first, with commas between them.
    index: Option<String>,
    status: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// `GET /workflows/executions/{id}/nodes/{nodeId}`.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    caller: Caller<ReadExecutions>,
    TwoSegments(execution_id, node_id): TwoSegments,
    Parameters(parameters): Parameters<NodeParameters>,
    origin: Origin,
) -> Result<Response, ApiError> {
    let path = format!("/api/v1/workflows/executions/{}/nodes/{}", encoded(&execution_id), encoded(&node_id));
    let request = GetNodeRequest {
        execution_id,
        node_id,
        index: index(parameters.index.as_deref().unwrap_or_default())?,
        state: parameters.status.as_deref().map(state).transpose()?.unwrap_or_default().into(),
        limit: limit("limit", parameters.limit.as_deref(), INSTANCES_LIMIT_DEFAULT, INSTANCES_LIMIT_MAX)?,
        cursor: parameters.cursor.clone().unwrap_or_default(),
        ..GetNodeRequest::default()
    };
    let mut detail = app.coordinator.node(&caller, request).await?;
    link(&app, caller.tenant(), &origin, &mut detail).await?;
    let response = reply::enveloped(StatusCode::OK, &convert::node::detail(&detail)?)?;
    let kept = [
        ("index", parameters.index.as_deref()),
        ("status", parameters.status.as_deref()),
        ("limit", parameters.limit.as_deref()),
    ];
    reply::next_page(response, &path, &detail.next_cursor, &kept)
}

pub(super) fn index(text: &str) -> Result<Vec<u32>, ApiError> {
    let refused = || {
        let form = "numbers of items, counted from 0, the outermost first, as 17 or 3,0";
        ApiError::invalid_parameter("index", form)
    };
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let is_number = |part: &str| part.bytes().all(|letter| letter.is_ascii_digit());
    let numbers = text.split(',').map(|part| part.parse().ok().filter(|_| is_number(part)));
    let numbers: Option<Vec<u32>> = numbers.take(INDEX_NUMBERS_MAX + 1).collect();
    numbers.filter(|numbers| numbers.len() <= INDEX_NUMBERS_MAX).ok_or_else(refused)
}

fn state(word: &str) -> Result<NodeState, ApiError> {
    Ok(match word.to_ascii_uppercase().as_str() {
        "PENDING" => NodeState::Pending,
        "READY" => NodeState::Ready,
        "RUNNING" => NodeState::Running,
        "WAITING" => NodeState::Waiting,
        "COMPLETED" => NodeState::Completed,
        "FAILED" => NodeState::Failed,
        "SKIPPED" => NodeState::Skipped,
        "CANCELLED" => NodeState::Cancelled,
        "CACHED" => NodeState::Cached,
        _ => {
            let words = "one of PENDING, READY, RUNNING, WAITING, COMPLETED, FAILED, SKIPPED, CANCELLED, CACHED";
            return Err(ApiError::invalid_parameter("status", words));
        }
    })
}

/// Puts the addresses of artifacts into what the node was given and gave.
async fn link(app: &App, tenant: String, origin: &Origin, detail: &mut NodeDetail) -> Result<(), ApiError> {
    let outputs = detail.node.iter_mut().flat_map(|node| &mut node.outputs);
    let mut values: Vec<_> = outputs.chain(&mut detail.inputs).collect();
    if values.iter().all(|value| value.artifacts.is_empty()) {
        return Ok(());
    }
    let opened = app.artifacts.opened(&app.coordinator).await?;
    let linker = opened.linker(tenant, &origin.0);
    values.iter_mut().for_each(|value| linker.link_values(std::slice::from_mut(*value)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_numbers_with_commas() {
        assert_eq!(index("").unwrap(), Vec::<u32>::new());
        assert_eq!(index("17").unwrap(), [17]);
        assert_eq!(index("3,0").unwrap(), [3, 0]);
        let long = ["1"; INDEX_NUMBERS_MAX + 1].join(",");
        for wrong in ["-1", "+1", "a", "1,", ",1", "1,,2", "1 ", "4294967296", "1.0", &long] {
            assert_eq!(index(wrong).unwrap_err().status, StatusCode::BAD_REQUEST, "{wrong}");
        }
    }
}
