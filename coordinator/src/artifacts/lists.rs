//! Lists in the artifact store that maps go through: part by part, with only one part in memory. Where parts begin is kept
//! for the last few lists, so that a long one is gone through whole only once.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use futures::TryStreamExt as _;
use heddle_artifacts::StoreError;
use heddle_core::graph::{self, Problem};
use heddle_core::id::TenantId;
use heddle_core::limits::{INLINE_VALUE_BYTES_MAX, LIST_CHUNK_ITEMS_MAX};
use heddle_core::run::event::{ErrorClass, NodeError};
use heddle_core::run::list::{ListItem, ListPart};
use heddle_core::value::{Artifact, Digest, Value};
use heddle_error_chain::chain;
use serde::de::IgnoredAny;
use tokio::sync::Semaphore;

use super::list_scan::{NoList, Scanner};
use super::{Artifacts, JSON_TYPE};
use crate::limits::{LIST_BYTES_MAX, LIST_ITEM_BYTES_MAX, LIST_OUTLINES_BYTES_MAX, LISTS_READ_MAX};

/// What is remembered of lists, and how many are read at once.
pub(crate) struct Lists {
    outlines: Mutex<VecDeque<(TenantId, Digest, Outline)>>,
    turns: Semaphore,
}

/// Where a list's parts lie in its text; `None` if the text is no list.
type Outline = std::sync::Arc<Option<Parts>>;

#[derive(Debug, Default)]
struct Parts {
    total: u32,
    parts: Vec<Range<u64>>,
}

/// Why a part was not read.
enum Trouble {
    Store(StoreError),
    Node(NodeError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Trouble::Store(error)
    }
}

impl Default for Lists {
    fn default() -> Self {
        Self { outlines: Mutex::default(), turns: Semaphore::new(LISTS_READ_MAX) }
    }
}

