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
            ('clm_operator_core', 'LOGIN', '30s', '20s', '30s', 'off',
             'The operator in clm_core_db.'),
            ('clm_auditor', 'LOGIN', '5min', '5s', '60s', 'on',
             'Reads the records of both databases, and no secret.'),
            ('clm_archiver', 'LOGIN', '1h', '5s', '10min', 'off',
             'Exports the audit logs.'),
            ('clm_responder', 'LOGIN', '5s', '2s', '10s', 'on',
             'Tells the status of certificates (CRL, OCSP).'),
            ('clm_webhook', 'LOGIN', '5s', '2s', '10s', 'on',
             'Reads what admission is decided by.'),
            ('clm_api', 'LOGIN', '15s', '5s', '15s', 'off',
             'Serves people and their tools, one organization a transaction.')
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
        'clm_owner', 'clm_migrator', 'clm_operator_core', 'clm_auditor', 'clm_archiver', 'clm_responder',
        'clm_webhook', 'clm_api'));
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
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO clm_migrator, clm_operator_core, clm_auditor, clm_archiver,'
                   ' clm_responder, clm_webhook, clm_api', current_database());
END
$$;

-- From here on as the owner, so that all is the same whoever applies it.
SET LOCAL ROLE clm_owner;

REVOKE ALL ON SCHEMA public, clm_meta, clm_audit_parts FROM PUBLIC;
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
CREATE TRIGGER audit_log_only_added BEFORE UPDATE OR DELETE ON public.audit_log
    FOR EACH ROW EXECUTE FUNCTION clm_guard.refuse_change();
CREATE TRIGGER audit_log_not_emptied BEFORE TRUNCATE ON public.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION clm_guard.refuse_change();
ALTER TABLE public.audit_log ENABLE ALWAYS TRIGGER audit_log_only_added;
ALTER TABLE public.audit_log ENABLE ALWAYS TRIGGER audit_log_not_emptied;

-- A partition has the row trigger of its parent, and no statement trigger.
CREATE FUNCTION clm_guard.guard_audit_partition(partition regclass) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER audit_log_not_emptied BEFORE TRUNCATE ON %s'
                   ' FOR EACH STATEMENT EXECUTE FUNCTION clm_guard.refuse_change()', partition);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER audit_log_not_emptied', partition);
END
$$;

SELECT clm_guard.guard_audit_partition(inhrelid) FROM pg_inherits WHERE inhparent = 'public.audit_log'::regclass;

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
        partition := 'audit_log_' || to_char(first, 'YYYY_MM');
        CONTINUE WHEN EXISTS (SELECT FROM pg_class WHERE relnamespace = parts AND relname = partition);
        IF NOT locked THEN
            PERFORM pg_advisory_xact_lock(1129073922);
            locked := true;
            -- Another process may have made it while this one waited; to_regclass would not know yet.
            CONTINUE WHEN EXISTS (SELECT FROM pg_class WHERE relnamespace = parts AND relname = partition);
        END IF;
        EXECUTE format('CREATE TABLE clm_audit_parts.%I (LIKE public.audit_log INCLUDING ALL)', partition);
        PERFORM clm_guard.guard_audit_partition(format('clm_audit_parts.%I', partition)::regclass);
        EXECUTE format('ALTER TABLE public.audit_log ATTACH PARTITION clm_audit_parts.%I'
                       ' FOR VALUES FROM (%L) TO (%L)', partition, first, first + interval '1 month');
        RETURN NEXT partition;
    END LOOP;
