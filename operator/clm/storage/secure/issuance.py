"""The two durable steps of an issuance: the intent before the signature, the record after it.

Each is one statement an item and one transaction for all items that wait (see `storage.coalescer`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from psycopg import errors as pg

from clm.errors import KeyNotActive, QuotaExceeded, RevisionTaken
from clm.storage import audit_sql, batch
from clm.storage.coalescer import Coalescer
from clm.storage.secure.quotas import take_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clm.resources.audit import AuditRecord
    from clm.resources.records import CertificateRow, Intent
    from clm.storage.database import Connection, Database
    from clm.storage.secure.quotas import Refused

# A write holds the rows of the KEK, of the issuer's key and its certificate: whoever suspends, retires or revokes one
# waits for it, or it for them. So it does with a stored key that is used again, which nobody destroys meanwhile. Where
# one is not active, nothing is written.
_INTEND = f"""
WITH fence AS (
    SELECT id FROM encryption_keys WHERE id = ANY(%(keys)b) AND state = 'active' FOR SHARE
), reused AS (
    SELECT id FROM private_keys WHERE id = ANY(%(reused)b) AND state = 'active' FOR SHARE
), issuing AS (
    SELECT id FROM certificates WHERE id = ANY(%(issuers)b) AND state <> 'revoked' FOR SHARE
), item AS (
    SELECT * FROM json_to_recordset(convert_from(%(items)b, 'UTF8')::json) AS i (
        id uuid, organization_id uuid, cluster_id uuid, resource_uid uuid, namespace text, name text, revision int,
        generation bigint, spec_hash bytea, policy_name text, policy_uid uuid, policy_generation bigint,
        issuer_key_id uuid, issuer_certificate_id uuid, subject_key_id uuid, private_key_id uuid, csr bytea,
        serial_number bytea, tbs bytea, signature_algorithm text, not_before timestamptz, not_after timestamptz,
        common_name text, sans jsonb, is_ca boolean, reason text, key_id uuid, kek_id uuid, key_algorithm text,
        wrapped_dek bytea, ciphertext bytea, key_spki_sha256 bytea, {audit_sql.ITEM_COLUMNS})
    WHERE (SELECT count(*) FROM fence) = cardinality(%(keys)b::uuid[])
      AND (SELECT count(*) FROM issuing) = cardinality(%(issuers)b::uuid[])
      AND (SELECT count(*) FROM reused) = cardinality(%(reused)b::uuid[])
), new_key AS (
    INSERT INTO private_keys
        (id, organization_id, encryption_key_id, algorithm, wrap_algorithm, wrapped_dek, ciphertext,
         spki_sha256, state)
    SELECT key_id, organization_id, kek_id, key_algorithm, 'aes-256-gcm', wrapped_dek, ciphertext, key_spki_sha256,
           'active'
    FROM item WHERE key_id IS NOT NULL
), request AS (
    INSERT INTO certificate_requests
        (id, organization_id, cluster_id, resource_uid, namespace, name, revision, generation, spec_hash,
         policy_name, policy_uid, policy_generation, issuer_key_id, issuer_certificate_id, subject_key_id,
         private_key_id, csr, serial_number, tbs, signature_algorithm, not_before, not_after, common_name, sans,
         is_ca, reason, state)
    SELECT id, organization_id, cluster_id, resource_uid, namespace, name, revision, generation, spec_hash,
           policy_name, policy_uid, policy_generation, issuer_key_id, issuer_certificate_id, subject_key_id,
           private_key_id, csr, serial_number, tbs, signature_algorithm, not_before, not_after, common_name, sans,
           is_ca, reason, 'pending'
    FROM item
)
INSERT INTO secure_audit_log ({audit_sql.COLUMNS}) SELECT {audit_sql.ITEM_VALUES} FROM item
"""  # noqa: S608 - constants only

# Who comes second has signed, not issued.
_ACT = audit_sql.ITEM_VALUES.replace(
    "audit_action",
    "CASE WHEN EXISTS (SELECT FROM issued WHERE issued.id = item.id) THEN audit_action ELSE 'certificate.sign' END",
)

_REVOKED = (
    audit_sql.ITEM_VALUES.replace("audit_action", "'certificate.revoke'")
    .replace("audit_reason", "'superseded'")
    .replace("audit_details", "revocation_audit")
)

# One statement also where nobody wants the certificate any more: recorded alive for a moment, it could be adopted.
# Reason 4 is superseded (RFC 5280 5.3.1). The certificate's other columns are the request's: they were decided, and
# made durable, by the intent. The ids stand there twice: of the recordset's length the planner knows nothing, and would
# read every request.
_RECORD = f"""
WITH item AS (
    SELECT * FROM json_to_recordset(convert_from(%(items)b, 'UTF8')::json) AS i (
        id uuid, certificate bytea, fingerprint bytea, spki_sha256 bytea, subject text, issuer text, ski bytea,
        aki bytea, path_length int, secret_name text, renewal_due_at timestamptz, unwanted text, crl_shards int,
        crl_shard int, revocation_audit bytea,
        {audit_sql.ITEM_COLUMNS})
), issued AS (
    INSERT INTO certificates
        (id, request_id, organization_id, cluster_id, resource_uid, namespace, name, revision, spec_hash,
         issuer_key_id, issuer_certificate_id, subject_key_id, private_key_id, serial_number, certificate,
         fingerprint_sha256, spki_sha256, subject, issuer, common_name, sans, subject_key_identifier,
         authority_key_identifier, not_before, not_after, is_ca, path_length, secret_name, state,
         renewal_due_at)
    SELECT r.id, r.id, r.organization_id, r.cluster_id, r.resource_uid, r.namespace, r.name, r.revision,
           r.spec_hash, r.issuer_key_id, r.issuer_certificate_id, r.subject_key_id, r.private_key_id,
           r.serial_number, i.certificate, i.fingerprint, i.spki_sha256, i.subject, i.issuer,
           r.common_name, r.sans, i.ski, i.aki, r.not_before, r.not_after, r.is_ca, i.path_length,
           i.secret_name, CASE WHEN i.unwanted IS NULL THEN 'active' ELSE 'revoked' END, i.renewal_due_at
    FROM item i JOIN certificate_requests r ON r.id = i.id
    WHERE r.id = ANY(%(ids)b)
    ON CONFLICT DO NOTHING
    RETURNING id, organization_id, issuer_key_id, serial_number
), request AS (
    UPDATE certificate_requests r
    SET state = CASE WHEN i.unwanted IS NULL THEN 'issued' ELSE 'superseded' END, issued_at = now()
    FROM item i
    WHERE r.id = i.id AND r.id = ANY(%(ids)b) AND r.state = 'pending'
), revocation AS (
    INSERT INTO certificate_revocations
        (id, organization_id, certificate_id, issuer_key_id, serial_number, reason_code, revoked_at, comment,
         crl_shards, crl_shard)
    SELECT gen_random_uuid(), n.organization_id, n.id, n.issuer_key_id, n.serial_number, 4,
           date_trunc('second', now()), i.unwanted, i.crl_shards, i.crl_shard
    FROM issued n JOIN item i ON i.id = n.id WHERE i.unwanted IS NOT NULL
    RETURNING certificate_id
), revoked AS (
    INSERT INTO secure_audit_log ({audit_sql.COLUMNS})
    SELECT {_REVOKED} FROM item WHERE id IN (SELECT certificate_id FROM revocation)
), work AS (
    INSERT INTO clm_work.outbox (id, organization_id, next_attempt_at)
    SELECT id, organization_id, now() + interval '15 seconds' FROM issued
    ON CONFLICT DO NOTHING
)
INSERT INTO secure_audit_log ({audit_sql.COLUMNS}) SELECT {_ACT} FROM item
"""  # noqa: S608 - constants only

_AUDITS = audit_sql.insert_items("secure_audit_log")

# Publishing may take several attempts; the act is one.
_ADOPT = f"""
INSERT INTO secure_audit_log ({audit_sql.COLUMNS})
SELECT {audit_sql.VALUES}
WHERE NOT EXISTS (
    SELECT FROM secure_audit_log
    WHERE object_type = %(audit_object_type)s AND object_id = %(audit_object_id)s AND action = %(audit_action)s
      AND details_canonical = %(audit_details)b)
