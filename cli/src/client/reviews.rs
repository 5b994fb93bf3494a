//! Reviews: what runs ask of people.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::catalogue::bare;
use super::{Client, next_cursor, segment};
use crate::error::{Context, Exit, Failure, Result};
use crate::limits::EDIT_BYTES_MAX;

/// A review, as lists and details show it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Review {
    /// Its id.
    pub id: String,
    /// The run that asks.
    pub execution_id: String,
    /// Whose run it is.
    pub workflow_id: String,
    /// The node that asks.
    pub node_id: String,
    /// The numbers of the items and turns that it lies in.
    pub index: Vec<u64>,
    /// `review` or `outcome`.
    pub kind: String,
    /// `before` or `after` the node's work, where its policy asks.
    pub stage: Option<String>,
    /// `open`, `decided` or `withdrawn`.
    pub state: String,
    /// Who may decide; nobody = whose key has the scope.
    pub assignees: Vec<String>,
    /// RFC 3339.
    pub opened_at: String,
    /// RFC 3339.
    pub due_at: Option<String>,
    /// The last word.
    pub decided: Option<Decided>,
    /// What people call it.
    pub title: String,
    /// Markdown.
    pub description: String,
    /// What is asked about, in its newest version: a value, or values by port.
    pub value: Value,
    /// The first version, if it is another.
    pub original: Option<Value>,
    /// What an edit must be, by port.
    pub ports: Vec<ReviewPort>,
    /// What may be decided.
    pub allow: Vec<String>,
    /// How many people must approve.
    pub required: u32,
    /// How many have.
    pub approvals: u32,
    /// What happens when its time is over.
    pub on_timeout: Option<String>,
    /// Goes up with each entry of the history.
    pub revision: u64,
    /// What was decided, the oldest first.
    pub history: Vec<ReviewEntry>,
    /// What is known of an attempt whose outcome is not.
    pub error: Option<Value>,
}

impl Review {
    /// Whether it is about one value, not about the ports of a node.
    pub fn is_whole(&self) -> bool {
        self.kind == "review" && self.stage.is_none()
    }
}

/// What stands for a value that is too large for an answer.
#[derive(Debug, Deserialize)]
pub struct Large {
    /// Where it is.
    pub url: String,
    /// How long.
    pub bytes: u64,
}

impl Large {
    /// What a review shows in the place of a text or of JSON.
    pub fn of(value: &Value) -> Option<Self> {
        let is_json = value.get("mediaType").and_then(Value::as_str) == Some("application/json");
        let is_described = is_json && value.get("digest").is_some_and(Value::is_string);
        is_described.then(|| Self::deserialize(value).ok()).flatten()
    }
}

/// What one port takes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ReviewPort {
    /// Its name.
    pub port: String,
    /// `TEXT`, `JSON`…
    pub r#type: String,
    /// Whether it takes a list of them.
    pub list: bool,
}

/// What was decided, by whom and when.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Decided {
    /// `approve`, `reject`, `retry`, `fail` or `escalate`.
    pub decision: String,
    /// A subject; nobody = its time was over.
    pub by: Option<String>,
    /// RFC 3339.
    pub at: String,
    /// What they said.
    pub comment: Option<String>,
    /// Whether something else was approved than what was asked about.
    pub edited: bool,
}

impl Decided {
    /// `approve with an edit by grace at …: shorter`.
    pub fn text(&self) -> String {
        let edited = if self.edited { " with an edit" } else { "" };
        let by = self.by.as_deref().map_or_else(|| ", its time was over,".to_owned(), |by| format!(" by {by}"));
        let comment = self.comment.as_deref().map(|comment| format!(": {comment}")).unwrap_or_default();
        format!("{}{edited}{by} at {}{comment}", self.decision, self.at)
    }
}

/// Something that happened at a review.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReviewEntry {
    /// What was decided.
    #[serde(flatten)]
    pub decided: Decided,
    /// The edit.
    pub data: Option<Value>,
    /// What a retry changed.
    pub config: Option<Value>,
}

