//! What the suites share: the rules of the repository as functions.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod repository;
