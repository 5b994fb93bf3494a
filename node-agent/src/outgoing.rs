//! The way to the wire: a bounded queue, drained into frames as fast as the wire takes them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use futures::stream::{Stream, unfold};
use heddle_proto::agent as wire;
use heddle_proto::limits::FRAME_MESSAGES_MAX;
use tokio::sync::{mpsc, oneshot};
use wire::agent_message::Kind;

use crate::attempts::Permits;
use crate::limits::{FRAME_BYTES_MAX, URGENT_QUEUE_MAX};

/// What a message weighs beside its payload, in bytes.
const ENVELOPE_BYTES: usize = 256;

/// One message, and the permits that are granted with it. They leave in the same frame.
#[derive(Debug)]
pub(crate) struct Outgoing {
    message: Option<Kind>,
    permits: Permits,
    payload_bytes: usize,
}

impl Outgoing {
    pub(crate) fn message(message: Kind) -> Self {
        Self { message: Some(message), permits: Permits::NONE, payload_bytes: 0 }
    }

    pub(crate) fn permits(permits: Permits) -> Self {
        Self { message: None, permits, payload_bytes: 0 }
    }

    pub(crate) fn finished(finished: wire::Finished, payload_bytes: usize, permits: Permits) -> Self {
        Self { message: Some(Kind::Finished(finished)), permits, payload_bytes }
    }

    fn bytes(&self) -> usize {
        ENVELOPE_BYTES + self.payload_bytes
    }
}

/// Where the messages of one session go in.
pub(crate) struct Entrance {
    pub(crate) messages: mpsc::Sender<Outgoing>,
    pub(crate) pulse: Pulse,
}

/// What a session itself needs of its queue.
pub(crate) struct Pulse {
    /// Answers to pings: they overtake the rest.
    pub(crate) urgent: mpsc::Sender<Kind>,
    /// Set by every frame. Whoever clears it learns later whether the agent was silent since.
    pub(crate) has_sent: Arc<AtomicBool>,
    /// Resolves once every sender is gone and the wire has taken what they sent.
    pub(crate) ended: oneshot::Receiver<()>,
}

/// The queue of one session, and the frames that come out of it. They end when every sender of messages is gone.
pub(crate) fn queue(capacity: usize) -> (Entrance, impl Stream<Item = wire::AgentFrame> + Send + 'static) {
    let (messages, messages_out) = mpsc::channel(capacity);
    let (urgent, urgent_out) = mpsc::channel(URGENT_QUEUE_MAX);
    let (ended_in, ended) = oneshot::channel();
    let has_sent = Arc::new(AtomicBool::new(false));
    let exit = Exit {
        messages: messages_out,
        urgent: urgent_out,
        held: None,
        has_sent: Arc::clone(&has_sent),
        _ended: ended_in,
    };
    let frames = unfold(exit, |mut exit| async move { Some((exit.next_frame().await?, exit)) });
    (Entrance { messages, pulse: Pulse { urgent, has_sent, ended } }, frames)
}

struct Exit {
    messages: mpsc::Receiver<Outgoing>,
    urgent: mpsc::Receiver<Kind>,
    /// Taken from the queue, but too large for the last frame.
    held: Option<Outgoing>,
    has_sent: Arc<AtomicBool>,
    /// Dropped with the stream.
    _ended: oneshot::Sender<()>,
}

impl Exit {
    /// Everything that is ready now; waits when nothing is.
    async fn next_frame(&mut self) -> Option<wire::AgentFrame> {
        let mut frame = Frame::default();
        match self.held.take() {
            Some(outgoing) => frame.push(outgoing),
            None => tokio::select! {
                biased;
                Some(message) = self.urgent.recv() => frame.push(Outgoing::message(message)),
                outgoing = self.messages.recv() => frame.push(outgoing?),
            },
        }
        while !frame.is_full() {
            let Ok(outgoing) = self.messages.try_recv() else { break };
            if !frame.has_room_for(&outgoing) {
                self.held = Some(outgoing);
                break;
            }
            frame.push(outgoing);
        }
        self.has_sent.store(true, Ordering::Relaxed);
        Some(frame.close())
    }
}

#[derive(Default)]
struct Frame {
    messages: Vec<wire::AgentMessage>,
    permits: Permits,
    bytes: usize,
}

impl Frame {
    fn push(&mut self, outgoing: Outgoing) {
        self.bytes += outgoing.bytes();
        self.permits += outgoing.permits;
        self.messages.extend(outgoing.message.map(|kind| wire::AgentMessage { kind: Some(kind) }));
    }

    /// Two places are for the permits.
    fn is_full(&self) -> bool {
        self.messages.len() >= FRAME_MESSAGES_MAX - 2
    }

