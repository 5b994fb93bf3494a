-- What:  results of nodes that runs of a tenant share, by what the node was and what came into it, and the artifacts they need.
-- Lock:  none: tables without rows.
-- Check: `SELECT count(*) FROM cached_result` gives 0.

-- The youngest result of a key, written with the event that made it. crc: of outputs.
CREATE TABLE cached_result (
    tenant TEXT NOT NULL,
    key BLOB NOT NULL,
    run BLOB NOT NULL,
    node TEXT NOT NULL,
    seq INTEGER NOT NULL,
    outputs BLOB NOT NULL,
    crc INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, key)
);
CREATE INDEX cached_result_by_expiry ON cached_result (expires_at, tenant, key);
CREATE INDEX cached_result_by_age ON cached_result (tenant, made_at, key);

-- Artifacts that such a result needs: while there is one, they are not collected.
CREATE TABLE cached_artifact (
    tenant TEXT NOT NULL,
    digest BLOB NOT NULL,
    key BLOB NOT NULL,
    PRIMARY KEY (tenant, digest, key)
);
CREATE INDEX cached_artifact_by_key ON cached_artifact (tenant, key);
