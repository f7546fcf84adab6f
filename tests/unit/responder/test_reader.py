"""Requests are read alike however they are cut into pieces; what is none ends the connection, and nothing else does."""

from __future__ import annotations

import itertools
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clm.responder.messages import Request
from clm.responder.reader import MAX_BODY, MAX_HEAD, RequestReader, Turn

GET = b'GET /crl/a.crl?x=1 HTTP/1.1\r\nHost: pki\r\nIf-None-Match: "a", W/"b"\r\n\r\n'
POST = b"POST /ocsp HTTP/1.1\r\nhost: pki\r\nContent-Length: 5\r\n\r\n01234"
CHUNKED = b"POST /ocsp HTTP/1.1\r\nHost: pki\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n01\r\n3\r\n234\r\n0\r\n\r\n"
STREAM = GET + POST + CHUNKED + GET.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nConnection: close\r\n")


def read(*pieces: bytes) -> list[Turn]:
    """Feed a reader."""
    reader = RequestReader()
    return [turn for piece in pieces for turn in reader.feed(piece)]


def status(data: bytes) -> HTTPStatus | None:
    """The status that a stream is refused with, at its end."""
    turns = read(data)
    return turns[-1].asked if turns and isinstance(turns[-1].asked, HTTPStatus) else None


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_pieces_do_not_matter(cuts: list[int]) -> None:
    """One octet at a time or all at once: the same requests."""
    ends = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[begin:end] for begin, end in itertools.pairwise(ends)]
    get = Request(method="GET", path=b"/crl/a.crl", if_none_match='"a", W/"b"')
    post = Request(method="POST", path=b"/ocsp", body=b"01234")
    assert read(*pieces) == [
        Turn(get, goes_on=True), Turn(post, goes_on=True), Turn(post, goes_on=True), Turn(get, goes_on=False),
    ]  # fmt: skip


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_anything_may_come(pieces: list[bytes]) -> None:
    """No octets raise anything; after a refusal nothing more is read."""
    turns = read(*pieces)
    assert all(turn.goes_on for turn in turns[:-1])


@given(st.binary(max_size=40), st.sampled_from([GET, POST, CHUNKED]), st.integers(0, 200))
def test_anything_may_come_in_between(noise: bytes, request: bytes, at: int) -> None:
    """Nor do octets in the midst of a request."""
    read(request[:at] + noise + request[at:])


@pytest.mark.parametrize(
    ("data", "refused"),
    [
        (b"BLAH\r\n\r\n", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\n\r\n", HTTPStatus.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", HTTPStatus.BAD_REQUEST),
        (POST.replace(b"host", b"Transfer-Encoding: chunked\r\nHost"), HTTPStatus.BAD_REQUEST),
        (POST.replace(b": 5", b": 5\r\nContent-Length: 6"), HTTPStatus.BAD_REQUEST),
        (POST.replace(b": 5", b": -5"), HTTPStatus.BAD_REQUEST),
        (POST.replace(b": 5", f": {MAX_BODY + 1}".encode()), HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        (POST.replace(b": 5", b": 18446744073709551615"), HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        (CHUNKED.replace(b"2\r\n01", b"fff0\r\n" + b"0" * 0xFFF0), HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        (b"GET /" + b"a" * MAX_HEAD, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
        (GET[:-2] + b"X: " + b"a" * MAX_HEAD, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
        (POST.replace(b": 5", f": {MAX_BODY}".encode()), None),
        (POST, None),
    ],
)
def test_what_is_refused(data: bytes, refused: HTTPStatus | None) -> None:
    """With the status that tells why, as soon as that is plain."""
    assert status(data) is refused


def test_an_upgrade_is_passed_over() -> None:
    """The request is answered in HTTP/1.1, and what follows is not read."""
    upgrade = GET.replace(b"Host", b"Connection: upgrade\r\nUpgrade: h2c\r\nHost")
    (turn,) = read(upgrade + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert isinstance(turn.asked, Request)
    assert not turn.goes_on


def test_old_clients() -> None:
    """HTTP/1.0 needs no Host, and goes on only where it says so."""
    (plain,) = read(b"GET /a HTTP/1.0\r\n\r\n")
    (kept,) = read(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert (plain.goes_on, kept.goes_on, kept.says_so) == (False, True, True)


@pytest.mark.parametrize("target", [b"http://pki.example.com/ocsp/MDE=", b"/ocsp/MDE=?a=b", b"/ocsp/MDE="])
def test_whole_urls(target: bytes) -> None:
    """A proxy's client sends the URL, of which the path counts (RFC 9112 3.2.2)."""
    (turn,) = read(b"GET " + target + b" HTTP/1.1\r\nHost: pki\r\n\r\n")
    assert isinstance(turn.asked, Request)
    assert turn.asked.path == b"/ocsp/MDE="


@pytest.mark.parametrize(
    "piece", [b"a" * 4096, b"X: a\r\n" * 600, b"X: " + b"a" * 4090], ids=["one trailer", "many trailers", "no line end"]
)
def test_what_follows_the_last_chunk_is_bounded(piece: bytes) -> None:
    """Trailers are no body and no head, and yet they are not gathered without end."""
    reader = RequestReader()
    turns = reader.feed(CHUNKED.removesuffix(b"\r\n") + b"X: ")
    sent = 0
    while not turns:
        sent += len(piece)
        assert sent <= 2 * (MAX_HEAD + MAX_BODY)
        turns = reader.feed(piece)
    assert isinstance(turns[-1].asked, HTTPStatus)
    assert reader.is_done


def test_extensions_of_chunks_are_bounded() -> None:
    """Nor are they."""
    reader = RequestReader()
    turns = reader.feed(CHUNKED[: CHUNKED.index(b"\r\n\r\n") + 4] + b"2;")
    sent = 0
    while not turns:
        sent += 4096
        assert sent <= 2 * (MAX_HEAD + MAX_BODY)
        turns = reader.feed(b"a" * 4096)
    assert isinstance(turns[-1].asked, HTTPStatus)
