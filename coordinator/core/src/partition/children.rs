//! Runs that runs invoke: what a run says of its children becomes messages to their slots, and what a child comes to a message
//! to its parent's.

use super::Partition;
use crate::fault::{Fault, is_planted};
use crate::id::{RunId, Subject};
use crate::outbox::MessageBody;
use crate::run::ChildOrder;
use crate::run::event::Fact;

impl Partition {
    /// Sends what the youngest fact or decision of a run asks of its children; it leaves when that has landed.
    pub(super) fn post_children(&mut self, id: RunId) {
        let Some(entry) = self.runs.get_mut(&id) else { return };
        let orders = entry.run.take_child_orders();
        if orders.is_empty() {
            return;
        }
        let subject = entry.run.subject().clone();
        let Some(event) = self.open.last_event(id) else { return };
        let seq = event.seq;
        let by: Subject = match &event.fact {
            Fact::Ended { by: Some(by), .. } => by.clone(),
            _ => subject,
        };
        for order in orders {
            match order {
                ChildOrder::Start { instance, child } => {
                    let body = MessageBody::StartChild { child, parent: id, instance, seq };
                    self.post(id.slot(), child.slot(), body);
                }
                ChildOrder::Cancel { child } => {
                    self.post(id.slot(), child.slot(), MessageBody::CancelRun { run: child, by: by.clone() });
                }
            }
        }
    }

    /// A run is over, or set aside: whoever has invoked it hears of that.
    pub(super) fn tell_parent(&mut self, id: RunId) {
        let by = self.runs.get(&id).and_then(|entry| entry.run.invoked_by().cloned());
        if let Some(by) = by.filter(|_| !is_planted(Fault::ChildEndLost)) {
            let body = MessageBody::ChildEnded { child: id, parent: by.run, instance: by.instance };
            self.post(id.slot(), by.run.slot(), body);
        }
    }
}
