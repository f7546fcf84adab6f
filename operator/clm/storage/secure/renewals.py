"""When certificates fall due, by the indexed column certificates.renewal_due_at."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from clm.storage.coalescer import Coalescer

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence
    from datetime import datetime

    from clm.storage.database import Database

# In the order of the index, and only what comes after the last row that was taken: none is read twice.
_DUE = """
SELECT id, namespace, name, resource_uid, renewal_due_at
FROM certificates
WHERE state = 'active' AND renewal_due_at <= %(until)s AND cluster_id = %(cluster_id)b AND deleted_at IS NULL
  AND (%(after_time)s::timestamptz IS NULL OR (renewal_due_at, id) > (%(after_time)s, %(after_id)s::uuid))
ORDER BY renewal_due_at, id
LIMIT %(limit)s
"""

_COUNT = """
SELECT count(*), count(*) FILTER (WHERE renewal_due_at <= %(overdue)s)
FROM certificates
WHERE state = 'active' AND renewal_due_at <= %(now)s AND cluster_id = %(cluster_id)b AND deleted_at IS NULL
"""

_RESCHEDULE = """
UPDATE certificates c
SET renewal_due_at = wanted.due
FROM unnest(%(ids)s::uuid[], %(due)s::timestamptz[]) AS wanted (id, due)
WHERE c.id = ANY(%(ids)s) AND c.id = wanted.id AND c.state = 'active' AND c.renewal_due_at IS DISTINCT FROM wanted.due
"""

_FORECAST = """
WITH seconds AS (
    SELECT date_trunc('day', renewal_due_at, 'UTC') AS day, date_trunc('second', renewal_due_at) AS second,
           count(*) AS renewals
    FROM certificates
    WHERE state = 'active' AND renewal_due_at > %(now)s AND renewal_due_at <= %(until)s
      AND cluster_id = %(cluster_id)b AND deleted_at IS NULL
    GROUP BY day, second)
SELECT day, sum(renewals)::bigint, max(renewals) FROM seconds GROUP BY day ORDER BY day
"""


class Due(NamedTuple):
    """A certificate that falls due, and the object that it was issued to."""

    id: uuid.UUID
    namespace: str
    name: str
    resource_uid: uuid.UUID
    due_at: datetime


class Backlog(NamedTuple):
    """How many certificates are due, and how many of them have been for long."""

    due: int
    overdue: int


class DayOfRenewals(NamedTuple):
    """Renewals of one day (UTC), and how many of them fall into its fullest second."""

    day: datetime
    renewals: int
    peak_per_second: int


class RenewalStore:
    """Reads and moves the due times of one cluster's certificates."""

    def __init__(self, database: Database, *, cluster_id: uuid.UUID) -> None:
        self._database = database
        self._cluster_id = cluster_id
        self._moved = Coalescer[tuple["uuid.UUID", "datetime | None"], None](self._move, flushers=1, limit=500)

    async def due(self, *, until: datetime, after: Due | None, limit: int) -> list[Due]:
        """List what falls due until then, in that order, from the one after `after` on."""
        parameters = {
            "cluster_id": self._cluster_id,
            "until": until,
            "after_time": after.due_at if after else None,
            "after_id": after.id if after else None,
            "limit": limit,
        }
        async with self._database.connection() as connection:
            cursor = await connection.execute(_DUE, parameters)
            return [Due(*row) for row in await cursor.fetchall()]

    async def backlog(self, *, now: datetime, overdue_since: datetime) -> Backlog:
        """Count what is due, and what has been since before `overdue_since`."""
        parameters = {"cluster_id": self._cluster_id, "now": now, "overdue": overdue_since}
        async with self._database.connection() as connection:
            cursor = await connection.execute(_COUNT, parameters)
            row = await cursor.fetchone()
        return Backlog(*row) if row else Backlog(0, 0)

    async def forecast(self, *, now: datetime, until: datetime) -> list[DayOfRenewals]:
        """Count the renewals of each day until then."""
        parameters = {"cluster_id": self._cluster_id, "now": now, "until": until}
        async with self._database.connection() as connection:
            cursor = await connection.execute(_FORECAST, parameters)
            return [DayOfRenewals(*row) for row in await cursor.fetchall()]

    async def reschedule(self, certificate_id: uuid.UUID, due_at: datetime | None) -> None:
        """Move when an active certificate falls due; None: by time it never does."""
        await self._moved.submit((certificate_id, due_at))

    async def _move(self, items: Sequence[tuple[uuid.UUID, datetime | None]]) -> Sequence[None]:
        newest = dict(items)
        parameters = {"ids": list(newest), "due": list(newest.values())}
        async with self._database.connection() as connection:
            await connection.execute(_RESCHEDULE, parameters)
        return [None] * len(items)
