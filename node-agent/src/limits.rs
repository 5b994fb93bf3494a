//! Every bound of the agent, in one place. What both ends of the wire share is in [`heddle_proto::limits`].

use std::time::Duration;

use heddle_proto::limits::{AGENT_MESSAGE_BYTES_MAX, HEARTBEAT_INTERVAL_MS};

/// Most slots of one agent.
pub const SLOTS_MAX: u32 = 4_096;
/// Attempts that may wait inside the agent, for each slot, while nothing is known of its work. They hide the round trip to the
/// coordinator behind running work.
pub const PREFETCH_PER_SLOT_AT_FIRST: u32 = 3;
/// As many for each slot when work is short.
pub const PREFETCH_PER_SLOT_MAX: u32 = 15;
/// A slot has places for so much work that waits, and for one attempt at least.
pub const PREFETCH_WORK: Duration = Duration::from_millis(20);
/// Work that takes longer has no place to wait in the agent: beside it a round trip is nothing. What waits for longer goes
/// back, since another agent may be idle.
pub const PREFETCH_PATIENCE: Duration = Duration::from_millis(100);
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
/// How long work that is stopped has for saying the handle of a job that it is just beginning.
pub const JOB_START_WAIT: Duration = Duration::from_secs(5);
/// How long cancelling one job may take: less than the coordinator waits for the answer.
pub const JOB_CANCEL_WAIT: Duration = Duration::from_secs(20);
/// Jobs of others that this agent cancels at once.
pub const JOB_CANCELS_MAX: usize = 64;
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
pub const OUTGOING_PER_ATTEMPT: usize = 5;
/// Room for messages that belong to no attempt.
pub const OUTGOING_SPARE: usize = 256;
/// Answers to pings that wait for the wire.
pub const URGENT_QUEUE_MAX: usize = 16;
/// Bytes put into one frame, after which no further message is taken in.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;

/// Config and inputs of one call of a native node type, in bytes.
pub const NATIVE_INPUT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Up to so many bytes of config and inputs, quick work runs where it is, without a thread of its own.
pub const NATIVE_INLINE_BYTES_MAX: usize = 8 * 1024;
/// A text that a native node type makes, in bytes, while it makes it.
pub const NATIVE_TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Work of one template: about so many steps, or 64 bytes for each.
pub const TEMPLATE_FUEL: u64 = 200_000;
/// Nesting of calls in a template or an expression.
pub const TEMPLATE_DEPTH_MAX: usize = 64;
/// Work of one expression over numbers, as [`TEMPLATE_FUEL`].
pub const MATH_FUEL: u64 = 20_000;
/// An expression over numbers, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 4 * 1024;
/// A regular expression, in bytes.
pub const PATTERN_BYTES_MAX: usize = 4 * 1024;
/// A regular expression once it is compiled, in bytes: the time of a match grows with it.
pub const PATTERN_COMPILED_BYTES_MAX: usize = 256 * 1024;
/// Nesting of a regular expression.
pub const PATTERN_DEPTH_MAX: u32 = 64;
/// What a match is replaced by, in bytes, when it may name groups.
pub const REPLACEMENT_BYTES_MAX: usize = 1024;
/// Matches of one extraction.
pub const MATCHES_MAX: usize = 10_000;
/// Pieces of one text.
pub const PIECES_MAX: usize = 10_000;
/// Places of a text at which JSON is tried to be read.
pub const JSON_PARSE_TRIES_MAX: usize = 64;
/// A JSONPath, in bytes.
pub const PATH_BYTES_MAX: usize = 1024;
/// Commas of a JSONPath: each may double what is selected.
pub const PATH_UNIONS_MAX: usize = 8;
/// `..` of a JSONPath: each may multiply what is selected by the depth of the document.
pub const PATH_DESCENTS_MAX: usize = 2;
/// Filters of a JSONPath.
pub const PATH_FILTERS_MAX: usize = 4;
/// Values that a JSONPath may select.
pub const SELECTED_MAX: usize = 10_000;
/// Faults that a check against a schema lists.
pub const SCHEMA_FAULTS_MAX: usize = 100;
/// Rows of a table.
pub const ROWS_MAX: usize = 20_000;
/// An HTML text, in bytes.
pub const HTML_BYTES_MAX: usize = 256 * 1024;
/// Elements of HTML that may be open at once and are opened anew in every block.
pub const HTML_SHAPING_MAX: usize = 16;
/// Elements of HTML that may be open at once.
pub const HTML_DEPTH_MAX: usize = 500;

