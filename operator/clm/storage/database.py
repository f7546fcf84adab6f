"""One pool a database, and the translation of its errors into CLM's."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from clm.errors import DatabaseUnavailable, DatabaseUnprepared

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

# What a broken link, a restart or a fail-over raises. A server that was demoted answers, and takes no writes (25006);
# one that is stopped may first end the transactions that wait (25P03, 25P04).
_AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    PoolTimeout,
    errors.ReadOnlySqlTransaction,
    errors.IdleInTransactionSessionTimeout,
    errors.TransactionTimeout,
)
# What a database raises that was not migrated, or whose rights were not granted; everything else is our own mistake.
_UNPREPARED = (
    errors.InsufficientPrivilege,
    errors.InvalidSchemaName,
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.UndefinedFunction,
    errors.UndefinedObject,
)


class Database:
    """A bounded pool of connections to one database.

    Where names are sought and how long anything may take are settings of the database's user (migrations/roles.sql).
    A connection that broke is thrown away by the pool; the caller sees DatabaseUnavailable and tries again later.
    """

    def __init__(
        self, dsn: str, *, name: str, connections: int, timeout_s: float = 10.0, application: str = "clm-controller"
    ) -> None:
        self.name = name
        self._pool = AsyncConnectionPool(
            dsn,
            min_size=1,
            max_size=connections,
            open=False,
            timeout=timeout_s,
            reconnect_timeout=timeout_s,
            name=name,
            configure=_configure,
            kwargs={
                "autocommit": True,
                "row_factory": tuple_row,
                "application_name": application,
                "connect_timeout": 5,
                # A peer that vanished without a word is noticed within seconds, not by the kernel's quarter of an hour.
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 20_000,
            },
        )

    async def start(self) -> None:
        """Open the pool. Connections are made in the background: a database that is away delays nothing."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection in autocommit mode. Raises DatabaseUnavailable and DatabaseUnprepared."""
        try:
            async with self._pool.connection() as connection:
                try:
                    yield connection
                except errors.ReadOnlySqlTransaction:
                    # The pool would lend it for ever; a new one may find the server that leads now.
                    await connection.close()
                    raise
        except _AWAY as error:
            raise DatabaseUnavailable(f"{self.name}: {_reason(error)}") from error
        except _UNPREPARED as error:
            raise DatabaseUnprepared(
                f"{self.name}: {_reason(error)}; run `clm migrate` as its owner: it makes and grants what is missing"
            ) from error

    async def together(self, *statements: tuple[str, Mapping[str, Any]]) -> list[list[tuple[Any, ...]]]:
        """Run statements in one transaction that takes a single round trip. Returns the rows of each.

        One that fails undoes all of them. Raises what it raised, DatabaseUnavailable or DatabaseUnprepared.
        """
        async with self.connection() as connection:
            try:
                async with connection.pipeline():
                    # Plain statements: transaction() would wait for the answer to each of its own.
                    await connection.execute("BEGIN")
                    cursors = [
                        await connection.execute(query, parameters, binary=True) for query, parameters in statements
                    ]
                    await connection.execute("COMMIT")
            except psycopg.DatabaseError:
                if not connection.broken:
                    await connection.rollback()
                raise
            return [await cursor.fetchall() if cursor.description else [] for cursor in cursors]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection inside one transaction. Raises DatabaseUnavailable and DatabaseUnprepared."""
        async with self.connection() as connection, connection.transaction():
            yield connection


async def _configure(connection: Connection) -> None:
    # A plan made while a table was small, kept for good, would read all of it ever after.
    await connection.execute("SET plan_cache_mode = force_custom_plan")


def _reason(error: Exception) -> str:
    # libpq repeats the connection string's host but not its password; one line is enough for a condition.
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__
