"""Reads the inventory of clm_core_db whole, page by page, for the comparison of the three worlds, and mends it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from clm.storage.database import Database

PAGE = 2000

_ROWS = """
SELECT id, namespace, name, revision, status, fingerprint_sha256
FROM certificate_metadata WHERE deleted_at IS NULL AND id > %(after)b ORDER BY id LIMIT %(limit)s
"""

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


class CoreSurvey:
    """Whole-table reads, and the one write that no publication makes: a status that was changed by hand."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def rows(self) -> AsyncIterator[list[SurveyedRow]]:
        """Iterate over every row, a page at a time."""
        after = uuid.UUID(int=0)
        while True:
            async with self._database.connection() as connection, connection.cursor(binary=True) as cursor:
                await cursor.execute(_ROWS, {"after": after, "limit": PAGE})
                page = [SurveyedRow(*row) for row in await cursor.fetchall()]
            if not page:
                return
            yield page
            after = page[-1].id

    async def restore(self, rows: Sequence[WrongStatus]) -> None:
        """Set the status of these rows to what is recorded."""
        ids, found, recorded = ([row[field] for row in rows] for field in range(3))
        async with self._database.connection() as connection:
            await connection.execute(_RESTORE, {"ids": ids, "found": found, "recorded": recorded})
