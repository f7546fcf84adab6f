-- Seals of the audit log: which records stood in it, signed by a key in the HSM; and the way by which a month of it leaves.
--
-- Who writes a record pays nothing for it. A seal covers a range of transaction ids that are all over, so that no record
-- can come into it later. docs/decisions/0008 tells why.

BEGIN;

SET LOCAL ROLE clm_owner;
SET LOCAL search_path = pg_catalog, public;

CREATE SCHEMA clm_audit;

-- ---------------------------------------------------------------------------------------------- tables

-- A logical restore begins transaction ids anew; within an epoch they only rise.
CREATE TABLE clm_audit.epochs (
    epoch int PRIMARY KEY CHECK (epoch > 0),
    reason text NOT NULL,
    began_by text NOT NULL DEFAULT session_user,
    began_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO clm_audit.epochs (epoch, reason) VALUES (1, 'the database was made');

CREATE TABLE clm_audit.sealing_keys (
    id uuid PRIMARY KEY,
    spki bytea NOT NULL CHECK (octet_length(spki) BETWEEN 32 AND 2048),
    first_used_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE clm_audit.seals (
    batch bigint PRIMARY KEY CHECK (batch > 0),
    ledger_epoch int NOT NULL REFERENCES clm_audit.epochs (epoch),
    from_xid xid8 NOT NULL,
    to_xid xid8 NOT NULL,
    records bigint NOT NULL CHECK (records > 0),
    total bigint NOT NULL,
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    previous bytea NOT NULL CHECK (octet_length(previous) = 32),
    sealed_at timestamptz NOT NULL,
    key_id uuid NOT NULL REFERENCES clm_audit.sealing_keys (id),
    note text NOT NULL CHECK (note <> ''),
    leaves bytea NOT NULL,
    UNIQUE (ledger_epoch, from_xid),
    CONSTRAINT seals_range CHECK (from_xid < to_xid),
    CONSTRAINT seals_total CHECK (total >= records),
    CONSTRAINT seals_leaves CHECK (octet_length(leaves) = 32 * records)
);
CREATE INDEX seals_key_id ON clm_audit.seals (key_id);
-- Hashes do not compress.
ALTER TABLE clm_audit.seals ALTER COLUMN leaves SET STORAGE EXTERNAL;

CREATE TABLE clm_audit.archives (
    month date PRIMARY KEY CHECK (extract(day FROM month) = 1),
    partition text NOT NULL UNIQUE,
    records bigint NOT NULL CHECK (records >= 0),
    key_id uuid NOT NULL REFERENCES clm_audit.sealing_keys (id),
    manifest text NOT NULL CHECK (manifest <> ''),
    location text NOT NULL,
    archived_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX archives_key_id ON clm_audit.archives (key_id);

-- ---------------------------------------------------------------------------------------------- only added

DO $$
DECLARE
    guarded text;
BEGIN
    FOREACH guarded IN ARRAY ARRAY['epochs', 'sealing_keys', 'seals', 'archives'] LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE OR DELETE ON clm_audit.%I'
                       ' FOR EACH ROW EXECUTE FUNCTION clm_guard.refuse_change()', guarded || '_only_added', guarded);
        EXECUTE format('CREATE TRIGGER %I BEFORE TRUNCATE ON clm_audit.%I'
                       ' FOR EACH STATEMENT EXECUTE FUNCTION clm_guard.refuse_change()', guarded || '_not_emptied', guarded);
        EXECUTE format('ALTER TABLE clm_audit.%I ENABLE ALWAYS TRIGGER %I', guarded, guarded || '_only_added');
        EXECUTE format('ALTER TABLE clm_audit.%I ENABLE ALWAYS TRIGGER %I', guarded, guarded || '_not_emptied');
    END LOOP;
END
$$;

-- ---------------------------------------------------------------------------------------------- acts

-- Writes a record of the system's. Its details have to be in canonical form (RFC 8785) already.
CREATE FUNCTION clm_guard.record_act(action text, object_id text, reason text, details text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    served constant text := current_setting('clm.organization', true);
BEGIN
    PERFORM set_config('clm.organization', '69b11eab-bcf8-5616-ad09-8b9c083389a8', true);
    INSERT INTO public.secure_audit_log (organization_id, actor_type, actor_id, action, object_type, object_id, reason,
                              origin, details, details_canonical)
    VALUES ('69b11eab-bcf8-5616-ad09-8b9c083389a8', 'user', session_user, record_act.action, 'audit-log', record_act.object_id,
            record_act.reason, 'database', record_act.details::jsonb, convert_to(record_act.details, 'UTF8'));
    PERFORM set_config('clm.organization', coalesce(served, ''), true);
END
$$;

CREATE FUNCTION clm_guard.begin_ledger_epoch(reason text) RETURNS int LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '30s' AS $$
DECLARE
    following int;
BEGIN
    IF coalesce(begin_ledger_epoch.reason, '') = '' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'say why: what was restored, from when, by whose order';
    END IF;
    -- Waits for every writer: no transaction writes into both epochs.
    LOCK TABLE public.secure_audit_log IN ACCESS EXCLUSIVE MODE;
    INSERT INTO clm_audit.epochs (epoch, reason)
    SELECT max(e.epoch) + 1, begin_ledger_epoch.reason FROM clm_audit.epochs e
    RETURNING epoch INTO following;
    EXECUTE format('ALTER TABLE public.secure_audit_log ALTER COLUMN ledger_epoch SET DEFAULT %s', following);
    PERFORM clm_guard.record_act('audit.epoch', following::text, begin_ledger_epoch.reason,
                                 format('{"epoch":%s}', following));
    RETURN following;
END
$$;

CREATE FUNCTION clm_guard.record_archive(
    month date, records bigint, key_id uuid, manifest text, location text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    partition text := 'secure_audit_log_' || to_char(record_archive.month, 'YYYY_MM');
BEGIN
    IF to_regclass('clm_audit_parts.' || partition) IS NULL THEN
        RAISE undefined_table USING MESSAGE = format('there is no partition %s', partition);
    END IF;
    IF NOT EXISTS (SELECT FROM clm_audit.seals s WHERE s.key_id = record_archive.key_id) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'no seal was signed with that key';
    END IF;
    INSERT INTO clm_audit.archives (month, partition, records, key_id, manifest, location)
    VALUES (record_archive.month, partition, record_archive.records, record_archive.key_id, record_archive.manifest,
            record_archive.location);
    PERFORM clm_guard.record_act(
        'audit.archive', partition, NULL,
        format('{"manifest_sha256":"%s","records":%s}',
               encode(sha256(convert_to(record_archive.manifest, 'UTF8')), 'hex'), record_archive.records));
END
$$;

-- The batch that covers a transaction: the last that begins at or before it, if it reaches that far.
CREATE FUNCTION clm_guard.batch_of(epoch int, xid xid8) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN batch_of.xid < last.to_xid THEN last.batch END
    FROM (SELECT s.batch, s.to_xid FROM clm_audit.seals s
          WHERE s.ledger_epoch = batch_of.epoch AND s.from_xid <= batch_of.xid
          ORDER BY s.from_xid DESC LIMIT 1) AS last
$$;

-- A seal is inserted by the operator's user, never by the one who records and drops archives.
CREATE FUNCTION clm_guard.archive_is_sealed(month date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    served constant text := current_setting('clm.organization', true);
    sealed boolean;
BEGIN
    PERFORM set_config('clm.organization', '69b11eab-bcf8-5616-ad09-8b9c083389a8', true);
    sealed := EXISTS (
        SELECT FROM clm_audit.archives a JOIN public.secure_audit_log r
            ON r.action = 'audit.archive' AND r.object_type = 'audit-log' AND r.object_id = a.partition
            AND r.occurred_at >= a.archived_at - interval '1 day'
            AND r.details ->> 'manifest_sha256' = encode(sha256(convert_to(a.manifest, 'UTF8')), 'hex')
        WHERE a.month = archive_is_sealed.month AND clm_guard.batch_of(r.ledger_epoch, r.txid) IS NOT NULL
    );
    PERFORM set_config('clm.organization', coalesce(served, ''), true);
    RETURN sealed;
END
$$;

-- It knows what is in this database: not whether a signature holds, nor whether any file exists. `clm audit archive` does.
CREATE FUNCTION clm_guard.drop_archived_partition(month date, manifest_sha256 bytea) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '5s' AS $$
DECLARE
    archive clm_audit.archives;
    standing bigint;
    unsealed bigint;
    first_batch bigint;
    last_batch bigint;
BEGIN
    SELECT a.* INTO archive FROM clm_audit.archives a WHERE a.month = drop_archived_partition.month;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = format('%s is not archived', to_char(drop_archived_partition.month, 'YYYY-MM'));
    END IF;
    IF sha256(convert_to(archive.manifest, 'UTF8')) <> manifest_sha256 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'that is not the manifest of the archive';
    END IF;
    IF archive.month + interval '1 month' + interval '90 days' > clock_timestamp() THEN
        RAISE check_violation USING MESSAGE = 'the month has not been over for 90 days';
    END IF;
    IF NOT EXISTS (SELECT FROM clm_audit.seals s WHERE s.key_id = archive.key_id) THEN
        RAISE check_violation USING MESSAGE = 'no seal was signed with the key of the archive';
    END IF;
    IF NOT clm_guard.archive_is_sealed(archive.month) THEN
        RAISE check_violation USING MESSAGE = 'the record of the archive is not sealed yet';
    END IF;
    EXECUTE format('LOCK TABLE clm_audit_parts.%I IN SHARE MODE', archive.partition);
    -- One range after the other is one long range: there are as many as there are holes, and a record is looked for in few.
    EXECUTE format(
        'WITH marked AS ('
        '    SELECT ledger_epoch, from_xid, to_xid, from_xid IS DISTINCT FROM lag(to_xid)'
        '        OVER (PARTITION BY ledger_epoch ORDER BY from_xid) AS begins FROM clm_audit.seals'
        '), numbered AS ('
        '    SELECT ledger_epoch, from_xid, to_xid, count(*) FILTER (WHERE begins)'
        '        OVER (PARTITION BY ledger_epoch ORDER BY from_xid) AS number FROM marked'
        '), ranges AS MATERIALIZED ('
        '    SELECT ledger_epoch, min(from_xid::text::numeric)::text::xid8 AS from_xid,'
        '        max(to_xid::text::numeric)::text::xid8 AS to_xid FROM numbered GROUP BY ledger_epoch, number'
        ')'
        'SELECT count(*), count(*) FILTER (WHERE NOT EXISTS (SELECT FROM ranges s'
        ' WHERE s.ledger_epoch = p.ledger_epoch AND s.from_xid <= p.txid AND s.to_xid > p.txid))'
        ' FROM clm_audit_parts.%I p', archive.partition) INTO standing, unsealed;
    IF standing <> archive.records OR unsealed > 0 THEN
        RAISE check_violation USING MESSAGE = format(
            '%s has %s records, %s of them not sealed; archived are %s',
            archive.partition, standing, unsealed, archive.records);
    END IF;
    EXECUTE format(
        'SELECT (SELECT clm_guard.batch_of(ledger_epoch, txid) FROM clm_audit_parts.%1$I ORDER BY ledger_epoch, txid LIMIT 1),'
        ' (SELECT clm_guard.batch_of(ledger_epoch, txid) FROM clm_audit_parts.%1$I'
        '  ORDER BY ledger_epoch DESC, txid DESC LIMIT 1)', archive.partition) INTO first_batch, last_batch;
    -- What the manifest says of itself, in its own lines, as `clm audit archive` writes it.
    IF archive.manifest NOT LIKE
        E'clm-audit/v1 %\n' || format(E'archive %s\nrecords %s\n', to_char(archive.month, 'YYYY-MM'), standing) || 'root %'
        OR archive.manifest NOT LIKE format(
            E'%%\nbatches %s %s\n%%', coalesce(first_batch, 0), coalesce(last_batch, 0))
    THEN
        RAISE check_violation USING MESSAGE = format(
            'the manifest is not of the %s records of %s in batches %s to %s',
            standing, archive.partition, first_batch, last_batch);
    END IF;
    PERFORM clm_guard.record_act('audit.drop', archive.partition, NULL, format('{"records":%s}', standing));
    EXECUTE format('DROP TABLE clm_audit_parts.%I', archive.partition);
    RETURN standing;
END
$$;

-- ---------------------------------------------------------------------------------------------- what each may do

GRANT USAGE ON SCHEMA clm_audit TO clm_operator_secure, clm_auditor, clm_archiver;
GRANT SELECT ON clm_audit.epochs, clm_audit.sealing_keys, clm_audit.seals, clm_audit.archives
    TO clm_operator_secure, clm_auditor, clm_archiver;
GRANT INSERT (id, spki) ON clm_audit.sealing_keys TO clm_operator_secure;
GRANT INSERT (batch, ledger_epoch, from_xid, to_xid, records, total, root, previous, sealed_at, key_id, note, leaves)
    ON clm_audit.seals TO clm_operator_secure;
GRANT USAGE ON SCHEMA clm_guard TO clm_archiver, clm_migrator;
REVOKE ALL ON FUNCTION clm_guard.record_act(text, text, text, text), clm_guard.begin_ledger_epoch(text),
    clm_guard.record_archive(date, bigint, uuid, text, text), clm_guard.batch_of(int, xid8),
    clm_guard.archive_is_sealed(date), clm_guard.drop_archived_partition(date, bytea)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION clm_guard.begin_ledger_epoch(text) TO clm_migrator;
GRANT EXECUTE ON FUNCTION clm_guard.record_archive(date, bigint, uuid, text, text), clm_guard.archive_is_sealed(date),
    clm_guard.drop_archived_partition(date, bytea) TO clm_archiver;

-- ---------------------------------------------------------------------------------------------- comments

COMMENT ON SCHEMA clm_audit IS 'Proof that the audit log is what it was: seals, the keys that sign them, archives.';
COMMENT ON TABLE clm_audit.epochs IS 'Since when transaction ids count anew; one row a logical restore.';
COMMENT ON COLUMN clm_audit.epochs.epoch IS 'Counts from 1; records are written with the newest.';
COMMENT ON COLUMN clm_audit.epochs.reason IS 'Why it began.';
COMMENT ON COLUMN clm_audit.epochs.began_by IS 'Database user who began it.';
COMMENT ON COLUMN clm_audit.epochs.began_at IS 'When it began.';
COMMENT ON TABLE clm_audit.sealing_keys IS 'Public keys of the keys in the HSM that have signed seals. Whom to trust is not said here, but by the exported public key.';
COMMENT ON COLUMN clm_audit.sealing_keys.id IS 'Id of the key; its CKA_ID in the token.';
COMMENT ON COLUMN clm_audit.sealing_keys.spki IS 'SubjectPublicKeyInfo, DER.';
COMMENT ON COLUMN clm_audit.sealing_keys.first_used_at IS 'When it first signed here.';
COMMENT ON TABLE clm_audit.seals IS 'One row a sealed batch: the records of its epoch with from_xid <= txid < to_xid, in order of txid and id.';
COMMENT ON COLUMN clm_audit.seals.batch IS 'Counts the batches from 1.';
COMMENT ON COLUMN clm_audit.seals.ledger_epoch IS 'Epoch of its records.';
COMMENT ON COLUMN clm_audit.seals.from_xid IS 'First transaction id that belongs to it: where the batch before ended.';
COMMENT ON COLUMN clm_audit.seals.to_xid IS 'First transaction id that no longer belongs to it.';
COMMENT ON COLUMN clm_audit.seals.records IS 'How many records it covers.';
COMMENT ON COLUMN clm_audit.seals.total IS 'How many are covered by it and all before it.';
COMMENT ON COLUMN clm_audit.seals.root IS 'Merkle root over its records (RFC 9162 2.1).';
COMMENT ON COLUMN clm_audit.seals.previous IS 'SHA-256 of the signed text of the batch before.';
COMMENT ON COLUMN clm_audit.seals.sealed_at IS 'When it was sealed, by the clock of the sealer.';
COMMENT ON COLUMN clm_audit.seals.key_id IS 'Key that signed it.';
COMMENT ON COLUMN clm_audit.seals.note IS 'The signed note: all of the above in text, and the signature. This is what counts.';
COMMENT ON COLUMN clm_audit.seals.leaves IS 'Hashes of its records, 32 octets each: they tell which record was changed, and prove those in archives.';
COMMENT ON TABLE clm_audit.archives IS 'Months of the audit log that were archived; their partitions may be dropped.';
COMMENT ON COLUMN clm_audit.archives.month IS 'First day of the month.';
COMMENT ON COLUMN clm_audit.archives.partition IS 'Partition in clm_audit_parts.';
COMMENT ON COLUMN clm_audit.archives.records IS 'How many records the archive holds.';
COMMENT ON COLUMN clm_audit.archives.key_id IS 'Key that signed the manifest.';
COMMENT ON COLUMN clm_audit.archives.manifest IS 'The signed manifest: which sealed records went into which file.';
COMMENT ON COLUMN clm_audit.archives.location IS 'Where the archive was written to.';
COMMENT ON COLUMN clm_audit.archives.archived_at IS 'When it was written and read back.';
COMMENT ON FUNCTION clm_guard.record_act(text, text, text, text) IS 'Writes an audit record of an act on the audit log itself.';
COMMENT ON FUNCTION clm_guard.begin_ledger_epoch(text) IS 'To be called after a logical restore, before anything is written: records get a new epoch, as transaction ids begin anew. Gives the epoch.';
COMMENT ON FUNCTION clm_guard.record_archive(date, bigint, uuid, text, text) IS 'Records that a month was archived, with the manifest, said to be signed with a key that seals were signed with. It verifies no signature.';
COMMENT ON FUNCTION clm_guard.batch_of(int, xid8) IS 'The batch that covers a transaction; null where it is not sealed.';
COMMENT ON FUNCTION clm_guard.archive_is_sealed(date) IS 'Whether the record that a month was archived is itself sealed: before that nothing is dropped.';
COMMENT ON FUNCTION clm_guard.drop_archived_partition(date, bytea) IS 'Drops the partition of a month that has been over for 90 days, when the record of its archive is sealed, the manifest names its number of records and its batches, and all of them are sealed. It verifies no signature and reads no file. Gives the number of records that went.';

INSERT INTO clm_meta.schema_migrations (version, name) VALUES (4, '004_audit_seals')
ON CONFLICT DO NOTHING;

COMMIT;
