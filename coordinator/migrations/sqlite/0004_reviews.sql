-- What:  what runs ask of people, for inboxes and to find the run that a review is of.
-- Lock:  none: a table without rows.
-- Check: `SELECT value FROM meta WHERE name = 'format'` gives 4.

-- A review, written with the event that opens it and with those that change how it stands. place: the numbers of the items
-- and turns that it lies in, with dots between. kind: 1 of a value, 2 before a node, 3 after one, 4 of an unknown outcome.
-- state: 1 open, 2 decided, 3 withdrawn. assignees: each between two ends of lines. verdict: 1 approved, 2 rejected, 3 made again,
-- 4 failed, 5 escalated. told: the numbers of the events that tell of it, with dots between.
CREATE TABLE review (
    id BLOB NOT NULL PRIMARY KEY,
    slot INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    run BLOB NOT NULL,
    workflow BLOB NOT NULL,
    ordinal INTEGER NOT NULL,
    node TEXT NOT NULL,
    place TEXT NOT NULL,
    kind INTEGER NOT NULL,
    state INTEGER NOT NULL,
    assignees TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    due_at INTEGER,
    closed_at INTEGER,
    decided_by TEXT,
    verdict INTEGER,
    told TEXT NOT NULL
);
CREATE INDEX review_by_tenant ON review (tenant, state, opened_at, id);
CREATE INDEX review_by_run ON review (run);
