-- Who may do what: an owner that nobody logs in as, a user for each process, rows by organization, and an audit log
-- that only grows.
--
-- Roles are made here where they are missing and the user may; otherwise an administrator runs migrations/roles.sql
-- before. Passwords are set by the installation.

BEGIN;

SET LOCAL search_path = pg_catalog, public;

-- ---------------------------------------------------------------------------------------------- roles and ownership

DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('clm_owner', 'NOLOGIN', '0', '5s', '60s', 'off',
             'Owns every object of CLM. Nobody logs in as it.'),
            ('clm_migrator', 'LOGIN NOINHERIT', '0', '5s', '60s', 'off',
             'Applies migrations, as clm_owner.'),
            ('clm_operator_secure', 'LOGIN', '30s', '20s', '30s', 'off',
             'The operator in clm_secure_db.'),
            ('clm_auditor', 'LOGIN', '5min', '5s', '60s', 'on',
             'Reads the records of both databases, and no secret.'),
            ('clm_archiver', 'LOGIN', '1h', '5s', '10min', 'off',
             'Exports the audit logs.')
        ) AS role (name, attributes, statement_timeout, lock_timeout, idle_timeout, read_only, meaning)
        WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role.name)
    LOOP
        IF NOT (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user) THEN
            RAISE insufficient_privilege USING MESSAGE = format(
                'role %s is missing, and %s may not make it;'
                ' let an administrator run psql -d %s -f migrations/roles.sql',
                wanted.name, current_user, current_database());
        END IF;
        -- Roles are of the whole server: another database's migration may make the same one at this moment.
        BEGIN
            EXECUTE format('CREATE ROLE %I %s', wanted.name, wanted.attributes);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            CONTINUE;
        END;
        EXECUTE format('ALTER ROLE %I SET search_path = pg_catalog, public, pg_temp', wanted.name);
        EXECUTE format('ALTER ROLE %I SET statement_timeout = %L', wanted.name, wanted.statement_timeout);
        EXECUTE format('ALTER ROLE %I SET lock_timeout = %L', wanted.name, wanted.lock_timeout);
        EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L', wanted.name, wanted.idle_timeout);
        EXECUTE format('ALTER ROLE %I SET default_transaction_read_only = %L', wanted.name, wanted.read_only);
        EXECUTE format('COMMENT ON ROLE %I IS %L', wanted.name, wanted.meaning);
    END LOOP;
END
$$;

-- Policies bind neither a superuser nor who bypasses them, and no grant below would mean anything.
DO $$
DECLARE
    above text := (SELECT string_agg(rolname, ', ') FROM pg_roles WHERE (rolsuper OR rolbypassrls) AND rolname IN (
        'clm_owner', 'clm_migrator', 'clm_operator_secure', 'clm_auditor', 'clm_archiver'));
BEGIN
    IF above IS NOT NULL THEN
        RAISE insufficient_privilege USING MESSAGE = format(
            'above all rights: %s; an administrator has to ALTER ROLE ... NOSUPERUSER NOBYPASSRLS', above);
    END IF;
END
$$;

DO $$
BEGIN
    IF NOT pg_has_role('clm_migrator', 'clm_owner', 'MEMBER') THEN
        GRANT clm_owner TO clm_migrator;
    END IF;
    -- An owner of the database who is no superuser hands its objects over, and stays able to migrate.
    IF NOT pg_has_role(current_user, 'clm_owner', 'MEMBER') THEN
        EXECUTE format('GRANT clm_owner TO %I', current_user);
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE insufficient_privilege USING MESSAGE = format(
        '%s may not become clm_owner; let an administrator run psql -d %s -f migrations/roles.sql',
        current_user, current_database());
END
$$;

DO $$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        SELECT format('ALTER SCHEMA %I OWNER TO clm_owner', nspname)
        FROM pg_namespace
        WHERE (nspname = 'public' OR nspname LIKE 'clm\_%') AND nspowner <> 'clm_owner'::regrole
    LOOP
        EXECUTE statement;
    END LOOP;
    FOR statement IN
        SELECT format('ALTER TABLE %I.%I OWNER TO clm_owner', n.nspname, c.relname)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE (n.nspname = 'public' OR n.nspname LIKE 'clm\_%')
        AND c.relkind IN ('r', 'p', 'v') AND c.relowner <> 'clm_owner'::regrole
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
        UNION ALL
        SELECT format('ALTER ROUTINE %I.%I(%s) OWNER TO clm_owner', n.nspname, p.proname,
                      pg_get_function_identity_arguments(p.oid))
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE (n.nspname = 'public' OR n.nspname LIKE 'clm\_%')
        AND p.proowner <> 'clm_owner'::regrole
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    LOOP
        EXECUTE statement;
    END LOOP;
