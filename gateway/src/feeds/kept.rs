//! The youngest of what a stream has told, as text, and where in it a reader goes on.

use std::collections::VecDeque;

use axum::body::Bytes;
use heddle_proto::stream_place::StreamPlace;

/// What came at once.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) text: Bytes,
    /// The place behind each of its events, and where the text of that one ends.
    pub(super) events: Vec<(StreamPlace, usize)>,
}

/// A bounded stretch of a stream: pages without a gap, up to its end.
#[derive(Debug)]
pub(super) struct Kept {
    /// The place before the first page.
    begin: StreamPlace,
    /// The number of that page, of all that there were.
    first: u64,
    pages: VecDeque<Page>,
    bytes: usize,
}

/// Where a reader goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    page: u64,
    byte: usize,
}

/// How a place lies to what is kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// All that comes behind it follows here.
    Here(Position),
    /// Here follows what comes behind this place, which is further on.
    Before(StreamPlace),
    /// It is further on than this stream.
    Beyond,
    /// Nobody knows.
    Elsewhere,
}

/// What there is for a reader.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// These texts. Behind them, it goes on there; the place is what clients know of that.
    Text(Vec<Bytes>, Position, StreamPlace),
    /// It has had all.
    Nothing,
    /// What comes next for it is not kept any more.
    Gone,
}

impl Page {
    /// The place behind all of it.
    fn behind(&self) -> Option<StreamPlace> {
        self.events.last().map(|(place, _)| *place)
    }
}

