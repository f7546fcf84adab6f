-- clm_core_db as its catalog tells it. Asked as the superuser, whom nothing binds: what is refused, a guard refuses.
BEGIN;
CREATE SCHEMA tap;
CREATE EXTENSION pgtap SCHEMA tap;
SET LOCAL search_path = tap, public, pg_catalog;
SELECT no_plan();

-- What there is.
SELECT schemas_are(ARRAY['public', 'clm_meta', 'clm_work', 'clm_status', 'clm_guard', 'clm_audit', 'clm_audit_parts', 'tap']);
SELECT tables_are('public', ARRAY['users', 'roles', 'user_roles', 'organizations', 'user_organizations', 'policies',
    'workflows', 'workflow_instances', 'workflow_steps', 'notifications', 'audit_log', 'api_keys', 'sessions',
    'certificate_metadata']);
SELECT views_are('public', ARRAY['active_users_with_roles', 'pending_approvals', 'certificate_summary']);
SELECT is_partitioned('public', 'audit_log', 'the audit log is partitioned');
SELECT extensions_are(ARRAY['plpgsql', 'uuid-ossp', 'pgcrypto', 'pgtap']);
SELECT col_not_null('public', t, 'organization_id', t || ' has its organization')
FROM unnest(ARRAY['users', 'roles', 'user_roles', 'user_organizations', 'policies', 'workflows', 'workflow_instances',
                  'workflow_steps', 'notifications', 'audit_log', 'api_keys', 'sessions', 'certificate_metadata']) AS t;
SELECT fk_ok('public', 'workflow_steps', ARRAY['organization_id', 'instance_id'],
             'public', 'workflow_instances', ARRAY['organization_id', 'id']);
SELECT fk_ok('public', 'user_roles', ARRAY['organization_id', 'user_id'],
             'public', 'user_organizations', ARRAY['organization_id', 'user_id']);
SELECT col_is_unique('public', 'workflow_instances', ARRAY['organization_id', 'idempotency_key']);
SELECT index_is_unique('public', 'workflow_steps', 'workflow_steps_one_decision');
SELECT results_eq(
    'SELECT name FROM roles WHERE is_system ORDER BY name',
    ARRAY['approver', 'auditor', 'certificate_manager', 'security_admin', 'super_admin', 'viewer'],
    'six roles are seeded');

-- Whose it is.
SELECT db_owner_is(current_database(), 'clm_owner');
SELECT schema_owner_is(s, 'clm_owner')
FROM unnest(ARRAY['public', 'clm_meta', 'clm_work', 'clm_status', 'clm_guard', 'clm_audit_parts']) AS s;
SELECT relation_owner_is('public', c.relname, 'clm_owner', c.relname || ' is the owner''s')
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v');
SELECT is_definer('clm_guard', 'ensure_audit_partitions', ARRAY['integer']);
SELECT isnt_superuser(r, r || ' is no superuser')
FROM unnest(ARRAY['clm_owner', 'clm_migrator', 'clm_operator_core', 'clm_auditor', 'clm_archiver', 'clm_responder',
                  'clm_webhook', 'clm_api']) AS r;
SELECT isnt_member_of('clm_owner', ARRAY[r], r || ' may not become the owner')
FROM unnest(ARRAY['clm_operator_core', 'clm_auditor', 'clm_archiver', 'clm_responder', 'clm_webhook', 'clm_api']) AS r;

-- Who may what.
SELECT database_privs_are(current_database(), r, ARRAY['CONNECT'])
FROM unnest(ARRAY['clm_operator_core', 'clm_auditor', 'clm_archiver', 'clm_responder', 'clm_webhook', 'clm_api']) AS r;
SELECT database_privs_are(current_database(), 'clm_operator_secure', ARRAY[]::text[]);
SELECT schema_privs_are('clm_audit_parts', r, ARRAY[]::text[])
FROM unnest(ARRAY['clm_operator_core', 'clm_auditor', 'clm_archiver', 'clm_responder', 'clm_webhook', 'clm_api']) AS r;
SELECT schema_privs_are('clm_guard', r, ARRAY[]::text[]) FROM unnest(ARRAY['clm_responder', 'clm_webhook']) AS r;
SELECT views_are('clm_guard', ARRAY['own_users']);
SELECT table_privs_are('clm_guard', 'own_users', 'clm_api', ARRAY['SELECT']);
SELECT table_privs_are('public', t, 'clm_operator_core', ARRAY['SELECT'], t || ': the rest by column')
FROM unnest(ARRAY['organizations', 'roles', 'policies', 'workflows', 'workflow_instances', 'workflow_steps',
                  'certificate_metadata', 'audit_log']) AS t;
SELECT table_privs_are('public', t, 'clm_responder', ARRAY[]::text[], 'the responder has no part in ' || t)
FROM unnest(ARRAY['users', 'policies', 'audit_log', 'api_keys', 'sessions', 'certificate_metadata']) AS t;
SELECT column_privs_are('public', 'certificate_metadata', c, 'clm_responder', ARRAY['SELECT'])
FROM unnest(ARRAY['issuer_key_id', 'serial_number', 'status', 'revoked_at', 'revocation_reason']) AS c;
SELECT column_privs_are('public', 'certificate_metadata', c, 'clm_responder', ARRAY[]::text[])
FROM unnest(ARRAY['organization_id', 'namespace', 'name', 'common_name', 'sans', 'requested_by', 'notes']) AS c;
SELECT column_privs_are('public', 'users', c, r, ARRAY[]::text[])
FROM unnest(ARRAY['password_hash', 'totp_secret_wrapped']) AS c, unnest(ARRAY['clm_auditor', 'clm_webhook']) AS r;
SELECT column_privs_are('public', 'users', 'password_hash', 'clm_api', ARRAY['INSERT', 'UPDATE'],
                        'the API reads it of its own users, by a view');
