-- What:  batches of runs, the messages between slots that start and stop them, and which batch started a run.
-- Lock:  `run` for a moment: columns without a value are added, and an index over no row yet.
-- Check: `SELECT value FROM meta WHERE name = 'format'` gives 2.

ALTER TABLE run ADD COLUMN batch BYTEA;
ALTER TABLE run ADD COLUMN batch_index BIGINT;
ALTER TABLE run ADD COLUMN input_index BIGINT;
-- How many runs of a batch stand how, and which go on.
CREATE INDEX run_by_batch ON run (batch, status, batch_index) WHERE batch IS NOT NULL;

-- A batch: runs with an index below `started` are started. One that has not ended is loaded at start.
CREATE TABLE batch (
    id BYTEA NOT NULL PRIMARY KEY,
    slot BIGINT NOT NULL,
    tenant TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    workflow BYTEA NOT NULL,
    graph BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    total BIGINT NOT NULL,
    stride BIGINT NOT NULL,
    started BIGINT NOT NULL,
    cancelled_by TEXT COLLATE "C",
    cancelled_at BIGINT,
    ended_at BIGINT
);
CREATE INDEX batch_loadable ON batch (slot, id) WHERE ended_at IS NULL;

-- What a batch gives its runs; written before its row, removed with its end.
CREATE TABLE batch_plan (
    batch BYTEA NOT NULL PRIMARY KEY,
    tenant TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    plan BYTEA NOT NULL
);
CREATE INDEX batch_plan_by_age ON batch_plan (created_at);

-- Messages from slot to slot, written with what causes them and removed when they have arrived. kind: 1 starts a run of a
-- batch, 2 stops a run.
CREATE TABLE outbox (
    source BIGINT NOT NULL,
    number BIGINT NOT NULL,
    destination BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (source, number)
);
