"""What an outage puts into a status: nothing at first, since most are over in seconds; then the word, once.

A certificate that stands stays Ready until it expires, whatever keeps its renewal waiting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clm.errors import Forbidden
from clm.lifecycle.status import Refusal, changes, refused_status
from clm.resources.conditions import find, set_condition
from clm.resources.status import parse_status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from clm.errors import Unavailable
    from clm.lifecycle.view import Key

_RIGHTS_AFTER_S = 30.0
"""An API server that was just started knows its roles by then: the right is missing."""


class Outages:
    """Since when each object could not be brought on."""

    def __init__(self) -> None:
        self._since: dict[Key, datetime] = {}

    def lasted_s(self, key: Key, now: datetime) -> float:
        """Note that an object was kept waiting once more. Returns for how many seconds it has been."""
        return (now - self._since.setdefault(key, now)).total_seconds()

    def over(self, key: Key) -> None:
        """Note that nothing was away for an object."""
        self._since.pop(key, None)


def outage_status(
    body: Mapping[str, Any], error: Unavailable, *, lasted_s: float, report_after_s: float, now: datetime
) -> dict[str, Any]:
    """What is to be written into a status about an outage; empty while, and when, there is nothing to say."""
    generation = body["metadata"]["generation"]
    status = parse_status(body.get("status") or {})
    stands = status.ready is True and status.observed_generation == generation
    expired = stands and status.not_after is not None and status.not_after <= now
    told = _told(error, expired=expired, lasted_s=lasted_s, report_after_s=report_after_s)
    if told is None:
        return {}
    conditions = list((body.get("status") or {}).get("conditions") or ())
    kind = "Reconciling" if stands and not expired else "Ready"
    said = find(conditions, kind)
    # The words of an error differ from one attempt to the next. What happened is said once.
    if said is not None and (said.get("reason"), said.get("observedGeneration")) == (told.reason, generation):
        return {}
    if kind == "Ready":
        return changes(body, refused_status(body, told, now=now))
    waits: dict[str, Any] = {"reason": told.reason, "message": told.message, "observed_generation": generation}
    return {"conditions": set_condition(conditions, type=kind, status="True", now=now, **waits)}


def _told(error: Unavailable, *, expired: bool, lasted_s: float, report_after_s: float) -> Refusal | None:
    if expired:
        return Refusal("Expired", f"the certificate has expired; its renewal waits: {error}", waiting=True)
    if isinstance(error, Forbidden):
        if lasted_s < min(_RIGHTS_AFTER_S, report_after_s):
            return None
        return Refusal("Forbidden", f"{error}; grant the controller this right (ClusterRole clm-controller)")
    if lasted_s < report_after_s:
        return None
    return Refusal("DependencyUnavailable", f"waiting: {error}", waiting=True)
