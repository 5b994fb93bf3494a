//! The commands, a file each.

pub mod bench;
pub mod completion;
pub mod executions;
pub mod run;
