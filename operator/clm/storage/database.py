"""One pool a database, and the translation of its errors into CLM's."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from clm.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

# What a broken link, a restart or a fail-over raises; everything else is our own mistake.
_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)


class Database:
    """A bounded pool of connections to one database.

    A connection that broke is thrown away by the pool; the caller sees DatabaseUnavailable and tries again later.
    """

    def __init__(self, dsn: str, *, name: str, connections: int, timeout_s: float = 10.0) -> None:
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
                "application_name": "clm-controller",
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
        """Lend a connection in autocommit mode. Raises DatabaseUnavailable."""
        try:
            async with self._pool.connection() as connection:
                yield connection
        except _AWAY as error:
            raise DatabaseUnavailable(f"{self.name}: {_reason(error)}") from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection inside one transaction. Raises DatabaseUnavailable."""
        async with self.connection() as connection, connection.transaction():
            yield connection


async def _configure(connection: Connection) -> None:
    # Unqualified names must never resolve to somebody else's schema.
    await connection.execute("SET search_path = public, pg_catalog")
    await connection.execute("SET statement_timeout = '30s'")
    await connection.execute("SET idle_in_transaction_session_timeout = '30s'")


def _reason(error: Exception) -> str:
    # libpq repeats the connection string's host but not its password; one line is enough for a condition.
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__
