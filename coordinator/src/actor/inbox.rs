//! What waits before a partition: commands in their bounds, and outcomes that are never refused (E1, E14).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use heddle_core::limits::{PARTITION_QUEUE_MAX, WAKE_COMMANDS_MAX};
use heddle_core::partition::io::{Input, Reply};
use tokio::sync::oneshot;

/// A caller's reply channel, if the input has a caller.
pub(crate) type ReplyTo = Option<oneshot::Sender<Reply>>;

/// The queue before one load of one partition.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    queues: Mutex<Queues>,
    /// Whether the actor has been told and has not looked yet.
    rung: AtomicBool,
}

/// Too many requests wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

#[derive(Debug, Default)]
struct Queues {
    outcomes: VecDeque<Input>,
    commands: VecDeque<(Input, ReplyTo)>,
    /// Requests of clients among the commands: the only ones that are refused.
    requests: usize,
}

impl Inbox {
    /// Adds what agents and timers report; never refused. True if the actor must be told.
    #[must_use]
    pub(crate) fn report(&self, inputs: impl IntoIterator<Item = Input>) -> bool {
        self.lock().commands.extend(inputs.into_iter().map(|input| (input, None)));
        self.ring()
    }

    /// Adds what the partition itself asked for. True if the actor must be told.
    #[must_use]
    pub(crate) fn outcome(&self, input: Input) -> bool {
        self.lock().outcomes.push_back(input);
        self.ring()
    }

    /// Adds a client's request, unless too many wait. True if the actor must be told.
    pub(crate) fn request(&self, input: Input, reply_to: oneshot::Sender<Reply>) -> Result<bool, Full> {
        let mut queues = self.lock();
        if queues.requests >= PARTITION_QUEUE_MAX {
            return Err(Full);
        }
        queues.requests += 1;
        queues.commands.push_back((input, Some(reply_to)));
        drop(queues);
        Ok(self.ring())
    }

    /// Takes all outcomes and, unless the partition is full, up to 512 commands. The flag says whether more waits.
    pub(crate) fn take(&self, with_commands: bool) -> (Vec<(Input, ReplyTo)>, bool) {
        self.rung.store(false, Ordering::SeqCst);
        let mut queues = self.lock();
        let mut taken: Vec<(Input, ReplyTo)> = queues.outcomes.drain(..).map(|input| (input, None)).collect();
        if with_commands {
            let count = queues.commands.len().min(WAKE_COMMANDS_MAX);
            taken.extend(queues.commands.drain(..count));
            queues.requests -= taken.iter().filter(|(_, reply_to)| reply_to.is_some()).count();
        }
        (taken, with_commands && !queues.commands.is_empty())
    }

    fn ring(&self) -> bool {
        !self.rung.swap(true, Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
