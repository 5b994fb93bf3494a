-- What:  the first schema: histories, the rows derived from them, and the plain rows.
-- Lock:  none that matters, the tables are new.
-- Check: `SELECT value FROM meta WHERE name = 'format'` gives 1.
--
-- Both dialects have the same statements and differ in types only. Times are milliseconds since 1970, UTC; ids are their
-- 16 bytes, digests their 32. Payloads are bytes: the database never looks into them.

CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
);

-- The row that guards every commit of its partition.
CREATE TABLE partition (
    id INTEGER NOT NULL PRIMARY KEY,
    epoch INTEGER NOT NULL,
    last_batch INTEGER NOT NULL,
    coordinator TEXT,
    boot INTEGER,
    expires_at INTEGER,
    -- Acquisitions since the partition was last read completely, and what they were reading.
    starts INTEGER NOT NULL,
    reading BLOB,
    suspect BLOB,
    suspect_deaths INTEGER NOT NULL
);

CREATE TABLE partition_slot (
    slot INTEGER NOT NULL PRIMARY KEY,
    partition INTEGER NOT NULL
);

-- Histories. Rows are appended; head and body come last, so that a reader of heads does not touch long bodies.
CREATE TABLE event (
    run BLOB NOT NULL,
    seq INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    head BLOB NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (run, seq)
);

CREATE TABLE snapshot (
    run BLOB NOT NULL PRIMARY KEY,
    seq INTEGER NOT NULL,
    version INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    state BLOB NOT NULL
);

-- Summaries. status: 1 running, 2 completed, 3 failed, 4 cancelled. phase: 1 active, 2 parked, 3 closing, 4 closed.
CREATE TABLE run (
    id BLOB NOT NULL PRIMARY KEY,
    slot INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    subject TEXT NOT NULL,
    workflow BLOB NOT NULL,
    graph BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    status INTEGER NOT NULL,
    phase INTEGER NOT NULL,
    next_due INTEGER,
    ended_at INTEGER,
    error BLOB,
    quarantine_reason TEXT
);
-- Start-up and timers look at the few runs that are not closed only.
CREATE INDEX run_loadable ON run (slot, id) WHERE phase IN (1, 3);
CREATE INDEX run_due ON run (next_due, id) WHERE phase = 2;
CREATE INDEX run_by_tenant ON run (tenant, created_at, id);
CREATE INDEX run_by_workflow ON run (tenant, workflow, created_at, id);

-- A key names a run, or holds the answer to a request that started none.
CREATE TABLE idempotency (
    tenant TEXT NOT NULL,
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    body BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    run BLOB,
    reply BLOB,
    PRIMARY KEY (tenant, route, key)
);
CREATE INDEX idempotency_by_age ON idempotency (created_at);

-- Graph documents, once per tenant and digest.
CREATE TABLE graph (
    tenant TEXT NOT NULL,
    digest BLOB NOT NULL,
    nodes BLOB NOT NULL,
    edges BLOB NOT NULL,
    PRIMARY KEY (tenant, digest)
);

-- Ids of workflows may be chosen by clients: each tenant has its own.
CREATE TABLE workflow (
    id BLOB NOT NULL,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    tags TEXT NOT NULL,
    is_active INTEGER NOT NULL,
    version INTEGER NOT NULL,
    graph BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX workflow_by_update ON workflow (tenant, updated_at, id);

CREATE TABLE workflow_version (
    tenant TEXT NOT NULL,
    workflow BLOB NOT NULL,
    version INTEGER NOT NULL,
    graph BLOB NOT NULL,
    subject TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, workflow, version)
);

CREATE TABLE tenant (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    -- Since when its keys do not work.
    closed_at INTEGER
);

-- A key itself is nowhere, only its keyed hash.
CREATE TABLE api_key (
    id BLOB NOT NULL PRIMARY KEY,
    mac BLOB NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    subject TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    -- Its beginning and end, for people; and when it was used last, give or take a minute.
    hint TEXT NOT NULL,
    last_used_at INTEGER
);
CREATE INDEX api_key_by_tenant ON api_key (tenant, id);

CREATE TABLE node_type (
    digest BLOB NOT NULL PRIMARY KEY,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    manifest BLOB NOT NULL
);
CREATE INDEX node_type_by_id ON node_type (id, version, seen_at);

-- Who may join. A token itself is nowhere, only its keyed hash; used ones stay, as the record of who came with which key.
-- role: 1 agent, 2 gateway.
CREATE TABLE join_token (
    id BLOB NOT NULL PRIMARY KEY,
    mac BLOB NOT NULL UNIQUE,
    role INTEGER NOT NULL,
    subject TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    used_by TEXT,
    used_key BLOB,
    revoked_at INTEGER
);
CREATE INDEX join_token_by_member ON join_token (used_by, role);

-- Agents that get no more work until somebody takes it back.
CREATE TABLE agent_drain (
    agent TEXT NOT NULL PRIMARY KEY,
    since INTEGER NOT NULL,
    subject TEXT NOT NULL
);

-- What lies in the artifact store, once per tenant and digest. Written in the batch whose event refers to it, or with its
-- upload.
CREATE TABLE artifact (
    tenant TEXT NOT NULL,
    digest BLOB NOT NULL,
    bytes INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    touched_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, digest)
);
CREATE INDEX artifact_by_touch ON artifact (touched_at, tenant, digest);

-- Runs that need an artifact: while there is one, it is not collected.
CREATE TABLE artifact_reference (
    run BLOB NOT NULL,
    digest BLOB NOT NULL,
    tenant TEXT NOT NULL,
    PRIMARY KEY (run, digest)
);
CREATE INDEX artifact_reference_by_digest ON artifact_reference (tenant, digest);

-- Files that people brought: they need their artifacts, too.
CREATE TABLE upload (
    id BLOB NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    digest BLOB NOT NULL,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX upload_by_tenant ON upload (tenant, id);
CREATE INDEX upload_by_digest ON upload (tenant, digest);

-- What all coordinators of a cluster agree on: the first to propose it decides.
CREATE TABLE agreed (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
);
