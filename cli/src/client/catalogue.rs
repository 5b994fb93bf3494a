//! Node types, agents and workflows: what the server holds beside runs.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Client, WorkflowSummary, next_cursor, segment};
use crate::error::{Context, Exit, Failure, Result};
use crate::workflow_file::WorkflowFile;

/// A workflow as apply and diff compare it.
#[derive(Debug, Clone, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Workflow {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Raised with every save.
    pub version: u64,
    /// When it was saved last, RFC 3339.
    pub updated_at: String,
    /// Its nodes.
    pub nodes: Vec<Value>,
    /// Its edges.
    pub edges: Vec<Value>,
    /// Its policy for all nodes.
    #[serde(default)]
    pub policy: Option<Value>,
}

/// A workflow to create or to replace; what is `None` stays as it is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Draft<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<&'a str>,
    /// Its tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<&'a [String]>,
    /// The nodes as in the file.
    pub nodes: &'a RawValue,
    /// The edges as in the file.
    pub edges: &'a RawValue,
    /// The policy for all nodes, as in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<&'a RawValue>,
    /// Refuse if it was saved since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_updated_at: Option<&'a str>,
}

/// What saving answers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Saved {
    /// The workflow's id.
    pub id: String,
    /// Its version by now.
    pub version: u64,
    /// What the server noticed.
    pub diagnostics: SaveNotes,
}

impl Saved {
    /// What is allowed and odd, as the validator says it.
    pub fn warnings(self) -> Vec<Problem> {
        let found = self.diagnostics.diagnostics.into_iter().filter(|found| found.severity == "warning");
        found.map(SaveNote::into_problem).collect()
    }
}

/// What stands beside a saved workflow.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SaveNotes {
    /// One by one.
    pub diagnostics: Vec<SaveNote>,
}

/// One thing that the server noticed in a graph that it has saved.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SaveNote {
    /// `graph.` and the rule.
    pub code: String,
    /// error, warning or info.
    pub severity: String,
    /// What it is.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Where.
    pub target: Place,
}

impl SaveNote {
    fn into_problem(self) -> Problem {
        let SaveNote { code, message, hint, target, .. } = self;
        let rule = code.strip_prefix("graph.").unwrap_or(&code).to_owned();
        Problem { rule, message, fix: hint, node_id: target.node_id, edge_id: target.edge_id, path: target.path }
    }
}

/// A place in a graph.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Place {
    /// A node.
    pub node_id: Option<String>,
    /// An edge.
    pub edge_id: Option<String>,
    /// A JSON pointer.
    pub path: Option<String>,
}

/// What the validator says of a graph.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Diagnosis {
    /// Whether it may be saved and run.
    pub ok: bool,
    /// What is wrong.
    pub violations: Vec<Problem>,
    /// What is allowed and odd.
    pub warnings: Vec<Problem>,
    /// What was read as something newer.
    pub migrations: Vec<String>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let given = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(str::to_owned);
        let path = given(&self.path);
        if let Some(place) = given(&self.node_id).or_else(|| given(&self.edge_id)) {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}", self.message)?;
        if let Some(fix) = given(&self.fix) {
            write!(f, " ({fix})")?;
        }
        match path {
            Some(path) => write!(f, "  [{} at {path}]", self.rule),
            None => write!(f, "  [{}]", self.rule),
        }
    }
}

/// One problem of a graph.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Problem {
    /// Which rule.
    pub rule: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub fix: Option<String>,
    /// Where: a node.
    pub node_id: Option<String>,
    /// Where: an edge.
    pub edge_id: Option<String>,
    /// Where: a JSON pointer into the graph.
    pub path: Option<String>,
}

/// A node type.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeType {
    /// `family:name`.
    pub node_type: String,
    /// A few words.
    pub label: String,
    /// One sentence.
    pub description: String,
    /// What stands before the colon.
    pub category: String,
    /// Raised with every change of its meaning.
    pub version: u32,
    /// What it takes.
    pub inputs: Vec<Port>,
    /// What it gives.
    pub outputs: Vec<Port>,
    /// JSON Schema of its config.
    pub config_schema: Option<Value>,
    /// What it may do to the world.
    pub effect: String,
    /// Whether its jobs at the provider are cancelled when nobody goes on with them.
    pub cancels_jobs: bool,
    /// What a node's policy is unless it says otherwise.
    pub policy: Option<Value>,
    /// Whether it can run now.
    pub available: bool,
    /// Since when, by whom and why no node of it begins, if none does.
    pub paused: Option<Value>,
}

/// An input or output.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    /// As edges name it.
    pub id: String,
    /// What flows through.
    pub r#type: String,
    /// Whether it carries a list.
    pub list: bool,
    /// Whether the node cannot run without it.
    pub required: bool,
}

