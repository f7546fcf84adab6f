"""Databases and a token for what publishes CRLs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.integration.publishing.press import Press, open_press

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.fix_postgres import DatabasePair
    from tests.fix_token import TokenStore


class Printer(Protocol):
    """Runs an act at a press of this test alone."""

    def __call__(self, act: Callable[[Press], Awaitable[None]], /) -> None:
        """Run it to its end."""


@pytest.fixture
def printer(databases: DatabasePair, token_store: TokenStore) -> Printer:
    """A press in databases of this test alone."""

    def run(act: Callable[[Press], Awaitable[None]], /) -> None:
        async def opened() -> None:
            async with open_press(databases, token_store) as press:
                await act(press)

        asyncio.run(opened())

    return run
