//! A run's history as one file, piece by piece: what [`crate::history`] reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use heddle_core::graph::Graph;
use heddle_core::id::{EventSeq, RunId};
use heddle_core::run::RunStatus;
use heddle_core::run::event::Fact;
use heddle_core::value::Digest;
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::event_json::show;
use super::runs::{self, ReadError};
use super::scopes::Scopes;
use crate::auth::Tenant;
use crate::graphs::GraphError;
use crate::history::{self, ArtifactLine, ArtifactOf, End, EventLine, Head, HeadGraph, HeadRun, HeadType, Sum};
use crate::journal::codec::{self, Row};
use crate::journal::{JournalError, RunRow};
use crate::limits::{EVENT_PAGE_BYTES, EVENT_PAGE_ROWS, EXPORT_ARTIFACTS_MAX};
use crate::records::GraphText;
use crate::shared::Shared;

/// The file of a run, piece by piece.
pub(crate) async fn pieces(
    shared: Arc<Shared>,
    tenant: Tenant,
    id: RunId,
) -> Result<impl Stream<Item = Result<Bytes, ReadError>> + Send + 'static, ReadError> {
    let row = runs::row(&shared, &tenant, id).await?;
    let graph = runs::graph_of(&shared, &row).await?;
    let text = shared.records.graph(tenant.clone(), row.created.graph).await.map_err(ReadError::Journal)?;
    let text = text.ok_or(ReadError::Graph(GraphError::Missing))?;
    let types = types(&shared, &graph, &text).await?;
    let mut file = File { lines: Vec::new(), hash: Sha256::new() };
    file.line(&head(&row, &text, types));
    let writer = Writer {
        scopes: Scopes::new(id, graph),
        shared,
        tenant,
        row,
        file,
        last: None,
        artifacts: BTreeMap::new(),
        has_end: false,
        is_done: false,
    };
    Ok(futures::stream::try_unfold(writer, Writer::next))
}

/// Lines that wait to leave, and the hash over all so far.
struct File {
    lines: Vec<u8>,
    hash: Sha256,
}

impl File {
    fn line(&mut self, line: &impl Serialize) {
        let from = self.lines.len();
        // What is written here are texts and numbers.
        if let Err(error) = serde_json::to_writer(&mut self.lines, line) {
            tracing::error!(%error, "a line of an export cannot be written");
        }
        self.lines.push(b'\n');
        self.hash.update(&self.lines[from..]);
    }
}

struct Writer {
    shared: Arc<Shared>,
    tenant: Tenant,
    row: RunRow,
    scopes: Scopes,
    file: File,
    last: Option<Row>,
    artifacts: BTreeMap<Digest, ArtifactOf>,
    /// Whether the event that ends the run was written.
    has_end: bool,
    is_done: bool,
}

impl Writer {
    /// The next piece.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, ReadError> {
        if self.is_done {
            return Ok(None);
        }
        let after = self.last.as_ref().map_or(EventSeq(0), |row| row.seq);
        let page =
            self.shared.journal.read_rows(self.tenant.clone(), self.row.run, after, EVENT_PAGE_ROWS, EVENT_PAGE_BYTES);
        let page = page.await.map_err(ReadError::Journal)?;
        if page.is_empty() {
            self.finish().await?;
        }
        for row in page {
            let event = codec::decode(&row).map_err(|source| ReadError::Journal(JournalError::Event { source }))?;
            self.has_end |= matches!(event.fact, Fact::Ended { .. });
            self.scopes.step(self.row.run, &event);
            let shown = show(&self.scopes, &event);
            let data = serde_json::from_slice::<Box<RawValue>>(&shown.data_json).unwrap_or_default();
            for artifact in event.values.iter().filter_map(|value| value.artifact()) {
                if self.artifacts.len() < EXPORT_ARTIFACTS_MAX {
                    self.artifacts.entry(artifact.digest).or_insert_with(|| ArtifactOf {
                        digest: artifact.digest.to_string(),
                        bytes: artifact.bytes,
                        media_type: artifact.media_type.to_string(),
                    });
                }
            }
            self.file.line(&EventLine::new(&row, shown.r#type, data));
            self.last = Some(row);
        }
        Ok(Some((Bytes::from(std::mem::take(&mut self.file.lines)), self)))
    }

    async fn finish(&mut self) -> Result<(), ReadError> {
        // A run that was removed meanwhile has no more rows to read.
        let is_whole = self.has_end || self.row.summary.status == RunStatus::Running;
        if self.last.is_none() || !(is_whole || self.row.quarantine_reason.is_some()) {
            return Err(runs::removed_meanwhile(&self.shared, &self.row).await);
        }
        for artifact in std::mem::take(&mut self.artifacts).into_values() {
            self.file.line(&ArtifactLine { artifact });
        }
        let end = Sum {
            events: self.last.as_ref().map_or(0, |row| row.seq.0),
            head_hash: codec::head_hash(self.last.as_ref()).to_string(),
            sha256: history::hex(self.file.hash.clone()),
        };
        self.file.line(&End { end });
        self.is_done = true;
        Ok(())
    }
}

fn head(row: &RunRow, text: &GraphText, types: Vec<HeadType>) -> Head {
    let utf8 = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    Head {
        heddle_export: history::FORMAT,
        run: HeadRun {
            id: row.run.to_string(),
            workflow_id: row.created.workflow.to_string(),
            subject: row.created.subject.to_string(),
            status: runs::status(row.summary.status).as_str_name().trim_start_matches("RUN_STATUS_").to_owned(),
            created_at: row.created.created_at.as_millis(),
            ended_at: row.summary.ended_at.map(|at| at.as_millis()),
            batch_id: row.created.batch.map(|of| of.batch.to_string()),
        },
        graph: HeadGraph {
            digest: row.created.graph.to_string(),
            nodes: utf8(&text.nodes),
            edges: utf8(&text.edges),
            policy: utf8(&text.policy),
        },
        types,
    }
}

/// The manifests of the types that a graph names: without them nobody could read it.
async fn types(shared: &Shared, graph: &Graph, text: &GraphText) -> Result<Vec<HeadType>, ReadError> {
    let document = String::from_utf8_lossy(&text.nodes);
    let is_named = |id: &str| graph.nodes().any(|(_, node)| &*node.type_id == id) || document.contains(id);
    let rows = shared.records.node_types().await.map_err(ReadError::Journal)?;
    let named = rows.into_iter().filter(|row| is_named(&row.id)).map(|row| HeadType {
        id: row.id.to_string(),
        version: row.version,
        manifest: String::from_utf8_lossy(&row.json).into_owned(),
    });
    Ok(named.collect())
}
