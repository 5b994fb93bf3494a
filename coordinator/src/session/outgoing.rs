//! Bundles of messages become frames: whatever is ready when the wire is free, within bounds.

use std::collections::VecDeque;

use futures::Stream;
use heddle_crash_point::crash_point;
use heddle_proto::agent::{CoordinatorFrame, CoordinatorMessage, coordinator_message::Kind};
use heddle_proto::limits::FRAME_MESSAGES_MAX;
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::Status;

use crate::limits::FRAME_BYTES_MAX;

/// The frames of one session, until its senders are gone.
pub(crate) fn frames(
    bundles: mpsc::Receiver<Vec<CoordinatorMessage>>,
) -> impl Stream<Item = Result<CoordinatorFrame, Status>> + Send + 'static {
    futures::stream::unfold((bundles, VecDeque::new(), false), |(mut bundles, mut ready, assigned)| async move {
        if ready.is_empty() {
            ready.extend(bundles.recv().await?);
            if assigned {
                crash_point!("session.assigned");
            }
        }
        while ready.len() < FRAME_MESSAGES_MAX
            && let Ok(bundle) = bundles.try_recv()
        {
            ready.extend(bundle);
        }
        let frame = CoordinatorFrame { messages: fill(&mut ready) };
        let assigned = frame.messages.iter().any(|message| matches!(message.kind, Some(Kind::Assign(_))));
        Some((Ok(frame), (bundles, ready, assigned)))
    })
}

fn fill(ready: &mut VecDeque<CoordinatorMessage>) -> Vec<CoordinatorMessage> {
    let mut messages = Vec::with_capacity(ready.len().min(FRAME_MESSAGES_MAX));
    let mut bytes = 0;
    while messages.len() < FRAME_MESSAGES_MAX
        && bytes < FRAME_BYTES_MAX
        && let Some(message) = ready.pop_front()
    {
        bytes += message.encoded_len();
        messages.push(message);
    }
    messages
}
