"""Revocations in clm_core_db: what OCSP answers by, and what the inventory shows. A copy of what is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clm.resources.audit import AuditRecord
from clm.resources.revocation import REASON_CODES
from clm.storage import audit_sql, batch

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Sequence

    from clm.resources.revocation import Recorded
    from clm.storage.database import Database

# A process that was paused may come with a reason that a compromise has replaced since.
_ANNOUNCE = f"""
WITH item AS (
    SELECT * FROM json_to_recordset(convert_from(%(items)b, 'UTF8')::json) AS i (
        certificate_id uuid, organization_id uuid, issuer_key_id uuid, serial_number bytea, reason_code int,
        revoked_at timestamptz, invalidity_date timestamptz, not_after timestamptz, {audit_sql.ITEM_COLUMNS})
), told AS (
    INSERT INTO clm_status.revocations AS known
        (issuer_key_id, serial_number, organization_id, certificate_id, reason_code, revoked_at, invalidity_date,
         not_after)
    SELECT issuer_key_id, serial_number, organization_id, certificate_id, reason_code, revoked_at, invalidity_date,
           not_after
    FROM item
    ON CONFLICT (issuer_key_id, serial_number) DO UPDATE SET
        reason_code = excluded.reason_code, invalidity_date = excluded.invalidity_date,
        recorded_at = clock_timestamp()
    WHERE (known.reason_code, known.invalidity_date)
            IS DISTINCT FROM (excluded.reason_code, excluded.invalidity_date)
      AND (known.reason_code NOT IN (1, 2) OR excluded.reason_code IN (1, 2))
    RETURNING certificate_id
)
INSERT INTO audit_log ({audit_sql.COLUMNS})
SELECT {audit_sql.ITEM_VALUES} FROM item WHERE certificate_id IN (SELECT certificate_id FROM told)
"""  # noqa: S608 - constants only

_LIST = """
WITH item AS (
    SELECT * FROM json_to_recordset(convert_from(%(items)b, 'UTF8')::json) AS i (
        certificate_id uuid, revoked_at timestamptz, audit_reason text)
)
UPDATE certificate_metadata m
SET status = 'revoked', revoked_at = i.revoked_at, revocation_reason = i.audit_reason
FROM item i
WHERE m.id = i.certificate_id AND m.id = ANY(%(ids)b)
  AND (m.status, m.revoked_at, m.revocation_reason) IS DISTINCT FROM ('revoked', i.revoked_at, i.audit_reason)
"""

_LISTED = "SELECT id FROM certificate_metadata WHERE id = ANY(%(ids)b)"


_WITH_CRL = "SELECT issuer_key_id FROM clm_status.issuers WHERE crl_enabled AND issuer_key_id = ANY(%(keys)b)"


class AnnouncementStore:
    """Announces revocations to whoever reads clm_core_db."""

    def __init__(self, database: Database, *, origin: str, version: str) -> None:
        self._database = database
        self._origin = origin
        self._version = version

    async def announce(self, revocations: Sequence[Recorded]) -> set[uuid.UUID]:
        """Write what is not there yet, in one transaction; gives the certificates that the inventory does not know.

        Safe to repeat. Raises DatabaseUnavailable.
        """
        ids = [revocation.certificate_id for revocation in revocations]
        values = {"items": batch.items([self._row(revocation) for revocation in revocations]), "ids": ids}
        *_, listed = await self._database.together((_ANNOUNCE, values), (_LIST, values), (_LISTED, {"ids": ids}))
        return set(ids) - {row[0] for row in listed}

    async def with_crl(self, issuer_key_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
        """Which of these CAs publish CRLs."""
        async with self._database.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(_WITH_CRL, {"keys": list(issuer_key_ids)})
            return {row[0] for row in await cursor.fetchall()}

    def _row(self, revocation: Recorded) -> dict[str, Any]:
        audit = AuditRecord(
            organization_id=revocation.organization_id,
            action="certificate.revoke",
            object_type="certificate",
            object_id=str(revocation.certificate_id),
            reason=revocation.reason,
            details={
                "issuerKey": str(revocation.issuer_key_id),
                "serial": revocation.serial_number.hex(),
                "revokedAt": revocation.revoked_at.isoformat(),
            },
        )
        return {
            "certificate_id": revocation.certificate_id,
            "organization_id": revocation.organization_id,
            "issuer_key_id": revocation.issuer_key_id,
            "serial_number": revocation.serial_number,
            "reason_code": REASON_CODES[revocation.reason],
            "revoked_at": revocation.revoked_at,
            "invalidity_date": revocation.invalidity_date,
            "not_after": revocation.not_after,
            **audit_sql.parameters(audit, origin=self._origin, version=self._version),
        }
