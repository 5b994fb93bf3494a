//! Places of concurrency keys (graph.md, part 6; E26): how many attempts of a key are at work in all partitions together.
//!
//! One coordinator owns all partitions, so the count is one value. It is derived from the attempts that are out: a
//! partition says after each load which places its attempts hold, and until all have been loaded once nobody gets a place.
//! A place is taken when an attempt is decided, and free when the end of the attempt is durable: so what the journal says
//! is never more than what is counted here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Need;
use crate::concurrency::{ConcurrencyKey, ConcurrencyLimits};
use crate::fault::{Fault, is_planted};
use crate::id::{PartitionId, TenantId};
use crate::limits;

/// What attempts of a key share: a text, and whose it is unless it is all tenants'.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    text: Arc<str>,
    tenant: Option<TenantId>,
}

/// A place that was taken and not used yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceHeld {
    key: ConcurrencyKey,
    partition: PartitionId,
    /// Under which load of the partition: with another it is void.
    load: u64,
}

impl PlaceHeld {
    /// The key that it is a place of.
    pub(in crate::partition) fn into_key(self) -> ConcurrencyKey {
        self.key
    }
}

#[derive(Debug, Default)]
pub(super) struct Places {
    limits: ConcurrencyLimits,
    /// Partitions of whose attempts nothing is known yet.
    unread: BTreeSet<PartitionId>,
    loads: BTreeMap<PartitionId, u64>,
    taken: BTreeMap<Place, Taken>,
}

/// Who has the places of one key.
#[derive(Debug, Default)]
struct Taken {
    /// For attempts that are not decided yet.
    reserved: BTreeMap<PartitionId, u32>,
    /// For attempts that are, and whose end is not durable.
    held: BTreeMap<PartitionId, u32>,
    /// Whose turn it is: it had a place and no agent, and the next one is kept for it.
    claimed_by: Option<Need>,
}

impl Taken {
    fn count(&self) -> u32 {
        self.reserved.values().chain(self.held.values()).sum()
    }

    fn is_empty(&self) -> bool {
        self.reserved.is_empty() && self.held.is_empty() && self.claimed_by.is_none()
    }
}

impl Places {
    pub(super) fn new(limits: ConcurrencyLimits, partitions: impl IntoIterator<Item = PartitionId>) -> Self {
        Self { limits, unread: partitions.into_iter().collect(), ..Self::default() }
    }

    /// Which key's places an attempt takes.
    fn place(&self, key: &ConcurrencyKey) -> Place {
        let is_shared = !key.names_tenant && self.limits.of(&key.text).is_some();
        Place { text: key.text.clone(), tenant: (!is_shared).then(|| key.tenant.clone()) }
    }

    fn limit(&self, place: &Place) -> u32 {
        self.limits.of(&place.text).unwrap_or(limits::CONCURRENCY_DEFAULT)
    }

    /// Whether two keys share their places.
    pub(super) fn are_same(&self, a: &ConcurrencyKey, b: &ConcurrencyKey) -> bool {
        self.place(a) == self.place(b)
    }

    /// Whether a need has no key, or there is a place of it that is kept for nobody else.
    pub(super) fn have_room(&self, need: &Need) -> bool {
        let Some(key) = &need.key else { return true };
        let place = self.place(key);
        let (count, is_kept) = match self.taken.get(&place) {
            Some(taken) => (taken.count(), taken.claimed_by.as_ref().is_some_and(|claimant| claimant != need)),
            None => (0, false),
        };
        self.unread.is_empty() && count + u32::from(is_kept) < self.limit(&place)
    }

    /// How many places a key has, how many of them are taken, and whether all that is taken is known.
    pub(super) fn standing(&self, key: &ConcurrencyKey) -> (u32, u32, bool) {
        let place = self.place(key);
        let taken = self.taken.get(&place).map_or(0, Taken::count);
        (self.limit(&place), taken, self.unread.is_empty())
    }

