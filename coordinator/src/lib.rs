//! The coordinator: everything around the engine that touches the world.
//!
//! A request comes in through [`rpc`], becomes an input of the partition that owns its run, and is decided by
//! `heddle_core`. What is decided goes to the [`journal`], and once it is durable out again: as an answer, or to an
//! agent's [`session`]. Reads go past the partitions, to what is committed ([`read`]).
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod actor;
mod alerts;
mod app;
pub mod artifacts;
mod auth;
mod authority;
mod batches;
mod cache;
mod children;
mod clock;
mod config_schemas;
mod counters;
mod entrance;
mod graphs;
pub mod history;
pub mod journal;
mod keys;
mod limits;
pub mod members;
mod metrics;
mod new_runs;
mod orders;
mod policies;
mod read;
pub mod records;
mod resume;
mod retention;
mod reviews;
mod rpc;
mod schema_words;
mod session;
mod shared;
mod stats;
mod watchdog;
mod workflows;

pub use app::{Access, Coordinator, Failed, Options, StartError, start};
pub use auth::Tenant;
pub use authority::{AuthorityError, AuthorityFiles, GATEWAY_TOKEN_FILE, TlsOptions};
pub use keys::{FIRST_KEY_FILE, KeysError};
pub use limits::{CERTIFICATE_LIFE, CERTIFICATE_LIFE_MIN};
pub use policies::{BadConcurrencyLimit, BadNodePolicy, ConcurrencyLimit, NodePolicy, Policies};
pub use retention::{BadKeepRuns, KeepRuns};
