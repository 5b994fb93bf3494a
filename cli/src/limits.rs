//! Every bound of the command line.

use std::ops::RangeInclusive;
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
pub const EVENT_STREAM_FAILURES_MAX: u32 = 120;
/// Pause before an event stream is opened again.
pub const EVENT_STREAM_PAUSE: Duration = Duration::from_millis(250);
/// Tries of one submission that is refused for overload or loses its connection.
pub const SUBMIT_TRIES_MAX: u32 = 6;
/// Longest pause between two tries of a submission.
pub const SUBMIT_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Bytes of a file of scripts for the sandbox.
pub const SANDBOX_SCRIPT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Bytes of a workflow file.
pub const WORKFLOW_FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Bytes of a document that is imported.
pub const IMPORT_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Tasks of such a document: as many nodes as a graph may have.
pub const IMPORT_TASKS_MAX: usize = 20_000;
/// What its tasks wait for: as many edges as a graph may have.
pub const IMPORT_EDGES_MAX: usize = 100_000;
/// Bytes of the id of a node that is made of a task, before what makes it unique: fewer than a graph may have.
pub const IMPORT_ID_BYTES_MAX: usize = 240;
/// Faults of such a document that are told; the rest are counted.
pub const IMPORT_FAULTS_MAX: usize = 20;
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

/// Scrapes of the numbers that are answered at once.
pub const METRICS_CONNECTIONS_MAX: usize = 16;
/// How long a scrape may take.
pub const METRICS_CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);
/// Pause after a scrape could not be accepted.
pub const METRICS_ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
/// How long map and loop begin further long runs for the sake of small ones beside them.
pub const BENCH_BESIDE_TIME_MAX: Duration = Duration::from_secs(150);
/// How long W4 or W5 may take to fill the database.
pub const BENCH_FILL_TIME_MAX: Duration = Duration::from_secs(100);
/// How long parked runs may take to leave memory.
pub const BENCH_EVICT_WAIT_MAX: Duration = Duration::from_secs(60);
/// Graphs of which one bench measures the makespan.
pub const BENCH_GRAPHS_MAX: usize = 100;
/// Work that the makespan may give each slot, in seconds.
pub const BENCH_SECONDS_PER_SLOT: RangeInclusive<f64> = 0.01..=600.0;
/// Letters kept of a text that is still being written.
pub const DELTA_CHARS_KEPT: usize = 400;
/// Nodes that a live view follows; the rest are counted.
pub const TREE_ROWS_MAX: usize = 10_000;
/// Pause between two pictures of a live view.
pub const TREE_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause before an event stream is opened again.
pub const EVENT_STREAM_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a file may take to go up or come down.
pub const TRANSFER_WAIT_MAX: Duration = Duration::from_secs(30 * 60);
/// Bytes of one file that is an input as a text.
pub const INPUT_TEXT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Files that one pattern may name.
pub const INPUT_FILES_MAX: usize = 1_000;
/// Files that one run's outputs may bring.
pub const OUTPUT_FILES_MAX: usize = 10_000;
/// Letters of a node's or port's name in a file name.
pub const FILE_NAME_PART_CHARS_MAX: usize = 64;
/// Names that are tried for one output before giving up on it.
pub const FILE_NAME_TRIES_MAX: usize = 10_000;
/// Syncs that `heddle doctor` times.
pub const DOCTOR_SYNCS: usize = 20;
/// A sync that takes longer makes everything slow.
pub const DOCTOR_SYNC_SLOW: Duration = Duration::from_millis(20);
/// Clocks that differ by more confuse people.
pub const DOCTOR_SKEW_MAX: Duration = Duration::from_secs(5);
/// How long `heddle doctor` looks at the pages of a database.
pub const DOCTOR_PAGES_TIME_MAX: Duration = Duration::from_secs(10);
/// How long it waits for the server of a database.
pub const DOCTOR_DATABASE_WAIT_MAX: Duration = Duration::from_secs(5);
/// Fewer open files than this end connections under load.
pub const DOCTOR_OPEN_FILES_MIN: u64 = 4_096;
/// Pause between two looks at a batch of runs.
pub const BATCH_LOOK_PAUSE: Duration = Duration::from_millis(500);
/// Runs of a batch that are read at once.
pub const BATCH_RUNS_PAGE: u64 = 200;
/// How long a completion may take to ask the server.
pub const COMPLETION_WAIT_MAX: Duration = Duration::from_millis(700);
/// Candidates of one completion.
pub const COMPLETIONS_MAX: u32 = 100;

/// What is read of a secret from stdin, in bytes; a longer one is refused.
pub const SECRET_INPUT_BYTES_MAX: u64 = 64 * 1024;

/// Files that were being written when their process was killed are removed when they are older than this.
pub const LEFT_BEHIND_AFTER: Duration = Duration::from_secs(60);
/// Reviews of one run that are named with what to call, where each change is a line.
pub const REVIEWS_NAMED_MAX: usize = 3;
/// Nodes of one run that wait for a signal or a call, and are named with what to send.
pub const WAITS_NAMED_MAX: usize = 3;
/// Bytes of an edit of a review's value, and of a value that is edited.
pub const EDIT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Bytes of one that comes with its decision; a larger one is uploaded before.
pub const EDIT_SENT_BYTES_MAX: usize = 1024 * 1024;
/// Lines that are shown of what an edit changes.
pub const EDIT_DIFF_LINES_MAX: usize = 40;
/// Bytes of one result that `executions get` shows; the rest is in `--json`.
pub const RESULT_SHOWN_CHARS_MAX: usize = 2_000;
/// Versions of a workflow asked for at once.
pub const VERSIONS_PAGE: usize = 200;
/// Rows of a plan that are shown.
pub const PLAN_ROWS_SHOWN_MAX: usize = 200;
/// Bytes of what a signal says, before the server looks at it: it takes 64 KiB.
pub const SIGNAL_BYTES_MAX: u64 = 1024 * 1024;

// Children.

/// Children that `executions get` lists with their parent.
pub const CHILDREN_SHOWN_MAX: u32 = 10;