END
$$;

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
        'public.organizations', 'public.users', 'public.roles', 'public.user_organizations', 'public.user_roles',
        'public.policies', 'public.workflows', 'public.workflow_instances', 'public.workflow_steps',
        'public.notifications', 'public.api_keys', 'public.sessions', 'public.certificate_metadata', 'public.audit_log'
    ] LOOP
        owned := CASE protected WHEN 'public.organizations' THEN 'id' ELSE 'organization_id' END || ' = ' || tenant;
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', protected);
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', protected);
        EXECUTE format('CREATE POLICY tenant_isolation ON %s USING (%s) WITH CHECK (%s)', protected, owned, owned);
        EXECUTE format('CREATE POLICY operator_serves_all ON %s TO clm_operator_core USING (true) WITH CHECK (true)',
                       protected);
        EXECUTE format('CREATE POLICY auditor_reads_all ON %s FOR SELECT TO clm_auditor USING (true)', protected);
    END LOOP;
END
$$;

CREATE POLICY archiver_reads_all ON public.audit_log FOR SELECT TO clm_archiver USING (true);
-- Who answers for an issuer answers for what it issued to any organization.
CREATE POLICY responder_reads_all ON public.certificate_metadata FOR SELECT TO clm_responder USING (true);

-- What the system organization shares, an organization sees; without one there is nothing to see.
CREATE POLICY shared_roles ON public.roles FOR SELECT USING (
    organization_id = '69b11eab-bcf8-5616-ad09-8b9c083389a8'
    AND (SELECT nullif(current_setting('clm.organization', true), '')::uuid) IS NOT NULL);
CREATE POLICY shared_workflows ON public.workflows FOR SELECT USING (
    organization_id = '69b11eab-bcf8-5616-ad09-8b9c083389a8'
    AND (SELECT nullif(current_setting('clm.organization', true), '')::uuid) IS NOT NULL);
-- A member whose home is another organization.
CREATE POLICY members_of_tenant ON public.users FOR SELECT TO clm_api, clm_webhook USING (
    id IN (SELECT m.user_id FROM public.user_organizations m
           WHERE m.organization_id = (SELECT nullif(current_setting('clm.organization', true), '')::uuid)
           AND m.left_at IS NULL));

-- The owner's, whom the policies bind as well: it shows the users whose home is the organization that is set, and of
-- its guests nothing.
CREATE VIEW clm_guard.own_users WITH (security_barrier = true) AS
SELECT id, organization_id, password_hash, totp_secret_wrapped FROM public.users;

-- A foreign key sees past row-level security: whom and what a tenant may name, besides its own, is said here. A user
-- whose home is elsewhere is brought in, and brought back, by the installation alone.
CREATE POLICY own_users_join ON public.user_organizations AS RESTRICTIVE FOR INSERT TO clm_api WITH CHECK (
    user_id IN (SELECT u.id FROM clm_guard.own_users u WHERE u.organization_id = user_organizations.organization_id));
CREATE POLICY own_users_come_back ON public.user_organizations AS RESTRICTIVE FOR UPDATE TO clm_api
    USING (left_at IS NULL
           OR user_id IN (SELECT u.id FROM clm_guard.own_users u
                          WHERE u.organization_id = user_organizations.organization_id))
    WITH CHECK (true);
-- Of the system organization a tenant grants what was seeded for all, and never who runs the installation.
CREATE POLICY members_grant_to_members ON public.user_roles AS RESTRICTIVE FOR INSERT TO clm_api WITH CHECK (
    user_id IN (SELECT m.user_id FROM public.user_organizations m
                WHERE m.organization_id = user_roles.organization_id AND m.left_at IS NULL)
    AND (granted_by IS NULL
         OR granted_by IN (SELECT m.user_id FROM public.user_organizations m
                           WHERE m.organization_id = user_roles.organization_id AND m.left_at IS NULL))
    AND role_id IN (SELECT r.id FROM public.roles r
                    WHERE r.deleted_at IS NULL
                    AND (r.organization_id = user_roles.organization_id OR (r.is_system AND r.name <> 'super_admin'))));
-- What was taken back stays so: it is granted anew, by the rule above.
CREATE POLICY members_revoke ON public.user_roles AS RESTRICTIVE FOR UPDATE TO clm_api
    USING (revoked_at IS NULL)
    WITH CHECK (revoked_by IS NULL
                OR revoked_by IN (SELECT m.user_id FROM public.user_organizations m
                                  WHERE m.organization_id = user_roles.organization_id AND m.left_at IS NULL));
