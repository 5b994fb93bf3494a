//! Reads: from committed state only, never from a partition's memory; but for [`explain`], which asks what only that knows.

pub(crate) mod batches;
pub(crate) mod event_json;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod hub;
pub(crate) mod items;
pub(crate) mod live;
pub(crate) mod node_events;
pub(crate) mod nodes;
pub(crate) mod recent;
pub(crate) mod reviews;
pub(crate) mod runs;
pub(crate) mod scopes;
pub(crate) mod seen;
pub(crate) mod trace;
pub(crate) mod values;
pub(crate) mod versions;
mod waiting;
