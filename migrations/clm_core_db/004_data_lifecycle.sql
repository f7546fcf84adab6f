-- What the life of data needs beside the record: reports of the comparisons, whose data were erased, and when vacuum
-- comes.

BEGIN;

SET LOCAL ROLE clm_owner;
SET LOCAL search_path = pg_catalog, public;

CREATE SCHEMA IF NOT EXISTS clm_work;
REVOKE ALL ON SCHEMA clm_work FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------- reports

CREATE TABLE clm_work.integrity_reports (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    origin text NOT NULL,
    opened_keys boolean NOT NULL,
    compared jsonb NOT NULL CHECK (jsonb_typeof(compared) = 'object'),
    finding_count int NOT NULL CHECK (finding_count >= 0),
    findings jsonb NOT NULL CHECK (jsonb_typeof(findings) = 'array'),
    CONSTRAINT integrity_reports_order CHECK (finished_at >= started_at)
);

CREATE INDEX integrity_reports_finished_at ON clm_work.integrity_reports (finished_at);

-- ---------------------------------------------------------------------------------------------- tombstones

-- Kept for good: after a restore they say whose data must go again. No name is in them.
CREATE TABLE clm_meta.erasure_tombstones (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL,
    subject_id uuid NOT NULL UNIQUE,
    erased_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    reason text NOT NULL CHECK (reason <> ''),
    actor_id text NOT NULL CHECK (actor_id <> ''),
    name_digest bytea CHECK (octet_length(name_digest) = 32)
);

CREATE TRIGGER erasure_tombstones_only_added BEFORE UPDATE OR DELETE ON clm_meta.erasure_tombstones
    FOR EACH ROW EXECUTE FUNCTION clm_guard.refuse_change();
CREATE TRIGGER erasure_tombstones_not_emptied BEFORE TRUNCATE ON clm_meta.erasure_tombstones
    FOR EACH STATEMENT EXECUTE FUNCTION clm_guard.refuse_change();
ALTER TABLE clm_meta.erasure_tombstones ENABLE ALWAYS TRIGGER erasure_tombstones_only_added;
ALTER TABLE clm_meta.erasure_tombstones ENABLE ALWAYS TRIGGER erasure_tombstones_not_emptied;

-- ---------------------------------------------------------------------------------------------- vacuum

-- Every row is changed when its certificate ends, and half of them have ended. By PostgreSQL's own measure, a fifth of
-- the table, ten million certificates would gather two million dead rows, each with two GIN entries, before a vacuum.
ALTER TABLE public.certificate_metadata SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
-- Each use of a key writes when it was used last.
ALTER TABLE public.api_keys SET (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02);

-- ---------------------------------------------------------------------------------------------- rights

DO $$
DECLARE
    tenant constant text := 'organization_id = (SELECT nullif(current_setting(''clm.organization'', true), '''')::uuid)';
    protected text;
BEGIN
    FOREACH protected IN ARRAY ARRAY['clm_work.integrity_reports', 'clm_meta.erasure_tombstones'] LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', protected);
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', protected);
        EXECUTE format('CREATE POLICY tenant_isolation ON %s USING (%s) WITH CHECK (%s)', protected, tenant, tenant);
        EXECUTE format('CREATE POLICY operator_serves_all ON %s TO clm_operator_core USING (true) WITH CHECK (true)',
                       protected);
        EXECUTE format('CREATE POLICY auditor_reads_all ON %s FOR SELECT TO clm_auditor USING (true)', protected);
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA clm_work TO clm_operator_core, clm_auditor;
GRANT SELECT ON clm_work.integrity_reports, clm_meta.erasure_tombstones TO clm_operator_core, clm_auditor;
GRANT INSERT (organization_id, started_at, origin, opened_keys, compared, finding_count, findings)
    ON clm_work.integrity_reports TO clm_operator_core;
GRANT DELETE ON clm_work.integrity_reports TO clm_operator_core;
GRANT INSERT (organization_id, subject_id, erased_at, reason, actor_id, name_digest)
    ON clm_meta.erasure_tombstones TO clm_operator_core;
-- Who asked is personal data: it goes when the person's data are erased, and what was refused forgets it in time.
GRANT UPDATE (requested_by) ON public.certificate_metadata, public.workflow_instances TO clm_operator_core;
GRANT UPDATE (changed_by) ON public.policies TO clm_operator_core;

-- ---------------------------------------------------------------------------------------------- comments

COMMENT ON SCHEMA clm_work IS 'Work that is due, and what was found by work that was done.';
COMMENT ON TABLE clm_work.integrity_reports IS 'One row a comparison of databases, cluster and token, with what it found.';
COMMENT ON COLUMN clm_work.integrity_reports.id IS 'Unique id.';
COMMENT ON COLUMN clm_work.integrity_reports.organization_id IS 'The system organization: a comparison goes across all.';
COMMENT ON COLUMN clm_work.integrity_reports.started_at IS 'When the comparison began.';
COMMENT ON COLUMN clm_work.integrity_reports.finished_at IS 'When it was complete.';
COMMENT ON COLUMN clm_work.integrity_reports.origin IS 'Process that made it, such as the operator''s pod.';
COMMENT ON COLUMN clm_work.integrity_reports.opened_keys IS 'Whether every stored private key was opened and fitted to its certificate.';
COMMENT ON COLUMN clm_work.integrity_reports.compared IS 'How many of what were looked at: {"certificates": 12, ...}.';
COMMENT ON COLUMN clm_work.integrity_reports.finding_count IS 'How many things were not as recorded; findings may hold fewer.';
COMMENT ON COLUMN clm_work.integrity_reports.findings IS 'What was found: an array of {world, kind, object, problem, repairable}.';
COMMENT ON TABLE clm_meta.erasure_tombstones IS 'Persons whose data were erased (GDPR article 17). What a restore brings back of them is erased again: clm erase --replay.';
COMMENT ON COLUMN clm_meta.erasure_tombstones.id IS 'Unique id.';
COMMENT ON COLUMN clm_meta.erasure_tombstones.organization_id IS 'Organization (tenant) that the person belonged to.';
COMMENT ON COLUMN clm_meta.erasure_tombstones.subject_id IS 'Id of the user: a pseudonym.';
COMMENT ON COLUMN clm_meta.erasure_tombstones.erased_at IS 'When the data were erased first.';
COMMENT ON COLUMN clm_meta.erasure_tombstones.reason IS 'Why.';
COMMENT ON COLUMN clm_meta.erasure_tombstones.actor_id IS 'Who erased them.';
COMMENT ON COLUMN clm_meta.erasure_tombstones.name_digest IS 'scrypt of the login name, by which what a restore brings back under it is found. Who guesses a name can check it, slowly; nobody reads it.';

INSERT INTO clm_meta.schema_migrations (version, name) VALUES (4, '004_data_lifecycle')
ON CONFLICT DO NOTHING;

COMMIT;
