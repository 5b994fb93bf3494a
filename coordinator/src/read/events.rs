//! A run's history for people: each row as one public event.

use std::sync::Arc;

use futures::Stream;
use heddle_core::id::{EventSeq, RunId};
use heddle_core::run::event::{Event, Fact};
use heddle_proto::control as wire;
use tokio::time::timeout;

use super::batches;
use super::event_json::{show, show_news};
use super::hub::Hint;
use super::live::{Cursor, Of};
use super::runs::{self, ReadError};
use super::scopes::Scopes;
use crate::auth::Tenant;
use crate::limits::{EVENT_PAGE_BYTES, EVENT_PAGE_ROWS, READ_AGAIN};
use crate::shared::Shared;

/// A history from `after` on, page by page; with `follow` until the run is over.
pub(crate) async fn pages(
    shared: Arc<Shared>,
    tenant: Tenant,
    id: RunId,
    after: EventSeq,
    follow: bool,
) -> Result<impl Stream<Item = Result<wire::EventPage, ReadError>> + Send + 'static, ReadError> {
    let asked = Asked { shared, tenant, id, after, follow };
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
    after: EventSeq,
    follow: bool,
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
        let (is_over, has_ended) = (row.quarantine_reason.is_some(), row.summary.ended_at.is_some());
        let (id, after, follow, heard) = (self.id, self.after, self.follow, Cursor::default());
        Ok(Some(Reader { shared, tenant, scopes, id, after, follow, is_over, has_ended, heard }))
    }

    /// The same as soon as the run has begun; `None` if it never will, or if nobody wants to wait.
    async fn awaited(&self) -> Result<Option<Reader>, ReadError> {
        loop {
            let mut hints = self.shared.hub.follow(self.id);
            if let Some(reader) = self.begun().await? {
                return Ok(Some(reader));
            }
            let status = batches::not_begun(&self.shared, &self.tenant, self.id).await?.status();
            if !self.follow || !matches!(status, wire::RunStatus::Pending | wire::RunStatus::Running) {
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

struct Reader {
    shared: Arc<Shared>,
    tenant: Tenant,
    /// Its items, as far as `after` when a page has been read.
    scopes: Scopes,
    id: RunId,
    after: EventSeq,
    follow: bool,
    /// The reader has seen the end.
    is_over: bool,
    /// The run had ended before its last page was read, wherever the reader is: what it has not read by then will not come.
    has_ended: bool,
    /// What it has heard of attempts that run.
    heard: Cursor,
}

impl Reader {
    /// The next page that holds anything; `None` at the end.
    async fn next(&mut self) -> Result<Option<wire::EventPage>, ReadError> {
        loop {
            if self.is_over && self.follow {
                return Ok(None);
            }
            let mut hints = self.shared.hub.follow(self.id);
            let mut words = self.follow.then(|| self.shared.live.follow(self.id));
            self.read_before(self.after.next()).await?;
            let page = self.page(self.after).await?;
            if let [first, .., last] | [first @ last] = &page[..] {
                self.read_before(first.seq).await?;
                self.after = last.seq;
                self.is_over |= page.iter().any(|event| matches!(event.fact, Fact::Ended { .. }));
                // What attempts said before their results comes before them.
                let mut events = if self.follow { self.live(Of::Over) } else { Vec::new() };
                for event in &page {
                    self.scopes.step(self.id, event);
                    events.push(show(&self.scopes, event));
                }
                return Ok(Some(wire::EventPage { events }));
            }
            let Some(words) = words.as_mut().filter(|_| !self.has_ended) else { return Ok(None) };
            let events = self.live(Of::Running(self.after));
            if !events.is_empty() {
                return Ok(Some(wire::EventPage { events }));
            }
            let after = self.after;
            let is_news = |hint: &Option<Hint>| hint.is_some_and(|hint| hint.seq > after || hint.is_over());
            // Without a hint it looks again all the same (E27).
            let told = tokio::select! {
                told = timeout(READ_AGAIN, hints.wait_for(is_news)) => told,
                _word = words.changed() => continue,
            };
            let goes_on = told.is_ok_and(|told| told.is_ok_and(|hint| hint.is_some_and(|hint| !hint.is_over())));
            if !goes_on {
                let row = runs::row(&self.shared, &self.tenant, self.id).await?;
                self.has_ended = row.summary.ended_at.is_some();
            }
        }
    }
}

impl Reader {
    /// Reads what a reader that began in the middle has not seen, so that items that are at work have their numbers.
    async fn read_before(&mut self, next: EventSeq) -> Result<(), ReadError> {
        while let Some(known) = self.scopes.lacks(next) {
            let page = self.page(known).await?;
            if page.is_empty() {
                break;
            }
            page.iter().take_while(|event| event.seq < next).for_each(|event| self.scopes.step(self.id, event));
        }
        Ok(())
    }

    async fn page(&self, after: EventSeq) -> Result<Vec<Arc<Event>>, ReadError> {
        if let Some(events) = self.shared.recent.events(self.id, after, EVENT_PAGE_ROWS) {
            return Ok(events);
        }
        let (tenant, id) = (self.tenant.clone(), self.id);
        let page = self.shared.journal.read_history(tenant, id, after, EVENT_PAGE_ROWS, EVENT_PAGE_BYTES);
        Ok(page.await.map_err(ReadError::Journal)?.into_iter().map(Arc::new).collect())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.hub.forget(self.id);
        self.shared.live.forget(self.id);
    }
}

impl Reader {
    /// What attempts have said since this reader heard them last. These events have no seq: they are in no history.
    fn live(&mut self, of: Of) -> Vec<wire::Event> {
        let at_ms = self.shared.clock.now().as_millis();
        let news = self.shared.live.news(self.id, &mut self.heard, of);
        news.into_iter().map(|news| show_news(&self.scopes, at_ms, news)).collect()
    }
}
