"""The second durable step of an issuance: the record of what was signed, which ends what it replaces.

One statement an item and one transaction for all items that wait (see `storage.coalescer`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from clm.storage import audit_sql, batch
from clm.storage.coalescer import Coalescer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clm.resources.audit import AuditRecord
    from clm.resources.records import CertificateRow
    from clm.storage.database import Database

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
        aki bytea, path_length int, secret_name text, renewal_due_at timestamptz, unwanted text,
        revocation_audit bytea, {audit_sql.ITEM_COLUMNS})
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
        (id, organization_id, certificate_id, issuer_key_id, serial_number, reason_code, revoked_at, comment)
    SELECT gen_random_uuid(), n.organization_id, n.id, n.issuer_key_id, n.serial_number, 4,
           date_trunc('second', now()), i.unwanted
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


class IssuedStore:
    """Writes records of what was signed, shared by concurrent issuances."""

    def __init__(self, database: Database, *, origin: str, version: str) -> None:
        self._database = database
        self._origin = origin
        self._version = version
        self._records = Coalescer["_Record", Standing](self._write_records, flushers=1)

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
            "revocation_audit": revocation_audit.canonical() if revocation_audit is not None else None,
            **self._audit_parameters(audit),
        }
