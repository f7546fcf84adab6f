"""The last step of a reconcile: has a publication stand in inventory, Secret and status, and ends its outbox row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clm.errors import Invalid, Overtaken, Refused, SecretTooLarge, StaleObject
from clm.lifecycle.contest import next_contest
from clm.lifecycle.holds import with_hold
from clm.lifecycle.results import Done, Result, RetryAfter
from clm.lifecycle.settled import done_until_next_look
from clm.lifecycle.status import Refusal, changes, contested_status, ready_status, secret_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from clm.cluster.secret_watch import SecretWatch
    from clm.cluster.secrets import SecretVersion
    from clm.cluster.status import StatusWriter
    from clm.lifecycle.boundaries import Boundary
    from clm.lifecycle.entry import Entry
    from clm.lifecycle.publish import Publication, Publisher
    from clm.lifecycle.repair_pace import RepairPace
    from clm.lifecycle.settled import Settled
    from clm.lifecycle.telling import Teller
    from clm.lifecycle.view import ClusterView, Key
    from clm.storage.secure.outbox import OutboxStore


class Delivery:
    """Delivers publications, and tells of them."""

    def __init__(  # noqa: PLR0913 - wired in one place
        self,
        *,
        view: ClusterView,
        settled: Settled,
        secret_watch: SecretWatch,
        publisher: Publisher,
        statuses: StatusWriter,
        teller: Teller,
        outbox: OutboxStore,
        pace: RepairPace[Key],
        boundary: Boundary,
        clock: Callable[[], datetime],
    ) -> None:
        self._view = view
        self._settled = settled
        self._secret_watch = secret_watch
        self._publisher = publisher
        self._statuses = statuses
        self._teller = teller
        self._outbox = outbox
        self._pace = pace
        self._boundary = boundary
        self._clock = clock

    async def deliver(self, key: Key, body: dict[str, Any], outcome: Publication, *, now: datetime) -> Result:
        """Write the Secret and the inventory, then the status, then have the outbox row go.

        Raises what `Publisher.publish` raises, but for StaleObject and Refused, and what a write of the status does.
        """
        known = secret_of(body)
        new = known is None
        try:
            version = await self._publisher.publish(outcome, probably_new=new, known=known)
        except StaleObject as error:
            return await self._overtaken(key, body, error, now)
        except Refused as error:
            refusal = _secret_refused(outcome.spec.secret_name, error)
            for_good = isinstance(error, Invalid)
            result = await self._teller.refuse(key, body, refusal, retry=not for_good)
            if for_good and isinstance(result, Done):
                # What can be done is done, until the object or its Secret changes; the relay would try the same again.
                await self._outbox.finish(outcome.id)
            return result
        self._secret_watch.wrote(key.namespace, outcome.spec.secret_name, version)
        repairs = self._pace.repairs(key)
        contest = next_contest(body.get("status"), changed_by=version.changed_by, repairs=repairs, now=now)
        status = ready_status(body, outcome, version, now=now, contest=contest)
        status = changes(body, with_hold(body, status, outcome.hold, now=now))
        await self._teller.standing_held(key, body, outcome.hold)
        entry = await self._conclude(key, body, status, version)
        self._boundary("publish.status-written")
        await self._outbox.finish(outcome.id)
        self._boundary("publish.outbox-cleared")
        if new:
            self._teller.say(
                key, body, "Normal", "Issued", f"Certificate with serial {outcome.facts.serial_number.hex()} issued"
            )
        return done_until_next_look(entry, now=now)

    async def _overtaken(self, key: Key, body: dict[str, Any], error: StaleObject, now: datetime) -> Result:
        """Try again as slowly as after a repair, or who writes fast enough would have us write for ever."""
        if isinstance(error, Overtaken):
            repairs, status = self._pace.repairs(key), body.get("status") or {}
            contest = next_contest(status, changed_by=error.changed_by, repairs=repairs, now=now)
            await self._write_status(key, body, changes(body, contested_status(body, contest, now=now)))
        await self._teller.refresh(key)
        return RetryAfter(str(error), delay_s=self._pace.delay_s(key))

    async def _conclude(self, key: Key, body: dict[str, Any], status: dict[str, Any], version: SecretVersion) -> Entry:
        """Write the status; but a Secret that others changed where they may is no news, and no repair."""
        others_only = {name: value for name, value in (status.get("secret") or {}).items() if name != "resourceVersion"}
        known = secret_of(body)
        if not version.untouched or status.keys() > {"secret"} or known is None or others_only != {"uid": known.uid}:
            return await self._write_status(key, body, status)
        self._pace.was_harmless(key)
        _, entry = self._view.put(body)
        entry.secret_uid, entry.secret_resource_version = version.uid, version.resource_version
        entry.body = None
        return entry

    async def _write_status(self, key: Key, body: dict[str, Any], status: dict[str, Any]) -> Entry:
        if status:
            _, entry = self._view.put(await self._statuses.write(body, status))
        else:
            _, entry = self._view.put(body)
        if self._settled.is_settled(key, entry, now=self._clock()):
            entry.body = None
        return entry


def _secret_refused(name: str, error: Refused) -> Refusal:
    if isinstance(error, SecretTooLarge):
        return Refusal("SecretTooLarge", str(error))
    return Refusal(
        "SecretRefused",
        f"the API server refuses the Secret {name}: {error}; change what refuses it (quota, webhook, admission policy),"
        " or spec.secretName or spec.secretTemplate",
    )
