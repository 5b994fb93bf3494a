//! journal
pub mod codec;
