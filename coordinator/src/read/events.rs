//! What is told of a run: its history, each row as one public event, and what its nodes say meanwhile.

use std::sync::Arc;

use futures::Stream;
use heddle_core::id::{EventSeq, Instance, RunId};
use heddle_core::run::event::{Event, Fact};
use heddle_proto::control as wire;
use heddle_proto::pace::Counted;
use heddle_proto::stream_place::{PiecePlace, StreamPlace};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::batches;
use super::event_json::{show, show_news, show_set_aside};
use super::hub::Hint;
use super::live::{Cursor, News, Of, What};
use super::node_events::{Matter, Only};
use super::runs::{self, ReadError};
use super::scopes::Scopes;
use crate::auth::Tenant;
use crate::limits::{EVENT_PAGE_BYTES, EVENT_PAGE_ROWS, FOLLOW_PAGE_BYTES, FOLLOW_PAGE_ROWS, READ_AGAIN};
use crate::shared::Shared;

/// In the place behind the last word on a node: nothing is heard there.
const ALL: u64 = u64::MAX;

/// What a reader wants of a run's events.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Those behind this place.
    pub(crate) after: StreamPlace,
    /// Those up to this place, if all of them are to be had.
    pub(crate) until: Option<StreamPlace>,
    /// Those to come, too, until the run is over, or the node.
    pub(crate) follow: bool,
    /// Those of this node.
    pub(crate) only: Option<Only>,
}

/// A run's events, page by page.
pub(crate) async fn pages(
    shared: Arc<Shared>,
    tenant: Tenant,
    id: RunId,
    wanted: Wanted,
) -> Result<impl Stream<Item = Result<wire::EventPage, ReadError>> + Send + 'static, ReadError> {
    let asked = Asked { shared, tenant, id, wanted };
    let reader = asked.begun().await?;
    Ok(futures::stream::unfold((asked, reader), |(asked, reader)| async move {
        let mut reader = match reader {
            Some(reader) => reader,
            // A run of a batch that has not begun has no events yet.
            None => match asked.awaited().await.transpose()? {
                Ok(reader) => reader,
                Err(error) => return Some((Err(error), (asked, None))),
            },
        };
        let page = reader.next().await.transpose()?;
        Some((page, (asked, Some(reader))))
    }))
}

/// What is asked of a history.
struct Asked {
    shared: Arc<Shared>,
    tenant: Tenant,
    id: RunId,
    wanted: Wanted,
}

impl Asked {
    /// A reader of the run's history; `None` if it is a run of a batch that has not begun.
    async fn begun(&self) -> Result<Option<Reader>, ReadError> {
        let row = match runs::row(&self.shared, &self.tenant, self.id).await {
            Err(ReadError::NotFound) => {
                return batches::not_begun(&self.shared, &self.tenant, self.id).await.map(|_| None);
            }
            row => row?,
        };
        let (shared, tenant) = (Arc::clone(&self.shared), self.tenant.clone());
        let scopes = Scopes::new(row.run, runs::graph_of(&shared, &row).await?);
        let Wanted { after, until, follow, only } = &self.wanted;
        // Who waited behind the end would miss what comes up to there.
        let is_read = after.seq > 0 && row.quarantine_reason.is_none();
        if is_read && runs::find_event(&shared, &row, EventSeq(after.seq)).await?.is_none() {
            return Err(ReadError::NoEvent(EventSeq(after.seq)));
        }
        let mut heard = match (after.word, after.muted) {
            (0, 0) => shared.live.begin(self.id),
            (word, muted) => shared.live.resume(self.id, word, muted),
        };
        if let (Some(until), (0, 0)) = (until, (after.word, after.muted)) {
            // Attempts that were at work there are heard from their beginning on: whoever goes on there hears their ends.
            heard.muted = heard.muted.min(until.word);
        }
        let news = follow.then(|| Signals { hints: shared.hub.follow(self.id), words: shared.live.follow(self.id) });
        Ok(Some(Reader {
            shared,
            tenant,
            scopes,
            id: self.id,
            after: EventSeq(after.seq),
            until: *until,
            began: after.word,
            signals: news,
            only: only.clone(),
            is_over: row.quarantine_reason.is_some() || only.is_some() && after.muted == ALL,
            // A place with a piece is one of this node's own stream, which ends with the result.
            looks_back: *follow
                && after.seq > 0
                && after.piece.is_none()
                && only.as_ref().is_some_and(|only| only.is_single),
            has_ended: row.summary.ended_at.is_some(),
            set_aside: row.quarantine_reason.filter(|_| *follow),
            heard,
            piece: after.piece.filter(|_| only.as_ref().is_some_and(|only| only.is_single)),
            counted: Counted::default(),
            not_before: None,
        }))
    }

