-- What:  what figures of a workflow are read from: why runs failed, in columns (rows of before have none, and count as failed without a
--        code), and an index of runs that are over, which has all that is counted. Indexes of open runs tell whose they are. Rules that
--        watch over workflows, and what they found.
-- Lock:  `run` for one pass over its rows; a few seconds for each million of them.
-- Check: `SELECT count(*) FROM alert_rule` gives 0.

ALTER TABLE run ADD COLUMN error_code TEXT COLLATE "C";
ALTER TABLE run ADD COLUMN error_class BIGINT;
CREATE INDEX run_ended ON run (tenant, workflow, ended_at, id, status, created_at, error_class, error_code) WHERE ended_at IS NOT NULL;
DROP INDEX run_loadable;
CREATE INDEX run_loadable ON run (slot, id, tenant, workflow, ended_at) WHERE phase IN (1, 3);
DROP INDEX run_due;
CREATE INDEX run_due ON run (next_due, id, tenant, workflow) WHERE phase = 2;

-- kind: 1 error rate, 2 duration, 3 no success. threshold: of a rate in millionths, else in milliseconds. revision: raised by each
-- change, so that what was measured for an older one opens nothing.
CREATE TABLE alert_rule (
    id BYTEA NOT NULL PRIMARY KEY,
    tenant TEXT COLLATE "C" NOT NULL,
    workflow BYTEA NOT NULL,
    kind BIGINT NOT NULL,
    window_ms BIGINT NOT NULL,
    threshold BIGINT NOT NULL,
    runs_min BIGINT NOT NULL,
    close_after_ms BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX alert_rule_by_workflow ON alert_rule (tenant, workflow, id);

-- What a rule found, from when to when. event: what whoever wants to hear of it is told.
CREATE TABLE alert_incident (
    id BYTEA NOT NULL PRIMARY KEY,
    rule BYTEA NOT NULL,
    tenant TEXT COLLATE "C" NOT NULL,
    workflow BYTEA NOT NULL,
    kind BIGINT NOT NULL,
    opened_at BIGINT NOT NULL,
    well_since BIGINT,
    closed_at BIGINT,
    event BYTEA NOT NULL
);
CREATE INDEX alert_incident_by_tenant ON alert_incident (tenant, id);
CREATE INDEX alert_incident_by_end ON alert_incident (closed_at) WHERE closed_at IS NOT NULL;
-- A rule has one open incident at most, whoever looks at the same moment.
CREATE UNIQUE INDEX alert_incident_open ON alert_incident (rule) WHERE closed_at IS NULL;
