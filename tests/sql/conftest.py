"""Connections to migrated databases that all these tests share: each works in a transaction that is rolled back."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clm.storage.migration_files import DatabaseName
    from tests.fix_postgres import DatabasePair, Server


@pytest.fixture(params=["secure", "core"])
def database(request: pytest.FixtureRequest) -> DatabaseName:
    """Name of one of the two databases."""
    name: DatabaseName = request.param
    return name


@pytest.fixture(scope="session")
def shared_databases(postgres_server: Server) -> Iterator[DatabasePair]:
    """Two migrated databases in which nothing is ever committed."""
    with postgres_server.pair() as pair:
        yield pair


@pytest.fixture
def connection(shared_databases: DatabasePair, database: DatabaseName) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection to that database, as the superuser."""
    with _rolled_back(shared_databases.superuser_dsn(database)) as connection:
        yield connection


@pytest.fixture
def secure(shared_databases: DatabasePair) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection to clm_secure_db, as the superuser."""
    with _rolled_back(shared_databases.superuser_dsn("secure")) as connection:
        yield connection


@pytest.fixture
def core(shared_databases: DatabasePair) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection to clm_core_db, as the superuser."""
    with _rolled_back(shared_databases.superuser_dsn("core")) as connection:
        yield connection


@contextmanager
def _rolled_back(dsn: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(dsn, autocommit=True) as connection, connection.transaction(force_rollback=True):
        yield connection
