//! Operations on reviews, whose rows commits write beside the events of their runs.

use std::sync::Arc;

use heddle_core::id::{BatchNumber, EventSeq, ReviewId, ReviewIx, RunId};
use heddle_core::partition::batch::{Batch, Beside, CommitOutcome, ReviewCreated, ReviewRow, ReviewState};
use heddle_core::run::event::{ReviewKind, ReviewVerdict};

use super::super::testing::commit;
use super::{Pair, same};
use crate::auth::Tenant;
use crate::journal::Journal as _;
use crate::reviews::rows::{ReviewCursor, ReviewFilter, ReviewRows as _};

pub(super) const OPERATIONS: &[&str] = &[
    "commit with reviews",
    "commit with reviews that do not follow",
    "review",
    "review of another tenant",
    "reviews",
    "reviews of an assignee",
    "open_by_kind",
    "take_key",
    "free_key",
    "quarantine with reviews",
];

impl Pair {
    pub(super) async fn perform_on_reviews(&mut self, operation: &str) -> bool {
        let (tenant, run) = (self.draw.tenant(), self.run());
        let id = ReviewId::of(run, ReviewIx(self.draw.below(3) as u32));
        match operation {
            "commit with reviews" => self.commit_reviews().await == CommitOutcome::Applied { quarantined: Vec::new() },
            "commit with reviews that do not follow" => self.commit_reviews().await == CommitOutcome::Refused,
            "review" | "review of another tenant" => {
                // Few ids that are drawn are those of a review, and of this tenant's.
                let known = self.model.tables().known_reviews();
                let one = (operation == "review" && !known.is_empty()).then(|| self.draw.below(known.len() as u64));
                let (id, tenant) = match one.and_then(|one| known.into_iter().nth(one as usize)) {
                    Some((id, tenant)) => (id, Tenant::of_test(tenant)),
                    None => (id, tenant),
                };
                let found = same!(self, review(tenant, id)).unwrap();
                let is_known = self.model.tables().has_review(id);
                match operation {
                    "review" => found.is_some_and(|row| row.verdict.is_some() && !row.assignees.is_empty()),
                    _ => is_known && found.is_none(),
                }
            }
            "reviews" | "reviews of an assignee" => {
                let (state, assignee) = (self.review_state(), self.assignee());
                let (workflow, limit) = (self.draw.workflow(), 1 + self.draw.below(5) as usize);
                let is_named = operation == "reviews of an assignee";
                let filter = ReviewFilter {
                    tenant,
                    state: self.draw.maybe(state),
                    assignee: is_named.then_some(assignee),
                    workflow: self.draw.rarely(workflow),
                    run: self.draw.rarely(run),
                };
                let cursor = ReviewCursor { opened_at: self.draw.time_near(self.clock.now()), review: id };
                let cursor = self.draw.rarely(cursor);
                let found = same!(self, reviews(filter, cursor, limit)).unwrap();
                found.len() > 1 && (!is_named || found.iter().any(|row| !row.assignees.is_empty()))
            }
            "open_by_kind" => same!(self, open_by_kind()).unwrap().iter().any(|(_, count)| *count > 1),
            "take_key" => {
                let (row, now) = (self.key(), self.draw.time_near(self.clock.now()));
                same!(self, take_key(row, now)).unwrap().is_some()
            }
            "free_key" => {
                let (row, now) = (self.key(), self.clock.now());
                let taken = same!(self, take_key(row.clone(), now)).unwrap();
                same!(self, free_key(row.key.clone())).unwrap();
                same!(self, take_key(row, now)).unwrap().is_none() && taken.is_none()
            }
            "quarantine with reviews" => {
                let (partition, epoch) = self.partition();
                let before = self.model.tables().has_open_review(run);
                let reason: Arc<str> = self.draw.text().into();
                same!(self, quarantine(partition, epoch, run, reason)).unwrap() && before
            }
            unknown => panic!("{unknown} is not an operation"),
        }
    }

    async fn commit_reviews(&mut self) -> CommitOutcome {
        let (partition, epoch) = self.partition();
        let number = BatchNumber(self.draw.below(100));
        let mut lasts = self.runs.clone();
        let mut runs: Vec<_> = (0..=self.draw.below(2)).map(|_| self.run_batch(&mut lasts, "commit")).collect();
        for batch in &mut runs {
            batch.reviews = (0..self.draw.below(4)).map(|_| self.review_row(batch.run)).collect();
        }
        let batch = Batch { partition, epoch, number, runs, beside: Beside::default() };
        let model = commit(&self.model, batch.clone()).await;
        let database = commit(self.database(), batch.clone()).await;
        assert_eq!(database, model, "{batch:?}");
        if model.outcome != CommitOutcome::Refused {
            self.runs = lasts;
        }
        model.outcome
    }

    fn assignee(&mut self) -> Arc<str> {
        self.draw.one_of(&["ann", "an", "bea %_"]).into()
    }

    fn review_state(&mut self) -> ReviewState {
        self.draw.one_of(&[ReviewState::Open, ReviewState::Decided, ReviewState::Withdrawn])
    }

    fn review_row(&mut self, run: RunId) -> ReviewRow {
        let now = self.clock.now();
        let ordinal = ReviewIx(self.draw.below(3) as u32);
        let kinds = [ReviewKind::Value, ReviewKind::Before, ReviewKind::After, ReviewKind::Outcome];
        let verdicts = [ReviewVerdict::Approve, ReviewVerdict::Reject, ReviewVerdict::Retry, ReviewVerdict::Fail];
        let created = ReviewCreated {
            tenant: self.draw.tenant().id().clone(),
            workflow: self.draw.workflow(),
            ordinal,
            node: self.draw.text().as_str().into(),
            index: (0..self.draw.below(3)).map(|_| self.draw.below(900) as u32).collect(),
            kind: self.draw.one_of(&kinds),
            opened_at: now,
        };
        let is_known = self.model.tables().has_review(ReviewId::of(run, ordinal));
        // Mostly what follows.
        let is_new = if self.draw.below(6) == 0 { is_known } else { !is_known };
        let people = (0..self.draw.below(3)).map(|_| self.assignee()).collect();
        let (due_at, closed_at) = (self.draw.time_near(now), self.draw.time_near(now));
        let (by, verdict) = (self.draw.text().as_str().into(), self.draw.one_of(&verdicts));
        ReviewRow {
            review: ReviewId::of(run, ordinal),
            seq: EventSeq(self.draw.below(900)),
            created: is_new.then_some(created),
            state: self.review_state(),
            assignees: self.draw.maybe(people),
            due_at: self.draw.maybe(due_at),
            closed_at: self.draw.maybe(closed_at),
            decided_by: self.draw.maybe(by),
            verdict: self.draw.maybe(verdict),
            opened_at: None,
        }
    }
}
