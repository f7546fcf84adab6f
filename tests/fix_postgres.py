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
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from clm.dev.postgres import PostgresCluster
from clm.dev.postgres_access import MIGRATOR, OPERATORS, SUPERUSER, USERS, Access
from clm.dev.postgres_binaries import find_postgres
from clm.dev.postgres_users import provision
from clm.storage.migrations import migrate
from clm.storage.partitions import ensure_audit_partitions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clm.storage.migration_files import DatabaseName

NAMES: tuple[DatabaseName, ...] = ("secure", "core")


@dataclass(frozen=True, slots=True)
class DatabasePair:
    """Two migrated databases with audit partitions for a year, by the names that they have on the server."""

    cluster: PostgresCluster
    names: dict[DatabaseName, str]

    @property
    def secure(self) -> str:
        """DSN of clm_secure_db, as the operator."""
        return self.dsn("secure")

    @property
    def core(self) -> str:
        """DSN of clm_core_db, as the operator."""
        return self.dsn("core")

    def dsn(self, database: DatabaseName, user: str | None = None) -> str:
        """DSN of one of the two, as one of its users, by default the operator."""
        return self.cluster.dsn(self.names[database], user or OPERATORS[database])

    def superuser_dsn(self, database: DatabaseName) -> str:
        """DSN of one of the two, as the superuser, who is bound by no right and no policy."""
        return self.cluster.superuser_dsn(self.names[database])


@dataclass(frozen=True, slots=True)
class Server:
    """A running server in which databases are made and dropped."""

    cluster: PostgresCluster
    numbers: Iterator[int]

    @contextmanager
    def database(self, *, template: str = "template0", owner: str = "clm_owner") -> Iterator[str]:
        """Lend a database of its own, by name."""
        name = f"test_{next(self.numbers)}"
        self.execute("CREATE DATABASE {} TEMPLATE {} OWNER {}", name, template, owner)
        try:
            yield name
        finally:
            self.execute("DROP DATABASE {} WITH (FORCE)", name)

    @contextmanager
    def pair(self) -> Iterator[DatabasePair]:
        """Lend copies of the two migrated databases."""
        with (
            self.database(template="template_secure") as secure,
            self.database(template="template_core") as core,
        ):
            # A copy has everything of its template but the rights to connect.
            for name, users in ((secure, USERS["secure"]), (core, USERS["core"])):
                self.execute("REVOKE ALL ON DATABASE {} FROM PUBLIC", name)
                for user in users:
                    self.execute("GRANT CONNECT ON DATABASE {} TO {}", name, user)
            yield DatabasePair(self.cluster, {"secure": secure, "core": core})

    def execute(self, statement: str, *names: str) -> None:
        """Run a statement as the superuser; each {} is the next of the names."""
        with psycopg.connect(self.cluster.superuser_dsn(), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[PostgresCluster]:
    """A server for this test run."""
    # Not below pytest's folder: that one is closed to the user whom root starts the server as.
    folder = Path(tempfile.mkdtemp(prefix="clm-test-"))
    folder.chmod(0o755)
    binaries = find_postgres(os.environ, embedded_copy=folder / "embedded")
    access = Access(folder / "postgres", tuple(dict.fromkeys((*USERS["secure"], *USERS["core"]))))
    cluster = PostgresCluster(folder / "postgres", binaries, folder / "postgres.log", access)
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
        provision(postgres_cluster, f"template_{name}")
        migrate(postgres_cluster.dsn(f"template_{name}", MIGRATOR), name)
        asyncio.run(_make_partitions(postgres_cluster.dsn(f"template_{name}", OPERATORS[name])))
    return Server(postgres_cluster, count(1))


@pytest.fixture
def databases(postgres_server: Server) -> Iterator[DatabasePair]:
    """Two migrated databases that nobody else sees."""
    with postgres_server.pair() as pair:
        yield pair


@pytest.fixture
def empty_database(postgres_server: Server) -> Iterator[str]:
    """DSN of a database with nothing in it, as the superuser, who owns it."""
    with postgres_server.database(owner=SUPERUSER) as name:
        yield postgres_server.cluster.superuser_dsn(name)


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


async def _make_partitions(dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await ensure_audit_partitions(connection)
