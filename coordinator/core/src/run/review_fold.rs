//! The fold of reviews: how they are opened, what decisions do to them, and how a node runs again. What they are is in
//! `review.rs`.

use super::corrupt::Corrupt;
use super::review::{Ask, OpenReview, ReviewChange, Reviews};
use super::{NodePhase, Run, Timer, TimerKind, Tries};
use crate::fault::{Fault, is_planted};
use crate::id::{AttemptNumber, Instance, ReviewIx};
use crate::run::event::{
    Asked, Attempt, NodeError, OutputValue, PortOutput, ReviewKind, ReviewOutcome, ReviewVerdict, Reviewed,
};
use crate::time::Timestamp;

impl Run {
    /// From now on it is noted what changes in the rows of reviews.
    pub(crate) fn note_reviews(&mut self) {
        self.review_changes.get_or_insert_default();
    }

    /// What has changed in the rows of reviews since this was asked last.
    pub(crate) fn take_review_changes(&mut self) -> Vec<(ReviewIx, ReviewChange)> {
        match &mut self.review_changes {
            Some(changes) if !changes.is_empty() => std::mem::take(changes),
            _ => Vec::new(),
        }
    }

    fn changed(&mut self, review: ReviewIx, change: ReviewChange) {
        self.review_changes.iter_mut().for_each(|changes| changes.push((review, change.clone())));
    }

    /// What a load that forgets people would make of a run.
    pub(crate) fn lose_reviews(&mut self) {
        self.state.reviews.iter_mut().for_each(|reviews| reviews.open.clear());
    }

    fn reviews(&mut self) -> &mut Reviews {
        self.state.reviews.get_or_insert_default()
    }

    /// An instance asks people as soon as there is room for one more review.
    pub(super) fn ask_next(&mut self, instance: Instance, ask: Ask) -> Result<(), Corrupt> {
        self.enter(instance, NodePhase::Due)?;
        let reviews = self.reviews();
        let has_room = reviews.has_room();
        reviews.asking.insert(instance, ask);
        if has_room {
            self.state.due.push_back(instance);
        } else {
            reviews.waiting.push_back(instance);
        }
        Ok(())
    }

    /// An attempt of which nobody knows what came: people decide.
    pub(super) fn ask_outcome(&mut self, attempt: &Attempt, error: &NodeError) -> Result<(), Corrupt> {
        let (outputs, attempted) = (Vec::new(), Some((attempt.number, attempt.token)));
        let ask = Ask { kind: ReviewKind::Outcome, outputs, attempt: attempted, error: Some(error.clone()) };
        self.ask_next(attempt.instance, ask)
    }

    /// A node has worked: people look at what it gives.
    pub(super) fn ask_after(&mut self, attempt: &Attempt, outputs: &[PortOutput]) -> Result<(), Corrupt> {
        let attempted = Some((attempt.number, attempt.token));
        let ask = Ask { kind: ReviewKind::After, outputs: outputs.to_vec(), attempt: attempted, error: None };
        self.ask_next(attempt.instance, ask)
    }

    /// Folds a review that is opened.
    pub(super) fn asked(&mut self, instance: Instance, asked: &Asked) -> Result<(), Corrupt> {
        let (seq, at) = (self.state.seq, self.state.last_at);
        let wrong = Corrupt::WrongReview { seq, review: asked.review };
        let reviews = self.reviews();
        let ask = reviews.asking.remove(&instance).filter(|ask| ask.kind == asked.kind);
        let Some(ask) = ask.filter(|_| reviews.next == asked.review) else { return Err(wrong) };
        reviews.next = reviews.next.next();
        let open = OpenReview {
            instance,
            kind: asked.kind,
            values: asked.values.clone(),
            edits: Vec::new(),
            error: asked.error.clone(),
            opened_at: at,
            due_at: asked.due_at,
            revision: 0,
            approvals: Vec::new(),
            is_escalated: false,
            attempt: ask.attempt,
        };
        reviews.open.insert(asked.review, open);
        self.enter(instance, NodePhase::Waiting)?;
        if let Some(at) = asked.due_at {
            self.state.timers.insert(Timer { at, instance, kind: TimerKind::Review });
        }
        if self.review_changes.is_some() {
            let assignees = self.open_review(asked.review).map(|open| self.assignees(open).to_vec());
            let change = ReviewChange::Opened {
                instance,
                index: self.path(instance.scope),
                kind: asked.kind,
                assignees: assignees.unwrap_or_default(),
                at,
                due_at: asked.due_at,
            };
            self.changed(asked.review, change);
        }
        Ok(())
    }

