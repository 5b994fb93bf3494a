//! The coordinator: everything around the engine that touches the world.
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod journal;
