"""Databases that the tests of the pages share: what they write is rolled back, or nobody minds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fix_postgres import DatabasePair, Server


@pytest.fixture(scope="session")
def migrated(postgres_server: Server) -> Iterator[DatabasePair]:
    """Two migrated databases."""
    with postgres_server.pair() as pair:
        yield pair
