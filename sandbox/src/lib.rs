//! Heddle's sandbox provider: an HTTP server that answers as model servers do, so that whole workflows run offline, at no
//! cost, and always alike.
//!
//! ```text
//! POST /v1/chat/completions, /v1/embeddings; GET /v1/models, /v1/models/NAME    what providers have
//! ANY  /http/…                                                  stands for any other server
//! PUT  /script/NAME      what the next calls with the credential NAME meet: answers, faults, delays
//! GET  /ledger           the calls that came, for tests; DELETE forgets them
//! ```
//!
//! It keeps everything in memory, knows no secrets, and takes any credential: `Bearer sandbox:NAME` is NAME's.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod chat;
mod fault;
mod ledger;
mod limits;
mod object;
mod schema;
mod script;
mod server;
#[cfg(test)]
mod tests;

pub use fault::Fault;
pub use ledger::Entry;
pub use script::{Rule, Script, ScriptsByCredential, Step};
pub use server::{CREDENTIAL_PREFIX, router, scripted_router, serve};
