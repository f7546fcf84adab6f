-- clm_secure_db: keys, requests, certificates and revocations, and the record of every act on them.
--
-- Private keys and data-encryption keys are here in wrapped form only; CA keys are in the HSM and have a row here.
-- Nothing refers to clm_core_db. Applied by `clm migrate` or by `psql -f`; a landed file is never edited.

BEGIN;

SET LOCAL search_path = public;

CREATE EXTENSION IF NOT EXISTS "uuid-ossp";
CREATE EXTENSION IF NOT EXISTS pgcrypto;

CREATE SCHEMA IF NOT EXISTS clm_meta;
CREATE TABLE IF NOT EXISTS clm_meta.schema_migrations (
    version int PRIMARY KEY CHECK (version > 0),
    name text NOT NULL UNIQUE,
    sha256 bytea CHECK (octet_length(sha256) = 32),
    applied_at timestamptz NOT NULL DEFAULT now(),
    applied_by text NOT NULL DEFAULT session_user,
    duration_ms int CHECK (duration_ms >= 0)
);

-- Partitions of the audit log. They are made ahead at run time; without one an act cannot be recorded and so fails.
CREATE SCHEMA IF NOT EXISTS clm_audit_parts;

CREATE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := pg_catalog.now();
    RETURN NEW;
END
$$;

-- ---------------------------------------------------------------------------------------------- tables

-- A key's row comes before the key: what is in the HSM without a row is not ours.
CREATE TABLE encryption_keys (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL,
    cluster_id uuid,
    resource_uid uuid,
    namespace text,
    name text,
    purpose text NOT NULL CHECK (purpose IN ('ca-signing', 'kek', 'audit-sealing', 'subject-shred', 'requester-mac')),
    algorithm text NOT NULL CHECK (algorithm <> ''),
    version int NOT NULL DEFAULT 1 CHECK (version > 0),
    label text NOT NULL CHECK (label <> ''),
    state text NOT NULL DEFAULT 'generating' CHECK (
        state IN ('generating', 'active', 'suspended', 'deactivated', 'compromised', 'destroyed')),
    state_reason text,
    token_label text,
    token_serial text,
    token_uri text,
    spki bytea,
    spki_sha256 bytea CHECK (octet_length(spki_sha256) = 32),
    check_value bytea CHECK (octet_length(check_value) > 0),
    wrap_algorithm text,
    wrapping_key_id uuid REFERENCES encryption_keys (id),
    wrapped_key bytea CHECK (octet_length(wrapped_key) > 32),
    subject_reference text,
    attributes jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(attributes) = 'object'),
    attestation bytea,
    activated_at timestamptz,
    suspended_at timestamptz,
    deactivated_at timestamptz,
    compromised_at timestamptz,
    destroyed_at timestamptz,
    oup_ends_at timestamptz,
    rup_ends_at timestamptz,
    legal_hold boolean NOT NULL DEFAULT false,
    rotated_from uuid REFERENCES encryption_keys (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    UNIQUE (organization_id, id),
    CONSTRAINT encryption_keys_owner_whole CHECK (num_nonnulls(cluster_id, resource_uid, namespace, name) IN (0, 4)),
    CONSTRAINT encryption_keys_spki_hashed CHECK (
        num_nonnulls(spki, spki_sha256) = 0 OR (num_nonnulls(spki, spki_sha256) = 2 AND spki_sha256 = sha256(spki))),
    -- An active key can be proven to be the recorded one: in the token by its public key or check value, or by opening.
    CONSTRAINT encryption_keys_active_identified CHECK (
        state <> 'active'
        OR (token_serial IS NOT NULL AND num_nonnulls(spki_sha256, check_value) > 0)
        OR (purpose IN ('subject-shred', 'requester-mac') AND num_nulls(wrapping_key_id, wrapped_key) = 0)),
    CONSTRAINT encryption_keys_destroyed_gone CHECK (
        state <> 'destroyed' OR (destroyed_at IS NOT NULL AND wrapped_key IS NULL)),
    CONSTRAINT encryption_keys_subject_named CHECK ((purpose = 'subject-shred') = (subject_reference IS NOT NULL)),
    CONSTRAINT encryption_keys_periods CHECK (
        oup_ends_at > activated_at AND rup_ends_at >= coalesce(oup_ends_at, rup_ends_at)),
    CONSTRAINT encryption_keys_not_its_own CHECK (id <> wrapping_key_id AND id <> rotated_from)
);

