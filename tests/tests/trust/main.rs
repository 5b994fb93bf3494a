//! Who may join: real processes on loopback that speak TLS, and hand-written members that should not get in, or not far.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod clocks;
mod drain;
mod impostors;
mod joining;
mod plaintext;
mod renewal;
mod tls;