CREATE POLICY members_decide ON public.workflow_steps AS RESTRICTIVE FOR INSERT TO clm_api WITH CHECK (
    approver_user_id IS NULL
    OR approver_user_id IN (SELECT m.user_id FROM public.user_organizations m
                            WHERE m.organization_id = workflow_steps.organization_id AND m.left_at IS NULL));
CREATE POLICY members_own ON public.certificate_metadata AS RESTRICTIVE FOR UPDATE TO clm_api
    USING (true)
    WITH CHECK (owner_user_id IS NULL
                OR owner_user_id IN (SELECT m.user_id FROM public.user_organizations m
                                     WHERE m.organization_id = certificate_metadata.organization_id));

-- ---------------------------------------------------------------------------------------------- what each may do

GRANT USAGE ON SCHEMA public
    TO clm_operator_core, clm_auditor, clm_archiver, clm_responder, clm_webhook, clm_api;
GRANT USAGE ON SCHEMA clm_meta TO clm_operator_core, clm_auditor, clm_archiver;
GRANT USAGE ON SCHEMA clm_guard TO clm_operator_core, clm_api;
GRANT SELECT ON clm_meta.schema_migrations TO clm_operator_core, clm_auditor, clm_archiver;
GRANT EXECUTE ON FUNCTION clm_guard.ensure_audit_partitions(int) TO clm_operator_core;

-- The operator. What a row is, and whose, is written once; it changes only how things stand. It deletes no record, and
-- reads no password, second factor or token.
GRANT SELECT ON public.organizations, public.roles, public.user_organizations, public.user_roles, public.policies,
    public.workflows, public.workflow_instances, public.workflow_steps, public.notifications,
    public.certificate_metadata, public.audit_log, public.active_users_with_roles, public.pending_approvals,
    public.certificate_summary
    TO clm_operator_core;
GRANT SELECT (id, organization_id, username, display_name, email, identity_provider, identity_issuer, identity_subject,
    password_changed_at, totp_last_step, mfa_required, status, failed_login_count, locked_until, last_login_at,
    subject_key_id, legal_hold, erased_at, created_at, updated_at, deleted_at)
    ON public.users TO clm_operator_core, clm_auditor, clm_api;
GRANT SELECT (id, organization_id, user_id, name, prefix, hmac_key_id, scopes, allowed_networks, expires_at,
    last_used_at, revoked_at, revocation_reason, created_at, deleted_at)
    ON public.api_keys TO clm_operator_core, clm_auditor;
GRANT SELECT (id, organization_id, user_id, identity_session, auth_method, mfa_at, source_ip, user_agent, created_at,
    last_seen_at, idle_expires_at, expires_at, revoked_at)
    ON public.sessions TO clm_operator_core, clm_auditor;

GRANT INSERT (id, name, display_name, settings) ON public.organizations TO clm_operator_core;
GRANT UPDATE (display_name, status, settings, deleted_at) ON public.organizations TO clm_operator_core;

-- Erasure empties these.
GRANT UPDATE (username, display_name, email, identity_issuer, identity_subject, password_hash, totp_secret_wrapped,
    status, subject_key_id, legal_hold, erased_at, deleted_at)
    ON public.users TO clm_operator_core;
GRANT UPDATE (left_at) ON public.user_organizations TO clm_operator_core;
GRANT UPDATE (revoked_at, revoked_by) ON public.user_roles TO clm_operator_core;
GRANT UPDATE (revoked_at, revocation_reason, deleted_at) ON public.api_keys TO clm_operator_core;
GRANT UPDATE (revoked_at) ON public.sessions TO clm_operator_core;
GRANT DELETE ON public.sessions, public.notifications TO clm_operator_core;

GRANT INSERT (id, organization_id, cluster_id, resource_uid, name, version, generation, spec, spec_hash, enforcement,
    is_current, effective_from, changed_by)
    ON public.policies TO clm_operator_core;