-- fillfactor: wrapping again rewrites every row. toast_tuple_target: an RSA key stays in its row, uncompressed.
CREATE TABLE private_keys (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL,
    -- Plain, not with the organization: key-encryption keys belong to the system organization.
    encryption_key_id uuid NOT NULL REFERENCES encryption_keys (id),
    algorithm text NOT NULL CHECK (algorithm <> ''),
    wrap_algorithm text NOT NULL DEFAULT 'aes-256-gcm' CHECK (wrap_algorithm IN ('aes-256-gcm')),
    wrapped_dek bytea CHECK (octet_length(wrapped_dek) > 32),
    ciphertext bytea CHECK (octet_length(ciphertext) > 28),
    spki_sha256 bytea NOT NULL CHECK (octet_length(spki_sha256) = 32),
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'superseded', 'compromised', 'destroyed')),
    legal_hold boolean NOT NULL DEFAULT false,
    rewrapped_at timestamptz,
    compromised_at timestamptz,
    destroyed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organization_id, id),
    -- Destroyed means gone, and what is gone counts as destroyed. There is no soft delete of a key.
    CONSTRAINT private_keys_destroyed_gone CHECK (
        num_nonnulls(wrapped_dek, ciphertext) = CASE WHEN state = 'destroyed' THEN 0 ELSE 2 END),
    CONSTRAINT private_keys_destroyed_at CHECK ((state = 'destroyed') = (destroyed_at IS NOT NULL))
) WITH (fillfactor = 85, toast_tuple_target = 8160);

-- The intent: what will be signed, to the byte, written before it is signed.
CREATE TABLE certificate_requests (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL,
    cluster_id uuid NOT NULL,
    resource_uid uuid NOT NULL,
    namespace text NOT NULL CHECK (namespace <> ''),
    name text NOT NULL CHECK (name <> ''),
    revision int NOT NULL CHECK (revision > 0),
    generation bigint NOT NULL CHECK (generation >= 0),
    spec_hash bytea NOT NULL CHECK (octet_length(spec_hash) = 32),
    policy_name text NOT NULL,
    policy_uid uuid,
    policy_generation bigint,
    -- The issuer may belong to another organization, so these two are plain.
    issuer_key_id uuid NOT NULL REFERENCES encryption_keys (id),
    issuer_certificate_id uuid,
    subject_key_id uuid REFERENCES encryption_keys (id),
    private_key_id uuid,
    csr bytea,
    serial_number bytea NOT NULL CHECK (
        octet_length(serial_number) BETWEEN 8 AND 20
        AND (octet_length(serial_number) < 20 OR get_byte(serial_number, 0) < 128)),
    tbs bytea NOT NULL CHECK (octet_length(tbs) > 0),
    signature_algorithm text NOT NULL CHECK (signature_algorithm <> ''),
    not_before timestamptz NOT NULL,
    not_after timestamptz NOT NULL,
    common_name text,
    sans jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(sans) = 'array'),
    is_ca boolean NOT NULL DEFAULT false,
    reason text NOT NULL CHECK (
        reason IN ('initial', 'spec-changed', 'renewal', 're-key', 'issuer-changed', 'manual')),
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'issued', 'superseded', 'failed')),
    requested_by jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(requested_by) = 'object'),
    approval_instance_id uuid,
    failure_reason text,
    issued_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    UNIQUE (organization_id, id),
    -- Two workers cannot both get past the intent, and no issuer uses a serial twice (RFC 5280 4.1.2.2).
    UNIQUE (cluster_id, resource_uid, revision),
    UNIQUE (issuer_key_id, serial_number),
    FOREIGN KEY (organization_id, private_key_id) REFERENCES private_keys (organization_id, id),
    CONSTRAINT certificate_requests_validity CHECK (not_before < not_after),
    CONSTRAINT certificate_requests_one_key CHECK (num_nonnulls(subject_key_id, private_key_id) <= 1),
    CONSTRAINT certificate_requests_issued_at CHECK (state <> 'issued' OR issued_at IS NOT NULL)
) WITH (fillfactor = 85, toast_tuple_target = 8160);