    /// The same as soon as the run has begun; `None` if it never will, or if nobody wants to wait.
    async fn awaited(&self) -> Result<Option<Reader>, ReadError> {
        loop {
            let mut hints = self.shared.hub.follow(self.id);
            if let Some(reader) = self.begun().await? {
                return Ok(Some(reader));
            }
            let status = batches::not_begun(&self.shared, &self.tenant, self.id).await?.status();
            if !self.wanted.follow || !matches!(status, wire::RunStatus::Pending | wire::RunStatus::Running) {
                return Ok(None);
            }
            let _told = timeout(READ_AGAIN, hints.changed()).await;
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.shared.hub.forget(self.id);
    }
}

/// What wakes a follower.
struct Signals {
    /// The history has grown.
    hints: watch::Receiver<Option<Hint>>,
    /// A node has said something.
    words: watch::Receiver<()>,
}

struct Reader {
    shared: Arc<Shared>,
    tenant: Tenant,
    /// Its items, as far as `after` when a page has been read.
    scopes: Scopes,
    id: RunId,
    after: EventSeq,
    /// Where it ends.
    until: Option<StreamPlace>,
    /// The last word before it began.
    began: u64,
    /// If it follows.
    signals: Option<Signals>,
    only: Option<Only>,
    /// The reader has seen the end.
    is_over: bool,
    /// The last word on the one node that it follows may lie before the place where it began.
    looks_back: bool,
    /// The run had ended before its last page was read, wherever the reader is: what it has not read by then will not come.
    has_ended: bool,
    /// Why the run was set aside, if this is still to be told.
    set_aside: Option<Arc<str>>,
    /// What it has heard of attempts that run.
    heard: Cursor,
    /// The last piece of the one node that it follows.
    piece: Option<PiecePlace>,
    /// Among those who are told something.
    counted: Counted,
    /// When it is told more.
    not_before: Option<Instant>,
}

impl Reader {
    /// The next page that holds anything; `None` at the end.
    async fn next(&mut self) -> Result<Option<wire::EventPage>, ReadError> {
        if let Some(at) = self.not_before.take() {
            sleep_until(at).await;
        }
        let page = self.found().await?;
        if self.signals.is_some() && !self.is_over && page.is_some() {
            let now = Instant::now();
            let pause = self.shared.live.pace.told(&mut self.counted, now.into_std());
            self.not_before = (!pause.is_zero()).then(|| now + pause);
        }
        Ok(page)
    }

