-- What:  whose results a run goes on from, so that lists of runs say it without reading histories: rows of before have none. And an
--        index of open reviews (state 1), which are counted every few seconds.
-- Lock:  one pass over the reviews; rows of families are few.
-- Check: `SELECT count(*) FROM lineage WHERE parent IS NOT NULL` gives 0.

ALTER TABLE lineage ADD COLUMN parent BYTEA;
CREATE INDEX lineage_by_run ON lineage (tenant, run);
CREATE INDEX review_open ON review (kind) WHERE state = 1;
