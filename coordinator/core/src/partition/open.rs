//! The open batch: what is decided but not on its way to the journal yet, and the one that is.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::concurrency::ConcurrencyKey;
use crate::id::{BatchNumber, RunId};
use crate::limits;
use crate::outbox::Message;
use crate::partition::batch::{BatchRow, Beside, IdempotencyKey, RunBatch};
use crate::partition::io::{Effect, Refusal, Release, Reply};
use crate::partition::values::in_events;
use crate::run::event::Event;
use crate::value::{Value, ValueRef};

/// About how many bytes a message or a batch of runs takes in the journal.
const MESSAGE: usize = 160;

/// A batch that is still being filled.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) runs: Vec<RunBatch>,
    pub(super) beside: Beside,
    places: BTreeMap<RunId, usize>,
    events: usize,
    bytes: usize,
    pub(super) held: Held,
    /// Whether a run in it was put off already.
    has_put_off: bool,
}

/// What leaves when a batch lands, and the keys whose rows land with it.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) releases: Vec<(Option<RunId>, Release)>,
    pub(super) keys: Vec<IdempotencyKey>,
    /// Places of attempts whose end lands with it.
    pub(super) places: Vec<ConcurrencyKey>,
}

/// A batch on its way to the journal.
#[derive(Debug)]
pub(super) struct Flying {
    pub(super) number: BatchNumber,
    pub(super) touched: Vec<RunId>,
    pub(super) held: Held,
}

impl Open {
    /// Whether nothing more should be taken in before a commit lands (E14).
    pub(super) fn is_full(&self) -> bool {
        self.events >= limits::BATCH_EVENTS_MAX || self.bytes >= limits::BATCH_BYTES_MAX
    }

    /// Whether nothing is to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.beside.is_empty()
    }

    /// Writes how a batch of runs stands.
    pub(super) fn write_batch(&mut self, row: BatchRow) {
        self.bytes += MESSAGE;
        match self.beside.batches.iter_mut().find(|known| known.batch == row.batch) {
            Some(known) => known.state = row.state,
            None => self.beside.batches.push(row),
        }
    }

    /// Writes a message that goes out.
    pub(super) fn send(&mut self, message: Message) {
        self.bytes += MESSAGE;
        self.beside.sent.push(message);
    }

    /// Removes a message that has arrived.
    pub(super) fn received(&mut self, message: &Message) {
        self.bytes += MESSAGE;
        self.beside.received.push((message.source, message.id));
    }

    /// What is written about a run.
    pub(super) fn of(&mut self, run: RunId) -> &mut RunBatch {
        let place = *self.places.entry(run).or_insert_with(|| {
            let (events, created, summary, snapshot) = (Vec::new(), None, None, None);
            let (reviews, cached) = (Vec::new(), Vec::new());
            self.runs.push(RunBatch { run, events, created, summary, snapshot, reviews, cached });
            self.runs.len() - 1
        });
        &mut self.runs[place]
    }

    /// The last event of a run that this batch holds.
    pub(super) fn last_event(&mut self, run: RunId) -> Option<&mut Event> {
        let place = *self.places.get(&run)?;
        // Nobody shares it before the batch is sealed.
        self.runs[place].events.last_mut().map(Arc::make_mut)
    }

    /// A value that an event of this batch holds.
    pub(super) fn value(&self, run: RunId, reference: &ValueRef) -> Option<&Value> {
        in_events(&self.runs[*self.places.get(&run)?].events, reference)
    }

    /// Adds an event.
    pub(super) fn push(&mut self, run: RunId, event: Event) {
        self.events += 1;
        self.bytes += weight(&event);
        self.of(run).events.push(Arc::new(event));
    }

    /// Counts bytes that were added to an event after it was pushed.
    pub(super) fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Takes everything about a run out again.
    pub(super) fn forget(&mut self, run: RunId) {
        if self.places.remove(&run).is_some() {
            self.runs.retain(|written| written.run != run);
            self.places = self.runs.iter().enumerate().map(|(place, written)| (written.run, place)).collect();
        }
        let held = std::mem::take(&mut self.held.releases).into_iter();
        self.held.releases = held
            .filter_map(|(about, release)| match about == Some(run) {
                true => of_quarantined(release).map(|release| (about, release)),
                false => Some((about, release)),
            })
            .collect();
    }

    /// What is to be written now. A run that has most of the events by far is put off to the next batch, once: else each
    /// run beside it would wait for its rows. What belongs to no single run stays with it.
    pub(super) fn take(&mut self) -> Open {
        let Some(place) = self.heavy() else { return std::mem::take(self) };
        let heavy = self.runs.swap_remove(place);
        let run = heavy.run;
        let (of_heavy, of_others) = std::mem::take(&mut self.held.releases)
            .into_iter()
            .partition(|(about, _)| about.is_none_or(|about| about == run));
        let Held { keys, places, .. } = std::mem::take(&mut self.held);
        let held = Held { releases: of_heavy, keys, places };
        let put_off = Open {
            places: BTreeMap::from([(run, 0)]),
            events: heavy.events.len(),
            bytes: heavy.events.iter().map(|event| weight(event)).sum(),
            runs: vec![heavy],
            held,
            has_put_off: true,
            ..Open::default()
        };
        let mut now = std::mem::replace(self, put_off);
        now.held.releases = of_others;
        now
    }

    /// The place of a run that is to be put off. Rows beside the events land with what has caused them.
    fn heavy(&self) -> Option<usize> {
        let is_heavy = |events: usize| {
            events >= limits::HEAVY_RUN_EVENTS_MIN && events >= (self.events - events) * limits::HEAVY_RUN_SHARE
        };
        let is_split = !self.has_put_off && self.beside.is_empty() && self.runs.len() > 1;
        is_split.then(|| self.runs.iter().position(|written| is_heavy(written.events.len())))?
    }

    /// Whether this batch writes about a run.
    pub(super) fn touches(&self, run: RunId) -> bool {
        self.places.contains_key(&run)
    }
}

impl Held {
    /// What is answered when the batch does not land: callers ask again, nothing else leaves.
    pub(super) fn retries(&self) -> impl Iterator<Item = Release> {
        self.releases.iter().filter_map(|(_, release)| match release {
            Release::Reply(caller, _) => Some(Release::Reply(*caller, Reply::Refused(Refusal::Retry))),
            Release::Effect(_) => None,
        })
    }
}

/// What is left of a release whose run was set aside: nobody waits in vain, and nothing goes on.
pub(super) fn of_quarantined(release: Release) -> Option<Release> {
    match release {
        Release::Reply(caller, _) => Some(Release::Reply(caller, Reply::Refused(Refusal::Quarantined))),
        Release::Effect(Effect::AnswerIntent { to, key, .. }) => {
            Some(Release::Effect(Effect::AnswerIntent { to, key, go: false }))
        }
        Release::Effect(Effect::Dispatch(_) | Effect::CancelJob(_) | Effect::Notify { .. }) => None,
        release => Some(release),
    }
}

/// About how many bytes an event takes in the journal.
pub(super) fn weight(event: &Event) -> usize {
    const HEAD: usize = 160;
    const PART: usize = 64;
    let values: usize = event.values.iter().map(|value| value.json().len()).sum();
    HEAD + values + PART * (event.values.len() + event.decisions.len() + event.assignments.len())
}
