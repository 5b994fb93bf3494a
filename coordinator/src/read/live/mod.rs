//! What attempts show while they run: pieces of output and progress. Live only, never kept, and always followed by the
//! durable result (graph.md, part 11).
//!
//! There is no queue for each reader: the pieces lie in one bounded buffer for each attempt, and every reader takes from
//! there what it has not seen. Words are numbered as they come, over all attempts, and each knows how far its run's history
//! went then; so history and words have one order, which is the same for all readers, and two numbers say where a reader is.
//! Whoever comes late gets what is buffered; whoever is slow misses pieces, and is told which.

mod shown;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use heddle_core::id::{AgentBoot, AttemptKey, AttemptNumber, EventSeq, Instance, RunId};
use heddle_core::time::Timestamp;
use heddle_proto::pace::Pace;
use heddle_proto::stream_place::PiecePlace;
use tokio::sync::watch;

use crate::limits::{LIVE_ATTEMPTS_MAX, LIVE_BYTES_MAX, LIVE_KEPT, LIVE_NEWS_BYTES_MAX};

pub(crate) use shown::Progress;
use shown::{Shown, Told};

/// Words that a process may number in a millisecond, so that those of the next one have higher numbers.
const NUMBERS_PER_MS_BITS: u32 = 20;

/// Which attempt of which node, within one run.
pub(crate) type Place = (Instance, AttemptNumber);

/// The pieces of all attempts that show any.
#[derive(Debug)]
pub(crate) struct Live {
    inner: Mutex<Inner>,
    /// Attempts that have shown something and are not over, so that most results need not look here.
    showing: AtomicUsize,
    /// These, and those of which something is kept still, so that most readers need not look here.
    known: AtomicUsize,
    /// How often readers are told.
    pub(crate) pace: Pace,
}

#[derive(Debug)]
struct Inner {
    runs: HashMap<RunId, Topic>,
    /// Over, the oldest first: their last pieces are kept a while for readers that come back.
    over: VecDeque<Over>,
    attempts: usize,
    bytes: usize,
    /// The number of the last word. Those of an earlier process were lower.
    last: u64,
}

#[derive(Debug)]
struct Over {
    since: Instant,
    run: RunId,
    place: Place,
    /// As the attempt has it, unless it was heard again since.
    number: u64,
}

#[derive(Debug, Default)]
struct Topic {
    attempts: BTreeMap<Place, Shown>,
    /// How far the run's history went at its last word.
    at: EventSeq,
    /// Raised by every piece. Made when somebody reads.
    readers: Option<watch::Sender<()>>,
}

/// What an attempt says while it runs.
#[derive(Debug)]
pub(crate) enum Word {
    /// How far it is.
    Progress {
        /// From 0 to 1.
        fraction: f64,
        /// For people.
        message: String,
    },
    /// A piece of an output.
    Piece {
        /// Of which port.
        port: String,
        /// Counts the pieces of the attempt, from 0.
        sequence: u64,
        /// UTF-8.
        text: Bytes,
    },
}

/// What a reader has not seen yet.
#[derive(Debug, PartialEq)]
pub(crate) struct News {
    /// Whose it is.
    pub(crate) place: Place,
    /// It comes behind this event.
    pub(crate) at: EventSeq,
    /// Whoever has read it has read up to this word.
    upto: u64,
    pub(crate) what: What,
}

/// What there is to tell of an attempt.
#[derive(Debug, PartialEq)]
pub(crate) enum What {
    /// How far it is.
    Progress(Progress),
    /// Pieces that this reader does not get.
    Gap {
        /// The sequence of the first one that may be missing.
        from: u64,
        /// The sequence of the last one.
        to: u64,
    },
    /// Pieces in a row of one output.
    Text {
        /// Of which port.
        port: Arc<str>,
        /// The sequence of the first piece.
        from: u64,
        /// The sequence of the last piece.
        to: u64,
        /// All of them.
        text: String,
    },
}

/// How much of a run's live words one reader has seen.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    /// The last word.
    pub(crate) last: u64,
    /// Attempts that were over at this number had their results in the history when the reader began.
    pub(crate) muted: u64,
    /// The sequence that comes next of each attempt that was heard.
    pub(crate) next: HashMap<Place, u64>,
}

impl Cursor {
    /// What of [`Cursor::muted`] matters still: all words of attempts that were over had lower numbers.
    pub(crate) fn muted(&self) -> u64 {
        if self.last < self.muted { self.muted } else { 0 }
    }

