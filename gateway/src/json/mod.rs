//! JSON as text: request bodies are checked and taken apart, never rebuilt, so that graphs stay as they were sent (E31).

mod canonical;
mod cursor;
mod fields;
mod scan;
mod slips;

pub(crate) use canonical::canonical;
pub(crate) use fields::Fields;
pub(crate) use scan::{Fault, FaultKind, check};
pub(crate) use slips::Slip;
