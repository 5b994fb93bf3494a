//! A history in a database of its own, for whoever wants to look at its run as at any other.

use std::path::Path;

use heddle_core::partition::batch::Phase;
use heddle_core::value::Digest;
use rusqlite::params;

use super::{History, Replayed};
use crate::auth::Tenant;
use crate::journal::columns::{phase_number, status_number};
use crate::journal::sqlite::{Options, SqliteJournal, append_events};
use crate::journal::{JournalError, codec};
use crate::records::{GraphText, ManifestRow, Records as _};

impl History {
    /// Puts the run as it stood then into a new database. It is closed there, so nothing goes on with it.
    ///
    /// # Errors
    /// When the database cannot be made.
    pub async fn put_into(&self, database: &Path, replayed: &Replayed) -> Result<(), JournalError> {
        let journal = SqliteJournal::open(Options::new(database))?;
        let graph = &self.head.graph;
        let text = GraphText {
            nodes: graph.nodes.clone().into_bytes().into(),
            edges: graph.edges.clone().into_bytes().into(),
            policy: graph.policy.clone().into_bytes().into(),
        };
        journal.put_graph(Tenant::first(), self.graph.digest(), text).await?;
        let manifests = self.head.types.iter().map(|it| ManifestRow {
            id: it.id.as_str().into(),
            version: it.version,
            digest: Digest::of(it.manifest.as_bytes()),
            json: it.manifest.clone().into_bytes().into(),
        });
        journal.put_node_types(manifests.collect()).await?;
        let (run, created, summary) = (self.run, replayed.run.created(), replayed.run.summary());
        let rows = self.rows[..replayed.last.0 as usize].to_vec();
        let write = move |connection: &rusqlite::Connection| {
            connection
                .prepare_cached(
                    "INSERT INTO run (id, slot, tenant, subject, workflow, graph, created_at, status, phase, ended_at, error)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                )?
                .execute(params![
                    run.to_bytes(),
                    run.slot().0,
                    Tenant::first().text(),
                    &*created.subject.0,
                    created.workflow.to_bytes(),
                    created.graph.0,
                    created.created_at.as_millis(),
                    status_number(summary.status),
                    phase_number(Phase::Closed),
                    summary.ended_at.map(heddle_core::time::Timestamp::as_millis),
                    summary.error.as_ref().map(codec::encode_run_error),
                ])?;
            append_events(connection, &rows)
        };
        journal.write("keep a history", write).await
    }
}
