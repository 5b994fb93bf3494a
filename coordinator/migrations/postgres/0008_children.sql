-- What:  which run has invoked a run, so that its children are found: rows of before have none. Messages between slots have two further
--        kinds: 3 starts a child, 4 tells its parent that it is over.
-- Lock:  `run` for a moment: a column without a value is added, and an index over no row yet.
-- Check: `SELECT count(*) FROM run WHERE parent IS NOT NULL` gives 0.

ALTER TABLE run ADD COLUMN parent BYTEA;
CREATE INDEX run_by_parent ON run (parent, created_at, id) WHERE parent IS NOT NULL;
