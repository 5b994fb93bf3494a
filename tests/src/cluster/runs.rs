//! Runs over REST: start, wait, read.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::graph::Graph;
use crate::wait;

/// How long one poll waits for a run's end, in seconds.
const POLL_WAIT_SECONDS: u64 = 5;

impl Client {
    /// Saves a graph as a workflow and gives its id.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn save(&self, name: &str, graph: &Graph) -> String {
        let answer = self.post("/api/v1/workflows", &graph.named(name), &format!("save {name}")).await;
        assert!(answer.is_success(), "saving {name}: {answer}");
        text(&answer.json()["id"])
    }

    /// Starts a run of a saved workflow and gives the whole answer.
    pub async fn execute(&self, workflow: &str, idempotency_key: &str) -> Answer {
        self.post(&format!("/api/v1/workflows/{workflow}/execute"), &json!({}), idempotency_key).await
    }

    /// Starts a run of a saved workflow and gives its id.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn run(&self, workflow: &str, idempotency_key: &str) -> String {
        let answer = self.execute(workflow, idempotency_key).await;
        assert_eq!(answer.status, 201, "{answer}");
        text(&answer.json()["executionId"])
    }

    /// Waits until a run is over and gives it.
    ///
    /// # Panics
    /// When it is not over within `deadline`.
    pub async fn ended(&self, execution: &str, deadline: Duration) -> Value {
        wait::until(&format!("the end of {execution}"), deadline, || async {
            let poll = format!("/api/v1/workflows/executions/{execution}/poll?wait={POLL_WAIT_SECONDS}");
            let poll = self.get_json(&poll).await;
            if poll["status"] == "RUNNING" || poll["status"] == "PENDING" { Err(poll.to_string()) } else { Ok(()) }
        })
        .await;
        self.execution(execution).await
    }

    /// A run as it stands.
    pub async fn execution(&self, execution: &str) -> Value {
        self.get_json(&format!("/api/v1/workflows/executions/{execution}")).await
    }

    /// All events of a run so far.
    pub async fn events(&self, execution: &str) -> Vec<Value> {
        let (mut events, mut after) = (Vec::new(), 0);
        loop {
            let path = format!("/api/v1/workflows/executions/{execution}/events?follow=false&after={after}");
            let page = self.get_json(&path).await;
            events.extend(page["events"].as_array().cloned().unwrap_or_default());
            if page["hasMore"] != true {
                return events;
            }
            after = page["lastSeq"].as_u64().unwrap_or_default();
        }
    }

    /// The ids of all runs of a workflow, newest first.
    pub async fn runs_of(&self, workflow: &str) -> Vec<String> {
        let mut path = format!("/api/v1/workflows/executions?workflowId={workflow}&limit=200");
        let mut ids = Vec::new();
        loop {
            let page = self.get(&path).await;
            let runs = page.json();
            ids.extend(runs.as_array().into_iter().flatten().map(|run| text(&run["id"])));
            let link = page.headers.get("link").and_then(|link| link.to_str().ok());
            match link.and_then(|link| link.strip_prefix('<')?.split_once('>')) {
                Some((next, _)) => path = next.to_owned(),
                None => return ids,
            }
        }
    }
}

/// A JSON string's text.
///
/// # Panics
/// When it is none.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
