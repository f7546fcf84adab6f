"""Rows that have been kept for long enough: what they are in each database, and how they go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from clm.storage import audit_sql

if TYPE_CHECKING:
    from datetime import datetime

    from clm.resources.audit import AuditRecord
    from clm.storage.database import Database
    from clm.storage.migration_files import DatabaseName

RuleName = Literal["failed-requests", "refused-approvals", "notifications", "sessions", "reports"]


@dataclass(frozen=True, slots=True)
class RowRule:
    """One table's rule. `due` selects ids by %(before)s; `act` works on what the query `due` gives."""

    name: RuleName
    database: DatabaseName
    table: str
    says: str
    due: str
    act: str


# What is a record is not deleted: it stops to count, and forgets who asked.
RULES: tuple[RowRule, ...] = (
    RowRule(
        "failed-requests",
        "secure",
        "certificate_requests",
        "requests that failed: soft-deleted, without the requester",
        "SELECT id FROM certificate_requests WHERE state = 'failed' AND deleted_at IS NULL AND updated_at < %(before)s",
        "UPDATE certificate_requests SET deleted_at = now(), requested_by = '{}' WHERE id IN (SELECT id FROM due)",
    ),
    RowRule(
        "refused-approvals",
        "core",
        "workflow_instances",
        "approvals that were refused, cancelled or ran out: soft-deleted, without the requester",
        "SELECT id FROM workflow_instances WHERE state IN ('rejected', 'expired', 'cancelled') AND deleted_at IS NULL"
        " AND finished_at < %(before)s",
        "UPDATE workflow_instances SET deleted_at = now(), requested_by = '{}', context = '{}'"
        " WHERE id IN (SELECT id FROM due)",
    ),
    RowRule(
        "notifications",
        "core",
        "notifications",
        "notifications that were sent, given up or cancelled: deleted",
        "SELECT id FROM notifications WHERE state <> 'pending' AND created_at < %(before)s",
        "DELETE FROM notifications WHERE id IN (SELECT id FROM due)",
    ),
    RowRule(
        "sessions",
        "core",
        "sessions",
        "sessions that have ended: deleted, with addresses and clients",
        "SELECT id FROM sessions WHERE least(expires_at, coalesce(revoked_at, expires_at)) < %(before)s",
        "DELETE FROM sessions WHERE id IN (SELECT id FROM due)",
    ),
    RowRule(
        "reports",
        "core",
        "clm_work.integrity_reports",
        "reports of comparisons: deleted",
        "SELECT id FROM clm_work.integrity_reports WHERE finished_at < %(before)s",
        "DELETE FROM clm_work.integrity_reports WHERE id IN (SELECT id FROM due)",
    ),
)

_LOGS: dict[DatabaseName, str] = {"secure": "secure_audit_log", "core": "audit_log"}

# Months of the audit log that are over for long enough; `archived` tells which of them may be dropped. The planner may
# look at any relation's name before it asks whether that is a month: hence CASE.
_MONTHS = """
SELECT c.relname::text, a.partition IS NOT NULL
FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid
LEFT JOIN clm_audit.archives a ON a.partition = c.relname
WHERE i.inhparent = to_regclass(%(parent)s)
  AND CASE WHEN c.relname ~ '_[0-9]{4}_[0-9]{2}$'
      THEN to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month' <= %(before)s END
ORDER BY c.relname
"""


class RetentionStore:
    """Carries out the rules of one database."""

    def __init__(self, database: Database, name: DatabaseName, *, origin: str, version: str) -> None:
        self._database = database
        self.name: DatabaseName = name
        self._origin = origin
        self._version = version

    async def due(self, rule: RowRule, before: datetime) -> int:
        """Count what a rule would remove now."""
        async with self._database.connection() as connection:
            query = f"SELECT count(*) FROM ({rule.due}) AS due"  # noqa: S608 - constants only
            row = await (await connection.execute(query.encode(), {"before": before})).fetchone()
            return int(row[0]) if row else 0

    async def apply_batch(self, rule: RowRule, before: datetime, *, limit: int, audit: AuditRecord) -> int:
        """Remove some of what is due, in one transaction with the audit record; returns how many rows went."""
        async with self._database.transaction() as connection:
            query = f"WITH due AS ({rule.due} LIMIT %(limit)s) {rule.act}"
            done = await connection.execute(query.encode(), {"before": before, "limit": limit})
            if done.rowcount:
                insert = audit_sql.insert(_LOGS[self.name])
                values = audit_sql.parameters(audit, origin=self._origin, version=self._version)
                await connection.execute(insert.encode(), values)
            return done.rowcount

    async def months(self, before: datetime) -> list[tuple[str, bool]]:
        """Months of the audit log that may go, oldest first, and whether each is archived."""
        async with self._database.connection() as connection:
            parent = f"public.{_LOGS[self.name]}"
            cursor = await connection.execute(_MONTHS, {"parent": parent, "before": before})
            return [(row[0], row[1]) for row in await cursor.fetchall()]