CREATE TABLE certificates (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    request_id uuid NOT NULL UNIQUE,
    organization_id uuid NOT NULL,
    cluster_id uuid NOT NULL,
    resource_uid uuid NOT NULL,
    namespace text NOT NULL CHECK (namespace <> ''),
    name text NOT NULL CHECK (name <> ''),
    revision int NOT NULL CHECK (revision > 0),
    spec_hash bytea NOT NULL CHECK (octet_length(spec_hash) = 32),
    issuer_key_id uuid NOT NULL REFERENCES encryption_keys (id),
    issuer_certificate_id uuid REFERENCES certificates (id),
    subject_key_id uuid REFERENCES encryption_keys (id),
    private_key_id uuid,
    serial_number bytea NOT NULL CHECK (
        octet_length(serial_number) BETWEEN 8 AND 20
        AND (octet_length(serial_number) < 20 OR get_byte(serial_number, 0) < 128)),
    certificate bytea NOT NULL CHECK (octet_length(certificate) > 0),
    fingerprint_sha256 bytea NOT NULL UNIQUE,
    spki_sha256 bytea NOT NULL CHECK (octet_length(spki_sha256) = 32),
    subject text NOT NULL,
    issuer text NOT NULL,
    common_name text,
    sans jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(sans) = 'array'),
    subject_key_identifier bytea NOT NULL CHECK (octet_length(subject_key_identifier) > 0),
    authority_key_identifier bytea CHECK (octet_length(authority_key_identifier) > 0),
    not_before timestamptz NOT NULL,
    not_after timestamptz NOT NULL,
    is_ca boolean NOT NULL DEFAULT false,
    path_length int CHECK (path_length >= 0),
    secret_name text,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'superseded', 'revoked')),
    -- Plain: an object that moved to a Policy of another organization has its next certificate there.
    superseded_by uuid REFERENCES certificates (id),
    published_at timestamptz,
    renewal_due_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    UNIQUE (organization_id, id),
    UNIQUE (cluster_id, resource_uid, revision),
    UNIQUE (issuer_key_id, serial_number),
    FOREIGN KEY (organization_id, request_id) REFERENCES certificate_requests (organization_id, id),
    FOREIGN KEY (organization_id, private_key_id) REFERENCES private_keys (organization_id, id),
    CONSTRAINT certificates_fingerprint CHECK (fingerprint_sha256 = sha256(certificate)),
    CONSTRAINT certificates_validity CHECK (not_before < not_after),
    CONSTRAINT certificates_one_key CHECK (num_nonnulls(subject_key_id, private_key_id) <= 1),
    CONSTRAINT certificates_path_length CHECK (is_ca OR path_length IS NULL),
    CONSTRAINT certificates_not_superseded_by_itself CHECK (id <> superseded_by)
) WITH (fillfactor = 85, toast_tuple_target = 8160);

ALTER TABLE certificate_requests
    ADD FOREIGN KEY (issuer_certificate_id) REFERENCES certificates (id);

CREATE TABLE certificate_revocations (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL,
    certificate_id uuid NOT NULL UNIQUE,
    issuer_key_id uuid NOT NULL REFERENCES encryption_keys (id),
    serial_number bytea NOT NULL CHECK (octet_length(serial_number) BETWEEN 8 AND 20),
    reason_code int NOT NULL DEFAULT 0 CHECK (reason_code IN (0, 1, 2, 3, 4, 5, 6, 8, 9, 10)),
    revoked_at timestamptz NOT NULL DEFAULT now(),
    invalidity_date timestamptz,
    requested_by jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(requested_by) = 'object'),
    approval_instance_id uuid,
    comment text,
    crl_shard int NOT NULL DEFAULT 0 CHECK (crl_shard >= 0),
    published_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (issuer_key_id, serial_number),
    FOREIGN KEY (organization_id, certificate_id) REFERENCES certificates (organization_id, id)
);

CREATE TABLE key_rotation_history (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL,
    cluster_id uuid,
    resource_uid uuid,
    name text,
    run int NOT NULL DEFAULT 1 CHECK (run > 0),
    target_kind text NOT NULL CHECK (
        target_kind IN ('key-encryption-key', 'certificate-authority', 'certificates', 'audit-sealing-key')),
    target jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(target) = 'object'),
    strategy text CHECK (strategy IN ('re-key', 'renew', 're-wrap')),
    from_key_id uuid REFERENCES encryption_keys (id),
    to_key_id uuid REFERENCES encryption_keys (id),
    state text NOT NULL DEFAULT 'pending' CHECK (
        state IN ('pending', 'awaiting-approval', 'running', 'verifying', 'retiring', 'succeeded', 'failed', 'cancelled')),
    dry_run boolean NOT NULL DEFAULT false,
    total_count bigint NOT NULL DEFAULT 0 CHECK (total_count >= 0),
    done_count bigint NOT NULL DEFAULT 0 CHECK (done_count >= 0),
    failed_count bigint NOT NULL DEFAULT 0 CHECK (failed_count >= 0),
    remaining_count bigint CHECK (remaining_count >= 0),
    cursor jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(cursor) = 'object'),
    requested_by jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(requested_by) = 'object'),
    approvals jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(approvals) = 'array'),
    approval_instance_id uuid,
    report jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(report) = 'object'),
    failure_reason text,
    started_at timestamptz,
    progressed_at timestamptz,
    finished_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (cluster_id, resource_uid, run),
    CONSTRAINT key_rotation_history_order CHECK (finished_at >= started_at),
    CONSTRAINT key_rotation_history_finished CHECK (
        (state IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CONSTRAINT key_rotation_history_other_key CHECK (from_key_id <> to_key_id)
);

-- The primary key holds the time because a partitioned table's must. No default partition: a month that is missing
-- makes the act fail instead of going unrecorded.
CREATE TABLE secure_audit_log (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    organization_id uuid NOT NULL,
    ledger_epoch int NOT NULL DEFAULT 1 CHECK (ledger_epoch > 0),
    txid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    actor_type text NOT NULL CHECK (actor_type IN ('operator', 'user', 'service', 'system')),
    actor_id text NOT NULL,
    on_behalf_of text,
    auth_method text,
    action text NOT NULL CHECK (action ~ '^[a-z][a-z0-9_-]*([.][a-z][a-z0-9_-]*)+$'),
    object_type text NOT NULL,
    object_id text NOT NULL,
    outcome text NOT NULL DEFAULT 'success' CHECK (outcome IN ('success', 'failure', 'denied')),
    reason text,
    origin text,
    source_ip inet,
    user_agent text,
    request_id text,
    software_version text,
    details jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(details) = 'object'),
    details_canonical bytea NOT NULL DEFAULT '\x7b7d',
    PRIMARY KEY (id, occurred_at)
) PARTITION BY RANGE (occurred_at);

