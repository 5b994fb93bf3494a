//! What attempts show while they run: pieces of output and progress. Live only, never kept, and always followed by the
//! durable result (graph.md, part 11).
//!
//! There is no queue for each reader: the pieces lie in one bounded buffer for each attempt, and every reader takes from
//! there what it has not seen. Whoever comes late gets what is buffered; whoever is slow misses pieces, and sees by their
//! numbers that it did.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use heddle_core::id::{AgentBoot, AttemptKey, AttemptNumber, EventSeq, Instance, RunId};
use tokio::sync::watch;

use crate::limits::{
    LIVE_ATTEMPT_BYTES_MAX, LIVE_ATTEMPTS_MAX, LIVE_BYTES_MAX, LIVE_KEPT, LIVE_MESSAGE_BYTES_MAX, LIVE_NEWS_BYTES_MAX,
};

/// Which attempt of which node, within one run.
pub(crate) type Place = (Instance, AttemptNumber);

/// The pieces of all attempts that show any.
#[derive(Debug, Default)]
pub(crate) struct Live {
    inner: Mutex<Inner>,
    /// Attempts that have shown something and are not over, so that most results need not look here.
    showing: AtomicUsize,
}

#[derive(Debug, Default)]
struct Inner {
    runs: HashMap<RunId, Topic>,
    /// Over, the oldest first: their last pieces are kept a moment for readers that lag behind.
    over: VecDeque<(Instant, RunId, Place)>,
    attempts: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Topic {
    attempts: BTreeMap<Place, Shown>,
    /// Raised by every piece. Made when somebody reads.
    readers: Option<watch::Sender<()>>,
}

#[derive(Debug)]
struct Shown {
    from: AgentBoot,
    /// The history's end when the attempt showed something first: its assignment lies before it.
    since: EventSeq,
    is_over: bool,
    progress: Option<Progress>,
    pieces: VecDeque<Piece>,
    bytes: usize,
}

/// How far an attempt is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Progress {
    /// From 0 to 1.
    pub(crate) fraction: f64,
    /// For people.
    pub(crate) message: Arc<str>,
    number: u64,
}

#[derive(Debug)]
struct Piece {
    port: Arc<str>,
    sequence: u64,
    text: Bytes,
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
pub(crate) enum News {
    /// How far an attempt is.
    Progress {
        /// Whose.
        place: Place,
        /// How far.
        progress: Progress,
    },
    /// Pieces in a row of one output.
    Text {
        /// Whose.
        place: Place,
        /// Of which port.
        port: Arc<str>,
        /// The number of the first piece.
        from: u64,
        /// The number of the last piece.
        to: u64,
        /// All of them.
        text: String,
    },
}

/// How much of a run's live words one reader has seen.
#[derive(Debug, Default)]
pub(crate) struct Cursor(HashMap<Place, Seen>);

#[derive(Debug, Default)]
struct Seen {
    next_piece: u64,
    next_progress: u64,
}

/// Which attempts a reader wants to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// Those that run, and whose assignment lies before this place in the history.
    Running(EventSeq),
    /// Those that were heard already and are over now: what comes next may be their result.
    Over,
}

impl Live {
    /// An attempt says something. The caller has made sure that the agent holds the attempt; `since` = the end of its
    /// run's history now. What does not fit is not shown.
    pub(crate) fn tell(&self, from: &AgentBoot, key: AttemptKey, since: EventSeq, word: Word) {
        let mut inner = self.lock();
        inner.sweep(Instant::now());
        let place = (key.instance, key.number);
        let is_known = inner.runs.get(&key.run).is_some_and(|topic| topic.attempts.contains_key(&place));
        if !is_known {
            if inner.attempts >= LIVE_ATTEMPTS_MAX {
                return;
            }
            inner.attempts += 1;
            self.showing.fetch_add(1, Ordering::Relaxed);
        }
        let full = inner.bytes >= LIVE_BYTES_MAX;
        let topic = inner.runs.entry(key.run).or_default();
        let shown = topic.attempts.entry(place).or_insert_with(|| Shown::new(from.clone(), since));
        let before = shown.bytes;
        shown.take(word, full);
        let after = shown.bytes;
        topic.readers.as_ref().map(|readers| readers.send(()));
        inner.bytes = inner.bytes - before + after;
    }

