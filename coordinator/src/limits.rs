//! Bounds of the coordinator's shell. The engine's are in `heddle_core::limits`, the wire's in `heddle_proto::limits`.

use std::time::Duration;

use heddle_core::time::Span;

/// Bytes of the youngest runs' histories that are kept at hand, for readers and for the inputs of attempts.
pub(crate) const RECENT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The same of one run: of a long one the youngest events are kept.
pub(crate) const RECENT_RUN_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Slots that are drawn for a new run, of which one is taken.
pub(crate) const SLOT_DRAWS: usize = 4;
/// A partition is much busier than another if it has committed so many times as many events…
pub(crate) const BUSY_TIMES_MIN: f64 = 2.0;
/// … and at least so many more.
pub(crate) const BUSY_EVENTS_MIN: f64 = 100.0;
/// After this time an event counts half.
pub(crate) const BUSY_HALF_LIFE: Duration = Duration::from_millis(100);
/// Workflows' rows that are kept at hand.
pub(crate) const WORKFLOW_CACHE_MAX: usize = 1_024;
/// Versions of a workflow in one page of a list.
pub(crate) const VERSIONS_PAGE_MAX: usize = 200;
/// Versions with one and the same graph that are looked through for the one that a run began with.
pub(crate) const VERSIONS_OF_GRAPH_MAX: usize = 1_000;
/// Times that a change of what is saved now is made again when another one came between.
pub(crate) const EDIT_TRIES_MAX: usize = 8;
/// Longest pause before that.
pub(crate) const EDIT_PAUSE_MAX: Duration = Duration::from_millis(20);
/// Nodes of compiled graphs that are kept at hand, over all graphs.
pub(crate) const GRAPH_CACHE_NODES_MAX: usize = 200_000;
/// Bundles of messages that wait for one agent's stream; an agent that does not read is cut off.
pub(crate) const SESSION_QUEUE_MAX: usize = 4_096;
/// Bytes put into one frame to an agent before the next is begun.
pub(crate) const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of all inline inputs of one attempt. Artifacts travel as references and do not count.
pub(crate) const ATTEMPT_INPUTS_BYTES_MAX: usize = heddle_proto::limits::INLINE_INPUTS_BYTES_MAX;
/// Bytes of the inputs that one message to an agent holds; more are sent ahead in parts.
pub(crate) const INPUTS_PART_BYTES: usize = 2 * 1024 * 1024;
/// Values of all inputs of one attempt, those inside lists among them.
pub(crate) const ATTEMPT_ITEMS_MAX: usize = 250_000;
/// Artifacts among them: the one message that names them all holds no more.
pub(crate) const ATTEMPT_ARTIFACTS_MAX: usize = 10_000;
/// Nodes in one event that it says were given up.
pub(crate) const EVENT_GIVEN_UP_MAX: usize = 1_000;
/// Values that are read from the journal at once for an attempt.
pub(crate) const READ_VALUES_MAX: usize = 256;
/// Bytes of a list in the artifact store that a map goes through.
pub(crate) const LIST_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Bytes of one of its items.
pub(crate) const LIST_ITEM_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Such lists that are read at once.
pub(crate) const LISTS_READ_MAX: usize = 2;
/// Bytes of what is remembered of them: where their parts begin.
pub(crate) const LIST_OUTLINES_BYTES_MAX: usize = 256 * 1024;
/// Pause between a start and the first collection of artifacts.
pub(crate) const COLLECT_START_AFTER: Duration = Duration::from_secs(5 * 60);
/// Pause between collections of artifacts.
pub(crate) const COLLECT_PERIOD: Duration = Duration::from_secs(3_600);
/// Artifacts' rows removed in one transaction.
pub(crate) const COLLECT_PAGE_ROWS: usize = 500;
/// Bytes of an uploaded file's name.
pub(crate) const UPLOAD_NAME_BYTES_MAX: usize = 255;
/// Files in one page of a list.
pub(crate) const UPLOADS_PAGE_MAX: usize = 200;
/// How long an agent whose other process has joined may take to prove that it is alive (E10).
pub(crate) const DUPLICATE_PING: Duration = Duration::from_secs(1);
/// Restarts of one partition within [`RESTART_WINDOW`] before the process gives up.
pub(crate) const RESTARTS_MAX: usize = 20;
/// See [`RESTARTS_MAX`].
pub(crate) const RESTART_WINDOW: Duration = Duration::from_secs(60);
/// First pause before a partition is loaded again; doubles up to [`RESTART_PAUSE_MAX`].
pub(crate) const RESTART_PAUSE_MIN: Duration = Duration::from_millis(20);
/// Longest pause before a partition is loaded again.
pub(crate) const RESTART_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Longest pause before a partition asks again for its row while the database is away.
pub(crate) const AWAY_PAUSE_MAX: Duration = Duration::from_millis(500);
/// Runs read from the journal at once while a partition is loaded.
pub(crate) const LOAD_PAGE_RUNS: usize = 256;
/// Events in one page of a history that is read for people.
pub(crate) const EVENT_PAGE_ROWS: usize = 500;
/// Bytes in one page of a history that is read for people.
pub(crate) const EVENT_PAGE_BYTES: usize = 2 * 1024 * 1024;
/// How often partitions are asked for their numbers, if anybody may ask for them.
pub(crate) const MEASURE_PERIOD: Duration = Duration::from_secs(5);
/// How often a reader looks again without a hint (E27).
pub(crate) const READ_AGAIN: Duration = Duration::from_secs(5);
/// Longest wait for a partition's answer to a client's request.
pub(crate) const REPLY_WAIT_MAX: Duration = Duration::from_secs(30);
/// Pause after the operating system refused to accept a connection (out of file handles, usually).
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a stop waits for the calls that were begun.
pub(crate) const CALLS_DRAIN_MAX: Duration = Duration::from_secs(5);
/// How long a connection that was closed here stays until the other end has closed it. It does at once, unless it hangs.
pub(crate) const FAREWELL_TIME_MAX: Duration = Duration::from_secs(1);
/// How long it then waits for connections to close. They do at once, unless the other end does not read.
pub(crate) const ANSWERS_DRAIN_MAX: Duration = Duration::from_secs(2);
/// How often idempotency keys that have expired are looked for.
pub(crate) const KEY_EXPIRY_PERIOD: Duration = Duration::from_secs(60);
/// Idempotency keys removed in one transaction.
pub(crate) const KEY_EXPIRY_ROWS_MAX: usize = 500;
/// How often results that runs share are looked through for what is too old or too much.
pub(crate) const CACHE_TIDY_PERIOD: Duration = Duration::from_secs(60);
/// Shared results removed in one transaction.
pub(crate) const CACHE_ROWS_REMOVED_MAX: usize = 500;
/// Shared results of one tenant; the oldest go.
pub(crate) const CACHED_PER_TENANT_MAX: usize = 20_000;
/// Tenants with too many whose caches are shortened at a time.
pub(crate) const CACHE_TENANTS_MAX: usize = 100;
/// How long a gateway may trust a key it has had checked, in milliseconds.
pub(crate) const KEY_CACHE_MS: u32 = 1_000;
/// Keys of one tenant that work at the same time.
pub(crate) const KEYS_PER_TENANT_MAX: usize = 1_000;
/// Bytes of the name of who holds a key.
pub(crate) const KEY_SUBJECT_BYTES_MAX: usize = 256;
/// Tenants of one cluster.
pub(crate) const TENANTS_MAX: usize = 10_000;
/// Letters, digits and hyphens of a tenant's id.
pub(crate) const TENANT_ID_LENGTH_MAX: usize = 63;
/// Bytes of a tenant's name.
pub(crate) const TENANT_NAME_BYTES_MAX: usize = 256;
/// How often the use of one key is noted at most.
pub(crate) const KEY_USE_NOTE_PERIOD: Span = Span::from_seconds(60);
/// Keys whose last note is remembered; with more, some are noted more often than that.
pub(crate) const KEY_USES_MAX: usize = 10_000;
/// Manifests that one agent may bring.
pub(crate) const AGENT_TYPES_MAX: usize = 4_096;
/// Bytes of values after which a page of a run's nodes ends, and a page of runs with their nodes: a gateway says each value
/// twice, and none is larger than an answer.
pub(crate) const ANSWER_VALUES_BYTES: usize = 12 * 1024 * 1024;
/// Bytes of earlier results that each run of a batch takes over, and all of them together: each run has a copy.
pub(crate) const BATCH_INHERITED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// See [`BATCH_INHERITED_BYTES_MAX`].
pub(crate) const BATCH_INHERITED_TOTAL_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Bytes of an edit at a review that comes with the decision: as many as of a submission's inputs. A value that has no more is
/// shown whole at its review, so that it can be edited where it is shown.
pub(crate) const REVIEW_EDIT_BYTES_MAX: usize = heddle_core::limits::SUBMIT_INPUTS_BYTES_MAX;
/// Artifacts that one such value is put together of.
pub(crate) const REVIEW_ARTIFACTS_SHOWN_MAX: usize = 64;
/// Bytes of an artifact that is given as an edit and is looked through: its type, and the form.
pub(crate) const REVIEW_REFERENCE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Checks of what people send against schemas that users wrote which run at once.
pub(crate) const FORM_CHECKS_MAX: usize = 2;
/// Parts of such schemas times values of what is sent: how often one check looks at most, some tenths of a second.
pub(crate) const FORM_LOOKS_MAX: usize = 10_000_000;
/// Parts of all such schemas of one graph, with their references written out.
pub(crate) const FORMS_PARTS_PER_GRAPH_MAX: usize = 100_000;
/// Bytes of what was sent, and of a reason, that the answer repeats if something does not fit.
pub(crate) const FORM_REASON_BYTES_MAX: usize = 300;
/// Parts of a schema with branches times bytes of what is sent, above which is said that it does not fit, but not where.
pub(crate) const FORM_REASONS_BYTES_MAX: usize = 1024 * 1024;
/// Parts of a node type's config schema times values of one config: how often one check looks at most.
pub(crate) const CONFIG_LOOKS_MAX: usize = 20_000_000;
/// Parts of a config schema with branches times bytes of a config, above which is said that it does not fit, but not where.
pub(crate) const CONFIG_REASONS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Runs of a batch that the answer to its start names.
pub(crate) const BATCH_STARTS_PER_ANSWER_MAX: u32 = 1_000;
/// Runs of a batch in one answer about it, unless the caller says otherwise.
pub(crate) const BATCH_RUNS_PER_ANSWER_DEFAULT: u32 = 50;
/// Most runs of a batch in one answer about it.
pub(crate) const BATCH_RUNS_PER_ANSWER_MAX: u32 = 200;
/// Plans of batches that are kept at hand, and their bytes.
pub(crate) const PLANS_KEPT_MAX: usize = 64;
/// See [`PLANS_KEPT_MAX`].
pub(crate) const PLANS_KEPT_BYTES: usize = 32 * 1024 * 1024;
/// How long a plan is kept whose batch has not begun: the request that brought it is long over by then.
pub(crate) const PLAN_WITHOUT_BATCH_KEPT: Span = Span::from_seconds(24 * 60 * 60);
/// Batches, and messages that are owed, read from the journal at once while a partition is loaded.
pub(crate) const LOAD_PAGE_ROWS: usize = 1_000;
/// Runs in one page of a family, unless a caller asks for fewer.
pub(crate) const LINEAGE_PAGE: u32 = 50;
/// The same, whatever a caller asks for.
pub(crate) const LINEAGE_PAGE_MAX: u32 = 200;
/// Edited outputs that a family shows of one run.
pub(crate) const EDITS_SHOWN_MAX: usize = 100;
/// Nodes that stand elsewhere in a plan than in the one that was agreed to, as far as they are named.
pub(crate) const PLAN_MOVES_SHOWN_MAX: usize = 50;
/// Runs of a workflow, the youngest first, in which what its nodes gave last is looked for.
pub(crate) const CACHED_RUNS_READ_MAX: usize = 20;
/// Runs that stay folded after somebody has looked at them.
pub(crate) const SEEN_RUNS_MAX: usize = 3;
/// Events from which on a run stays folded: shorter histories are read anew sooner than anybody notices.
pub(crate) const SEEN_EVENTS_MIN: u64 = 1_000;
/// Bytes of values of all those runs.
pub(crate) const SEEN_VALUES_BYTES_MAX: usize = HISTORY_VALUES_BYTES_MAX;
/// Bytes of values that are kept while a history is read for people; others are read when an answer shows them.
pub(crate) const HISTORY_VALUES_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Skipped nodes that an answer about a run names.
pub(crate) const SKIPPED_NODES_MAX: usize = 1_000;
/// Instances in one answer about a node, unless the caller asks for another number, and at most.
pub(crate) const INSTANCES_PER_ANSWER_DEFAULT: u32 = 50;
pub(crate) const INSTANCES_PER_ANSWER_MAX: u32 = 200;
/// Nodes in one answer about a run's trace.
pub(crate) const TRACE_NODES_MAX: usize = 1_000;
/// Runs that have ended and whose spans are still to be told to a collector; further ones are not told, and counted.
pub(crate) const TRACES_WAITING_MAX: usize = 1_024;
/// Runs that are remembered as told, so that a second hint at their end tells nothing twice.
pub(crate) const TRACES_TOLD_MAX: usize = 256;
/// Pieces of output of one attempt that are kept for readers while it runs, in bytes; the oldest make room.
pub(crate) const LIVE_ATTEMPT_BYTES_MAX: usize = heddle_proto::limits::STREAM_WINDOW_BYTES;
/// Pieces of output of all attempts together, in bytes. Above it an attempt keeps its youngest piece only.
pub(crate) const LIVE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Attempts that show something at the same time; further ones are not shown before their result is.
pub(crate) const LIVE_ATTEMPTS_MAX: usize = 65_536;
/// How long the last pieces stay for readers that come back after an attempt's end; less long where others need the room.
pub(crate) const LIVE_KEPT: Duration = Duration::from_secs(heddle_proto::limits::STREAM_WINDOW_SECONDS);
/// Places of pieces that are gone which an attempt remembers, so that who comes back is told what is missing.
pub(crate) const LIVE_MARKS_MAX: usize = 1_024;
/// What a word about progress says, in bytes; the rest is cut off.
pub(crate) const LIVE_MESSAGE_BYTES_MAX: usize = 1_024;
/// Text of pieces that a reader takes at once, in bytes.
pub(crate) const LIVE_NEWS_BYTES_MAX: usize = 64 * 1024;
/// How long the authority that a coordinator makes counts: ten years.
pub(crate) const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// How long the certificates of members count, unless it is told otherwise.
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// The shortest life that certificates may be given; they say whole seconds.
pub const CERTIFICATE_LIFE_MIN: Duration = Duration::from_secs(5);
/// A certificate counts from this share of its life before it is made: by as much may clocks be behind the coordinator's, and
/// the coordinator's own be set back. Eight hours of a life of a day.
pub(crate) const CERTIFICATE_BACKDATE_SHARE: u32 = 3;
/// Connections last for this share of a certificate's life, so that each shows a young one.
pub(crate) const CONNECTION_AGE_SHARE: u32 = 5;
/// How long a join token can be used, unless it is told otherwise.
pub(crate) const JOIN_TOKEN_TTL: Span = Span::from_seconds(60 * 60);
/// The longest life of a join token.
pub(crate) const JOIN_TOKEN_TTL_MAX: Span = Span::from_seconds(30 * 24 * 60 * 60);
/// How long the token can be used that a coordinator makes for the first gateway; the next start makes another.
pub(crate) const FIRST_GATEWAY_TOKEN_TTL: Span = Span::from_seconds(7 * 24 * 60 * 60);
/// Tokens that wait to be used.
pub(crate) const JOIN_TOKENS_MAX: usize = 500;
/// How long whoever has used a token may use it again with the same key: the answer may have been lost.
pub(crate) const JOIN_AGAIN: Span = Span::from_seconds(10 * 60);
/// Members that join at the same moment.
pub(crate) const JOINS_AT_ONCE_MAX: usize = 16;
/// Connections that prove themselves at the same moment.
pub(crate) const HANDSHAKES_MAX: usize = 256;
/// How long a connection may take to prove itself.
pub(crate) const HANDSHAKE_WAIT: Duration = Duration::from_secs(5);
/// How long a refused connection may take to read why.
pub(crate) const REFUSED_WAIT: Duration = Duration::from_secs(1);
/// Kilobytes of it that are read meanwhile.
pub(crate) const REFUSED_READS_MAX: usize = 16;
/// Connections without a certificate that are open at the same moment; they can do nothing but join.
pub(crate) const NEWCOMERS_MAX: usize = 64;
/// How long such a connection lasts.
pub(crate) const NEWCOMER_TIME_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether a certificate is about to end: a machine that was asleep has not counted the time.
pub(crate) const CERTIFICATE_LOOK: Duration = Duration::from_secs(20);
/// Connections that wait to be served.
pub(crate) const ACCEPTED_WAITING_MAX: usize = 64;