-- ---------------------------------------------------------------------------------------------- indexes

CREATE UNIQUE INDEX encryption_keys_owned_version ON encryption_keys
    (organization_id, purpose, cluster_id, resource_uid, version)
    WHERE purpose = 'ca-signing' AND resource_uid IS NOT NULL AND deleted_at IS NULL;
CREATE UNIQUE INDEX encryption_keys_organization_version ON encryption_keys (organization_id, purpose, version)
    WHERE purpose IN ('kek', 'audit-sealing', 'requester-mac') AND deleted_at IS NULL;
CREATE UNIQUE INDEX encryption_keys_subject_version ON encryption_keys (organization_id, subject_reference, version)
    WHERE purpose = 'subject-shred' AND deleted_at IS NULL;
-- What is encrypted anew is encrypted under one key; a rotation deactivates the old one in the same transaction.
CREATE UNIQUE INDEX encryption_keys_one_active_kek ON encryption_keys (organization_id)
    WHERE purpose = 'kek' AND state = 'active' AND deleted_at IS NULL;
CREATE UNIQUE INDEX encryption_keys_spki_sha256 ON encryption_keys (spki_sha256) WHERE spki_sha256 IS NOT NULL;
CREATE INDEX encryption_keys_owner_name ON encryption_keys (cluster_id, namespace, name) WHERE name IS NOT NULL;
CREATE INDEX encryption_keys_state ON encryption_keys (organization_id, purpose, state) WHERE deleted_at IS NULL;
CREATE INDEX encryption_keys_oup_ends_at ON encryption_keys (oup_ends_at) WHERE state = 'active';
CREATE INDEX encryption_keys_rotated_from ON encryption_keys (rotated_from) WHERE rotated_from IS NOT NULL;
CREATE INDEX encryption_keys_wrapping_key_id ON encryption_keys (wrapping_key_id) WHERE wrapping_key_id IS NOT NULL;

-- What a rotation of the key-encryption key has yet to wrap again.
CREATE INDEX private_keys_under_key ON private_keys (encryption_key_id, id) WHERE state <> 'destroyed';

CREATE INDEX certificate_requests_pending ON certificate_requests (created_at) WHERE state = 'pending';
CREATE INDEX certificate_requests_object_name ON certificate_requests (cluster_id, namespace, name);
CREATE INDEX certificate_requests_issuer_certificate_id ON certificate_requests (issuer_certificate_id)
    WHERE issuer_certificate_id IS NOT NULL;
CREATE INDEX certificate_requests_subject_key_id ON certificate_requests (subject_key_id)
    WHERE subject_key_id IS NOT NULL;
CREATE INDEX certificate_requests_private_key_id ON certificate_requests (private_key_id)
    WHERE private_key_id IS NOT NULL;

CREATE INDEX certificates_object_name ON certificates (cluster_id, namespace, name);
CREATE INDEX certificates_not_after ON certificates (organization_id, not_after);
CREATE INDEX certificates_common_name ON certificates (organization_id, common_name);
CREATE INDEX certificates_renewal_due_at ON certificates (renewal_due_at) WHERE state = 'active';
CREATE INDEX certificates_spki_sha256 ON certificates (spki_sha256);
CREATE INDEX certificates_issuer_certificate_id ON certificates (issuer_certificate_id)
    WHERE issuer_certificate_id IS NOT NULL;
CREATE INDEX certificates_subject_key_id ON certificates (subject_key_id) WHERE subject_key_id IS NOT NULL;
CREATE INDEX certificates_private_key_id ON certificates (private_key_id) WHERE private_key_id IS NOT NULL;
CREATE INDEX certificates_superseded_by ON certificates (superseded_by) WHERE superseded_by IS NOT NULL;

