//! Every bound of the gateway. What both ends of the wire share is in `heddle_proto::limits`.

use std::time::Duration;

use heddle_proto::limits::{CONTROL_MESSAGE_BYTES_MAX, READ_WAIT_SECONDS_MAX, REQUEST_BODY_BYTES_MAX};

pub(crate) use heddle_proto::limits::{PLAN_TOKEN_LENGTH_MAX, WORKFLOW_NAME_CHARS_MAX};

/// Largest request body that holds a graph, in bytes.
pub(crate) const GRAPH_BODY_BYTES_MAX: usize = REQUEST_BODY_BYTES_MAX;
/// Largest request body of every other route, in bytes.
pub(crate) const CONTROL_BODY_BYTES_MAX: usize = 64 * 1024;
/// Largest request body that changes one node, in bytes.
pub(crate) const NODE_PATCH_BYTES_MAX: usize = 256 * 1024;
/// Largest space between two nodes that are laid out, in pixels.
pub(crate) const LAYOUT_GAP_PIXELS_MAX: f64 = 10_000.0;
/// How long a key that is replaced works on, unless the request says otherwise.
pub(crate) const KEY_OVERLAP_SECONDS_DEFAULT: u64 = 24 * 3_600;
/// The longest it may.
pub(crate) const KEY_OVERLAP_SECONDS_MAX: u64 = 30 * 24 * 3_600;
/// How deep objects and arrays of a body may nest.
pub(crate) const JSON_DEPTH_MAX: usize = 64;
/// Longest pause between two pieces of a request body.
pub(crate) const BODY_STALL_MAX: Duration = Duration::from_secs(10);
/// How long a body may take before it has to keep the pace.
pub(crate) const BODY_GRACE: Duration = Duration::from_secs(30);
/// The pace: bytes of a body that come in a second, over all the time that its sender is waited for after the grace. A slow
/// line to a phone does it; whoever drips does not.
pub(crate) const BODY_BYTES_PER_SECOND_MIN: u64 = 16 * 1024;
/// Longest time a whole request body that holds no file may take.
pub(crate) const BODY_READ_MAX: Duration = Duration::from_secs(300);

/// How much of a body that nobody reads is taken off the wire, so that its sender gets to read the answer, in bytes.
pub(crate) const DISCARD_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// How long such a body is taken off the wire.
pub(crate) const DISCARD_TIME_MAX: Duration = Duration::from_secs(10);

/// Open connections of clients. More wait in the kernel's queue.
pub(crate) const CONNECTIONS_MAX: usize = 10_000;
/// How long the head of a request may take from its first byte on.
pub(crate) const HEAD_READ_MAX: Duration = Duration::from_secs(10);
/// How long a connection may wait for its next request, and for the whole of its head. Longer than most clients and proxies
/// keep one that they do not use (60 seconds and less), so that they close it, who know whether they are about to send.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(75);
/// Largest sum of a request's header names and values, in bytes. More is answered with 431.
pub(crate) const HEADER_LIST_BYTES_MAX: usize = 32 * 1024;
/// Largest request head that is read at all, in bytes. More is answered by the HTTP library, without our headers.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long a connection on which nothing is asked stays open when the gateway stops. Who does not send on connections
/// that were idle for this long never meets one that is just being closed (RFC 9112, part 9.5).
pub(crate) const IDLE_LINGER: Duration = Duration::from_secs(2);
/// Pause after the operating system refused to accept a connection (out of file handles, usually).
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a key's answer is believed: a revoked key works at most this much longer.
pub(crate) const KEY_CACHE_TIME_MAX: Duration = Duration::from_secs(1);
/// Keys remembered at once.
pub(crate) const KEY_CACHE_ENTRIES_MAX: usize = 10_000;

