//! Reviews: people's answers reach their runs, and rows beside the events serve inboxes.

use super::batch::{ReviewCreated, ReviewRow, ReviewState};
use super::io::{Refusal, Release, Reply};
use super::{Partition, Turn};
use crate::id::{CallerId, EventSeq, ReviewId, ReviewIx, RunId};
use crate::run::{Command, Rejection, ReviewAnswer, ReviewChange, ReviewRefusal, Run};

impl Partition {
    /// What somebody says to a review of a run in memory; who comes second is told so when what came first is durable.
    pub(super) fn answer(&mut self, caller: CallerId, id: RunId, answer: Box<ReviewAnswer>, turn: &mut Turn<'_>) {
        let reply = match self.apply(id, Command::Answer(answer), turn) {
            Ok(()) => {
                let Some(seq) = self.open.last_event(id).map(|event| event.seq) else { return };
                Reply::Answered { seq }
            }
            Err(Rejection::Review(why)) => Reply::Refused(Refusal::Review(why)),
            Err(Rejection::Over(_)) => Reply::Refused(Refusal::Review(ReviewRefusal::Closed)),
            Err(_) => Reply::Refused(Refusal::NotFound),
        };
        self.attach(Some(id), Release::Reply(caller, reply), turn);
    }

    /// Brings the rows of a run's reviews up to date with its youngest fact or decision.
    pub(super) fn write_reviews(&mut self, id: RunId) {
        let Some(entry) = self.runs.get_mut(&id) else { return };
        let changes = entry.run.take_review_changes();
        if changes.is_empty() {
            return;
        }
        let Some(seq) = self.open.last_event(id).map(|event| event.seq) else { return };
        let rows: Vec<ReviewRow> =
            changes.into_iter().map(|(review, change)| row(&entry.run, review, seq, change)).collect();
        self.open.of(id).reviews.extend(rows);
    }
}

fn row(run: &Run, ordinal: ReviewIx, seq: EventSeq, change: ReviewChange) -> ReviewRow {
    let mut row = ReviewRow {
        review: ReviewId::of(run.id(), ordinal),
        seq,
        created: None,
        state: ReviewState::Open,
        assignees: None,
        due_at: None,
        closed_at: None,
        decided_by: None,
        verdict: None,
        opened_at: None,
    };
    match change {
        ReviewChange::Opened { instance, index, kind, assignees, at, due_at } => {
            row.created = Some(ReviewCreated {
                tenant: run.tenant().clone(),
                workflow: run.workflow(),
                ordinal,
                node: run.graph().node(instance.node).id.clone(),
                index,
                kind,
                opened_at: at,
            });
            (row.assignees, row.due_at) = (Some(assignees), due_at);
        }
        ReviewChange::Approved => {}
        ReviewChange::Escalated { assignees, due_at } => (row.assignees, row.due_at) = (Some(assignees), due_at),
        ReviewChange::Decided { opened_at, at, by, verdict } => {
            (row.state, row.opened_at) = (ReviewState::Decided, Some(opened_at));
            (row.closed_at, row.decided_by, row.verdict) = (Some(at), by, Some(verdict));
        }
        ReviewChange::Withdrawn { at } => (row.state, row.closed_at) = (ReviewState::Withdrawn, Some(at)),
    }
    row
}
