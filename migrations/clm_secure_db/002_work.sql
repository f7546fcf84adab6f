-- Work that is due, apart from the record of what was done: these rows come and go.

BEGIN;

SET LOCAL search_path = public;

CREATE SCHEMA clm_work;

-- fillfactor: every attempt changes the row in place. Rows live for seconds, so vacuum comes early.
CREATE TABLE clm_work.outbox (
    id uuid PRIMARY KEY REFERENCES certificates (id),
    organization_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    attempts int NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    last_error text
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 2000,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX outbox_due ON clm_work.outbox (next_attempt_at);

COMMENT ON SCHEMA clm_work IS 'Work that is due.';
COMMENT ON TABLE clm_work.outbox IS 'Recorded certificates that are not yet published everywhere: inventory, Secret and status. The row goes when they are.';
COMMENT ON COLUMN clm_work.outbox.id IS 'The certificate.';
COMMENT ON COLUMN clm_work.outbox.organization_id IS 'Organization (tenant) of the certificate.';
COMMENT ON COLUMN clm_work.outbox.created_at IS 'When the certificate was recorded.';
COMMENT ON COLUMN clm_work.outbox.attempts IS 'How often the relay has tried.';
COMMENT ON COLUMN clm_work.outbox.next_attempt_at IS 'When the relay tries next.';
COMMENT ON COLUMN clm_work.outbox.last_error IS 'Why the last attempt failed.';

INSERT INTO clm_meta.schema_migrations (version, name) VALUES (2, '002_work')
ON CONFLICT DO NOTHING;

COMMIT;
