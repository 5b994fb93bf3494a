//! Reviews around the engine: rows that serve inboxes and find the runs that people decide in.

pub(crate) mod rows;