GRANT UPDATE (is_current, effective_until, deleted_at) ON public.policies TO clm_operator_core;

GRANT INSERT (id, organization_id, name, version, kind, definition, is_active)
    ON public.workflows TO clm_operator_core;
GRANT UPDATE (is_active, deleted_at) ON public.workflows TO clm_operator_core;

GRANT INSERT (id, organization_id, workflow_id, policy_id, idempotency_key, state, object_type, object_id, cluster_id,
    resource_uid, namespace, name, generation, policy_generation, spec_hash, requested_by, requester_user_id,
    required_approvals, context, next_run_at, expires_at, started_at)
    ON public.workflow_instances TO clm_operator_core;
GRANT UPDATE (state, context, result, failure_reason, lease_owner, lease_until, attempts, next_run_at, expires_at,
    started_at, finished_at, deleted_at)
    ON public.workflow_instances TO clm_operator_core;

GRANT INSERT (id, organization_id, instance_id, step_number, kind, name, state, approver, approver_user_id,
    approver_identity, decided_at, comment, generation, policy_generation, input, started_at)
    ON public.workflow_steps TO clm_operator_core;
GRANT UPDATE (state, approver, approver_user_id, approver_identity, decided_at, comment, output, failure_reason,
    attempts, started_at, finished_at)
    ON public.workflow_steps TO clm_operator_core;

GRANT INSERT (id, organization_id, kind, severity, channel, recipient_user_id, recipient, object_type, object_id,
    deduplication_key, payload, state, next_attempt_at)
    ON public.notifications TO clm_operator_core;
GRANT UPDATE (state, attempts, next_attempt_at, last_error, sent_at) ON public.notifications TO clm_operator_core;

GRANT INSERT (id, organization_id, cluster_id, resource_uid, namespace, name, revision, policy_name, policy_generation,
    issuer_name, issuer_certificate_id, issuer_key_id, serial_number, fingerprint_sha256, common_name, sans,
    key_algorithm, usages, is_ca, not_before, not_after, renewal_time, secret_name, status, owner_user_id,
    requested_by, revoked_at, revocation_reason)
    ON public.certificate_metadata TO clm_operator_core;
GRANT UPDATE (status, revoked_at, revocation_reason, renewal_time, secret_name, owner_user_id, deleted_at)
    ON public.certificate_metadata TO clm_operator_core;

-- Not its id, time, transaction and epoch: those are the database's word.
GRANT INSERT (organization_id, actor_type, actor_id, on_behalf_of, auth_method, action, object_type, object_id, outcome,
    reason, origin, source_ip, user_agent, request_id, software_version, details, details_canonical)
    ON public.audit_log TO clm_operator_core, clm_api;

-- The auditor.
GRANT SELECT ON public.organizations, public.roles, public.user_organizations, public.user_roles, public.policies,
    public.workflows, public.workflow_instances, public.workflow_steps, public.notifications,
    public.certificate_metadata, public.audit_log, public.active_users_with_roles, public.pending_approvals,
    public.certificate_summary
    TO clm_auditor;

GRANT SELECT ON public.audit_log TO clm_archiver;

-- The responder: whose certificate it is, it does not learn.
GRANT SELECT (id, issuer_key_id, serial_number, status, not_before, not_after, revoked_at, revocation_reason,
    updated_at, deleted_at)
    ON public.certificate_metadata TO clm_responder;

-- The webhook: the rules, and who may do what.
GRANT SELECT ON public.policies, public.roles, public.user_organizations, public.user_roles TO clm_webhook;
GRANT SELECT (id, name, is_system, status, deleted_at) ON public.organizations TO clm_webhook;
GRANT SELECT (id, organization_id, username, identity_provider, identity_issuer, identity_subject, status, deleted_at)
    ON public.users TO clm_webhook;