END
$$;

DO $$
BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT, CREATE ON DATABASE %I TO clm_owner', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO clm_migrator, clm_operator_secure, clm_auditor, clm_archiver', current_database());
END
$$;

-- From here on as the owner, so that all is the same whoever applies it.
SET LOCAL ROLE clm_owner;

REVOKE ALL ON SCHEMA public, clm_meta, clm_audit_parts, clm_work FROM PUBLIC;
REVOKE ALL ON FUNCTION public.set_updated_at() FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE clm_owner REVOKE ALL ON FUNCTIONS FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------- the audit log

CREATE SCHEMA clm_guard;

CREATE FUNCTION clm_guard.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE insufficient_privilege USING MESSAGE = format(
        '%s of %I.%I is refused: records are only added', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME);
END
$$;

-- ALWAYS: also where session_replication_role says that triggers rest.
CREATE TRIGGER secure_audit_log_only_added BEFORE UPDATE OR DELETE ON public.secure_audit_log
    FOR EACH ROW EXECUTE FUNCTION clm_guard.refuse_change();
CREATE TRIGGER secure_audit_log_not_emptied BEFORE TRUNCATE ON public.secure_audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION clm_guard.refuse_change();
ALTER TABLE public.secure_audit_log ENABLE ALWAYS TRIGGER secure_audit_log_only_added;
ALTER TABLE public.secure_audit_log ENABLE ALWAYS TRIGGER secure_audit_log_not_emptied;

-- A partition has the row trigger of its parent, and no statement trigger.
CREATE FUNCTION clm_guard.guard_audit_partition(partition regclass) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER secure_audit_log_not_emptied BEFORE TRUNCATE ON %s'
                   ' FOR EACH STATEMENT EXECUTE FUNCTION clm_guard.refuse_change()', partition);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER secure_audit_log_not_emptied', partition);
END
$$;

SELECT clm_guard.guard_audit_partition(inhrelid) FROM pg_inherits WHERE inhparent = 'public.secure_audit_log'::regclass;

-- LIKE and ATTACH hold back no INSERT, where PARTITION OF would lock the log against everybody. Attaching waits for
-- nobody in practice; were it to, every later INSERT would wait behind it: hence the timeout.
CREATE FUNCTION clm_guard.ensure_audit_partitions(months_ahead int) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC' SET lock_timeout = '5s' AS $$
DECLARE
    -- The clock of the database, because it stamps the records.
    this_month constant timestamptz := date_trunc('month', clock_timestamp());
    parts constant oid := 'clm_audit_parts'::regnamespace;
    first timestamptz;
    partition text;
    locked boolean := false;
BEGIN
    IF months_ahead IS NULL OR months_ahead NOT BETWEEN 0 AND 120 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'months_ahead must be between 0 and 120';
    END IF;
    FOR ahead IN 0 .. months_ahead LOOP
        first := this_month + ahead * interval '1 month';
        partition := 'secure_audit_log_' || to_char(first, 'YYYY_MM');
        CONTINUE WHEN EXISTS (SELECT FROM pg_class WHERE relnamespace = parts AND relname = partition);
        IF NOT locked THEN
            PERFORM pg_advisory_xact_lock(1129073922);
            locked := true;
            -- Another process may have made it while this one waited; to_regclass would not know yet.
            CONTINUE WHEN EXISTS (SELECT FROM pg_class WHERE relnamespace = parts AND relname = partition);
        END IF;
        EXECUTE format('CREATE TABLE clm_audit_parts.%I (LIKE public.secure_audit_log INCLUDING ALL)', partition);
        PERFORM clm_guard.guard_audit_partition(format('clm_audit_parts.%I', partition)::regclass);
        EXECUTE format('ALTER TABLE public.secure_audit_log ATTACH PARTITION clm_audit_parts.%I'
                       ' FOR VALUES FROM (%L) TO (%L)', partition, first, first + interval '1 month');
        RETURN NEXT partition;
    END LOOP;
END
$$;

-- ---------------------------------------------------------------------------------------------- states of keys

