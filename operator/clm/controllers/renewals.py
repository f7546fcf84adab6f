"""Queues what falls due, ahead of time, as clm_secure_db says: by its index, in batches, each certificate once.

Nothing is written for that: a controller that starts again begins with what is overdue, and who takes over for another
finds the same rows. That a certificate is renewed once is held by the uniqueness of its revision, not by a claim.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from prometheus_client import Gauge

from clm.cluster import paths
from clm.controllers.certificates import LATEST_LOOK_S
from clm.errors import ClmError
from clm.lifecycle.view import Key

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from prometheus_client import CollectorRegistry

    from clm.cluster.client import ApiClient
    from clm.controllers.queue import WorkQueue
    from clm.lifecycle.schedule import Schedule
    from clm.lifecycle.view import ClusterView
    from clm.storage.secure.renewals import Due, RenewalStore

logger = logging.getLogger(__name__)

BATCH = 500
LINE = 2000
"""Renewals that wait in the queue at most; the others wait in the database, where they cost nothing."""

_SOON_S = 1.0
OVERDUE = timedelta(hours=1)
"""A renewal that is due for longer is late: it failed, was refused, or there are too many."""


class RenewalController:
    """Claims what falls due and queues it, with low priority, for its time.

    `clock` tells the time in UTC. What is due within `LATEST_LOOK_S` and changes meanwhile the reconcilers queue
    themselves: a round looks less far ahead than that.
    """

    def __init__(
        self,
        *,
        store: RenewalStore,
        schedule: Schedule,
        view: ClusterView,
        client: ApiClient,
        queue: WorkQueue[Key],
        registry: CollectorRegistry,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._schedule = schedule
        self._view = view
        self._client = client
        self._queue = queue
        self._clock = clock
        self._last: Due | None = None
        self._due = Gauge("clm_renewals_due", "Certificates whose renewal is due", registry=registry)
        self._overdue = Gauge(
            "clm_renewals_overdue", "Certificates whose renewal has been due for an hour", registry=registry
        )

    async def run(self, *, interval_s: float) -> None:
        """Claim and count, again and again, until cancelled. An interval is at most half of `LATEST_LOOK_S`."""
        wait_s = _SOON_S
        while True:
            await asyncio.sleep(wait_s)
            try:
                wait_s = interval_s if await self.claim(ahead_s=2 * interval_s) else _SOON_S
                await self.count()
            except ClmError as error:
                wait_s = interval_s
                logger.warning("what falls due is looked for again later: %s", error)

    async def claim(self, *, ahead_s: float) -> bool:
        """Queue what falls due within `ahead_s` and was not claimed before; False when more of it waits.

        Raises an Unavailable; what was claimed by then is queued.
        """
        until = self._clock() + timedelta(seconds=min(ahead_s, LATEST_LOOK_S))
        if self._last is not None and self._last.due_at > until:
            self._last = None  # the clock was put back: what was queued for a time that is far again is read once more
        while self._queue.in_background < LINE:
            page = await self._store.due(until=until, after=self._last, limit=BATCH)
            for due in page:
                await self._queue_one(due)
                self._last = due
            if len(page) < BATCH:
                return True
        return False

    async def count(self) -> None:
        """Have the metrics tell how much is due, and overdue."""
        now = self._clock()
        backlog = await self._store.backlog(now=now, overdue_since=now - OVERDUE)
        self._due.set(backlog.due)
        self._overdue.set(backlog.overdue)

    async def _queue_one(self, due: Due) -> None:
        key = Key(due.namespace, due.name)
        if self._view.get(key) is None:
            # It may not have come yet, at a start. Whose object is gone is nobody's to renew: it is not due again
            # unless an object of that name adopts it.
            if await self._client.get(paths.certificate(*key)) is None:
                await self._schedule.move(due.id, None)
            return
        delay_s = (due.due_at - self._clock()).total_seconds()
        if delay_s > 0:
            self._queue.add_after(key, delay_s, background=True)
        else:
            self._queue.add(key, background=True)
