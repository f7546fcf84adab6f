"""What a request over HTTP is to the responder, and what it answers; with the rules of caching (RFC 9110, 9111)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus

_TEXT = b"Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A complete request. `path` is as it came, escaped; of the headers only what is looked at is kept."""

    method: str
    path: bytes
    body: bytes = b""
    if_none_match: str | None = None
    if_modified_since: str | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer. `headers` are lines, each with its end, without those that the connection adds itself."""

    status: HTTPStatus
    headers: bytes
    body: bytes = field(repr=False, default=b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Something that may be kept by caches. Times are seconds since the epoch; `changed_at` is whole."""

    content_type: str
    body: bytes = field(repr=False)
    etag: str
    changed_at: int
    expires_at: float

    @classmethod
    def make(
        cls, content_type: str, body: bytes, *, changed_at: float, expires_at: float, sha256: bytes | None = None
    ) -> Document:
        """Make one whose ETag is of its content: of `sha256` where that is known, as hashing 40 MB takes long."""
        digest = sha256 if sha256 is not None else hashlib.sha256(body).digest()
        return cls(
            content_type=content_type,
            body=body,
            etag=f'"{digest.hex()[:32]}"',
            changed_at=int(changed_at),
            expires_at=expires_at,
        )


def plain(status: HTTPStatus, *, headers: bytes = b"") -> Response:
    """Answer with a status alone."""
    return Response(status, _TEXT + headers, f"{status.value} {status.phrase}\n".encode())


def uncached(content_type: str, body: bytes) -> Response:
    """Answer with something that nobody else may be given."""
    headers = f"Content-Type: {content_type}\r\nCache-Control: no-store\r\n"
    return Response(HTTPStatus.OK, headers.encode("ascii"), body)


def cached(document: Document, request: Request, *, now: float, max_age_s: float) -> Response:
    """Answer with something that may be kept for so long (RFC 5019 6.2), or tell that the client's copy still holds."""
    headers = (
        f"Cache-Control: max-age={max(0, int(min(max_age_s, document.expires_at - now)))}, public, no-transform, "
        f"must-revalidate\r\nETag: {document.etag}\r\nLast-Modified: {http_date(document.changed_at)}\r\n"
        f"Expires: {http_date(document.expires_at)}\r\n"
    )
    if _is_known(document, request):
        return Response(HTTPStatus.NOT_MODIFIED, headers.encode("ascii"))
    headers += f"Content-Type: {document.content_type}\r\n"
    return Response(HTTPStatus.OK, headers.encode("ascii"), document.body)


def http_date(seconds: float) -> str:
    """Write a time as HTTP does (RFC 9110 5.6.7)."""
    return formatdate(seconds, usegmt=True)


def _is_known(document: Document, request: Request) -> bool:
    """RFC 9110 13.2.2: an ETag decides where there is one; a date only where there is none."""
    if request.if_none_match is not None:
        tags = [tag.strip().removeprefix("W/") for tag in request.if_none_match.split(",")]
        return "*" in tags or document.etag in tags
    if request.if_modified_since is None:
        return False
    try:
        return parsedate_to_datetime(request.if_modified_since).timestamp() >= document.changed_at
    except (ValueError, OverflowError, OSError):
        # 13.1.3: a date that is none is passed over.
        return False