/// Which reviews to list.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReviewFilter {
    /// Only those that stand so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Only those that this subject may decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    /// Only those of runs of this workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_id: Option<String>,
    /// Only those of this run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
    /// At most so many.
    pub limit: u32,
    /// After this one, as the page before said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// What is decided.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Decision {
    /// `approve`, `reject` or `retry`.
    pub decision: &'static str,
    /// An edit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// Keys of the node's config to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// That was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

impl Client {
    /// One page of reviews, the oldest first, and where the next one begins.
    pub async fn reviews(&self, filter: &ReviewFilter) -> Result<(Vec<Value>, Option<String>)> {
        let response = self.accept(self.request(Method::GET, "/reviews").query(filter).send().await).await?;
        let next = next_cursor(&response);
        Ok((self.decode(response).await?, next))
    }

    /// One review, as the server says it.
    pub async fn review(&self, id: &str) -> Result<Value> {
        self.json(self.request(Method::GET, &format!("/reviews/{}", segment(id)?))).await.map(bare)
    }

    /// Puts into its place what a review names by its address, since it is too large for an answer: what a text or JSON is.
    ///
    /// # Errors
    /// When it cannot be had: what people edit is the value, never what stands for it.
    pub async fn spell_out(&self, review: &mut Review) -> Result<()> {
        let types: Vec<(String, String)> =
            review.ports.iter().map(|port| (port.port.clone(), port.r#type.clone())).collect();
        let is_file = |r#type: &str| matches!(r#type, "IMAGE" | "VIDEO" | "AUDIO" | "FILE");
        if review.is_whole() {
            if types.first().is_some_and(|(_, r#type)| !is_file(r#type)) {
                self.spell_out_value(&mut review.value).await?;
            }
            return Ok(());
        }
        let Value::Object(values) = &mut review.value else { return Ok(()) };
        for (port, _) in types.iter().filter(|(_, r#type)| !is_file(r#type)) {
            if let Some(value) = values.get_mut(port) {
                self.spell_out_value(value).await?;
            }
        }
        Ok(())
    }

    async fn spell_out_value(&self, value: &mut Value) -> Result<()> {
        let Some(large) = Large::of(value) else { return Ok(()) };
        if large.bytes > EDIT_BYTES_MAX {
            let message = format!("the value has {} bytes, and at most {EDIT_BYTES_MAX} are edited here", large.bytes);
            return Err(Failure::usage(message).with_next(format!("get it from {}", large.url)));
        }
        let elsewhere = || Failure::failed(format!("{} names a value at another server: {}", self.origin(), large.url));
        let mut response = self.download(&large.url).await?.ok_or_else(elsewhere)?;
        let mut whole = Vec::with_capacity(large.bytes as usize);
        let broke = |error: reqwest::Error| Failure::failed(format!("the download of {} broke: {error}", large.url));
        while let Some(piece) = response.chunk().await.map_err(broke)? {
            whole.extend_from_slice(&piece);
            if whole.len() as u64 > large.bytes {
                break;
            }
        }
        *value = serde_json::from_slice(&whole).context(Exit::Failed, "the value behind its address is no JSON")?;
        Ok(())
    }

    /// Decides a review. Tried again, under one idempotency key, while the server is overloaded or cannot be reached.
    pub async fn decide(&self, id: &str, decision: &Decision) -> Result<Value> {
        let path = format!("/reviews/{}/decision", segment(id)?);
        let sent = self.persist(|| self.request(Method::POST, &path).json(decision)).await?;
        self.read(sent).await.map(bare)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_stands_for_a_value_is_got_from_its_address() {
        let whole = json!({"url": "http://h/a", "mediaType": "application/json", "bytes": 7, "digest": "00"});
        let large = Large::of(&whole).unwrap();
        assert_eq!((large.url.as_str(), large.bytes), ("http://h/a", 7));
        for other in [
            json!("text"),
            json!({"url": "http://h/a", "mediaType": "image/png", "bytes": 7, "digest": "00"}),
            json!({"mediaType": "application/json", "url": "http://h/a", "bytes": 7}),
            json!({"mediaType": "application/json", "digest": "00"}),
        ] {
            assert!(Large::of(&other).is_none(), "{other}");
        }
    }
}
