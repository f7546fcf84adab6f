"""Answers about the status of certificates (RFC 6960; RFC 5019 for answers that caches keep).

A certificate is good where the inventory knows it and nobody has revoked it. What nobody has heard of is never good:
the answer is `unauthorized` (RFC 5019 2.2.3), which is not signed, and kept by nobody. A signed `revoked` or `unknown`
would stay in caches for an hour when the certificate is issued the moment after; and strangers who try out serial
numbers would have signatures made.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from clm.errors import DatabaseUnavailable, DatabaseUnprepared, MalformedRequest
from clm.pki.ocsp_request import parse_request
from clm.pki.ocsp_response import OcspError, SingleAnswer, error_response
from clm.pki.serial import serial_to_bytes
from clm.responder.messages import Document

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from clm.pki.ocsp_request import OcspRequest
    from clm.responder.delegations import Delegations
    from clm.responder.documents import Documents
    from clm.responder.statuses import Status, StatusBook
    from clm.storage.core.certificate_status import CertificateStatusStore, SerialKey

OCSP_TYPE = "application/ocsp-response"

# RFC 5280 4.1.2.2: positive, and 20 octets at most. What is outside has not been issued.
_SERIALS = range(1, 1 << 159)


LONGEST_KEPT = 256
"""Octets of a request whose answer is kept by it: twice what clients send about one certificate."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An OCSPResponse. `document` is set where it may be kept by caches: a signed one without a nonce."""

    der: bytes
    document: Document | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: Answer
    statuses: tuple[tuple[SerialKey, Status], ...]
    refresh_at: float
    expires_at: float


_ERRORS = {error: Answer(error_response(error)) for error in OcspError}


class OcspAnswers:
    """Answers requests from memory, where that is possible at once, otherwise after one query.

    `lifetime_s` is from thisUpdate to nextUpdate: so long an answer may be relied on, also when clm_core_db is away. At
    half of it the status is read and signed anew. `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        *,
        store: CertificateStatusStore,
        documents: Documents,
        delegations: Delegations,
        book: StatusBook,
        lifetime_s: float,
        limit: int,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._documents = documents
        self._delegations = delegations
        self._book = book
        self._lifetime_s = lifetime_s
        self._limit = limit
        self._clock = clock
        self._kept: dict[bytes, _Kept] = {}
        self.is_core_away = True
        self.counts: Counter[str] = Counter()

    def __len__(self) -> int:
        """Count the answers that are kept."""
        return len(self._kept)

    def answer(self, der: bytes) -> Answer | Awaitable[Answer]:
        """Answer a request, whatever it is."""
        now = self._clock()
        kept = self._kept.get(der)
        # While clm_core_db is away there is nothing newer to say.
        if kept is not None and self._stands(kept):
            until = kept.expires_at if self.is_core_away else kept.refresh_at
            if now < until:
                self.counts["cached"] += 1
                return kept.answer
        try:
            request = parse_request(der)
        except MalformedRequest:
            return self._error(OcspError.MALFORMED_REQUEST)
        if not self._documents.are_loaded:
            return self._error(OcspError.TRY_LATER)
        keys = self._keys(request)
        if keys is None:
            return self._error(OcspError.UNAUTHORIZED)
        missing = [key for key in keys if not self._is_fresh(key, now)]
        if missing and not self.is_core_away:
            return self._look_up(der, request, keys, missing)
        return self._from_memory(der, request, keys)

    def _stands(self, kept: _Kept) -> bool:
        """Whether an answer still says what the book says, of an issuer that answers are still given for."""
        issuer = self._documents.issuers.get(kept.statuses[0][0][0])
        if issuer is None or not issuer.ocsp_enabled:
            return False
        return all(self._book.get(key) is status for key, status in kept.statuses)

    def _is_fresh(self, key: SerialKey, now: float) -> bool:
        status = self._book.get(key)
        return status is not None and now < status.read_at + self._lifetime_s / 2

    def _keys(self, request: OcspRequest) -> tuple[SerialKey, ...] | None:
        """What is asked about; None where we cannot speak for all of it: one signature speaks for one issuer."""
        issuers = {self._documents.issuer_of(cert_id) for cert_id in request.cert_ids}
        issuer = issuers.pop()
        if issuers or issuer is None:
            return None
        serials = [cert_id.serial_number for cert_id in request.cert_ids]
        if not all(serial in _SERIALS for serial in serials):
            return None
        return tuple((issuer.key_id, serial_to_bytes(serial)) for serial in serials)

    async def _look_up(
        self, der: bytes, request: OcspRequest, keys: tuple[SerialKey, ...], missing: list[SerialKey]
    ) -> Answer:
        """Read what is missing, then answer. If clm_core_db is away, what is known serves for as long as it lasts."""
        while True:
            read_at, news = self._clock(), self._book.news
            try:
                recorded = await asyncio.gather(*map(self._store.status, missing))
            except (DatabaseUnavailable, DatabaseUnprepared):
                return self._from_memory(der, request, keys)
            if self._book.news == news:
                break
            # A revocation was heard of meanwhile: what was read may be older than that.
        for key, status in zip(missing, recorded, strict=True):
            self._book.put(key, status, read_at=read_at)
        if None in recorded:
            return self._error(OcspError.UNAUTHORIZED)
        return self._from_memory(der, request, keys)

    def _from_memory(self, der: bytes, request: OcspRequest, keys: tuple[SerialKey, ...]) -> Answer:
        now = self._clock()
        statuses = tuple((key, status) for key in keys if (status := self._book.get(key)) is not None)
        delegation = self._delegations.get(keys[0][0])
        if len(statuses) < len(keys) or delegation is None:
            return self._error(OcspError.TRY_LATER)
        known_at = min(max(status.read_at, self._book.heard_at) for _, status in statuses)
        this_update = int(min(known_at, now))
        next_update = int(min(known_at + self._lifetime_s, delegation.not_after))
        if next_update <= now:
            return self._error(OcspError.TRY_LATER)
        signed = delegation.signer.sign(
            [
                SingleAnswer(cert_id, status.revocation, _moment(this_update), _moment(next_update))
                for cert_id, (_, status) in zip(request.cert_ids, statuses, strict=True)
            ],
            produced_at=_moment(now),
            nonce=request.nonce,
        )
        self.counts["signed"] += 1
        if request.nonce is not None:
            return Answer(signed)
        document = Document.make(OCSP_TYPE, signed, changed_at=this_update, expires_at=next_update)
        answer = Answer(signed, document)
        self._keep(der, _Kept(answer, statuses, (this_update + next_update) / 2, next_update))
        return answer

    def _keep(self, der: bytes, kept: _Kept) -> None:
        """Keep an answer by its request; not by one that is filled up, or memory would be what strangers make it."""
        if len(der) > LONGEST_KEPT:
            return
        self._kept.pop(der, None)
        self._kept[der] = kept
        while len(self._kept) > self._limit:
            del self._kept[next(iter(self._kept))]

    def _error(self, error: OcspError) -> Answer:
        self.counts[error.name.lower()] += 1
        return _ERRORS[error]


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