    /// Folds what was decided at a review.
    pub(super) fn reviewed(&mut self, reviewed: &Reviewed) -> Result<(), Corrupt> {
        let Reviewed { review, instance, by, verdict, edit, outcome, .. } = reviewed;
        let wrong = Corrupt::WrongReview { seq: self.state.seq, review: *review };
        self.open_review(*review).filter(|open| open.instance == *instance).ok_or_else(|| wrong.clone())?;
        if is_planted(Fault::TimeoutAfterDecision) && self.slot(*instance)?.phase != NodePhase::Waiting {
            self.reviews().open.remove(review);
            self.take_timer(*instance);
            return Ok(());
        }
        self.expect(*instance, &[NodePhase::Waiting])?;
        if let ReviewOutcome::Open { due_at } = outcome {
            return self.stays_open(reviewed, *due_at);
        }
        let open = self.reviews().open.get(review).cloned().ok_or(wrong)?;
        let is_kept = by.is_some() && open.due_at.is_some() && is_planted(Fault::TimeoutAfterDecision);
        if !is_kept {
            self.reviews().open.remove(review);
        }
        if open.due_at.is_some() && !is_kept {
            self.take_timer(*instance);
        }
        let (opened_at, at) = (open.opened_at, self.state.last_at);
        self.changed(*review, ReviewChange::Decided { opened_at, at, by: by.clone(), verdict: *verdict });
        match outcome {
            ReviewOutcome::Open { .. } => {}
            ReviewOutcome::Begins => {
                self.change_inputs(*instance, open.edits, edit);
                self.queue(*instance)?;
            }
            ReviewOutcome::Gave(outputs) => {
                let outputs: &[PortOutput] = match is_planted(Fault::EditForgotten) && !edit.is_empty() {
                    true => &unedited(outputs, &open.values),
                    false => outputs,
                };
                self.give(*instance, NodePhase::Completed, open.attempt.map(|(_, token)| token), outputs)?;
            }
            ReviewOutcome::Failed { error, caught } => self.give_up(*instance, error, caught)?,
            ReviewOutcome::Again { instance: again } => self.again_from(&open, *again, reviewed)?,
        }
        self.fill_up();
        Ok(())
    }

    /// What the instance gets in the place of what its edges brought.
    fn change_inputs(&mut self, instance: Instance, before: Vec<PortOutput>, last: &[PortOutput]) {
        let mut changed = before;
        for input in last {
            changed.retain(|known| known.port != input.port);
            changed.push(input.clone());
        }
        if !changed.is_empty() && !is_planted(Fault::InputEditForgotten) {
            self.reviews().inputs.insert(instance.first(), changed);
        }
    }

    fn stays_open(&mut self, reviewed: &Reviewed, due_at: Option<Timestamp>) -> Result<(), Corrupt> {
        let Reviewed { review, instance, by, verdict, edit, .. } = reviewed;
        let wrong = Corrupt::WrongReview { seq: self.state.seq, review: *review };
        let open = self.reviews().open.get_mut(review).ok_or(wrong)?;
        open.revision += 1;
        if !edit.is_empty() {
            // Those before have approved another version.
            open.approvals.clear();
        }
        open.approvals.extend(by.clone().filter(|_| *verdict == ReviewVerdict::Approve));
        for output in edit {
            open.edits.retain(|known| known.port != output.port);
            open.edits.push(output.clone());
        }
        if *verdict != ReviewVerdict::Escalate {
            self.changed(*review, ReviewChange::Approved);
            return Ok(());
        }
        (open.is_escalated, open.due_at) = (true, due_at);
        self.take_timer(*instance);
        if let Some(at) = due_at {
            self.state.timers.insert(Timer { at, instance: *instance, kind: TimerKind::Review });
        }
        let assignees = self.open_review(*review).map(|open| self.assignees(open).to_vec());
        self.changed(*review, ReviewChange::Escalated { assignees: assignees.unwrap_or_default(), due_at });
        Ok(())
    }

