//! What happens to every request and answer, whatever the route.

pub(crate) mod discard;
pub(crate) mod front;
pub(crate) mod head_clock;
pub(crate) mod rate_headers;
pub(crate) mod request_id;
pub(crate) mod request_trace;
pub(crate) mod unreadable;
