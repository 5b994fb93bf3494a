//! Every bound of the journal. The engine's own are in `heddle_core::limits`.

use std::time::Duration;

use heddle_core::id::SLOTS;
use heddle_core::time::Span;

/// Fewest and most partitions of a new journal, unless its first start says otherwise: in between, one for each core. A
/// partition uses one core at most and commits on its own, so more of them would only make more and smaller commits.
pub const PARTITIONS_DEFAULT: std::ops::RangeInclusive<u16> = 4..=16;
/// Most partitions: one slot each.
pub const PARTITIONS_MAX: u16 = SLOTS;
/// Writes that wait before the writer. A partition has one batch under way, so this is full only when rows beside runs
/// are written faster than the disk takes them; callers then wait.
pub const WRITER_QUEUE_MAX: usize = 4_096;
/// Writes merged into one transaction.
pub const MERGE_WRITES_MAX: usize = 1_024;
/// Bytes after which a merge takes no more writes in.
pub const MERGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A write of at least so many bytes that is at least so many times as much as all it would be merged with is written after
/// them. Below that, one more fsync costs more than the rows.
pub const HEAVY_WRITE_BYTES_MIN: usize = 4 * 1024;
/// See [`HEAVY_WRITE_BYTES_MIN`].
pub const HEAVY_WRITE_SHARE: usize = 3;
/// How far the time that SQLite's file tells may be behind that of its youngest transaction.
pub const TIME_MARK_PERIOD: Span = Span::from_millis(100);
/// Reads that wait before the readers; callers beyond it wait.
pub const READER_QUEUE_MAX: usize = 1_024;
/// Read connections, each with a thread of its own.
pub const READERS: usize = 2;
/// Rows of one page of a list or of a history.
pub const PAGE_ROWS_MAX: usize = 10_000;
/// Prepared statements that a connection keeps.
pub const STATEMENTS_MAX: usize = 64;
/// First pause before a transaction that the disk refused is tried again.
pub const STALLED_BACKOFF_MIN: Duration = Duration::from_millis(10);
/// Longest pause.
pub const STALLED_BACKOFF_MAX: Duration = Duration::from_millis(1_000);
/// Bytes of the reason kept with a quarantined run.
pub const QUARANTINE_REASON_BYTES_MAX: usize = 1_024;
/// Commits after which a checkpoint begins: small commits change the same pages again and again, and each checkpoint moves them
/// all. Below this, checkpoints cost throughput.
pub const CHECKPOINT_COMMITS: u32 = 64;
/// Bytes of rows after which a checkpoint begins. A commit that meets one waits until the disk has taken the pages that it moves:
/// many small ones hold up nobody for long.
pub const CHECKPOINT_BYTES: usize = 256 * 1024;
/// Pages of the write-ahead log (4 KiB each) at which the writer pauses to let a checkpoint reach the log's end, so that
/// the log begins anew.
pub const LOG_PAGES_MAX: i64 = 16 * 1024;
/// Bytes that the write-ahead log keeps on disk once it has begun anew.
pub const LOG_BYTES_KEPT: i64 = 64 * 1024 * 1024;
/// Bytes of the write-ahead log that are there before anything is written: what overwrites bytes of a file is durable
/// sooner than what makes the file longer. Under steady load a log gets that long before it can begin anew.
pub const LOG_BYTES_PREPARED: u64 = 16 * 1024 * 1024;
/// Memory of the writer's page cache, in KiB.
pub const WRITER_CACHE_KIB: i64 = 16 * 1024;
/// Memory of a reader's page cache, in KiB.
pub const READER_CACHE_KIB: i64 = 4 * 1024;
/// How long a connection waits for another one's short lock, as when the log begins anew.
pub const BUSY_WAIT_MAX: Duration = Duration::from_millis(5_000);
/// Connections to a server that commit batches, each one batch at a time; batches beyond it wait their turn.
pub const COMMIT_CONNECTIONS_MAX: usize = 8;
/// Connections to a server for everything else; askers beyond it wait their turn.
pub const ROW_CONNECTIONS_MAX: usize = 8;
/// How long a server may take for one answer. Then its connection is given up, and what it was asked is not known to be
/// done.
pub const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);
/// How long an idle connection is trusted to be alive without asking.
pub const IDLE_TRUSTED: Duration = Duration::from_millis(1_000);
/// How often a write of plain rows is begun anew when the server has chosen it to break a deadlock.
pub const DEADLOCK_TRIES_MAX: u32 = 5;

const _: () = assert!(MERGE_WRITES_MAX >= PARTITIONS_MAX as usize, "every partition's batch fits into one merge");
const _: () = assert!(LOG_BYTES_KEPT >= LOG_PAGES_MAX * 4096, "a log of the usual size keeps its file");
const _: () = assert!(WRITER_QUEUE_MAX >= MERGE_WRITES_MAX, "a full merge can wait");
/// States of the database that retries are counted by.
pub const RETRY_STATES_MAX: usize = 32;
/// Faults of a damaged database that are told; there may be one for each page.
pub(crate) const FAULTS_TOLD_MAX: usize = 5;
/// Bytes of an error's code that a run's row keeps in a column of its own.
pub(crate) const ERROR_CODE_BYTES_MAX: usize = 128;
