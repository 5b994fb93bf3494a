//! Heddle's node-agent: runs each attempt of a graph node in a supervised actor.
//!
//! ```text
//! root ── link       owns the stream to the coordinator: dials, greets, redials, heartbeats
//!      └─ attempts   owns what the agent has accepted and still owes: slots, permits, results
//!           └─ attempt*   one assignment: runs the work on a task that ends with the actor
//! ```
//!
//! Each actor is a thin shell around a plain value: [`link`] around its redial policy, [`attempts`] around its ledger, an
//! attempt around its course. The agent decides nothing about retries or placement; it runs, reports, and keeps a result
//! until the coordinator has acknowledged it.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod agent;
mod artifacts;
mod attempts;
mod identity;
pub mod limits;
mod link;
mod metrics;
mod outgoing;
mod root;
pub mod runners;
pub mod secrets;
mod wire;

pub use agent::{Agent, Exit, Network, Options, RealNetwork, StartError, start, start_with};
