"""Connections over the loopback, with a clock that the tests turn."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
import uvloop

from clm.responder import connection as limits
from clm.responder.messages import Request, Response, plain
from clm.responder.server import HttpServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

GET = b"GET /%s HTTP/1.1\r\nHost: pki\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: pki\r\nConnection: close\r\n\r\n"
LARGE = b"0" * 20_000_000


@dataclass(slots=True)
class Site:
    """A server whose answers name the path; /slow waits for `go`, /broken raises, /large is large."""

    now: float = 0.0
    go: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[bytes] = field(default_factory=list)
    server: HttpServer = field(init=False)
    port: int = 0

    def respond(self, request: Request) -> Response | Awaitable[Response]:
        """Answer."""
        self.asked.append(request.path)
        if request.path == b"/broken-at-once":
            raise ZeroDivisionError
        if request.path == b"/large":
            return Response(HTTPStatus.OK, b"", LARGE)
        return self._later(request) if request.path in {b"/slow", b"/broken"} else self._named(request)

    async def _later(self, request: Request) -> Response:
        await self.go.wait()
        if request.path == b"/broken":
            raise ZeroDivisionError
        return self._named(request)

    def _named(self, request: Request) -> Response:
        return Response(HTTPStatus.OK, b"", request.path)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def turn(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.server.check()
        await asyncio.sleep(0)


@asynccontextmanager
async def site(*, most: int = 10) -> AsyncIterator[Site]:
    """Run a server."""
    made = Site()
    made.server = HttpServer(made.respond, most_connections=most, clock=lambda: made.now)
    made.port = await made.server.start("127.0.0.1", 0)
    try:
        yield made
    finally:
        made.go.set()
        await made.server.stop(timeout_s=0)


async def until(holds: Callable[[], object]) -> None:
    """Let the loop turn until something holds."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - nobody sets an event for it
            await asyncio.sleep(0)


def bodies(said: bytes) -> list[bytes]:
    """Bodies of answers that came one after the other."""
    return [part.partition(b"\r\n\r\n")[2] for part in said.split(b"HTTP/1.1 ")[1:]]


def test_answers_come_in_order() -> None:
    """One that has to be waited for is not overtaken."""

    async def act() -> None:
        async with site() as served:
            reader, writer = await served.connect()
            writer.write(GET % b"first" + GET % b"slow" + GET % b"third" + LAST)
            await until(lambda: served.asked == [b"/first", b"/slow"])
            served.go.set()
            assert bodies(await reader.read()) == [b"/first", b"/slow", b"/third", b"/last"]
            writer.close()

    asyncio.run(act())


def test_a_defect_is_answered_too() -> None:
    """What fails inside is a 500, and the connection goes on."""

    async def act() -> None:
        async with site() as served:
            served.go.set()
            reader, writer = await served.connect()
            writer.write(GET % b"broken" + GET % b"broken-at-once" + LAST)
            said = await reader.read()
            assert said.count(b"HTTP/1.1 500 ") == 2
            assert bodies(said)[-1] == b"/last"
            writer.close()

    asyncio.run(act())


def test_half_closed_clients_are_answered() -> None:
    """Whoever sends no more still gets what it asked for."""

    async def act() -> None:
        async with site() as served:
            reader, writer = await served.connect()
            writer.write(GET % b"slow")
            writer.write_eof()
            await until(lambda: served.asked)
            served.go.set()
            assert bodies(await reader.read()) == [b"/slow"]
            writer.close()

    asyncio.run(act())


def test_time_for_a_request_and_without_one() -> None:
    """A request that does not come to its end, and a connection without one, end; one that is answered goes on."""

    async def act() -> None:
        async with site() as served:
            (idle, idle_writer), (slow, slow_writer) = await served.connect(), await served.connect()
            idle_writer.write(GET % b"a")
            await idle.readuntil(b"/a")
            slow_writer.write((GET % b"b")[:-2])
            await until(lambda: any(each._reader.in_request for each in served.server._connections))
            await served.turn(limits.REQUEST_S + 1)
            assert await slow.read() == b""
            idle_writer.write(GET % b"c")
            await idle.readuntil(b"/c")
            await served.turn(limits.IDLE_S - 1)
            assert len(served.server) == 1
            await served.turn(2)
            assert await idle.read() == b""
            idle_writer.close()
            slow_writer.close()

    asyncio.run(act())


def test_time_for_a_request_after_others() -> None:
    """One that begins behind others has no longer than any: their answers give it no time."""

    async def act() -> None:
        async with site() as served:
            reader, writer = await served.connect()
            writer.write(GET % b"a" + GET % b"slow" + (GET % b"b")[:-2])
            await until(lambda: b"/slow" in served.asked)
            (connection,) = served.server._connections
            await served.turn(limits.REQUEST_S * 10)
            served.go.set()
            await reader.readuntil(b"/slow")
            # Nothing was read while the answer before it was made.
            await served.turn(limits.REQUEST_S - 1)
            assert len(served.server) == 1
            assert connection._reader.in_request
            await served.turn(2)
            assert await reader.read() == b""
            writer.close()

    asyncio.run(act())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_clients_that_read_a_little(run: Callable[[Coroutine[None, None, None]], None]) -> None:
    """Who takes less than the least rate is dropped after a while, whatever it has taken fast before."""

    async def act() -> None:
        async with site() as served:
            reader, writer = await served.connect()
            writer.write(GET % b"large" + GET % b"large")
            await until(lambda: served.asked)
            transport = await reading(served, reader, 2_000_000)
            left = transport.get_write_buffer_size()
            assert left > 0
            async with asyncio.timeout(20):
                while len(served.server):
                    await reader.read(1)
                    await served.turn(limits.STALLED_S / 4)
            assert len(served.asked) == 1
            writer.close()

    run(act())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_clients_that_read_at_the_least_rate(run: Callable[[Coroutine[None, None, None]], None]) -> None:
    """Get all of it, in pauses that are no longer than STALLED_S, and may ask again afterwards."""

    async def act() -> None:
        async with site() as served:
            reader, writer = await served.connect()
            writer.write(GET % b"large")
            await until(lambda: served.asked)
            (connection,) = served.server._connections
            transport = connection._transport
            assert transport is not None
            await reader.readuntil(b"\r\n\r\n")
            got = 0
            while (left := transport.get_write_buffer_size()) > 0:
                got += await taken(reader, transport, left)
                await served.turn((left - transport.get_write_buffer_size()) / limits.LEAST_RATE)
                assert len(served.server) == 1
            assert got + len(await reader.readexactly(len(LARGE) - got)) == len(LARGE)
            assert served.now > 2 * limits.IDLE_S
            await served.turn(limits.IDLE_S - 1)
            writer.write(LAST)
            assert bodies(await reader.read()) == [b"/last"]
            writer.close()

    run(act())


