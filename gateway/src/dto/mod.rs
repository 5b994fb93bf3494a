//! The public JSON: what leaves through REST, in the words of the documented API. Separate from the wire's messages;
//! `crate::convert` makes one of the other, by hand.

pub(crate) mod agent;
pub(crate) mod batch;
pub(crate) mod diagnosis;
pub(crate) mod edit;
pub(crate) mod envelope;
pub(crate) mod event;
pub(crate) mod explain;
pub(crate) mod key;
pub(crate) mod media;
pub(crate) mod node;
pub(crate) mod node_type;
pub(crate) mod resume;
pub(crate) mod review;
pub(crate) mod run;
pub(crate) mod signal;
pub(crate) mod stats;
pub(crate) mod submit;
pub(crate) mod tenant;
pub(crate) mod time;
pub(crate) mod trace;
pub(crate) mod version;
pub(crate) mod workflow;