/// A node-agent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentInfo {
    /// Its id.
    pub id: String,
    /// connected, draining…
    pub state: String,
    /// Its build.
    pub version: String,
    /// Nodes it runs at once.
    pub slots: u32,
    /// Slots in use.
    pub busy: u32,
    /// What it can run.
    pub node_types: Vec<String>,
}

impl Client {
    /// The node catalogue, as the server says it.
    pub async fn node_types(&self) -> Result<Vec<Value>> {
        #[derive(Deserialize)]
        struct Catalogue {
            nodes: Vec<Value>,
        }
        let catalogue: Catalogue = self.json(self.request(Method::GET, "/nodes")).await?;
        Ok(catalogue.nodes)
    }

    /// One node type, as the server says it.
    pub async fn node_type(&self, id: &str) -> Result<Value> {
        let fits = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':' | b'.'));
        if !fits || !id.contains(':') {
            return Err(Failure::usage(format!("{id:?} is not a node type: write it as family:name"))
                .with_next("heddle nodes list"));
        }
        let value: Value = self.json(self.request(Method::GET, &format!("/nodes/{id}"))).await?;
        Ok(bare(value))
    }

    /// One page of workflows without their graphs, newest change first, as the server says them; and the next page's
    /// cursor.
    pub async fn workflow_page(
        &self,
        limit: Option<u32>,
        cursor: Option<&str>,
    ) -> Result<(Vec<Value>, Option<String>)> {
        let limit = limit.map(|limit| limit.to_string());
        let query: Vec<_> = [("limit", limit.as_deref()), ("cursor", cursor)].into_iter().collect();
        let response = self.request(Method::GET, "/workflows").query(&query).send().await;
        let response = self.accept(response).await?;
        let next = next_cursor(&response);
        Ok((self.decode(response).await?, next))
    }

    /// All workflows without their graphs, newest change first, as the server says them.
    pub async fn workflow_list(&self) -> Result<Vec<Value>> {
        let (mut all, mut next) = self.workflow_page(None, None).await?;
        while let Some(cursor) = next {
            let (page, after) = self.workflow_page(None, Some(&cursor)).await?;
            next = after.filter(|after| *after != cursor);
            all.extend(page);
        }
        Ok(all)
    }

    /// All workflows of the key's tenant, newest first, without their graphs.
    pub async fn workflows(&self) -> Result<Vec<WorkflowSummary>> {
        self.workflow_list().await?.into_iter().map(|item| read(item, "list of workflows")).collect()
    }

    /// One workflow with its graph, as the server says it.
    pub async fn workflow(&self, id: &str) -> Result<Value> {
        let value: Value = self.json(self.request(Method::GET, &format!("/workflows/{}", segment(id)?))).await?;
        Ok(bare(value))
    }

    /// Creates a workflow, or replaces the one named by `id`.
    pub async fn save(&self, id: Option<&str>, draft: &Draft<'_>) -> Result<Saved> {
        let request = match id {
            Some(id) => self.request(Method::PUT, &format!("/workflows/{}", segment(id)?)),
            None => self.request(Method::POST, "/workflows"),
        };
        self.json(request.json(draft)).await
    }

    /// Deletes a workflow. Its runs stay.
    pub async fn delete_workflow(&self, id: &str) -> Result<()> {
        let _: Value = self.json(self.request(Method::DELETE, &format!("/workflows/{}", segment(id)?))).await?;
        Ok(())
    }

    /// What is wrong with a graph.
    pub async fn lint(&self, file: &WorkflowFile) -> Result<Diagnosis> {
        #[derive(Serialize)]
        struct Graph<'a> {
            nodes: &'a RawValue,
            edges: &'a RawValue,
            #[serde(skip_serializing_if = "Option::is_none")]
            policy: Option<&'a RawValue>,
        }
        let graph = Graph { nodes: &file.nodes, edges: &file.edges, policy: file.policy.as_deref() };
        self.json(self.request(Method::POST, "/workflows/lint").json(&graph)).await
    }

    /// The server's clock in milliseconds since 1970, to the second; `None` if it does not tell.
    pub async fn clock(&self) -> Result<Option<i64>> {
        let request = self.http.get(format!("{}/healthz", self.origin)).timeout(crate::limits::HEALTH_WAIT_MAX);
        let response = self.accept(request.send().await).await?;
        let date = response.headers().get("Date").and_then(|value| value.to_str().ok());
        Ok(date.and_then(crate::ui::clock::parse_http_date))
    }
}

/// A resource without the copy of itself that the API's envelope holds under `data`.
pub fn bare(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut()
        && fields.get("data").is_some_and(Value::is_object)
    {
        fields.remove("data");
    }
    value
}

/// Reads what the server said.
pub fn read<T: serde::de::DeserializeOwned>(value: Value, what: &str) -> Result<T> {
    serde_json::from_value(value).context(Exit::Failed, format_args!("the server's {what} cannot be read"))
}
