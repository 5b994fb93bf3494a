//! Children that were set aside: whoever set them aside may have ended before it could tell their parents.

use std::sync::Arc;

use heddle_core::id::RunId;
use heddle_core::outbox::MessageId;
use heddle_core::partition::io::{Delivery, Input, Order};
use heddle_core::run::Run;
use heddle_error_chain::chain;

use super::end;
use crate::shared::Shared;

/// No outbox holds what is told here: it is told again as long as the parent waits.
const OF_NO_OUTBOX: MessageId = MessageId(0);

/// Tells a run of those of its open children that were set aside; gives back one of them. What it knows already changes nothing.
pub(crate) async fn tell_of_set_aside(shared: &Arc<Shared>, parent: &Run) -> Option<RunId> {
    let mut set_aside = None;
    for (instance, child) in parent.open_children() {
        let row = shared.journal.read_row(child).await;
        if !row.is_ok_and(|row| row.is_some_and(|row| row.quarantine_reason.is_some())) {
            continue;
        }
        set_aside = Some(child);
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
    set_aside
}
