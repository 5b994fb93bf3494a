//! Heddle's gateway: the public REST API over the coordinator.
//!
//! It holds no state that a restart could lose. Keys, limits and idempotency are decided by the coordinator and enforced
//! here; graphs pass through as the text they were sent as. From the outside in:
//!
//! - `server`: the socket and its connections;
//! - `layer`: what happens to every request and answer (id, headers, error form, bodies nobody reads);
//! - `http`: the routes, one file per resource;
//! - `docs`: what the API says of itself, made from the router's table;
//! - `feeds`: what clients follow, told once for all of them;
//! - `convert`: between the coordinator's messages and the public JSON (`dto`), by hand;
//! - `client`: the coordinator.
//!
//! The API has two layers. Clients of the vendor's API work unchanged; Heddle's own routes and fields never change what
//! they see.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod app;
mod artifacts;
mod client;
mod clock;
mod convert;
mod docs;
mod dto;
mod feeds;
mod followers;
mod hosts;
mod http;
mod json;
mod layer;
mod limits;
mod metrics;
mod server;
mod watch;

pub use docs::codes::{Code, FAILURES, REFUSALS};
pub use hosts::{PublicUrl, PublicUrlError};
pub use http::router::{Route, routes};
pub use server::{Gateway, Listen, Options, StartError, start};