CREATE INDEX certificate_revocations_issuer ON certificate_revocations (issuer_key_id, revoked_at);
CREATE INDEX certificate_revocations_organization ON certificate_revocations (organization_id, revoked_at);
CREATE INDEX certificate_revocations_unpublished ON certificate_revocations (issuer_key_id, crl_shard)
    WHERE published_at IS NULL;

CREATE INDEX key_rotation_history_organization ON key_rotation_history (organization_id, created_at);
CREATE INDEX key_rotation_history_unfinished ON key_rotation_history (created_at) WHERE finished_at IS NULL;
CREATE UNIQUE INDEX key_rotation_history_one_kek_run ON key_rotation_history (organization_id)
    WHERE target_kind = 'key-encryption-key' AND state IN ('running', 'verifying') AND NOT dry_run;
CREATE INDEX key_rotation_history_from_key_id ON key_rotation_history (from_key_id) WHERE from_key_id IS NOT NULL;
CREATE INDEX key_rotation_history_to_key_id ON key_rotation_history (to_key_id) WHERE to_key_id IS NOT NULL;

CREATE INDEX secure_audit_log_txid ON secure_audit_log (txid);
CREATE INDEX secure_audit_log_organization ON secure_audit_log (organization_id, occurred_at);
CREATE INDEX secure_audit_log_object ON secure_audit_log (object_type, object_id);
CREATE INDEX secure_audit_log_action ON secure_audit_log (action, occurred_at);

-- ---------------------------------------------------------------------------------------------- views

-- security_invoker: the caller's row-level security applies, not the owner's.
CREATE VIEW active_certificates WITH (security_invoker = true) AS
SELECT id, organization_id, cluster_id, namespace, name, revision, serial_number, fingerprint_sha256, subject, issuer,
       common_name, sans, is_ca, not_before, not_after, renewal_due_at, secret_name, published_at
FROM certificates
WHERE state = 'active' AND deleted_at IS NULL AND not_before <= now() AND not_after > now();

CREATE VIEW expiring_certificates WITH (security_invoker = true) AS
SELECT id, organization_id, cluster_id, namespace, name, revision, serial_number, subject, common_name, is_ca,
       not_after, renewal_due_at, not_after - now() AS remaining
FROM certificates
WHERE state = 'active' AND deleted_at IS NULL AND not_after > now() AND not_after <= now() + interval '30 days';

-- ---------------------------------------------------------------------------------------------- triggers

CREATE TRIGGER encryption_keys_updated_at BEFORE UPDATE ON encryption_keys
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER private_keys_updated_at BEFORE UPDATE ON private_keys
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER certificates_updated_at BEFORE UPDATE ON certificates
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER certificate_requests_updated_at BEFORE UPDATE ON certificate_requests
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();

-- ---------------------------------------------------------------------------------------------- comments

COMMENT ON SCHEMA clm_meta IS 'Which migrations this database has had.';
COMMENT ON SCHEMA clm_audit_parts IS 'Monthly partitions of the audit log. Nobody but the owner needs to reach them.';
COMMENT ON TABLE clm_meta.schema_migrations IS 'One row a migration that has been applied.';
COMMENT ON COLUMN clm_meta.schema_migrations.version IS 'Number that the file''s name begins with.';
COMMENT ON COLUMN clm_meta.schema_migrations.name IS 'File name without .sql.';
COMMENT ON COLUMN clm_meta.schema_migrations.sha256 IS 'SHA-256 of the file; null until a runner has seen what psql applied.';
COMMENT ON COLUMN clm_meta.schema_migrations.applied_at IS 'Start of the transaction that applied it.';
COMMENT ON COLUMN clm_meta.schema_migrations.applied_by IS 'Database user who applied it.';
COMMENT ON COLUMN clm_meta.schema_migrations.duration_ms IS 'How long it took, in milliseconds; null when psql applied it.';
COMMENT ON FUNCTION set_updated_at() IS 'Keeps updated_at; the only trigger function of this schema.';

COMMENT ON TABLE encryption_keys IS 'Every key that protects others: CA and sealing keys in the HSM, key-encryption keys, shreddable subject keys. The states are those of NIST SP 800-57 part 1.';
COMMENT ON TABLE private_keys IS 'Leaf private keys: encrypted under a data-encryption key each, that one under a key-encryption key in the HSM.';
COMMENT ON TABLE certificate_requests IS 'The intent: what will be signed, to the byte. Never dropped; what is pending is signed and recorded.';
COMMENT ON TABLE certificates IS 'Every certificate that was signed, leaf and CA.';
COMMENT ON TABLE certificate_revocations IS 'Revocations, one a certificate, as they go into CRLs (RFC 5280 5) and OCSP.';
COMMENT ON TABLE key_rotation_history IS 'One row a run of a KeyRotation: what was replaced by what, how far it got, who asked and who approved.';
COMMENT ON TABLE secure_audit_log IS 'Every act on keys and certificates. Rows are only added; a seal over txid ranges proves that none was changed.';
COMMENT ON VIEW active_certificates IS 'Certificates that are valid now and stand for their object.';
COMMENT ON VIEW expiring_certificates IS 'Active certificates that end within 30 days.';

