//! Signals: what runs are told by name.

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::{Client, segment};
use crate::error::{Failure, Result};

/// A signal that a run has.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SentSignal {
    /// The run.
    pub execution_id: String,
    /// By what name it was sent.
    pub name: String,
    /// Its number in the run's history.
    pub seq: u64,
    /// Whether a node has taken it; else it is kept until one waits for the name.
    pub delivered: bool,
}

impl Client {
    /// Sends a run a signal: one JSON value, as text. Tried again, under one idempotency key, while the server is away.
    pub async fn signal(&self, execution: &str, name: &str, json: &str) -> Result<SentSignal> {
        let is_taken = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if name.is_empty() || !name.bytes().all(is_taken) || matches!(name, "." | "..") {
            return Err(Failure::usage(format!("{name:?} is not the name of a signal"))
                .with_next("a name is made of A-Z, a-z, 0-9, _, . and -"));
        }
        let path = format!("/workflows/executions/{}/signals/{name}", segment(execution)?);
        let request = || {
            let request = self.request(Method::POST, &path).header("Content-Type", "application/json");
            request.body(json.to_owned())
        };
        let sent = self.persist(request).await?;
        self.read(sent).await
    }
}
