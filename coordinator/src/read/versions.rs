//! Which version of its workflow a run began with: found by the graph that it has pinned, when somebody looks.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use heddle_core::id::WorkflowId;
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;

use crate::auth::Tenant;
use crate::journal::{JournalError, RunRow};
use crate::shared::Shared;

/// Finds versions for the runs of one answer: they are of few graphs.
#[derive(Default)]
pub(crate) struct Versions(HashMap<(WorkflowId, Digest), Vec<(u64, Timestamp)>>);

impl Versions {
    /// The version; none of a graph that came with the run, or of a workflow that is gone.
    pub(crate) async fn of(&mut self, shared: &Shared, row: &RunRow) -> Result<Option<u64>, JournalError> {
        let created = &row.created;
        // A graph that was restored has several: the run began with the newest of its time.
        let versions = match self.0.entry((created.workflow, created.graph)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let tenant = Tenant::of_run(created);
                let found = shared.records.versions_of_graph(tenant, created.workflow, created.graph).await?;
                unknown.insert(found)
            }
        };
        let of_its_time = versions.iter().find(|(_, since)| *since <= created.created_at);
        // Saves that follow each other within a millisecond are dated ahead.
        Ok(of_its_time.or_else(|| versions.last()).map(|(version, _)| *version))
    }
}
