"""Caching: how long, and when a client's copy still holds."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clm.responder.messages import Document, Request, cached, http_date, uncached

CHANGED = 1_700_000_000
DOCUMENT = Document.make("application/pkix-crl", b"crl", changed_at=CHANGED + 0.9, expires_at=CHANGED + 1000)


def request(**headers: Any) -> Request:
    """A GET with headers."""
    return Request(method="GET", path=b"/", **headers)


@pytest.mark.parametrize(
    ("at", "max_age_s", "seconds"), [(0, 300, 300), (900, 300, 100), (1000, 300, 0), (5000, 300, 0), (0, -1, 0)]
)
def test_nothing_is_kept_beyond_its_end(at: int, max_age_s: int, seconds: int) -> None:
    """Nor longer than asked for."""
    headers = cached(DOCUMENT, request(), now=CHANGED + at, max_age_s=max_age_s).headers
    assert f"max-age={seconds}," in headers.decode()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"if_none_match": DOCUMENT.etag}, 304),
        ({"if_none_match": f'"a", W/{DOCUMENT.etag}'}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"a"'}, 200),
        ({"if_none_match": DOCUMENT.etag.strip('"')}, 200),
        ({"if_modified_since": http_date(CHANGED)}, 304),
        ({"if_modified_since": http_date(CHANGED - 1)}, 200),
        ({"if_modified_since": "yesterday"}, 200),
        ({"if_none_match": '"a"', "if_modified_since": http_date(CHANGED)}, 200),
    ],
)
def test_copies_that_hold(headers: dict[str, str], status: int) -> None:
    """An ETag decides, where one is sent; otherwise the date (RFC 9110 13.2.2)."""
    assert cached(DOCUMENT, request(**headers), now=CHANGED, max_age_s=10).status == status


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_header_may_come(one: str, other: str) -> None:
    """Dates far off, or none at all, raise nothing."""
    cached(DOCUMENT, request(if_none_match=one), now=CHANGED, max_age_s=1)
    cached(DOCUMENT, request(if_modified_since=other), now=CHANGED, max_age_s=1)
    cached(DOCUMENT, request(if_modified_since=f"Mon, 01 Jan {other} 00:00:00 GMT"), now=CHANGED, max_age_s=1)


def test_what_nobody_keeps() -> None:
    """It says so, and no more."""
    assert uncached("text/plain", b"").headers == b"Content-Type: text/plain\r\nCache-Control: no-store\r\n"


def test_a_digest_that_is_known_is_not_made_again() -> None:
    """The ETag is the same, whoever has hashed the content."""
    digest = hashlib.sha256(b"crl").digest()
    same = Document.make("application/pkix-crl", b"crl", changed_at=0, expires_at=1, sha256=digest)
    other = Document.make("application/pkix-crl", b"crl", changed_at=0, expires_at=1, sha256=bytes(32))
    assert same.etag == DOCUMENT.etag != other.etag