"""  # noqa: S608 - constants only

# What ends is found by name, as the inventory does it: an object that was created again has another uid. The same
# statement answers what stands now, so that ending the earlier ones costs no round trip.
_SUPERSEDE_EARLIER = """
WITH ended AS (
    UPDATE certificates earlier
    SET state = 'superseded', superseded_by = newer.id
    FROM certificates newer
    WHERE newer.id = ANY(%(ids)b)
      AND earlier.id <> newer.id
      AND earlier.cluster_id = newer.cluster_id
      AND earlier.namespace = newer.namespace
      AND earlier.name = newer.name
      AND earlier.state = 'active'
      AND newer.state = 'active'
      AND CASE WHEN earlier.resource_uid = newer.resource_uid THEN earlier.revision < newer.revision
               ELSE (earlier.not_before, earlier.created_at) < (newer.not_before, newer.created_at) END
    RETURNING earlier.id
)
SELECT c.id, c.certificate, CASE WHEN ended.id IS NULL THEN c.state ELSE 'superseded' END
FROM certificates c
LEFT JOIN ended ON ended.id = c.id
WHERE c.id = ANY(%(ids)b)
"""


class Standing(NamedTuple):
    """The certificate that stands for an intent, and whether it still stands for its object."""

    certificate: bytes
    state: Literal["active", "superseded", "revoked"]


class _Record(NamedTuple):
    row: CertificateRow
    audit: AuditRecord
    signed_again: AuditRecord | None
    revocation: AuditRecord | None


class IssuanceStore:
    """Writes intents and records, shared by concurrent issuances."""

    def __init__(self, database: Database, *, origin: str, version: str) -> None:
        self._database = database
        self._origin = origin
        self._version = version
        self._intents = Coalescer[tuple["Intent", "AuditRecord"], None](self._write_intents, flushers=1)
        # Apart from the others: these wait for rows that several of them want, and may be refused.
        self._counted = Coalescer[tuple["Intent", "AuditRecord"], "Refused | None"](self._write_counted, flushers=1)
        self._records = Coalescer["_Record", Standing](self._write_records, flushers=1)

    async def intend(self, intent: Intent, audit: AuditRecord) -> None:
        """Write down what will be signed. Durable on return.

        Raises RevisionTaken when this revision (or serial) has an intent already, KeyNotActive when the issuer's key or
        the KEK is not active, QuotaExceeded when it has a quota of which nothing is left, DatabaseUnavailable.
        """
        try:
            if intent.quota is None:
                await self._intents.submit((intent, audit))
            elif (refused := await self._counted.submit((intent, audit))) is not None:
                raise QuotaExceeded(refused.until)
        except pg.UniqueViolation as error:
            raise RevisionTaken(f"{intent.owner.namespace}/{intent.owner.name} revision {intent.revision}") from error

    async def record(
        self,
        row: CertificateRow,
        audit: AuditRecord,
        *,
        signed_again: AuditRecord | None = None,
        revocation: AuditRecord | None = None,
    ) -> Standing:
        """Write down what was signed, and end the earlier certificates of that name. Durable on return.

        Returns the certificate that stands: this one, or the one that another worker recorded first for the same
        intent, which may have ended meanwhile. Both signings are in the audit log; `signed_again` adds that an
        earlier signature over the same bytes may have been lost. `revocation` is for a row that nobody wants.
        """
        return await self._records.submit(_Record(row, audit, signed_again, revocation))

    async def adopt(self, audit: AuditRecord) -> None:
        """Record that an object takes its predecessor's certificate, unless it is on record. Durable on return."""
        async with self._database.connection() as connection:
            await connection.execute(_ADOPT, self._audit_parameters(audit))

    async def _write_intents(self, items: Sequence[tuple[Intent, AuditRecord]]) -> Sequence[None]:
        async with self._database.connection() as connection:
            await self._insert_intents(connection, items)
        return [None] * len(items)

    async def _write_counted(self, items: Sequence[tuple[Intent, AuditRecord]]) -> Sequence[Refused | None]:
        """Write what there is a token for. Where nothing is written, no token is gone."""
        async with self._database.transaction() as connection:
            refused = await take_tokens(connection, [intent for intent, _ in items])
            granted = [item for item, refusal in zip(items, refused, strict=True) if refusal is None]
            if granted:
                await self._insert_intents(connection, granted)
        return refused

    async def _insert_intents(self, connection: Connection, items: Sequence[tuple[Intent, AuditRecord]]) -> None:
        rows = [self._intent_parameters(intent, audit) for intent, audit in items]
        keys = {row[name] for row in rows for name in ("kek_id", "issuer_key_id") if row[name] is not None}
        reused = {row["private_key_id"] for row in rows if row["key_id"] is None and row["private_key_id"] is not None}
        issuers = {row["issuer_certificate_id"] for row in rows if row["issuer_certificate_id"] is not None}
        parameters = {
            "items": batch.items(rows),
            "keys": list(keys),
            "reused": list(reused),
            "issuers": list(issuers),
        }
        written = await connection.execute(_INTEND, parameters)
        if written.rowcount != len(rows):
            raise KeyNotActive(
                "the issuer's key, or the one that wraps, is suspended or past its use (clm keys list),"
                " or the issuer's certificate is revoked"
            )

    async def _write_records(self, items: Sequence[_Record]) -> Sequence[Standing]:
        ids = [item.row.id for item in items]
        rows = [self._record_parameters(item) for item in items]
        again = [self._audit_parameters(item.signed_again) for item in items if item.signed_again is not None]
        *_, stands = await self._database.together(
            (_RECORD, {"items": batch.items(rows), "ids": ids}),
            *([(_AUDITS, {"items": batch.items(again)})] if again else []),
            (_SUPERSEDE_EARLIER, {"ids": ids}),
        )
        standing = {row[0]: Standing(row[1], row[2]) for row in stands}
        return [standing[row_id] for row_id in ids]

    def _audit_parameters(self, record: AuditRecord) -> dict[str, Any]:
        return audit_sql.parameters(record, origin=self._origin, version=self._version)

    def _intent_parameters(self, intent: Intent, audit: AuditRecord) -> dict[str, Any]:
        key = intent.private_key
        return {
            "id": intent.id,
            "organization_id": intent.organization_id,
            "cluster_id": intent.owner.cluster_id,
            "resource_uid": intent.owner.resource_uid,
            "namespace": intent.owner.namespace,
            "name": intent.owner.name,
            "revision": intent.revision,
            "generation": intent.generation,
            "spec_hash": intent.spec_hash,
            "policy_name": intent.policy_name,
            "policy_uid": intent.policy_uid,
            "policy_generation": intent.policy_generation,
            "issuer_key_id": intent.issuer_key_id,
            "issuer_certificate_id": intent.issuer_certificate_id,
            "subject_key_id": intent.subject_key_id,
            "private_key_id": key.id if key else intent.private_key_id,
            "csr": intent.csr,
            "serial_number": intent.serial_number,
            "tbs": intent.tbs,
            "signature_algorithm": intent.signature_algorithm,
            "not_before": intent.not_before,
            "not_after": intent.not_after,
            "common_name": intent.common_name,
            "sans": intent.sans,
            "is_ca": intent.is_ca,
            "reason": intent.reason,
            "key_id": key.id if key else None,
            "kek_id": key.encryption_key_id if key else None,
            "key_algorithm": key.algorithm if key else None,
            "wrapped_dek": key.wrapped_dek if key else None,
            "ciphertext": key.ciphertext if key else None,
            "key_spki_sha256": key.spki_sha256 if key else None,
            **self._audit_parameters(audit),
        }

    def _record_parameters(self, item: _Record) -> dict[str, Any]:
        row, audit, _, revocation_audit = item
        return {
            "id": row.id,
            "certificate": row.certificate,
            "fingerprint": row.fingerprint_sha256,
            "spki_sha256": row.spki_sha256,
            "subject": row.subject,
            "issuer": row.issuer,
            "ski": row.subject_key_identifier,
            "aki": row.authority_key_identifier,
            "path_length": row.path_length,
            "secret_name": row.secret_name,
            "renewal_due_at": row.renewal_due_at,
            "unwanted": row.unwanted,
            "crl_shards": row.crl_shards,
            "crl_shard": row.crl_shard,
            "revocation_audit": revocation_audit.canonical() if revocation_audit is not None else None,
            **self._audit_parameters(audit),
        }
