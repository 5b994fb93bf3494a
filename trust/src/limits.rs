//! Bounds of who joins and dials.

use std::time::Duration;

/// Bytes of a member's id.
pub const ID_BYTES_MAX: usize = 128;
/// Bytes of a signing request.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a file with a token, a key or certificates.
pub const FILE_BYTES_MAX: u64 = 64 * 1024;
/// How long a connection may take to open, TLS and all.
pub const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Bytes of the coordinator's first word that are read at once.
pub const FIRST_BYTES: usize = 256;
/// How long a call for a certificate may take.
pub const ENROL_WAIT: Duration = Duration::from_secs(10);
/// First pause before a renewal is tried again; doubles.
pub const RENEW_PAUSE_MIN: Duration = Duration::from_millis(200);
/// Longest pause before a renewal is tried again.
pub const RENEW_PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether a certificate is due: a machine that was asleep has not counted the time.
pub const RENEW_LOOK: Duration = Duration::from_secs(20);
/// A certificate is renewed when this share of its life is left: two fifths.
pub const RENEW_SHARE: (i64, i64) = (2, 5);
