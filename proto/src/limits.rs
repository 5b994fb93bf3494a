//! Every bound that both ends of a wire must agree on. The engine's own bounds are in `heddle_core::limits`.

/// The protocol version this build speaks on the agent stream and on the control service.
pub const PROTOCOL_VERSION: u32 = 3;
/// The oldest protocol version this build still understands.
pub const PROTOCOL_VERSION_MIN: u32 = 3;

/// Largest message on an agent stream, in bytes. Larger inputs are paged.
pub const AGENT_MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Largest message about a certificate, in bytes: whoever sends it need not have one.
pub const ENROL_MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// Largest message between gateway and coordinator, in bytes: one request body, once more what its nodes carry, and an envelope.
pub const CONTROL_MESSAGE_BYTES_MAX: usize = 68 * 1024 * 1024;
/// Largest request body the gateway takes, in bytes (a graph).
pub const REQUEST_BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Longest name of a workflow, in characters.
pub const WORKFLOW_NAME_CHARS_MAX: usize = 500;

/// Bytes of all inputs of one attempt that are no artifacts: they are in memory at both ends of the stream.
pub const INLINE_INPUTS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Smallest value that a stream to an agent brings once and then by its digest, in bytes: shorter ones cost no more themselves.
pub const SHARED_VALUE_BYTES_MIN: usize = 512;
/// Bytes of values that such a stream remembers, at the agent's end; the other end remembers their digests.
pub const VALUE_WINDOW_BYTES: usize = 16 * 1024 * 1024;

/// Largest refusal of a gateway's call, in bytes: it travels in the trailers of the answer, as base64.
pub const FAILURE_BYTES_MAX: usize = 96 * 1024;
/// Longest sentence in a refusal, in bytes; the rest is cut off.
pub const FAILURE_TEXT_BYTES_MAX: usize = 2 * 1024;
/// Longest token of a plan, in characters.
pub const PLAN_TOKEN_LENGTH_MAX: usize = 2_048;
/// Largest headers, and trailers, of an answer to a gateway, in bytes.
pub const ANSWER_HEADERS_BYTES_MAX: u32 = 256 * 1024;

/// An agent sends something at least this often, in milliseconds.
pub const HEARTBEAT_INTERVAL_MS: u64 = 500;
/// A stream that stayed silent for this long is gone, in milliseconds.
pub const STREAM_SILENCE_MS_MAX: u64 = 3_000;
/// First pause before an agent dials again, in milliseconds.
pub const REDIAL_BACKOFF_MS_MIN: u64 = 50;
/// Longest pause before an agent dials again, in milliseconds.
pub const REDIAL_BACKOFF_MS_MAX: u64 = 500;
/// Most messages put into one frame of the agent stream.
pub const FRAME_MESSAGES_MAX: usize = 256;
/// Pieces of an output that are kept of each attempt for readers of its stream, in bytes; the oldest make room.
pub const STREAM_WINDOW_BYTES: usize = 256 * 1024;
/// How long they are kept after the attempt's end, in seconds; less long where others need the room.
pub const STREAM_WINDOW_SECONDS: u64 = 60;
/// Readers of streams that are told something in the same second before any of them waits.
pub const FOLLOWERS_AT_ONCE: u32 = 64;
/// Pages a second that all readers together are told, if there are more of them than that.
pub const FOLLOW_PAGES_PER_SECOND_MAX: u32 = 5_000;
/// Longest `?wait=` of a read, in seconds.
pub const READ_WAIT_SECONDS_MAX: u64 = 30;

const _: () =
    assert!(STREAM_SILENCE_MS_MAX >= 4 * HEARTBEAT_INTERVAL_MS, "three lost heartbeats must not end a stream");
const _: () = assert!(
    CONTROL_MESSAGE_BYTES_MAX > 2 * REQUEST_BODY_BYTES_MAX,
    "a full request body must fit into one message, twice"
);
const _: () = assert!(
    FAILURE_BYTES_MAX / 3 * 4 + 4 * FAILURE_TEXT_BYTES_MAX + 16 * 1024 <= ANSWER_HEADERS_BYTES_MAX as usize,
    "the largest refusal arrives"
);
