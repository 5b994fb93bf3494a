//! Plain rows in memory, for tests: beside the runs of the journal in memory.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use heddle_core::id::{KeyId, RunId, TenantId, WorkflowId};
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;

use super::{
    ApiKeyRow, GraphText, KeyEnd, ManifestRow, Records, Relative, SaveWorkflow, Saved, TenantChange, TenantRow,
    VersionRow, WorkflowPage, WorkflowRow, save,
};
use crate::auth::Tenant;
use crate::journal::Answer;
use crate::journal::memory::{KeptKey, KeyNames, MemoryJournal, Tables, answer};
use crate::limits::VERSIONS_OF_GRAPH_MAX;

/// The plain rows' tables.
#[derive(Default)]
pub(crate) struct PlainRows {
    graphs: BTreeMap<(TenantId, Digest), GraphText>,
    workflows: BTreeMap<(TenantId, WorkflowId), WorkflowRow>,
    versions: BTreeMap<(TenantId, WorkflowId, u64), VersionRow>,
    tenants: BTreeMap<TenantId, TenantRow>,
    api_keys: BTreeMap<Digest, ApiKeyRow>,
    relatives: BTreeMap<(TenantId, RunId, RunId), Option<RunId>>,
    /// In the order they came.
    node_types: Vec<ManifestRow>,
}

impl PlainRows {
    /// A run has left its family.
    pub(crate) fn forget_relative(&mut self, tenant: &TenantId, run: RunId) {
        self.relatives.retain(|(owner, _, of), _| (owner, *of) != (tenant, run));
    }
}

impl Records for MemoryJournal {
    fn put_graph(&self, tenant: Tenant, digest: Digest, graph: GraphText) -> Answer<()> {
        self.tables().plain.graphs.entry((tenant.id().clone(), digest)).or_insert(graph);
        answer(())
    }

    fn graph(&self, tenant: Tenant, digest: Digest) -> Answer<Option<GraphText>> {
        answer(self.tables().plain.graphs.get(&(tenant.id().clone(), digest)).cloned())
    }

    fn save_workflow(&self, save: SaveWorkflow) -> Answer<Saved> {
        answer(self.tables().save(save))
    }

    fn workflow(&self, tenant: Tenant, id: WorkflowId) -> Answer<Option<WorkflowRow>> {
        let tables = self.tables();
        let row = tables.plain.workflows.get(&(tenant.id().clone(), id));
        answer(row.map(|row| tables.with_usage(row)))
    }

    fn workflows(&self, tenant: Tenant, page: WorkflowPage) -> Answer<Vec<WorkflowRow>> {
        let tables = self.tables();
        let is_listed = |row: &&WorkflowRow| {
            row.tenant == *tenant.id()
                && page.is_active.is_none_or(|is_active| row.is_active == is_active)
                && page.after.is_none_or(|after| (row.updated_at, row.id) < after)
        };
        let rows = tables.plain.workflows.values().filter(is_listed);
        let mut rows: Vec<_> = rows.map(|row| tables.with_usage(row)).collect();
        rows.sort_by_key(|row| Reverse((row.updated_at, row.id)));
        rows.truncate(page.limit);
        answer(rows)
    }

    fn delete_workflow(&self, tenant: Tenant, id: WorkflowId) -> Answer<bool> {
        let plain = &mut self.tables().plain;
        plain.versions.retain(|(owner, workflow, _), _| (owner, *workflow) != (tenant.id(), id));
        answer(plain.workflows.remove(&(tenant.id().clone(), id)).is_some())
    }

    fn versions(
        &self,
        tenant: Tenant,
        workflow: WorkflowId,
        before: Option<u64>,
        limit: usize,
    ) -> Answer<Vec<VersionRow>> {
        let tables = self.tables();
        let older = tables.plain.versions_of(&tenant, workflow).filter(|row| before.is_none_or(|it| row.version < it));
        answer(older.take(limit).cloned().collect())
    }

    fn version(&self, tenant: Tenant, workflow: WorkflowId, version: u64) -> Answer<Option<VersionRow>> {
        answer(self.tables().plain.versions.get(&(tenant.id().clone(), workflow, version)).cloned())
    }

    fn versions_of_graph(&self, tenant: Tenant, workflow: WorkflowId, graph: Digest) -> Answer<Vec<(u64, Timestamp)>> {
        let tables = self.tables();
        let rows = tables.plain.versions_of(&tenant, workflow).filter(|row| row.graph == graph);
        answer(rows.take(VERSIONS_OF_GRAPH_MAX).map(|row| (row.version, row.created_at)).collect())
    }

    fn api_key(&self, mac: Digest) -> Answer<Option<ApiKeyRow>> {
        let tables = self.tables();
        let is_open =
            |row: &&ApiKeyRow| tables.plain.tenants.get(&row.tenant).is_some_and(|tenant| tenant.closed_at.is_none());
        let row = tables.plain.api_keys.get(&mac).filter(|row| row.revoked_at.is_none());
        answer(row.filter(is_open).cloned())
    }

