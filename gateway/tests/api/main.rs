//! The gateway from the outside, over real sockets, with a coordinator whose answers the test writes.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod agents;
mod auth;
mod bodies;
mod connections;
mod docs;
mod edits;
mod errors;
mod events;
mod fake;
mod fake_workflows;
mod health;
mod history;
mod keys;
mod resume;
mod reviews;
mod runs;
mod setup;
mod signals;
mod workflows;
