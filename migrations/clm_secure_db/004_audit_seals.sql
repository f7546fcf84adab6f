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
    month date, records bigint, key_id uuid, spki bytea, manifest text, location text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    partition text := 'secure_audit_log_' || to_char(record_archive.month, 'YYYY_MM');
BEGIN
    IF to_regclass('clm_audit_parts.' || partition) IS NULL THEN
        RAISE undefined_table USING MESSAGE = format('there is no partition %s', partition);
    END IF;
    INSERT INTO clm_audit.sealing_keys (id, spki) VALUES (record_archive.key_id, record_archive.spki)
    ON CONFLICT DO NOTHING;
    INSERT INTO clm_audit.archives (month, partition, records, key_id, manifest, location)
    VALUES (record_archive.month, partition, record_archive.records, record_archive.key_id, record_archive.manifest,
            record_archive.location);
    PERFORM clm_guard.record_act(
        'audit.archive', partition, NULL,
        format('{"manifest_sha256":"%s","records":%s}',
               encode(sha256(convert_to(record_archive.manifest, 'UTF8')), 'hex'), record_archive.records));
END
$$;

CREATE FUNCTION clm_guard.drop_archived_partition(month date, manifest_sha256 bytea) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '5s' AS $$
DECLARE
    archive clm_audit.archives;
    standing bigint;
    unsealed bigint;
BEGIN
    SELECT a.* INTO archive FROM clm_audit.archives a WHERE a.month = drop_archived_partition.month;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = format('%s is not archived', to_char(drop_archived_partition.month, 'YYYY-MM'));
    END IF;
    IF sha256(convert_to(archive.manifest, 'UTF8')) <> manifest_sha256 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'that is not the manifest of the archive';
    END IF;
    IF archive.month + interval '1 month' > clock_timestamp() THEN
        RAISE check_violation USING MESSAGE = 'the month is not over';
    END IF;
    EXECUTE format('LOCK TABLE clm_audit_parts.%I IN SHARE MODE', archive.partition);
    EXECUTE format(
        'SELECT count(*), count(*) FILTER (WHERE NOT EXISTS (SELECT FROM clm_audit.seals s'
        ' WHERE s.ledger_epoch = p.ledger_epoch AND s.from_xid <= p.txid AND s.to_xid > p.txid))'
        ' FROM clm_audit_parts.%I p', archive.partition) INTO standing, unsealed;
    IF standing <> archive.records OR unsealed > 0 THEN
        RAISE check_violation USING MESSAGE = format(
            '%s has %s records, %s of them not sealed; archived are %s',
            archive.partition, standing, unsealed, archive.records);
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
    clm_guard.record_archive(date, bigint, uuid, bytea, text, text), clm_guard.drop_archived_partition(date, bytea)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION clm_guard.begin_ledger_epoch(text) TO clm_migrator;
GRANT EXECUTE ON FUNCTION clm_guard.record_archive(date, bigint, uuid, bytea, text, text),
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
COMMENT ON FUNCTION clm_guard.record_archive(date, bigint, uuid, bytea, text, text) IS 'Records that a month was archived, with the signed manifest.';
COMMENT ON FUNCTION clm_guard.drop_archived_partition(date, bytea) IS 'Drops the partition of an archived month, when it holds just what was archived and all of it is sealed. Gives the number of records that went.';

INSERT INTO clm_meta.schema_migrations (version, name) VALUES (4, '004_audit_seals')
ON CONFLICT DO NOTHING;

COMMIT;