impl Kept {
    pub(super) fn new(begin: StreamPlace) -> Self {
        Self { begin, first: 0, pages: VecDeque::new(), bytes: 0 }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The place behind all that is kept.
    pub(super) fn end(&self) -> StreamPlace {
        self.pages.back().and_then(Page::behind).unwrap_or(self.begin)
    }

    /// Behind all that is kept.
    pub(super) fn end_position(&self) -> Position {
        Position { page: self.first + self.pages.len() as u64, byte: 0 }
    }

    /// Takes a page in. The oldest make room for it within `bytes_max`; it stays itself, however large it is.
    pub(super) fn push(&mut self, page: Page, bytes_max: usize) {
        self.bytes += page.text.len();
        self.pages.push_back(page);
        while self.bytes > bytes_max
            && self.pages.len() > 1
            && let Some(oldest) = self.pages.pop_front()
        {
            self.bytes -= oldest.text.len();
            self.begin = oldest.behind().unwrap_or(self.begin);
            self.first += 1;
        }
    }

    /// Where a reader goes on that has read up to a place.
    pub(super) fn find(&self, place: StreamPlace) -> Found {
        let end = self.end();
        if place == end {
            return Found::Here(self.end_position());
        }
        if place.seq >= end.seq && place.word >= end.word {
            return Found::Beyond;
        }
        if place == self.begin {
            return Found::Here(Position { page: self.first, byte: 0 });
        }
        let is_before = |other: StreamPlace| (other.seq, other.word) < (place.seq, place.word);
        let next = if is_before(self.begin) { self.next_in(place, is_before) } else { None };
        let further = match next {
            Some(Ok(position)) => return Found::Here(position),
            Some(Err(further)) => Some(further),
            None => None,
        };
        // Behind such a place all readers are told the same, whatever they have heard before it.
        let leads_there = |there: &StreamPlace| {
            there.muted == 0 && there.seq >= place.seq && there.word >= place.word && place.muted <= there.word
        };
        further.into_iter().chain([end]).find(leads_there).map_or(Found::Elsewhere, Found::Before)
    }

    /// Where a place that is not before the first page lies in them; if it is within an event, the place behind that.
    fn next_in(
        &self,
        place: StreamPlace,
        is_before: impl Fn(StreamPlace) -> bool,
    ) -> Option<Result<Position, StreamPlace>> {
        let number = self.pages.partition_point(|page| page.behind().is_some_and(&is_before));
        let page = self.pages.get(number)?;
        let event = page.events.partition_point(|(behind, _)| is_before(*behind));
        let (behind, byte) = *page.events.get(event)?;
        if behind != place {
            return Some(Err(behind));
        }
        let number = self.first + number as u64;
        let is_last = event + 1 == page.events.len();
        Some(Ok(if is_last { Position { page: number + 1, byte: 0 } } else { Position { page: number, byte } }))
    }

    /// What there is behind a position: about `bytes_max`, as far as that is more than one page.
    pub(super) fn next(&self, from: Position, bytes_max: usize) -> Next {
        let Some(place) = from.page.checked_sub(self.first) else { return Next::Gone };
        let (mut texts, mut bytes, mut byte, mut behind) = (Vec::new(), 0, from.byte, None);
        for page in self.pages.iter().skip(place as usize) {
            if !texts.is_empty() && bytes + page.text.len() > bytes_max {
                break;
            }
            let text = page.text.slice(byte.min(page.text.len())..);
            (byte, behind) = (0, page.behind());
            bytes += text.len();
            texts.push(text);
        }
        match behind {
            Some(behind) => {
                let page = from.page + texts.len() as u64;
                Next::Text(texts, Position { page, byte: 0 }, behind)
            }
            None => Next::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(seq: u64, word: u64) -> StreamPlace {
        StreamPlace { seq, word, ..StreamPlace::default() }
    }

    /// Each event is its place, in brackets.
    fn page(places: &[StreamPlace]) -> Page {
        let (mut text, mut events) = (String::new(), Vec::new());
        for place in places {
            text += &format!("[{place}]");
            events.push((*place, text.len()));
        }
        Page { text: text.into(), events }
    }

    fn kept() -> Kept {
        let mut kept = Kept::new(place(1, 0));
        kept.push(page(&[place(2, 0), place(3, 0)]), 1_000);
        kept.push(page(&[place(3, 7)]), 1_000);
        kept.push(page(&[place(3, 9), place(4, 9)]), 1_000);
        kept
    }

    /// All that a reader is told behind a place.
    fn behind(kept: &Kept, place: StreamPlace) -> String {
        let Found::Here(mut position) = kept.find(place) else { panic!("{:?}", kept.find(place)) };
        let mut all = String::new();
        while let Next::Text(texts, next, _) = kept.next(position, 1) {
            assert_eq!(texts.len(), 1);
            all += std::str::from_utf8(&texts[0]).unwrap();
            position = next;
        }
        all
    }

    #[test]
    fn whoever_is_at_an_event_goes_on_behind_it() {
        let kept = kept();
        assert_eq!(behind(&kept, place(1, 0)), "[2][3][3.7][3.9][4.9]");
        assert_eq!(behind(&kept, place(2, 0)), "[3][3.7][3.9][4.9]");
        assert_eq!(behind(&kept, place(3, 0)), "[3.7][3.9][4.9]");
        assert_eq!(behind(&kept, place(3, 9)), "[4.9]");
        assert_eq!(behind(&kept, place(4, 9)), "");
        let Found::Here(begin) = kept.find(place(1, 0)) else { panic!() };
        let Next::Text(texts, position, last) = kept.next(begin, 1_000) else { panic!() };
        assert_eq!((texts.len(), position, last), (3, kept.end_position(), place(4, 9)), "several pages at once");
    }

    #[test]
    fn whoever_is_not_is_told_where_to_go_first() {
        let kept = kept();
        assert_eq!(kept.find(place(0, 0)), Found::Before(place(4, 9)), "before all that is kept");
        assert_eq!(kept.find(place(3, 8)), Found::Before(place(3, 9)), "within a piece");
        assert_eq!(kept.find(place(4, 12)), Found::Beyond);
        assert_eq!(kept.find(place(5, 9)), Found::Beyond);
        assert_eq!(kept.find(place(3, 12)), Found::Elsewhere, "it has heard more, and read less");
        let muted = StreamPlace { muted: 8, ..place(3, 6) };
        assert_eq!(kept.find(muted), Found::Before(place(4, 9)), "not to where what it does not hear is told");
        assert_eq!(kept.find(StreamPlace { muted: 10, ..place(3, 6) }), Found::Elsewhere);
    }

    #[test]
    fn nobody_is_led_to_where_others_are_told_less() {
        let muted = |seq| StreamPlace { muted: 5, ..place(seq, 0) };
        let mut kept = Kept::new(place(0, 0));
        kept.push(page(&[muted(1), muted(2)]), 1_000);
        assert_eq!(kept.find(place(1, 0)), Found::Elsewhere);
        assert_eq!(behind(&kept, muted(1)), "[2.0.5]");
        kept.push(page(&[place(2, 6)]), 1_000);
        assert_eq!(kept.find(place(1, 0)), Found::Before(place(2, 6)));
    }

    #[test]
    fn the_oldest_make_room_and_the_youngest_stays() {
        let mut kept = kept();
        let Found::Here(early) = kept.find(place(2, 0)) else { panic!() };
        kept.push(page(&[place(4, 10)]), 12);
        assert_eq!(kept.next(early, 1_000), Next::Gone);
        assert_eq!((kept.find(place(2, 0)), kept.bytes()), (Found::Before(place(4, 10)), 6));
        assert_eq!(behind(&kept, place(4, 9)), "[4.10]");
        kept.push(page(&[place(5, 10)]), 0);
        assert_eq!(behind(&kept, place(4, 10)), "[5.10]");
    }
}
