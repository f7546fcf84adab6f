"""A database and a token for the parts that issue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.integration.issuance.workshop import Workshop, open_workshop

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from clm.dev.postgres import PostgresCluster
    from tests.fix_postgres import DatabasePair
    from tests.fix_token import TokenStore


class Opener(Protocol):
    """Opens an operator's parts over this test's database."""

    def __call__(self, *, workers: int = 1) -> AbstractAsyncContextManager[Workshop]:
        """Open them; each time for another cluster."""


@pytest.fixture
def workshop(databases: DatabasePair, postgres_cluster: PostgresCluster, token_store: TokenStore) -> Opener:
    """Opens an operator's parts. They may do everything: tests also set rows to what takes years to become."""
    name = str(conninfo_to_dict(databases.secure)["dbname"])

    def opener(*, workers: int = 1) -> AbstractAsyncContextManager[Workshop]:
        return open_workshop(postgres_cluster.superuser_dsn(name), token_store, workers=workers)

    return opener
