//! Every bound of the engine, in one place. What both ends of a wire share is in `heddle_proto::limits`.

use crate::time::Span;

pub use heddle_condition::limits::{
    DELEGATED_VALUES_BYTES_MAX, DELEGATED_VALUES_MAX, EXPRESSION_BYTES_MAX, EXPRESSION_COST_MAX,
    EXPRESSION_VALUES_BYTES_MAX, EXPRESSION_VALUES_MAX,
};

/// Nodes in one graph.
pub const GRAPH_NODES_MAX: usize = 20_000;
/// Edges in one graph.
pub const GRAPH_EDGES_MAX: usize = 100_000;
/// Nesting of JSON in a graph.
pub const GRAPH_JSON_DEPTH_MAX: usize = 64;
/// Bytes of one node's or edge's id.
pub const GRAPH_ID_BYTES_MAX: usize = 256;
/// Problems that one validation reports; the rest are counted.
pub const GRAPH_PROBLEMS_MAX: usize = 200;
/// How far from its corner a canvas reaches, in pixels.
pub const CANVAS_PIXELS_MAX: f64 = 1e9;
/// Bytes of what is said about the difference of two graphs.
pub const DIFFERENCE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of one value in it.
pub const DIFFERENCE_VALUE_BYTES_MAX: usize = 4 * 1024;
/// A value kept inside a row, in bytes. A larger one is an artifact.
pub const INLINE_VALUE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one artifact.
pub const ARTIFACT_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Bytes of an artifact's media type.
pub const MEDIA_TYPE_BYTES_MAX: usize = 128;
/// Values that one result or one submission carries.
pub const RESULT_VALUES_MAX: usize = 64;
/// Bytes of an error's message as kept.
pub const ERROR_MESSAGE_BYTES_MAX: usize = 2 * 1024;
/// Events in one run's history.
pub const RUN_EVENTS_MAX: u64 = 5_000_000;
/// Bytes of the inputs given with a submission.
pub const SUBMIT_INPUTS_BYTES_MAX: usize = 1024 * 1024;

/// Fallbacks of one node.
pub const FALLBACKS_MAX: usize = 8;
/// Bytes of a `concurrencyKey` as it is written.
pub const CONCURRENCY_KEY_BYTES_MAX: usize = 256;
/// Attempts at work at once for a key that no limit of the server names.
pub const CONCURRENCY_DEFAULT: u32 = 1;
/// Patterns with a limit of their own.
pub const CONCURRENCY_LIMITS_MAX: usize = 1_000;

/// Bytes of the youngest values that a partition keeps at hand for decisions.
pub const RECENT_VALUES_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Cases of one switch, and rules of one router.
pub const SWITCH_CASES_MAX: usize = 64;
/// Nodes of one graph whose conditions look at `nodes`: for each it is found out what lies before it.
pub const GRAPH_LOOKING_BACK_MAX: usize = 256;

/// Items of one map or reduce.
pub const MAP_ITEMS_MAX: u32 = 100_000;
/// Items of a map that are at work at a time, unless its config says otherwise.
pub const SCOPE_WINDOW: u32 = 64;
/// The same, whatever the config says.
pub const SCOPE_WINDOW_MAX: u32 = 1_000;
/// Turns of a loop, unless its config says otherwise.
pub const LOOP_TURNS: u32 = 10;
/// Turns of a loop, whatever the config says.
pub const LOOP_TURNS_MAX: u32 = 10_000;
/// Items of a list that a map or `logic:batch` makes one of.
pub const BATCH_ITEMS_MAX: u32 = 1_000;
/// How deep maps and loops lie inside each other.
pub const SCOPE_NESTING_MAX: usize = 8;
/// Items and turns that one run opens over its life.
pub const RUN_SCOPES_MAX: u32 = 1_000_000;
/// Items that one decision opens.
pub const SCOPES_OPENED_MAX: usize = 64;
/// Items of one chunk of a list that is kept as chunks (E16): its references fit into one value.
pub const LIST_CHUNK_ITEMS_MAX: usize = 512;
/// Spans of one run's trace; those of further items are counted only.
pub const TRACE_SPANS_MAX: usize = 10_000;
/// Attempts of one instance that are shown: the youngest.
pub const INSTANCE_ATTEMPTS_SHOWN_MAX: usize = 1_000;
/// Parts of lists that a run keeps at hand between decisions: each has at most [`LIST_CHUNK_ITEMS_MAX`] items.
pub const LIST_PARTS_KEPT_MAX: usize = 4;

