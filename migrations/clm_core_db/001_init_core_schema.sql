-- clm_core_db: what people search, decide on and audit: users, policies, workflows and the inventory of certificates.
--
-- No key and no secret is here. Nothing refers to clm_secure_db; ids of its rows are repeated without a constraint.
-- Applied by `clm migrate` or by `psql -f`; a landed file is never edited.

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

CREATE TABLE organizations (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$'),
    display_name text NOT NULL,
    is_system boolean NOT NULL DEFAULT false,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'closed')),
    settings jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(settings) = 'object'),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT organizations_system_stays CHECK (NOT is_system OR (status = 'active' AND deleted_at IS NULL))
);

-- Personal data stand here and nowhere else in the clear; erasure empties them and keeps the row.
CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL REFERENCES organizations (id),
    username text NOT NULL CHECK (username <> ''),
    display_name text,
    email text CHECK (email LIKE '%_@_%'),
    identity_provider text NOT NULL DEFAULT 'oidc' CHECK (identity_provider IN ('oidc', 'kubernetes', 'local')),
    identity_issuer text,
    identity_subject text,
    password_hash text,
    password_changed_at timestamptz,
    totp_secret_wrapped bytea,
    totp_last_step bigint,
    mfa_required boolean NOT NULL DEFAULT true,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('invited', 'active', 'locked', 'disabled', 'erased')),
    failed_login_count int NOT NULL DEFAULT 0 CHECK (failed_login_count >= 0),
    locked_until timestamptz,
    last_login_at timestamptz,
    subject_key_id uuid,
    legal_hold boolean NOT NULL DEFAULT false,
    erased_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    UNIQUE (organization_id, id),
    CONSTRAINT users_password_only_local CHECK (password_hash IS NULL OR identity_provider = 'local'),
    CONSTRAINT users_identity_whole CHECK (num_nonnulls(identity_issuer, identity_subject) IN (0, 2)),
    CONSTRAINT users_erased_empty CHECK (
        status <> 'erased' OR (erased_at IS NOT NULL AND NOT legal_hold AND num_nonnulls(
            display_name, email, identity_issuer, identity_subject, password_hash, totp_secret_wrapped) = 0))
);

CREATE TABLE roles (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL REFERENCES organizations (id),
    name text NOT NULL CHECK (name ~ '^[a-z][a-z0-9_]*$'),
    display_name text NOT NULL,
    description text NOT NULL DEFAULT '',
    permissions jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(permissions) = 'array'),
    is_system boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    UNIQUE (organization_id, id),
    CONSTRAINT roles_system_stays CHECK (NOT is_system OR deleted_at IS NULL)
);

CREATE TABLE user_organizations (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL REFERENCES organizations (id),
    -- Plain: the home of a member may be another organization.
    user_id uuid NOT NULL REFERENCES users (id),
    is_default boolean NOT NULL DEFAULT false,
    joined_at timestamptz NOT NULL DEFAULT now(),
    left_at timestamptz,
    UNIQUE (organization_id, user_id),
    CONSTRAINT user_organizations_order CHECK (left_at >= joined_at)
);

CREATE TABLE user_roles (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL REFERENCES organizations (id),
    user_id uuid NOT NULL,
    -- Plain: the seeded roles belong to the system organization.
    role_id uuid NOT NULL REFERENCES roles (id),
    granted_by uuid REFERENCES users (id),
    granted_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    revoked_by uuid REFERENCES users (id),
    -- A role in an organization is for its members only.
    FOREIGN KEY (organization_id, user_id) REFERENCES user_organizations (organization_id, user_id),
    CONSTRAINT user_roles_period CHECK (expires_at > granted_at),
    CONSTRAINT user_roles_not_by_oneself CHECK (granted_by <> user_id)
);

-- One row a generation of a Policy object: what a certificate was allowed by can be read for as long as it counts.
CREATE TABLE policies (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL REFERENCES organizations (id),
    cluster_id uuid NOT NULL,
    resource_uid uuid NOT NULL,
    name text NOT NULL CHECK (name <> ''),
    version int NOT NULL CHECK (version > 0),
    generation bigint NOT NULL CHECK (generation > 0),
    spec jsonb NOT NULL CHECK (jsonb_typeof(spec) = 'object'),
    spec_hash bytea NOT NULL CHECK (octet_length(spec_hash) = 32),
    enforcement text NOT NULL DEFAULT 'enforce' CHECK (enforcement IN ('enforce', 'audit')),
    is_current boolean NOT NULL DEFAULT true,
    effective_from timestamptz NOT NULL DEFAULT now(),
    effective_until timestamptz,
    changed_by jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(changed_by) = 'object'),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    UNIQUE (organization_id, id),
    UNIQUE (cluster_id, resource_uid, version),
    CONSTRAINT policies_period CHECK (effective_until >= effective_from),
    CONSTRAINT policies_current_is_open CHECK (NOT is_current OR num_nonnulls(effective_until, deleted_at) = 0)
);