    async fn found(&mut self) -> Result<Option<wire::EventPage>, ReadError> {
        loop {
            if let Some(why) = self.set_aside.take() {
                self.is_over = true;
                let events = vec![self.placed(show_set_aside(self.shared.clock.now().as_millis(), &why))];
                return Ok(Some(wire::EventPage { events, is_until: false }));
            }
            if self.is_over && (self.signals.is_some() || self.only.is_some()) {
                return Ok(None);
            }
            if let Some(event) = self.last_before().await? {
                return Ok(Some(wire::EventPage { events: vec![event], is_until: false }));
            }
            // Marked before it is looked: what comes from here on wakes the reader.
            if let Some(signals) = &mut self.signals {
                signals.hints.mark_unchanged();
                signals.words.mark_unchanged();
            }
            self.read_before(self.after.next()).await?;
            let (rows, bytes) = match (&self.signals, &self.only) {
                (Some(_), None) => (FOLLOW_PAGE_ROWS, FOLLOW_PAGE_BYTES),
                _ => (EVENT_PAGE_ROWS, EVENT_PAGE_BYTES),
            };
            let mut page = self.page(self.after, rows, bytes).await?;
            let until = self.until.map(|until| EventSeq(until.seq));
            page.retain(|event| until.is_none_or(|until| event.seq <= until));
            if let Some(first) = page.first() {
                self.read_before(first.seq).await?;
                let events = self.told(&page);
                match events.is_empty() {
                    true => continue,
                    false => return Ok(Some(wire::EventPage { events, is_until: false })),
                }
            }
            let is_until = until.is_some_and(|until| self.after >= until);
            if self.signals.is_none() || self.has_ended && !is_until {
                return Ok(None);
            }
            let events = self.words();
            if !events.is_empty() {
                return Ok(Some(wire::EventPage { events, is_until: false }));
            }
            if !is_until {
                self.wait().await?;
            } else if self.is_whole() {
                self.is_over = true;
                return Ok(Some(wire::EventPage { events, is_until }));
            } else {
                // What is missing is told with what comes behind that place.
                self.until = None;
            }
        }
    }

    /// The last word on a node, for a reader whose place, as one in the stream of the run, lies behind it. It hears nothing else
    /// of the node any more.
    async fn last_before(&mut self) -> Result<Option<wire::Event>, ReadError> {
        let Some(only) = self.only.clone().filter(|_| std::mem::take(&mut self.looks_back)) else { return Ok(None) };
        let mut read = EventSeq(0);
        while read < self.after {
            let page = self.page(read, EVENT_PAGE_ROWS, EVENT_PAGE_BYTES).await?;
            for event in page.iter().take_while(|event| event.seq <= self.after) {
                self.scopes.step(self.id, event);
                if let Matter::Last(shown) = only.of(&self.scopes, event) {
                    self.is_over = true;
                    return Ok(Some(self.placed(shown)));
                }
            }
            match page.last() {
                Some(last) => read = last.seq,
                None => break,
            }
        }
        Ok(None)
    }

    /// Waits for news, or until it is time to look again without any (E27).
    async fn wait(&mut self) -> Result<(), ReadError> {
        let Some(Signals { hints, words }) = &mut self.signals else { return Ok(()) };
        let after = self.after;
        let is_news = |hint: &Option<Hint>| hint.is_some_and(|hint| hint.seq > after || hint.is_over());
        let told = tokio::select! {
            told = timeout(READ_AGAIN, hints.wait_for(is_news)) => told.map(|told| told.map(|hint| *hint)),
            _word = words.changed() => return Ok(()),
        };
        let goes_on = told.is_ok_and(|told| told.is_ok_and(|hint| hint.is_some_and(|hint| !hint.is_over())));
        if !goes_on {
            let row = runs::row(&self.shared, &self.tenant, self.id).await?;
            self.has_ended = row.summary.ended_at.is_some();
            self.set_aside = row.quarantine_reason;
        }
        Ok(())
    }

    /// What a page of the history tells, with the words that came between its events.
    fn told(&mut self, page: &[Arc<Event>]) -> Vec<wire::Event> {
        let (mut events, mut bytes) = (Vec::new(), 0);
        let last = page.last().map_or(self.after, |event| event.seq);
        let (words, are_all) = self.news(last);
        let mut words = words.into_iter().peekable();
        for event in page {
            while let Some(word) = words.next_if(|word| word.at < event.seq) {
                events.push(self.word(&word));
            }
            // Further words may have come before this event.
            let is_cut = !are_all && words.peek().is_none();
            let is_full = self.signals.is_some() && bytes >= FOLLOW_PAGE_BYTES;
            if !events.is_empty() && (is_cut || is_full) {
                break;
            }
            self.scopes.step(self.id, event);
            self.after = event.seq;
            self.is_over |= matches!(event.fact, Fact::Ended { .. });
            let shown = match self.only.as_ref().map(|only| only.of(&self.scopes, event)) {
                None => show(&self.scopes, event),
                Some(Matter::Nothing) => continue,
                Some(Matter::Some(shown)) => shown,
                Some(Matter::Last(shown)) => {
                    self.is_over = true;
                    shown
                }
            };
            bytes += shown.data_json.len();
            events.push(self.placed(shown));
            if self.is_over && self.only.is_some() {
                break;
            }
        }
        events
    }

