"""The operator's own client, on a real API server."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pytest

from clm.cluster.client import ApiClient
from clm.cluster.session import load_credentials, open_session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from clm.dev.controlplane import ControlPlane

T = TypeVar("T")

_CLOSE_S = 5.0


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
        await _sockets_closed()


async def _sockets_closed() -> None:
    """Wait until the end of a stream that was left in its midst has been agreed on with the server."""
    selector = cast("Any", asyncio.get_running_loop())._selector
    deadline = time.monotonic() + _CLOSE_S
    # One is the loop's own.
    while len(selector.get_map()) > 1 and time.monotonic() < deadline:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.01)


@pytest.fixture(scope="session")
def clients(control_plane: ControlPlane) -> Clients:
    """Give the clients of the API server that the three definitions were applied to."""
    return Clients(control_plane.kubeconfig, control_plane.controller_kubeconfig)