    fn put_api_key(&self, mac: Digest, row: ApiKeyRow, only_first: bool) -> Answer<bool> {
        let plain = &mut self.tables().plain;
        let is_kept = if only_first { plain.api_keys.is_empty() } else { plain.tenants.contains_key(&row.tenant) };
        if is_kept {
            let (id, created_at) = (row.tenant.clone(), row.created_at);
            let first = TenantRow { id: id.clone(), name: Arc::clone(&id.0), created_at, closed_at: None };
            plain.tenants.entry(id).or_insert(first);
            plain.api_keys.insert(mac, row);
        }
        answer(is_kept)
    }

    fn api_keys(&self, tenant: Tenant) -> Answer<Vec<ApiKeyRow>> {
        let tables = self.tables();
        let mut rows: Vec<_> =
            tables.plain.api_keys.values().filter(|row| row.tenant == *tenant.id()).cloned().collect();
        rows.sort_by_key(|row| Reverse(row.id));
        answer(rows)
    }

    fn end_api_key(&self, tenant: Tenant, id: KeyId, end: KeyEnd) -> Answer<Option<ApiKeyRow>> {
        let keys = &mut self.tables().plain.api_keys;
        let row = keys.values_mut().find(|row| row.tenant == *tenant.id() && row.id == id);
        answer(row.map(|row| {
            match end {
                KeyEnd::Revoked(at) => row.revoked_at = row.revoked_at.or(Some(at)),
                KeyEnd::Expires(at) => row.expires_at = Some(row.expires_at.map_or(at, |earlier| earlier.min(at))),
            }
            row.clone()
        }))
    }

    fn note_key_use(&self, tenant: Tenant, id: KeyId, at: Timestamp) -> Answer<()> {
        let keys = &mut self.tables().plain.api_keys;
        let row = keys.values_mut().find(|row| row.tenant == *tenant.id() && row.id == id);
        if let Some(row) = row {
            row.last_used_at = row.last_used_at.max(Some(at));
        }
        answer(())
    }

    fn put_tenant(&self, row: TenantRow) -> Answer<bool> {
        let tenants = &mut self.tables().plain.tenants;
        let is_new = !tenants.contains_key(&row.id);
        tenants.entry(row.id.clone()).or_insert(row);
        answer(is_new)
    }

    fn tenants(&self) -> Answer<Vec<TenantRow>> {
        answer(self.tables().plain.tenants.values().cloned().collect())
    }

    fn tenant(&self, tenant: Tenant) -> Answer<Option<TenantRow>> {
        answer(self.tables().plain.tenants.get(tenant.id()).cloned())
    }

    fn change_tenant(&self, tenant: Tenant, change: TenantChange) -> Answer<Option<TenantRow>> {
        let tenants = &mut self.tables().plain.tenants;
        answer(tenants.get_mut(tenant.id()).map(|row| {
            row.name = change.name.unwrap_or_else(|| Arc::clone(&row.name));
            row.closed_at = change.closed_at.map_or(row.closed_at, |at| at.map(|at| row.closed_at.unwrap_or(at)));
            row.clone()
        }))
    }

    fn put_relative(&self, tenant: Tenant, relative: Relative) -> Answer<()> {
        let Relative { root, run, parent } = relative;
        self.tables().plain.relatives.entry((tenant.id().clone(), root, run)).or_insert(parent);
        answer(())
    }

    fn relatives(&self, tenant: Tenant, root: RunId, after: RunId, limit: usize) -> Answer<Vec<RunId>> {
        let tables = self.tables();
        let of_root = tables.plain.relatives.keys().filter(|(owner, of, _)| (owner, *of) == (tenant.id(), root));
        answer(of_root.map(|(.., run)| *run).filter(|run| *run > after).take(limit).collect())
    }

    fn kin(&self, tenant: Tenant, mut runs: Vec<RunId>) -> Answer<Vec<Relative>> {
        let tables = self.tables();
        runs.sort_unstable();
        runs.dedup();
        let of = |run: RunId| {
            let mut rows = tables.plain.relatives.iter();
            let ((_, root, _), parent) = rows.find(|((owner, _, of), _)| (owner, *of) == (tenant.id(), run))?;
            Some(Relative { root: *root, run, parent: *parent })
        };
        answer(runs.into_iter().filter_map(of).collect())
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

impl PlainRows {
    /// The newest first.
    fn versions_of(&self, tenant: &Tenant, workflow: WorkflowId) -> impl Iterator<Item = &VersionRow> {
        let [first, last] = [0, u64::MAX].map(|version| (tenant.id().clone(), workflow, version));
        self.versions.range(first..=last).rev().map(|(_, row)| row)
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
        let (row, created) =
            match save::decide(&save, self.plain.workflows.get(&(save.tenant.id().clone(), save.id)).cloned()) {
                Ok(decided) => decided,
                Err(refusal) => return refusal.into(),
            };
        self.plain.workflows.insert((row.tenant.clone(), row.id), row.clone());
        let (subject, created_at) = (save.subject, row.updated_at);
        let version = VersionRow { version: row.version, graph: row.graph, subject, created_at };
        self.plain.versions.entry((row.tenant.clone(), row.id, row.version)).or_insert(version);
        if let Some(given) = save.key {
            let names = KeyNames::Saved { row: Box::new(row.clone()), created };
            self.keys.insert(given.key, KeptKey { body: given.body, created_at: save.now, names });
        }
        Saved::Done { row, created }
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
