-- clm_secure_db as its catalog tells it. Asked as the superuser, whom nothing binds: what is refused, a guard refuses.
BEGIN;
CREATE SCHEMA tap;
CREATE EXTENSION pgtap SCHEMA tap;
SET LOCAL search_path = tap, public, pg_catalog;
SELECT no_plan();

-- What there is.
SELECT schemas_are(ARRAY['public', 'clm_meta', 'clm_work', 'clm_guard', 'clm_audit', 'clm_audit_parts', 'tap']);
SELECT tables_are('public', ARRAY['encryption_keys', 'private_keys', 'certificate_requests', 'certificates',
    'certificate_revocations', 'key_rotation_history', 'secure_audit_log']);
SELECT views_are('public', ARRAY['active_certificates', 'expiring_certificates']);
SELECT has_table('clm_work', 'outbox', 'the outbox is no table of public');
SELECT is_partitioned('public', 'secure_audit_log', 'the audit log is partitioned');
SELECT extensions_are(ARRAY['plpgsql', 'uuid-ossp', 'pgcrypto', 'pgtap']);
SELECT col_type_is('public', t, 'id', 'uuid', t || '.id is a uuid')
FROM unnest(ARRAY['encryption_keys', 'private_keys', 'certificate_requests', 'certificates']) AS t;
SELECT col_not_null('public', t, 'organization_id', t || ' has its organization')
FROM unnest(ARRAY['encryption_keys', 'private_keys', 'certificate_requests', 'certificates',
                  'certificate_revocations', 'key_rotation_history', 'secure_audit_log']) AS t;
SELECT fk_ok('public', 'certificates', ARRAY['organization_id', 'request_id'],
             'public', 'certificate_requests', ARRAY['organization_id', 'id']);
SELECT fk_ok('public', 'certificates', ARRAY['organization_id', 'private_key_id'],
             'public', 'private_keys', ARRAY['organization_id', 'id']);
SELECT col_is_unique('public', 'certificate_requests', ARRAY['issuer_key_id', 'serial_number']);
SELECT col_is_unique('public', 'certificates', ARRAY['issuer_key_id', 'serial_number']);
SELECT index_is_unique('public', 'encryption_keys', 'encryption_keys_one_active_kek');

-- Whose it is.
SELECT db_owner_is(current_database(), 'clm_owner');
SELECT schema_owner_is(s, 'clm_owner')
FROM unnest(ARRAY['public', 'clm_meta', 'clm_work', 'clm_guard', 'clm_audit_parts']) AS s;
SELECT relation_owner_is('public', c.relname, 'clm_owner', c.relname || ' is the owner''s')
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v');
SELECT function_owner_is('clm_guard', 'ensure_audit_partitions', ARRAY['integer'], 'clm_owner');
SELECT is_definer('clm_guard', 'ensure_audit_partitions', ARRAY['integer']);
SELECT isnt_definer('clm_guard', 'refuse_change', ARRAY[]::name[]);
SELECT isnt_superuser(r, r || ' is no superuser')
FROM unnest(ARRAY['clm_owner', 'clm_migrator', 'clm_operator_secure', 'clm_auditor', 'clm_archiver']) AS r;
SELECT is_member_of('clm_owner', ARRAY['clm_migrator'], 'the migrator may become the owner');
SELECT isnt_member_of('clm_owner', ARRAY[r], r || ' may not become the owner')
FROM unnest(ARRAY['clm_operator_secure', 'clm_auditor', 'clm_archiver']) AS r;

-- Who may what.
SELECT database_privs_are(current_database(), r, ARRAY['CONNECT'])
FROM unnest(ARRAY['clm_operator_secure', 'clm_auditor', 'clm_archiver']) AS r;
SELECT schema_privs_are('public', r, ARRAY['USAGE'])
FROM unnest(ARRAY['clm_operator_secure', 'clm_auditor', 'clm_archiver']) AS r;
SELECT schema_privs_are('clm_audit_parts', r, ARRAY[]::text[])
FROM unnest(ARRAY['clm_operator_secure', 'clm_auditor', 'clm_archiver']) AS r;
SELECT table_privs_are('public', t, 'clm_operator_secure', ARRAY['SELECT'], t || ': the rest by column')
FROM unnest(ARRAY['encryption_keys', 'private_keys', 'certificate_requests', 'certificates',
                  'certificate_revocations', 'key_rotation_history', 'secure_audit_log']) AS t;