/// A picture's file, in bytes.
pub const IMAGE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The files of one call, in bytes.
pub const IMAGES_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Pictures of one call.
pub const IMAGES_MAX: usize = 256;
/// Pixels of one picture, read or made.
pub const IMAGE_PIXELS_MAX: u64 = 40_000_000;
/// A side of a picture, in pixels.
pub const IMAGE_SIDE_MAX: u32 = 16_384;
/// What a picture may take while it is read, in bytes.
pub const IMAGE_DECODE_BYTES_MAX: u64 = 320 * 1024 * 1024;
/// Calls that work on pictures at once in one process.
pub const IMAGES_AT_ONCE_MAX: usize = 4;
/// Characters of a text on a picture.
pub const LABEL_CHARACTERS_MAX: usize = 1_000;
/// Height of a text on a picture, in pixels.
pub const LABEL_SIZE_MAX: u32 = 400;

/// An address that a user names, in bytes.
pub const URL_BYTES_MAX: usize = 8 * 1024;
/// Headers of one request that a user sets.
pub const HTTP_HEADERS_MAX: usize = 64;
/// How long a server may take to let a connection in.
pub const HTTP_CONNECT_WAIT: Duration = Duration::from_secs(10);
/// How long a server may send nothing.
pub const HTTP_SILENCE_MAX: Duration = Duration::from_secs(120);
/// How long a request may take, unless a config says otherwise.
pub const HTTP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long any request may take.
pub const HTTP_TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// How often a server may send a request on.
pub const HTTP_REDIRECTS_MAX: usize = 5;
/// An answer that becomes a value, in bytes.
pub const HTTP_RESPONSE_BYTES_MAX: usize = 1024 * 1024;
/// A file that is brought into the store through memory, in bytes.
pub const DOWNLOAD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The longest pause that a server can ask for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// What a server says of its refusal, in bytes, as a message repeats it.
pub const SERVER_MESSAGE_BYTES_MAX: usize = 500;

/// A model's answer, in bytes as they come over the wire.
pub const LLM_RESPONSE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Tools that a model may call at once.
pub const LLM_TOOL_CALLS_MAX: usize = 128;
/// Facts that a runner tells of one attempt for its span.
pub const NOTES_MAX: usize = 32;
/// One such fact, in bytes.
pub const NOTE_BYTES_MAX: usize = 256;

/// Longest `debug:sleep` and `debug:effect`, in milliseconds.
pub const DEBUG_SLEEP_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// Credentials of one machine.
pub const SECRETS_MAX: usize = 256;
/// A credential's name, in bytes.
pub const SECRET_NAME_BYTES_MAX: usize = 64;
/// A secret, in bytes.
pub const SECRET_BYTES_MAX: usize = 8 * 1024;
/// Hosts that one credential is for.
pub const SECRET_HOSTS_MAX: usize = 16;

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

const _: () = assert!(IMAGE_DECODE_BYTES_MAX >= 8 * IMAGE_PIXELS_MAX, "16 bits for each of four colours fit");
const _: () = assert!(NATIVE_INLINE_BYTES_MAX <= NATIVE_INPUT_BYTES_MAX, "small work is work");
const _: () = assert!(PREFETCH_MAX <= PREFETCH_PER_SLOT_AT_FIRST * SLOTS_MAX, "the largest agent holds the most");
const _: () = assert!(VALUE_BYTES_MAX <= RESULT_BYTES_MAX, "the largest value fits into a result");
const _: () = assert!(
    FRAME_BYTES_MAX + RESULT_BYTES_MAX + 64 * 1024 <= AGENT_MESSAGE_BYTES_MAX,
    "a frame that is almost full takes the largest result and stays one message"
);
/// What one key weighs in an inventory, in bytes, with room to spare.
const KEY_BYTES: usize = 64;
const _: () = assert!(
    (RESULTS_KEPT_MAX + 2 * (1 + PREFETCH_PER_SLOT_AT_FIRST as usize) * SLOTS_MAX as usize) * KEY_BYTES
        <= AGENT_MESSAGE_BYTES_MAX * 3 / 4,
    "the largest inventory fits into one Hello"
);
