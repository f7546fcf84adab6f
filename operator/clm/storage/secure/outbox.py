"""The outbox: which recorded certificates are not yet published everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from clm.resources.records import Owner
from clm.storage.coalescer import Coalescer

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from clm.storage.database import Database

_CLAIM = """
UPDATE clm_work.outbox o
SET attempts = attempts + 1,
    next_attempt_at = now() + least(300, 10 * 2 ^ least(attempts, 5)) * interval '1 second'
FROM certificates c
WHERE c.id = o.id
  AND o.id IN (
      SELECT id FROM clm_work.outbox WHERE next_attempt_at <= now()
      ORDER BY next_attempt_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING o.id, c.cluster_id, c.resource_uid, c.namespace, c.name
"""

# At start nobody else can be publishing: what a crash left is due at once.
_RELEASE = "UPDATE clm_work.outbox SET next_attempt_at = now(), attempts = 0 WHERE next_attempt_at > now()"

_DELETE = "DELETE FROM clm_work.outbox WHERE id = ANY(%(ids)b)"


class Unpublished(NamedTuple):
    """A certificate that waits to be published, and whose it is."""

    id: uuid.UUID
    owner: Owner


class OutboxStore:
    """Claims and clears rows of the outbox."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._finished = Coalescer["uuid.UUID", None](self._delete, flushers=1, limit=500)

    async def claim(self, *, limit: int) -> list[Unpublished]:
        """Take what is due; each row comes again later, with growing delays, until it is finished."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_CLAIM, {"limit": limit})
            return [Unpublished(row[0], Owner(*row[1:])) for row in await cursor.fetchall()]

    async def release(self) -> None:
        """Make everything due now, as if it had never been tried."""
        async with self._database.connection() as connection:
            await connection.execute(_RELEASE)

    async def finish(self, certificate_id: uuid.UUID) -> None:
        """Forget a certificate that is published everywhere."""
        await self._finished.submit(certificate_id)

    async def _delete(self, ids: Sequence[uuid.UUID]) -> Sequence[None]:
        async with self._database.connection() as connection:
            await connection.execute(_DELETE, {"ids": list(ids)})
        return [None] * len(ids)
