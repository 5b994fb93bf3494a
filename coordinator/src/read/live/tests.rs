use heddle_core::id::{AttemptToken, BootId, Generation, NodeIx, ScopeIx, Slot};

use super::*;
use crate::limits::LIVE_ATTEMPT_BYTES_MAX;

fn live() -> Live {
    Live::new(Timestamp::from_millis(1))
}

fn agent(boot: u64) -> AgentBoot {
    AgentBoot { agent: "agt_1".into(), boot: BootId(boot) }
}

fn key_of(node: u32, number: u32) -> AttemptKey {
    let run = RunId::new(Timestamp::from_millis(1), Slot(0), 7);
    let instance = Instance { node: NodeIx(node), scope: ScopeIx(0), generation: Generation(0) };
    AttemptKey { run, instance, number: AttemptNumber(number), token: AttemptToken(9) }
}

fn key(number: u32) -> AttemptKey {
    key_of(3, number)
}

fn piece(sequence: u64, text: &str) -> Word {
    Word::Piece { port: "text".into(), sequence, text: Bytes::copy_from_slice(text.as_bytes()) }
}

/// What a reader hears before an event, which it has read then: pieces as (from, to, text), gaps without a text.
fn heard(live: &Live, cursor: &mut Cursor, before: u64) -> Vec<(u64, u64, String)> {
    heard_up_to(live, cursor, before, ALL)
}

/// The same, up to a word.
fn heard_up_to(live: &Live, cursor: &mut Cursor, before: u64, last: u64) -> Vec<(u64, u64, String)> {
    let of = Of { before: EventSeq(before), last, only: &|_| true, had: None };
    let (news, _) = live.news(key(1).run, cursor, of);
    let mut all = Vec::new();
    for one in news {
        cursor.pass(&one);
        match one.what {
            What::Text { from, to, text, .. } => all.push((from, to, text)),
            What::Gap { from, to } => all.push((from, to, String::new())),
            What::Progress(_) => {}
        }
    }
    all
}

fn is(heard: &[(u64, u64, String)], expected: &[(u64, u64, &str)]) {
    let heard: Vec<(u64, u64, &str)> = heard.iter().map(|(from, to, text)| (*from, *to, text.as_str())).collect();
    assert_eq!(heard, expected);
}

const ALL: u64 = u64::MAX;

#[test]
fn a_reader_hears_every_piece_once_and_in_order() {
    let (live, key) = (live(), key(1));
    let mut cursor = live.begin(key.run);
    live.tell(&agent(1), key, EventSeq(2), piece(0, "a"));
    live.tell(&agent(1), key, EventSeq(2), piece(1, "b"));
    is(&heard(&live, &mut cursor, ALL), &[(0, 1, "ab")]);
    is(&heard(&live, &mut cursor, ALL), &[]);
    live.tell(&agent(1), key, EventSeq(2), piece(2, "c"));
    // One that was lost on the way is a gap, and one that comes twice comes once.
    live.tell(&agent(1), key, EventSeq(2), piece(4, "e"));
    live.tell(&agent(1), key, EventSeq(2), piece(4, "e"));
    is(&heard(&live, &mut cursor, ALL), &[(2, 2, "c"), (3, 3, ""), (4, 4, "e")]);
    let mut late = live.begin(key.run);
    is(&heard(&live, &mut late, ALL), &[(0, 2, "abc"), (3, 3, ""), (4, 4, "e")]);
}

#[test]
fn several_attempts_are_told_in_the_order_in_which_they_spoke_and_a_number_is_the_place_in_all_of_them() {
    let (live, a, b) = (live(), key_of(1, 1), key_of(2, 1));
    for (key, sequence, text) in [(a, 0, "a"), (b, 0, "x"), (a, 1, "b"), (a, 2, "c"), (b, 1, "y")] {
        live.tell(&agent(1), key, EventSeq(2), piece(sequence, text));
    }
    let whole = [(0, 0, "a"), (0, 0, "x"), (1, 2, "bc"), (1, 1, "y")];
    is(&heard(&live, &mut live.begin(a.run), ALL), &whole);
    // Wherever a reader is cut off, it goes on behind what it has had.
    for cut in 0..whole.len() {
        let mut cursor = live.begin(a.run);
        let (news, _) =
            live.news(a.run, &mut cursor, Of { before: EventSeq(ALL), last: ALL, only: &|_| true, had: None });
        news.iter().take(cut).for_each(|news| cursor.pass(news));
        let mut back = Cursor { last: cursor.last, muted: cursor.muted, ..Cursor::default() };
        is(&heard(&live, &mut back, ALL), &whole[cut..]);
    }
}

#[test]
fn words_come_behind_what_was_history_when_they_were_said() {
    let (live, key) = (live(), key(1));
    let mut cursor = live.begin(key.run);
    live.tell(&agent(1), key, EventSeq(2), piece(0, "a"));
    live.tell(&agent(1), key, EventSeq(5), piece(1, "b"));
    is(&heard(&live, &mut cursor, 2), &[]);
    is(&heard(&live, &mut cursor, 3), &[(0, 0, "a")]);
    is(&heard(&live, &mut cursor, 5), &[]);
    is(&heard(&live, &mut cursor, 6), &[(1, 1, "b")]);
}

