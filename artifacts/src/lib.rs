//! Heddle's artifact store: values that are too large for a row, by tenant and digest, in a folder or in S3.
//!
//! Agents and gateways write and read it themselves: nothing large passes through the coordinator, which keeps
//! references, collects what nobody refers to, and tells everybody where the store is. An object is written whole or not
//! at all, once for each digest of a tenant, and read back only if its bytes still have that digest.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod address;
mod digest;
mod error;
pub mod limits;
pub mod link;
pub mod media;
mod name;
mod staged;
mod store;
mod traffic;
mod writer;

pub use address::Address;
pub use digest::Digest;
pub use error::StoreError;
pub use store::{Head, Listed, Reading, Store};
pub use traffic::Traffic;
pub use writer::Writer;