SELECT table_privs_are('clm_work', 'outbox', 'clm_operator_secure', ARRAY['SELECT', 'DELETE']);
SELECT table_privs_are('public', t, 'clm_archiver', ARRAY[]::text[], 'the archiver has no part in ' || t)
FROM unnest(ARRAY['encryption_keys', 'private_keys', 'certificate_requests', 'certificates']) AS t;
SELECT column_privs_are('public', 'private_keys', c, 'clm_auditor', ARRAY[]::text[])
FROM unnest(ARRAY['wrapped_dek', 'ciphertext']) AS c;
SELECT column_privs_are('public', 'encryption_keys', 'wrapped_key', 'clm_auditor', ARRAY[]::text[]);
SELECT column_privs_are('public', 'secure_audit_log', c, 'clm_operator_secure', ARRAY['SELECT'])
FROM unnest(ARRAY['id', 'occurred_at', 'txid', 'ledger_epoch']) AS c;
SELECT column_privs_are('public', 'certificate_requests', c, 'clm_operator_secure', ARRAY['SELECT', 'INSERT'],
                        c || ' is written once')
FROM unnest(ARRAY['tbs', 'serial_number', 'organization_id']) AS c;
SELECT function_privs_are('clm_guard', 'ensure_audit_partitions', ARRAY['integer'], r, ARRAY['EXECUTE'])
FROM unnest(ARRAY['clm_operator_secure']) AS r;
SELECT function_privs_are('clm_guard', 'ensure_audit_partitions', ARRAY['integer'], r, ARRAY[]::text[])
FROM unnest(ARRAY['clm_auditor', 'clm_archiver']) AS r;

-- Whose rows.
SELECT policies_are('public', t, ARRAY['tenant_isolation', 'operator_serves_all', 'auditor_reads_all'])
FROM unnest(ARRAY['encryption_keys', 'private_keys', 'certificate_requests', 'certificates',
                  'certificate_revocations', 'key_rotation_history']) AS t;
SELECT policies_are('public', 'secure_audit_log',
                    ARRAY['tenant_isolation', 'operator_serves_all', 'auditor_reads_all', 'archiver_reads_all']);
SELECT results_eq($$SELECT DISTINCT roles FROM pg_policies WHERE policyname = 'tenant_isolation'$$,
                  $$VALUES ('{public}'::name[])$$, 'tenant isolation binds everybody');
SELECT policy_roles_are('public', 'private_keys', 'operator_serves_all', ARRAY['clm_operator_secure']);
SELECT policy_cmd_is('public', 'private_keys', 'auditor_reads_all'::name, 'select');
SELECT is_empty(
    $$SELECT oid::regclass FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
      AND NOT (relrowsecurity AND relforcerowsecurity)$$,
    'row-level security binds the owner too');

-- What cannot be undone.
SELECT trigger_is('public', 'secure_audit_log', 'secure_audit_log_only_added', 'clm_guard', 'refuse_change');
SELECT trigger_is('public', 'secure_audit_log', 'secure_audit_log_not_emptied', 'clm_guard', 'refuse_change');
SELECT trigger_is('public', 'encryption_keys', 'encryption_keys_state', 'clm_guard', 'check_key_state');
INSERT INTO secure_audit_log (organization_id, actor_type, actor_id, action, object_type, object_id)
VALUES (gen_random_uuid(), 'operator', 'pgtap', 'certificate.issue', 'certificate', 'x');
SELECT throws_ok(statement, '42501', NULL, statement)
FROM unnest(ARRAY['UPDATE secure_audit_log SET actor_id = ''x''', 'DELETE FROM secure_audit_log',
                  'TRUNCATE secure_audit_log']) AS statement;
SELECT throws_ok(format('%s clm_audit_parts.%I', act, tablename), '42501', NULL, act || ' ' || tablename)
FROM pg_tables, unnest(ARRAY['TRUNCATE']) AS act WHERE schemaname = 'clm_audit_parts';
INSERT INTO encryption_keys (id, organization_id, purpose, algorithm, label)
VALUES ('00000000-0000-0000-0000-000000000001', gen_random_uuid(), 'kek', 'AES-256', 'kek');
SELECT throws_ok($$UPDATE encryption_keys SET state = 'suspended' WHERE label = 'kek'$$, '23514',
                 'a key that is generating cannot become suspended');

SELECT * FROM finish();
ROLLBACK;
