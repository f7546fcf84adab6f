"""Which URL gives what. They are fixed in certificates when these are issued: none ever goes, and none changes."""

from __future__ import annotations

from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING

from clm.errors import MalformedRequest
from clm.pki.ocsp_request import parse_get
from clm.responder.messages import cached, plain, uncached
from clm.responder.ocsp import OCSP_TYPE, Answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from clm.responder.documents import Documents, Served
    from clm.responder.messages import Request, Response
    from clm.responder.ocsp import OcspAnswers

_OCSP = b"/ocsp"
_READS = frozenset({"GET", "HEAD"})


class Routes:
    """Answers requests. The path of a public URL, where it has one, may or may not have been taken off on the way."""

    def __init__(self, *, documents: Documents, ocsp: OcspAnswers, clock: Callable[[], float]) -> None:
        self._documents = documents
        self._ocsp = ocsp
        self._clock = clock
        self.counts: Counter[tuple[str, int]] = Counter()

    def respond(self, request: Request) -> Response | Awaitable[Response]:
        """Answer a request, at once where that is possible."""
        path, served = self._find(request.path)
        if served is None and _is_ocsp(path):
            return self._ocsp_response(request, path[len(_OCSP) + 1 :])
        if served is None and not self._documents.are_loaded:
            return self._counted("other", plain(HTTPStatus.SERVICE_UNAVAILABLE, headers=b"Retry-After: 1\r\n"))
        if served is None:
            return self._counted("other", plain(HTTPStatus.NOT_FOUND))
        kind = "crl" if path.startswith(b"/crl/") else "ca"
        if request.method not in _READS:
            return self._counted(kind, plain(HTTPStatus.METHOD_NOT_ALLOWED, headers=b"Allow: GET, HEAD\r\n"))
        return self._counted(kind, cached(served.document, request, now=self._clock(), max_age_s=served.max_age_s))

    def _find(self, path: bytes) -> tuple[bytes, Served | None]:
        """Find what a path means, without the path of a public URL.

        That may be /ca, /crl or /ocsp itself: so it is taken off only where something stands behind it. No request in
        base64 is taken for that, as each begins with M, the tag of a SEQUENCE.
        """
        served = self._documents.file(path)
        if served is None:
            for own in (path.removeprefix(each) for each in self._documents.prefixes if path.startswith(each)):
                if _is_ocsp(own) or (served := self._documents.file(own)) is not None:
                    return own, served
        return path, served

    def _ocsp_response(self, request: Request, rest: bytes) -> Response | Awaitable[Response]:
        if request.method == "POST" and not rest:
            answer = self._ocsp.answer(request.body)
        elif request.method in _READS:
            try:
                answer = self._ocsp.answer(parse_get(rest))
            except MalformedRequest:
                answer = self._ocsp.answer(b"")
        else:
            allowed = b"Allow: GET, HEAD\r\n" if rest else b"Allow: GET, HEAD, POST\r\n"
            return self._counted("ocsp", plain(HTTPStatus.METHOD_NOT_ALLOWED, headers=allowed))
        if isinstance(answer, Answer):
            return self._told(request, answer)
        return self._await(request, answer)

    async def _await(self, request: Request, answer: Awaitable[Answer]) -> Response:
        return self._told(request, await answer)

    def _told(self, request: Request, answer: Answer) -> Response:
        """Only what a GET gives is kept by caches (RFC 5019 6), and of that what is signed and has no nonce."""
        document = answer.document
        if document is None or request.method not in _READS:
            return self._counted("ocsp", uncached(OCSP_TYPE, answer.der))
        now = self._clock()
        half = (document.changed_at + document.expires_at) / 2
        return self._counted("ocsp", cached(document, request, now=now, max_age_s=half - now))

    def _counted(self, kind: str, response: Response) -> Response:
        self.counts[kind, response.status.value] += 1
        return response


def _is_ocsp(path: bytes) -> bool:
    return path == _OCSP or path.startswith(b"/ocsp/")