const _: () = assert!(PLANS_KEPT_BYTES >= heddle_core::limits::BATCH_VALUES_BYTES_MAX, "any plan can be kept at hand");
const _: () = assert!(JOIN_TOKENS_MAX < crate::members::JOIN_TOKENS_LISTED_MAX, "a list shows all that can be used");
/// Files of a list among the inputs that are looked up; others are looked for by the node that needs them.
pub(crate) const LISTED_FILES_MAX: usize = 1_000;
/// Files that results which a run takes over only describe, and that it keeps; of more the others go when the earlier run does.
pub(crate) const HELD_FILES_MAX: usize = 1_000;
/// Runs that nothing would wake of which the watchdog keeps what it has found.
pub(crate) const ORPHANS_KEPT_MAX: usize = 1_000;
/// Rows of runs that the watchdog looks at at once.
pub(crate) const WATCHDOG_PAGE_ROWS: usize = 1_000;
/// Runs among them whose history it reads back: only that says what they wait for.
pub(crate) const WATCHDOG_PAGE_RUNS: usize = 50;
/// Its pause between two pages of rows.
pub(crate) const WATCHDOG_PAGE_PAUSE: Duration = Duration::from_secs(1);
/// A partition's pause between two pages of the runs in its memory.
pub(crate) const WATCHDOG_MEMORY_PAUSE: Duration = Duration::from_millis(50);
/// Longest wait for what a partition says of the runs in its memory; then the journal is read.
pub(crate) const EXPLAIN_WAIT_MAX: Duration = Duration::from_secs(2);
/// Workflows in one page of a list.
pub(crate) const WORKFLOWS_PAGE_MAX: usize = 1_000;
/// Bytes after which a page of workflows ends.
pub(crate) const WORKFLOWS_PAGE_BYTES: usize = 8 * 1024 * 1024;

