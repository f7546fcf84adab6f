"""Audit partitions: there ahead of time, made once, in nobody's way; and no record without one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import errors as pg

from clm.storage.partitions import PARENTS, ensure_audit_partitions, month_stands

if TYPE_CHECKING:
    from clm.storage.migration_files import DatabaseName
    from tests.fix_postgres import DatabasePair

ATTACHED = """
SELECT c.relname::text, pg_get_expr(c.relpartbound, c.oid)
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = %s::regclass AND c.relnamespace = 'clm_audit_parts'::regnamespace
ORDER BY 1
"""
SHAPE = """
SELECT (SELECT count(*) FROM pg_index WHERE indrelid = c.oid),
       (SELECT jsonb_object_agg(tgenabled, number)
        FROM (SELECT tgenabled, count(*) AS number FROM pg_trigger WHERE tgrelid = c.oid GROUP BY 1) AS firing),
       c.relowner::regrole::text,
       (SELECT count(*) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND col_description(c.oid, a.attnum) IS NULL)
FROM pg_class c WHERE c.oid = %s::regclass
"""
RECORD = """
INSERT INTO {} (occurred_at, organization_id, actor_type, actor_id, action, object_type, object_id)
VALUES (%s, gen_random_uuid(), 'operator', 'test', 'certificate.issue', 'certificate', 'x')
RETURNING tableoid::regclass::text
"""


def month(ahead: int) -> datetime:
    """First instant of the month that lies so many months ahead of this one, in UTC."""
    now = datetime.now(UTC)
    years, index = divmod(now.month - 1 + ahead, 12)
    return datetime(now.year + years, index + 1, 1, tzinfo=UTC)


async def ensure(dsn: str, *, months_ahead: int = 12) -> list[str]:
    """Make partitions over a connection of its own."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        return await ensure_audit_partitions(connection, months_ahead=months_ahead)


def record(connection: psycopg.Connection[tuple[Any, ...]], table: str, moment: datetime) -> str:
    """Write an audit record of a moment; give back the partition that took it."""
    row = connection.execute(RECORD.format(table).encode(), [moment]).fetchone()
    assert row is not None
    return str(row[0])


def test_a_year_ahead(databases: DatabasePair, database: DatabaseName) -> None:
    """There is a partition for this month and each of the twelve that follow, without gap or overlap."""
    with psycopg.connect(databases.superuser_dsn(database)) as connection:
        rows = connection.execute(ATTACHED, [PARENTS[database]]).fetchall()
    assert len(rows) == 13
    for ahead, (name, bounds) in enumerate(rows):
        assert name == f"{PARENTS[database]}_{month(ahead):%Y_%m}"
        starts = [f"{month(each):%Y-%m}-01 00:00:00+00" for each in (ahead, ahead + 1)]
        assert bounds == f"FOR VALUES FROM ('{starts[0]}') TO ('{starts[1]}')"


def test_a_record_goes_to_its_month_or_nowhere(databases: DatabasePair, database: DatabaseName) -> None:
    """The last instant of a month and the first of the next are apart; a month without partition takes no record."""
    table = PARENTS[database]
    with psycopg.connect(databases.superuser_dsn(database), autocommit=True) as connection:
        last = record(connection, table, month(1) - timedelta(microseconds=1))
        first = record(connection, table, month(1))
        assert first == f"clm_audit_parts.{table}_{month(1):%Y_%m}"
        assert last < first
        with pytest.raises(pg.CheckViolation, match="no partition of relation"):
            record(connection, table, month(14))
        rows = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
        assert rows == (2,)


def test_what_stands_is_not_made_again(databases: DatabasePair, database: DatabaseName) -> None:
    """Made again it makes nothing; a month more is made whole: every index, the comments, the guards, the owner."""
    table = PARENTS[database]
    assert asyncio.run(ensure(databases.dsn(database))) == []
    made = asyncio.run(ensure(databases.dsn(database), months_ahead=14))
    assert made == [f"{table}_{month(ahead):%Y_%m}" for ahead in (13, 14)]
    with psycopg.connect(databases.superuser_dsn(database)) as connection:
        for partition in made:
            row = connection.execute(SHAPE, [f"clm_audit_parts.{partition}"]).fetchone()
            assert row == (5, {"A": 2}, "clm_owner", 0)


def test_a_gap_is_filled(databases: DatabasePair) -> None:
    """A month that is missing among those that stand is made; the database's own month comes first."""
    with psycopg.connect(databases.superuser_dsn("core"), autocommit=True) as connection:
        for ahead in (0, 5):
            connection.execute(f"DROP TABLE clm_audit_parts.audit_log_{month(ahead):%Y_%m}".encode())
    assert asyncio.run(ensure(databases.core)) == [f"audit_log_{month(ahead):%Y_%m}" for ahead in (0, 5)]


def test_eight_at_once(databases: DatabasePair) -> None:
    """Each partition is made by exactly one of eight processes."""

    async def all_at_once() -> list[list[str]]:
        return await asyncio.gather(*(ensure(databases.secure, months_ahead=16) for _ in range(8)))

    made = asyncio.run(all_at_once())
    assert sorted(map(len, made)) == [0, 0, 0, 0, 0, 0, 0, 4]


def test_issuance_is_not_held_up(databases: DatabasePair) -> None:
    """A transaction that has written records hinders no new partition, and none hinders it."""
    with psycopg.connect(databases.superuser_dsn("secure")) as issuing:
        record(issuing, "secure_audit_log", datetime.now(UTC))
        assert len(asyncio.run(ensure(databases.secure, months_ahead=13))) == 1
        record(issuing, "secure_audit_log", datetime.now(UTC))


@pytest.mark.parametrize("months", [-1, 121, None])
def test_no_more_than_ten_years(databases: DatabasePair, months: int | None) -> None:
    """Whoever may call the function cannot fill the catalog with it."""
    with psycopg.connect(databases.core) as connection, pytest.raises(pg.InvalidParameterValue, match="0 and 120"):
        connection.execute("SELECT clm_guard.ensure_audit_partitions(%s)", [months])


def test_whether_this_month_stands(databases: DatabasePair, database: DatabaseName) -> None:
    """It is told without any right to the partitions."""

    async def stands() -> bool:
        async with await psycopg.AsyncConnection.connect(databases.dsn(database)) as connection:
            return await month_stands(connection, database)

    assert asyncio.run(stands())
    with psycopg.connect(databases.superuser_dsn(database), autocommit=True) as connection:
        connection.execute(f"DROP TABLE clm_audit_parts.{PARENTS[database]}_{month(0):%Y_%m}".encode())
    assert not asyncio.run(stands())
