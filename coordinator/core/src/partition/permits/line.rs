//! Who waits for permits: a line for each need, in which tenants are served evenly, and partitions of a tenant in turn.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Need;
use crate::concurrency::ConcurrencyKey;
use crate::id::{PartitionId, TenantId};

/// All lines. What one operation costs depends on the number of needs, not on how many tenants or permits are waited for.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: BTreeMap<Need, Line>,
    tenants: BTreeMap<TenantId, Standing>,
    /// Permits dealt so far, to tell which need's turn it is.
    dealt: u64,
}

/// A tenant that waits somewhere.
#[derive(Debug)]
struct Standing {
    /// Permits it was dealt; who comes anew begins where the least served stands, so nobody saves up or is in debt.
    served: u64,
    /// Lines it stands in.
    lines: usize,
}

/// Who waits for one kind of permit.
#[derive(Debug, Default)]
struct Line {
    /// The least served first.
    order: BTreeSet<(u64, TenantId)>,
    shares: BTreeMap<TenantId, Share>,
}

/// What one tenant waits for in one line.
#[derive(Debug, Default)]
struct Share {
    turns: VecDeque<PartitionId>,
    wanted: BTreeMap<PartitionId, u32>,
    /// When it was served last, in permits dealt.
    last: u64,
}

impl Lines {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// What is waited for.
    pub(super) fn needs(&self) -> impl Iterator<Item = &Need> {
        self.lines.keys()
    }

    /// How many permits are waited for in each line.
    pub(super) fn wanted(&self) -> impl Iterator<Item = (&Need, u32)> {
        let wanted = |line: &Line| line.shares.values().flat_map(|share| share.wanted.values()).sum();
        self.lines.iter().map(move |(need, line)| (need, wanted(line)))
    }

    /// Concurrency keys of which a place is waited for by what may go on.
    pub(super) fn keys(&self, may: impl Fn(&Need) -> bool) -> impl Iterator<Item = &ConcurrencyKey> {
        self.lines.keys().filter(move |need| may(need)).filter_map(|need| need.key.as_ref())
    }

    pub(super) fn has(&self, need: &Need) -> bool {
        self.lines.contains_key(need)
    }

    pub(super) fn want(&mut self, partition: PartitionId, tenant: &TenantId, need: &Need, count: u32) {
        if count == 0 {
            let share = self.lines.get_mut(need).and_then(|line| line.shares.get_mut(tenant));
            if let Some(share) = share
                && share.wanted.remove(&partition).is_some()
            {
                share.turns.retain(|other| *other != partition);
                self.leave_if_done(tenant, need);
            }
            return;
        }
        if !self.lines.get(need).is_some_and(|line| line.shares.contains_key(tenant)) {
            self.enter(tenant, need);
        }
        let share = self.lines.get_mut(need).and_then(|line| line.shares.get_mut(tenant));
        if let Some(share) = share
            && share.wanted.insert(partition, count).is_none()
        {
            share.turns.push_back(partition);
        }
    }

    pub(super) fn forget(&mut self, partition: PartitionId) {
        let places = self.lines.iter().flat_map(|(need, line)| {
            let waiting = line.shares.iter().filter(|(_, share)| share.wanted.contains_key(&partition));
            waiting.map(|(tenant, _)| (need.clone(), tenant.clone()))
        });
        for (need, tenant) in places.collect::<Vec<_>>() {
            self.want(partition, &tenant, &need, 0);
        }
    }

    /// Which of these needs has the least served tenant in its line; of several, the one in which it waits for the longest.
    pub(super) fn least_served(&self, needs: &[Need]) -> Option<usize> {
        let place = |(place, need)| {
            let line = self.lines.get(need)?;
            let first = line.order.first()?;
            Some((first, line.shares.get(&first.1)?.last, place))
        };
        needs.iter().enumerate().filter_map(place).min().map(|(.., place)| place)
    }

    /// Whose turn it is in this line; counts one permit off, and against the tenant.
    pub(super) fn next(&mut self, need: &Need) -> Option<(PartitionId, TenantId)> {
        let line = self.lines.get_mut(need)?;
        let (_, tenant) = line.order.first()?.clone();
        self.dealt += 1;
        let share = line.shares.get_mut(&tenant)?;
        share.last = self.dealt;
        let partition = share.next()?;
        self.leave_if_done(&tenant, need);
        self.charge(&tenant);
        Some((partition, tenant))
    }

    fn charge(&mut self, tenant: &TenantId) {
        let Some(standing) = self.tenants.get_mut(tenant) else { return };
        let before = standing.served;
        standing.served += 1;
        for line in self.lines.values_mut() {
            if line.order.remove(&(before, tenant.clone())) {
                line.order.insert((before + 1, tenant.clone()));
            }
        }
    }

    fn enter(&mut self, tenant: &TenantId, need: &Need) {
        let least = || self.lines.values().filter_map(|line| line.order.first()).map(|(served, _)| *served).min();
        let served = match self.tenants.get(tenant) {
            Some(standing) => standing.served,
            None => least().unwrap_or_default(),
        };
        self.tenants.entry(tenant.clone()).or_insert(Standing { served, lines: 0 }).lines += 1;
        if !self.lines.contains_key(need) {
            self.lines.insert(need.clone(), Line::default());
        }
        if let Some(line) = self.lines.get_mut(need) {
            line.order.insert((served, tenant.clone()));
            line.shares.insert(tenant.clone(), Share::default());
        }
    }

    fn leave_if_done(&mut self, tenant: &TenantId, need: &Need) {
        let Some(line) = self.lines.get_mut(need) else { return };
        if line.shares.get(tenant).is_none_or(|share| !share.turns.is_empty()) {
            return;
        }
        line.shares.remove(tenant);
        if let Some(standing) = self.tenants.get_mut(tenant) {
            line.order.remove(&(standing.served, tenant.clone()));
            standing.lines -= 1;
            if standing.lines == 0 {
                self.tenants.remove(tenant);
            }
        }
        if line.shares.is_empty() {
            self.lines.remove(need);
        }
    }
}

impl Share {
    fn next(&mut self) -> Option<PartitionId> {
        let partition = self.turns.pop_front()?;
        let left = self.wanted.get_mut(&partition).map_or(0, |wanted| {
            *wanted = wanted.saturating_sub(1);
            *wanted
        });
        if left == 0 {
            self.wanted.remove(&partition);
        } else {
            self.turns.push_back(partition);
        }
        Some(partition)
    }
}
