-- What:  families of runs: which runs belong to the one that its first run began. Who goes on from whom is in the runs' histories.
--        A row may name a run that never began.
-- Lock:  none that matters, the table is new.
-- Check: `SELECT count(*) FROM lineage` gives 0.

CREATE TABLE lineage (
    tenant TEXT COLLATE "C" NOT NULL,
    root BYTEA NOT NULL,
    run BYTEA NOT NULL,
    PRIMARY KEY (tenant, root, run)
);