/// How long a call of the coordinator may take, the wait that it was asked for not included.
pub(crate) const CALL_TIME_MAX: Duration = Duration::from_secs(30);
/// Pause between two looks at how the coordinator is.
pub(crate) const WATCH_PERIOD: Duration = Duration::from_secs(1);
/// How long a health check waits for the coordinator.
pub(crate) const STATUS_TIME_MAX: Duration = Duration::from_secs(2);
/// How long a connection to the coordinator may take to open.
pub(crate) const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
/// How long a client's request is held while the coordinator is away: a restart takes less.
pub(crate) const OUTAGE_WAIT_MAX: Duration = Duration::from_secs(8);
/// First pause before a call is sent again; doubles up to [`REPEAT_PAUSE_MAX`].
pub(crate) const REPEAT_PAUSE_MIN: Duration = Duration::from_millis(25);
/// Longest pause before a call is sent again.
pub(crate) const REPEAT_PAUSE_MAX: Duration = Duration::from_millis(200);
/// HTTP/2 window of one call, in bytes.
pub(crate) const CALL_WINDOW_BYTES: u32 = 1024 * 1024;
/// HTTP/2 window of all calls on one connection, in bytes.
pub(crate) const CALLS_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// HTTP/2 window of one followed run, in bytes: what its feed has not asked for yet.
pub(crate) const FOLLOWER_WINDOW_BYTES: u32 = 64 * 1024;
/// HTTP/2 window of all followed runs on one connection, in bytes.
pub(crate) const FOLLOWERS_WINDOW_BYTES: u32 = 256 * 1024 * 1024;
/// Runs and nodes followed at once (server-sent events). One that is up to date takes some 20 KiB of the gateway; one that
/// does not read holds up to about [`ANSWER_BUFFER_BYTES`] of what a feed has told, and shares it with others at the same place.
pub(crate) const FOLLOWERS_MAX: usize = 4_096;
/// Of these, by clients of one tenant.
pub(crate) const FOLLOWERS_PER_TENANT_MAX: usize = 3_072;
/// Bytes of events that a feed keeps for those of its readers that are behind, or come back: about what the coordinator keeps of
/// an attempt, as text. The youngest page stays, however large it is.
pub(crate) const FEED_BYTES_MAX: usize = 384 * 1024;
/// The same while it has one reader: a short run can still be joined from its beginning on.
pub(crate) const FEED_ALONE_BYTES_MAX: usize = 16 * 1024;
/// The same of all feeds together; when they have as much, each keeps its youngest page alone.
pub(crate) const FEEDS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes that a reader of a feed takes at once, if that is more than one page.
pub(crate) const FOLLOWER_PIECE_BYTES: usize = 64 * 1024;
/// How long a client that follows may take nothing, unless the operator says otherwise: a page of about 64 KiB waits for it.
/// It is told where to go on, and its place is free.
pub(crate) const FOLLOWER_STALL: Duration = Duration::from_secs(60);
/// How long it is waited for that it takes this last event.
pub(crate) const FOLLOWER_FAREWELL_MAX: Duration = Duration::from_secs(20);
/// How much longer a connection may take nothing of an answer before it is cut.
pub(crate) const WRITE_STALL_SPARE: Duration = Duration::from_secs(10);
/// What the kernel takes of an answer before it can be sent, in bytes, where it can be told so.
pub(crate) const UNSENT_BYTES_MAX: u32 = 64 * 1024;
/// What of an answer waits in a connection for its client to take it, in bytes.
pub(crate) const ANSWER_BUFFER_BYTES: usize = 64 * 1024;

