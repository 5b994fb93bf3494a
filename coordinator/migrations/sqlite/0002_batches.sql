-- What:  batches of runs, the messages between slots that start and stop them, and which batch started a run.
-- Lock:  `run` for a moment: columns without a value are added, and an index over no row yet.
-- Check: `SELECT value FROM meta WHERE name = 'format'` gives 2.

ALTER TABLE run ADD COLUMN batch BLOB;
ALTER TABLE run ADD COLUMN batch_index INTEGER;
ALTER TABLE run ADD COLUMN input_index INTEGER;
-- How many runs of a batch stand how, and which go on.
CREATE INDEX run_by_batch ON run (batch, status, batch_index) WHERE batch IS NOT NULL;

-- A batch: runs with an index below `started` are started. One that has not ended is loaded at start.
CREATE TABLE batch (
    id BLOB NOT NULL PRIMARY KEY,
    slot INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    subject TEXT NOT NULL,
    workflow BLOB NOT NULL,
    graph BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    total INTEGER NOT NULL,
    stride INTEGER NOT NULL,
    started INTEGER NOT NULL,
    cancelled_by TEXT,
    cancelled_at INTEGER,
    ended_at INTEGER
);
CREATE INDEX batch_loadable ON batch (slot, id) WHERE ended_at IS NULL;

-- What a batch gives its runs; written before its row, removed with its end.
CREATE TABLE batch_plan (
    batch BLOB NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    plan BLOB NOT NULL
);
CREATE INDEX batch_plan_by_age ON batch_plan (created_at);

-- Messages from slot to slot, written with what causes them and removed when they have arrived. kind: 1 starts a run of a
-- batch, 2 stops a run.
CREATE TABLE outbox (
    source INTEGER NOT NULL,
    number INTEGER NOT NULL,
    destination INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (source, number)
);
