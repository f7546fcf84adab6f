"""Revokes certificates.

1. Recorded in clm_secure_db, one commit a batch: the revocation, the state of certificate and key, audit, outbox.
2. Announced in clm_core_db: what OCSP answers by, the inventory, audit. Then the outbox rows go.
3. The CRL follows by itself: whoever builds it finds what is recorded and not published yet.

Every step may be the last before a crash, and all of it may be repeated: a certificate is revoked once, and what was
recorded but not announced is in the outbox, from which the relay announces it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from clm.lifecycle.choose import of_the_same_keys
from clm.lifecycle.inventory import inventory_entry, listed_as_recorded
from clm.pki.chain import certificate_facts
from clm.resources.revocation import COMPROMISES

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterator, Sequence

    from clm.lifecycle.boundaries import Boundary
    from clm.resources.revocation import Recorded, Revocable, Revocation
    from clm.storage.core.metadata import MetadataStore
    from clm.storage.core.revocations import AnnouncementStore
    from clm.storage.secure.history import HistoryStore
    from clm.storage.secure.outbox import OutboxStore
    from clm.storage.secure.revocations import RevocationStore

_Item = TypeVar("_Item")

BATCH = 1000
"""Certificates of one transaction: a few hundred KB, and a fraction of a second."""

_PATIENCE_S = 15.0
"""How long the outbox waits for whoever recorded a revocation to announce it."""


class Revoker:
    """Records and announces revocations. `authority_revoked` is called when one of them is a CA's."""

    def __init__(
        self,
        *,
        store: RevocationStore,
        announcements: AnnouncementStore,
        metadata: MetadataStore,
        history: HistoryStore,
        outbox: OutboxStore,
        boundary: Boundary,
        authority_revoked: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._announcements = announcements
        self._metadata = metadata
        self._history = history
        self._outbox = outbox
        self._boundary = boundary
        self._authority_revoked = authority_revoked

    async def record(
        self, certificates: Sequence[Revocable], revocation: Revocation, *, patience_s: float = _PATIENCE_S
    ) -> list[Recorded]:
        """Step 1: record that certificates are revoked, in batches. What is known already is left as it is.

        Where the key is compromised, every other unexpired certificate of it is revoked as well. Gives what is on
        record now of those that were changed. Raises DatabaseUnavailable; what was recorded until then stays.
        """
        if revocation.reason in COMPROMISES:
            certificates = [*certificates, *await of_the_same_keys(self._store, certificates)]
        changing = [one for one in certificates if one.would_change(revocation.reason)]
        recorded: list[Recorded] = []
        for some in _batches(changing):
            recorded += await self._store.record(some, revocation, patience_s=patience_s)
            self._boundary("revoke.recorded")
        if any(one.is_authority for one in recorded):
            self._authority_revoked()
        return recorded

    async def announce(self, revocations: Sequence[Recorded], *, clear: bool = True) -> None:
        """Step 2: announce what is recorded, in batches, and with `clear` strike it off the outbox. Safe to repeat.

        Raises DatabaseUnavailable: the relay then announces what is left.
        """
        for some in _batches(revocations):
            await self.tell(some)
            self._boundary("revoke.announced")
            if clear:
                await self._outbox.finish_all([revocation.certificate_id for revocation in some])

    async def tell(self, revocations: Sequence[Recorded]) -> None:
        """Announce without touching the outbox. Also what a crash kept from the inventory gets there."""
        unlisted = await self._announcements.announce(revocations)
        for certificate_id in sorted(unlisted):
            await self._list(certificate_id)
        if unlisted:
            await self._announcements.announce([one for one in revocations if one.certificate_id in unlisted])

    async def tell_of(self, certificate_id: uuid.UUID) -> Recorded | None:
        """Announce the revocation of one certificate, if there is one on record."""
        recorded = await self._store.recorded(certificate_id)
        if recorded is not None:
            await self.tell([recorded])
            if recorded.is_authority:
                self._authority_revoked()
        return recorded

    async def _list(self, certificate_id: uuid.UUID) -> None:
        stored = await self._history.certificate(certificate_id)
        if stored is not None:
            facts = certificate_facts(stored.certificate)
            await self._metadata.put(*inventory_entry(listed_as_recorded(stored), facts))


def _batches(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))
