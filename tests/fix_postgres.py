"""A real PostgreSQL in a temporary folder, and fresh databases in it for every test that asks.

The migrations are applied once, to templates; a test's databases are copies of these.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from clm.dev.postgres import OWNER, PostgresCluster
from clm.dev.postgres_binaries import find_postgres
from clm.storage.migrations import migrate
from clm.storage.partitions import ensure_audit_partitions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clm.storage.migration_files import DatabaseName

NAMES: tuple[DatabaseName, ...] = ("secure", "core")


@dataclass(frozen=True, slots=True)
class DatabasePair:
    """DSNs of two migrated databases, as their owner, with audit partitions for a year."""

    secure: str
    core: str

    def dsn(self, database: DatabaseName) -> str:
        """DSN of one of the two."""
        return self.secure if database == "secure" else self.core


@dataclass(frozen=True, slots=True)
class Server:
    """A running server in which databases are made and dropped."""

    cluster: PostgresCluster
    numbers: Iterator[int]

    @contextmanager
    def database(self, *, template: str = "template0") -> Iterator[str]:
        """Lend a database of its own, by DSN."""
        name = f"test_{next(self.numbers)}"
        self._execute("CREATE DATABASE {} TEMPLATE {} OWNER {}", name, template, OWNER)
        try:
            yield self.cluster.dsn(name)
        finally:
            self._execute("DROP DATABASE {} WITH (FORCE)", name)

    def _execute(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.cluster.superuser_dsn(), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[PostgresCluster]:
    """A server for this test run."""
    # Not below pytest's folder: that one is closed to the user whom root starts the server as.
    folder = Path(tempfile.mkdtemp(prefix="clm-test-"))
    folder.chmod(0o755)
    binaries = find_postgres(os.environ, embedded_copy=folder / "embedded")
    cluster = PostgresCluster(folder / "postgres", binaries, folder / "postgres.log")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres_server(postgres_cluster: PostgresCluster) -> Server:
    """The server, with a migrated template for each of the two databases."""
    for name in NAMES:
        dsn = postgres_cluster.create_database(f"template_{name}")
        migrate(dsn, name)
        asyncio.run(_make_partitions(dsn, name))
    return Server(postgres_cluster, count(1))


@pytest.fixture
def databases(postgres_server: Server) -> Iterator[DatabasePair]:
    """Two migrated databases that nobody else sees."""
    with (
        postgres_server.database(template="template_secure") as secure,
        postgres_server.database(template="template_core") as core,
    ):
        yield DatabasePair(secure, core)


@pytest.fixture
def empty_database(postgres_server: Server) -> Iterator[str]:
    """A database with nothing in it."""
    with postgres_server.database() as dsn:
        yield dsn


@pytest.fixture
def psql(postgres_cluster: PostgresCluster) -> Callable[[str, Path], None]:
    """Apply a file to a database as an administrator would: `psql -f`, without any option that helps."""
    program = postgres_cluster.binaries.program("psql")

    def run(dsn: str, file: Path) -> None:
        _run(program, "--no-psqlrc", "--quiet", "--dbname", dsn, "--file", str(file))

    return run


@pytest.fixture
def schema_dump(postgres_cluster: PostgresCluster) -> Callable[[str], str]:
    """Write down the schema of a database, without what differs from one dump to the next."""
    program = postgres_cluster.binaries.program("pg_dump")

    def run(dsn: str) -> str:
        lines = _run(program, "--schema-only", "--dbname", dsn).splitlines()
        # Newer minor releases add \restrict with a random word.
        return "\n".join(line for line in lines if line and not line.startswith(("--", "\\restrict", "\\unrestrict")))

    return run


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def _make_partitions(dsn: str, name: DatabaseName) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await ensure_audit_partitions(connection, name, now=datetime.now(UTC))