    /// What nodes have said since this reader heard them last, as far as the history has been read.
    fn words(&mut self) -> Vec<wire::Event> {
        let (words, _) = self.news(self.after.next());
        words.iter().map(|word| self.word(word)).collect()
    }

    fn news(&mut self, before: EventSeq) -> (Vec<News>, bool) {
        if self.signals.is_none() {
            return (Vec::new(), true);
        }
        let Self { scopes, only, heard, piece, .. } = self;
        let is_wanted = |instance: Instance| only.as_ref().is_none_or(|only| only.is(scopes, instance));
        let last = self.until.map_or(u64::MAX, |until| until.word);
        self.shared.live.news(self.id, heard, Of { before, last, only: &is_wanted, had: *piece })
    }

    /// Whether it has had, or knows that it does not get, all that comes before the place at which it ends.
    fn is_whole(&self) -> bool {
        let is_wanted = |instance: Instance| self.only.as_ref().is_none_or(|only| only.is(&self.scopes, instance));
        self.shared.live.is_whole(self.id, &self.heard, self.began, &is_wanted)
    }

    /// A word as an event, which this reader has heard then. It has no seq: it is in no history.
    fn word(&mut self, word: &News) -> wire::Event {
        self.heard.pass(word);
        let (instance, attempt) = word.place;
        if let (What::Text { to, .. }, true) = (&word.what, self.only.as_ref().is_some_and(|only| only.is_single)) {
            let generation = instance.generation.0;
            self.piece = Some(PiecePlace { generation, attempt: attempt.0, sequence: *to });
        }
        let at_ms = self.shared.clock.now().as_millis();
        self.placed(show_news(&self.scopes, at_ms, word))
    }

    /// Names the place behind an event that has just been read.
    fn placed(&self, event: wire::Event) -> wire::Event {
        if self.signals.is_none() {
            return event;
        }
        let is_last = self.is_over && self.only.is_some();
        let (word, muted) = (self.heard.last, if is_last { ALL } else { self.heard.muted() });
        let place = StreamPlace { seq: self.after.0, word, muted, piece: self.piece };
        wire::Event { place: place.to_string(), ..event }
    }

    /// Reads what a reader that began in the middle has not seen, so that items that are at work have their numbers.
    async fn read_before(&mut self, next: EventSeq) -> Result<(), ReadError> {
        while let Some(known) = self.scopes.lacks(next) {
            let page = self.page(known, EVENT_PAGE_ROWS, EVENT_PAGE_BYTES).await?;
            if page.is_empty() {
                break;
            }
            page.iter().take_while(|event| event.seq < next).for_each(|event| self.scopes.step(self.id, event));
        }
        Ok(())
    }

    async fn page(&self, after: EventSeq, rows: usize, bytes: usize) -> Result<Vec<Arc<Event>>, ReadError> {
        if let Some(events) = self.shared.recent.events(self.id, after, rows) {
            return Ok(events);
        }
        let (tenant, id) = (self.tenant.clone(), self.id);
        let page = self.shared.journal.read_history(tenant, id, after, rows, bytes);
        Ok(page.await.map_err(ReadError::Journal)?.into_iter().map(Arc::new).collect())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // What is followed no more may be forgotten.
        self.signals = None;
        self.shared.hub.forget(self.id);
        self.shared.live.forget(self.id);
    }
}
