"""Follows clm_core_db: about once a second it is asked what is new, in one round trip.

Revocations are read by the time of their rows, which is that of the statement that wrote them, not of its commit: so
each look goes back some seconds, and from time to time further. What is heard twice changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from clm.errors import DatabaseUnavailable, DatabaseUnprepared

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from clm.responder.delegations import Delegations
    from clm.responder.documents import Documents
    from clm.responder.ocsp import OcspAnswers
    from clm.responder.statuses import StatusBook
    from clm.storage.core.certificate_status import CertificateStatusStore, Sight

logger = logging.getLogger(__name__)

INTERVAL_S = 1.0
OVERLAP = timedelta(seconds=5)
"""Longer than a transaction that writes revocations takes."""
FAR_OVERLAP = timedelta(seconds=90)
"""Longer than one may take at all: statements and idle transactions of the operator end after half a minute."""
_FAR_EVERY = 30


class Feed:
    """Keeps what is in memory as clm_core_db has it. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        *,
        store: CertificateStatusStore,
        documents: Documents,
        delegations: Delegations,
        book: StatusBook,
        answers: OcspAnswers,
        origin: str,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._documents = documents
        self._delegations = delegations
        self._book = book
        self._answers = answers
        self._origin = origin
        self._clock = clock
        self._issuers: dict[object, datetime] = {}
        self._read_until: datetime | None = None
        self._looks = 0  # that saw something: one that goes far and fails is not lost
        self._failures = 0  # since then
        self.looked = asyncio.Event()

    async def run(self) -> None:
        """Look for ever. What is away is waited for; what else goes wrong ends it."""
        while True:
            try:
                await self.look()
            except (DatabaseUnavailable, DatabaseUnprepared) as error:
                if not self._failures:
                    logger.warning("clm_core_db: %s; what is in memory is served until it expires", error)
                self._answers.is_core_away = True
                self._failures += 1
            await asyncio.sleep(INTERVAL_S)

    async def look(self) -> None:
        """See what is new, and serve that. Raises DatabaseUnavailable and DatabaseUnprepared."""
        began = self._clock()
        until = self._read_until if self._read_until is not None else await self._store.clock()
        # After an outage, too: what was under way before it may have been committed in it.
        is_far = self._failures > 0 or self._looks % _FAR_EVERY == 0
        overlap = FAR_OVERLAP if is_far else OVERLAP
        sight = await self._store.look(since=until - overlap, delegations=self._delegations.pending)
        self._hear(sight, until)
        await self._read_documents(sight)
        self._delegations.answered(sight.delegations, now=began)
        await self._ask(began)
        self._looks += 1
        self._failures = 0
        self._book.heard_at = began
        if self._answers.is_core_away:
            logger.info("clm_core_db answers: %d issuers, %d CRLs", len(sight.issuers), len(sight.crls))
        self._answers.is_core_away = False
        self.looked.set()

    def _hear(self, sight: Sight, until: datetime) -> None:
        if sight.at < until:
            # Another server answers, whose clock is behind: rows may have come that no look would go back to.
            logger.warning("the clock of clm_core_db went back by %s: every status is read anew", until - sight.at)
            self._book.forget_all()
            self._looks = -1
        for key, recorded in sight.revoked.items():
            self._book.hear(key, recorded, now=self._clock())
        self._read_until = sight.at

    async def _read_documents(self, sight: Sight) -> None:
        changed = [key_id for key_id, updated_at in sight.issuers.items() if self._issuers.get(key_id) != updated_at]
        if changed:
            for issuer in await self._store.issuers(changed):
                self._issuers[issuer.key_id] = sight.issuers[issuer.key_id]
                try:
                    self._documents.put_issuer(issuer, now=self._clock())
                except ValueError as error:
                    # One CA's row must not take the others' answers away.
                    logger.error("%s is not served as it is now: %s", issuer.name, error)  # noqa: TRY400 - no trace of use
        for key, sha256 in sight.crls.items():
            known = self._documents.crls.get(key)
            if known is None or known.sha256 != sha256:
                crl = await self._store.crl(key)
                if crl is not None:
                    self._documents.put_crl(key, crl)
        self._documents.keep_only(sight.issuers, sight.crls)
        self._documents.are_loaded = True
        self._delegations.keep_only(key_id for key_id, issuer in self._documents.issuers.items() if issuer.ocsp_enabled)

    async def _ask(self, now: float) -> None:
        for request in self._delegations.due(self._documents.issuers.values(), now=now):
            await self._store.ask(
                request.id,
                issuer_key_id=request.issuer.key_id,
                organization_id=request.issuer.organization_id,
                csr=request.csr,
                origin=self._origin,
            )
            self._delegations.asked(request)
