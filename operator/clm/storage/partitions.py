"""Monthly partitions of the audit logs, made ahead.

There is no default partition, so an act that falls into a month without one cannot be recorded and does not happen:
what is not on the record must not be. That makes it this module's duty that months never run out.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from psycopg import sql
from psycopg.rows import tuple_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

SCHEMA = "clm_audit_parts"
PARENTS = {"secure": "secure_audit_log", "core": "audit_log"}

# "CLM" and a number: one for each thing that is locked in a database.
_LOCK_KEY = 0x434C4D02
# Attaching waits for nobody in practice; were it to, every later INSERT would wait behind it.
_LOCK_TIMEOUT = "5s"

_STANDING = """
SELECT c.relname::text, clock_timestamp()
FROM (SELECT 1) AS always
LEFT JOIN pg_inherits i ON i.inhparent = %(parent)s::regclass
LEFT JOIN pg_class c ON c.oid = i.inhrelid
"""

# LIKE and ATTACH hold back no INSERT, where PARTITION OF would lock the parent against everybody.
_CREATE = "CREATE TABLE {schema}.{partition} (LIKE public.{parent} INCLUDING ALL)"
_ATTACH = """
ALTER TABLE public.{parent} ATTACH PARTITION {schema}.{partition} FOR VALUES FROM ({first}) TO ({following})
"""


class Month(NamedTuple):
    """A calendar month in UTC."""

    year: int
    month: int

    @classmethod
    def of(cls, moment: datetime) -> Month:
        """Month that a moment falls into. ValueError when the moment has no time zone."""
        if moment.tzinfo is None:
            raise ValueError("a moment without time zone is in no month")
        moment = moment.astimezone(UTC)
        return cls(moment.year, moment.month)

    def plus(self, months: int) -> Month:
        """Month so many months later."""
        year, month = divmod(self.year * 12 + self.month - 1 + months, 12)
        return Month(year, month + 1)

    @property
    def start(self) -> datetime:
        """First instant of the month."""
        return datetime(self.year, self.month, 1, tzinfo=UTC)


async def ensure_audit_partitions(
    connection: psycopg.AsyncConnection[Any],
    database: Literal["secure", "core"],
    *,
    months_ahead: int = 12,
    now: datetime,
) -> list[str]:
    """Make the audit partitions that are missing from this month to `months_ahead` months later.

    Returns the names of those made, oldest first. Safe to repeat and to run from several processes at once. Months
    run from the earlier of `now` and the database's clock to the later of them: it is the database that stamps the
    records. Raises psycopg.errors.LockNotAvailable when the log is locked for longer than 5 s.
    """
    parent = PARENTS[database]
    if not await _missing(connection, parent, months_ahead=months_ahead, now=now):
        return []
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK_KEY])
        # Another process may have made them while this one waited.
        missing = await _missing(connection, parent, months_ahead=months_ahead, now=now)
        for month in missing:
            await _make(connection, parent, month)
        return [partition_name(parent, month) for month in missing]


def partition_name(parent: str, month: Month) -> str:
    """Name of the partition of a month.

    >>> partition_name("audit_log", Month(2026, 3))
    'audit_log_2026_03'
    """
    return f"{parent}_{month.year:04}_{month.month:02}"


async def _missing(
    connection: psycopg.AsyncConnection[Any], parent: str, *, months_ahead: int, now: datetime
) -> list[Month]:
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_STANDING, {"parent": f"public.{parent}"})
        rows = await cursor.fetchall()
    clocks = (now, rows[0][1])
    standing = {row[0] for row in rows}
    return [
        month
        for month in _months(Month.of(min(clocks)), Month.of(max(clocks)).plus(months_ahead))
        if partition_name(parent, month) not in standing
    ]


def _months(first: Month, last: Month) -> Iterator[Month]:
    while first <= last:
        yield first
        first = first.plus(1)


async def _make(connection: psycopg.AsyncConnection[Any], parent: str, month: Month) -> None:
    names = {
        "schema": sql.Identifier(SCHEMA),
        "parent": sql.Identifier(parent),
        "partition": sql.Identifier(partition_name(parent, month)),
    }
    bounds = {
        "first": sql.Literal(month.start.isoformat()),
        "following": sql.Literal(month.plus(1).start.isoformat()),
    }
    await connection.execute(sql.SQL(_CREATE).format(**names))
    await connection.execute(sql.SQL(_ATTACH).format(**names, **bounds))