COMMENT ON COLUMN encryption_keys.id IS 'Also the CKA_ID of the key in the token.';
COMMENT ON COLUMN encryption_keys.namespace IS 'Namespace of the Certificate that owns this CA key.';
COMMENT ON COLUMN encryption_keys.name IS 'Name of the Certificate that owns this CA key.';
COMMENT ON COLUMN encryption_keys.resource_uid IS 'metadata.uid of the Certificate that owns this CA key.';
COMMENT ON COLUMN encryption_keys.purpose IS 'The one thing that it is used for (SP 800-57 part 1, 5.2).';
COMMENT ON COLUMN encryption_keys.algorithm IS 'For example RSA-3072, ECDSA-256, Ed25519, AES-256.';
COMMENT ON COLUMN encryption_keys.version IS 'Counts the keys of one owner and purpose from 1.';
COMMENT ON COLUMN encryption_keys.label IS 'CKA_LABEL, for people; never used to find the key.';
COMMENT ON COLUMN encryption_keys.state IS 'generating: may be cleaned and made again. active: never made again. suspended, deactivated: opens and verifies only. compromised. destroyed.';
COMMENT ON COLUMN encryption_keys.state_reason IS 'Why it came into its state.';
COMMENT ON COLUMN encryption_keys.token_label IS 'Label of the token that holds it.';
COMMENT ON COLUMN encryption_keys.token_serial IS 'Serial number of the token that holds it.';
COMMENT ON COLUMN encryption_keys.token_uri IS 'Where it is (RFC 7512), without any PIN.';
COMMENT ON COLUMN encryption_keys.spki IS 'SubjectPublicKeyInfo, DER.';
COMMENT ON COLUMN encryption_keys.check_value IS 'What a secret key must decrypt to be the recorded one.';
COMMENT ON COLUMN encryption_keys.wrap_algorithm IS 'How this key wraps others, or was itself wrapped.';
COMMENT ON COLUMN encryption_keys.wrapping_key_id IS 'Key that wrapped_key is wrapped under; null for a key in the token.';
COMMENT ON COLUMN encryption_keys.wrapped_key IS 'The key itself, wrapped, where it does not live in the token.';
COMMENT ON COLUMN encryption_keys.subject_reference IS 'Pseudonym of the person whose data a subject-shred key encrypts.';
COMMENT ON COLUMN encryption_keys.attributes IS 'PKCS#11 attributes as read back from the token (sensitive, extractable, local ...).';
COMMENT ON COLUMN encryption_keys.attestation IS 'What the HSM signed about the making of the key, as the vendor gives it.';
COMMENT ON COLUMN encryption_keys.activated_at IS 'When it became active.';
COMMENT ON COLUMN encryption_keys.suspended_at IS 'When it was last suspended.';
COMMENT ON COLUMN encryption_keys.deactivated_at IS 'When it stopped protecting anything new.';
COMMENT ON COLUMN encryption_keys.oup_ends_at IS 'End of the originator-usage period (SP 800-57 part 1, 5.3.4).';
COMMENT ON COLUMN encryption_keys.rup_ends_at IS 'End of the recipient-usage period (SP 800-57 part 1, 5.3.4).';
COMMENT ON COLUMN encryption_keys.rotated_from IS 'Key that this one takes over from.';

COMMENT ON COLUMN private_keys.encryption_key_id IS 'Key-encryption key that wrapped_dek is under.';
COMMENT ON COLUMN private_keys.algorithm IS 'For example RSA-3072, ECDSA-256, Ed25519.';
COMMENT ON COLUMN private_keys.wrap_algorithm IS 'How both layers are encrypted.';
COMMENT ON COLUMN private_keys.wrapped_dek IS 'Data-encryption key under the key-encryption key; its associated data name this row, its organization and that key.';
COMMENT ON COLUMN private_keys.ciphertext IS 'PKCS#8 under the data-encryption key: nonce, ciphertext, tag; its associated data name this row and its organization.';
COMMENT ON COLUMN private_keys.state IS 'active, superseded by another key, compromised, or destroyed (and then empty).';
COMMENT ON COLUMN private_keys.rewrapped_at IS 'When the data-encryption key was last wrapped again.';