-- NIST SP 800-57 part 1 revision 5, 7. A key that was never used goes without having been active; what is compromised
-- never protects again; destroyed is the end.
CREATE FUNCTION clm_guard.check_key_state() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (OLD.state, NEW.state) IN (
        ('generating', 'active'), ('generating', 'destroyed'),
        ('active', 'suspended'), ('active', 'deactivated'), ('active', 'compromised'),
        ('suspended', 'active'), ('suspended', 'deactivated'), ('suspended', 'compromised'),
        ('deactivated', 'compromised'), ('deactivated', 'destroyed'),
        ('compromised', 'destroyed'))
    THEN
        RETURN NEW;
    END IF;
    RAISE check_violation USING
        MESSAGE = format('a key that is %s cannot become %s', OLD.state, NEW.state),
        SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = 'state';
END
$$;

CREATE TRIGGER encryption_keys_state BEFORE UPDATE OF state ON public.encryption_keys
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION clm_guard.check_key_state();
ALTER TABLE public.encryption_keys ENABLE ALWAYS TRIGGER encryption_keys_state;

-- ---------------------------------------------------------------------------------------------- row-level security

-- FORCE: the owner as well. A migration that has to change rows says in its own text how it comes to see them.
-- (SELECT ...): the setting is read once a query, not once a row. After a transaction that set it, it is '', not null.
DO $$
DECLARE
    tenant constant text := '(SELECT nullif(current_setting(''clm.organization'', true), '''')::uuid)';
    protected text;
    owned text;
BEGIN
    FOREACH protected IN ARRAY ARRAY[
        'public.encryption_keys', 'public.private_keys', 'public.certificate_requests', 'public.certificates',
        'public.certificate_revocations', 'public.key_rotation_history', 'public.secure_audit_log', 'clm_work.outbox'
    ] LOOP
        owned := 'organization_id' || ' = ' || tenant;
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', protected);
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', protected);
        EXECUTE format('CREATE POLICY tenant_isolation ON %s USING (%s) WITH CHECK (%s)', protected, owned, owned);
        EXECUTE format('CREATE POLICY operator_serves_all ON %s TO clm_operator_secure USING (true) WITH CHECK (true)',
                       protected);
        EXECUTE format('CREATE POLICY auditor_reads_all ON %s FOR SELECT TO clm_auditor USING (true)', protected);
    END LOOP;
END
$$;

CREATE POLICY archiver_reads_all ON public.secure_audit_log FOR SELECT TO clm_archiver USING (true);

-- ---------------------------------------------------------------------------------------------- what each may do

GRANT USAGE ON SCHEMA public, clm_meta TO clm_operator_secure, clm_auditor, clm_archiver;
GRANT USAGE ON SCHEMA clm_guard TO clm_operator_secure;
GRANT USAGE ON SCHEMA clm_work TO clm_operator_secure, clm_auditor;
GRANT SELECT ON clm_meta.schema_migrations TO clm_operator_secure, clm_auditor, clm_archiver;
GRANT EXECUTE ON FUNCTION clm_guard.ensure_audit_partitions(int) TO clm_operator_secure;

-- The operator. What a row is, and whose, is written once; it changes only how things stand. It deletes no record.
GRANT SELECT ON public.encryption_keys, public.private_keys, public.certificate_requests, public.certificates,
    public.certificate_revocations, public.key_rotation_history, public.secure_audit_log, public.active_certificates,
    public.expiring_certificates, clm_work.outbox
    TO clm_operator_secure;

GRANT INSERT (id, organization_id, cluster_id, resource_uid, namespace, name, purpose, algorithm, version, label, state,
    state_reason, wrap_algorithm, wrapping_key_id, wrapped_key, subject_reference, activated_at, oup_ends_at,
    rup_ends_at, rotated_from)
    ON public.encryption_keys TO clm_operator_secure;
GRANT UPDATE (state, state_reason, token_label, token_serial, token_uri, spki, spki_sha256, check_value, wrap_algorithm,
    wrapping_key_id, wrapped_key, attributes, attestation, activated_at, suspended_at, deactivated_at, compromised_at,
    destroyed_at, oup_ends_at, rup_ends_at, legal_hold, deleted_at)
    ON public.encryption_keys TO clm_operator_secure;

GRANT INSERT (id, organization_id, encryption_key_id, algorithm, wrap_algorithm, wrapped_dek, ciphertext, spki_sha256,
    state)
    ON public.private_keys TO clm_operator_secure;
GRANT UPDATE (encryption_key_id, wrapped_dek, ciphertext, state, legal_hold, rewrapped_at, compromised_at, destroyed_at)
    ON public.private_keys TO clm_operator_secure;

GRANT INSERT (id, organization_id, cluster_id, resource_uid, namespace, name, revision, generation, spec_hash,
    policy_name, policy_uid, policy_generation, issuer_key_id, issuer_certificate_id, subject_key_id, private_key_id,
    csr, serial_number, tbs, signature_algorithm, not_before, not_after, common_name, sans, is_ca, reason, state,
    requested_by, approval_instance_id)
    ON public.certificate_requests TO clm_operator_secure;
GRANT UPDATE (state, failure_reason, issued_at, deleted_at) ON public.certificate_requests TO clm_operator_secure;

GRANT INSERT (id, request_id, organization_id, cluster_id, resource_uid, namespace, name, revision, spec_hash,
    issuer_key_id, issuer_certificate_id, subject_key_id, private_key_id, serial_number, certificate,
    fingerprint_sha256, spki_sha256, subject, issuer, common_name, sans, subject_key_identifier,
    authority_key_identifier, not_before, not_after, is_ca, path_length, secret_name, state, renewal_due_at)
    ON public.certificates TO clm_operator_secure;
GRANT UPDATE (state, superseded_by, secret_name, published_at, renewal_due_at, deleted_at)
    ON public.certificates TO clm_operator_secure;

GRANT INSERT (id, organization_id, certificate_id, issuer_key_id, serial_number, reason_code, revoked_at,
    invalidity_date, requested_by, approval_instance_id, comment, crl_shard)
    ON public.certificate_revocations TO clm_operator_secure;
GRANT UPDATE (published_at) ON public.certificate_revocations TO clm_operator_secure;

GRANT INSERT (id, organization_id, cluster_id, resource_uid, name, run, target_kind, target, strategy, from_key_id,
    to_key_id, state, dry_run, total_count, requested_by, approval_instance_id)
    ON public.key_rotation_history TO clm_operator_secure;
GRANT UPDATE (to_key_id, state, total_count, done_count, failed_count, remaining_count, cursor, approvals,
    approval_instance_id, report, failure_reason, started_at, progressed_at, finished_at)
    ON public.key_rotation_history TO clm_operator_secure;

-- Not its id, time, transaction and epoch: those are the database's word.
GRANT INSERT (organization_id, actor_type, actor_id, on_behalf_of, auth_method, action, object_type, object_id, outcome,
    reason, origin, source_ip, user_agent, request_id, software_version, details, details_canonical)
    ON public.secure_audit_log TO clm_operator_secure;

GRANT INSERT (id, organization_id, next_attempt_at) ON clm_work.outbox TO clm_operator_secure;
GRANT UPDATE (attempts, next_attempt_at, last_error) ON clm_work.outbox TO clm_operator_secure;
GRANT DELETE ON clm_work.outbox TO clm_operator_secure;

-- The auditor. Never wrapped keys.
GRANT SELECT (id, organization_id, cluster_id, resource_uid, namespace, name, purpose, algorithm, version, label, state,
    state_reason, token_label, token_serial, token_uri, spki, spki_sha256, check_value, wrap_algorithm,
    wrapping_key_id, subject_reference, attributes, attestation, activated_at, suspended_at, deactivated_at,
    compromised_at, destroyed_at, oup_ends_at, rup_ends_at, legal_hold, rotated_from, created_at, updated_at,
    deleted_at)
    ON public.encryption_keys TO clm_auditor;
GRANT SELECT (id, organization_id, encryption_key_id, algorithm, wrap_algorithm, spki_sha256, state, legal_hold,
    rewrapped_at, compromised_at, destroyed_at, created_at, updated_at)
    ON public.private_keys TO clm_auditor;
GRANT SELECT ON public.certificate_requests, public.certificates, public.certificate_revocations,
    public.key_rotation_history, public.secure_audit_log, public.active_certificates, public.expiring_certificates,
    clm_work.outbox
    TO clm_auditor;

GRANT SELECT ON public.secure_audit_log TO clm_archiver;

-- ---------------------------------------------------------------------------------------------- comments

COMMENT ON SCHEMA clm_guard IS 'What keeps records from being changed, and the few acts that need the owner''s rights.';
COMMENT ON FUNCTION clm_guard.refuse_change() IS 'Trigger: refuses any change of an audit log.';
COMMENT ON FUNCTION clm_guard.guard_audit_partition(regclass) IS 'Refuses TRUNCATE of one partition of the audit log.';
COMMENT ON FUNCTION clm_guard.ensure_audit_partitions(int) IS 'Makes the audit partitions that are missing from this month to so many months later; gives their names, oldest first. Safe to repeat, and from several places at once.';
COMMENT ON FUNCTION clm_guard.check_key_state() IS 'Trigger: lets a key go only from one state to those that NIST SP 800-57 part 1 allows after it.';

INSERT INTO clm_meta.schema_migrations (version, name) VALUES (3, '003_roles_and_rights')
ON CONFLICT DO NOTHING;

COMMIT;
