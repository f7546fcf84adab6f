"""What is said of an object, and where: status, audit log, Event."""

from __future__ import annotations

import asyncio
import copy
import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from clm.lifecycle.holds import Hold, with_hold
from clm.lifecycle.telling import Teller
from clm.lifecycle.view import ClusterView, Key

KEY = Key("shop", "web")
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SUSPENDED = Hold("IssuanceSuspended", NOW + HOUR, "ManuallyTriggered", "too often")
QUOTA = Hold("QuotaExceeded", NOW + HOUR, "", "used up")


class _Told:
    """A Teller over lists of what it wrote."""

    def __init__(self, *, ready: bool) -> None:
        self.now = NOW
        self.acts: list[str] = []
        self.events: list[str] = []
        self.writes: list[dict[str, Any]] = []
        conditions = [{"type": "Ready", "status": "True", "reason": "Ready", "observedGeneration": 1}] if ready else []
        self.body: dict[str, Any] = {
            "metadata": {"namespace": "shop", "name": "web", "uid": "1", "generation": 1, "resourceVersion": "1"},
            "spec": {"policyRef": {"name": "p"}, "secretName": "web-tls"},
            "status": {
                "observedGeneration": 1,
                "notAfter": (NOW + 90 * 24 * HOUR).isoformat(),
                "conditions": conditions,
            },
        }
        self.teller = Teller(
            settings=cast("Any", SimpleNamespace(organization_id=uuid.UUID(int=1))),
            view=ClusterView(),
            client=cast("Any", None),
            statuses=cast("Any", SimpleNamespace(write=self._write)),
            metadata=cast("Any", SimpleNamespace(audit=self._audit)),
            events=cast("Any", SimpleNamespace(record=self._record)),
            clock=lambda: self.now,
        )

    async def _write(self, body: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
        self.writes.append(status)
        self.body = copy.deepcopy(body)
        self.body["status"] |= status
        return self.body

    async def _audit(self, record: Any) -> None:
        self.acts.append(record.action)

    def _record(self, _about: Any, _type: str, reason: str, _note: str) -> None:
        self.events.append(reason)

    def held(self, hold: Hold) -> None:
        """Have it wait, where no certificate stands."""
        asyncio.run(self.teller.held(KEY, self.body, hold))

    def held_but_standing(self, hold: Hold) -> None:
        """Have its next certificate wait, as the reconciler does where one stands."""

        async def act() -> None:
            await self.teller.standing_held(KEY, self.body, hold)
            self.body["status"] |= with_hold(self.body, self.body["status"], hold, now=self.now)

        asyncio.run(act())


@pytest.mark.parametrize(("hold", "acts"), [(SUSPENDED, ["certificate.suspend"]), (QUOTA, [])])
def test_a_limit_is_one_event_and_one_record(hold: Hold, acts: list[str]) -> None:
    """Whatever becomes of its time; but another generation is told anew. The status tells each time."""
    told = _Told(ready=False)
    for later in (0, 0, 5, 9):
        told.held(hold._replace(until=NOW + HOUR + later * HOUR))
    assert (told.acts, told.events) == (acts, [hold.kind])
    assert [write["nextAttemptTime"][11:13] for write in told.writes] == ["13", "18", "22"]
    told.body["metadata"]["generation"] = 2
    told.held(hold)
    assert (told.acts, told.events) == (2 * acts, 2 * [hold.kind])


@pytest.mark.parametrize(("hold", "acts"), [(SUSPENDED, ["certificate.suspend"]), (QUOTA, [])])
def test_a_limit_is_recorded_where_a_certificate_stands_too(hold: Hold, acts: list[str]) -> None:
    """Somebody asked and does not get it: that is no less an act because nothing is lost."""
    told = _Told(ready=True)
    for later in (0, 0, 5):
        told.held_but_standing(hold._replace(until=NOW + HOUR + later * HOUR))
    assert (told.acts, told.events) == (acts, [hold.kind])
    told.held_but_standing(Hold("Failed", NOW + HOUR))
    assert told.events == [hold.kind], "of failures is told where they happen"
