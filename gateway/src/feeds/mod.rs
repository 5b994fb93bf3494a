//! What clients follow, told once for all of them: a feed is one stream of the coordinator, read on by whoever of its readers
//! is foremost, and each event of it is written once.
//!
//! A reader goes on where it is. If the feed of a run has that place at hand, the reader joins it. If it is further back, it
//! gets a feed of its own up to a place that is at hand, and joins there. If it is further on, as behind a feed whose
//! readers have stopped, its own feed is the run's from then on. So a reader that takes nothing holds up nobody, and
//! thousands at the same place cost the coordinator as much as one.

mod kept;
mod source;
mod text;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use heddle_proto::pace::Pace;
use heddle_proto::stream_place::StreamPlace;
use tokio::sync::{Notify, watch};

use crate::app::App;
use crate::http::auth::{Caller, ReadExecutions};
use crate::http::error::ApiError;
use crate::limits::{FEED_ALONE_BYTES_MAX, FEED_BYTES_MAX, FEEDS_BYTES_MAX, FOLLOWER_PIECE_BYTES};
use kept::{Found, Kept, Next, Page, Position};
use source::Source;

/// What clients notice while the coordinator is away.
pub(crate) const OUTAGE: &[u8] = b": the coordinator cannot be reached, trying again\n\n";

/// What is followed, and in which form: those who follow the same can share a feed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Followed {
    /// Whose run it is.
    pub(crate) tenant: String,
    pub(crate) execution_id: String,
    /// A node of it, and the items and turns that it lies in.
    pub(crate) node: Option<(String, Vec<u32>)>,
    /// Whether to wait for what is to come.
    pub(crate) follow: bool,
    /// Whether each event names the place behind it, or those of the history alone.
    pub(crate) has_all_ids: bool,
}

/// The feeds that others may join, and what all feeds keep.
#[derive(Debug, Default)]
pub(crate) struct Feeds {
    leads: Mutex<HashMap<Arc<Followed>, Arc<Feed>>>,
    totals: Arc<Totals>,
    /// How often readers are told.
    pub(crate) pace: Pace,
}

/// Of all feeds.
#[derive(Debug, Default)]
struct Totals {
    feeds: AtomicUsize,
    /// What they keep.
    bytes: AtomicUsize,
}

/// Why a feed tells no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All is told.
    Over,
    /// Others tell what comes behind this place.
    Until(StreamPlace),
    /// The coordinator was away for too long, or said no, or what it said could not be read.
    Error,
}

/// What there is for a reader.
#[derive(Debug)]
pub(crate) enum Taken {
    /// These texts, and the place behind them.
    Text(Vec<Bytes>, StreamPlace),
    /// Nothing yet.
    Nothing,
    /// What comes next for it is not kept here any more.
    Gone,
    /// Nothing more.
    Ended(Ended),
}

/// One stream of the coordinator.
#[derive(Debug)]
struct Feed {
    followed: Arc<Followed>,
    told: Mutex<Told>,
    /// Raised by whatever is told. Its receivers are the readers: without any, the feed ends.
    grown: watch::Sender<()>,
    /// Raised when a reader has had all.
    asked: Notify,
    totals: Arc<Totals>,
}

#[derive(Debug)]
struct Told {
    kept: Kept,
    /// A reader has had all of it.
    is_wanted: bool,
    ended: Option<Ended>,
}

/// A reader's place in a feed.
#[derive(Debug)]
pub(crate) struct Seat {
    feed: Arc<Feed>,
    position: Position,
    grown: watch::Receiver<()>,
}

/// Opens what is followed behind a place.
pub(crate) async fn open(
    app: &Arc<App>,
    caller: &Caller<ReadExecutions>,
    followed: &Arc<Followed>,
    after: StreamPlace,
) -> Result<Seat, ApiError> {
    let found = match app.feeds.find(followed, after) {
        Ok(seat) => return Ok(seat),
        Err(found) => found,
    };
    let until = match found {
        Found::Before(until) => Some(until),
        _ => None,
    };
    let source = Source::open(app, caller, followed, after, until).await?;
    let feed = Arc::new(Feed::new(followed, after, &app.feeds.totals));
    let seat = match found {
        Found::Beyond => app.feeds.lead(&feed, after),
        _ => feed.end_seat(),
    };
    if Arc::ptr_eq(&seat.feed, &feed) {
        tokio::spawn(source.run(feed));
    }
    Ok(seat)
}

impl Feeds {
    /// How many streams of the coordinator all that follow share.
    pub(crate) fn count(&self) -> usize {
        self.totals.feeds.load(Ordering::Relaxed)
    }

