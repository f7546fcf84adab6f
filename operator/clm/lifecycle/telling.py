"""Says what has become of an object: in its status, in the audit log, in an Event and in the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from clm.cluster import paths
from clm.cluster.events import ObjectRef
from clm.errors import ClmError, Conflict, IssuanceFailed, NotFound, Refused, Unavailable
from clm.lifecycle.holds import Hold, failed_status, held_status, is_told, next_look
from clm.lifecycle.outages import Outages, outage_status
from clm.lifecycle.results import Done, Result, RetryAfter
from clm.lifecycle.status import Refusal, changes, refused_status
from clm.resources.audit import AuditRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from clm.cluster.client import ApiClient
    from clm.cluster.events import EventRecorder
    from clm.cluster.status import StatusWriter
    from clm.lifecycle.view import ClusterView, Key
    from clm.resources.audit import Action
    from clm.settings import Settings
    from clm.storage.core.metadata import MetadataStore

logger = logging.getLogger(__name__)


class Teller:
    """Writes to status, audit log and Events, each only where it is not said already; and reads an object anew."""

    def __init__(
        self,
        *,
        settings: Settings,
        view: ClusterView,
        client: ApiClient,
        statuses: StatusWriter,
        metadata: MetadataStore,
        events: EventRecorder,
        clock: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._view = view
        self._client = client
        self._statuses = statuses
        self._metadata = metadata
        self._events = events
        self._clock = clock
        self._outages = Outages()

    async def refuse(self, key: Key, body: dict[str, Any], refusal: Refusal, *, retry: bool = False) -> Result:
        """Say why nothing is issued. With `retry` the object is looked at again by itself."""
        status = changes(body, refused_status(body, refusal, now=self._clock()))
        act: Action | None = None if refusal.waiting else "certificate.refuse"
        then = RetryAfter(refusal.message) if retry else Done()
        return await self._tell(key, body, status, refusal, act=act, then=then)

    async def failed(self, key: Key, body: dict[str, Any], error: IssuanceFailed) -> Result:
        """Count the failure, and have the next attempt wait."""
        now = self._clock()
        logger.warning("%s: the issuance failed: %s", key, error)
        status, hold = failed_status(body, error, now=now)
        said = Refusal(error.reason, error.message)
        then = Done(next_look(body, hold, now=now))
        return await self._tell(key, body, changes(body, status), said, act="certificate.fail", then=then)

    async def held(self, key: Key, body: dict[str, Any], hold: Hold) -> Result:
        """Wait until the time that is known, or until something changes. Only a limit that is new is an Event."""
        now = self._clock()
        status = changes(body, held_status(body, hold, now=now))
        then = Done(next_look(body, hold, now=now))
        if is_told(body, hold, now=now):
            return await self._tell(key, body, status, None, act=None, then=then)
        return await self._tell(key, body, status, _said(hold), act=_act(hold), then=then)

    async def standing_held(self, key: Key, body: dict[str, Any], hold: Hold | None) -> None:
        """Record that the next certificate waits while one stands, where that is new. The status is the caller's."""
        if hold is None or hold.kind == "Failed" or is_told(body, hold, now=self._clock()):
            return
        said, act = _said(hold), _act(hold)
        if act is not None:
            await self._metadata.audit(self._audit(key, body, act, said))
        self.say(key, body, "Normal", said.reason, said.message)

    async def tell_of_outage(self, key: Key, body: dict[str, Any] | None, error: Unavailable) -> None:
        """Say what is away, once it has been for longer than the settings say."""
        now = self._clock()
        lasted_s, after_s = self._outages.lasted_s(key, now), self._settings.outage_report_after_s
        status = outage_status(body, error, lasted_s=lasted_s, report_after_s=after_s, now=now) if body else {}
        if body is None or not status:
            return
        try:
            self._view.put(await self._statuses.write(body, status))
        except Conflict:
            await self.refresh(key)
        except ClmError as failure:
            logger.warning("%s: waits since %.0f s: %s; nor can its status say so: %s", key, lasted_s, error, failure)

    async def read(self, key: Key) -> dict[str, Any] | None:
        """Read an object, into the view as well; None when it is gone. Raises an Unavailable."""
        body = await self._client.get(paths.certificate(*key))
        if body is not None:
            self._view.put(body)
        return body

    async def refresh(self, key: Key) -> None:
        """Take in the object as it is now; its event may be long in coming."""
        try:
            await self.read(key)
        except Unavailable:
            return

    def outage_over(self, key: Key) -> None:
        """Forget since when an object has waited for a dependency."""
        self._outages.over(key)

    def say(self, key: Key, body: dict[str, Any], type: str, reason: str, note: str) -> None:  # noqa: A002
        """Record an Event about an object."""
        about = ObjectRef(kind="Certificate", namespace=key.namespace, name=key.name, uid=body["metadata"]["uid"])
        self._events.record(about, type, reason, note)  # type: ignore[arg-type]

    async def _tell(
        self,
        key: Key,
        body: dict[str, Any],
        status: dict[str, Any],
        said: Refusal | None,
        *,
        act: Action | None,
        then: Result,
    ) -> Result:
        """Put something into the status, the audit log and an Event, where it is not said already.

        `said` is None where only the status says more than it did.
        """
        try:
            if status:
                if act is not None and said is not None:
                    await self._metadata.audit(self._audit(key, body, act, said))
                self._view.put(await self._statuses.write(body, status))
                if said is not None:
                    self.say(key, body, "Normal" if said.waiting else "Warning", said.reason, said.message)
        except Conflict as error:
            await self.refresh(key)
            return RetryAfter(str(error))
        except NotFound:
            await self.refresh(key)
            return Done()
        except Refused as error:
            logger.warning(
                "%s: the status was refused (%s): %s", key, said.reason if said else "nextAttemptTime", error
            )
            return RetryAfter(str(error))
        return then

    def _audit(self, key: Key, body: dict[str, Any], act: Action, said: Refusal) -> AuditRecord:
        return AuditRecord(
            organization_id=self._settings.organization_id,
            action=act,
            object_type="certificate-object",
            object_id=body["metadata"]["uid"],
            outcome="failure" if act == "certificate.fail" else "denied",
            reason=said.reason,
            details={
                "object": str(key),
                "generation": body["metadata"]["generation"],
                "message": said.message[:2000],
            },
        )


def _said(hold: Hold) -> Refusal:
    return Refusal(hold.kind, hold.message, waiting=True)


def _act(hold: Hold) -> Action | None:
    """What the audit log calls it: a quota is spent every day, a storm is not."""
    return "certificate.suspend" if hold.kind == "IssuanceSuspended" else None
