//! Plain rows: workflows, graphs, keys and node types (E29). Whichever coordinator is asked writes them, each in one
//! guarded transaction; they take no part in the runs' batches.

pub(crate) mod memory;
pub(crate) mod postgres;
mod save;
pub(crate) mod sqlite;

use std::sync::Arc;

use bytes::Bytes;
use heddle_core::id::{KeyId, RunId, Subject, TenantId, WorkflowId};
use heddle_core::partition::batch::KeyRow;
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;

use crate::auth::Tenant;
use crate::journal::Answer;

/// What keeps plain rows.
pub trait Records: Send + Sync + 'static {
    /// Keeps a graph under its digest; keeping it again changes nothing. Digests are addresses within a tenant (E18).
    fn put_graph(&self, tenant: Tenant, digest: Digest, graph: GraphText) -> Answer<()>;

    /// A tenant's graph of this digest.
    fn graph(&self, tenant: Tenant, digest: Digest) -> Answer<Option<GraphText>>;

    /// Creates or replaces a workflow, and keeps the version. The graph must be kept already.
    fn save_workflow(&self, save: SaveWorkflow) -> Answer<Saved>;

    /// A workflow of a tenant.
    fn workflow(&self, tenant: Tenant, id: WorkflowId) -> Answer<Option<WorkflowRow>>;

    /// A page of a tenant's workflows, the youngest change first.
    fn workflows(&self, tenant: Tenant, page: WorkflowPage) -> Answer<Vec<WorkflowRow>>;

    /// A page of a workflow's versions, the newest first: those older than `before`, if it is given.
    fn versions(
        &self,
        tenant: Tenant,
        workflow: WorkflowId,
        before: Option<u64>,
        limit: usize,
    ) -> Answer<Vec<VersionRow>>;

    /// One version of a workflow.
    fn version(&self, tenant: Tenant, workflow: WorkflowId, version: u64) -> Answer<Option<VersionRow>>;

    /// The versions of a workflow that have this graph, the newest first, with the instants since when; at most
    /// [`crate::limits::VERSIONS_OF_GRAPH_MAX`].
    fn versions_of_graph(&self, tenant: Tenant, workflow: WorkflowId, graph: Digest) -> Answer<Vec<(u64, Timestamp)>>;

    /// Removes a workflow with its versions; its runs stay. `false` = there was none.
    fn delete_workflow(&self, tenant: Tenant, id: WorkflowId) -> Answer<bool>;

    /// The key whose MAC this is, if it is not revoked and its tenant is open.
    fn api_key(&self, mac: Digest) -> Answer<Option<ApiKeyRow>>;

    /// Keeps a new key. `false` = only a first key was asked for, and there is one already. The first key's tenant comes
    /// with it; any other must be there.
    fn put_api_key(&self, mac: Digest, row: ApiKeyRow, only_first: bool) -> Answer<bool>;

    /// All keys of a tenant, the youngest first; revoked ones, too.
    fn api_keys(&self, tenant: Tenant) -> Answer<Vec<ApiKeyRow>>;

    /// Ends a tenant's key; gives the row as it is now, if there is such a key. An end is never put off.
    fn end_api_key(&self, tenant: Tenant, id: KeyId, end: KeyEnd) -> Answer<Option<ApiKeyRow>>;

    /// Notes that a key was used at this instant.
    fn note_key_use(&self, tenant: Tenant, id: KeyId, at: Timestamp) -> Answer<()>;

    /// Keeps a new tenant. `false` = there is one with this id.
    fn put_tenant(&self, row: TenantRow) -> Answer<bool>;

    /// All tenants, by their ids.
    fn tenants(&self) -> Answer<Vec<TenantRow>>;

    /// A tenant.
    fn tenant(&self, tenant: Tenant) -> Answer<Option<TenantRow>>;

    /// Renames, closes or opens a tenant; gives the row as it is now, if there is one.
    fn change_tenant(&self, tenant: Tenant, change: TenantChange) -> Answer<Option<TenantRow>>;

    /// Notes to which family a run belongs, before it begins. Noting it again changes nothing.
    fn put_relative(&self, tenant: Tenant, relative: Relative) -> Answer<()>;

    /// The runs that go on from `root` or from each other, in the order of their ids, from the first after `after` on. Some may
    /// never have begun.
    fn relatives(&self, tenant: Tenant, root: RunId, after: RunId, limit: usize) -> Answer<Vec<RunId>>;

    /// Of these runs those that go on from others, in the order of their ids.
    fn kin(&self, tenant: Tenant, runs: Vec<RunId>) -> Answer<Vec<Relative>>;

    /// Keeps node type manifests; the newest version of each id counts. Ones that are kept already change nothing.
    fn put_node_types(&self, manifests: Vec<ManifestRow>) -> Answer<()>;

    /// The newest manifest of each id.
    fn node_types(&self) -> Answer<Vec<ManifestRow>>;
}

/// Where a run stands in its family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relative {
    /// The first run.
    pub root: RunId,
    /// The run.
    pub run: RunId,
    /// The one that it goes on from; unknown of runs of old formats.
    pub parent: Option<RunId>,
}

