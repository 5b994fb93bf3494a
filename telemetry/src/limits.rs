//! What an exporter may hold, and how long it may try.

use std::time::Duration;

/// Spans that wait to be exported; further ones are dropped and counted.
pub const QUEUE_SPANS_MAX: usize = 8_192;
/// Spans in one export.
pub const BATCH_SPANS_MAX: usize = 512;
/// How long a span waits for others to be exported with.
pub const BATCH_WAIT: Duration = Duration::from_millis(500);
/// Tries of one export; after the last its spans are dropped and counted.
pub const EXPORT_TRIES_MAX: u32 = 6;
/// First pause between tries; doubles up to [`EXPORT_PAUSE_MAX`].
pub const EXPORT_PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause between tries.
pub const EXPORT_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a stop waits for spans to leave.
pub const FLUSH_WAIT_MAX: Duration = Duration::from_secs(3);