    fn has_room_for(&self, outgoing: &Outgoing) -> bool {
        self.bytes + outgoing.bytes() <= FRAME_BYTES_MAX
    }

    fn close(mut self) -> wire::AgentFrame {
        let permits = self.permits.into_wire().into_iter().map(Kind::Permit);
        self.messages.extend(permits.map(|kind| wire::AgentMessage { kind: Some(kind) }));
        wire::AgentFrame { messages: self.messages }
    }
}

/// What may be lost, from wherever it arises, into the queue of the session that is open now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outlet(Arc<RwLock<Option<mpsc::Sender<Outgoing>>>>);

impl Outlet {
    pub(crate) fn open(&self, messages: mpsc::Sender<Outgoing>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(messages);
    }

    pub(crate) fn close(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Sends the message if a session is open and its queue is at most half full: the rest is for what must arrive.
    pub(crate) fn offer(&self, message: impl FnOnce() -> Kind) {
        let messages = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(messages) = messages.as_ref().filter(|queue| queue.capacity() > queue.max_capacity() / 2) {
            // A queue that was closed or filled meanwhile loses the message, as it may.
            let _ = messages.try_send(Outgoing::message(message()));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;
    use crate::limits::RESULT_BYTES_MAX;

    fn result(number: u32) -> wire::Finished {
        let key = wire::AttemptKey { number, ..Default::default() };
        wire::Finished { key: Some(key), ..Default::default() }
    }

    fn heartbeat(nonce: u64) -> Kind {
        Kind::Heartbeat(wire::Heartbeat { nonce })
    }

    fn kinds(frame: wire::AgentFrame) -> Vec<Kind> {
        frame.messages.into_iter().filter_map(|message| message.kind).collect()
    }

    #[tokio::test]
    async fn a_frame_is_what_is_ready_with_its_permits_added_up() {
        let (entrance, frames) = queue(8);
        let mut frames = std::pin::pin!(frames);
        for number in 1..=3 {
            let permits = Permits { slot: 1, prefetch: number - 1 };
            entrance.messages.try_send(Outgoing::finished(result(number), 10, permits)).unwrap();
        }
        let kinds = kinds(frames.next().await.unwrap());
        let [Kind::Finished(first), _, _, Kind::Permit(slot), Kind::Permit(prefetch)] = &kinds[..] else {
            panic!("{kinds:?}")
        };
        assert_eq!(first.key.as_ref().unwrap().number, 1);
        assert_eq!((slot.class(), slot.count), (wire::PermitClass::Slot, 3));
        assert_eq!((prefetch.class(), prefetch.count), (wire::PermitClass::Prefetch, 3));
        assert!(entrance.pulse.has_sent.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn frames_are_bounded_in_bytes_and_messages() {
        let (entrance, frames) = queue(1_000);
        let mut frames = std::pin::pin!(frames);
        for number in 0..3 {
            entrance
                .messages
                .try_send(Outgoing::finished(result(number), RESULT_BYTES_MAX / 2, Permits::NONE))
                .unwrap();
        }
        for number in 3..600 {
            entrance
                .messages
                .try_send(Outgoing::finished(result(number), 1, Permits { slot: 1, prefetch: 1 }))
                .unwrap();
        }
        drop(entrance);
        let lengths: Vec<usize> = frames.by_ref().map(|frame| frame.messages.len()).collect().await;
        assert_eq!(lengths[0], 1, "two halves and their envelopes do not fit");
        assert!(lengths.iter().all(|&length| length <= FRAME_MESSAGES_MAX), "{lengths:?}");
        let permit_messages = 2 * (lengths.len() - 2);
        assert!((600..=600 + permit_messages + 2).contains(&lengths.iter().sum::<usize>()), "{lengths:?}");
    }

    #[tokio::test]
    async fn a_pong_overtakes_and_an_ended_queue_ends_the_stream() {
        let (entrance, frames) = queue(8);
        let mut frames = std::pin::pin!(frames);
        entrance.messages.try_send(Outgoing::message(heartbeat(1))).unwrap();
        entrance.pulse.urgent.try_send(heartbeat(2)).unwrap();
        assert_eq!(kinds(frames.next().await.unwrap()), [heartbeat(2), heartbeat(1)]);
        drop(entrance.messages);
        assert!(frames.next().await.is_none());
    }

    #[tokio::test]
    async fn what_may_be_lost_leaves_room_for_the_rest() {
        let outlet = Outlet::default();
        outlet.offer(|| panic!("made for no session"));
        let (entrance, _frames) = queue(8);
        outlet.open(entrance.messages.clone());
        (0..8).for_each(|nonce| outlet.offer(|| heartbeat(nonce)));
        assert_eq!(entrance.messages.capacity(), 4);
        outlet.close();
        outlet.offer(|| panic!("made for no session"));
    }
}