/// A graph as it is kept: the texts of the two arrays, and of the policy (E31).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphText {
    /// The array of nodes.
    pub nodes: Bytes,
    /// The array of edges.
    pub edges: Bytes,
    /// The workflow's policy; empty if it has none.
    pub policy: Bytes,
}

/// Which workflows of a tenant a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkflowPage {
    /// Only those that may be executed, or only those that may not.
    pub is_active: Option<bool>,
    /// Only those that follow the one of this `updated_at` and id.
    pub after: Option<(Timestamp, WorkflowId)>,
    /// At most so many.
    pub limit: usize,
}

/// A workflow's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowRow {
    /// Which workflow.
    pub id: WorkflowId,
    /// Whose.
    pub tenant: TenantId,
    /// For people.
    pub name: Arc<str>,
    /// For people.
    pub description: Option<Arc<str>>,
    /// For people's filters.
    pub tags: Vec<Arc<str>>,
    /// Whether it may be executed.
    pub is_active: bool,
    /// Its newest version, from 1; raised when the graph changes.
    pub version: u64,
    /// Its newest graph.
    pub graph: Digest,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was changed last: strictly later at each change, and what a conditional write compares.
    pub updated_at: Timestamp,
    /// Runs that were started.
    pub execution_count: u64,
    /// When the last of them was.
    pub last_executed_at: Option<Timestamp>,
}

/// One saved graph of a workflow. It never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRow {
    /// From 1, without gaps.
    pub version: u64,
    /// The graph.
    pub graph: Digest,
    /// Who saved it.
    pub subject: Subject,
    /// When.
    pub created_at: Timestamp,
}

/// A write to a workflow. Absent fields keep what is stored; on creation they are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaveWorkflow {
    /// Whose.
    pub tenant: Tenant,
    /// Which; a new id creates it.
    pub id: WorkflowId,
    /// Refuses to create.
    pub must_exist: bool,
    /// For people; needed to create.
    pub name: Option<Arc<str>>,
    /// `Some(None)` removes it.
    pub description: Option<Option<Arc<str>>>,
    /// For people's filters.
    pub tags: Option<Vec<Arc<str>>>,
    /// Whether it may be executed; true on creation.
    pub is_active: Option<bool>,
    /// A new graph; needed to create.
    pub graph: Option<Digest>,
    /// Refuses if the stored `updated_at` is another.
    pub base_updated_at: Option<Timestamp>,
    /// Database time, as the caller knows it.
    pub now: Timestamp,
    /// Its runs, as the caller has counted them for the answer: a repeated request gets the same.
    pub usage: Usage,
    /// A request with this key is done once: the row it left is answered again for 24 h.
    pub key: Option<KeyRow>,
    /// Who asks.
    pub subject: Subject,
}

/// Runs of a workflow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many were started.
    pub execution_count: u64,
    /// When the last of them was.
    pub last_executed_at: Option<Timestamp>,
}

/// What became of a write to a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saved {
    /// It is stored.
    Done {
        /// As it is now.
        row: WorkflowRow,
        /// Whether it is new.
        created: bool,
    },
    /// An earlier request with the same key and body had done it.
    Replayed {
        /// As that request left it.
        row: WorkflowRow,
        /// Whether that request had created it.
        created: bool,
    },
    /// The key came with another body before.
    KeyMismatch,
    /// Somebody else changed it since.
    Stale {
        /// When.
        updated_at: Timestamp,
    },
    /// There is none, and none may be created.
    NotFound,
}

/// An API key, without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRow {
    /// Its public name.
    pub id: KeyId,
    /// Whose data it opens.
    pub tenant: TenantId,
    /// Who stands behind it.
    pub subject: Subject,
    /// What it may do.
    pub scopes: Vec<Arc<str>>,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it does not work any more, whatever `expires_at` says.
    pub revoked_at: Option<Timestamp>,
    /// The beginning and the end of its text, by which people tell keys apart.
    pub hint: Arc<str>,
    /// When it was used last, give or take a minute.
    pub last_used_at: Option<Timestamp>,
}

/// A tenant's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRow {
    /// What rows and calls name it by.
    pub id: TenantId,
    /// For people.
    pub name: Arc<str>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when its keys do not work.
    pub closed_at: Option<Timestamp>,
}

/// What becomes of a tenant; what is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TenantChange {
    /// Its new name.
    pub name: Option<Arc<str>>,
    /// `Some(Some(at))` closes it, if it is open; `Some(None)` opens it.
    pub closed_at: Option<Option<Timestamp>>,
}

/// How a key comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyEnd {
    /// Now, at this instant.
    Revoked(Timestamp),
    /// At this instant, or when it would have expired anyway.
    Expires(Timestamp),
}

/// A node type's manifest, as an agent brought it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestRow {
    /// The type.
    pub id: Arc<str>,
    /// Its version.
    pub version: u32,
    /// SHA-256 of `json`.
    pub digest: Digest,
    /// The manifest.
    pub json: Bytes,
}
