//! Plain rows in memory, for tests: beside the runs of the journal in memory.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use heddle_core::id::{KeyId, TenantId, WorkflowId};
use heddle_core::value::Digest;

use super::{ApiKeyRow, GraphText, KeyEnd, ManifestRow, Records, SaveWorkflow, Saved, WorkflowRow, save};
use crate::journal::Answer;
use crate::journal::memory::{KeptKey, KeyNames, MemoryJournal, Tables, answer};

/// The plain rows' tables.
#[derive(Default)]
pub(crate) struct PlainRows {
    graphs: BTreeMap<(TenantId, Digest), GraphText>,
    workflows: BTreeMap<WorkflowId, WorkflowRow>,
    api_keys: BTreeMap<Digest, ApiKeyRow>,
    /// In the order they came.
    node_types: Vec<ManifestRow>,
}

impl Records for MemoryJournal {
    fn put_graph(&self, tenant: TenantId, digest: Digest, graph: GraphText) -> Answer<()> {
        self.tables().plain.graphs.entry((tenant, digest)).or_insert(graph);
        answer(())
    }

    fn graph(&self, tenant: TenantId, digest: Digest) -> Answer<Option<GraphText>> {
        answer(self.tables().plain.graphs.get(&(tenant, digest)).cloned())
    }

    fn save_workflow(&self, save: SaveWorkflow) -> Answer<Saved> {
        answer(self.tables().save(save))
    }

    fn workflow(&self, tenant: TenantId, id: WorkflowId) -> Answer<Option<WorkflowRow>> {
        let tables = self.tables();
        let row = tables.plain.workflows.get(&id).filter(|row| row.tenant == tenant);
        answer(row.map(|row| tables.with_usage(row)))
    }

    fn workflows(&self, tenant: TenantId, is_active: Option<bool>) -> Answer<Vec<WorkflowRow>> {
        let tables = self.tables();
        let is_listed =
            |row: &&WorkflowRow| row.tenant == tenant && is_active.is_none_or(|is_active| row.is_active == is_active);
        let rows = tables.plain.workflows.values().filter(is_listed);
        let mut rows: Vec<_> = rows.map(|row| tables.with_usage(row)).collect();
        rows.sort_by_key(|row| Reverse((row.updated_at, row.id)));
        answer(rows)
    }

    fn delete_workflow(&self, tenant: TenantId, id: WorkflowId) -> Answer<bool> {
        let rows = &mut self.tables().plain.workflows;
        let is_there = rows.get(&id).is_some_and(|row| row.tenant == tenant);
        if is_there {
            rows.remove(&id);
        }
        answer(is_there)
    }

    fn api_key(&self, mac: Digest) -> Answer<Option<ApiKeyRow>> {
        answer(self.tables().plain.api_keys.get(&mac).filter(|row| row.revoked_at.is_none()).cloned())
    }

    fn put_api_key(&self, mac: Digest, row: ApiKeyRow, only_first: bool) -> Answer<bool> {
        let keys = &mut self.tables().plain.api_keys;
        let is_kept = !only_first || keys.is_empty();
        if is_kept {
            keys.insert(mac, row);
        }
        answer(is_kept)
    }

    fn api_keys(&self, tenant: TenantId) -> Answer<Vec<ApiKeyRow>> {
        let tables = self.tables();
        let mut rows: Vec<_> = tables.plain.api_keys.values().filter(|row| row.tenant == tenant).cloned().collect();
        rows.sort_by_key(|row| Reverse(row.id));
        answer(rows)
    }

    fn end_api_key(&self, tenant: TenantId, id: KeyId, end: KeyEnd) -> Answer<Option<ApiKeyRow>> {
        let keys = &mut self.tables().plain.api_keys;
        let row = keys.values_mut().find(|row| row.tenant == tenant && row.id == id);
        answer(row.map(|row| {
            match end {
                KeyEnd::Revoked(at) => row.revoked_at = row.revoked_at.or(Some(at)),
                KeyEnd::Expires(at) => row.expires_at = Some(row.expires_at.map_or(at, |earlier| earlier.min(at))),
            }
            row.clone()
        }))
    }

    fn put_node_types(&self, manifests: Vec<ManifestRow>) -> Answer<()> {
        let rows = &mut self.tables().plain.node_types;
        for manifest in manifests {
            if rows.iter().all(|row| row.digest != manifest.digest) {
                rows.push(manifest);
            }
        }
        answer(())
    }

    fn node_types(&self) -> Answer<Vec<ManifestRow>> {
        let mut newest = BTreeMap::new();
        for row in &self.tables().plain.node_types {
            let kept = newest.entry(row.id.clone()).or_insert_with(|| row.clone());
            if row.version >= kept.version {
                *kept = row.clone();
            }
        }
        answer(newest.into_values().collect())
    }
}

impl Tables {
    fn save(&mut self, save: SaveWorkflow) -> Saved {
        if let Some(given) = &save.key
            && let Some(kept) = self.keys.get(&given.key).filter(|kept| kept.is_alive(save.now))
            && let KeyNames::Saved { row, created } = &kept.names
        {
            let is_same = kept.body == given.body;
            return if is_same {
                Saved::Replayed { row: (**row).clone(), created: *created }
            } else {
                Saved::KeyMismatch
            };
        }
        let (row, created) = match save::decide(&save, self.plain.workflows.get(&save.id).cloned()) {
            Ok(decided) => decided,
            Err(refusal) => return refusal.into(),
        };
        self.plain.workflows.insert(row.id, row.clone());
        if let Some(given) = save.key {
            let names = KeyNames::Saved { row: Box::new(row.clone()), created };
            self.keys.insert(given.key, KeptKey { body: given.body, created_at: save.now, names });
        }
        Saved::Done { row: self.with_usage(&row), created }
    }

    fn with_usage(&self, row: &WorkflowRow) -> WorkflowRow {
        let is_its = |run: &&_| {
            let run: &crate::journal::RunRow = run;
            run.created.tenant == row.tenant && run.created.workflow == row.id
        };
        let started = self.runs.values().filter(is_its).map(|run| run.created.created_at);
        WorkflowRow { execution_count: started.clone().count() as u64, last_executed_at: started.max(), ..row.clone() }
    }
}
