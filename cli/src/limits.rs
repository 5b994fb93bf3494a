//! Every bound of the command line.

use std::time::Duration;

/// How long a connection may take to open.
pub const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long an ordinary request may take; longer than the longest `?wait=`.
pub const REQUEST_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long a local server may take to say who it is.
pub const HEALTH_WAIT_MAX: Duration = Duration::from_secs(2);
/// Longest `?wait=` that is asked for, in seconds.
pub const POLL_WAIT_SECONDS_MAX: u64 = 30;
/// Nodes in one page of a run's results.
pub const NODES_PAGE: u64 = 1_000;
/// Bytes of one server-sent event.
pub const EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Streams of events that end badly in a row before a watcher gives up.
pub const EVENT_STREAM_FAILURES_MAX: u32 = 20;
/// Pause before an event stream is opened again.
pub const EVENT_STREAM_PAUSE: Duration = Duration::from_millis(250);
/// Tries of one submission that is refused for overload or loses its connection.
pub const SUBMIT_TRIES_MAX: u32 = 6;
/// Longest pause between two tries of a submission.
pub const SUBMIT_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Bytes of a workflow file.
pub const WORKFLOW_FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Node lines of the live tree; the rest are counted.
pub const TREE_LINES_MAX: usize = 24;
/// How long `heddle run` waits for another process to leave the data folder or to answer.
pub const FOLDER_WAIT_MAX: Duration = Duration::from_secs(10);
/// Pause between two looks at the data folder.
pub const FOLDER_PAUSE: Duration = Duration::from_millis(100);
/// How long the parts of a cluster may take to become ready.
pub const START_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long the parts may take to finish what they have before the process leaves.
pub const DRAIN_WAIT_MAX: Duration = Duration::from_secs(10);
/// Agents that one process runs.
pub const AGENTS_MAX: u16 = 64;

/// Bytes of one answer that the load generator takes.
pub const BENCH_ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long one answer may take the load generator.
pub const BENCH_ANSWER_WAIT_MAX: Duration = Duration::from_secs(60);
/// Times one submission of the load generator may be refused for overload.
pub const BENCH_REFUSALS_MAX: u32 = 600;
/// Pause after such a refusal.
pub const BENCH_REFUSAL_PAUSE: Duration = Duration::from_millis(100);
/// How long one case of W2 goes on before it starts no further set of rounds.
pub const BENCH_CASE_TIME_MAX: Duration = Duration::from_secs(50);
/// How long W4 or W5 may take to fill the database.
pub const BENCH_FILL_TIME_MAX: Duration = Duration::from_secs(100);
/// How long parked runs may take to leave memory.
pub const BENCH_EVICT_WAIT_MAX: Duration = Duration::from_secs(60);

/// What is read of a secret from stdin, in bytes; a longer one is refused.
pub const SECRET_INPUT_BYTES_MAX: u64 = 64 * 1024;
