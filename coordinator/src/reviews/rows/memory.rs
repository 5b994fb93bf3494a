//! Reviews in memory, for tests: beside the runs of the journal in memory.

use std::collections::{BTreeMap, BTreeSet};

use heddle_core::id::{ReviewId, RunId};
use heddle_core::partition::batch::{IdempotencyKey, KeyRow, ReviewRow, ReviewState, RunBatch};
use heddle_core::run::event::ReviewKind;
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;

use super::{ReviewCursor, ReviewFilter, ReviewRows, StoredReview};
use crate::auth::Tenant;
use crate::journal::Answer;
use crate::journal::limits::PAGE_ROWS_MAX;
use crate::journal::memory::{KeptKey, KeyNames, MemoryJournal, Tables, answer};

/// The table.
#[derive(Default)]
pub(crate) struct ReviewTable(BTreeMap<ReviewId, StoredReview>);

impl ReviewTable {
    /// Whether the rows of these runs follow what is there, each after those before it.
    pub(crate) fn follows(&self, runs: &[RunBatch]) -> bool {
        let mut new = BTreeSet::new();
        runs.iter().flat_map(|run| run.reviews.iter().map(|row| (run.run, row))).all(|(run, row)| match row.created {
            Some(_) => !self.0.contains_key(&row.review) && new.insert((row.review, run)),
            None => new.contains(&(row.review, run)) || self.0.get(&row.review).is_some_and(|known| known.run == run),
        })
    }

    /// Writes the rows of a run.
    pub(crate) fn write(&mut self, run: RunId, rows: Vec<ReviewRow>) {
        for row in rows {
            if let Some(created) = row.created {
                let stored = StoredReview {
                    review: row.review,
                    run,
                    created,
                    state: row.state,
                    assignees: Vec::new(),
                    due_at: None,
                    closed_at: None,
                    decided_by: None,
                    verdict: None,
                    told: Vec::new(),
                };
                self.0.insert(row.review, stored);
            }
            let Some(stored) = self.0.get_mut(&row.review) else { continue };
            if let Some(assignees) = row.assignees {
                (stored.assignees, stored.due_at) = (assignees, row.due_at);
            }
            (stored.state, stored.closed_at) = (row.state, row.closed_at);
            (stored.decided_by, stored.verdict) = (row.decided_by, row.verdict);
            stored.told.push(row.seq);
        }
    }

    /// A run is gone.
    pub(crate) fn forget(&mut self, run: RunId) {
        self.0.retain(|_, row| row.run != run);
    }

    /// A run is set aside: nobody need answer.
    pub(crate) fn withdraw(&mut self, run: RunId, now: Timestamp) {
        let open = self.0.values_mut().filter(|row| row.run == run && row.state == ReviewState::Open);
        open.for_each(|row| (row.state, row.closed_at) = (ReviewState::Withdrawn, Some(now)));
    }
}

impl Tables {
    /// Whether a review is one of this tenant's.
    fn review_of(&self, tenant: &Tenant, review: ReviewId) -> Option<&StoredReview> {
        self.reviews.0.get(&review).filter(|row| row.created.tenant == *tenant.id())
    }

    /// Whether there is such a review, whoever has it.
    #[cfg(test)]
    pub(crate) fn has_review(&self, review: ReviewId) -> bool {
        self.reviews.0.contains_key(&review)
    }

    /// All reviews and whose they are.
    #[cfg(test)]
    pub(crate) fn known_reviews(&self) -> Vec<(ReviewId, heddle_core::id::TenantId)> {
        self.reviews.0.iter().map(|(id, row)| (*id, row.created.tenant.clone())).collect()
    }

    /// Whether a run waits for people.
    pub(crate) fn has_open_review(&self, run: RunId) -> bool {
        self.reviews.0.values().any(|row| row.run == run && row.state == ReviewState::Open)
    }
}

impl ReviewRows for MemoryJournal {
    fn review(&self, tenant: Tenant, review: ReviewId) -> Answer<Option<StoredReview>> {
        answer(self.tables().review_of(&tenant, review).cloned())
    }

    fn reviews(&self, filter: ReviewFilter, cursor: Option<ReviewCursor>, limit: usize) -> Answer<Vec<StoredReview>> {
        let place = |row: &StoredReview| (row.created.opened_at, row.review);
        let is_named = |row: &StoredReview| {
            filter.assignee.as_ref().is_none_or(|it| row.assignees.is_empty() || row.assignees.contains(it))
        };
        let is_listed = |row: &&StoredReview| {
            row.created.tenant == *filter.tenant.id()
                && filter.state.is_none_or(|state| row.state == state)
                && is_named(row)
                && filter.workflow.is_none_or(|workflow| row.created.workflow == workflow)
                && filter.run.is_none_or(|run| row.run == run)
                && cursor.is_none_or(|cursor| place(row) > (cursor.opened_at, cursor.review))
        };
        let mut found: Vec<StoredReview> = self.tables().reviews.0.values().filter(is_listed).cloned().collect();
        found.sort_by_key(|row| place(row));
        found.truncate(limit.min(PAGE_ROWS_MAX));
        answer(found)
    }

    fn open_by_kind(&self) -> Answer<Vec<(ReviewKind, u64)>> {
        let mut counts = BTreeMap::new();
        let tables = self.tables();
        let open = tables.reviews.0.values().filter(|row| row.state == ReviewState::Open);
        open.for_each(|row| *counts.entry(row.created.kind).or_default() += 1);
        answer(counts.into_iter().collect())
    }

    fn take_key(&self, row: KeyRow, now: Timestamp) -> Answer<Option<Digest>> {
        let keys = &mut self.tables().keys;
        let known = keys.get(&row.key).filter(|kept| kept.is_alive(now)).map(|kept| kept.body);
        if known.is_none() {
            keys.insert(row.key, KeptKey { body: row.body, created_at: now, names: KeyNames::Decision });
        }
        answer(known)
    }

    fn free_key(&self, key: IdempotencyKey) -> Answer<()> {
        let keys = &mut self.tables().keys;
        if keys.get(&key).is_some_and(|kept| matches!(kept.names, KeyNames::Decision)) {
            keys.remove(&key);
        }
        answer(())
    }
}
