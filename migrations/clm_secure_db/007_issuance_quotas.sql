-- How much of a Policy's quota each namespace has left (spec.quota.issuancesPerHour).

BEGIN;

SET LOCAL ROLE clm_owner;
SET LOCAL search_path = pg_catalog, public;

-- Changed by each issuance under such a Policy: room on the page keeps these changes away from the index.
CREATE TABLE clm_work.issuance_quotas (
    organization_id uuid NOT NULL,
    cluster_id uuid NOT NULL,
    policy_uid uuid NOT NULL,
    namespace text NOT NULL CHECK (namespace <> ''),
    tokens double precision NOT NULL,
    refilled_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, cluster_id, policy_uid, namespace)
) WITH (fillfactor = 50);

-- ---------------------------------------------------------------------------------------------- rights

ALTER TABLE clm_work.issuance_quotas ENABLE ROW LEVEL SECURITY;
ALTER TABLE clm_work.issuance_quotas FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON clm_work.issuance_quotas
    USING (organization_id = (SELECT nullif(current_setting('clm.organization', true), '')::uuid))
    WITH CHECK (organization_id = (SELECT nullif(current_setting('clm.organization', true), '')::uuid));
CREATE POLICY operator_serves_all ON clm_work.issuance_quotas TO clm_operator_secure USING (true) WITH CHECK (true);
CREATE POLICY auditor_reads_all ON clm_work.issuance_quotas FOR SELECT TO clm_auditor USING (true);

GRANT SELECT ON clm_work.issuance_quotas TO clm_operator_secure, clm_auditor;
GRANT INSERT (organization_id, cluster_id, policy_uid, namespace, tokens, refilled_at)
    ON clm_work.issuance_quotas TO clm_operator_secure;
GRANT UPDATE (tokens, refilled_at) ON clm_work.issuance_quotas TO clm_operator_secure;
GRANT DELETE ON clm_work.issuance_quotas TO clm_operator_secure;

-- ---------------------------------------------------------------------------------------------- comments

COMMENT ON TABLE clm_work.issuance_quotas IS 'Token buckets: how many issuances a namespace has left under a Policy that limits them. A row that is missing is a full bucket.';
COMMENT ON COLUMN clm_work.issuance_quotas.organization_id IS 'Organization (tenant) that the certificates belong to.';
COMMENT ON COLUMN clm_work.issuance_quotas.cluster_id IS 'Cluster that the namespace is in.';
COMMENT ON COLUMN clm_work.issuance_quotas.policy_uid IS 'metadata.uid of the Policy.';
COMMENT ON COLUMN clm_work.issuance_quotas.namespace IS 'Namespace whose issuances are counted.';
COMMENT ON COLUMN clm_work.issuance_quotas.tokens IS 'Issuances that were left at refilled_at; below zero where renewals took what was not there.';
COMMENT ON COLUMN clm_work.issuance_quotas.refilled_at IS 'Up to when the bucket was filled, by the operator''s clock.';

INSERT INTO clm_meta.schema_migrations (version, name) VALUES (7, '007_issuance_quotas')
ON CONFLICT DO NOTHING;

COMMIT;
