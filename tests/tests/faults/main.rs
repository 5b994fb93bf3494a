//! Faults: what was promised survives kill -9 at any moment, a frozen agent, a dead one, a restart under work.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod agents;
mod crash_points;
mod database;
mod kills;