// Figures and alerts.

/// Runs that one answer with figures counts; of more it tells of the youngest stretches of time.
pub(crate) const STATS_RUNS_MAX: usize = 1_000_000;
/// Runs read at once for it.
pub(crate) const STATS_PAGE_ROWS: usize = 20_000;
/// Answers with figures that are counted at the same time, and how long a further one waits.
pub(crate) const STATS_AT_ONCE_MAX: usize = 2;
/// See [`STATS_AT_ONCE_MAX`].
pub(crate) const STATS_WAIT_MAX: Duration = Duration::from_secs(5);
/// The span that figures are told of, unless the caller says otherwise.
pub(crate) const STATS_SPAN_DEFAULT: Span = Span::from_seconds(7 * 24 * 60 * 60);
/// The longest one.
pub(crate) const STATS_SPAN_MAX: Span = Span::from_seconds(400 * 24 * 60 * 60);
/// Kinds of errors that an answer with figures names.
pub(crate) const STATS_ERRORS_MAX: usize = 50;
/// Rules that watch over one workflow.
pub(crate) const ALERTS_PER_WORKFLOW_MAX: usize = 20;
/// The shortest time that a rule looks back.
pub(crate) const ALERT_WINDOW_MIN: Span = Span::from_seconds(1);
/// The longest one.
pub(crate) const ALERT_WINDOW_MAX: Span = Span::from_seconds(30 * 24 * 60 * 60);
/// The most that a rule may ask for as `minRuns`; and how many runs of its window it looks at, the youngest.
pub(crate) const ALERT_RUNS_MAX: usize = 10_000;
/// For how long all must be well before an incident closes, unless its rule says otherwise.
pub(crate) const ALERT_CLOSE_AFTER_DEFAULT: Span = Span::from_seconds(60);
/// The longest such time.
pub(crate) const ALERT_CLOSE_AFTER_MAX: Span = Span::from_seconds(24 * 60 * 60);
/// How often all rules are looked at.
pub(crate) const ALERT_PERIOD: Duration = Duration::from_secs(2);
/// Rules in one page of that, and the pause before the next page.
pub(crate) const ALERT_PAGE_RULES: usize = 20;
/// See [`ALERT_PAGE_RULES`].
pub(crate) const ALERT_PAGE_PAUSE: Duration = Duration::from_millis(50);
/// Runs that an incident names.
pub(crate) const ALERT_EXAMPLES_MAX: usize = 5;
/// How long incidents are kept after they closed.
pub(crate) const INCIDENTS_KEPT: Span = Span::from_seconds(90 * 24 * 60 * 60);
/// How often older ones are looked for.
pub(crate) const INCIDENT_EXPIRY_PERIOD: Duration = Duration::from_secs(60);
/// Incidents removed in one transaction.
pub(crate) const INCIDENT_EXPIRY_ROWS: usize = 500;

