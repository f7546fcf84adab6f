"""One connection: its requests are answered in order, a cached answer in the turn of the loop in which it is asked for.

Whatever a client can have grow is bounded: a request (reader.py), the time that it takes, the time without one, and
how long an answer waits to be read: whoever takes less than LEAST_RATE is dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, cast

from clm.responder.messages import Response, plain
from clm.responder.reader import RequestReader, Turn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from clm.responder.messages import Request

logger = logging.getLogger(__name__)

REQUEST_S = 10.0
"""How long a request may take to come in."""
IDLE_S = 60.0
"""How long a connection may be without one."""
STALLED_S = 30.0
"""How long a client may read nothing of what was sent to it: the grace before LEAST_RATE is asked of it, too."""
LEAST_RATE = 16 * 1024
"""Octets a second that a client reads at the least: 40 MB in 41 minutes. It holds its place, and a CRL that may have
been replaced since."""
LINGER_S = 2.0
"""How long what a refused client still sends is read and dropped: a reset would take the answer away from it."""

_COPIED = 16 * 1024
"""Octets of a body that are sent in one piece with the head."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE, _KEEP = b"Connection: close\r\n", b"Connection: keep-alive\r\n"
_NO_BODY = frozenset({HTTPStatus.NOT_MODIFIED, HTTPStatus.NO_CONTENT})


class Surroundings(Protocol):
    """What a connection needs of the server."""

    closing: bool

    def respond(self, request: Request) -> Response | Awaitable[Response]:
        """Answer a request, at once where that is possible."""
        ...

    def date(self) -> bytes:
        """Give the header line Date."""
        ...

    def opened(self, connection: Connection) -> bool:
        """Count a connection; tell whether there is room for it."""
        ...

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        ...


