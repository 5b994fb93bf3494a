//! Workflows at hand: every execution asks for its workflow's row, and few of them change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use heddle_core::id::WorkflowId;

use crate::auth::Tenant;
use crate::journal::JournalError;
use crate::limits::WORKFLOW_CACHE_MAX;
use crate::records::{Records, WorkflowRow};

/// Rows that were read lately. Every write of this coordinator goes past here, and makes it forget.
pub(crate) struct Workflows {
    records: Arc<dyn Records>,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    rows: HashMap<(Tenant, WorkflowId), WorkflowRow>,
    /// Counts writes, so that a row that was read before one is not kept after it.
    writes: u64,
}

impl Workflows {
    pub(crate) fn new(records: Arc<dyn Records>) -> Self {
        Self { records, cache: Mutex::default() }
    }

    /// A tenant's workflow. Counts of its runs are not filled in.
    pub(crate) async fn get(&self, tenant: &Tenant, id: WorkflowId) -> Result<Option<WorkflowRow>, JournalError> {
        let key = (tenant.clone(), id);
        let writes = {
            let cache = self.lock();
            if let Some(row) = cache.rows.get(&key) {
                return Ok(Some(row.clone()));
            }
            cache.writes
        };
        let found = self.records.workflow(tenant.clone(), id).await?;
        let mut cache = self.lock();
        if let Some(row) = found.as_ref().filter(|_| cache.writes == writes) {
            if cache.rows.len() >= WORKFLOW_CACHE_MAX {
                cache.rows.clear();
            }
            cache.rows.insert(key, row.clone());
        }
        Ok(found)
    }

    /// A workflow was written, or may have been.
    pub(crate) fn changed(&self, tenant: &Tenant, id: WorkflowId) {
        let mut cache = self.lock();
        cache.writes += 1;
        cache.rows.remove(&(tenant.clone(), id));
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
