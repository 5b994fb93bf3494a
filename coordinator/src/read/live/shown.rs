//! What one attempt has shown: its youngest pieces, how far it is, and where what is gone has ended.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use heddle_core::id::{AgentBoot, EventSeq};

use super::Word;
use crate::limits::{LIVE_ATTEMPT_BYTES_MAX, LIVE_MARKS_MAX, LIVE_MESSAGE_BYTES_MAX};

/// What one that is gone takes.
const MARK_BYTES: usize = size_of::<(u64, u64)>();

/// Where a word stands among all that is told of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    /// Counts the words of all runs, in the order in which they came.
    pub(super) number: u64,
    /// The history's end then: the word comes behind this event, and before the one that ends its attempt.
    pub(super) at: EventSeq,
}

/// How far an attempt is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Progress {
    /// From 0 to 1.
    pub(crate) fraction: f64,
    /// For people.
    pub(crate) message: Arc<str>,
    pub(super) told: Told,
}

#[derive(Debug)]
pub(super) struct Piece {
    pub(super) port: Arc<str>,
    pub(super) sequence: u64,
    pub(super) told: Told,
    pub(super) text: Bytes,
}

/// One attempt that shows something.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) from: AgentBoot,
    /// The number at which it was over.
    pub(super) over: Option<u64>,
    pub(super) progress: Option<Progress>,
    pub(super) pieces: VecDeque<Piece>,
    /// Of the pieces, and of what is remembered of those that are gone.
    pub(super) bytes: usize,
    /// Of pieces that made room: some of their numbers and sequences, the last one always.
    gone: VecDeque<(u64, u64)>,
}

impl Shown {
    pub(super) fn new(from: AgentBoot) -> Self {
        Self { from, over: None, progress: None, pieces: VecDeque::new(), bytes: 0, gone: VecDeque::new() }
    }

    /// Takes a word in; the oldest pieces make room for the youngest.
    pub(super) fn take(&mut self, word: Word, told: Told, is_full: bool) {
        match word {
            Word::Progress { fraction, mut message } => {
                let fraction = if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.0 };
                message.truncate(message.floor_char_boundary(LIVE_MESSAGE_BYTES_MAX));
                self.progress = Some(Progress { fraction, message: message.into(), told });
            }
            Word::Piece { port, sequence, text } => {
                let is_text = std::str::from_utf8(&text).is_ok();
                // An agent that counts backwards would be shown twice.
                let follows = self.last().is_none_or(|last| last < sequence);
                if !is_text || !follows || text.len() > LIVE_ATTEMPT_BYTES_MAX {
                    return;
                }
                let port = match self.pieces.back().filter(|last| *last.port == *port) {
                    Some(last) => Arc::clone(&last.port),
                    None => port.into(),
                };
                self.bytes += text.len();
                self.pieces.push_back(Piece { port, sequence, told, text });
                while self.bytes - self.gone.len() * MARK_BYTES > LIVE_ATTEMPT_BYTES_MAX
                    || is_full && self.pieces.len() > 1
                {
                    let Some(oldest) = self.pieces.pop_front() else { break };
                    self.bytes -= oldest.text.len();
                    self.note_gone(oldest.told.number, oldest.sequence);
                }
            }
        }
    }

    /// Whether there is anything behind a word.
    pub(super) fn has_news(&self, last: u64) -> bool {
        let youngest = self.pieces.back().map(|piece| piece.told.number);
        youngest.max(self.progress.as_ref().map(|progress| progress.told.number)).is_some_and(|number| number > last)
    }

    /// The sequence that follows for a reader that has read up to a word. Where that is not known any more: one that the
    /// reader has already.
    pub(super) fn expected(&self, last: u64) -> u64 {
        let at_hand = self.pieces.partition_point(|piece| piece.told.number <= last);
        let known = match at_hand.checked_sub(1) {
            Some(place) => self.pieces.get(place).map(|piece| piece.sequence),
            None => self.gone.iter().rev().find(|(number, _)| *number <= last).map(|(_, sequence)| *sequence),
        };
        known.map_or(0, |sequence| sequence + 1)
    }

    /// Whether all pieces from this sequence on are at hand.
    pub(super) fn keeps_from(&self, next: u64) -> bool {
        self.gone.back().is_none_or(|(_, sequence)| *sequence < next)
    }

    /// Whether all pieces behind this word are at hand.
    pub(super) fn keeps_behind(&self, last: u64) -> bool {
        self.gone.back().is_none_or(|(number, _)| *number <= last)
    }

    /// The sequence of its youngest piece.
    fn last(&self) -> Option<u64> {
        let at_hand = self.pieces.back().map(|piece| piece.sequence);
        at_hand.or_else(|| self.gone.back().map(|(_, sequence)| *sequence))
    }

    fn note_gone(&mut self, number: u64, sequence: u64) {
        self.bytes -= self.gone.len() * MARK_BYTES;
        if self.gone.len() >= LIVE_MARKS_MAX {
            // Every other one: what is long gone is known less exactly.
            let mut place = 0;
            self.gone.retain(|_| {
                place += 1;
                place % 2 == 0
            });
        }
        self.gone.push_back((number, sequence));
        self.bytes += self.gone.len() * MARK_BYTES;
    }
}
