"""clm_work.integrity_reports: what each comparison of the worlds found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg.types.json import Jsonb

from clm.settings import SYSTEM_ORGANIZATION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from clm.storage.database import Database

_INSERT = """
INSERT INTO clm_work.integrity_reports
    (organization_id, started_at, origin, opened_keys, compared, finding_count, findings)
VALUES (%(organization_id)s, %(started_at)s, %(origin)s, %(opened_keys)s, %(compared)s, %(finding_count)s, %(findings)s)
"""

_LAST = """
SELECT started_at, finished_at, origin, opened_keys, compared, finding_count, findings
FROM clm_work.integrity_reports ORDER BY finished_at DESC LIMIT 1
"""


class StoredReport(NamedTuple):
    """One comparison as it was stored. `findings` may hold fewer than `finding_count`."""

    started_at: datetime
    finished_at: datetime
    origin: str
    opened_keys: bool
    compared: Mapping[str, int]
    finding_count: int
    findings: Sequence[Mapping[str, Any]]


class ReportStore:
    """Keeps the reports; retention removes old ones."""

    def __init__(self, database: Database, *, origin: str) -> None:
        self._database = database
        self._origin = origin

    async def put(
        self,
        *,
        started_at: datetime,
        opened_keys: bool,
        compared: Mapping[str, int],
        finding_count: int,
        findings: Sequence[Mapping[str, Any]],
    ) -> None:
        """Store one report."""
        values = {
            "organization_id": SYSTEM_ORGANIZATION,
            "started_at": started_at,
            "origin": self._origin,
            "opened_keys": opened_keys,
            "compared": Jsonb(dict(compared)),
            "finding_count": finding_count,
            "findings": Jsonb(list(findings)),
        }
        async with self._database.connection() as connection:
            await connection.execute(_INSERT, values)

    async def last(self) -> StoredReport | None:
        """Read the newest report; None before the first."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_LAST)
            row = await cursor.fetchone()
            return StoredReport(*row) if row else None
