"""The operator's own client, on a real API server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import pytest

from clm.cluster.client import ApiClient
from clm.cluster.session import load_credentials, open_session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from clm.dev.controlplane import ControlPlane

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Clients:
    """Clients of one API server: the administrator's, and the controller's with its own rights only."""

    admin: Path
    controller: Path

    def run(self, act: Callable[[ApiClient], Coroutine[None, None, T]], *, controller: bool = False) -> T:
        """Run `act` with a client in an event loop of its own."""

        async def with_client() -> T:
            async with opened(self.controller if controller else self.admin) as client:
                return await act(client)

        return asyncio.run(with_client())


@asynccontextmanager
async def opened(kubeconfig: Path) -> AsyncIterator[ApiClient]:
    """Open a client of whom a kubeconfig names."""
    credentials = await load_credentials(str(kubeconfig))
    client = ApiClient(open_session(credentials, connections=4), credentials.server)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture(scope="session")
def clients(control_plane: ControlPlane) -> Clients:
    """Give the clients of the API server that the three definitions were applied to."""
    return Clients(control_plane.kubeconfig, control_plane.controller_kubeconfig)
