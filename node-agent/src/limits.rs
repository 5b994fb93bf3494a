//! Every bound of the agent, in one place. What both ends of the wire share is in [`heddle_proto::limits`].

use std::time::Duration;

use heddle_proto::limits::{AGENT_MESSAGE_BYTES_MAX, HEARTBEAT_INTERVAL_MS};

/// Most slots of one agent.
pub const SLOTS_MAX: u32 = 4_096;
/// Attempts that may wait inside the agent, for each slot, when work is long. They hide the round trip to the coordinator
/// behind running work.
pub const PREFETCH_PER_SLOT_MIN: u32 = 3;
/// As many for each slot when work is short.
pub const PREFETCH_PER_SLOT_MAX: u32 = 15;
/// Above [`PREFETCH_PER_SLOT_MIN`] a slot has places for so much work.
pub const PREFETCH_WORK: Duration = Duration::from_millis(20);
/// Places of a whole agent above which short work gets no more of them.
pub const PREFETCH_MAX: u32 = 2_048;

/// A value that a result carries itself, in bytes of JSON.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Values that one result carries.
pub const RESULT_VALUES_MAX: usize = 64;
/// All values of one result together, in bytes of JSON.
pub const RESULT_BYTES_MAX: usize = 1024 * 1024;
/// One JSON value that a runner gives, in bytes. What is larger than [`VALUE_BYTES_MAX`] goes to the artifact store; what
/// is larger than this must be a file.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of large JSON values that all attempts together hold in memory; an attempt waits for room. One attempt holds no
/// more either.
pub const FETCHED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of large JSON values that are kept for the next attempt that needs them.
pub const FETCHED_KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Assignments whose inputs are arriving in parts.
pub const PARTED_MAX: usize = 64;
/// An error's message, in bytes. The rest is cut off.
pub const ERROR_MESSAGE_BYTES_MAX: usize = 2 * 1024;
/// A job's handle, in bytes.
pub const HANDLE_BYTES_MAX: usize = 4 * 1024;
/// One piece of partial output, in bytes. A larger one is not shown.
pub const PARTIAL_BYTES_MAX: usize = 64 * 1024;

/// Bytes of results kept until they are acknowledged. Above it no permit is granted; attempts already permitted still end,
/// so the peak is higher by at most [`RESULT_BYTES_MAX`] for each of them.
pub const RESULTS_KEPT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Results kept until they are acknowledged. Above it no permit is granted.
pub const RESULTS_KEPT_MAX: usize = 16_384;
/// What a kept result weighs beside its values, in bytes.
pub const RESULT_OVERHEAD_BYTES: usize = 256;

/// Messages that wait for the wire, for each attempt that the agent may hold. Each attempt causes fewer, so a full queue
/// means that the other end breaks the rules.
pub const OUTGOING_PER_ATTEMPT: usize = 4;
/// Room for messages that belong to no attempt.
pub const OUTGOING_SPARE: usize = 256;
/// Answers to pings that wait for the wire.
pub const URGENT_QUEUE_MAX: usize = 16;
/// Bytes put into one frame, after which no further message is taken in.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;

/// How long one dial may take.
pub const CONNECT_WAIT: Duration = Duration::from_secs(2);
/// How long the coordinator may take from Hello to Welcome. It may be loading its partitions, or waiting for its database;
/// that it lives is seen sooner ([`KEEPALIVE_WAIT`]). To dial anew would only look like an absence.
pub const WELCOME_WAIT: Duration = Duration::from_secs(30);
/// How long the coordinator may take to end the stream after Goodbye.
pub const GOODBYE_WAIT: Duration = Duration::from_secs(1);
/// How often the agent looks whether it has been silent. Half an interval, so that no silence exceeds a whole one.
pub const HEARTBEAT_CHECK: Duration = Duration::from_millis(HEARTBEAT_INTERVAL_MS / 2);
/// How often an agent without a coordinator says so again.
pub const OUTAGE_WORD_INTERVAL: Duration = Duration::from_secs(60);
/// Pause between HTTP/2 pings.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// How long an HTTP/2 ping may stay unanswered.
pub const KEEPALIVE_WAIT: Duration = Duration::from_secs(2);
/// Bytes in flight on the stream.
pub const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes in flight on the connection.
pub const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// How long one actor waits for another's answer.
pub const ACTOR_CALL_WAIT: Duration = Duration::from_secs(5);
/// Failures of the link within [`LINK_RESTART_WINDOW`] that are repaired by a restart. One more ends the agent.
pub const LINK_RESTARTS_MAX: usize = 5;
/// See [`LINK_RESTARTS_MAX`].
pub const LINK_RESTART_WINDOW: Duration = Duration::from_secs(60);

const _: () = assert!(PREFETCH_MAX <= PREFETCH_PER_SLOT_MIN * SLOTS_MAX, "the largest agent holds the most");
const _: () = assert!(VALUE_BYTES_MAX <= RESULT_BYTES_MAX, "the largest value fits into a result");
const _: () = assert!(
    FRAME_BYTES_MAX + RESULT_BYTES_MAX + 64 * 1024 <= AGENT_MESSAGE_BYTES_MAX,
    "a frame that is almost full takes the largest result and stays one message"
);
/// What one key weighs in an inventory, in bytes, with room to spare.
const KEY_BYTES: usize = 64;
const _: () = assert!(
    (RESULTS_KEPT_MAX + 2 * (1 + PREFETCH_PER_SLOT_MIN as usize) * SLOTS_MAX as usize) * KEY_BYTES
        <= AGENT_MESSAGE_BYTES_MAX * 3 / 4,
    "the largest inventory fits into one Hello"
);