class Connection(asyncio.Protocol):
    """Reads requests and writes answers, until either side ends it. `clock` counts seconds, from anywhere."""

    def __init__(self, server: Surroundings, *, clock: Callable[[], float]) -> None:
        self._server = server
        self._clock = clock
        self._reader = RequestReader()
        self._transport: asyncio.Transport | None = None
        self._turns: deque[Turn] = deque()
        self._task: asyncio.Task[None] | None = None
        self._is_writable = self._is_reading = True
        self._unread = 0
        # Until when the request under way has come in, the next one has begun, and what was sent has been read on.
        self._request_by = self._idle_until = self._read_by = clock() + REQUEST_S

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or send away whom there is no room for."""
        # uvloop's transports are of no class of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        if not self._server.opened(self):
            self._turns.append(Turn(HTTPStatus.SERVICE_UNAVAILABLE, goes_on=False))
            self._advance()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget what is under way."""
        self._transport = None
        self._turns.clear()
        if self._task is not None:
            self._task.cancel()
        self._server.closed(self)

    def data_received(self, data: bytes) -> None:
        """Read on; answer what is complete."""
        was_in_request = self._reader.in_request
        turns = self._reader.feed(data)
        self._turns.extend(turns)
        if self._reader.in_request and (turns or not was_in_request):
            self._request_by = self._clock() + REQUEST_S
        if self._reader.wants_continue and self._transport is not None and not self._turns and self._task is None:
            self._reader.wants_continue = False
            self._transport.write(_CONTINUE)
        self._advance()

    def eof_received(self) -> bool:
        """Whoever sends no more may still read what is on its way."""
        self._reader.is_done = True
        return self._task is not None or bool(self._turns)

    def pause_writing(self) -> None:
        """The client reads more slowly than it asks."""
        self._is_writable = False

    def resume_writing(self) -> None:
        """It has caught up."""
        self._is_writable = True
        self._advance()

    def check(self, now: float) -> None:
        """End a connection whose time is over, unless it waits for us. Called about once a second."""
        if self._transport is not None and self._task is None and self._is_over(now):
            self._transport.abort()

    def _is_over(self, now: float) -> bool:
        assert self._transport is not None  # noqa: S101 - by its only caller
        unread = self._transport.get_write_buffer_size()
        taken, self._unread = self._unread - unread, unread
        if unread:
            # What was read fast is no credit: at any time a pause longer than STALLED_S is too long.
            self._read_by = min(self._read_by + taken / LEAST_RATE, now + STALLED_S)
            if now > self._read_by:
                return True
        elif taken:
            self._idle_until = max(self._idle_until, now + IDLE_S)
        if not self._is_reading:
            return False
        return now > self._request_by if self._reader.in_request else not unread and now > self._idle_until

    def close_when_idle(self) -> None:
        """Close at once where nothing is under way; otherwise the answer on its way is the last one."""
        if self._transport is not None and self._task is None and not self._turns and not self._reader.in_request:
            self._transport.close()

    def abort(self) -> None:
        """End it, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    def _advance(self) -> None:
        """Answer in order, until there is nothing more, an answer has to be waited for, or the client does not read."""
        while self._turns and self._task is None and self._is_writable and self._transport is not None:
            turn = self._turns.popleft()
            answer = plain(turn.asked) if isinstance(turn.asked, HTTPStatus) else self._answer(turn.asked)
            if isinstance(answer, Response):
                self._write(turn, answer)
            else:
                self._task = asyncio.create_task(self._await(turn, answer))
        self._balance()

    def _answer(self, request: Request) -> Response | Awaitable[Response]:
        try:
            return self._server.respond(request)
        except Exception:
            logger.exception("an answer failed by a defect in CLM")
            return plain(HTTPStatus.INTERNAL_SERVER_ERROR)

    def _balance(self) -> None:
        """Read no more while answers are waited for: what a client asks meanwhile stays on its side."""
        if self._transport is None or self._transport.is_closing():
            return
        reads = self._task is None and self._is_writable
        if reads and not self._is_reading:
            self._transport.resume_reading()
            # Meanwhile nothing of the request under way could come in.
            self._request_by = self._clock() + REQUEST_S
        elif self._is_reading and not reads:
            self._transport.pause_reading()
        self._is_reading = reads

    async def _await(self, turn: Turn, answer: Awaitable[Response]) -> None:
        try:
            response = await answer
        except Exception:
            logger.exception("an answer failed by a defect in CLM")
            response = plain(HTTPStatus.INTERNAL_SERVER_ERROR)
        self._task = None
        self._write(turn, response)
        self._advance()

    def _write(self, turn: Turn, response: Response) -> None:
        if self._transport is None:
            return
        is_last = self._reader.is_done and not self._turns
        goes_on = turn.goes_on and not is_last and not self._server.closing
        lines = [
            b"HTTP/1.1 %d %s\r\n" % (response.status.value, response.status.phrase.encode("ascii")),
            self._server.date(),
            response.headers,
        ]
        if response.status not in _NO_BODY:
            lines.append(b"Content-Length: %d\r\n" % len(response.body))
        if not goes_on:
            lines.append(_CLOSE)
        elif turn.says_so:
            lines.append(_KEEP)
        lines.append(b"\r\n")
        is_head = not isinstance(turn.asked, HTTPStatus) and turn.asked.method == "HEAD"
        body = response.body if not is_head and response.status not in _NO_BODY else b""
        self._send(b"".join(lines), body)
        if not goes_on:
            self._end(is_refusal=isinstance(turn.asked, HTTPStatus))

    def _send(self, head: bytes, body: bytes) -> None:
        assert self._transport is not None  # noqa: S101 - by its only caller
        now = self._clock()
        if not self._transport.get_write_buffer_size():
            self._unread, self._read_by = 0, now + STALLED_S
        self._idle_until = now + IDLE_S
        if len(body) <= _COPIED:
            self._transport.write(head + body)
        else:
            # One CRL in memory, not one for each who downloads it.
            self._transport.write(head)
            self._transport.write(body)
        waits = self._transport.get_write_buffer_size() > 0
        self._unread = self._unread + len(head) + len(body) if waits else 0

    def _end(self, *, is_refusal: bool) -> None:
        self._turns.clear()
        self._reader.is_done = True
        if self._transport is None:
            return
        if is_refusal and self._transport.can_write_eof():
            self._request_by = self._idle_until = self._clock() + LINGER_S
            self._transport.write_eof()
        else:
            self._transport.close()
