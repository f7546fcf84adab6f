-- What the life of data needs beside the record: what was found in the token without an owner, whose data were erased,
-- until when keys are used, and when vacuum comes.

BEGIN;

SET LOCAL ROLE clm_owner;
SET LOCAL search_path = pg_catalog, public;

-- ---------------------------------------------------------------------------------------------- quarantine

CREATE TABLE clm_work.quarantined_objects (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL,
    token_serial text NOT NULL,
    cka_id bytea NOT NULL,
    label text NOT NULL,
    object_class text NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    gone_at timestamptz,
    UNIQUE (token_serial, cka_id, object_class, label),
    CONSTRAINT quarantined_objects_order CHECK (last_seen_at >= first_seen_at AND gone_at >= last_seen_at)
);

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

-- ---------------------------------------------------------------------------------------------- cryptoperiods

-- Keys from before there were periods get the default ones (SP 800-57 part 1, table 1), from when they were activated.
-- The owner sees rows only while row-level security does not bind it.
ALTER TABLE public.encryption_keys NO FORCE ROW LEVEL SECURITY;
UPDATE public.encryption_keys
SET oup_ends_at = activated_at + CASE purpose WHEN 'ca-signing' THEN interval '1095 days' ELSE interval '730 days' END,
    rup_ends_at = activated_at + CASE purpose
        WHEN 'ca-signing' THEN interval '1095 days' WHEN 'audit-sealing' THEN interval '730 days'
        ELSE interval '1825 days' END
WHERE state = 'active' AND activated_at IS NOT NULL AND oup_ends_at IS NULL;
ALTER TABLE public.encryption_keys FORCE ROW LEVEL SECURITY;

-- ---------------------------------------------------------------------------------------------- vacuum

-- Every request is changed once, from pending to issued, and every certificate once or twice. By PostgreSQL's own
-- measure, a fifth of the table, ten million certificates would gather two million dead rows before the first vacuum.
ALTER TABLE public.certificate_requests SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE public.certificates SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
-- Wrapping again rewrites every row within minutes, destruction frees the largest columns.
ALTER TABLE public.private_keys SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);
-- A handful of rows, read under a lock by every issuance: plans must not be made from the empty table's statistics.
ALTER TABLE public.encryption_keys SET (autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5);

-- ---------------------------------------------------------------------------------------------- rights

DO $$
DECLARE
    tenant constant text := 'organization_id = (SELECT nullif(current_setting(''clm.organization'', true), '''')::uuid)';
    protected text;
BEGIN
    FOREACH protected IN ARRAY ARRAY['clm_work.quarantined_objects', 'clm_meta.erasure_tombstones'] LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', protected);
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', protected);
        EXECUTE format('CREATE POLICY tenant_isolation ON %s USING (%s) WITH CHECK (%s)', protected, tenant, tenant);
        EXECUTE format('CREATE POLICY operator_serves_all ON %s TO clm_operator_secure USING (true) WITH CHECK (true)',
                       protected);
        EXECUTE format('CREATE POLICY auditor_reads_all ON %s FOR SELECT TO clm_auditor USING (true)', protected);
    END LOOP;
END
$$;

GRANT SELECT ON clm_work.quarantined_objects, clm_meta.erasure_tombstones TO clm_operator_secure, clm_auditor;
GRANT INSERT (organization_id, token_serial, cka_id, label, object_class)
    ON clm_work.quarantined_objects TO clm_operator_secure;
GRANT UPDATE (last_seen_at, gone_at) ON clm_work.quarantined_objects TO clm_operator_secure;
GRANT INSERT (organization_id, subject_id, erased_at, reason, actor_id, name_digest)
    ON clm_meta.erasure_tombstones TO clm_operator_secure;
-- Who asked is personal data: it goes when the person's data are erased, and what was refused forgets it in time.
GRANT UPDATE (requested_by) ON public.certificate_requests TO clm_operator_secure;
GRANT UPDATE (requested_by, comment) ON public.certificate_revocations TO clm_operator_secure;
GRANT UPDATE (requested_by) ON public.key_rotation_history TO clm_operator_secure;

-- ---------------------------------------------------------------------------------------------- comments

COMMENT ON TABLE clm_work.quarantined_objects IS 'Objects that were found in the token and that no row owns. They are reported until somebody decides; nothing destroys them by itself.';
COMMENT ON COLUMN clm_work.quarantined_objects.id IS 'Unique id.';
COMMENT ON COLUMN clm_work.quarantined_objects.organization_id IS 'The system organization: whose it is, nobody knows.';
COMMENT ON COLUMN clm_work.quarantined_objects.token_serial IS 'Serial number of the token that holds it.';
COMMENT ON COLUMN clm_work.quarantined_objects.cka_id IS 'CKA_ID of the object; empty where it has none.';
COMMENT ON COLUMN clm_work.quarantined_objects.label IS 'CKA_LABEL of the object.';
COMMENT ON COLUMN clm_work.quarantined_objects.object_class IS 'CKA_CLASS of the object, such as PRIVATE_KEY.';
COMMENT ON COLUMN clm_work.quarantined_objects.first_seen_at IS 'When a check first found it.';
COMMENT ON COLUMN clm_work.quarantined_objects.last_seen_at IS 'When a check last found it.';
COMMENT ON COLUMN clm_work.quarantined_objects.gone_at IS 'When a check no longer found it, or found its owner.';
COMMENT ON TABLE clm_meta.erasure_tombstones IS 'Persons whose data were erased (GDPR article 17). What a restore brings back of them is erased again: clm erase --replay.';
COMMENT ON COLUMN clm_meta.erasure_tombstones.id IS 'Unique id.';
COMMENT ON COLUMN clm_meta.erasure_tombstones.organization_id IS 'Organization (tenant) that the person belonged to.';
COMMENT ON COLUMN clm_meta.erasure_tombstones.subject_id IS 'Id of the user in clm_core_db: a pseudonym.';
COMMENT ON COLUMN clm_meta.erasure_tombstones.erased_at IS 'When the data were erased first.';
COMMENT ON COLUMN clm_meta.erasure_tombstones.reason IS 'Why.';
COMMENT ON COLUMN clm_meta.erasure_tombstones.actor_id IS 'Who erased them.';
COMMENT ON COLUMN clm_meta.erasure_tombstones.name_digest IS 'scrypt of the login name, by which what a restore brings back under it is found. Who guesses a name can check it, slowly; nobody reads it.';

INSERT INTO clm_meta.schema_migrations (version, name) VALUES (5, '005_data_lifecycle')
ON CONFLICT DO NOTHING;

COMMIT;
