//! `X-RateLimit-*`, which clients of the documented API expect on every answer. There are no limits yet, and these
//! headers say so: always integers, never a word.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::http::error::unix_second_now;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
/// The largest number that every client's integer can hold.
const UNLIMITED: HeaderValue = HeaderValue::from_static("2147483647");

/// Adds the three headers. `Reset` is the Unix second at which the next minute begins.
pub(crate) fn add(headers: &mut HeaderMap) {
    let now = unix_second_now();
    headers.insert(LIMIT, UNLIMITED);
    headers.insert(REMAINING, UNLIMITED);
    headers.insert(RESET, HeaderValue::from(now - now % 60 + 60));
}
