"""Reads the inventory of clm_core_db whole, page by page, for the comparison of the three worlds, and mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from clm.storage.survey import Survey

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator, Collection, Sequence

    from clm.resources.revocation import RevocationMark

PAGE = 2000

_COLUMNS = "id, namespace, name, revision, status, fingerprint_sha256"

_ROWS = f"""
SELECT {_COLUMNS} FROM certificate_metadata
WHERE deleted_at IS NULL AND cluster_id = %(cluster_id)b AND id > %(after)b ORDER BY id LIMIT %(limit)s
"""  # noqa: S608 - constants only

_SOME = f"SELECT {_COLUMNS} FROM certificate_metadata WHERE deleted_at IS NULL AND id = ANY(%(ids)b)"  # noqa: S608

_KEYS = """
SELECT DISTINCT issuer_key_id FROM certificate_metadata WHERE deleted_at IS NULL
UNION SELECT subject_key_id FROM users WHERE subject_key_id IS NOT NULL
"""

_UNKNOWN_APPROVALS = """
SELECT wanted.id FROM unnest(%(ids)b::uuid[]) AS wanted (id)
LEFT JOIN workflow_instances i ON i.id = wanted.id WHERE i.id IS NULL
"""

_NOT_ERASED = "SELECT id FROM users WHERE id = ANY(%(ids)b) AND status <> 'erased'"

# Of this cluster, or of none that the inventory knows.
_MARK = "r.certificate_id, r.issuer_key_id, r.serial_number, r.reason_code, r.not_after <= now()"
_REVOCATIONS = f"""
SELECT {_MARK} FROM clm_status.revocations r LEFT JOIN certificate_metadata m ON m.id = r.certificate_id
WHERE (m.cluster_id = %(cluster_id)b OR m.id IS NULL) AND r.not_after > now()
  AND (r.issuer_key_id, r.serial_number) > (%(issuer_key_id)b, %(serial_number)b)
ORDER BY r.issuer_key_id, r.serial_number LIMIT %(limit)s
"""  # noqa: S608 - constants only

_REVOCATIONS_OF = f"SELECT {_MARK} FROM clm_status.revocations r WHERE r.certificate_id = ANY(%(ids)b)"  # noqa: S608

# A row that has changed since it was compared is left alone.
_RESTORE = """
WITH restored AS (
UPDATE certificate_metadata inventory
SET status = wrong.recorded,
    revoked_at = CASE WHEN wrong.recorded = 'revoked' THEN coalesce(inventory.revoked_at, now()) END
FROM unnest(%(ids)b::uuid[], %(found)s::text[], %(recorded)s::text[]) AS wrong (id, found, recorded)
WHERE inventory.id = wrong.id AND inventory.status = wrong.found
RETURNING inventory.id, inventory.organization_id, wrong.found, wrong.recorded
)
INSERT INTO audit_log (organization_id, actor_type, actor_id, action, object_type, object_id, outcome, reason,
                       details, details_canonical)
SELECT organization_id, 'operator', 'clm-check', 'integrity.repair', 'certificate', id::text, 'success',
       'status in the inventory was ' || found || ', is recorded as ' || recorded,
       jsonb_build_object('found', found, 'recorded', recorded),
       convert_to('{"found":"' || found || '","recorded":"' || recorded || '"}', 'UTF8')
FROM restored
"""


class WrongStatus(NamedTuple):
    """A row of the inventory whose status is not what is recorded."""

    id: uuid.UUID
    found: str
    recorded: str


class SurveyedRow(NamedTuple):
    """One row of the inventory."""

    id: uuid.UUID
    namespace: str
    name: str
    revision: int
    status: str
    fingerprint_sha256: bytes


class CoreSurvey(Survey):
    """Whole-table reads, and the one write that no publication makes: a status that was changed by hand."""

    def rows(self) -> AsyncIterator[list[SurveyedRow]]:
        """Iterate over every row in order of id, a page at a time."""
        return self._pages_by_id(_ROWS, SurveyedRow, size=PAGE)

    async def some(self, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, SurveyedRow]:
        """Rows of these ids, as far as there are any."""
        return {row[0]: SurveyedRow(*row) for row in await self._rows(_SOME, ids=list(ids))}

    def revocations(self) -> AsyncIterator[list[RevocationMark]]:
        """Iterate over the revocations of unexpired certificates by issuer and serial number, a page at a time."""
        return self._marks(_REVOCATIONS, size=PAGE)

    async def revocations_of(self, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, RevocationMark]:
        """Revocations of these certificates, as far as there are any."""
        return await self._marks_of(_REVOCATIONS_OF, ids)

    async def keys(self) -> list[uuid.UUID]:
        """Keys of clm_secure_db that the inventory and the users refer to."""
        return [row[0] for row in await self._rows(_KEYS)]

    async def unknown_approvals(self, ids: Collection[uuid.UUID]) -> list[uuid.UUID]:
        """Which of these ids are no workflow's."""
        return [row[0] for row in await self._rows(_UNKNOWN_APPROVALS, ids=list(ids))]

    async def not_erased(self, ids: Collection[uuid.UUID]) -> list[uuid.UUID]:
        """Which of these users have personal data."""
        return [row[0] for row in await self._rows(_NOT_ERASED, ids=list(ids))]

    async def restore(self, rows: Sequence[WrongStatus]) -> None:
        """Set the status of these rows to what is recorded."""
        ids, found, recorded = ([row[field] for row in rows] for field in range(3))
        async with self._database.connection() as connection:
            await connection.execute(_RESTORE, {"ids": ids, "found": found, "recorded": recorded})
