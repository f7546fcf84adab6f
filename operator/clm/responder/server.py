"""Listens, counts connections, ends those whose time is over, and lets the others finish at the end."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

from clm.responder.connection import Connection
from clm.responder.messages import http_date

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from clm.responder.messages import Request, Response

_CHECK_S = 1.0
_BACKLOG = 1024
_POLL_S = 0.02
_NOT_SENT = 128 * 1024
"""Octets of a connection that the kernel takes before it can send them: without a bound it takes megabytes, and a
client that reads slowly and steadily would seem to pause for a minute."""


class HttpServer:
    """An HTTP server for one function from a request to its answer."""

    def __init__(
        self,
        respond: Callable[[Request], Response | Awaitable[Response]],
        *,
        most_connections: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.respond = respond
        self._clock = clock
        self.closing = False
        self._most = most_connections
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._date = (0, b"")

    def __len__(self) -> int:
        """Count the connections."""
        return len(self._connections)

    async def start(self, host: str, port: int) -> int:
        """Listen; give the port. Raises OSError where it cannot be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self, clock=self._clock), host, port, backlog=_BACKLOG
        )
        for listening in self._server.sockets:
            # Connections inherit it.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOT_SENT)
        address = self._server.sockets[0].getsockname()
        return int(address[1])

    async def run(self) -> None:
        """End, every second, the connections whose time is over."""
        while True:
            await asyncio.sleep(_CHECK_S)
            self.check()

    def check(self) -> None:
        """End the connections whose time is over."""
        now = self._clock()
        for connection in list(self._connections):
            connection.check(now)

    async def stop(self, *, timeout_s: float) -> None:
        """Take no more connections; let the requests that have begun be answered, for so long."""
        self.closing = True
        if self._server is not None:
            self._server.close()
        deadline = time.monotonic() + timeout_s
        while self._connections and time.monotonic() < deadline:
            for connection in list(self._connections):
                connection.close_when_idle()
            await asyncio.sleep(_POLL_S)
        for connection in list(self._connections):
            connection.abort()

    def date(self) -> bytes:
        """Give the header line Date, made once a second."""
        now = int(time.time())
        if self._date[0] != now:
            self._date = (now, f"Date: {http_date(now)}\r\n".encode("ascii"))
        return self._date[1]

    def opened(self, connection: Connection) -> bool:
        """Count a connection; tell whether there is room for it."""
        self._connections.add(connection)
        return len(self._connections) <= self._most

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
