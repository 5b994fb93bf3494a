//! Places for those who follow runs: so many in all, and of them so many for each tenant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::{FOLLOWERS_MAX, FOLLOWERS_PER_TENANT_MAX};

/// Who follows runs now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Followers(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_tenant: HashMap<String, usize>,
}

/// A place, as long as it is held.
#[derive(Debug)]
pub(crate) struct Place {
    followers: Followers,
    tenant: String,
}

/// There is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// All are taken.
    Left,
    /// The tenant has as many as one may have.
    ForTenant,
}

impl Followers {
    /// A place for a client of this tenant.
    pub(crate) fn take(&self, tenant: &str) -> Result<Place, NoPlace> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= FOLLOWERS_MAX {
            return Err(NoPlace::Left);
        }
        let of_tenant = taken.by_tenant.get(tenant).copied().unwrap_or_default();
        if of_tenant >= FOLLOWERS_PER_TENANT_MAX {
            return Err(NoPlace::ForTenant);
        }
        taken.by_tenant.insert(tenant.to_owned(), of_tenant + 1);
        taken.all += 1;
        Ok(Place { followers: self.clone(), tenant: tenant.to_owned() })
    }

    /// How many places are taken.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.followers.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        let of_tenant = taken.by_tenant.get(&self.tenant).copied().unwrap_or_default();
        match of_tenant.checked_sub(1).filter(|left| *left > 0) {
            Some(left) => drop(taken.by_tenant.insert(self.tenant.clone(), left)),
            None => drop(taken.by_tenant.remove(&self.tenant)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tenant_leaves_places_to_others_and_nobody_leaves_a_trace() {
        let followers = Followers::default();
        let first: Vec<Place> = (0..FOLLOWERS_PER_TENANT_MAX).map(|_| followers.take("a").unwrap()).collect();
        assert_eq!(followers.take("a").unwrap_err(), NoPlace::ForTenant);
        let second: Vec<Place> = std::iter::from_fn(|| followers.take("b").ok()).collect();
        assert_eq!((second.len(), followers.count()), (FOLLOWERS_MAX - first.len(), FOLLOWERS_MAX));
        assert_eq!(followers.take("c").unwrap_err(), NoPlace::Left);
        drop((first, second));
        assert_eq!(followers.count(), 0);
        assert!(followers.0.lock().unwrap().by_tenant.is_empty());
    }
}