/// Earlier results that one run may reuse.
pub const OFFERS_MAX: usize = 200_000;
/// Bytes of all values of these: they are written in one commit.
pub const OFFERED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Earlier results in one event.
pub const OFFERS_PER_EVENT_MAX: usize = 1_000;
/// Bytes of their values.
pub const OFFERED_BYTES_PER_EVENT_MAX: usize = 1024 * 1024;

/// People who are remembered as those who started what a run goes on from: the nearest.
pub const LINEAGE_SUBJECTS_MAX: usize = 1_000;
/// Instances of one node that a plan names; more are told as a number.
pub const PLAN_INSTANCES_NAMED_MAX: usize = 100;

/// How long a result is shared by `policy.cache` that is `on`.
pub const CACHE_TTL_DEFAULT: Span = Span::from_seconds(24 * 60 * 60);
/// Longest time that `policy.cache.ttlSeconds` names.
pub const CACHE_TTL_SECONDS_MAX: u64 = 366 * 24 * 60 * 60;
/// Bytes of one shared result, artifacts by their descriptions; what is larger is not shared.
pub const CACHED_BYTES_MAX: usize = 256 * 1024;
/// Questions for shared results that one partition has under way; other instances wait until one is answered.
pub const CACHE_QUESTIONS_MAX: usize = 64;
/// The same of one run at a time, before the next run asks.
pub const CACHE_QUESTIONS_AT_ONCE: usize = 16;
/// An instance whose question for a shared result has no answer after this long runs.
pub const CACHE_ANSWER_WAIT: Span = Span::from_millis(2_000);

/// Decisions of one run before the next run gets its turn (E2).
pub const TURN_DECISIONS_MAX: usize = 256;
/// What the conditions of all runs may cost in one call of a partition, before others get their turn: about as much time as
/// one node with the costliest condition takes.
pub const TURN_EXPRESSION_COST_MAX: u64 = EXPRESSION_COST_MAX;
/// Bytes of one event's body after which further decisions get an event of their own.
pub const EVENT_BODY_BYTES_MAX: usize = 256 * 1024;
/// Events in one batch (E14).
pub const BATCH_EVENTS_MAX: usize = 512;
/// Bytes in one batch, after which no more is taken in (E14).
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// A run with at least so many events in a batch, and so many times as many as all others in it, is put off to the next one.
/// Below that, one more commit costs more than the rows.
pub const HEAVY_RUN_EVENTS_MIN: usize = 8;
/// See [`HEAVY_RUN_EVENTS_MIN`].
pub const HEAVY_RUN_SHARE: usize = 3;
/// Commands taken at one wake-up of a partition (E1).
pub const WAKE_COMMANDS_MAX: usize = 512;
/// Ready attempts that one run exposes to the dispatcher (E14).
pub const RUN_EXPOSED_ATTEMPTS_MAX: usize = 256;
/// The same with those that are more urgent than what a run exposed before them.
pub const RUN_EXPOSED_URGENT_MAX: usize = 2 * RUN_EXPOSED_ATTEMPTS_MAX;
/// Waiting this long is worth one point of priority, of which there are 201: nothing waits longer than about a minute
/// behind what is more important and younger (E14).
pub const PRIORITY_POINT: Span = Span::from_millis(300);
/// Bytes of one node's outputs from which on it is remembered which agent made them.
pub const LOCALITY_OUTPUT_BYTES_MIN: u64 = 32 * 1024;
/// Bytes of one node's inputs from which on it goes to the agent that made most of them, if that has a free slot.
pub const LOCALITY_INPUT_BYTES_MIN: u64 = 256 * 1024;
/// How long a node whose inputs are on one agent lets others go before it, when another agent has a free slot.
pub const LOCALITY_WAIT_MAX: Span = Span::from_millis(100);
/// How many such nodes are passed over in search of one that has no reason to wait.
pub const LOCALITY_PASSED_MAX: usize = 8;
/// Runs a partition holds in memory before it refuses submissions.
pub const PARTITION_RUNS_MAX: usize = 20_000;
/// Commands that wait before one partition.
pub const PARTITION_QUEUE_MAX: usize = 4_096;
/// Waiting callers for one idempotency key that is being looked up.
pub const KEY_WAITERS_MAX: usize = 10_000;

