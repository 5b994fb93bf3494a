//! What the suites share: the rules of the repository as functions, and the simulator.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod repository;
pub mod sim;