    /// The reader has read this.
    pub(crate) fn pass(&mut self, news: &News) {
        self.last = self.last.max(news.upto);
        match news.what {
            What::Gap { to, .. } | What::Text { to, .. } => drop(self.next.insert(news.place, to + 1)),
            What::Progress(_) => {}
        }
    }
}

/// Which words a reader wants.
#[derive(Clone, Copy)]
pub(crate) struct Of<'a> {
    /// Those that came before this event.
    pub(crate) before: EventSeq,
    /// Those up to this one.
    pub(crate) last: u64,
    /// Those of these instances.
    pub(crate) only: &'a dyn Fn(Instance) -> bool,
    /// Of a reader of one instance: the last piece that it has had.
    pub(crate) had: Option<PiecePlace>,
}

impl Live {
    /// Nothing yet. Words get higher numbers than those of a process that began before `now`.
    pub(crate) fn new(now: Timestamp) -> Self {
        let last = u64::try_from(now.as_millis()).unwrap_or_default() << NUMBERS_PER_MS_BITS;
        let (runs, over) = (HashMap::new(), VecDeque::new());
        let inner = Mutex::new(Inner { runs, over, attempts: 0, bytes: 0, last });
        Self { inner, showing: AtomicUsize::new(0), known: AtomicUsize::new(0), pace: Pace::default() }
    }

    /// An attempt says something. The caller has made sure that the agent holds the attempt; `at` = the end of its
    /// run's history now. What does not fit is not shown.
    pub(crate) fn tell(&self, from: &AgentBoot, key: AttemptKey, at: EventSeq, word: Word) {
        let mut inner = self.lock();
        inner.sweep(Instant::now());
        let place = (key.instance, key.number);
        let is_known = inner.runs.get(&key.run).is_some_and(|topic| topic.attempts.contains_key(&place));
        if !is_known {
            if inner.attempts >= LIVE_ATTEMPTS_MAX && !inner.drop_oldest() {
                return;
            }
            inner.attempts += 1;
            self.showing.fetch_add(1, Ordering::Relaxed);
        }
        while inner.bytes >= LIVE_BYTES_MAX && inner.drop_oldest() {}
        let is_full = inner.bytes >= LIVE_BYTES_MAX;
        inner.last += 1;
        let number = inner.last;
        let topic = inner.runs.entry(key.run).or_default();
        topic.at = topic.at.max(at);
        let told = Told { number, at: topic.at };
        let shown = topic.attempts.entry(place).or_insert_with(|| Shown::new(from.clone()));
        if shown.over.take().is_some() {
            // Its agent was not heard for a while, and is back.
            self.showing.fetch_add(1, Ordering::Relaxed);
        }
        let before = shown.bytes;
        shown.take(word, told, is_full);
        let after = shown.bytes;
        topic.readers.as_ref().map(|readers| readers.send(()));
        inner.bytes = inner.bytes - before + after;
        self.known.store(inner.attempts, Ordering::Relaxed);
    }

