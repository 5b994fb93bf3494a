//! Ids for the shell's completion, asked from the server that the environment names. Whatever goes wrong, there is
//! nothing to complete.

use std::ffi::OsStr;

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use serde_json::Value;
use tokio::time::timeout;

use crate::client::{Client, ExecutionFilter, ReviewFilter};
use crate::connection::Connection;
use crate::error::Result;
use crate::limits::{COMPLETION_WAIT_MAX, COMPLETIONS_MAX};

/// What an argument names.
#[derive(Debug, Clone, Copy)]
enum Of {
    Workflows,
    Executions,
    NodeTypes,
    Reviews,
}

/// Completes ids of workflows.
pub fn workflows() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| complete(Of::Workflows, current))
}

/// Completes ids of runs, the newest ones.
pub fn executions() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| complete(Of::Executions, current))
}

/// Completes node types.
pub fn node_types() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| complete(Of::NodeTypes, current))
}

/// Completes ids of reviews that are open, the oldest ones.
pub fn reviews() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| complete(Of::Reviews, current))
}

fn complete(of: Of, current: &OsStr) -> Vec<CompletionCandidate> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
    let asked = runtime.block_on(async { timeout(COMPLETION_WAIT_MAX, ask(of)).await });
    let known = asked.ok().and_then(Result::ok).unwrap_or_default();
    let begin = current.to_string_lossy();
    let fitting = known.into_iter().filter(|(id, _)| id.starts_with(&*begin)).take(COMPLETIONS_MAX as usize);
    fitting.map(|(id, help)| CompletionCandidate::new(id).help(Some(help.into()))).collect()
}

async fn ask(of: Of) -> Result<Vec<(String, String)>> {
    // The line that is being completed may name another server; only the environment is known here.
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let connection = Connection {
        server: variable("HEDDLE_URL"),
        key: variable("HEDDLE_KEY"),
        data_dir: std::env::var_os("HEDDLE_DATA").map(Into::into),
    };
    candidates(of, &connection.client().await?).await
}

async fn candidates(of: Of, client: &Client) -> Result<Vec<(String, String)>> {
    let (items, id, help) = match of {
        Of::Workflows => (client.workflow_list().await?, "id", "name"),
        Of::Executions => {
            let filter = ExecutionFilter { limit: COMPLETIONS_MAX, ..ExecutionFilter::default() };
            (client.executions(&filter).await?.items, "id", "status")
        }
        Of::Reviews => {
            let filter = ReviewFilter { limit: COMPLETIONS_MAX, ..ReviewFilter::default() };
            (client.reviews(&filter).await?.0, "id", "nodeId")
        }
        Of::NodeTypes => (client.node_types().await?, "nodeType", "label"),
    };
    let text = |item: &Value, name: &str| item[name].as_str().map(str::to_owned);
    Ok(items.iter().filter_map(|item| Some((text(item, id)?, text(item, help).unwrap_or_default()))).collect())
}

#[cfg(test)]
mod tests {
    use axum::{Json, Router, routing::get};
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn ids_come_with_what_they_are_called() {
        let nodes = || async { Json(json!({"nodes": [{"nodeType": "input:text", "label": "Text"}]})) };
        let runs = || async { Json(json!([{"id": "exec_1", "status": "RUNNING"}])) };
        let reviews = || async { Json(json!([{"id": "rev_1", "nodeId": "check"}])) };
        let workflows = || async { Json(json!([{"id": "wf_1", "name": "Hello"}, {"name": "no id"}])) };
        let router = Router::new()
            .route("/api/v1/nodes", get(nodes))
            .route("/api/v1/reviews", get(reviews))
            .route("/api/v1/workflows", get(workflows))
            .route("/api/v1/workflows/executions", get(runs));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(&format!("http://{}", listener.local_addr().unwrap()), None).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let pair = |id: &str, help: &str| vec![(id.to_owned(), help.to_owned())];
        assert_eq!(candidates(Of::NodeTypes, &client).await.unwrap(), pair("input:text", "Text"));
        assert_eq!(candidates(Of::Executions, &client).await.unwrap(), pair("exec_1", "RUNNING"));
        assert_eq!(candidates(Of::Reviews, &client).await.unwrap(), pair("rev_1", "check"));
        assert_eq!(candidates(Of::Workflows, &client).await.unwrap(), pair("wf_1", "Hello"));
    }
}
