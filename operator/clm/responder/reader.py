"""Requests out of the octets of a connection: HTTP/1.1 (RFC 9112), parsed by llhttp, bounded here."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

import httptools

from clm.responder.messages import Request

MAX_HEAD = 16_384
"""Octets of request line and headers."""
MAX_BODY = 8_192
"""Octets of a body: a signed OCSP request with certificates in it fits."""

_MAX_DIGITS = 10


@dataclass(frozen=True, slots=True)
class Turn:
    """A request, or the status that answers what is none; and whether the connection goes on after its answer.

    `says_so` is set for HTTP/1.0, where going on has to be said.
    """

    asked: Request | HTTPStatus
    goes_on: bool
    says_so: bool = False


@dataclass(slots=True)
class _Head:
    target: bytes = b""
    hosts: int = 0
    body_length: int = 0
    expects: bool = False
    if_none_match: str | None = None
    if_modified_since: str | None = None


class RequestReader:
    """Takes what comes, gives what is complete. After a Turn that does not go on, nothing more is read."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._turns: list[Turn] = []
        self.is_done = False
        self.wants_continue = False
        self._received = 0
        self._head = _Head()
        self._body = b""
        self._in_body = False

    @property
    def in_request(self) -> bool:
        """Whether a request has begun and is not complete."""
        return self._received > 0

    def feed(self, data: bytes) -> list[Turn]:
        """Read on; give the requests that are complete now."""
        if self.is_done:
            return []
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nothing else is spoken here, and what follows is not HTTP any more. The request itself is answered.
            self._end_after_last()
        except httptools.HttpParserError:
            self._refuse(HTTPStatus.BAD_REQUEST)
        if not self._in_body and self._received > MAX_HEAD:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self._in_body and self._received > MAX_HEAD + MAX_BODY:
            # Extensions of chunks and what follows the last one are no body; the parser gathers them without end.
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        turns, self._turns = self._turns, []
        return turns

    def on_message_begin(self) -> None:
        """The first octet of a request."""
        self._begin()
        self._received = max(self._received, 1)

    def on_url(self, url: bytes) -> None:
        """The target, or a part of it."""
        self._head.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        match name.lower():
            case b"host":
                self._head.hosts += 1
            case b"content-length":
                # What is no number, llhttp has refused already.
                self._head.body_length = int(value) if len(value) <= _MAX_DIGITS else MAX_BODY + 1
            case b"expect":
                self._head.expects = value.lower() == b"100-continue"
            case b"if-none-match":
                self._head.if_none_match = value.decode("latin-1")
            case b"if-modified-since":
                self._head.if_modified_since = value.decode("latin-1")
            case _:
                pass

    def on_headers_complete(self) -> None:
        """What follows is the body."""
        self._in_body = True
        if self._head.body_length > MAX_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            self.wants_continue = self._head.expects

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if len(self._body) + len(body) > MAX_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """A whole request."""
        if self.is_done:
            return
        version = self._parser.get_http_version()
        if version == "1.1" and self._head.hosts != 1:
            # RFC 9112 3.2
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        request = Request(
            method=self._parser.get_method().decode("ascii"),
            path=_path(self._head.target),
            body=self._body,
            if_none_match=self._head.if_none_match,
            if_modified_since=self._head.if_modified_since,
        )
        goes_on = self._parser.should_keep_alive()
        self._turns.append(Turn(request, goes_on, says_so=version == "1.0"))
        self.is_done = not goes_on
        self._begin()
        self._received = 0

    def _begin(self) -> None:
        self._head = _Head()
        self._body = b""
        self._in_body = self.wants_continue = False

    def _refuse(self, status: HTTPStatus) -> None:
        if not self.is_done:
            self._turns.append(Turn(status, goes_on=False))
        self.is_done = True

    def _end_after_last(self) -> None:
        if not self.is_done and self._turns:
            last = self._turns.pop()
            self._turns.append(Turn(last.asked, goes_on=False))
        self.is_done = True


def _path(target: bytes) -> bytes:
    """The path of a target, which may be a whole URL (RFC 9112 3.2.2), without its query."""
    if not target.startswith(b"/"):
        _, _, rest = target.partition(b"://")
        target = b"/" + rest.partition(b"/")[2]
    return target.partition(b"?")[0]