SELECT column_privs_are('public', 'users', 'password_hash', 'clm_operator_core', ARRAY['UPDATE'],
                        'the operator empties what it does not read');
SELECT column_privs_are('public', 'api_keys', 'token_hmac', r, ARRAY[]::text[])
FROM unnest(ARRAY['clm_auditor', 'clm_operator_core', 'clm_webhook']) AS r;
SELECT column_privs_are('public', 'sessions', 'token_sha256', r, ARRAY[]::text[])
FROM unnest(ARRAY['clm_auditor', 'clm_operator_core', 'clm_webhook']) AS r;
SELECT column_privs_are('public', 'audit_log', c, r, ARRAY['SELECT'])
FROM unnest(ARRAY['id', 'occurred_at', 'txid', 'ledger_epoch']) AS c,
     unnest(ARRAY['clm_operator_core', 'clm_api']) AS r;

-- Whose rows.
SELECT policies_are('public', t, ARRAY['tenant_isolation', 'operator_serves_all', 'auditor_reads_all'])
FROM unnest(ARRAY['organizations', 'policies', 'workflow_instances', 'notifications', 'api_keys', 'sessions']) AS t;
SELECT policies_are('public', t, ARRAY['tenant_isolation', 'operator_serves_all', 'auditor_reads_all'] || p)
FROM (VALUES ('user_organizations', ARRAY['own_users_join', 'own_users_come_back']),
             ('user_roles', ARRAY['members_grant_to_members', 'members_revoke']),
             ('workflow_steps', ARRAY['members_decide'])) AS further (t, p);
SELECT policies_are('public', 'roles',
                    ARRAY['tenant_isolation', 'operator_serves_all', 'auditor_reads_all', 'shared_roles']);
SELECT policies_are('public', 'workflows',
                    ARRAY['tenant_isolation', 'operator_serves_all', 'auditor_reads_all', 'shared_workflows']);
SELECT policies_are('public', 'users',
                    ARRAY['tenant_isolation', 'operator_serves_all', 'auditor_reads_all', 'members_of_tenant']);
SELECT policies_are('public', 'certificate_metadata',
                    ARRAY['tenant_isolation', 'operator_serves_all', 'auditor_reads_all', 'responder_reads_all',
                          'members_own']);
SELECT policies_are('public', 'audit_log',
                    ARRAY['tenant_isolation', 'operator_serves_all', 'auditor_reads_all', 'archiver_reads_all']);
SELECT policy_cmd_is('public', 'roles', 'shared_roles'::name, 'select');
SELECT policy_roles_are('public', 'users', 'members_of_tenant', ARRAY['clm_api', 'clm_webhook']);
SELECT is_empty(
    $$SELECT oid::regclass FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
      AND NOT (relrowsecurity AND relforcerowsecurity)$$,
    'row-level security binds the owner too');

-- What cannot be undone.
SELECT trigger_is('public', 'audit_log', 'audit_log_only_added', 'clm_guard', 'refuse_change');
SELECT trigger_is('public', 'audit_log', 'audit_log_not_emptied', 'clm_guard', 'refuse_change');
INSERT INTO audit_log (organization_id, actor_type, actor_id, action, object_type, object_id)
VALUES (gen_random_uuid(), 'operator', 'pgtap', 'certificate.issue', 'certificate', 'x');
SELECT throws_ok(statement, '42501', NULL, statement)
FROM unnest(ARRAY['UPDATE audit_log SET actor_id = ''x''', 'DELETE FROM audit_log', 'TRUNCATE audit_log']) AS statement;
SELECT throws_ok(format('TRUNCATE clm_audit_parts.%I', tablename), '42501', NULL, 'TRUNCATE ' || tablename)
FROM pg_tables WHERE schemaname = 'clm_audit_parts';

-- What the responder serves: it reads, and asks for certificates.
SELECT tables_are('clm_status', ARRAY['issuers', 'revocations', 'crls', 'ocsp_responders']);
SELECT table_privs_are('clm_status', t, 'clm_responder', ARRAY['SELECT'], 'the responder reads ' || t)
FROM unnest(ARRAY['issuers', 'revocations', 'crls', 'ocsp_responders']) AS t;
SELECT column_privs_are('clm_status', 'ocsp_responders', c, 'clm_responder', ARRAY['INSERT', 'SELECT'])
FROM unnest(ARRAY['id', 'issuer_key_id', 'organization_id', 'csr', 'origin']) AS c;
SELECT column_privs_are('clm_status', 'ocsp_responders', c, 'clm_responder', ARRAY['SELECT'])
FROM unnest(ARRAY['requested_at', 'certificate', 'not_after', 'refused_reason']) AS c;
SELECT schema_privs_are('clm_status', r, ARRAY[]::text[]) FROM unnest(ARRAY['clm_archiver', 'clm_webhook', 'clm_api']) AS r;
SELECT policies_are('clm_status', 'revocations',
                    ARRAY['tenant_isolation', 'operator_serves_all', 'auditor_reads_all', 'responder_reads_all',
                          'only_expired_go']);
SELECT policies_are('clm_status', 'ocsp_responders',
                    ARRAY['tenant_isolation', 'operator_serves_all', 'auditor_reads_all', 'responder_reads_all',
                          'responder_asks']);

SELECT * FROM finish();
ROLLBACK;
