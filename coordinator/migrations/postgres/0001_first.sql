-- What:  the first schema: histories, the rows derived from them, and the plain rows.
-- Lock:  none that matters, the tables are new.
-- Check: `SELECT value FROM meta WHERE name = 'format'` gives 1.
--
-- Both dialects have the same statements and differ in types only. Times are milliseconds since 1970, UTC; ids are their
-- 16 bytes, digests their 32. Payloads are bytes: the database never looks into them.

CREATE TABLE meta (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

-- The row that guards every commit of its partition.
CREATE TABLE partition (
    id BIGINT NOT NULL PRIMARY KEY,
    epoch BIGINT NOT NULL,
    last_batch BIGINT NOT NULL,
    coordinator TEXT COLLATE "C",
    boot BIGINT,
    expires_at BIGINT,
    -- Acquisitions since the partition was last read completely, and what they were reading.
    starts BIGINT NOT NULL,
    reading BYTEA,
    suspect BYTEA,
    suspect_deaths BIGINT NOT NULL
);

CREATE TABLE partition_slot (
    slot BIGINT NOT NULL PRIMARY KEY,
    partition BIGINT NOT NULL
);

-- Histories. Rows are appended; head and body come last, so that a reader of heads does not touch long bodies.
CREATE TABLE event (
    run BYTEA NOT NULL,
    seq BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    version BIGINT NOT NULL,
    at BIGINT NOT NULL,
    crc BIGINT NOT NULL,
    head BYTEA NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (run, seq)
);

CREATE TABLE snapshot (
    run BYTEA NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL,
    version BIGINT NOT NULL,
    crc BIGINT NOT NULL,
    state BYTEA NOT NULL
);

-- Summaries. status: 1 running, 2 completed, 3 failed, 4 cancelled. phase: 1 active, 2 parked, 3 closing, 4 closed.
CREATE TABLE run (
    id BYTEA NOT NULL PRIMARY KEY,
    slot BIGINT NOT NULL,
    tenant TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    workflow BYTEA NOT NULL,
    graph BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    status BIGINT NOT NULL,
    phase BIGINT NOT NULL,
    next_due BIGINT,
    ended_at BIGINT,
    error BYTEA,
    quarantine_reason TEXT COLLATE "C"
);
-- Start-up and timers look at the few runs that are not closed only.
CREATE INDEX run_loadable ON run (slot, id) WHERE phase IN (1, 3);
CREATE INDEX run_due ON run (next_due, id) WHERE phase = 2;
CREATE INDEX run_by_tenant ON run (tenant, created_at, id);
CREATE INDEX run_by_workflow ON run (tenant, workflow, created_at, id);

-- A key names a run, or holds the answer to a request that started none.
CREATE TABLE idempotency (
    tenant TEXT COLLATE "C" NOT NULL,
    route TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    body BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    run BYTEA,
    reply BYTEA,
    PRIMARY KEY (tenant, route, key)
);
CREATE INDEX idempotency_by_age ON idempotency (created_at);

-- Graph documents, once per tenant and digest.
CREATE TABLE graph (
    tenant TEXT COLLATE "C" NOT NULL,
    digest BYTEA NOT NULL,
    nodes BYTEA NOT NULL,
    edges BYTEA NOT NULL,
    PRIMARY KEY (tenant, digest)
);

-- Ids of workflows may be chosen by clients: each tenant has its own.
CREATE TABLE workflow (
    id BYTEA NOT NULL,
    tenant TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    tags TEXT COLLATE "C" NOT NULL,
    is_active BIGINT NOT NULL,
    version BIGINT NOT NULL,
    graph BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX workflow_by_update ON workflow (tenant, updated_at, id);

CREATE TABLE workflow_version (
    tenant TEXT COLLATE "C" NOT NULL,
    workflow BYTEA NOT NULL,
    version BIGINT NOT NULL,
    graph BYTEA NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, workflow, version)
);

CREATE TABLE tenant (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    -- Since when its keys do not work.
    closed_at BIGINT
);

-- A key itself is nowhere, only its keyed hash.
CREATE TABLE api_key (
    id BYTEA NOT NULL PRIMARY KEY,
    mac BYTEA NOT NULL UNIQUE,
    tenant TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    scopes TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    -- Its beginning and end, for people; and when it was used last, give or take a minute.
    hint TEXT COLLATE "C" NOT NULL,
    last_used_at BIGINT
);
CREATE INDEX api_key_by_tenant ON api_key (tenant, id);

CREATE TABLE node_type (
    digest BYTEA NOT NULL PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    manifest BYTEA NOT NULL
);
CREATE INDEX node_type_by_id ON node_type (id, version, seen_at);

-- Who may join. A token itself is nowhere, only its keyed hash; used ones stay, as the record of who came with which key.
-- role: 1 agent, 2 gateway.
CREATE TABLE join_token (
    id BYTEA NOT NULL PRIMARY KEY,
    mac BYTEA NOT NULL UNIQUE,
    role BIGINT NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    used_by TEXT COLLATE "C",
    used_key BYTEA,
    revoked_at BIGINT
);
CREATE INDEX join_token_by_member ON join_token (used_by, role);

-- Agents that get no more work until somebody takes it back.
CREATE TABLE agent_drain (
    agent TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    since BIGINT NOT NULL,
    subject TEXT COLLATE "C" NOT NULL
);

-- What lies in the artifact store, once per tenant and digest. Written in the batch whose event refers to it, or with its
-- upload.
CREATE TABLE artifact (
    tenant TEXT COLLATE "C" NOT NULL,
    digest BYTEA NOT NULL,
    bytes BIGINT NOT NULL,
    media_type TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    touched_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, digest)
);
CREATE INDEX artifact_by_touch ON artifact (touched_at, tenant, digest);

-- Runs that need an artifact: while there is one, it is not collected.
CREATE TABLE artifact_reference (
    run BYTEA NOT NULL,
    digest BYTEA NOT NULL,
    tenant TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (run, digest)
);
CREATE INDEX artifact_reference_by_digest ON artifact_reference (tenant, digest);

-- Files that people brought: they need their artifacts, too.
CREATE TABLE upload (
    id BYTEA NOT NULL PRIMARY KEY,
    tenant TEXT COLLATE "C" NOT NULL,
    digest BYTEA NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX upload_by_tenant ON upload (tenant, id);
CREATE INDEX upload_by_digest ON upload (tenant, digest);

-- What all coordinators of a cluster agree on: the first to propose it decides.
CREATE TABLE agreed (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
);