    /// Takes a place for a need that has a key.
    pub(super) fn take(&mut self, partition: PartitionId, need: &Need) -> Option<PlaceHeld> {
        let key = need.key.clone()?;
        let place = self.place(&key);
        let taken = self.taken.entry(place).or_default();
        *taken.reserved.entry(partition).or_default() += 1;
        taken.claimed_by.take_if(|claimant| claimant == need);
        let load = self.loads.get(&partition).copied().unwrap_or_default();
        Some(PlaceHeld { key, partition, load })
    }

    /// The next free place is kept for a need that has found one and no agent: so it is not passed by for ever.
    pub(super) fn claim(&mut self, need: &Need) {
        let Some(key) = &need.key else { return };
        let place = self.place(key);
        self.taken.entry(place).or_default().claimed_by.get_or_insert_with(|| need.clone());
    }

    /// Nobody is kept a place for that does not wait any more, or has nobody to run it.
    pub(super) fn drop_claims(&mut self, is_over: impl Fn(&Need) -> bool) {
        self.taken.retain(|_, taken| {
            taken.claimed_by.take_if(|need| is_over(need));
            !taken.is_empty()
        });
    }

    /// Whether a place was taken under the partition's present load.
    pub(super) fn is_valid(&self, held: &PlaceHeld) -> bool {
        self.loads.get(&held.partition).copied().unwrap_or_default() == held.load
    }

    /// An attempt was decided on a place.
    pub(super) fn used(&mut self, held: &PlaceHeld) {
        self.returned(held);
        self.hold(held.partition, &held.key, 1);
    }

    /// A place was not used.
    pub(super) fn returned(&mut self, held: &PlaceHeld) {
        if self.is_valid(held) {
            self.change(&held.key, |taken| subtract(&mut taken.reserved, held.partition));
        }
    }

    /// Attempts of a partition hold places.
    pub(super) fn hold(&mut self, partition: PartitionId, key: &ConcurrencyKey, count: u32) {
        let place = self.place(key);
        *self.taken.entry(place).or_default().held.entry(partition).or_default() += count;
    }

    /// The end of an attempt is durable.
    pub(super) fn free(&mut self, partition: PartitionId, key: &ConcurrencyKey) {
        self.change(key, |taken| subtract(&mut taken.held, partition));
    }

    /// A new load of a partition begins: what it was promised is void. What its attempts hold is not, for they are out.
    pub(super) fn begin(&mut self, partition: PartitionId) {
        *self.loads.entry(partition).or_default() += 1;
        self.take_out(|taken| &mut taken.reserved, partition);
    }

    /// A partition is read: these are the places that its attempts hold.
    pub(super) fn read<'a>(&mut self, partition: PartitionId, held: impl Iterator<Item = &'a ConcurrencyKey>) {
        self.take_out(|taken| &mut taken.held, partition);
        if !is_planted(Fault::PlacesForgotten) {
            held.for_each(|key| self.hold(partition, key, 1));
        }
        self.unread.remove(&partition);
    }

    /// Takes a partition out of one count of each key.
    fn take_out(&mut self, count: fn(&mut Taken) -> &mut BTreeMap<PartitionId, u32>, partition: PartitionId) {
        for taken in self.taken.values_mut() {
            count(taken).remove(&partition);
        }
        self.taken.retain(|_, taken| !taken.is_empty());
    }

    fn change(&mut self, key: &ConcurrencyKey, change: impl FnOnce(&mut Taken)) {
        let place = self.place(key);
        if let Some(taken) = self.taken.get_mut(&place) {
            change(taken);
            if taken.is_empty() {
                self.taken.remove(&place);
            }
        }
    }
}

fn subtract(counts: &mut BTreeMap<PartitionId, u32>, partition: PartitionId) {
    if let Some(count) = counts.get_mut(&partition) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(&partition);
        }
    }
}