async def taken(reader: asyncio.StreamReader, transport: asyncio.Transport, left: int) -> int:
    """Read until the server has sent something more; tell how much was read."""
    got = 0
    async with asyncio.timeout(20):
        while transport.get_write_buffer_size() == left:
            got += len(await reader.read(20_000))
    return got


async def reading(served: Site, reader: asyncio.StreamReader, number: int) -> asyncio.Transport:
    """Read so much of the only connection, fast; give its transport."""
    (connection,) = served.server._connections
    transport = connection._transport
    assert transport is not None
    await reader.readexactly(number)
    return transport


def test_clients_that_do_not_read() -> None:
    """Are dropped, while one that reads again before that is not."""

    async def act() -> None:
        async with site() as served:
            reader, writer = await served.connect()
            writer.write((GET % b"large") * 50)
            await until(lambda: len(served.asked) == 1)
            (connection,) = served.server._connections
            transport = connection._transport
            assert transport is not None
            for _ in range(5):
                before = transport.get_write_buffer_size()
                async with asyncio.timeout(20):
                    while transport.get_write_buffer_size() == before:
                        await reader.read(100_000)
                await served.turn(limits.STALLED_S - 1)
            assert len(served.server) == 1
            async with asyncio.timeout(20):
                # What the kernel still takes counts as read.
                while len(served.server):
                    await served.turn(limits.STALLED_S + 1)
            assert len(served.asked) < 50
            writer.close()

    asyncio.run(act())


def test_no_room() -> None:
    """Whoever is one too many is told so."""

    async def act() -> None:
        async with site(most=1) as served:
            first, first_writer = await served.connect()
            first_writer.write(GET % b"a")
            await first.readuntil(b"/a")
            second, second_writer = await served.connect()
            assert (await second.read()).startswith(b"HTTP/1.1 503 ")
            second_writer.close()
            first_writer.write(LAST)
            assert bodies(await first.read()) == [b"/last"]
            first_writer.close()

    asyncio.run(act())


def test_refusals_reach_the_client() -> None:
    """Though it still sends: a reset would have taken the answer away from it."""

    async def act() -> None:
        async with site() as served:
            reader, writer = await served.connect()
            writer.write(b"POST /ocsp HTTP/1.1\r\nHost: pki\r\nContent-Length: 9000000\r\n\r\n")
            for _ in range(20):
                writer.write(b"0" * 100_000)
                await asyncio.sleep(0)
            assert (await reader.read()).startswith(b"HTTP/1.1 413 ")
            assert served.asked == []
            await served.turn(limits.LINGER_S + 1)
            writer.close()

    asyncio.run(act())


def test_clients_that_ask_before_they_send() -> None:
    """`Expect: 100-continue` is answered, unless the body would be refused."""

    async def act() -> None:
        async with site() as served:
            reader, writer = await served.connect()
            head = b"POST /ocsp HTTP/1.1\r\nHost: pki\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % 5)
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"01234")
            await reader.readuntil(b"/ocsp")
            writer.write(head % 90_000)
            assert (await reader.read()).startswith(b"HTTP/1.1 413 ")
            writer.close()

    asyncio.run(act())


def test_the_end_waits_for_what_has_begun() -> None:
    """Idle connections are closed, an answer on its way is the last of its connection, and nobody new comes in."""

    async def act() -> None:
        async with site() as served:
            (idle, idle_writer), (busy, busy_writer) = await served.connect(), await served.connect()
            idle_writer.write(GET % b"a")
            await idle.readuntil(b"/a")
            busy_writer.write(GET % b"slow")
            await until(lambda: b"/slow" in served.asked)
            ending = asyncio.create_task(served.server.stop(timeout_s=20))
            assert await idle.read() == b""
            served.go.set()
            said = await busy.read()
            assert bodies(said) == [b"/slow"]
            assert b"Connection: close" in said
            await ending
            idle_writer.close()
            busy_writer.close()

    asyncio.run(act())


def test_head_and_not_modified_have_no_body() -> None:
    """RFC 9110 9.3.2 and 15.4.5."""

    async def act() -> None:
        async with site() as served:
            served.server.respond = lambda request: (
                plain(HTTPStatus.NOT_FOUND) if request.method == "HEAD" else Response(HTTPStatus.NOT_MODIFIED, b"")
            )
            reader, writer = await served.connect()
            writer.write((GET % b"a").replace(b"GET", b"HEAD") + LAST)
            head, _, rest = (await reader.read()).partition(b"\r\n\r\n")
            assert b"Content-Length: 14" in head
            assert rest.startswith(b"HTTP/1.1 304 Not Modified\r\n")
            assert b"Content-Length" not in rest
            writer.close()

    asyncio.run(act())
