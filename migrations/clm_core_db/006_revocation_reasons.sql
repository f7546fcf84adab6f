-- That a key was compromised may be found after its certificate was revoked for another reason.

BEGIN;

SET LOCAL ROLE clm_owner;
SET LOCAL search_path = pg_catalog, public;

GRANT UPDATE (reason_code, invalidity_date, recorded_at) ON clm_status.revocations TO clm_operator_core;

INSERT INTO clm_meta.schema_migrations (version, name) VALUES (6, '006_revocation_reasons')
ON CONFLICT DO NOTHING;

COMMIT;
