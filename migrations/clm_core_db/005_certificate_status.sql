-- What the responder serves: which CAs publish, what was revoked, the newest CRL of each partition, and the certificates
-- of the keys that sign OCSP answers.
--
-- A copy throughout: clm_secure_db decides, and the controller writes it here, so that answers are given while the
-- controller, the HSM or clm_secure_db are down.

BEGIN;

SET LOCAL ROLE clm_owner;
SET LOCAL search_path = pg_catalog, public;

CREATE SCHEMA clm_status;
REVOKE ALL ON SCHEMA clm_status FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------- tables

-- A CA is its key: certificates may follow each other, and its object may be gone.
CREATE TABLE clm_status.issuers (
    issuer_key_id uuid PRIMARY KEY,
    organization_id uuid NOT NULL,
    name text NOT NULL CHECK (name <> ''),
    subject bytea NOT NULL CHECK (octet_length(subject) >= 2),
    spki bytea NOT NULL CHECK (octet_length(spki) BETWEEN 32 AND 2048),
    certificate bytea NOT NULL CHECK (octet_length(certificate) > 0),
    chain bytea[] NOT NULL DEFAULT '{}',
    base_urls text[] NOT NULL CHECK (cardinality(base_urls) > 0),
    crl_enabled boolean NOT NULL,
    crl_lifetime interval NOT NULL CHECK (crl_lifetime >= interval '1 minute'),
    crl_shards int NOT NULL CHECK (crl_shards BETWEEN 1 AND 256),
    ocsp_enabled boolean NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (organization_id, issuer_key_id)
);

-- Of every CA, also of one that publishes nothing yet: no reference to issuers.
CREATE TABLE clm_status.revocations (
    issuer_key_id uuid NOT NULL,
    serial_number bytea NOT NULL CHECK (octet_length(serial_number) BETWEEN 8 AND 20),
    organization_id uuid NOT NULL,
    certificate_id uuid NOT NULL,
    reason_code int NOT NULL CHECK (reason_code IN (0, 1, 2, 3, 4, 5, 8, 9, 10)),
    revoked_at timestamptz NOT NULL,
    invalidity_date timestamptz,
    not_after timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (issuer_key_id, serial_number)
);
CREATE INDEX revocations_recorded_at ON clm_status.revocations (recorded_at);
CREATE INDEX revocations_not_after ON clm_status.revocations (not_after);

CREATE TABLE clm_status.crls (
    issuer_key_id uuid NOT NULL,
    shards int NOT NULL CHECK (shards BETWEEN 1 AND 256),
    shard int NOT NULL,
    organization_id uuid NOT NULL,
    crl_number bigint NOT NULL CHECK (crl_number > 0),
    this_update timestamptz NOT NULL,
    next_update timestamptz NOT NULL,
    entry_count int NOT NULL CHECK (entry_count >= 0),
    crl bytea NOT NULL,
    sha256 bytea NOT NULL,
    published_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    needed_until timestamptz,
    PRIMARY KEY (issuer_key_id, shards, shard),
    FOREIGN KEY (organization_id, issuer_key_id) REFERENCES clm_status.issuers (organization_id, issuer_key_id),
    CONSTRAINT crls_shard CHECK (shard >= 0 AND shard < shards),
    CONSTRAINT crls_time CHECK (this_update < next_update),
    CONSTRAINT crls_digest CHECK (sha256 = pg_catalog.sha256(crl))
);
CREATE INDEX crls_next_update ON clm_status.crls (next_update);
-- Serial numbers and signatures do not compress.
ALTER TABLE clm_status.crls ALTER COLUMN crl SET STORAGE EXTERNAL;

CREATE TABLE clm_status.ocsp_responders (
    id uuid PRIMARY KEY,
    issuer_key_id uuid NOT NULL,
    organization_id uuid NOT NULL,
    csr bytea NOT NULL CHECK (octet_length(csr) BETWEEN 64 AND 4096),
    origin text NOT NULL CHECK (length(origin) BETWEEN 1 AND 253),
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    certificate bytea,
    not_after timestamptz,
    refused_reason text CHECK (refused_reason <> ''),
    FOREIGN KEY (organization_id, issuer_key_id) REFERENCES clm_status.issuers (organization_id, issuer_key_id),
    CONSTRAINT ocsp_responders_answer CHECK (
        num_nonnulls(certificate, refused_reason) <= 1 AND (certificate IS NULL) = (not_after IS NULL))
);
CREATE INDEX ocsp_responders_issuer_key_id ON clm_status.ocsp_responders (issuer_key_id);
CREATE INDEX ocsp_responders_waiting ON clm_status.ocsp_responders (requested_at)
    WHERE certificate IS NULL AND refused_reason IS NULL;