CREATE TABLE workflows (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL REFERENCES organizations (id),
    name text NOT NULL CHECK (name <> ''),
    version int NOT NULL DEFAULT 1 CHECK (version > 0),
    kind text NOT NULL CHECK (
        kind IN ('certificate-approval', 'revocation-approval', 'key-rotation-approval', 'erasure', 'integrity-repair')),
    definition jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(definition) = 'object'),
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    UNIQUE (organization_id, id),
    UNIQUE (organization_id, name, version)
);

CREATE TABLE workflow_instances (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL REFERENCES organizations (id),
    -- Plain: a workflow of the system organization serves all.
    workflow_id uuid NOT NULL REFERENCES workflows (id),
    policy_id uuid,
    idempotency_key text NOT NULL CHECK (idempotency_key <> ''),
    state text NOT NULL DEFAULT 'pending' CHECK (state IN (
        'pending', 'awaiting-approval', 'running', 'approved', 'rejected', 'expired', 'cancelled', 'succeeded',
        'failed')),
    object_type text NOT NULL,
    object_id text NOT NULL,
    cluster_id uuid,
    resource_uid uuid,
    namespace text,
    name text,
    generation bigint,
    policy_generation bigint,
    spec_hash bytea CHECK (octet_length(spec_hash) = 32),
    requested_by jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(requested_by) = 'object'),
    requester_user_id uuid REFERENCES users (id),
    required_approvals int NOT NULL DEFAULT 0 CHECK (required_approvals >= 0),
    context jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(context) = 'object'),
    result jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(result) = 'object'),
    failure_reason text,
    lease_owner text,
    lease_until timestamptz,
    attempts int NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_run_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    UNIQUE (organization_id, id),
    UNIQUE (organization_id, idempotency_key),
    FOREIGN KEY (organization_id, policy_id) REFERENCES policies (organization_id, id),
    CONSTRAINT workflow_instances_lease_whole CHECK (num_nonnulls(lease_owner, lease_until) IN (0, 2)),
    CONSTRAINT workflow_instances_finished CHECK (
        (state IN ('approved', 'rejected', 'expired', 'cancelled', 'succeeded', 'failed')) = (finished_at IS NOT NULL)),
    CONSTRAINT workflow_instances_order CHECK (finished_at >= started_at)
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02);

CREATE TABLE workflow_steps (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL REFERENCES organizations (id),
    instance_id uuid NOT NULL,
    step_number int NOT NULL CHECK (step_number > 0),
    kind text NOT NULL CHECK (kind IN ('approval', 'action', 'notification')),
    name text NOT NULL CHECK (name <> ''),
    state text NOT NULL DEFAULT 'pending' CHECK (
        state IN ('pending', 'running', 'succeeded', 'approved', 'rejected', 'failed', 'skipped')),
    approver text,
    approver_user_id uuid REFERENCES users (id),
    approver_identity jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(approver_identity) = 'object'),
    decided_at timestamptz,
    comment text,
    generation bigint,
    policy_generation bigint,
    input jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(input) = 'object'),
    output jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(output) = 'object'),
    failure_reason text,
    attempts int NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    started_at timestamptz,
    finished_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (instance_id, step_number),
    FOREIGN KEY (organization_id, instance_id) REFERENCES workflow_instances (organization_id, id),
    CONSTRAINT workflow_steps_decided CHECK (
        (state IN ('approved', 'rejected')) = (num_nonnulls(approver, decided_at) = 2)),
    CONSTRAINT workflow_steps_only_approvals_decide CHECK (kind = 'approval' OR approver IS NULL)
) WITH (autovacuum_vacuum_scale_factor = 0.02);

CREATE TABLE notifications (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL REFERENCES organizations (id),
    kind text NOT NULL CHECK (kind <> ''),
    severity text NOT NULL DEFAULT 'info' CHECK (severity IN ('info', 'warning', 'critical')),
    channel text NOT NULL CHECK (channel IN ('console', 'email', 'webhook', 'event')),
    recipient_user_id uuid REFERENCES users (id),
    recipient text,
    object_type text,
    object_id text,
    deduplication_key text NOT NULL CHECK (deduplication_key <> ''),
    payload jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(payload) = 'object'),
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'failed', 'cancelled')),
    attempts int NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    last_error text,
    sent_at timestamptz,
    read_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organization_id, deduplication_key),
    CONSTRAINT notifications_to_somebody CHECK (num_nonnulls(recipient_user_id, recipient) > 0),
    CONSTRAINT notifications_sent CHECK ((state = 'sent') = (sent_at IS NOT NULL))
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02);

