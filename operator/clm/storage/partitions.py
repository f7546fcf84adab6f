"""Monthly partitions of the audit logs, made ahead.

There is no default partition, so an act that falls into a month without one cannot be recorded and does not happen:
what is not on the record must not be. That makes it this module's duty that months never run out. The database makes
them itself, by a function with its owner's rights: no process that writes records may alter the table they are in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import psycopg

SCHEMA = "clm_audit_parts"
PARENTS = {"secure": "secure_audit_log", "core": "audit_log"}

_ENSURE = "SELECT partition FROM clm_guard.ensure_audit_partitions(%(months_ahead)s) AS partition"

_MONTH_STANDS = """
SELECT EXISTS (
    SELECT 1
    FROM pg_inherits AS i
    JOIN pg_class AS parent ON parent.oid = i.inhparent AND parent.relname = %(parent)s
    JOIN pg_class AS part ON part.oid = i.inhrelid
    WHERE part.relname = %(parent)s || '_' || to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY_MM')
)
"""


async def ensure_audit_partitions(connection: psycopg.AsyncConnection[Any], *, months_ahead: int = 12) -> list[str]:
    """Make the audit partitions that are missing from this month to `months_ahead` months later.

    Returns the names of those made, oldest first. Safe to repeat and to run from several processes at once. Months are
    those of the database's clock, which stamps the records. Raises psycopg.errors.LockNotAvailable when the log is
    locked for longer than 5 s.
    """
    cursor = await connection.execute(_ENSURE, {"months_ahead": months_ahead})
    return [str(row[0]) for row in await cursor.fetchall()]


async def month_stands(connection: psycopg.AsyncConnection[Any], database: Literal["secure", "core"]) -> bool:
    """Tell whether what happens now can be recorded. Asks the catalog alone, which everybody may read."""
    cursor = await connection.execute(_MONTH_STANDS, {"parent": PARENTS[database]})
    row = await cursor.fetchone()
    return bool(row and row[0])


_MONTHS_AHEAD = """
SELECT count(*)
FROM pg_inherits AS i
JOIN pg_class AS parent ON parent.oid = i.inhparent AND parent.relname = %(parent)s
JOIN pg_class AS part ON part.oid = i.inhrelid
WHERE to_date(right(part.relname, 7), 'YYYY_MM') > clock_timestamp() AT TIME ZONE 'UTC'
"""


async def months_ahead(connection: psycopg.AsyncConnection[Any], database: Literal["secure", "core"]) -> int:
    """Count the months after this one that can be recorded already. Asks the catalog alone."""
    cursor = await connection.execute(_MONTHS_AHEAD, {"parent": PARENTS[database]})
    row = await cursor.fetchone()
    return int(row[0]) if row else 0
