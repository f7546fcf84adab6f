"""Kubernetes Events for people who use kubectl: best effort, bounded, never in the way.

One write an Event would be a third of all writes. So they are rate-limited by a token bucket, the same
thing said twice about an object is said once, and when the API server is slow they are dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from clm.cluster import paths
from clm.errors import ClmError

if TYPE_CHECKING:
    from collections.abc import Callable

    from clm.cluster.client import ApiClient

logger = logging.getLogger(__name__)

_QUEUE = 200
_REMEMBERED = 2000
_NOTE_LIMIT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRef:
    """The object that an Event is about."""

    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class _Event:
    about: ObjectRef
    type: str
    reason: str
    note: str


class EventRecorder:
    """Sends Events in the background."""

    def __init__(self, client: ApiClient, *, per_second: float, instance: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._interval_s = 1.0 / per_second if per_second > 0 else None
        self._instance = instance
        self._clock = clock
        self._queue: asyncio.Queue[_Event] = asyncio.Queue(_QUEUE)
        self._said: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._serial = 0

    def record(self, about: ObjectRef, type: Literal["Normal", "Warning"], reason: str, note: str) -> None:  # noqa: A002
        """Say something about an object, unless it has just been said or too much is waiting."""
        key = (about.uid, reason, note)
        if self._interval_s is None or key in self._said or self._queue.full():
            return
        self._said[key] = None
        if len(self._said) > _REMEMBERED:
            self._said.popitem(last=False)
        self._queue.put_nowait(_Event(about, type, reason, note[:_NOTE_LIMIT]))

    async def run(self) -> None:
        """Send what is recorded, one at a time, until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await self._client.create(paths.events(event.about.namespace), self._body(event))
            except ClmError as error:
                logger.debug("an Event was lost: %s", error)
            await asyncio.sleep(self._interval_s or 0)

    def _body(self, event: _Event) -> dict[str, object]:
        self._serial += 1
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"generateName": f"{event.about.name[:50]}-", "namespace": event.about.namespace},
            "eventTime": now,
            "reportingController": "clm-operator.io/controller",
            "reportingInstance": self._instance[:128],
            "action": event.reason,
            "type": event.type,
            "reason": event.reason,
            "note": event.note,
            "regarding": {
                "apiVersion": "clm-operator.io/v1alpha1",
                "kind": event.about.kind,
                "namespace": event.about.namespace,
                "name": event.about.name,
                "uid": event.about.uid,
            },
        }
