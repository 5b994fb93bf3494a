//! Shared results in memory, for tests.

use std::collections::BTreeMap;

use heddle_core::id::TenantId;
use heddle_core::partition::batch::CacheRow;
use heddle_core::run::recall::CachedResult;
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;

use super::CacheRows;
use crate::auth::Tenant;
use crate::journal::Answer;
use crate::journal::limits::PAGE_ROWS_MAX;
use crate::journal::memory::{MemoryJournal, Tables, answer};

type Address = (TenantId, Digest);

/// The table.
#[derive(Default)]
pub(crate) struct CacheTable(BTreeMap<Address, CachedResult>);

impl CacheTable {
    /// What a batch writes.
    pub(crate) fn write(&mut self, rows: Vec<CacheRow>) {
        self.0.extend(rows.into_iter().map(|row| ((row.tenant, row.result.key), row.result)));
    }

    /// Whether a shared result needs an artifact.
    pub(crate) fn needs(&self, tenant: &TenantId, digest: Digest) -> bool {
        let of_tenant = self.0.iter().filter(|((whose, _), _)| whose == tenant);
        let mut values = of_tenant.flat_map(|(_, result)| &result.outputs);
        values.any(|(_, value)| value.artifact().is_some_and(|artifact| artifact.digest == digest))
    }
}

impl Tables {
    /// Whether there is a result of this key, whoever has it.
    #[cfg(test)]
    pub(crate) fn has_cached(&self, key: Digest) -> bool {
        self.cache.0.keys().any(|(_, known)| *known == key)
    }

    /// An artifact that a shared result needs.
    #[cfg(test)]
    pub(crate) fn shared_artifact(&self) -> Option<(Tenant, Digest)> {
        let mut artifacts = self.cache.0.iter().flat_map(|((tenant, _), result)| {
            let artifacts = result.outputs.iter().filter_map(|(_, value)| value.artifact());
            artifacts.map(move |artifact| (Tenant::of_test(tenant.clone()), artifact.digest))
        });
        artifacts.next()
    }

    fn remove_cached(&mut self, gone: &[Address], now: Timestamp) {
        for address in gone {
            let Some(result) = self.cache.0.remove(address) else { continue };
            for artifact in result.outputs.iter().filter_map(|(_, value)| value.artifact()) {
                self.artifacts.touch(&address.0, artifact.digest, now);
            }
        }
    }
}

impl CacheRows for MemoryJournal {
    fn cached(&self, tenant: Tenant, key: Digest, now: Timestamp) -> Answer<Option<CachedResult>> {
        let tables = self.tables();
        let found = tables.cache.0.get(&(tenant.id().clone(), key));
        answer(found.filter(|result| result.expires_at > now).cloned())
    }

    fn expire_cached(&self, now: Timestamp, limit: usize) -> Answer<usize> {
        let mut tables = self.tables();
        let gone = tables.cache.0.iter().filter(|(_, result)| result.expires_at <= now);
        let mut gone: Vec<_> = gone.map(|(address, result)| (result.expires_at, address.clone())).collect();
        gone.sort();
        gone.truncate(limit.min(PAGE_ROWS_MAX));
        let gone: Vec<Address> = gone.into_iter().map(|(_, address)| address).collect();
        tables.remove_cached(&gone, now);
        answer(gone.len())
    }

    fn crowded_caches(&self, rows_max: usize, limit: usize) -> Answer<Vec<TenantId>> {
        let mut counts: BTreeMap<TenantId, usize> = BTreeMap::new();
        for (tenant, _) in self.tables().cache.0.keys() {
            *counts.entry(tenant.clone()).or_default() += 1;
        }
        let crowded = counts.into_iter().filter(|(_, count)| *count > rows_max).map(|(tenant, _)| tenant);
        answer(crowded.take(limit.min(PAGE_ROWS_MAX)).collect())
    }

    fn shorten_cache(&self, tenant: TenantId, rows_max: usize, now: Timestamp, limit: usize) -> Answer<usize> {
        let mut tables = self.tables();
        let its = tables.cache.0.iter().filter(|((whose, _), _)| *whose == tenant);
        let mut its: Vec<_> = its.map(|(address, result)| (result.made_at, address.clone())).collect();
        // The youngest first.
        its.sort_by(|a, b| b.cmp(a));
        let gone = its.into_iter().skip(rows_max).take(limit.min(PAGE_ROWS_MAX));
        let gone: Vec<Address> = gone.map(|(_, address)| address).collect();
        tables.remove_cached(&gone, now);
        answer(gone.len())
    }
}