/// Runs of one batch.
pub const BATCH_RUNS_MAX: u32 = 10_000;
/// Runs of one batch that are under way at the same time; it starts more as others end.
pub const BATCH_RUNS_UNDER_WAY_MAX: usize = 100;
/// Bytes of all values that one batch gives its runs.
pub const BATCH_VALUES_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Batches that one partition has under way before it refuses further ones.
pub const PARTITION_BATCHES_MAX: usize = 1_000;
/// How often a batch asks which of its runs are over, if nobody tells it that one is.
pub const BATCH_LOOK_PERIOD: Span = Span::from_millis(2_000);
/// A message to another slot that has not been heard of goes again after this long (E25).
pub const MESSAGE_AGAIN_AFTER: Span = Span::from_millis(2_000);

/// Reviews that are open in one run at a time; others wait until one of them closes.
pub const OPEN_REVIEWS_PER_RUN_MAX: usize = 1_000;
/// Approvals that one review can ask for.
pub const REVIEW_APPROVALS_MAX: u32 = 100;
/// Subjects that one review names.
pub const REVIEW_ASSIGNEES_MAX: usize = 100;
/// Bytes of one of them.
pub const REVIEW_ASSIGNEE_BYTES_MAX: usize = 256;
/// Bytes of a review's title.
pub const REVIEW_TITLE_BYTES_MAX: usize = 256;
/// Bytes of what a review tells those who decide.
pub const REVIEW_DESCRIPTION_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a comment with a decision.
pub const REVIEW_COMMENT_BYTES_MAX: usize = 4 * 1024;

/// Attempts of one instance over its life, whatever a policy asks for.
pub const ATTEMPTS_MAX: u32 = 1_000;
/// Pause before the second attempt, unless a policy says otherwise.
pub const RETRY_INITIAL_MS: u64 = 500;
/// Longest pause between attempts, unless a policy says otherwise.
pub const RETRY_MS_MAX: u64 = 60_000;
/// Active time of a run before it fails with `run_timeout`, unless its workflow or whoever starts it says otherwise.
pub const RUN_DEADLINE: Span = Span::from_seconds(24 * 60 * 60);
/// Longest active time that a workflow or a request may give a run.
pub const RUN_DEADLINE_MAX: Span = Span::from_seconds(30 * 24 * 60 * 60);
/// Longest `logic:wait`.
pub const WAIT_MAX: Span = Span::from_seconds(366 * 24 * 60 * 60);

/// After its stream ended, how long a lost agent's pure and keyed attempts wait for it (E10).
pub const LOSS_GRACE_PURE: Span = Span::from_millis(500);
/// The same for blind attempts, and pollable ones without a handle (E10).
pub const LOSS_GRACE_BLIND: Span = Span::from_seconds(30);
/// Shortest grace of any class after a partition was loaded (E10).
pub const LOSS_GRACE_AFTER_LOAD: Span = Span::from_seconds(5);
/// Deaths beside an instance that make it a suspect (E13).
pub const POISON_SUSPECT_DEATHS: u32 = 2;
/// Deaths while alone that prove it (E13).
pub const POISON_PROOFS: u32 = 3;
/// How long a lost suspect waits for the word on its agent before it may run again (E13).
pub const POISON_VERDICT_WAIT: Span = Span::from_seconds(30);

/// How long an agent has for cancelling a job at a provider before another one is asked.
pub const JOB_CANCEL_ANSWER_WAIT: Span = Span::from_seconds(30);
/// Pause before a job is asked for again that could not be cancelled; it doubles each time.
pub const JOB_CANCEL_PAUSE_MIN: Span = Span::from_seconds(1);
/// Longest such pause.
pub const JOB_CANCEL_PAUSE_MAX: Span = Span::from_seconds(60);
/// How often one load of a partition has a job cancelled before it says that this cannot be done.
pub const JOB_CANCEL_TRIES_MAX: u32 = 16;
/// Jobs that one partition has agents cancel at a time; others wait.
pub const JOB_CANCELS_ASKED_MAX: usize = 32;
/// How often it is looked whether an agent is there that could cancel a job.
pub const JOB_CANCEL_AGENT_LOOK: Span = Span::from_seconds(1);
/// How long that goes on, and how long providers may ask to wait.
pub const JOB_CANCEL_AGENT_WAIT_MAX: Span = Span::from_seconds(60 * 60);

