"""Reads, from the record, which roots each Policy has to publish: when a CA was renewed, and now and then."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from clm.cluster.config_maps import BundleContent
from clm.errors import ClmError
from clm.pki.trust import trust_bundle
from clm.resources.policy import CaIssuer

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable
    from datetime import datetime

    from clm.lifecycle.trust import Bundle, Bundles
    from clm.lifecycle.view import ClusterView, Key
    from clm.storage.secure.authorities import AuthorityStore

logger = logging.getLogger(__name__)

_RETRY_S = 5.0


class TrustedRoots:
    """Fills in what the bundles have to hold. `changed(policy uid)` is called when that was read."""

    def __init__(
        self,
        *,
        cluster_id: uuid.UUID,
        view: ClusterView,
        bundles: Bundles,
        authorities: AuthorityStore,
        changed: Callable[[str], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._cluster_id = cluster_id
        self._view = view
        self._bundles = bundles
        self._authorities = authorities
        self._changed = changed
        self._clock = clock
        self._seen: dict[Key, uuid.UUID | None] = {}
        self._to_read: dict[str, None] = {}
        self._wake = asyncio.Event()

    def queued(self) -> int:
        """Count the Policies whose roots are to be read."""
        return len(self._to_read)

    def read(self, uid: str) -> None:
        """Have the roots of a Policy read. Must not block."""
        self._to_read[uid] = None
        self._wake.set()

    def issuer_changed(self, key: Key) -> None:
        """Take in that a CA has another certificate, or may have: its roots and those above may be others now."""
        entry = self._view.get(key)
        if entry is None or not entry.is_ca or self._seen.get(key) == entry.certificate_id:
            return
        self._seen[key] = entry.certificate_id
        for uid, _ in self._bundles.all():
            self.read(uid)

    async def run(self, *, interval_s: float) -> None:
        """Read until cancelled; all of them again every `interval_s` seconds, since roots expire."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read_again(interval_s))
            group.create_task(self._read_roots())

    async def _read_again(self, interval_s: float) -> None:
        while True:
            await asyncio.sleep(interval_s)
            for uid, _ in self._bundles.all():
                self.read(uid)

    async def _read_roots(self) -> None:
        while True:
            self._wake.clear()
            while self._to_read:
                uid = next(iter(self._to_read))
                del self._to_read[uid]
                bundle = self._bundles.get(uid)
                if bundle is not None:
                    await self._read_one(uid, bundle)
            await self._wake.wait()

    async def _read_one(self, uid: str, bundle: Bundle) -> None:
        spec = bundle.policy.spec
        if spec is None or not isinstance(spec.issuer, CaIssuer):
            return
        ca = spec.issuer
        try:
            roots = await self._authorities.roots(self._cluster_id, ca.namespace, ca.name, now=self._clock())
        except ClmError as error:
            logger.info("the roots of Policy %s are read later: %s", bundle.policy.name, error)
            asyncio.get_running_loop().call_later(_RETRY_S, self.read, uid)
            return
        bundle.is_read = True
        if roots:
            bundle.roots = len(set(roots))
            bundle.waiting = None
            bundle.content = BundleContent(
                config_map=bundle.spec.config_map,
                policy_uid=uid,
                policy_name=bundle.policy.name,
                roots=trust_bundle(roots),
            )
        else:
            # What stands stays: roots that nobody issues under any more harm less than an empty bundle.
            bundle.waiting = f"no root is recorded above the issuing CA {ca.namespace}/{ca.name} yet"
        self._changed(uid)
