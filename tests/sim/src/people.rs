//! People: they decide what runs ask of them, at random, now and then twice or too late.

use bytes::Bytes;
use heddle_core::id::{CallerId, PortIx, ReviewIx, RunId, Subject};
use heddle_core::partition::batch::Batch;
use heddle_core::partition::io::Input;
use heddle_core::run::event::{ReviewKind, ReviewVerdict};
use heddle_core::run::{OpenReview, ReviewAnswer};
use heddle_core::value::Value;
use serde_json::json;

use super::event::Event;
use super::queue::millis;
use super::work;
use super::world::World;

/// How many there are.
const PEOPLE: usize = 2;
/// The caller that stands for all of them: what they are told they see in the history anyway.
pub(super) const CLIENT: usize = usize::MAX;
/// Reviews of a run after which nobody has anything made again.
const RETRIES_UNTIL: ReviewIx = ReviewIx(8);

impl World {
    /// Reviews that a batch has opened are seen by all people, sooner or later.
    pub(super) fn show_reviews(&mut self, batch: &Batch, quarantined: &[RunId]) {
        for written in batch.runs.iter().filter(|written| !quarantined.contains(&written.run)) {
            let opened = written.reviews.iter().filter_map(|row| row.created.as_ref());
            let opened: Vec<ReviewIx> = opened.map(|created| created.ordinal).collect();
            for (review, person) in
                opened.into_iter().flat_map(|review| (0..PEOPLE).map(move |person| (review, person)))
            {
                let pause = millis(self.random.between((1, 3_000)));
                self.after(pause, Event::PersonActs { person, run: written.run, review });
            }
        }
    }

    /// Somebody looks at a review, and comes back as long as it is open.
    pub(super) fn person_acts(&mut self, person: usize, run: RunId, review: ReviewIx) {
        let open = self.check.open_review(run, review).cloned();
        let is_late = open.is_none() && self.random.percent(20);
        if open.is_none() && !is_late {
            return;
        }
        let answer = self.decision(person, run, review, open.as_ref());
        let caller = CallerId(self.next_serial());
        let input = Input::Answer { caller, run, tenant: self.store.tenant_of(run), answer: Box::new(answer) };
        let (partition, pause) = (self.partition_of(run), millis(self.random.between(self.knobs.link_ms)));
        self.after(pause, Event::Request { client: CLIENT, partition, input: Box::new(input) });
        if !is_late {
            let pause = millis(self.random.between((200, 3_000)));
            self.after(pause, Event::PersonActs { person, run, review });
        }
    }

    fn decision(&mut self, person: usize, run: RunId, review: ReviewIx, open: Option<&OpenReview>) -> ReviewAnswer {
        let verdict = match self.random.below(10) {
            0 => ReviewVerdict::Reject,
            1 | 2 if review < RETRIES_UNTIL => ReviewVerdict::Retry,
            _ => ReviewVerdict::Approve,
        };
        let can_edit = open.filter(|_| verdict == ReviewVerdict::Approve);
        // Whoever says that it took effect says what it gave.
        let edits = |open: &&OpenReview| open.kind == ReviewKind::Outcome || self.random.percent(40);
        let edit = match can_edit.filter(edits) {
            None => Vec::new(),
            Some(open) => {
                let number = json!({"n": self.random.below(60)});
                let kind = self.check.kind_of(run, open.instance);
                let (port, is_list) = match open.kind {
                    // Whoever looks at a list makes another list of it.
                    ReviewKind::Value => {
                        let value = open.values.first().and_then(|it| self.store.stored(run).output(&it.value));
                        (PortIx(0), value.is_some_and(|value| value.is_array()))
                    }
                    ReviewKind::After | ReviewKind::Outcome => (PortIx(0), kind == work::LIST),
                    // Any of the inputs that something came into.
                    ReviewKind::Before => match open.values.len() {
                        0 => (PortIx(0), false),
                        inputs => (open.values[self.random.below(inputs)].port, kind != work::ONE),
                    },
                };
                let value = if is_list { json!([number]) } else { number };
                vec![(port, Value::from_json(Bytes::from(value.to_string())))]
            }
        };
        ReviewAnswer {
            review,
            by: Subject::from(format!("person {person}").as_str()),
            verdict,
            edit,
            config: None,
            comment: None,
            revision: None,
            decides_own: false,
        }
    }
}
