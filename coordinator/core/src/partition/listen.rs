//! Signals and calls reach their runs.

use super::io::{Refusal, Release, Reply};
use super::{Partition, Turn};
use crate::id::{CallerId, RunId};
use crate::run::event::Fact;
use crate::run::{Command, ListenRefusal, Rejection};

impl Partition {
    /// A signal or a call for a run in memory. Who comes second is told so when what came first is durable.
    pub(super) fn hear(&mut self, caller: CallerId, id: RunId, command: Command, turn: &mut Turn<'_>) {
        let reply = match self.apply(id, command, turn) {
            Ok(()) => self.heard(id),
            Err(Rejection::Listen(ListenRefusal::Again { seq, delivered })) => {
                Reply::Heard { seq, delivered, replayed: true }
            }
            Err(Rejection::Listen(why)) => Reply::Refused(Refusal::Listen(why)),
            Err(Rejection::Over(_)) => Reply::Refused(Refusal::Listen(ListenRefusal::RunOver)),
            Err(_) => Reply::Refused(Refusal::NotFound),
        };
        self.attach(Some(id), Release::Reply(caller, reply), turn);
    }

    /// What to say of the youngest signal or call of a run: the facts that follow from it may be behind it.
    fn heard(&mut self, id: RunId) -> Reply {
        let events = &self.open.of(id).events;
        let heard = events.iter().rev().find_map(|event| {
            let delivered = match &event.fact {
                Fact::Signalled(it) => it.to.is_some(),
                Fact::Called(_) => true,
                _ => return None,
            };
            Some(Reply::Heard { seq: event.seq, delivered, replayed: false })
        });
        heard.unwrap_or(Reply::Refused(Refusal::Retry))
    }
}
