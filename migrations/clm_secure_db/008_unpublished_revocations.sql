-- clm:no-transaction
-- What waits for a CRL is read page by page in order of the ids: in an index, 1,000,000 revocations are not sorted anew
-- for each page. Which partition carries a revocation follows from its serial number, so that what was written down of
-- that is of no use any more. Its columns stay for the release before this one, which writes them, and go with a later
-- one; an index on them must be gone by then.

-- What a run that was cut off has left is not valid.
DROP INDEX CONCURRENTLY IF EXISTS public.certificate_revocations_waiting;

CREATE INDEX CONCURRENTLY IF NOT EXISTS certificate_revocations_waiting
    ON public.certificate_revocations (issuer_key_id, id) WHERE published_at IS NULL;

DROP INDEX CONCURRENTLY IF EXISTS public.certificate_revocations_unpublished;

COMMENT ON COLUMN public.certificate_revocations.crl_shard IS 'Not written any more, and goes with a later release: the partition follows from the serial number.';

COMMENT ON COLUMN public.certificate_revocations.crl_shards IS 'Not written any more, and goes with a later release: the partition follows from the serial number.';

INSERT INTO clm_meta.schema_migrations (version, name) VALUES (8, '008_unpublished_revocations')
ON CONFLICT DO NOTHING;
