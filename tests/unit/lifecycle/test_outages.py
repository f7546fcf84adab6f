"""When an outage is told in a status, in which words, and how often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from clm.errors import ClusterUnavailable, DatabaseUnavailable, Forbidden, HsmUnavailable, Unavailable
from clm.lifecycle.outages import Outages, outage_status
from clm.lifecycle.view import Key
from clm.resources.conditions import find

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
AWAY = DatabaseUnavailable("clm_secure_db: connection refused")


def body(*, ready: str | None = None, expires: datetime | None = None, generation: int = 2) -> dict[str, Any]:
    """Make a Certificate of generation 2 whose status is of the given one."""
    status: dict[str, Any] = {}
    if ready is not None:
        condition = {"type": "Ready", "status": ready, "reason": "Before", "observedGeneration": generation}
        status = {"observedGeneration": generation, "conditions": [condition]}
    if expires is not None:
        status["notAfter"] = expires.isoformat()
    return {"metadata": {"generation": 2}, "status": status}


def told(body: dict[str, Any], error: Unavailable, lasted_s: float) -> dict[str, tuple[str, str]]:
    """Tell the conditions that an outage of this length leaves, by type; none when nothing is written."""
    status = outage_status(body, error, lasted_s=lasted_s, report_after_s=180, now=NOW)
    return {found["type"]: (found["status"], found["reason"]) for found in status.get("conditions", ())}


@pytest.mark.parametrize(
    ("error", "lasted_s", "reason", "kind"),
    [
        (AWAY, 179, None, None),
        (AWAY, 180, "DependencyUnavailable", "Reconciling"),
        (HsmUnavailable("gone"), 180, "DependencyUnavailable", "Reconciling"),
        (ClusterUnavailable("500"), 180, "DependencyUnavailable", "Reconciling"),
        (Forbidden("403"), 29, None, None),
        (Forbidden("403"), 30, "Forbidden", "Stalled"),
    ],
)
@pytest.mark.parametrize("before", [body(), body(ready="False"), body(ready="True", generation=1)])
def test_what_is_not_ready_says_what_it_waits_for(
    before: dict[str, Any], error: Unavailable, lasted_s: float, reason: str | None, kind: str | None
) -> None:
    """Not in the first minutes; rights that are missing after half of one, which is for somebody to mend."""
    expected = {"Ready": ("False", reason), kind: ("True", reason)} if reason else {}
    assert told(before, error, lasted_s) == expected


def test_what_stands_stays_ready_until_it_expires() -> None:
    """A renewal that waits is told beside Ready; past notAfter there is nothing Ready about it, at once."""
    stands = body(ready="True", expires=NOW + timedelta(seconds=1))
    assert told(stands, AWAY, 179) == {}
    waits = {"Ready": ("True", "Before"), "Reconciling": ("True", "DependencyUnavailable")}
    assert told(stands, AWAY, 180) == waits
    expired = body(ready="True", expires=NOW)
    assert told(expired, AWAY, 0) == {"Ready": ("False", "Expired"), "Reconciling": ("True", "Expired")}


@pytest.mark.parametrize("before", [body(), body(ready="True", expires=NOW + timedelta(days=1)), body(ready="False")])
def test_it_is_said_once(before: dict[str, Any]) -> None:
    """However often it is tried, and whatever words the error has; for the next generation it is said again."""
    status = outage_status(before, AWAY, lasted_s=200, report_after_s=180, now=NOW)
    before["status"] |= status
    later = DatabaseUnavailable("clm_secure_db: timeout")
    assert outage_status(before, later, lasted_s=9000, report_after_s=180, now=NOW) == {}
    before["metadata"]["generation"] = 3
    assert outage_status(before, later, lasted_s=9000, report_after_s=180, now=NOW) != {}


def test_the_condition_names_the_dependency_and_the_right() -> None:
    """Its message is what the dependency said, and what to do where somebody can."""
    status = outage_status(body(), AWAY, lasted_s=200, report_after_s=180, now=NOW)
    assert "clm_secure_db: connection refused" in (find(status["conditions"], "Ready") or {})["message"]
    denied = Forbidden('secrets is forbidden: User "clm" cannot create resource "secrets"')
    status = outage_status(body(), denied, lasted_s=200, report_after_s=180, now=NOW)
    message = (find(status["conditions"], "Ready") or {})["message"]
    assert 'cannot create resource "secrets"' in message
    assert "grant the controller this right" in message


def test_an_outage_is_counted_for_each_object_until_it_is_over() -> None:
    """From its first failure on; a success in between starts anew."""
    outages, one, other = Outages(), Key("a", "1"), Key("a", "2")
    assert outages.lasted_s(one, NOW) == 0
    assert outages.lasted_s(one, NOW + timedelta(seconds=200)) == 200
    assert outages.lasted_s(other, NOW + timedelta(seconds=200)) == 0
    outages.over(one)
    assert outages.lasted_s(one, NOW + timedelta(seconds=300)) == 0
