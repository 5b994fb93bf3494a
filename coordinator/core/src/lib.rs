//! Heddle's engine as pure values.
//!
//! Nothing in here does I/O, reads a clock or draws a number: time and draws arrive as input. So the engine runs in
//! the simulator and under a replay exactly as it runs in production. Rules are cited as E1…E31 and invariants as
//! I1…I12 (ARCHITECTURE.md).
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod alert;
pub mod batch;
pub mod concurrency;
pub use heddle_condition as condition;
pub mod control_types;
pub mod draw;
pub mod explain;
pub mod fault;
pub mod graph;
pub mod hook;
pub mod id;
pub mod limits;
pub mod node_type;
pub mod outbox;
pub mod partition;
pub mod policy;
pub mod run;
pub mod stats;
pub mod time;
pub mod value;
