//! Messages between slots (E25): sent with their cause, brought again until they have arrived, and taken once.

use std::collections::BTreeMap;

use super::io::{Delivery, Effect, Order, Release, Submission};
use super::{Partition, Turn};
use crate::batch::BatchId;
use crate::id::{RunId, Slot};
use crate::limits;
use crate::outbox::{Message, MessageBody, MessageId, Outbox};
use crate::run::Command;
use crate::time::Timestamp;

/// What goes out, and what has come in and waits for the journal's word.
#[derive(Debug, Default)]
pub(super) struct Mail {
    outbox: Outbox,
    /// Messages that this load has sent.
    sent: u32,
    /// Runs to be started, unless the journal has them.
    starts: BTreeMap<RunId, (Receipt, Submission)>,
    /// What is asked of runs that are being read.
    asked: BTreeMap<RunId, Vec<(Receipt, Command)>>,
}

/// Whom to tell that a message has arrived.
#[derive(Debug, Clone, Copy)]
struct Receipt {
    source: Slot,
    message: MessageId,
}

impl Mail {
    /// The starts of a batch's runs that have not arrived.
    pub(super) fn starts_of(&self, batch: BatchId) -> std::collections::BTreeSet<u32> {
        self.outbox.starts_of(batch)
    }

    /// When something is to be sent again.
    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        self.outbox.next_due()
    }
}

impl Partition {
    /// Sends a message when what is decided now has landed.
    pub(super) fn post(&mut self, source: Slot, destination: Slot, body: MessageBody) {
        self.mail.sent += 1;
        let message = Message { id: MessageId::new(self.epoch, self.mail.sent), source, destination, body };
        self.mail.outbox.put(message.clone());
        self.open.send(message.clone());
        self.open.held.releases.push((None, Release::Effect(Effect::Deliver(message))));
    }

    /// A message's row has landed: it goes unless another goes before it.
    pub(super) fn message_landed(&mut self, message: &Message, turn: &mut Turn<'_>) {
        let first = self.mail.outbox.landed(message.id, turn.now);
        deliver(first, turn);
    }

    pub(super) fn restore_messages(&mut self, messages: Vec<Message>, turn: &mut Turn<'_>) {
        for message in messages {
            let first = self.mail.outbox.restore(message, turn.now);
            deliver(first, turn);
        }
    }

    /// What has not been heard of for a while goes again.
    pub(super) fn send_again(&mut self, turn: &mut Turn<'_>) {
        let due = self.mail.outbox.due(turn.now);
        deliver(due, turn);
    }

    /// A message of this partition has arrived: its row goes, and what waited behind it.
    pub(super) fn received(&mut self, message: MessageId, turn: &mut Turn<'_>) {
        let Some((message, next)) = self.mail.outbox.received(message, turn.now) else { return };
        self.open.received(&message);
        deliver(next, turn);
        if let MessageBody::StartRun { batch, index } = message.body {
            self.with_batch(batch, |entry| entry.begun(index));
        }
    }

    /// Another slot's message, perhaps not for the first time.
    pub(super) fn delivered(&mut self, delivery: Delivery, turn: &mut Turn<'_>) {
        let receipt = Receipt { source: delivery.source, message: delivery.message };
        match delivery.order {
            Order::Start(submission) => self.start_once(receipt, *submission, turn),
            Order::Cancel { run, by, reason } => self.ask_by_mail(receipt, run, Command::Cancel { by, reason }, turn),
            Order::EndChild { parent, end } => self.ask_by_mail(receipt, parent, Command::EndChild(end), turn),
        }
    }

    fn ask_by_mail(&mut self, receipt: Receipt, run: RunId, command: Command, turn: &mut Turn<'_>) {
        if self.runs.contains_key(&run) {
            // One that is over stays as it is.
            let _over = self.apply(run, command, turn);
            return self.arrived(receipt, Some(run), turn);
        }
        self.mail.asked.entry(run).or_default().push((receipt, command));
        self.load(run, turn);
    }

    fn start_once(&mut self, receipt: Receipt, submission: Submission, turn: &mut Turn<'_>) {
        let run = submission.run;
        if self.runs.contains_key(&run) {
            return self.arrived(receipt, Some(run), turn);
        }
        // What there is no room for comes again.
        let has_room = self.runs.len() + self.mail.starts.len() < limits::PARTITION_RUNS_MAX;
        if has_room && self.mail.starts.insert(run, (receipt, submission)).is_none() {
            turn.outputs.sightings.push(run);
        }
    }

    /// The journal's word on a run that is to be started.
    pub(super) fn sighted(&mut self, run: RunId, exists: bool, turn: &mut Turn<'_>) {
        let Some((receipt, submission)) = self.mail.starts.remove(&run) else { return };
        if !exists && !self.runs.contains_key(&run) {
            self.begin(submission, turn);
        }
        self.arrived(receipt, Some(run), turn);
    }

    /// A run of which something was asked has been read; if it cannot be, there is nothing to ask.
    pub(super) fn deliver_asked(&mut self, run: RunId, turn: &mut Turn<'_>) {
        for (receipt, command) in self.mail.asked.remove(&run).unwrap_or_default() {
            let _over_or_gone = self.apply(run, command, turn);
            self.arrived(receipt, Some(run), turn);
        }
    }

    /// Tells the sender when all that is decided now has landed.
    fn arrived(&mut self, receipt: Receipt, about: Option<RunId>, turn: &mut Turn<'_>) {
        let Receipt { source, message } = receipt;
        self.attach(about, Release::Effect(Effect::Arrived { source, message }), turn);
    }
}

fn deliver(messages: impl IntoIterator<Item = Message>, turn: &mut Turn<'_>) {
    let effects = messages.into_iter().map(|message| Release::Effect(Effect::Deliver(message)));
    turn.outputs.releases.extend(effects);
}
