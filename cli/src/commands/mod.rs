//! The commands, a file each.

pub mod agent;
pub mod agents;
pub mod batches;
pub mod bench;
pub mod completion;
pub mod coordinator;
pub mod doctor;
mod execution_children;
mod execution_node;
pub mod executions;
pub mod gateway;
pub mod import;
pub mod keys;
pub mod nodes;
mod pages;
pub mod resume;
pub mod reviews;
pub mod run;
pub mod sandbox;
pub mod secrets;
pub mod tenants;
pub mod up;
mod workflow_versions;
pub mod workflows;
