//! What the API says of itself: the OpenAPI document, a page for people, a text for language models, the list of errors.
//!
//! A route gets into the router only together with its [`operation::Operation`], so nothing is left out of the document.

pub(crate) mod codes;
pub(crate) mod openapi;
pub(crate) mod operate;
pub(crate) mod operation;
pub(crate) mod page;
mod requests;
pub(crate) mod resume;
pub(crate) mod signal;
pub(crate) mod stats;
pub(crate) mod stream;
pub(crate) mod table;
