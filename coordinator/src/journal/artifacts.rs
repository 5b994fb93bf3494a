//! Rows that follow from a batch's events: which artifacts they refer to, and for which run (E18). They are in the same
//! transaction, so that collection knows of every reference that is durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use heddle_core::run::event::Event;
use heddle_core::time::Timestamp;
use heddle_core::value::Digest;

/// An artifact that events of one run refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
    pub(crate) media_type: Arc<str>,
    /// The first and the last of these events.
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

/// The artifacts of these events, each once.
pub(crate) fn used<'a>(events: impl IntoIterator<Item = &'a Arc<Event>>) -> Vec<Used> {
    let mut found: BTreeMap<Digest, Used> = BTreeMap::new();
    for event in events {
        for artifact in event.values.iter().filter_map(|value| value.artifact()) {
            let (bytes, media_type) = (artifact.bytes, Arc::clone(&artifact.media_type));
            let used = found.entry(artifact.digest).or_insert_with(|| Used {
                digest: artifact.digest,
                bytes,
                media_type,
                from: event.at,
                to: event.at,
            });
            (used.from, used.to) = (used.from.min(event.at), used.to.max(event.at));
        }
    }
    found.into_values().collect()
}
