//! A whole agent against a coordinator that the test plays itself.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod attempts;
mod fake;
mod jobs;
mod sessions;
