//! The way to each partition: its inbox and whoever works it off now. Doors outlive the actors behind them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use heddle_core::explain::Explained;
use heddle_core::id::{CallerId, PartitionId, RunId};
use heddle_core::partition::io::{Input, Refusal, Reply};
use ractor::ActorRef;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::inbox::{Full, Inbox};
use super::partition::Message;
use crate::limits::{EXPLAIN_WAIT_MAX, REPLY_WAIT_MAX};

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

    /// A load of a partition has ended, and takes what waits for it along. From here on the next load's inbox fills.
    pub(crate) fn renew(&self, id: PartitionId) {
        let mut door = self.door(id);
        if std::mem::take(&mut door.is_open) {
            self.open.send_modify(|open| *open -= 1);
        }
        door.actor = None;
        door.inbox = Arc::default();
    }

    /// The inbox of the load that begins, with all that came in before anybody worked it off: requests whose callers wait,
    /// and agents that have said once what they hold.
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

    /// Asks all partitions for their numbers.
    pub(crate) fn measure(&self) {
        for door in &self.doors {
            let door = door.lock().unwrap_or_else(PoisonError::into_inner);
            // One that is being loaded has none.
            let _gone = door.actor.as_ref().map(|actor| actor.cast(Message::Measure));
        }
    }

    /// Asks all partitions to look whether something would wake each of their runs.
    pub(crate) fn watch(&self) {
        for door in &self.doors {
            let door = door.lock().unwrap_or_else(PoisonError::into_inner);
            let _gone = door.actor.as_ref().map(|actor| actor.cast(Message::Watch));
        }
    }

    /// What a run in a partition's memory waits for; nothing if it is not there, or the partition does not come to it.
    pub(crate) async fn explain(&self, id: PartitionId, run: RunId) -> Option<Explained> {
        let (reply_to, reply) = oneshot::channel();
        self.ask(id, Message::Explain(run, reply_to));
        timeout(EXPLAIN_WAIT_MAX, reply).await.ok()?.ok().flatten()
    }

    /// Which of these runs are not in a partition's memory; none if it does not come to it.
    pub(crate) async fn absent(&self, id: PartitionId, runs: Vec<RunId>) -> Vec<RunId> {
        if runs.is_empty() {
            return runs;
        }
        let (reply_to, reply) = oneshot::channel();
        self.ask(id, Message::Absent(runs, reply_to));
        timeout(EXPLAIN_WAIT_MAX, reply).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    fn ask(&self, id: PartitionId, message: Message) {
        // With an actor that has ended the question ends, too.
        let _gone = self.door(id).actor.as_ref().map(|actor| actor.cast(message));
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

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use heddle_core::id::{AgentBoot, BootId, SessionNumber};

    use super::*;

    const ID: PartitionId = PartitionId(0);

    fn hello() -> Input {
        let agent = AgentBoot { agent: "a".into(), boot: BootId(1) };
        Input::AgentHello { agent, session: SessionNumber(1), running: Vec::new(), finished: Vec::new() }
    }

    fn waiting(doors: &Doors) -> usize {
        doors.inbox(ID).take(true).0.len()
    }

    #[tokio::test]
    async fn what_comes_in_before_a_load_begins_is_its_first_work() {
        let doors = Doors::new(1);
        doors.report(ID, [hello()]);
        assert_eq!(waiting(&doors), 1, "the listener may be quicker than the first load");
        doors.renew(ID);
        doors.report(ID, [hello()]);
        let mut asked = std::pin::pin!(doors.request(ID, |_| Input::Tick));
        assert!(asked.as_mut().now_or_never().is_none());
        assert_eq!(waiting(&doors), 2, "and agents that were sent away quicker than the next one");
    }

    #[tokio::test]
    async fn what_waits_for_a_load_that_has_ended_is_told_to_ask_again() {
        let doors = Doors::new(1);
        let mut asked = std::pin::pin!(doors.request(ID, |_| Input::Tick));
        assert!(asked.as_mut().now_or_never().is_none());
        doors.renew(ID);
        assert_eq!(asked.await, Reply::Refused(Refusal::Retry));
        assert_eq!(waiting(&doors), 0);
    }
}