/// Longest `?wait=` of a poll.
pub(crate) const POLL_WAIT_MAX: Duration = Duration::from_secs(READ_WAIT_SECONDS_MAX);
/// How often a quiet event stream says that it lives.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// How long one event stream lasts. Its client connects again where it was, and shows that its key is still good.
pub(crate) const FOLLOW_TIME_MAX: Duration = Duration::from_secs(600);
/// Pause before a broken stream from the coordinator is taken up again.
pub(crate) const FOLLOW_PAUSE: Duration = Duration::from_millis(250);
/// How long a follower is kept while the coordinator cannot be reached.
pub(crate) const FOLLOW_OUTAGE_MAX: Duration = Duration::from_secs(60);
/// Most events in one JSON answer, also to whoever names no limit.
pub(crate) const EVENTS_LIMIT_MAX: u32 = 1_000;
/// Bytes of events in one JSON answer, give or take one page.
pub(crate) const EVENTS_ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Runs in one page of a history, unless the caller says otherwise.
pub(crate) const HISTORY_LIMIT_DEFAULT: u32 = 50;
/// Most runs in one page of a history.
pub(crate) const HISTORY_LIMIT_MAX: u32 = 200;
/// Runs of a batch in one answer about it, unless the caller says otherwise.
pub(crate) const BATCH_RUNS_LIMIT_DEFAULT: u32 = 50;
/// Most runs of a batch in one answer about it.
pub(crate) const BATCH_RUNS_LIMIT_MAX: u32 = 200;
/// Instances of a node in one answer, unless the client asks for another number, and at most.
pub(crate) const INSTANCES_LIMIT_DEFAULT: u32 = 50;
pub(crate) const INSTANCES_LIMIT_MAX: u32 = 200;
/// Numbers in an index: maps and loops lie eight deep, and the innermost has items of its own.
pub(crate) const INDEX_NUMBERS_MAX: usize = 9;
/// Items that one resume may name.
pub(crate) const RESUME_INDICES_MAX: usize = 10_000;
/// Runs of a family in one answer, unless the client asks for another number, and at most.
pub(crate) const LINEAGE_LIMIT_DEFAULT: u32 = 50;
pub(crate) const LINEAGE_LIMIT_MAX: u32 = 200;
/// Reviews in one page of a list, unless the caller says otherwise.
pub(crate) const REVIEWS_LIMIT_DEFAULT: u32 = 50;
/// Most reviews in one page of a list.
pub(crate) const REVIEWS_LIMIT_MAX: u32 = 200;
/// Largest request body that decides a review: an edit of 1 MiB, with white space and a comment.
pub(crate) const DECISION_BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most workflows in one answer, also to whoever names no limit.
pub(crate) const WORKFLOWS_LIMIT_MAX: u32 = 1_000;
/// Versions of a workflow in one answer, unless the caller says otherwise.
pub(crate) const VERSIONS_LIMIT_DEFAULT: u32 = 50;
/// Most versions of a workflow in one answer.
pub(crate) const VERSIONS_LIMIT_MAX: u32 = 200;
/// Most nodes in one answer about a run.
pub(crate) const NODES_PER_ANSWER_MAX: u32 = 1_000;
/// Longest Idempotency-Key, in characters.
pub(crate) const IDEMPOTENCY_KEY_LENGTH_MAX: usize = 255;
/// Longest X-Request-Id that is taken over from the caller, in characters.
pub(crate) const REQUEST_ID_LENGTH_MAX: usize = 128;

const _: () = assert!(GRAPH_BODY_BYTES_MAX < CONTROL_MESSAGE_BYTES_MAX, "a graph must fit into one message");
const _: () = assert!(HEAD_READ_MAX.as_secs() < IDLE_MAX.as_secs(), "a head that was begun is waited for less long");
const _: () = assert!(HEADER_LIST_BYTES_MAX < HEAD_BYTES_MAX, "our own 431 must come before the library's");
const _: () = assert!(ANSWER_BUFFER_BYTES >= HEAD_BYTES_MAX, "a head is read into the same buffer");
const _: () = assert!(FOLLOWERS_MAX < CONNECTIONS_MAX, "followers leave connections to others");
const _: () = assert!(
    FOLLOWERS_MAX as u64 * FOLLOWER_WINDOW_BYTES as u64 <= FOLLOWERS_WINDOW_BYTES as u64,
    "followers that do not read must not stop those that do"
);
/// Bytes of a file in a multipart body, or behind an address that is fetched.
pub(crate) const MEDIA_BYTES_MAX: u64 = 25 * 1024 * 1024;
/// Bytes of a multipart body beside its file.
pub(crate) const MULTIPART_SPARE_BYTES: u64 = 64 * 1024;
/// Files that are on their way in at once: each takes a few parts of memory.
pub(crate) const UPLOADS_MAX: usize = 16;
/// Longest time a file may take on its way in: the largest needs 5 Mbit/s.
pub(crate) const UPLOAD_TIME_MAX: Duration = Duration::from_secs(3_600);
/// How long the address that takes a file is good, in seconds.
pub(crate) const UPLOAD_LINK_SECONDS: u64 = 3_600;
/// Files in one page of a list, unless the caller says otherwise.
pub(crate) const MEDIA_LIMIT_DEFAULT: u32 = 50;
/// Most files in one page of a list.
pub(crate) const MEDIA_LIMIT_MAX: u32 = 200;
/// Nodes in one answer about a run's trace.
pub(crate) const TRACE_NODES_PER_ANSWER_MAX: u32 = 1_000;

// What the world tells runs.

/// Largest body of a signal, and of a call of a hook, in bytes: what a run keeps in its history.
pub(crate) const SIGNAL_BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest name of a signal, in characters.
pub(crate) const SIGNAL_NAME_CHARS_MAX: usize = 128;

// Figures and alerts.

/// Incidents in one page of a list, unless the caller says otherwise.
pub(crate) const INCIDENTS_LIMIT_DEFAULT: u32 = 50;
/// Most incidents in one page of a list.
pub(crate) const INCIDENTS_LIMIT_MAX: u32 = 200;

// Operating.

/// Longest active time that a request may give a run.
pub(crate) const DEADLINE_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1_000;