    /// A node runs again, in its next generation; the review that looked at its output waits for the next one.
    fn again_from(&mut self, open: &OpenReview, again: Instance, reviewed: &Reviewed) -> Result<(), Corrupt> {
        let seq = self.state.seq;
        let wrong = Corrupt::WrongReview { seq, review: reviewed.review };
        if open.kind == ReviewKind::Before {
            return Err(wrong);
        }
        if again != open.instance {
            let source = self.graph.review(open.instance.node).and_then(|review| review.again);
            if source.map(|source| open.instance.beside(source)) != Some(again.first()) {
                return Err(wrong);
            }
            self.expect(again, &[NodePhase::Completed])?;
            let slot = self.slot(open.instance)?;
            (slot.phase, slot.unsettled) = (NodePhase::Pending, 1);
            self.slot(again)?.result = None;
            self.count_up(again);
        }
        let mut last = open.attempt.filter(|_| again == open.instance).map_or(AttemptNumber(0), |(number, _)| number);
        self.owe_kept(again);
        if let Some(tries) = self.state.tries.remove(&again) {
            last = last.max(tries.last);
        }
        self.state.makers.remove(&again.first());
        let next = Instance { generation: again.generation.next(), ..again };
        let reviews = self.reviews();
        reviews.generations.insert(again.first(), next.generation);
        if let Some(config) = reviewed.config {
            reviews.configs.insert(again.first(), config);
        }
        self.state.tries.insert(next, Tries { last, ..Tries::default() });
        self.queue(next)
    }

    /// An instance that had its final phase is open again.
    fn count_up(&mut self, instance: Instance) {
        match self.state.frames.get_mut(&instance.scope) {
            Some(frame) => frame.open += 1,
            None => self.state.open_nodes += 1,
        }
    }

    /// Whoever waits for room asks now.
    fn fill_up(&mut self) {
        let Some(reviews) = &mut self.state.reviews else { return };
        while reviews.has_room()
            && let Some(instance) = reviews.waiting.pop_front()
        {
            self.state.due.push_back(instance);
        }
    }

    /// An instance is given up: it asks nobody, and whom it has asked need not answer.
    pub(super) fn withdraw(&mut self, instance: Instance) {
        let Some(reviews) = &mut self.state.reviews else { return };
        if reviews.asking.remove(&instance).is_some() {
            reviews.waiting.retain(|waiting| *waiting != instance);
        } else if let Some((review, _)) = reviews.of(instance) {
            reviews.open.remove(&review);
            self.changed(review, ReviewChange::Withdrawn { at: self.state.last_at });
        }
        self.fill_up();
    }

    /// The run is over: nobody need answer.
    pub(super) fn withdraw_all(&mut self) {
        let Some(reviews) = &mut self.state.reviews else { return };
        reviews.asking.clear();
        reviews.waiting.clear();
        let at = self.state.last_at;
        let open = std::mem::take(&mut reviews.open);
        open.into_keys().for_each(|review| self.changed(review, ReviewChange::Withdrawn { at }));
    }

    /// An item has closed: nothing of its instances is kept.
    pub(super) fn forget_generation(&mut self, instance: Instance) {
        let Some(reviews) = &mut self.state.reviews else { return };
        reviews.generations.remove(&instance.first());
        reviews.configs.remove(&instance.first());
        reviews.inputs.remove(&instance.first());
    }
}

/// What a node would give, if nobody had changed it.
fn unedited(outputs: &[PortOutput], values: &[PortOutput]) -> Vec<PortOutput> {
    let original = |output: &PortOutput| values.iter().find(|value| value.port == output.port).cloned();
    let is_open = |output: &PortOutput| output.value != OutputValue::Closed;
    outputs
        .iter()
        .map(|output| original(output).filter(|_| is_open(output)).unwrap_or_else(|| output.clone()))
        .collect()
}