-- The API. It checks passwords, second factors and tokens, so it alone reads what they are checked against: of users,
-- through a view that leaves out guests.
GRANT SELECT ON public.organizations, public.roles, public.user_organizations, public.user_roles,
    public.policies, public.workflows, public.workflow_instances, public.workflow_steps, public.notifications,
    public.api_keys, public.sessions, public.certificate_metadata, public.audit_log, public.active_users_with_roles,
    public.pending_approvals, public.certificate_summary, clm_guard.own_users
    TO clm_api;
GRANT INSERT (id, organization_id, username, display_name, email, identity_provider, identity_issuer, identity_subject,
    password_hash, password_changed_at, mfa_required, status)
    ON public.users TO clm_api;
GRANT UPDATE (display_name, email, identity_issuer, identity_subject, password_hash, password_changed_at,
    totp_secret_wrapped, totp_last_step, mfa_required, status, failed_login_count, locked_until, last_login_at)
    ON public.users TO clm_api;
GRANT INSERT (id, organization_id, user_id, is_default) ON public.user_organizations TO clm_api;
GRANT UPDATE (is_default, left_at) ON public.user_organizations TO clm_api;
GRANT INSERT (id, organization_id, user_id, role_id, granted_by, expires_at) ON public.user_roles TO clm_api;
GRANT UPDATE (revoked_at, revoked_by) ON public.user_roles TO clm_api;
GRANT INSERT (id, organization_id, name, display_name, description, permissions) ON public.roles TO clm_api;
GRANT UPDATE (display_name, description, permissions, deleted_at) ON public.roles TO clm_api;
GRANT INSERT (id, organization_id, instance_id, step_number, kind, name, state, approver, approver_user_id,
    approver_identity, decided_at, comment, generation, policy_generation)
    ON public.workflow_steps TO clm_api;
GRANT UPDATE (next_run_at) ON public.workflow_instances TO clm_api;
GRANT UPDATE (read_at) ON public.notifications TO clm_api;
GRANT INSERT (id, organization_id, user_id, name, prefix, token_hmac, hmac_key_id, scopes, allowed_networks, expires_at)
    ON public.api_keys TO clm_api;
GRANT UPDATE (last_used_at, revoked_at, revocation_reason) ON public.api_keys TO clm_api;
GRANT INSERT (id, organization_id, user_id, token_sha256, identity_session, auth_method, mfa_at, source_ip, user_agent,
    idle_expires_at, expires_at)
    ON public.sessions TO clm_api;
GRANT UPDATE (mfa_at, last_seen_at, idle_expires_at, revoked_at) ON public.sessions TO clm_api;
GRANT UPDATE (owner_user_id, tags, metadata, notes) ON public.certificate_metadata TO clm_api;

-- ---------------------------------------------------------------------------------------------- comments

COMMENT ON SCHEMA clm_guard IS 'What keeps records from being changed, and the few acts that need the owner''s rights.';
COMMENT ON FUNCTION clm_guard.refuse_change() IS 'Trigger: refuses any change of an audit log.';
COMMENT ON FUNCTION clm_guard.guard_audit_partition(regclass) IS 'Refuses TRUNCATE of one partition of the audit log.';
COMMENT ON FUNCTION clm_guard.ensure_audit_partitions(int) IS 'Makes the audit partitions that are missing from this month to so many months later; gives their names, oldest first. Safe to repeat, and from several places at once.';

COMMENT ON VIEW clm_guard.own_users IS 'Users whose home is the organization that is set, with what their passwords and second factors are checked against.';
COMMENT ON COLUMN clm_guard.own_users.id IS 'The user.';
COMMENT ON COLUMN clm_guard.own_users.organization_id IS 'Home organization.';
COMMENT ON COLUMN clm_guard.own_users.password_hash IS 'Of a break-glass user, with its algorithm and parameters (PHC string).';
COMMENT ON COLUMN clm_guard.own_users.totp_secret_wrapped IS 'Secret of RFC 6238, encrypted under a key of clm_secure_db.';

INSERT INTO clm_meta.schema_migrations (version, name) VALUES (2, '002_roles_and_rights')
ON CONFLICT DO NOTHING;

COMMIT;
