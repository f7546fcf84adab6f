"""The site that these tests act at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.lifecycle.parts import Site

if TYPE_CHECKING:
    from tests.fix_postgres import DatabasePair
    from tests.fix_token import TokenStore


@pytest.fixture
def site(databases: DatabasePair, token_store: TokenStore) -> Site:
    """Two databases of this test alone, and the token that tests share."""
    return Site(databases, token_store)