COMMENT ON COLUMN certificate_requests.id IS 'UUIDv5 of cluster, object and revision; also the id of the certificate.';
COMMENT ON COLUMN certificate_requests.generation IS 'metadata.generation that was decided on.';
COMMENT ON COLUMN certificate_requests.policy_uid IS 'metadata.uid of the Policy that allowed it.';
COMMENT ON COLUMN certificate_requests.private_key_id IS 'Stored leaf key; null for a request with a CSR and for a key in the token.';
COMMENT ON COLUMN certificate_requests.csr IS 'PKCS#10 request, DER, where the key never comes here.';
COMMENT ON COLUMN certificate_requests.tbs IS 'The to-be-signed bytes, DER: what is signed however often it takes.';
COMMENT ON COLUMN certificate_requests.signature_algorithm IS 'Name of the algorithm that tbs names.';
COMMENT ON COLUMN certificate_requests.reason IS 'Why this revision is made.';
COMMENT ON COLUMN certificate_requests.state IS 'pending: to be signed. issued. superseded: signed for a state that has passed, revoked. failed.';
COMMENT ON COLUMN certificate_requests.issued_at IS 'When the signed certificate was recorded.';

COMMENT ON COLUMN certificates.id IS 'The id of its request, and of its row in clm_core_db.';
COMMENT ON COLUMN certificates.request_id IS 'The intent that it was signed for.';
COMMENT ON COLUMN certificates.private_key_id IS 'Stored leaf key, where there is one.';
COMMENT ON COLUMN certificates.certificate IS 'The certificate, DER.';
COMMENT ON COLUMN certificates.subject IS 'Subject, as RFC 4514 writes it.';
COMMENT ON COLUMN certificates.issuer IS 'Issuer, as RFC 4514 writes it.';
COMMENT ON COLUMN certificates.subject_key_identifier IS 'Subject key identifier (RFC 5280 4.2.1.2).';
COMMENT ON COLUMN certificates.authority_key_identifier IS 'Authority key identifier (RFC 5280 4.2.1.1).';
COMMENT ON COLUMN certificates.path_length IS 'pathLenConstraint of a CA (RFC 5280 4.2.1.9).';
COMMENT ON COLUMN certificates.state IS 'active, superseded by a newer one of its object, or revoked. Expiry is in not_after.';
COMMENT ON COLUMN certificates.superseded_by IS 'The newer certificate of its object.';

COMMENT ON COLUMN certificate_revocations.certificate_id IS 'The certificate that is revoked.';
COMMENT ON COLUMN certificate_revocations.reason_code IS 'CRLReason (RFC 5280 5.3.1); 7 is not used.';
COMMENT ON COLUMN certificate_revocations.revoked_at IS 'revocationDate of the CRL entry.';
COMMENT ON COLUMN certificate_revocations.invalidity_date IS 'When the key is thought to have been lost (RFC 5280 5.3.2).';
COMMENT ON COLUMN certificate_revocations.comment IS 'What the requester said.';
COMMENT ON COLUMN certificate_revocations.crl_shard IS 'Which of the issuer''s partitioned CRLs carries it.';

COMMENT ON COLUMN key_rotation_history.name IS 'Name of the KeyRotation.';
COMMENT ON COLUMN key_rotation_history.resource_uid IS 'metadata.uid of the KeyRotation.';
COMMENT ON COLUMN key_rotation_history.run IS 'Counts the runs of one KeyRotation from 1.';
COMMENT ON COLUMN key_rotation_history.target_kind IS 'What is rotated.';
COMMENT ON COLUMN key_rotation_history.target IS 'spec.target of the KeyRotation as it was at the start.';
COMMENT ON COLUMN key_rotation_history.strategy IS 're-key: a new key. renew: the same key, longer life. re-wrap: the same data-encryption keys under a new key.';
COMMENT ON COLUMN key_rotation_history.from_key_id IS 'Key that is taken out of use.';
COMMENT ON COLUMN key_rotation_history.to_key_id IS 'Key that takes over.';
COMMENT ON COLUMN key_rotation_history.state IS 'Phase of the run.';
COMMENT ON COLUMN key_rotation_history.dry_run IS 'Only counted and listed.';
COMMENT ON COLUMN key_rotation_history.total_count IS 'How many rows or certificates depend on the old key at the start.';
COMMENT ON COLUMN key_rotation_history.done_count IS 'How many were moved to the new key.';
COMMENT ON COLUMN key_rotation_history.failed_count IS 'How many could not be moved.';
COMMENT ON COLUMN key_rotation_history.remaining_count IS 'How many still depend on the old key, counted by the verification.';
COMMENT ON COLUMN key_rotation_history.cursor IS 'Where to resume.';
COMMENT ON COLUMN key_rotation_history.approvals IS 'Who approved it, when and with what comment.';
COMMENT ON COLUMN key_rotation_history.report IS 'What the run found and did, for the auditor.';
COMMENT ON COLUMN key_rotation_history.started_at IS 'When it first ran.';
COMMENT ON COLUMN key_rotation_history.progressed_at IS 'When it last got further.';
COMMENT ON COLUMN key_rotation_history.finished_at IS 'When it succeeded, failed or was cancelled.';

