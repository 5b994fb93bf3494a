//! What must hold of reviews: each is decided once, by as many people as it asks for, and by nobody after its end.

use std::collections::BTreeSet;

use heddle_core::id::{Instance, ReviewIx, RunId, Subject};
use heddle_core::policy::ReviewWhen;
use heddle_core::run::OpenReview;
use heddle_core::run::event::{Attempt, ReviewOutcome, ReviewVerdict, Reviewed};

use super::check::Checker;

/// What is durable of a review.
#[derive(Debug, Default)]
pub(super) struct ReviewAccount {
    instance: Option<Instance>,
    is_closed: bool,
    approved: BTreeSet<Subject>,
}

impl Checker {
    /// Whether people look at what this attempt gave before it is committed.
    pub(super) fn is_looked_at(&self, run: RunId, attempt: &Attempt) -> bool {
        let fold = self.runs.get(&run).and_then(|account| account.fold.as_ref());
        let node = fold.map(|fold| fold.graph().node(attempt.instance.node));
        node.is_some_and(|node| node.policy.review == Some(ReviewWhen::After))
    }

    /// A review that waits for people, as far as that is durable.
    pub(super) fn open_review(&self, run: RunId, review: ReviewIx) -> Option<&OpenReview> {
        let account = self.runs.get(&run).filter(|account| !account.is_quarantined)?;
        account.fold.as_ref()?.open_review(review)
    }

    /// The type of an instance's node.
    pub(super) fn kind_of(&self, run: RunId, instance: Instance) -> &str {
        let fold = self.runs.get(&run).and_then(|account| account.fold.as_ref());
        fold.map_or("", |fold| &*fold.graph().node(instance.node).type_id)
    }

    /// A review is opened.
    pub(super) fn asked(&mut self, run: RunId, instance: Instance, review: ReviewIx) {
        let account = self.reviews.entry((run, review)).or_default();
        let was_there = account.instance.replace(instance).is_some();
        self.expect(!was_there, "H4", || format!("{run}: review {review} is opened twice"));
    }

    /// Something is decided at a review.
    pub(super) fn reviewed(&mut self, run: RunId, it: &Reviewed) {
        let fold = self.runs.get(&run).and_then(|account| account.fold.as_ref());
        let required = fold.and_then(|fold| fold.graph().review(it.instance.node)).map_or(1, |review| review.required);
        let account = self.reviews.entry((run, it.review)).or_default();
        let is_its = account.instance == Some(it.instance) && !account.is_closed;
        let is_approved = it.verdict == ReviewVerdict::Approve;
        if !it.edit.is_empty() {
            // Who has approved before has approved something else.
            account.approved.clear();
        }
        account.approved.extend(it.by.clone().filter(|_| is_approved));
        account.is_closed = !matches!(it.outcome, ReviewOutcome::Open { .. });
        let approved = account.approved.len() as u32;
        let is_early = is_approved && it.by.is_some() && (account.is_closed != (approved >= required));
        self.expect(is_its, "H4", || format!("{run}: review {} is decided again, or was never open", it.review));
        self.expect(!is_early, "H4", || {
            format!("{run}: review {} was approved by {approved} people of {required}", it.review)
        });
        if let ReviewOutcome::Gave(_) = it.outcome {
            self.committed(run, it.instance);
        }
    }
}
