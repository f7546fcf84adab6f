"""The outbox: which recorded certificates are not yet published everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from clm.resources.records import Owner
from clm.storage.coalescer import Coalescer

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from clm.storage.database import Database

# Another cluster may share the databases: what is its own only its own operator can publish, or tell to be gone.
_CLAIM = """
UPDATE clm_work.outbox o
SET attempts = attempts + 1,
    next_attempt_at = now() + least(300, 10 * 2 ^ least(attempts, 5)) * interval '1 second'
FROM certificates c
WHERE c.id = o.id
  AND o.id IN (
      SELECT due.id FROM clm_work.outbox due
      JOIN certificates ours ON ours.id = due.id
      WHERE due.next_attempt_at <= now() AND ours.cluster_id = %(cluster_id)b
      ORDER BY due.next_attempt_at LIMIT %(limit)s FOR UPDATE OF due SKIP LOCKED)
RETURNING o.id, c.cluster_id, c.resource_uid, c.namespace, c.name
"""

# At start nobody else can be publishing for this cluster: what a crash left is due at once.
_RELEASE = """
UPDATE clm_work.outbox o
SET next_attempt_at = now(), attempts = 0
FROM certificates c
WHERE c.id = o.id AND c.cluster_id = %(cluster_id)b AND o.next_attempt_at > now()
"""

_DELETE = "DELETE FROM clm_work.outbox WHERE id = ANY(%(ids)b)"


class Unpublished(NamedTuple):
    """A certificate that waits to be published, and whose it is."""

    id: uuid.UUID
    owner: Owner


class OutboxStore:
    """Claims and clears one cluster's rows of the outbox."""

    def __init__(self, database: Database, *, cluster_id: uuid.UUID) -> None:
        self._database = database
        self._cluster_id = cluster_id
        self._finished = Coalescer["uuid.UUID", None](self._delete, flushers=1, limit=500)

    async def claim(self, *, limit: int) -> list[Unpublished]:
        """Take what is due; each row comes again later, with growing delays, until it is finished."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_CLAIM, {"cluster_id": self._cluster_id, "limit": limit})
            return [Unpublished(row[0], Owner(*row[1:])) for row in await cursor.fetchall()]

    async def release(self) -> None:
        """Make everything due now, as if it had never been tried."""
        async with self._database.connection() as connection:
            await connection.execute(_RELEASE, {"cluster_id": self._cluster_id})

    async def finish(self, certificate_id: uuid.UUID) -> None:
        """Forget a certificate that is published everywhere."""
        await self._finished.submit(certificate_id)

    async def finish_all(self, certificate_ids: Sequence[uuid.UUID]) -> None:
        """Forget certificates that are published everywhere, in one commit."""
        await self._delete(certificate_ids)

    async def _delete(self, ids: Sequence[uuid.UUID]) -> Sequence[None]:
        async with self._database.connection() as connection:
            await connection.execute(_DELETE, {"ids": list(ids)})
        return [None] * len(ids)