    /// An attempt has ended; its last pieces stay for a while.
    pub(crate) fn ended(&self, key: AttemptKey) {
        if self.showing.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut inner = self.lock();
        let place = (key.instance, key.number);
        if inner.end(key.run, place, Instant::now()) {
            self.showing.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// An agent is not heard any more, and so its attempts show nothing.
    pub(crate) fn left(&self, agent: &AgentBoot) {
        if self.showing.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut inner = self.lock();
        let now = Instant::now();
        let of = |(run, topic): (&RunId, &Topic)| {
            let theirs = topic.attempts.iter().filter(|(_, shown)| shown.from == *agent);
            theirs.map(|(place, _)| (*run, *place)).collect::<Vec<_>>()
        };
        let theirs: Vec<_> = inner.runs.iter().flat_map(of).collect();
        for (run, place) in theirs {
            if inner.end(run, place, now) {
                self.showing.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// How far the running attempt of a node is.
    pub(crate) fn progress(&self, run: RunId, instance: Instance) -> Option<f64> {
        if self.showing.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let inner = self.lock();
        let attempts = &inner.runs.get(&run)?.attempts;
        let mut of_node = attempts.iter().rev().filter(|((shown, _), _)| *shown == instance);
        let running = of_node.find(|(_, shown)| shown.over.is_none());
        running.and_then(|(_, shown)| shown.progress.as_ref()).map(|progress| progress.fraction)
    }

    /// Wakes a reader at every word about a run from now on.
    pub(crate) fn follow(&self, run: RunId) -> watch::Receiver<()> {
        let mut inner = self.lock();
        let topic = inner.runs.entry(run).or_default();
        topic.readers.get_or_insert_with(|| watch::channel(()).0).subscribe()
    }

    /// Nobody may be reading this run any more.
    pub(crate) fn forget(&self, run: RunId) {
        let mut inner = self.lock();
        inner.sweep(Instant::now());
        self.known.store(inner.attempts, Ordering::Relaxed);
        inner.drop_if_idle(run);
    }

    /// Where a reader begins that has not said how much it has heard: at the beginning of what is kept, without attempts that
    /// are over, whose results are history to it, or about to be.
    pub(crate) fn begin(&self, run: RunId) -> Cursor {
        let inner = self.lock();
        let is_silent = inner.runs.get(&run).is_none_or(|topic| topic.attempts.is_empty());
        let (last, muted) = if is_silent { (inner.last, 0) } else { (0, inner.last) };
        Cursor { last, muted, next: HashMap::new() }
    }

    /// Where a reader goes on that has read up to a word.
    pub(crate) fn resume(&self, run: RunId, last: u64, muted: u64) -> Cursor {
        let is_known = last.max(muted) <= self.lock().last;
        // The clock may have been set back between two processes.
        if is_known { Cursor { last, muted, next: HashMap::new() } } else { self.begin(run) }
    }

    /// What a reader has not seen, in its order, at most about [`LIVE_NEWS_BYTES_MAX`] of text at once; and whether that
    /// was all that it asked for.
    pub(crate) fn news(&self, run: RunId, cursor: &mut Cursor, of: Of<'_>) -> (Vec<News>, bool) {
        if self.known.load(Ordering::Relaxed) == 0 {
            cursor.next.clear();
            return (Vec::new(), true);
        }
        let inner = self.lock();
        let Some(topic) = inner.runs.get(&run) else {
            cursor.next.clear();
            return (Vec::new(), true);
        };
        if cursor.next.len() > topic.attempts.len() {
            cursor.next.retain(|place, _| topic.attempts.contains_key(place));
        }
        let is_heard = |(place, shown): &(&Place, &Shown)| {
            shown.has_news(cursor.last) && shown.over.is_none_or(|over| over > cursor.muted) && (of.only)(place.0)
        };
        let heard = topic.attempts.iter().filter(is_heard);
        let mut sources: Vec<Source<'_>> =
            heard.map(|(place, shown)| Source::new(*place, shown, cursor, of.had)).collect();
        merged(&mut sources, of.before, of.last)
    }

    /// Whether a reader that began behind the word `began`, and has read all there was up to another, has had every piece up to
    /// there, or was told that it does not get it. If none of an attempt's pieces was left, nobody has told it yet.
    pub(crate) fn is_whole(&self, run: RunId, cursor: &Cursor, began: u64, only: &dyn Fn(Instance) -> bool) -> bool {
        let inner = self.lock();
        let Some(topic) = inner.runs.get(&run) else { return true };
        let is_heard =
            |(place, shown): &(&Place, &Shown)| shown.over.is_none_or(|over| over > cursor.muted) && only(place.0);
        topic.attempts.iter().filter(is_heard).all(|(place, shown)| match cursor.next.get(place) {
            Some(next) => shown.keeps_from(*next),
            None => shown.keeps_behind(began),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt, and how much of it is told.
struct Source<'a> {
    place: Place,
    shown: &'a Shown,
    progress: Option<&'a Progress>,
    /// Its next piece.
    piece: usize,
    /// The sequence that this has unless one is missing.
    expected: u64,
}

impl<'a> Source<'a> {
    fn new(place: Place, shown: &'a Shown, cursor: &Cursor, had: Option<PiecePlace>) -> Self {
        let progress = shown.progress.as_ref().filter(|progress| progress.told.number > cursor.last);
        let piece = shown.pieces.partition_point(|piece| piece.told.number <= cursor.last);
        let (instance, attempt) = place;
        let is_same = |had: &PiecePlace| had.generation == instance.generation.0 && had.attempt == attempt.0;
        let had = had.filter(is_same).map(|had| had.sequence + 1);
        let next = cursor.next.get(&place).copied();
        let expected = next.or(had).unwrap_or_else(|| shown.expected(cursor.last));
        Self { place, shown, progress, piece, expected }
    }

    /// Where its next word stands.
    fn next(&self) -> Option<Told> {
        let piece = self.shown.pieces.get(self.piece).map(|piece| piece.told);
        let progress = self.progress.map(|progress| progress.told);
        match (piece, progress) {
            (Some(piece), Some(progress)) if progress.number < piece.number => Some(progress),
            (piece, progress) => piece.or(progress),
        }
    }

    /// Tells its next word, and the pieces that follow it in a row and come before `other`.
    fn tell(&mut self, other: u64, room: &mut usize, news: &mut Vec<News>) {
        let Some(Told { number, at }) = self.next() else { return };
        let place = self.place;
        if let Some(progress) = self.progress.take_if(|progress| progress.told.number == number) {
            return news.push(News { place, at, upto: number, what: What::Progress(progress.clone()) });
        }
        let Some(piece) = self.shown.pieces.get(self.piece) else { return };
        if piece.sequence > self.expected {
            let (from, to) = (self.expected, piece.sequence - 1);
            news.push(News { place, at, upto: number - 1, what: What::Gap { from, to } });
        }
        let (mut upto, mut to, mut text) = (number, piece.sequence, String::new());
        let other = other.min(self.progress.map_or(u64::MAX, |progress| progress.told.number));
        while let Some(next) = self.shown.pieces.get(self.piece) {
            let is_next = text.is_empty() && next.told.number == number
                || *room > 0
                    && next.sequence == to + 1
                    && next.port == piece.port
                    && next.told.at == at
                    && next.told.number < other;
            if !is_next {
                break;
            }
            text.push_str(&String::from_utf8_lossy(&next.text));
            *room = room.saturating_sub(next.text.len().max(1));
            (upto, to) = (next.told.number, next.sequence);
            self.piece += 1;
        }
        self.expected = to + 1;
        let what = What::Text { port: Arc::clone(&piece.port), from: piece.sequence, to, text };
        news.push(News { place, at, upto, what });
    }
}

/// The words of all of them in their order, before an event and up to a word; and whether these were all.
fn merged(sources: &mut [Source<'_>], before: EventSeq, last: u64) -> (Vec<News>, bool) {
    let (mut news, mut room) = (Vec::new(), LIVE_NEWS_BYTES_MAX);
    let next = |sources: &[Source<'_>], place: usize| Some(Reverse((sources[place].next()?.number, place)));
    let mut order: BinaryHeap<_> = (0..sources.len()).filter_map(|place| next(sources, place)).collect();
    while let Some(Reverse((_, place))) = order.pop() {
        if sources[place].next().is_some_and(|told| told.at >= before || told.number > last) {
            return (news, true);
        }
        if room == 0 {
            return (news, false);
        }
        let other = order.peek().map_or(u64::MAX, |Reverse((number, _))| *number).min(last.saturating_add(1));
        sources[place].tell(other, &mut room, &mut news);
        order.extend(next(sources, place));
    }
    (news, true)
}

impl Inner {
    /// Whether it was showing until now.
    fn end(&mut self, run: RunId, place: Place, now: Instant) -> bool {
        let Some(topic) = self.runs.get_mut(&run) else { return false };
        let Some(shown) = topic.attempts.get_mut(&place).filter(|shown| shown.over.is_none()) else { return false };
        self.last += 1;
        shown.over = Some(self.last);
        self.over.push_back(Over { since: now, run, place, number: self.last });
        true
    }

    fn sweep(&mut self, now: Instant) {
        while self.over.front().is_some_and(|over| now.saturating_duration_since(over.since) >= LIVE_KEPT) {
            self.drop_oldest();
        }
    }

    /// Lets go of the attempt that has been over for the longest time, if there is one.
    fn drop_oldest(&mut self) -> bool {
        let Some(Over { run, place, number, .. }) = self.over.pop_front() else { return false };
        let topic = self.runs.get_mut(&run);
        let is_over = |shown: &Shown| shown.over == Some(number);
        if let Some(topic) = topic.filter(|topic| topic.attempts.get(&place).is_some_and(is_over))
            && let Some(shown) = topic.attempts.remove(&place)
        {
            self.attempts -= 1;
            self.bytes -= shown.bytes;
        }
        self.drop_if_idle(run);
        true
    }

    fn drop_if_idle(&mut self, run: RunId) {
        let Some(topic) = self.runs.get_mut(&run) else { return };
        topic.readers.take_if(|readers| readers.receiver_count() == 0);
        if topic.readers.is_none() && topic.attempts.is_empty() {
            self.runs.remove(&run);
        }
    }
}

#[cfg(test)]
mod tests;
