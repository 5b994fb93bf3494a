//! The way to each partition: its inbox and whoever works it off now. Doors outlive the actors behind them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use heddle_core::id::{CallerId, PartitionId};
use heddle_core::partition::io::{Input, Refusal, Reply};
use ractor::ActorRef;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::inbox::{Full, Inbox};
use super::partition::Message;
use crate::limits::REPLY_WAIT_MAX;

/// The ways to all partitions of this coordinator.
pub(crate) struct Doors {
    doors: Vec<Mutex<Door>>,
    last_caller: AtomicU64,
    open: watch::Sender<usize>,
}

#[derive(Default)]
struct Door {
    inbox: Arc<Inbox>,
    actor: Option<ActorRef<Message>>,
    /// Whether the partition's runs are read.
    is_open: bool,
}

impl Doors {
    pub(crate) fn new(partitions: u16) -> Self {
        let doors = (0..partitions).map(|_| Mutex::default()).collect();
        Self { doors, last_caller: AtomicU64::new(0), open: watch::Sender::new(0) }
    }

    /// A load of a partition has ended: what waited before it is dropped, and what comes now waits for the next one.
    pub(crate) fn renew(&self, id: PartitionId) {
        let mut door = self.door(id);
        if std::mem::take(&mut door.is_open) {
            self.open.send_modify(|open| *open -= 1);
        }
        door.actor = None;
        door.inbox = Arc::default();
    }

    /// The inbox of the load that begins, with all that has come since the last one ended: agents have said what they hold.
    pub(crate) fn inbox(&self, id: PartitionId) -> Arc<Inbox> {
        Arc::clone(&self.door(id).inbox)
    }

    /// Who works the inbox off from now on.
    pub(crate) fn staffed(&self, id: PartitionId, actor: ActorRef<Message>) {
        self.door(id).actor = Some(actor.clone());
        // Whatever came in before rang an empty house.
        let _gone = actor.cast(Message::Wake);
    }

    /// A partition's runs are read.
    pub(crate) fn opened(&self, id: PartitionId) {
        if !std::mem::replace(&mut self.door(id).is_open, true) {
            self.open.send_modify(|open| *open += 1);
        }
    }

    /// How many partitions there are, and how many of them are read.
    pub(crate) fn opened_of(&self) -> (usize, usize) {
        (self.doors.len(), *self.open.borrow())
    }

    /// Waits until all partitions are read.
    pub(crate) async fn all_opened(&self) {
        let all = self.doors.len();
        // The sender is this value itself, so it is there as long as anybody can wait.
        let mut open = self.open.subscribe();
        let _all_open = open.wait_for(|open| *open == all).await;
    }

    /// Passes on what agents, timers and permits report.
    pub(crate) fn report(&self, id: PartitionId, inputs: impl IntoIterator<Item = Input>) {
        let door = self.door(id);
        if door.inbox.report(inputs) {
            tell(&door);
        }
    }

    /// Passes on what a partition asked for itself; for the load that asked, and no later one.
    pub(crate) fn outcome(&self, id: PartitionId, inbox: &Arc<Inbox>, input: Input) {
        let door = self.door(id);
        if inbox.outcome(input) && Arc::ptr_eq(inbox, &door.inbox) {
            tell(&door);
        }
    }

    /// Asks a partition and waits for its answer.
    pub(crate) async fn request(&self, id: PartitionId, ask: impl FnOnce(CallerId) -> Input) -> Reply {
        let caller = CallerId(self.last_caller.fetch_add(1, Ordering::Relaxed) + 1);
        let (reply_to, reply) = oneshot::channel();
        {
            let door = self.door(id);
            match door.inbox.request(ask(caller), reply_to) {
                Err(Full) => return Reply::Refused(Refusal::Overloaded),
                Ok(true) => tell(&door),
                Ok(false) => {}
            }
        }
        match timeout(REPLY_WAIT_MAX, reply).await {
            Ok(Ok(reply)) => reply,
            // The load that was asked has ended, or does not come to it: nobody knows.
            Ok(Err(_)) | Err(_) => Reply::Refused(Refusal::Retry),
        }
    }

    fn door(&self, id: PartitionId) -> MutexGuard<'_, Door> {
        self.doors[usize::from(id.0)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(door: &Door) {
    if let Some(actor) = &door.actor {
        // It may just have ended; the next one is told when it begins.
        let _gone = actor.cast(Message::Wake);
    }
}
