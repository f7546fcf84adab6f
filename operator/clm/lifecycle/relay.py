"""Finishes what a crash or an outage left: pending intents, what is recorded and not published, unfinished keys.

An intent is never dropped. Where its object still stands, the object is reconciled. Where it is gone, the intent is
signed all the same and recorded as revoked: the serial was allotted, the record says what became of it. A CA key that
was never finished, and whose object is gone, is: nothing was signed with it.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import TYPE_CHECKING

from clm.cluster import paths
from clm.errors import ClmError, Unavailable
from clm.lifecycle.inventory import inventory_entry, listed_as_recorded
from clm.lifecycle.ocsp_certificates import is_responder
from clm.lifecycle.view import Key
from clm.pki.chain import certificate_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from clm.cluster.client import ApiClient
    from clm.lifecycle.hsm_keys import HsmKeys
    from clm.lifecycle.issue import Issuance
    from clm.lifecycle.revoke import Revoker
    from clm.lifecycle.view import ClusterView
    from clm.resources.records import HsmKeyRow, Owner
    from clm.storage.core.metadata import MetadataStore
    from clm.storage.secure.history import HistoryStore, Pending
    from clm.storage.secure.keys import KeyStore
    from clm.storage.secure.outbox import OutboxStore, Unpublished

logger = logging.getLogger(__name__)

BATCH = 200
_NIL = uuid.UUID(int=0)
LIVE_ISSUANCE_S = 30.0
"""An intent younger than this is probably being signed right now."""

UNFINISHED_KEY_S = 600.0
"""A key that is not finished after this long is not being made right now, even by a slow token."""


class Relay:
    """Runs beside the reconcilers. `look_closely(key)` has them reconcile an object thoroughly."""

    def __init__(  # noqa: PLR0913 - wired in one place
        self,
        *,
        cluster_id: uuid.UUID,
        view: ClusterView,
        client: ApiClient,
        history: HistoryStore,
        outbox: OutboxStore,
        issuance: Issuance,
        metadata: MetadataStore,
        revoker: Revoker,
        keys: KeyStore,
        hsm_keys: HsmKeys,
        look_closely: Callable[[Key], None],
    ) -> None:
        self._cluster_id = cluster_id
        self._view = view
        self._client = client
        self._history = history
        self._outbox = outbox
        self._issuance = issuance
        self._metadata = metadata
        self._revoker = revoker
        self._keys = keys
        self._hsm_keys = hsm_keys
        self._look_closely = look_closely

    async def run(self, *, interval_s: float) -> None:
        """Sweep at once, since a start may follow a crash, and then again and again, until cancelled."""
        older_than_s, released = 0.0, False
        while True:
            # Each by itself: while the token is away nothing can be signed, but what is signed can be published.
            if await self._went_well(self.finish_intents(older_than_s=older_than_s)):
                older_than_s = LIVE_ISSUANCE_S
            # What was claimed and not tried must not wait out its back-off.
            released = await self._went_well(self.publish_recorded(release=not released))
            await self._went_well(self.discard_keys(older_than_s=UNFINISHED_KEY_S))
            await asyncio.sleep(interval_s)

    async def finish_intents(self, *, older_than_s: float) -> None:
        """Look once at every intent that has waited for that long. Raises an Unavailable, and ends there."""
        after = _NIL
        while page := await self._history.pending(older_than_s=older_than_s, after=after, limit=BATCH):
            for pending in page:
                await self._attempt(pending.owner, self._pending(pending))
            after = page[-1].id

    async def publish_recorded(self, *, release: bool) -> None:
        """Look once at everything in the outbox that is due; with `release` at all of it.

        Raises an Unavailable, and ends there.
        """
        if release:
            await self._outbox.release()
        seen: set[uuid.UUID] = set()
        while claimed := [item for item in await self._outbox.claim(limit=BATCH) if item.id not in seen]:
            for item in claimed:
                await self._attempt(item.owner, self._unpublished(item))
            seen.update(item.id for item in claimed)

    async def discard_keys(self, *, older_than_s: float) -> None:
        """Discard every unfinished CA key of that age whose object is gone. Raises an Unavailable, and ends there."""
        for row in await self._keys.unfinished(cluster_id=self._cluster_id, older_than_s=older_than_s):
            if row.owner is not None:
                await self._attempt(row.owner, self._unfinished_key(row, row.owner))

    async def _went_well(self, part: Coroutine[None, None, None]) -> bool:
        try:
            await part
        except ClmError as error:
            logger.warning("the sweep of unfinished work is tried again: %s", error)
            return False
        return True

    async def _attempt(self, owner: Owner, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Unavailable:
            raise  # it is away for all that follow, too
        except ClmError as error:
            logger.warning("%s/%s: unfinished work is tried again later: %s", owner.namespace, owner.name, error)
        except Exception:
            # One row that nobody foresaw must not keep the others from being finished, nor end the process each time.
            logger.exception("%s/%s: a defect in CLM; tried again later", owner.namespace, owner.name)

    async def _pending(self, pending: Pending) -> None:
        if await self._stands(pending.owner, certificate_id=None):
            self._look_closely(Key(pending.owner.namespace, pending.owner.name))
            return
        intent = await self._history.intent(pending.id)
        if intent is not None:
            why = "the object was deleted before it was signed"
            await self._issuance.finish(intent, secret_name=None, renewal_due=lambda _: None, unwanted=why)

    async def _unpublished(self, item: Unpublished) -> None:
        recorded = await self._history.certificate(item.id)
        if recorded is None:
            await self._outbox.finish(item.id)
            return
        await self._metadata.put(
            *inventory_entry(listed_as_recorded(recorded), certificate_facts(recorded.certificate))
        )
        if recorded.state == "revoked":
            await self._revoker.tell_of(item.id)
        stands = recorded.state != "superseded" and await self._stands(item.owner, certificate_id=item.id)
        if stands:
            self._look_closely(Key(item.owner.namespace, item.owner.name))
        # That of a live one goes when its Secret and status are written.
        if recorded.state != "active" or not stands:
            await self._outbox.finish(item.id)

    async def _unfinished_key(self, row: HsmKeyRow, owner: Owner) -> None:
        if not await self._stands(owner, certificate_id=None):
            await self._hsm_keys.discard(row, why="its object was deleted before the key was finished")

    async def _stands(self, owner: Owner, *, certificate_id: uuid.UUID | None) -> bool:
        """Tell whether the object stands that something was made for, or one that has adopted the certificate."""
        if is_responder(owner):
            return False
        key = Key(owner.namespace, owner.name)
        # The view may be behind or ahead; only the API server can say what stands.
        found = await self._client.get(paths.certificate(*key))
        if found is None:
            return False
        entry = self._view.put(found)[1]
        adopted = certificate_id is not None and entry.certificate_id == certificate_id
        return entry.uid == str(owner.resource_uid) or adopted
