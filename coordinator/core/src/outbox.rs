//! The one way from slot to slot: a message is a row that is written with what caused it, delivered at least once, in the
//! order of its pair of slots, and dropped when its receiver has made it durable (E25).
//!
//! Of each pair of slots one message is on its way at a time, so nothing overtakes. A receiver sees some messages twice and
//! takes them once: a run that exists is not started again, and one that is over not stopped again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::batch::BatchId;
use crate::id::{Epoch, EventSeq, Instance, RunId, Slot, Subject};
use crate::limits::MESSAGE_AGAIN_AFTER;
use crate::time::Timestamp;

/// A message's name, within the partition that sends it: later ones have higher numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub u64);

impl MessageId {
    /// The name of the `count`th message of one load of a partition.
    pub(crate) fn new(epoch: Epoch, count: u32) -> Self {
        Self(epoch.0 << 32 | u64::from(count))
    }
}

/// What one slot tells another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its name.
    pub id: MessageId,
    /// Who sends it.
    pub source: Slot,
    /// Who gets it.
    pub destination: Slot,
    /// What it says.
    pub body: MessageBody,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageBody {
    /// Start a run of a batch.
    StartRun {
        /// Which batch.
        batch: BatchId,
        /// Which of its runs.
        index: u32,
    },
    /// Stop a run.
    CancelRun {
        /// Which run.
        run: RunId,
        /// Who stops it.
        by: Subject,
    },
    /// Start a run for a node of another one.
    StartChild {
        /// The run to start.
        child: RunId,
        /// The run that invokes it.
        parent: RunId,
        /// Which of its nodes.
        instance: Instance,
        /// The event that says what it is given.
        seq: EventSeq,
    },
    /// A run that another one has invoked is over.
    ChildEnded {
        /// The run that is over.
        child: RunId,
        /// The run that has invoked it.
        parent: RunId,
        /// Which of its nodes.
        instance: Instance,
    },
}

/// The messages of one partition that are not known to have arrived.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pairs: BTreeMap<(Slot, Slot), VecDeque<Waiting>>,
    places: BTreeMap<MessageId, (Slot, Slot)>,
    /// When those that are on their way are sent again.
    again: BTreeSet<(Timestamp, MessageId)>,
}

#[derive(Debug)]
struct Waiting {
    message: Message,
    /// Whether its row is durable.
    has_landed: bool,
    again_at: Option<Timestamp>,
}

impl Outbox {
    /// Adds a message whose row is in the open batch.
    pub(crate) fn put(&mut self, message: Message) {
        self.add(message, false);
    }

    /// Adds a message whose row was found at the start, after all that have a lower number.
    pub(crate) fn restore(&mut self, message: Message, now: Timestamp) -> Option<Message> {
        let id = message.id;
        self.add(message, true);
        self.send_if_first(id, now)
    }

    /// A message's row has landed; gives the message if it is its turn.
    pub(crate) fn landed(&mut self, id: MessageId, now: Timestamp) -> Option<Message> {
        let pair = self.pairs.get_mut(self.places.get(&id)?)?;
        pair.iter_mut().find(|waiting| waiting.message.id == id)?.has_landed = true;
        self.send_if_first(id, now)
    }

    /// A message has arrived; gives it back, and the one of its pair that goes next. `None` if it is not waited for.
    pub(crate) fn received(&mut self, id: MessageId, now: Timestamp) -> Option<(Message, Option<Message>)> {
        let place = self.places.remove(&id)?;
        let pair = self.pairs.get_mut(&place)?;
        let found = pair.iter().position(|waiting| waiting.message.id == id)?;
        let gone = pair.remove(found)?;
        gone.again_at.map(|at| self.again.remove(&(at, id)));
        let next = pair.front().map(|next| next.message.id);
        if pair.is_empty() {
            self.pairs.remove(&place);
        }
        Some((gone.message, next.and_then(|next| self.send_if_first(next, now))))
    }

    /// Messages that were sent a while ago and have not been heard of: their receiver may have been loaded again.
    pub(crate) fn due(&mut self, now: Timestamp) -> Vec<Message> {
        let mut due = Vec::new();
        while let Some((_, id)) = self.again.first().copied().filter(|(at, _)| *at <= now) {
            due.extend(self.send_if_first(id, now));
        }
        due
    }

    /// When [`Outbox::due`] has something next.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.again.first().map(|(at, _)| *at)
    }

    /// The starts of a batch's runs that wait.
    pub(crate) fn starts_of(&self, batch: BatchId) -> BTreeSet<u32> {
        let waiting =
            self.pairs.range((batch.slot(), Slot(0))..).take_while(|((source, _), _)| *source == batch.slot());
        let starts = waiting.flat_map(|(_, pair)| pair).filter_map(|waiting| match waiting.message.body {
            MessageBody::StartRun { batch: of, index } => (of == batch).then_some(index),
            MessageBody::CancelRun { .. } | MessageBody::StartChild { .. } | MessageBody::ChildEnded { .. } => None,
        });
        starts.collect()
    }

    fn add(&mut self, message: Message, has_landed: bool) {
        let place = (message.source, message.destination);
        self.places.insert(message.id, place);
        self.pairs.entry(place).or_default().push_back(Waiting { message, has_landed, again_at: None });
    }

    fn send_if_first(&mut self, id: MessageId, now: Timestamp) -> Option<Message> {
        let first = self.pairs.get_mut(self.places.get(&id)?)?.front_mut()?;
        if first.message.id != id || !first.has_landed {
            return None;
        }
        first.again_at.map(|at| self.again.remove(&(at, id)));
        let again_at = now.plus(MESSAGE_AGAIN_AFTER);
        first.again_at = Some(again_at);
        self.again.insert((again_at, id));
        Some(first.message.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u64, destination: u16) -> Message {
        let body = MessageBody::CancelRun { run: RunId(number.into()), by: "somebody".into() };
        Message { id: MessageId(number), source: Slot(1), destination: Slot(destination), body }
    }

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    #[test]
    fn what_goes_to_one_slot_goes_one_after_the_other() {
        let mut outbox = Outbox::default();
        [message(1, 5), message(2, 5), message(3, 6)].into_iter().for_each(|message| outbox.put(message));
        assert_eq!(outbox.landed(MessageId(2), NOW), None, "the first has not landed");
        assert_eq!(outbox.landed(MessageId(1), NOW), Some(message(1, 5)));
        assert_eq!(outbox.landed(MessageId(3), NOW), Some(message(3, 6)), "another slot waits for nobody");
        assert_eq!(outbox.received(MessageId(1), NOW), Some((message(1, 5), Some(message(2, 5)))));
        assert_eq!(outbox.received(MessageId(1), NOW), None, "twice is once");
        assert_eq!(outbox.received(MessageId(2), NOW), Some((message(2, 5), None)));
        assert_eq!(outbox.places.len(), 1);
    }

    #[test]
    fn what_is_not_heard_of_goes_again() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.restore(message(1, 5), NOW), Some(message(1, 5)));
        assert_eq!(outbox.restore(message(2, 5), NOW), None);
        assert!(outbox.due(NOW).is_empty());
        let later = NOW.plus(MESSAGE_AGAIN_AFTER);
        assert_eq!(outbox.next_due(), Some(later));
        assert_eq!(outbox.due(later), [message(1, 5)]);
        assert!(outbox.next_due() > Some(later));
        assert!(outbox.received(MessageId(1), later).is_some());
        assert!(outbox.received(MessageId(2), later).is_some());
        assert_eq!(outbox.next_due(), None);
    }
}