    /// An attempt has ended; its last pieces stay for a moment.
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
        let running = of_node.find(|(_, shown)| !shown.is_over);
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
        inner.drop_if_idle(run);
    }

    /// What a reader has not seen, in the order of nodes; at most about [`LIVE_NEWS_BYTES_MAX`] of text at once.
    pub(crate) fn news(&self, run: RunId, cursor: &mut Cursor, of: Of) -> Vec<News> {
        let inner = self.lock();
        let Some(topic) = inner.runs.get(&run) else {
            cursor.0.clear();
            return Vec::new();
        };
        let mut news = Vec::new();
        let mut room = LIVE_NEWS_BYTES_MAX;
        for (place, shown) in &topic.attempts {
            let is_wanted = match of {
                Of::Running(upto) => !shown.is_over && shown.since <= upto,
                Of::Over => shown.is_over && cursor.0.contains_key(place),
            };
            if !is_wanted {
                continue;
            }
            let seen = cursor.0.entry(*place).or_default();
            shown.news(*place, seen, &mut room, &mut news);
            if room == 0 {
                break;
            }
        }
        cursor.0.retain(|place, _| topic.attempts.contains_key(place));
        news
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    fn new(from: AgentBoot, since: EventSeq) -> Self {
        Self { from, since, is_over: false, progress: None, pieces: VecDeque::new(), bytes: 0 }
    }

    /// Takes a word in; the oldest pieces make room for the youngest.
    fn take(&mut self, word: Word, is_full: bool) {
        match word {
            Word::Progress { fraction, mut message } => {
                let number = self.progress.as_ref().map_or(0, |progress| progress.number + 1);
                let fraction = if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.0 };
                message.truncate(message.floor_char_boundary(LIVE_MESSAGE_BYTES_MAX));
                self.progress = Some(Progress { fraction, message: message.into(), number });
            }
            Word::Piece { port, sequence, text } => {
                let is_text = std::str::from_utf8(&text).is_ok();
                // An agent that counts backwards would be shown twice.
                let follows = self.pieces.back().is_none_or(|last| last.sequence < sequence);
                if !is_text || !follows || text.len() > LIVE_ATTEMPT_BYTES_MAX {
                    return;
                }
                let port = match self.pieces.back().filter(|last| *last.port == *port) {
                    Some(last) => Arc::clone(&last.port),
                    None => port.into(),
                };
                self.bytes += text.len();
                self.pieces.push_back(Piece { port, sequence, text });
                while self.bytes > LIVE_ATTEMPT_BYTES_MAX || is_full && self.pieces.len() > 1 {
                    let oldest = self.pieces.pop_front();
                    self.bytes -= oldest.map_or(0, |piece| piece.text.len());
                }
            }
        }
    }

    fn news(&self, place: Place, seen: &mut Seen, room: &mut usize, news: &mut Vec<News>) {
        if let Some(progress) = self.progress.as_ref().filter(|progress| progress.number >= seen.next_progress) {
            seen.next_progress = progress.number + 1;
            news.push(News::Progress { place, progress: progress.clone() });
        }
        let first = self.pieces.partition_point(|piece| piece.sequence < seen.next_piece);
        let mut pieces = self.pieces.range(first..).peekable();
        while let Some(piece) = pieces.next_if(|_| *room > 0) {
            let (port, from) = (Arc::clone(&piece.port), piece.sequence);
            let (mut to, mut text) = (from, String::from_utf8_lossy(&piece.text).into_owned());
            *room = room.saturating_sub(text.len());
            while let Some(next) = pieces.next_if(|next| *room > 0 && next.port == port && next.sequence == to + 1) {
                text.push_str(&String::from_utf8_lossy(&next.text));
                *room = room.saturating_sub(next.text.len());
                to = next.sequence;
            }
            seen.next_piece = to + 1;
            news.push(News::Text { place, port, from, to, text });
        }
    }
}

impl Inner {
    /// Whether it was showing until now.
    fn end(&mut self, run: RunId, place: Place, now: Instant) -> bool {
        let Some(topic) = self.runs.get_mut(&run) else { return false };
        let Some(shown) = topic.attempts.get_mut(&place).filter(|shown| !shown.is_over) else { return false };
        shown.is_over = true;
        self.over.push_back((now, run, place));
        true
    }

