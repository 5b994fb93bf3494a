//! Children that were set aside: whoever set them aside may have ended before it could tell their parents.

use std::sync::Arc;

use heddle_core::outbox::MessageId;
use heddle_core::partition::io::{Delivery, Input, Order};
use heddle_core::run::Run;
use heddle_error_chain::chain;

use super::end;
use crate::shared::Shared;

/// No outbox holds what is told here: it is told again as long as the parent waits.
const OF_NO_OUTBOX: MessageId = MessageId(0);

/// Tells a run of those of its open children that were set aside. What it knows already changes nothing.
pub(crate) async fn tell_of_set_aside(shared: &Arc<Shared>, parent: &Run) {
    for (instance, child) in parent.open_children() {
        let row = shared.journal.read_row(child).await;
        if !row.is_ok_and(|row| row.is_some_and(|row| row.quarantine_reason.is_some())) {
            continue;
        }
        match end(shared, parent.id(), instance, child).await {
            Ok(end) => {
                let order = Order::EndChild { parent: parent.id(), end: Box::new(end) };
                let delivery = Delivery { message: OF_NO_OUTBOX, source: child.slot(), order };
                let owner = shared.journal.partitions().of(parent.id().slot());
                shared.doors.report(owner, [Input::Delivered(Box::new(delivery))]);
            }
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(parent = %parent.id(), %child, error, "a child was set aside; its parent is told later");
            }
        }
    }
}
