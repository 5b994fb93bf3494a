//! Heddle's sandbox provider: an HTTP server that answers as model servers do, so that whole workflows run offline, at no
//! cost, and always alike.
//!
//! ```text
//! POST /v1/chat/completions, /v1/embeddings; GET /v1/models, /v1/models/NAME    what providers have
//! POST /v1/jobs {"ms": …}; GET, DELETE /v1/jobs/ID              work that takes time: begun, asked for, cancelled
//! ANY  /http/…                                                  stands for any other server
//! PUT  /script/NAME      what the next calls with the credential NAME meet: answers, faults, delays
//! GET  /ledger           the calls that came and all jobs, for tests; DELETE forgets the calls
//! ```
//!
//! It keeps everything in memory, knows no secrets, and takes any credential: `Bearer sandbox:NAME` is NAME's.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod chat;
mod fault;
mod jobs;
mod ledger;
mod limits;
mod object;
mod schema;
mod script;
mod server;
#[cfg(test)]
mod tests;

pub use fault::Fault;
pub use jobs::{Job, JobState};
pub use ledger::Entry;
pub use script::{Rule, Script, ScriptsByCredential, Step};
pub use server::{CREDENTIAL_PREFIX, router, scripted_router, serve};