COMMENT ON COLUMN expiring_certificates.remaining IS 'Time until it ends.';

-- What means the same wherever it stands is said once.
DO $$
DECLARE
    target record;
BEGIN
    FOR target IN
        SELECT c.oid::regclass AS relation, a.attname, meaning.says
        FROM (VALUES
            ('id', 'Unique id; made by the application where it must be repeatable.'),
            ('organization_id', 'Organization (tenant) that the row belongs to: UUIDv5 of its name.'),
            ('cluster_id', 'Cluster that the object lives in.'),
            ('resource_uid', 'metadata.uid of the Certificate.'),
            ('namespace', 'Namespace of the Certificate.'),
            ('name', 'Name of the Certificate.'),
            ('revision', 'Counts the certificates of one object from 1.'),
            ('spec_hash', 'SHA-256 of the part of the spec that the certificate depends on.'),
            ('policy_name', 'Policy that allowed it.'),
            ('policy_generation', 'metadata.generation of that Policy.'),
            ('issuer_key_id', 'Key in the HSM that signs it; may belong to another organization.'),
            ('issuer_certificate_id', 'Certificate of the issuer; null where it is self-signed.'),
            ('subject_key_id', 'Key in the HSM that it certifies, of a CA.'),
            ('serial_number', 'Serial number, big-endian without sign; unique for its issuer key.'),
            ('fingerprint_sha256', 'SHA-256 of the certificate''s DER.'),
            ('spki_sha256', 'SHA-256 of the SubjectPublicKeyInfo.'),
            ('subject', 'Subject, as RFC 4514 writes it.'),
            ('issuer', 'Issuer, as RFC 4514 writes it.'),
            ('common_name', 'Common name of the subject.'),
            ('sans', 'Subject alternative names: an array of {type, value}.'),
            ('not_before', 'Start of the validity.'),
            ('not_after', 'End of the validity.'),
            ('is_ca', 'Whether it is a CA certificate.'),
            ('secret_name', 'Secret that it is published in.'),
            ('published_at', 'When everybody who must know it knew it.'),
            ('renewal_due_at', 'When it should be renewed.'),
            ('requested_by', 'Who asked: username, groups, uid.'),
            ('approval_instance_id', 'Approval workflow in clm_core_db; no reference across databases.'),
            ('failure_reason', 'Why it failed.'),
            ('legal_hold', 'Must not be erased while this is set (GDPR article 17(3)).'),
            ('compromised_at', 'When it was reported compromised.'),
            ('destroyed_at', 'When the key material was destroyed.'),
            ('created_at', 'When the row was written.'),
            ('updated_at', 'When the row was last changed; kept by a trigger.'),
            ('deleted_at', 'Soft delete: when the row stopped to count.'),
            ('occurred_at', 'When it happened, by the clock of the database.'),
            ('ledger_epoch', 'Goes up when the database is restored: transaction ids begin anew.'),
            ('txid', 'Transaction that wrote it: seals cover ranges of these.'),
            ('actor_type', 'What kind of actor.'),
            ('actor_id', 'Pseudonymous id of the actor.'),
            ('on_behalf_of', 'For whom the actor acted.'),
            ('auth_method', 'How the actor was authenticated.'),
            ('action', 'What was done, dotted: object kind and verb.'),
            ('object_type', 'Kind of the object that it was done to.'),
            ('object_id', 'Id of that object.'),
            ('outcome', 'How it ended.'),
            ('reason', 'Why it ended like that.'),
            ('origin', 'Process that recorded it, such as its pod.'),
            ('source_ip', 'Address that the request came from.'),
            ('user_agent', 'Client that the request came from.'),
            ('request_id', 'Id that joins the records of one request.'),
            ('software_version', 'Version of the software that recorded it.'),
            ('details', 'What else is to be known, for queries.'),
            ('details_canonical', 'The same as RFC 8785 writes it: the bytes that are sealed.')
        ) AS meaning (column_name, says)
        JOIN pg_attribute a ON a.attname = meaning.column_name AND a.attnum > 0
        JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'v')
        WHERE c.relnamespace = 'public'::regnamespace AND col_description(c.oid, a.attnum) IS NULL
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', target.relation, target.attname, target.says);
    END LOOP;
END
$$;

INSERT INTO clm_meta.schema_migrations (version, name) VALUES (1, '001_init_secure_schema')
ON CONFLICT DO NOTHING;

COMMIT;
