"""Whole-table reads, a page at a time: what the surveys of the two databases have in common."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, TypeVar

from clm.resources.revocation import RevocationMark

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from clm.storage.database import Database

_Row = TypeVar("_Row")


class Survey:
    """Reads one database for one cluster. Every query is given `cluster_id`; raises DatabaseUnavailable."""

    def __init__(self, database: Database, *, cluster_id: uuid.UUID) -> None:
        self._database = database
        self._cluster_id = cluster_id

    async def _pages_by_id(self, query: str, kind: Callable[..., _Row], *, size: int) -> AsyncIterator[list[_Row]]:
        """Iterate over rows in order of id, their first column, which is to be above `after`."""
        after = uuid.UUID(int=0)
        while rows := await self._rows(query, after=after, limit=size):
            yield [kind(*row) for row in rows]
            after = rows[-1][0]

    async def _marks(self, query: str, *, size: int) -> AsyncIterator[list[RevocationMark]]:
        """Iterate over revocations in order of issuer and serial number, which are to be above the given ones."""
        after: dict[str, object] = {"issuer_key_id": uuid.UUID(int=0), "serial_number": b""}
        while page := [RevocationMark(*row) for row in await self._rows(query, limit=size, **after)]:
            yield page
            after = {"issuer_key_id": page[-1].issuer_key_id, "serial_number": page[-1].serial_number}

    async def _marks_of(self, query: str, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, RevocationMark]:
        return {row[0]: RevocationMark(*row) for row in await self._rows(query, ids=list(ids))}

    async def _rows(self, query: str, **parameters: object) -> list[tuple[Any, ...]]:
        async with self._database.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(query.encode(), parameters | {"cluster_id": self._cluster_id})
            return await cursor.fetchall()
