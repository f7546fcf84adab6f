"""Feeds Certificates from kopf's watch to the reconcilers.

The event handler does no I/O: it notes the object and queues its key. A fixed number of workers reconcile.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from clm.cluster import paths
from clm.controllers.looks import look_again_and_again
from clm.lifecycle.repair_pace import QUIET_S
from clm.lifecycle.results import Done, RetryAfter
from clm.lifecycle.view import Key

if TYPE_CHECKING:
    from collections.abc import Callable

    from clm.cluster.client import ApiClient
    from clm.controllers.metrics import Metrics
    from clm.controllers.queue import WorkQueue
    from clm.lifecycle.entry import Entry
    from clm.lifecycle.reconcile import Reconciler
    from clm.lifecycle.repair_pace import RepairPace
    from clm.lifecycle.settled import Settled
    from clm.lifecycle.spread import Spread
    from clm.lifecycle.view import ClusterView

logger = logging.getLogger(__name__)

_NEXT_LOOK_S = 1.0
"""How long after a look the next one comes, at the earliest: a status tells times in whole seconds."""
LATEST_LOOK_S = 900.0
"""A renewal further away is queued when clm_secure_db says so: the heap need not hold every certificate for months."""


class CertificateController:
    """Queues Certificates and has them reconciled.

    `issuer_changed(key)` is called for whatever a Policy may name as its issuer, when it came, changed or went, and
    `gone(uid)` for every object that was deleted.
    """

    def __init__(  # noqa: PLR0913 - wired in one place
        self,
        *,
        view: ClusterView,
        queue: WorkQueue[Key],
        reconciler: Reconciler,
        settled: Settled,
        metrics: Metrics,
        pace: RepairPace[Key],
        spread: Spread,
        issuer_changed: Callable[[Key], None],
        clock: Callable[[], float],
        gone: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._gone = gone
        self._view = view
        self._queue = queue
        self._reconciler = reconciler
        self._settled = settled
        self._metrics = metrics
        self._issuer_changed = issuer_changed
        self._clock = clock
        self._thorough: set[Key] = set()
        self._pace = pace
        self._spread = spread
        self._following: set[Key] = set()
        self._told: dict[Key, object] = {}
        self._draining = False

    def observed(self, type: str | None, body: dict[str, Any]) -> None:  # noqa: A002
        """Take in an event of a Certificate object. Must not block."""
        if type == "DELETED":
            self._deleted(body)
            return
        known, owner = self._view.get(_key(body)), self._owner(body)
        key, entry = self._view.put(body)
        if known is None and entry.repairs and entry.contest_ends_at is not None:
            ago_s = self._settled.now() - (entry.contest_ends_at - QUIET_S)
            self._pace.remember(key, entry.repairs, ago_s=max(ago_s, 0.0))
        if known is not None and known.generation != entry.generation:
            self._queue.forget(key)
            self._pace.forget(key)
            if known.secret_name != entry.secret_name:
                self._name_given_up(key.namespace, known.secret_name)
        if owner is not None and owner != self._owner(body):
            self._queue.add(owner)  # an older one has come for its Secret
        self._consider(key, entry)
        self._tell_leaves(key)

    def secret_changed(self, namespace: str, name: str) -> None:
        """Take in that a Secret of ours appeared, changed or went. Must not block."""
        for key in self._view.using_secret(namespace, name):
            entry = self._view.get(key)
            if entry is None or self._queue.is_working(key):
                continue  # looked at again when the work on it is done
            if not self._settled.secret_stands(key, entry) and self._view.owns_its_secret(key, entry):
                self._repair(key)

    def policy_changed(self, name: str) -> None:
        """Look again at what a Policy keeps from being Ready or renewed, and at what another CA, or key, issued."""
        for key in self._view.using_policy(name):
            entry = self._view.get(key)
            if entry is None:
                continue
            if entry.ready is not True or not self._view.has_its_issuer(key, entry):
                self._queue.forget(key)
                self._queue.add(key)
            elif not self._view.has_its_chain(key, entry):
                self._follow(key)
            elif entry.hold == "QuotaExceeded" and self._view.policy(name) is not None:
                self._thorough.add(key)  # by its status it need not be looked at yet, or ever
                self._queue.add(key, background=True)

    def ca_key_changed(self, key: Key) -> None:
        """Look again at a CA whose key was stopped or works again, and at what waits for it. Must not block."""
        entry = self._view.get(key)
        if entry is not None and entry.ready is not True:
            self.look_closely(key)
        self._issuer_changed(key)
        for name in self._view.policies_issued_by(key):
            self.policy_changed(name)

    def namespace_changed(self, name: str, labels: dict[str, str]) -> None:
        """Look again at what a namespace's labels may have kept from being Ready."""
        known = self._view.namespace_labels(name)
        if self._view.put_namespace(name, labels) and known is not None:
            for key, entry in self._view.items():
                if key.namespace == name and entry.ready is not True:
                    self._queue.add(key)

    def unsettled(self) -> int:
        """Count the Certificates that are not as their spec asks, for whatever reason."""
        return sum(1 for key, entry in self._view.items() if self._settled.quiet_for_s(key, entry) is None)

    def look_closely(self, key: Key) -> None:
        """Have an object reconciled even though it may seem settled."""
        self._thorough.add(key)
        self._queue.add(key)

    async def run(self, *, workers: int) -> None:
        """Reconcile until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._queue.run())
            for _ in range(workers):
                group.create_task(self._work())

    async def drain(self, *, timeout_s: float) -> None:
        """Take nothing more from the queue, and wait for what is being worked on."""
        self._draining = True
        deadline = self._clock() + timeout_s
        while self._queue.working and self._clock() < deadline:  # noqa: ASYNC110 - asked once, at the very end
            await asyncio.sleep(0.05)

    async def _work(self) -> None:
        while True:
            key = await self._queue.take()
            if self._draining:
                self._queue.done(key)
                return
            thorough = key in self._thorough
            self._thorough.discard(key)
            self._following.discard(key)
            started = self._clock()
            try:
                result = await self._reconciler.reconcile(key, thorough=thorough)
            except Exception:
                logger.exception("%s: a defect in CLM; the object is tried again", key)
                result = RetryAfter("unexpected error")
            finally:
                self._queue.done(key)
            self._metrics.reconciled(result, seconds=self._clock() - started)
            self._tell_leaves(key)
            match result:
                case Done():
                    self._settle(key, result)
                case RetryAfter(reason=reason, delay_s=delay_s):
                    if thorough:
                        self._thorough.add(key)
                    if delay_s is not None:
                        self._queue.add_after(key, delay_s)
                    else:
                        delay_s = self._queue.retry(key)
                    logger.info("%s: tried again in %.1f s: %s", key, delay_s, reason)

    def _settle(self, key: Key, done: Done) -> None:
        entry = self._view.get(key)
        if entry is not None and entry.ready and self._settled.quiet_for_s(key, entry) is None:
            # Something changed while it was worked on; a limit keeps it waiting until the time that it tells.
            if self._mend(key, entry):
                return
            if entry.hold is None:
                self._queue.retry(key)
                return
        self._queue.forget(key)
        if done.next_look_s is not None and not (done.recorded and done.next_look_s > LATEST_LOOK_S):
            self._queue.add_after(key, max(done.next_look_s, _NEXT_LOOK_S), background=done.recorded)

    async def run_sweep(self, client: ApiClient, *, interval_s: float) -> None:
        """Forget what was deleted while the watch was away, by a list of what stands; until cancelled."""
        what, look = "the sweep for deleted Certificates is tried again", partial(self._sweep, client)
        await look_again_and_again(look, first_s=interval_s, interval_s=interval_s, what=what, logger=logger)

    async def _sweep(self, client: ApiClient) -> None:
        known = [(key, entry) for key, entry in self._view.items()]
        items, _ = await client.list_metadata(paths.CERTIFICATES)
        standing = {item["metadata"]["uid"] for item in items}
        for key, entry in known:
            # Only what was known before the list was made, and is not in it.
            if entry.uid not in standing and self._view.remove(key, entry.uid):
                self._forget(key, entry.uid)
                self._name_given_up(key.namespace, entry.secret_name)

    def _consider(self, key: Key, entry: Entry) -> None:
        wait_s = self._settled.quiet_for_s(key, entry)
        if wait_s is None and self._stood(key, entry) and self._mend(key, entry):
            return
        if wait_s is None:
            # A mass of renewals that are due must not keep what was never issued, or is not Ready, waiting.
            self._queue.add(key, background=self._stands(entry) and self._is_due(entry))
        else:
            entry.body = None
            if wait_s <= LATEST_LOOK_S or (not entry.look_is_recorded and wait_s != float("inf")):
                self._queue.add_after(key, wait_s, background=True)

    def _stood(self, key: Key, entry: Entry) -> bool:
        """Tell whether it all stood before: what is wrong now is the Secret, or the chain in it."""
        stands = self._stands(entry) and not self._is_due(entry)
        return stands and self._view.has_its_issuer(key, entry) and self._view.owns_its_secret(key, entry)

    def _stands(self, entry: Entry) -> bool:
        return entry.ready is True and entry.observed_generation == entry.generation

    def _is_due(self, entry: Entry) -> bool:
        return entry.next_look_at <= self._settled.now()

    def _mend(self, key: Key, entry: Entry) -> bool:
        """Plan the repair of a Secret, or that it follows its CA. False where neither is what is wrong."""
        if not self._settled.secret_stands(key, entry):
            self._repair(key)
        elif not self._view.has_its_chain(key, entry):
            self._follow(key)
        else:
            return False
        return True

    def _follow(self, key: Key) -> None:
        """Have a leaf published again under its CA's new chain, in its turn: there may be very many of them."""
        if key not in self._following:
            self._following.add(key)
            self._queue.add_after(key, self._spread.delay_s(), background=True)

    def _repair(self, key: Key) -> None:
        delay_s = self._pace.delay_s(key)
        if delay_s == 0:
            self._queue.add(key)
        else:
            logger.info("%s: its Secret was changed again and is repaired in %.0f s", key, delay_s)
            self._queue.add_after(key, delay_s)

    def _deleted(self, body: dict[str, Any]) -> None:
        key = _key(body)
        if self._view.remove(key, body["metadata"]["uid"]):
            self._forget(key, body["metadata"]["uid"])
            self._name_given_up(key.namespace, str((body.get("spec") or {}).get("secretName", "")))

    def _owner(self, body: dict[str, Any]) -> Key | None:
        return self._view.secret_owner(
            body["metadata"]["namespace"], str((body.get("spec") or {}).get("secretName", ""))
        )

    def _name_given_up(self, namespace: str, secret_name: str) -> None:
        """Have those look again that wait for a Secret's name; one of them may have it now."""
        for key in self._view.using_secret(namespace, secret_name):
            self._queue.add(key)

    def _forget(self, key: Key, uid: str) -> None:
        self._gone(uid)
        self._queue.forget(key)
        self._following.discard(key)
        self._pace.forget(key)
        self._told.pop(key, None)
        self._issuer_changed(key)

    def _tell_leaves(self, key: Key) -> None:
        """Wake what waits for this CA, or is of another key, when it can issue or another certificate of it stands."""
        entry = self._view.get(key)
        if entry is None:
            return
        self._issuer_changed(key)
        if not entry.is_ca:
            return
        # Compared with what was told, not with what was known: a leaf's reconcile may have read the CA into the view.
        state = (entry.uid, entry.ready, entry.certificate_id, entry.key_identifier, entry.issuer_chain)
        if self._told.get(key) == state:
            return
        self._told[key] = state
        for name in self._view.policies_issued_by(key):
            self.policy_changed(name)


def _key(body: dict[str, Any]) -> Key:
    metadata = body["metadata"]
    return Key(metadata["namespace"], metadata["name"])
