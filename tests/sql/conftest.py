"""Connections to migrated databases that all these tests share: each works in a transaction that is rolled back."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.fix_postgres import DatabasePair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clm.storage.migration_files import DatabaseName
    from tests.fix_postgres import Server


@pytest.fixture(params=["secure", "core"])
def database(request: pytest.FixtureRequest) -> DatabaseName:
    """Name of one of the two databases."""
    name: DatabaseName = request.param
    return name


@pytest.fixture(scope="session")
def shared_databases(postgres_server: Server) -> Iterator[DatabasePair]:
    """Two migrated databases in which nothing is ever committed."""
    with (
        postgres_server.database(template="template_secure") as secure,
        postgres_server.database(template="template_core") as core,
    ):
        yield DatabasePair(secure, core)


@pytest.fixture
def connection(shared_databases: DatabasePair, database: DatabaseName) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection to that database, as its owner."""
    with _rolled_back(shared_databases.dsn(database)) as connection:
        yield connection


@pytest.fixture
def secure(shared_databases: DatabasePair) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection to clm_secure_db, as its owner."""
    with _rolled_back(shared_databases.secure) as connection:
        yield connection


@pytest.fixture
def core(shared_databases: DatabasePair) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection to clm_core_db, as its owner."""
    with _rolled_back(shared_databases.core) as connection:
        yield connection


@contextmanager
def _rolled_back(dsn: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(dsn, autocommit=True) as connection, connection.transaction(force_rollback=True):
        yield connection
