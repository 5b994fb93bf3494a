//! Results of nodes that runs of a tenant share (`policy.cache`). Partitions write them with the events that make them, and ask for
//! them by key; what is left is to answer, and to remove what is too old or too much.

pub(crate) mod memory;
mod postgres;
mod sqlite;

use heddle_core::id::TenantId;
use heddle_core::partition::io::Question;
use heddle_core::run::recall::CachedResult;
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;

use crate::auth::Tenant;
use crate::journal::{Answer, JournalError};
use crate::limits::{CACHE_ROWS_REMOVED_MAX, CACHE_TENANTS_MAX, CACHED_PER_TENANT_MAX};
use crate::shared::Shared;

/// What keeps shared results.
pub(crate) trait CacheRows: Send + Sync + 'static {
    /// The result of a key, unless it has expired at `now`.
    fn cached(&self, tenant: Tenant, key: Digest, now: Timestamp) -> Answer<Option<CachedResult>>;

    /// Removes at most `limit` results that have expired at `now`, of all tenants; says how many. Their artifacts are kept for
    /// another day: somebody may just have taken one.
    fn expire_cached(&self, now: Timestamp, limit: usize) -> Answer<usize>;

    /// At most `limit` tenants that have more than `rows_max` results.
    fn crowded_caches(&self, rows_max: usize, limit: usize) -> Answer<Vec<TenantId>>;

    /// Removes at most `limit` of a tenant's oldest results beyond `rows_max`, as [`CacheRows::expire_cached`] does.
    fn shorten_cache(&self, tenant: TenantId, rows_max: usize, now: Timestamp, limit: usize) -> Answer<usize>;
}

/// The answer to a partition's question; nothing where nobody knows. A node that is not found in the cache runs: that it cannot be
/// asked stops nobody.
pub(crate) async fn answer(shared: &Shared, question: &Question) -> Option<CachedResult> {
    let tenant = Tenant::of_question(question);
    let found = match shared.cache.cached(tenant, question.key, question.at).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, run = %question.run, "shared results could not be asked for; the node runs");
            None
        }
    };
    shared.metrics.cache_asked(found.is_some());
    found
}

/// Removes a page of results that are too old, and of those that are too many; whether there are more.
pub(crate) async fn tidy(shared: &Shared) -> Result<bool, JournalError> {
    let now = shared.clock.now();
    let mut has_more = shared.cache.expire_cached(now, CACHE_ROWS_REMOVED_MAX).await? == CACHE_ROWS_REMOVED_MAX;
    for tenant in shared.cache.crowded_caches(CACHED_PER_TENANT_MAX, CACHE_TENANTS_MAX).await? {
        let removed = shared.cache.shorten_cache(tenant, CACHED_PER_TENANT_MAX, now, CACHE_ROWS_REMOVED_MAX).await?;
        has_more |= removed == CACHE_ROWS_REMOVED_MAX;
    }
    Ok(has_more)
}
