//! Whether the gateway lives, and whether it can do its work. No key needed, and nothing told that needs one.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use heddle_proto::control;
use schemars::JsonSchema;
use serde::Serialize;

use super::error::ApiError;
use super::reply;
use crate::app::App;
use crate::watch::Standing;

/// The answer of `/healthz`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Alive {
    /// `ok`, or `degraded` while the coordinator cannot be reached.
    status: &'static str,
    version: &'static str,
    /// Random per start of the coordinator, 16 hexadecimal digits.
    boot_id: Option<String>,
    /// "sqlite", "memory" or "postgres".
    database: Option<String>,
    /// Totals over everything, nobody's in particular: for benches and operators.
    counters: Option<Counters>,
}

/// Totals since the coordinator's start.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Counters {
    commits: u64,
    event_rows: u64,
    attempts: u64,
    zombie_results: u64,
    /// Now, not a total.
    runs_in_memory: u64,
    /// Now: runs that nothing would wake, which is a fault of Heddle.
    orphaned_runs: u64,
    /// About attempts that their sender did not hold.
    foreign_messages: u64,
    /// Who was not let in as an agent or a gateway, by reason.
    refused_joins: BTreeMap<String, u64>,
}

/// The answer of `/readyz`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Ready {
    ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// `GET /healthz`: 200 as long as this process answers. To restart it would not bring a lost coordinator back.
pub(crate) async fn alive(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let status = app.coordinator.look().await.ok();
    let alive = Alive {
        status: if status.is_some() { "ok" } else { "degraded" },
        version: env!("CARGO_PKG_VERSION"),
        boot_id: status.as_ref().map(|status| format!("{:016x}", status.boot_id)),
        counters: status.as_ref().and_then(|status| status.counters.clone()).map(counters),
        database: status.map(|status| status.database),
    };
    reply::bare(StatusCode::OK, &alive)
}

fn counters(counters: control::Counters) -> Counters {
    let control::Counters {
        commits,
        event_rows,
        attempts,
        zombie_results,
        runs_in_memory,
        foreign_messages,
        refused_joins,
        orphaned_runs,
    } = counters;
    let refused_joins = refused_joins.into_iter().collect();
    Counters {
        commits,
        event_rows,
        attempts,
        zombie_results,
        runs_in_memory,
        orphaned_runs,
        foreign_messages,
        refused_joins,
    }
}

/// `GET /readyz`: 200 if requests can be served, else 503 and why not.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let reason = if app.stopping.is_cancelled() {
        Some("the gateway is stopping".to_owned())
    } else {
        Standing::of(&app.coordinator.look().await).reason()
    };
    let status = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    reply::bare(status, &Ready { ready: reason.is_none(), reason })
}