// Retention.

/// Closed runs that one page of retention looks at.
pub(crate) const RETENTION_PAGE_RUNS: usize = 40;
/// Rows of histories that one page removes: a commit waits for one page at most, which must be a matter of milliseconds.
pub(crate) const RETENTION_PAGE_ROWS: usize = 400;
/// Bytes of them, the last one's not counted.
pub(crate) const RETENTION_PAGE_BYTES: usize = 512 * 1024;
/// Retention rests after each page for so many times as long as the page took, within these bounds.
pub(crate) const RETENTION_PAUSE_SHARE: u32 = 4;
/// See [`RETENTION_PAUSE_SHARE`].
pub(crate) const RETENTION_PAUSE_MIN: Duration = Duration::from_millis(5);
/// See [`RETENTION_PAUSE_SHARE`].
pub(crate) const RETENTION_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Pause before closed runs are gone through anew, once no more are due.
pub(crate) const RETENTION_PERIOD: Duration = Duration::from_secs(60);
/// Pause before retention tries again what the database did not do.
pub(crate) const RETENTION_AGAIN: Duration = Duration::from_secs(1);
/// Batches without runs removed in one transaction.
pub(crate) const RETENTION_BATCHES_REMOVED_MAX: usize = 100;
/// Days that a tombstone is kept; then nobody knows any more that there was such a run.
pub(crate) const TOMBSTONE_DAYS: u16 = 365;
/// Tombstones removed in one transaction.
pub(crate) const TOMBSTONES_REMOVED_MAX: usize = 400;

// Histories as files.

/// Bytes of one line of an exported history: a graph or an event, as text.
pub(crate) const EXPORT_LINE_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Artifacts that an exported history names.
pub(crate) const EXPORT_ARTIFACTS_MAX: usize = 100_000;

// Waiting for the world.

/// Parked runs that were brought to their partitions within a period, while further ones are looked for without a pause.
pub(crate) const DUE_SCAN_REPORTED_MAX: usize = 8 * 1024;

const _: () = assert!(
    DUE_SCAN_REPORTED_MAX + heddle_core::limits::DUE_SCAN_RUNS_MAX <= crate::journal::limits::PAGE_ROWS_MAX,
    "a page has room for those that were brought already"
);

// Children.

/// Nodes of a graph whose workflows are looked at when it is saved or run.
pub(crate) const CHILDREN_CHECKED_MAX: usize = 50;

// Streams of runs to clients.

/// Events in one page of a stream that somebody follows.
pub(crate) const FOLLOW_PAGE_ROWS: usize = 128;
/// Bytes of events after which a page of a stream that somebody follows ends: what a reader that does not take it holds up.
pub(crate) const FOLLOW_PAGE_BYTES: usize = 64 * 1024;
