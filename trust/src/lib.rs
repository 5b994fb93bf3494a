//! Who is who between Heddle's machines.
//!
//! A [`Member`] has a name that its certificate says. An agent or a gateway finds its [`Way`] to the coordinator: plaintext
//! on one machine, a [`Secret`] within one process, else TLS with a certificate that it gets for a join token and renews.
//! The coordinator reads names by the same rules.
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod certificate;
mod connect;
mod enrol;
pub mod files;
mod keyring;
pub mod limits;
mod member;
mod secret;
mod stream;
mod verify;
mod way;

pub use certificate::{Certified, Unreadable, cluster_of, fingerprint, read};
pub use connect::Connector;
pub use member::{Member, Role, is_id};
pub use secret::Secret;
pub use stream::Stream;
pub use way::{Trouble, Way, WayError, WayOptions};

/// The protocol inside TLS.
pub const ALPN: &[u8] = b"h2";

/// The one cryptography that is used.
pub fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    std::sync::Arc::new(rustls::crypto::ring::default_provider())
}
