-- What:  what runs ask of people, for inboxes and to find the run that a review is of.
-- Lock:  none: a table without rows.
-- Check: `SELECT value FROM meta WHERE name = 'format'` gives 4.

-- A review, written with the event that opens it and with those that change how it stands. place: the numbers of the items
-- and turns that it lies in, with dots between. kind: 1 of a value, 2 before a node, 3 after one, 4 of an unknown outcome.
-- state: 1 open, 2 decided, 3 withdrawn. assignees: each between two ends of lines. verdict: 1 approved, 2 rejected, 3 made again,
-- 4 failed, 5 escalated. told: the numbers of the events that tell of it, with dots between.
CREATE TABLE review (
    id BYTEA NOT NULL PRIMARY KEY,
    slot BIGINT NOT NULL,
    tenant TEXT COLLATE "C" NOT NULL,
    run BYTEA NOT NULL,
    workflow BYTEA NOT NULL,
    ordinal BIGINT NOT NULL,
    node TEXT COLLATE "C" NOT NULL,
    place TEXT COLLATE "C" NOT NULL,
    kind BIGINT NOT NULL,
    state BIGINT NOT NULL,
    assignees TEXT COLLATE "C" NOT NULL,
    opened_at BIGINT NOT NULL,
    due_at BIGINT,
    closed_at BIGINT,
    decided_by TEXT COLLATE "C",
    verdict BIGINT,
    told TEXT COLLATE "C" NOT NULL
);
CREATE INDEX review_by_tenant ON review (tenant, state, opened_at, id);
CREATE INDEX review_by_run ON review (run);
