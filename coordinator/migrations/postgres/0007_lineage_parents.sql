-- What:  whose results a run goes on from, so that lists of runs say it without reading histories. Rows of before have none.
-- Lock:  none that matters, rows of families are few.
-- Check: `SELECT count(*) FROM lineage WHERE parent IS NOT NULL` gives 0.

ALTER TABLE lineage ADD COLUMN parent BYTEA;
CREATE INDEX lineage_by_run ON lineage (tenant, run);