#[test]
fn the_last_words_of_an_attempt_are_for_those_who_come_back_and_not_for_those_who_come_after_it() {
    let (live, key) = (live(), key(1));
    let mut early = live.begin(key.run);
    live.tell(&agent(1), key, EventSeq(2), piece(0, "a"));
    is(&heard(&live, &mut early, ALL), &[(0, 0, "a")]);
    live.tell(&agent(1), key, EventSeq(2), piece(1, "b"));
    live.ended(key);
    is(&heard(&live, &mut live.begin(key.run), ALL), &[]);
    is(&heard(&live, &mut early, ALL), &[(1, 1, "b")]);
}

#[test]
fn buffers_are_bounded_and_who_comes_back_too_late_is_told_what_is_gone() {
    let (live, key) = (live(), key(1));
    let mut slow = live.begin(key.run);
    live.tell(&agent(1), key, EventSeq(0), piece(0, "first"));
    is(&heard(&live, &mut slow, ALL), &[(0, 0, "first")]);
    let text = "x".repeat(60 * 1024);
    let count = 1 + 2 * LIVE_ATTEMPT_BYTES_MAX as u64 / text.len() as u64;
    (1..count).for_each(|sequence| live.tell(&agent(1), key, EventSeq(0), piece(sequence, &text)));
    assert!(live.lock().bytes <= LIVE_ATTEMPT_BYTES_MAX);
    let kept = count - LIVE_ATTEMPT_BYTES_MAX as u64 / text.len() as u64;
    let mut back = Cursor { last: slow.last, muted: slow.muted, ..Cursor::default() };
    for (mut cursor, from) in [(slow, 1), (live.begin(key.run), 0)] {
        assert_eq!(heard(&live, &mut cursor, ALL)[0], (from, kept - 1, String::new()));
    }
    let mut last = 0;
    assert_eq!(heard(&live, &mut back, ALL)[0], (1, kept - 1, String::new()), "a number is as good");
    while let Some((_, to, _)) = heard(&live, &mut back, ALL).last() {
        last = *to;
    }
    assert_eq!(last, count - 1);
}

#[test]
fn who_reads_up_to_a_word_gets_no_further_and_knows_whether_that_was_all() {
    let (live, a, b) = (live(), key_of(1, 1), key_of(2, 1));
    let mut places = Vec::new();
    for (key, sequence, text) in [(a, 0, "a"), (a, 1, "b"), (b, 0, "x"), (a, 2, "c")] {
        live.tell(&agent(1), key, EventSeq(2), piece(sequence, text));
        places.push(live.lock().last);
    }
    let mut cursor = live.begin(a.run);
    is(&heard_up_to(&live, &mut cursor, ALL, places[0]), &[(0, 0, "a")]);
    is(&heard_up_to(&live, &mut cursor, ALL, places[2]), &[(1, 1, "b"), (0, 0, "x")]);
    assert!(live.is_whole(a.run, &cursor, 0, &|_| true));
    // All of that attempt's pieces go, and the next one is behind the place: nobody has told this reader.
    let text = "x".repeat(LIVE_ATTEMPT_BYTES_MAX);
    live.tell(&agent(1), a, EventSeq(2), piece(3, &text));
    is(&heard_up_to(&live, &mut cursor, ALL, places[3]), &[]);
    assert!(!live.is_whole(a.run, &cursor, 0, &|_| true));
    assert!(live.is_whole(a.run, &cursor, 0, &|instance| instance.node == NodeIx(2)));
    let mut late = live.resume(a.run, places[2], 0);
    is(&heard_up_to(&live, &mut late, ALL, places[3]), &[]);
    assert!(!live.is_whole(a.run, &late, places[2], &|_| true));
    assert!(live.is_whole(a.run, &live.resume(a.run, places[3], 0), places[3], &|_| true));
}

#[test]
fn what_is_long_gone_is_never_told_as_had() {
    let (live, key) = (live(), key(1));
    let text = "x".repeat(1024);
    let mut places = Vec::new();
    for sequence in 0..4_000 {
        live.tell(&agent(1), key, EventSeq(0), piece(sequence, &text));
        places.push((live.lock().last, sequence));
    }
    for (last, sequence) in places {
        let mut back = Cursor { last, ..Cursor::default() };
        let next = heard(&live, &mut back, ALL).first().map_or(sequence + 1, |(from, ..)| *from);
        assert!(next <= sequence + 1, "{next} after {sequence}");
    }
}

#[test]
fn an_agent_that_comes_back_goes_on_speaking() {
    let (live, key) = (live(), key(1));
    live.tell(&agent(1), key, EventSeq(2), piece(0, "a"));
    live.left(&agent(1));
    live.tell(&agent(1), key, EventSeq(2), piece(1, "b"));
    is(&heard(&live, &mut live.begin(key.run), ALL), &[(0, 1, "ab")]);
    live.lock().sweep(Instant::now() + LIVE_KEPT);
    is(&heard(&live, &mut live.begin(key.run), ALL), &[(0, 1, "ab")]);
    live.ended(key);
    live.lock().sweep(Instant::now() + LIVE_KEPT);
    assert_eq!((live.lock().attempts, live.showing.load(Ordering::Relaxed)), (0, 0));
}

#[test]
fn what_an_agent_held_is_over_when_it_leaves_and_nothing_stays() {
    let live = live();
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
