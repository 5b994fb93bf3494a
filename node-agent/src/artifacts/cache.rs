//! Values that were fetched a moment ago, by digest: several nodes of a run often need the same one.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use heddle_artifacts::Digest;

use crate::limits::FETCHED_KEPT_BYTES_MAX;

/// The youngest values, within a budget of bytes.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// With the tenant: a digest is an address within one only (E18).
    values: HashMap<(String, Digest), Bytes>,
    order: VecDeque<(String, Digest)>,
    bytes: usize,
}

impl Cache {
    pub(super) fn get(&self, tenant: &str, digest: Digest) -> Option<Bytes> {
        self.values.get(&(tenant.to_owned(), digest)).cloned()
    }

    /// Keeps a value, unless it would leave room for few others.
    pub(super) fn put(&mut self, tenant: &str, digest: Digest, value: &Bytes) {
        let key = (tenant.to_owned(), digest);
        if value.len() > FETCHED_KEPT_BYTES_MAX / 2 || self.values.contains_key(&key) {
            return;
        }
        self.bytes += value.len();
        self.order.push_back(key.clone());
        self.values.insert(key, value.clone());
        while self.bytes > FETCHED_KEPT_BYTES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= self.values.remove(&oldest).map_or(0, |value| value.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_bounded_and_knows_tenants() {
        let mut cache = Cache::default();
        let value = Bytes::from(vec![b'1'; FETCHED_KEPT_BYTES_MAX / 3]);
        let digest = |number| Digest([number; 32]);
        for number in 0..4 {
            cache.put("a", digest(number), &value);
        }
        assert!(cache.get("a", digest(0)).is_none() && cache.get("a", digest(3)).is_some());
        assert!(cache.get("b", digest(3)).is_none());
        assert!(cache.bytes <= FETCHED_KEPT_BYTES_MAX && cache.values.len() == cache.order.len());
        cache.put("a", digest(9), &Bytes::from(vec![b'1'; FETCHED_KEPT_BYTES_MAX]));
        assert!(cache.get("a", digest(9)).is_none());
    }
}