/// A parked run leaves memory after this long without an event.
pub const EVICT_AFTER: Span = Span::from_millis(2_000);
/// A run whose next wake-up is nearer than this is not evicted.
pub const EVICT_DUE_MIN: Span = Span::from_millis(5_000);
/// How often a partition looks for parked runs that fall due, and how far ahead.
pub const DUE_SCAN_PERIOD: Span = Span::from_millis(1_000);
/// Parked runs loaded by one scan.
pub const DUE_SCAN_RUNS_MAX: usize = 512;
/// Bytes of events after the last snapshot that make a new one worth its row (E19).
pub const SNAPSHOT_TAIL_BYTES_MIN: usize = 256 * 1024;
/// Bytes of events after the last snapshot that make one worth writing when a run leaves memory.
pub const SNAPSHOT_PARKED_BYTES_MIN: usize = 16 * 1024;
/// How long an idempotency key is kept.
pub const IDEMPOTENCY_TTL: Span = Span::from_seconds(24 * 60 * 60);
/// Dead starts in which recovery was folding the same run, after which it is quarantined unread (E5).
pub const RECOVERY_DEATHS_MAX: u32 = 3;

// Waiting for the world.

/// Signals of one run that nobody has waited for yet.
pub const SIGNALS_KEPT_PER_RUN_MAX: usize = 1_000;
/// Bytes of a signal's name.
pub const SIGNAL_NAME_BYTES_MAX: usize = 128;
/// Signals and calls of one run that are known again by their idempotency key: the youngest.
pub const HEARD_KEYS_PER_RUN_MAX: usize = 1_000;
/// Bytes of the name of a time zone.
pub const TIMEZONE_BYTES_MAX: usize = 64;

// Retention.

/// Most days that a run is kept after its end, whoever says so; for ever is longer.
pub const KEEP_RUNS_DAYS_MAX: u16 = 3_650;

// What runs wait for, told to people.

/// Nodes that are not done and that the explanation of one node before which they lie names.
pub const WAITING_INPUTS_NAMED_MAX: usize = 5;
/// Instances of one node that are explained for each kind of waiting; further ones are counted.
pub const EXPLAINED_INSTANCES_MAX: usize = 10;
/// Nodes and instances in the explanation of a run; of further ones each kind of waiting is counted.
pub const EXPLAINED_NODES_MAX: usize = 200;
/// Agents of which an explanation says why they do not fit.
pub const EXPLAINED_AGENTS_MAX: usize = 10;
/// How often it is looked whether something would wake each run that is not over.
pub const WATCHDOG_PERIOD: Span = Span::from_seconds(10);
/// Runs that a partition looks through at once for that.
pub const WATCHDOG_PAGE_RUNS: usize = 256;

// Children.

/// How deep runs that invoke runs lie in each other.
pub const CHILD_DEPTH_MAX: u32 = 16;
/// Children of one run that are open at a time; others wait until one of them ends.
pub const CHILDREN_OPEN_PER_RUN_MAX: usize = 1_000;
/// Inputs, and outputs, that a node gives its child and takes of it by name.
pub const CHILD_PORTS_MAX: usize = 256;
/// Bytes of what a child gives that are kept with its parent beside artifacts.
pub const CHILD_OUTPUTS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Items of a list that a child gives which are kept one by one; a longer one is one value.
pub const CHILD_LIST_ITEMS_MAX: usize = 10_000;

const _: () = assert!(BATCH_BYTES_MAX >= 4 * INLINE_VALUE_BYTES_MAX, "a batch holds more than one large value");
const _: () = assert!(DELEGATED_VALUES_MAX >= MAP_ITEMS_MAX as usize, "conditions look at all that a map gives");
const _: () = assert!(ARTIFACT_BYTES_MAX <= u32::MAX as u64, "a reference holds the length of every artifact");
const _: () = assert!(RECENT_VALUES_BYTES_MAX >= BATCH_BYTES_MAX, "what one batch writes is at hand for its decisions");
const _: () = assert!(RUN_EXPOSED_URGENT_MAX <= BATCH_EVENTS_MAX, "one run's ready work fits into one batch");
const _: () = assert!(EVICT_DUE_MIN.as_millis() >= 2 * DUE_SCAN_PERIOD.as_millis(), "an evicted run is found in time");

// Operating.
/// Bytes of why a run or a type of nodes is paused, or a run is cancelled.
pub const PAUSE_REASON_BYTES_MAX: usize = 1_024;