    fn sweep(&mut self, now: Instant) {
        while let Some((at, run, place)) = self.over.front().copied()
            && now.saturating_duration_since(at) >= LIVE_KEPT
        {
            self.over.pop_front();
            if let Some(shown) = self.runs.get_mut(&run).and_then(|topic| topic.attempts.remove(&place)) {
                self.attempts -= 1;
                self.bytes -= shown.bytes;
            }
            self.drop_if_idle(run);
        }
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
mod tests {
    use heddle_core::id::{AttemptToken, BootId, Generation, NodeIx, ScopeIx, Slot};
    use heddle_core::time::Timestamp;

    use super::*;

    fn agent(boot: u64) -> AgentBoot {
        AgentBoot { agent: "agt_1".into(), boot: BootId(boot) }
    }

    fn key(number: u32) -> AttemptKey {
        let run = RunId::new(Timestamp::from_millis(1), Slot(0), 7);
        let instance = Instance { node: NodeIx(3), scope: ScopeIx(0), generation: Generation(0) };
        AttemptKey { run, instance, number: AttemptNumber(number), token: AttemptToken(9) }
    }

    fn piece(sequence: u64, text: &str) -> Word {
        Word::Piece { port: "text".into(), sequence, text: Bytes::copy_from_slice(text.as_bytes()) }
    }

    fn texts(news: &[News]) -> Vec<(u64, u64, &str)> {
        let mut all = Vec::new();
        for one in news {
            if let News::Text { from, to, text, .. } = one {
                all.push((*from, *to, text.as_str()));
            }
        }
        all
    }

    const RUNNING: Of = Of::Running(EventSeq(10));

    #[test]
    fn a_reader_sees_every_piece_once_and_in_order() {
        let (live, key) = (Live::default(), key(1));
        let mut cursor = Cursor::default();
        live.tell(&agent(1), key, EventSeq(2), piece(0, "a"));
        live.tell(&agent(1), key, EventSeq(2), piece(1, "b"));
        assert_eq!(texts(&live.news(key.run, &mut cursor, RUNNING)), [(0, 1, "ab")]);
        assert_eq!(live.news(key.run, &mut cursor, RUNNING), []);
        live.tell(&agent(1), key, EventSeq(2), piece(2, "c"));
        // One that was lost on the way is a gap, and one that comes twice comes once.
        live.tell(&agent(1), key, EventSeq(2), piece(4, "e"));
        live.tell(&agent(1), key, EventSeq(2), piece(4, "e"));
        assert_eq!(texts(&live.news(key.run, &mut cursor, RUNNING)), [(2, 2, "c"), (4, 4, "e")]);
        let mut late = Cursor::default();
        assert_eq!(texts(&live.news(key.run, &mut late, RUNNING)), [(0, 2, "abc"), (4, 4, "e")]);
    }

    #[test]
    fn an_attempt_is_not_heard_before_its_assignment_or_after_its_end() {
        let (live, key) = (Live::default(), key(1));
        let (mut early, mut heard) = (Cursor::default(), Cursor::default());
        live.tell(&agent(1), key, EventSeq(2), piece(0, "a"));
        assert_eq!(live.news(key.run, &mut early, Of::Running(EventSeq(1))), []);
        assert_eq!(texts(&live.news(key.run, &mut heard, RUNNING)), [(0, 0, "a")]);
        live.tell(&agent(1), key, EventSeq(2), piece(1, "b"));
        live.ended(key);
        assert_eq!(live.news(key.run, &mut early, Of::Over), [], "its result is history to this reader");
        assert_eq!(texts(&live.news(key.run, &mut heard, Of::Over)), [(1, 1, "b")]);
    }

    #[test]
    fn buffers_are_bounded_and_lose_the_oldest() {
        let (live, key) = (Live::default(), key(1));
        let piece_text = "x".repeat(64 * 1024);
        let count = 2 * LIVE_ATTEMPT_BYTES_MAX / piece_text.len();
        (0..count as u64).for_each(|sequence| live.tell(&agent(1), key, EventSeq(0), piece(sequence, &piece_text)));
        assert!(live.lock().bytes <= LIVE_ATTEMPT_BYTES_MAX);
        let (mut cursor, mut last) = (Cursor::default(), None);
        loop {
            let news = live.news(key.run, &mut cursor, RUNNING);
            let Some((_, to, _)) = texts(&news).last().copied() else { break };
            last = Some(to);
        }
        assert_eq!(last, Some(count as u64 - 1));
    }

    #[test]
    fn what_an_agent_held_is_over_when_it_leaves_and_nothing_stays() {
        let live = Live::default();
        live.tell(&agent(1), key(1), EventSeq(0), Word::Progress { fraction: 0.5, message: "half".into() });
        assert_eq!(live.progress(key(1).run, key(1).instance), Some(0.5));
        live.left(&agent(2));
        assert_eq!(live.progress(key(1).run, key(1).instance), Some(0.5), "another boot");
        live.left(&agent(1));
        assert_eq!(live.progress(key(1).run, key(1).instance), None);
        let mut inner = live.lock();
        inner.sweep(Instant::now() + LIVE_KEPT);
        assert!(inner.runs.is_empty() && inner.over.is_empty());
        assert_eq!((inner.attempts, inner.bytes), (0, 0));
    }
}