impl Artifacts {
    /// A part of the list that a value is. While the store does not answer it is asked again.
    pub(crate) async fn list_part(&self, tenant: &TenantId, value: &Value, part: u32) -> Result<ListPart, NodeError> {
        let Some(artifact) = value.artifact() else { return Ok(ListPart::of_text(value.json(), part)) };
        if !artifact.is_json {
            return Ok(no_list());
        }
        if artifact.bytes > LIST_BYTES_MAX {
            let message = format!(
                "its list has {} bytes, and at most {LIST_BYTES_MAX} are gone through; cut it into several lists",
                artifact.bytes
            );
            return Err(refused("list_too_large", message));
        }
        let mut pause = Duration::from_millis(20);
        loop {
            match self.read_part(tenant, artifact, part).await {
                Ok(part) => return Ok(part),
                Err(Trouble::Node(error)) => return Err(error),
                Err(Trouble::Store(error)) if !error.is_transient() => {
                    return Err(NodeError {
                        class: ErrorClass::Internal,
                        code: error.code().into(),
                        message: chain(&error).into(),
                    });
                }
                Err(Trouble::Store(error)) => {
                    tracing::warn!(
                        error = chain(&error),
                        "a list could not be read from the artifact store; trying again"
                    );
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    async fn read_part(&self, tenant: &TenantId, artifact: &Artifact, part: u32) -> Result<ListPart, Trouble> {
        let Ok(_turn) = self.lists.turns.acquire().await else { return Ok(no_list()) };
        let outline = match self.lists.known(tenant, artifact.digest) {
            Some(outline) => outline,
            None => {
                let outline = Outline::new(self.outline(tenant, artifact).await?);
                self.lists.keep(tenant, artifact.digest, outline.clone());
                outline
            }
        };
        let Some(parts) = outline.as_ref() else { return Ok(no_list()) };
        let items = match parts.parts.get(part as usize) {
            Some(range) => self.items(tenant, artifact, range.clone()).await?,
            None => Vec::new(),
        };
        Ok(ListPart { total: parts.total, items })
    }

    /// Goes through a whole list.
    async fn outline(&self, tenant: &TenantId, artifact: &Artifact) -> Result<Option<Parts>, Trouble> {
        let mut outline = Parts::default();
        let mut found = |item: Range<u64>| {
            match outline.parts.last_mut() {
                Some(last) if !(outline.total as usize).is_multiple_of(LIST_CHUNK_ITEMS_MAX) => last.end = item.end,
                _ => outline.parts.push(item),
            }
            outline.total += 1;
        };
        let mut scanner = Scanner::whole();
        let mut pieces = self.store.read(&tenant.0, digest(artifact), None).await?;
        while let Some(piece) = pieces.try_next().await? {
            if scanner.scan(&piece, &mut found).is_err() {
                return Ok(None);
            }
        }
        Ok(scanner.finish(&mut found).is_ok().then_some(outline))
    }

    /// Goes through a list that somebody has uploaded, item by item with its place; the inner error says what is wrong with it.
    pub(crate) async fn go_through(
        &self,
        tenant: &TenantId,
        artifact: &Artifact,
        mut look: impl FnMut(u64, &[u8]) -> Result<(), Problem>,
    ) -> Result<Result<(), Problem>, StoreError> {
        let none = |why: &str| Ok(Err(graph::no_list(why)));
        if artifact.bytes > LIST_BYTES_MAX {
            return none(&format!("it has {} bytes, and at most {LIST_BYTES_MAX} are gone through", artifact.bytes));
        }
        let Ok(_turn) = self.lists.turns.acquire().await else { return none("the server is stopping") };
        let (mut text, mut begin, mut ends, mut place) = (BytesMut::new(), 0, VecDeque::new(), 0);
        let mut scanner = Scanner::whole();
        let mut pieces = self.store.read(&tenant.0, digest(artifact), None).await?;
        while let Some(piece) = pieces.try_next().await? {
            text.extend_from_slice(&piece);
            if scanner.scan(&piece, |item| ends.push_back(item)).is_err() {
                return none("it is no JSON array");
            }
            while let Some(own) = next_item(&mut text, &mut begin, &mut ends) {
                let Ok(json) = std::str::from_utf8(&own) else {
                    return none(&format!("its item {place} is not in UTF-8"));
                };
                if serde_json::from_str::<IgnoredAny>(json).is_err() {
                    return none(&format!("its item {place} is no JSON"));
                }
                if let Err(problem) = look(place, own.trim_ascii_end()) {
                    return Ok(Err(problem));
                }
                place += 1;
            }
            if text.len() as u64 > LIST_ITEM_BYTES_MAX {
                return none(&format!("its item {place} has more than {LIST_ITEM_BYTES_MAX} bytes"));
            }
        }
        match scanner.finish(|_| {}) {
            Ok(()) => Ok(Ok(())),
            Err(NoList) => none("it is no JSON array"),
        }
    }

    /// The items in a stretch of a list's text. Those that are too large for a row become artifacts themselves.
    async fn items(&self, tenant: &TenantId, artifact: &Artifact, range: Range<u64>) -> Result<Vec<ListItem>, Trouble> {
        let (mut items, mut ends) = (Vec::new(), VecDeque::new());
        let (mut text, mut begin) = (BytesMut::new(), range.start);
        let mut scanner = Scanner::inside(range.start);
        let mut pieces = self.store.read(&tenant.0, digest(artifact), Some(range)).await?;
        while let Some(piece) = pieces.try_next().await? {
            text.extend_from_slice(&piece);
            scanner.scan(&piece, |item| ends.push_back(item)).map_err(not_json)?;
            self.take(tenant, &mut text, &mut begin, &mut ends, &mut items).await?;
            if text.len() as u64 > LIST_ITEM_BYTES_MAX {
                let message = format!("an item of its list has more than {LIST_ITEM_BYTES_MAX} bytes; make it smaller");
                return Err(Trouble::Node(refused("list_item_too_large", message)));
            }
        }
        scanner.finish(|item| ends.push_back(item)).map_err(not_json)?;
        self.take(tenant, &mut text, &mut begin, &mut ends, &mut items).await?;
        Ok(items)
    }

    /// Takes whole items out of the text that has come.
    async fn take(
        &self,
        tenant: &TenantId,
        text: &mut BytesMut,
        begin: &mut u64,
        ends: &mut VecDeque<Range<u64>>,
        items: &mut Vec<ListItem>,
    ) -> Result<(), Trouble> {
        while let Some(own) = next_item(text, begin, ends) {
            let json = own.trim_ascii_end();
            serde_json::from_slice::<IgnoredAny>(json).map_err(|_| not_json(NoList))?;
            // A copy: else it would keep the whole stretch in memory.
            let json = Bytes::copy_from_slice(json);
            let value = match json.len() <= INLINE_VALUE_BYTES_MAX {
                true => Value::from_json(json),
                false => {
                    let bytes = json.len() as u64;
                    let put = self.store.put(&tenant.0, json).await?;
                    let media_type = JSON_TYPE.into();
                    Value::from_artifact(Artifact { digest: Digest(put.0), bytes, media_type, is_json: true })
                }
            };
            items.push(ListItem::Value(value));
        }
        Ok(())
    }
}

impl Lists {
    fn known(&self, tenant: &TenantId, digest: Digest) -> Option<Outline> {
        let mut outlines = self.outlines.lock().unwrap_or_else(PoisonError::into_inner);
        let place = outlines.iter().position(|(whose, what, _)| (whose, *what) == (tenant, digest))?;
        let found = outlines.remove(place)?;
        let outline = found.2.clone();
        outlines.push_back(found);
        Some(outline)
    }

    fn keep(&self, tenant: &TenantId, digest: Digest, outline: Outline) {
        const EACH: usize = 256;
        let weight = |outline: &Outline| {
            let parts = outline.as_ref().as_ref().map_or(0, |it| it.parts.len());
            EACH + parts * size_of::<Range<u64>>()
        };
        let mut outlines = self.outlines.lock().unwrap_or_else(PoisonError::into_inner);
        outlines.push_back((tenant.clone(), digest, outline));
        while outlines.iter().map(|(.., outline)| weight(outline)).sum::<usize>() > LIST_OUTLINES_BYTES_MAX
            && outlines.pop_front().is_some()
        {}
    }
}

/// Takes the next whole item, if there is one, from the text that has come, which begins at this place.
fn next_item(text: &mut BytesMut, begin: &mut u64, ends: &mut VecDeque<Range<u64>>) -> Option<BytesMut> {
    let item = ends.pop_front()?;
    text.advance((item.start - *begin) as usize);
    *begin = item.end;
    Some(text.split_to((item.end - item.start) as usize))
}

fn digest(artifact: &Artifact) -> heddle_artifacts::Digest {
    heddle_artifacts::Digest(artifact.digest.0)
}

/// A value that is no list counts as one item.
fn no_list() -> ListPart {
    ListPart { total: 1, items: Vec::new() }
}

fn not_json(NoList: NoList) -> Trouble {
    let message = "its list is no JSON: an item of it cannot be read; give it a JSON list".to_owned();
    Trouble::Node(refused("input_not_json", message))
}

fn refused(code: &str, message: String) -> NodeError {
    NodeError { class: ErrorClass::InvalidRequest, code: code.into(), message: message.into() }
}
