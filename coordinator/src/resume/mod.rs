//! Runs that go on from what earlier runs gave (graph.md, part 8): what a request asks for becomes what a new run takes over. The rule
//! of reuse itself is the engine's.

mod agreed;
pub(crate) mod cached;
pub(crate) mod carried;
pub(crate) mod family;
mod parent;
mod plan;
mod start;

pub(crate) use start::{plan, resume};