-- The token is shown once; only its MAC stays.
CREATE TABLE api_keys (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL REFERENCES organizations (id),
    user_id uuid NOT NULL,
    name text NOT NULL CHECK (name <> ''),
    prefix text NOT NULL UNIQUE CHECK (length(prefix) >= 8),
    token_hmac bytea NOT NULL UNIQUE CHECK (octet_length(token_hmac) = 32),
    hmac_key_id text NOT NULL,
    scopes jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(scopes) = 'array'),
    allowed_networks cidr[] NOT NULL DEFAULT '{}',
    expires_at timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at timestamptz,
    revocation_reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    FOREIGN KEY (organization_id, user_id) REFERENCES user_organizations (organization_id, user_id),
    CONSTRAINT api_keys_period CHECK (expires_at > created_at)
);

CREATE TABLE sessions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organization_id uuid NOT NULL REFERENCES organizations (id),
    user_id uuid NOT NULL,
    token_sha256 bytea NOT NULL UNIQUE CHECK (octet_length(token_sha256) = 32),
    identity_session text,
    auth_method text NOT NULL,
    mfa_at timestamptz,
    source_ip inet,
    user_agent text,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    idle_expires_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    FOREIGN KEY (organization_id, user_id) REFERENCES user_organizations (organization_id, user_id),
    CONSTRAINT sessions_period CHECK (expires_at > created_at AND idle_expires_at <= expires_at)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);

-- The organization has no constraint, here and in the audit log: clm_secure_db has recorded the certificate already,
-- and the inventory must never refuse what exists.
CREATE TABLE certificate_metadata (
    id uuid PRIMARY KEY,
    organization_id uuid NOT NULL,
    cluster_id uuid NOT NULL,
    resource_uid uuid NOT NULL,
    namespace text NOT NULL,
    name text NOT NULL,
    revision int NOT NULL CHECK (revision > 0),
    policy_name text NOT NULL,
    policy_generation bigint,
    issuer_name text,
    issuer_certificate_id uuid,
    issuer_key_id uuid NOT NULL,
    serial_number bytea NOT NULL CHECK (octet_length(serial_number) BETWEEN 8 AND 20),
    fingerprint_sha256 bytea NOT NULL UNIQUE CHECK (octet_length(fingerprint_sha256) = 32),
    common_name text,
    sans jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(sans) = 'array'),
    key_algorithm text NOT NULL,
    usages jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(usages) = 'array'),
    is_ca boolean NOT NULL DEFAULT false,
    not_before timestamptz NOT NULL,
    not_after timestamptz NOT NULL,
    renewal_time timestamptz,
    secret_name text,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'superseded', 'revoked', 'expired')),
    owner_user_id uuid REFERENCES users (id),
    requested_by jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(requested_by) = 'object'),
    tags jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(tags) = 'array'),
    metadata jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    notes text,
    revoked_at timestamptz,
    revocation_reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    UNIQUE (cluster_id, resource_uid, revision),
    UNIQUE (issuer_key_id, serial_number),
    CONSTRAINT certificate_metadata_validity CHECK (not_before < not_after),
    CONSTRAINT certificate_metadata_revoked_at CHECK (status <> 'active' OR revoked_at IS NULL)
) WITH (fillfactor = 85);

