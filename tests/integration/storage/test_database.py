"""What PostgreSQL answers becomes an outage, or a word on what to do; and whoever runs for ever outlives both."""

from __future__ import annotations

import asyncio
import time
import uuid
from inspect import signature
from itertools import count
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from clm.controllers.partitions import keep_partitions, prepare_partitions
from clm.errors import DatabaseUnavailable, DatabaseUnprepared
from clm.lifecycle.relay import Relay
from clm.storage.database import Database
from clm.storage.partitions import SCHEMA
from clm.storage.secure.history import HistoryStore
from clm.storage.secure.keys import KeyStore
from clm.storage.secure.outbox import OutboxStore

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from clm.dev.postgres import PostgresCluster
    from tests.fix_postgres import DatabasePair

_DEADLINE_S = 20.0
_numbers = count(1)


@pytest.fixture
def superuser(databases: DatabasePair, postgres_cluster: PostgresCluster) -> Iterator[psycopg.Connection]:
    """An administrator in the core database."""
    with psycopg.connect(postgres_cluster.superuser_dsn(_name(databases)), autocommit=True) as connection:
        yield connection


@pytest.fixture
def powerless(superuser: psycopg.Connection) -> Iterator[str]:
    """DSN, for the core database, of somebody who has no right to anything."""
    role = f"test_powerless_{next(_numbers)}"
    superuser.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
    try:
        yield make_conninfo(superuser.info.dsn, password=superuser.info.password, options=f"-c role={role}")
    finally:
        superuser.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def _name(databases: DatabasePair) -> str:
    return str(conninfo_to_dict(databases.core)["dbname"])


def _run(dsn: str, act: Callable[[Database], Coroutine[None, None, None]]) -> None:
    async def with_database() -> None:
        database = Database(dsn, name="clm_core_db", connections=1)
        await database.start()
        try:
            await act(database)
        finally:
            await database.close()

    asyncio.run(with_database())


def _drop_partition(superuser: psycopg.Connection, months_ahead: int) -> None:
    month = "date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => %s)"
    found = superuser.execute(f"SELECT 'audit_log_' || to_char({month}, 'YYYY_MM')", [months_ahead]).fetchone()
    assert found is not None
    superuser.execute(sql.SQL("DROP TABLE {}.{}").format(sql.Identifier(SCHEMA), sql.Identifier(found[0])))


def test_a_server_that_takes_no_writes_is_away(databases: DatabasePair, superuser: psycopg.Connection) -> None:
    """After a fail-over the old leader only reads: an outage, and its connection is not lent again."""
    names = (sql.Identifier(str(conninfo_to_dict(databases.core)["user"])), sql.Identifier(_name(databases)))
    setting = "ALTER ROLE {} IN DATABASE {} SET default_transaction_read_only = {}"

    async def act(database: Database) -> None:
        with pytest.raises(DatabaseUnavailable, match=r"clm_core_db: .*read-only transaction"):
            async with database.transaction() as connection:
                await connection.execute("CREATE TABLE public.not_there ()")
        superuser.execute(sql.SQL(setting).format(*names, "off"))
        async with database.transaction() as connection:
            cursor = await connection.execute("SELECT current_setting('transaction_read_only')")
            assert await cursor.fetchone() == ("off",)

    superuser.execute(sql.SQL(setting).format(*names, "on"))
    _run(databases.core, act)


def test_a_transaction_that_the_server_ended_is_an_outage(
    databases: DatabasePair, superuser: psycopg.Connection
) -> None:
    """Idle for too long, in a process that was paused: the next one may well succeed."""

    async def act_too_late(database: Database) -> None:
        async with database.transaction() as connection:
            await connection.execute("SET LOCAL idle_in_transaction_session_timeout = '1ms'")
            deadline = time.monotonic() + _DEADLINE_S
            query = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
            while superuser.execute(query, [connection.info.backend_pid]).fetchone():
                assert time.monotonic() < deadline
            await connection.execute("SELECT 1")

    async def act(database: Database) -> None:
        with pytest.raises(DatabaseUnavailable):
            await act_too_late(database)
        async with database.connection() as connection:
            await connection.execute("SELECT 1")

    _run(databases.core, act)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 FROM public.not_there",
        "SELECT 1 FROM not_there.at_all",
        "SELECT not_there FROM pg_class",
        "SELECT public.not_there()",
        "SELECT pg_read_file('PG_VERSION')",
    ],
)
def test_a_database_that_is_not_prepared_says_what_to_do(powerless: str, statement: str) -> None:
    """A table, schema, column, function or right that lacks is no outage, and no defect of CLM."""

    async def act(database: Database) -> None:
        with pytest.raises(DatabaseUnprepared, match=r"clm_core_db: .*run `clm migrate`"):
            async with database.connection() as connection:
                await connection.execute(statement)

    _run(powerless, act)


def test_months_that_cannot_be_made_stop_nothing_while_this_one_stands(
    powerless: str, superuser: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told and tried again; the start waits only where this month itself is missing."""

    async def act(database: Database) -> None:
        _drop_partition(superuser, 12)
        assert await prepare_partitions(database, "core") is False
        assert "only this month stands" in caplog.text
        _drop_partition(superuser, 0)
        with pytest.raises(DatabaseUnprepared):
            await prepare_partitions(database, "core")
        upkeep = asyncio.create_task(keep_partitions({"core": database}, interval_s=0.01, retry_s=0.01))
        try:
            async with asyncio.timeout(_DEADLINE_S):
                while caplog.text.count("are made later") < 2:  # noqa: ASYNC110 - it is told by the log alone
                    await asyncio.sleep(0.01)
            assert not upkeep.done()
        finally:
            upkeep.cancel()
            await asyncio.gather(upkeep, return_exceptions=True)

    _run(powerless, act)


def test_the_relay_outlives_a_database_that_is_not_prepared(powerless: str, caplog: pytest.LogCaptureFixture) -> None:
    """It says so at every sweep, and goes on when the database has been migrated."""

    async def act(database: Database) -> None:
        cluster, audit = uuid.uuid4(), {"origin": "test", "version": "0"}
        parts: dict[str, Any] = dict.fromkeys(signature(Relay).parameters)
        stores = {
            "cluster_id": cluster,
            "history": HistoryStore(database, cluster_id=cluster),
            "outbox": OutboxStore(database, cluster_id=cluster),
            "keys": KeyStore(database, **audit),
        }
        relay = asyncio.create_task(Relay(**parts | stores).run(interval_s=0.01))
        try:
            async with asyncio.timeout(_DEADLINE_S):
                while caplog.text.count("run `clm migrate`") < 6:  # noqa: ASYNC110 - it is told by the log alone
                    await asyncio.sleep(0.01)
            assert not relay.done()
        finally:
            relay.cancel()
            await asyncio.gather(relay, return_exceptions=True)

    _run(powerless, act)


def test_months_that_lack_are_made(databases: DatabasePair, superuser: psycopg.Connection) -> None:
    """Whoever may makes them, and then all stand."""

    async def act(database: Database) -> None:
        _drop_partition(superuser, 12)
        assert await prepare_partitions(database, "core") is True

    _run(databases.core, act)
