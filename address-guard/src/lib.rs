//! Requests to addresses that users name reach nobody inside the operator's network.
//!
//! Every address is judged after it is resolved and before it is connected to, in the resolver that the connector itself
//! uses, so that nobody can answer twice differently. Hosts that are numbers never pass a resolver and are judged in the
//! address. Redirects are followed by hand, each judged anew; proxies of the environment are not used.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod address;
mod fetch;
pub mod limits;
mod names;

pub use address::is_public;
pub use fetch::{Fetched, Guard, GuardError, Policy};
pub use names::{Inside, NameServer, System, Vetted};