-- The primary key holds the time because a partitioned table's must. No default partition: a month that is missing
-- makes the act fail instead of going unrecorded.
CREATE TABLE audit_log (
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

CREATE UNIQUE INDEX organizations_one_system ON organizations (is_system) WHERE is_system;
CREATE INDEX organizations_status ON organizations (status) WHERE deleted_at IS NULL;

CREATE UNIQUE INDEX users_username ON users (organization_id, lower(username)) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX users_email ON users (organization_id, lower(email)) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX users_identity ON users (identity_issuer, identity_subject) WHERE deleted_at IS NULL;
CREATE INDEX users_status ON users (organization_id, status) WHERE deleted_at IS NULL;

CREATE UNIQUE INDEX roles_name ON roles (organization_id, name) WHERE deleted_at IS NULL;
CREATE INDEX roles_permissions ON roles USING gin (permissions jsonb_path_ops);

CREATE INDEX user_organizations_user_id ON user_organizations (user_id);
CREATE UNIQUE INDEX user_organizations_one_default ON user_organizations (user_id) WHERE is_default AND left_at IS NULL;

CREATE UNIQUE INDEX user_roles_granted_once ON user_roles (organization_id, user_id, role_id) WHERE revoked_at IS NULL;
CREATE INDEX user_roles_member ON user_roles (organization_id, user_id);
CREATE INDEX user_roles_user_id ON user_roles (user_id);
CREATE INDEX user_roles_role_id ON user_roles (role_id);
CREATE INDEX user_roles_granted_by ON user_roles (granted_by) WHERE granted_by IS NOT NULL;
CREATE INDEX user_roles_revoked_by ON user_roles (revoked_by) WHERE revoked_by IS NOT NULL;
CREATE INDEX user_roles_expires_at ON user_roles (expires_at) WHERE revoked_at IS NULL AND expires_at IS NOT NULL;

CREATE UNIQUE INDEX policies_current_name ON policies (cluster_id, name) WHERE is_current;
CREATE INDEX policies_name ON policies (organization_id, name);

CREATE INDEX workflows_kind ON workflows (organization_id, kind) WHERE is_active AND deleted_at IS NULL;

CREATE INDEX workflow_instances_due ON workflow_instances (next_run_at) WHERE finished_at IS NULL;
CREATE INDEX workflow_instances_state ON workflow_instances (organization_id, state, created_at);
CREATE INDEX workflow_instances_object ON workflow_instances (organization_id, object_type, object_id);
CREATE INDEX workflow_instances_owner ON workflow_instances (cluster_id, resource_uid, generation)
    WHERE resource_uid IS NOT NULL;
CREATE INDEX workflow_instances_expires_at ON workflow_instances (expires_at)
    WHERE state = 'awaiting-approval' AND expires_at IS NOT NULL;
CREATE INDEX workflow_instances_workflow_id ON workflow_instances (workflow_id);
CREATE INDEX workflow_instances_policy_id ON workflow_instances (policy_id) WHERE policy_id IS NOT NULL;
CREATE INDEX workflow_instances_requester ON workflow_instances (requester_user_id)
    WHERE requester_user_id IS NOT NULL;

-- Nobody decides twice on one instance.
CREATE UNIQUE INDEX workflow_steps_one_decision ON workflow_steps (instance_id, approver) WHERE approver IS NOT NULL;
CREATE INDEX workflow_steps_instance ON workflow_steps (organization_id, instance_id, step_number);
CREATE INDEX workflow_steps_approver_user_id ON workflow_steps (approver_user_id) WHERE approver_user_id IS NOT NULL;
CREATE INDEX workflow_steps_open ON workflow_steps (organization_id, kind) WHERE state IN ('pending', 'running');

CREATE INDEX notifications_due ON notifications (next_attempt_at) WHERE state = 'pending';
CREATE INDEX notifications_unread ON notifications (recipient_user_id, created_at) WHERE read_at IS NULL;
CREATE INDEX notifications_recipient_user_id ON notifications (recipient_user_id) WHERE recipient_user_id IS NOT NULL;
CREATE INDEX notifications_created_at ON notifications (organization_id, created_at);

CREATE UNIQUE INDEX api_keys_name ON api_keys (organization_id, user_id, name)
    WHERE revoked_at IS NULL AND deleted_at IS NULL;
CREATE INDEX api_keys_owner ON api_keys (organization_id, user_id);
CREATE INDEX api_keys_expires_at ON api_keys (expires_at) WHERE revoked_at IS NULL AND deleted_at IS NULL;

CREATE INDEX sessions_user ON sessions (organization_id, user_id);
CREATE INDEX sessions_expires_at ON sessions (expires_at);
CREATE INDEX sessions_identity_session ON sessions (identity_session) WHERE identity_session IS NOT NULL;

CREATE INDEX certificate_metadata_not_after ON certificate_metadata (organization_id, not_after);
CREATE INDEX certificate_metadata_common_name ON certificate_metadata (organization_id, common_name);
CREATE INDEX certificate_metadata_object_name ON certificate_metadata (cluster_id, namespace, name);
CREATE INDEX certificate_metadata_owner_user_id ON certificate_metadata (owner_user_id)
    WHERE owner_user_id IS NOT NULL;
-- jsonb_path_ops: half the size, and all that @> needs.
CREATE INDEX certificate_metadata_sans ON certificate_metadata USING gin (sans jsonb_path_ops);
CREATE INDEX certificate_metadata_metadata ON certificate_metadata USING gin (metadata jsonb_path_ops);

CREATE INDEX audit_log_txid ON audit_log (txid);
CREATE INDEX audit_log_organization ON audit_log (organization_id, occurred_at);
CREATE INDEX audit_log_object ON audit_log (object_type, object_id);
CREATE INDEX audit_log_action ON audit_log (action, occurred_at);

-- ---------------------------------------------------------------------------------------------- views

-- security_invoker: the caller's row-level security applies, not the owner's.
CREATE VIEW active_users_with_roles WITH (security_invoker = true) AS
SELECT u.id, m.organization_id, u.username, u.display_name, u.email, u.identity_provider, u.last_login_at,
       coalesce(array_agg(r.name ORDER BY r.name) FILTER (WHERE r.id IS NOT NULL), '{}') AS role_names
FROM users u
JOIN user_organizations m ON m.user_id = u.id AND m.left_at IS NULL
LEFT JOIN user_roles g
    ON g.organization_id = m.organization_id AND g.user_id = u.id AND g.revoked_at IS NULL
    AND (g.expires_at IS NULL OR g.expires_at > now())
LEFT JOIN roles r ON r.id = g.role_id AND r.deleted_at IS NULL
WHERE u.status = 'active' AND u.deleted_at IS NULL
GROUP BY u.id, m.organization_id;

CREATE VIEW pending_approvals WITH (security_invoker = true) AS
SELECT i.id, i.organization_id, w.name AS workflow_name, w.kind, i.object_type, i.object_id, i.cluster_id, i.namespace,
       i.name, i.generation, i.policy_generation, i.requested_by, i.required_approvals,
       (SELECT count(*) FROM workflow_steps s
        WHERE s.organization_id = i.organization_id AND s.instance_id = i.id AND s.state = 'approved') AS approvals_given,
       i.created_at, i.expires_at
FROM workflow_instances i
JOIN workflows w ON w.id = i.workflow_id
WHERE i.state = 'awaiting-approval' AND i.deleted_at IS NULL AND (i.expires_at IS NULL OR i.expires_at > now());

CREATE VIEW certificate_summary WITH (security_invoker = true) AS
SELECT organization_id, cluster_id, namespace,
       count(*) AS total,
       count(*) FILTER (WHERE status = 'active' AND not_after > now()) AS active,
       count(*) FILTER (WHERE status = 'active' AND not_after > now() AND not_after <= now() + interval '30 days')
           AS expiring,
       count(*) FILTER (WHERE status = 'expired' OR (status = 'active' AND not_after <= now())) AS expired,
       count(*) FILTER (WHERE status = 'superseded') AS superseded,
       count(*) FILTER (WHERE status = 'revoked') AS revoked,
       min(not_after) FILTER (WHERE status = 'active' AND not_after > now()) AS next_not_after
FROM certificate_metadata
WHERE deleted_at IS NULL
GROUP BY organization_id, cluster_id, namespace;

-- ---------------------------------------------------------------------------------------------- triggers

CREATE TRIGGER users_updated_at BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER roles_updated_at BEFORE UPDATE ON roles FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER organizations_updated_at BEFORE UPDATE ON organizations
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER policies_updated_at BEFORE UPDATE ON policies FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER workflows_updated_at BEFORE UPDATE ON workflows FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER workflow_instances_updated_at BEFORE UPDATE ON workflow_instances
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER certificate_metadata_updated_at BEFORE UPDATE ON certificate_metadata
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();

-- ---------------------------------------------------------------------------------------------- seeds

-- Ids are UUIDv5 below the UUIDv5 of clm-operator.io: the same in every installation.
INSERT INTO organizations (id, name, display_name, is_system) VALUES
    ('69b11eab-bcf8-5616-ad09-8b9c083389a8', 'system', 'System', true)
ON CONFLICT DO NOTHING;

INSERT INTO roles (id, organization_id, name, display_name, description, permissions, is_system)
SELECT seed.id::uuid, o.id, seed.name, seed.display_name, seed.description, seed.permissions::jsonb, true
FROM organizations o, (VALUES
    ('1086b142-a14a-544f-924b-07a7349b01e3', 'super_admin', 'Super administrator',
     'Runs the installation: organizations, users and roles. Approves nothing and sees no key.',
     '["organizations:*", "users:*", "roles:*", "workflows:*", "policies:read", "certificates:read"]'),
    ('a60a1777-7ffa-5d65-a61a-e4b0b954bcaf', 'security_admin', 'Security administrator',
     'Answers for keys and policies: rotations, revocations, approvals that need one.',
     '["policies:*", "keys:rotate", "keys:read", "certificates:read", "certificates:revoke", "approvals:decide", "audit:read"]'),
    ('a2288d1d-f37d-5b38-a454-c934ece84bc2', 'certificate_manager', 'Certificate manager',
     'Requests, renews and revokes certificates of an organization.',
     '["certificates:read", "certificates:request", "certificates:renew", "certificates:revoke", "certificates:annotate", "policies:read"]'),
    ('d9377178-2be1-5434-9036-db3805347de8', 'approver', 'Approver',
     'Decides on requests of others.',
     '["certificates:read", "policies:read", "approvals:read", "approvals:decide"]'),
    ('65a1bef5-638a-53a9-834f-6e620ebfa3e3', 'auditor', 'Auditor',
     'Reads everything and the audit log; changes nothing.',
     '["organizations:read", "users:read", "roles:read", "policies:read", "certificates:read", "keys:read", "approvals:read", "audit:read", "audit:verify", "audit:export"]'),
    ('a4e7f530-25ed-5fc8-aa6c-f5d0a16ce91d', 'viewer', 'Viewer',
     'Sees the certificates and policies of an organization.',
     '["certificates:read", "policies:read"]')
) AS seed (id, name, display_name, description, permissions)
WHERE o.is_system
ON CONFLICT DO NOTHING;

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

COMMENT ON TABLE organizations IS 'Tenants. The system organization owns what no tenant owns.';
COMMENT ON TABLE users IS 'People and service accounts that act through the API or the console.';
COMMENT ON TABLE roles IS 'Named sets of permissions. Six are seeded and belong to the system organization.';
COMMENT ON TABLE user_organizations IS 'Who is a member of which organization.';
COMMENT ON TABLE user_roles IS 'Which role a member has in an organization, by whom and for how long.';
COMMENT ON TABLE policies IS 'Every generation of every Policy object that certificates were decided by.';
COMMENT ON TABLE workflows IS 'Definitions of what takes several steps or several people.';
COMMENT ON TABLE workflow_instances IS 'Workflows on their way. A worker holds one by a lease; the idempotency key lets none start twice.';
COMMENT ON TABLE workflow_steps IS 'Steps of an instance; an approval is a step, and each approver decides once.';
COMMENT ON TABLE notifications IS 'Messages to people, sent once for each deduplication key.';
COMMENT ON TABLE api_keys IS 'Long-lived tokens of users, as a MAC only.';
COMMENT ON TABLE sessions IS 'Logins to the console, as a hash of the cookie only.';
COMMENT ON TABLE certificate_metadata IS 'The inventory: every certificate of clm_secure_db as people search it.';
COMMENT ON TABLE audit_log IS 'Every act that people or the operator did here. Rows are only added; a seal over txid ranges proves that none was changed.';
COMMENT ON VIEW active_users_with_roles IS 'Active members of each organization with the roles that count now.';
COMMENT ON VIEW pending_approvals IS 'What waits for people to decide, and how many have.';
COMMENT ON VIEW certificate_summary IS 'Counts of certificates by organization, cluster and namespace.';

COMMENT ON COLUMN organizations.id IS 'UUIDv5 of the name: the same in every installation and database.';
COMMENT ON COLUMN organizations.name IS 'Name, as a Policy gives it; never changes.';
COMMENT ON COLUMN organizations.is_system IS 'Whether it is the one that owns what no tenant owns.';
COMMENT ON COLUMN organizations.status IS 'Whether its members may act.';
COMMENT ON COLUMN organizations.settings IS 'What it has chosen, and the cell that holds its data.';

COMMENT ON COLUMN users.organization_id IS 'Home organization; others are in user_organizations.';
COMMENT ON COLUMN users.username IS 'Login name; replaced by a pseudonym on erasure.';
COMMENT ON COLUMN users.email IS 'Address for notifications; personal data.';
COMMENT ON COLUMN users.identity_provider IS 'Who authenticates: OpenID Connect, Kubernetes, or this database (break-glass).';
COMMENT ON COLUMN users.identity_issuer IS 'OpenID Connect iss.';
COMMENT ON COLUMN users.identity_subject IS 'OpenID Connect sub.';
COMMENT ON COLUMN users.password_hash IS 'Of a break-glass user, with its algorithm and parameters (PHC string).';
COMMENT ON COLUMN users.password_changed_at IS 'When the password was last changed.';
COMMENT ON COLUMN users.totp_secret_wrapped IS 'Secret of RFC 6238, encrypted under a key of clm_secure_db.';
COMMENT ON COLUMN users.totp_last_step IS 'Last time step that was used: none is taken twice.';
COMMENT ON COLUMN users.mfa_required IS 'Whether a second factor is demanded.';
COMMENT ON COLUMN users.status IS 'Whether the user may act; erased: nothing personal is left.';
COMMENT ON COLUMN users.failed_login_count IS 'Failed logins since the last good one.';
COMMENT ON COLUMN users.locked_until IS 'No login before.';
COMMENT ON COLUMN users.last_login_at IS 'Last good login.';
COMMENT ON COLUMN users.subject_key_id IS 'Key of clm_secure_db that encrypts this person''s data in records; erasure destroys it.';
COMMENT ON COLUMN users.erased_at IS 'When the personal data were erased (GDPR article 17).';

COMMENT ON COLUMN roles.name IS 'Name, as code and configuration give it.';
COMMENT ON COLUMN roles.permissions IS 'Array of object:verb.';
COMMENT ON COLUMN roles.is_system IS 'Seeded; cannot be deleted.';
COMMENT ON COLUMN user_organizations.is_default IS 'The organization that a login starts in.';
COMMENT ON COLUMN user_organizations.joined_at IS 'Start of the membership.';
COMMENT ON COLUMN user_organizations.left_at IS 'End of the membership.';
COMMENT ON COLUMN user_roles.role_id IS 'The role.';
COMMENT ON COLUMN user_roles.granted_by IS 'Who granted it; null for what was seeded or mapped from groups.';
COMMENT ON COLUMN user_roles.granted_at IS 'When it was granted.';
COMMENT ON COLUMN user_roles.revoked_by IS 'Who took it back.';

COMMENT ON COLUMN policies.resource_uid IS 'metadata.uid of the Policy.';
COMMENT ON COLUMN policies.name IS 'Name of the Policy.';
COMMENT ON COLUMN policies.generation IS 'metadata.generation of the Policy.';
COMMENT ON COLUMN policies.spec IS 'The spec, whole.';
COMMENT ON COLUMN policies.spec_hash IS 'SHA-256 of the spec as RFC 8785 writes it.';
COMMENT ON COLUMN policies.enforcement IS 'enforce: violations issue nothing. audit: they are recorded only.';
COMMENT ON COLUMN policies.is_current IS 'Whether it decides now.';
COMMENT ON COLUMN policies.effective_from IS 'When it began to decide.';
COMMENT ON COLUMN policies.effective_until IS 'When a later generation took over.';
COMMENT ON COLUMN policies.changed_by IS 'Who made this generation.';

COMMENT ON COLUMN workflows.name IS 'Name of the workflow.';
COMMENT ON COLUMN workflows.definition IS 'Its steps.';
COMMENT ON COLUMN workflows.is_active IS 'Whether new instances may start.';
COMMENT ON COLUMN workflow_instances.workflow_id IS 'What it is an instance of.';
COMMENT ON COLUMN workflow_instances.policy_id IS 'Policy that demanded it.';
COMMENT ON COLUMN workflow_instances.idempotency_key IS 'What lets it start only once.';
COMMENT ON COLUMN workflow_instances.state IS 'Where it stands.';
COMMENT ON COLUMN workflow_instances.requester_user_id IS 'The requester, where known as a user; never one of the approvers.';
COMMENT ON COLUMN workflow_instances.context IS 'What its steps work on.';
COMMENT ON COLUMN workflow_instances.result IS 'What came of it.';
COMMENT ON COLUMN workflow_instances.lease_owner IS 'Worker that holds it.';
COMMENT ON COLUMN workflow_instances.lease_until IS 'When another worker may take it.';
COMMENT ON COLUMN workflow_instances.next_run_at IS 'When it is due.';
COMMENT ON COLUMN workflow_instances.expires_at IS 'When the waiting for approval ends.';
COMMENT ON COLUMN workflow_steps.instance_id IS 'The instance.';
COMMENT ON COLUMN workflow_steps.step_number IS 'Place in the instance, from 1.';
COMMENT ON COLUMN workflow_steps.kind IS 'A decision of a person, an act of the software, or a message.';
COMMENT ON COLUMN workflow_steps.name IS 'What the step is called in the definition.';
COMMENT ON COLUMN workflow_steps.state IS 'Where it stands; approved and rejected are decisions.';
COMMENT ON COLUMN workflow_steps.approver IS 'Username of who decided.';
COMMENT ON COLUMN workflow_steps.approver_user_id IS 'The same as a user, where known.';
COMMENT ON COLUMN workflow_steps.approver_identity IS 'Username, groups and uid as authenticated.';
COMMENT ON COLUMN workflow_steps.decided_at IS 'When it was decided.';
COMMENT ON COLUMN workflow_steps.comment IS 'What the approver said.';
COMMENT ON COLUMN workflow_steps.input IS 'What the step was given.';
COMMENT ON COLUMN workflow_steps.output IS 'What the step gave back.';

COMMENT ON COLUMN notifications.kind IS 'What it is about, such as certificate.expiring.';
COMMENT ON COLUMN notifications.severity IS 'How urgent it is.';
COMMENT ON COLUMN notifications.channel IS 'The way it goes.';
COMMENT ON COLUMN notifications.recipient_user_id IS 'Whom it goes to, as a user.';
COMMENT ON COLUMN notifications.recipient IS 'Where it goes to otherwise.';
COMMENT ON COLUMN notifications.deduplication_key IS 'What lets it be sent only once.';
COMMENT ON COLUMN notifications.payload IS 'What it says.';
COMMENT ON COLUMN notifications.state IS 'Whether it was sent.';
COMMENT ON COLUMN notifications.sent_at IS 'When it was sent.';
COMMENT ON COLUMN notifications.read_at IS 'When it was read in the console.';
COMMENT ON COLUMN api_keys.name IS 'What its user calls it.';
COMMENT ON COLUMN api_keys.prefix IS 'Start of the token, to find its row and to recognise it in a leak.';
COMMENT ON COLUMN api_keys.token_hmac IS 'HMAC-SHA-256 of the token.';
COMMENT ON COLUMN api_keys.hmac_key_id IS 'Which key made the MAC.';
COMMENT ON COLUMN api_keys.scopes IS 'Array of object:verb; never more than its user may.';
COMMENT ON COLUMN api_keys.allowed_networks IS 'Where it may come from; empty: anywhere.';
COMMENT ON COLUMN api_keys.last_used_at IS 'Last use, to the minute.';
COMMENT ON COLUMN sessions.token_sha256 IS 'SHA-256 of the cookie.';
COMMENT ON COLUMN sessions.identity_session IS 'OpenID Connect sid, for logout through the back channel.';
COMMENT ON COLUMN sessions.mfa_at IS 'When the second factor was shown.';
COMMENT ON COLUMN sessions.last_seen_at IS 'Last request.';
COMMENT ON COLUMN sessions.idle_expires_at IS 'End unless another request comes.';

COMMENT ON COLUMN certificate_metadata.id IS 'Id of the certificate in clm_secure_db.';
COMMENT ON COLUMN certificate_metadata.issuer_name IS 'Namespace and name of the issuing CA''s Certificate.';
COMMENT ON COLUMN certificate_metadata.issuer_certificate_id IS 'Id of the issuer''s certificate; null where it is self-signed.';
COMMENT ON COLUMN certificate_metadata.issuer_key_id IS 'Id of the issuer''s key in clm_secure_db.';
COMMENT ON COLUMN certificate_metadata.key_algorithm IS 'For example RSA-3072, ECDSA-256, Ed25519.';
COMMENT ON COLUMN certificate_metadata.usages IS 'Key usages and extended key usages, as the Certificate names them.';
COMMENT ON COLUMN certificate_metadata.renewal_time IS 'When it should be renewed.';
COMMENT ON COLUMN certificate_metadata.status IS 'Last known; what has ended since is told by not_after.';
COMMENT ON COLUMN certificate_metadata.owner_user_id IS 'Who answers for it.';
COMMENT ON COLUMN certificate_metadata.tags IS 'Array of words, for people.';
COMMENT ON COLUMN certificate_metadata.metadata IS 'Whatever people want to search by.';
COMMENT ON COLUMN certificate_metadata.notes IS 'What people wrote about it.';

COMMENT ON COLUMN active_users_with_roles.role_names IS 'Names of the roles that count now.';
COMMENT ON COLUMN pending_approvals.workflow_name IS 'Name of the workflow.';
COMMENT ON COLUMN pending_approvals.approvals_given IS 'How many have approved.';
COMMENT ON COLUMN certificate_summary.total IS 'All revisions of all objects.';
COMMENT ON COLUMN certificate_summary.active IS 'Valid now and standing for their object.';
COMMENT ON COLUMN certificate_summary.expiring IS 'Active and ending within 30 days.';
COMMENT ON COLUMN certificate_summary.expired IS 'Ended without a successor.';
COMMENT ON COLUMN certificate_summary.superseded IS 'Followed by a newer one.';
COMMENT ON COLUMN certificate_summary.revoked IS 'Revoked.';
COMMENT ON COLUMN certificate_summary.next_not_after IS 'The next end of an active one.';

-- What means the same wherever it stands is said once.
DO $$
DECLARE
    target record;
BEGIN
    FOR target IN
        SELECT c.oid::regclass AS relation, a.attname, meaning.says
        FROM (VALUES
            ('id', 'Unique id; made by the application where it must be repeatable.'),
            ('organization_id', 'Organization (tenant) that the row belongs to.'),
            ('user_id', 'The user.'),
            ('username', 'Login name.'),
            ('display_name', 'Name for people.'),
            ('email', 'Address for notifications.'),
            ('identity_provider', 'Who authenticates the user.'),
            ('last_login_at', 'Last good login.'),
            ('description', 'What it is for.'),
            ('is_system', 'Seeded; cannot be deleted.'),
            ('kind', 'What it is for.'),
            ('version', 'Counts the versions from 1.'),
            ('cluster_id', 'Cluster that the object lives in.'),
            ('resource_uid', 'metadata.uid of the object.'),
            ('namespace', 'Namespace of the object.'),
            ('name', 'Name of the object.'),
            ('generation', 'metadata.generation that it is about.'),
            ('revision', 'Counts the certificates of one object from 1.'),
            ('spec_hash', 'SHA-256 of the spec that it is about.'),
            ('policy_name', 'Policy that allowed it.'),
            ('policy_generation', 'metadata.generation of the Policy that it was decided by.'),
            ('serial_number', 'Serial number, big-endian without sign; unique for its issuer key.'),
            ('fingerprint_sha256', 'SHA-256 of the certificate''s DER.'),
            ('common_name', 'Common name of the subject.'),
            ('sans', 'Subject alternative names: an array of {type, value}.'),
            ('not_before', 'Start of the validity.'),
            ('not_after', 'End of the validity.'),
            ('is_ca', 'Whether it is a CA certificate.'),
            ('secret_name', 'Secret that it is published in.'),
            ('requested_by', 'Who asked: username, groups, uid.'),
            ('required_approvals', 'How many must approve.'),
            ('legal_hold', 'Must not be erased while this is set (GDPR article 17(3)).'),
            ('failure_reason', 'Why it failed.'),
            ('last_error', 'Why the last attempt failed.'),
            ('attempts', 'How often it was tried.'),
            ('next_attempt_at', 'When it is tried next.'),
            ('started_at', 'When it began.'),
            ('finished_at', 'When it ended.'),
            ('expires_at', 'When it stops to count.'),
            ('revoked_at', 'When it was revoked.'),
            ('revocation_reason', 'Why it was revoked.'),
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
            ('object_type', 'Kind of the object that it is about.'),
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

INSERT INTO clm_meta.schema_migrations (version, name) VALUES (1, '001_init_core_schema')
ON CONFLICT DO NOTHING;

COMMIT;
