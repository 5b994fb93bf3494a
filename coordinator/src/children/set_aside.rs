//! Children that were set aside: whoever set them aside may have ended before it could tell their parents. And children of runs
//! that were set aside: nobody waits for them any more, so what they do would be paid for in vain.

use std::sync::Arc;

use heddle_core::id::RunId;
use heddle_core::outbox::MessageId;
use heddle_core::partition::io::{Delivery, Input, Order};
use heddle_core::run::Run;
use heddle_error_chain::chain;

use super::end;
use crate::journal::JournalError;
use crate::limits::WATCHDOG_PAGE_RUNS;
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

/// Cancels a page of runs whose parent was set aside; gives back the last of them if there may be more. Each is told again as long
/// as its row says that it is not over.
pub(crate) async fn cancel_left_behind(
    shared: &Arc<Shared>,
    after: Option<RunId>,
) -> Result<Option<RunId>, JournalError> {
    let page = shared.journal.left_behind(after, WATCHDOG_PAGE_RUNS).await?;
    let last = page.last().map(|row| row.run).filter(|_| page.len() == WATCHDOG_PAGE_RUNS);
    for row in page {
        let Some(parent) = row.created.parent else { continue };
        let (run, by) = (row.run, row.created.subject);
        tracing::warn!(%run, %parent, "a run is cancelled, because the run that has invoked it was set aside");
        let reason = format!("the run {parent}, which has invoked it, was set aside");
        let order = Order::Cancel { run, by, reason: Some(reason.into()) };
        let delivery = Delivery { message: OF_NO_OUTBOX, source: parent.slot(), order };
        let owner = shared.journal.partitions().of(run.slot());
        shared.doors.report(owner, [Input::Delivered(Box::new(delivery))]);
    }
    Ok(last)
}
