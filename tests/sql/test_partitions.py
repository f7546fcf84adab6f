"""Audit partitions: there ahead of time, made once, in nobody's way; and no record without one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import errors as pg

from clm.storage.partitions import PARENTS, Month, ensure_audit_partitions

if TYPE_CHECKING:
    from clm.storage.migration_files import DatabaseName
    from tests.fix_postgres import DatabasePair

ATTACHED = """
SELECT c.relname::text, pg_get_expr(c.relpartbound, c.oid)
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = %s::regclass AND c.relnamespace = 'clm_audit_parts'::regnamespace
ORDER BY 1
"""
RECORD = """
INSERT INTO {} (occurred_at, organization_id, actor_type, actor_id, action, object_type, object_id)
VALUES (%s, gen_random_uuid(), 'operator', 'test', 'certificate.issue', 'certificate', 'x')
RETURNING tableoid::regclass::text
"""


async def ensure(dsn: str, database: DatabaseName, *, months_ahead: int = 12, now: datetime | None = None) -> list[str]:
    """Make partitions over a connection of its own."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        return await ensure_audit_partitions(
            connection, database, months_ahead=months_ahead, now=now or datetime.now(UTC)
        )


def record(connection: psycopg.Connection[tuple[Any, ...]], table: str, moment: datetime) -> str:
    """Write an audit record of a moment; give back the partition that took it."""
    row = connection.execute(RECORD.format(table).encode(), [moment]).fetchone()
    assert row is not None
    return str(row[0])


def test_a_year_ahead(databases: DatabasePair, database: DatabaseName) -> None:
    """There is a partition for this month and each of the twelve that follow, without gap or overlap."""
    with psycopg.connect(databases.dsn(database)) as connection:
        rows = connection.execute(ATTACHED, [PARENTS[database]]).fetchall()
    assert len(rows) == 13
    first = Month.of(datetime.now(UTC))
    for offset, (name, bounds) in enumerate(rows):
        month = first.plus(offset)
        assert name == f"{PARENTS[database]}_{month.year}_{month.month:02}"
        starts = [f"{each.year}-{each.month:02}-01 00:00:00+00" for each in (month, month.plus(1))]
        assert bounds == f"FOR VALUES FROM ('{starts[0]}') TO ('{starts[1]}')"


def test_a_record_goes_to_its_month_or_nowhere(databases: DatabasePair, database: DatabaseName) -> None:
    """The last instant of a month and the first of the next are apart; a month without partition takes no record."""
    table = PARENTS[database]
    month = Month.of(datetime.now(UTC)).plus(1)
    with psycopg.connect(databases.dsn(database), autocommit=True) as connection:
        last = record(connection, table, month.start - timedelta(microseconds=1))
        first = record(connection, table, month.start)
        assert first == f"clm_audit_parts.{table}_{month.year}_{month.month:02}"
        assert last < first
        with pytest.raises(pg.CheckViolation, match="no partition of relation"):
            record(connection, table, month.plus(13).start)
        rows = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
        assert rows == (2,)


def test_what_stands_is_not_made_again(databases: DatabasePair, database: DatabaseName) -> None:
    """Made again it makes nothing; a month later it makes the one that is missing, with every index and comment."""
    dsn, table = databases.dsn(database), PARENTS[database]
    assert asyncio.run(ensure(dsn, database)) == []
    later = Month.of(datetime.now(UTC)).plus(1)
    made = asyncio.run(ensure(dsn, database, now=later.start))
    newest = later.plus(12)
    assert made == [f"{table}_{newest.year}_{newest.month:02}"]
    with psycopg.connect(dsn) as connection:
        name = f"clm_audit_parts.{made[0]}"
        indexes = "SELECT count(*) FROM pg_index i JOIN pg_inherits h ON h.inhrelid = i.indexrelid WHERE i.indrelid = "
        assert connection.execute(f"{indexes} %s::regclass".encode(), [name]).fetchone() == (5,)


def test_eight_at_once(databases: DatabasePair) -> None:
    """Each partition is made by exactly one of eight processes."""

    async def all_at_once() -> list[list[str]]:
        return await asyncio.gather(*(ensure(databases.secure, "secure", months_ahead=16) for _ in range(8)))

    made = asyncio.run(all_at_once())
    assert sorted(map(len, made)) == [0, 0, 0, 0, 0, 0, 0, 4]


def test_issuance_is_not_held_up(databases: DatabasePair) -> None:
    """A transaction that has written records hinders no new partition, and none hinders it."""
    with psycopg.connect(databases.secure) as issuing:
        record(issuing, "secure_audit_log", datetime.now(UTC))
        assert len(asyncio.run(ensure(databases.secure, "secure", months_ahead=13))) == 1
        record(issuing, "secure_audit_log", datetime.now(UTC))


def test_a_clock_that_is_ahead(databases: DatabasePair) -> None:
    """The database stamps the records: its own month is made even where the caller's clock is in a later one."""
    this = Month.of(datetime.now(UTC))
    with psycopg.connect(databases.core, autocommit=True) as connection:
        connection.execute(f"DROP TABLE clm_audit_parts.audit_log_{this.year}_{this.month:02}".encode())
    made = asyncio.run(ensure(databases.core, "core", now=this.plus(1).start))
    assert made[0] == f"audit_log_{this.year}_{this.month:02}"


def test_months() -> None:
    """A month is one of UTC, and December is followed by January."""
    assert Month(2026, 12).plus(1) == Month(2027, 1)
    assert Month(2026, 1).plus(-1) == Month(2025, 12)
    eastern = timezone(timedelta(hours=9))
    assert Month.of(datetime(2027, 1, 1, 8, 59, tzinfo=eastern)) == Month(2026, 12)
    with pytest.raises(ValueError, match="without time zone"):
        Month.of(datetime(2027, 1, 1))  # noqa: DTZ001
