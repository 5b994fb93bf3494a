-- What:  how long runs are kept after their end, and what stays of those that were removed.
-- Lock:  `run` for a moment for the column; the index is one pass over its rows.
-- Check: `SELECT count(*) FROM tombstone` gives 0.

-- Days that a run's workflow keeps it; 0 = as many as the server's settings say.
ALTER TABLE run ADD COLUMN keep_days BIGINT NOT NULL DEFAULT 0;
-- Retention walks along it, and looks at nothing that goes on.
CREATE INDEX run_by_end ON run (keep_days, ended_at, id) WHERE phase = 4;

-- A run that was removed. events, head_hash: how long its history was, and a SHA-256 over its last row. rest: 1 while rows of
-- the run are still there: nobody sees them any more, and they go page by page.
CREATE TABLE tombstone (
    run BYTEA NOT NULL PRIMARY KEY,
    tenant TEXT COLLATE "C" NOT NULL,
    workflow BYTEA NOT NULL,
    status BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    ended_at BIGINT NOT NULL,
    events BIGINT NOT NULL,
    head_hash BYTEA NOT NULL,
    removed_at BIGINT NOT NULL,
    rest BIGINT NOT NULL
);
CREATE INDEX tombstone_rest ON tombstone (run) WHERE rest = 1;
CREATE INDEX tombstone_by_age ON tombstone (removed_at, run);
