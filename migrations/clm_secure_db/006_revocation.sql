-- Which partition of the CRL carries a revoked certificate, and what may still become of a revocation.

BEGIN;

SET LOCAL ROLE clm_owner;
SET LOCAL search_path = pg_catalog, public;

-- A certificate names its partition by number and by how many there were when it was issued.
ALTER TABLE public.certificate_revocations ADD COLUMN crl_shards int NOT NULL DEFAULT 1
    CHECK (crl_shards BETWEEN 1 AND 256 AND crl_shard < crl_shards);

-- A certificate is revoked once, and the first reason stands, but for one that is found to be worse: that the key was
-- compromised is said also of what was revoked before.
CREATE FUNCTION clm_guard.check_revocation_reason() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF OLD.reason_code NOT IN (1, 2) AND NEW.reason_code IN (1, 2) THEN
        RETURN NEW;
    END IF;
    RAISE check_violation USING
        MESSAGE = format('a revocation for reason %s cannot become one for reason %s', OLD.reason_code, NEW.reason_code),
        SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = 'reason_code';
END
$$;
REVOKE ALL ON FUNCTION clm_guard.check_revocation_reason() FROM PUBLIC;

CREATE TRIGGER certificate_revocations_reason BEFORE UPDATE OF reason_code ON public.certificate_revocations
    FOR EACH ROW WHEN (OLD.reason_code IS DISTINCT FROM NEW.reason_code)
    EXECUTE FUNCTION clm_guard.check_revocation_reason();
ALTER TABLE public.certificate_revocations ENABLE ALWAYS TRIGGER certificate_revocations_reason;

GRANT INSERT (crl_shards) ON public.certificate_revocations TO clm_operator_secure;
GRANT UPDATE (reason_code, invalidity_date) ON public.certificate_revocations TO clm_operator_secure;

COMMENT ON COLUMN public.certificate_revocations.crl_shards IS 'Into how many partitions the CRL was cut that the certificate names; 1: the complete CRL only.';
COMMENT ON FUNCTION clm_guard.check_revocation_reason() IS 'Trigger: the reason of a revocation changes only into keyCompromise or cACompromise (RFC 5280 5.3.1), from neither.';

INSERT INTO clm_meta.schema_migrations (version, name) VALUES (6, '006_revocation')
ON CONFLICT DO NOTHING;

COMMIT;
