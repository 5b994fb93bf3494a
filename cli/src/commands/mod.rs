//! The commands, a file each.

pub mod agent;
pub mod bench;
pub mod completion;
pub mod coordinator;
pub mod executions;
pub mod gateway;
pub mod keys;
pub mod run;
pub mod sandbox;
pub mod secrets;
pub mod up;
