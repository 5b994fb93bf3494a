-- What:  finds the runs that were set aside, so that what they have invoked does not go on without them. There are few, if any.
-- Lock:  `run` while its rows are looked through once.
-- Check: `SELECT count(*) FROM run WHERE quarantine_reason IS NOT NULL` needs no look at the other rows.

CREATE INDEX run_set_aside ON run (id) WHERE quarantine_reason IS NOT NULL;
