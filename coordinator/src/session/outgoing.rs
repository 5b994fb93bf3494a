//! Bundles of messages become frames: whatever is ready when the wire is free, within bounds. Here the order of the stream is
//! settled, so here values that it has brought already are left out (E15).

use std::collections::VecDeque;

use bytes::Bytes;
use futures::Stream;
use heddle_crash_point::crash_point;
use heddle_proto::agent::{CoordinatorFrame, CoordinatorMessage, Input, SharedValue, coordinator_message::Kind};
use heddle_proto::limits::FRAME_MESSAGES_MAX;
use heddle_proto::value_window::ValueWindow;
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::Status;

use crate::limits::FRAME_BYTES_MAX;

/// The frames of one session, until its senders are gone.
pub(crate) fn frames(
    bundles: mpsc::Receiver<Vec<CoordinatorMessage>>,
) -> impl Stream<Item = Result<CoordinatorFrame, Status>> + Send + 'static {
    let exit =
        Exit { bundles, ready: VecDeque::new(), has_assigned: false, has_ordered: false, sent: ValueWindow::default() };
    futures::stream::unfold(exit, |mut exit| async move { Some((Ok(exit.next_frame().await?), exit)) })
}

struct Exit {
    bundles: mpsc::Receiver<Vec<CoordinatorMessage>>,
    ready: VecDeque<CoordinatorMessage>,
    /// Whether the last frame held an assignment.
    has_assigned: bool,
    /// Whether it held an order to cancel a job.
    has_ordered: bool,
    /// What the agent remembers of the values that it was sent.
    sent: ValueWindow<()>,
}

impl Exit {
    /// Everything that is ready now; waits when nothing is.
    async fn next_frame(&mut self) -> Option<CoordinatorFrame> {
        if self.ready.is_empty() {
            self.ready.extend(self.bundles.recv().await?);
            if self.has_assigned {
                crash_point!("session.assigned");
            }
            if self.has_ordered {
                crash_point!("jobs.ordered");
            }
        }
        while self.ready.len() < FRAME_MESSAGES_MAX
            && let Ok(bundle) = self.bundles.try_recv()
        {
            self.ready.extend(bundle);
        }
        let frame = CoordinatorFrame { messages: self.fill() };
        self.has_assigned = frame.messages.iter().any(|message| matches!(message.kind, Some(Kind::Assign(_))));
        self.has_ordered = frame.messages.iter().any(|message| matches!(message.kind, Some(Kind::CancelJob(_))));
        Some(frame)
    }

    fn fill(&mut self) -> Vec<CoordinatorMessage> {
        let mut messages = Vec::with_capacity(self.ready.len().min(FRAME_MESSAGES_MAX));
        let mut bytes = 0;
        while messages.len() < FRAME_MESSAGES_MAX
            && bytes < FRAME_BYTES_MAX
            && let Some(mut message) = self.ready.pop_front()
        {
            let inputs = match &mut message.kind {
                Some(Kind::Assign(assign)) => &mut assign.inputs,
                Some(Kind::InputsPart(part)) => &mut part.inputs,
                _ => &mut Vec::new(),
            };
            inputs.iter_mut().for_each(|input| self.leave_out_known(input));
            bytes += message.encoded_len();
            messages.push(message);
        }
        messages
    }

    fn leave_out_known(&mut self, input: &mut Input) {
        for SharedValue { place, digest } in &input.shared {
            let Some(value) = input.values_json.get_mut(*place as usize) else { continue };
            match self.sent.get(digest) {
                Some(()) => *value = Bytes::new(),
                None => self.sent.note(digest, value.len(), ()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use heddle_proto::agent::Assign;

    use super::*;

    fn assign(values: &[&'static [u8]], named: &[(u32, &'static [u8])]) -> CoordinatorMessage {
        let input = Input {
            values_json: values.iter().map(|value| Bytes::from_static(value)).collect(),
            shared: named
                .iter()
                .map(|(place, digest)| SharedValue { place: *place, digest: Bytes::from_static(digest) })
                .collect(),
            ..Input::default()
        };
        CoordinatorMessage { kind: Some(Kind::Assign(Assign { inputs: vec![input], ..Assign::default() })) }
    }

    #[tokio::test]
    async fn a_stream_brings_a_value_once() {
        let (bundles, receiver) = mpsc::channel(2);
        let first = assign(&[b"1", b"other", b"1"], &[(0, b"one"), (2, b"one")]);
        bundles.send(vec![first, assign(&[b"1", b"2"], &[(0, b"one"), (1, b"two")])]).await.unwrap();
        drop(bundles);
        let frames: Vec<_> = frames(receiver).map(Result::unwrap).collect().await;
        let sent: Vec<_> = frames.into_iter().flat_map(|frame| frame.messages).collect();
        let first = assign(&[b"1", b"other", b""], &[(0, b"one"), (2, b"one")]);
        assert_eq!(sent, [first, assign(&[b"", b"2"], &[(0, b"one"), (1, b"two")])]);
    }
}
