//! The routes, one file per resource.

pub(crate) mod agents;
pub(crate) mod artifacts;
pub(crate) mod auth;
pub(crate) mod batches;
pub(crate) mod docs;
pub(crate) mod error;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod input;
pub(crate) mod keys;
pub(crate) mod media;
pub(crate) mod nodes;
pub(crate) mod pace;
pub(crate) mod page;
pub(crate) mod reply;
pub(crate) mod reviews;
pub(crate) mod router;
pub(crate) mod run_nodes;
pub(crate) mod runs;
pub(crate) mod tenants;
pub(crate) mod trace;
pub(crate) mod workflows;