    /// A seat in the feed that others may join; or how the place lies to what that has at hand.
    fn find(&self, followed: &Arc<Followed>, after: StreamPlace) -> Result<Seat, Found> {
        if !followed.follow {
            return Err(Found::Elsewhere);
        }
        let leads = self.lock();
        let Some(lead) = leads.get(followed) else { return Err(Found::Beyond) };
        lead.find(after)
    }

    /// Others may join this feed from now on, and not the one before; unless that has the place by now.
    fn lead(&self, feed: &Arc<Feed>, after: StreamPlace) -> Seat {
        let mut leads = self.lock();
        if let Some(Ok(seat)) = leads.get(&feed.followed).map(|lead| lead.find(after)) {
            return seat;
        }
        let seat = feed.end_seat();
        leads.insert(Arc::clone(&feed.followed), Arc::clone(feed));
        seat
    }

    /// Nobody joins this feed any more.
    fn forget(&self, feed: &Arc<Feed>) {
        let mut leads = self.lock();
        if leads.get(&feed.followed).is_some_and(|lead| Arc::ptr_eq(lead, feed)) {
            leads.remove(&feed.followed);
        }
    }

    /// The same if it has no readers; whether that is so.
    fn forget_if_left(&self, feed: &Arc<Feed>) -> bool {
        let mut leads = self.lock();
        let is_left = feed.grown.receiver_count() == 0;
        if is_left && leads.get(&feed.followed).is_some_and(|lead| Arc::ptr_eq(lead, feed)) {
            leads.remove(&feed.followed);
        }
        is_left
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<Followed>, Arc<Feed>>> {
        self.leads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feed {
    fn new(followed: &Arc<Followed>, after: StreamPlace, totals: &Arc<Totals>) -> Self {
        totals.feeds.fetch_add(1, Ordering::Relaxed);
        Self {
            followed: Arc::clone(followed),
            told: Mutex::new(Told { kept: Kept::new(after), is_wanted: false, ended: None }),
            grown: watch::channel(()).0,
            asked: Notify::new(),
            totals: Arc::clone(totals),
        }
    }

    fn find(self: &Arc<Self>, after: StreamPlace) -> Result<Seat, Found> {
        let told = self.lock();
        match told.kept.find(after) {
            Found::Here(position) => Ok(self.seat(position)),
            found => Err(found),
        }
    }

    /// For who begins it.
    fn end_seat(self: &Arc<Self>) -> Seat {
        let position = self.lock().kept.end_position();
        self.seat(position)
    }

    fn seat(self: &Arc<Self>, position: Position) -> Seat {
        Seat { feed: Arc::clone(self), position, grown: self.grown.subscribe() }
    }

    /// Waits until a reader has had all.
    async fn wanted(&self) {
        while !self.lock().is_wanted {
            self.asked.notified().await;
        }
    }

    /// The place behind all that was told.
    fn end(&self) -> StreamPlace {
        self.lock().kept.end()
    }

    /// Tells readers. For one alone, little of what it has had is kept.
    fn tell(&self, page: Page) {
        let is_shared = self.grown.receiver_count() > 1;
        let has_room = self.totals.bytes.load(Ordering::Relaxed) < FEEDS_BYTES_MAX;
        let bytes_max = match (has_room, is_shared) {
            (true, true) => FEED_BYTES_MAX,
            (true, false) => FEED_ALONE_BYTES_MAX,
            (false, _) => 0,
        };
        let mut told = self.lock();
        self.totals.bytes.fetch_sub(told.kept.bytes(), Ordering::Relaxed);
        told.kept.push(page, bytes_max);
        told.is_wanted = false;
        self.totals.bytes.fetch_add(told.kept.bytes(), Ordering::Relaxed);
        drop(told);
        self.grown.send_replace(());
    }

    fn end_with(&self, ended: Ended) {
        self.lock().ended = Some(ended);
        self.grown.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.totals.feeds.fetch_sub(1, Ordering::Relaxed);
        self.totals.bytes.fetch_sub(self.lock().kept.bytes(), Ordering::Relaxed);
    }
}

impl Seat {
    /// What there is now.
    pub(crate) fn take(&mut self) -> Taken {
        // Marked before it is looked: what comes from here on wakes the reader.
        self.grown.mark_unchanged();
        let told = self.feed.lock();
        match (told.kept.next(self.position, FOLLOWER_PIECE_BYTES), told.ended) {
            (Next::Text(texts, position, behind), _) => {
                self.position = position;
                Taken::Text(texts, behind)
            }
            (Next::Gone, _) => Taken::Gone,
            (Next::Nothing, Some(ended)) => Taken::Ended(ended),
            (Next::Nothing, None) => Taken::Nothing,
        }
    }

    /// Waits for what comes, which is asked for now.
    pub(crate) async fn wait(&mut self) {
        self.feed.lock().is_wanted = true;
        self.feed.asked.notify_one();
        // The sender lives as long as the feed, which is held here.
        let _grown = self.grown.changed().await;
    }
}