-- ---------------------------------------------------------------------------------------------- rights

DO $$
DECLARE
    tenant constant text := 'organization_id = (SELECT nullif(current_setting(''clm.organization'', true), '''')::uuid)';
    protected text;
BEGIN
    FOREACH protected IN ARRAY ARRAY['clm_status.issuers', 'clm_status.revocations', 'clm_status.crls',
                                     'clm_status.ocsp_responders'] LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', protected);
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', protected);
        EXECUTE format('CREATE POLICY tenant_isolation ON %s USING (%s) WITH CHECK (%s)', protected, tenant, tenant);
        EXECUTE format('CREATE POLICY operator_serves_all ON %s TO clm_operator_core USING (true) WITH CHECK (true)',
                       protected);
        EXECUTE format('CREATE POLICY auditor_reads_all ON %s FOR SELECT TO clm_auditor USING (true)', protected);
        -- Who answers for an issuer answers for what it issued to any organization.
        EXECUTE format('CREATE POLICY responder_reads_all ON %s FOR SELECT TO clm_responder USING (true)', protected);
    END LOOP;
END
$$;

CREATE POLICY responder_asks ON clm_status.ocsp_responders FOR INSERT TO clm_responder WITH CHECK (true);
-- A revocation stands until its certificate has expired, whatever the operator is made to do.
CREATE POLICY only_expired_go ON clm_status.revocations AS RESTRICTIVE FOR DELETE TO clm_operator_core
    USING (not_after < clock_timestamp());

GRANT USAGE ON SCHEMA clm_status TO clm_operator_core, clm_auditor, clm_responder;
GRANT SELECT ON clm_status.issuers, clm_status.revocations, clm_status.crls, clm_status.ocsp_responders
    TO clm_operator_core, clm_auditor, clm_responder;

GRANT INSERT (issuer_key_id, organization_id, name, subject, spki, certificate, chain, base_urls, crl_enabled,
    crl_lifetime, crl_shards, ocsp_enabled)
    ON clm_status.issuers TO clm_operator_core;
GRANT UPDATE (name, subject, certificate, chain, base_urls, crl_enabled, crl_lifetime, crl_shards, ocsp_enabled,
    updated_at)
    ON clm_status.issuers TO clm_operator_core;
GRANT INSERT (issuer_key_id, serial_number, organization_id, certificate_id, reason_code, revoked_at, invalidity_date,
    not_after)
    ON clm_status.revocations TO clm_operator_core;
GRANT DELETE ON clm_status.revocations, clm_status.crls, clm_status.ocsp_responders TO clm_operator_core;
GRANT INSERT (issuer_key_id, shards, shard, organization_id, crl_number, this_update, next_update, entry_count, crl,
    sha256)
    ON clm_status.crls TO clm_operator_core;
GRANT UPDATE (crl_number, this_update, next_update, entry_count, crl, sha256, published_at, needed_until)
    ON clm_status.crls TO clm_operator_core;
GRANT UPDATE (certificate, not_after, refused_reason) ON clm_status.ocsp_responders TO clm_operator_core;

GRANT INSERT (id, issuer_key_id, organization_id, csr, origin) ON clm_status.ocsp_responders TO clm_responder;

-- ---------------------------------------------------------------------------------------------- comments

COMMENT ON SCHEMA clm_status IS 'What the responder serves: CRLs, revoked certificates, CA certificates. A copy; clm_secure_db decides.';
COMMENT ON TABLE clm_status.issuers IS 'CAs that publish, by key. A row stays when the CA''s object is deleted.';
COMMENT ON COLUMN clm_status.issuers.issuer_key_id IS 'Key of the CA (clm_secure_db.encryption_keys).';
COMMENT ON COLUMN clm_status.issuers.organization_id IS 'Organization (tenant) of the CA.';
COMMENT ON COLUMN clm_status.issuers.name IS 'Namespace and name of the CA''s Certificate, for logs and metrics.';
COMMENT ON COLUMN clm_status.issuers.subject IS 'Subject of the CA: a Name, DER.';
COMMENT ON COLUMN clm_status.issuers.spki IS 'Public key of the CA: a SubjectPublicKeyInfo, DER.';
COMMENT ON COLUMN clm_status.issuers.certificate IS 'Newest certificate of the CA, DER: what the AIA URL gives.';
COMMENT ON COLUMN clm_status.issuers.chain IS 'Certificates above it, nearest first, up to the root, DER; empty for a root.';
COMMENT ON COLUMN clm_status.issuers.base_urls IS 'Public URLs that certificates of the CA were issued with, the current one last.';
COMMENT ON COLUMN clm_status.issuers.crl_enabled IS 'Whether CRLs are published.';
COMMENT ON COLUMN clm_status.issuers.crl_lifetime IS 'From thisUpdate to nextUpdate.';
COMMENT ON COLUMN clm_status.issuers.crl_shards IS 'Into how many partitions new certificates are spread; 1: the complete CRL only.';
COMMENT ON COLUMN clm_status.issuers.ocsp_enabled IS 'Whether OCSP answers are given.';
COMMENT ON COLUMN clm_status.issuers.updated_at IS 'When the row was changed last.';
COMMENT ON TABLE clm_status.revocations IS 'Revoked certificates that have not expired, or not long ago.';
COMMENT ON COLUMN clm_status.revocations.issuer_key_id IS 'Key of the CA that issued it.';
COMMENT ON COLUMN clm_status.revocations.serial_number IS 'Serial number, big endian.';
COMMENT ON COLUMN clm_status.revocations.organization_id IS 'Organization (tenant) of the certificate.';
COMMENT ON COLUMN clm_status.revocations.certificate_id IS 'Id of the certificate, in both databases.';
COMMENT ON COLUMN clm_status.revocations.reason_code IS 'CRLReason (RFC 5280 5.3.1); 0 is unspecified.';
COMMENT ON COLUMN clm_status.revocations.revoked_at IS 'Revocation date that CRL and OCSP tell.';
COMMENT ON COLUMN clm_status.revocations.invalidity_date IS 'Since when the key is thought to be bad (RFC 5280 5.3.2); null: not said.';
COMMENT ON COLUMN clm_status.revocations.not_after IS 'When the certificate expires: before that the row is never removed.';
COMMENT ON COLUMN clm_status.revocations.recorded_at IS 'When the row came here; who keeps a copy in memory reads on from it.';
COMMENT ON TABLE clm_status.crls IS 'Newest CRL of each CA and partition. The complete one is partition 0 of 1.';
COMMENT ON COLUMN clm_status.crls.issuer_key_id IS 'Key that signed it.';
COMMENT ON COLUMN clm_status.crls.shards IS 'Number of partitions of its scheme; 1 for the complete CRL.';
COMMENT ON COLUMN clm_status.crls.shard IS 'Which of them: serial number modulo shards.';
COMMENT ON COLUMN clm_status.crls.organization_id IS 'Organization (tenant) of the CA.';
COMMENT ON COLUMN clm_status.crls.crl_number IS 'CRLNumber (RFC 5280 5.2.3): rises with each one, also after a restore, as it is no less than the microseconds since 1970.';
COMMENT ON COLUMN clm_status.crls.this_update IS 'thisUpdate.';
COMMENT ON COLUMN clm_status.crls.next_update IS 'nextUpdate; it is replaced before half of the time until then is over.';
COMMENT ON COLUMN clm_status.crls.entry_count IS 'How many certificates it lists.';
COMMENT ON COLUMN clm_status.crls.crl IS 'The CertificateList, DER.';
COMMENT ON COLUMN clm_status.crls.sha256 IS 'SHA-256 of it.';
COMMENT ON COLUMN clm_status.crls.published_at IS 'When it was written here.';
COMMENT ON COLUMN clm_status.crls.needed_until IS 'Set when the number of partitions was changed: until when a certificate may name this partition.';
COMMENT ON TABLE clm_status.ocsp_responders IS 'Keys of responder replicas, each asking to be certified for one CA, and what came of it.';
COMMENT ON COLUMN clm_status.ocsp_responders.id IS 'Id of the request, chosen by the replica.';
COMMENT ON COLUMN clm_status.ocsp_responders.issuer_key_id IS 'Key of the CA that it wants to answer for.';
COMMENT ON COLUMN clm_status.ocsp_responders.organization_id IS 'Organization (tenant) of the CA.';
COMMENT ON COLUMN clm_status.ocsp_responders.csr IS 'PKCS#10 request, DER: the key, and the proof that it is held.';
COMMENT ON COLUMN clm_status.ocsp_responders.origin IS 'Replica that asks, such as its pod.';
COMMENT ON COLUMN clm_status.ocsp_responders.requested_at IS 'When it asked, by the database''s clock.';
COMMENT ON COLUMN clm_status.ocsp_responders.certificate IS 'Delegated OCSP signing certificate (RFC 6960 4.2.2.2), DER; null until it is issued.';
COMMENT ON COLUMN clm_status.ocsp_responders.not_after IS 'When that certificate expires.';
COMMENT ON COLUMN clm_status.ocsp_responders.refused_reason IS 'Why none is issued; null unless it was refused.';

INSERT INTO clm_meta.schema_migrations (version, name) VALUES (5, '005_certificate_status')
ON CONFLICT DO NOTHING;

COMMIT;
