//! A whole agent against a coordinator that the test plays itself.
#![allow(clippy::unwrap_used)]

mod attempts;
mod fake;
mod sessions;
